//! `SeenFrames`: the frames of the last seconds, by their hashes.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

/// Frames that were sent or heard within one turn, or two.
#[derive(Debug, Clone)]
pub(super) struct SeenFrames {
    /// The hashes of the newer frames, and of those before.
    hashes: [HashSet<u64>; 2],
    /// The most hashes of either.
    len_max: usize,
    /// The time after which the frames before are forgotten, and when that happens next.
    turn: u64,
    turn_at: u64,
}

impl SeenFrames {
    pub(super) fn new(len_max: usize, turn: u64) -> Self {
        Self {
            hashes: [HashSet::new(), HashSet::new()],
            len_max,
            turn,
            turn_at: 0,
        }
    }

    /// Notes a frame. Returns whether it is new. O(length).
    pub(super) fn note(&mut self, frame: &[u8], now: u64) -> bool {
        if now >= self.turn_at || self.hashes[0].len() >= self.len_max {
            self.turn_at = now + self.turn;
            self.hashes.swap(0, 1);
            self.hashes[0].clear();
        }
        let hash = xxh3_64(frame);
        !self.hashes[1].contains(&hash) && self.hashes[0].insert(hash)
    }

    /// Returns whether a frame was noted lately. O(length).
    pub(super) fn contains(&self, frame: &[u8]) -> bool {
        let hash = xxh3_64(frame);
        self.hashes.iter().any(|hashes| hashes.contains(&hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_new_once_until_two_turns_have_passed() {
        let mut seen = SeenFrames::new(2, 10);
        assert!(seen.note(b"beat", 0) && !seen.note(b"beat", 9));
        assert!(seen.note(b"other", 10) && !seen.note(b"beat", 19));
        assert!(seen.contains(b"beat") && seen.contains(b"other"));
        assert!(seen.note(b"third", 20) && !seen.contains(b"beat"));
        assert!(seen.note(b"beat", 21));
        assert!(seen.note(b"fourth", 22), "there is room for two more");
        assert!(seen.contains(b"third") && !seen.contains(b"other"));
    }
}
