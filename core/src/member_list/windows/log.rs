//! The log of a window: its last steps, inverted, so that the rows of an earlier version can be
//! made from those of now.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;

use crate::fault::{Fault, is_broken};
use crate::member_list::Id;
use crate::member_list::changes::members::Fields;
use crate::member_list::frames::model::RowKey;
use crate::member_list::windows::diff::{Diffable, Script};
use crate::member_list::windows::render::FrameBuilder;
use crate::member_list::windows::row::{NO_SLOT, WindowRow};

/// One step of a window, inverted.
#[derive(Debug)]
pub(crate) struct LogStep<I> {
    /// The version before the step.
    from: u64,
    /// The time of the step.
    at: Duration,
    /// Positions in the rows after the step of those to take out, ascending.
    inserted: Box<[u32]>,
    /// Positions in the rows before the step, ascending, and the rows to put there.
    deleted: Box<[(u32, WindowRow<I>)]>,
    /// Rows that the step kept and changed, as they were.
    updated: Box<[OldContent]>,
    /// The fields of bodies that the step changed; all of them for members that came in.
    fields: ChangedFields<I>,
}

/// The content that a kept row had before a step.
#[derive(Clone, Copy, Debug)]
struct OldContent {
    /// Its position in the rows before the step.
    at: u32,
    stamp: u32,
    attrs: u32,
}

/// Members whose bodies changed, and which fields.
pub(crate) type ChangedFields<I> = Box<[(I, Fields)]>;

/// The last steps of a window, oldest first. Each starts from the version that the one before led
/// to.
#[derive(Debug)]
pub(crate) struct WindowLog<I> {
    steps: VecDeque<LogStep<I>>,
    bytes: usize,
}

/// The rows of a window at an earlier version, and the fields that changed since.
#[derive(Debug)]
pub(crate) struct Past<I> {
    pub(crate) rows: Vec<WindowRow<I>>,
    pub(crate) fields: HashMap<I, Fields>,
}

impl<I> Default for WindowLog<I> {
    fn default() -> Self {
        Self {
            steps: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<I: Id> LogStep<I> {
    /// Inverts the step that `script` describes. O(steps of the script).
    pub(crate) fn new(
        from: u64,
        old: &[WindowRow<I>],
        new: &[WindowRow<I>],
        script: &Script,
        builder: &FrameBuilder<'_, I>,
    ) -> Self {
        let deleted = script.deletes.iter().rev().map(|&at| {
            let mut row = old[at as usize].clone();
            row.slot = NO_SLOT; // The member may get another one.
            (at, row)
        });
        let updated = script.updates.iter().map(|&(_, was)| OldContent {
            at: was,
            stamp: old[was as usize].stamp,
            attrs: old[was as usize].attrs,
        });
        let kept = script.updates.iter().map(|&(at, was)| (at, Some(was)));
        let touched = script.inserts.iter().copied().chain(kept);
        let fields = touched.filter_map(|(at, was)| {
            let row = &new[at as usize];
            changed_fields(was.map(|was| &old[was as usize]), row, builder)
        });
        Self {
            from,
            at: builder.now(),
            inserted: script.inserts.iter().map(|&(at, _)| at).collect(),
            deleted: deleted.collect(),
            updated: updated.collect(),
            fields: fields.collect(),
        }
    }

    /// Makes of the rows after the step those before it. O(rows).
    fn undo(&self, rows: Vec<WindowRow<I>>) -> Vec<WindowRow<I>> {
        let mut inserted = self.inserted.iter().peekable();
        let mut deleted = self.deleted.iter().peekable();
        let mut old = Vec::with_capacity(rows.len() + self.deleted.len());
        for (at, row) in rows.into_iter().enumerate() {
            if inserted.next_if(|next| **next as usize == at).is_some() {
                continue;
            }
            while let Some((_, gone)) = deleted.next_if(|(at, _)| *at as usize == old.len()) {
                old.push(gone.clone());
            }
            old.push(row);
        }
        old.extend(deleted.map(|(_, gone)| gone.clone()));
        for content in self
            .updated
            .iter()
            .filter(|_| !is_broken(Fault::UndoNoUpdates))
        {
            let row = &mut old[content.at as usize];
            (row.stamp, row.attrs) = (content.stamp, content.attrs);
        }
        old
    }

    fn bytes(&self) -> usize {
        let deleted = self.deleted.iter().map(|(_, row)| row.bytes() + 8);
        let fields = self.fields.iter();
        let fields = fields.map(|(id, _)| size_of::<(I, Fields)>() + id.heap_bytes());
        size_of::<Self>()
            + size_of_val::<[u32]>(&self.inserted)
            + size_of_val::<[OldContent]>(&self.updated)
            + deleted.sum::<usize>()
            + fields.sum::<usize>()
    }
}

/// Returns the fields by which the body of a row differs from what it was; `None` if it does not.
fn changed_fields<I: Id>(
    old: Option<&WindowRow<I>>,
    new: &WindowRow<I>,
    builder: &FrameBuilder<'_, I>,
) -> Option<(I, Fields)> {
    let RowKey::Member(id) = &new.key else {
        return None;
    };
    match old {
        Some(old) if old.same_content(new) => None,
        Some(_) => Some((id.clone(), builder.changed_fields(id))),
        // It may have changed while it was outside of the window.
        None => Some((id.clone(), Fields::ALL)),
    }
}

/// Returns the fields by which the bodies of `new` differ from those of `old`, of which each row of
/// `new` was at the position that `was` names. O(rows).
pub(crate) fn fields_between<I: Id>(
    old: &[WindowRow<I>],
    new: &[WindowRow<I>],
    was: &[Option<u32>],
    builder: &FrameBuilder<'_, I>,
) -> ChangedFields<I> {
    let rows = new.iter().zip(was);
    let fields = rows
        .filter_map(|(row, was)| changed_fields(was.map(|was| &old[was as usize]), row, builder));
    fields.collect()
}

impl<I: Id> WindowLog<I> {
    /// Adds the newest step. O(its size).
    pub(crate) fn push(&mut self, step: LogStep<I>) {
        self.bytes += step.bytes();
        self.steps.push_back(step);
    }

    /// Forgets all steps: no earlier version can be made.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets the steps up to a time, that included.
    pub(crate) fn forget_until(&mut self, time: Duration) {
        while let Some(step) = self.steps.pop_front_if(|step| step.at <= time) {
            self.bytes -= step.bytes();
        }
        if self.steps.is_empty() {
            self.steps = VecDeque::new();
        }
    }

    /// Returns the position of the first step after `version`, where `newest` is the version after
    /// the last step; `None` if the rows of `version` cannot be made. O(log steps).
    pub(crate) fn start(&self, version: u64, newest: u64) -> Option<usize> {
        if version == newest {
            return Some(self.steps.len());
        }
        let start = self.steps.binary_search_by_key(&version, |step| step.from);
        start.ok()
    }

    /// Returns the memory of the steps in bytes. O(1).
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the time and the bytes of each step to `out`.
    pub(crate) fn sizes(&self, out: &mut Vec<(Duration, usize)>) {
        out.extend(self.steps.iter().map(|step| (step.at, step.bytes())));
    }
}

impl<I: Id> Past<I> {
    /// Returns the rows that a window with the rows `newest` had before the last steps of its log,
    /// from the one at `start` on. O(steps x rows).
    pub(crate) fn of(log: &WindowLog<I>, newest: &[WindowRow<I>], start: usize) -> Self {
        let mut past = Self {
            rows: newest.to_vec(),
            fields: HashMap::new(),
        };
        for step in log.steps.range(start..).rev() {
            past.rows = step.undo(past.rows);
        }
        past.note_since(log, start);
        past
    }

    /// Adds the fields that the last steps of a log changed, from the one at `start` on.
    pub(crate) fn note_since(&mut self, log: &WindowLog<I>, start: usize) {
        for (at, step) in log.steps.range(start..).enumerate() {
            if at > 0 && is_broken(Fault::FieldsOfOneStep) {
                continue;
            }
            self.note(&step.fields);
        }
    }

    /// Adds changed fields.
    pub(crate) fn note(&mut self, fields: &[(I, Fields)]) {
        for (id, fields) in fields {
            let known = self.fields.entry(id.clone()).or_insert(Fields::NONE);
            known.0 |= fields.0;
        }
    }
}
