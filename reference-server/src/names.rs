//! Names of users and rooms: in one form, without characters that are not seen, and with the skeleton
//! by which names that look alike are found.

use std::ops::RangeInclusive;

use precis_core::profile::PrecisFastInvocation as _;
use precis_core::{Error as PrecisError, FreeformClass, StringClass as _};
use precis_profiles::UsernameCaseMapped;
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};
use unicode_properties::{
    GeneralCategory, GeneralCategoryGroup, UnicodeEmoji as _, UnicodeGeneralCategory as _,
};
use unicode_security::confusable_detection::skeleton;

const USERNAME_CHARS_MIN: usize = 2;
const USERNAME_CHARS_MAX: usize = 32;
const ROOM_NAME_CHARS_MAX: usize = 80;
/// Accents above each other, as UTS 39 advises; more cover the lines around them.
const MARKS_MAX: usize = 4;
/// The beginning of the names that guests are given.
pub(crate) const GUEST_PREFIX: &str = "guest-";
/// Old clients store presence keys in plain objects, where these two names are unsafe.
const UNSAFE: [&str; 2] = ["__proto__", "constructor"];
/// Symbols that are allowed by their category, but are blank: of Braille, of music, of objects.
const BLANK: [char; 3] = ['\u{2800}', '\u{1d159}', '\u{fffc}'];

/// Characters that show nothing, beside those of the category Format: joiners, fillers, selectors and tags (Unicode,
/// `Default_Ignorable_Code_Point`).
const IGNORED: [RangeInclusive<char>; 8] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Returns whether anything of a text is seen.
pub(crate) fn is_seen(text: &str) -> bool {
    let is_unseen = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || c.general_category() == GeneralCategory::Format
            || BLANK.contains(&c)
            || IGNORED.iter().any(|range| range.contains(&c))
    };
    !text.chars().all(is_unseen)
}

/// The name of a user, as PRECIS (RFC 8265, `UsernameCaseMapped`) maps it.
#[derive(Debug)]
pub(crate) struct Username {
    pub(crate) name: String,
    /// Equal for names that look alike (UTS 39).
    pub(crate) skeleton: String,
}

impl Username {
    /// Checks a name that a user chooses: 2 to 32 letters, digits and ASCII symbols of any script, with
    /// single spaces inside, not in the form of a guest's.
    pub(crate) fn parse(input: Option<&str>) -> Result<Self, String> {
        let name = Self::map(input.unwrap_or_default())?;
        if name.is_guest() || UNSAFE.contains(&name.name.as_str()) {
            return Err("is reserved".into());
        }
        Ok(name)
    }

    /// Checks the name in a guest's token, which may be any.
    pub(crate) fn of_guest(name: &str) -> Option<Self> {
        Self::map(name).ok().filter(|mapped| mapped.name == name)
    }

    /// Returns whether it looks like a name that guests are given.
    pub(crate) fn is_guest(&self) -> bool {
        self.skeleton.starts_with(&*skeleton_of(GUEST_PREFIX))
    }

    fn map(input: &str) -> Result<Self, String> {
        let text = input.trim();
        check_seen(text)?;
        let words = text.split(' ').map(UsernameCaseMapped::enforce);
        let words: Result<Vec<_>, _> = words.collect();
        let name = words.map_err(|error| reason(&error))?.join(" ");
        if name.chars().count() < USERNAME_CHARS_MIN {
            return Err(format!(
                "should be at least {USERNAME_CHARS_MIN} character(s)"
            ));
        }
        check_length(&name, USERNAME_CHARS_MAX)?;
        let skeleton = skeleton_of(&name);
        Ok(Self { name, skeleton })
    }
}

/// The name of a room, for display (RFC 8264, `FreeformClass`).
#[derive(Debug)]
pub(crate) struct RoomName {
    pub(crate) name: String,
    /// Equal for names that look alike (UTS 39), without regard to case.
    pub(crate) skeleton: String,
}

impl RoomName {
    /// Checks a name of 1 to 80 characters on one line: letters, digits, symbols and emoji.
    pub(crate) fn parse(input: Option<&str>) -> Result<Self, String> {
        let text = input.unwrap_or_default();
        check_seen(text)?;
        let chars: Vec<char> = text.chars().collect();
        let others = chars.iter().enumerate().filter(|(i, c)| {
            let before = i.checked_sub(1).map(|before| chars[before]);
            !is_newer_symbol(**c) && !joins_emoji(before, **c)
        });
        let others: String = others.map(|(_, c)| *c).collect();
        let allowed = FreeformClass::default().allows(&others);
        allowed.map_err(|error| reason(&error))?;
        let words: Vec<_> = text.split_whitespace().collect();
        let name: String = words.join(" ").nfkc().collect();
        check_length(&name, ROOM_NAME_CHARS_MAX)?;
        let skeleton = skeleton_of(&name.to_lowercase());
        Ok(Self { name, skeleton })
    }
}

fn skeleton_of(text: &str) -> String {
    skeleton(text).collect()
}

/// Refuses text in which nothing is seen, and what covers other lines.
fn check_seen(text: &str) -> Result<(), String> {
    if !is_seen(text) {
        return Err("can't be blank".into());
    }
    if let Some(blank) = text.chars().find(|c| BLANK.contains(c)) {
        return Err(not_allowed(u32::from(blank)));
    }
    let mut marks = 0;
    for c in text.nfc() {
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        if marks > MARKS_MAX {
            return Err(format!(
                "must not have more than {MARKS_MAX} accents in a row"
            ));
        }
    }
    Ok(())
}

fn check_length(name: &str, chars_max: usize) -> Result<(), String> {
    if name.chars().count() > chars_max {
        return Err(format!("should be at most {chars_max} character(s)"));
    }
    Ok(())
}

/// Returns whether it is a symbol, such as an emoji, of a version of Unicode after that of PRECIS.
fn is_newer_symbol(c: char) -> bool {
    use precis_core::DerivedPropertyValue::Unassigned;
    let class = FreeformClass::default();
    let is_symbol = c.general_category_group() == GeneralCategoryGroup::Symbol;
    is_symbol && class.get_value_from_char(c) == Unassigned
}

/// Returns whether the character joins emoji to one picture, or chooses the picture of one.
fn joins_emoji(before: Option<char>, c: char) -> bool {
    let is_emoji = |c: char| !c.is_ascii() && (c.is_emoji_char() || c == '\u{fe0f}');
    matches!(c, '\u{200d}' | '\u{fe0f}') && before.is_some_and(is_emoji)
}

fn reason(error: &PrecisError) -> String {
    match error {
        PrecisError::BadCodepoint(info) => not_allowed(info.cp),
        PrecisError::Invalid => "must not mix directions of writing, or have two spaces".into(),
        PrecisError::Unexpected(_) => "has characters that do not go together".into(),
    }
}

fn not_allowed(code: u32) -> String {
    format!("must not contain U+{code:04X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_the_fault() {
        let long = "x".repeat(33);
        for (bad, why) in [
            ("", "can't be blank"),
            (" \t", "can't be blank"),
            ("a", "at least 2"),
            (&long, "at most 32"),
            ("a\u{0}b", "U+0000"),
            ("a\nb", "U+000A"),
            ("a\u{202e}b", "U+202E"),
            ("a  b", "two spaces"),
            ("🎉🎉", "U+1F389"),
            ("Guest-1", "reserved"),
            ("__proto__", "reserved"),
        ] {
            let error = Username::parse(Some(bad)).unwrap_err();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
        assert_eq!(Username::parse(None).unwrap_err(), "can't be blank");
    }

    #[test]
    fn emoji_of_all_versions_are_in_names_of_rooms() {
        for (given, name) in [
            ("🏙 München", "🏙 München"),
            ("☺\u{fe0f} fun", "☺\u{fe0f} fun"),
            ("👩\u{200d}💻 & 🥳", "👩\u{200d}💻 & 🥳"),
            (
                "👩\u{200d}❤\u{fe0f}\u{200d}👩",
                "👩\u{200d}❤\u{fe0f}\u{200d}👩",
            ),
            ("  two \u{a0}  words ", "two words"),
        ] {
            assert_eq!(RoomName::parse(Some(given)).unwrap().name, name);
        }
        for bad in [
            "a\u{200d}b",
            "a\u{fe0f}",
            "1\u{fe0f}",
            "\u{200d}🎉",
            "\u{e000}",
        ] {
            assert!(RoomName::parse(Some(bad)).is_err(), "{bad:?}");
        }
    }
}
