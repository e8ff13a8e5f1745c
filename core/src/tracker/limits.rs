//! The bounds of a tracker.

use std::sync::Arc;

/// The longest key, in bytes, that the data layout can hold.
pub(super) const KEY_LAYOUT_MAX: usize = 65_535;
/// The longest owner, in bytes, that the data layout can hold.
pub(super) const OWNER_LAYOUT_MAX: usize = 255;
/// The largest meta, in bytes, that the data layout can hold.
pub(super) const META_LAYOUT_MAX: usize = 16 << 20;

/// The most origins that the data layout can tell apart.
const ORIGINS_LAYOUT_MAX: u16 = 65_534;

/// The bounds on what a tracker takes, from local calls and from frames. Every bound has a typed
/// error.
///
/// All replicas of a cluster should use the same limits: a frame that breaks the receiver's is
/// refused whole. A tracker cuts values out of range down to what its data layout can hold.
///
/// ```
/// use headcount::Tracker;
/// use headcount::id::ReplicaId;
/// use headcount::tracker::Limits;
///
/// let limits = Limits::default().meta_len_max(4 * 1024).entries_max(100_000);
/// let tracker = Tracker::with_limits(ReplicaId::new("a", 1, 0)?, limits);
/// assert_eq!(tracker.limits().get_meta_len_max(), 4 * 1024);
/// # Ok::<(), headcount::id::IdError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub(super) topic_len_max: usize,
    pub(super) key_len_max: usize,
    pub(super) owner_len_max: usize,
    pub(super) meta_len_max: usize,
    pub(super) owner_entries_max: u32,
    pub(super) entries_max: u32,
    pub(super) origins_max: u16,
    pub(super) leave_log_len_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            topic_len_max: 256,
            key_len_max: 256,
            owner_len_max: 64,
            meta_len_max: 16 * 1024,
            owner_entries_max: 1_000_000,
            entries_max: 1 << 31,
            origins_max: ORIGINS_LAYOUT_MAX,
            leave_log_len_max: 65_536,
        }
    }
}

impl Limits {
    /// Returns the bounds of counts of what these allow: one entry for each topic of an origin.
    pub(crate) fn of_counts(self) -> Self {
        const COUNT_LEN_MAX: usize = 2 * 5;
        Self {
            key_len_max: 0,
            owner_len_max: 0,
            meta_len_max: COUNT_LEN_MAX,
            owner_entries_max: u32::MAX,
            entries_max: u32::MAX,
            ..self
        }
    }

    /// Sets the longest topic, in bytes. Default 256, at most 65,535.
    #[must_use]
    pub fn topic_len_max(mut self, topic_len_max: usize) -> Self {
        self.topic_len_max = topic_len_max;
        self
    }

    /// Sets the longest key, in bytes. Default 256, at most 65,535.
    #[must_use]
    pub fn key_len_max(mut self, key_len_max: usize) -> Self {
        self.key_len_max = key_len_max;
        self
    }

    /// Sets the longest owner, in bytes. Default 64, at most 255.
    #[must_use]
    pub fn owner_len_max(mut self, owner_len_max: usize) -> Self {
        self.owner_len_max = owner_len_max;
        self
    }

    /// Sets the largest meta, in bytes. Default 16 KiB, at most 16 MiB.
    #[must_use]
    pub fn meta_len_max(mut self, meta_len_max: usize) -> Self {
        self.meta_len_max = meta_len_max;
        self
    }

    /// Sets the most entries of one owner. Default 1,000,000, at most 2^31 - 1.
    #[must_use]
    pub fn owner_entries_max(mut self, owner_entries_max: u32) -> Self {
        self.owner_entries_max = owner_entries_max;
        self
    }

    /// Sets the most entries of one tracker. Default and most 2^31.
    #[must_use]
    pub fn entries_max(mut self, entries_max: u32) -> Self {
        self.entries_max = entries_max;
        self
    }

    /// Sets the most origins known at a time, the tracker's own included. Default and most 65,534, at
    /// least 1. A presence knows no more origins than [`peers_max`](crate::replica::Config::peers_max)
    /// admits, and those that they replace.
    #[must_use]
    pub fn origins_max(mut self, origins_max: u16) -> Self {
        self.origins_max = origins_max;
        self
    }

    /// Sets the most leaves remembered per origin for replicas that missed them. Default 65,536.
    ///
    /// A smaller number never costs correctness: more replicas are sent a `Repair` instead of a
    /// `Delta`.
    #[must_use]
    pub fn leave_log_len_max(mut self, leave_log_len_max: usize) -> Self {
        self.leave_log_len_max = leave_log_len_max;
        self
    }

    /// Returns the longest topic, in bytes.
    #[must_use]
    pub fn get_topic_len_max(&self) -> usize {
        self.topic_len_max
    }

    /// Returns the longest key, in bytes.
    #[must_use]
    pub fn get_key_len_max(&self) -> usize {
        self.key_len_max
    }

    /// Returns the longest owner, in bytes.
    #[must_use]
    pub fn get_owner_len_max(&self) -> usize {
        self.owner_len_max
    }

    /// Returns the largest meta, in bytes.
    #[must_use]
    pub fn get_meta_len_max(&self) -> usize {
        self.meta_len_max
    }

    /// Returns the most entries of one owner.
    #[must_use]
    pub fn get_owner_entries_max(&self) -> u32 {
        self.owner_entries_max
    }

    /// Returns the most entries of one tracker.
    #[must_use]
    pub fn get_entries_max(&self) -> u32 {
        self.entries_max
    }

    /// Returns the most origins known at a time.
    #[must_use]
    pub fn get_origins_max(&self) -> u16 {
        self.origins_max
    }

    /// Returns the most leaves remembered per origin.
    #[must_use]
    pub fn get_leave_log_len_max(&self) -> usize {
        self.leave_log_len_max
    }

    /// Returns the same limits, cut down to what the data layout can hold, for any number of trackers.
    pub(crate) fn shared(self) -> Arc<Self> {
        Arc::new(self.clamped())
    }

    fn clamped(mut self) -> Self {
        self.topic_len_max = self.topic_len_max.min(65_535);
        self.key_len_max = self.key_len_max.min(KEY_LAYOUT_MAX);
        self.owner_len_max = self.owner_len_max.min(OWNER_LAYOUT_MAX);
        self.meta_len_max = self.meta_len_max.min(META_LAYOUT_MAX);
        self.owner_entries_max = self.owner_entries_max.min((1 << 31) - 1);
        self.entries_max = self.entries_max.min(1 << 31);
        self.origins_max = self.origins_max.clamp(1, ORIGINS_LAYOUT_MAX);
        self
    }
}
