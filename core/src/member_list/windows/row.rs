//! Where the bodies of rows come from: [`RowSource`] and [`Bodies`].

use std::cell::RefCell;
use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::member_list::changes::members::{DirtyRows, Fields, Marks, OldPlace};
use crate::member_list::changes::rows::Written;
use crate::member_list::frames::model::{
    Body, BodyChange, FrameChange, FrameRow, Insert, InsertSource,
};
use crate::member_list::frames::model::{MemberChange, RowChange, Update};
use crate::member_list::windows::diff::{Diffable, Script};
use crate::member_list::windows::spec::RowKey;
use crate::member_list::windows::window::WindowRow;
use crate::member_list::{Id, MemberList};

/// Gives the bodies of members; the list itself stores none.
///
/// ```
/// use headcount::member_list::{Fields, RowSource};
///
/// struct Names(Vec<&'static str>);
///
/// impl RowSource<u64> for Names {
///     fn write_body(&self, id: &u64, _fields: Fields, out: &mut Vec<u8>) {
///         if let Some(name) = self.0.get(*id as usize) {
///             out.extend_from_slice(format!(r#"{{"name":"{name}"}}"#).as_bytes());
///         }
///     }
/// }
/// ```
pub trait RowSource<I> {
    /// Appends the body of `id` to `out`: the whole of it for [`Fields::ALL`], else an object with
    /// at least the named fields, `null` for one the body no longer has. Appending nothing says
    /// that the member has no body.
    ///
    /// Called once for each row of a frame, however many viewers get the frame.
    fn write_body(&self, id: &I, fields: Fields, out: &mut Vec<u8>);

    /// Returns what the bytes are. JSON, unless said otherwise.
    fn format(&self) -> BodyFormat {
        BodyFormat::Json
    }
}

/// What the bytes of a body are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyFormat {
    /// One valid JSON value: it stands in JSON frames as it is. Objects can be patched.
    #[default]
    Json,
    /// Any bytes: base64 in JSON frames, always sent whole.
    Raw,
}

/// The bodies of a list's rows.
#[derive(Default)]
pub enum Bodies<'a, I> {
    /// Rows have ids, revisions and attrs only.
    #[default]
    None,
    /// The list's own payloads.
    Payloads(BodyFormat),
    /// Whatever this gives.
    Source(&'a dyn RowSource<I>),
}

impl<I> Clone for Bodies<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Bodies<'_, I> {}

impl<I> fmt::Debug for Bodies<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Payloads(format) => write!(f, "Payloads({format:?})"),
            Self::Source(source) => write!(f, "Source({:?})", source.format()),
        }
    }
}

impl<'a, I, S: RowSource<I>> From<&'a S> for Bodies<'a, I> {
    fn from(source: &'a S) -> Self {
        Self::Source(source)
    }
}

/// Bodies that lie side by side: one that is still in use keeps the memory of all of them.
const ARENA_BYTES: usize = 4_096;

/// All that turns positions into rows and changes.
pub(crate) struct FrameBuilder<'a, I> {
    pub(crate) list: &'a MemberList<I>,
    pub(crate) bodies: Bodies<'a, I>,
    pub(crate) marks: &'a Marks<I>,
    pub(crate) dirty: &'a DirtyRows,
    pub(crate) written: &'a Written,
    /// True if a viewer cannot patch.
    pub(crate) whole_rows: bool,
    pub(crate) buffer: RefCell<Vec<u8>>,
    /// Where the bodies lie side by side.
    pub(crate) arena: RefCell<BytesMut>,
}

impl<I: Id> FrameBuilder<'_, I> {
    /// Returns whether a row is there and did not move of its own since the last tick.
    pub(crate) fn stayed(&self, key: &RowKey<I>) -> bool {
        let moved = match key {
            RowKey::Header(_) => false,
            RowKey::Member(id) => match self.marks.old_place(id) {
                OldPlace::Kept => false,
                OldPlace::Was(was) => self.list.place_of(id) != Some(was),
                OldPlace::Unknown => true,
            },
        };
        !moved && self.list.row_index(key).is_some()
    }

    /// The DELTA that `script` describes.
    pub(crate) fn delta(
        &self,
        old: &[WindowRow<I>],
        new: &[WindowRow<I>],
        script: Script,
    ) -> FrameChange<I> {
        let inserts = script.inserts.iter().map(|&(index, was)| {
            let row = &new[index as usize];
            let source = match (&row.key, was) {
                (RowKey::Member(id), Some(was)) => {
                    let change = self.member_change(id, &old[was as usize], row);
                    InsertSource::Move {
                        id: id.clone(),
                        change,
                    }
                }
                _ => InsertSource::Row(self.row(row)),
            };
            Insert { index, source }
        });
        let updates = script.updates.iter().filter_map(|&(index, was)| {
            let row = &new[index as usize];
            let change = match &row.key {
                RowKey::Header(_) => RowChange::Count(row.stamp),
                RowKey::Member(id) => {
                    RowChange::Member(self.member_change(id, &old[was as usize], row)?)
                }
            };
            Some(Update { index, change })
        });
        FrameChange::Delta {
            inserts: inserts.collect(),
            updates: updates.collect(),
            deletes: script.deletes,
        }
    }

    /// Whole rows of everything a script moves or updates.
    pub(crate) fn whole_rows(
        &self,
        new: &[WindowRow<I>],
        script: &Script,
    ) -> Vec<(u32, FrameRow<I>)> {
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

    /// A row, whole.
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

    fn member_change(
        &self,
        id: &I,
        old: &WindowRow<I>,
        new: &WindowRow<I>,
    ) -> Option<MemberChange> {
        if old.same_content(new) {
            return None;
        }
        Some(MemberChange {
            revision: new.stamp,
            attrs: (old.attrs != new.attrs).then_some(new.attrs),
            body: self.body_change(id),
        })
    }

    fn body_change(&self, id: &I) -> BodyChange {
        let fields = self.marks.changed_fields(id);
        match self.bodies {
            _ if fields == Fields::NONE => BodyChange::Same,
            Bodies::Source(source)
                if fields != Fields::ALL && source.format() == BodyFormat::Json =>
            {
                let patch = self.read_source(source, id, fields);
                patch.map_or(BodyChange::Same, BodyChange::Patch)
            }
            _ => self.body(id).map_or(BodyChange::Same, BodyChange::Whole),
        }
    }

    fn body(&self, id: &I) -> Option<Body> {
        let (bytes, format) = match self.bodies {
            Bodies::None => return None,
            Bodies::Payloads(format) => {
                let payload = self.list.get(id)?.payload;
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

    /// Returns what a source writes; one buffer serves all rows, and few allocations hold their bodies.
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
