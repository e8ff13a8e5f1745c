//! Bundles as bytes, and back. `core/docs/list-frames.md`, section 8, describes the format.
//!
//! Decoding trusts nothing: lengths are checked against what is there, counts against the limits
//! of windows and groups, and positions can only come in their order.

use std::any::TypeId;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{
    Base, Body, BodyChange, Bundle, Counts, CountsTable, Frame, FrameChange, FrameRow, GroupCount,
    Insert, InsertSource, MemberChange, RowChange, Shared, Update,
};
use super::group::{GROUP_NAME_MAX, GROUPS_MAX};
use super::window::WINDOW_ROWS_MAX;
use super::{Id, TEXT_ID_MAX};
use crate::codec::{Envelope, Kind, Reader, Writer};
use crate::error::{DecodeError, DecodeErrorKind};

/// The kind of envelope that carries a bundle.
const LIST_BUNDLE: Kind = Kind(33);
/// Most frames of one bundle: a viewer's windows, each with a frame of its own and a rename.
const FRAMES_MAX: usize = 64;
/// Longest name of a list.
const LIST_NAME_MAX: usize = 1024;
/// Longest window name: a letter, an id or group, two numbers.
const WINDOW_NAME_MAX: usize = 128;
/// Longest body.
const BODY_MAX: usize = 1 << 20;
/// Longest frame or counts.
const FRAME_MAX: usize = 1 << 30;

const HAS_COUNTS: u8 = 1;
const DELTA: u8 = 1;
const RENAMED: u8 = 2;
const HEADERS: u8 = 1;
const COUNTS_DELTA: u8 = 2;
const HIDDEN: u8 = 1;
const COLLAPSED: u8 = 2;

/// First byte of a row, an insert or an update.
mod tag {
    pub(super) const HEADER: u8 = 0;
    pub(super) const MEMBER: u8 = 1;
    pub(super) const MOVE: u8 = 2;
    pub(super) const CHANGED_MOVE: u8 = 3;
    pub(super) const CHANGE: u8 = 4;
    pub(super) const COUNT: u8 = 5;
    /// The low bits hold one of the above.
    pub(super) const MASK: u8 = 7;
    /// Attributes follow.
    pub(super) const ATTRS: u8 = 8;
    /// What body follows, in bits 4 and 5: none, a patch, JSON, plain bytes.
    pub(super) const BODY_SHIFT: u8 = 4;
    pub(super) const PATCH: u8 = 1;
    pub(super) const JSON: u8 = 2;
    pub(super) const RAW: u8 = 3;
}

impl<I: Id> Bundle<I> {
    /// The bundle as bytes. Frames and counts are encoded once for all viewers; this puts them
    /// side by side: O(length of the answer).
    pub fn to_binary(&self) -> Bytes {
        let mut out = Writer::with_capacity(256);
        out.str(&self.list);
        out.u64(self.epoch);
        out.u64(self.version);
        out.u8(if self.counts.is_some() { HAS_COUNTS } else { 0 });
        out.u64(self.frames.len() as u64);
        for frame in &self.frames {
            out.bytes(&frame.binary());
        }
        if let Some(counts) = &self.counts {
            out.bytes(&counts.binary());
        }
        out.u64(self.bases.len() as u64);
        for base in &self.bases {
            out.str(&base.window);
            out.u64(base.base_index);
        }
        Envelope::new("", None)
            .seal(LIST_BUNDLE, out.as_slice())
            .into()
    }

    /// Reads what [`to_binary`](Self::to_binary) wrote. O(length).
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of the value that is wrong.
    pub fn from_binary(bytes: &[u8]) -> Result<Self, DecodeError> {
        let envelope = Envelope::new("", None);
        let (kind, body) = envelope.open(bytes)?;
        if kind != LIST_BUNDLE {
            return Err(DecodeError::new(
                4,
                DecodeErrorKind::UnexpectedKind { kind: kind.0 },
            ));
        }
        read_bundle(body).map_err(|error| error.shifted(envelope.body_offset()))
    }
}

impl<I: Id> Shared<Frame<I>> {
    /// The frame as bytes, encoded at the first call.
    pub fn binary(&self) -> Bytes {
        self.binary_cell().get_or_init(|| write_frame(self)).clone()
    }
}

impl Shared<Counts> {
    /// The counts as bytes, encoded at the first call.
    pub fn binary(&self) -> Bytes {
        self.binary_cell()
            .get_or_init(|| write_counts(self))
            .clone()
    }
}

fn read_bundle<I: Id>(body: &[u8]) -> Result<Bundle<I>, DecodeError> {
    let mut from = Reader::new(body);
    let (list, epoch, version) = (from.str(LIST_NAME_MAX)?.into(), from.u64()?, from.u64()?);
    let flags = flags(&mut from, HAS_COUNTS)?;
    let mut frames = Vec::new();
    for _ in 0..count(&mut from, FRAMES_MAX)? {
        frames.push(Arc::new(Shared::new(nested(&mut from, read_frame)?)));
    }
    let counts = match flags & HAS_COUNTS {
        0 => None,
        _ => Some(Arc::new(Shared::new(nested(&mut from, read_counts)?))),
    };
    let mut bases = Vec::new();
    for _ in 0..count(&mut from, FRAMES_MAX)? {
        let (window, base_index) = (from.str(WINDOW_NAME_MAX)?.into(), from.u64()?);
        bases.push(Base { window, base_index });
    }
    from.finish()?;
    Ok(Bundle {
        list,
        epoch,
        version,
        frames,
        counts,
        bases,
    })
}

fn write_frame<I: Id>(frame: &Frame<I>) -> Bytes {
    let mut out = Writer::with_capacity(256);
    let delta = matches!(frame.change, FrameChange::Delta { .. });
    let renamed = frame.renamed.is_some();
    out.u8(u8::from(delta) * DELTA | u8::from(renamed) * RENAMED);
    out.str(&frame.window);
    if let Some(renamed) = &frame.renamed {
        out.str(renamed);
    }
    out.u64(frame.base_version);
    out.u64(frame.new_version);
    out.u64(frame.base_index);
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
            // Descending: the first as it is, then how much lower the next one is, less 1.
            let mut above = None;
            for &index in deletes {
                out.u64(above.map_or(index, |above: u32| above - index - 1).into());
                above = Some(index);
            }
            out.u64(inserts.len() as u64);
            let mut next = 0;
            for insert in inserts {
                out.u64((insert.index - next).into());
                next = insert.index + 1;
                write_insert(&mut out, &insert.source);
            }
            out.u64(updates.len() as u64);
            let mut next = 0;
            for update in updates {
                out.u64((update.index - next).into());
                next = update.index + 1;
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

fn read_frame<I: Id>(from: &mut Reader<'_>) -> Result<Frame<I>, DecodeError> {
    let flags = flags(from, DELTA | RENAMED)?;
    let window = from.str(WINDOW_NAME_MAX)?.into();
    let renamed = match flags & RENAMED {
        0 => None,
        _ => Some(from.str(WINDOW_NAME_MAX)?.into()),
    };
    let (base_version, new_version, base_index) = (from.u64()?, from.u64()?, from.u64()?);
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

fn read_updates(from: &mut Reader<'_>) -> Result<Vec<Update>, DecodeError> {
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
        updates.push(Update { index, change });
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
            let (id, revision) = (read_id(from)?, from.u32()?);
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

/// Integers as they are, UUIDs as 16 bytes, text as text.
fn write_id<I: Id>(out: &mut Writer, id: &I) {
    let id: &dyn std::any::Any = id;
    if let Some(id) = id.downcast_ref::<u64>() {
        out.u64(*id);
    } else if let Some(id) = id.downcast_ref::<u128>() {
        out.raw(&id.to_be_bytes());
    } else if let Some(id) = id.downcast_ref::<super::TextId>() {
        out.str(id.as_str());
    }
}

fn read_id<I: Id>(from: &mut Reader<'_>) -> Result<I, DecodeError> {
    let at = from.offset();
    let same = |id: &dyn std::any::Any| id.downcast_ref::<I>().cloned();
    let id = if TypeId::of::<I>() == TypeId::of::<u64>() {
        same(&from.u64()?)
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

fn write_counts(counts: &Counts) -> Bytes {
    let mut out = Writer::with_capacity(256);
    let delta = counts.base_version();
    out.u8(u8::from(counts.headers) * HEADERS | u8::from(delta.is_some()) * COUNTS_DELTA);
    out.u64(counts.version);
    out.u64(counts.rows);
    out.u64(counts.members);
    match &counts.table {
        CountsTable::Full(groups) => {
            out.u64(groups.len() as u64);
            for group in groups {
                out.str(&group.group);
                out.u64(group.count.into());
                let flags = u8::from(group.hidden) * HIDDEN;
                out.u8(flags | u8::from(group.collapsed) * COLLAPSED);
            }
        }
        CountsTable::Delta {
            base_version,
            changed,
        } => {
            out.u64(*base_version);
            out.u64(changed.len() as u64);
            for (group, count) in changed {
                out.str(group);
                out.u64((*count).into());
            }
        }
    }
    out.into_vec().into()
}

fn read_counts(from: &mut Reader<'_>) -> Result<Counts, DecodeError> {
    let kind = flags(from, HEADERS | COUNTS_DELTA)?;
    let (version, rows, members) = (from.u64()?, from.u64()?, from.u64()?);
    let table = if kind & COUNTS_DELTA == 0 {
        let mut groups = Vec::new();
        for _ in 0..count(from, GROUPS_MAX)? {
            let (group, count) = (from.str(GROUP_NAME_MAX)?.into(), from.u32()?);
            let flags = flags(from, HIDDEN | COLLAPSED)?;
            let (hidden, collapsed) = (flags & HIDDEN != 0, flags & COLLAPSED != 0);
            groups.push(GroupCount {
                group,
                count,
                hidden,
                collapsed,
            });
        }
        CountsTable::Full(groups)
    } else {
        let base_version = from.u64()?;
        let mut changed = Vec::new();
        for _ in 0..count(from, GROUPS_MAX)? {
            changed.push((from.str(GROUP_NAME_MAX)?.into(), from.u32()?));
        }
        CountsTable::Delta {
            base_version,
            changed,
        }
    };
    Ok(Counts {
        version,
        rows,
        members,
        headers: kind & HEADERS != 0,
        table,
    })
}

/// A value with its length before it, which it fills.
fn nested<T>(
    from: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let bytes = from.bytes(FRAME_MAX)?;
    let start = from.offset() - bytes.len();
    let mut inner = Reader::new(bytes);
    read(&mut inner)
        .and_then(|value| inner.finish().map(|()| value))
        .map_err(|error| error.shifted(start))
}

/// How many values follow.
fn count(from: &mut Reader<'_>, max: usize) -> Result<usize, DecodeError> {
    let at = from.offset();
    let len = from.u64()?;
    if len > max as u64 {
        return Err(DecodeError::new(
            at,
            DecodeErrorKind::TooLong {
                len,
                max: max as u64,
            },
        ));
    }
    Ok(len as usize)
}

/// The next of ascending positions, said as the gap before it.
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

fn flags(from: &mut Reader<'_>, known: u8) -> Result<u8, DecodeError> {
    let at = from.offset();
    match from.u8()? {
        flags if flags & !known == 0 => Ok(flags),
        _ => Err(Reader::invalid(at, "unknown flags")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::member_list::client::Client;
    use crate::member_list::{Bodies, MemberList, Options, SortKey, TextId, Viewer, WindowSpec};

    /// Bundles of a list with everything in it: rows, moves, patches, counts, bases.
    fn bundles() -> Vec<Bundle<TextId>> {
        let mut list = MemberList::new(Options::default().with_payloads());
        let groups = list
            .set_groups(&["mods", "online", "offline"])
            .expect("good names");
        list.begin_epoch("room:1", 1);
        let id = |at: usize| TextId::new(&format!("user {at}")).expect("a good id");
        let name = |at: usize| SortKey::from_name(&format!("{at:03}"));
        for at in 0..20 {
            list.upsert(id(at), groups[at % 3], &name(at), at as u32 % 2)
                .expect("room");
            let payload = format!(r#"{{"at":{at}}}"#);
            list.set_payload(&id(at), payload.into()).expect("payloads");
        }
        let mut viewer = Viewer::new();
        let bodies = Bodies::Payloads(Default::default());
        let mut bundles = Vec::new();
        for spec in [WindowSpec::Chunk(0), WindowSpec::anchored(id(10), 3, 3)] {
            bundles.push(viewer.open(&mut list, spec, bodies).expect("open"));
        }
        for at in 0..12 {
            list.set_group(&id(at), groups[(at + 1) % 3])
                .expect("known");
            list.set_attrs(&id(at + 5), at as u32).expect("known");
            list.set_payload(&id(19 - at), Bytes::from("{}"))
                .expect("payloads");
            let tick = list.tick(std::time::Duration::from_secs(at as u64), bodies);
            bundles.extend(viewer.bundle(&tick));
        }
        bundles
    }

    #[test]
    fn what_was_written_is_read() {
        let bundles = bundles();
        assert!(bundles.len() > 10);
        for bundle in bundles {
            let bytes = bundle.to_binary();
            assert_eq!(
                Bundle::from_binary(&bytes).expect("what was written"),
                bundle
            );
            for cut in 0..bytes.len() {
                assert!(Bundle::<TextId>::from_binary(&bytes[..cut]).is_err());
            }
            assert!(
                Bundle::<u64>::from_binary(&bytes).is_err(),
                "ids of another type"
            );
        }
    }

    #[test]
    fn frames_are_encoded_once() {
        let bundles = bundles();
        let (frame, bundle) = (&bundles[3].frames[0], &bundles[3]);
        assert_eq!(frame.binary().as_ptr(), frame.binary().as_ptr());
        assert_eq!(frame.json().as_ptr(), frame.json().as_ptr());
        bundle.to_binary();
        assert!(frame.binary_cell().get().is_some());
    }

    proptest! {
        /// The envelope's checksum is out of the way here: damage reaches every reader.
        #[test]
        fn damage_is_an_error_or_another_bundle(
            which in 0usize..12,
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = bundles()[which].to_binary();
            let (_, body) = Envelope::new("", None).open(&bytes).expect("what was written");
            let mut body = body.to_vec();
            for (at, byte) in damage {
                let at = at.index(body.len());
                body[at] = byte;
            }
            if cut.index(3) == 0 {
                body.truncate(cut.index(body.len()));
            }
            if let Ok(bundle) = read_bundle::<TextId>(&body) {
                let mut client = Client::new(|body, _| body.to_vec());
                bundle.frames.iter().for_each(|frame| client.open(&frame.window));
                client.apply(&bundle);
                let again = Bundle::<TextId>::from_binary(&bundle.to_binary());
                prop_assert_eq!(again, Ok(bundle));
            }
        }
    }
}
