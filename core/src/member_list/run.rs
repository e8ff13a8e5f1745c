//! Sorted runs of member slots with short discriminators.
//!
//! The keys of a run begin with the same bytes, as they are neighbours in the order. The run
//! notes how many (`common`) and which (`head`), and for each slot the two bytes that follow
//! (`tags`). A search compares the head once, counts smaller tags in one vectorised pass and looks
//! at keys in the member table only where tags are equal: head truncation and "poor man's
//! normalised keys" (Graefe and Larson, B-tree indexes and CPU caches, 2001).

use std::cmp::Ordering;
use std::ops::Range;

use super::keys::Keys;
use super::tree::{FAN, find_id};

/// Bytes of the common beginning that a run keeps itself.
const HEAD: usize = 14;
/// The tag of unused places: never counted as smaller.
const UNUSED: u16 = u16::MAX;

/// A sorted run of slots.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    len: u8,
    /// Bytes that all keys of the run begin with.
    common: u8,
    /// The first of those bytes.
    head: [u8; HEAD],
    tags: [u16; FAN],
    slots: [u32; FAN],
}

impl Run {
    pub(crate) const EMPTY: Self = Self {
        len: 0,
        common: 0,
        head: [0; HEAD],
        tags: [UNUSED; FAN],
        slots: [0; FAN],
    };

    /// The slots in order.
    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots[..usize::from(self.len)]
    }

    /// The place of a slot.
    pub(crate) fn find(&self, slot: u32) -> Option<usize> {
        find_id(self.slots(), slot)
    }

    /// Gives the member at a place another slot.
    pub(crate) fn rename(&mut self, at: usize, slot: u32) {
        self.slots[at] = slot;
    }

    /// The places where a key could be; all before are smaller, all after greater.
    pub(crate) fn narrow(&self, keys: &Keys, key: &[u8]) -> Range<usize> {
        let len = usize::from(self.len);
        let common = usize::from(self.common);
        let start = &key[..common.min(key.len())];
        match start.cmp(self.prefix(keys)) {
            Ordering::Less => return 0..0,
            Ordering::Greater => return len..len,
            Ordering::Equal => {}
        }
        let tag = tag(key, common);
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
        self.tags[at] = tag(keys.key(slot), usize::from(self.common));
        self.len += 1;
    }

    pub(crate) fn set(&mut self, keys: &Keys, at: usize, slot: u32) {
        if at == 0 || at + 1 == usize::from(self.len) {
            self.cover(keys, keys.key(slot));
        }
        self.slots[at] = slot;
        self.tags[at] = tag(keys.key(slot), usize::from(self.common));
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
            common: self.common,
            head: self.head,
            ..Self::EMPTY
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
    pub(crate) fn append(&mut self, keys: &Keys, mut tail: Self) {
        let (Some(&first), Some(&last)) = (self.slots().first(), tail.slots().last()) else {
            if self.len == 0 {
                *self = tail;
            }
            return;
        };
        let shared = shared(keys.key(first), keys.key(last));
        let common = shared
            .min(usize::from(self.common))
            .min(usize::from(tail.common));
        self.cut_to(keys, common);
        tail.cut_to(keys, common);
        let (len, more) = (usize::from(self.len), usize::from(tail.len));
        self.slots[len..len + more].copy_from_slice(tail.slots());
        self.tags[len..len + more].copy_from_slice(&tail.tags[..more]);
        self.len += tail.len;
    }

    /// Fills an empty run with sorted slots.
    pub(crate) fn fill(&mut self, keys: &Keys, slots: impl Iterator<Item = u32>) {
        for (place, slot) in self.slots.iter_mut().zip(slots) {
            *place = slot;
            self.len += 1;
        }
        self.tighten(keys);
        self.retag(keys);
    }

    /// The bytes all keys of the run begin with.
    fn prefix<'a>(&'a self, keys: &'a Keys) -> &'a [u8] {
        let common = usize::from(self.common);
        if common <= HEAD {
            &self.head[..common]
        } else {
            &keys.key(self.slots[0])[..common]
        }
    }

    /// Shortens the common beginning so that it is that of one more key at an end of the run.
    fn cover(&mut self, keys: &Keys, key: &[u8]) {
        if self.len == 0 {
            return self.begin(key, key.len());
        }
        let common = shared(self.prefix(keys), key);
        self.cut_to(keys, common);
    }

    /// Shortens the common beginning.
    fn cut_to(&mut self, keys: &Keys, common: usize) {
        if common < usize::from(self.common) {
            self.common = common as u8;
            self.retag(keys);
        }
    }

    /// Lengthens the common beginning if the first and the last key allow it.
    fn tighten(&mut self, keys: &Keys) {
        let (Some(&first), Some(&last)) = (self.slots().first(), self.slots().last()) else {
            return;
        };
        let common = shared(keys.key(first), keys.key(last));
        if common > usize::from(self.common) {
            self.begin(keys.key(first), common);
            self.retag(keys);
        }
    }

    fn begin(&mut self, key: &[u8], common: usize) {
        self.common = common as u8;
        let kept = common.min(HEAD);
        self.head[..kept].copy_from_slice(&key[..kept]);
    }

    fn retag(&mut self, keys: &Keys) {
        let common = usize::from(self.common);
        for at in 0..usize::from(self.len) {
            self.tags[at] = tag(keys.key(self.slots[at]), common);
        }
    }
}

/// The two bytes of a key after its first `common` ones.
fn tag(key: &[u8], common: usize) -> u16 {
    let byte = |at: usize| key.get(at).copied().unwrap_or(0);
    u16::from_be_bytes([byte(common), byte(common + 1)])
}

/// Bytes in which two keys agree from the beginning.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
