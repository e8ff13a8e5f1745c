//! Lists of large topics in pages: between two of them the tracker may change.

use super::Tracker;
use super::entry::Entry;
use super::read::Sessions;
use super::slab::NIL;
use super::store::wide;

/// How far a list in pages has come. See [`Tracker::begin_pages`].
#[derive(Debug, Clone)]
pub struct Pages {
    topic: Box<str>,
    /// Hashes of the keys still to come, the next one last. Keys come and go, a hash stays.
    hashes: Vec<u32>,
}

impl Pages {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns whether all pages were read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Brings each hash once, in about the order of the table, so that a page reads near memory.
    pub(crate) fn sorted(mut self) -> Self {
        let place_bits = (self.hashes.len() * 8 / 7)
            .next_power_of_two()
            .trailing_zeros();
        self.hashes
            .sort_unstable_by_key(|hash| hash.rotate_right(place_bits));
        self.hashes.dedup();
        self
    }
}

impl Tracker {
    /// Begins a list of a topic that is read in pages, with changes in between: an entry that is
    /// there from the first page to the last comes once, one that joins or leaves meanwhile at
    /// most once. Copies four bytes a key. O(keys x log keys).
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// for n in 0..10 {
    ///     tracker.track(&NewEntry::new("room", &format!("user {n}"), "conn"))?;
    /// }
    /// let mut pages = tracker.begin_pages("room");
    /// let mut seen = 0;
    /// tracker.page(&mut pages, 4, |_| seen += 1);
    /// assert_eq!(seen, 4);
    /// tracker.track(&NewEntry::new("room", "late", "conn"))?;
    /// while !pages.is_done() {
    ///     tracker.page(&mut pages, 4, |_| seen += 1);
    /// }
    /// assert_eq!(seen, 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn begin_pages(&self, topic: &str) -> Pages {
        self.collect_pages(topic).sorted()
    }

    /// Returns what [`begin_pages`](Self::begin_pages) needs the tracker for. O(keys).
    pub(crate) fn collect_pages(&self, topic: &str) -> Pages {
        let hashes = match self.store.find_topic(topic) {
            NIL => Vec::new(),
            number => {
                let keys = self.store.topic(number).keys.iter();
                keys.map(|head| head.hash).collect()
            }
        };
        Pages {
            topic: topic.into(),
            hashes,
        }
    }

    /// Calls `each` for the visible entries of the next `keys_max` keys (at least one), without
    /// copying. O(their sessions).
    pub fn page(&self, pages: &mut Pages, keys_max: usize, mut each: impl FnMut(Entry<'_>)) {
        let rest = pages.hashes.len().saturating_sub(keys_max.max(1));
        let hashes = pages.hashes.drain(rest..).rev();
        let number = self.store.find_topic(&pages.topic);
        if number == NIL {
            return;
        }
        let keys = &self.store.topic(number).keys;
        for hash in hashes {
            for head in keys.iter_hash(wide(hash)).filter(|head| head.hash == hash) {
                let sessions = Sessions {
                    tracker: self,
                    next: head.index,
                };
                sessions.for_each(&mut each);
            }
        }
    }
}
