//! The answer to a client that was away: what changed since the version that it still shows.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::member_list::Id;
use crate::member_list::changes::Changes;
use crate::member_list::frames::model::{Epoch, HeldWindow};
use crate::member_list::limits::VIEWER_WINDOWS_MAX;
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::windows::base::{WindowBase, under_name};
use crate::member_list::windows::bodies::Bodies;
use crate::member_list::windows::diff::positions;
use crate::member_list::windows::handle::Handle;
use crate::member_list::windows::log::{Past, fields_between};
use crate::member_list::windows::registry::{Opened, Windows};
use crate::member_list::windows::render::FrameBuilder;
use crate::member_list::windows::row::row_near;
use crate::member_list::windows::spec::{WindowError, WindowSpec};
use crate::member_list::windows::window::Watched;

/// A window that a client still shows, as it says.
#[derive(Clone, Debug)]
pub(crate) struct Claim<I> {
    pub(crate) spec: WindowSpec<I>,
    pub(crate) epoch: Epoch,
    pub(crate) version: u64,
}

impl<I: Id> Claim<I> {
    /// Reads what a client says that it holds. O(windows squared); a viewer has few.
    pub(crate) fn read_all(held: &[HeldWindow]) -> Result<Vec<Self>, WindowError> {
        let mut claims: Vec<Self> = Vec::new();
        // One more than a viewer may have shows that there are too many.
        for window in held.iter().take(VIEWER_WINDOWS_MAX + 1) {
            let spec = WindowSpec::parse(&window.window)?;
            if claims.iter().any(|claim| claim.spec == spec) {
                return Err(WindowError::NamedTwice);
            }
            claims.push(Self {
                spec,
                epoch: window.epoch.clone(),
                version: window.version,
            });
        }
        Ok(claims)
    }
}

/// The way from a version that a client holds to the window of now.
struct Trace<I> {
    /// The names that the window had, with the numbers of their ends.
    ended: Vec<(WindowSpec<I>, u64)>,
    live: Arc<Handle<I>>,
    /// The version of the live window at which the way reaches it.
    version: u64,
}

impl<I: Id> Windows<I> {
    /// Returns what leads a client from the rows that it holds to what the list shows now: one
    /// DELTA, or the SYNC if that is smaller or the rows that the client says are unknown.
    /// O(log n + rows + steps since x rows), and O(log n + rows) for further clients that hold the
    /// same.
    pub(crate) fn resume(
        &mut self,
        claim: &Claim<I>,
        builder: FrameBuilder<'_, I>,
    ) -> Result<Opened<I>, WindowError> {
        let is_known = claim.epoch == *self.epoch() && claim.version > 0;
        let trace = is_known.then(|| self.trace(claim)).flatten();
        let Some(trace) = trace else {
            return self.open_near(claim, &builder);
        };
        let (spec, index) = Watched::lock(&trace.live).successor(&builder);
        if spec != *trace.live.spec() {
            // The next tick leads its viewers over.
            let left = self.watched.remove(trace.live.spec());
            self.detached.extend(left);
        }
        let target = self.watch(&spec, index, &builder);
        let mut window = Watched::lock(&target);
        self.note_place(&window);
        let from = (claim.spec.clone(), claim.version);
        let version = window.newest().version;
        if let Some(frame) = self.history.answer(&from, &target, version) {
            drop(window);
            return Ok(Opened::new(target, frame));
        }
        let name: Arc<str> = claim.spec.to_string().into();
        let Some(past) = self.past(claim, &trace, &window, &builder) else {
            let sync = under_name(&window.sync(&builder), name);
            drop(window);
            return Ok(Opened::new(target, sync));
        };
        let base = WindowBase::past(claim.version, past.rows);
        let frame = window.frame_since(&base, &name, &builder.since(&past.fields));
        drop(window);
        self.history.keep_answer(from, &target, &frame);
        Ok(Opened::new(target, frame))
    }

    /// Makes the builder of an answer.
    pub(crate) fn builder<'a>(
        &self,
        list: ListRef<'a, I>,
        changes: &'a Changes<I>,
        bodies: Bodies<'a, I>,
    ) -> FrameBuilder<'a, I> {
        let builder = FrameBuilder::between_ticks(list, changes, bodies);
        let builder = builder.with_whole_rows(self.needs_whole_rows());
        builder.at(self.history.now())
    }

    /// Opens the window of a client that holds nothing that is known. If its anchor is gone, the
    /// first row of the list is the anchor.
    fn open_near(
        &mut self,
        claim: &Claim<I>,
        builder: &FrameBuilder<'_, I>,
    ) -> Result<Opened<I>, WindowError> {
        let mut opened = match self.open(&claim.spec, builder) {
            Err(WindowError::UnknownAnchor) => {
                let first = row_near(builder.list(), 0);
                let near = first.map_or(WindowSpec::Chunk(0), |row| claim.spec.reanchored(row.key));
                self.open(&near, builder)?
            }
            opened => opened?,
        };
        opened.frame = under_name(&opened.frame, claim.spec.to_string().into());
        Ok(opened)
    }

    /// Looks for the window that a client holds, under the names that it had since. `None` if the
    /// version is unknown.
    fn trace(&self, claim: &Claim<I>) -> Option<Trace<I>> {
        let mut ended: Vec<(WindowSpec<I>, u64)> = Vec::new();
        let mut spec = &claim.spec;
        let mut version = claim.version;
        loop {
            let live = self.watched.get(spec).and_then(Weak::upgrade);
            if let Some(live) = live.filter(|live| Watched::lock(live).start(version).is_some()) {
                return Some(Trace {
                    ended,
                    live,
                    version,
                });
            }
            // Each end is later than the one before, so the way does not return.
            let after = ended.last().map_or(0, |(_, serial)| *serial);
            let retired = self.history.retired(spec, version, after)?;
            ended.push((spec.clone(), retired.serial));
            (spec, version) = (&retired.next, retired.next_version);
        }
    }

    /// Returns the rows that a client holds, and the fields of bodies that changed until `target`;
    /// `None` if bulk work lies between.
    fn past(
        &self,
        claim: &Claim<I>,
        trace: &Trace<I>,
        target: &Watched<'_, I>,
        builder: &FrameBuilder<'_, I>,
    ) -> Option<Past<I>> {
        let mut past: Option<Past<I>> = None;
        let mut version = claim.version;
        let mut after = 0;
        for (spec, serial) in &trace.ended {
            let retired = self.history.retired(spec, version, after)?;
            let start = retired.start(version)?;
            let mut noted = match past {
                Some(past) => past,
                None => Past::of(&retired.log, &retired.rows, start),
            };
            noted.note_since(&retired.log, start);
            noted.note(&retired.fields);
            past = Some(noted);
            (version, after) = (retired.next_version, *serial);
        }
        if trace.live.serial == target.serial() {
            return target.past(past, trace.version);
        }
        let live = Watched::lock(&trace.live);
        let mut past = live
            .past(past, trace.version)
            .filter(|_| !builder.is_bulk())?;
        let old = &live.newest().rows;
        let new = &target.newest().rows;
        past.note(&fields_between(old, new, &positions(old, new), builder));
        Some(past)
    }

    /// Forgets the steps of all windows up to a time, that included. O(windows).
    pub(super) fn forget_steps_until(&self, time: Duration) {
        for handle in self.watched.values().filter_map(Weak::upgrade) {
            Watched::lock(&handle).log.forget_until(time);
        }
    }

    /// Returns the memory in bytes of what is kept for clients that are away. O(windows).
    pub(crate) fn resume_bytes(&self) -> usize {
        let handles = self.watched.values().chain(&self.detached);
        let handles = handles.filter_map(Weak::upgrade);
        let logs = handles.map(|handle| Watched::lock(&handle).log.bytes());
        self.history.bytes() + logs.sum::<usize>()
    }
}

/// Forgets the oldest of what the lists of a table keep for clients that are away, until it fits
/// `max` bytes. O(windows), and O(n log n) for n steps when there is too much.
pub(crate) fn bound<I: Id>(lists: &mut [&mut Windows<I>], max: usize) {
    // A part is left free for windows whose viewers go away before the next tick.
    let max = max / 4 * 3;
    let mut total: usize = lists.iter().map(|windows| windows.resume_bytes()).sum();
    if total <= max {
        return;
    }
    let mut sizes = Vec::new();
    for windows in lists.iter() {
        windows.history.sizes(&mut sizes);
        for handle in windows.watched.values().filter_map(Weak::upgrade) {
            Watched::lock(&handle).log.sizes(&mut sizes);
        }
    }
    sizes.sort_unstable();
    // A few ticks are forgotten at once, so that this is not done at each.
    let goal = max / 8 * 7;
    let mut end = None;
    for (at, bytes) in sizes {
        if total <= goal && end != Some(at) {
            break;
        }
        total -= bytes.min(total);
        end = Some(at);
    }
    let Some(end) = end else { return };
    for windows in lists {
        windows.history.forget_until(end);
        windows.forget_steps_until(end);
    }
}
