//! The encodings of keys, owners and metas.

/// The encoding of the key, the owner and the meta of an entry. It travels with the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Encoding {
    /// Bytes without further meaning.
    Bytes = 0,
    /// UTF-8 text; metas are JSON.
    #[default]
    Text = 1,
    /// Erlang external term format.
    Term = 2,
}

impl Encoding {
    /// Returns the encoding of a wire number, or `None` for an unknown number.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Bytes),
            1 => Some(Self::Text),
            2 => Some(Self::Term),
            _ => None,
        }
    }
}
