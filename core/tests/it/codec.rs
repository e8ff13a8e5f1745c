//! The bytes on the wire: golden frames, the differential test against wincode, hostile input.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use headcount::codec::{
    DecodeError, DecodeErrorKind, Envelope, Kind, Reader, Shape, SharedKey, Writer,
};
use headcount::member_list::{Bundle, BundleFormat};
use headcount::presence::RestoreError;
use headcount::tracker::{ApplyError, DeltaHead, Encoding, Limits, RepairHead, StagedRepair};
use headcount::{
    Bodies, ListOptions, MemberList, NewEntry, Presence, PresenceConfig, ReplicaId, Tracker,
    Viewer, WindowSpec,
};
use proptest::prelude::*;
use wincode::{SchemaRead, SchemaWrite};

use crate::support::trackers::{listed, tracker};

/// Ann and Bob of the worked example in `docs/wire-format.md`.
fn example() -> Tracker {
    let mut a = tracker("a");
    let ann = NewEntry::new("room", "ann", "phone").meta(b"{}");
    a.track(&ann).unwrap();
    a.track(&NewEntry::new("room", "bob", "laptop")).unwrap();
    a.update(&ann.status(2)).unwrap();
    assert!(a.untrack("room", "bob", "laptop"));
    a
}

/// Several topics, all encodings, an update, leaves by owner.
fn variety() -> Tracker {
    let mut b = Tracker::new(ReplicaId::new("node-ä", 1_700_000_000_000_000, 0xDEAD_BEEF).unwrap());
    let meta = vec![0xA5; 300];
    b.track(&NewEntry::bytes("bin", &[0, 255], &[7], Encoding::Bytes).meta(&meta))
        .unwrap();
    b.track(&NewEntry::bytes("erl", &[131, 97, 7], &[131, 97, 8], Encoding::Term).status(1))
        .unwrap();
    for i in 0..300 {
        b.track(&NewEntry::new(
            "crowd",
            &format!("user {i}"),
            &format!("conn {}", i % 10),
        ))
        .unwrap();
    }
    for i in 1..10 {
        assert_eq!(b.untrack_owner(format!("conn {i}")), 30);
    }
    b.update(&NewEntry::new("crowd", "user 10", "conn 0").meta("\"😀\"".as_bytes()))
        .unwrap();
    b
}

/// Entries with one, two and three updates.
fn updates() -> Tracker {
    let mut c = tracker("c");
    for (key, updates) in [("ann", 1), ("bob", 2), ("cleo", 3)] {
        let entry = NewEntry::new("room", key, "conn").meta(b"{}");
        for _ in 0..=updates {
            c.upsert(&entry).unwrap();
        }
    }
    c
}

/// Returns the bytes of a golden file; with `HEADCOUNT_BLESS=1` it is written first.
fn golden(name: &str, about: &str, bytes: &[u8]) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden/frames", name]
        .iter()
        .collect();
    if std::env::var_os("HEADCOUNT_BLESS").is_some() {
        let mut text = format!("# {about}\n");
        for line in bytes.chunks(32) {
            let line: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&line.join(" "));
            text.push('\n');
        }
        fs::write(&path, text).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let digits: Vec<u8> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::bytes)
        .filter(u8::is_ascii_hexdigit)
        .map(|digit| (digit as char).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[track_caller]
fn check_golden(name: &str, about: &str, bytes: &[u8]) {
    assert_eq!(
        golden(name, about, bytes),
        bytes,
        "{name} differs from what this build writes"
    );
}

/// What stays outside of clusters shares an envelope; a reader tells by the kind what is not its own.
#[test]
fn readers_refuse_the_frames_of_others_by_their_kind() {
    type Read = fn(&[u8]) -> Option<DecodeErrorKind>;
    let tracker: Read = |frame| match tracker("z").apply(frame) {
        Err(ApplyError::Decode(error)) => Some(error.kind),
        _ => None,
    };
    let presence: Read = |frame| {
        let id = ReplicaId::new("z", 1, 0).unwrap();
        match Presence::restore(id, PresenceConfig::default(), frame) {
            Err(RestoreError::Decode(error)) => Some(error.kind),
            _ => None,
        }
    };
    let bundle: Read = |frame| Some(Bundle::<u64>::from_binary(frame).err()?.kind);
    let tracked = example();
    let listed = bundles();
    let own: [(Read, Vec<Vec<u8>>); 3] = [
        (tracker, vec![tracked.delta_since(tracked.id(), 0).unwrap()]),
        (presence, vec![snapshot()]),
        (bundle, listed.to_vec()),
    ];
    for (reader, (read, _)) in own.iter().enumerate() {
        for (writer, (_, frames)) in own.iter().enumerate() {
            for frame in frames {
                let kind = Kind::of(frame).0;
                let refused = DecodeErrorKind::UnexpectedKind { kind };
                let expected = Some(refused).filter(|_| reader != writer);
                assert_eq!(read(frame), expected, "reader {reader} of kind {kind}");
            }
        }
    }
}

/// Returns a bundle of a list in each format.
fn bundles() -> [Vec<u8>; 2] {
    let mut list = MemberList::<u64>::new(ListOptions::default());
    let opened = Viewer::new().open(&mut list, WindowSpec::Chunk(0), Bodies::None);
    let bundle = opened.unwrap();
    [BundleFormat::One, BundleFormat::Two].map(|format| bundle.to_binary_in(format).into())
}

fn snapshot() -> Vec<u8> {
    let id = ReplicaId::new("a", 1, 0).unwrap();
    Presence::new(id, PresenceConfig::default()).snapshot()
}

/// A frame that an Elixir node wrote with `codec: :json`; its name has 253 bytes.
#[test]
fn a_frame_from_elixir_is_read_with_the_default_limits() {
    let text = include_str!("../golden/frames/state-elixir-json.hex");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits: String = lines.flat_map(str::split_whitespace).collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let frame: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    let mut reader = Tracker::new(ReplicaId::new("reader", 1, 0).unwrap());
    reader.apply(&frame).unwrap();
    let owner = |key: &str| {
        let entry = reader.get_by_key("room", key).next().unwrap();
        String::from_utf8(entry.owner().to_vec()).unwrap()
    };
    assert_eq!(owner("ann"), "erlang:7.4294967295.4294967295");
    let other = "erlang:8.4294967295.4294967295@other@10.0.0.1";
    assert_eq!(owner("bob"), other);
    assert!(owner("cid").starts_with("erlang:9.4294967295.4294967295@n@host"));
    assert_eq!(reader.count("room"), 4);
}

#[test]
fn golden_frames_are_written_and_read_unchanged() {
    let a = example();
    let b = variety();
    let fingerprints = [&a, &b].map(|t| t.origin_info(t.id()).unwrap().fingerprint);
    assert_eq!(
        fingerprints,
        [10_275_721_739_149_354_626, 5_494_606_335_294_067_207]
    );
    let delta = a.delta_since(a.id(), 1).unwrap();
    check_golden(
        "state-delta.hex",
        "the worked example of docs/wire-format.md",
        &delta,
    );
    let full = b.delta_since(b.id(), 0).unwrap();
    check_golden(
        "state-repair-full.hex",
        "a full state: three topics, all encodings",
        &full,
    );
    let mut trimmed = b.clone();
    let id = b.id().clone();
    trimmed.trim_leaves(&id, 400);
    let repair = trimmed.delta_since(&id, 290).unwrap();
    check_golden(
        "state-repair-relative.hex",
        "the same after its leave log was cut, from 290",
        &repair,
    );
    let key = SharedKey::new(*b"0123456789abcdef");
    let keyed = Envelope::new("cluster", Some(key), Shape::default());
    let keyed = keyed.seal(Kind::STATE_DELTA, None, &a.push_body(1).unwrap());
    check_golden(
        "state-delta-keyed.hex",
        "the example for \"cluster\", key 0123456789abcdef",
        &keyed,
    );

    let updates = updates();
    let updates = updates.delta_since(updates.id(), 1).unwrap();
    check_golden(
        "state-delta-updates.hex",
        "entries updated once, twice and three times",
        &updates,
    );

    let mut reader = tracker("reader");
    reader
        .apply(&golden("state-repair-full.hex", "", &full))
        .unwrap();
    for topic in ["bin", "erl", "crowd"] {
        assert_eq!(listed(&reader, topic), listed(&b, topic));
    }
    assert_eq!(reader.count("crowd"), 30);
}

#[test]
fn the_worked_example_is_true() {
    let text = include_str!("../../docs/wire-format.md");
    let (_, example_text) = text.split_once("## 8. A worked example").unwrap();
    let rows = example_text
        .lines()
        .filter_map(|line| line.strip_prefix("    "));
    let mut bytes = Vec::new();
    for row in rows {
        let hex = row.split_whitespace().take_while(|word| word.len() == 2);
        bytes.extend(hex.map_while(|word| u8::from_str_radix(word, 16).ok()));
    }
    let a = example();
    assert_eq!(a.delta_since(a.id(), 1).unwrap(), bytes);
}

/// The records of section 3 as flat structs, for a second implementation of the encoding.
#[derive(SchemaWrite, SchemaRead, Debug, PartialEq)]
struct PutRecord<'a> {
    flags: u8,
    gap: u64,
    age: u64,
    topic: u64,
    status: u8,
    key: &'a [u8],
    owner: &'a [u8],
    meta: &'a [u8],
}

#[derive(SchemaWrite, SchemaRead, Debug, PartialEq)]
struct HeadRecord<'a> {
    name: &'a str,
    incarnation: u64,
    salt: u64,
    bits: u8,
    partition: u64,
    from: u64,
    to: u64,
}

fn wincode_config() -> impl wincode::config::Config + Copy {
    wincode::config::Configuration::default().with_varint_encoding()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn wincode_writes_the_same_bytes(
        (flags, gap, age, topic) in (any::<u8>(), any::<u64>(), any::<u64>(), 0..70_000u64),
        status in any::<u8>(),
        (key, owner) in (prop::collection::vec(any::<u8>(), 0..300), any::<[u8; 8]>()),
        meta in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let record = PutRecord {
            flags, gap, age, topic, status, key: &key, owner: &owner, meta: &meta
        };
        let mut writer = Writer::new();
        writer.u8(flags);
        [gap, age, topic].into_iter().for_each(|value| writer.u64(value));
        writer.u8(status);
        [&key[..], &owner, &meta].into_iter().for_each(|value| writer.bytes(value));
        let theirs = wincode::config::serialize(&record, wincode_config()).unwrap();
        prop_assert_eq!(writer.as_slice(), &theirs[..]);
        let back: PutRecord<'_> = wincode::config::deserialize(&theirs, wincode_config()).unwrap();
        prop_assert_eq!(back, record);
    }

    #[test]
    fn wincode_reads_our_heads(incarnation in 0..1u64 << 62, salt: u32, clock in 1..1_000u64) {
        let mut a = Tracker::new(ReplicaId::new("näme", incarnation, salt).unwrap());
        for i in 0..clock.min(20) {
            a.track(&NewEntry::new("room", &i.to_string(), "c")).unwrap();
        }
        let body = a.push_body(0).unwrap();
        let to = clock.min(20);
        let head = HeadRecord {
            name: "näme", incarnation, salt: u64::from(salt), bits: 0, partition: 0, from: 0, to
        };
        let theirs = wincode::config::serialize(&head, wincode_config()).unwrap();
        prop_assert_eq!(&body[..theirs.len()], &theirs[..]);
    }

    /// Any bytes give an error or a value, never a panic.
    #[test]
    fn hostile_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = DeltaHead::decode(&bytes);
        let _ = RepairHead::decode(&bytes);
        let _ = StagedRepair::new(Bytes::from(bytes.clone()), &Limits::default());
        let mut t = tracker("t");
        prop_assert!(t.apply(&bytes).is_err());
        for kind in [Kind::STATE_DELTA, Kind::STATE_REPAIR] {
            let _ = t.apply(&Envelope::default().seal(kind, None, &bytes));
        }
    }

    /// Valid bodies with a few bytes changed: a refused one changes nothing, an accepted one
    /// leaves a tracker that can be used and replicated.
    #[test]
    fn altered_bodies_leave_a_sound_tracker(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        repair: bool,
        known: bool,
    ) {
        let b = variety();
        let mut t = tracker("t");
        if known {
            t.apply(&b.delta_since(b.id(), 0).unwrap()).unwrap();
        }
        let mut later = b.clone();
        later.track(&NewEntry::new("crowd", "late", "conn")).unwrap();
        later.untrack_owner("conn 0");
        let since = if known { b.clock(b.id()) } else { 0 };
        let mut body = if repair {
            later.full_body(b.id()).unwrap()
        } else {
            later.push_body(since.max(272)).unwrap()
        };
        for (at, byte) in flips {
            let at = at.index(body.len());
            body[at] ^= byte;
        }
        let before = (t.version_vector(), listed(&t, "crowd"));
        let applied = if repair { t.apply_repair(&body, false) } else { t.apply_delta(&body) };
        if applied.is_err() {
            prop_assert_eq!(before, (t.version_vector(), listed(&t, "crowd")));
        }
        t.track(&NewEntry::new("crowd", "me", "here")).unwrap();
        let mut other = tracker("other");
        for info in t.origins() {
            if let Some(frame) = t.delta_since(&info.replica, 0) {
                other.apply(&frame).unwrap();
            }
        }
        prop_assert_eq!(listed(&other, "crowd"), listed(&t, "crowd"));
    }
}

#[test]
fn other_majors_and_kinds_have_typed_errors() {
    let mut t = tracker("t");
    let frame = Envelope::default().seal(Kind::HELLO, None, b"");
    let error = t.apply(&frame).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bad frame: at byte 4: unexpected frame kind 1"
    );
    let mut frame = Envelope::default().seal(Kind::STATE_DELTA, None, b"");
    frame[2] = 9;
    let error = Envelope::default().open(&frame).unwrap_err();
    assert_eq!(
        DecodeError::from(error).kind,
        DecodeErrorKind::UnsupportedVersion {
            major: 9,
            supported: 2
        }
    );
    assert_eq!(
        Reader::new(&[]).u8().unwrap_err().kind,
        DecodeErrorKind::Truncated
    );
}
