//! Applying a `Repair`: at once, or in slices between which other work may be done.

use bytes::Bytes;

use super::Tracker;
use super::diff::{Diff, DiffBuilder};
use super::leave::LeaveReason;
use super::limits::Limits;
use super::slab::NIL;
use super::slice::Slice;
use super::state::State;
use super::topic_share::TopicShare;
use super::wire::{Kept, Place, Record, Records, RepairHead};
use crate::codec::{DecodeError, Reader};
use crate::error::ApplyError;

/// A `Repair` that passed every check which needs no tracker, to be applied in slices. See
/// [`Slice`].
///
/// Entries of an origin that was unknown before become visible with the last step.
///
/// ```
/// use headcount::tracker::StagedRepair;
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// for i in 0..100 {
///     a.track(&NewEntry::new("room", &format!("user {i}"), "conn"))?;
/// }
/// let body = a.full_body(a.id()).unwrap();
/// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
/// let mut staged = StagedRepair::new(body.into(), b.limits())?;
/// assert!(staged.begin(&mut b, false)?);
/// let mut steps = 0;
/// while !staged.step(&mut b, 30)?.done {
///     assert_eq!(b.count("room"), 0);
///     steps += 1;
/// }
/// assert!(steps >= 3);
/// assert_eq!(b.count("room"), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is taken until it is stepped"]
pub struct StagedRepair {
    plan: Plan,
    body: Bytes,
}

/// A checked body, and how far it is applied.
#[derive(Debug, Clone)]
struct Plan {
    head: RepairHead,
    kept_at: usize,
    records_at: usize,
    puts: u32,
    stage: Stage,
    token: u64,
    /// The leaves that the start brought: those of a lower incarnation.
    diff: DiffBuilder,
}

/// The work of the next step. Entry indexes stay valid between steps: nothing else changes a
/// claimed origin.
#[derive(Debug, Clone)]
enum Stage {
    /// Checks that every listed version is here.
    Check {
        kept: Kept,
        entry: u32,
    },
    /// Removes the entries that are not listed.
    Drop {
        kept: Kept,
        keep: Option<u64>,
        entry: u32,
    },
    /// Moves the entries that have a put to the newest end; the entries up to `boundary` were not
    /// moved yet.
    Mark {
        place: Place,
        boundary: u32,
    },
    /// Removes the entries above the base that were not moved. Leaves come before the joins: a
    /// session that left and came back shows in that order.
    Sweep {
        boundary: u32,
    },
    /// Writes the puts.
    Write {
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

    /// As [`new`](Self::new), for a content without its head.
    pub(super) fn of_content(
        head: RepairHead,
        content: Bytes,
        limits: &Limits,
        share: TopicShare,
    ) -> Result<Self, DecodeError> {
        let plan = Plan::of_content(head, &content, 0, limits, share)?;
        let body = content;
        Ok(Self { plan, body })
    }

    /// Returns the first fields of the frame.
    #[must_use]
    pub fn head(&self) -> &RepairHead {
        &self.plan.head
    }

    /// Starts to apply the repair, and returns whether it brings something. `full` as in
    /// [`Tracker::apply_repair`]. O(1), or O(entries) of a lower incarnation that it ends.
    ///
    /// # Errors
    /// When the repair does not fit this tracker. Nothing has changed then.
    pub fn begin(&mut self, tracker: &mut Tracker, full: bool) -> Result<bool, ApplyError> {
        self.plan.begin(&self.body, &mut tracker.state, full, true)
    }

    /// Applies the next `records_max` records at most. O(`records_max`).
    ///
    /// # Errors
    /// [`ApplyError::Diverged`] when the repair contradicts the state; nothing has changed then and
    /// the repair is over. [`ApplyError::Applying`] when the origin was dropped in between.
    pub fn step(&mut self, tracker: &mut Tracker, records_max: usize) -> Result<Slice, ApplyError> {
        self.plan.step(&self.body, &mut tracker.state, records_max)
    }

    /// Gives up the repair. If it has changed entries already, the tracker drops the origin,
    /// because its state is not exact. The Diff has the leaves.
    pub fn cancel(&mut self, tracker: &mut Tracker) -> Diff {
        self.cancel_for(tracker, LeaveReason::Unknown)
    }

    /// Does what [`cancel`](Self::cancel) does, with a reason for the leaves.
    pub(crate) fn cancel_for(&mut self, tracker: &mut Tracker, reason: LeaveReason) -> Diff {
        self.plan.cancel(&mut tracker.state, reason)
    }
}

/// Applies a body at once.
pub(super) fn apply(state: &mut State, body: &[u8], full: bool) -> Result<Diff, ApplyError> {
    let plan = Plan::new(body, state.limits())?;
    apply_plan(state, plan, body, full)
}

/// Applies what follows the head of a repair, at once.
pub(super) fn apply_content(
    state: &mut State,
    head: RepairHead,
    content: &[u8],
    full: bool,
) -> Result<Diff, ApplyError> {
    let plan = Plan::of_content(head, content, 0, state.limits(), state.share())?;
    apply_plan(state, plan, content, full)
}

fn apply_plan(
    state: &mut State,
    mut plan: Plan,
    body: &[u8],
    full: bool,
) -> Result<Diff, ApplyError> {
    if !plan.begin(body, state, full, false)? {
        return Ok(Diff::default());
    }
    Ok(plan.step(body, state, usize::MAX)?.diff)
}

/// Checks a body against the state, without applying it.
pub(super) fn check(state: &State, body: &[u8]) -> Result<(), ApplyError> {
    let plan = Plan::new(body, state.limits())?;
    if let Fit::Useful(Some(number)) = plan.fit(state, false)? {
        let kept = Kept::start(body, plan.kept_at, plan.head.base)?;
        let oldest = state.origin(number).order().oldest();
        plan.check_kept(body, state, number, &mut { usize::MAX }, kept, oldest)?;
    }
    Ok(())
}

/// Tells whether a repair brings something to a tracker.
enum Fit {
    Useless,
    /// It does; the number of its origin, if that is known.
    Useful(Option<u16>),
}

impl Plan {
    fn new(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let head = RepairHead::read(&mut reader)?;
        let share = head.share;
        Self::of_content(head, body, reader.offset(), limits, share)
    }

    /// Checks what follows the head of a repair, which begins at an offset of `body`.
    fn of_content(
        head: RepairHead,
        body: &[u8],
        kept_at: usize,
        limits: &Limits,
        share: TopicShare,
    ) -> Result<Self, DecodeError> {
        let mut kept = Kept::start(body, kept_at, head.base)?;
        while kept.next(body)?.is_some() {}
        let records_at = kept.offset();
        let place = Place::start(records_at, head.base..=head.to);
        let mut records = Records::new(body, limits, share, place);
        let mut puts = 0;
        let mut record_at = records_at;
        while let Some(record) = records.next()? {
            if matches!(record, Record::Leave(_)) {
                let what = "a repair has no leaves";
                return Err(DecodeError::invalid(record_at, what));
            }
            record_at = records.offset();
            puts += 1;
        }
        Ok(Self {
            head,
            kept_at,
            records_at,
            puts,
            stage: Stage::Done,
            token: 0,
            diff: DiffBuilder::default(),
        })
    }

    fn records_start(&self) -> Place {
        Place::start(self.records_at, self.head.base..=self.head.to)
    }

    fn begin(
        &mut self,
        body: &[u8],
        state: &mut State,
        full: bool,
        quiet: bool,
    ) -> Result<bool, ApplyError> {
        let Fit::Useful(known) = self.fit(state, full)? else {
            return Ok(false);
        };
        let kept = Kept::start(body, self.kept_at, self.head.base)?;
        let replica = &self.head.origin.replica;
        let number = known.unwrap_or_else(|| state.add_origin(replica, &mut self.diff));
        state.reserve(number, self.puts);
        self.token = state.begin_load(number, quiet);
        let entry = state.origin(number).order().oldest();
        self.stage = Stage::Check { kept, entry };
        Ok(true)
    }

    fn fit(&self, state: &State, full: bool) -> Result<Fit, ApplyError> {
        let head = &self.head;
        let known = state.admit(&head.origin.replica, head.share)?;
        let clock = known.map_or(0, |number| state.origin(number).clock());
        if head.to < clock || head.to == clock && !full {
            return Ok(Fit::Useless);
        }
        if head.base > clock {
            return Err(ApplyError::Gap {
                clock,
                from: head.base,
            });
        }
        state.check_room(self.puts)?;
        Ok(Fit::Useful(known))
    }

    fn step(
        &mut self,
        body: &[u8],
        state: &mut State,
        records_max: usize,
    ) -> Result<Slice, ApplyError> {
        let Some(number) = state.claimed(&self.head.origin.replica, self.token) else {
            self.stage = Stage::Done;
            return Err(ApplyError::Applying);
        };
        let mut work = Work {
            body,
            number,
            budget: records_max.max(1),
            diff: std::mem::take(&mut self.diff),
        };
        while work.budget > 0 && !matches!(self.stage, Stage::Done) {
            let stage = std::mem::replace(&mut self.stage, Stage::Done);
            match self.advance(state, &mut work, stage) {
                Ok(stage) => self.stage = stage,
                Err(error) => {
                    state.end_claim(number);
                    return Err(error);
                }
            }
        }
        let done = matches!(self.stage, Stage::Done);
        if done {
            state.restart_leaves(number, self.head.to);
            state.end_load(number, self.head.to);
        }
        Ok(Slice {
            diff: work.diff.finish(),
            done,
        })
    }

    fn cancel(&mut self, state: &mut State, reason: LeaveReason) -> Diff {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        let Some(number) = state.claimed(&self.head.origin.replica, self.token) else {
            return Diff::default();
        };
        let mut diff = std::mem::take(&mut self.diff);
        let is_unchanged = matches!(stage, Stage::Check { .. });
        state.cancel_load(number, is_unchanged, reason, &mut diff);
        diff.finish()
    }

    /// Does what the current stage allows within the budget. Returns the stage that follows.
    fn advance(
        &self,
        state: &mut State,
        work: &mut Work<'_>,
        stage: Stage,
    ) -> Result<Stage, ApplyError> {
        match stage {
            Stage::Check { kept, entry } => {
                let budget = &mut work.budget;
                self.check_kept(work.body, state, work.number, budget, kept, entry)
            }
            Stage::Drop { kept, keep, entry } => self.drop_unlisted(state, work, kept, keep, entry),
            Stage::Mark { place, boundary } => self.mark_puts(state, work, place, boundary),
            Stage::Sweep { boundary } => Ok(self.sweep(state, work, boundary)),
            Stage::Write { place } => self.write_puts(state, work, place),
            Stage::Done => Ok(Stage::Done),
        }
    }

    fn check_kept(
        &self,
        body: &[u8],
        state: &State,
        number: u16,
        budget: &mut usize,
        mut kept: Kept,
        mut entry: u32,
    ) -> Result<Stage, ApplyError> {
        loop {
            if *budget == 0 {
                return Ok(Stage::Check { kept, entry });
            }
            let before = kept.clone();
            let Some(version) = kept.next(body)? else {
                let mut kept = Kept::start(body, self.kept_at, self.head.base)?;
                let keep = kept.next(body)?;
                let entry = state.origin(number).order().oldest();
                return Ok(Stage::Drop { kept, keep, entry });
            };
            while entry != NIL && state.row(entry).version < version {
                if *budget == 0 {
                    let kept = before;
                    return Ok(Stage::Check { kept, entry });
                }
                *budget -= 1;
                entry = state.row(entry).newer;
            }
            let is_here = entry != NIL && state.row(entry).version == version;
            if !is_here {
                return Err(ApplyError::Diverged { op: version });
            }
        }
    }

    fn drop_unlisted(
        &self,
        state: &mut State,
        work: &mut Work<'_>,
        mut kept: Kept,
        mut keep: Option<u64>,
        mut entry: u32,
    ) -> Result<Stage, ApplyError> {
        let base = self.head.base;
        while entry != NIL && state.row(entry).version <= base {
            if work.budget == 0 {
                return Ok(Stage::Drop { kept, keep, entry });
            }
            work.budget -= 1;
            let newer = state.row(entry).newer;
            if keep == Some(state.row(entry).version) {
                keep = kept.next(work.body)?;
            } else {
                state.remove(entry, LeaveReason::Unknown, &mut work.diff);
            }
            entry = newer;
        }
        let place = self.records_start();
        let boundary = state.origin(work.number).order().newest();
        if boundary == NIL || state.row(boundary).version <= base {
            return Ok(Stage::Write { place });
        }
        Ok(Stage::Mark { place, boundary })
    }

    fn mark_puts(
        &self,
        state: &mut State,
        work: &mut Work<'_>,
        place: Place,
        mut boundary: u32,
    ) -> Result<Stage, ApplyError> {
        let limits = state.limits().clone();
        let mut records = Records::new(work.body, &limits, state.share(), place);
        while work.budget > 0 {
            work.budget -= 1;
            let Some(record) = records.next()? else {
                return Ok(Stage::Sweep { boundary });
            };
            let Record::NewEntry { versions, .. } = record else {
                continue;
            };
            if let Some(entry) = state.by_birth(work.number, versions.birth) {
                if entry == boundary {
                    boundary = state.row(boundary).older;
                }
                state.make_newest(entry);
            }
        }
        let place = records.into_place();
        Ok(Stage::Mark { place, boundary })
    }

    fn sweep(&self, state: &mut State, work: &mut Work<'_>, mut boundary: u32) -> Stage {
        while boundary != NIL && state.row(boundary).version > self.head.base {
            if work.budget == 0 {
                return Stage::Sweep { boundary };
            }
            work.budget -= 1;
            let older = state.row(boundary).older;
            state.remove(boundary, LeaveReason::Unknown, &mut work.diff);
            boundary = older;
        }
        Stage::Write {
            place: self.records_start(),
        }
    }

    fn write_puts(
        &self,
        state: &mut State,
        work: &mut Work<'_>,
        place: Place,
    ) -> Result<Stage, ApplyError> {
        let limits = state.limits().clone();
        let mut records = Records::new(work.body, &limits, state.share(), place);
        while work.budget > 0 {
            work.budget -= 1;
            let Some(record) = records.next()? else {
                return Ok(Stage::Done);
            };
            if let Record::NewEntry { put, versions } = record {
                state.put(work.number, &put, versions, &mut work.diff);
            }
        }
        let place = records.into_place();
        Ok(Stage::Write { place })
    }
}

/// One step under way.
struct Work<'a> {
    body: &'a [u8],
    number: u16,
    /// Records and entries that may still be looked at.
    budget: usize,
    diff: DiffBuilder,
}
