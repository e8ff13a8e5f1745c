//! Applying a `Delta`: at once, or in slices between which other work may be done.

use bytes::Bytes;

use super::Tracker;
use super::diff::{Diff, DiffBuilder};
use super::leave::LeaveReason;
use super::limits::Limits;
use super::slice::Slice;
use super::state::State;
use super::topic_share::TopicShare;
use super::wire::{DeltaHead, Place, Record, Records};
use crate::codec::{DecodeError, Reader};
use crate::error::ApplyError;
use crate::fault::{Fault, is_broken};

/// A `Delta` that passed every check which needs no tracker, to be applied in slices. See
/// [`Slice`].
///
/// Entries of an origin that was unknown before become visible with the last step.
///
/// ```
/// use headcount::tracker::StagedDelta;
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
/// for i in 0..100 {
///     a.track(&NewEntry::new("room", &format!("user {i}"), "conn"))?;
/// }
/// let body = a.push_body(0).unwrap();
/// let mut staged = StagedDelta::new(body.into(), b.limits())?;
/// assert!(staged.begin(&mut b)?);
/// while !staged.step(&mut b, 30)?.done {}
/// assert_eq!(b.count("room"), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct StagedDelta {
    head: DeltaHead,
    body: Bytes,
    start: Place,
    puts: u32,
    stage: Stage,
    /// Clock of the origin when it began.
    clock: u64,
    token: u64,
    /// The leaves that the start brought: those of a lower incarnation.
    diff: DiffBuilder,
}

/// The work of the next step.
#[derive(Debug, Clone)]
enum Stage {
    /// Checks that every record fits the state.
    Check(Place),
    Apply(Place),
    Done,
}

impl StagedDelta {
    /// Checks a whole body. O(length), needs no lock.
    ///
    /// # Errors
    /// When it is not a valid `Delta` within the limits.
    pub fn new(body: Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&body);
        let head = DeltaHead::read(&mut reader)?;
        let records_at = reader.offset();
        let share = head.share;
        Self::of_records(head, body, records_at, limits, share)
    }

    /// As [`new`](Self::new), for records that begin at an offset of `body`.
    pub(super) fn of_records(
        head: DeltaHead,
        body: Bytes,
        records_at: usize,
        limits: &Limits,
        share: TopicShare,
    ) -> Result<Self, DecodeError> {
        let start = Place::start(records_at, head.from..=head.to);
        let mut records = Records::new(&body, limits, share, start.clone());
        let mut puts = 0;
        while let Some(record) = records.next()? {
            puts += u32::from(matches!(record, Record::NewEntry { .. }));
        }
        Ok(Self {
            head,
            body,
            start,
            puts,
            stage: Stage::Done,
            clock: 0,
            token: 0,
            diff: DiffBuilder::default(),
        })
    }

    /// Returns the first fields of the frame.
    #[must_use]
    pub fn head(&self) -> &DeltaHead {
        &self.head
    }

    /// Starts to apply the delta, and returns whether it brings something. O(1), or O(entries) of a
    /// lower incarnation that it ends.
    ///
    /// # Errors
    /// When the delta does not fit this tracker. Nothing has changed then.
    pub fn begin(&mut self, tracker: &mut Tracker) -> Result<bool, ApplyError> {
        let state = &mut tracker.state;
        let head = &self.head;
        let known = state.admit(&head.origin.replica, head.share)?;
        let clock = known.map_or(0, |number| state.origin(number).clock());
        if !is_useful(head, clock)? {
            return Ok(false);
        }
        state.check_room(self.puts)?;
        let replica = &head.origin.replica;
        let number = known.unwrap_or_else(|| state.add_origin(replica, &mut self.diff));
        self.token = state.begin_load(number, true);
        self.clock = clock;
        self.stage = Stage::Check(self.start.clone());
        Ok(true)
    }

    /// Applies the next `records_max` records at most. O(`records_max`).
    ///
    /// # Errors
    /// [`ApplyError::Diverged`] when the delta contradicts the state; nothing has changed then and
    /// the delta is over. [`ApplyError::Applying`] when the origin was dropped in between.
    pub fn step(&mut self, tracker: &mut Tracker, records_max: usize) -> Result<Slice, ApplyError> {
        let state = &mut tracker.state;
        let Some(number) = state.claimed(&self.head.origin.replica, self.token) else {
            self.stage = Stage::Done;
            return Err(ApplyError::Applying);
        };
        let mut diff = std::mem::take(&mut self.diff);
        let mut budget = records_max.max(1);
        while budget > 0 && !matches!(self.stage, Stage::Done) {
            let stage = std::mem::replace(&mut self.stage, Stage::Done);
            let advanced = match stage {
                Stage::Check(place) => self.check(state, number, place, &mut budget),
                Stage::Apply(place) => self.apply(state, number, place, &mut budget, &mut diff),
                Stage::Done => Ok(Stage::Done),
            };
            match advanced {
                Ok(stage) => self.stage = stage,
                Err(error) => {
                    state.end_claim(number);
                    return Err(error);
                }
            }
        }
        let done = matches!(self.stage, Stage::Done);
        if done {
            state.end_load(number, self.head.to);
        }
        Ok(Slice {
            diff: diff.finish(),
            done,
        })
    }

    /// Gives up the delta. If it has changed entries already, the tracker drops the origin, because
    /// its state is not exact. The Diff has the leaves.
    pub fn cancel(&mut self, tracker: &mut Tracker) -> Diff {
        self.cancel_for(tracker, LeaveReason::Unknown)
    }

    /// Does what [`cancel`](Self::cancel) does, with a reason for the leaves.
    pub(crate) fn cancel_for(&mut self, tracker: &mut Tracker, reason: LeaveReason) -> Diff {
        let state = &mut tracker.state;
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        let Some(number) = state.claimed(&self.head.origin.replica, self.token) else {
            return Diff::default();
        };
        let mut diff = std::mem::take(&mut self.diff);
        let is_unchanged = matches!(stage, Stage::Check(_));
        state.cancel_load(number, is_unchanged, reason, &mut diff);
        diff.finish()
    }

    fn check(
        &self,
        state: &State,
        number: u16,
        place: Place,
        budget: &mut usize,
    ) -> Result<Stage, ApplyError> {
        let mut records = Records::new(&self.body, state.limits(), state.share(), place);
        while *budget > 0 {
            *budget -= 1;
            match records.next()? {
                Some(record) => check_record(state, number, record, self.clock)?,
                None => return Ok(Stage::Apply(self.start.clone())),
            }
        }
        Ok(Stage::Check(records.into_place()))
    }

    fn apply(
        &self,
        state: &mut State,
        number: u16,
        place: Place,
        budget: &mut usize,
        diff: &mut DiffBuilder,
    ) -> Result<Stage, ApplyError> {
        let limits = state.limits().clone();
        let mut records = Records::new(&self.body, &limits, state.share(), place);
        while *budget > 0 {
            *budget -= 1;
            match records.next()? {
                Some(record) => apply_record(state, number, record, self.clock, diff),
                None => return Ok(Stage::Done),
            }
        }
        Ok(Stage::Apply(records.into_place()))
    }
}

/// Applies a body at once. O(changes).
pub(super) fn apply(state: &mut State, body: &[u8]) -> Result<Diff, ApplyError> {
    let mut reader = Reader::new(body);
    let head = DeltaHead::read(&mut reader)?;
    apply_records(state, head, body, reader.offset())
}

/// Applies the records that begin at an offset of `body`, at once. O(changes).
pub(super) fn apply_records(
    state: &mut State,
    head: DeltaHead,
    body: &[u8],
    records_at: usize,
) -> Result<Diff, ApplyError> {
    let Some(checked) = check_records(state, head, body, records_at)? else {
        return Ok(Diff::default());
    };
    let Checked {
        head,
        start,
        known,
        clock,
    } = checked;
    let mut diff = DiffBuilder::default();
    let number = known.unwrap_or_else(|| state.add_origin(&head.origin.replica, &mut diff));
    let limits = state.limits().clone();
    let mut records = Records::new(body, &limits, state.share(), start);
    while let Some(record) = records.next()? {
        apply_record(state, number, record, clock, &mut diff);
    }
    state.set_clock(number, head.to);
    Ok(diff.finish())
}

/// A `Delta` that passed every check and brings something.
#[derive(Debug)]
pub(super) struct Checked {
    head: DeltaHead,
    start: Place,
    /// The number of its origin, if it is known.
    known: Option<u16>,
    /// The clock of its origin here.
    clock: u64,
}

/// Checks a whole body against the state, without applying it. `None` when it brings nothing new.
pub(super) fn check(state: &State, body: &[u8]) -> Result<Option<Checked>, ApplyError> {
    let mut reader = Reader::new(body);
    let head = DeltaHead::read(&mut reader)?;
    check_records(state, head, body, reader.offset())
}

fn check_records(
    state: &State,
    head: DeltaHead,
    body: &[u8],
    records_at: usize,
) -> Result<Option<Checked>, ApplyError> {
    let start = Place::start(records_at, head.from..=head.to);
    let known = state.admit(&head.origin.replica, head.share)?;
    let clock = known.map_or(0, |number| state.origin(number).clock());
    let is_applicable = head.from <= clock && clock < head.to;
    let origin = known.filter(|_| is_applicable);
    let mut records = Records::new(body, state.limits(), state.share(), start.clone());
    let mut puts = 0;
    while let Some(record) = records.next()? {
        puts += u32::from(matches!(record, Record::NewEntry { .. }));
        if let Some(number) = origin {
            check_record(state, number, record, clock)?;
        }
    }
    state.check_room(puts)?;
    Ok(is_useful(&head, clock)?.then_some(Checked {
        head,
        start,
        known,
        clock,
    }))
}

/// Returns whether a delta brings something to a state at `clock`; an error if frames are missing
/// in between.
fn is_useful(head: &DeltaHead, clock: u64) -> Result<bool, ApplyError> {
    if head.to <= clock {
        return Ok(false);
    }
    if head.from > clock && !is_broken(Fault::ApplyOverGap) {
        return Err(ApplyError::Gap {
            clock,
            from: head.from,
        });
    }
    Ok(true)
}

/// Checks that a record fits the state at `clock`: what it builds on must be there.
fn check_record(
    state: &State,
    number: u16,
    record: Record<'_>,
    clock: u64,
) -> Result<(), ApplyError> {
    let (op, fits) = match record {
        Record::NewEntry { versions, .. } if versions.birth > clock => (versions.version, true),
        Record::NewEntry { put, versions } => {
            let version = versions.version;
            let known = state.by_birth(number, versions.birth);
            let fits = known.is_some_and(|index| {
                let version_here = state.row(index).version;
                let in_order = if version <= clock {
                    version_here == version
                } else {
                    version_here < version
                };
                in_order && state.store().has_key_of(index, &put)
            });
            (version, fits)
        }
        Record::Leave(leave) => {
            let builds_on_state = leave.op > clock && leave.birth <= clock;
            let fits = !builds_on_state || state.by_birth(number, leave.birth).is_some();
            (leave.op, fits)
        }
    };
    if fits {
        Ok(())
    } else {
        Err(ApplyError::Diverged { op })
    }
}

/// Applies one record, unless the state at `clock` has it already.
fn apply_record(
    state: &mut State,
    number: u16,
    record: Record<'_>,
    clock: u64,
    diff: &mut DiffBuilder,
) {
    match record {
        // It was born after all that is here: there is none to look for.
        Record::NewEntry { put, versions } if versions.birth > clock && versions.is_first() => {
            state.insert(number, &put, versions, diff);
        }
        Record::NewEntry { put, versions } if versions.version > clock => {
            state.put(number, &put, versions, diff);
        }
        Record::Leave(leave) if leave.op > clock => {
            if let Some(index) = state.by_birth(number, leave.birth) {
                let reason = LeaveReason::from_wire(leave.reason);
                state.remove(index, reason, diff);
            }
            state.log_leave(number, leave);
        }
        _ => {}
    }
}
