//! The entries of all origins: rows, their bytes, and the index by topic and key.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::blobs::Blobs;
use super::entry::{EntryVersions, NewEntry};
use super::slab::{LONG, NIL, Row, Slab};
use super::topics::{Topic, Topics};
use crate::tracker::Encoding;

/// Bytes before the key in a blob: key length (2), owner length (1).
const BLOB_HEADER: usize = 3;

/// Bytes of the previous version at the end of a blob that has it.
const PREVIOUS_LEN: usize = 8;

/// The entries of all origins, found by topic and key. Origins and owners link its rows to lists of
/// their own.
#[derive(Debug, Clone)]
pub(super) struct Store {
    slab: Slab,
    blobs: Blobs,
    topics: Topics,
    hasher: DefaultHashBuilder,
}

/// The place where an entry of (topic, key) is or would be.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyLocation {
    /// Topic number, or `NIL`.
    topic: u32,
    /// Hash of the key.
    hash: u32,
    /// First session of the key, or `NIL`.
    first: u32,
}

impl KeyLocation {
    /// Returns the first session of the key, or `NIL`.
    #[inline]
    pub(super) fn first(self) -> u32 {
        self.first
    }
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
            topics: Topics::default(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Returns the number of entries.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.slab.len()
    }

    #[inline]
    pub(super) fn row(&self, index: u32) -> &Row {
        &self.slab[index]
    }

    /// Gives a row to the part that links it to a list of its own.
    #[inline]
    pub(super) fn links_mut(&mut self, index: u32) -> &mut Row {
        &mut self.slab[index]
    }

    #[inline]
    pub(super) fn parts(&self, index: u32) -> Parts<'_> {
        let row = &self.slab[index];
        split(self.blob(row), row.is_long())
    }

    #[inline]
    fn blob(&self, row: &Row) -> &[u8] {
        self.blobs.get(row.blob, row.blob_len())
    }

    /// Returns the ops of an entry. Only one that was written more than twice keeps the previous
    /// version.
    #[inline]
    pub(super) fn versions(&self, index: u32) -> EntryVersions {
        let row = &self.slab[index];
        let birth = row.birth;
        let version = row.version;
        let previous = if row.is_long() {
            let tail = self.blob(row).last_chunk::<PREVIOUS_LEN>();
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
    pub(super) fn topic(&self, number: u32) -> &Topic {
        self.topics.get(number)
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    /// Adds a change to the number of visible keys of a topic; `None` forgets it.
    pub(super) fn adjust_visible_keys(&mut self, topic: u32, change: Option<i32>) {
        self.topics.get_mut(topic).adjust_visible_keys(change);
    }

    /// Returns the name of the topic of an entry.
    #[inline]
    pub(super) fn topic_name(&self, index: u32) -> &Arc<str> {
        self.topics.get(self.slab[index].topic).name()
    }

    #[inline]
    pub(super) fn hash_bytes(&self, bytes: &[u8], tag: u8) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(bytes);
        hasher.write_u8(tag);
        let hash = hasher.finish();
        (hash >> 32) as u32 ^ hash as u32
    }

    /// Returns a topic by its name, if it has entries. O(1).
    #[inline]
    pub(super) fn find_topic(&self, name: &str) -> Option<&Topic> {
        match self.topics.find(name) {
            NIL => None,
            number => Some(self.topics.get(number)),
        }
    }

    /// Finds the sessions of a key in a topic. O(1).
    #[inline]
    pub(super) fn locate(&self, topic: &str, encoding: Encoding, key: &[u8]) -> KeyLocation {
        let topic = self.topics.find(topic);
        let hash = self.hash_bytes(key, encoding as u8);
        if topic == NIL {
            return KeyLocation {
                topic,
                hash,
                first: NIL,
            };
        }
        let first = self.topics.get(topic).find_key(hash, |index| {
            self.slab[index].encoding == encoding as u8 && self.parts(index).key == key
        });
        KeyLocation { topic, hash, first }
    }

    /// Returns whether two entries have the same topic and key.
    #[inline]
    pub(super) fn have_same_key(&self, a: u32, b: u32) -> bool {
        let row_a = &self.slab[a];
        let row_b = &self.slab[b];
        row_a.topic == row_b.topic
            && row_a.encoding == row_b.encoding
            && self.parts(a).key == self.parts(b).key
    }

    /// Returns whether an entry has the topic and key of `put`; its owner may be another one.
    pub(super) fn has_key_of(&self, index: u32, put: &NewEntry<'_>) -> bool {
        self.slab[index].encoding == put.encoding as u8
            && self.parts(index).key == put.key
            && **self.topic_name(index) == *put.topic
    }

    /// Adds an entry to rows, blobs, topic and key index. Origin and owner link it to their lists
    /// afterwards. O(1).
    pub(super) fn insert(
        &mut self,
        location: KeyLocation,
        put: &NewEntry<'_>,
        origin: u16,
        versions: EntryVersions,
    ) -> u32 {
        let topic = if location.topic == NIL {
            self.topics.add(put.topic)
        } else {
            location.topic
        };
        let (blob, blob_len) = self.write_blob(put, versions);
        let index = self.slab.insert(Row {
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
        if location.first == NIL {
            self.topics.get_mut(topic).add_key(location.hash, index);
        } else {
            self.link_session(location.first, index);
        }
        self.topics.note_write(topic).count_entry(origin);
        index
    }

    /// Links a further session of a key as the second one: the table needs no change.
    fn link_session(&mut self, first: u32, index: u32) {
        let next = self.slab[first].key_next;
        self.slab[first].key_next = index;
        self.slab[index].key_prev = first;
        self.slab[index].key_next = next;
        if next != NIL {
            self.slab[next].key_prev = index;
        }
    }

    /// Gives an entry new content. Topic and key stay. O(1).
    pub(super) fn rewrite(&mut self, index: u32, put: &NewEntry<'_>, versions: EntryVersions) {
        let row = &self.slab[index];
        let old_blob = row.blob;
        let old_len = row.blob_len();
        let (blob, blob_len) = if blob_len(put, versions) == old_len {
            fill_blob(self.blobs.get_mut(old_blob, old_len), put, versions);
            (old_blob, old_len as u32 | long(versions))
        } else {
            self.blobs.free(old_blob, old_len);
            self.write_blob(put, versions)
        };
        let row = &mut self.slab[index];
        row.blob = blob;
        row.blob_len = blob_len;
        row.status = put.status;
        row.version = versions.version;
        let topic = row.topic;
        self.topics.note_write(topic);
    }

    /// Removes an entry that its origin and owner have unlinked. O(1).
    pub(super) fn remove(&mut self, index: u32) {
        let row = self.slab[index].clone();
        if row.key_next != NIL {
            self.slab[row.key_next].key_prev = row.key_prev;
        }
        if row.key_prev == NIL {
            let key = split(self.blob(&row), false).key;
            let hash = self.hash_bytes(key, row.encoding);
            let topic = self.topics.get_mut(row.topic);
            topic.replace_first(hash, index, row.key_next);
        } else {
            self.slab[row.key_prev].key_next = row.key_next;
        }
        if self.topics.note_write(row.topic).uncount_entry(row.origin) {
            self.topics.remove(row.topic);
        }
        self.blobs.free(row.blob, row.blob_len());
        self.slab.remove(index);
    }

    /// Returns place and length of a new blob, as a [`Row`] has them.
    fn write_blob(&mut self, put: &NewEntry<'_>, versions: EntryVersions) -> (u32, u32) {
        let len = blob_len(put, versions);
        let place = self.blobs.alloc(len);
        fill_blob(self.blobs.get_mut(place, len), put, versions);
        (place, len as u32 | long(versions))
    }

    /// Returns the entry's share of its origin's fingerprint.
    #[inline]
    pub(super) fn fingerprint(&self, index: u32) -> u64 {
        let row = &self.slab[index];
        let seed = self.topics.get(row.topic).hash()
            ^ row.birth.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ row
                .version
                .wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
                .rotate_left(32)
            ^ (u64::from(row.status) << 8 | u64::from(row.encoding));
        xxh3_64_with_seed(self.blob(row), seed)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn put<'a>(store: &Store, entry: &NewEntry<'a>) -> KeyLocation {
        store.locate(entry.topic, entry.encoding, entry.key)
    }

    #[test]
    fn a_key_is_found_until_its_last_session_is_removed() {
        let mut store = Store::new();
        let mut sessions = Vec::new();
        for (op, owner) in (1..).zip(["phone", "laptop", "tablet"]) {
            let entry = NewEntry::new("room", "ann", owner).meta(owner.as_bytes());
            let location = put(&store, &entry);
            sessions.push(store.insert(location, &entry, 0, EntryVersions::new(op)));
        }
        let locate = |store: &Store| store.locate("room", Encoding::Text, b"ann").first();
        assert_eq!(locate(&store), sessions[0]);
        store.remove(sessions[0]);
        assert_ne!(locate(&store), NIL);
        assert!(store.have_same_key(sessions[1], sessions[2]));
        store.remove(sessions[1]);
        assert_eq!(locate(&store), sessions[2]);
        assert_eq!(store.parts(sessions[2]).meta, b"tablet");
        store.remove(sessions[2]);
        assert_eq!((locate(&store), store.len()), (NIL, 0));
        assert!(store.find_topic("room").is_none());
    }

    #[test]
    fn only_an_entry_written_more_than_twice_keeps_its_previous_version() {
        let mut store = Store::new();
        let entry = NewEntry::new("room", "ann", "phone").meta(b"meta");
        let mut versions = EntryVersions::new(5);
        let index = store.insert(put(&store, &entry), &entry, 0, versions);
        for op in [7, 9, 12] {
            let before = store.fingerprint(index);
            versions = versions.written(op);
            store.rewrite(index, &entry, versions);
            assert_eq!(store.versions(index), versions);
            assert_eq!(store.row(index).is_long(), op > 7);
            assert_eq!(store.parts(index).meta, b"meta");
            assert_ne!(store.fingerprint(index), before);
        }
    }
}
