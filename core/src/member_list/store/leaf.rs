//! Sorted runs of member slots with short discriminators.
//!
//! The keys of a run begin with the same bytes, as they are neighbours in the order. The run notes
//! how many (`common`) and the first 16 of them (`head`); its first key has the others. What
//! follows in each key, as a number, is scaled to 16 bits over the range that occurs in the run:
//! its tag. Tags never contradict the order of the keys, so a search compares the head once,
//! counts smaller tags in one vectorised pass and looks at keys in the member table only where
//! tags are equal. This is head truncation with "poor man's normalised keys" (Graefe and Larson,
//! B-tree indexes and CPU caches, 2001); the scaling, and six bits instead of eight for a
//! character of text, make two bytes tell nearly as much as the next three bytes of a name would.

use std::cmp::Ordering;
use std::ops::Range;

use arrayvec::ArrayVec;

use crate::member_list::store::key_bytes::{
    CODE_BITS, CODED, HEAD, codes, head, is_text, mask, number, rest, shared,
};
use crate::member_list::store::key_table::{KeyCell, KeyColumn};

/// Slots in a run, at most.
pub(crate) const SLOTS: usize = 128;
/// The tag of unused places: never counted as smaller.
const UNUSED: i16 = i16::MAX;

/// A sorted run of slots. Tags and slots both lie beside the fields that tell how to read them: a
/// search of either reads neighbouring cache lines.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct LeafSlots {
    tags: [i16; SLOTS],
    /// The first bytes that all keys of the run have in common, the others zero.
    head: [u64; 2],
    /// A key whose number is `base + (t << shift)` has the tag `t`, were tags unsigned. The base is
    /// a multiple of `1 << shift`.
    base: u64,
    shift: u8,
    /// Codes of text that numbers have above their last `shift` bits, of which tags show nothing.
    coded: u8,
    /// True if numbers are made of codes of text rather than of bare bytes.
    text: bool,
    /// True if the scale was fitted to the keys since the run last lost some at an end: it cannot
    /// do better, however crowded.
    tight: bool,
    len: u8,
    /// Bytes that all keys of the run begin with.
    common: u8,
    slots: [u32; SLOTS],
}

/// A key to look for, in the forms in which runs compare it.
#[derive(Debug)]
pub(crate) struct Needle<'a> {
    key: &'a [u8],
    head: u128,
}

impl<'a> Needle<'a> {
    /// The forms of a key.
    #[inline]
    pub(crate) fn new(key: &'a [u8]) -> Self {
        Self {
            key,
            head: head(key),
        }
    }

    /// The key itself.
    pub(crate) fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The first 16 bytes of the key as a number.
    pub(crate) fn head(&self) -> u128 {
        self.head
    }

    /// As [`rest`].
    #[inline]
    fn rest(&self, common: usize) -> u128 {
        if self.key.len() <= HEAD && common < HEAD {
            return self.head << (8 * common);
        }
        rest(self.key, common)
    }
}

impl LeafSlots {
    pub(crate) const EMPTY: Self = Self {
        head: [0; 2],
        base: 0,
        shift: 0,
        coded: CODED as u8,
        text: false,
        tight: false,
        len: 0,
        common: 0,
        tags: [UNUSED; SLOTS],
        slots: [0; SLOTS],
    };

    /// Returns the first and the last slot.
    #[inline]
    fn ends(&self) -> Option<(u32, u32)> {
        Some((*self.slots().first()?, *self.slots().last()?))
    }

    /// The slots in order.
    #[inline]
    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots[..usize::from(self.len)]
    }

    /// The place of a slot, looked for eight at a time.
    #[inline]
    pub(crate) fn find(&self, slot: u32) -> Option<usize> {
        let mut eights = self.slots().chunks(8);
        let found = eights.position(|some| some.iter().fold(false, |hit, &x| hit | (x == slot)))?;
        let at = self.slots()[found * 8..].iter().position(|&x| x == slot);
        at.map(|at| found * 8 + at)
    }

    /// Reads all slots, ahead of [`find`](Self::find). Returns a number made of them.
    #[inline]
    pub(crate) fn touch(&self) -> u32 {
        // A cache line has sixteen.
        let lines = self.slots.iter().step_by(16);
        lines.fold(0, |sum, slot| sum ^ slot)
    }

    /// Puts the slot to which a member moved in place of the old one. The key is the same.
    pub(crate) fn replace(&mut self, at: usize, slot: u32) {
        self.slots[at] = slot;
    }

    /// The places where a key could be; all before are smaller, all after greater.
    #[inline]
    pub(crate) fn narrow(&self, keys: &impl KeyColumn, needle: &Needle<'_>) -> Range<usize> {
        let len = usize::from(self.len);
        let common = usize::from(self.common);
        match self.compare_head(keys, needle) {
            Ordering::Less => return 0..0,
            Ordering::Greater => return len..len,
            Ordering::Equal => {}
        }
        let tag = self.tag(needle.rest(common));
        let less: i16 = self.tags.iter().map(|&other| i16::from(other < tag)).sum();
        let less = (less as usize).min(len);
        if less == len || self.tags[less] != tag {
            return less..less;
        }
        let more: i16 = self.tags.iter().map(|&other| i16::from(other > tag)).sum();
        less..(SLOTS - more as usize).min(len)
    }

    pub(crate) fn insert(&mut self, keys: &impl KeyColumn, at: usize, slot: u32) {
        let len = usize::from(self.len);
        let key = keys.key(slot);
        if at == 0 || at == len {
            self.cover(keys, key);
        }
        let tag = self.tag(rest(key, usize::from(self.common)));
        // Two equal tags beside this one: it is time to look whether the scale can do better.
        let crowded =
            at >= 2 && self.tags[at - 2] == tag || at + 1 < len && self.tags[at + 1] == tag;
        self.slots.copy_within(at..len, at + 1);
        self.tags.copy_within(at..len, at + 1);
        self.slots[at] = slot;
        self.tags[at] = tag;
        self.len += 1;
        if crowded && !self.tight {
            self.tighten(keys);
        }
    }

    pub(crate) fn set(&mut self, keys: &impl KeyColumn, at: usize, slot: u32) {
        if at == 0 || at + 1 == usize::from(self.len) {
            self.cover(keys, keys.key(slot));
        }
        self.slots[at] = slot;
        let rest = rest(keys.key(slot), usize::from(self.common));
        self.tags[at] = self.tag(rest);
    }

    pub(crate) fn remove(&mut self, at: usize) -> u32 {
        let len = usize::from(self.len);
        let slot = self.slots[at];
        self.slots.copy_within(at + 1..len, at);
        self.tags.copy_within(at + 1..len, at);
        self.tags[len - 1] = UNUSED;
        self.len -= 1;
        self.tight &= at > 0 && at + 1 < len;
        slot
    }

    /// Cuts the run at a place and returns the tail. The scale stays.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        self.tight = false;
        let len = usize::from(self.len);
        let mut tail = self.clone();
        tail.len = (len - at) as u8;
        tail.slots.copy_within(at..len, 0);
        tail.tags.copy_within(at..len, 0);
        tail.tags[len - at..].fill(UNUSED);
        self.tags[at..].fill(UNUSED);
        self.len = at as u8;
        tail
    }

    /// Adds a run that sorts after this one; there is room. The larger one's scale stays if the
    /// keys of the smaller one fit it.
    pub(crate) fn append(&mut self, keys: &impl KeyColumn, tail: &Self) {
        let len = usize::from(self.len);
        let more = usize::from(tail.len);
        self.slots[len..len + more].copy_from_slice(tail.slots());
        self.tags[len..len + more].copy_from_slice(&tail.tags[..more]);
        self.len += tail.len;
        self.tight = false;
        let Some((first, last)) = self.ends() else {
            return;
        };
        if len > 0 && more > 0 && self.has_scale_of(tail, keys) {
            return;
        }
        if len >= more && self.fits(keys, keys.key(last)) {
            self.retag(keys, len..len + more);
        } else if more > len && tail.fits(keys, keys.key(first)) {
            (self.head, self.common) = (tail.head, tail.common);
            (self.base, self.shift) = (tail.base, tail.shift);
            (self.text, self.coded) = (tail.text, tail.coded);
            self.retag(keys, 0..len);
        } else {
            self.scale(keys);
        }
    }

    /// Fills an empty run with sorted slots.
    pub(crate) fn fill(&mut self, keys: &impl KeyColumn, slots: impl Iterator<Item = u32>) {
        for (place, slot) in self.slots.iter_mut().zip(slots) {
            *place = slot;
            self.len += 1;
        }
        self.scale(keys);
    }

    /// Compares the beginning of a key with that of the run.
    #[inline]
    fn compare_head(&self, keys: &impl KeyColumn, needle: &Needle<'_>) -> Ordering {
        let common = usize::from(self.common);
        let mine = u128::from(self.head[0]) << 64 | u128::from(self.head[1]);
        let order = (needle.head & mask(common)).cmp(&mine);
        if common <= HEAD || order.is_ne() {
            return order;
        }
        let prefix = &keys.key(self.slots[0])[..common];
        needle.key[..common.min(needle.key.len())].cmp(prefix)
    }

    /// Makes room in the scale for one more key, at an end of the run.
    fn cover(&mut self, keys: &impl KeyColumn, key: &[u8]) {
        let Some((first, last)) = self.ends() else {
            self.text = false;
            return self.rescale(key, key.len(), 0, 0);
        };
        if self.fits(keys, key) {
            return;
        }
        // Room on both sides, so that a growing run is not scaled again for every key.
        let first = keys.key(first);
        let last = keys.key(last);
        let low = first.min(key);
        let high = last.max(key);
        let common = shared(low, high);
        self.text = is_text(low, common) && is_text(high, common);
        self.tight = false;
        let low = number(self.text, rest(low, common));
        let high = number(self.text, rest(high, common));
        let room = (high - low) / 2;
        self.rescale(
            key,
            common,
            low.saturating_sub(room),
            high.saturating_add(room),
        );
        self.retag(keys, 0..usize::from(self.len));
    }

    /// Returns whether a key has the common beginning and lies on the scale.
    fn fits(&self, keys: &impl KeyColumn, key: &[u8]) -> bool {
        let common = usize::from(self.common);
        let number = number(self.text, rest(key, common));
        number >= self.base
            && (number - self.base) >> self.shift <= u64::from(u16::MAX)
            && self.begins(keys, key)
    }

    /// Returns whether a key has the common beginning: all of it, where `head` keeps 16 bytes.
    fn begins(&self, keys: &impl KeyColumn, key: &[u8]) -> bool {
        let common = usize::from(self.common);
        shared(keys.key(self.slots[0]), key) >= common
    }

    /// Returns whether tags of another run mean the same in this one. Neither is empty.
    fn has_scale_of(&self, other: &Self, keys: &impl KeyColumn) -> bool {
        let scale = |run: &Self| (run.head, run.common, run.base, run.shift, run.text);
        scale(self) == scale(other)
            && (usize::from(self.common) <= HEAD || self.begins(keys, keys.key(other.slots[0])))
    }

    /// Fits the scale to the first and the last key, if that makes tags tell more.
    #[cold]
    fn tighten(&mut self, keys: &impl KeyColumn) {
        let Some((first, last)) = self.ends() else {
            return;
        };
        let first = keys.key(first);
        let last = keys.key(last);
        let common = shared(first, last);
        // One more common byte is worth about six bits of tag; a smaller range is worth the bits it
        // saves.
        self.tight = true;
        let number = |key| number(self.text, rest(key, common));
        let range = number(last) - number(first);
        let gain = (common - usize::from(self.common)) * CODE_BITS + usize::from(self.shift);
        if gain > usize::from(shift(range)) + 1 {
            self.scale(keys);
        }
    }

    /// Fits the scale to the first and the last key.
    fn scale(&mut self, keys: &impl KeyColumn) {
        let Some((first, last)) = self.ends() else {
            return;
        };
        let first = keys.key(first);
        let last = keys.key(last);
        let common = shared(first, last);
        self.text = is_text(first, common) && is_text(last, common);
        self.tight = true;
        let number = |key| number(self.text, rest(key, common));
        let low = number(first);
        let high = number(last);
        self.rescale(first, common, low, high);
        self.retag(keys, 0..usize::from(self.len));
    }

    /// Checks that the keys ascend, and that beginning, scale and tags fit them. O(length).
    ///
    /// # Panics
    ///
    /// Panics if they do not.
    pub(crate) fn check(&self, keys: &impl KeyColumn) {
        let common = usize::from(self.common);
        let len = self.slots().len();
        // What the first and the last key share, those between them share too.
        for &slot in self.slots().first().iter().chain(&self.slots().last()) {
            let key = keys.key(*slot);
            assert!(self.begins(keys, key), "common beginning of a run");
            assert!(self.fits(keys, key), "a key beyond the scale");
            let head = head(key) & mask(common);
            assert_eq!(self.head, [(head >> 64) as u64, head as u64], "head");
        }
        for (&slot, &tag) in self.slots().iter().zip(&self.tags) {
            let rest = keys.rest(&keys.cell(slot), common);
            assert_eq!(tag, self.tag(rest), "tag of a key");
        }
        assert!(self.tags[..len].is_sorted(), "tags against the order");
        let unused = self.tags[len..].iter().all(|&tag| tag == UNUSED);
        assert!(unused, "tags of nobody");
    }

    fn rescale(&mut self, key: &[u8], common: usize, low: u64, high: u64) {
        let head = head(key) & mask(common);
        self.head = [(head >> 64) as u64, head as u64];
        self.common = common as u8;
        self.shift = shift(high - low);
        self.base = low >> self.shift << self.shift;
        if (high - self.base) >> self.shift > u64::from(u16::MAX) {
            self.shift += 1;
            self.base = low >> self.shift << self.shift;
        }
        let coded = (u64::BITS as usize - 1 - usize::from(self.shift)) / CODE_BITS + 1;
        self.coded = coded.min(CODED) as u8;
    }

    fn retag(&mut self, keys: &impl KeyColumn, range: Range<usize>) {
        // The keys come from all over the memory: a short loop fetches many of them at once.
        let cells = self.slots[range.clone()].iter();
        let cells: ArrayVec<KeyCell, SLOTS> = cells.map(|&slot| keys.cell(slot)).collect();
        let common = usize::from(self.common);
        for (at, cell) in range.zip(&cells) {
            self.tags[at] = self.tag(keys.rest(cell, common));
        }
    }

    /// The tag of a key that shares the common beginning, by the [`rest`] of it; keys beyond the
    /// scale get its ends. Tags are signed because that is what vector units compare.
    #[inline]
    fn tag(&self, rest: u128) -> i16 {
        let number = if self.text {
            codes(rest, usize::from(self.coded))
        } else {
            number(false, rest)
        };
        let above = number.saturating_sub(self.base) >> self.shift;
        (above.min(u64::from(u16::MAX)) as u16 ^ 0x8000) as i16
    }
}

/// Returns how far a range of numbers must be shifted to fit into 16 bits.
fn shift(range: u64) -> u8 {
    (u64::BITS - range.leading_zeros()).saturating_sub(u16::BITS) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member_list::store::key_table::Keys;

    /// Slots of keys that share all but the last byte of a beginning of 20 bytes, and a letter.
    fn two_beginnings() -> (Keys, LeafSlots, LeafSlots) {
        let mut keys = Keys::default();
        let mut runs = [LeafSlots::EMPTY, LeafSlots::EMPTY];
        for (run, half) in runs.iter_mut().zip([b'A', b'B']) {
            let start = 24 * u32::from(half - b'A');
            for letter in b'b'..b'z' {
                keys.push(&[&b"0123456789abcdef012"[..], &[half, letter]].concat());
            }
            run.fill(&keys, start..start + 24);
        }
        let [first, second] = runs;
        (keys, first, second)
    }

    #[test]
    fn appended_keys_of_another_long_beginning_get_new_tags() {
        let (keys, mut run, tail) = two_beginnings();
        assert_eq!(
            (run.head, run.tags[..24] == tail.tags[..24]),
            (tail.head, true)
        );
        run.append(&keys, &tail);
        run.check(&keys);
        assert_eq!((run.len, run.common), (48, 19));
    }

    #[test]
    #[should_panic(expected = "common beginning of a run")]
    fn the_check_sees_tags_of_another_long_beginning() {
        let (keys, mut run, tail) = two_beginnings();
        run.slots[24..48].copy_from_slice(tail.slots());
        run.tags[24..48].copy_from_slice(&tail.tags[..24]);
        run.len = 48;
        run.check(&keys);
    }
}
