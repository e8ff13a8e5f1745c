//! Reading a frame allocates at most twice its length, whatever it claims.

use std::fs;
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use headcount::codec::{Envelope, Kind, Writer};
use headcount::replica::{Config, Shape};
use headcount::tracker::{DeltaHead, Limits, RepairHead, StagedDelta, StagedRepair};
use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId, Tracker};
use proptest::prelude::*;

use crate::support::mesh::presence;
use crate::support::trackers::tracker;

/// Bytes that a reader may allocate beyond twice the input: an error, an id, a first topic table.
const SLACK: u64 = 1_024;
/// Bytes that an accepted message may store: the record of a peer and of its replica.
const STORED: u64 = 16 * 1_024;
/// A first refusal: a node keeps the peer and the rule for a minute, to tell of them with a count.
const REFUSED: u64 = 2_048;

/// Returns the most bytes that `read` had allocated at one time, on this thread.
fn peak<R>(read: impl FnOnce() -> R) -> (R, u64) {
    let mut result = None;
    let info = measure(|| result = Some(read()));
    (result.expect("it ran"), info.bytes_max)
}

#[track_caller]
fn bounded<R>(what: &str, input: &[u8], extra: u64, read: impl FnOnce() -> R) -> R {
    let (result, peak) = peak(read);
    let bound = 2 * input.len() as u64 + extra;
    assert!(
        peak <= bound,
        "{what}: {} bytes cost {peak}, over {bound}",
        input.len()
    );
    result
}

/// Every reader of the body of a state.
fn read_body(bytes: &Bytes) {
    let limits = Limits::default();
    let _ = bounded("DeltaHead", bytes, SLACK, || DeltaHead::decode(bytes));
    let _ = bounded("RepairHead", bytes, SLACK, || RepairHead::decode(bytes));
    let _ = bounded("StagedDelta", bytes, SLACK, || {
        StagedDelta::new(bytes.clone(), &limits)
    });
    let _ = bounded("StagedRepair", bytes, SLACK, || {
        StagedRepair::new(bytes.clone(), &limits)
    });
    for kind in [Kind::STATE_DELTA, Kind::STATE_REPAIR] {
        read_frame(&Envelope::default().seal(kind, None, bytes));
    }
}

/// Reads a frame for a tracker: neither its check nor its refusal stores anything.
fn read_frame(frame: &[u8]) {
    let _ = bounded("open", frame, SLACK, || {
        Envelope::default().open(frame).is_ok()
    });
    let mut t = tracker("t");
    let checked = bounded("check_frame", frame, SLACK, || t.check_frame(frame));
    if checked.is_err() {
        let refused = bounded("apply", frame, SLACK, || t.apply(frame));
        assert!(refused.is_err());
    }
}

/// A message for a presence of any cluster name.
fn read_message(frame: &[u8], config: Config) {
    let frame = Bytes::copy_from_slice(frame);
    let node = presence("here", PresenceConfig::default().replication(config));
    let now = Duration::from_secs(1);
    node.handle_timeout(now);
    while node.poll_transmit().is_some() {}
    let (taken, peak) = peak(|| node.handle_message(now, "there", &frame).is_ok());
    let extra = if taken { STORED } else { REFUSED };
    let bound = 2 * frame.len() as u64 + extra;
    assert!(
        peak <= bound,
        "a message of {} bytes cost {peak}, over {bound}",
        frame.len()
    );
}

fn messages_of(kind: u8, body: &[u8]) {
    let envelope = Envelope::new("headcount", None, Shape::default());
    for partition in [None, Some(3)] {
        read_message(
            &envelope.seal(Kind(kind), partition, body),
            Config::default(),
        );
    }
}

/// The golden frames: name and bytes.
fn golden() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/frames");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let digits: Vec<u8> = lines
            .flat_map(str::bytes)
            .filter(u8::is_ascii_hexdigit)
            .collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        let bytes = digits.chunks(2).map(|pair| byte(pair).unwrap()).collect();
        (entry.file_name().into_string().unwrap(), bytes)
    };
    fs::read_dir(folder).unwrap().map(read).collect()
}

/// A valid Delta body of many small records: the worst case of the topic table.
fn many_topics(entries: usize) -> Vec<u8> {
    let mut a = tracker("a");
    for i in 0..entries {
        a.track(&NewEntry::new(&format!("{i:x}"), "", "")).unwrap();
    }
    a.push_body(0).unwrap()
}

#[test]
fn the_meter_sees_what_is_allocated() {
    assert!(peak(|| vec![0u8; 5_000]).1 >= 5_000);
    assert_eq!(peak(|| 1).1, 0);
}

#[test]
fn golden_frames_cost_at_most_twice_their_length_whole_cut_and_altered() {
    let frames = golden();
    assert!(frames.len() >= 13);
    for (name, frame) in frames {
        read_frame(&frame);
        for cluster in ["headcount", "cluster", "test", ""] {
            read_message(&frame, Config::default().cluster(cluster));
        }
        let kind = frame[4];
        let start = if frame[5] & 2 == 0 { 16 } else { 20 };
        let end = frame.len() - 8;
        assert!(end > start, "{name} has a body");
        let body = &frame[start..end];
        read_body(&Bytes::copy_from_slice(body));
        for at in 0..body.len() {
            messages_of(kind, &body[..at]);
            for flip in [1, 0x80, 0xFF] {
                let mut bent = body.to_vec();
                bent[at] ^= flip;
                read_body(&Bytes::copy_from_slice(&bent));
                messages_of(kind, &bent);
            }
        }
    }
}

#[test]
fn large_bodies_cost_at_most_twice_their_length() {
    for entries in [1, 9, 1_000, 20_000] {
        let body = many_topics(entries);
        read_body(&Bytes::copy_from_slice(&body));
        read_body(&Bytes::copy_from_slice(&body[..body.len() - 1]));
        let mut bad_end = body.clone();
        bad_end.push(0xFF);
        read_body(&Bytes::from(bad_end));
    }
}

/// Lengths and counts far beyond the bytes that follow.
#[test]
fn claims_reserve_nothing() {
    for claim in [251u64, 1 << 16, 1 << 31, 1 << 40, 1 << 61, u64::MAX] {
        let mut head = Writer::new();
        head.identity("a", 1, 0);
        [0, 0].into_iter().for_each(|value| head.u8(value));
        [0, 9].into_iter().for_each(|tick| head.u64(tick));
        let head = head.into_vec();
        let mut repair = head.clone();
        let mut count = Writer::new();
        count.u64(claim);
        repair.extend(count.as_slice());
        read_body(&Bytes::from(repair));
        let mut length = Writer::new();
        length.u8(0);
        length.u64(claim);
        let delta = [head, length.into_vec()].concat();
        read_body(&Bytes::from(delta));
        for kind in 0..=40 {
            let mut message = Writer::new();
            message.identity("there", 5, 5);
            (0..6).for_each(|_| message.u64(claim));
            messages_of(kind, message.as_slice());
        }
        restore(&snapshot_body(claim));
    }
}

/// Names of 1 MiB, which no entry has, are not copied by what asks for one.
#[test]
fn leases_of_names_that_cannot_be_cost_nothing() {
    let config = PresenceConfig::default().grace(Duration::from_secs(10));
    let presence = presence("a", config);
    let entry = NewEntry::new("room", "ann", "conn");
    presence.track(&entry).unwrap();
    presence.lease_owner(Duration::ZERO, "conn", Duration::from_secs(1));
    let long = "x".repeat(1 << 20);
    let (_, peak) = peak(|| {
        let ttl = Duration::from_secs(1);
        assert!(!presence.lease(Duration::ZERO, &long, "ann", "conn", ttl));
        assert!(!presence.lease(Duration::ZERO, "room", &*long, "conn", ttl));
        assert!(!presence.lease(Duration::ZERO, "room", "ann", &long, ttl));
        presence.lease_owner(Duration::ZERO, &long, ttl);
        presence.owner_lost(Duration::ZERO, &long);
        assert!(!presence.owner_back(&long));
        assert!(!presence.untrack(&long, &*long, &long));
        assert_eq!(presence.untrack_owner(&long), 0);
        assert!(presence.get_by_key("room", &*long).unwrap().is_empty());
        assert_eq!(presence.count(&long).unwrap(), 0);
    });
    assert!(peak < 64 * 1024, "{peak} bytes at the peak");
    assert_eq!(presence.count("room").unwrap(), 1);
}

/// Returns the body of a snapshot whose first state claims a length.
fn snapshot_body(claim: u64) -> Vec<u8> {
    let mut body = Writer::new();
    body.u8(2);
    body.identity("a", 1, 0);
    body.u8(5);
    [3, 9, claim].into_iter().for_each(|value| body.u64(value));
    body.raw(&[7; 40]);
    body.into_vec()
}

/// A refused snapshot costs as much as an empty presence, and twice its own bytes.
fn restore(body: &[u8]) {
    let snapshot = Envelope::default().seal(Kind::SNAPSHOT, None, body);
    let id = || ReplicaId::new("b", 1, 0).unwrap();
    let (_, empty) = peak(|| Presence::new(id(), PresenceConfig::default()));
    let restored = bounded("restore", &snapshot, empty + SLACK, || {
        Presence::restore(id(), PresenceConfig::default(), &snapshot)
    });
    assert!(restored.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_cost_at_most_twice_their_length(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        kind in 0..40u8,
    ) {
        read_body(&Bytes::copy_from_slice(&bytes));
        read_frame(&bytes);
        messages_of(kind, &bytes);
        let mut sender = Writer::new();
        sender.identity("there", 5, 5);
        sender.raw(&bytes);
        messages_of(kind, sender.as_slice());
    }

    /// A valid body of many records, altered in a few places.
    #[test]
    fn altered_bodies_cost_at_most_twice_their_length(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        repair: bool,
    ) {
        let mut a = Tracker::new(ReplicaId::new("a", 1, 0).unwrap());
        for i in 0..200 {
            let topic = format!("topic {}", i % 20);
            a.track(&NewEntry::new(&topic, &format!("user {i}"), "c").meta(&[b'x'; 20])).unwrap();
        }
        a.untrack_owner("nobody");
        let body = if repair { a.full_body(a.id()) } else { a.push_body(0) };
        let mut body = body.unwrap();
        for (at, byte) in flips {
            let at = at.index(body.len());
            body[at] ^= byte;
        }
        read_body(&Bytes::from(body));
    }
}
