//! Member ids: integers, UUIDs, short text.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::str::FromStr;
use std::sync::Arc;

use crate::member_list::ListError;
use crate::member_list::limits::TEXT_ID_MAX;

pub(super) mod sealed {
    #[expect(
        unnameable_types,
        reason = "the usual seal: the ids there are, are those here"
    )]
    pub trait Sealed {
        /// The number of the type in files.
        const KIND: u8;
        /// The bytes of a saved id; texts have their length before them.
        const SAVED_LEN: Option<usize>;
        /// The number in files that have a sign after each id, if the type has ids below 0.
        const SIGNED_KIND: Option<u8> = None;

        /// Returns an id to fill the place of a member that left.
        fn nobody() -> Self;

        /// Appends the id as files have it.
        fn save(&self, out: &mut Vec<u8>);

        /// Makes an id of its bytes, without the length that is before those of a text.
        fn from_saved(bytes: &[u8]) -> Option<Self>
        where
            Self: Sized;

        /// Writes the id in serde's formats.
        #[cfg(feature = "serde")]
        fn write_serde<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

        /// Reads an id in serde's formats.
        #[cfg(feature = "serde")]
        fn read_serde<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>
        where
            Self: Sized;

        /// Returns whether the id is below 0, so that only files with signs can have it.
        fn is_negative(&self) -> bool {
            false
        }

        /// Returns the id below 0 that has the same bytes in files.
        fn negative(self) -> Option<Self>
        where
            Self: Sized,
        {
            None
        }
    }

    impl Sealed for u64 {
        const KIND: u8 = 0;
        const SAVED_LEN: Option<usize> = Some(8);

        fn nobody() -> Self {
            0
        }

        fn save(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(&self.to_le_bytes());
        }

        fn from_saved(bytes: &[u8]) -> Option<Self> {
            bytes.try_into().ok().map(Self::from_le_bytes)
        }

        #[cfg(feature = "serde")]
        fn write_serde<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serde::Serialize::serialize(self, serializer)
        }

        #[cfg(feature = "serde")]
        fn read_serde<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            serde::Deserialize::deserialize(deserializer)
        }
    }

    impl Sealed for u128 {
        const KIND: u8 = 1;
        const SAVED_LEN: Option<usize> = Some(16);

        fn nobody() -> Self {
            0
        }

        fn save(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(&self.to_le_bytes());
        }

        fn from_saved(bytes: &[u8]) -> Option<Self> {
            bytes.try_into().ok().map(Self::from_le_bytes)
        }

        #[cfg(feature = "serde")]
        fn write_serde<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            super::serde_form::write_uuid(*self, serializer)
        }

        #[cfg(feature = "serde")]
        fn read_serde<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            super::serde_form::read_uuid(deserializer)
        }
    }

    impl Sealed for crate::member_list::TextId {
        const KIND: u8 = 2;
        const SAVED_LEN: Option<usize> = None;

        fn nobody() -> Self {
            Self(Default::default())
        }

        fn save(&self, out: &mut Vec<u8>) {
            out.push(self.0.len() as u8);
            out.extend_from_slice(self.0.as_bytes());
        }

        fn from_saved(bytes: &[u8]) -> Option<Self> {
            let text = std::str::from_utf8(bytes).ok()?;
            Self::new(text).ok()
        }

        #[cfg(feature = "serde")]
        fn write_serde<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serde::Serialize::serialize(self, serializer)
        }

        #[cfg(feature = "serde")]
        fn read_serde<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            serde::Deserialize::deserialize(deserializer)
        }
    }
}

/// The form of the id of a member in serde's formats, for
/// `#[serde(with = "crate::member_list::id::serde_form")]`.
#[cfg(feature = "serde")]
pub(crate) mod serde_form {
    use std::fmt;

    use serde::de::{Deserializer, Error, Unexpected, Visitor};
    use serde::ser::Serializer;

    use super::Id;

    pub(crate) fn serialize<I: Id, S: Serializer>(id: &I, to: S) -> Result<S::Ok, S::Error> {
        id.write_serde(to)
    }

    pub(crate) fn serialize_ref<I: Id, S: Serializer>(id: &&I, to: S) -> Result<S::Ok, S::Error> {
        id.write_serde(to)
    }

    pub(crate) fn deserialize<'de, I: Id, D: Deserializer<'de>>(from: D) -> Result<I, D::Error> {
        I::read_serde(from)
    }

    /// Writes a UUID: its text in formats for people, 16 bytes in others. No format has to know
    /// integers of 128 bits.
    pub(super) fn write_uuid<S: Serializer>(id: u128, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.serialize_str(&id.to_text())
        } else {
            to.serialize_bytes(&id.to_be_bytes())
        }
    }

    pub(super) fn read_uuid<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        if from.is_human_readable() {
            from.deserialize_any(Uuid)
        } else {
            from.deserialize_bytes(Uuid)
        }
    }

    struct Uuid;

    impl Visitor<'_> for Uuid {
        type Value = u128;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a UUID as hyphenated lower-case text or as 16 bytes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u128, E> {
            u128::parse_text(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<u128, E> {
            let whole = bytes.try_into().map(u128::from_be_bytes);
            whole.map_err(|_| E::invalid_length(bytes.len(), &self))
        }
    }
}

/// The id of a member: `u64`, [`IntId`](crate::member_list::IntId) (an integer with a sign), `u128` (a UUID) or
/// [`TextId`].
///
/// Ids break ties between equal sort keys, so they are ordered. Their text form names them in
/// windows, checksums and JSON: decimal for integers, hyphenated lower-case hex for `u128`, the text
/// itself for [`TextId`]. In serde's formats integers are numbers and a UUID is its text, or 16 bytes,
/// the highest first, in a format that is not for people.
pub trait Id: sealed::Sealed + Clone + Ord + Hash + fmt::Debug + Send + Sync + 'static {
    /// Writes the text form.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    fn write_text(&self, out: &mut dyn fmt::Write) -> fmt::Result;

    /// Reads the canonical text form; returns `None` for any other text.
    fn parse_text(text: &str) -> Option<Self>;

    /// Returns the text form.
    ///
    /// ```
    /// use headcount::member_list::Id;
    /// assert_eq!(7u64.to_text(), "7");
    /// assert_eq!(7u128.to_text(), "00000000-0000-0000-0000-000000000007");
    /// assert_eq!(u64::parse_text("7"), Some(7));
    /// assert_eq!(u64::parse_text("07"), None);
    /// ```
    fn to_text(&self) -> String {
        let mut text = String::new();
        // A String takes everything.
        let _ = self.write_text(&mut text);
        text
    }

    /// Returns the bytes that the id owns on the heap.
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Id for u64 {
    fn write_text(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{self}")
    }

    fn parse_text(text: &str) -> Option<Self> {
        let canonical = text == "0" || !text.starts_with(['0', '+']);
        text.parse().ok().filter(|_| canonical)
    }
}

impl Id for u128 {
    fn write_text(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let part = |shift: u32, bits: u32| (self >> shift) & ((1u128 << bits) - 1);
        write!(
            out,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 32),
            part(80, 16),
            part(64, 16),
            part(48, 16),
            part(0, 48)
        )
    }

    fn parse_text(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return None;
        }
        bytes
            .iter()
            .enumerate()
            .try_fold(0, |id: Self, (at, &byte)| match (at, byte) {
                (8 | 13 | 18 | 23, b'-') => Some(id),
                (8 | 13 | 18 | 23, _) => None,
                (_, b'0'..=b'9') => Some(id << 4 | Self::from(byte - b'0')),
                (_, b'a'..=b'f') => Some(id << 4 | Self::from(byte - b'a' + 10)),
                _ => None,
            })
    }
}

/// A short text id: 1 to 64 bytes of UTF-8 without control characters. Cloning is cheap.
///
/// ```
/// use headcount::member_list::TextId;
///
/// let id: TextId = "alice".parse()?;
/// assert_eq!(id.as_str(), "alice");
/// assert!(TextId::new(&"x".repeat(65)).is_err());
/// # Ok::<(), headcount::ListError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextId(Arc<str>);

impl TextId {
    /// Makes an id of a text.
    ///
    /// # Errors
    ///
    /// [`ListError::BadId`] when it is empty, longer than 64 bytes or has control characters.
    pub fn new(text: &str) -> Result<Self, ListError> {
        let fits = (1..=TEXT_ID_MAX).contains(&text.len());
        if !fits || text.chars().any(char::is_control) {
            return Err(ListError::BadId {
                len: text.len(),
                max: TEXT_ID_MAX,
            });
        }
        Ok(Self(text.into()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TextId {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for TextId {
    type Error = ListError;

    fn try_from(text: &str) -> Result<Self, ListError> {
        Self::new(text)
    }
}

impl AsRef<str> for TextId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Maps and sets of ids are searched by `&str`: ids compare and hash as their texts do.
impl Borrow<str> for TextId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Id for TextId {
    fn write_text(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(&self.0)
    }

    fn parse_text(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }

    fn heap_bytes(&self) -> usize {
        self.0.len() + 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_are_canonical() {
        for id in [
            0u128,
            1,
            u128::MAX,
            0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        ] {
            assert_eq!(u128::parse_text(&id.to_text()), Some(id));
        }
        for id in [0u64, 1, 10, u64::MAX] {
            assert_eq!(u64::parse_text(&id.to_text()), Some(id));
        }
        for text in ["", "+1", "01", "-1", "18446744073709551616", " 1"] {
            assert_eq!(u64::parse_text(text), None, "{text:?}");
        }
        for text in [
            "",
            "00000000-0000-0000-0000-00000000000G",
            "00000000-0000-0000-0000-00000000000A",
        ] {
            assert_eq!(u128::parse_text(text), None, "{text:?}");
        }
        assert!(TextId::new("").is_err() && TextId::new("a\nb").is_err());
    }
}
