//! The seeds of the corpora: real frames, and frames broken on purpose.

use headcount::codec::{Envelope, Kind, Mode, Shape, Writer};
use headcount::member_list::{Bundle, BundleFormat, Epoch};
use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId, Tracker};

use crate::conversation::conversation;
use crate::targets::{Holds, Message, clients, file_of, saved, tracker};

macro_rules! golden {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../core/tests/golden/frames/", $name, ".hex")),
        )
    };
}

/// Returns the seeds of a target: names of files and their content.
#[must_use]
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let seeds = match target {
        "decode" => decode(),
        "apply" => apply(),
        "hear" => hear(),
        "restore" => restore(),
        "list_frames" => list_frames(),
        "load" => load(),
        "socket" => socket(),
        "rest" => rest(),
        _ => Vec::new(),
    };
    seeds
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
}

/// The golden frames: one message of every kind but those with counts.
const GOLDEN: [(&str, &str); 20] = [
    golden!("hello"),
    golden!("beat"),
    golden!("delta"),
    golden!("pull"),
    golden!("repair"),
    golden!("part"),
    golden!("pull-parts"),
    golden!("goodbye"),
    golden!("superseded"),
    golden!("signal"),
    golden!("index"),
    golden!("index-full"),
    golden!("index-pull"),
    golden!("same"),
    golden!("bundle"),
    golden!("row"),
    golden!("ask"),
    golden!("rows"),
    golden!("too-long"),
    golden!("heard"),
];

/// Returns the golden messages as [`Message`]s, and one of a later minor version.
fn messages() -> Vec<(&'static str, Message)> {
    let shape = Shape::new(32, Mode::Interest).expect("a valid shape");
    let envelope = Envelope::new("cluster", None, shape);
    let mut messages = Vec::new();
    for (name, text) in GOLDEN {
        let bytes = text.split_whitespace();
        let bytes = bytes.map(|byte| u8::from_str_radix(byte, 16).expect("hex digits"));
        let frame: Vec<u8> = bytes.collect();
        messages.push((name, Message::of(&envelope, &frame)));
    }
    let body = b"later minor versions".to_vec();
    let later = Message {
        kind: 120,
        partition: None,
        body,
    };
    messages.push(("of-no-kind", later));
    messages
}

/// Returns each message after the Hello of its sender, all of them in a row, and those of
/// conversations.
fn hear() -> Seeds {
    let messages = messages();
    let hello = messages[0].1.step();
    let mut seeds: Seeds = vec![("nothing", vec![])];
    let mut all = Vec::new();
    for (name, message) in &messages {
        let message = message.step();
        all.extend_from_slice(&message);
        seeds.push((name, [&hello[..], &message].concat()));
    }
    seeds.push(("all-messages", all));
    let names = ["conversation", "relayed", "watched", "counted"];
    for (name, holds) in names.into_iter().zip(Holds::ALL) {
        let conversation = conversation(holds);
        let steps: Vec<_> = conversation.iter().map(Message::step).collect();
        seeds.push((name, steps.concat()));
    }
    seeds
}

type Seeds = Vec<(&'static str, Vec<u8>)>;

/// Makes a tracker whose leave log, updates and three encodings give frames of every record.
fn writer() -> Tracker {
    let mut tracker = tracker("c");
    let mut track = |entry: &NewEntry<'_>| tracker.track(entry).map(drop).expect("within limits");
    track(
        &NewEntry::new("room", "ann", "conn-1")
            .meta(br#"{"device":"phone"}"#)
            .status(2),
    );
    track(&NewEntry::new("room", "bob", "conn-2"));
    track(&NewEntry::new("hall", "ann", "conn-1"));
    track(
        &NewEntry::bytes("room", &[0, 255], &[1], headcount::tracker::Encoding::Bytes)
            .meta(&[0; 40]),
    );
    track(&NewEntry::bytes(
        "room",
        &[131, 97, 7],
        &[131, 106],
        headcount::tracker::Encoding::Term,
    ));
    tracker.untrack("room", "bob", "conn-2");
    tracker
        .update(&NewEntry::new("hall", "ann", "conn-1").meta(b"[]"))
        .expect("it is tracked");
    tracker
}

fn bodies() -> Seeds {
    let tracker = writer();
    let (kind, delta) = tracker
        .body_since(tracker.id(), 2)
        .expect("it has operations");
    assert_eq!(kind, Kind::STATE_DELTA);
    let repair = tracker.full_body(tracker.id()).expect("it knows itself");
    vec![("delta", delta), ("repair", repair)]
}

/// Returns bodies broken where length, order and range matter.
fn broken() -> Seeds {
    let head = |from: u64, to: u64| {
        let mut head = Writer::new();
        head.identity("c", 1, 0);
        [0, 0].into_iter().for_each(|value| head.u8(value));
        head.u64(from);
        head.u64(to);
        head
    };
    let with = |from, to, tail: &[u8]| {
        let mut body = head(from, to);
        body.raw(tail);
        body.into_vec()
    };
    vec![
        ("clocks-descend", with(5, 2, &[])),
        ("clock-2-pow-62", with(0, 1 << 62, &[])),
        ("clock-max", with(u64::MAX, u64::MAX, &[])),
        ("length-4-gib", with(0, 9, &[0, 252, 255, 255, 255, 255])),
        (
            "length-2-pow-64",
            with(0, 9, &[0, 253, 255, 255, 255, 255, 255, 255, 255, 255]),
        ),
        ("integer-not-minimal", with(0, 9, &[251, 1, 0])),
        ("integer-of-16-bytes", with(0, 9, &[254; 17])),
        ("unknown-record", with(0, 9, &[0xff, 1, 1])),
        ("topic-not-utf8", with(0, 9, &[0, 2, 0xc3, 0x28])),
        ("zeros", with(0, 9, &[0; 64])),
    ]
}

fn decode() -> Seeds {
    let mut seeds: Seeds = vec![("nothing", vec![]), ("kind-only", vec![3])];
    for (name, body) in bodies().into_iter().chain(broken()) {
        let name: &str = match name {
            "delta" => "state-delta",
            "repair" => "state-repair",
            other => other,
        };
        seeds.push((name, prefixed(Kind::STATE_DELTA.0, &body)));
    }
    for (name, message) in messages() {
        seeds.push((name, message.step()[2..].to_vec()));
    }
    let frame = Envelope::default().seal(Kind::STATE_DELTA, None, &bodies()[0].1);
    let with = |at: usize, byte: u8| {
        let mut frame = frame.clone();
        frame[at] = byte;
        prefixed(0, &frame)
    };
    seeds.push(("frame", prefixed(0, &frame)));
    seeds.push(("frame-magic", with(0, b'X')));
    seeds.push(("frame-major", with(2, 9)));
    seeds.push(("frame-minor", with(3, 9)));
    seeds.push(("frame-flags", with(5, 0xff)));
    seeds.push(("frame-shape", with(6, 0xff)));
    seeds.push(("frame-body-len", with(15, 0xff)));
    seeds.push(("frame-checksum", with(frame.len() - 1, 0)));
    seeds.push(("frame-cut", prefixed(0, &frame[..frame.len() / 2])));
    seeds
}

fn apply() -> Seeds {
    let mut seeds: Seeds = vec![("nothing", vec![])];
    for (name, body) in broken() {
        seeds.push((
            name,
            [step(1, &body), step(2, &body), step(3, &body)].concat(),
        ));
    }
    let tracker = writer();
    let full = tracker
        .delta_since(tracker.id(), 0)
        .expect("it has operations");
    let delta = &bodies()[0].1;
    seeds.push(("full-then-delta", [step(0, &full), step(1, delta)].concat()));
    seeds.push(("delta-over-a-gap", step(1, delta)));
    seeds.push((
        "repair-twice",
        [step(2, &bodies()[1].1), step(3, &bodies()[1].1)].concat(),
    ));
    let rest = tracker
        .delta_since(tracker.id(), 6)
        .expect("it has operations");
    seeds.push(("full-then-rest", [step(0, &full), step(0, &rest)].concat()));
    seeds
}

/// The layout, the identity and the number of partitions come before the states.
const STATES_AT: usize = 1 + 6 + 1 + 1 + 1;

fn restore() -> Seeds {
    let id = ReplicaId::new("there", 1, 0).expect("a valid id");
    let presence = Presence::new(id, PresenceConfig::default());
    for n in 0..6 {
        let topic = format!("room-{}", n % 3);
        let entry = NewEntry::new(&topic, "ann", "conn");
        presence.upsert(&entry.status(n)).expect("within limits");
    }
    presence.untrack("room-1", "ann", "conn");
    let frame = presence.snapshot();
    let opened = Envelope::default().open(&frame).expect("it is sound");
    let body = opened.body;
    let with = |at: usize, byte: u8| {
        let mut body = body.to_vec();
        body[at] = byte;
        prefixed(1, &body)
    };
    let twice = [body, &body[STATES_AT..]].concat();
    vec![
        ("nothing", vec![]),
        ("sealed-nothing", vec![1]),
        ("snapshot", prefixed(0, &frame)),
        ("snapshot-cut", prefixed(0, &frame[..frame.len() / 2])),
        (
            "snapshot-of-another-kind",
            prefixed(0, &Envelope::default().seal(Kind::STATE_DELTA, None, body)),
        ),
        ("body", prefixed(1, body)),
        ("body-cut", prefixed(1, &body[..body.len() - 3])),
        ("body-states-twice", prefixed(1, &twice)),
        ("body-of-another-layout", with(0, 9)),
        ("body-partitions-2-pow-255", with(STATES_AT - 1, 255)),
        ("body-partition-250", with(STATES_AT, 250)),
        ("body-length-too-long", with(STATES_AT + 2, 250)),
        ("body-length-zero", with(STATES_AT + 2, 0)),
    ]
}

/// Returns files, and contents broken where numbers, order and flags matter.
fn load() -> Seeds {
    let text = |number: u64| headcount::member_list::TextId::new(&format!("user-{number}"));
    let [table, list] = saved(|number| number);
    let [table_of_texts, list_of_texts] = saved(|number| text(number).expect("a good id"));
    let [uuids, _] = saved(u128::from);
    // Files of one block and the empty one behind it.
    let content = |file: &[u8]| file[24..file.len() - 12].to_vec();
    let of_table = content(&table);
    assert_eq!(file_of(&of_table), table, "the frame of a file");
    let with = |at: usize, bytes: &[u8]| {
        let mut content = of_table.clone();
        content[at..at + bytes.len()].copy_from_slice(bytes);
        prefixed(1, &content)
    };
    vec![
        ("nothing", vec![]),
        ("table", prefixed(0, &table)),
        ("list", prefixed(0, &list)),
        ("table-of-uuids", prefixed(1, &content(&uuids))),
        ("table-of-texts", prefixed(1, &content(&table_of_texts))),
        ("list-of-texts", prefixed(1, &content(&list_of_texts))),
        ("table-content", prefixed(1, &of_table)),
        ("list-content", prefixed(1, &content(&list))),
        ("table-cut", prefixed(0, &table[..table.len() / 2])),
        ("content-cut", prefixed(1, &of_table[..of_table.len() / 2])),
        ("version-2", prefixed(0, &[&table[..8], &[2]].concat())),
        ("epoch-max", with(12, &[0xff; 8])),
        ("slots-2-pow-40", with(20, &(1_u64 << 40).to_le_bytes())),
        ("members-2-pow-40", with(28, &(1_u64 << 40).to_le_bytes())),
        ("columns-0", with(2, &[0])),
        ("unknown-flags", with(3, &[0xff])),
    ]
}

fn list_frames() -> Seeds {
    let (_, bundles) = clients();
    let binary: Vec<Vec<u8>> = bundles
        .iter()
        .map(|bundle| bundle.to_binary().to_vec())
        .collect();
    let body = |at: usize| {
        let frame = &binary[at];
        let opened = Envelope::default().open(frame);
        opened.expect("it is sound").body.to_vec()
    };
    let delta = body(2);
    let with = |at: usize, byte: u8| {
        let mut delta = delta.clone();
        delta[at] = byte;
        step(1, &delta)
    };
    let mut seeds = list_frames_2(&bundles);
    seeds.extend([
        ("nothing", vec![]),
        (
            "syncs-again",
            [step(0, &binary[0]), step(0, &binary[1])].concat(),
        ),
        ("delta", step(0, &binary[2])),
        ("delta-twice", [step(1, &delta), step(1, &delta)].concat()),
        (
            "delta-then-sync",
            [step(1, &delta), step(1, &body(0))].concat(),
        ),
        ("delta-cut", step(1, &delta[..delta.len() / 2])),
        ("epoch-9", with(1, 9)),
        ("unknown-flags", with(3, 0xff)),
        ("frames-64", with(4, 64)),
        ("frame-length-too-long", with(5, 250)),
        ("frame-window-too-long", with(8, 250)),
        ("frame-flags", with(7, 0xff)),
    ]);
    seeds
}

/// Bundles in format 2: pushed, as answers, and as answers to the first request of a connection.
fn list_frames_2(bundles: &[Bundle<u64>]) -> Seeds {
    const PUSHED: u8 = 2;
    const ANSWER: u8 = 5;
    const RESUMED: u8 = 8;
    let body = |bundle: &Bundle<u64>| {
        let frame = bundle.to_binary_in(BundleFormat::Two);
        let opened = Envelope::default().open(&frame);
        opened.expect("it is sound").body.to_vec()
    };
    let [sync, _, delta] = bundles else {
        unreachable!("two windows and a tick");
    };
    let of_node = |node: &str, number| {
        let mut bundle = sync.clone();
        bundle.epoch = Epoch::new(node, number);
        body(&bundle)
    };
    let sync_2 = body(sync);
    let delta_2 = body(delta);
    let with = |at: usize, byte: u8| {
        let mut delta = delta_2.clone();
        delta[at] = byte;
        step(PUSHED, &delta)
    };
    let mut version = delta_2.clone();
    *version.last_mut().expect("windows come last") ^= 1;
    vec![
        ("two-delta", step(PUSHED, &delta_2)),
        ("two-delta-answered", step(ANSWER, &delta_2)),
        ("two-delta-resumed", step(RESUMED, &delta_2)),
        ("two-sync-resumed", step(RESUMED, &sync_2)),
        (
            "two-other-version",
            [step(PUSHED, &delta_2), step(PUSHED, &version)].concat(),
        ),
        ("two-other-node", step(PUSHED, &of_node("n", 9))),
        (
            "two-other-node-resumed",
            [step(RESUMED, &of_node("n", 9)), step(PUSHED, &delta_2)].concat(),
        ),
        ("two-epoch-0-resumed", step(RESUMED, &of_node("n", 0))),
        ("two-cut", step(PUSHED, &delta_2[..delta_2.len() - 1])),
        ("two-node-too-long", with(1, 250)),
        ("two-as-one", step(1, &delta_2)),
    ]
}

fn prefixed(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend_from_slice(rest);
    bytes
}

/// Encodes one step of `targets::steps`.
fn step(choice: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len() + 1).expect("seeds are small");
    let mut step = len.to_le_bytes().to_vec();
    step.push(choice);
    step.extend_from_slice(bytes);
    step
}

/// Joins steps of a target, each after its length in two bytes.
fn joined(steps: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (choice, step) in steps {
        let length = u16::try_from(step.len() + 1).expect("a step is short");
        bytes.extend(length.to_le_bytes());
        bytes.push(*choice);
        bytes.extend(*step);
    }
    bytes
}

/// Frames of a client, by the number of their event: 0 is a join, 4 a message.
fn socket() -> Vec<(&'static str, Vec<u8>)> {
    const JOIN: (u8, &[u8]) = (0, br#"{"status":"idle"}"#);
    let binary = b"\x00\x00\x01\x07\x092phoenixheartbeat";
    vec![
        ("join", joined(&[JOIN, (1, b"{}"), JOIN, JOIN])),
        ("heartbeat", joined(&[(2, b"{}"), (0xff, binary)])),
        ("token", joined(&[(3, br#"{"token":"a.b.c"}"#)])),
        (
            "message",
            joined(&[JOIN, (4, br#"{"content":"hi","client_id":"1"}"#)]),
        ),
        ("typing", joined(&[JOIN, (7, b"{}"), (8, b"{}")])),
        ("status", joined(&[JOIN, (9, br#"{"status":"invisible"}"#)])),
        (
            "windows",
            joined(&[
                JOIN,
                (10, br#"{"window":"c:0"}"#),
                (11, br#"{"from":"c:0","window":"c:1"}"#),
                (13, br#"{"windows":["c:1","c:42949672"]}"#),
                (12, br#"{"window":"c:1"}"#),
            ]),
        ),
        (
            "resume",
            joined(&[
                JOIN,
                (
                    15,
                    br#"{"held":[{"window":"c:0","epoch":{"node":"n","number":1},"version":9}]}"#,
                ),
                (15, br#"{"held":[{"window":"c:0","epoch":1,"version":-1}]}"#),
            ]),
        ),
        ("find", joined(&[JOIN, (14, br#"{"prefix":"a"}"#)])),
        (
            "text",
            joined(&[(0xfe, br#"["1","2","room:x","phx_join",{}]"#)]),
        ),
        ("no-json", joined(&[(0xfe, b"{"), JOIN])),
    ]
}

/// Requests of a user, by the number of their route.
fn rest() -> Vec<(&'static str, Vec<u8>)> {
    let id: &[u8] = b"018f0000-0000-7000-8000-000000000001";
    vec![
        ("me", joined(&[(0, b"")])),
        ("users", joined(&[(1, b"5"), (2, id)])),
        ("rooms", joined(&[(3, id), (5, id), (6, b"")])),
        (
            "create",
            joined(&[(4, br#"{"name":"lobby two","private":true}"#)]),
        ),
        ("delete", joined(&[(7, id)])),
        (
            "members",
            joined(&[(8, b""), (10, b"3"), (9, b""), (8, b"")]),
        ),
        ("pages", joined(&[(11, id), (12, b"1")])),
        (
            "message",
            joined(&[(8, b""), (13, br#"{"content":"hi","client_id":"1"}"#)]),
        ),
        (
            "dm",
            joined(&[
                (14, b""),
                (15, br#"{"user_id":"018f0000-0000-7000-8000-000000000001"}"#),
                (16, id),
                (17, br#"{"content":"hi"}"#),
            ]),
        ),
        ("guest", joined(&[(18, b"default"), (19, b"nothing")])),
    ]
}
