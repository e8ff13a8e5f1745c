//! The corpus, run through a property without libFuzzer.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The seed inputs of a target, in this folder.
pub fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// Runs `property` on a file, or on each file of a folder, and returns how many there were.
/// A property that fails panics; the name of the file is printed first.
pub fn replay(path: &Path, property: fn(&[u8])) -> io::Result<usize> {
    let files = if path.is_dir() { files_of(path)? } else { vec![path.to_owned()] };
    for file in &files {
        let data = fs::read(file)?;
        let outcome = std::panic::catch_unwind(|| property(&data));
        if let Err(panic) = outcome {
            eprintln!("the property fails on {}", file.display());
            std::panic::resume_unwind(panic);
        }
    }
    Ok(files.len())
}

/// What a target's program does without `--cfg fuzzing`: replays the paths on its command line,
/// or its corpus when there are none.
pub fn main(target: &str, property: fn(&[u8])) -> io::Result<()> {
    let mut paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    if paths.is_empty() {
        paths.push(corpus(target));
    }
    let mut inputs = 0;
    for path in &paths {
        inputs += replay(path, property)?;
    }
    println!("{target}: {inputs} inputs hold");
    Ok(())
}

fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}
