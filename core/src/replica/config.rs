//! What a cluster may tune, with the defaults of the design.

use std::time::Duration;

use crate::codec::SharedKey;

/// Settings of one [`Replica`](crate::replica::Replica). Every node of a cluster should use the
/// same `cluster` and `key`; the rest may differ.
///
/// ```
/// use headcount::replica::Config;
/// use std::time::Duration;
///
/// let config = Config { heartbeat: Duration::from_millis(500), ..Config::default() };
/// assert_eq!(config.down_after, Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the cluster, at most 64 bytes; frames of another cluster are refused. Default
    /// `headcount`.
    pub cluster: String,
    /// A shared key: frames then carry a MAC instead of a checksum, and frames without a valid one
    /// are refused. Default none.
    pub key: Option<SharedKey>,
    /// Time between two Digests, at least 1 ms. Default 1 s.
    pub heartbeat: Duration,
    /// A replica not heard for this long is down, and hidden. Default 5 s.
    pub down_after: Duration,
    /// A replica not heard for this long is dropped. Default 20 min.
    pub forget_after: Duration,
    /// How long local operations wait to travel together. Default 5 ms.
    pub push_after: Duration,
    /// Bytes of local operations after which they do not wait any longer. Default 64 KiB.
    pub push_bytes: usize,
    /// The largest frame the transport takes, in bytes, 1 KiB to 16 MiB. Default 256 KiB.
    pub max_frame: usize,
    /// Whether every Digest carries the rows of all replicas, as a partial mesh needs, or only the
    /// own row (a full mesh; the other rows then travel with every eighth Digest, as the
    /// acknowledgements that let leave logs be trimmed). Default false.
    pub relay: bool,
    /// Most replicas known at once, and most direct senders. Default 1,024.
    pub max_peers: usize,
    /// Bytes of replies being received; beyond it Pulls wait. Default 256 MiB.
    pub staging_budget: usize,
    /// Bytes of encoded replies kept for askers; beyond it Pulls go unanswered. Default 256 MiB.
    pub reply_budget: usize,
    /// Upper bound of the random delay before a Pull. Default 20 ms.
    pub pull_jitter: Duration,
    /// An unanswered Pull is repeated at another peer after this long. Default 1 s.
    pub pull_timeout: Duration,
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
            push_bytes: 64 * 1024,
            max_frame: 256 * 1024,
            relay: false,
            max_peers: 1024,
            staging_budget: 256 << 20,
            reply_budget: 256 << 20,
            pull_jitter: Duration::from_millis(20),
            pull_timeout: Duration::from_secs(1),
        }
    }
}
