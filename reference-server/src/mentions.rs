//! Mentions: the users that a message names after `@`.

use crate::names::Username;

/// The places of a message at which a name is looked for: one that names more is meant for nobody in particular.
const PLACES_MAX: usize = 10;
/// The words of a name that are looked for.
const WORDS_MAX: usize = 4;

/// Returns the skeletons of the names that may stand at each `@`, the longest first; at most ten places with eight
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

/// Returns what a text may begin with: its first words, with and without the punctuation after them.
fn names_at(text: &str) -> Vec<String> {
    let line = text.lines().next().unwrap_or_default();
    if line.starts_with(char::is_whitespace) {
        return Vec::new();
    }
    let spaces = line.match_indices(' ').map(|(i, _)| i);
    let ends: Vec<usize> = spaces.chain([line.len()]).take(WORDS_MAX).collect();
    let mut names = Vec::new();
    for end in ends.into_iter().rev() {
        let words = &line[..end];
        let bare = words.trim_end_matches(|c: char| !c.is_alphanumeric());
        let with = Username::parse(Some(words)).ok();
        let without = Username::parse(Some(bare)).ok();
        for name in with.into_iter().chain(without) {
            if !names.contains(&name.skeleton) {
                names.push(name.skeleton);
            }
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
        assert!(names.iter().all(|names| names.len() == WORDS_MAX));
        let long = format!("@{}", "x".repeat(4_000));
        assert!(super::names(&long).is_empty());
    }
}
