//! Sorted runs of member slots with short discriminators.
//!
//! The keys of a run begin with the same bytes, as they are neighbours in the order. The run
//! notes how many (`common`) and which (`head`). Of each key the next eight bytes, as a number, are
//! scaled to 16 bits over the range that occurs in the run: its tag. Tags never contradict the
//! order of the keys, so a search compares the head once, counts smaller tags in one vectorised
//! pass and looks at keys in the member table only where tags are equal. This is head truncation
//! with "poor man's normalised keys" (Graefe and Larson, B-tree indexes and CPU caches, 2001); the
//! scaling makes two bytes tell more than the bare next two bytes of a name would.

use std::cmp::Ordering;
use std::ops::Range;

use super::keys::Keys;
use super::tree::{FAN, find_id};

/// Slots in a run, at most.
pub(crate) const SLOTS: usize = FAN;
/// Bytes of the common beginning that a run keeps itself.
const HEAD: usize = 13;
/// The tag of unused places: never counted as smaller.
const UNUSED: u16 = u16::MAX;

/// A sorted run of slots.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// A key whose next bytes, as a number, are `base + (t << shift)` has the tag `t`.
    base: u64,
    shift: u8,
    len: u8,
    /// Bytes that all keys of the run begin with.
    common: u8,
    /// The first of those bytes.
    head: [u8; HEAD],
    tags: [u16; SLOTS],
    slots: [u32; SLOTS],
}

impl Run {
    pub(crate) const EMPTY: Self = Self {
        base: 0,
        shift: 0,
        len: 0,
        common: 0,
        head: [0; HEAD],
        tags: [UNUSED; SLOTS],
        slots: [0; SLOTS],
    };

    /// The slots in order.
    #[inline]
    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots[..usize::from(self.len)]
    }

    /// The place of a slot.
    #[inline]
    pub(crate) fn find(&self, slot: u32) -> Option<usize> {
        find_id(self.slots(), slot)
    }

    /// Gives the member at a place another slot.
    pub(crate) fn rename(&mut self, at: usize, slot: u32) {
        self.slots[at] = slot;
    }

    /// The places where a key could be; all before are smaller, all after greater.
    #[inline]
    pub(crate) fn narrow(&self, keys: &Keys, key: &[u8]) -> Range<usize> {
        let len = usize::from(self.len);
        let common = usize::from(self.common);
        let start = &key[..common.min(key.len())];
        match start.cmp(self.prefix(keys)) {
            Ordering::Less => return 0..0,
            Ordering::Greater => return len..len,
            Ordering::Equal => {}
        }
        let tag = self.tag(key);
        let less: u16 = self.tags.iter().map(|&other| u16::from(other < tag)).sum();
        let upto: u16 = self.tags.iter().map(|&other| u16::from(other <= tag)).sum();
        usize::from(less)..usize::from(upto).min(len)
    }

    pub(crate) fn insert(&mut self, keys: &Keys, at: usize, slot: u32) {
        let len = usize::from(self.len);
        if at == 0 || at == len {
            self.cover(keys, keys.key(slot));
        }
        self.slots.copy_within(at..len, at + 1);
        self.tags.copy_within(at..len, at + 1);
        self.slots[at] = slot;
        self.tags[at] = self.tag(keys.key(slot));
        self.len += 1;
    }

    pub(crate) fn set(&mut self, keys: &Keys, at: usize, slot: u32) {
        if at == 0 || at + 1 == usize::from(self.len) {
            self.cover(keys, keys.key(slot));
        }
        self.slots[at] = slot;
        self.tags[at] = self.tag(keys.key(slot));
    }

    pub(crate) fn remove(&mut self, at: usize) -> u32 {
        let len = usize::from(self.len);
        let slot = self.slots[at];
        self.slots.copy_within(at + 1..len, at);
        self.tags.copy_within(at + 1..len, at);
        self.tags[len - 1] = UNUSED;
        self.len -= 1;
        slot
    }

    /// Cuts the run at a place and returns the tail; both halves may share more than the whole.
    pub(crate) fn split_off(&mut self, keys: &Keys, at: usize) -> Self {
        let len = usize::from(self.len);
        let mut tail = Self {
            len: (len - at) as u8,
            slots: [0; SLOTS],
            tags: [UNUSED; SLOTS],
            ..*self
        };
        tail.slots[..len - at].copy_from_slice(&self.slots[at..len]);
        tail.tags[..len - at].copy_from_slice(&self.tags[at..len]);
        self.tags[at..len].fill(UNUSED);
        self.len = at as u8;
        self.tighten(keys);
        tail.tighten(keys);
        tail
    }

    /// Adds a run that sorts after this one; there is room.
    pub(crate) fn append(&mut self, keys: &Keys, tail: &Self) {
        let (len, more) = (usize::from(self.len), usize::from(tail.len));
        self.slots[len..len + more].copy_from_slice(tail.slots());
        self.len += tail.len;
        self.scale(keys);
    }

    /// Fills an empty run with sorted slots.
    pub(crate) fn fill(&mut self, keys: &Keys, slots: impl Iterator<Item = u32>) {
        for (place, slot) in self.slots.iter_mut().zip(slots) {
            *place = slot;
            self.len += 1;
        }
        self.scale(keys);
    }

    /// The bytes all keys of the run begin with.
    #[inline]
    fn prefix<'a>(&'a self, keys: &'a Keys) -> &'a [u8] {
        let common = usize::from(self.common);
        if common <= HEAD {
            &self.head[..common]
        } else {
            &keys.key(self.slots[0])[..common]
        }
    }

    /// Makes room in the scale for one more key, at an end of the run.
    fn cover(&mut self, keys: &Keys, key: &[u8]) {
        let (Some(&first), Some(&last)) = (self.slots().first(), self.slots().last()) else {
            return self.rescale(key, key.len(), 0, 0);
        };
        let common = shared(self.prefix(keys), key);
        let number = number(key, common);
        let fits = number >= self.base && (number - self.base) >> self.shift <= u64::from(UNUSED);
        if common == usize::from(self.common) && fits {
            return;
        }
        // Room on both sides, so that a growing run is not scaled anew for every key.
        let low = number.min(self::number(keys.key(first), common));
        let high = number.max(self::number(keys.key(last), common));
        let room = (high - low) / 2;
        self.rescale(
            key,
            common,
            low.saturating_sub(room),
            high.saturating_add(room),
        );
        self.retag(keys);
    }

    /// Fits the scale to the first and the last key, if that makes tags tell much more.
    fn tighten(&mut self, keys: &Keys) {
        let (Some(&first), Some(&last)) = (self.slots().first(), self.slots().last()) else {
            return;
        };
        let (first, last) = (keys.key(first), keys.key(last));
        let common = shared(first, last);
        let (low, high) = (number(first, common), number(last, common));
        let gain = (common - usize::from(self.common)) * 8 + usize::from(self.shift);
        if gain > usize::from(shift(high - low)) + 3 {
            self.scale(keys);
        }
    }

    /// Fits the scale to the first and the last key.
    fn scale(&mut self, keys: &Keys) {
        let (Some(&first), Some(&last)) = (self.slots().first(), self.slots().last()) else {
            return;
        };
        let (first, last) = (keys.key(first), keys.key(last));
        let common = shared(first, last);
        self.rescale(first, common, number(first, common), number(last, common));
        self.retag(keys);
    }

    fn rescale(&mut self, key: &[u8], common: usize, low: u64, high: u64) {
        self.common = common as u8;
        let kept = common.min(HEAD);
        self.head[..kept].copy_from_slice(&key[..kept]);
        self.base = low;
        self.shift = shift(high - low);
    }

    fn retag(&mut self, keys: &Keys) {
        for at in 0..usize::from(self.len) {
            self.tags[at] = self.tag(keys.key(self.slots[at]));
        }
    }

    /// The tag of a key that shares the common beginning; keys beyond the scale get its ends.
    #[inline]
    fn tag(&self, key: &[u8]) -> u16 {
        let above = number(key, usize::from(self.common)).saturating_sub(self.base);
        (above >> self.shift).min(u64::from(UNUSED)) as u16
    }
}

/// How far a range of numbers must be shifted to fit into 16 bits.
fn shift(range: u64) -> u8 {
    (u64::BITS - range.leading_zeros()).saturating_sub(u16::BITS) as u8
}

/// The eight bytes of a key after its first `common` ones, as a number.
#[inline]
fn number(key: &[u8], common: usize) -> u64 {
    let rest = key.get(common..).unwrap_or(&[]);
    match rest.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => rest
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum >> 8 | u64::from(byte) << 56),
    }
}

/// Bytes in which two keys agree from the beginning.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
