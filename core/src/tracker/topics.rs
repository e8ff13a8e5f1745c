//! The topics that have entries, by name and by number.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::head_table::{HeadTable, Heads};
use super::slab::{NIL, push_tight};
use crate::id::topic_hash;

#[derive(Debug, Clone, Default)]
pub(super) struct Topics {
    list: Vec<Option<Topic>>,
    free: Vec<u32>,
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The number of writes to entries so far.
    writes: u64,
}

/// A topic that has entries. One cache line holds what a look-up reads: the start of the name and
/// the table.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Topic {
    start: Start,
    /// The first session of each key.
    keys: HeadTable,
    hash: u64,
    name: Arc<str>,
    /// Entries per origin, for the origins that have some.
    counts: OriginCounts,
    /// Distinct visible keys: (epoch of visibility + 1) << 32 | count. 0: not known. `visible_keys`
    /// keeps it while entries come and go.
    visible_keys: AtomicU64,
    /// The number of the newest write to an entry of the topic.
    revision: u64,
}

impl Clone for Topic {
    fn clone(&self) -> Self {
        Self {
            start: self.start,
            name: Arc::clone(&self.name),
            hash: self.hash,
            keys: self.keys.clone(),
            counts: self.counts.clone(),
            visible_keys: AtomicU64::new(self.visible_keys.load(Ordering::Relaxed)),
            revision: self.revision,
        }
    }
}

impl Topics {
    #[inline]
    pub(super) fn get(&self, number: u32) -> &Topic {
        self.list[number as usize]
            .as_ref()
            .expect("entries name live topics only")
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> &mut Topic {
        self.list[number as usize]
            .as_mut()
            .expect("entries name live topics only")
    }

    /// Notes a write to an entry of a topic; returns the topic. O(1).
    #[inline]
    pub(super) fn note_write(&mut self, number: u32) -> &mut Topic {
        self.writes += 1;
        let revision = self.writes;
        let topic = self.get_mut(number);
        topic.revision = revision;
        topic
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.list.iter().flatten()
    }

    /// Returns the number of a topic, or `NIL`. O(1).
    #[inline]
    pub(super) fn find(&self, name: &str) -> u32 {
        let hash = self.hasher.hash_one(name);
        let found = self.by_name.find(hash, |&t| self.get(t).is_named(name));
        found.copied().unwrap_or(NIL)
    }

    /// Adds a topic without entries and returns its number. O(1).
    pub(super) fn add(&mut self, name: &str) -> u32 {
        let topic = Topic::new(name);
        let number = match self.free.pop() {
            Some(number) => {
                self.list[number as usize] = Some(topic);
                number
            }
            None => {
                push_tight(&mut self.list, Some(topic));
                (self.list.len() - 1) as u32
            }
        };
        let Self {
            by_name,
            list,
            hasher,
            ..
        } = self;
        by_name.insert_unique(hasher.hash_one(name), number, |&t| {
            let topic = list[t as usize]
                .as_ref()
                .expect("the index names live topics only");
            hasher.hash_one(&*topic.name)
        });
        number
    }

    /// Removes a topic that has no entries. O(1).
    pub(super) fn remove(&mut self, number: u32) {
        let topic = self.list[number as usize]
            .take()
            .expect("the topic was just used");
        let hash = self.hasher.hash_one(&*topic.name);
        let found = self.by_name.find_entry(hash, |&t| t == number);
        found.expect("a live topic is in the index").remove();
        self.free.push(number);
        if self.by_name.is_empty() {
            self.list = Vec::new();
            self.free = Vec::new();
        }
    }
}

impl Topic {
    fn new(name: &str) -> Self {
        Self {
            start: Start::of(name),
            name: name.into(),
            hash: topic_hash(name),
            keys: HeadTable::default(),
            counts: OriginCounts::default(),
            visible_keys: AtomicU64::new(0),
            revision: 0,
        }
    }

    #[inline]
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the number of the newest write: of no other topic, and of no earlier topic of this
    /// name. O(1).
    #[inline]
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the hash of the name that all replicas compute alike.
    #[inline]
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    #[inline]
    fn is_named(&self, name: &str) -> bool {
        self.start == Start::of(name) && (name.len() <= 20 || *self.name == *name)
    }

    /// Returns the first session of the key with this hash for which `is_it` holds, or `NIL`. O(1).
    #[inline]
    pub(super) fn find_key(&self, hash: u32, is_it: impl FnMut(u32) -> bool) -> u32 {
        self.keys.find(hash, is_it)
    }

    /// Adds a key with its first session. O(1).
    #[inline]
    pub(super) fn add_key(&mut self, hash: u32, first: u32) {
        self.keys.insert(hash, first);
    }

    /// Makes `next` the first session of a key instead of `first`; with `NIL` the key is removed.
    /// O(1).
    #[inline]
    pub(super) fn replace_first(&mut self, hash: u32, first: u32, next: u32) {
        if next != NIL {
            self.keys.replace(hash, first, next);
        } else {
            self.keys.remove(hash, first);
            self.keys.shrink();
        }
    }

    /// Returns the number of distinct keys, hidden ones included.
    pub(super) fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Returns the first session of each key.
    pub(super) fn first_sessions(&self) -> Heads<'_> {
        self.keys.iter()
    }

    /// Returns the hash of each key.
    pub(super) fn key_hashes(&self) -> impl Iterator<Item = u32> {
        self.keys.hashes()
    }

    /// Returns the first session of each key with this hash. O(1).
    pub(super) fn first_sessions_of(&self, hash: u32) -> impl Iterator<Item = u32> {
        self.keys.with_hash(hash)
    }

    /// Returns the number of entries per origin, for the origins that have some.
    pub(super) fn counts(&self) -> impl Iterator<Item = (u16, u32)> {
        self.counts.iter()
    }

    /// Counts a new entry of an origin. The caller adjusts the number of visible keys.
    #[inline]
    pub(super) fn count_entry(&mut self, origin: u16) {
        self.counts.add(origin);
    }

    /// Counts an entry of an origin out. Returns whether it was the last one of the topic. The
    /// caller adjusts the number of visible keys before.
    #[inline]
    pub(super) fn uncount_entry(&mut self, origin: u16) -> bool {
        self.counts.sub(origin)
    }

    /// Returns whether the number of distinct visible keys is known for this epoch. O(1).
    #[inline]
    pub(super) fn knows_visible_keys(&self, epoch: u32) -> bool {
        self.visible_keys.load(Ordering::Relaxed) >> 32 == u64::from(epoch) + 1
    }

    /// Adds a change to the number of distinct visible keys, which is known; `None` forgets it.
    pub(super) fn adjust_visible_keys(&mut self, change: Option<i32>) {
        let known = self.visible_keys.get_mut();
        *known = change.map_or(0, |change| known.wrapping_add_signed(i64::from(change)));
    }

    /// Returns the number of distinct visible keys; calls `recount` unless it is known for this
    /// epoch.
    pub(super) fn visible_keys(&self, epoch: u32, recount: impl FnOnce() -> u32) -> u32 {
        let known = self.visible_keys.load(Ordering::Relaxed);
        if known >> 32 == u64::from(epoch) + 1 {
            return known as u32;
        }
        let count = recount();
        let packed = (u64::from(epoch) + 1) << 32 | u64::from(count);
        self.visible_keys.store(packed, Ordering::Relaxed);
        count
    }
}

/// The length and the first bytes of a topic's name: most names are compared without following a
/// pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    len: u32,
    bytes: [u8; 20],
}

impl Start {
    #[inline]
    fn of(name: &str) -> Self {
        let mut bytes = [0; 20];
        let len = name.len().min(20);
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        Self {
            len: name.len() as u32,
            bytes,
        }
    }
}

/// Entries per origin. Most topics have entries of one origin, which need no allocation.
#[derive(Debug, Clone, Default)]
struct OriginCounts {
    first: (u16, u32),
    /// In the order of the origins: one of a thousand is found in ten steps.
    more: Vec<(u16, u32)>,
}

impl OriginCounts {
    fn iter(&self) -> impl Iterator<Item = (u16, u32)> {
        std::iter::once(self.first)
            .chain(self.more.iter().copied())
            .filter(|(_, n)| *n > 0)
    }

    fn add(&mut self, origin: u16) {
        if self.first.1 == 0 {
            self.first.0 = origin;
        }
        if self.first.0 == origin {
            self.first.1 += 1;
            return;
        }
        match self.place(origin) {
            Ok(place) => self.more[place].1 += 1,
            Err(place) => {
                push_tight(&mut self.more, (origin, 1));
                self.more[place..].rotate_right(1);
            }
        }
    }

    fn place(&self, origin: u16) -> Result<usize, usize> {
        self.more.binary_search_by_key(&origin, |(of, _)| *of)
    }

    /// Returns whether this was the last entry.
    fn sub(&mut self, origin: u16) -> bool {
        if self.first.0 == origin && self.first.1 > 0 {
            self.first.1 -= 1;
            if self.first.1 == 0 {
                self.first = self.more.pop().unwrap_or_default();
            }
        } else if let Ok(place) = self.place(origin) {
            self.more[place].1 -= 1;
            if self.more[place].1 == 0 {
                self.more.remove(place);
            }
        }
        self.first.1 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted_for_each_of_many_origins() {
        let mut counts = OriginCounts::default();
        let mut expected = std::collections::BTreeMap::new();
        let mut number = 1_u32;
        for _ in 0..20_000 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let origin = (number >> 16) as u16 % 1_000;
            let known: &mut u32 = expected.entry(origin).or_default();
            if *known > 0 && number & 3 > 0 {
                *known -= 1;
                assert!(!counts.sub(origin) || expected.values().all(|n| *n == 0));
            } else {
                *known += 1;
                counts.add(origin);
            }
        }
        expected.retain(|_, n| *n > 0);
        assert!(expected.len() > 100, "{}", expected.len());
        assert_eq!(
            counts.iter().collect::<std::collections::BTreeMap<_, _>>(),
            expected
        );
    }

    #[test]
    fn topics_with_the_same_start_are_told_apart() {
        let mut topics = Topics::default();
        let names = [
            "room",
            "room:",
            "a name of twenty-one b",
            "a name of twenty-one c",
        ];
        let numbers = names.map(|name| topics.add(name));
        assert_eq!(names.map(|name| topics.find(name)), numbers);
        assert_eq!(topics.find("a name of twenty-one "), NIL);
        topics.remove(numbers[1]);
        assert_eq!(topics.find("room:"), NIL);
        assert_eq!(topics.add("another"), numbers[1], "its number is free");
    }

    #[test]
    fn entries_are_counted_per_origin() {
        let mut topic = Topic::new("room");
        for origin in [3, 1, 3, 2] {
            topic.count_entry(origin);
        }
        assert!(!topic.uncount_entry(3));
        assert!(!topic.uncount_entry(3));
        let mut counts: Vec<_> = topic.counts().collect();
        counts.sort_unstable();
        assert_eq!(counts, [(1, 1), (2, 1)]);
        assert!(!topic.uncount_entry(1));
        assert!(topic.uncount_entry(2), "it was the last one");
    }

    #[test]
    fn visible_keys_are_counted_once_an_epoch() {
        let mut topic = Topic::new("room");
        assert_eq!(topic.visible_keys(4, || 7), 7);
        assert_eq!(topic.visible_keys(4, || unreachable!("known")), 7);
        assert_eq!(topic.visible_keys(5, || 6), 6);
        topic.adjust_visible_keys(Some(-1));
        assert!(topic.knows_visible_keys(5) && !topic.knows_visible_keys(4));
        assert_eq!(topic.visible_keys(5, || unreachable!("known")), 5);
        topic.adjust_visible_keys(None);
        assert_eq!(topic.visible_keys(5, || 8), 8);
    }
}
