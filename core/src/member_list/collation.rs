//! Locale order for sort keys, on ICU's collation data.

use std::fmt;
use std::str::FromStr;

use icu_collator::options::{CollatorOptions, Strength};
use icu_collator::{Collator, CollatorBorrowed};
use icu_locale_core::Locale;

use crate::member_list::{ListError, SortKey};

/// The order of names in a language, by the Unicode collation algorithm (UTS 10) with the data of
/// CLDR.
///
/// Upper and lower case sort together, accents decide between names that are equal without them.
/// Keys of different collations must not meet in one group.
///
/// ```
/// use headcount::member_list::Collation;
///
/// let swedish = Collation::new("sv")?;
/// let german = Collation::new("de")?;
/// assert!(swedish.key("Östen") > swedish.key("Zoë"));
/// assert!(german.key("Östen") < german.key("Zoë"));
/// assert_eq!(german.key("anna"), german.key("ANNA"));
/// assert!(Collation::new("not a locale").is_err());
/// # Ok::<(), headcount::ListError>(())
/// ```
pub struct Collation {
    collator: CollatorBorrowed<'static>,
    /// Makes keys of the primary weights only, which come first in a key.
    primary: CollatorBorrowed<'static>,
    locale: String,
}

impl Collation {
    /// Loads the order of a locale such as `sv` or `de-u-co-phonebk`. Locales without rules of
    /// their own get the order of the root.
    ///
    /// # Errors
    ///
    /// [`ListError::BadLocale`] when this is no locale.
    pub fn new(locale: &str) -> Result<Self, ListError> {
        let bad = || ListError::BadLocale {
            locale: locale.to_owned(),
        };
        let known = Locale::from_str(locale).map_err(|_| bad())?;
        let collator = |strength| {
            let mut options = CollatorOptions::default();
            options.strength = Some(strength);
            Collator::try_new(known.clone().into(), options).map_err(|_| bad())
        };
        Ok(Self {
            collator: collator(Strength::Secondary)?,
            primary: collator(Strength::Primary)?,
            locale: locale.to_owned(),
        })
    }

    /// Makes the sort key of a name, cut at 64 bytes. O(length).
    ///
    /// Accents are at its end, so it is the beginning of no other name's key: to find names by a
    /// prefix, use [`prefix`](Self::prefix).
    #[must_use]
    pub fn key(&self, name: &str) -> SortKey {
        sort_key(&self.collator, name)
    }

    /// Makes the prefix by which
    /// [`MemberList::find_prefix`](crate::member_list::MemberList::find_prefix) finds the names
    /// that begin with `text`: the keys of all of them begin with it. Cut at 64 bytes, as keys are.
    /// O(length).
    ///
    /// Case does not count, nor do accents, except where the language has a letter of its own for
    /// them. A letter that is written as two, such as the Czech "ch", is found by both of them
    /// only, and a number of a locale with `-u-kn` by all its digits. A vowel that is written before
    /// the consonant by which it sorts, as in Thai and Lao, does not count at the end of a text:
    /// "แ" finds everything, "แด" only what begins with it. A text without any character that is
    /// compared finds everything.
    ///
    /// ```
    /// use headcount::member_list::Collation;
    /// use headcount::{ListOptions, MemberList};
    ///
    /// let german = Collation::new("de")?;
    /// let mut list = MemberList::<u64>::new(ListOptions::default().headers(false));
    /// let online = list.add_group("online")?;
    /// for (id, name) in [(1, "Anna"), (2, "Max"), (3, "Mörk"), (4, "Moritz")] {
    ///     list.upsert(id, online, &german.key(name), 0)?;
    /// }
    /// assert_eq!(list.find_prefix(&german.prefix("mo")), [(online, 2)]); // Moritz, then Mörk
    /// assert_eq!(list.find_prefix(&german.prefix("MÖR")), [(online, 2)]);
    /// assert_eq!(list.find_prefix(&german.prefix("mork")), [(online, 3)]);
    /// # Ok::<(), headcount::ListError>(())
    /// ```
    #[must_use]
    pub fn prefix(&self, text: &str) -> SortKey {
        sort_key(
            &self.primary,
            text.strip_suffix(sorts_after_next).unwrap_or(text),
        )
    }
}

/// Returns whether a character sorts after the one that follows it: the property
/// `Logical_Order_Exception` of Unicode, the vowels of Thai, Lao, New Tai Lue and Tai Viet that are
/// written before their consonant.
fn sorts_after_next(character: char) -> bool {
    matches!(
        character,
        '\u{E40}'..='\u{E44}'
            | '\u{EC0}'..='\u{EC4}'
            | '\u{19B5}'..='\u{19B7}'
            | '\u{19BA}'
            | '\u{AAB5}'..='\u{AAB6}'
            | '\u{AAB9}'
            | '\u{AABB}'..='\u{AABC}'
    )
}

fn sort_key(collator: &CollatorBorrowed<'_>, text: &str) -> SortKey {
    let mut bytes = Vec::with_capacity(2 * text.len());
    match collator.write_sort_key_to(text, &mut bytes) {
        Ok(()) => SortKey::cut(&bytes),
    }
}

impl fmt::Debug for Collation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Collation {}>", self.locale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_the_language_does() {
        let check = |locale: &str, expected: &[&str]| {
            let collation = Collation::new(locale).unwrap();
            let mut sorted = expected.to_vec();
            sorted.sort_by_key(|name| collation.key(name));
            assert_eq!(sorted, expected, "{locale}");
        };
        check("en", &["Ada", "ángel", "Bo", "zoe"]);
        check("sv", &["Ada", "Zoe", "Åsa", "Ärla", "Östen"]);
        check("da", &["Zoe", "Ærla", "Østen", "Åsa"]);
        check("th", &["กา", "แก", "ขา", "เข", "แดง"]);
        let long = Collation::new("en").unwrap().key(&"x".repeat(500));
        assert_eq!(long.as_bytes().len(), crate::member_list::KEY_MAX);
    }

    #[test]
    fn keys_of_names_begin_with_the_keys_of_their_beginnings() {
        let thai = ["เก่ง", "แดง", "ไก่", "โอ", "ใหม่", "สมชาย แสน", "เเก", "เก เ"];
        let lao = ["ເກ", "ແກ້ວ", "ໂຕ", "ໃຈ", "ໄຊ"];
        let others = [
            "ᦵᦀ", "ᦺᦂ", "ꪵꪀ", "ꪹꪁ", "ꪻꪂ", "Anna", "Müller", "한국", "Ω mega",
        ];
        for locale in ["en", "th", "lo"] {
            let collation = Collation::new(locale).unwrap();
            for name in thai.iter().chain(&lao).chain(&others) {
                let key = collation.key(name);
                for end in (0..=name.len()).filter(|end| name.is_char_boundary(*end)) {
                    let prefix = collation.prefix(&name[..end]);
                    let begins = key.as_bytes().starts_with(prefix.as_bytes());
                    assert!(begins, "{locale}: {} of {name}", &name[..end]);
                }
            }
            let key = collation.key("แก");
            let begins = |text| {
                key.as_bytes()
                    .starts_with(collation.prefix(text).as_bytes())
            };
            assert!(begins("แก") && !begins("แด") && !begins("เก"));
        }
    }
}
