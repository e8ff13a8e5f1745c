//! Topics that are watched, in mode `interest`.

use std::time::Duration;

use super::Presence;
use crate::replica::GroupSubscription;

/// Interest: what this node holds of others, in mode [`Interest`](crate::replica::Mode::Interest).
impl Presence {
    /// Watches a topic: what others have in it is held from now on, and its changes are in the
    /// Diffs. It can be read once it is ready, which
    /// [`TopicReady`](crate::replica::Event::TopicReady) tells: one round trip later, and two
    /// heartbeats after the start of this node at the earliest. Watches are counted: each one is
    /// undone by an [`unwatch`](Self::unwatch). O(replicas) for the first topic of a partition, else
    /// O(log topics).
    ///
    /// In mode [`All`](crate::replica::Mode::All) everything is held, and this does nothing.
    ///
    /// ```
    /// use headcount::replica::{Config, Event, Mode};
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let replication = Config::default().mode(Mode::Interest).partitions(4_096);
    /// let config = PresenceConfig::default().replication(replication);
    /// let a = Presence::new(ReplicaId::new("a", 1, 0)?, config.clone().seed(1));
    /// let b = Presence::new(ReplicaId::new("b", 1, 0)?, config.seed(2));
    /// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// b.watch(Duration::ZERO, "room");
    /// for ms in 0..3_000 {
    ///     let now = Duration::from_millis(ms);
    ///     for (from, to, name) in [(&a, &b, "a"), (&b, &a, "b")] {
    ///         from.handle_timeout(now);
    ///         while let Some(transmit) = from.poll_transmit() {
    ///             to.handle_message(now, name, &transmit.frame)?;
    ///         }
    ///     }
    /// }
    /// let events: Vec<_> = std::iter::from_fn(|| b.poll_event()).collect();
    /// assert!(events.iter().any(|event| matches!(event, Event::TopicReady { .. })));
    /// assert_eq!(b.count("room")?, 1);
    /// b.unwatch(Duration::from_secs(3), "room");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(&self, now: Duration, topic: &str) {
        let control = &mut *self.control.lock();
        control.advance(now);
        control.replica.watch(now, topic);
        self.run(control);
    }

    /// Ends a watch of a topic. After the last one the topic can no longer be read, and its changes
    /// are in no Diff; what is held of others in its partition goes
    /// [`unwatch_after`](crate::replica::Config::unwatch_after) later, unless another topic of the
    /// partition is watched. Does nothing if the topic is not watched. O(log topics).
    pub fn unwatch(&self, now: Duration, topic: &str) {
        let control = &mut *self.control.lock();
        control.advance(now);
        control.replica.unwatch(now, topic);
        self.run(control);
    }

    /// Returns the next partition whose frames the transport is to bring from now on, or no longer.
    /// Ask for it before [`poll_transmit`](Self::poll_transmit), so that the answers to a question
    /// and what changes meanwhile both arrive.
    #[must_use = "it is handed out once"]
    pub fn poll_subscription(&self) -> Option<GroupSubscription> {
        self.control.lock().replica.poll_subscription()
    }
}
