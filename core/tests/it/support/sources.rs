//! The files of the project, for tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn assert_none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("core stands in the workspace")
        .to_path_buf()
}

pub(crate) fn show(file: &Path) -> String {
    file.strip_prefix(root())
        .unwrap_or(file)
        .display()
        .to_string()
}

pub(crate) fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", show(file)))
}

pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    const SKIPPED: &[&str] = &[
        ".git",
        "target",
        "node_modules",
        "_build",
        "deps",
        "vendor",
        ".venv",
        "build_cache",
        "golden",
        "corpus",
    ];
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                found.extend(files(&path, ending));
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == ending)
        {
            found.push(path);
        }
    }
    found.sort();
    found
}
