//! Diffs and events that no caller polls: they take no more than their bounds, and the program can
//! begin again.

use std::time::Duration;

use allocation_counter::measure;
use headcount::replica::{Event, Signal};
use headcount::{NewEntry, Presence, PresenceConfig};

use crate::support::mesh::{Mesh, configured, events, seconds};
use crate::support::mirror::{Mirror, take_all};

const ROOM: &str = "room";

fn put(node: &Presence, key: u32, meta: &[u8]) {
    let key = format!("user {key}");
    node.upsert(&NewEntry::new(ROOM, &key, "c").meta(meta))
        .unwrap();
}

fn drops(node: &Presence) -> usize {
    let events = events(node).into_iter();
    events.filter(|event| *event == Event::DiffsDropped).count()
}

/// Writes the same 100 entries again and again, a Diff each, and polls none of them. Returns the
/// most bytes allocated meanwhile.
fn flood(node: &Presence, diffs: u32, meta: &[u8]) -> usize {
    let peak = measure(|| {
        for number in 0..diffs {
            put(node, number % 100, meta);
            node.handle_timeout(Duration::ZERO);
            while node.poll_transmit().is_some() {}
        }
    });
    peak.bytes_max as usize
}

#[test]
fn diffs_that_wait_take_the_bytes_of_their_bound_whatever_their_number() {
    const MIB: usize = 1 << 20;
    for (diffs, meta_len, total) in [(8_000, 16 << 10, 200), (150_000, 10, 40)] {
        let meta = vec![b'm'; meta_len];
        let new = |bytes_max| {
            configured("a", 1, 1, |config: PresenceConfig| {
                config.flush(Duration::ZERO).diffs_bytes_max(bytes_max)
            })
        };
        let unbounded = new(usize::MAX);
        let peak = flood(&unbounded, diffs, &meta);
        assert!(peak > total * MIB, "the case is too small: {peak} bytes");
        assert_eq!(drops(&unbounded), 0);
        let polled = std::iter::from_fn(|| unbounded.poll_diff()).count();
        assert_eq!(polled, diffs as usize, "none was lost");

        let bounded = new(16 * MIB);
        let peak = flood(&bounded, diffs, &meta);
        assert!(peak < 21 * MIB, "16 MiB and what the node holds: {peak}");
        assert_eq!(drops(&bounded), 1, "many losses are one event");
        assert_eq!(bounded.count(ROOM).unwrap(), 100);
        let left = std::iter::from_fn(|| bounded.poll_diff()).count();
        assert!(left < diffs as usize / 2, "{left}");
    }
}

/// The default holds a burst that a program is late for.
#[test]
fn the_default_bound_is_64_mib() {
    let node = configured("a", 1, 1, |config| config.flush(Duration::ZERO));
    let meta = vec![b'm'; 16 << 10];
    // An update has two versions of 16 KiB.
    flood(&node, 100 + 1_900, &meta);
    assert_eq!(drops(&node), 0);
    assert_eq!(
        std::iter::from_fn(|| node.poll_diff()).count(),
        2_000,
        "62 MiB are below the bound"
    );
    flood(&node, 2_100, &meta);
    assert_eq!(drops(&node), 1, "66 MiB are above it");
}

#[test]
fn a_program_begins_again_after_a_loss_of_diffs() {
    let mut mesh = Mesh::new(&[]);
    mesh.nodes = ["a", "b"]
        .map(|name| configured(name, 1, 7, |config| config.diffs_bytes_max(4_000)))
        .into();
    mesh.run(seconds(3));
    for node in &mesh.nodes {
        let told = events(node);
        assert!(matches!(
            told[..],
            [Event::ReplicaUp(_), Event::Ready { .. }]
        ));
    }
    for key in 0..50 {
        put(&mesh.nodes[0], key, b"1");
        mesh.run(Duration::from_millis(50));
    }
    for node in &mesh.nodes {
        assert_eq!(events(node), [Event::DiffsDropped], "at {}", node.id());
        let (entries, _before) = node.list_with_diffs(ROOM).unwrap();
        assert_eq!(entries.len(), 50);
    }
    let begin = |node| Mirror::of(node, &[ROOM]);
    let mut mirrors: Vec<_> = mesh.nodes.iter().map(begin).collect();
    for key in 45..55 {
        put(&mesh.nodes[0], key, b"2");
    }
    mesh.nodes[0].untrack(ROOM, "user 3", "c");
    mesh.run(seconds(1));
    for (node, mirror) in mesh.nodes.iter().zip(&mut mirrors) {
        assert_eq!(take_all(node, [&mut *mirror]), (5, 5, 1));
        mirror.check(node, ROOM);
        assert_eq!(events(node), []);
    }
}

#[test]
fn a_flood_of_signals_hides_no_event_about_replicas_or_diffs() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    mesh.run(seconds(3));
    for number in 0..10_000_u32 {
        let signal = Signal {
            topic: ROOM.into(),
            key: number.to_le_bytes().into(),
            kind: 1,
            ttl_ms: 1_000,
            payload: vec![0; 256],
        };
        mesh.nodes[0].signal(signal).unwrap();
        if number % 100 == 99 {
            mesh.run(Duration::from_millis(5));
        }
    }
    mesh.cut(0);
    mesh.run(seconds(60));
    let told = events(&mesh.nodes[1]);
    let signals = told
        .iter()
        .filter(|event| matches!(event, Event::Signal { .. }));
    assert_eq!(signals.count(), 4_096);
    assert!(matches!(
        told[..2],
        [Event::ReplicaUp(_), Event::Ready { .. }]
    ));
    assert!(matches!(told[4_098..], [Event::ReplicaDown(_)]));
}
