//! Bundles as Discord's `GUILD_MEMBER_LIST_UPDATE`, for clients of that protocol.
//!
//! Its operations have absolute indexes and apply to one array of rows that may have holes, so the
//! order of an event is fixed: chunks ascending; in a chunk deletes descending, inserts ascending,
//! updates; groups last, which also cut or extend the array. A chunk that was empty at the client
//! is sent whole, never as inserts: they would shift rows that are not there.

use bytes::Bytes;

use crate::member_list::frames::json::Out;
use crate::member_list::frames::model::{
    Body, Bundle, Counts, CountsTable, Frame, FrameChange, FrameRow, Insert, InsertSource,
    RowChange, RowUpdate, Shared,
};
use crate::member_list::limits::CHUNK_ROWS;
use crate::member_list::{Id, Viewer};

/// Encodes events of one list of one guild.
///
/// A member's item is its JSON body, which should be the member object with `user` and `presence`;
/// without a body it is `{"user":{"id":…}}`. Collapsed groups are sent as groups of 0.
///
/// ```
/// use headcount::member_list::{Discord, Viewer, WindowSpec};
/// use headcount::{Bodies, ListOptions, MemberList, SortKey};
///
/// let mut list = MemberList::<u64>::new(ListOptions::default());
/// let online = list.add_group("online")?;
/// list.upsert(7, online, &SortKey::from_name("Ada"), 0)?;
///
/// let mut viewer = Viewer::discord();
/// let bundle = viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None)?;
/// let event = Discord::new("41771983423143937", "everyone").event(&bundle);
/// let event = std::str::from_utf8(&event)?;
/// assert!(event.contains(r#""ops":[{"op":"SYNC","range":[0,99],"items":[{"group":"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discord {
    guild: String,
    list: String,
}

impl Discord {
    /// Makes an encoder for the list `list` (`"everyone"`, or the hash of a visibility class) of
    /// `guild`.
    #[must_use]
    pub fn new(guild: &str, list: &str) -> Self {
        Self {
            guild: guild.to_owned(),
            list: list.to_owned(),
        }
    }

    /// Returns the event of a bundle made for a [`Viewer::discord`]. Operations of a frame are
    /// encoded once for all viewers. O(length of the answer).
    #[must_use]
    pub fn event<I: Id>(&self, bundle: &Bundle<I>) -> Bytes {
        let mut frames: Vec<&Shared<Frame<I>>> =
            bundle.frames.iter().map(|frame| &**frame).collect();
        frames.sort_by_key(|frame| frame.base_index);
        self.write(bundle.counts.as_deref(), |out| {
            let ops: Vec<Bytes> = frames.iter().map(|frame| frame.discord()).collect();
            let ops: Vec<&Bytes> = ops.iter().filter(|ops| !ops.is_empty()).collect();
            out.join(&ops, |out, ops| out.0.extend_from_slice(ops));
        })
    }

    /// Returns the event that tells a client it has no chunk `chunk` any more, for after
    /// [`close`](Viewer::close).
    #[must_use]
    pub fn invalidate<I: Id>(&self, viewer: &Viewer<I>, chunk: u32) -> Bytes {
        self.write(viewer.groups(), |out| {
            out.text("{\"op\":\"INVALIDATE\",");
            range(out, u64::from(chunk) * CHUNK_ROWS as u64);
            out.text("}");
        })
    }

    fn write(&self, counts: Option<&Shared<Counts>>, ops: impl FnOnce(&mut Out)) -> Bytes {
        let mut out = Out(Vec::with_capacity(512));
        out.text("{\"guild_id\":");
        out.string(&self.guild);
        out.text(",\"id\":");
        out.string(&self.list);
        if let Some(counts) = counts {
            out.0.extend_from_slice(&counts.discord());
        }
        out.text(",\"ops\":[");
        ops(&mut out);
        out.text("]}");
        out.0.into()
    }
}

impl<I: Id> Shared<Frame<I>> {
    fn discord(&self) -> Bytes {
        self.discord_cell().get_or_init(|| frame_ops(self)).clone()
    }
}

impl Shared<Counts> {
    fn discord(&self) -> Bytes {
        self.discord_cell()
            .get_or_init(|| counts_fields(self))
            .clone()
    }
}

fn frame_ops<I: Id>(frame: &Frame<I>) -> Bytes {
    let mut out = Out(Vec::with_capacity(512));
    match &frame.change {
        FrameChange::Sync(rows) => {
            out.text("{\"op\":\"SYNC\",");
            range(&mut out, frame.base_index);
            out.text(",\"items\":[");
            out.join(rows, item);
            out.text("]}");
        }
        FrameChange::Delta {
            deletes,
            inserts,
            updates,
        } => {
            let at = |index: u32| frame.base_index + u64::from(index);
            for &index in deletes {
                op(&mut out, "DELETE", at(index), None::<&FrameRow<I>>);
            }
            for Insert { index, source } in inserts {
                let row = match source {
                    InsertSource::Row(row) => Some(row),
                    InsertSource::Move { .. } => whole_row(frame, *index),
                };
                op(&mut out, "INSERT", at(*index), row);
            }
            // Counts of headers are in the groups.
            let members = |update: &&RowUpdate| matches!(update.change, RowChange::Member(_));
            for RowUpdate { index, .. } in updates.iter().filter(members) {
                op(&mut out, "UPDATE", at(*index), whole_row(frame, *index));
            }
        }
    }
    out.0.into()
}

fn whole_row<I>(frame: &Frame<I>, index: u32) -> Option<&FrameRow<I>> {
    frame
        .whole_rows
        .iter()
        .find(|(at, _)| *at == index)
        .map(|(_, row)| row)
}

fn op<I: Id>(out: &mut Out, name: &str, index: u64, row: Option<&FrameRow<I>>) {
    out.text(if out.0.is_empty() {
        "{\"op\":\""
    } else {
        ",{\"op\":\""
    });
    out.text(name);
    out.text("\"");
    out.field("index", index);
    if let Some(row) = row {
        out.text(",\"item\":");
        item(out, row);
    }
    out.text("}");
}

/// `"range":[first,last]` of a chunk: inclusive, as that protocol has it.
fn range(out: &mut Out, first: u64) {
    out.text("\"range\":[");
    out.number(first);
    out.text(",");
    out.number(first + CHUNK_ROWS as u64 - 1);
    out.text("]");
}

fn item<I: Id>(out: &mut Out, row: &FrameRow<I>) {
    match row {
        FrameRow::Header { group, count } => {
            out.text("{\"group\":");
            id_and_count(out, group, *count);
            out.text("}");
        }
        FrameRow::Member {
            body: Some(body @ Body::Json(_)),
            ..
        } => {
            out.text("{\"member\":");
            out.body(body);
            out.text("}");
        }
        FrameRow::Member { id, .. } => {
            out.text("{\"member\":{\"user\":{\"id\":");
            out.id(id);
            out.text("}}}");
        }
    }
}

fn id_and_count(out: &mut Out, group: &str, count: u32) {
    out.text("{\"id\":");
    out.string(group);
    out.field("count", count.into());
    out.text("}");
}

/// The groups that have rows; `online_count` counts the members outside the group "offline".
fn counts_fields(counts: &Counts) -> Bytes {
    let mut out = Out(Vec::with_capacity(256));
    out.field("member_count", counts.members);
    let CountsTable::Full(groups) = &counts.table else {
        return out.0.into();
    };
    let online = groups.iter().filter(|group| *group.group != *"offline");
    out.field(
        "online_count",
        online.map(|group| u64::from(group.count)).sum(),
    );
    out.text(",\"groups\":[");
    let shown: Vec<_> = groups
        .iter()
        .filter(|group| group.count > 0 && !group.hidden)
        .collect();
    out.join(&shown, |out, group| {
        id_and_count(
            out,
            &group.group,
            if group.collapsed { 0 } else { group.count },
        );
    });
    out.text("]");
    out.0.into()
}
