//! The bytes of the cluster's messages: golden frames, round trips, hostile input.

use std::path::PathBuf;

use super::super::row::Row;
use super::*;
use crate::codec::SharedKey;

fn id(name: &str) -> ReplicaId {
    ReplicaId::new(name, 1_700_000_000_000_000, 7).unwrap()
}

fn pull() -> Pull {
    let (origin, slot, clock) = (id("b"), 31, 300);
    let (full, nonce) = (true, u64::MAX);
    Pull {
        origin,
        slot,
        clock,
        full,
        nonce,
    }
}

fn rows() -> Bytes {
    let mut own = Row::bare(id("a"), 70, 0);
    own.mask = 1 << 3 | 1 << 31;
    own.slots[3] = (5, 0x1122_3344_5566_7788);
    own.slots[31] = (70_000, 9);
    let mut other = Row::bare(id("b"), 64, 1_500);
    (other.down, other.doubt, other.mask) = (true, 1, 1);
    other.slots[0] = (1, 2);
    let mut gone = Row::bare(id("c"), 9, 4_000_000_000);
    gone.retired = true;
    let mut writer = Writer::new();
    [own, other, gone]
        .iter()
        .for_each(|row| row.encode(&mut writer));
    writer.into_vec().into()
}

/// One message of every kind.
fn samples() -> Vec<(&'static str, Message)> {
    let (seq, full, part, parts) = (12, false, 0, 1);
    let rows = rows();
    let (heartbeat, wire, options) = (42, (1, 1), 0);
    let mut clocks = Box::new([0; SLOTS]);
    clocks[5] = 1 << 40;
    let signal = Signal {
        topic: "room".into(),
        key: b"ann".to_vec(),
        kind: 1,
        ttl_ms: 5_000,
        payload: b"typing".to_vec(),
    };
    let (reply, index, count, total, nonce, repair) = (77, 2, 3, 9_000, 1, true);
    let (origin, slot, from, to, bytes) = (id("b"), 4, 10, 20, Bytes::from_static(b"slice"));
    let piece = Part {
        reply,
        index,
        count,
        total,
        nonce,
        repair,
        origin,
        slot,
        from,
        to,
        bytes,
    };
    let (missing, credit) = (vec![0, 300, 70_000], 4);
    let pull_parts = Message::PullParts {
        reply,
        missing,
        credit,
        pull: pull(),
    };
    let digest = Message::Digest {
        seq,
        full,
        part,
        parts,
        rows,
    };
    let hello = Message::Hello {
        heartbeat,
        wire,
        options,
    };
    let superseded = Message::Superseded {
        id: id("a2"),
        ago_ms: 1_234,
    };
    vec![
        ("hello", hello),
        ("digest", digest),
        ("pull", Message::Pull(pull())),
        ("part", Message::Part(piece)),
        ("pull-parts", pull_parts),
        ("goodbye", Message::Goodbye { heartbeat, clocks }),
        ("superseded", superseded),
        ("signal", Message::Signal { seq, signal }),
        ("wire-refused", REFUSAL),
    ]
}

/// The bytes of a golden file; with `HEADCOUNT_BLESS=1` it is written first.
fn golden(name: &str, frame: &[u8]) -> Vec<u8> {
    let folder = [env!("CARGO_MANIFEST_DIR"), "tests/golden/frames"];
    let folder: PathBuf = folder.iter().collect();
    let path = folder.join(format!("message-{name}.hex"));
    if std::env::var_os("HEADCOUNT_BLESS").is_some() {
        let hex = |line: &[u8]| line.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>();
        let lines: Vec<_> = frame.chunks(32).map(|line| hex(line).join(" ")).collect();
        let text = format!("# {name}, cluster eu, from a\n{}\n", lines.join("\n"));
        std::fs::write(&path, text).unwrap();
    }
    let text = std::fs::read_to_string(path).expect("every message has a golden frame");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let bytes = lines.flat_map(str::split_whitespace);
    bytes
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[test]
fn golden_messages_are_written_and_read_as_ever() {
    let envelope = Envelope::new("eu", None);
    for (name, message) in samples() {
        let frame = encode(&envelope, &id("a"), &message);
        assert_eq!(
            frame,
            golden(name, &frame),
            "{name} differs from what this build writes"
        );
        let (sender, read) = decode(&envelope, 1 << 20, &frame).unwrap();
        assert_eq!((sender, read), (id("a"), message), "{name}");
    }
}

#[test]
fn hostile_bodies_are_refused_without_harm() {
    let envelope = Envelope::new("eu", Some(SharedKey::new([3; 16])));
    let mut rng = crate::replica::rng::Rng::new(5);
    for (name, message) in samples() {
        let frame = encode(&envelope, &id("a"), &message);
        let (kind, body) = envelope.open(&frame).unwrap();
        for len in 0..body.len() {
            // Sealed again, so that only the body itself is wrong.
            let cut = envelope.seal(kind, &body[..len]).into();
            let read = decode(&envelope, 1 << 20, &cut);
            let may_end_early = matches!(message, Message::Digest { .. } | Message::Part(_));
            assert!(may_end_early || read.is_err(), "{name} cut to {len}");
        }
        for _ in 0..500 {
            let mut body = body.to_vec();
            for _ in 0..=rng.below(3) {
                let at = rng.below(body.len() as u64) as usize;
                body[at] = rng.next_u64() as u8;
            }
            let spoilt = envelope.seal(kind, &body).into();
            if let Ok((sender, message)) = decode(&envelope, 1 << 20, &spoilt) {
                // What is accepted is canonical: it is written as it was read.
                if !matches!(message, Message::Unknown | Message::Digest { .. }) {
                    let again = encode(&envelope, &sender, &message);
                    let (again, spoilt) = (decode(&envelope, 1 << 20, &again), (sender, message));
                    assert_eq!(again, Ok(spoilt), "{name}");
                }
            }
        }
    }
}

#[test]
fn limits_have_typed_errors() {
    let envelope = Envelope::default();
    let frame = encode(&envelope, &id("a"), &REFUSAL);
    let (len, max) = (frame.len() as u64, 20);
    let error = decode(&envelope, 20, &frame).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TooLong { len, max });
}
