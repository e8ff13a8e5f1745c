//! Reads: entries of a topic, sessions of a key, counts.

use super::Tracker;
use super::entry::{Entry, EntryBuf, Key};
use super::head_table::Heads;
use super::origins::LOCAL;
use super::slab::NIL;
use super::state::State;
use super::topics::Topic;

/// The state of the list of a topic, see [`Tracker::list_revision`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListRevision {
    write: u64,
    epoch: u32,
    generation: u64,
}

/// Iterator over the visible entries of a topic, in no particular order.
#[derive(Clone)]
#[must_use = "iterators are lazy"]
pub struct Entries<'a> {
    state: &'a State,
    /// The first session of each key still to come.
    keys: Heads<'a>,
    next: u32,
}

/// Iterator over the visible sessions of a key.
#[derive(Clone)]
#[must_use = "iterators are lazy"]
pub struct Sessions<'a> {
    state: &'a State,
    next: u32,
    /// True if entries of replicas that are down are shown too.
    down_too: bool,
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

impl<'a> Sessions<'a> {
    /// Starts at the first session of a key, or at `NIL`.
    #[inline]
    pub(super) fn new(state: &'a State, first: u32) -> Self {
        Self {
            state,
            next: first,
            down_too: false,
        }
    }

    #[inline]
    pub(super) fn down_too(self, down_too: bool) -> Self {
        Self { down_too, ..self }
    }
}

impl<'a> Iterator for Sessions<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        while self.next != NIL {
            let index = self.next;
            let row = self.state.row(index);
            self.next = row.key_next;
            let origins = self.state.origins();
            if origins.is_visible(row.origin) || self.down_too && origins.is_down(row.origin) {
                return Some(self.state.entry(index));
            }
        }
        None
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let mut sessions = Sessions::new(self.state, self.next);
            if let Some(entry) = sessions.next() {
                self.next = sessions.next;
                return Some(entry);
            }
            self.next = self.keys.next()?;
        }
    }
}

/// Reads. None of them copies an entry.
impl Tracker {
    /// Returns the visible entries of a topic, in no particular order, without copying. O(entries
    /// of the topic, hidden ones included).
    pub fn list(&self, topic: &str) -> Entries<'_> {
        let topic = self.state.store().find_topic(topic);
        Entries {
            state: &self.state,
            keys: topic.map_or_else(Heads::default, |topic| topic.first_sessions()),
            next: NIL,
        }
    }

    /// Returns a value that changes whenever the list of a topic does: what a program made of the
    /// list is right as long as the value is the same. It may change without the list. O(1).
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// let empty = tracker.list_revision("room");
    /// tracker.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let before = tracker.list_revision("room");
    /// tracker.track(&NewEntry::new("other room", "ann", "conn-1"))?;
    /// assert_eq!(tracker.list_revision("room"), before);
    /// assert_ne!(before, empty);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn list_revision(&self, topic: &str) -> ListRevision {
        let topic = self.state.store().find_topic(topic);
        ListRevision {
            write: topic.map_or(0, Topic::revision),
            epoch: self.state.origins().epoch(),
            generation: self.generation,
        }
    }

    /// Returns the visible sessions of a key in a topic. O(sessions of the key).
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
        let location = self.state.locate(topic, key.encoding, key.bytes);
        Sessions::new(&self.state, location.first())
    }

    /// Returns a copy of the entry that this replica tracks for an owner. O(sessions of the key).
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// tracker.track(&NewEntry::new("room", "ann", "conn-1").status(2))?;
    /// assert_eq!(tracker.get_own("room", "ann", "conn-1").map(|entry| entry.status()), Some(2));
    /// assert_eq!(tracker.get_own("room", "ann", "conn-2"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn get_own<'k>(
        &self,
        topic: &str,
        key: impl Into<Key<'k>>,
        owner: impl AsRef<[u8]>,
    ) -> Option<EntryBuf> {
        let owner = owner.as_ref();
        let mut sessions = self.get_by_key(topic, key);
        let own = sessions.find(|entry| entry.owner() == owner && entry.replica() == self.id());
        own.map(|entry| entry.to_buf())
    }

    /// Returns the number of entries that this replica tracks in a topic. O(origins of the topic).
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// tracker.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// assert_eq!((tracker.count_own("room"), tracker.count_own("hall")), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn count_own(&self, topic: &str) -> usize {
        let topic = self.state.store().find_topic(topic);
        let mut counts = topic.into_iter().flat_map(Topic::counts);
        let own = counts.find(|(origin, _)| *origin == LOCAL);
        own.map_or(0, |(_, count)| count as usize)
    }

    /// Returns the number of visible entries in a topic. O(origins of the topic).
    #[must_use]
    pub fn count(&self, topic: &str) -> usize {
        let Some(topic) = self.state.store().find_topic(topic) else {
            return 0;
        };
        let origins = self.state.origins();
        let counts = topic.counts();
        let visible = counts.filter(|(origin, _)| origins.is_visible(*origin));
        visible.map(|(_, count)| count as usize).sum()
    }

    /// Returns the number of distinct visible keys in a topic. O(origins of the topic); while an
    /// origin of the topic is hidden, the first call after any origin was hidden or shown is
    /// O(entries of the topic), and so is one after a change of a key with more than 64 hidden
    /// sessions.
    #[must_use]
    pub fn count_keys(&self, topic: &str) -> usize {
        let Some(topic) = self.state.store().find_topic(topic) else {
            return 0;
        };
        let origins = self.state.origins();
        if origins.are_all_visible() || topic.counts().all(|(o, _)| origins.is_visible(o)) {
            return topic.key_count();
        }
        let recount = || {
            let is_visible = |&first: &u32| Sessions::new(&self.state, first).next().is_some();
            topic.first_sessions().filter(is_visible).count() as u32
        };
        topic.visible_keys(origins.epoch(), recount) as usize
    }

    /// Returns the number of entries, hidden ones included. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.store().len() as usize
    }

    /// Returns whether there is no entry. O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the names of the topics that have entries, hidden ones included.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.state.store().topics().map(|topic| &**topic.name())
    }
}
