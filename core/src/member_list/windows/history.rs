//! The windows of clients that are away, and what windows were called, kept for their return.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hashbrown::HashMap;

use crate::member_list::Id;
use crate::member_list::frames::model::{Frame, Shared};
use crate::member_list::options::ResumeLimits;
use crate::member_list::windows::handle::{Arrivals, Handle};
use crate::member_list::windows::log::{ChangedFields, WindowLog};
use crate::member_list::windows::row::WindowRow;
use crate::member_list::windows::spec::WindowSpec;

/// Answers kept between two ticks.
const ANSWERS_MAX: usize = 1_024;

/// A window that the last viewer left without closing it.
#[derive(Debug)]
struct Parked<I> {
    handle: Arc<Handle<I>>,
    at: Duration,
}

/// A window as it was when it became another one.
#[derive(Debug)]
pub(crate) struct Retired<I> {
    /// Its last version, and the rows it had.
    pub(crate) version: u64,
    pub(crate) rows: Vec<WindowRow<I>>,
    pub(crate) log: WindowLog<I>,
    /// The window it became, at which version, and the fields that this changed.
    pub(crate) next: WindowSpec<I>,
    pub(crate) next_version: u64,
    pub(crate) fields: ChangedFields<I>,
    at: Duration,
    /// Grows with each window that becomes another one.
    pub(crate) serial: u64,
}

/// The answer to clients that hold one version of one window.
#[derive(Debug)]
struct Answer<I> {
    /// The window it leads to.
    target: u64,
    frame: Arc<Shared<Frame<I>>>,
}

/// All that a list keeps for clients that are away. Bounded in time and memory.
#[derive(Debug)]
pub(crate) struct History<I> {
    limits: ResumeLimits,
    now: Duration,
    arrivals: Arc<Arrivals<I>>,
    parked: HashMap<u64, Parked<I>>,
    /// Oldest first.
    retired: HashMap<WindowSpec<I>, VecDeque<Retired<I>>>,
    retirements: u64,
    answers: HashMap<(WindowSpec<I>, u64), Answer<I>>,
}

impl<I: Id> Retired<I> {
    /// Makes the record of a window that becomes `next`; its log comes with its publication.
    pub(crate) fn new(
        version: u64,
        rows: Vec<WindowRow<I>>,
        next: (WindowSpec<I>, u64),
        fields: ChangedFields<I>,
    ) -> Self {
        Self {
            version,
            rows,
            log: WindowLog::default(),
            next: next.0,
            next_version: next.1,
            fields,
            at: Duration::ZERO,
            serial: 0,
        }
    }

    /// Returns the position in the log of the first step after `version`, if the rows of `version`
    /// can be made.
    pub(crate) fn start(&self, version: u64) -> Option<usize> {
        self.log.start(version, self.version)
    }

    fn bytes(&self) -> usize {
        let rows: usize = self.rows.iter().map(WindowRow::bytes).sum();
        let fields = self.fields.iter();
        let fields = fields.map(|(id, _)| size_of_val(&self.fields[0]) + id.heap_bytes());
        size_of::<Self>() + rows + self.log.bytes() + fields.sum::<usize>()
    }
}

impl<I: Id> History<I> {
    pub(crate) fn new(limits: ResumeLimits) -> Self {
        Self {
            limits,
            now: Duration::ZERO,
            arrivals: Arc::new(Arrivals::new(limits.arrivals_max())),
            parked: HashMap::new(),
            retired: HashMap::new(),
            retirements: 0,
            answers: HashMap::new(),
        }
    }

    /// Returns where viewers leave the windows that they do not close.
    pub(crate) fn arrivals(&self) -> Weak<Arrivals<I>> {
        Arc::downgrade(&self.arrivals)
    }

    /// Sets the limits from the next tick on.
    pub(crate) fn set_limits(&mut self, limits: ResumeLimits) {
        self.limits = limits;
        self.arrivals.set_bytes_max(limits.arrivals_max());
    }

    /// Returns the time of the last tick.
    pub(crate) const fn now(&self) -> Duration {
        self.now
    }

    /// Begins a tick: takes in the windows that viewers left, and lets go of those whose time is
    /// over. Returns the time up to which logs are forgotten, if there is one.
    pub(crate) fn begin_tick(&mut self, now: Duration) -> Option<Duration> {
        self.now = now;
        self.answers.clear();
        for (serial, handle) in self.arrivals.drain() {
            self.parked.insert(serial, Parked { handle, at: now });
        }
        let end = now.checked_sub(self.limits.keep)?;
        self.forget_until(end);
        Some(end)
    }

    /// Forgets windows that were left, and names that ended, up to a time, that included.
    pub(crate) fn forget_until(&mut self, time: Duration) {
        self.parked.retain(|_, parked| parked.at > time);
        self.retired.retain(|_, retired| {
            while retired.pop_front_if(|retired| retired.at <= time).is_some() {}
            !retired.is_empty()
        });
    }

    /// Forgets everything: the epoch is over.
    pub(crate) fn clear(&mut self) {
        drop(self.arrivals.drain());
        self.parked.clear();
        self.retired.clear();
        self.answers.clear();
    }

    /// Keeps what a window was when it became another one.
    pub(crate) fn retire(&mut self, spec: &WindowSpec<I>, mut retired: Retired<I>) {
        self.retirements += 1;
        (retired.at, retired.serial) = (self.now, self.retirements);
        let named = self.retired.entry(spec.clone());
        named.or_default().push_back(retired);
    }

    /// Keeps `target` for as long as the window that became it would have been kept.
    pub(crate) fn follow(&mut self, old: u64, target: &Arc<Handle<I>>) {
        let Some(Parked { at, .. }) = self.parked.remove(&old) else {
            return;
        };
        let parked = self.parked.entry(target.serial).or_insert_with(|| Parked {
            handle: target.clone(),
            at,
        });
        parked.at = parked.at.max(at);
    }

    /// Returns the window of a name that became another one after `serial` and knows `version`.
    pub(crate) fn retired(
        &self,
        spec: &WindowSpec<I>,
        version: u64,
        serial: u64,
    ) -> Option<&Retired<I>> {
        let named = self.retired.get(spec)?.iter().rev();
        let mut later = named.take_while(|retired| retired.serial > serial);
        later.find(|retired| retired.start(version).is_some())
    }

    /// Returns the frame that leads from a version of a window to what `target` shows at `version`
    /// and `base_index`, if it was made since the last tick.
    pub(crate) fn answer(
        &self,
        from: &(WindowSpec<I>, u64),
        target: &Handle<I>,
        version: u64,
    ) -> Option<Arc<Shared<Frame<I>>>> {
        let answer = self.answers.get(from)?;
        let frame = &answer.frame;
        let is_current = answer.target == target.serial
            && frame.new_version == version
            && frame.base_index == target.base_index();
        is_current.then(|| frame.clone())
    }

    /// Keeps an answer for other clients that hold the same.
    pub(crate) fn keep_answer(
        &mut self,
        from: (WindowSpec<I>, u64),
        target: &Handle<I>,
        frame: &Arc<Shared<Frame<I>>>,
    ) {
        if self.answers.len() < ANSWERS_MAX || self.answers.contains_key(&from) {
            let answer = Answer {
                target: target.serial,
                frame: frame.clone(),
            };
            self.answers.insert(from, answer);
        }
    }

    /// Returns the memory of what is kept in bytes, without the logs of windows. O(kept windows).
    pub(crate) fn bytes(&self) -> usize {
        let mut sizes = Vec::new();
        self.sizes(&mut sizes);
        sizes.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Adds the time and the bytes of each window that is kept to `out`.
    pub(crate) fn sizes(&self, out: &mut Vec<(Duration, usize)>) {
        let parked = self.parked.values();
        // One that viewers hold as well costs nothing.
        let parked = parked.filter(|parked| Arc::strong_count(&parked.handle) == 1);
        out.extend(parked.map(|parked| (parked.at, parked.handle.row_bytes())));
        let retired = self.retired.values().flatten();
        out.extend(retired.map(|retired| (retired.at, retired.bytes())));
    }
}
