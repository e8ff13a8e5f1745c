//! Frames and rows as bytes, and back.

use std::any::TypeId;

use bytes::Bytes;

use crate::codec::{DecodeError, Reader, Writer};
use crate::member_list::frames::binary::{WINDOW_NAME_MAX, count, flags};
use crate::member_list::frames::model::{
    Body, BodyChange, Frame, FrameChange, FrameRow, Insert, InsertSource, MemberChange, RowChange,
    RowUpdate,
};
use crate::member_list::limits::{GROUP_NAME_MAX, TEXT_ID_MAX, WINDOW_ROWS_MAX};
use crate::member_list::{Id, IntId, TextId};

/// Longest body.
const BODY_MAX: usize = 1 << 20;

/// The byte before an id below 0, with which no integer begins.
const NEGATIVE: u8 = 255;

const DELTA: u8 = 1;
const RENAMED: u8 = 2;
const MATCHES: u8 = 4;

/// First byte of a row, an insert or an update.
mod tag {
    pub(in crate::member_list) const HEADER: u8 = 0;
    pub(in crate::member_list) const MEMBER: u8 = 1;
    pub(in crate::member_list) const MOVE: u8 = 2;
    pub(in crate::member_list) const CHANGED_MOVE: u8 = 3;
    pub(in crate::member_list) const CHANGE: u8 = 4;
    pub(in crate::member_list) const COUNT: u8 = 5;
    /// The low bits hold one of the above.
    pub(in crate::member_list) const MASK: u8 = 7;
    /// Attributes follow.
    pub(in crate::member_list) const ATTRS: u8 = 8;
    /// The kind of body that follows, in bits 4 and 5: none, a patch, JSON, plain bytes.
    pub(in crate::member_list) const BODY_SHIFT: u8 = 4;
    pub(in crate::member_list) const PATCH: u8 = 1;
    pub(in crate::member_list) const JSON: u8 = 2;
    pub(in crate::member_list) const RAW: u8 = 3;
}

pub(in crate::member_list) fn write_frame<I: Id>(frame: &Frame<I>) -> Bytes {
    let mut out = Writer::with_capacity(256);
    let delta = matches!(frame.change, FrameChange::Delta { .. });
    let renamed = frame.renamed.is_some();
    let matches = u8::from(frame.matches.is_some()) * MATCHES;
    out.u8((u8::from(delta) * DELTA) | (u8::from(renamed) * RENAMED) | matches);
    out.str(&frame.window);
    if let Some(renamed) = &frame.renamed {
        out.str(renamed);
    }
    out.u64(frame.base_version);
    out.u64(frame.new_version);
    out.u64(frame.base_index);
    if let Some(matches) = frame.matches {
        out.u64(matches);
    }
    out.raw(&frame.checksum32.to_le_bytes());
    match &frame.change {
        FrameChange::Sync(rows) => {
            out.u64(rows.len() as u64);
            rows.iter().for_each(|row| write_row(&mut out, row));
        }
        FrameChange::Delta {
            deletes,
            inserts,
            updates,
        } => {
            out.u64(deletes.len() as u64);
            // Descending: the first as it is, then how much lower the next one is, less 1. Positions
            // out of order wrap, and the reader refuses them.
            let mut above = None;
            for &index in deletes {
                let step = |above: u32| above.wrapping_sub(index).wrapping_sub(1);
                out.u64(above.map_or(index, step).into());
                above = Some(index);
            }
            out.u64(inserts.len() as u64);
            let mut next = 0;
            for insert in inserts {
                out.u64(insert.index.wrapping_sub(next).into());
                next = insert.index.wrapping_add(1);
                write_insert(&mut out, &insert.source);
            }
            out.u64(updates.len() as u64);
            let mut next = 0;
            for update in updates {
                out.u64(update.index.wrapping_sub(next).into());
                next = update.index.wrapping_add(1);
                match &update.change {
                    RowChange::Count(count) => {
                        out.u8(tag::COUNT);
                        out.u64((*count).into());
                    }
                    RowChange::Member(change) => write_change(&mut out, tag::CHANGE, None, change),
                }
            }
        }
    }
    out.into_vec().into()
}

pub(in crate::member_list) fn read_frame<I: Id>(
    from: &mut Reader<'_>,
) -> Result<Frame<I>, DecodeError> {
    let flags = flags(from, DELTA | RENAMED | MATCHES)?;
    let window = from.str(WINDOW_NAME_MAX)?.into();
    let renamed = match flags & RENAMED {
        0 => None,
        _ => Some(from.str(WINDOW_NAME_MAX)?.into()),
    };
    let base_version = from.u64()?;
    let new_version = from.u64()?;
    let base_index = from.u64()?;
    let matches = match flags & MATCHES {
        0 => None,
        _ => Some(from.u64()?),
    };
    let sum = from.raw(4)?;
    let checksum32 = u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]);
    let change = if flags & DELTA == 0 {
        let mut rows = Vec::new();
        for _ in 0..count(from, WINDOW_ROWS_MAX)? {
            let at = from.offset();
            let tag = from.u8()?;
            rows.push(read_row(from, at, tag)?);
        }
        FrameChange::Sync(rows)
    } else {
        FrameChange::Delta {
            deletes: read_deletes(from)?,
            inserts: read_inserts(from)?,
            updates: read_updates(from)?,
        }
    };
    Ok(Frame {
        renamed,
        base_version,
        new_version,
        base_index,
        matches,
        checksum32,
        ..Frame::new(window, change)
    })
}

fn read_deletes(from: &mut Reader<'_>) -> Result<Vec<u32>, DecodeError> {
    let mut deletes: Vec<u32> = Vec::new();
    for _ in 0..count(from, WINDOW_ROWS_MAX)? {
        let at = from.offset();
        let step = from.u32()?;
        let index = match deletes.last() {
            None => Some(step),
            Some(above) => above
                .checked_sub(step)
                .and_then(|index| index.checked_sub(1)),
        };
        deletes.push(index.ok_or_else(|| Reader::invalid(at, "deletes end below the first row"))?);
    }
    Ok(deletes)
}

fn read_inserts<I: Id>(from: &mut Reader<'_>) -> Result<Vec<Insert<I>>, DecodeError> {
    let mut inserts = Vec::new();
    let mut next = 0;
    for _ in 0..count(from, WINDOW_ROWS_MAX)? {
        let index = position(from, &mut next)?;
        let at = from.offset();
        let tag = from.u8()?;
        let source = match tag & tag::MASK {
            tag::MOVE if tag == tag::MOVE => InsertSource::Move {
                id: read_id(from)?,
                change: None,
            },
            tag::CHANGED_MOVE => {
                let id = read_id(from)?;
                InsertSource::Move {
                    id,
                    change: Some(read_change(from, at, tag)?),
                }
            }
            _ => InsertSource::Row(read_row(from, at, tag)?),
        };
        inserts.push(Insert { index, source });
    }
    Ok(inserts)
}

fn read_updates(from: &mut Reader<'_>) -> Result<Vec<RowUpdate>, DecodeError> {
    let mut updates = Vec::new();
    let mut next = 0;
    for _ in 0..count(from, WINDOW_ROWS_MAX)? {
        let index = position(from, &mut next)?;
        let at = from.offset();
        let tag = from.u8()?;
        let change = match tag & tag::MASK {
            tag::COUNT if tag == tag::COUNT => RowChange::Count(from.u32()?),
            tag::CHANGE => RowChange::Member(read_change(from, at, tag)?),
            _ => return Err(Reader::invalid(at, "unknown kind of update")),
        };
        updates.push(RowUpdate { index, change });
    }
    Ok(updates)
}

fn write_row<I: Id>(out: &mut Writer, row: &FrameRow<I>) {
    match row {
        FrameRow::Header { group, count } => {
            out.u8(tag::HEADER);
            out.str(group);
            out.u64((*count).into());
        }
        FrameRow::Member {
            id,
            revision,
            attrs,
            body,
        } => {
            let (kind, bytes) = body_bytes(body.as_ref());
            let has_attrs = u8::from(*attrs != 0) * tag::ATTRS;
            out.u8(tag::MEMBER | has_attrs | kind << tag::BODY_SHIFT);
            write_id(out, id);
            out.u64((*revision).into());
            if *attrs != 0 {
                out.u64((*attrs).into());
            }
            if let Some(bytes) = bytes {
                out.bytes(bytes);
            }
        }
    }
}

fn read_row<I: Id>(from: &mut Reader<'_>, at: usize, tag: u8) -> Result<FrameRow<I>, DecodeError> {
    match tag & tag::MASK {
        tag::HEADER if tag == tag::HEADER => {
            let group = from.str(GROUP_NAME_MAX)?.into();
            Ok(FrameRow::Header {
                group,
                count: from.u32()?,
            })
        }
        tag::MEMBER => {
            let id = read_id(from)?;
            let revision = from.u32()?;
            let attrs = read_attrs(from, tag)?.unwrap_or(0);
            let body = match read_body(from, at, tag)? {
                BodyChange::Same => None,
                BodyChange::Whole(body) => Some(body),
                BodyChange::Patch(_) => return Err(Reader::invalid(at, "a row with a patch")),
            };
            Ok(FrameRow::Member {
                id,
                revision,
                attrs,
                body,
            })
        }
        _ => Err(Reader::invalid(at, "unknown kind of row")),
    }
}

fn write_insert<I: Id>(out: &mut Writer, source: &InsertSource<I>) {
    match source {
        InsertSource::Row(row) => write_row(out, row),
        InsertSource::Move { id, change: None } => {
            out.u8(tag::MOVE);
            write_id(out, id);
        }
        InsertSource::Move {
            id,
            change: Some(change),
        } => {
            let mut bytes = Writer::new();
            write_id(&mut bytes, id);
            write_change(out, tag::CHANGED_MOVE, Some(bytes.as_slice()), change);
        }
    }
}

fn write_change(out: &mut Writer, kind: u8, id: Option<&[u8]>, change: &MemberChange) {
    let (body, bytes) = match &change.body {
        BodyChange::Same => (0, None),
        BodyChange::Patch(patch) => (tag::PATCH, Some(patch)),
        BodyChange::Whole(body) => body_bytes(Some(body)),
    };
    let has_attrs = u8::from(change.attrs.is_some()) * tag::ATTRS;
    out.u8(kind | has_attrs | body << tag::BODY_SHIFT);
    if let Some(id) = id {
        out.raw(id);
    }
    out.u64(change.revision.into());
    if let Some(attrs) = change.attrs {
        out.u64(attrs.into());
    }
    if let Some(bytes) = bytes {
        out.bytes(bytes);
    }
}

fn read_change(from: &mut Reader<'_>, at: usize, tag: u8) -> Result<MemberChange, DecodeError> {
    Ok(MemberChange {
        revision: from.u32()?,
        attrs: read_attrs(from, tag)?,
        body: read_body(from, at, tag)?,
    })
}

fn read_attrs(from: &mut Reader<'_>, tag: u8) -> Result<Option<u32>, DecodeError> {
    if tag & tag::ATTRS == 0 {
        Ok(None)
    } else {
        from.u32().map(Some)
    }
}

const fn body_bytes(body: Option<&Body>) -> (u8, Option<&Bytes>) {
    match body {
        None => (0, None),
        Some(Body::Json(bytes)) => (tag::JSON, Some(bytes)),
        Some(Body::Raw(bytes)) => (tag::RAW, Some(bytes)),
    }
}

fn read_body(from: &mut Reader<'_>, at: usize, tag: u8) -> Result<BodyChange, DecodeError> {
    let kind = tag >> tag::BODY_SHIFT;
    if kind == 0 {
        return Ok(BodyChange::Same);
    }
    let bytes = Bytes::copy_from_slice(from.bytes(BODY_MAX)?);
    match kind {
        tag::PATCH => Ok(BodyChange::Patch(bytes)),
        tag::JSON => Ok(BodyChange::Whole(Body::Json(bytes))),
        tag::RAW => Ok(BodyChange::Whole(Body::Raw(bytes))),
        _ => Err(Reader::invalid(at, "unknown kind of body")),
    }
}

/// Integers as they are, those below 0 from -1 downwards; UUIDs as 16 bytes, text as text.
fn write_id<I: Id>(out: &mut Writer, id: &I) {
    let id: &dyn std::any::Any = id;
    if let Some(id) = id.downcast_ref::<u64>() {
        out.u64(*id);
    } else if let Some(&id) = id.downcast_ref::<IntId>() {
        match u64::try_from(i128::from(id)) {
            Ok(id) => out.u64(id),
            Err(_) => {
                out.u8(NEGATIVE);
                out.u64((-1 - i128::from(id)) as u64);
            }
        }
    } else if let Some(id) = id.downcast_ref::<u128>() {
        out.raw(&id.to_be_bytes());
    } else if let Some(id) = id.downcast_ref::<TextId>() {
        out.str(id.as_str());
    }
}

fn read_id<I: Id>(from: &mut Reader<'_>) -> Result<I, DecodeError> {
    let at = from.offset();
    let same = |id: &dyn std::any::Any| id.downcast_ref::<I>().cloned();
    let id = if TypeId::of::<I>() == TypeId::of::<u64>() {
        same(&from.u64()?)
    } else if TypeId::of::<I>() == TypeId::of::<IntId>() {
        read_int(from)?.and_then(|id| same(&id))
    } else if TypeId::of::<I>() == TypeId::of::<u128>() {
        let bytes = from.raw(16)?;
        same(
            &bytes
                .iter()
                .fold(0u128, |id, &byte| id << 8 | u128::from(byte)),
        )
    } else {
        I::parse_text(from.str(TEXT_ID_MAX)?)
    };
    id.ok_or_else(|| Reader::invalid(at, "not an id"))
}

fn read_int(from: &mut Reader<'_>) -> Result<Option<IntId>, DecodeError> {
    let mut ahead = from.clone();
    if ahead.u8()? != NEGATIVE {
        return Ok(Some(from.u64()?.into()));
    }
    let below = ahead.u64()?;
    *from = ahead;
    Ok(i64::try_from(below).ok().map(|below| (-1 - below).into()))
}

/// The next of ascending positions, written as the gap before it.
fn position(from: &mut Reader<'_>, next: &mut u32) -> Result<u32, DecodeError> {
    let at = from.offset();
    let index = from
        .u32()?
        .checked_add(*next)
        .filter(|&index| (index as usize) < WINDOW_ROWS_MAX);
    let index = index.ok_or_else(|| Reader::invalid(at, "a position beyond any window"))?;
    *next = index + 1;
    Ok(index)
}
