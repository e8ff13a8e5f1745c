//! The control plane through `Presence`, with frames and time driven by the test.

use std::time::Duration;

use headcount::codec::{DecodeErrorKind, Kind, SharedKey};
use headcount::replica::{Event, Signal, SignalError};
use headcount::{NewEntry, Presence};

use crate::support::mesh::{Mesh, events, node, seconds};

#[test]
fn two_nodes_converge_by_pushes_and_pulls() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    mesh.nodes[0]
        .track(&NewEntry::new("room", "early", "c"))
        .unwrap();
    mesh.run(seconds(3));
    assert_eq!(
        mesh.nodes[1].count("room").unwrap(),
        1,
        "by the index and a pull"
    );
    assert!(mesh.nodes.iter().all(Presence::is_synced));
    mesh.nodes[0]
        .track(&NewEntry::new("room", "late", "c"))
        .unwrap();
    mesh.nodes[1]
        .track(&NewEntry::new("room", "other way", "c"))
        .unwrap();
    mesh.run(Duration::from_millis(50));
    assert_eq!(mesh.nodes[0].count("room").unwrap(), 3, "by a push");
    assert_eq!(mesh.nodes[1].count("room").unwrap(), 3, "by a push");
    mesh.nodes[0].untrack("room", "early", "c");
    mesh.run(Duration::from_millis(50));
    assert_eq!(mesh.nodes[1].count("room").unwrap(), 2);
}

#[test]
fn a_cut_node_is_hidden_then_shown_with_what_it_missed() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1), ("c", 1)]);
    for (n, node) in mesh.nodes.iter().enumerate() {
        node.track(&NewEntry::new("room", &n.to_string(), "c"))
            .unwrap();
    }
    mesh.run(seconds(3));
    assert!(
        mesh.nodes
            .iter()
            .all(|node| node.count("room").unwrap() == 3)
    );
    mesh.cut(2);
    mesh.run(seconds(7));
    assert_eq!(
        [0, 1, 2].map(|n| mesh.nodes[n].count("room").unwrap()),
        [2, 2, 1]
    );
    mesh.nodes[2]
        .track(&NewEntry::new("room", "in the dark", "c"))
        .unwrap();
    mesh.nodes[0].untrack("room", "0", "c");
    mesh.cut.clear();
    mesh.run(seconds(3));
    assert_eq!(
        [0, 1, 2].map(|n| mesh.nodes[n].count("room").unwrap()),
        [3, 3, 3]
    );
    let seen = events(&mesh.nodes[0]);
    assert!(
        seen.iter()
            .any(|e| matches!(e, Event::ReplicaDown(id) if id.name() == "c"))
    );
}

#[test]
fn a_large_state_arrives_in_parts() {
    let mut mesh = Mesh::new(&[]);
    mesh.nodes
        .push(node("a", 1, 1, |config| config.frame_max(4096)));
    mesh.nodes
        .push(node("b", 1, 2, |config| config.frame_max(4096)));
    for n in 0..2_000 {
        mesh.nodes[0]
            .track(&NewEntry::new("room", &n.to_string(), "c").meta(&[7; 40]))
            .unwrap();
    }
    mesh.run(seconds(5));
    assert_eq!(mesh.nodes[1].count("room").unwrap(), 2_000);
}

#[test]
fn a_goodbye_removes_a_node_at_once_and_for_good() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    mesh.nodes[0]
        .track(&NewEntry::new("room", "ann", "c"))
        .unwrap();
    mesh.run(seconds(3));
    mesh.nodes[0].leave_gracefully(mesh.now);
    mesh.run(Duration::from_millis(10));
    assert_eq!(mesh.nodes[1].count("room").unwrap(), 0);
    assert!(mesh.nodes[1].replicas().is_empty());
}

#[test]
fn a_node_whose_clock_was_set_back_comes_back_above_its_older_self() {
    let mut mesh = Mesh::new(&[("a", 100), ("b", 1)]);
    mesh.nodes[0]
        .track(&NewEntry::new("room", "ann", "c"))
        .unwrap();
    mesh.run(seconds(3));
    mesh.nodes[0] = node("a", 50, 9, |config| config);
    mesh.nodes[0]
        .track(&NewEntry::new("room", "ann again", "c"))
        .unwrap();
    mesh.run(seconds(8));
    assert!(mesh.nodes[0].id().incarnation() > 100);
    assert_eq!(
        mesh.nodes[1].get_by_key("room", "ann again").unwrap().len(),
        1
    );
    assert_eq!(mesh.nodes[1].count("room").unwrap(), 1);
}

#[test]
pub(crate) fn a_duplicate_name_is_reported_once_and_the_lower_one_is_silent() {
    let mut mesh = Mesh::new(&[("a", 100), ("b", 1), ("a", 50)]);
    mesh.nodes[2]
        .track(&NewEntry::new("room", "shadow", "c"))
        .unwrap();
    mesh.run(seconds(30));
    let is_duplicate = |e: &Event| matches!(e, Event::DuplicateName { .. });
    assert_eq!(
        events(&mesh.nodes[2])
            .iter()
            .filter(|e| is_duplicate(e))
            .count(),
        1
    );
    assert_eq!(
        mesh.nodes[2].count("room").unwrap(),
        1,
        "reads and local operations go on"
    );
    assert_eq!(mesh.nodes[1].count("room").unwrap(), 0);
}

#[test]
fn clones_take_different_identities() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    let twin = || node("x", 7, 77, |config| config);
    mesh.nodes.extend([twin(), twin()]);
    mesh.nodes[2]
        .track(&NewEntry::new("room", "one", "c"))
        .unwrap();
    mesh.nodes[3]
        .track(&NewEntry::new("room", "two", "c"))
        .unwrap();
    mesh.run(seconds(60));
    assert_ne!(mesh.nodes[2].id(), mesh.nodes[3].id());
    assert!(mesh.nodes[2].id().incarnation() > 7 && mesh.nodes[3].id().incarnation() > 7);
}

#[test]
fn signals_arrive_and_are_bounded() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    mesh.run(seconds(3));
    events(&mesh.nodes[1]);
    let signal = |payload: usize| Signal {
        topic: "room".into(),
        key: b"ann".to_vec(),
        kind: 1,
        ttl_ms: 5_000,
        payload: vec![1; payload],
    };
    mesh.nodes[0].signal(signal(256)).unwrap();
    mesh.run(Duration::from_millis(10));
    let seen = events(&mesh.nodes[1]);
    assert!(
        seen.iter()
            .any(|e| matches!(e, Event::Signal { signal: s, .. } if *s == signal(256)))
    );
    let too_long = SignalError::PayloadTooLong { len: 257, max: 256 };
    assert_eq!(mesh.nodes[0].signal(signal(257)), Err(too_long));
}

/// Lets node 0 send these signals, and node 1 receive them in the order `arrival`. Returns the
/// payloads in its events.
fn signals_received(sent: &[(&str, &[u8], u8)], arrival: &[usize]) -> Vec<u8> {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    mesh.run(seconds(3));
    let mut frames = Vec::new();
    for ((topic, key, kind), payload) in sent.iter().zip(0..) {
        let signal = Signal {
            topic: (*topic).to_owned(),
            key: key.to_vec(),
            kind: *kind,
            ttl_ms: 3_000,
            payload: vec![payload],
        };
        mesh.nodes[0].signal(signal).unwrap();
        frames.push(mesh.nodes[0].poll_transmit().unwrap().frame);
    }
    events(&mesh.nodes[1]);
    for &index in arrival {
        mesh.nodes[1]
            .handle_message(mesh.now, "0", &frames[index])
            .unwrap();
    }
    let signals = events(&mesh.nodes[1]).into_iter();
    signals
        .filter_map(|event| match event {
            Event::Signal { signal, .. } => Some(signal.payload[0]),
            _ => None,
        })
        .collect()
}

#[test]
fn the_last_signal_about_a_thing_wins() {
    let a = "room a";
    let b = "room b";
    let same = [(a, &b"ann"[..], 1), (a, b"ann", 1), (a, b"ann", 1)];
    assert_eq!(
        signals_received(&same, &[0, 2, 1]),
        [0, 2],
        "an older one is dropped"
    );
    assert_eq!(
        signals_received(&same, &[1, 1, 2, 2]),
        [1, 2],
        "a second copy is dropped"
    );
    let others = [
        (a, &b"ann"[..], 1),
        (b, b"ann", 1),
        (a, b"bob", 1),
        (a, b"ann", 2),
    ];
    assert_eq!(
        signals_received(&others, &[3, 2, 1, 0]),
        [3, 2, 1, 0],
        "others do not age it"
    );
}

#[test]
fn many_bytes_are_pushed_at_once() {
    let a = node("a", 1, 1, |config| config.push_after(seconds(10)));
    let deltas = |a: &Presence| {
        let frames = std::iter::from_fn(|| a.poll_transmit());
        frames.filter(|t| t.frame[4] == Kind::DELTA.0).count()
    };
    let ms = Duration::from_millis;
    a.handle_timeout(ms(0));
    let track = |i: u32| {
        let key = i.to_string();
        let entry = NewEntry::new("room", &key, "c");
        a.track(&entry.meta(&[7; 1_024])).unwrap();
    };
    (0..32).for_each(track);
    a.handle_timeout(ms(1));
    assert_eq!(deltas(&a), 0, "32 KiB wait");
    (32..70).for_each(track);
    assert_eq!(a.poll_timeout(), Some(ms(1)));
    a.handle_timeout(ms(2));
    assert_eq!(deltas(&a), 1);
    (70..80).for_each(track);
    a.handle_timeout(ms(3));
    assert_eq!(deltas(&a), 0, "the count begins again");
}

#[test]
fn strangers_are_refused() {
    let frame = |node: &Presence| {
        node.handle_timeout(seconds(1));
        node.poll_transmit().unwrap().frame
    };
    let keyed = |byte| {
        node("k", 1, 1, move |config| {
            config.key(Some(SharedKey::new([byte; 16])))
        })
    };
    let kind = |to: &Presence, from: &Presence| {
        to.handle_message(seconds(1), "x", &frame(from))
            .err()
            .map(|e| e.kind)
    };
    let plain = || node("p", 1, 2, |config| config);
    let other = node("o", 1, 3, |config| config.cluster("other"));
    assert_eq!(kind(&plain(), &other), Some(DecodeErrorKind::OtherCluster));
    assert_eq!(
        kind(&plain(), &keyed(1)),
        Some(DecodeErrorKind::MacMismatch)
    );
    assert_eq!(
        kind(&keyed(1), &keyed(2)),
        Some(DecodeErrorKind::BadChecksum)
    );
    let same_key = node("q", 1, 5, |config| {
        config.key(Some(SharedKey::new([1; 16])))
    });
    assert_eq!(kind(&keyed(1), &same_key), None);
}

#[test]
fn another_wire_version_is_refused_and_told_once_a_minute() {
    let a = node("a", 1, 1, |config| config);
    let b = node("b", 1, 2, |config| config);
    a.handle_timeout(seconds(1));
    b.handle_timeout(seconds(1));
    while b.poll_transmit().is_some() {}
    let mut frame = a.poll_transmit().unwrap().frame.to_vec();
    frame[2] = 1;
    let frame = bytes::Bytes::from(frame);
    let mut told = Vec::new();
    for second in 1..=61 {
        let error = b.handle_message(seconds(second), "a", &frame).unwrap_err();
        let expected = DecodeErrorKind::UnsupportedVersion {
            major: 1,
            supported: 2,
        };
        assert_eq!(error.kind, expected);
        told.extend(events(&b));
    }
    let what = "at byte 2: wire version 1 is not supported, only 2 is";
    let report = |count| Event::Unreadable {
        from: "a".into(),
        what: what.into(),
        count,
    };
    assert_eq!(told, [report(1), report(60)]);
    assert!(b.poll_transmit().is_none(), "nothing is answered");
}

#[test]
fn another_number_of_partitions_is_refused_and_told_once_a_minute() {
    let a = node("a", 1, 1, |config| config.partitions(64));
    let b = node("b", 1, 2, |config| config);
    a.handle_timeout(seconds(1));
    b.handle_timeout(seconds(1));
    let frame = a.poll_transmit().unwrap().frame;
    for _ in 0..3 {
        let error = b.handle_message(seconds(2), "a", &frame).unwrap_err();
        assert_eq!(error.kind.name(), "other_shape");
    }
    let told = events(&b);
    let [Event::ShapeMismatch { ours, theirs, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((ours.partitions(), theirs.partitions()), (32, 64));
    assert!(b.replicas().is_empty());
}
