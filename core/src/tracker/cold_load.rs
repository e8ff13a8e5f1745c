//! Loading the whole state of an origin of which nothing is held, part by part and in slices.

use bytes::Bytes;

use super::Tracker;
use super::diff::{Diff, DiffBuilder};
use super::leave::LeaveReason;
use super::wire::{Kept, Place, Record, Records};
use crate::codec::{DecodeError, Reader};
use crate::error::ApplyError;
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;

/// The first load of an origin. Its parts are contents of repairs from 0, in version order; each is
/// read on its own, so the memory beside the entries is that of one part.
///
/// The origin is claimed and its entries are invisible until [`finish`](Self::finish).
#[derive(Debug, Clone)]
pub(crate) struct ColdLoad {
    replica: ReplicaId,
    /// The clock that the last part leads to.
    to: u64,
    token: u64,
    part: Option<(Bytes, Place)>,
    /// The version of the last entry.
    version: u64,
}

impl ColdLoad {
    /// Begins to load an origin that is unknown here. O(1).
    ///
    /// # Errors
    /// When the tracker does not take frames of the origin, or knows it. Nothing has changed then.
    pub(crate) fn begin(
        tracker: &mut Tracker,
        replica: &ReplicaId,
        to: u64,
    ) -> Result<(Self, Diff), ApplyError> {
        let state = &mut tracker.state;
        if state.admit(replica, state.share())?.is_some() {
            return Err(ApplyError::Applying);
        }
        let mut diff = DiffBuilder::default();
        let number = state.add_origin(replica, &mut diff);
        let is_quiet = !is_broken(Fault::ShowParts);
        let load = Self {
            replica: replica.clone(),
            to,
            token: state.begin_load(number, is_quiet),
            part: None,
            version: 0,
        };
        Ok((load, diff.finish()))
    }

    /// Adds the next part, after the one before it was loaded. O(1).
    ///
    /// # Errors
    /// When it is no content of a repair from 0.
    pub(crate) fn add(&mut self, content: Bytes) -> Result<(), DecodeError> {
        let mut kept = Kept::start(&content, 0, 0)?;
        while kept.next(&content)?.is_some() {}
        let place = Place::start(kept.offset(), 0..=self.to);
        self.part = Some((content, place));
        Ok(())
    }

    /// Loads the next `records_max` records at most. Returns whether the part is done.
    /// O(`records_max`).
    ///
    /// # Errors
    /// When the part breaks the format or a limit, or does not follow the one before: cancel then.
    pub(crate) fn step(
        &mut self,
        tracker: &mut Tracker,
        records_max: usize,
    ) -> Result<bool, ApplyError> {
        let state = &mut tracker.state;
        let Some(number) = state.claimed(&self.replica, self.token) else {
            return Err(ApplyError::Applying);
        };
        let Some((bytes, place)) = self.part.take() else {
            return Ok(true);
        };
        let limits = state.limits().clone();
        let mut diff = DiffBuilder::default();
        let mut records = Records::new(&bytes, &limits, state.share(), place);
        for _ in 0..records_max.max(1) {
            let at = records.offset();
            let Some(record) = records.next()? else {
                return Ok(true);
            };
            let Record::NewEntry { put, versions } = record else {
                return Err(Reader::invalid(at, "a repair has no leaves").into());
            };
            let is_new = state.by_birth(number, versions.birth).is_none();
            if versions.version <= self.version || !is_new {
                return Err(Reader::invalid(at, "an entry does not follow the one before").into());
            }
            state.check_room(1)?;
            self.version = versions.version;
            state.put(number, &put, versions, &mut diff);
        }
        let place = records.into_place();
        self.part = Some((bytes, place));
        Ok(false)
    }

    /// Ends the load after its last part: the entries are visible. O(1).
    pub(crate) fn finish(self, tracker: &mut Tracker) {
        let state = &mut tracker.state;
        if let Some(number) = state.claimed(&self.replica, self.token) {
            state.restart_leaves(number, self.to);
            state.end_load(number, self.to);
        }
    }

    /// Gives up the load: nothing of the origin stays. O(its entries).
    pub(crate) fn cancel(self, tracker: &mut Tracker) -> Diff {
        let state = &mut tracker.state;
        let mut diff = DiffBuilder::default();
        if let Some(number) = state.claimed(&self.replica, self.token) {
            state.drop_origin(number, LeaveReason::Unknown, &mut diff);
        }
        diff.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::NewEntry;

    fn tracker(name: &str) -> Tracker {
        Tracker::new(ReplicaId::new(name, 1, 0).unwrap())
    }

    /// Returns a tracker with 40 entries, and its whole state in parts of 200 bytes.
    fn filled() -> (Tracker, Vec<Bytes>) {
        let mut tracker = tracker("a");
        for number in 0..40 {
            let key = format!("user {number}");
            tracker.track(&NewEntry::new("room", &key, "conn")).unwrap();
        }
        tracker.untrack("room", "user 3", "conn");
        tracker
            .update(&NewEntry::new("room", "user 4", "conn").meta(b"away"))
            .unwrap();
        let capture = tracker.begin_capture(200, 0);
        while !tracker.step_capture(capture, usize::MAX).unwrap() {}
        let parts = (0..).map_while(|part| tracker.captured_part(capture, part));
        let parts: Vec<_> = parts.map(Bytes::from).collect();
        assert!(parts.len() > 5 && parts.iter().all(|part| part.len() <= 200));
        (tracker, parts)
    }

    #[test]
    fn parts_load_to_the_exact_state_and_show_with_the_last() {
        let (a, parts) = filled();
        let mut b = tracker("b");
        let (mut load, _) = ColdLoad::begin(&mut b, a.id(), a.clock(a.id())).unwrap();
        for part in parts {
            load.add(part).unwrap();
            while !load.step(&mut b, 3).unwrap() {
                assert_eq!((b.count("room"), b.list("room").count()), (0, 0));
            }
        }
        assert!(b.origin_info(a.id()).unwrap().applying);
        load.finish(&mut b);
        let info = |tracker: &Tracker| {
            let info = tracker.origin_info(a.id()).unwrap();
            (info.clock, info.fingerprint, info.applying)
        };
        assert_eq!(info(&b), info(&a));
        assert_eq!(b.count("room"), 39);
    }

    #[test]
    fn a_part_that_does_not_follow_is_refused_and_nothing_stays() {
        let (a, parts) = filled();
        for wrong in [0, 3] {
            let mut b = tracker("b");
            let (mut load, _) = ColdLoad::begin(&mut b, a.id(), a.clock(a.id())).unwrap();
            for part in [1, 2] {
                load.add(parts[part].clone()).unwrap();
                assert!(load.step(&mut b, usize::MAX).unwrap());
            }
            load.add(parts[wrong].clone()).unwrap();
            assert_eq!(load.step(&mut b, usize::MAX).is_err(), wrong == 0);
            assert!(load.cancel(&mut b).is_empty());
            assert!(b.is_empty() && b.origin_info(a.id()).is_none());
        }
    }
}
