//! The thread-safe presence.

use std::time::Duration;

use headcount::{Presence, PresenceConfig, Put, ReplicaId};

use crate::mesh::{Mesh, configured, node};
use crate::mirror::Mirror;

fn presence(name: &str) -> Presence {
    Presence::new(
        ReplicaId::new(name, 1, 0).unwrap(),
        PresenceConfig::default(),
    )
}

#[test]
fn many_threads_track_and_read_at_once() {
    let p = presence("a");
    std::thread::scope(|s| {
        for thread in 0..4 {
            let p = &p;
            s.spawn(move || {
                for i in 0..500 {
                    let topic = format!("room {}", i % 50);
                    p.track(&Put::new(&topic, &format!("{thread}/{i}"), "conn"))
                        .unwrap();
                    assert!(p.count(&topic) > 0);
                }
            });
        }
    });
    assert_eq!(p.len(), 2_000);
    assert_eq!(
        p.take_diff().iter().map(|t| t.joins.len()).sum::<usize>(),
        2_000
    );
    assert_eq!(p.untrack_owner("conn"), 2_000);
    assert_eq!(
        p.take_diff().iter().map(|t| t.leaves.len()).sum::<usize>(),
        2_000
    );
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A presence that has been told the time once, so that its first beat is over.
fn started(set: impl FnOnce(&mut PresenceConfig)) -> Presence {
    let p = configured("a", 1, 1, set);
    p.handle_timeout(ms(0));
    p
}

#[test]
fn local_changes_gather_for_one_flush_and_come_out_once() {
    let p = started(|_| {});
    let mut mirror = Mirror::default();
    p.handle_timeout(ms(100));
    p.track(&Put::new("room", "ann", "c")).unwrap();
    p.track(&Put::new("room", "bob", "c")).unwrap();
    assert_eq!(p.poll_timeout(), Some(ms(105)));
    p.handle_timeout(ms(103));
    p.update(&Put::new("room", "ann", "c").meta(b"2")).unwrap();
    assert!(p.untrack("room", "bob", "c"));
    assert!(p.poll_diff().is_none());
    assert_eq!(
        p.poll_timeout(),
        Some(ms(105)),
        "later changes do not delay it"
    );
    p.handle_timeout(ms(105));
    assert_eq!(mirror.take_all(&p), (1, 0, 0));
    mirror.check(&p, "room");
    p.handle_timeout(ms(200));
    assert_eq!(mirror.take_all(&p), (0, 0, 0));
    assert!(p.take_diff().is_empty());
    assert!(
        p.poll_timeout().is_some_and(|at| at > ms(900)),
        "no flush without changes"
    );
}

#[test]
fn a_flush_by_hand_leaves_nothing_for_the_timer() {
    let p = started(|_| {});
    p.track(&Put::new("room", "ann", "c")).unwrap();
    p.handle_timeout(ms(1));
    assert_eq!(p.take_diff().topic("room").unwrap().joins.len(), 1);
    p.handle_timeout(ms(50));
    assert!(p.poll_diff().is_none());
}

#[test]
fn flush_may_be_at_once_or_never() {
    let (at_once, never) = (
        started(|config| config.flush = Duration::ZERO),
        started(|config| config.flush = Duration::MAX),
    );
    for p in [&at_once, &never] {
        p.track(&Put::new("room", "ann", "c")).unwrap();
        p.handle_timeout(ms(1));
    }
    assert_eq!(at_once.poll_diff().unwrap().len(), 1);
    never.handle_timeout(ms(600_000));
    assert!(never.poll_diff().is_none());
    assert_eq!(never.take_diff().len(), 1);
}

#[test]
fn a_goodbye_flushes_what_waits() {
    let p = started(|_| {});
    p.track(&Put::new("room", "ann", "c")).unwrap();
    p.leave_gracefully(ms(1));
    assert_eq!(p.poll_diff().unwrap().topic("room").unwrap().joins.len(), 1);
}

#[test]
fn a_new_identity_gives_every_entry_a_new_reference() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    let mut mirrors = [Mirror::default(), Mirror::default()];
    for i in 0..20 {
        let key = format!("user {i}");
        mesh.nodes[0].track(&Put::new("room", &key, "c")).unwrap();
    }
    mesh.run(Duration::from_secs(3));
    for (mirror, node) in mirrors.iter_mut().zip(&mesh.nodes) {
        assert_eq!(mirror.take_all(node), (20, 0, 0));
    }
    // A second self beats the first one to an operation.
    let twin = node("a", 1, 9, |_| {});
    for i in 0..30 {
        let key = format!("other {i}");
        twin.track(&Put::new("room", &key, "c")).unwrap();
    }
    let old = mesh.nodes[0].id();
    mesh.nodes.push(twin);
    mesh.nodes[0].track(&Put::new("room", "late", "c")).unwrap();
    mesh.run(Duration::from_secs(6));
    assert!(mesh.nodes[0].id().supersedes(&old), "the first one noticed");
    let (joins, updates, leaves) = mirrors[0].take_all(&mesh.nodes[0]);
    mirrors[1].take_all(&mesh.nodes[1]);
    for (mirror, node) in mirrors.iter().zip(&mesh.nodes) {
        mirror.check(node, "room");
    }
    assert!(
        updates >= 20 && joins > 0 && leaves == 0,
        "{joins} {updates} {leaves}"
    );
}
