//! Bundles as JSON in the form of `core/docs/list-frames.md`, and back (feature `json`).

#[cfg(feature = "json")]
pub(in crate::member_list) mod read;

use std::any::Any;

use bytes::Bytes;

use crate::member_list::frames::checksum::{push_decimal, push_id};
use crate::member_list::frames::model::{
    Body, BodyChange, Bundle, BundleFormat, Counts, CountsTable, Frame, FrameChange, FrameRow,
    Insert, InsertSource, MemberChange, RowChange, RowUpdate, Shared,
};
use crate::member_list::{Id, TextId};

impl<I: Id> Bundle<I> {
    /// Returns the bundle as JSON, in format 1: O(length of the answer).
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        self.to_json_in(BundleFormat::One)
    }

    /// Returns the bundle as JSON. Frames and counts are encoded once for all viewers; this puts
    /// them side by side: O(length of the answer).
    #[must_use]
    pub fn to_json_in(&self, format: BundleFormat) -> Bytes {
        let parts = self
            .frames
            .iter()
            .map(|frame| frame.json().len() + 1)
            .sum::<usize>();
        let counts = self.counts.as_ref().map_or(0, |counts| counts.json().len());
        let mut out = Out(Vec::with_capacity(parts + counts + 128 + self.list.len()));
        out.text("{\"list\":");
        out.string(&self.list);
        match format {
            BundleFormat::One => out.field("epoch", self.epoch.number),
            BundleFormat::Two => {
                out.text(",\"format\":2,\"epoch\":{\"node\":");
                out.string(&self.epoch.node);
                out.field("number", self.epoch.number);
                out.text("}");
            }
        }
        out.field("version", self.version);
        out.text(",\"frames\":[");
        out.join(&self.frames, |out, frame| {
            out.0.extend_from_slice(&frame.json())
        });
        out.text("]");
        if let Some(counts) = &self.counts {
            out.text(",\"counts\":");
            out.0.extend_from_slice(&counts.json());
        }
        if !self.bases.is_empty() {
            out.text(",\"bases\":[");
            out.join(&self.bases, |out, base| {
                out.text("{\"window\":");
                out.string(&base.window);
                out.field("base_index", base.base_index);
                out.text("}");
            });
            out.text("]");
        }
        if !self.windows.is_empty() {
            out.text(",\"windows\":[");
            out.join(&self.windows, |out, held| match format {
                BundleFormat::One => out.string(&held.window),
                BundleFormat::Two => {
                    out.text("{\"window\":");
                    out.string(&held.window);
                    out.field("version", held.version.unwrap_or(0));
                    out.text("}");
                }
            });
            out.text("]");
        }
        out.text("}");
        out.0.into()
    }
}

impl<I: Id> Shared<Frame<I>> {
    /// Returns the frame as JSON, encoded at the first call.
    pub fn json(&self) -> Bytes {
        self.json_cell().get_or_init(|| frame(self)).clone()
    }
}

impl Shared<Counts> {
    /// Returns the counts as JSON, encoded at the first call.
    pub fn json(&self) -> Bytes {
        self.json_cell().get_or_init(|| counts(self)).clone()
    }
}

fn frame<I: Id>(frame: &Frame<I>) -> Bytes {
    let rows = match &frame.change {
        FrameChange::Sync(rows) => rows.len(),
        FrameChange::Delta {
            inserts, updates, ..
        } => inserts.len() + updates.len(),
    };
    let mut out = Out(Vec::with_capacity(512 + 128 * rows));
    out.text("{\"window\":");
    out.string(&frame.window);
    if let Some(renamed) = &frame.renamed {
        out.text(",\"renamed\":");
        out.string(renamed);
    }
    out.field("base_version", frame.base_version);
    out.field("new_version", frame.new_version);
    out.field("base_index", frame.base_index);
    out.field("checksum32", frame.checksum32.into());
    if let Some(matches) = frame.matches {
        out.field("matches", matches);
    }
    match &frame.change {
        FrameChange::Sync(rows) => {
            out.text(",\"kind\":\"sync\",\"rows\":[");
            out.join(rows, Out::row);
        }
        FrameChange::Delta {
            deletes,
            inserts,
            updates,
        } => {
            out.text(",\"kind\":\"delta\",\"deletes\":[");
            out.join(deletes, |out, &at| out.number(at.into()));
            out.text("],\"inserts\":[");
            out.join(inserts, Out::insert);
            out.text("],\"updates\":[");
            out.join(updates, Out::update);
        }
    }
    out.text("]}");
    out.0.into()
}

fn counts(counts: &Counts) -> Bytes {
    let mut out = Out(Vec::with_capacity(256));
    out.text("{\"version\":");
    out.number(counts.version);
    if let Some(base_version) = counts.base_version() {
        out.field("base_version", base_version);
    }
    out.field("rows", counts.rows);
    out.field("members", counts.members);
    if !counts.headers {
        out.text(",\"headers\":false");
    }
    match &counts.table {
        CountsTable::Full(groups) => {
            out.text(",\"groups\":[");
            out.join(groups, |out, group| {
                out.text("{\"group\":");
                out.string(&group.group);
                out.field("count", group.count.into());
                out.text(if group.hidden { ",\"hidden\":true" } else { "" });
                out.text(if group.collapsed {
                    ",\"collapsed\":true}"
                } else {
                    "}"
                });
            });
        }
        CountsTable::Delta { changed, .. } => {
            out.text(",\"changed\":[");
            out.join(changed, |out, (group, count)| out.header(group, *count));
        }
    }
    out.text("]}");
    out.0.into()
}

/// JSON text in the making.
pub(in crate::member_list) struct Out(pub(in crate::member_list) Vec<u8>);

impl Out {
    #[inline]
    pub(in crate::member_list) fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    #[inline]
    pub(in crate::member_list) fn number(&mut self, number: u64) {
        push_decimal(&mut self.0, number);
    }

    /// `,"name":number`
    #[inline]
    pub(in crate::member_list) fn field(&mut self, name: &str, number: u64) {
        self.text(",\"");
        self.text(name);
        self.text("\":");
        self.number(number);
    }

    #[inline]
    pub(in crate::member_list) fn join<T>(
        &mut self,
        items: &[T],
        mut item: impl FnMut(&mut Self, &T),
    ) {
        for (at, value) in items.iter().enumerate() {
            self.text(if at == 0 { "" } else { "," });
            item(self, value);
        }
    }

    pub(in crate::member_list) fn string(&mut self, text: &str) {
        self.0.push(b'"');
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => self.0.extend_from_slice(&[b'\\', byte]),
                0..0x20 => {
                    self.text("\\u00");
                    self.0
                        .extend([byte >> 4, byte & 15].map(|d| b"0123456789abcdef"[d as usize]));
                }
                _ => self.0.push(byte),
            }
        }
        self.0.push(b'"');
    }

    pub(in crate::member_list) fn id<I: Id>(&mut self, id: &I) {
        if let Some(id) = (id as &dyn Any).downcast_ref::<TextId>() {
            return self.string(id.as_str());
        }
        // Digits and hyphens need no escapes.
        self.text("\"");
        push_id(&mut self.0, id);
        self.text("\"");
    }

    pub(in crate::member_list) fn body(&mut self, body: &Body) {
        match body {
            Body::Json(json) => self.0.extend_from_slice(json),
            Body::Raw(bytes) => {
                self.text("{\"base64\":\"");
                base64(bytes, &mut self.0);
                self.text("\"}");
            }
        }
    }

    pub(in crate::member_list) fn header(&mut self, group: &str, count: u32) {
        self.text("{\"group\":");
        self.string(group);
        self.field("count", count.into());
        self.text("}");
    }

    fn row<I: Id>(&mut self, row: &FrameRow<I>) {
        match row {
            FrameRow::Header { group, count } => self.header(group, *count),
            FrameRow::Member {
                id,
                revision,
                attrs,
                body,
            } => {
                self.text("{\"id\":");
                self.id(id);
                self.field("revision", (*revision).into());
                if *attrs != 0 {
                    self.field("attrs", (*attrs).into());
                }
                if let Some(body) = body {
                    self.text(",\"body\":");
                    self.body(body);
                }
                self.text("}");
            }
        }
    }

    fn insert<I: Id>(&mut self, insert: &Insert<I>) {
        self.text("{\"index\":");
        self.number(insert.index.into());
        match &insert.source {
            InsertSource::Row(row) => {
                self.text(",\"row\":");
                self.row(row);
            }
            InsertSource::Move { id, change } => {
                self.text(",\"move\":");
                self.id(id);
                if let Some(change) = change {
                    self.change(change);
                }
            }
        }
        self.text("}");
    }

    fn update(&mut self, update: &RowUpdate) {
        self.text("{\"index\":");
        self.number(update.index.into());
        match &update.change {
            RowChange::Count(count) => self.field("count", (*count).into()),
            RowChange::Member(change) => self.change(change),
        }
        self.text("}");
    }

    fn change(&mut self, change: &MemberChange) {
        self.field("revision", change.revision.into());
        if let Some(attrs) = change.attrs {
            self.field("attrs", attrs.into());
        }
        match &change.body {
            BodyChange::Same => {}
            BodyChange::Patch(patch) => {
                self.text(",\"patch\":");
                self.0.extend_from_slice(patch);
            }
            BodyChange::Whole(body) => {
                self.text(",\"body\":");
                self.body(body);
            }
        }
    }
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = DIGITS[(bits >> (18 - 6 * digit) & 63) as usize];
            out.push(if digit <= chunk.len() { value } else { b'=' });
        }
    }
}
