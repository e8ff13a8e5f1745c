//! Validation of texts and ids from clients.

use uuid::Uuid;

use crate::names;

const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_BYTES_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 500;
const CLIENT_ID_BYTES_MAX: usize = 64;
/// The longest message, in characters.
pub(crate) const CONTENT_CHARS_MAX: usize = 4_000;

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
    if !names::is_seen(text) {
        return Err("can't be blank".into());
    }
    multiline(text, CONTENT_CHARS_MAX)
}

/// Checks a client's own name of a message: 1 to 64 printable ASCII characters.
pub(crate) fn client_id(input: Option<String>) -> Result<Option<String>, String> {
    let is_good = |id: &String| {
        (1..=CLIENT_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
    };
    if input.as_ref().is_none_or(is_good) {
        Ok(input)
    } else {
        Err(format!(
            "should be 1 to {CLIENT_ID_BYTES_MAX} printable ASCII characters"
        ))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents() {
        assert!(content(Some("two\nlines\t🎉")).is_ok());
        for blank in [
            "",
            " \n ",
            "\u{200b}",
            "\u{3164}\u{fe0f}",
            "\u{2800}",
            "\u{e0041}",
        ] {
            assert_eq!(content(Some(blank)).unwrap_err(), "can't be blank");
        }
        assert!(content(Some("\u{2764}\u{fe0f}")).is_ok());
        assert!(content(Some("bell \u{7}")).is_err());
        assert!(content(Some(&"é".repeat(4_000))).is_ok());
        assert!(content(Some(&"é".repeat(4_001))).is_err());
    }
}
