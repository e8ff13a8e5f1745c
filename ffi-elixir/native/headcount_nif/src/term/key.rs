//! One member of a sorted set: the encoded term, in place when it is short.

use std::cmp::Ordering;

const INLINE: usize = 31;
const PREFIX: usize = 15;

/// An encoded term. 32 bytes hold most members whole, which saves the allocation and the cache miss of a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Padded with zeroes, which sort before every byte that may follow a whole key.
    Inline([u8; INLINE]),
    /// The first bytes lie beside the pointer, for comparisons that end there.
    Heap([u8; PREFIX], Box<[u8]>),
}

impl Key {
    pub(crate) fn new(encoded: &[u8]) -> Self {
        if encoded.len() > INLINE {
            let mut prefix = [0; PREFIX];
            prefix.copy_from_slice(&encoded[..PREFIX]);
            return Self::Heap(prefix, encoded.into());
        }
        let mut inline = [0; INLINE];
        inline[..encoded.len()].copy_from_slice(encoded);
        Self::Inline(inline)
    }

    /// Returns the encoded term; after a short one zeroes follow.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline(inline) => inline,
            Self::Heap(_, bytes) => bytes,
        }
    }

    /// Bytes on the heap beside the 32 of the key itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline(_) => 0,
            Self::Heap(_, bytes) => bytes.len(),
        }
    }

    fn prefix(&self) -> &[u8] {
        match self {
            Self::Inline(inline) => &inline[..PREFIX],
            Self::Heap(prefix, _) => prefix,
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Self::Inline(a), Self::Inline(b)) = (self, other) {
            return words(a).cmp(&words(b));
        }
        self.prefix()
            .cmp(other.prefix())
            .then_with(|| self.bytes().cmp(other.bytes()))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    /// Compares two keys, which a search does most, without a branch that the processor would have to guess.
    #[inline]
    fn lt(&self, other: &Self) -> bool {
        if let (Self::Inline(a), Self::Inline(b)) = (self, other) {
            let ((a, a_end), (b, b_end)) = (words(a), words(b));
            return (a < b) | ((a == b) & (a_end < b_end));
        }
        self.cmp(other).is_lt()
    }
}

/// Returns the bytes as two numbers that sort as they do. The byte in the middle is in both.
#[inline]
fn words(inline: &[u8; INLINE]) -> (u128, u128) {
    const WORD: usize = size_of::<u128>();
    let (first, _) = inline.split_first_chunk::<WORD>().expect("31 bytes");
    let (_, last) = inline.split_last_chunk::<WORD>().expect("31 bytes");
    (u128::from_be_bytes(*first), u128::from_be_bytes(*last))
}
