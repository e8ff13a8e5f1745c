//! Counts without entries, in mode `interest`: each node tells once a beat how many entries and keys
//! it has in the topics that changed.

use std::time::Duration;

use super::Presence;
use super::control::Control;
use crate::error::ReadError;
use crate::tracker::Count;

/// Bounds of the number of distinct keys in a topic. They are equal where the entries are held.
///
/// ```
/// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
/// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
/// presence.track(&NewEntry::new("room", "ann", "phone"))?;
/// presence.track(&NewEntry::new("room", "ann", "laptop"))?;
/// let keys = presence.count_keys("room")?;
/// assert_eq!((keys.at_least, keys.at_most), (1, 1));
/// assert_eq!(keys.exact(), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Keys {
    /// The keys that there are at least: as many as one node has.
    pub at_least: usize,
    /// The keys that there are at most: as many as there are if no two nodes have the same one.
    pub at_most: usize,
}

impl Keys {
    pub(super) fn of(exact: usize) -> Self {
        Self {
            at_least: exact,
            at_most: exact,
        }
    }

    /// Returns the number of keys, if the bounds leave one only.
    #[must_use]
    pub fn exact(self) -> Option<usize> {
        (self.at_least == self.at_most).then_some(self.at_most)
    }
}

/// Counts: how many entries others have in a topic, without holding them, in a cluster with
/// [`counts`](crate::replica::Config::counts).
impl Presence {
    /// Watches the counts of a topic: [`count`](Self::count) and [`count_keys`](Self::count_keys)
    /// answer once they are ready, which [`CountsReady`](crate::replica::Event::CountsReady) tells:
    /// one round trip later, and two heartbeats after the start of this node at the earliest. They
    /// are those of the last heartbeat of each replica. Nothing else of the topic can be read, and no
    /// Diff has its changes. Watches are counted: each one is undone by an
    /// [`unwatch_counts`](Self::unwatch_counts). O(replicas) for the first topic of a partition, else
    /// O(log topics).
    ///
    /// In a cluster without counts this watches the entries, as [`watch`](Self::watch) does; in mode
    /// [`All`](crate::replica::Mode::All) everything is held, and it does nothing.
    ///
    /// ```
    /// use headcount::replica::{Config, Mode};
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let replication = Config::default().mode(Mode::Interest).counts(true);
    /// let config = PresenceConfig::default().replication(replication);
    /// let a = Presence::new(ReplicaId::new("a", 1, 0)?, config.clone().seed(1));
    /// let b = Presence::new(ReplicaId::new("b", 1, 0)?, config.seed(2));
    /// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// b.watch_counts(Duration::ZERO, "room");
    /// for ms in 0..3_000 {
    ///     let now = Duration::from_millis(ms);
    ///     for (from, to, name) in [(&a, &b, "a"), (&b, &a, "b")] {
    ///         from.handle_timeout(now);
    ///         while let Some(transmit) = from.poll_transmit() {
    ///             to.handle_message(now, name, &transmit.frame)?;
    ///         }
    ///     }
    /// }
    /// assert_eq!(b.count("room")?, 1);
    /// assert!(b.list("room").is_err() && b.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch_counts(&self, now: Duration, topic: &str) {
        let control = &mut *self.control.lock();
        control.advance(now);
        control.replica.watch_counts(now, topic);
        self.run(control);
    }

    /// Ends a watch of the counts of a topic. After the last one they can no longer be read; what is
    /// held of them goes [`unwatch_after`](crate::replica::Config::unwatch_after) later. Does nothing
    /// if they are not watched. O(log topics).
    pub fn unwatch_counts(&self, now: Duration, topic: &str) {
        let control = &mut *self.control.lock();
        control.advance(now);
        control.replica.unwatch_counts(now, topic);
        self.run(control);
    }

    /// Checks that a topic can be counted: its entries or its counts are here. O(1).
    ///
    /// # Errors
    /// [`ReadError`] if neither is watched, or none is ready.
    pub fn check_countable(&self, topic: &str) -> Result<(), ReadError> {
        self.check_readable(topic)
            .or_else(|error| self.check_counted(topic, error))
    }

    /// Checks that the counts of a topic can be read whose entries cannot, for a reason.
    fn check_counted(&self, topic: &str, error: ReadError) -> Result<(), ReadError> {
        let Some(shard) = self.count_shards.get(usize::from(self.number_of(topic))) else {
            return Err(error);
        };
        let counted = shard.read_recursive().check_readable(topic);
        // Of two watches that are not ready one is enough to wait for.
        counted.map_err(|of_counts| match of_counts {
            ReadError::NotReady { .. } => of_counts,
            _ => error,
        })
    }

    /// Returns what each replica counts in a topic whose entries cannot be read, for a reason: first
    /// this one, which counts what it has now.
    pub(super) fn counts(&self, topic: &str, error: ReadError) -> Result<Vec<Count>, ReadError> {
        self.check_counted(topic, error)?;
        let own = self.shard(topic).read_recursive();
        let own = own.tracker(topic).kept_count(topic);
        let others = &self.count_shards[usize::from(self.number_of(topic))];
        let others = others.read_recursive();
        let others = others.counts_of_others(topic);
        Ok(std::iter::once(own).chain(others).collect())
    }

    /// Counts own entries in the topics in which some came or went, if a Beat is due: the counts are
    /// pushed before it.
    pub(super) fn refresh_counts(&self, control: &mut Control) {
        if self.count_shards.is_empty() || !control.replica.is_beat_due(control.now) {
            return;
        }
        for (number, shard) in (0..).zip(&self.shards) {
            let counts = shard.write().take_changed_counts();
            if counts.is_empty() {
                continue;
            }
            let number = number + self.shards.len() as u8;
            let mut shard = self.numbered(number).write();
            for (topic, count) in counts {
                let counted = shard.put_count(&topic, count);
                debug_assert!(counted.is_ok(), "{counted:?} of {topic}");
            }
            drop(shard.take_diff());
            drop(shard);
            self.report(control, number);
        }
    }
}
