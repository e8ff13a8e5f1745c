//! One watched window: the rows viewers hold of it, and its next step.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::MutexGuard;

use crate::fault::{Fault, is_broken};
use crate::member_list::Id;
use crate::member_list::frames::model::RowKey;
use crate::member_list::frames::model::{Frame, FrameChange, Shared};
use crate::member_list::windows::base::{WindowBase, same, under_name};
use crate::member_list::windows::diff::{Script, positions, script};
use crate::member_list::windows::handle::{Handle, Published};
use crate::member_list::windows::history::Retired;
use crate::member_list::windows::log::{LogStep, Past, fields_between};
use crate::member_list::windows::reader::{WindowReader, are_untouched};
use crate::member_list::windows::render::FrameBuilder;
use crate::member_list::windows::row::{WindowRow, read_rows, row_index, row_near};
use crate::member_list::windows::search::Search;
use crate::member_list::windows::spec::WindowSpec;

/// Versions of one window that viewers may hold at the same time. Beyond it, viewers that opened
/// the window since the last tick get a SYNC, never the many that were there.
const BASES_MAX: usize = 4;

/// A window in a tick: its handle, and its published rows.
pub(crate) struct Watched<'a, I> {
    handle: &'a Arc<Handle<I>>,
    published: MutexGuard<'a, Published<I>>,
}

/// A frame, and the version it starts from.
#[derive(Debug)]
pub(crate) struct WindowStep<I> {
    pub(crate) from: u64,
    pub(crate) frame: Arc<Shared<Frame<I>>>,
}

/// The outcome of a tick for a window.
#[derive(Debug)]
pub(crate) enum Outcome<I> {
    /// No change is in reach of it.
    Quiet,
    /// Its rows are the same; its first index may be another one.
    Slid,
    /// It was read again: frames for the bases that are out of date.
    Steps(Vec<WindowStep<I>>),
    /// The anchor is gone.
    Left,
}

impl<I> Deref for Watched<'_, I> {
    type Target = Published<I>;

    fn deref(&self) -> &Published<I> {
        &self.published
    }
}

impl<I> DerefMut for Watched<'_, I> {
    fn deref_mut(&mut self) -> &mut Published<I> {
        &mut self.published
    }
}

impl<'a, I: Id> Watched<'a, I> {
    /// Locks a window.
    pub(crate) fn lock(handle: &'a Arc<Handle<I>>) -> Self {
        let published = handle.published();
        Self { handle, published }
    }

    /// Returns the number of the window.
    pub(crate) fn serial(&self) -> u64 {
        self.handle.serial
    }

    /// Makes `rows` the rows that a new viewer gets, unless they are already.
    pub(crate) fn refresh(
        &mut self,
        rows: Vec<WindowRow<I>>,
        renumberings: u64,
        matches: Option<u64>,
        next_version: impl FnOnce() -> u64,
        builder: &FrameBuilder<'_, I>,
    ) {
        // A tick that made the newest base may not have published it yet; here it is.
        self.note_step();
        let newest = self.newest_mut();
        if newest.matches == matches && same(&newest.rows, &rows) {
            (newest.rows, newest.renumberings) = (rows, renumberings);
        } else {
            let was = positions(&newest.rows, &rows);
            let script = script(&newest.rows, &rows, &was);
            self.invert(&rows, &script, builder);
            let base = WindowBase::new(next_version(), rows, renumberings);
            self.bases.push(base.with_matches(matches));
        }
        self.note_step();
        self.bound();
    }

    /// Notes where the window and its anchor are now.
    pub(crate) fn place(&mut self, base_index: usize, builder: &FrameBuilder<'_, I>) {
        self.base_index = base_index as u64;
        if let WindowSpec::Search(Search {
            group: Some(name), ..
        }) = self.handle.spec()
        {
            // A group that was renamed is known by its id until the next tick.
            self.group = builder.list().groups().by_name(name).or(self.group);
        }
        if let WindowSpec::Anchored {
            anchor: RowKey::Member(id),
            ..
        } = self.handle.spec()
        {
            self.position = builder.list().place_of(id);
        }
    }

    /// The SYNC of the newest version; made once.
    pub(crate) fn sync(&mut self, builder: &FrameBuilder<'_, I>) -> Arc<Shared<Frame<I>>> {
        if let Some(sync) = &self.newest().sync {
            // The rows may have slid since it was made.
            if sync.base_index == self.base_index || is_broken(Fault::StaleBase) {
                return sync.clone();
            }
        }
        let sync = Arc::new(Shared::new(self.sync_frame(builder)));
        self.newest_mut().sync = Some(sync.clone());
        sync
    }

    /// Returns whether the anchor, now at `index`, has left the place it had.
    pub(crate) fn anchor_left(&self, index: usize, builder: &FrameBuilder<'_, I>) -> bool {
        let WindowSpec::Anchored {
            anchor,
            follow: false,
            ..
        } = self.handle.spec()
        else {
            return false;
        };
        let RowKey::Member(id) = anchor else {
            return false;
        };
        self.position.is_some()
            && builder.list().place_of(id) != self.position
            && !self.has_same_neighbours(anchor, index, builder)
    }

    /// Brings the window to what the list shows now; `reader` is any buffer.
    ///
    /// The versions that viewers hold stay until [`settle`](Self::settle): if a `RowSource` panics
    /// before, the next step starts from the same versions.
    pub(crate) fn step(
        &mut self,
        version: u64,
        builder: &FrameBuilder<'_, I>,
        reader: &mut WindowReader<I>,
    ) -> Outcome<I> {
        let spec = self.handle.spec();
        if let WindowSpec::Search(search) = spec {
            return self.step_search(search, version, builder, reader);
        }
        let reach = match spec {
            WindowSpec::Chunk(_) | WindowSpec::Search(_) => spec.range(0, usize::MAX),
            // Whatever happens above an anchor moves it.
            WindowSpec::Anchored { .. } => {
                0..self.base_index as usize + self.newest().rows.len() + 1
            }
        };
        if !builder.dirty().touch(&reach) {
            return Outcome::Quiet;
        }
        let handle = self.handle;
        self.step = None;
        self.bases.retain(|base| handle.is_told(base.version));
        let total = builder.list().len();
        let index = match spec {
            WindowSpec::Anchored { anchor, .. } if total > 0 => {
                match row_index(builder.list(), anchor) {
                    Some(index) if !self.anchor_left(index, builder) => index,
                    _ => return Outcome::Left,
                }
            }
            _ => 0,
        };
        let range = spec.range(index, total);
        self.place(range.start, builder);
        if self.bases.len() == 1 && are_untouched(range.clone(), self.newest(), builder) {
            return Outcome::Slid;
        }
        reader.read(range, self.newest(), builder);
        Outcome::Steps(self.step_to(reader, version, builder))
    }

    /// Brings a search to what the list shows now, if it is time for it.
    fn step_search(
        &mut self,
        search: &Search,
        version: u64,
        builder: &FrameBuilder<'_, I>,
        reader: &mut WindowReader<I>,
    ) -> Outcome<I> {
        let changed = builder.dirty().is_touched();
        if !self.clock.is_due(builder.now(), changed) {
            return Outcome::Quiet;
        }
        if self.new_name(search, builder).is_some() {
            return Outcome::Left;
        }
        let handle = self.handle;
        self.bases.retain(|base| handle.is_told(base.version));
        self.place(search.base_index(), builder);
        let found = search.read(builder.list());
        reader.was = positions(&self.newest().rows, &found.rows);
        (reader.rows, reader.matches) = (found.rows, Some(found.matches));
        Outcome::Steps(self.step_to(reader, version, builder))
    }

    /// Returns the name that the group of a search has by now, if it is another one.
    fn new_name(&self, search: &Search, builder: &FrameBuilder<'_, I>) -> Option<Arc<str>> {
        let group = builder.list().groups().find(self.group?)?;
        let is_new = search.group.as_deref() != Some(&*group.name);
        is_new.then(|| group.name.clone())
    }

    /// Ends a step, whose frames are published: no viewer continues from the versions they lead
    /// away from. Returns the new first index, if it is another one.
    pub(crate) fn settle(&mut self, steps: &[WindowStep<I>]) -> Option<u64> {
        let is_past = |version| steps.iter().any(|step| step.from == version);
        self.bases.retain(|base| !is_past(base.version));
        self.gave_up = false;
        self.note_step();
        self.bound();
        self.publish_place()
    }

    /// Publishes the first index; returns it if it is another one.
    pub(crate) fn publish_place(&self) -> Option<u64> {
        let base_index = self.base_index;
        self.handle.publish_place(base_index).then_some(base_index)
    }

    /// Gives all versions up: every viewer of the window has to start afresh.
    pub(crate) fn give_up(&mut self) {
        self.gave_up = true;
        self.handle.set_versions(Vec::new());
        self.is_over = true;
        self.log.clear();
    }

    /// Prepares the log for a step from the newest base to `rows`.
    fn invert(&mut self, rows: &[WindowRow<I>], script: &Script, builder: &FrameBuilder<'_, I>) {
        if self.is_search() || !self.handle.keeps_log() {
            return;
        }
        let old = self.newest();
        let leads_over = !builder.is_bulk();
        let step = leads_over.then(|| LogStep::new(old.version, &old.rows, rows, script, builder));
        self.step = Some(step);
    }

    /// Puts the step that was prepared into the log: it is published.
    fn note_step(&mut self) {
        match self.step.take() {
            Some(Some(step)) => self.log.push(step),
            Some(None) => self.log.clear(),
            None => {}
        }
    }

    /// Returns the position in the log of the first step after `version`, if the rows of `version`
    /// can be made.
    pub(crate) fn start(&self, version: u64) -> Option<usize> {
        let is_kept = !self.is_over && !self.is_search();
        let start = is_kept.then(|| self.log.start(version, self.newest().version));
        start.flatten()
    }

    /// Returns the rows of `version`, or adds to `past` the fields that changed since; `None` if
    /// bulk work lies between.
    pub(crate) fn past(&self, past: Option<Past<I>>, version: u64) -> Option<Past<I>> {
        let start = self.start(version)?;
        Some(match past {
            Some(mut past) => {
                past.note_since(&self.log, start);
                past
            }
            None => Past::of(&self.log, &self.newest().rows, start),
        })
    }

    /// Returns the record of this window for clients that are away, when it becomes `target`.
    pub(crate) fn retire(
        &self,
        target: &Watched<'_, I>,
        builder: &FrameBuilder<'_, I>,
    ) -> Option<Retired<I>> {
        if self.is_over || self.is_search() || !self.handle.keeps_log() || builder.is_bulk() {
            return None;
        }
        let old = self.newest();
        let new = target.newest();
        let was = positions(&old.rows, &new.rows);
        let fields = fields_between(&old.rows, &new.rows, &was, builder);
        let next = (target.handle.spec().clone(), new.version);
        Some(Retired::new(old.version, old.rows.clone(), next, fields))
    }

    /// Returns the frame that leads from earlier rows to the newest ones, under `name`, or the SYNC
    /// if that is smaller. `builder` knows the fields that changed since.
    pub(crate) fn frame_since(
        &mut self,
        past: &WindowBase<I>,
        name: &Arc<str>,
        builder: &FrameBuilder<'_, I>,
    ) -> Arc<Shared<Frame<I>>> {
        let rows = &self.newest().rows;
        let script = script(&past.rows, rows, &positions(&past.rows, rows));
        let steps = script.deletes.len() + script.inserts.len() + script.updates.len();
        let is_long = 2 * steps > rows.len();
        let mut frame = self.frame_from(past, script, builder);
        if matches!(frame.change, FrameChange::Sync(_)) {
            return under_name(&self.sync(builder), name.clone());
        }
        if frame.window != *name {
            frame.renamed = Some(std::mem::replace(&mut frame.window, name.clone()));
        }
        let frame = Arc::new(Shared::new(frame));
        if is_long {
            let sync = self.sync(builder);
            if sync.binary().len() <= frame.binary().len() {
                return under_name(&sync, name.clone());
            }
        }
        frame
    }

    /// Returns whether viewers need a SYNC besides the frames from the versions they may hold.
    pub(crate) fn owes_sync(&self) -> bool {
        self.gave_up || self.handle.is_awaited()
    }

    /// Returns the window this one becomes, and where its anchor is, when its own anchor may have
    /// left: the window around a neighbour, or of its own name if the anchor is where it was.
    pub(crate) fn successor(&self, builder: &FrameBuilder<'_, I>) -> (WindowSpec<I>, usize) {
        let spec = self.handle.spec();
        if let WindowSpec::Search(search) = spec
            && let Some(name) = self.new_name(search, builder)
        {
            return (WindowSpec::Search(search.in_group(&name)), 0);
        }
        let WindowSpec::Anchored { anchor, .. } = spec else {
            return (spec.clone(), 0);
        };
        match row_index(builder.list(), anchor) {
            Some(index) if !self.anchor_left(index, builder) => return (spec.clone(), index),
            _ => {}
        }
        // Without a row to take over the list is empty: the window keeps its name.
        let anchor = self.new_anchor(builder).unwrap_or_else(|| anchor.clone());
        let index = row_index(builder.list(), &anchor).unwrap_or(0);
        (spec.reanchored(anchor), index)
    }

    /// The row that becomes the anchor when the present one is gone or has moved: the nearest row
    /// after it in the old window that did not move, else before it, else the row at the old start.
    fn new_anchor(&self, builder: &FrameBuilder<'_, I>) -> Option<RowKey<I>> {
        let WindowSpec::Anchored { anchor, .. } = self.handle.spec() else {
            return None;
        };
        let rows = &self.newest().rows;
        let at = rows.iter().position(|row| row.key == *anchor);
        let (above, below) = rows.split_at(at.unwrap_or(0));
        let below = below.iter().skip(usize::from(at.is_some()));
        if let Some(row) = below
            .chain(above.iter().rev())
            .find(|row| builder.stayed(&row.key))
        {
            return Some(row.key.clone());
        }
        row_near(builder.list(), self.base_index).map(|row| row.key)
    }

    /// Frames that lead from everything viewers hold of this window to `target`, under its name.
    pub(crate) fn steps_to(
        &self,
        target: &Watched<'_, I>,
        builder: &FrameBuilder<'_, I>,
    ) -> Vec<WindowStep<I>> {
        let name = self.handle.name();
        let next = target.handle.name();
        let is_renamed = next != name && !is_broken(Fault::RenameUntold);
        let renamed = is_renamed.then(|| next.clone());
        let told = self.bases.iter();
        let told = told.filter(|base| self.handle.is_told(base.version));
        let steps = told.map(|base| {
            let old = &base.rows;
            let new = &target.newest().rows;
            let mut frame = if builder.is_bulk() {
                target.sync_frame(builder)
            } else {
                let script = script(old, new, &positions(old, new));
                target.frame_from(base, script, builder)
            };
            frame.window = name.clone();
            frame.renamed.clone_from(&renamed);
            WindowStep {
                from: base.version,
                frame: Arc::new(Shared::new(frame)),
            }
        });
        steps.collect()
    }

    /// Keeps the bases few, and tells the handle which there are.
    fn bound(&mut self) {
        while self.bases.len() > BASES_MAX {
            self.bases.remove(1);
            self.gave_up = true;
        }
        self.handle
            .set_versions(self.bases.iter().map(|base| base.version).collect());
        let rows = self.bases.iter().map(WindowBase::bytes).sum();
        self.handle.set_bytes(rows, self.log.bytes());
    }

    fn step_to(
        &mut self,
        next: &mut WindowReader<I>,
        version: u64,
        builder: &FrameBuilder<'_, I>,
    ) -> Vec<WindowStep<I>> {
        let latest = script(&self.newest().rows, &next.rows, &next.was);
        let rows = std::mem::take(&mut next.rows);
        let renumberings = builder.written().renumberings();
        let matches = next.matches.take();
        let is_same = latest.is_empty() && self.newest().matches == matches;
        if !is_same {
            self.invert(&rows, &latest, builder);
        }
        let mut latest = (!is_same).then_some(latest);
        if latest.is_some() {
            let base = WindowBase::new(version, rows, renumberings);
            self.bases.push(base.with_matches(matches));
        } else {
            // The rows are the same; their slots may not be.
            let newest = self.newest_mut();
            (newest.rows, newest.renumberings) = (rows, renumberings);
        }
        let is_whole = builder.dirty().is_bulk() || self.is_search();
        let whole = (is_whole && self.bases.len() > 1).then(|| self.sync(builder));
        let newest = self.newest();
        let older = &self.bases[..self.bases.len() - 1];
        let mut steps = Vec::new();
        for (at, base) in older.iter().enumerate() {
            let script = match latest.take_if(|_| at + 1 == older.len()) {
                Some(script) => script,
                None if base.matches == newest.matches && same(&base.rows, &newest.rows) => {
                    continue;
                }
                None => script(
                    &base.rows,
                    &newest.rows,
                    &positions(&base.rows, &newest.rows),
                ),
            };
            let frame = match &whole {
                Some(sync) => sync.clone(),
                None => Arc::new(Shared::new(self.frame_from(base, script, builder))),
            };
            let from = base.version;
            steps.push(WindowStep { from, frame });
        }
        steps
    }

    /// The frame from `base` to the newest version, which `script` leads to.
    fn frame_from(
        &self,
        base: &WindowBase<I>,
        script: Script,
        builder: &FrameBuilder<'_, I>,
    ) -> Frame<I> {
        let rows = &self.newest().rows;
        let kept = base.rows.len() - script.deletes.len();
        if kept == 0 && !rows.is_empty() || self.is_search() {
            return self.sync_frame(builder);
        }
        Frame {
            base_version: base.version,
            whole_rows: builder.whole_rows(rows, &script),
            change: builder.delta(&base.rows, rows, script),
            ..self.frame(FrameChange::Sync(Vec::new()))
        }
    }

    /// Searches skip ticks, of which the notes of writes are gone: their frames are whole.
    fn is_search(&self) -> bool {
        self.handle.spec().is_search()
    }

    fn sync_frame(&self, builder: &FrameBuilder<'_, I>) -> Frame<I> {
        let rows = self
            .newest()
            .rows
            .iter()
            .map(|row| builder.row(row))
            .collect();
        self.frame(FrameChange::Sync(rows))
    }

    fn frame(&self, change: FrameChange<I>) -> Frame<I> {
        let newest = self.newest();
        Frame {
            new_version: newest.version,
            base_index: self.base_index,
            checksum32: newest.checksum32,
            matches: newest.matches,
            ..Frame::new(self.handle.name().clone(), change)
        }
    }

    /// Returns whether the rows next to the anchor are those that were next to it, and stayed: then
    /// it did not move, whatever became of its key.
    fn has_same_neighbours(
        &self,
        anchor: &RowKey<I>,
        index: usize,
        builder: &FrameBuilder<'_, I>,
    ) -> bool {
        let old = &self.newest().rows;
        let Some(at) = old.iter().position(|row| row.key == *anchor) else {
            return false;
        };
        if at == 0 || at + 1 >= old.len() || index == 0 || index + 1 >= builder.list().len() {
            return false;
        }
        let around = read_rows(builder.list(), index - 1..index + 2);
        let same =
            |row: &WindowRow<I>, old: &WindowRow<I>| row.key == old.key && builder.stayed(&row.key);
        around.len() == 3 && same(&around[0], &old[at - 1]) && same(&around[2], &old[at + 1])
    }
}
