//! `Prefix`: the beginning of an item as two words, by which nearly all comparisons are decided without a look at the
//! objects of Python.

use std::cmp::Ordering;

use num_traits::ToPrimitive;

use crate::item::{Item, Number};

/// The last byte of a prefix behind which items may differ.
const OPEN: u8 = 15;
/// The bytes of an item that stand in a prefix, its tag among them.
const LEN: usize = 15;
/// The bytes of a text that stand in a prefix.
const TEXT_LEN: usize = LEN - 1;
/// The bytes of a number.
const NUMBER_LEN: usize = 10;
/// The tag of texts.
const TEXT: u8 = 3;
/// The tag of items by a key: behind equal keys the values themselves decide.
const BY_KEY: u8 = 15;
/// Numbers from here on do not fit in 64 bits.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// The beginning of an item: 15 bytes of what it is, a tag for its type first, and a byte that is [`OPEN`] unless they
/// are all. Prefixes are ordered as their items are, and those of equal items are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix([u64; 2]);

impl Prefix {
    /// Makes the prefix of an item.
    pub(crate) fn of(item: &Item) -> Self {
        match item {
            // Nothing follows a text, so that its length can tell where it ends.
            Item::Text(text) => Self::of_text(text.as_bytes()),
            _ => Self::of_items(&[], &[item]),
        }
    }

    /// Makes the prefix of a value by its key.
    pub(crate) fn of_keyed(key: &Item, item: &Item) -> Self {
        Self::of_items(&[BY_KEY], &[key, item])
    }

    /// Compares items by their prefixes; `None` if these do not decide.
    pub(crate) fn decide(self, other: Self) -> Option<Ordering> {
        match self.cmp(&other) {
            Ordering::Equal if self.0[1] as u8 == OPEN => None,
            order => Some(order),
        }
    }

    fn of_text(text: &[u8]) -> Self {
        let mut bytes = [0; LEN + 1];
        let len = text.len().min(TEXT_LEN);
        bytes[0] = TEXT;
        bytes[1..=len].copy_from_slice(&text[..len]);
        bytes[LEN] = text.len().min(OPEN.into()) as u8;
        Self::from_bytes(bytes)
    }

    fn of_items(head: &[u8], items: &[&Item]) -> Self {
        let mut writer = Writer::default();
        let is_whole = writer.bytes(head) && items.iter().all(|item| writer.item(item));
        writer.bytes[LEN] = if is_whole { 0 } else { OPEN };
        Self::from_bytes(writer.bytes)
    }

    fn from_bytes(bytes: [u8; LEN + 1]) -> Self {
        let bytes = u128::from_be_bytes(bytes);
        Self([(bytes >> 64) as u64, bytes as u64])
    }
}

/// Writes items one after the other, as bytes that are ordered as the items are. None is the beginning of another one,
/// so what follows them decides only behind equal ones. All methods return whether there was room for everything.
#[derive(Default)]
struct Writer {
    bytes: [u8; LEN + 1],
    len: usize,
}

impl Writer {
    fn item(&mut self, item: &Item) -> bool {
        match item {
            Item::Least => self.bytes(&[0]),
            Item::Number(number) => self.bytes(&[1]) && self.number(number),
            Item::Bytes(bytes) => self.bytes(&[2]) && self.text(bytes.as_bytes()),
            Item::Text(text) => self.bytes(&[TEXT]) && self.text(text.as_bytes()),
            // A tuple ends before any item: no tag of one in a tuple is 0.
            Item::Tuple(items) => {
                self.bytes(&[4]) && items.iter().all(|item| self.item(item)) && self.bytes(&[0])
            }
            Item::Date(day) => self.integer(5, *day),
            Item::DateTime(micros) => self.integer(6, *micros),
            Item::Instant(micros) => self.integer(7, *micros),
            Item::Uuid(bytes) => self.bytes(&[8]) && self.bytes(bytes),
            Item::Greatest => self.bytes(&[9]),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> bool {
        let len = bytes.len().min(LEN - self.len);
        self.bytes[self.len..self.len + len].copy_from_slice(&bytes[..len]);
        self.len += len;
        len == bytes.len()
    }

    /// Writes a text and a 0 behind it; the bytes 0 and 1 of a text become two each.
    fn text(&mut self, text: &[u8]) -> bool {
        let mut written = text.iter().take(LEN).map(|&byte| match byte {
            0 | 1 => self.bytes(&[1, byte + 1]),
            _ => self.bytes(&[byte]),
        });
        written.all(|has_room| has_room) && text.len() <= LEN && self.bytes(&[0])
    }

    fn integer(&mut self, tag: u8, number: i64) -> bool {
        let ordered = number.cast_unsigned() ^ (1 << 63);
        self.bytes(&[tag]) && self.bytes(&ordered.to_be_bytes())
    }

    /// Writes a number; false also for one that its bytes do not tell from all others. An int and a float that are
    /// equal have the same bytes: the nearest float, and how far it is off.
    fn number(&mut self, number: &Number) -> bool {
        let near = match number {
            Number::Int(int) => *int as f64,
            Number::Float(float) => *float,
            // A number larger than any float still lies below infinity.
            Number::Big(big) => big
                .to_f64()
                .map_or(0.0, |near| near.clamp(f64::MIN, f64::MAX)),
        };
        let is_open = near.abs() >= BEYOND;
        let off = match number {
            Number::Int(int) if !is_open => int - near as i64,
            _ => 0,
        };
        // Zeros of both signs are equal.
        let bits = (near + 0.0).to_bits();
        let sign = 1 << 63;
        let ordered = if bits & sign == 0 { bits | sign } else { !bits };
        let mut content = [0; NUMBER_LEN];
        content[..8].copy_from_slice(&ordered.to_be_bytes());
        content[8..].copy_from_slice(&((off + (1 << 15)) as u16).to_be_bytes());
        self.bytes(&content) && !is_open
    }
}
