//! Entries and their indexes: topic -> key -> sessions, and entries per (topic, origin).

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::{DefaultHashBuilder, HashTable};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::blobs::Blobs;
use super::entry::{EntryVersions, NewEntry};
use super::slab::{LONG, NIL, Slab, Slot};
use crate::id::topic_hash;
use crate::tracker::Encoding;

/// Bytes before the key in a blob: key length (2), owner length (1).
const BLOB_HEADER: usize = 3;

/// Bytes of the previous version at the end of a blob that has it.
const PREVIOUS_LEN: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) slab: Slab,
    pub(super) blobs: Blobs,
    topics: Vec<Option<Topic>>,
    free_topics: Vec<u32>,
    by_name: HashTable<u32>,
    pub(super) hasher: DefaultHashBuilder,
}

/// One cache line holds what a look-up reads: the start of the name and the table.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Topic {
    start: Start,
    /// The first session of each key.
    pub(super) keys: HashTable<Bucket>,
    hash: u64,
    pub(super) name: Arc<str>,
    /// Entries per origin, for the origins that have some.
    counts: Counts,
    /// Distinct visible keys: (epoch of visibility + 1) << 32 | count. 0: not known.
    visible_keys: AtomicU64,
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
        }
    }
}

/// A place in a hash table: the hash decides most comparisons without touching the entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    pub(super) hash: u32,
    pub(super) index: u32,
}

/// Spreads 32 bits of hash over 64: the table takes its tag from the top and its place from below.
#[inline]
pub(super) fn wide(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// Where an entry of (topic, key) is or would be.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyLocation {
    /// Topic number, or `NIL`.
    pub(super) topic: u32,
    /// Hash of the key.
    pub(super) hash: u32,
    /// First session of the key, or `NIL`.
    pub(super) head: u32,
}

/// The variable-length content of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) key: &'a [u8],
    pub(super) owner: &'a [u8],
    pub(super) meta: &'a [u8],
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            slab: Slab::new(),
            blobs: Blobs::new(),
            topics: Vec::new(),
            free_topics: Vec::new(),
            by_name: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    #[inline]
    pub(super) fn parts(&self, index: u32) -> Parts<'_> {
        let slot = &self.slab[index];
        split(self.blob(slot), slot.blob_len & LONG != 0)
    }

    #[inline]
    fn blob(&self, slot: &Slot) -> &[u8] {
        self.blobs.get(slot.blob, slot.blob_len())
    }

    /// The ops of an entry. Only one that was written more than twice keeps the previous version.
    #[inline]
    pub(super) fn versions(&self, index: u32) -> EntryVersions {
        let slot = &self.slab[index];
        let birth = slot.birth;
        let version = slot.version;
        let previous = if slot.blob_len & LONG != 0 {
            let tail = self.blob(slot).last_chunk::<PREVIOUS_LEN>();
            u64::from_le_bytes(*tail.expect("a long blob ends in the previous version"))
        } else if version > birth {
            birth
        } else {
            0
        };
        EntryVersions {
            birth,
            version,
            previous,
        }
    }

    #[inline]
    pub(super) fn topic(&self, topic: u32) -> &Topic {
        self.topics[topic as usize]
            .as_ref()
            .expect("entries name live topics only")
    }

    fn topic_mut(&mut self, topic: u32) -> &mut Topic {
        self.topics[topic as usize]
            .as_mut()
            .expect("entries name live topics only")
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().flatten()
    }

    #[inline]
    pub(super) fn hash_bytes(&self, bytes: &[u8], tag: u8) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(bytes);
        hasher.write_u8(tag);
        let hash = hasher.finish();
        (hash >> 32) as u32 ^ hash as u32
    }

    /// Number of the topic, or `NIL`. O(1).
    #[inline]
    pub(super) fn find_topic(&self, name: &str) -> u32 {
        let hash = self.hasher.hash_one(name);
        let found = self.by_name.find(hash, |&t| self.topic(t).is_named(name));
        found.copied().unwrap_or(NIL)
    }

    /// First session of a key in a topic, or `NIL`. O(1).
    #[inline]
    pub(super) fn locate(&self, topic: &str, encoding: Encoding, key: &[u8]) -> KeyLocation {
        let topic = self.find_topic(topic);
        self.locate_in(topic, encoding, key)
    }

    #[inline]
    pub(super) fn locate_in(&self, topic: u32, encoding: Encoding, key: &[u8]) -> KeyLocation {
        let hash = self.hash_bytes(key, encoding as u8);
        if topic == NIL {
            return KeyLocation {
                topic,
                hash,
                head: NIL,
            };
        }
        let found = self.topic(topic).keys.find(wide(hash), |head| {
            head.hash == hash
                && self.slab[head.index].encoding == encoding as u8
                && self.parts(head.index).key == key
        });
        KeyLocation {
            topic,
            hash,
            head: found.map_or(NIL, |head| head.index),
        }
    }

    /// Adds an entry to slab, blobs, topic and key index. Links of origin and owner are the
    /// caller's. O(1).
    pub(super) fn insert(
        &mut self,
        location: KeyLocation,
        put: &NewEntry<'_>,
        origin: u16,
        versions: EntryVersions,
    ) -> u32 {
        let topic = if location.topic == NIL {
            self.add_topic(put.topic)
        } else {
            location.topic
        };
        let (blob, blob_len) = self.write_blob(put, versions);
        let index = self.slab.insert(Slot {
            birth: versions.birth,
            version: versions.version,
            blob,
            blob_len,
            topic,
            origin,
            status: put.status,
            encoding: put.encoding as u8,
            older: NIL,
            newer: NIL,
            key_prev: NIL,
            key_next: NIL,
            owner_prev: NIL,
            owner_next: NIL,
        });
        if location.head == NIL {
            let head = Bucket {
                hash: location.hash,
                index,
            };
            self.topic_mut(topic)
                .keys
                .insert_unique(wide(location.hash), head, |h| wide(h.hash));
        } else {
            self.link_session(location.head, index);
        }
        self.topic_mut(topic).add(origin);
        index
    }

    /// A further session goes second: the table needs no change.
    fn link_session(&mut self, head: u32, index: u32) {
        let next = self.slab[head].key_next;
        self.slab[head].key_next = index;
        self.slab[index].key_prev = head;
        self.slab[index].key_next = next;
        if next != NIL {
            self.slab[next].key_prev = index;
        }
    }

    /// Gives an entry new content. Topic, key and owner stay. O(1).
    pub(super) fn rewrite(&mut self, index: u32, put: &NewEntry<'_>, versions: EntryVersions) {
        let (old_blob, old_len) = {
            let slot = &self.slab[index];
            (slot.blob, slot.blob_len())
        };
        let (blob, blob_len) = if blob_len(put, versions) == old_len {
            fill_blob(self.blobs.get_mut(old_blob, old_len), put, versions);
            (old_blob, old_len as u32 | long(versions))
        } else {
            self.blobs.free(old_blob, old_len);
            self.write_blob(put, versions)
        };
        let slot = &mut self.slab[index];
        slot.blob = blob;
        slot.blob_len = blob_len;
        slot.status = put.status;
        slot.version = versions.version;
    }

    /// Removes an entry from everything but the lists of its origin and owner. O(1).
    pub(super) fn remove(&mut self, index: u32) {
        let slot = self.slab[index].clone();
        if slot.key_next != NIL {
            self.slab[slot.key_next].key_prev = slot.key_prev;
        }
        if slot.key_prev == NIL {
            self.replace_head(index, &slot);
        } else {
            self.slab[slot.key_prev].key_next = slot.key_next;
        }
        if self.topic_mut(slot.topic).sub(slot.origin) {
            self.drop_topic(slot.topic);
        }
        self.blobs.free(slot.blob, slot.blob_len());
        self.slab.remove(index);
    }

    fn replace_head(&mut self, index: u32, slot: &Slot) {
        let key = split(self.blob(slot), false).key;
        let hash = self.hash_bytes(key, slot.encoding);
        let keys = &mut self.topic_mut(slot.topic).keys;
        if slot.key_next != NIL {
            let head = keys.find_mut(wide(hash), |h| h.index == index);
            head.expect("a first session is in the table").index = slot.key_next;
        } else {
            let head = keys.find_entry(wide(hash), |h| h.index == index);
            head.expect("a first session is in the table").remove();
            if keys.capacity() > 64 && keys.len() < keys.capacity() / 8 {
                keys.shrink_to(keys.len() * 2, |h| wide(h.hash));
            }
        }
    }

    fn add_topic(&mut self, name: &str) -> u32 {
        let topic = Topic {
            start: Start::of(name),
            name: name.into(),
            hash: topic_hash(name),
            keys: HashTable::new(),
            counts: Counts::default(),
            visible_keys: AtomicU64::new(0),
        };
        let number = match self.free_topics.pop() {
            Some(number) => {
                self.topics[number as usize] = Some(topic);
                number
            }
            None => {
                self.topics.push(Some(topic));
                (self.topics.len() - 1) as u32
            }
        };
        let Self {
            by_name,
            topics,
            hasher,
            ..
        } = self;
        by_name.insert_unique(hasher.hash_one(name), number, |&t| {
            let topic = topics[t as usize]
                .as_ref()
                .expect("the index names live topics only");
            hasher.hash_one(&*topic.name)
        });
        number
    }

    fn drop_topic(&mut self, number: u32) {
        let topic = self.topics[number as usize]
            .take()
            .expect("the topic was just used");
        let hash = self.hasher.hash_one(&*topic.name);
        let found = self.by_name.find_entry(hash, |&t| t == number);
        found.expect("a live topic is in the index").remove();
        self.free_topics.push(number);
        if self.by_name.is_empty() {
            self.topics = Vec::new();
            self.free_topics = Vec::new();
        }
    }

    /// Place and length of a new blob, as a `Slot` has them.
    fn write_blob(&mut self, put: &NewEntry<'_>, versions: EntryVersions) -> (u32, u32) {
        let len = blob_len(put, versions);
        let place = self.blobs.alloc(len);
        fill_blob(self.blobs.get_mut(place, len), put, versions);
        (place, len as u32 | long(versions))
    }

    /// The entry's share of its origin's fingerprint.
    #[inline]
    pub(super) fn fingerprint(&self, index: u32) -> u64 {
        let slot = &self.slab[index];
        let seed = self.topic(slot.topic).hash
            ^ slot.birth.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ slot
                .version
                .wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
                .rotate_left(32)
            ^ (u64::from(slot.status) << 8 | u64::from(slot.encoding));
        xxh3_64_with_seed(self.blob(slot), seed)
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
struct Counts {
    first: (u16, u32),
    more: Vec<(u16, u32)>,
}

impl Counts {
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
        } else if let Some((_, count)) = self.more.iter_mut().find(|(o, _)| *o == origin) {
            *count += 1;
        } else {
            self.more.push((origin, 1));
        }
    }

    /// Returns whether this was the last entry.
    fn sub(&mut self, origin: u16) -> bool {
        if self.first.0 == origin && self.first.1 > 0 {
            self.first.1 -= 1;
            if self.first.1 == 0 {
                self.first = self.more.pop().unwrap_or_default();
            }
        } else if let Some(at) = self.more.iter().position(|(o, _)| *o == origin) {
            self.more[at].1 -= 1;
            if self.more[at].1 == 0 {
                self.more.swap_remove(at);
            }
        }
        self.first.1 == 0
    }
}

impl Topic {
    #[inline]
    fn is_named(&self, name: &str) -> bool {
        self.start == Start::of(name) && (name.len() <= 20 || *self.name == *name)
    }

    /// Entries per origin, for the origins that have some.
    pub(super) fn counts(&self) -> impl Iterator<Item = (u16, u32)> {
        self.counts.iter()
    }

    fn add(&mut self, origin: u16) {
        *self.visible_keys.get_mut() = 0;
        self.counts.add(origin);
    }

    /// Returns whether this was the last entry of the topic.
    fn sub(&mut self, origin: u16) -> bool {
        *self.visible_keys.get_mut() = 0;
        self.counts.sub(origin)
    }

    /// Distinct visible keys, counted by `recount` when not known for this epoch.
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

fn blob_len(put: &NewEntry<'_>, versions: EntryVersions) -> usize {
    let tail = if versions.is_long() { PREVIOUS_LEN } else { 0 };
    BLOB_HEADER + put.key.len() + put.owner.len() + put.meta.len() + tail
}

fn long(versions: EntryVersions) -> u32 {
    if versions.is_long() { LONG } else { 0 }
}

#[inline]
fn fill_blob(blob: &mut [u8], put: &NewEntry<'_>, versions: EntryVersions) {
    let (header, rest) = blob.split_at_mut(BLOB_HEADER);
    header[..2].copy_from_slice(&(put.key.len() as u16).to_le_bytes());
    header[2] = put.owner.len() as u8;
    let (key, rest) = rest.split_at_mut(put.key.len());
    key.copy_from_slice(put.key);
    let (owner, meta) = rest.split_at_mut(put.owner.len());
    owner.copy_from_slice(put.owner);
    let (meta, tail) = meta.split_at_mut(put.meta.len());
    meta.copy_from_slice(put.meta);
    if versions.is_long() {
        tail.copy_from_slice(&versions.previous.to_le_bytes());
    }
}

#[inline]
fn split(blob: &[u8], long: bool) -> Parts<'_> {
    let tail = if long { PREVIOUS_LEN } else { 0 };
    let blob = &blob[..blob.len() - tail];
    let key_len = usize::from(u16::from_le_bytes([blob[0], blob[1]]));
    let owner_len = usize::from(blob[2]);
    let (key, rest) = blob[BLOB_HEADER..].split_at(key_len);
    let (owner, meta) = rest.split_at(owner_len);
    Parts { key, owner, meta }
}
