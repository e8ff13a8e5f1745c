//! Sort keys: normalised bytes whose order is the order of the list.

use std::fmt;

use arrayvec::ArrayString;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::member_list::ListError;
use crate::member_list::limits::KEY_MAX;

/// The place of a member within its group: up to 64 bytes, compared as bytes.
///
/// Members with equal keys are ordered by id, so the order is total.
///
/// ```
/// use headcount::SortKey;
///
/// assert!(SortKey::from_name("alice") < SortKey::from_name("Bob"));
/// assert_eq!(SortKey::from_name("ALICE"), SortKey::from_name("alice"));
/// assert!(SortKey::from_u64(2) < SortKey::from_u64(10));
/// assert!(SortKey::raw(&[0; 65]).is_err());
/// ```
#[derive(Clone, Copy)]
pub struct SortKey {
    len: u8,
    bytes: [u8; KEY_MAX],
}

impl SortKey {
    /// Makes a key from a name, for case-insensitive Unicode order. O(length).
    ///
    /// It folds every character (lower, upper and lower case, with full mappings), composes
    /// characters and their marks (normalization form C, UAX 15), so that both spellings of "é" are
    /// one name, and cuts the name at 64 bytes. Code points are compared.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        if name.is_ascii() {
            let mut key = Self::cut(name.as_bytes());
            key.bytes.make_ascii_lowercase();
            return key;
        }
        Self::of_composed(name).unwrap_or_else(|| Self::of_any(name))
    }

    /// Makes a key from a name whose folded characters are composed as they are and fit; `None` from any other one.
    /// Most names are such, and this takes a fraction of the time.
    fn of_composed(name: &str) -> Option<Self> {
        let mut folded = ArrayString::<KEY_MAX>::new();
        for char in name.chars() {
            if char.is_ascii() {
                folded.try_push(char.to_ascii_lowercase()).ok()?;
                continue;
            }
            // An iota below a letter folds to a letter, so accents after it change places before that.
            if matches!(char, '\u{345}' | '\u{1f80}'..='\u{1fff}') {
                return None;
            }
            for char in fold(char) {
                folded.try_push(char).ok()?;
            }
        }
        let is_composed = is_nfc_quick(folded.chars()) == IsNormalized::Yes;
        is_composed.then(|| Self::cut(folded.as_bytes()))
    }

    fn of_any(name: &str) -> Self {
        let mut key = Self::cut(&[]);
        let mut utf8 = [0; 4];
        // Accents have one order before they fold: one of them folds to a letter.
        for folded in name.nfd().flat_map(fold).nfc() {
            if usize::from(key.len) == KEY_MAX {
                break;
            }
            folded
                .encode_utf8(&mut utf8)
                .bytes()
                .for_each(|byte| key.push(byte));
        }
        key
    }

    /// Makes a key from bytes that are already in the form that sorts.
    ///
    /// # Errors
    ///
    /// [`ListError::KeyTooLong`] over 64 bytes: cutting them silently could merge keys that
    /// differ.
    pub fn raw(bytes: &[u8]) -> Result<Self, ListError> {
        if bytes.len() > KEY_MAX {
            return Err(ListError::KeyTooLong {
                len: bytes.len(),
                max: KEY_MAX,
            });
        }
        Ok(Self::cut(bytes))
    }

    /// Makes a key from a number; smaller numbers come first. O(1).
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        Self::cut(&number.to_be_bytes())
    }

    /// Makes a key from a signed number; smaller numbers come first, negative ones before all
    /// others. O(1).
    ///
    /// ```
    /// use headcount::SortKey;
    /// assert!(SortKey::from_i64(-5) < SortKey::from_i64(-4));
    /// assert!(SortKey::from_i64(-1) < SortKey::from_i64(0));
    /// ```
    #[must_use]
    pub fn from_i64(number: i64) -> Self {
        Self::from_u64((number as u64) ^ (1 << 63))
    }

    /// Makes a key from two numbers, compared one after the other. O(1).
    #[must_use]
    pub fn from_u64s(first: u64, second: u64) -> Self {
        Self::cut(&(u128::from(first) << 64 | u128::from(second)).to_be_bytes())
    }

    /// Returns the least key that is greater than all keys that begin with this one; `None` if there
    /// is none.
    pub(crate) fn successor(&self) -> Option<Self> {
        let bytes = self.as_bytes();
        let last = bytes.iter().rposition(|&byte| byte != u8::MAX)?;
        let mut next = Self::cut(&bytes[..=last]);
        next.bytes[last] += 1;
        Some(next)
    }

    /// Makes a key from the first 64 of these bytes.
    pub(crate) fn cut(bytes: &[u8]) -> Self {
        let len = bytes.len().min(KEY_MAX);
        let mut key = Self {
            len: len as u8,
            bytes: [0; KEY_MAX],
        };
        key.bytes[..len].copy_from_slice(&bytes[..len]);
        key
    }

    /// Returns the bytes that are compared.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = byte;
            self.len += 1;
        }
    }
}

/// Folds a character. Lower case comes first: "ẞ" has no upper case, "ß" has "SS".
fn fold(char: char) -> impl Iterator<Item = char> {
    char.to_lowercase()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

impl AsRef<[u8]> for SortKey {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for SortKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for SortKey {}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SortKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::hash::Hash for SortKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SortKey({})", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_and_are_cut() {
        assert_eq!(SortKey::from_name("STRASSE"), SortKey::from_name("straße"));
        assert_eq!(SortKey::from_name("ẞ"), SortKey::from_name("ß"));
        assert_eq!(SortKey::from_name("ẞ"), SortKey::from_name("SS"));
        let spellings = ["Zoë", "Zoe\u{308}", "ZOE\u{308}", "zoË"].map(SortKey::from_name);
        assert_eq!(spellings, [SortKey::from_name("zoë"); 4]);
        assert_eq!(
            SortKey::from_name("가"),
            SortKey::from_name("\u{1100}\u{1161}")
        );
        assert_eq!(SortKey::from_name("ΣΑΣ").as_bytes(), "σασ".as_bytes());
        assert_eq!(
            SortKey::from_name(&"é".repeat(100)).as_bytes().len(),
            KEY_MAX
        );
        assert_eq!(
            SortKey::from_name(&"x".repeat(100)).as_bytes().len(),
            KEY_MAX
        );
        assert_eq!(SortKey::from_name("").as_bytes(), b"");
    }

    #[test]
    fn equivalent_spellings_have_one_key() {
        let marks = ['\u{301}', '\u{308}', '\u{315}', '\u{323}', '\u{345}'];
        for char in ('\u{a0}'..'\u{250}')
            .chain('\u{370}'..'\u{530}')
            .chain('\u{1e00}'..'\u{2000}')
        {
            for mark in marks.iter().flat_map(|a| marks.map(|b| format!("{a}{b}"))) {
                let name = format!("{char}{mark}");
                let key = SortKey::from_name(&name);
                assert_eq!(
                    SortKey::from_name(&name.nfc().collect::<String>()),
                    key,
                    "{name:?}"
                );
                assert_eq!(
                    SortKey::from_name(&name.nfd().collect::<String>()),
                    key,
                    "{name:?}"
                );
            }
        }
    }

    #[test]
    fn the_short_way_leads_to_the_same_keys() {
        let mut composed = 0;
        let long = "é".repeat(31);
        for char in ('\0'..'\u{3100}').chain('\u{f900}'..'\u{fb50}') {
            let names = [
                format!("{char}"),
                format!("A{char}\u{301}"),
                format!("é{char}"),
                format!("{long}{char}"),
                format!("{long}a{char}"),
            ];
            for name in names {
                assert_eq!(
                    SortKey::from_name(&name),
                    SortKey::of_any(&name),
                    "{name:?}"
                );
                composed += usize::from(SortKey::of_composed(&name).is_some());
            }
        }
        assert!(composed > 20_000, "{composed} are composed as they are");
    }
}
