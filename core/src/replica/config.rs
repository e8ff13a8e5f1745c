//! The settings of replication.

use std::fmt;
use std::time::Duration;

use crate::codec::{Mode, PARTITIONS_MAX, Shape, SharedKey};

/// The settings of replication: times and bounds.
///
/// All nodes of a cluster must have the same [`cluster`](Self::cluster), [`key`](Self::key),
/// [`partitions`](Self::partitions), mode, counts and [`relay`](Self::relay); the rest may differ.
///
/// ```
/// use headcount::PresenceConfig;
/// use headcount::replica::Config;
/// use std::time::Duration;
///
/// let replication = Config::default().cluster("chat").heartbeat(Duration::from_millis(500));
/// let config = PresenceConfig::default().replication(replication);
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) shape: Shape,
    /// True if counts are wanted, whether the shape has room for them or not.
    pub(crate) counts: bool,
    pub(crate) cluster: String,
    pub(crate) key: Option<SharedKey>,
    pub(crate) heartbeat: Duration,
    pub(crate) down_after: Duration,
    pub(crate) forget_after: Duration,
    pub(crate) push_after: Duration,
    pub(crate) push_bytes_max: usize,
    /// The time after which an unanswered question is repeated first; it doubles.
    pub(crate) pull_retry: Duration,
    pub(crate) pull_timeout: Duration,
    pub(crate) vacate_after: Duration,
    /// The time for which entries of a replica stay visible after a later start of its name
    /// replaced it: the grace of the presence.
    pub(crate) grace: Duration,
    pub(crate) ready_after: Duration,
    pub(crate) unwatch_after: Duration,
    /// The beats within which the row of each partition is shown again to those that watch it.
    pub(crate) sweep_beats: u64,
    pub(crate) relay: bool,
    pub(crate) peers_max: usize,
    pub(crate) reply_bytes_max: usize,
    pub(crate) staging_bytes_max: usize,
    pub(crate) leaves_kept: Duration,
    pub(crate) frame_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            counts: false,
            cluster: "headcount".into(),
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
            unwatch_after: Duration::from_secs(30),
            sweep_beats: 1_024,
            relay: false,
            peers_max: 4_096,
            reply_bytes_max: 256 << 20,
            staging_bytes_max: 256 << 20,
            leaves_kept: Duration::from_secs(60),
            frame_max: 256 * 1024,
        }
    }
}

impl Config {
    /// Sets the name of the cluster, of any length. Default `headcount`.
    ///
    /// Frames of another cluster are refused.
    #[must_use]
    pub fn cluster(mut self, cluster: impl Into<String>) -> Self {
        self.cluster = cluster.into();
        self
    }

    /// Sets the secret that all nodes of the cluster share. Default `None`.
    ///
    /// With a key, frames carry a MAC instead of a checksum, and frames without a valid MAC are
    /// refused.
    #[must_use]
    pub fn key(mut self, key: Option<SharedKey>) -> Self {
        self.key = key;
        self
    }

    /// Sets the number of partitions that topics are spread over. Default 32.
    ///
    /// The number is raised to the next power of two, at most 65,536, or 32,768 with
    /// [`counts`](Self::counts). All nodes of a cluster must
    /// have the same: frames of a node with another number are refused, and told as
    /// [`ShapeMismatch`](super::Event::ShapeMismatch). A partition without entries costs nothing.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        let partitions = partitions.clamp(1, PARTITIONS_MAX).next_power_of_two();
        self.shape = Shape::new(partitions, self.shape.mode()).unwrap_or_default();
        self.reshape()
    }

    /// Sets what each node holds of the others: everything, or what it watches. Default
    /// [`Mode::All`].
    ///
    /// In [`Mode::Interest`] a node holds and is sent only what concerns the partitions of topics
    /// that it [watches](crate::Presence::watch), beside its own entries. Choose it when there is
    /// more presence than each node can hold, with many [`partitions`](Self::partitions) - some
    /// thousands - and users of a topic on few nodes. All nodes of a cluster must have the same mode;
    /// with [`relay`](Self::relay) it is `All`.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        let partitions = self.shape.partitions();
        self.shape = Shape::new(partitions, mode).unwrap_or_default();
        self.reshape()
    }

    /// Sets whether nodes tell how many entries and keys they have in each topic, for those that
    /// [watch the counts](crate::Presence::watch_counts) of a topic instead of its entries, in mode
    /// [`Interest`](Mode::Interest). Default `false`.
    ///
    /// Each node then tells once a heartbeat of the topics in which entries came or went. It keeps an
    /// entry for each topic that it has entries in, and its index has twice as many partitions. All
    /// nodes of a cluster must have the same. In mode `All` everything is held, and this does
    /// nothing.
    #[must_use]
    pub fn counts(mut self, counts: bool) -> Self {
        self.counts = counts;
        self.reshape()
    }

    /// Makes the shape one of mode `All` for a node that relays, and of relay, or gives it partitions of
    /// counts, if they are wanted.
    fn reshape(mut self) -> Self {
        let mode = if self.relay {
            Mode::All
        } else {
            self.shape.mode()
        };
        let has_counts = self.counts && mode == Mode::Interest;
        let partitions_max = PARTITIONS_MAX >> u8::from(has_counts);
        let partitions = self.shape.partitions().min(partitions_max);
        let shape = Shape::new(partitions, mode).unwrap_or_default();
        let with_counts = shape.with_counts().filter(|_| has_counts);
        let with_relay = shape.with_relay().filter(|_| self.relay);
        self.shape = with_counts.or(with_relay).unwrap_or(shape);
        self
    }

    /// Sets for how long what others have in a topic is held after its last watch ended, in mode
    /// [`Interest`](Mode::Interest): a watch that begins again meanwhile costs nothing. Default 30 s.
    #[must_use]
    pub fn unwatch_after(mut self, unwatch_after: Duration) -> Self {
        self.unwatch_after = unwatch_after;
        self
    }

    /// Sets the time between two Beats. Default 1 s, at least 1 ms.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets the silence after which a replica is down and its entries are hidden. Default 5 s, at
    /// least two heartbeats.
    #[must_use]
    pub fn down_after(mut self, down_after: Duration) -> Self {
        self.down_after = down_after;
        self
    }

    /// Sets the silence after which a replica and its entries are dropped. Default 20 min. It must be
    /// above [`down_after`](Self::down_after), which [`check`](Self::check) checks; a presence takes
    /// what is below for `down_after`.
    #[must_use]
    pub fn forget_after(mut self, forget_after: Duration) -> Self {
        self.forget_after = forget_after;
        self
    }

    /// Checks that the times fit each other, for programs that read them from people or files. O(1).
    ///
    /// ```
    /// use headcount::replica::Config;
    /// use std::time::Duration;
    ///
    /// let config = Config::default().down_after(Duration::from_secs(1_800));
    /// let error = config.check().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "forget_after is 1200s, it must be above down_after, which is 1800s"
    /// );
    /// assert!(config.forget_after(Duration::from_secs(3_600)).check().is_ok());
    /// ```
    ///
    /// # Errors
    /// [`ConfigError`]: a replica would be dropped before it is hidden.
    pub fn check(&self) -> Result<(), ConfigError> {
        let forget_after = self.forget_after;
        let down_after = self.down_after.max(self.heartbeat.saturating_mul(2));
        if forget_after > down_after {
            return Ok(());
        }
        Err(ConfigError::ForgetTooSoon {
            forget_after,
            down_after,
        })
    }

    /// Sets how long own operations wait, to travel together. Default 5 ms.
    #[must_use]
    pub fn push_after(mut self, push_after: Duration) -> Self {
        self.push_after = push_after;
        self
    }

    /// Sets the bytes of own operations that wait at most; more are pushed at once. Default 64 KiB.
    #[must_use]
    pub fn push_bytes_max(mut self, push_bytes_max: usize) -> Self {
        self.push_bytes_max = push_bytes_max;
        self
    }

    /// Sets the largest frame that the transport takes, in bytes. Default 256 KiB, from 1 KiB to
    /// 16 MiB, and at least 512 bytes and one for each 8 partitions: an index of all of them takes
    /// that. What is below or beyond counts as the nearest.
    #[must_use]
    pub fn frame_max(mut self, frame_max: usize) -> Self {
        self.frame_max = frame_max;
        self
    }

    /// Sets whether this node passes frames of others on to its neighbours, as a network needs in
    /// which not all nodes reach each other. Default `false`. The [`mode`](Self::mode) is `All` then.
    ///
    /// All nodes of the cluster must have the same: frames of a node with the other setting are refused,
    /// and told as [`ShapeMismatch`](super::Event::ShapeMismatch). Every node then receives each frame
    /// to all from each of its neighbours. A hint that a neighbour is gone hides nothing, since its frames may
    /// take another way. Two processes with the same identity are noticed later, by their
    /// contradictions alone.
    #[must_use]
    pub fn relay(mut self, relay: bool) -> Self {
        self.relay = relay;
        self.reshape()
    }

    /// Sets the most replicas known at once. Default 4,096.
    ///
    /// When one more is heard, the node forgets the replica that has been down for longest, with its
    /// entries, as after [`forget_after`](Self::forget_after). Replicas that are up are never given up:
    /// if all are, the new one is refused ([`PeerLimit`](super::Event::PeerLimit)).
    #[must_use]
    pub fn peers_max(mut self, peers_max: usize) -> Self {
        self.peers_max = peers_max;
        self
    }

    /// Sets the bytes of incomplete long answers that are kept for partitions of which something is
    /// held already; beyond it what is held is dropped and loaded again. Default 256 MiB.
    #[must_use]
    pub fn staging_bytes_max(mut self, staging_bytes_max: usize) -> Self {
        self.staging_bytes_max = staging_bytes_max;
        self
    }

    /// Sets the bytes that long answers take while their askers draw them, unless a single one takes
    /// more. Default 256 MiB.
    ///
    /// A whole partition takes 4 bytes an entry, and what is written in it meanwhile: its parts are
    /// encoded one by one, and askers share it. A change of what an asker holds is kept encoded.
    #[must_use]
    pub fn reply_bytes_max(mut self, reply_bytes_max: usize) -> Self {
        self.reply_bytes_max = reply_bytes_max;
        self
    }

    /// Sets the longest time after which an unanswered question is repeated. Default 2 s.
    ///
    /// The first repetition comes after 250 ms, and the time doubles from there on.
    #[must_use]
    pub fn pull_timeout(mut self, pull_timeout: Duration) -> Self {
        self.pull_timeout = pull_timeout;
        self
    }

    /// Sets the time after which a partition without own entries is vacated. Default 60 s.
    #[must_use]
    pub fn vacate_after(mut self, vacate_after: Duration) -> Self {
        self.vacate_after = vacate_after;
        self
    }

    /// Sets the time after two heartbeats for which a node waits for replicas that it does not catch
    /// up with, before it says so with [`Ready`](super::Event::Ready). Default 5 s.
    #[must_use]
    pub fn ready_after(mut self, ready_after: Duration) -> Self {
        self.ready_after = ready_after;
        self
    }
}

/// The reason why a [`Config`] is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A replica would be dropped before it is hidden.
    ForgetTooSoon {
        /// The silence after which a replica is dropped.
        forget_after: Duration,
        /// The silence after which a replica is hidden: at least two heartbeats.
        down_after: Duration,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForgetTooSoon {
                forget_after,
                down_after,
            } => write!(
                f,
                "forget_after is {forget_after:?}, it must be above down_after, which is {down_after:?}"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

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
    pub(super) unwatch: u64,
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
        // A replica that beats in time is never down.
        let down = micros(config.down_after).max(2 * beat);
        Self {
            beat,
            down,
            forget: micros(config.forget_after).max(down),
            push: micros(config.push_after),
            retry: micros(config.pull_retry),
            pull: micros(config.pull_timeout),
            vacate: micros(config.vacate_after),
            ready: micros(config.ready_after),
            unwatch: micros(config.unwatch_after),
            grace: if config.grace.is_zero() {
                0
            } else {
                micros(config.grace)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_hidden_before_it_is_dropped() {
        let seconds = Duration::from_secs;
        let times = |heartbeat, down, forget| {
            Config::default()
                .heartbeat(seconds(heartbeat))
                .down_after(seconds(down))
                .forget_after(seconds(forget))
        };
        assert_eq!(Config::default().check(), Ok(()));
        assert_eq!(times(1, 5, 6).check(), Ok(()));
        for (config, down) in [
            (times(1, 5, 5), 5),
            (times(1, 5, 2), 5),
            (times(4, 5, 7), 8),
        ] {
            let refused = config.check();
            let forget_after = config.forget_after;
            let down_after = seconds(down);
            let too_soon = ConfigError::ForgetTooSoon {
                forget_after,
                down_after,
            };
            assert_eq!(refused, Err(too_soon));
            let timing = Timing::new(&config);
            assert_eq!(
                (timing.down, timing.forget),
                (down * 1_000_000, down * 1_000_000)
            );
        }
    }
}
