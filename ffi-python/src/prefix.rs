//! `Prefix`: the beginning of an item as two words, by which nearly all comparisons are decided without a look at the
//! objects of Python.

use std::cmp::Ordering;

use num_traits::ToPrimitive;

use crate::item::{Item, Number};

/// The last byte of a prefix behind which items may differ.
const OPEN: u8 = 15;
/// The bytes of a text that stand in a prefix.
const TEXT_LEN: usize = 14;
/// The tag of items by a key: behind equal keys the values themselves decide.
const BY_KEY: u8 = 15;
/// Numbers from here on do not fit in 64 bits.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// The beginning of an item: a tag for its type, 14 bytes of what it is, and a byte that is [`OPEN`] unless they are
/// all. Prefixes are ordered as their items are, and those of equal items are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix([u64; 2]);

impl Prefix {
    /// Makes the prefix of an item.
    pub(crate) fn of(item: &Item) -> Self {
        match item {
            Item::Least => Self::number(0, 0),
            Item::Number(number) => Self::of_number(number),
            Item::Bytes(bytes) => Self::of_text(2, bytes.as_bytes()),
            Item::Text(text) => Self::of_text(3, text.as_bytes()),
            Item::Tuple(items) => {
                let first = items.first().map_or(Self([0, 0]), Self::of);
                first.within(4)
            }
            Item::Date(day) => Self::number(5, *day),
            Item::DateTime(micros) => Self::number(6, *micros),
            Item::Instant(micros) => Self::number(7, *micros),
            Item::Uuid(bytes) => Self::of_text(8, bytes),
            Item::Greatest => Self::number(9, 0),
        }
    }

    /// Makes the prefix of a value by its key.
    pub(crate) fn of_key(key: &Item) -> Self {
        Self::of(key).within(BY_KEY)
    }

    /// Compares items by their prefixes; `None` if these do not decide.
    pub(crate) fn decide(self, other: Self) -> Option<Ordering> {
        match self.cmp(&other) {
            Ordering::Equal if self.0[1] as u8 == OPEN => None,
            order => Some(order),
        }
    }

    fn new(tag: u8, content: [u8; TEXT_LEN], last: u8) -> Self {
        let mut bytes = [0; 16];
        bytes[0] = tag;
        bytes[1..15].copy_from_slice(&content);
        bytes[15] = last;
        let bytes = u128::from_be_bytes(bytes);
        Self([(bytes >> 64) as u64, bytes as u64])
    }

    fn of_text(tag: u8, text: &[u8]) -> Self {
        let mut content = [0; TEXT_LEN];
        let len = text.len().min(TEXT_LEN);
        content[..len].copy_from_slice(&text[..len]);
        // Zeros behind a text are no part of it: the length tells.
        Self::new(tag, content, text.len().min(OPEN.into()) as u8)
    }

    fn number(tag: u8, number: i64) -> Self {
        let ordered = number.cast_unsigned() ^ (1 << 63);
        let mut content = [0; TEXT_LEN];
        content[..8].copy_from_slice(&ordered.to_be_bytes());
        Self::new(tag, content, 0)
    }

    /// An int and a float that are equal have one prefix: the nearest float, and how far it is off.
    fn of_number(number: &Number) -> Self {
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
        let mut content = [0; TEXT_LEN];
        content[..8].copy_from_slice(&ordered.to_be_bytes());
        content[8..10].copy_from_slice(&((off + (1 << 15)) as u16).to_be_bytes());
        Self::new(1, content, if is_open { OPEN } else { 0 })
    }

    /// Makes the prefix of something that begins with this one's item.
    fn within(self, tag: u8) -> Self {
        let [high, low] = self.0;
        let low = (high << 56) | (low >> 8);
        Self([
            u64::from(tag) << 56 | high >> 8,
            low & !0xff | u64::from(OPEN),
        ])
    }
}
