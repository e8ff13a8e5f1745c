//! The published packages: one version everywhere, licences inside each, pinned actions, working
//! links.

use std::fs;
use std::path::Path;

use crate::support::sources::{assert_none, files, read, root, show};

/// The files in which each package states its version, with the text before it.
const VERSIONS: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace.package]\nversion = \""),
    ("Cargo.toml", "\nheadcount = { version = \""),
    (
        "ffi-elixir/native/headcount_nif/Cargo.toml",
        "\nversion = \"",
    ),
    (
        "ffi-elixir/native/headcount_nif/Cargo.toml",
        "\nheadcount = { version = \"",
    ),
    ("ffi-elixir/mix.exs", "@version \""),
    (
        "reference-server/web/headcount/package.json",
        "\"version\": \"",
    ),
];

#[test]
fn all_packages_have_one_version() {
    let wrong: Vec<_> = VERSIONS
        .iter()
        .map(|&(file, before)| (file, quoted_after(&read(&root().join(file)), before)))
        .filter(|(_, version)| version.as_deref() != Some(env!("CARGO_PKG_VERSION")))
        .map(|(file, version)| format!("{file}: {version:?}"))
        .collect();
    assert_none("other versions than that of the crate", &wrong);
}

#[test]
fn packages_carry_the_licences() {
    let mut wrong = Vec::new();
    for folder in ["core", "ffi-elixir", "ffi-python"] {
        for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
            let copy = root().join(folder).join(name);
            if fs::read(&copy).ok() != fs::read(root().join(name)).ok() {
                wrong.push(show(&copy));
            }
        }
    }
    assert_none("licences unlike those of the root", &wrong);
}

#[test]
fn workflows_pin_the_actions_of_others() {
    let mut wrong = Vec::new();
    for file in files(&root().join(".github"), "yml") {
        for (number, line) in read(&file).lines().enumerate() {
            let Some((_, action)) = line.split_once("uses: ") else {
                continue;
            };
            if !action.starts_with("./") && !is_pinned(action) {
                wrong.push(format!("{}:{}: {action}", show(&file), number + 1));
            }
        }
    }
    assert_none(
        "actions without a commit and a comment that names its tag",
        &wrong,
    );
}

#[test]
fn links_between_documents_lead_to_files() {
    let mut wrong = Vec::new();
    for file in files(&root(), "md") {
        let folder = file.parent().expect("a file lies in a folder");
        for target in links(&read(&file)) {
            let path = target.split('#').next().unwrap_or_default();
            let is_elsewhere = target.contains(':') || path.is_empty();
            if !is_elsewhere && !is_item(path) && !folder.join(path).exists() {
                wrong.push(format!("{}: {target}", show(&file)));
            }
        }
    }
    assert_none("links to files that are not there", &wrong);
}

#[test]
fn the_checkers_see_what_they_should() {
    assert!(is_pinned(
        "a/b@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0"
    ));
    assert!(!is_pinned("a/b@08c6903cd8c0fde910a37f88322edcfb5dd907a8"));
    assert!(!is_pinned("a/b@v5 # v5"));
    let text = "[a](b.md) and ![c](d/e.png)\n[`F`](crate::F)";
    assert_eq!(links(text), ["b.md", "d/e.png", "crate::F"]);
    assert_eq!(
        quoted_after("v = \"1.2\"", "v = \"").as_deref(),
        Some("1.2")
    );
}

fn is_pinned(action: &str) -> bool {
    let Some((_, pin)) = action.split_once('@') else {
        return false;
    };
    let (commit, tag) = pin.split_once(" # v").unwrap_or((pin, ""));
    let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit && !tag.is_empty()
}

/// Returns the targets of `[text](target)` in order.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1);
    targets.filter_map(|rest| rest.split(')').next()).collect()
}

/// Rustdoc resolves links such as `Presence::new` by itself.
fn is_item(path: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    path.chars().all(is_name) && Path::new(path).extension().is_none()
}

fn quoted_after(text: &str, before: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    rest.split('"').next().map(str::to_owned)
}
