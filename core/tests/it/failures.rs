//! Ten failures of other presence systems that must be impossible here.

use std::time::Duration;

use headcount::replica::{Config, Event};
use headcount::testing::Fault;
use headcount::tracker::Limits;
use headcount::{NewEntry, Presence, PresenceConfig};

use crate::support::broken_rules;
use crate::support::mesh::{Mesh, configured, events, node, seconds};

const TICK: Duration = Duration::from_millis(50);

fn members(node: &Presence, topic: &str) -> Vec<(String, Vec<u8>)> {
    let listed = node.list(topic).unwrap();
    let pair = |e: &headcount::EntryBuf| (e.key_str().unwrap().to_owned(), e.meta().to_vec());
    let mut members: Vec<_> = listed.iter().map(pair).collect();
    members.sort_unstable();
    members
}

fn all_equal(mesh: &Mesh, topic: &str, context: &str) {
    let first = members(&mesh.nodes[0], topic);
    for (place, node) in mesh.nodes.iter().enumerate() {
        assert_eq!(members(node, topic), first, "node {place}, {context}");
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// 1: a live user stays missing on one node after a short link loss with updates in flight.
#[test]
fn f01_no_user_stays_missing_after_a_short_link_loss() {
    let names = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)];
    for round in 0..60u64 {
        let mut mesh = Mesh::new(&names);
        mesh.run(seconds(3));
        for (place, node) in mesh.nodes.iter().enumerate() {
            node.track(&NewEntry::new("room", &format!("u{place}"), "c"))
                .unwrap();
        }
        let x = (round % 5) as usize;
        let y = (round / 5 % 4 + 1) as usize;
        let y = (x + y) % 5;
        mesh.cut.extend([(x, y), (y, x)]);
        for n in 0..10 + round % 7 {
            let meta = [n as u8];
            let place = (n % 5) as usize;
            let key = format!("u{place}");
            mesh.nodes[place]
                .update(&NewEntry::new("room", &key, "c").meta(&meta))
                .unwrap();
            mesh.run(TICK);
        }
        // The Beat that would advertise all this is lost too.
        mesh.run(Duration::from_millis(1_200));
        mesh.cut.clear();
        mesh.run(seconds(2));
        assert_eq!(mesh.nodes[0].count("room").unwrap(), 5);
        all_equal(&mesh, "room", &format!("round {round}"));
    }
}

/// 2: two replicas know one (topic, owner, key): each keeps the other's meta for ever, and the
/// next leave crashes.
#[test]
fn f02_two_replicas_may_hold_the_same_session() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1), ("c", 1)]);
    mesh.run(seconds(2));
    mesh.nodes[0]
        .track(&NewEntry::new("room", "ann", "conn").meta(b"from a"))
        .unwrap();
    mesh.nodes[1]
        .track(&NewEntry::new("room", "ann", "conn").meta(b"from b"))
        .unwrap();
    mesh.run(seconds(2));
    assert_eq!(mesh.nodes[2].get_by_key("room", "ann").unwrap().len(), 2);
    mesh.nodes[0]
        .update(&NewEntry::new("room", "ann", "conn").meta(b"a again"))
        .unwrap();
    assert!(mesh.nodes[1].untrack("room", "ann", "conn"));
    mesh.run(seconds(2));
    all_equal(&mesh, "room", "after the leave of one");
    assert_eq!(
        members(&mesh.nodes[1], "room"),
        [("ann".to_owned(), b"a again".to_vec())]
    );
    assert!(mesh.nodes[0].untrack("room", "ann", "conn"));
    mesh.run(seconds(2));
    assert!(
        mesh.nodes
            .iter()
            .all(|node| node.count("room").unwrap() == 0)
    );
}

/// 3: dead incarnations are never forgotten: 1,000 restarts make every read slower.
#[test]
fn f03_a_thousand_restarts_leave_one_replica() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    for life in 0..1_000 {
        mesh.nodes[1] = node("b", 2 + life, life, |config| config);
        mesh.nodes[1]
            .track(&NewEntry::new("room", &life.to_string(), "c"))
            .unwrap();
        mesh.run(Duration::from_millis(20));
    }
    mesh.run(seconds(3));
    assert_eq!(mesh.nodes[0].replicas().len(), 1);
    assert_eq!(
        members(&mesh.nodes[0], "room"),
        [("999".to_owned(), vec![])]
    );
    let origins = mesh.nodes[0].clocks();
    assert_eq!(
        origins.len(),
        1,
        "one origin with entries, not one for each life"
    );
    assert_eq!(mesh.nodes[0].len(), 1);
}

/// 4: every transfer sends the asker its own entries back.
#[test]
fn f04_no_node_is_sent_its_own_entries() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1), ("c", 1)]);
    mesh.nodes[1]
        .track(&NewEntry::new("room", "entry-of-b", "c"))
        .unwrap();
    mesh.nodes[0]
        .track(&NewEntry::new("room", "entry-of-a", "c"))
        .unwrap();
    mesh.run(seconds(4));
    mesh.cut(1);
    mesh.nodes[0]
        .track(&NewEntry::new("room", "meanwhile", "c"))
        .unwrap();
    mesh.run(seconds(8));
    mesh.cut.clear();
    mesh.run(seconds(4));
    all_equal(&mesh, "room", "after the heal");
    let to_b = mesh.sent.iter().filter(|(_, to, _)| *to == 1);
    let frames: Vec<_> = to_b.map(|(_, _, frame)| frame).collect();
    assert!(frames.iter().any(|frame| contains(frame, b"entry-of-a")));
    assert!(!frames.iter().any(|frame| contains(frame, b"entry-of-b")));
    // Nor is its next life sent those of the one before.
    mesh.nodes[1] = node("b", 2, 9, |config| config);
    mesh.sent.clear();
    mesh.run(seconds(4));
    let to_b = |at: &&(usize, usize, Vec<u8>)| at.1 == 1;
    let carries = |name: &[u8]| {
        mesh.sent
            .iter()
            .filter(to_b)
            .any(|at| contains(&at.2, name))
    };
    assert!(carries(b"entry-of-a"));
    assert!(!carries(b"entry-of-b"));
}

/// 5: a wall-clock step of 20-30 s hides or discards every peer.
#[test]
fn f05_a_step_of_the_clock_hides_no_replica() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 100_000_000)]);
    mesh.nodes[1]
        .track(&NewEntry::new("room", "bob", "c"))
        .unwrap();
    mesh.now = seconds(100);
    mesh.run(seconds(3));
    events(&mesh.nodes[0]);
    for step in [20, 25, 30] {
        mesh.nodes[0].handle_timeout(mesh.now - seconds(step));
        assert_eq!(mesh.nodes[0].count("room").unwrap(), 1);
        mesh.run(seconds(2));
        assert_eq!(mesh.nodes[0].count("room").unwrap(), 1);
    }
    assert_eq!(events(&mesh.nodes[0]).len(), 0);
    // Messages with an earlier time, and a process that starts 30 s before its last life.
    mesh.now -= seconds(25);
    mesh.run(seconds(20));
    assert_eq!(mesh.nodes[0].count("room").unwrap(), 1);
    assert_eq!(events(&mesh.nodes[0]).len(), 0);
    mesh.now += seconds(10);
    mesh.nodes[1] = node("b", 70_000_000, 3, |config| config);
    mesh.nodes[1]
        .track(&NewEntry::new("room", "bea", "c"))
        .unwrap();
    mesh.run(seconds(10));
    assert_eq!(
        members(&mesh.nodes[0], "room"),
        [("bea".to_owned(), vec![])]
    );
}

/// 6: a full transfer of 500k entries stalls the sender for seconds, and the new node waits. Here
/// both do other work between slices: no call does more than one.
#[test]
fn f06_a_large_transfer_stalls_no_node() {
    let mut mesh = Mesh::new(&[("a", 1)]);
    for n in 0..50_000 {
        mesh.nodes[0]
            .track(&NewEntry::new("big", &n.to_string(), "c"))
            .unwrap();
    }
    mesh.run(seconds(2));
    mesh.nodes.push(node("b", 1, 9, |config| config));
    let mut early = None;
    for n in 0..2_000 {
        // Before every call: operations here are seen there during the load.
        mesh.nodes[0]
            .upsert(&NewEntry::new("small", "busy", "c").meta(&[n as u8]))
            .unwrap();
        mesh.run(Duration::from_millis(5));
        if mesh.nodes[1].count("small").unwrap() == 1 && early.is_none() {
            early = Some(mesh.nodes[1].count("big").unwrap());
        }
        if mesh.nodes[1].count("big").unwrap() == 50_000 {
            break;
        }
    }
    assert_eq!(mesh.nodes[1].count("big").unwrap(), 50_000);
    assert_eq!(
        early,
        Some(0),
        "the small topic is served before the big one has arrived"
    );
}

/// 7: a partial diff sent with a full context deletes live keys.
#[test]
fn f07_a_lost_diff_deletes_nothing() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    mesh.run(seconds(3));
    for n in 0..40 {
        mesh.lost = if n % 3 == 0 {
            vec![headcount::codec::Kind::DELTA]
        } else {
            vec![]
        };
        mesh.nodes[0]
            .track(&NewEntry::new("room", &format!("k{n:02}"), "c"))
            .unwrap();
        mesh.run(Duration::from_millis(10));
        let seen = members(&mesh.nodes[1], "room");
        let expected = members(&mesh.nodes[0], "room");
        assert_eq!(
            seen,
            expected[..seen.len()],
            "always a prefix, never a hole"
        );
    }
    mesh.lost.clear();
    mesh.run(seconds(3));
    assert_eq!(mesh.nodes[1].count("room").unwrap(), 40);
}

/// 8: after log truncation the whole state of an owner is wiped and resent.
#[test]
fn f08_a_truncated_log_costs_the_difference_only() {
    let short = |config: PresenceConfig| config.limits(Limits::default().leave_log_len_max(1));
    let mut mesh = Mesh::new(&[]);
    mesh.nodes.push(configured("a", 1, 1, short));
    mesh.nodes.push(configured("b", 1, 2, short));
    for n in 0..3_000 {
        mesh.nodes[0]
            .track(&NewEntry::new("room", &n.to_string(), "c").meta(&[1; 64]))
            .unwrap();
    }
    mesh.run(seconds(3));
    mesh.cut(1);
    for n in 0..20 {
        assert!(mesh.nodes[0].untrack("room", n.to_string().as_str(), "c"));
    }
    mesh.nodes[0]
        .track(&NewEntry::new("room", "new", "c"))
        .unwrap();
    mesh.run(seconds(2));
    while mesh.nodes[1].poll_diff().is_some() {}
    mesh.sent.clear();
    mesh.cut.clear();
    mesh.run(seconds(3));
    all_equal(&mesh, "room", "after the heal");
    let mut joins = 0;
    let mut leaves = 0;
    let mut updates = 0;
    while let Some(diff) = mesh.nodes[1].poll_diff() {
        let topic = diff.topic("room").unwrap();
        joins += topic.joins.len();
        leaves += topic.leaves.len();
        updates += topic.updates.len();
    }
    assert_eq!((joins, leaves, updates), (1, 20, 0));
    let bytes: usize = mesh.sent.iter().map(|(_, _, frame)| frame.len()).sum();
    assert!(
        bytes < 2 * 3_000,
        "about a byte for each live entry, not {bytes}"
    );
}

/// 9: ghosts after deploy, out-of-memory kill or restart.
#[test]
fn f09_the_dead_stay_dead() {
    let forget =
        |config: PresenceConfig| config.replication(Config::default().forget_after(seconds(20)));
    let mut mesh = Mesh::new(&[]);
    for (seed, name) in (1..).zip(["a", "b", "c"]) {
        mesh.nodes.push(configured(name, 1, seed, forget));
    }
    mesh.nodes[1]
        .track(&NewEntry::new("room", "ghost", "c"))
        .unwrap();
    mesh.run(seconds(3));
    // c is cut off while b is killed and restarts; it still knows the old b.
    mesh.cut(2);
    mesh.run(seconds(1));
    mesh.nodes[1] = node("b", 2, 50, |config| config);
    mesh.nodes[1]
        .track(&NewEntry::new("room", "alive", "c"))
        .unwrap();
    mesh.run(seconds(1));
    let alive = [("alive".to_owned(), vec![])];
    assert_eq!(members(&mesh.nodes[0], "room"), alive);
    mesh.cut.clear();
    for _ in 0..200 {
        mesh.run(TICK);
        assert_eq!(members(&mesh.nodes[0], "room"), alive);
    }
    assert_eq!(
        members(&mesh.nodes[2], "room"),
        [("alive".to_owned(), vec![])]
    );
    // Killed for good: hidden after a few seconds, dropped after `forget_after`.
    mesh.cut(1);
    mesh.run(seconds(7));
    assert_eq!(mesh.nodes[0].count("room").unwrap(), 0);
    let events = events(&mesh.nodes[0]);
    let mut downs = events.iter().filter_map(|event| match event {
        Event::ReplicaDown(id) => Some(id),
        _ => None,
    });
    assert!(downs.any(|id| id.name() == "b"));
    mesh.run(seconds(20));
    assert_eq!(mesh.nodes[0].len(), 0);
    let names = |node: &Presence| {
        let known = node.replicas().into_iter();
        known
            .map(|(id, _)| id.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&mesh.nodes[0]), ["c"]);
    // Frames of both its lives that are still under way arrive late.
    for (from, to, frame) in mesh.sent.clone() {
        if from == 1 && to == 0 {
            let frame = frame.into();
            mesh.nodes[0].handle_message(mesh.now, "1", &frame).unwrap();
        }
    }
    mesh.run(seconds(1));
    assert_eq!(mesh.nodes[0].len(), 0);
    assert_eq!(names(&mesh.nodes[0]), ["c"]);
}

/// The failures return when the rules that prevent them are broken: these tests can fail.
#[test]
fn the_failures_come_back_when_rules_are_broken() {
    let broken: [(Fault, fn()); 3] = [
        (Fault::IgnoreSum, f07_a_lost_diff_deletes_nothing),
        (Fault::ApplyOverGap, f07_a_lost_diff_deletes_nothing),
        (Fault::PushPastHorizon, f08_leave_logs_share_one_budget),
    ];
    broken_rules::check(&broken);
}

/// 10: one process tracked in 10,000 topics takes 1.3 s to leave.
#[test]
fn f10_leaving_ten_thousand_topics_is_one_push() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    for n in 0..10_000 {
        mesh.nodes[0]
            .track(&NewEntry::new(&format!("topic {n}"), "ann", "conn"))
            .unwrap();
    }
    mesh.run(seconds(4));
    assert_eq!(mesh.nodes[1].len(), 10_000);
    mesh.sent.clear();
    assert_eq!(mesh.nodes[0].untrack_owner("conn"), 10_000);
    mesh.run(Duration::from_millis(50));
    assert_eq!(mesh.nodes[1].len(), 0);
    // One push for each slot; some may be pulled because a heartbeat arrived before the push.
    assert!(mesh.sent.len() <= 64, "{} frames", mesh.sent.len());
    let bytes: usize = mesh.sent.iter().map(|(_, _, frame)| frame.len()).sum();
    assert!(bytes <= 8 * 10_000 + 32 * 128, "{bytes} bytes");
}

/// 6, the bound behind it: one step of either side moves a few slices at most, and a half
/// loaded state is not shown.
#[test]
fn f06_a_large_transfer_goes_in_slices() {
    let small = |config: PresenceConfig| config.slice_entries_max(64);
    let a = configured("a", 1, 1, small);
    let b = configured("b", 1, 2, small);
    for i in 0..5_000 {
        a.track(&NewEntry::new("room", &i.to_string(), "c"))
            .unwrap();
    }
    let mut before = 0;
    let mut steps = 0;
    let mut now = Duration::ZERO;
    while b.count("room").unwrap() < 5_000 {
        now += Duration::from_millis(1);
        for (name, from, to) in [("a", &a, &b), ("b", &b, &a)] {
            from.handle_timeout(now);
            while let Some(transmit) = from.poll_transmit() {
                to.handle_message(now, name, &transmit.frame).unwrap();
            }
        }
        let loaded = b.len();
        assert!(
            loaded - before <= 4 * 64,
            "{} entries in one step",
            loaded - before
        );
        assert!(
            b.count("room").unwrap() == 0 || loaded == 5_000,
            "shown by one flag"
        );
        steps += usize::from(loaded > before);
        before = loaded;
        assert!(now < seconds(60), "it arrives");
    }
    assert!(steps >= 5_000 / 256);
}

/// 8, over all slots: the leave logs of a node share one budget; leaves beyond it are repaired.
#[test]
fn f08_leave_logs_share_one_budget() {
    let mut mesh = Mesh::new(&[("b", 1)]);
    mesh.nodes.push(configured("a", 1, 9, |config| {
        config.leave_log_bytes_max(24 * 1_000)
    }));
    for i in 0..5_000 {
        let topic = format!("room {}", i % 100);
        mesh.nodes[1]
            .track(&NewEntry::new(&topic, &i.to_string(), "c"))
            .unwrap();
    }
    mesh.run(seconds(3));
    assert_eq!(mesh.nodes[0].len(), 5_000);
    mesh.cut(1);
    mesh.run(seconds(7));
    mesh.nodes[1].untrack_owner("c");
    mesh.run(seconds(2));
    mesh.cut.clear();
    mesh.run(seconds(5));
    assert_eq!(mesh.nodes[0].len(), 0, "what left the logs is repaired");
    let diverged = |event: &Event| matches!(event, Event::Divergence { .. });
    assert!(!events(&mesh.nodes[0]).iter().any(diverged));
}
