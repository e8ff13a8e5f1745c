//! The shared vectors of `core/tests/golden/events/`: frames after which a node reports an event
//! that is hard to come by. Elixir and Python replay them too.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use headcount::replica::{Config, Event};
use headcount::tracker::Limits;
use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};

use crate::support::mesh::{events, seconds};

/// The incarnation whose 8 bytes, in an id with a name of 6 bytes, cancel the first term of XXH3-64:
/// the first four bytes of the name then do not count.
const BLIND: u64 = 0x1cad_21f7_2c81_017c;

fn config() -> PresenceConfig {
    PresenceConfig::default()
        .seed(1)
        .replication(Config::default().cluster("events"))
}

fn sender(name: &str, incarnation: u64, config: PresenceConfig) -> Presence {
    Presence::new(ReplicaId::new(name, incarnation, 1 << 20).unwrap(), config)
}

/// Returns what a node sends to all until a time, in seconds.
fn frames(node: &Presence, until: u64) -> Vec<Bytes> {
    let mut sent = Vec::new();
    for step in 0..=100 * until {
        node.handle_timeout(Duration::from_millis(10 * step));
        sent.extend(std::iter::from_fn(|| node.poll_transmit()).map(|transmit| transmit.frame));
    }
    sent
}

/// An entry over a limit of the reader.
fn refused() -> Vec<Bytes> {
    let wide = config().limits(Limits::default().owner_len_max(200));
    let wide = sender("wide", 1, wide);
    let owner = "o".repeat(200);
    wide.track(&NewEntry::new("room", "ann", &owner)).unwrap();
    frames(&wide, 1)
}

/// Two nodes of one identity, whose first entries differ.
fn divergence() -> Vec<Bytes> {
    let twins = ["ann", "bob"].map(|key| {
        let twin = sender("twin", 1, config());
        twin.track(&NewEntry::new("room", key, "conn")).unwrap();
        twin
    });
    let mut sent = frames(&twins[0], 1);
    twins[1]
        .track(&NewEntry::new("room", "cid", "conn"))
        .unwrap();
    sent.extend(frames(&twins[1], 2));
    sent
}

/// Two nodes whose ids have one hash.
fn handle_collision() -> Vec<Bytes> {
    let alike = ["ann-07", "bob-07"].map(|name| sender(name, BLIND, config()));
    alike.iter().flat_map(|node| frames(node, 1)).collect()
}

/// Returns the frames of a vector, one in each line; with `HEADCOUNT_BLESS=1` it is written first.
fn golden(name: &str, about: &str, frames: &[Bytes]) -> Vec<Vec<u8>> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden/events", name]
        .iter()
        .collect();
    if std::env::var_os("HEADCOUNT_BLESS").is_some() {
        let mut text = format!("# {about}\n");
        for frame in frames {
            for byte in frame {
                write!(text, "{byte:02x}").unwrap();
            }
            text.push('\n');
        }
        fs::write(&path, text).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(decoded).collect()
}

fn decoded(line: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
    (0..line.len()).step_by(2).map(byte).collect()
}

/// Checks that a new node reports the event, once, when it takes the frames of a vector.
#[track_caller]
fn check(name: &str, about: &str, written: &[Bytes], is_told: impl Fn(&Event) -> bool) {
    let frames = golden(name, about, written);
    assert_eq!(
        frames, written,
        "{name} differs from what this build writes"
    );
    let reader = Presence::new(ReplicaId::new("reader", 1, 0).unwrap(), config());
    reader.handle_timeout(Duration::ZERO);
    for frame in frames {
        reader
            .handle_message(seconds(1), "peer", &frame.into())
            .unwrap();
    }
    let told = events(&reader);
    let count = told.iter().filter(|event| is_told(event)).count();
    assert_eq!(count, 1, "{name}: {told:?}");
}

#[test]
fn an_entry_over_a_limit_is_refused() {
    let about =
        "`wide` has an entry with an owner of 200 bytes, and its reader takes fewer: `refused`.";
    check(
        "refused.hex",
        about,
        &refused(),
        |event| matches!(event, Event::Refused { origin, .. } if origin.name() == "wide"),
    );
}

#[test]
fn two_nodes_of_one_identity_diverge() {
    let about = "Two nodes of one identity, `twin`, have different first entries: `divergence`.";
    check(
        "divergence.hex",
        about,
        &divergence(),
        |event| matches!(event, Event::Divergence { origin, .. } if origin.name() == "twin"),
    );
}

#[test]
fn two_ids_of_one_hash_collide() {
    let about = "The ids of `ann-07` and `bob-07` have one hash: `handle_collision`.";
    check(
        "handle_collision.hex",
        about,
        &handle_collision(),
        |event| matches!(event, Event::HandleCollision { refused, .. } if refused.name() == "bob-07"),
    );
}
