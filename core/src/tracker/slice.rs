//! The result of one step of work that is done in slices.

use super::diff::Diff;

/// The result of one step of work that is done in slices.
///
/// Work on many entries goes in slices, so that a lock around the tracker is free in between. All
/// kinds have the same verbs:
///
/// | work | `begin` | `step` | in between | `cancel` |
/// |---|---|---|---|---|
/// | [`StagedRepair`] | checks the frame against the state | records | claimed | drops an inexact state |
/// | [`StagedDelta`] | checks the frame against the state | records | claimed | drops an inexact state |
/// | [`VisibilityChange`] | chooses joins or leaves | entries | claimed | reports no more |
/// | [`Extract`] | takes the clock to serve | entries | free | forgets its place |
/// | [`Pages`] | copies the hashes of the keys | keys | free | is to drop it |
///
/// * `begin` does O(1) work, unless its documentation says otherwise, and returns whether there is
///   something to do.
/// * `step` does the next slice, of at most as many records, entries or keys as it is told; repeat
///   it until [`done`](Self::done).
/// * `cancel` gives the work up before its last step. Work that began must be stepped to its end or
///   cancelled.
/// * A *claimed* origin is not served and takes no other frames
///   ([`Applying`](crate::tracker::ApplyError::Applying)); the rest of the tracker, and everything
///   while work leaves the origin *free*, may change between two steps. An origin that is dropped
///   in between ends the work.
///
/// [`Tracker::reap`](super::Tracker::reap) is such a step too, of the work that
/// [`Tracker::retire`](super::Tracker::retire) began.
///
/// [`StagedRepair`]: super::StagedRepair
/// [`StagedDelta`]: super::StagedDelta
/// [`VisibilityChange`]: super::VisibilityChange
/// [`Extract`]: super::Extract
/// [`Pages`]: super::Pages
#[derive(Debug, Default)]
#[must_use = "`done` says whether another step is needed"]
pub struct Slice {
    /// The entries that became visible or changed. Empty for work that only reads.
    pub diff: Diff,
    /// True if this was the last step.
    pub done: bool,
}

impl Slice {
    /// Returns the result of a step that reports nothing.
    pub(super) fn silent(done: bool) -> Self {
        Self {
            diff: Diff::default(),
            done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Extract, NewEntry, StagedDelta, StagedRepair, Tracker, VisibilityChange};
    use crate::error::ApplyError;
    use crate::id::ReplicaId;

    fn tracker(name: &str) -> Tracker {
        Tracker::new(ReplicaId::new(name, 1, 0).unwrap())
    }

    /// Returns a tracker with entries `user 0` to `user 9`.
    fn filled() -> Tracker {
        let mut tracker = tracker("a");
        for i in 0..10 {
            track(&mut tracker, i);
        }
        tracker
    }

    fn track(tracker: &mut Tracker, i: u32) {
        let name = format!("user {i}");
        let put = NewEntry::new("room", &name, "conn");
        tracker.track(&put).unwrap();
    }

    #[test]
    fn a_cancelled_first_load_leaves_nothing() {
        let a = filled();
        let mut b = tracker("b");
        let mut repair =
            StagedRepair::new(a.full_body(a.id()).unwrap().into(), b.limits()).unwrap();
        let mut delta = StagedDelta::new(a.push_body(0).unwrap().into(), b.limits()).unwrap();
        for steps in 0..8 {
            assert!(repair.begin(&mut b, false).unwrap());
            for _ in 0..steps {
                assert!(!repair.step(&mut b, 1).unwrap().done);
            }
            assert!(repair.cancel(&mut b).is_empty(), "nothing was visible");
            assert!(b.is_empty() && b.origin_info(a.id()).is_none());
            assert!(delta.begin(&mut b).unwrap());
            for _ in 0..steps {
                assert!(!delta.step(&mut b, 1).unwrap().done);
            }
            assert!(delta.cancel(&mut b).is_empty(), "nothing was visible");
            assert!(b.is_empty() && b.origin_info(a.id()).is_none());
        }
        assert_eq!(repair.step(&mut b, 1).err(), Some(ApplyError::Applying));
        assert_eq!(delta.step(&mut b, 1).err(), Some(ApplyError::Applying));
    }

    #[test]
    fn a_load_that_is_cancelled_before_it_changes_entries_leaves_the_state_as_it_was() {
        let mut a = filled();
        let mut b = tracker("b");
        b.apply(&a.delta_since(a.id(), 0).unwrap()).unwrap();
        let clock = a.clock(a.id());
        track(&mut a, 10);
        track(&mut a, 11);
        let body = a.push_body(clock).unwrap();
        let mut delta = StagedDelta::new(body.into(), b.limits()).unwrap();
        let body = a.full_body(a.id()).unwrap();
        let mut repair = StagedRepair::new(body.into(), b.limits()).unwrap();

        assert!(delta.begin(&mut b).unwrap());
        assert!(!delta.step(&mut b, 1).unwrap().done);
        assert!(
            b.full_body(a.id()).is_none(),
            "a claimed origin is not served"
        );
        assert!(delta.cancel(&mut b).is_empty());
        assert!(repair.begin(&mut b, false).unwrap());
        assert!(repair.cancel(&mut b).is_empty());
        assert_eq!((b.clock(a.id()), b.count("room")), (clock, 10));
        assert!(b.full_body(a.id()).is_some());

        assert!(delta.begin(&mut b).unwrap());
        for _ in 0..4 {
            assert!(!delta.step(&mut b, 1).unwrap().done);
        }
        let diff = delta.cancel(&mut b);
        assert_eq!(diff.topic("room").unwrap().leaves.len(), 11);
        assert!(b.is_empty(), "a state that is not exact is dropped");
    }

    #[test]
    fn cancelled_diffs_and_extractions_set_their_origin_free() {
        let mut a = filled();
        let mut b = tracker("b");
        b.apply(&a.delta_since(a.id(), 0).unwrap()).unwrap();
        b.set_hidden(a.id(), true);
        let mut change = VisibilityChange::begin(&mut b, a.id()).unwrap();
        let slice = change.step(&mut b, 4, &|_| true);
        assert_eq!(slice.diff.topic("room").unwrap().leaves.len(), 4);
        assert!(
            VisibilityChange::begin(&mut b, a.id()).is_none(),
            "it is claimed"
        );
        change.cancel(&mut b);
        assert!(!b.origin_info(a.id()).unwrap().applying);
        assert_eq!(b.count("room"), 0);

        let id = a.id().clone();
        let mut extract = Extract::begin(&mut a, &id, 0, false).unwrap();
        let token = extract.cursor();
        assert!(!extract.step(&mut a, 4).done);
        let cursor = |a: &Tracker| a.state.local().cursor(token);
        assert!(cursor(&a).is_some());
        extract.cancel(&mut a);
        assert!(cursor(&a).is_none());
    }
}
