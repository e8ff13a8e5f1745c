//! Frames of strangers and of many replicas: they cost little, are told seldom and change nothing.

use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use headcount::codec::{Kind, SharedKey};
use headcount::replica::{Config, Event, Mode};
use headcount::{NewEntry, Presence, ReplicaId};

use crate::support::mesh::{events, node, seconds};

/// Takes all that a node sends.
fn frames(node: &Presence, now: Duration) -> Vec<Bytes> {
    node.handle_timeout(now);
    let sent = std::iter::from_fn(|| node.poll_transmit());
    sent.map(|transmit| transmit.frame).collect()
}

/// Returns the events of a node that tell of refused frames or replicas.
fn reports(node: &Presence) -> Vec<Event> {
    let is_report = |event: &Event| {
        matches!(
            event,
            Event::Unreadable { .. } | Event::ShapeMismatch { .. } | Event::PeerLimit { .. }
        )
    };
    events(node).into_iter().filter(is_report).collect()
}

/// A setting of a stranger, and the word for its frames.
type Stranger = (fn(Config) -> Config, &'static str);

#[test]
fn strangers_of_every_kind_are_told_once_a_minute_and_not_answered() {
    let strangers: [Stranger; 7] = [
        (|config| config.cluster("another"), "another cluster"),
        (
            |config| config.key(Some(SharedKey::new([1; 16]))),
            "shared key",
        ),
        (|config| config.partitions(64), "ShapeMismatch"),
        (|config| config.mode(Mode::Interest), "ShapeMismatch"),
        (
            |config| config.mode(Mode::Interest).counts(true),
            "ShapeMismatch",
        ),
        (|config| config.partitions(1), "ShapeMismatch"),
        (|config| config.relay(true), "ShapeMismatch"),
    ];
    for (set, word) in strangers {
        let a = node("a", 1, 1, |config| config);
        let stranger = node("b", 1, 2, set);
        let mut told = Vec::new();
        frames(&a, Duration::ZERO);
        for second in 1..=121 {
            a.handle_timeout(seconds(second));
            while a.poll_transmit().is_some() {}
            for frame in frames(&stranger, seconds(second)) {
                let refused = a.handle_message(seconds(second), "b", &frame);
                assert!(refused.is_err(), "{word}");
                assert!(a.poll_transmit().is_none(), "{word}");
            }
            told.extend(reports(&a));
        }
        assert_eq!(told.len(), 3, "{told:?}");
        let text = format!("{:?}", told[0]);
        assert!(text.contains(word), "{word}: {text}");
        assert!(a.replicas().is_empty());
    }
}

/// Returns the frames of a replica that starts, with one entry.
fn newcomer(name: &str, now: Duration) -> (Presence, Vec<Bytes>) {
    let newcomer = node(name, 1, 7, |config| config);
    let entry = NewEntry::new("room", name, "conn");
    newcomer.track(&entry).unwrap();
    let mut sent = frames(&newcomer, now);
    sent.extend(frames(&newcomer, now + Duration::from_millis(10)));
    (newcomer, sent)
}

fn hand_over(node: &Presence, now: Duration, from: &str, frames: &[Bytes]) {
    for frame in frames {
        node.handle_message(now, from, frame).unwrap();
    }
}

#[test]
fn many_addresses_and_names_within_the_hour_take_no_room_from_newcomers() {
    let a = node("a", 1, 1, |config| config);
    let roaming = node("roaming", 1, 2, |config| config);
    let mut now = Duration::ZERO;
    for number in 0..1_200 {
        now += seconds(2);
        frames(&a, now);
        let address = format!("short-lived {number}");
        let (_, sent) = newcomer(&address, now);
        hand_over(&a, now, &address, &sent);
        // One that connects again each time has another address each time.
        hand_over(
            &a,
            now,
            &format!("roaming {number}"),
            &frames(&roaming, now),
        );
        let noise = a.handle_message(now, &format!("noise {number}"), &Bytes::from("noise"));
        assert!(noise.is_err());
        while a.poll_event().is_some() {}
    }
    // Those silent for 20 minutes are forgotten.
    let known = a.replicas().len();
    assert!((590..=602).contains(&known), "{known}");
    let is_up = |name: &str| {
        let replicas = a.replicas();
        replicas
            .iter()
            .any(|(id, is_up)| id.name() == name && *is_up)
    };
    assert!(is_up("roaming"));
    now += seconds(1);
    let (_, sent) = newcomer("newcomer", now);
    hand_over(&a, now, "newcomer", &sent);
    assert!(is_up("newcomer"));
    let entries = a.list("room").unwrap();
    let is_new = |entry: &headcount::EntryBuf| entry.key_str() == Some("newcomer");
    assert!(entries.iter().any(is_new));
}

#[test]
fn ten_thousand_announced_replicas_are_bounded_and_told_seldom() {
    let a = node("a", 1, 1, |config| config.peers_max(500));
    a.track(&NewEntry::new("room", "ann", "conn")).unwrap();
    frames(&a, Duration::ZERO);
    let beats: Vec<_> = (0..10_000)
        .map(|number| newcomer(&format!("node {number}"), Duration::ZERO).1)
        .collect();
    let peak = measure(|| {
        for sent in &beats {
            hand_over(&a, Duration::from_millis(1), "many", sent);
        }
    });
    assert!(peak.bytes_max < 16 << 20, "{} bytes", peak.bytes_max);
    assert_eq!(a.replicas().len(), 500);
    assert_eq!(reports(&a).len(), 1, "one address is told once a minute");
    hand_over(&a, Duration::from_millis(1), "other", &beats[9_999]);
    assert_eq!(reports(&a).len(), 1, "and each address by itself");
    for sent in beats.iter().rev().take(500) {
        hand_over(&a, seconds(61), "many", sent);
    }
    let own = a.get_own("room", "ann", "conn");
    assert!(own.is_some(), "the own state is as it was");
}

/// A node that hears its own frames again, at once or later, and what it told of that.
fn hear_own_frames(again_after: Duration) -> (Presence, Vec<Event>) {
    let key = SharedKey::new([7; 16]);
    let a = node("a", 1, 1, |config| config.key(Some(key)));
    a.track(&NewEntry::new("room", "ann", "conn")).unwrap();
    let mut told = Vec::new();
    let mut sent = Vec::new();
    for second in 0..60 {
        let now = seconds(second);
        sent.extend(frames(&a, now).into_iter().map(|frame| (now, frame)));
        // What is sent for them comes back as well.
        while let Some(at) = sent.iter().position(|(at, _)| *at + again_after <= now) {
            let (_, frame) = sent.remove(at);
            a.handle_message(now, "mirror", &frame).unwrap();
            sent.extend(frames(&a, now).into_iter().map(|frame| (now, frame)));
        }
        told.extend(events(&a));
    }
    (a, told)
}

/// Before, each frame that came back made a new identity, whose frames came back too.
#[test]
fn own_frames_that_come_back_at_once_are_refused_and_told() {
    let (a, told) = hear_own_frames(Duration::ZERO);
    assert_eq!(a.id(), ReplicaId::new("a", 1, 0).unwrap());
    let is_told =
        |event: &&Event| matches!(event, Event::SecondSelf { from, .. } if &**from == "mirror");
    assert_eq!(told.iter().filter(is_told).count(), 1, "{told:?}");
    assert_eq!(a.count("room"), Ok(1));
}

#[test]
fn own_frames_that_are_played_back_much_later_make_few_identities() {
    let (a, told) = hear_own_frames(seconds(15));
    let is_new = |event: &&Event| matches!(event, Event::Reincarnated { .. });
    let identities = told.iter().filter(is_new).count();
    assert!((1..=4).contains(&identities), "{identities} identities");
    assert_eq!(a.count("room"), Ok(1));
}

/// Before, the 1,025th name had no room in a partition, and the 4,097th none at all, for 20 minutes.
#[test]
fn replicas_that_are_down_make_room_for_others_and_those_up_for_none() {
    let a = node("a", 1, 1, |config| config.peers_max(3));
    frames(&a, Duration::ZERO);
    let write = |name: &str, now| {
        let (_, sent) = newcomer(name, now);
        hand_over(&a, now, name, &sent);
        a.get_by_key("room", name).unwrap().len()
    };
    let names = |events: &[Event]| {
        let names = events.iter().filter_map(|event| match event {
            Event::ReplicaForgotten(id) => Some(id.name().to_owned()),
            Event::PeerLimit { refused, .. } => Some(format!("not {}", refused.name())),
            _ => None,
        });
        names.collect::<Vec<_>>()
    };
    for (second, name) in (1..).zip(["first", "second", "third"]) {
        assert_eq!(write(name, seconds(second)), 1, "{name}");
    }
    assert_eq!(write("fourth", seconds(4)), 0, "all three are up");
    assert_eq!(names(&events(&a)), ["not fourth"]);
    a.handle_timeout(seconds(7));
    a.handle_timeout(seconds(8));
    for (name, gone) in [("fifth", "first"), ("sixth", "second")] {
        assert_eq!(write(name, seconds(8)), 1, "{name}");
        assert_eq!(names(&events(&a)), [gone]);
    }
    assert_eq!(write("seventh", seconds(8)), 1);
    assert_eq!(names(&events(&a)), ["third"]);
    assert_eq!(write("eighth", seconds(8)), 0);
    assert_eq!(names(&events(&a)), ["not eighth"]);
    assert_eq!((a.replicas().len(), a.count("room")), (3, Ok(3)));
}

#[test]
fn as_many_replicas_as_are_known_can_have_entries() {
    let a = node("a", 1, 1, |config| config);
    frames(&a, Duration::ZERO);
    for number in 0..1_100 {
        let name = format!("node {number}");
        let (_, sent) = newcomer(&name, Duration::ZERO);
        hand_over(&a, Duration::ZERO, &name, &sent);
    }
    assert_eq!(a.count("room"), Ok(1_100));
}

/// Hands each frame of two nodes to the other one. Returns those of a kind that the second one sent.
fn talk(a: &Presence, b: &Presence, now: Duration, kind: Kind) -> Vec<Bytes> {
    let mut found = Vec::new();
    for _ in 0..4 {
        for frame in frames(a, now) {
            b.handle_message(now, "a", &frame).unwrap();
        }
        for frame in frames(b, now) {
            if Kind::of(&frame) == kind {
                found.push(frame.clone());
            }
            a.handle_message(now, "b", &frame).unwrap();
        }
    }
    found
}

#[test]
fn a_storm_of_repeated_questions_takes_bounded_memory() {
    let a = node("a", 1, 1, |config| config);
    for user in 0..5_000 {
        let key = format!("user {user}");
        let entry = NewEntry::new("room", &key, "conn");
        a.track(&entry.meta(&[7; 100])).unwrap();
    }
    let b = node("b", 1, 2, |config| config);
    let mut pulls = Vec::new();
    for beat in 0..4 {
        pulls.extend(talk(&a, &b, seconds(beat), Kind::PULL));
    }
    assert_eq!(b.count("room"), Ok(5_000));
    let pull = pulls.first().expect("it has asked");
    let mut answers = 0;
    let peak = measure(|| {
        for number in 0..2_000 {
            let now = seconds(4) + Duration::from_micros(number);
            a.handle_message(now, "b", pull).unwrap();
            answers += frames(&a, now).len();
        }
    });
    assert!(peak.bytes_max < 8 << 20, "{} bytes", peak.bytes_max);
    assert!(answers <= 2_010, "{answers} frames");
    assert_eq!(a.count("room"), Ok(5_000));
}

/// A frame that its sender could send and that no receiver can use: it is dropped, and nothing
/// that is held changes.
#[test]
fn frames_of_a_replica_that_was_never_heard_change_nothing() {
    let a = node("a", 1, 1, |config| config);
    frames(&a, Duration::ZERO);
    let (stranger, _) = newcomer("b", Duration::ZERO);
    stranger
        .track(&NewEntry::new("room", "late", "conn"))
        .unwrap();
    let mut later = frames(&stranger, Duration::from_millis(200));
    later.extend(frames(&stranger, Duration::from_millis(210)));
    let deltas = later.iter().filter(|frame| Kind::of(frame) == Kind::DELTA);
    let deltas: Vec<_> = deltas.cloned().collect();
    assert!(!deltas.is_empty());
    for _ in 0..1_000 {
        hand_over(&a, Duration::from_millis(200), "b", &deltas);
    }
    assert!(a.replicas().is_empty() && a.is_empty());
    assert!(a.poll_transmit().is_none());
    let id = ReplicaId::new("a", 1, 0).unwrap();
    assert_eq!(a.id(), id, "and it keeps its identity");
}
