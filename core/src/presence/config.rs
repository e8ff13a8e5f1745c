//! The settings of a presence.

use std::time::Duration;

use crate::replica;
use crate::tracker::Limits;

/// The settings of a [`Presence`](super::Presence): bounds and times.
///
/// ```
/// use headcount::PresenceConfig;
/// use headcount::tracker::Limits;
/// use std::time::Duration;
///
/// let config = PresenceConfig::default()
///     .limits(Limits::default().meta_len_max(4 * 1024))
///     .grace(Duration::from_secs(10));
/// ```
#[derive(Debug, Clone)]
pub struct PresenceConfig {
    pub(crate) limits: Limits,
    pub(crate) replication: replica::Config,
    pub(crate) seed: u64,
    pub(crate) flush: Duration,
    pub(crate) grace: Duration,
    pub(crate) slice_entries_max: usize,
    pub(crate) leave_log_bytes_max: usize,
    pub(crate) diffs_bytes_max: usize,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            replication: replica::Config::default(),
            seed: 0,
            flush: Duration::from_millis(5),
            grace: Duration::ZERO,
            slice_entries_max: 1_024,
            leave_log_bytes_max: 64 << 20,
            diffs_bytes_max: 64 << 20,
        }
    }
}

impl PresenceConfig {
    /// Sets the bounds of entries.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the times and bounds of replication.
    #[must_use]
    pub fn replication(mut self, replication: replica::Config) -> Self {
        self.replication = replication;
        self
    }

    /// Sets the seed of jitter and nonces: random, and different on every node. Default 0, which
    /// [`Node::start`](crate::runtime::Node::start) replaces by a random number.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how long changes of this replica's own entries wait to become one Diff, from the first
    /// call that sees them. Default 5 ms.
    ///
    /// With 0 they wait no longer than to that call. With [`Duration::MAX`] they wait for ever,
    /// which leaves them to [`Presence::take_diff`](super::Presence::take_diff).
    #[must_use]
    pub fn flush(mut self, flush: Duration) -> Self {
        self.flush = flush;
        self
    }

    /// Sets how long the entries of a lost owner stay, see
    /// [`Presence::owner_lost`](super::Presence::owner_lost), and those of a replica that starts
    /// again under its name. Default 0.
    ///
    /// Such entries are listed and counted here until the replica has put them again, which is an
    /// update, or until this time is over, which is a leave. Entries of a replica that sends
    /// Goodbye leave at once.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the most entries handled while a lock of entries is held, when much has to be done at
    /// once: a load, a large answer, a replica that appears or goes. Default 1,024, at least 1.
    #[must_use]
    pub fn slice_entries_max(mut self, slice_entries_max: usize) -> Self {
        self.slice_entries_max = slice_entries_max;
        self
    }

    /// Sets the bytes of leaves remembered for replicas that missed them, over all origins. Default
    /// 64 MiB.
    ///
    /// Beyond it the longest logs are cut. It tunes memory against traffic, it never costs
    /// correctness.
    #[must_use]
    pub fn leave_log_bytes_max(mut self, leave_log_bytes_max: usize) -> Self {
        self.leave_log_bytes_max = leave_log_bytes_max;
        self
    }

    /// Sets the most bytes of Diffs that wait to be polled
    /// ([`Presence::poll_diff`](super::Presence::poll_diff)). Default 64 MiB.
    ///
    /// Beyond it all Diffs that wait are dropped, with one event
    /// [`DiffsDropped`](crate::replica::Event::DiffsDropped). A single Diff that comes while none
    /// waits is kept, whatever its length: a program that polls after each call loses none. The
    /// bytes are those of the entries, with key, owner and meta, and of the topics' names; an
    /// allocator may take a few more for each.
    ///
    /// ```
    /// use headcount::replica::Event;
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let config = PresenceConfig::default().diffs_bytes_max(10_000).flush(Duration::ZERO);
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, config);
    /// for i in 0..100 {
    ///     presence.track(&NewEntry::new("room", &format!("user {i}"), "conn"))?;
    ///     presence.handle_timeout(Duration::ZERO); // and nobody polls the Diffs
    /// }
    /// assert_eq!(presence.poll_event(), Some(Event::DiffsDropped));
    /// let (entries, _diffs_so_far) = presence.list_with_diffs("room")?;
    /// assert_eq!(entries.len(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn diffs_bytes_max(mut self, diffs_bytes_max: usize) -> Self {
        self.diffs_bytes_max = diffs_bytes_max;
        self
    }
}
