//! Golden frames: one message of each kind.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::super::*;
use super::{encoded, origin, seal, sender, shape};
use crate::codec::SharedKey;

/// Returns the bytes of a golden file; with `HEADCOUNT_BLESS=1` it is written first.
fn golden(name: &str, bytes: &[u8]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/frames");
    let path = folder.join(format!("{name}.hex"));
    if std::env::var_os("HEADCOUNT_BLESS").is_some() {
        fs::write(&path, hex(bytes)).unwrap();
    }
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        let line: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&line.join(" "));
        text.push('\n');
    }
    text
}

fn position() -> Position {
    Position {
        life: 7,
        clock: 300,
        fingerprint: 0x0123_4567_89AB_CDEF,
    }
}

fn question() -> PullItem {
    PullItem {
        partition: 3,
        life: 7,
        clock: 290,
        is_full: false,
        nonce: 0xCAFE_F00D,
    }
}

/// One message of each kind about partitions.
fn golden_data() -> [(&'static str, Message); 9] {
    let question = question();
    let delta = Data::Delta(Delta {
        life: 7,
        from: 299,
        to: 300,
        records: Bytes::from_static(&[2, 1, 2]),
    });
    let repair = Data::Repair(Repair {
        life: 7,
        base: 290,
        to: 300,
        nonce: question.nonce,
        content: Bytes::from_static(&[1, 5]),
    });
    let same = Data::Same(Same {
        life: 0,
        clock: 0,
        fingerprint: 0,
        version: 8,
        nonce: question.nonce,
    });
    let answer = |data| Answer { partition: 3, data };
    let part = Data::Part(Part {
        life: 7,
        base: 0,
        to: 300,
        nonce: question.nonce,
        reply: 5,
        index: 1,
        count: 6,
        content: Bytes::from_static(&[0]),
    });
    let too_long = Data::TooLong(TooLong {
        len: 2_000,
        nonce: question.nonce,
    });
    let bundle = [
        answer(repair.clone()),
        answer(same.clone()),
        answer(delta.clone()),
    ];
    [
        ("delta", Message::Data(answer(delta))),
        ("repair", Message::Data(answer(repair))),
        ("same", Message::Data(answer(same))),
        ("part", Message::Data(answer(part))),
        ("too-long", Message::Data(answer(too_long))),
        ("row", Message::Data(answer(Data::Row(position())))),
        (
            "pull",
            Message::Pull {
                origin: origin(),
                items: List::new(shape(), [question]),
            },
        ),
        ("bundle", Message::Bundle(List::new(shape(), bundle))),
        ("rows", rows()),
    ]
}

fn rows() -> Message {
    let row = Row {
        partition: 3,
        position: position(),
    };
    Message::Rows {
        from: Mark::of_beat(28),
        to: Mark {
            seq: 30,
            partition: 9,
        },
        rows: List::new(shape(), [row]),
    }
}

fn pull_parts() -> Message {
    Message::PullParts {
        origin: origin(),
        item: PullItem {
            partition: 3,
            life: 0,
            clock: 0,
            is_full: false,
            nonce: 0xCAFE_F00D,
        },
        reply: 5,
        credit: 4,
        missing: vec![2, 3, 5],
    }
}

fn signal() -> Message {
    Message::Sign {
        partition: 3,
        sign: Sign {
            seq: 4,
            topic: Bytes::from_static(b"room"),
            key: Bytes::from_static(b"ann"),
            kind: 1,
            ttl_ms: 5_000,
            payload: Bytes::from_static(b"{}"),
        },
    }
}

/// One message of each kind about replicas and their indexes.
fn golden_control() -> [(&'static str, Message); 11] {
    let mut set = PartitionSet::new(shape());
    for partition in [3, 4, 31] {
        set.toggle(partition);
    }
    let beat = Beat {
        heartbeat: 1_000,
        seq: 30,
        version: 8,
        set_hash: 1,
        sum: 2,
        toggles: vec![3, 4],
    };
    let hello = Message::Hello {
        heartbeat: 999,
        wire_min: 2,
        wire_max: 2,
        options: 0,
    };
    let superseded = Message::Superseded {
        greater: sender(),
        ago_ms: 40,
    };
    let toggles = vec![3, 4];
    [
        ("hello", hello),
        ("beat", Message::Beat(beat)),
        ("goodbye", Message::Goodbye { heartbeat: 1_064 }),
        ("superseded", superseded),
        ("index", Message::Index { from: 6, toggles }),
        ("index-full", Message::IndexFull { version: 8, set }),
        (
            "index-pull",
            Message::IndexPull {
                origin: origin(),
                version: 5,
            },
        ),
        (
            "ask",
            Message::Ask {
                origin: origin(),
                since: 28,
            },
        ),
        ("pull-parts", pull_parts()),
        ("signal", signal()),
        (
            "heard",
            Message::Heard {
                origin: origin(),
                heartbeat: 2_000,
                version: 9,
            },
        ),
    ]
}

#[test]
fn golden_frames_are_written_unchanged() {
    for (name, message) in golden_control().into_iter().chain(golden_data()) {
        let bytes = encoded(&message);
        assert_eq!(golden(name, &bytes), hex(&bytes), "{name}");
        let frame = decode(&seal(), &bytes).expect("it is valid");
        assert_eq!(frame.message, message, "{name}");
    }
    let key = Some(SharedKey::new(*b"0123456789abcdef"));
    let keyed = Envelope::new("cluster", key, shape());
    let message = Message::Ask {
        origin: origin(),
        since: 28,
    };
    let bytes = encode(&keyed, &sender(), Handle::of(&sender()), &message);
    assert_eq!(golden("ask-keyed", &bytes), hex(&bytes));
}
