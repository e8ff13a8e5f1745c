//! The settings of a replica.

use std::time::Duration;

use super::shape::Shape;
use crate::codec::SharedKey;

/// The settings of a [`Replica`](super::Replica). All nodes of a cluster must have the same shape,
/// name and key.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) shape: Shape,
    /// The name of the cluster.
    pub(crate) cluster: String,
    pub(crate) key: Option<SharedKey>,
    /// The time between two Beats.
    pub(crate) heartbeat: Duration,
    /// The silence after which a replica counts as down.
    pub(crate) down_after: Duration,
    /// The silence after which a replica is dropped.
    pub(crate) forget_after: Duration,
    /// The longest time for which own operations wait to be pushed.
    pub(crate) push_after: Duration,
    /// The bytes of own operations that are pushed without waiting.
    pub(crate) push_bytes_max: usize,
    /// The time after which an unanswered question is repeated first; it doubles.
    pub(crate) pull_retry: Duration,
    /// The longest time after which an unanswered question is repeated.
    pub(crate) pull_timeout: Duration,
    /// The time after which a partition without entries is vacated.
    pub(crate) vacate_after: Duration,
    /// The time for which entries of a replica stay visible after a later start of its name replaced
    /// it.
    pub(crate) grace: Duration,
    /// The time after two heartbeats for which a node waits for replicas that it does not catch up
    /// with, before it says that they are missing.
    pub(crate) ready_after: Duration,
    /// The most replicas known at a time.
    pub(crate) peers_max: usize,
    /// The most bytes of long answers that are kept for askers, unless a single one has more.
    pub(crate) reply_bytes_max: usize,
    /// The most bytes of incomplete long answers that are kept for what is held already.
    pub(crate) staging_bytes_max: usize,
    /// The time for which own leaves are remembered, for holders that missed them.
    pub(crate) leaves_kept: Duration,
    /// The longest frame that the transport takes.
    pub(crate) frame_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            cluster: String::new(),
            key: None,
            heartbeat: Duration::from_secs(1),
            down_after: Duration::from_secs(5),
            forget_after: Duration::from_secs(20 * 60),
            push_after: Duration::from_millis(5),
            push_bytes_max: 64 * 1024,
            pull_retry: Duration::from_millis(250),
            pull_timeout: Duration::from_secs(2),
            vacate_after: Duration::from_secs(60),
            grace: Duration::ZERO,
            ready_after: Duration::from_secs(5),
            peers_max: 4_096,
            reply_bytes_max: 256 << 20,
            staging_bytes_max: 256 << 20,
            leaves_kept: Duration::from_secs(60),
            frame_max: 256 * 1024,
        }
    }
}

/// Times inside a replica start here, so that subtracting a duration never meets zero.
pub(super) const EPOCH: u64 = 1 << 50;

/// The durations of a [`Config`] in microseconds.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    pub(super) beat: u64,
    pub(super) down: u64,
    pub(super) forget: u64,
    pub(super) push: u64,
    pub(super) retry: u64,
    pub(super) pull: u64,
    pub(super) vacate: u64,
    pub(super) ready: u64,
    /// 0 for none.
    pub(super) grace: u64,
}

impl Timing {
    pub(super) fn new(config: &Config) -> Self {
        let micros = |duration: Duration| {
            let micros = u64::try_from(duration.as_micros()).unwrap_or(EPOCH);
            micros.clamp(1, EPOCH / 8)
        };
        let beat = micros(config.heartbeat).max(1_000);
        Self {
            beat,
            // A replica that beats in time is never down.
            down: micros(config.down_after).max(2 * beat),
            forget: micros(config.forget_after),
            push: micros(config.push_after),
            retry: micros(config.pull_retry),
            pull: micros(config.pull_timeout),
            vacate: micros(config.vacate_after),
            ready: micros(config.ready_after),
            grace: if config.grace.is_zero() {
                0
            } else {
                micros(config.grace)
            },
        }
    }
}
