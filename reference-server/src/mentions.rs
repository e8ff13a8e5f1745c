//! Mentions: the users that a message names after `@`.

use unicode_normalization::char::is_combining_mark;

use crate::names::Username;

/// The places of a message at which a name is looked for: one that names more is meant for nobody in particular.
const PLACES_MAX: usize = 10;
/// The characters of a text in which a name may end, and the places there at which it may.
const CHARS_MAX: usize = 64;
const ENDS_MAX: usize = 16;

/// Returns the skeletons of the names that may stand at each `@`, the longest first; at most ten places with sixteen
/// names. An `@` inside of a word, as in an address of e-mail, is none, nor is one after another.
pub(crate) fn names(content: &str) -> Vec<Vec<String>> {
    let mut before = ' ';
    let mut places = Vec::new();
    for (i, c) in content.char_indices() {
        if c == '@' && before != '@' && !before.is_alphanumeric() {
            let names = names_at(&content[i + 1..]);
            places.extend((!names.is_empty()).then_some(names));
        }
        if places.len() == PLACES_MAX {
            break;
        }
        before = c;
    }
    places
}

/// Returns what a text may begin with: a name ends where a word does, or after what is no part of a word.
fn names_at(text: &str) -> Vec<String> {
    let line = text.lines().next().unwrap_or_default();
    if line.starts_with(char::is_whitespace) {
        return Vec::new();
    }
    let mut after_space = true;
    let mut ends = Vec::new();
    for (i, c) in line.char_indices().take(CHARS_MAX) {
        let is_end = !c.is_alphanumeric() && !is_combining_mark(c);
        if is_end && !after_space {
            ends.push(i);
        }
        after_space = c.is_whitespace();
    }
    if line.chars().count() <= CHARS_MAX {
        ends.push(line.len());
    }
    let mut names = Vec::new();
    for end in ends.into_iter().take(ENDS_MAX).rev() {
        if let Ok(name) = Username::parse(Some(&line[..end]))
            && !names.contains(&name.skeleton)
        {
            names.push(name.skeleton);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, expected: &[&[&str]]) {
        assert_eq!(names(content), expected, "{content:?}");
    }

    #[test]
    fn names_begin_after_an_at_and_end_with_a_word() {
        check("", &[]);
        check("@", &[]);
        check("no one @ all", &[]);
        check("@@ada", &[&["@ada"]]);
        check("mail ada@bob.example", &[]);
        check("@ada", &[&["ada"]]);
        check("(@Ada)", &[&["ada)", "ada"]]);
        check("@ada's turn", &[&["ada's turn", "ada's", "ada"]]);
        check("@ada,@bob", &[&["ada,@bob", "ada,", "ada"], &["bob"]]);
        check("@ada/@bob", &[&["ada/@bob", "ada/", "ada"], &["bob"]]);
        check("@ada…go", &[&["ada"]]);
        check("@ada。好", &[&["ada"]]);
        check("@ada-ish", &[&["ada-ish", "ada"]]);
        check("@a b c d e", &[&["a b c d e", "a b c d", "a b c", "a b"]]);
        check("Hi @ADA, come", &[&["ada, corne", "ada,", "ada"]]);
        check(
            "@bób\n@zoë!",
            &[&["bo\u{301}b"], &["zoe\u{308}!", "zoe\u{308}"]],
        );
        check("🚀@ada lovelace", &[&["ada lovelace", "ada"]]);
        check("@ada  lovelace", &[&["ada"]]);
    }

    #[test]
    fn a_message_of_nothing_but_names_costs_no_more_than_ten() {
        let content = "@a-name b c d e f ".repeat(1_000);
        let names = names(&content);
        assert_eq!(names.len(), PLACES_MAX);
        assert!(names.iter().all(|names| names.len() <= ENDS_MAX));
        let long = format!("@{}", "x".repeat(4_000));
        assert!(super::names(&long).is_empty());
    }
}
