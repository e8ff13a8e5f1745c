//! The house style, checked: sizes, line lengths, and the arrows between the modules of core.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::sources::{assert_none, files, read, root, show};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LIB_LINES_MAX: usize = 150;
const COLUMNS_MAX: usize = 120;

/// Comments whose first word names no agent. Lower it with each one that is rewritten.
const OPENERS_MAX: usize = 48;
/// Bindings that pack several values into one line. Lower it with each one that is rewritten.
const PACKED_LETS_MAX: usize = 10;

/// The modules of core that a module may name, besides itself (ARCHITECTURE.md, "Code map"). Within
/// a module `tidy_circles` holds the order.
const ARROWS: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("text_or_bytes", &[]),
    ("fault", &[]),
    ("codec", &["id", "fault"]),
    ("error", &["codec"]),
    (
        "tracker",
        &["id", "codec", "error", "fault", "text_or_bytes"],
    ),
    ("member_list", &["id", "codec", "fault", "text_or_bytes"]),
    ("replica", &["id", "codec", "error", "fault", "tracker"]),
    (
        "presence",
        &["id", "codec", "error", "fault", "tracker", "replica"],
    ),
    (
        "roster",
        &["id", "error", "presence", "tracker", "member_list"],
    ),
    (
        "runtime",
        &["id", "codec", "error", "presence", "replica", "tracker"],
    ),
    (
        "testing",
        &[
            "id",
            "error",
            "codec",
            "fault",
            "tracker",
            "member_list",
            "replica",
            "presence",
            "roster",
        ],
    ),
];

#[test]
fn the_modules_of_core_only_point_one_way() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let source = root().join("core/src");
    let mut wrong = Vec::new();
    for file in files(&source, "rs") {
        let module = module_of(&source, &file);
        if module == "lib" {
            continue;
        }
        let Some(allowed) = arrows.get(module.as_str()) else {
            wrong.push(format!(
                "{}: module `{module}` is not in the table",
                show(&file)
            ));
            continue;
        };
        for (line, used) in modules_used(&code_of(&file)) {
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!(
                    "{}:{line}: `{module}` may not use `{used}`",
                    show(&file)
                ));
            }
        }
    }
    assert_none("arrows that point the wrong way", &wrong);
}

#[test]
fn only_codec_names_bincode() {
    let is_codec = |file: &str| file.starts_with("core/src/codec/");
    let manifests = ["Cargo.toml", "core/Cargo.toml"];
    let wrong = naming("rs", "bincode::", is_codec);
    assert_none("files outside codec that name bincode", &wrong);
    let is_known = |file: &str| manifests.contains(&file) || !file.ends_with("Cargo.toml");
    let wrong = naming("toml", "bincode", is_known);
    assert_none("crates other than core that depend on bincode", &wrong);
}

#[test]
fn salts_and_seeds_come_from_the_operating_system() {
    let wrong = naming("rs", "RandomState", |_| false);
    assert_none("files that draw numbers from the hasher of a map", &wrong);
}

#[test]
fn files_and_functions_stay_small() {
    let mut wrong = Vec::new();
    for file in sources() {
        let code = code_of(&file);
        let lines = code.lines().filter(|line| is_code(line)).count();
        let max = if file.ends_with("src/lib.rs") {
            LIB_LINES_MAX.max(lines_allowed(&file))
        } else {
            FILE_LINES_MAX
        };
        if lines > max {
            wrong.push(format!(
                "{}: {lines} lines of code, at most {max}",
                show(&file)
            ));
        }
        if file.extension().is_some_and(|extension| extension == "rs") {
            for (line, length) in long_functions(&code) {
                wrong.push(format!(
                    "{}:{line}: a function of {length} lines, at most {FUNCTION_LINES_MAX}",
                    show(&file)
                ));
            }
        }
    }
    assert_none("too long", &wrong);
}

#[test]
fn lines_fit_the_screen() {
    let mut wrong = Vec::new();
    for file in sources() {
        for (number, line) in read(&file).lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                wrong.push(format!("{}:{}: {columns} columns", show(&file), number + 1));
            }
        }
    }
    assert_none("lines that are too long", &wrong);
}

/// A page of methods is read by its first words: "Returns", "Moves", "Makes".
#[test]
fn public_functions_of_core_open_with_a_verb() {
    let mut wrong = Vec::new();
    for file in files(&root().join("core/src"), "rs") {
        let code = code_of(&file);
        for line in functions_without_verb(&code) {
            wrong.push(format!("{}:{line}", show(&file)));
        }
    }
    assert_none(
        "public functions whose comment opens without a verb",
        &wrong,
    );
}

/// Lists the lines of comments on public functions whose first word is no verb as in "Returns".
fn functions_without_verb(code: &str) -> Vec<usize> {
    let mut wrong = Vec::new();
    let mut opening = None;
    for (number, line) in code.lines().enumerate() {
        let line = line.trim_start();
        if let Some(text) = line.strip_prefix("/// ") {
            opening = opening.or(Some((number + 1, first_word(text))));
        } else if !line.starts_with("///") && !line.starts_with('#') {
            let is_function = line.starts_with("pub ") && line.contains("fn ");
            let found = opening.take().filter(|_| is_function);
            wrong.extend(
                found
                    .filter(|(_, word)| !word.ends_with('s'))
                    .map(|(line, _)| line),
            );
        }
    }
    wrong
}

/// A verb and its agent help a reader, and so does one binding a line.
#[test]
fn openers_without_agent_and_packed_lets_become_no_more() {
    let openers = lines_that(opens_without_agent);
    let packed = lines_that(packs_bindings);
    assert!(
        openers <= OPENERS_MAX,
        "{openers} comments open without an agent, at most {OPENERS_MAX}"
    );
    assert!(
        packed <= PACKED_LETS_MAX,
        "{packed} bindings pack several values, at most {PACKED_LETS_MAX}"
    );
}

/// Counts the lines of Rust in the project that `are_so`.
fn lines_that(are_so: impl Fn(&str) -> bool) -> usize {
    let rust = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "rs");
    let files = sources().into_iter().filter(rust);
    files
        .map(|file| read(&file).lines().filter(|line| are_so(line)).count())
        .sum()
}

fn opens_without_agent(line: &str) -> bool {
    const OPENERS: &[&str] = &[
        "Who", "Whoever", "What", "Whether", "Somebody", "Where", "How",
    ];
    let line = line.trim_start();
    let text = line
        .strip_prefix("/// ")
        .or_else(|| line.strip_prefix("//! "));
    text.and_then(|text| text.split(' ').next())
        .is_some_and(|word| OPENERS.contains(&word))
}

fn packs_bindings(line: &str) -> bool {
    let binding = line.trim_start().strip_prefix("let (");
    binding
        .and_then(|rest| rest.split_once(") = "))
        .is_some_and(|(names, value)| names.contains(',') && value.starts_with('('))
}

#[test]
fn the_checker_sees_what_it_should() {
    assert!(
        opens_without_agent("    /// Whether it is")
            && !opens_without_agent("// Whether")
            && !opens_without_agent("/// Returns")
    );
    assert!(
        packs_bindings("    let (a, mut b) = (c, d);") && !packs_bindings("let (a, b) = pair;")
    );
    let used = modules_used("use crate::{id::Dot, tracker::{A, B}};\nlet x = crate::codec::f();\n");
    let names: Vec<_> = used.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["id", "tracker", "codec"]);
    let long = format!("    fn f() {{\n{}    }}\n", "        g();\n".repeat(80));
    assert_eq!(long_functions(&long), [(1, 82)]);
    assert_eq!(long_functions("fn f() {\n    g();\n}\n"), []);
    let documented = "/// A row.\n#[must_use]\npub fn f();\n/// Returns it.\npub const fn g();\n/// It.\nfn h();\n";
    assert_eq!(functions_without_verb(documented), [1]);
}

/// Lists the files with this ending whose code contains `text`, except those that `may` contain it
/// and this one.
fn naming(ending: &str, text: &str, may: impl Fn(&str) -> bool) -> Vec<String> {
    files(&root(), ending)
        .into_iter()
        .filter(|file| code_of(file).contains(text))
        .map(|file| show(&file))
        .filter(|file| !may(file) && file != "core/tests/it/tidy.rs")
        .collect()
}

/// Returns the code before the unit tests at the bottom of a file; in Python and Elixir, all but
/// the documentation between triple quotes.
fn code_of(file: &Path) -> String {
    let text = read(file);
    if file.extension().is_none_or(|ending| ending != "rs") {
        return text.split("\"\"\"").step_by(2).collect();
    }
    let end = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].to_owned()
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//") && !line.starts_with('#')
}

/// The roots of the bindings and the server may declare what they register; core's may only
/// re-export.
fn lines_allowed(file: &Path) -> usize {
    if show(file).starts_with("core/") {
        0
    } else {
        FILE_LINES_MAX
    }
}

/// Lists every hand-written source file of the project.
fn sources() -> Vec<PathBuf> {
    let folders = [
        "core",
        "reference-server",
        "ffi-elixir",
        "ffi-python",
        "benches",
        "fuzz",
    ];
    let endings = ["rs", "ex", "exs", "py", "pyi", "mjs", "js"];
    folders
        .iter()
        .flat_map(|folder| endings.iter().map(move |ending| (folder, ending)))
        .flat_map(|(folder, ending)| files(&root().join(folder), ending))
        .collect()
}

fn module_of(source: &Path, file: &Path) -> String {
    let inside = file
        .strip_prefix(source)
        .expect("the file was found below the folder");
    let first = inside
        .components()
        .next()
        .expect("a file has a name")
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Returns the modules named by `crate::x` and `use crate::{x, y::z}`, with their line numbers.
fn modules_used(code: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (number, line) in statements(code) {
        let mut rest = line.as_str();
        while let Some(at) = rest.find("crate::") {
            rest = &rest[at + "crate::".len()..];
            match rest.strip_prefix('{') {
                Some(group) => {
                    used.extend(group_names(group).into_iter().map(|name| (number, name)))
                }
                None => used.push((number, first_word(rest))),
            }
        }
    }
    used
}

/// Returns lines without comments; a `use` over several lines is joined to one.
fn statements(code: &str) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in code.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        match joined.last_mut() {
            Some((_, statement)) if open => statement.push_str(line.trim()),
            _ => joined.push((number + 1, line.to_owned())),
        }
        let statement = joined
            .last()
            .map(|(_, statement)| statement.trim_start())
            .unwrap_or_default();
        let is_use = statement.starts_with("use ")
            || statement.starts_with("pub use ")
            || statement.starts_with("pub(crate) use ");
        open = is_use && !statement.ends_with(';');
    }
    joined
}

fn group_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut start = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && depth == 0 && !c.is_whitespace() => {
                names.push(first_word(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// Returns functions over the limit as (line, length). Relies on rustfmt: a function ends at a `}`
/// of its own indentation.
fn long_functions(code: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let is_function = text
            .split('(')
            .next()
            .is_some_and(|head| head.split_whitespace().any(|word| word == "fn"));
        if !is_function || text.starts_with("//") || text.ends_with(';') || text.ends_with('}') {
            continue;
        }
        let end = format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[start..].iter().position(|line| *line == end) else {
            continue;
        };
        if length + 1 > FUNCTION_LINES_MAX {
            long.push((start + 1, length + 1));
        }
    }
    long
}
