//! The own state at one clock, read part by part while operations go on: for answers longer than a
//! frame.
//!
//! A capture has the numbers of the entries and not their content. Before one of them is written or
//! removed, its content is saved for each capture that has it (copy on write). So a capture takes 4
//! bytes an entry and what changes meanwhile, and each of its parts is encoded when it is asked for.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Tracker;
use super::entry::EntryVersions;
use super::origins::LOCAL;
use super::slab::NIL;
use super::store::Store;
use super::version_order::Direction;
use super::wire::{PartsWriter, PutRecord, put_record};

/// The most captures of a state at once: beyond it the oldest goes.
const CAPTURES_MAX: usize = 64;

/// The captures of the local origin.
#[derive(Debug, Clone, Default)]
pub(super) struct Captures(Vec<Capture>);

/// A state that is captured, or about to be.
#[derive(Debug, Clone)]
struct Capture {
    /// Its number, which is that of its walk too.
    number: u64,
    /// The clock of the state.
    to: u64,
    /// The most bytes of a part, unless a single entry takes more.
    part_max: usize,
    stage: Stage,
    /// The entries in the order of their versions.
    entries: Vec<u32>,
    /// The place in `entries` at which each part starts.
    starts: Vec<u32>,
    /// The bytes of the longest part.
    longest: usize,
    /// The entries that have changed, as they were.
    saved: HashMap<u32, Saved>,
    saved_bytes: usize,
    saved_max: usize,
}

/// The knowledge of the entries.
#[derive(Debug, Clone)]
enum Stage {
    /// Versions and numbers of those found by the walk, which has come to version `reached`, and of
    /// those that changed before it came to them.
    Listing {
        found: Vec<(u64, u32)>,
        reached: u64,
    },
    /// The entries from `next` on are in no part.
    Measuring {
        next: usize,
        parts: PartsWriter,
    },
    Whole,
}

/// An entry as it was.
#[derive(Debug, Clone)]
struct Saved {
    versions: EntryVersions,
    topic_number: u32,
    topic: Arc<str>,
    encoding: u8,
    status: u8,
    key_len: usize,
    owner_len: usize,
    /// Key, owner and meta.
    bytes: Box<[u8]>,
}

/// The measures of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Captured {
    /// The clock of the state.
    pub(crate) to: u64,
    pub(crate) parts: u32,
    /// The bytes of the longest part.
    pub(crate) longest: usize,
    /// The bytes that it takes now.
    pub(crate) bytes: usize,
}

impl Saved {
    fn new(store: &Store, index: u32) -> Self {
        let record = put_record(store, index);
        Self {
            versions: record.versions,
            topic_number: record.topic_number,
            topic: Arc::clone(store.topic_name(index)),
            encoding: record.encoding,
            status: record.status,
            key_len: record.key.len(),
            owner_len: record.owner.len(),
            bytes: [record.key, record.owner, record.meta].concat().into(),
        }
    }

    fn record(&self) -> PutRecord<'_> {
        let (key, rest) = self.bytes.split_at(self.key_len);
        let (owner, meta) = rest.split_at(self.owner_len);
        PutRecord {
            versions: self.versions,
            topic_number: self.topic_number,
            topic: &self.topic,
            encoding: self.encoding,
            status: self.status,
            key,
            owner,
            meta,
        }
    }
}

impl Captures {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Saves an own entry that is about to change or to go. Gives up the captures for which too much
    /// has changed. O(captures).
    pub(super) fn save(&mut self, store: &Store, index: u32) {
        let version = store.row(index).version;
        for capture in &mut self.0 {
            if version > capture.to || capture.saved.contains_key(&index) {
                continue;
            }
            if let Stage::Listing { found, reached } = &mut capture.stage
                && version > *reached
            {
                found.push((version, index));
            }
            let saved = Saved::new(store, index);
            capture.saved_bytes += size_of::<(u32, Saved)>() + saved.bytes.len();
            capture.saved.insert(index, saved);
        }
        self.0
            .retain(|capture| capture.saved_bytes <= capture.saved_max);
    }

    /// Gives up all: the origin begins another life.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn find(&self, number: u64) -> Option<&Capture> {
        self.0.iter().find(|capture| capture.number == number)
    }
}

impl Capture {
    fn record<'a>(&'a self, store: &'a Store, index: u32) -> PutRecord<'a> {
        let saved = self.saved.get(&index);
        saved.map_or_else(|| put_record(store, index), Saved::record)
    }

    /// Takes the entries that are found, all there are.
    fn end_listing(&mut self) {
        if let Stage::Listing { found, .. } = &mut self.stage {
            found.sort_unstable();
            self.entries = found.iter().map(|(_, index)| *index).collect();
            self.starts = vec![0];
            let parts = PartsWriter::new(self.part_max);
            self.stage = Stage::Measuring { next: 0, parts };
        }
    }

    /// Finds the starts of the parts of some entries more. Returns whether all are found.
    fn measure(&mut self, store: &Store, entries_max: usize) -> bool {
        let stage = std::mem::replace(&mut self.stage, Stage::Whole);
        let Stage::Measuring { next, mut parts } = stage else {
            return true;
        };
        let end = self.entries.len().min(next.saturating_add(entries_max));
        for place in next..end {
            let record = self.record(store, self.entries[place]);
            if let Some(full) = parts.put(&record) {
                self.longest = self.longest.max(full.len());
                self.starts.push(place as u32);
            }
        }
        let is_whole = end == self.entries.len();
        if is_whole {
            self.longest = self.longest.max(parts.finish().len());
        } else {
            self.stage = Stage::Measuring { next: end, parts };
        }
        is_whole
    }

    fn measures(&self) -> Captured {
        Captured {
            to: self.to,
            parts: self.starts.len() as u32,
            longest: self.longest,
            bytes: self.saved_bytes + size_of::<u32>() * (self.entries.len() + self.starts.len()),
        }
    }

    fn part(&self, store: &Store, number: u32) -> Option<Vec<u8>> {
        let number = number as usize;
        let start = *self.starts.get(number)? as usize;
        let end = self.starts.get(number + 1);
        let end = end.map_or(self.entries.len(), |end| *end as usize);
        let mut part = PartsWriter::new(usize::MAX);
        for index in &self.entries[start..end] {
            part.put(&self.record(store, *index));
        }
        Some(part.finish())
    }
}

impl Tracker {
    /// Begins to capture the own state, in parts of at most `part_max` bytes unless a single entry
    /// takes more. It is given up once what changed meanwhile takes more than `saved_max` bytes.
    /// Returns its number. O(1).
    pub(crate) fn begin_capture(&mut self, part_max: usize, saved_max: usize) -> u64 {
        if self.state.captures.0.len() >= CAPTURES_MAX {
            let oldest = self.state.captures.0[0].number;
            self.end_capture(oldest);
        }
        let number = self.state.begin_cursor(LOCAL, Direction::Newer);
        self.state.captures.0.push(Capture {
            number,
            to: self.state.local().clock(),
            part_max,
            stage: Stage::Listing {
                found: Vec::new(),
                reached: 0,
            },
            entries: Vec::new(),
            starts: Vec::new(),
            longest: 0,
            saved: HashMap::new(),
            saved_bytes: 0,
            saved_max,
        });
        number
    }

    /// Captures the next entries. Returns whether all are; `None` if the capture was given up.
    /// O(`entries_max`), and O(entries) once.
    pub(crate) fn step_capture(&mut self, number: u64, entries_max: usize) -> Option<bool> {
        let mut captures = std::mem::take(&mut self.state.captures);
        let capture = captures.0.iter_mut().find(|c| c.number == number);
        let is_whole = capture.map(|capture| self.step_taken(capture, entries_max));
        self.state.captures = captures;
        if is_whole.is_none() {
            self.state.end_cursor(LOCAL, number);
        }
        is_whole
    }

    fn step_taken(&mut self, capture: &mut Capture, entries_max: usize) -> bool {
        let Stage::Listing { found, reached } = &mut capture.stage else {
            return capture.measure(self.state.store(), entries_max);
        };
        let state = &mut self.state;
        let mut index = state.local().cursor(capture.number).unwrap_or(NIL);
        for _ in 0..entries_max.max(1) {
            if index == NIL {
                break;
            }
            let row = state.row(index);
            if row.version > capture.to {
                index = NIL;
                break;
            }
            found.push((row.version, index));
            *reached = row.version;
            index = row.newer;
        }
        state.set_cursor(LOCAL, capture.number, index);
        if index == NIL {
            state.end_cursor(LOCAL, capture.number);
            capture.end_listing();
        }
        false
    }

    /// Returns the measures of a capture; `None` if it is not whole, or was given up. O(captures).
    pub(crate) fn captured(&self, number: u64) -> Option<Captured> {
        let capture = self.state.captures.find(number)?;
        matches!(capture.stage, Stage::Whole).then(|| capture.measures())
    }

    /// Returns a part of the state as the content of a repair from 0; `None` if there is none, or the
    /// capture was given up. O(entries of the part).
    pub(crate) fn captured_part(&self, number: u64, part: u32) -> Option<Vec<u8>> {
        let capture = self.state.captures.find(number)?;
        let is_whole = matches!(capture.stage, Stage::Whole);
        is_whole
            .then(|| capture.part(self.state.store(), part))
            .flatten()
    }

    /// Gives a capture up. O(1), but for what it frees.
    pub(crate) fn end_capture(&mut self, number: u64) {
        self.state.end_cursor(LOCAL, number);
        self.state.captures.0.retain(|c| c.number != number);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Content, NewEntry};
    use super::*;
    use crate::id::ReplicaId;

    fn tracker(name: &str) -> Tracker {
        Tracker::new(ReplicaId::new(name, 1, 0).unwrap())
    }

    /// Writes with long shared prefixes, empty and long values, and several topics.
    fn write(tracker: &mut Tracker, user: u32, meta: &[u8]) {
        let topic = ["", "a room of a very long name", "ra\u{308}ume"][user as usize % 3];
        let key = format!("{}{user}", "shared ".repeat(user as usize % 5));
        let put = NewEntry::new(topic, &key, "").meta(meta);
        tracker.upsert(&put).unwrap();
    }

    fn remove(tracker: &mut Tracker, user: u32) {
        let topic = ["", "a room of a very long name", "ra\u{308}ume"][user as usize % 3];
        let key = format!("{}{user}", "shared ".repeat(user as usize % 5));
        assert!(tracker.untrack(topic, key.as_str(), ""));
    }

    /// Loads all parts at a tracker that has nothing, and returns its lines.
    fn load(a: &Tracker, number: u64) -> Vec<String> {
        let captured = a.captured(number).unwrap();
        let mut lines = Vec::new();
        for part in 0..captured.parts {
            let bytes = a.captured_part(number, part).unwrap();
            assert!(bytes.len() <= captured.longest);
            let mut reader = tracker("reader");
            let content = Content {
                from: 0,
                to: captured.to,
                bytes: &bytes,
            };
            reader.apply_content(a.id(), content, true).unwrap();
            lines.extend(own_lines(&reader));
        }
        lines.sort();
        lines
    }

    fn own_lines(tracker: &Tracker) -> Vec<String> {
        let topics: Vec<_> = tracker.topics().map(str::to_owned).collect();
        let entries = topics.iter().flat_map(|topic| tracker.list(topic));
        let mut lines: Vec<_> = entries
            .map(|e| {
                let ops = (e.birth(), e.version());
                format!("{}/{:?}/{ops:?}/{:?}", e.topic(), e.key(), e.meta())
            })
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn the_parts_are_the_state_at_its_clock_whatever_is_written_meanwhile() {
        for steps_before in [0, 1, 5, 100] {
            let mut a = tracker("a");
            (0..300).for_each(|user| write(&mut a, user, &[7; 30]));
            (0..50).for_each(|user| write(&mut a, 3 * user, b""));
            let expected = own_lines(&a);
            let number = a.begin_capture(1_000, usize::MAX);
            let mut is_whole = false;
            for _ in 0..steps_before {
                is_whole |= a.step_capture(number, 17).unwrap();
            }
            for user in 0..250 {
                match user % 4 {
                    0 => write(&mut a, user, &[9; 500]),
                    1 => remove(&mut a, user),
                    2 => write(&mut a, 1_000 + user, b"new"),
                    _ => {
                        remove(&mut a, user);
                        write(&mut a, user, b"again");
                    }
                }
                if user % 5 == 0 && !is_whole {
                    is_whole = a.step_capture(number, 3).unwrap();
                }
            }
            while !is_whole {
                is_whole = a.step_capture(number, 50).unwrap();
            }
            let captured = a.captured(number).unwrap();
            assert!(captured.parts > 10 && captured.longest <= 1_000);
            assert_eq!(load(&a, number), expected, "after {steps_before} steps");
            assert_eq!(load(&a, number), expected, "again");
            assert_eq!(a.captured_part(number, captured.parts), None);
            a.end_capture(number);
            assert_eq!(
                (a.captured(number), a.captured_part(number, 0)),
                (None, None)
            );
            assert!(a.state.captures.is_empty());
        }
    }

    #[test]
    fn a_capture_takes_four_bytes_an_entry_and_what_changes_up_to_a_bound() {
        let mut a = tracker("a");
        (0..1_000).for_each(|user| write(&mut a, user, &[7; 200]));
        let number = a.begin_capture(4_096, 20_000);
        while !a.step_capture(number, 100).unwrap() {}
        let bytes = |a: &Tracker| a.captured(number).map(|captured| captured.bytes);
        let captured = a.captured(number).unwrap();
        assert_eq!(captured.bytes, 4 * (1_000 + captured.parts as usize));
        write(&mut a, 5, b"changed");
        let one = bytes(&a).unwrap();
        assert!((captured.bytes + 200..captured.bytes + 400).contains(&one));
        write(&mut a, 5, b"again");
        write(&mut a, 2_000, b"new");
        assert_eq!(bytes(&a), Some(one), "once, and none that is new");
        (10..100).for_each(|user| write(&mut a, user, b"changed"));
        assert_eq!(bytes(&a), None, "too much has changed");
        assert_eq!(a.step_capture(number, 1), None);
        let numbers: Vec<_> = (0..66).map(|_| a.begin_capture(4_096, 0)).collect();
        let kept = numbers.iter().filter(|n| a.step_capture(**n, 1).is_some());
        assert_eq!(kept.count(), CAPTURES_MAX);
        a.reincarnate(ReplicaId::new("a", 2, 0).unwrap());
        assert!(a.state.captures.is_empty(), "they were of the former id");
    }
}
