//! Round trips, golden frames, hostile bytes.

mod golden;

use allocation_counter::measure;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::codec::{Mode, Shape};
use crate::id::OP_MAX;

const SHAPE_BITS: u8 = 5;

fn shape() -> Shape {
    Shape::from_bits(SHAPE_BITS, Mode::Interest).unwrap()
}

fn seal() -> Envelope {
    Envelope::new("cluster", None, shape())
}

fn sender() -> ReplicaId {
    ReplicaId::new("node-1", 1_700_000_000_000_000, 0xDEAD_BEEF).unwrap()
}

fn origin() -> Handle {
    Handle(0x1122_3344_5566_7788)
}

fn encoded(message: &Message) -> Bytes {
    encode(&seal(), &sender(), Handle::of(&sender()), message)
}

fn ops() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, 0..OP_MAX]
}

fn lives() -> impl Strategy<Value = u64> {
    prop_oneof![1..300u64, 1..OP_MAX]
}

fn partitions() -> impl Strategy<Value = u16> {
    0..1u16 << SHAPE_BITS
}

fn marks() -> impl Strategy<Value = Mark> {
    (ops(), partitions()).prop_map(|(seq, partition)| Mark { seq, partition })
}

fn blobs() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

prop_compose! {
    fn intervals()(a in lives(), b in ops()) -> (u64, u64) {
        (a.min(b), a.max(b))
    }
}

prop_compose! {
    fn positions()(life in lives(), clock in lives(), fingerprint: u64) -> Position {
        Position { life, clock, fingerprint }
    }
}

prop_compose! {
    fn questions()(
        partition in partitions(),
        held in prop::option::of((lives(), lives())),
        is_full: bool,
        nonce: u32,
    ) -> PullItem {
        let (life, clock) = held.unwrap_or_default();
        PullItem { partition, life, clock, is_full, nonce }
    }
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        (lives(), intervals(), blobs()).prop_map(|(life, (from, to), records)| {
            Data::Delta(Delta {
                life,
                from,
                to,
                records,
            })
        }),
        (lives(), intervals(), any::<u32>(), blobs()).prop_map(
            |(life, (base, to), nonce, content)| {
                Data::Repair(Repair {
                    life,
                    base,
                    to,
                    nonce,
                    content,
                })
            }
        ),
        (intervals(), lives(), any::<u64>(), any::<u32>()).prop_map(
            |((life, version), clock, fingerprint, nonce)| {
                let clock = if life == 0 { 0 } else { clock };
                Data::Same(Same {
                    life,
                    clock,
                    fingerprint,
                    version,
                    nonce,
                })
            }
        ),
        positions().prop_map(Data::Row),
        (any::<u64>(), any::<u32>()).prop_map(|(len, nonce)| Data::TooLong(TooLong { len, nonce })),
        (lives(), intervals(), any::<u32>(), any::<u32>(), blobs()).prop_map(
            |(life, (base, to), nonce, index, content)| {
                Data::Part(Part {
                    life,
                    base,
                    to,
                    nonce,
                    reply: !nonce,
                    index: index / 2,
                    count: index / 2 + 1,
                    content,
                })
            }
        ),
    ]
}

prop_compose! {
    fn answers()(partition in partitions(), data in data()) -> Answer {
        Answer { partition, data }
    }
}

prop_compose! {
    fn beats()(
        heartbeat in ops(),
        seq in lives(),
        version in ops(),
        set_hash: u64,
        sum: u64,
        mut toggles in vec(partitions(), 0..=BEAT_TOGGLES_MAX),
    ) -> Beat {
        toggles.truncate(version as usize);
        Beat { heartbeat, seq, version, set_hash, sum, toggles }
    }
}

/// Messages about no single partition.
fn messages_of_replicas() -> impl Strategy<Value = Message> {
    prop_oneof![
        (ops(), any::<u32>()).prop_map(|(heartbeat, options)| Message::Hello {
            heartbeat,
            wire_min: 2,
            wire_max: 2,
            options,
        }),
        beats().prop_map(Message::Beat),
        ops().prop_map(|heartbeat| Message::Goodbye { heartbeat }),
        any::<u32>().prop_map(|ago_ms| Message::Superseded {
            greater: sender(),
            ago_ms,
        }),
        (0..(1u64 << 61), vec(partitions(), 0..99))
            .prop_map(|(from, toggles)| Message::Index { from, toggles }),
        (ops(), vec(partitions(), 0..99)).prop_map(|(version, toggles)| {
            let mut set = PartitionSet::new(shape());
            toggles.into_iter().for_each(|partition| {
                set.toggle(partition);
            });
            Message::IndexFull { version, set }
        }),
        ops().prop_map(|version| Message::IndexPull {
            origin: origin(),
            version,
        }),
        vec(questions(), 0..9).prop_map(|items| Message::Pull {
            origin: origin(),
            items: List::new(shape(), items),
        }),
        (questions(), any::<u8>(), vec(any::<u32>(), 0..64)).prop_map(|(item, credit, missing)| {
            Message::PullParts {
                origin: origin(),
                item,
                reply: item.nonce.rotate_left(9),
                credit,
                missing,
            }
        }),
    ]
}

fn messages() -> impl Strategy<Value = Message> {
    let rows = (partitions(), positions()).prop_map(|(partition, position)| Row {
        partition,
        position,
    });
    let signs = (any::<u64>(), "[a-z]{0,9}", blobs(), any::<u8>(), blobs());
    prop_oneof![
        messages_of_replicas(),
        vec(answers(), 0..5).prop_map(|answers| Message::Bundle(List::new(shape(), answers))),
        answers().prop_map(Message::Data),
        ops().prop_map(|since| Message::Ask {
            origin: origin(),
            since,
        }),
        (marks(), marks(), vec(rows, 0..9)).prop_map(|(from, to, rows)| Message::Rows {
            from,
            to,
            rows: List::new(shape(), rows),
        }),
        (ops(), ops()).prop_map(|(heartbeat, version)| Message::Heard {
            origin: origin(),
            heartbeat,
            version,
        }),
        (partitions(), signs).prop_map(|(partition, (seq, topic, key, kind, payload))| {
            let topic = topic.into();
            let ttl_ms = 5_000;
            let sign = Sign {
                seq,
                topic,
                key,
                kind,
                ttl_ms,
                payload,
            };
            Message::Sign { partition, sign }
        }),
    ]
}

proptest! {
    #[test]
    fn every_message_is_read_as_it_was_written(message in messages()) {
        let bytes = encoded(&message);
        let frame = decode(&seal(), &bytes).expect("it is valid");
        let expected = if carries_id(message.kind()) {
            Sender::Id(sender())
        } else {
            Sender::Handle(Handle::of(&sender()))
        };
        prop_assert_eq!(frame, Frame { sender: expected, message });
    }

    #[test]
    fn any_body_is_read_or_refused_within_twice_its_length(
        kind in 0u8..26,
        partition in prop::option::of(partitions()),
        body in vec(any::<u8>(), 0..200),
    ) {
        read_within_bounds(Kind(kind), partition, &body);
    }

    #[test]
    fn a_damaged_body_is_read_or_refused_within_twice_its_length(
        message in messages(),
        damages in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = encoded(&message);
        let opened = seal().open(&bytes).expect("it is sealed");
        let mut body = opened.body.to_vec();
        for (index, byte) in damages {
            let index = index.index(body.len());
            body[index] = byte;
        }
        read_within_bounds(opened.kind, opened.partition, &body);
        body.truncate(cut.index(body.len()));
        read_within_bounds(opened.kind, opened.partition, &body);
    }
}

/// Decodes a frame with this body, and walks what it lists.
#[track_caller]
fn read_within_bounds(kind: Kind, partition: Option<u16>, body: &[u8]) {
    const SLACK: u64 = 1_024;
    let bytes = Bytes::from(seal().seal(kind, partition, body));
    let mut decoded = None;
    let peak = measure(|| decoded = Some(decode(&seal(), &bytes))).bytes_max;
    assert!(
        peak <= 2 * bytes.len() as u64 + SLACK,
        "{kind:?}: {peak} bytes"
    );
    let Some(Ok(frame)) = decoded else {
        return;
    };
    match frame.message {
        Message::Pull { items, .. } => assert_eq!(items.iter().count() as u64, items.len()),
        Message::Bundle(answers) => assert_eq!(answers.iter().count() as u64, answers.len()),
        Message::Rows { rows, .. } => assert_eq!(rows.iter().count() as u64, rows.len()),
        _ => {}
    }
}

/// A list that claims items that are not there is refused before anything is reserved.
#[test]
fn lists_that_claim_millions_of_items_are_refused() {
    for kind in [
        Kind::PULL,
        Kind::BUNDLE,
        Kind::ROWS,
        Kind::INDEX,
        Kind::INDEX_FULL,
    ] {
        let mut writer = Writer::new();
        writer.raw(&[0; 8]);
        for _ in 0..3 {
            writer.u64(1 << 40);
        }
        read_within_bounds(kind, None, writer.as_slice());
    }
}

#[test]
fn a_beat_takes_78_bytes() {
    let id = ReplicaId::new("chat-1234-ab", 1_700_000_000_000_000, u32::MAX).unwrap();
    let beat = Message::Beat(Beat {
        heartbeat: 60_000,
        seq: 60_000,
        version: 60_000,
        set_hash: u64::MAX,
        sum: u64::MAX,
        toggles: Vec::new(),
    });
    let frame = encode(&seal(), &id, Handle::of(&id), &beat);
    assert_eq!(frame.len(), 78);
}

#[test]
fn the_same_name_with_another_salt_has_another_handle() {
    let other = ReplicaId::new("node-1", 1_700_000_000_000_000, 1).unwrap();
    assert_ne!(Handle::of(&sender()), Handle::of(&other));
    assert_eq!(Handle::of(&sender()), Handle::of(&sender()));
}

#[test]
fn unknown_kinds_are_skipped_whatever_their_body_is() {
    for partition in [None, Some(3)] {
        let mut body = Handle::of(&sender()).0.to_le_bytes().to_vec();
        body.extend_from_slice(b"of a later version");
        let bytes = Bytes::from(seal().seal(Kind(60), partition, &body));
        let frame = decode(&seal(), &bytes).expect("it is skipped");
        assert_eq!(frame.message, Message::Unknown);
    }
}
