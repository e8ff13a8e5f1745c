//! The thread-safe presence.

use std::time::Duration;

use headcount::{NewEntry, Presence, PresenceConfig};

use crate::support::mesh::{Mesh, configured, node, presence};
use crate::support::mirror::Mirror;

#[test]
fn many_threads_track_and_read_at_once() {
    let p = presence("a", PresenceConfig::default());
    std::thread::scope(|s| {
        for thread in 0..4 {
            let p = &p;
            s.spawn(move || {
                for i in 0..500 {
                    let topic = format!("room {}", i % 50);
                    p.track(&NewEntry::new(&topic, &format!("{thread}/{i}"), "conn"))
                        .unwrap();
                    assert!(p.count(&topic).unwrap() > 0);
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

/// Makes a presence whose first beat is over.
fn started(set: impl FnOnce(PresenceConfig) -> PresenceConfig) -> Presence {
    let p = configured("a", 1, 1, set);
    p.handle_timeout(ms(0));
    p
}

#[test]
fn local_changes_are_collected_for_one_flush_and_published_once() {
    let p = started(|config| config);
    let mut mirror = Mirror::default();
    p.handle_timeout(ms(100));
    p.track(&NewEntry::new("room", "ann", "c")).unwrap();
    p.track(&NewEntry::new("room", "bob", "c")).unwrap();
    assert_eq!(p.poll_timeout(), Some(ms(105)));
    p.handle_timeout(ms(103));
    p.update(&NewEntry::new("room", "ann", "c").meta(b"2"))
        .unwrap();
    assert!(p.untrack("room", "bob", "c"));
    assert!(p.poll_diff().is_none());
    assert_eq!(
        p.poll_timeout(),
        Some(ms(105)),
        "later changes do not delay it"
    );
    p.handle_timeout(ms(105));
    assert_eq!(mirror.take_all(&p), (2, 0, 2), "bob came and went");
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
fn an_explicit_flush_leaves_nothing_for_the_timer() {
    let p = started(|config| config);
    p.track(&NewEntry::new("room", "ann", "c")).unwrap();
    p.handle_timeout(ms(1));
    assert_eq!(p.take_diff().topic("room").unwrap().joins.len(), 1);
    p.handle_timeout(ms(50));
    assert!(p.poll_diff().is_none());
}

#[test]
fn flush_may_be_at_once_or_never() {
    let at_once = started(|config| config.flush(Duration::ZERO));
    let never = started(|config| config.flush(Duration::MAX));
    for p in [&at_once, &never] {
        p.track(&NewEntry::new("room", "ann", "c")).unwrap();
        p.handle_timeout(ms(1));
    }
    assert_eq!(at_once.poll_diff().unwrap().len(), 1);
    never.handle_timeout(ms(600_000));
    assert!(never.poll_diff().is_none());
    assert_eq!(never.take_diff().len(), 1);
}

#[test]
fn a_goodbye_flushes_what_waits() {
    let p = started(|config| config);
    p.track(&NewEntry::new("room", "ann", "c")).unwrap();
    p.leave_gracefully(ms(1));
    assert_eq!(p.poll_diff().unwrap().topic("room").unwrap().joins.len(), 1);
}

#[test]
fn a_new_identity_gives_every_entry_a_new_reference() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    let mut mirrors = [Mirror::default(), Mirror::default()];
    for i in 0..20 {
        let key = format!("user {i}");
        mesh.nodes[0]
            .track(&NewEntry::new("room", &key, "c"))
            .unwrap();
    }
    mesh.run(Duration::from_secs(3));
    for (mirror, node) in mirrors.iter_mut().zip(&mesh.nodes) {
        assert_eq!(mirror.take_all(node), (20, 0, 0));
    }
    // A double does an operation before the first one does.
    let twin = node("a", 1, 9, |config| config);
    for i in 0..30 {
        let key = format!("other {i}");
        twin.track(&NewEntry::new("room", &key, "c")).unwrap();
    }
    let old = mesh.nodes[0].id();
    mesh.nodes.push(twin);
    mesh.nodes[0]
        .track(&NewEntry::new("room", "late", "c"))
        .unwrap();
    mesh.run(Duration::from_secs(6));
    assert!(mesh.nodes[0].id().supersedes(&old), "the first one noticed");
    let (joins, updates, leaves) = mirrors[0].take_all(&mesh.nodes[0]);
    mirrors[1].take_all(&mesh.nodes[1]);
    for (mirror, node) in mirrors.iter().zip(&mesh.nodes) {
        mirror.check(node, "room");
    }
    assert!(
        updates >= 20 && joins > 0 && leaves == joins,
        "{joins} {updates} {leaves}"
    );
}

/// Pages may find other entries than the pages before: those that stay are listed once.
#[test]
fn a_list_in_pages_contains_every_lasting_entry_once() {
    let p = presence("a", PresenceConfig::default());
    let name = |i: usize| format!("user {i}");
    let track = |key: &str, owner: &str| p.track(&NewEntry::new("room", key, owner)).map(drop);
    for i in 0..5_000 {
        track(&name(i), "conn").unwrap();
        track(&name(i), "other conn").unwrap();
    }
    for keys_max in [1, 7, 1_000, usize::MAX] {
        let mut seen = std::collections::HashMap::new();
        let mut pages = p.begin_pages("room").unwrap();
        for round in 0.. {
            let slice = p
                .page(&mut pages, keys_max, |entry| {
                    let session = (entry.key_str().unwrap().to_owned(), entry.owner().to_vec());
                    *seen.entry(session).or_insert(0) += 1;
                })
                .unwrap();
            if slice.done {
                break;
            }
            // One in ten leaves and returns, and the table grows meanwhile.
            let flapping = name(round % 500 * 10);
            assert!(p.untrack("room", flapping.as_str(), "conn"));
            track(&flapping, "conn").unwrap();
            let _ = track(&format!("late {round}"), "conn");
        }
        assert!(seen.values().all(|&times| times == 1));
        for i in (0..5_000).filter(|i| i % 10 != 0) {
            for owner in ["conn", "other conn"] {
                assert!(seen.contains_key(&(name(i), owner.into())), "{i} {owner}");
            }
        }
    }
    let mut none = p.begin_pages("no such room").unwrap();
    let slice = p
        .page(&mut none, 1, |_| panic!("the room is empty"))
        .unwrap();
    assert!(slice.done);
}

#[test]
fn attempts_give_up_and_change_nothing_while_a_slot_is_in_use() {
    let p = presence("a", PresenceConfig::default());
    let ann = NewEntry::new("room", "ann", "c");
    let bob = NewEntry::new("room", "bob", "c");
    p.track(&ann).unwrap();
    p.read("room", |_| {
        assert!(p.try_track(&bob).is_none());
        assert!(p.try_update(&ann).is_none());
        assert_eq!(p.try_untrack("room", "ann", "c"), None);
        // Readers do not block each other.
        assert_eq!(
            p.try_read("room", |tracker| tracker.count("room")),
            Some(Ok(1))
        );
        assert_eq!(p.try_len(), Some(1));
    })
    .unwrap();
    assert_eq!(p.take_diff().topic("room").unwrap().joins.len(), 1);
    assert!(p.try_track(&bob).unwrap().is_ok());
    assert!(p.try_track(&bob).unwrap().is_err());
    assert!(p.try_update(&bob).unwrap().is_ok());
    assert_eq!(p.try_untrack("room", "nobody", "c"), Some(false));
    assert_eq!(p.take_diff().topic("room").unwrap().joins.len(), 1);
}

#[test]
fn many_owners_leave_at_once() {
    let p = presence("a", PresenceConfig::default());
    let owner = |i: usize| format!("conn {i}");
    for i in 0..1_000 {
        let track = |topic: &str| p.track(&NewEntry::new(topic, "ann", &owner(i))).unwrap();
        track(&format!("room {}", i % 50));
        track("lobby");
    }
    let _ = p.take_diff();
    let gone: Vec<_> = (0..900).chain(2_000..2_100).map(owner).collect();
    assert_eq!(p.untrack_owners(&gone), 1_800);
    assert_eq!((p.len(), p.count("lobby").unwrap()), (200, 100));
    let diff = p.take_diff();
    assert_eq!(diff.topic("lobby").unwrap().leaves.len(), 900);
    assert_eq!(diff.iter().map(|t| t.leaves.len()).sum::<usize>(), 1_800);
}

/// A list between the slices of a hide shows its outcome; the leaves of all slices belong before it.
#[test]
fn a_list_with_diffs_comes_after_those_of_a_hide_in_slices() {
    let mut mesh = Mesh::new(&[("a", 1)]);
    mesh.nodes
        .push(configured("b", 1, 7, |config| config.slice_entries_max(10)));
    for n in 0..100 {
        let key = format!("{n}");
        let entry = NewEntry::new("room", &key, "conn");
        mesh.nodes[0].track(&entry).unwrap();
    }
    mesh.run(ms(3_000));
    let b = &mesh.nodes[1];
    while b.poll_diff().is_some() {}
    assert_eq!(b.count("room").unwrap(), 100);
    b.disconnected(mesh.now, "0");
    assert!(b.is_working(), "the hide goes in slices");
    let own = NewEntry::new("room", "own", "conn");
    b.track(&own).unwrap();
    let (listed, diffs) = b.list_with_diffs("room").unwrap();
    let rooms: Vec<_> = diffs.iter().filter_map(|diff| diff.topic("room")).collect();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        rooms.iter().map(|room| room.leaves.len()).sum::<usize>(),
        100
    );
    assert_eq!(rooms.iter().map(|room| room.joins.len()).sum::<usize>(), 1);
    while b.is_working() {
        b.work_on(mesh.now);
    }
    assert_eq!(b.poll_diff(), None);
}
