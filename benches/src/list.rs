//! Workloads of the member list benches: rooms, and the changes in them.

/// SplitMix64 (Steele, Lea and Flood 2014): the same run from the same seed, everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Makes a generator that starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws the next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Draws a number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }
}

/// Draws a name of 12 bytes, six syllables, in the form of keys of the list.
pub fn name(rng: &mut Rng) -> [u8; 12] {
    const CONSONANTS: &[u8] = b"bcdfghjklmnprstvwz";
    const VOWELS: &[u8] = b"aeiouy";
    let mut name = [0; 12];
    for pair in name.chunks_mut(2) {
        pair[0] = CONSONANTS[rng.below(CONSONANTS.len())];
        pair[1] = VOWELS[rng.below(VOWELS.len())];
    }
    name
}

/// Returns `n` distinct pairs in random order.
#[must_use]
pub fn pairs(n: usize, seed: u64) -> Vec<(u64, u64)> {
    let mut rng = Rng::new(seed);
    // The second half is unique, and so is the pair.
    (0..n as u64).map(|at| (rng.next_u64(), at)).collect()
}

/// Returns `n` members: id and name, ids without order.
#[must_use]
pub fn members(n: usize, seed: u64) -> Vec<(u64, [u8; 12])> {
    let mut rng = Rng::new(seed);
    // An odd factor permutes the 64-bit numbers: distinct ids without a pattern.
    (0..n as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15), name(&mut rng)))
        .collect()
}

/// Returns `n` members as people name themselves: 32 % of them have a name that others have as well,
/// a few names very many. Ids without order.
#[must_use]
pub fn nicknames(n: usize, seed: u64) -> Vec<(u64, String)> {
    let mut rng = Rng::new(seed);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut nickname = || match rng.below(100) {
        // Common names, the r-th of them as often as 1 / r.
        0..40 => {
            let rank = (rng.below(1 << 20) as f64 / f64::from(1 << 20) * (n as f64).ln()).exp();
            let common = &mut Rng::new(rank as u64);
            text(&name(common)[..4 + 2 * common.below(4)])
        }
        _ => text(&name(&mut rng)),
    };
    (0..n as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15), nickname()))
        .collect()
}
