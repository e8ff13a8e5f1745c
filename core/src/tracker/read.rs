//! Reading: entries of a topic, sessions of a key, counts.

use super::Tracker;
use super::entry::{Entry, Key};
use super::slab::NIL;
use super::store::Bucket;
use crate::tracker::Encoding;

/// Iterator over the visible entries of a topic, in no particular order.
#[derive(Clone)]
#[must_use = "iterators are lazy"]
pub struct Entries<'a> {
    tracker: &'a Tracker,
    keys: hashbrown::hash_table::Iter<'a, Bucket>,
    next: u32,
}

/// Iterator over the visible sessions of a key.
#[derive(Clone)]
#[must_use = "iterators are lazy"]
pub struct Sessions<'a> {
    pub(super) tracker: &'a Tracker,
    pub(super) next: u32,
}

impl std::fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl std::fmt::Debug for Sessions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a> Iterator for Sessions<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        while self.next != NIL {
            let index = self.next;
            let slot = &self.tracker.store.slab[index];
            self.next = slot.key_next;
            if self.tracker.origins.is_visible(slot.origin) {
                return Some(self.tracker.entry(index));
            }
        }
        None
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let mut sessions = Sessions {
                tracker: self.tracker,
                next: self.next,
            };
            if let Some(entry) = sessions.next() {
                self.next = sessions.next;
                return Some(entry);
            }
            self.next = self.keys.next()?.index;
        }
    }
}

impl Tracker {
    /// The visible entries of a topic, in no particular order, without copying. O(entries of the
    /// topic, hidden ones included).
    pub fn list(&self, topic: &str) -> Entries<'_> {
        let keys = match self.store.find_topic(topic) {
            NIL => hashbrown::hash_table::Iter::default(),
            number => self.store.topic(number).keys.iter(),
        };
        Entries {
            tracker: self,
            keys,
            next: NIL,
        }
    }

    /// The visible sessions of a key in a topic. O(sessions of the key).
    ///
    /// ```
    /// use headcount::tracker::{Encoding, Key};
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// tracker.track(&NewEntry::bytes("room", &[1, 2], b"conn", Encoding::Bytes).meta(b"m"))?;
    /// let entry = tracker.get_by_key("room", &[1, 2][..]).next().unwrap();
    /// assert_eq!(entry.meta(), b"m");
    /// assert!(tracker.get_by_key("room", Key::new(Encoding::Text, &[1, 2])).next().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_by_key<'k>(&self, topic: &str, key: impl Into<Key<'k>>) -> Sessions<'_> {
        let key = key.into();
        Sessions {
            tracker: self,
            next: self.store.locate(topic, key.encoding, key.bytes).head,
        }
    }

    /// Number of visible entries in a topic. O(origins of the topic).
    #[must_use]
    pub fn count(&self, topic: &str) -> usize {
        match self.store.find_topic(topic) {
            NIL => 0,
            number => {
                let counts = self.store.topic(number).counts();
                let visible = counts.filter(|(origin, _)| self.origins.is_visible(*origin));
                visible.map(|(_, count)| count as usize).sum()
            }
        }
    }

    /// Number of distinct visible keys in a topic. O(origins of the topic); while an origin of the
    /// topic is hidden, the first call after a change is O(entries of the topic).
    #[must_use]
    pub fn count_keys(&self, topic: &str) -> usize {
        let number = self.store.find_topic(topic);
        if number == NIL {
            return 0;
        }
        let topic = self.store.topic(number);
        if self.origins.invisible == 0 || topic.counts().all(|(o, _)| self.origins.is_visible(o)) {
            return topic.keys.len();
        }
        let recount = || {
            let visible = |bucket: &&Bucket| {
                Sessions {
                    tracker: self,
                    next: bucket.index,
                }
                .next()
                .is_some()
            };
            topic.keys.iter().filter(visible).count() as u32
        };
        topic.visible_keys(self.origins.epoch, recount) as usize
    }

    /// Number of entries, hidden ones included. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.slab.len() as usize
    }

    /// Returns whether there is no entry. O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the topics that have entries, hidden ones included.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.store.topics().map(|topic| &*topic.name)
    }

    pub(super) fn topic_count(&self) -> usize {
        self.store.topics().count()
    }

    #[inline]
    pub(super) fn entry(&self, index: u32) -> Entry<'_> {
        let slot = &self.store.slab[index];
        let parts = self.store.parts(index);
        Entry {
            topic: &self.store.topic(slot.topic).name,
            key: parts.key,
            owner: parts.owner,
            meta: parts.meta,
            encoding: Encoding::from_u8(slot.encoding).unwrap_or(Encoding::Bytes),
            status: slot.status,
            versions: self.store.versions(index),
            replica: &self.origins.get(slot.origin).id,
            slot: self.slot,
        }
    }
}
