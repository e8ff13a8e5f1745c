//! Applying a `Repair`: at once, or in slices between which other work may go on.

use bytes::Bytes;

use super::Tracker;
use super::diff::{Diff, DiffBuilder};
use super::limits::Limits;
use super::slab::NIL;
use super::wire::{Kept, Place, Record, Records, RepairHead};
use crate::codec::{DecodeError, Reader};
use crate::error::ApplyError;
use crate::fault::{Fault, is_broken};

/// A `Repair` that passed every check which needs no tracker, to be applied in slices.
///
/// While it is being applied its origin is `applying`: not served, and other frames of it are
/// refused. A load of an unknown origin stays unseen until the last slice.
///
/// ```
/// use headcount::tracker::StagedRepair;
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// for i in 0..100 {
///     a.track(&NewEntry::new("room", &format!("user {i}"), "conn"))?;
/// }
/// let body = a.full_body(a.id(), 0).unwrap();
/// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
/// let mut staged = StagedRepair::new(body.into(), b.limits())?;
/// assert!(b.begin_repair(&mut staged, false)?);
/// let mut slices = 0;
/// while !b.repair_slice(&mut staged, 30)?.done {
///     assert_eq!(b.count("room"), 0);
///     slices += 1;
/// }
/// assert!(slices >= 3);
/// assert_eq!(b.count("room"), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StagedRepair {
    plan: Plan,
    body: Bytes,
}

/// How far a repair is.
#[derive(Debug)]
pub(super) struct Plan {
    head: RepairHead,
    kept_at: usize,
    records_at: usize,
    puts: u32,
    step: Step,
    /// Which load this is, so that a later one of the same origin is not mistaken for it.
    token: u64,
    /// What ended with the start: the entries of a lower incarnation.
    diff: DiffBuilder,
}

/// What one slice did.
#[derive(Debug, Default)]
pub struct Slice {
    /// What became visible or changed.
    pub diff: Diff,
    /// True if this was the last one.
    pub done: bool,
}

/// What a slice does next. Entry numbers stay valid between slices: nothing else changes an origin
/// that is `applying`.
#[derive(Debug)]
enum Step {
    Idle,
    /// Is every listed version here?
    Check {
        kept: Kept,
        at: u32,
    },
    /// Remove what is not listed.
    Drop {
        kept: Kept,
        keep: Option<u64>,
        at: u32,
    },
    /// Move what has a put to the newest end; the entries up to `boundary` were not moved yet.
    Mark {
        place: Place,
        boundary: u32,
    },
    /// Remove what is above the base and was not moved. Leaves come before the joins: a session
    /// that left and came back shows in that order.
    Sweep {
        boundary: u32,
    },
    /// Write the puts.
    NewEntry {
        place: Place,
    },
    Done,
}

impl StagedRepair {
    /// Checks a whole body. O(length), needs no lock.
    ///
    /// # Errors
    /// When it is not a valid `Repair` within the limits.
    pub fn new(body: Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let plan = Plan::new(&body, limits)?;
        Ok(Self { plan, body })
    }

    /// Returns what the repair is about.
    #[must_use]
    pub fn head(&self) -> &RepairHead {
        &self.plan.head
    }
}

impl Plan {
    fn new(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let head = RepairHead::read(&mut reader)?;
        let kept_at = reader.offset();
        let mut kept = Kept::start(body, kept_at, head.base)?;
        while kept.next(body)?.is_some() {}
        let records_at = kept.offset;
        let place = Place::start(records_at, (head.base, head.to));
        let mut records = Records::new(body, limits, head.origin.slot, place);
        let mut puts = 0;
        let mut at = records_at;
        while let Some(record) = records.next()? {
            if matches!(record, Record::Leave(_)) {
                return Err(DecodeError::invalid(at, "a repair has no leaves"));
            }
            at = records.place().offset;
            puts += 1;
        }
        let step = Step::Idle;
        let diff = DiffBuilder::default();
        Ok(Self {
            head,
            kept_at,
            records_at,
            puts,
            step,
            token: 0,
            diff,
        })
    }

    fn place(&self) -> Place {
        Place::start(self.records_at, (self.head.base, self.head.to))
    }
}

impl Tracker {
    /// Applies the body of a `Repair` frame at once. With `full`, which says that this holder asked
    /// for the whole state because its own is wrong, a state that is not newer is taken too.
    /// O(entries of the origin).
    ///
    /// # Errors
    /// As [`apply`](Self::apply); offsets are those in the body.
    pub fn apply_repair(&mut self, body: &[u8], full: bool) -> Result<Diff, ApplyError> {
        let mut plan = Plan::new(body, &self.limits)?;
        if !self.begin((&mut plan, body), full, false)? {
            return Ok(Diff::default());
        }
        Ok(self.slice((&mut plan, body), usize::MAX)?.diff)
    }

    /// Starts to apply a repair in slices. `full` as in [`apply_repair`](Self::apply_repair). Says
    /// whether there is something to do. O(1), or O(entries) of a lower incarnation that it ends.
    ///
    /// # Errors
    /// When the repair does not fit this tracker. Nothing has changed then.
    pub fn begin_repair(
        &mut self,
        staged: &mut StagedRepair,
        full: bool,
    ) -> Result<bool, ApplyError> {
        self.begin((&mut staged.plan, &staged.body), full, true)
    }

    fn begin(
        &mut self,
        (plan, body): (&mut Plan, &[u8]),
        full: bool,
        quiet: bool,
    ) -> Result<bool, ApplyError> {
        let Some(known) = self.fits(plan, full)? else {
            return Ok(false);
        };
        let head = &plan.head;
        let kept = Kept::start(body, plan.kept_at, head.base)?;
        let number = self.make_room(&head.origin, known, &mut plan.diff);
        self.tokens += 1;
        plan.token = self.tokens;
        let origin = self.origins.get_mut(number);
        origin.applying = Some(plan.token);
        if origin.len == 0 {
            origin.expect(plan.puts);
        }
        plan.step = Step::Check {
            kept,
            at: origin.oldest,
        };
        if quiet && self.origins.get(number).clock == 0 {
            self.origins.set_loading(number, true);
        }
        Ok(true)
    }

    /// True if a repair brings something to this tracker: then the number of its origin, if known.
    #[expect(
        clippy::option_option,
        reason = "nothing to do and nothing known are two answers"
    )]
    fn fits(&self, plan: &Plan, full: bool) -> Result<Option<Option<u16>>, ApplyError> {
        let head = &plan.head;
        let known = self.admit(&head.origin)?;
        let clock = known.map_or(0, |n| self.origins.get(n).clock);
        if head.to < clock || head.to == clock && !full {
            return Ok(None);
        }
        if head.base > clock && !is_broken(Fault::RepairOverClock) {
            return Err(ApplyError::Gap {
                clock,
                from: head.base,
            });
        }
        self.check_room(plan.puts)?;
        Ok(Some(known))
    }

    /// Checks a `Repair` against the state, without applying it.
    pub(super) fn check_repair(&self, body: &[u8]) -> Result<(), ApplyError> {
        let plan = Plan::new(body, &self.limits)?;
        if let Some(Some(number)) = self.fits(&plan, false)? {
            let kept = Kept::start(body, plan.kept_at, plan.head.base)?;
            let oldest = self.origins.get(number).oldest;
            self.check_kept((&plan, body), number, (kept, oldest), &mut { usize::MAX })?;
        }
        Ok(())
    }

    /// Does the next slice of a repair: at most `records_max` records. O(`records_max`).
    ///
    /// # Errors
    /// [`ApplyError::Diverged`] when the repair contradicts the state; nothing has changed then and
    /// the repair is over. [`ApplyError::Applying`] when the origin was dropped in between.
    pub fn repair_slice(
        &mut self,
        staged: &mut StagedRepair,
        records_max: usize,
    ) -> Result<Slice, ApplyError> {
        self.slice((&mut staged.plan, &staged.body), records_max)
    }

    fn slice(
        &mut self,
        (plan, body): (&mut Plan, &[u8]),
        records_max: usize,
    ) -> Result<Slice, ApplyError> {
        let number = self.origins.find(&plan.head.origin.replica);
        let applies = |&n: &u16| self.origins.get(n).applying == Some(plan.token);
        let Some(number) = number.filter(applies) else {
            plan.step = Step::Done;
            return Err(ApplyError::Applying);
        };
        let mut diff = std::mem::take(&mut plan.diff);
        let mut budget = records_max.max(1);
        while budget > 0 && !matches!(plan.step, Step::Done) {
            let step = std::mem::replace(&mut plan.step, Step::Done);
            match self.advance((plan, body), step, number, (&mut budget, &mut diff)) {
                Ok(step) => plan.step = step,
                Err(error) => {
                    self.origins.get_mut(number).applying = None;
                    plan.step = Step::Done;
                    return Err(error);
                }
            }
        }
        let done = matches!(plan.step, Step::Done);
        if done {
            self.finish_repair(number, plan.head.to);
        }
        Ok(Slice {
            diff: diff.finish(),
            done,
        })
    }

    /// Gives up a repair in between. If it has changed entries already, the origin is forgotten:
    /// what is here of it is no exact state. The Diff has the leaves.
    pub fn cancel_repair(&mut self, staged: &mut StagedRepair) -> Diff {
        let plan = &mut staged.plan;
        let step = std::mem::replace(&mut plan.step, Step::Done);
        let number = self.origins.find(&plan.head.origin.replica);
        let Some(number) = number.filter(|&n| self.origins.get(n).applying == Some(plan.token))
        else {
            return Diff::default();
        };
        let mut diff = std::mem::take(&mut plan.diff);
        if matches!(step, Step::Check { .. }) && self.origins.get(number).clock > 0 {
            self.origins.get_mut(number).applying = None;
        } else {
            self.drop_origin(number, &mut diff);
        }
        diff.finish()
    }

    /// Does what the current step allows within the budget. Gives the step to go on with.
    fn advance(
        &mut self,
        (plan, body): (&Plan, &[u8]),
        step: Step,
        number: u16,
        (budget, diff): (&mut usize, &mut DiffBuilder),
    ) -> Result<Step, ApplyError> {
        match step {
            Step::Idle | Step::Done => Ok(Step::Done),
            Step::Check { kept, at } => self.check_kept((plan, body), number, (kept, at), budget),
            Step::Drop {
                mut kept,
                mut keep,
                mut at,
            } => {
                while at != NIL && self.store.slab[at].version <= plan.head.base {
                    if *budget == 0 {
                        return Ok(Step::Drop { kept, keep, at });
                    }
                    *budget -= 1;
                    let newer = self.store.slab[at].newer;
                    if keep == Some(self.store.slab[at].version) {
                        keep = kept.next(body)?;
                    } else {
                        self.remove_remote(number, at, diff);
                    }
                    at = newer;
                }
                let newest = self.origins.get(number).newest;
                if newest == NIL || self.store.slab[newest].version <= plan.head.base {
                    return Ok(Step::NewEntry {
                        place: plan.place(),
                    });
                }
                Ok(Step::Mark {
                    place: plan.place(),
                    boundary: newest,
                })
            }
            Step::Mark { place, boundary } => {
                self.mark_puts((plan, body), number, (place, boundary), budget)
            }
            Step::NewEntry { place } => self.write_puts((plan, body), number, place, budget, diff),
            Step::Sweep { mut boundary } => {
                while boundary != NIL && self.store.slab[boundary].version > plan.head.base {
                    if *budget == 0 {
                        return Ok(Step::Sweep { boundary });
                    }
                    *budget -= 1;
                    let older = self.store.slab[boundary].older;
                    self.remove_remote(number, boundary, diff);
                    boundary = older;
                }
                Ok(Step::NewEntry {
                    place: plan.place(),
                })
            }
        }
    }

    fn check_kept(
        &self,
        (plan, body): (&Plan, &[u8]),
        number: u16,
        (mut kept, mut at): (Kept, u32),
        budget: &mut usize,
    ) -> Result<Step, ApplyError> {
        loop {
            if *budget == 0 {
                return Ok(Step::Check { kept, at });
            }
            let before = kept.clone();
            let Some(version) = kept.next(body)? else {
                let mut kept = Kept::start(body, plan.kept_at, plan.head.base)?;
                let keep = kept.next(body)?;
                return Ok(Step::Drop {
                    kept,
                    keep,
                    at: self.origins.get(number).oldest,
                });
            };
            while at != NIL && self.store.slab[at].version < version {
                if *budget == 0 {
                    return Ok(Step::Check { kept: before, at });
                }
                *budget -= 1;
                at = self.store.slab[at].newer;
            }
            let is_here = at != NIL && self.store.slab[at].version == version;
            if !is_here && !is_broken(Fault::RepairOverClock) {
                return Err(ApplyError::Diverged { op: version });
            }
        }
    }

    fn mark_puts(
        &mut self,
        (plan, body): (&Plan, &[u8]),
        number: u16,
        (place, mut boundary): (Place, u32),
        budget: &mut usize,
    ) -> Result<Step, ApplyError> {
        let limits = self.limits.clone();
        let mut records = Records::new(body, &limits, plan.head.origin.slot, place);
        while *budget > 0 {
            *budget -= 1;
            let Some(record) = records.next()? else {
                return Ok(Step::Sweep { boundary });
            };
            let Record::NewEntry { versions, .. } = record else {
                continue;
            };
            let origin = self.origins.get_mut(number);
            if let Some(index) = origin.by_birth(&self.store.slab, versions.birth) {
                if index == boundary {
                    boundary = self.store.slab[boundary].older;
                }
                origin.unlink(&mut self.store.slab, index);
                origin.append(&mut self.store.slab, index);
            }
        }
        Ok(Step::Mark {
            place: records.into_place(),
            boundary,
        })
    }

    fn write_puts(
        &mut self,
        (plan, body): (&Plan, &[u8]),
        number: u16,
        place: Place,
        budget: &mut usize,
        diff: &mut DiffBuilder,
    ) -> Result<Step, ApplyError> {
        let limits = self.limits.clone();
        let mut records = Records::new(body, &limits, plan.head.origin.slot, place);
        while *budget > 0 {
            *budget -= 1;
            let Some(record) = records.next()? else {
                return Ok(Step::Done);
            };
            if let Record::NewEntry { put, versions } = record {
                self.put_remote(number, &put, versions, diff);
            }
        }
        Ok(Step::NewEntry {
            place: records.into_place(),
        })
    }

    fn finish_repair(&mut self, number: u16, to: u64) {
        let origin = self.origins.get_mut(number);
        origin.clock = to;
        if !is_broken(Fault::KeepHorizon) {
            origin.horizon = to;
            origin.leaves.clear();
        }
        origin.applying = None;
        self.origins.set_loading(number, false);
    }
}
