//! `Outbox`: the frames that wait for the transport, bounded by number and by bytes.

use std::collections::VecDeque;

use super::output::Transmit;

/// The most frames that wait.
const FRAMES_MAX: usize = 8_192;
/// The most bytes of frames that wait, beside one frame: four of the longest.
const BYTES_MAX: usize = 64 << 20;

/// Frames in their order. Beyond a bound new ones are dropped and counted; the protocol mends that
/// as it does a loss.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Transmit>,
    bytes: usize,
    dropped: u64,
}

impl Outbox {
    /// Adds a frame, if there is room.
    pub(super) fn push(&mut self, transmit: Transmit) {
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        self.bytes += transmit.frame.len();
        self.frames.push_back(transmit);
    }

    /// Takes the oldest frame.
    pub(super) fn pop(&mut self) -> Option<Transmit> {
        let transmit = self.frames.pop_front()?;
        self.bytes -= transmit.frame.len();
        Some(transmit)
    }

    /// Returns the number of frames that wait.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Returns the number of frames that were dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns whether half of a bound is reached: what is only worth sending at once is left out.
    pub(super) fn is_busy(&self) -> bool {
        self.frames.len() >= FRAMES_MAX / 2 || self.bytes >= BYTES_MAX / 2
    }

    fn is_full(&self) -> bool {
        self.frames.len() >= FRAMES_MAX || self.bytes >= BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::output::Destination;

    fn transmit(len: usize) -> Transmit {
        Transmit {
            to: Destination::All,
            frame: vec![7; len].into(),
        }
    }

    #[test]
    fn frames_beyond_either_bound_are_dropped_and_counted() {
        let mut outbox = Outbox::default();
        for _ in 0..FRAMES_MAX + 3 {
            outbox.push(transmit(0));
        }
        assert_eq!((outbox.len(), outbox.dropped()), (FRAMES_MAX, 3));
        while outbox.pop().is_some() {}
        let long = BYTES_MAX / 4 - 1;
        for count in 0..7 {
            assert_eq!(outbox.is_busy(), count > 2, "after {count} frames");
            outbox.push(transmit(long));
        }
        assert_eq!((outbox.len(), outbox.dropped()), (5, 5));
        assert!(outbox.pop().is_some());
        outbox.push(transmit(long));
        assert_eq!(
            (outbox.len(), outbox.dropped()),
            (5, 5),
            "there is room again"
        );
        while outbox.pop().is_some() {}
        assert_eq!((outbox.len(), outbox.bytes), (0, 0));
    }
}
