//! Writing bodies.

use std::ops::RangeInclusive;

use super::{
    PUT_AGE, PUT_PREVIOUS, PUT_STATUS, REASON_MAX, RECORD_LEAVE, RECORD_PUT, RECORD_TOPIC,
};
use crate::codec::Writer;
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;
use crate::tracker::entry::EntryVersions;
use crate::tracker::leave_log::LoggedLeave;
use crate::tracker::origin::OriginState;
use crate::tracker::store::Store;
use crate::tracker::topic_share::TopicShare;

/// An entry as a body has it.
#[derive(Debug)]
pub(in crate::tracker) struct PutRecord<'a> {
    pub(in crate::tracker) versions: EntryVersions,
    /// A number that names this topic within one body.
    pub(in crate::tracker) topic_number: u32,
    pub(in crate::tracker) topic: &'a str,
    pub(in crate::tracker) encoding: u8,
    pub(in crate::tracker) status: u8,
    pub(in crate::tracker) key: &'a [u8],
    pub(in crate::tracker) owner: &'a [u8],
    pub(in crate::tracker) meta: &'a [u8],
}

/// Writes a body: the counterpart of the heads, [`Kept`](super::Kept) and
/// [`Records`](super::Records).
#[derive(Debug, Clone)]
pub(in crate::tracker) struct BodyWriter {
    writer: Writer,
    op: u64,
    /// The number in this body of each topic number.
    topics: hashbrown::HashMap<u32, u64>,
}

impl BodyWriter {
    pub(in crate::tracker) fn new(
        replica: &ReplicaId,
        share: TopicShare,
        interval: RangeInclusive<u64>,
        capacity: usize,
    ) -> Self {
        let mut writer = Writer::with_capacity(capacity + 112);
        writer.identity(replica.name(), replica.incarnation(), replica.salt());
        writer.u8(share.bits());
        writer.u64(u64::from(share.number()));
        writer.u64(*interval.start());
        writer.u64(*interval.end());
        Self::after_head(writer, *interval.start())
    }

    /// Starts with the records after clock `from`; what goes before them is written elsewhere.
    pub(in crate::tracker) fn headless(from: u64, capacity: usize) -> Self {
        Self::after_head(Writer::with_capacity(capacity), from)
    }

    fn after_head(writer: Writer, from: u64) -> Self {
        Self {
            writer,
            op: from,
            topics: hashbrown::HashMap::new(),
        }
    }

    /// Writes the part of a `Repair` between its head and its records.
    pub(in crate::tracker) fn kept(&mut self, len: usize, versions: impl Iterator<Item = u64>) {
        self.writer.u64(len as u64);
        let mut last = 0;
        for version in versions {
            self.writer.u64(version - last);
            last = version;
        }
    }

    fn op(&mut self, op: u64) {
        self.writer.u64(op - self.op);
        self.op = op;
    }

    pub(in crate::tracker) fn put(&mut self, row: &PutRecord<'_>) {
        let introduced = self.topics.len() as u64;
        let topic = *self.topics.entry(row.topic_number).or_insert(introduced);
        if topic == introduced {
            self.writer.u8(RECORD_TOPIC);
            self.writer.str(row.topic);
        }
        let EntryVersions {
            birth,
            version,
            previous,
        } = row.versions;
        let updated = birth != version;
        let status_flag = if row.status == 0 { 0 } else { PUT_STATUS };
        let age_flag = if updated { PUT_AGE } else { 0 };
        let long = row.versions.is_long();
        let previous_flag = if long { PUT_PREVIOUS } else { 0 };
        self.writer
            .u8(RECORD_PUT | row.encoding << 2 | status_flag | age_flag | previous_flag);
        self.op(version);
        if updated {
            self.writer.u64(version - birth);
        }
        if long {
            self.writer.u64(version - previous);
        }
        self.writer.u64(topic);
        if row.status != 0 {
            self.writer.u8(row.status);
        }
        self.writer.bytes(row.key);
        self.writer.bytes(row.owner);
        self.writer.bytes(row.meta);
    }

    pub(in crate::tracker) fn leave(&mut self, leave: LoggedLeave) {
        self.writer
            .u8(RECORD_LEAVE | leave.reason.min(REASON_MAX) << 2);
        self.op(leave.op);
        self.writer.u64(leave.op - leave.birth);
    }

    /// Returns the bytes written so far.
    pub(in crate::tracker) fn len(&self) -> usize {
        self.writer.as_slice().len()
    }

    pub(in crate::tracker) fn finish(self) -> Vec<u8> {
        self.writer.into_vec()
    }
}

/// Returns an entry as a body has it.
pub(in crate::tracker) fn put_record(store: &Store, index: u32) -> PutRecord<'_> {
    let row = store.row(index);
    let parts = store.parts(index);
    PutRecord {
        versions: store.versions(index),
        topic_number: row.topic,
        topic: store.topic(row.topic).name(),
        encoding: row.encoding,
        status: row.status,
        key: parts.key,
        owner: parts.owner,
        meta: parts.meta,
    }
}

/// Writes a `Delta` body from clock `from` (at or above the horizon) to the origin's clock.
pub(in crate::tracker) fn delta_body(
    store: &Store,
    origin: &OriginState,
    share: TopicShare,
    from: u64,
) -> Vec<u8> {
    let puts = origin.order().newer_than(store, from);
    let interval = from..=origin.clock();
    let mut writer = BodyWriter::new(origin.id(), share, interval, puts.len() * 80);
    write_delta(&mut writer, store, origin, from, &puts);
    writer.finish()
}

/// Writes the records of a `Delta` from clock `from` on: `puts` are the entries written since.
fn write_delta(
    writer: &mut BodyWriter,
    store: &Store,
    origin: &OriginState,
    from: u64,
    puts: &[u32],
) {
    let last_leave = origin.leaves().newest().map_or(0, |leave| leave.op);
    let mut leaves = origin
        .leaves()
        .after(from)
        .filter(|leave| leave.birth <= from || !is_broken(Fault::CancelLeaves))
        .filter(|leave| leave.op != last_leave || !is_broken(Fault::DropLeave))
        .peekable();
    for &index in puts {
        let version = store.row(index).version;
        while let Some(leave) = leaves.next_if(|leave| leave.op < version) {
            writer.leave(leave);
        }
        writer.put(&put_record(store, index));
    }
    leaves.for_each(|leave| writer.leave(leave));
}

/// Returns the records of a `Delta` without its head.
pub(in crate::tracker) fn delta_records(store: &Store, origin: &OriginState, from: u64) -> Vec<u8> {
    let puts = origin.order().newer_than(store, from);
    let mut writer = BodyWriter::headless(from, puts.len() * 80);
    write_delta(&mut writer, store, origin, from, &puts);
    writer.finish()
}

/// Writes a `Repair` body relative to `base`; the full state when `base` is 0.
pub(in crate::tracker) fn repair_body(
    store: &Store,
    origin: &OriginState,
    share: TopicShare,
    base: u64,
) -> Vec<u8> {
    let puts = origin.order().newer_than(store, base);
    let kept = origin.len() as usize - puts.len();
    let capacity = puts.len() * 80 + kept;
    let interval = base..=origin.clock();
    let mut writer = BodyWriter::new(origin.id(), share, interval, capacity);
    write_repair(&mut writer, store, origin, base, &puts);
    writer.finish()
}

/// Writes what follows the head of a `Repair`: `puts` are the entries written after `base`.
fn write_repair(
    writer: &mut BodyWriter,
    store: &Store,
    origin: &OriginState,
    base: u64,
    puts: &[u32],
) {
    let kept = origin.len() as usize - puts.len();
    let versions = origin.order().versions(store);
    writer.kept(kept, versions.take_while(|v| *v <= base));
    for &index in puts {
        writer.put(&put_record(store, index));
    }
}

/// Returns what follows the head of a `Repair`.
pub(in crate::tracker) fn repair_content(
    store: &Store,
    origin: &OriginState,
    base: u64,
) -> Vec<u8> {
    let puts = origin.order().newer_than(store, base);
    let kept = origin.len() as usize - puts.len();
    let mut writer = BodyWriter::headless(base, puts.len() * 80 + kept);
    write_repair(&mut writer, store, origin, base, &puts);
    writer.finish()
}

/// Contents of repairs from 0 that are written one record after the other, each up to a length.
#[derive(Debug, Clone)]
pub(in crate::tracker) struct PartsWriter {
    bytes_max: usize,
    part: BodyWriter,
}

impl PartsWriter {
    /// The most bytes of a record beside its topic, key, owner and meta.
    const RECORD_HEAD_MAX: usize = 64;

    pub(in crate::tracker) fn new(bytes_max: usize) -> Self {
        let part = Self::begin();
        Self { bytes_max, part }
    }

    fn begin() -> BodyWriter {
        let mut part = BodyWriter::headless(0, 0);
        part.kept(0, std::iter::empty());
        part
    }

    /// Adds a put, to another part if this one is full: then the full one is returned. Versions must
    /// ascend.
    pub(in crate::tracker) fn put(&mut self, row: &PutRecord<'_>) -> Option<Vec<u8>> {
        let content = row.topic.len() + row.key.len() + row.owner.len() + row.meta.len();
        let len = self.part.len().saturating_add(content) + Self::RECORD_HEAD_MAX;
        let is_full = len > self.bytes_max && self.part.op > 0;
        let full = is_full.then(|| std::mem::replace(&mut self.part, Self::begin()).finish());
        self.part.put(row);
        full
    }

    /// Returns the last part.
    pub(in crate::tracker) fn finish(self) -> Vec<u8> {
        self.part.finish()
    }
}

/// Writes the whole state of an origin as the content of a repair from 0; `None` if it has more than
/// `bytes_max` bytes, and not only one entry. O(entries), no more than fit.
pub(in crate::tracker) fn whole_content(
    store: &Store,
    origin: &OriginState,
    bytes_max: usize,
) -> Option<Vec<u8>> {
    let mut part = PartsWriter::new(bytes_max);
    let is_whole = origin
        .order()
        .entries(store)
        .all(|index| part.put(&put_record(store, index)).is_none());
    is_whole.then(|| part.finish())
}
