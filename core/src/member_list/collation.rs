//! Locale order for sort keys, on ICU's collation data.

use std::fmt;
use std::str::FromStr;

use icu_collator::options::{CollatorOptions, Strength};
use icu_collator::{Collator, CollatorBorrowed};
use icu_locale_core::Locale;

use super::{ListError, SortKey};

/// The order of names in a language, by the Unicode collation algorithm (UTS 10) with the data of
/// CLDR.
///
/// Upper and lower case sort together, accents decide between names that are equal without them.
/// Keys of different collations must not meet in one group.
///
/// ```
/// use headcount::Collation;
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
    locale: String,
}

impl Collation {
    /// The order of a locale such as `sv` or `de-u-co-phonebk`. Locales without rules of their
    /// own get the order of the root.
    ///
    /// # Errors
    ///
    /// [`ListError::BadLocale`] when this is no locale.
    pub fn new(locale: &str) -> Result<Self, ListError> {
        let bad = || ListError::BadLocale {
            locale: locale.to_owned(),
        };
        let known = Locale::from_str(locale).map_err(|_| bad())?;
        let mut options = CollatorOptions::default();
        options.strength = Some(Strength::Secondary);
        let collator = Collator::try_new(known.into(), options).map_err(|_| bad())?;
        Ok(Self {
            collator,
            locale: locale.to_owned(),
        })
    }

    /// The sort key of a name, cut at 64 bytes. O(length).
    pub fn key(&self, name: &str) -> SortKey {
        let mut bytes = Vec::with_capacity(2 * name.len());
        match self.collator.write_sort_key_to(name, &mut bytes) {
            Ok(()) => SortKey::cut(&bytes),
        }
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
        let long = Collation::new("en").unwrap().key(&"x".repeat(500));
        assert_eq!(long.as_bytes().len(), crate::member_list::KEY_MAX);
    }
}
