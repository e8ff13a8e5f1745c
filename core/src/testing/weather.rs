//! `Weather`: what befalls frames under way.

/// The conditions of the network.
pub(super) trait Weather {
    /// Returns how many frames of 1000 are lost.
    fn loss(&self) -> u64;

    /// Returns how many frames of 1000 are doubled.
    fn doubled(&self) -> u64;

    /// Returns whether frames overtake each other.
    fn reorders(&self) -> bool;

    /// Returns after how long a frame that was not delivered is lost.
    fn delay_ms(&self) -> u64;

    /// Returns whether frames to all go from one of two nodes to the other.
    fn linked(&self, a: usize, b: usize) -> bool;
}
