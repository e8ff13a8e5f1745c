//! The seeded generator behind jitter, nonces and heartbeat steps.

/// SplitMix64 (Steele, Lea and Flood, 2014): tiny, seedable, good enough for jitter and nonces.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Mixes outside input in, so that two clones of one process drift apart with what they hear.
    pub(crate) fn stir(&mut self, input: u64) {
        self.0 = (self.0 ^ input).wrapping_mul(0xd134_2543_de82_ef95);
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}
