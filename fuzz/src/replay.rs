//! The corpus, run through a property without libFuzzer.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::seeds::seeds;

/// Returns the folder of the seed inputs of a target.
#[must_use]
pub fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// Runs `property` on a file, or on each file of a folder, and returns how many there were.
/// A property that fails panics; the name of the file is printed first.
pub fn replay(path: &Path, property: fn(&[u8])) -> io::Result<usize> {
    let files = if path.is_dir() {
        files_of(path)?
    } else {
        vec![path.to_owned()]
    };
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

/// Writes the seeds of a target that its corpus lacks, and returns how many.
pub fn write_seeds(target: &str) -> io::Result<usize> {
    let folder = corpus(target);
    fs::create_dir_all(&folder)?;
    let mut written = 0;
    for (name, bytes) in seeds(target) {
        let path = folder.join(name);
        if fs::read(&path).ok().as_ref() != Some(&bytes) {
            fs::write(path, bytes)?;
            written += 1;
        }
    }
    Ok(written)
}

/// Iterates over endless variations of an input: bytes changed, cut, doubled, numbers made large. The same
/// for the same seed.
pub fn mutations(input: &[u8], seed: u64) -> impl Iterator<Item = Vec<u8>> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let input = input.to_vec();
    std::iter::repeat_with(move || {
        let mut bytes = input.clone();
        for _ in 0..=next() % 3 {
            let what = next() % 8;
            let value = next();
            let at = usize::try_from(next()).unwrap_or(0) % (bytes.len() + 1);
            match what {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, value as u8),
                2 => bytes.extend_from_within(at..),
                3 => bytes.splice(at..at, value.to_le_bytes()).for_each(drop),
                _ if at == bytes.len() => bytes.push(value as u8),
                4 => bytes[at] ^= 1 << (value % 8),
                5 => bytes[at] = [0, 1, 127, 128, 250, 251, 252, 253, 255][value as usize % 9],
                6 => drop(bytes.remove(at)),
                _ => bytes[at] = value as u8,
            }
        }
        bytes
    })
}

/// Replays, as a target's program does without `--cfg fuzzing`, the paths on its command line,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TARGETS;

    /// Every property holds for every file of every corpus, and for mutations of each.
    #[test]
    fn the_corpora_and_their_mutations_hold() {
        for target in TARGETS {
            let files = files_of(&corpus(target.name)).expect("each target has a corpus");
            assert!(
                files.len() >= 8,
                "{} has a corpus of {}",
                target.name,
                files.len()
            );
            replay(&corpus(target.name), target.property).expect("the corpus is readable");
            for (seed, file) in (1..).zip(&files) {
                let input = fs::read(file).expect("the corpus is readable");
                for mutation in mutations(&input, seed * 0x9e37_79b9).take(target.mutations) {
                    let outcome = std::panic::catch_unwind(|| (target.property)(&mutation));
                    let name = file.display();
                    assert!(
                        outcome.is_ok(),
                        "{} fails on {mutation:?}, from {name}",
                        target.name
                    );
                }
            }
        }
    }

    /// The wire format is pinned: the seeds equal the committed files.
    #[test]
    fn the_seeds_are_in_the_corpora() {
        for target in TARGETS {
            for (name, bytes) in seeds(target.name) {
                let path = corpus(target.name).join(&name);
                let there = fs::read(&path).unwrap_or_default();
                assert_eq!(there, bytes, "{}: run the program `seed`", path.display());
            }
        }
    }

    /// The corpus of messages has every kind, and a presence accepts each.
    #[test]
    fn every_kind_of_message_is_in_the_corpus() {
        use crate::targets::Message;
        use headcount::codec::{Envelope, Kind, Shape};
        use headcount::{Presence, PresenceConfig, ReplicaId};
        let id = ReplicaId::new("here", 1, 1).expect("a valid id");
        let presence = Presence::new(id, PresenceConfig::default());
        let envelope = Envelope::new("headcount", None, Shape::default());
        let taken = |(_, bytes): &(String, Vec<u8>)| {
            let (choice, rest) = bytes.split_first()?;
            let message = Message::read(*choice, rest);
            let frame = message.seal(&envelope);
            let now = std::time::Duration::from_secs(1);
            presence.handle_message(now, "there", &frame).ok()?;
            Some(message.kind)
        };
        let kinds: std::collections::BTreeSet<u8> =
            seeds("decode").iter().filter_map(taken).collect();
        let known = (Kind::HELLO.0..=Kind::HEARD.0).filter(|kind| Kind(*kind).name() != "other");
        let missing: Vec<u8> = known.filter(|kind| !kinds.contains(kind)).collect();
        assert!(missing.is_empty(), "no seed of the kinds {missing:?}");
    }
}
