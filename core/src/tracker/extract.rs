//! Encoding large states in slices, between which the state may change.
//!
//! The version order is walked from one end while operations go on: a cursor registered with the
//! origin steps aside when its entry moves. What changed meanwhile is newer than the clock at the
//! start, so the end takes it from the tail and from the leave log and drops the outdated rows.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::Tracker;
use super::entry::EntryVersions;
use super::origin::Leave;
use super::slab::NIL;
use super::wire::{BodyWriter, Row};
use crate::codec::Kind;
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;

/// A large `Delta` or `Repair` being collected. See [`Tracker::begin_extract`].
#[derive(Debug)]
pub struct Extract {
    replica: ReplicaId,
    slot: u8,
    from: u64,
    nonce: u64,
    kind: Kind,
    /// Clock when it began.
    start: u64,
    /// Cursor in the origin.
    cursor: u64,
    /// Versions that only need to be listed.
    kept: Vec<(u64, u64)>,
    rows: Vec<Collected>,
    bytes: Vec<u8>,
    topics: Vec<Arc<str>>,
    topic_numbers: HashMap<u32, u32>,
}

/// An entry as it was when its slice came by.
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

/// What a finished extraction needs besides its rows.
#[derive(Debug)]
pub struct Extracted {
    extract: Extract,
    to: u64,
    leaves: Vec<Leave>,
}

impl Tracker {
    /// Starts to collect what a holder of `replica` at `clock` misses, for answers that are too
    /// large for one go: the counterpart of [`body_since`](Self::body_since), or of
    /// [`full_body`](Self::full_body) when `full` is set. O(1).
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// for i in 0..100 {
    ///     a.track(&NewEntry::new("room", &format!("user {i}"), "conn"))?;
    /// }
    /// let id = a.id().clone();
    /// let mut extract = a.begin_extract(&id, 0, false, 7).expect("there is something to send");
    /// while !a.extract_slice(&mut extract, 30) {
    ///     a.untrack("room", "user 1", "conn");
    /// }
    /// let (kind, body) = a.finish_extract(extract).expect("the leave log reaches back").encode();
    /// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
    /// b.apply_repair(&body, false)?;
    /// assert_eq!(b.count("room"), 99);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn begin_extract(
        &mut self,
        replica: &ReplicaId,
        clock: u64,
        full: bool,
        nonce: u64,
    ) -> Option<Extract> {
        let number = self.origins.find(replica)?;
        let clock = if full { 0 } else { clock };
        self.tokens += 1;
        let cursor = self.tokens;
        let slot = self.slot;
        let origin = self.origins.get_mut(number);
        if origin.applying.is_some() || clock >= origin.clock && !full {
            return None;
        }
        let reaches_back = clock >= origin.horizon || is_broken(Fault::IgnoreHorizon);
        let delta = clock > 0 && reaches_back;
        let (kind, at) = if delta {
            (Kind::DELTA, origin.newest)
        } else {
            (Kind::REPAIR, origin.oldest)
        };
        origin.cursors.push((cursor, at, !delta));
        Some(Extract {
            replica: replica.clone(),
            slot,
            from: clock,
            nonce,
            kind,
            start: origin.clock,
            cursor,
            kept: Vec::new(),
            rows: Vec::new(),
            bytes: Vec::new(),
            topics: Vec::new(),
            topic_numbers: HashMap::new(),
        })
    }

    /// Collects up to `entries_max` entries. `true`: that was all, or the origin is gone.
    /// O(`entries_max`).
    pub fn extract_slice(&mut self, extract: &mut Extract, entries_max: usize) -> bool {
        let Some(number) = self.origins.find(&extract.replica) else {
            return true;
        };
        let Some(mut at) = self.origins.get(number).cursor(extract.cursor) else {
            return true;
        };
        let forward = extract.kind == Kind::REPAIR;
        for _ in 0..entries_max.max(1) {
            if at == NIL {
                break;
            }
            let slot = &self.store.slab[at];
            let outside = if forward {
                slot.version > extract.start
            } else {
                slot.version <= extract.from
            };
            if outside {
                at = NIL;
                break;
            }
            if slot.version <= extract.from {
                extract.kept.push((slot.birth, slot.version));
            } else if slot.version <= extract.start {
                self.collect(extract, at);
            }
            at = if forward { slot.newer } else { slot.older };
        }
        self.origins.get_mut(number).set_cursor(extract.cursor, at);
        at == NIL
    }

    /// Ends an extraction: adds what changed since its start. `None` when the leave log no longer
    /// reaches back to the start, or the origin is gone: begin again. O(changes since the start).
    pub fn finish_extract(&mut self, mut extract: Extract) -> Option<Extracted> {
        let number = self.origins.find(&extract.replica)?;
        self.origins.get(number).cursor(extract.cursor)?;
        self.origins.get_mut(number).end_cursor(extract.cursor);
        let origin = self.origins.get(number);
        let delta = extract.kind == Kind::DELTA;
        let since = if delta { extract.from } else { extract.start };
        if origin.applying.is_some() || origin.horizon > since {
            return None;
        }
        let to = origin.clock;
        let leaves: Vec<Leave> = origin
            .leaves
            .range(origin.leaves_after(since)..)
            .copied()
            .collect();
        let late = origin.newer_than(&self.store.slab, extract.start);
        if delta {
            extract.rows.reverse();
        }
        let early = extract.rows.len();
        late.into_iter()
            .for_each(|index| self.collect(&mut extract, index));
        let late = extract.rows.split_off(early);
        extract.outdate(&leaves, &late);
        extract.rows.extend(late);
        Some(Extracted {
            extract,
            to,
            leaves,
        })
    }

    /// Gives up an extraction.
    pub fn cancel_extract(&mut self, extract: &Extract) {
        if let Some(number) = self.origins.find(&extract.replica) {
            self.origins.get_mut(number).end_cursor(extract.cursor);
        }
    }

    fn collect(&self, extract: &mut Extract, index: u32) {
        let slot = &self.store.slab[index];
        let name = &self.store.topic(slot.topic).name;
        let known = extract.topic_numbers.get(&slot.topic).copied();
        let known = known.filter(|&t| Arc::ptr_eq(&extract.topics[t as usize], name));
        let topic = known.unwrap_or_else(|| {
            extract.topics.push(Arc::clone(name));
            let number = (extract.topics.len() - 1) as u32;
            extract.topic_numbers.insert(slot.topic, number);
            number
        });
        let parts = self.store.parts(index);
        let bytes_at = extract.bytes.len();
        for part in [parts.key, parts.owner, parts.meta] {
            extract.bytes.extend_from_slice(part);
        }
        extract.rows.push(Collected {
            versions: self.store.versions(index),
            topic,
            status: slot.status,
            encoding: slot.encoding,
            key_len: parts.key.len() as u32,
            owner_len: parts.owner.len() as u32,
            bytes_at,
            bytes_end: extract.bytes.len(),
        });
    }
}

impl Extract {
    /// Drops rows whose entry left or was written again after the start.
    fn outdate(&mut self, leaves: &[Leave], late: &[Collected]) {
        let start = self.start;
        let killed = leaves
            .iter()
            .filter(|leave| leave.op > start)
            .map(|leave| leave.birth);
        let outdated: HashSet<u64> = killed
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
    /// The body, with its kind. Needs no lock. O(rows).
    #[must_use]
    pub fn encode(self) -> (Kind, Vec<u8>) {
        let Self {
            extract,
            to,
            leaves,
        } = self;
        let capacity = extract.bytes.len() + extract.rows.len() * 16 + extract.kept.len();
        let interval = (extract.from, to);
        let mut writer = BodyWriter::new(&extract.replica, extract.slot, interval, capacity);
        let delta = extract.kind == Kind::DELTA;
        if !delta {
            let versions = extract.kept.iter().map(|(_, version)| *version);
            writer.kept(extract.nonce, extract.kept.len(), versions);
        }
        let mut leaves = leaves.into_iter().filter(|_| delta).peekable();
        for row in &extract.rows {
            while let Some(leave) = leaves.next_if(|leave| leave.op < row.versions.version) {
                writer.leave(leave);
            }
            let bytes = &extract.bytes[row.bytes_at..row.bytes_end];
            let (key, rest) = bytes.split_at(row.key_len as usize);
            let (owner, meta) = rest.split_at(row.owner_len as usize);
            writer.put(&Row {
                versions: row.versions,
                topic_number: row.topic,
                topic: &extract.topics[row.topic as usize],
                encoding: row.encoding,
                status: row.status,
                key,
                owner,
                meta,
            });
        }
        leaves.for_each(|leave| writer.leave(leave));
        (extract.kind, writer.finish())
    }
}
