//! A tick under way, which several threads make together.

use std::time::Duration;

use crate::member_list::Id;
use crate::member_list::windows::bodies::{Bodies, SharedBodies};
use crate::member_list::windows::live::LiveList;
use crate::member_list::windows::registry::Windows;
use crate::member_list::windows::render::{FrameBuilder, Touched};
use crate::member_list::windows::resume::bound;
use crate::member_list::windows::steps::WindowSteps;
use crate::member_list::windows::tick::Tick;

/// A tick of a list that several threads make together; see
/// [`MemberList::begin_tick`](crate::member_list::MemberList::begin_tick).
///
/// While it lives, nobody can write to the list. Dropped unfinished, it publishes nothing: the next
/// tick publishes the same changes.
#[derive(Debug)]
#[must_use = "a tick is published by `finish`"]
pub struct TickWork<'a, I> {
    list: ListWork<'a, I>,
    bodies: SharedBodies<'a, I>,
    resume_bytes_max: usize,
}

impl<'a, I: Id> TickWork<'a, I> {
    pub(crate) fn begin(
        list: LiveList<'a, I>,
        now: Duration,
        bodies: SharedBodies<'a, I>,
        resume_bytes_max: usize,
    ) -> Self {
        Self {
            list: ListWork::begin(list, now),
            bodies,
            resume_bytes_max,
        }
    }

    /// Brings up to `windows` more windows, at least one, to what the list shows. Returns whether
    /// windows are left that nobody has begun. Some dozens at once keep the threads out of each
    /// other's way. O(rows) for each window that is in reach of a change.
    pub fn step(&self, windows: usize) -> bool {
        self.list.step(windows, self.bodies.into())
    }

    /// Publishes the tick. Brings the windows that are left to what the list shows, those included
    /// of which the `RowSource` panicked.
    #[must_use = "it is handed out once"]
    pub fn finish(self) -> Tick<I> {
        let (tick, windows) = self.list.finish(self.bodies.into());
        bound(&mut [windows], self.resume_bytes_max);
        tick
    }
}

/// A tick of one list under way.
#[derive(Debug)]
pub(crate) struct ListWork<'a, I> {
    list: LiveList<'a, I>,
    touched: Touched,
    steps: WindowSteps<I>,
}

impl<'a, I: Id> ListWork<'a, I> {
    pub(crate) fn begin(list: LiveList<'a, I>, now: Duration) -> Self {
        let touched = Touched::since_tick(list.changes, list.windows.is_watched());
        let steps = list.windows.begin_tick(now);
        Self {
            list,
            touched,
            steps,
        }
    }

    /// Steps up to `count` windows; returns whether there are more.
    pub(crate) fn step(&self, count: usize, bodies: Bodies<'_, I>) -> bool {
        let LiveList { list, changes, .. } = &self.list;
        let builder = FrameBuilder::for_tick(*list, changes, &self.touched, bodies);
        self.steps.step(count, builder)
    }

    /// Returns whether there are windows that nobody has begun.
    pub(crate) fn is_left(&self) -> bool {
        self.steps.is_left()
    }

    /// Publishes the tick; returns the windows as well.
    pub(crate) fn finish(self, bodies: Bodies<'_, I>) -> (Tick<I>, &'a mut Windows<I>) {
        let LiveList {
            list,
            changes,
            windows,
        } = self.list;
        let builder = FrameBuilder::for_tick(list, changes, &self.touched, bodies);
        let tick = windows.finish_tick(self.steps, builder);
        // All of it is published: had the source panicked, the next tick would publish it.
        changes.clear();
        changes.watch(windows.is_watched(), windows.has_anchored());
        (tick, windows)
    }
}
