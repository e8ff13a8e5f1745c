//! The settings of replication.

use std::time::Duration;

use crate::codec::SharedKey;

/// The settings of one [`Replica`](crate::replica::Replica): times and bounds of replication.
///
/// Every node of a cluster should use the same [`cluster`](Self::cluster) and [`key`](Self::key);
/// the rest may differ.
///
/// ```
/// use headcount::PresenceConfig;
/// use headcount::replica::Config;
/// use std::time::Duration;
///
/// let replication = Config::default().cluster("chat").heartbeat(Duration::from_millis(500));
/// let config = PresenceConfig::default().replication(replication);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) cluster: String,
    pub(crate) key: Option<SharedKey>,
    pub(crate) heartbeat: Duration,
    pub(crate) down_after: Duration,
    pub(crate) forget_after: Duration,
    pub(crate) push_after: Duration,
    pub(crate) push_bytes_max: usize,
    pub(crate) frame_max: usize,
    pub(crate) relay: bool,
    pub(crate) peers_max: usize,
    pub(crate) staging_bytes_max: usize,
    pub(crate) reply_bytes_max: usize,
    pub(crate) pull_jitter_max: Duration,
    pub(crate) pull_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: "headcount".into(),
            key: None,
            heartbeat: Duration::from_secs(1),
            down_after: Duration::from_secs(5),
            forget_after: Duration::from_secs(20 * 60),
            push_after: Duration::from_millis(5),
            push_bytes_max: 64 * 1024,
            frame_max: 256 * 1024,
            relay: false,
            peers_max: 1024,
            staging_bytes_max: 256 << 20,
            reply_bytes_max: 256 << 20,
            pull_jitter_max: Duration::from_millis(20),
            pull_timeout: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// Sets the name of the cluster, at most 64 bytes. Default `headcount`.
    ///
    /// Frames of another cluster are refused.
    #[must_use]
    pub fn cluster(mut self, cluster: impl Into<String>) -> Self {
        self.cluster = cluster.into();
        self
    }

    /// Sets the secret that all nodes of the cluster share. Default `None`.
    ///
    /// With a key, frames carry a MAC instead of a checksum, and frames without a valid MAC are refused.
    #[must_use]
    pub fn key(mut self, key: Option<SharedKey>) -> Self {
        self.key = key;
        self
    }

    /// Sets the time between two Digests. Default 1 s, at least 1 ms.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets the silence after which a replica is down and its entries are hidden. Default 5 s.
    #[must_use]
    pub fn down_after(mut self, down_after: Duration) -> Self {
        self.down_after = down_after;
        self
    }

    /// Sets the silence after which a replica and its entries are dropped. Default 20 min.
    #[must_use]
    pub fn forget_after(mut self, forget_after: Duration) -> Self {
        self.forget_after = forget_after;
        self
    }

    /// Sets how long local operations wait, to travel together. Default 5 ms.
    #[must_use]
    pub fn push_after(mut self, push_after: Duration) -> Self {
        self.push_after = push_after;
        self
    }

    /// Sets the bytes of local operations that wait at most; more are pushed at once. Default 64 KiB.
    #[must_use]
    pub fn push_bytes_max(mut self, push_bytes_max: usize) -> Self {
        self.push_bytes_max = push_bytes_max;
        self
    }

    /// Sets the largest frame that the transport takes, in bytes. Default 256 KiB, from 1 KiB to 16 MiB.
    #[must_use]
    pub fn frame_max(mut self, frame_max: usize) -> Self {
        self.frame_max = frame_max;
        self
    }

    /// Sets whether every Digest carries the rows of all replicas, as a partial mesh needs. Default `false`.
    ///
    /// Without it, a Digest carries the node's own row, which is enough for a full mesh. The other rows then
    /// travel with every eighth Digest, as the acknowledgements that let leave logs be trimmed.
    #[must_use]
    pub fn relay(mut self, relay: bool) -> Self {
        self.relay = relay;
        self
    }

    /// Sets the most replicas known at once, and the most direct senders. Default 1,024.
    #[must_use]
    pub fn peers_max(mut self, peers_max: usize) -> Self {
        self.peers_max = peers_max;
        self
    }

    /// Sets the bytes of replies being received, beyond which Pulls wait. Default 256 MiB.
    #[must_use]
    pub fn staging_bytes_max(mut self, staging_bytes_max: usize) -> Self {
        self.staging_bytes_max = staging_bytes_max;
        self
    }

    /// Sets the bytes of encoded replies kept for askers, beyond which Pulls go unanswered. Default 256 MiB.
    #[must_use]
    pub fn reply_bytes_max(mut self, reply_bytes_max: usize) -> Self {
        self.reply_bytes_max = reply_bytes_max;
        self
    }

    /// Sets the upper bound of the random delay before a Pull. Default 20 ms.
    #[must_use]
    pub fn pull_jitter_max(mut self, pull_jitter_max: Duration) -> Self {
        self.pull_jitter_max = pull_jitter_max;
        self
    }

    /// Sets the time after which an unanswered Pull is repeated at another peer. Default 1 s.
    #[must_use]
    pub fn pull_timeout(mut self, pull_timeout: Duration) -> Self {
        self.pull_timeout = pull_timeout;
        self
    }
}
