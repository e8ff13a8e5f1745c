//! Applying a large `Delta` in slices.

use bytes::Bytes;

use super::Tracker;
use super::diff::DiffBuilder;
use super::limits::Limits;
use super::repair::Slice;
use super::wire::{DeltaHead, Place, Record, Records};
use crate::codec::{DecodeError, Reader};
use crate::error::ApplyError;
use crate::fault::{Fault, is_broken};

/// A `Delta` that passed every check which needs no tracker, to be applied in slices. The
/// counterpart of [`StagedRepair`](super::StagedRepair): what is first heard of an origin stays
/// unseen until the last slice.
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
/// assert!(b.begin_delta(&mut staged)?);
/// while !b.delta_slice(&mut staged, 30)?.done {}
/// assert_eq!(b.count("room"), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StagedDelta {
    head: DeltaHead,
    body: Bytes,
    start: Place,
    puts: u32,
    step: Step,
    /// Clock of the origin when it began.
    clock: u64,
    /// Which application this is, so that a later one of the same origin is not mistaken for it.
    token: u64,
    /// What ended with the start: the entries of a lower incarnation.
    diff: DiffBuilder,
}

/// What a slice does next.
#[derive(Debug)]
enum Step {
    /// Does every record fit the state?
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
        let start = Place::start(reader.offset(), (head.from, head.to));
        let mut records = Records::new(&body, limits, head.origin.slot, start.clone());
        let mut puts = 0;
        while let Some(record) = records.next()? {
            puts += u32::from(matches!(record, Record::NewEntry { .. }));
        }
        let step = Step::Done;
        let diff = DiffBuilder::default();
        Ok(Self {
            head,
            body,
            start,
            puts,
            step,
            clock: 0,
            token: 0,
            diff,
        })
    }

    /// Returns what the delta is about.
    #[must_use]
    pub fn head(&self) -> &DeltaHead {
        &self.head
    }
}

impl Tracker {
    /// Starts to apply a delta in slices; its origin is `applying` until the last one. Says whether
    /// there is something to do. O(1).
    ///
    /// # Errors
    /// When the delta does not fit this tracker. Nothing has changed then.
    pub fn begin_delta(&mut self, staged: &mut StagedDelta) -> Result<bool, ApplyError> {
        let head = &staged.head;
        let known = self.admit(&head.origin)?;
        let clock = known.map_or(0, |n| self.origins.get(n).clock);
        if head.to <= clock {
            return Ok(false);
        }
        if head.from > clock && !is_broken(Fault::ApplyOverGap) {
            return Err(ApplyError::Gap {
                clock,
                from: head.from,
            });
        }
        self.check_room(staged.puts)?;
        let number = self.make_room(&head.origin, known, &mut staged.diff);
        self.tokens += 1;
        staged.token = self.tokens;
        staged.clock = clock;
        staged.step = Step::Check(staged.start.clone());
        self.origins.get_mut(number).applying = Some(staged.token);
        if clock == 0 {
            self.origins.set_loading(number, true);
        }
        Ok(true)
    }

    /// Does the next slice of a delta: at most `records_max` records. O(`records_max`).
    ///
    /// # Errors
    /// [`ApplyError::Diverged`] when the delta contradicts the state; nothing has changed then and
    /// the delta is over. [`ApplyError::Applying`] when the origin was dropped in between.
    pub fn delta_slice(
        &mut self,
        staged: &mut StagedDelta,
        records_max: usize,
    ) -> Result<Slice, ApplyError> {
        let number = self.origins.find(&staged.head.origin.replica);
        let applies = |&n: &u16| self.origins.get(n).applying == Some(staged.token);
        let Some(number) = number.filter(applies) else {
            staged.step = Step::Done;
            return Err(ApplyError::Applying);
        };
        let mut diff = std::mem::take(&mut staged.diff);
        let mut budget = records_max.max(1);
        while budget > 0 && !matches!(staged.step, Step::Done) {
            let step = std::mem::replace(&mut staged.step, Step::Done);
            match self.advance_delta(staged, step, number, (&mut budget, &mut diff)) {
                Ok(step) => staged.step = step,
                Err(error) => {
                    self.origins.get_mut(number).applying = None;
                    return Err(error);
                }
            }
        }
        let done = matches!(staged.step, Step::Done);
        if done {
            let origin = self.origins.get_mut(number);
            origin.clock = staged.head.to;
            origin.applying = None;
            self.origins.set_loading(number, false);
        }
        Ok(Slice {
            diff: diff.finish(),
            done,
        })
    }

    fn advance_delta(
        &mut self,
        staged: &StagedDelta,
        step: Step,
        number: u16,
        (budget, diff): (&mut usize, &mut DiffBuilder),
    ) -> Result<Step, ApplyError> {
        let (is_check, place) = match step {
            Step::Check(place) => (true, place),
            Step::Apply(place) => (false, place),
            Step::Done => return Ok(Step::Done),
        };
        let limits = self.limits.clone();
        let mut records = Records::new(&staged.body, &limits, staged.head.origin.slot, place);
        while *budget > 0 {
            *budget -= 1;
            match records.next()? {
                Some(record) if is_check => {
                    self.check_against(self.origins.get(number), record, staged.clock)?;
                }
                Some(record) => self.apply_record(number, record, staged.clock, diff),
                None if is_check => return Ok(Step::Apply(staged.start.clone())),
                None => return Ok(Step::Done),
            }
        }
        let place = records.into_place();
        Ok(if is_check {
            Step::Check(place)
        } else {
            Step::Apply(place)
        })
    }

    /// Applies one record of a `Delta`, unless the state at `clock` has it already.
    pub(super) fn apply_record(
        &mut self,
        number: u16,
        record: Record<'_>,
        clock: u64,
        diff: &mut DiffBuilder,
    ) {
        match record {
            Record::NewEntry { put, versions } if versions.version > clock => {
                self.put_remote(number, &put, versions, diff);
            }
            Record::Leave(leave) if leave.op > clock => {
                let origin = self.origins.get(number);
                if let Some(index) = origin.by_birth(&self.store.slab, leave.birth) {
                    self.remove_remote(number, index, diff);
                }
                let len_max = self.limits.leave_log_len_max;
                self.origins.get_mut(number).log_leave(leave, len_max);
            }
            _ => {}
        }
    }
}
