//! Encoding large states in slices, between which the state may change.
//!
//! The version order is walked from one end while operations are applied: a cursor registered with
//! the origin steps aside when its entry moves. What changed meanwhile is newer than the clock at
//! the start, so the end takes it from the tail and from the leave log and drops the outdated rows.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::Tracker;
use super::content::{ContentKind, Contents};
use super::entry::EntryVersions;
use super::leave_log::LoggedLeave;
use super::slab::NIL;
use super::slice::Slice;
use super::state::State;
use super::topic_share::TopicShare;
use super::version_order::Direction;
use super::wire::{BodyWriter, PutRecord};
use crate::codec::Kind;
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;

/// A large `Delta` or `Repair` being collected: the counterpart of [`Tracker::body_since`] and
/// [`Tracker::full_body`] for answers that are too large for one go. See [`Slice`].
///
/// ```
/// use headcount::tracker::Extract;
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// for i in 0..100 {
///     a.track(&NewEntry::new("room", &format!("user {i}"), "conn"))?;
/// }
/// let id = a.id().clone();
/// let mut extract = Extract::begin(&mut a, &id, 0, false).expect("there is something to send");
/// while !extract.step(&mut a, 30).done {
///     a.untrack("room", "user 1", "conn");
/// }
/// let (kind, body) = extract.finish(&mut a).expect("the leave log reaches back").encode();
/// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
/// b.apply_repair(&body, false)?;
/// assert_eq!(b.count("room"), 99);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Extract {
    replica: ReplicaId,
    share: TopicShare,
    from: u64,
    kind: Kind,
    /// Clock when it began.
    start: u64,
    /// The token of its cursor in the origin.
    cursor: u64,
    /// Versions that only need to be listed.
    kept: Vec<(u64, u64)>,
    rows: Vec<Collected>,
    bytes: Vec<u8>,
    topics: Vec<Arc<str>>,
    topic_numbers: HashMap<u32, u32>,
}

/// An entry as it was when it was collected.
#[derive(Debug, Clone, Copy)]
struct Collected {
    versions: EntryVersions,
    topic: u32,
    status: u8,
    encoding: u8,
    key_len: u32,
    owner_len: u32,
    bytes_at: usize,
    bytes_end: usize,
}

/// An extraction that has ended: all that its body is made of.
#[derive(Debug, Clone)]
pub struct Extracted {
    extract: Extract,
    to: u64,
    leaves: Vec<LoggedLeave>,
}

impl Extract {
    /// Starts to collect the operations that a holder of `replica` at `clock` misses; with `full`,
    /// the whole state. `None` when there is nothing to send, or when
    /// the origin is unknown or claimed. O(1).
    #[must_use = "it is made ready in steps"]
    pub fn begin(
        tracker: &mut Tracker,
        replica: &ReplicaId,
        clock: u64,
        full: bool,
    ) -> Option<Self> {
        let state = &mut tracker.state;
        let number = state.origins().find(replica)?;
        let origin = state.origin(number);
        let from = if full { 0 } else { clock };
        let start = origin.clock();
        if origin.is_claimed() || from >= start && !full {
            return None;
        }
        let reaches_back = from >= origin.horizon() || is_broken(Fault::IgnoreHorizon);
        let (kind, direction) = if from > 0 && reaches_back {
            (Kind::STATE_DELTA, Direction::Older)
        } else {
            (Kind::STATE_REPAIR, Direction::Newer)
        };
        Some(Self {
            replica: replica.clone(),
            share: state.share(),
            from,
            kind,
            start,
            cursor: state.begin_cursor(number, direction),
            kept: Vec::new(),
            rows: Vec::new(),
            bytes: Vec::new(),
            topics: Vec::new(),
            topic_numbers: HashMap::new(),
        })
    }

    /// Collects the next `entries_max` entries at most. An extraction whose origin was dropped is
    /// done. O(`entries_max`).
    pub fn step(&mut self, tracker: &mut Tracker, entries_max: usize) -> Slice {
        let state = &mut tracker.state;
        let Some(number) = state.origins().find(&self.replica) else {
            return Slice::silent(true);
        };
        let Some(mut index) = state.origin(number).cursor(self.cursor) else {
            return Slice::silent(true);
        };
        let forward = self.kind == Kind::STATE_REPAIR;
        for _ in 0..entries_max.max(1) {
            if index == NIL {
                break;
            }
            let row = state.row(index);
            let is_outside = if forward {
                row.version > self.start
            } else {
                row.version <= self.from
            };
            if is_outside {
                index = NIL;
                break;
            }
            if row.version <= self.from {
                self.kept.push((row.birth, row.version));
            } else if row.version <= self.start {
                self.collect(state, index);
            }
            index = if forward { row.newer } else { row.older };
        }
        state.set_cursor(number, self.cursor, index);
        Slice::silent(index == NIL)
    }

    /// Ends an extraction: adds what changed since its start. `None` when the leave log no longer
    /// reaches back to the start, or when the origin was dropped: begin again. O(changes since the
    /// start).
    pub fn finish(mut self, tracker: &mut Tracker) -> Option<Extracted> {
        let state = &mut tracker.state;
        let number = state.origins().find(&self.replica)?;
        state.origin(number).cursor(self.cursor)?;
        state.end_cursor(number, self.cursor);
        let origin = state.origin(number);
        let delta = self.kind == Kind::STATE_DELTA;
        let since = if delta { self.from } else { self.start };
        if origin.is_claimed() || origin.horizon() > since {
            return None;
        }
        let to = origin.clock();
        let leaves: Vec<LoggedLeave> = origin.leaves().after(since).collect();
        if delta {
            self.rows.reverse();
        }
        let early = self.rows.len();
        for index in origin.order().newer_than(state.store(), self.start) {
            self.collect(state, index);
        }
        let late = self.rows.split_off(early);
        self.outdate(&leaves, &late);
        self.rows.extend(late);
        Some(Extracted {
            extract: self,
            to,
            leaves,
        })
    }

    /// Gives up the extraction.
    pub fn cancel(self, tracker: &mut Tracker) {
        if let Some(number) = tracker.state.origins().find(&self.replica) {
            tracker.state.end_cursor(number, self.cursor);
        }
    }

    /// Returns the token of its place in the version order.
    #[cfg(test)]
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    fn collect(&mut self, state: &State, index: u32) {
        let row = state.row(index);
        let name = state.topic_name(index);
        let known = self.topic_numbers.get(&row.topic).copied();
        let known = known.filter(|&t| Arc::ptr_eq(&self.topics[t as usize], name));
        let topic = known.unwrap_or_else(|| {
            self.topics.push(Arc::clone(name));
            let number = (self.topics.len() - 1) as u32;
            self.topic_numbers.insert(row.topic, number);
            number
        });
        let parts = state.store().parts(index);
        let bytes_at = self.bytes.len();
        for part in [parts.key, parts.owner, parts.meta] {
            self.bytes.extend_from_slice(part);
        }
        self.rows.push(Collected {
            versions: state.store().versions(index),
            topic,
            status: row.status,
            encoding: row.encoding,
            key_len: parts.key.len() as u32,
            owner_len: parts.owner.len() as u32,
            bytes_at,
            bytes_end: self.bytes.len(),
        });
    }

    /// Drops rows whose entry left or was written again after the start.
    fn outdate(&mut self, leaves: &[LoggedLeave], late: &[Collected]) {
        let start = self.start;
        let left = leaves
            .iter()
            .filter(|leave| leave.op > start)
            .map(|leave| leave.birth);
        let outdated: HashSet<u64> = left
            .chain(late.iter().map(|row| row.versions.birth))
            .collect();
        if !outdated.is_empty() {
            self.rows
                .retain(|row| !outdated.contains(&row.versions.birth));
            self.kept.retain(|(birth, _)| !outdated.contains(birth));
        }
    }
}

impl Extracted {
    /// Encodes the body, and returns it with its kind. Needs no lock. O(rows).
    #[must_use]
    pub fn encode(self) -> (Kind, Vec<u8>) {
        let Self {
            extract,
            to,
            leaves,
        } = self;
        let capacity = extract.bytes.len() + extract.rows.len() * 16 + extract.kept.len();
        let interval = extract.from..=to;
        let mut writer = BodyWriter::new(&extract.replica, extract.share, interval, capacity);
        let delta = extract.kind == Kind::STATE_DELTA;
        if !delta {
            let versions = extract.kept.iter().map(|(_, version)| *version);
            writer.kept(extract.kept.len(), versions);
        }
        let leaves = leaves.into_iter().filter(|_| delta);
        extract.write(&mut writer, leaves);
        (extract.kind, writer.finish())
    }

    /// Encodes what follows the head of a frame. O(rows).
    pub(crate) fn into_contents(self) -> Contents {
        let Self {
            extract,
            to,
            leaves,
        } = self;
        let from = extract.from;
        let mut writer = BodyWriter::headless(from, extract.bytes.len());
        let content = if extract.kind == Kind::STATE_DELTA {
            extract.write(&mut writer, leaves.into_iter());
            ContentKind::Records(writer.finish())
        } else {
            let versions = extract.kept.iter().map(|(_, version)| *version);
            writer.kept(extract.kept.len(), versions);
            extract.write(&mut writer, std::iter::empty());
            ContentKind::Repair(writer.finish())
        };
        Contents { from, to, content }
    }
}

impl Extract {
    fn record(&self, row: &Collected) -> PutRecord<'_> {
        let bytes = &self.bytes[row.bytes_at..row.bytes_end];
        let (key, rest) = bytes.split_at(row.key_len as usize);
        let (owner, meta) = rest.split_at(row.owner_len as usize);
        PutRecord {
            versions: row.versions,
            topic_number: row.topic,
            topic: &self.topics[row.topic as usize],
            encoding: row.encoding,
            status: row.status,
            key,
            owner,
            meta,
        }
    }

    fn write(&self, writer: &mut BodyWriter, leaves: impl Iterator<Item = LoggedLeave>) {
        let mut leaves = leaves.peekable();
        for row in &self.rows {
            while let Some(leave) = leaves.next_if(|leave| leave.op < row.versions.version) {
                writer.leave(leave);
            }
            writer.put(&self.record(row));
        }
        leaves.for_each(|leave| writer.leave(leave));
    }
}
