//! Member ids that are integers with a sign.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::member_list::id::Id;
use crate::member_list::id::sealed::Sealed;

/// An integer id with a sign: from -2^63 to 2^64 - 1. It takes 12 bytes. In files it takes 8, and one more if some id
/// of the file is below 0; files without such ids are those of `u64`.
///
/// ```
/// use headcount::member_list::{Id, IntId};
///
/// let below = IntId::from(-5i64);
/// assert!(below < IntId::from(3u64) && IntId::from(3u64) < IntId::from(u64::MAX));
/// assert_eq!(below.to_text(), "-5");
/// assert_eq!(i128::from(below), -5);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(Rust, packed(4))]
pub struct IntId {
    /// Not below 0. It comes first, so that the order is that of the numbers.
    is_natural: bool,
    /// The lower 64 bits, in two's complement.
    low: u64,
}

impl Hash for IntId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // That -1 and 2^64 - 1 hash alike does no harm: of each hash there are two ids at most.
        state.write_u64(self.low);
    }
}

impl From<u64> for IntId {
    fn from(number: u64) -> Self {
        Self {
            is_natural: true,
            low: number,
        }
    }
}

impl From<i64> for IntId {
    fn from(number: i64) -> Self {
        Self {
            is_natural: number >= 0,
            low: number.cast_unsigned(),
        }
    }
}

impl From<IntId> for i128 {
    fn from(id: IntId) -> Self {
        match id.is_natural {
            true => id.low.into(),
            false => { id.low }.cast_signed().into(),
        }
    }
}

impl fmt::Display for IntId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&i128::from(*self), f)
    }
}

impl fmt::Debug for IntId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Sealed for IntId {
    const KIND: u8 = u64::KIND;
    const SAVED_LEN: Option<usize> = u64::SAVED_LEN;
    const SIGNED_KIND: Option<u8> = Some(3);

    fn nobody() -> Self {
        Self::from(0u64)
    }

    fn save(&self, out: &mut Vec<u8>) {
        { self.low }.save(out);
    }

    fn from_saved(bytes: &[u8]) -> Option<Self> {
        u64::from_saved(bytes).map(Self::from)
    }

    #[cfg(feature = "serde")]
    fn write_serde<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde::Serialize::serialize(self, serializer)
    }

    #[cfg(feature = "serde")]
    fn read_serde<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::Deserialize::deserialize(deserializer)
    }

    fn is_negative(&self) -> bool {
        !self.is_natural
    }

    fn negative(self) -> Option<Self> {
        let number = { self.low }.cast_signed();
        (number < 0).then(|| Self::from(number))
    }
}

impl Id for IntId {
    fn write_text(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{self}")
    }

    fn parse_text(text: &str) -> Option<Self> {
        let Some(below) = text.strip_prefix('-') else {
            return u64::parse_text(text).map(Self::from);
        };
        let canonical = !below.starts_with(['0', '+', '-']);
        let number: Option<i64> = text.parse().ok().filter(|_| canonical);
        number.map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [i128; 10] = [
        i64::MIN as i128,
        i64::MIN as i128 + 1,
        -10,
        -1,
        0,
        1,
        7,
        i64::MAX as i128,
        i64::MAX as i128 + 1,
        u64::MAX as i128,
    ];

    fn id(number: i128) -> IntId {
        let natural = u64::try_from(number).map(IntId::from);
        natural.unwrap_or_else(|_| i64::try_from(number).map(IntId::from).unwrap())
    }

    #[test]
    fn text_forms_are_canonical() {
        for number in NUMBERS {
            assert_eq!(i128::from(id(number)), number);
            assert_eq!(id(number).to_text(), number.to_string());
            assert_eq!(IntId::parse_text(&number.to_string()), Some(id(number)));
        }
        let beyond = ["-9223372036854775809", "18446744073709551616"];
        let odd = [
            "", "-", "-0", "-01", "--1", "-+1", "+1", "01", " 1", "- 1", "-1 ",
        ];
        for text in odd.into_iter().chain(beyond) {
            assert_eq!(IntId::parse_text(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_order_is_that_of_the_numbers() {
        for one in NUMBERS {
            for other in NUMBERS {
                assert_eq!(id(one).cmp(&id(other)), one.cmp(&other), "{one}, {other}");
                assert_eq!(id(one) == id(other), one == other);
            }
        }
    }
}
