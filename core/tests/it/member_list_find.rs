//! Finding members by the prefix of their names.

use headcount::{ListOptions, MemberList, SortKey};
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

/// Returns the name that a prefix finds in a list of these names.
fn found<'n>(
    names: &[&'n str],
    key: impl Fn(&str) -> SortKey,
    prefix: &SortKey,
) -> Option<&'n str> {
    let mut list = MemberList::<u64>::new(ListOptions::default().headers(false));
    let group = list.add_group("all").unwrap();
    for (id, name) in names.iter().enumerate() {
        list.upsert(id as u64, group, &key(name), 0).unwrap();
    }
    let &(_, index) = list.find_prefix(prefix).first()?;
    let name = |(id, name): (usize, &&'n str)| {
        (list.index_of(&(id as u64)) == Some(index)).then_some(*name)
    };
    names.iter().enumerate().find_map(name)
}

#[test]
fn names_are_found_by_their_prefix() {
    let long = "王".repeat(30);
    let other = format!("{}明", "王".repeat(29));
    let names = ["Anna", "Straße", "Éva", "ΣΟΦΙΑ", &long, &other];
    let find = |text: &str| found(&names, SortKey::from_name, &SortKey::from_name(text));
    assert_eq!(find("an"), Some("Anna"));
    assert_eq!(find("STRASS"), Some("Straße"));
    assert_eq!(find("straß"), Some("Straße"));
    assert_eq!(find("éV"), Some("Éva"));
    assert_eq!(find("e"), None, "code points are compared");
    assert_eq!(find("σοφ"), Some("ΣΟΦΙΑ"));
    // 21 of these characters fill a key and begin the next one.
    assert_eq!(find(&"王".repeat(21)), Some(&*long));
    assert_eq!(find(&long), Some(&*long));
    assert_eq!(find(&other), Some(&*long), "equal as far as keys go");
    assert_eq!(find(""), Some("Anna"));
    assert_eq!(find("annabel"), None);
}

proptest! {
    /// Unless the end begins with a mark that is composed with the last character of the start.
    #[test]
    fn the_key_of_a_name_begins_with_that_of_its_prefix(start: String, end: String) {
        let composed = |text: &str| text.to_lowercase().nfc().collect::<String>();
        let name = format!("{start}{end}");
        prop_assume!(composed(&name).starts_with(&composed(&start)));
        let name = SortKey::from_name(&name);
        prop_assert!(name.as_bytes().starts_with(SortKey::from_name(&start).as_bytes()));
    }
}

#[cfg(feature = "collation")]
mod collated {
    use headcount::member_list::Collation;

    use super::*;

    const NAMES: [&str; 12] = [
        "Anna", "Åsa", "Max", "Moritz", "Mörk", "MOSES", "Zoe", "Zoë Ann", "Élodie", "élan",
        "田中", "李",
    ];

    fn check(locale: &str, expected: &[(&str, Option<&str>)]) {
        let collation = Collation::new(locale).unwrap();
        for &(text, name) in expected {
            let prefix = collation.prefix(text);
            let found = found(&NAMES, |name| collation.key(name), &prefix);
            assert_eq!(found, name, "{text:?} in {locale}");
        }
    }

    /// The key of a name ends in the weights of its accents, so it is no prefix of another.
    #[test]
    fn collated_names_are_found_by_their_prefix() {
        for locale in ["en", "de", "sv"] {
            check(
                locale,
                &[
                    ("", Some("Anna")),
                    ("m", Some("Max")),
                    ("MO", Some("Moritz")),
                    ("mos", Some("MOSES")),
                    ("moses", Some("MOSES")),
                    ("mosesx", None),
                    ("el", Some("élan")),
                    ("ÉLO", Some("Élodie")),
                    ("elo", Some("Élodie")),
                    ("zoe", Some("Zoe")),
                    ("Zoë a", Some("Zoë Ann")),
                    ("田", Some("田中")),
                    ("y", None),
                ],
            );
        }
        let accents_only_decide = [
            ("mor", Some("Moritz")),
            ("mork", Some("Mörk")),
            ("as", Some("Åsa")),
        ];
        check("en", &accents_only_decide);
        check("de", &accents_only_decide);
        check("de-u-co-phonebk", &[("moe", Some("Mörk")), ("mork", None)]);
        check(
            "sv",
            &[
                ("mork", None),
                ("mör", Some("Mörk")),
                ("as", None),
                ("å", Some("Åsa")),
            ],
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Names end in a letter without accents, which combines with no letter before it.
        #[test]
        fn the_key_of_a_collated_name_begins_with_its_prefix(
            locale in prop::sample::select(vec!["en", "sv", "de", "ja", "ar"]),
            start in "([a-zA-ZåäöÅÄÖéßœ 0-9._田中かガ한글ж-]{0,40}x)?",
            end in "[a-zA-ZåäöÅÄÖéßœ 0-9._田中かガ한글ж-]{0,40}",
        ) {
            let collation = Collation::new(locale).unwrap();
            let name = collation.key(&format!("{start}{end}"));
            for text in [start.clone(), start.to_uppercase(), start.to_lowercase()] {
                let prefix = collation.prefix(&text);
                prop_assert!(name.as_bytes().starts_with(prefix.as_bytes()), "{text:?}");
            }
        }
    }
}
