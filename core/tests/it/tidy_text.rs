//! The prose of the project, checked: Markdown fits the screen, and sentences name their agents.

use std::path::Path;

use crate::support::sources::{assert_none, files, read, root, show};

const MARKDOWN_COLUMNS_MAX: usize = 120;

/// Words that name no agent, or no English reader expects. Say which part acts, and "again".
const FOREIGN: &[&str] = &["anew", "somebody", "whoever", "what is where"];

#[test]
fn markdown_fits_the_screen() {
    let mut wrong = Vec::new();
    for file in files(&root(), "md") {
        for (number, columns) in long_lines(&read(&file)) {
            wrong.push(format!("{}:{number}: {columns} columns", show(&file)));
        }
    }
    assert_none("lines of Markdown that are too long", &wrong);
}

#[test]
fn sentences_name_their_agents() {
    let mut wrong = Vec::new();
    for file in files(&root(), "md").into_iter().chain(files(&root(), "rs")) {
        for (number, word) in foreign_lines(&file) {
            wrong.push(format!("{}:{number}: \"{word}\"", show(&file)));
        }
    }
    assert_none("words that name no agent", &wrong);
}

/// Lists the lines with more columns than fit, except tables, code, and lines that only a link
/// makes long.
fn long_lines(text: &str) -> Vec<(usize, usize)> {
    let mut long = Vec::new();
    let mut is_fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        }
        let is_exempt = is_fenced || line.starts_with('|') || line.starts_with("    ");
        let columns = line.chars().count();
        if !is_exempt && columns - link_columns(line) > MARKDOWN_COLUMNS_MAX {
            long.push((number + 1, columns));
        }
    }
    long
}

/// Counts the columns of the addresses in a line.
fn link_columns(line: &str) -> usize {
    let inline = line.split("](").skip(1);
    let inline = inline.map(|rest| rest.find(')').unwrap_or(rest.len()));
    let bare = line
        .split_whitespace()
        .filter(|word| word.starts_with("https://"));
    inline.sum::<usize>() + bare.map(|word| word.chars().count()).sum::<usize>()
}

/// Lists the lines of Markdown, or of comments in Rust, that have a foreign word.
fn foreign_lines(file: &Path) -> Vec<(usize, &'static str)> {
    let is_rust = file.extension().is_some_and(|ending| ending == "rs");
    let text = read(file);
    let lines = text.lines().enumerate();
    let found = lines.filter_map(|(number, line)| {
        let prose = if is_rust {
            line.split_once("//")?.1
        } else {
            line
        };
        foreign_word(prose).map(|word| (number + 1, word))
    });
    found.collect()
}

fn foreign_word(prose: &str) -> Option<&'static str> {
    let words: Vec<_> = prose
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let prose = format!(" {} ", words.join(" "));
    let is_in = |word: &&&str| prose.contains(&format!(" {word} "));
    FOREIGN.iter().find(is_in).copied()
}

#[test]
fn the_checker_of_prose_sees_what_it_should() {
    let long = "a ".repeat(61);
    let code = format!("```text\n{long}\n```\n    {long}\n| {long}\n");
    assert_eq!(long_lines(&format!("{code}{long}\n")), [(6, 122)]);
    let linked = format!(
        "[a](https://example.org/{}) is short\n",
        "a".repeat(MARKDOWN_COLUMNS_MAX)
    );
    assert_eq!(long_lines(&linked), []);
    assert_eq!(foreign_word("It begins Anew, then."), Some("anew"));
    assert_eq!(foreign_word("shows what is\twhere"), Some("what is where"));
    assert_eq!(foreign_word("a newer one"), None);
}
