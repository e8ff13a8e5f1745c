//! Frames: rows with their bodies, and the steps of DELTAs.

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;

use crate::member_list::Id;
use crate::member_list::changes::Changes;
use crate::member_list::changes::members::{Fields, OldPlace};
use crate::member_list::changes::rows::DirtyRows;
use crate::member_list::changes::slots::WrittenSlots;
use crate::member_list::frames::model::RowKey;
use crate::member_list::frames::model::{
    Body, BodyChange, FrameChange, FrameRow, Insert, InsertSource, MemberChange, RowChange,
    RowUpdate,
};
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::windows::bodies::{Bodies, BodyFormat, RowSource};
use crate::member_list::windows::diff::{Diffable, Script};
use crate::member_list::windows::row::{WindowRow, row_index};

/// Bodies that lie side by side: one that is still in use keeps the memory of all of them.
const ARENA_BYTES: usize = 4_096;

/// What was touched since the last tick.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    rows: DirtyRows,
    slots: WrittenSlots,
}

impl Touched {
    /// Looks at what changed. Without watched windows it looks at no change.
    pub(crate) fn since_tick<I: Id>(changes: &Changes<I>, watched: bool) -> Self {
        let rows = match watched {
            true => changes.dirty_rows(),
            false => DirtyRows::default(),
        };
        let slots = match rows.is_bulk() {
            true => changes.unknown_slots(),
            false => changes.written_slots(),
        };
        Self { rows, slots }
    }
}

/// What a viewer is told of a member that it had.
enum Change {
    Same,
    Of(MemberChange),
    /// The whole row: no change says that the member has no body any more.
    Whole,
}

/// The list as it is at one moment, what changed since the last tick, and the bodies of its rows:
/// all that frames are made of.
pub(crate) struct FrameBuilder<'a, I> {
    list: ListRef<'a, I>,
    changes: &'a Changes<I>,
    bodies: Bodies<'a, I>,
    touched: Cow<'a, Touched>,
    /// True if a viewer cannot patch.
    whole_rows: bool,
    /// The time of the tick.
    now: Duration,
    /// The fields that changed since an earlier version, for an answer to a client that was away.
    since: Option<&'a HashMap<I, Fields>>,
    buffer: RefCell<Vec<u8>>,
    /// The memory in which bodies lie side by side.
    arena: RefCell<BytesMut>,
}

impl<'a, I: Id> FrameBuilder<'a, I> {
    /// Makes the builder of a tick, which has looked at what was touched.
    pub(crate) fn for_tick(
        list: ListRef<'a, I>,
        changes: &'a Changes<I>,
        touched: &'a Touched,
        bodies: Bodies<'a, I>,
    ) -> Self {
        Self::new(list, changes, Cow::Borrowed(touched), bodies)
    }

    /// Makes the builder of an answer, for which no change counts: rows are read as they are.
    pub(crate) fn between_ticks(
        list: ListRef<'a, I>,
        changes: &'a Changes<I>,
        bodies: Bodies<'a, I>,
    ) -> Self {
        let touched = Touched {
            rows: DirtyRows::default(),
            slots: changes.unknown_slots(),
        };
        Self::new(list, changes, Cow::Owned(touched), bodies)
    }

    fn new(
        list: ListRef<'a, I>,
        changes: &'a Changes<I>,
        touched: Cow<'a, Touched>,
        bodies: Bodies<'a, I>,
    ) -> Self {
        Self {
            list,
            changes,
            bodies,
            touched,
            whole_rows: false,
            now: Duration::ZERO,
            since: None,
            buffer: RefCell::default(),
            arena: RefCell::default(),
        }
    }

    /// Sets the time of the tick.
    pub(crate) const fn at(mut self, now: Duration) -> Self {
        self.now = now;
        self
    }

    /// Takes the changed fields of members from here; those that are not in it may have changed
    /// in any field.
    pub(crate) const fn since(mut self, fields: &'a HashMap<I, Fields>) -> Self {
        self.since = Some(fields);
        self
    }

    pub(crate) const fn now(&self) -> Duration {
        self.now
    }

    /// Adds whole rows to each DELTA, for viewers that cannot patch.
    pub(crate) const fn with_whole_rows(mut self, whole_rows: bool) -> Self {
        self.whole_rows = whole_rows;
        self
    }

    /// Returns the list as it is.
    pub(crate) const fn list(&self) -> ListRef<'a, I> {
        self.list
    }

    /// Returns the rows that may have changed since the last tick.
    pub(crate) fn dirty(&self) -> &DirtyRows {
        &self.touched.rows
    }

    /// Returns the slots written since the last tick.
    pub(crate) fn written(&self) -> &WrittenSlots {
        &self.touched.slots
    }

    /// Returns whether a row is there and did not move of its own since the last tick.
    pub(crate) fn stayed(&self, key: &RowKey<I>) -> bool {
        let moved = match key {
            RowKey::Header(_) => false,
            RowKey::Member(id) => match self.changes.old_place(id) {
                OldPlace::Kept => false,
                OldPlace::Was(was) => self.list.place_of(id) != Some(was),
                OldPlace::Unknown => true,
            },
        };
        !moved && row_index(self.list, key).is_some()
    }

    /// Returns the DELTA that `script` describes, but for rows that come again, whole: these are deleted and inserted.
    pub(crate) fn delta(
        &self,
        old: &[WindowRow<I>],
        new: &[WindowRow<I>],
        script: Script,
    ) -> FrameChange<I> {
        let Script {
            mut deletes,
            inserts,
            updates,
        } = script;
        let whole = |row| InsertSource::Row(self.row(row));
        let inserts = inserts.iter().map(|&(index, was)| {
            let row = &new[index as usize];
            let source = match (&row.key, was) {
                (RowKey::Member(id), Some(was)) => self
                    .moved(id, &old[was as usize], row)
                    .unwrap_or_else(|| whole(row)),
                _ => whole(row),
            };
            Insert { index, source }
        });
        let mut inserts: Vec<_> = inserts.collect();
        let scripted = inserts.len();
        let mut kept = Vec::with_capacity(updates.len());
        for (index, was) in updates {
            let row = &new[index as usize];
            let change = match &row.key {
                RowKey::Header(_) => RowChange::Count(row.stamp),
                RowKey::Member(id) => match self.member_change(id, &old[was as usize], row) {
                    Change::Same => continue,
                    Change::Of(change) => RowChange::Member(change),
                    Change::Whole => {
                        deletes.push(was);
                        let source = whole(row);
                        inserts.push(Insert { index, source });
                        continue;
                    }
                },
            };
            kept.push(RowUpdate { index, change });
        }
        if inserts.len() > scripted {
            deletes.sort_unstable_by(|a, b| b.cmp(a));
            inserts.sort_unstable_by_key(|insert| insert.index);
        }
        FrameChange::Delta {
            inserts,
            updates: kept,
            deletes,
        }
    }

    /// Returns how a member comes that moves within the window, unless whole.
    fn moved(&self, id: &I, old: &WindowRow<I>, new: &WindowRow<I>) -> Option<InsertSource<I>> {
        let change = match self.member_change(id, old, new) {
            Change::Same => None,
            Change::Of(change) => Some(change),
            Change::Whole => return None,
        };
        let id = id.clone();
        Some(InsertSource::Move { id, change })
    }

    /// Returns whole rows of everything a script moves or updates, where viewers need them.
    pub(crate) fn whole_rows(
        &self,
        new: &[WindowRow<I>],
        script: &Script,
    ) -> Vec<(u32, FrameRow<I>)> {
        if !self.whole_rows {
            return Vec::new();
        }
        let moved = script
            .inserts
            .iter()
            .filter(|(_, was)| was.is_some())
            .map(|&(at, _)| at);
        let updated = script.updates.iter().map(|&(at, _)| at);
        moved
            .chain(updated)
            .map(|at| (at, self.row(&new[at as usize])))
            .collect()
    }

    /// Returns a row, whole.
    pub(crate) fn row(&self, row: &WindowRow<I>) -> FrameRow<I> {
        match &row.key {
            RowKey::Header(group) => FrameRow::Header {
                group: group.clone(),
                count: row.stamp,
            },
            RowKey::Member(id) => FrameRow::Member {
                id: id.clone(),
                revision: row.stamp,
                attrs: row.attrs,
                body: self.body(id),
            },
        }
    }

    fn member_change(&self, id: &I, old: &WindowRow<I>, new: &WindowRow<I>) -> Change {
        if old.same_content(new) {
            return Change::Same;
        }
        let Some(body) = self.body_change(id) else {
            return Change::Whole;
        };
        Change::Of(MemberChange {
            revision: new.stamp,
            attrs: (old.attrs != new.attrs).then_some(new.attrs),
            body,
        })
    }

    /// Returns the fields of a member's body that changed.
    pub(crate) fn changed_fields(&self, id: &I) -> Fields {
        match self.since {
            Some(fields) => fields.get(id).copied().unwrap_or(Fields::ALL),
            None => self.changes.changed_fields(id),
        }
    }

    /// Returns whether bulk work changed the list since the last tick.
    pub(crate) const fn is_bulk(&self) -> bool {
        self.changes.is_everything()
    }

    /// Returns nothing if the member has no body, and may have had one.
    fn body_change(&self, id: &I) -> Option<BodyChange> {
        let fields = self.changed_fields(id);
        match self.bodies {
            Bodies::None => Some(BodyChange::Same),
            _ if fields == Fields::NONE => Some(BodyChange::Same),
            Bodies::Source(source)
                if fields != Fields::ALL && source.format() == BodyFormat::Json =>
            {
                let patch = self.read_source(source, id, fields);
                Some(patch.map_or(BodyChange::Same, BodyChange::Patch))
            }
            _ => self.body(id).map(BodyChange::Whole),
        }
    }

    fn body(&self, id: &I) -> Option<Body> {
        let (bytes, format) = match self.bodies {
            Bodies::None => return None,
            Bodies::Payloads(format) => {
                let payload = self.list.payload(id)?;
                let bytes = (!payload.is_empty()).then(|| Bytes::copy_from_slice(payload));
                (bytes?, format)
            }
            Bodies::Source(source) => (self.read_source(source, id, Fields::ALL)?, source.format()),
        };
        Some(match format {
            BodyFormat::Json => Body::Json(bytes),
            BodyFormat::Raw => Body::Raw(bytes),
        })
    }

    /// Returns what a source writes; one buffer serves all rows, and few allocations hold their
    /// bodies.
    fn read_source(&self, source: &dyn RowSource<I>, id: &I, fields: Fields) -> Option<Bytes> {
        let mut out = self.buffer.take();
        source.write_body(id, fields, &mut out);
        let bytes = (!out.is_empty()).then(|| {
            let mut arena = self.arena.borrow_mut();
            if arena.capacity() < out.len() {
                *arena = BytesMut::with_capacity(ARENA_BYTES.max(out.len()));
            }
            arena.extend_from_slice(&out);
            arena.split().freeze()
        });
        out.clear();
        self.buffer.replace(out);
        bytes
    }
}
