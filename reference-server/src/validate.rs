//! Validation of names, texts and ids from clients.

use uuid::Uuid;

const USERNAME_CHARS: (usize, usize) = (2, 32);
const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_BYTES_MAX: usize = 256;
const ROOM_NAME_CHARS_MAX: usize = 80;
const DESCRIPTION_CHARS_MAX: usize = 500;
/// The longest message, in characters.
pub(crate) const CONTENT_CHARS_MAX: usize = 4_000;

/// Checks a user name: 2 to 32 characters of any script, no control or direction characters, not in
/// the form of a guest's.
pub(crate) fn username(input: Option<&str>) -> Result<String, String> {
    let name = line(input, USERNAME_CHARS.1)?;
    if name.chars().count() < USERNAME_CHARS.0 {
        return Err(format!(
            "should be at least {} character(s)",
            USERNAME_CHARS.0
        ));
    }
    let lower = name.to_lowercase();
    // Old clients store presence keys in plain objects, where these two names are unsafe.
    if lower.starts_with("guest-") || lower == "__proto__" || lower == "constructor" {
        return Err("is reserved".into());
    }
    Ok(name)
}

/// Checks a password: 8 characters to 256 bytes.
pub(crate) fn password(input: Option<&str>) -> Result<String, String> {
    let Some(password) = input.filter(|p| !p.is_empty()) else {
        return Err("can't be blank".into());
    };
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(format!(
            "should be at least {PASSWORD_CHARS_MIN} character(s)"
        ));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(format!("should be at most {PASSWORD_BYTES_MAX} byte(s)"));
    }
    Ok(password.to_owned())
}

/// Checks a room name: up to 80 characters on one line.
pub(crate) fn room_name(input: Option<&str>) -> Result<String, String> {
    line(input, ROOM_NAME_CHARS_MAX)
}

/// Checks a room description: may be absent, up to 500 characters.
pub(crate) fn description(input: Option<&str>) -> Result<String, String> {
    match input {
        None | Some("") => Ok(String::new()),
        Some(text) => multiline(text, DESCRIPTION_CHARS_MAX),
    }
}

/// Parses the id of a room, in its canonical form only: a second spelling would be a second topic for the same room.
pub(crate) fn room_id(text: &str) -> Option<Uuid> {
    let id: Uuid = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

/// Checks a message: 1 to 4,000 characters, line breaks allowed.
pub(crate) fn content(input: Option<&str>) -> Result<String, String> {
    let text = input.unwrap_or_default();
    if text.trim().is_empty() {
        return Err("can't be blank".into());
    }
    multiline(text, CONTENT_CHARS_MAX)
}

fn line(input: Option<&str>, chars_max: usize) -> Result<String, String> {
    let text = input.unwrap_or_default().trim();
    if text.is_empty() {
        return Err("can't be blank".into());
    }
    if text.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Err("must not contain control characters".into());
    }
    bounded(text, chars_max)
}

fn multiline(text: &str, chars_max: usize) -> Result<String, String> {
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err("must not contain control characters".into());
    }
    bounded(text, chars_max)
}

fn bounded(text: &str, chars_max: usize) -> Result<String, String> {
    if text.chars().count() > chars_max {
        return Err(format!("should be at most {chars_max} character(s)"));
    }
    Ok(text.to_owned())
}

/// Returns whether a character invisibly changes the display of the text around it. The joiner
/// U+200D is none: emoji are built with it.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames() {
        for good in [
            "ada",
            "  Ada Lovelace ",
            "Жанна",
            "👩‍💻👩‍💻",
            "Robert'); DROP TABLE users;--",
        ] {
            assert_eq!(username(Some(good)).as_deref(), Ok(good.trim()));
        }
        let long = "x".repeat(33);
        for (bad, why) in [
            ("", "can't be blank"),
            (" \t", "can't be blank"),
            ("a", "at least 2"),
            (&long, "at most 32"),
            ("a\u{0}b", "control"),
            ("a\nb", "control"),
            ("a\u{202e}b", "control"),
            ("Guest-1", "reserved"),
            ("__proto__", "reserved"),
        ] {
            let error = username(Some(bad)).unwrap_err();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
        assert_eq!(username(None).unwrap_err(), "can't be blank");
    }

    #[test]
    fn contents() {
        assert!(content(Some("two\nlines\t🎉")).is_ok());
        assert!(content(Some(" \n ")).is_err());
        assert!(content(Some("bell \u{7}")).is_err());
        assert!(content(Some(&"é".repeat(4_000))).is_ok());
        assert!(content(Some(&"é".repeat(4_001))).is_err());
    }
}
