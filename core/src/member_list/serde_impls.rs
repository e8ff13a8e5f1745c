//! Keys, ids, windows and shared frames in serde's formats. What is read is checked as the
//! constructors check it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::member_list::frames::model::Shared;
use crate::member_list::{Id, IntId, SortKey, SortedSet, TextId, WindowSpec};
use crate::text_or_bytes;

impl Serialize for SortKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text_or_bytes::serialize(self.as_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for SortKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = text_or_bytes::deserialize(deserializer)?;
        Self::raw(&bytes).map_err(D::Error::custom)
    }
}

/// An integer is written as the number that it is: in formats for people, of 64 bits, which is all
/// that serde holds back for tagged, untagged and flattened types.
impl Serialize for IntId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = i128::from(*self);
        if !serializer.is_human_readable() {
            return serializer.serialize_i128(number);
        }
        match i64::try_from(number) {
            Ok(small) if small < 0 => serializer.serialize_i64(small),
            _ => serializer.serialize_u64(number as u64),
        }
    }
}

impl<'de> Deserialize<'de> for IntId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Integer)
        } else {
            deserializer.deserialize_i128(Integer)
        }
    }
}

struct Integer;

impl Visitor<'_> for Integer {
    type Value = IntId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id from -2^63 to 2^64 - 1")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<IntId, E> {
        Ok(number.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<IntId, E> {
        Ok(number.into())
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<IntId, E> {
        let natural = u64::try_from(number).map(IntId::from);
        let id = natural.or_else(|_| i64::try_from(number).map(IntId::from));
        id.map_err(|_| E::custom(format_args!("{number} is not an id from -2^63 to 2^64 - 1")))
    }

    /// The keys of maps in JSON are texts.
    fn visit_str<E: Error>(self, text: &str) -> Result<IntId, E> {
        IntId::parse_text(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl Serialize for TextId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TextId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(D::Error::custom)
    }
}

/// A window is written as its canonical name.
impl<I: Id> Serialize for WindowSpec<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, I: Id> Deserialize<'de> for WindowSpec<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).map_err(D::Error::custom)
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }
}

impl<T: Serialize> Serialize for SortedSet<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de, T: Deserialize<'de> + Ord + Clone> Deserialize<'de> for SortedSet<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from_vec)
    }
}
