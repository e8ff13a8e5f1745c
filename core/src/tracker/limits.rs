//! Bounds of a tracker.

/// Bounds on what a tracker takes, locally and from frames. Every bound has a typed error.
///
/// All replicas of a cluster should use the same limits: a frame that breaks the receiver's is
/// refused whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest topic in bytes. Default 256, at most 65,535.
    pub topic_len_max: usize,
    /// Longest key in bytes. Default 256, at most 65,535.
    pub key_len_max: usize,
    /// Longest owner in bytes. Default 64, at most 255.
    pub owner_len_max: usize,
    /// Largest meta in bytes. Default 16 KiB, at most 16 MiB.
    pub meta_len_max: usize,
    /// Most entries of one owner. Default 1,000,000, at most 2^31 - 1.
    pub owner_entries_max: u32,
    /// Most entries of one tracker. Default 2^31.
    pub entries_max: u32,
    /// Most origins known at a time, the local one included. Default 1,025, at most 65,534.
    pub origins_max: u16,
    /// Most leaves remembered per origin for replicas that missed them. Default 65,536. A smaller
    /// number never costs correctness, it turns a `Delta` into a `Repair`.
    pub leave_log_len_max: usize,
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
            origins_max: 1_025,
            leave_log_len_max: 65_536,
        }
    }
}

impl Limits {
    /// The same limits, cut down to what the data layout can hold.
    pub(super) fn clamped(mut self) -> Self {
        self.topic_len_max = self.topic_len_max.min(65_535);
        self.key_len_max = self.key_len_max.min(65_535);
        self.owner_len_max = self.owner_len_max.min(255);
        self.meta_len_max = self.meta_len_max.min(16 << 20);
        self.owner_entries_max = self.owner_entries_max.min((1 << 31) - 1);
        self.entries_max = self.entries_max.min(1 << 31);
        self.origins_max = self.origins_max.clamp(1, 65_534);
        self
    }
}
