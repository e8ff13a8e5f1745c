//! Reads, and lists that hold no lock for long.

use super::{Keys, Presence};
use crate::error::ReadError;
use crate::replica::Partitions;
use crate::tracker::{Entry, EntryBuf, Key, Pages, Slice, Tracker};

/// Reads. They do not queue behind waiting writers.
///
/// Those of one topic fail in mode [`Interest`](crate::replica::Mode::Interest) until it is watched
/// and ready; never otherwise.
impl Presence {
    /// Checks that a topic can be read. O(1).
    ///
    /// # Errors
    /// [`ReadError`] if it is not watched, or not ready.
    pub fn check_readable(&self, topic: &str) -> Result<(), ReadError> {
        self.shard(topic).read_recursive().check_readable(topic)
    }

    /// Returns copies of the visible entries of a topic. O(entries of the topic).
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not watched, or not ready.
    pub fn list(&self, topic: &str) -> Result<Vec<EntryBuf>, ReadError> {
        self.read(topic, |tracker| {
            let entries = tracker.list(topic);
            entries.map(|entry| entry.to_buf()).collect()
        })
    }

    /// Calls `each` for the visible entries of a topic, without copying. Writers to topics of the
    /// same partition wait meanwhile, 0.4 s for a million entries: [`begin_pages`](Self::begin_pages)
    /// lets them in between. Do not call back into the presence. O(entries of the topic).
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not watched, or not ready.
    pub fn for_each(&self, topic: &str, each: impl FnMut(Entry<'_>)) -> Result<(), ReadError> {
        self.read(topic, |tracker| tracker.list(topic).for_each(each))
    }

    /// Returns copies of the visible sessions of a key. O(sessions of the key).
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not watched, or not ready.
    pub fn get_by_key<'k>(
        &self,
        topic: &str,
        key: impl Into<Key<'k>>,
    ) -> Result<Vec<EntryBuf>, ReadError> {
        self.read(topic, |tracker| {
            let sessions = tracker.get_by_key(topic, key);
            sessions.map(|entry| entry.to_buf()).collect()
        })
    }

    /// Returns a copy of the entry that this replica tracks for an owner, whether the topic is watched
    /// or not. O(sessions of the key).
    #[must_use]
    pub fn get_own<'k>(
        &self,
        topic: &str,
        key: impl Into<Key<'k>>,
        owner: impl AsRef<[u8]>,
    ) -> Option<EntryBuf> {
        let shard = self.shard(topic).read_recursive();
        shard.tracker(topic).get_own(topic, key, owner)
    }

    /// Returns whether this replica tracks entries of an owner, in any topic. O(partitions).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// assert!(presence.has_owner("conn-1") && !presence.has_owner("conn-2"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn has_owner(&self, owner: impl AsRef<[u8]>) -> bool {
        let owner = owner.as_ref();
        let mut shards = self.shards.iter();
        shards.any(|shard| shard.read_recursive().has_owner(owner))
    }

    /// Returns the number of entries that this replica tracks in a topic, whether the topic is watched
    /// or not. O(origins of the topic).
    #[must_use]
    pub fn count_own(&self, topic: &str) -> usize {
        self.shard(topic)
            .read_recursive()
            .tracker(topic)
            .count_own(topic)
    }

    /// Returns the number of visible entries in a topic: of what is held, or by the
    /// [counts](Self::watch_counts) of all replicas. O(origins of the topic).
    ///
    /// # Errors
    /// [`ReadError`] if neither the topic nor its counts are watched, or none is ready.
    pub fn count(&self, topic: &str) -> Result<usize, ReadError> {
        let held = self.read(topic, |tracker| tracker.count(topic));
        held.or_else(|error| {
            let counts = self.counts(topic, error)?;
            Ok(counts.iter().map(|count| count.entries as usize).sum())
        })
    }

    /// Returns the number of distinct visible keys in a topic: exact if its entries are held, see
    /// [`Tracker::count_keys`]; else bounds, by the [counts](Self::watch_counts) of all replicas.
    ///
    /// # Errors
    /// [`ReadError`] if neither the topic nor its counts are watched, or none is ready.
    pub fn count_keys(&self, topic: &str) -> Result<Keys, ReadError> {
        let held = self.read(topic, |tracker| Keys::of(tracker.count_keys(topic)));
        held.or_else(|error| {
            let counts = self.counts(topic, error)?;
            let keys = counts.iter().map(|count| count.keys as usize);
            Ok(Keys {
                at_least: keys.clone().max().unwrap_or(0),
                at_most: keys.sum(),
            })
        })
    }

    /// Returns the topics of which this node holds entries, hidden ones included, sorted.
    /// O(topics x log topics).
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        let mut topics = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            let trackers = shard.trackers();
            let names = trackers.flat_map(|(_, tracker)| tracker.topics());
            topics.extend(names.map(str::to_owned));
        }
        topics.sort_unstable();
        topics
    }

    /// Returns the number of entries that this node holds, hidden ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        let lens = self.shards.iter().map(|shard| len_of(&shard.read()));
        lens.sum()
    }

    /// Returns whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `read` with the tracker of a topic's partition, which has all entries of the topic. Writers
    /// to topics of the same partition wait meanwhile; do not call back into the presence.
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let owner = |tracker: &headcount::Tracker| {
    ///     let mut sessions = tracker.get_by_key("room", "ann");
    ///     sessions.next().map(|entry| entry.owner().to_vec())
    /// };
    /// assert_eq!(presence.read("room", owner)?, Some(b"conn-1".to_vec()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not watched, or not ready.
    pub fn read<R>(&self, topic: &str, read: impl FnOnce(&Tracker) -> R) -> Result<R, ReadError> {
        let shard = self.shard(topic).read_recursive();
        shard.check_readable(topic)?;
        Ok(read(shard.tracker(topic)))
    }

    /// Does what [`read`](Self::read) does; returns `None` when the partition is being written.
    pub fn try_read<R>(
        &self,
        topic: &str,
        read: impl FnOnce(&Tracker) -> R,
    ) -> Option<Result<R, ReadError>> {
        let shard = self.shard(topic).try_read_recursive()?;
        let readable = shard.check_readable(topic);
        Some(readable.map(|()| read(shard.tracker(topic))))
    }

    /// Does what [`len`](Self::len) does; returns `None` when a partition is being written.
    #[must_use]
    pub fn try_len(&self) -> Option<usize> {
        let shards = self.shards.iter();
        let lens = shards.map(|shard| shard.try_read().map(|shard| len_of(&shard)));
        lens.sum()
    }

    /// Begins a list of a topic that is read in pages, so that writers wait for one page at most:
    /// an entry that is tracked from the first page to the last comes once, one that joins or
    /// leaves meanwhile at most once. O(keys x log keys), of which O(keys) with the lock held: a
    /// millisecond for a million.
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// for n in 0..1_000 {
    ///     presence.track(&NewEntry::new("room", &format!("user {n}"), "conn-1"))?;
    /// }
    /// let mut keys = Vec::new();
    /// let mut pages = presence.begin_pages("room")?;
    /// let mut add = |entry: headcount::Entry<'_>| keys.extend(entry.key_str().map(str::to_owned));
    /// while !presence.page(&mut pages, 100, &mut add)?.done {}
    /// assert_eq!(keys.len(), 1_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not watched, or not ready.
    pub fn begin_pages(&self, topic: &str) -> Result<Pages, ReadError> {
        let pages = self.read(topic, |tracker| Pages::collect(tracker, topic));
        Ok(pages?.sorted())
    }

    /// Calls `each` for the visible entries of the next `keys_max` keys, without copying; do not
    /// call back into the presence. O(their sessions), with the lock held.
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not watched, or not ready.
    pub fn page(
        &self,
        pages: &mut Pages,
        keys_max: usize,
        each: impl FnMut(Entry<'_>),
    ) -> Result<Slice, ReadError> {
        let shard = self.shard(pages.topic()).read_recursive();
        shard.check_readable(pages.topic())?;
        let tracker = shard.tracker(pages.topic());
        Ok(pages.step(tracker, keys_max, each))
    }
}

/// Returns the number of entries of a shard, hidden ones included.
fn len_of(shard: &Partitions) -> usize {
    shard.trackers().map(|(_, tracker)| tracker.len()).sum()
}
