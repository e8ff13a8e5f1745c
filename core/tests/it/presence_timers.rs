//! Leases, grace, snapshots: work that a presence does by itself and across a restart.

use std::time::Duration;

use headcount::id::EntryRef;
use headcount::presence::RestoreError;
use headcount::tracker::Encoding;
use headcount::{Diff, NewEntry, Presence, PresenceConfig, ReplicaId, TrackError};

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn presence(name: &str, incarnation: u64, grace: Duration) -> Presence {
    let config = PresenceConfig::default().grace(grace);
    Presence::new(ReplicaId::new(name, incarnation, 0).unwrap(), config)
}

/// Runs the nodes from one second to another, in steps of 10 ms.
fn talk(nodes: &[(&str, &Presence)], from: u64, to: u64) {
    for ms in (from * 1_000..to * 1_000).step_by(10) {
        let now = Duration::from_millis(ms);
        for (name, node) in nodes {
            node.handle_timeout(now);
            while let Some(transmit) = node.poll_transmit() {
                for (_, other) in nodes.iter().filter(|(other, _)| other != name) {
                    other.handle_message(now, name, &transmit.frame).unwrap();
                }
            }
        }
    }
}

/// (joins, updates, leaves) over all topics.
fn changes(diffs: impl IntoIterator<Item = Diff>) -> (usize, usize, usize) {
    let mut sum = (0, 0, 0);
    for topic in diffs.into_iter().flatten() {
        sum.0 += topic.joins.len();
        sum.1 += topic.updates.len();
        sum.2 += topic.leaves.len();
    }
    sum
}

#[test]
fn leases_end_unless_renewed_and_with_their_entry() {
    let p = presence("a", 1, secs(0));
    for (key, owner) in [("ann", "c1"), ("bob", "c1"), ("cleo", "c2")] {
        p.track(&NewEntry::new("room", key, owner)).unwrap();
    }
    assert!(p.lease(secs(0), "room", "ann", "c1", secs(5)));
    assert!(!p.lease(secs(0), "room", "nobody", "c1", secs(5)));
    p.lease_owner(secs(0), "c2", secs(7));
    assert!(p.poll_timeout().unwrap() <= secs(5));
    p.handle_timeout(secs(4));
    assert_eq!(p.count("room").unwrap(), 3);
    p.lease_owner(secs(4), "c2", secs(7));
    p.handle_timeout(secs(7));
    assert_eq!(
        (
            p.count("room").unwrap(),
            p.get_by_key("room", "ann").unwrap().len()
        ),
        (2, 0)
    );
    p.handle_timeout(secs(11));
    assert_eq!(p.get_by_key("room", "cleo").unwrap().len(), 0);

    p.lease(secs(11), "room", "bob", "c1", secs(5));
    assert!(p.untrack("room", "bob", "c1"));
    p.track(&NewEntry::new("room", "bob", "c1")).unwrap();
    p.handle_timeout(secs(60));
    assert_eq!(
        p.count("room").unwrap(),
        1,
        "the lease ended with the entry it was for"
    );
}

#[test]
fn a_return_within_grace_is_an_update_here_and_elsewhere() {
    let a = presence("a", 1, secs(3));
    let b = presence("b", 1, secs(0));
    let nodes = [("a", &a), ("b", &b)];
    for key in ["ann", "bob", "cleo"] {
        a.track(&NewEntry::new("room", key, "c1").meta(b"1"))
            .unwrap();
    }
    talk(&nodes, 0, 4);
    assert_eq!(changes(std::iter::from_fn(|| b.poll_diff())), (3, 0, 0));
    assert_eq!(changes(std::iter::from_fn(|| a.poll_diff())), (3, 0, 0));
    a.owner_lost(secs(4), "c1");
    a.track(&NewEntry::new("room", "ann", "c2").meta(b"2"))
        .unwrap();
    a.upsert(&NewEntry::new("room", "bob", "c1").meta(b"3"))
        .unwrap();
    talk(&nodes, 4, 6);
    assert_eq!(
        (a.count("room").unwrap(), b.count("room").unwrap()),
        (3, 3),
        "cleo's leave is held back"
    );
    assert_eq!(changes(std::iter::from_fn(|| a.poll_diff())), (0, 2, 0));
    assert_eq!(changes(std::iter::from_fn(|| b.poll_diff())), (0, 2, 0));
    assert_eq!(b.get_by_key("room", "ann").unwrap()[0].owner(), b"c2");
    talk(&nodes, 6, 9);
    assert_eq!(
        (a.count("room").unwrap(), b.count("room").unwrap()),
        (2, 2),
        "cleo did not come back"
    );
    assert_eq!(changes(std::iter::from_fn(|| a.poll_diff())), (0, 0, 1));
    assert_eq!(changes(std::iter::from_fn(|| b.poll_diff())), (0, 0, 1));
    assert_eq!(a.untrack_owner("c2"), 1);
    assert_eq!(a.untrack_owner("c1"), 1);
}

#[test]
fn only_entries_of_a_lost_owner_are_taken_over() {
    let p = presence("a", 1, secs(3));
    for owner in ["c1", "c2"] {
        p.track(&NewEntry::new("room", "ann", owner)).unwrap();
    }
    p.owner_lost(secs(0), "c1");
    let own = NewEntry::new("room", "ann", "c2").meta(b"2");
    p.upsert(&own).expect("c2 has an entry of its own");
    assert_eq!(p.track(&own), Err(TrackError::AlreadyTracked));
    let back = NewEntry::new("room", "ann", "c1").meta(b"1");
    p.upsert(&back).unwrap();
    p.track(&NewEntry::new("room", "ann", "c3")).unwrap();
    assert_eq!(
        p.count("room").unwrap(),
        3,
        "c1 is back, so c3 is another session"
    );
    p.handle_timeout(secs(3));
    assert_eq!(p.count("room").unwrap(), 3);
}

#[test]
fn an_owner_that_returns_keeps_its_lease() {
    let p = presence("a", 1, secs(3));
    p.track(&NewEntry::new("room", "ann", "c1")).unwrap();
    p.lease_owner(secs(0), "c1", secs(30));
    p.owner_lost(secs(10), "c1");
    assert!(p.owner_back("c1"));
    p.handle_timeout(secs(29));
    assert_eq!(p.count("room"), Ok(1));
    p.handle_timeout(secs(30));
    assert_eq!(
        p.count("room"),
        Ok(0),
        "it is silent for longer than its lease"
    );
}

/// Before, the end of the grace ended the lease too: what the owner had written stayed for ever.
#[test]
fn a_lost_owner_that_keeps_an_entry_by_writing_it_keeps_its_lease() {
    let entry = NewEntry::new("room", "ann", "c1");
    for (write, key) in [
        (Presence::track as Write, "ann"),
        (Presence::update, "ann"),
        (Presence::upsert, "ann"),
        (Presence::track, "bob"),
    ] {
        for (ttl, left_at) in [(30, 30), (2, 13)] {
            let p = presence("a", 1, secs(10));
            p.track(&entry).unwrap();
            p.lease_owner(secs(0), "c1", secs(ttl));
            p.owner_lost(secs(1), "c1");
            p.owner_lost(secs(3), "c1");
            write(&p, &NewEntry::new("room", key, "c1")).unwrap();
            p.handle_timeout(secs(left_at - 1));
            assert_eq!(p.get_by_key("room", key).unwrap().len(), 1, "{ttl}");
            p.handle_timeout(secs(left_at));
            assert_eq!(p.count("room"), Ok(0), "{key} with a lease of {ttl} s");
        }
    }
}

type Write = fn(&Presence, &NewEntry<'_>) -> Result<EntryRef, TrackError>;

#[test]
fn a_lease_ends_with_the_entries_of_its_lost_owner() {
    let p = presence("a", 1, secs(10));
    p.track(&NewEntry::new("room", "ann", "c1")).unwrap();
    p.lease_owner(secs(0), "c1", secs(30));
    p.owner_lost(secs(1), "c1");
    p.handle_timeout(secs(11));
    assert_eq!(p.count("room"), Ok(0));
    p.track(&NewEntry::new("room", "ann", "c1")).unwrap();
    p.handle_timeout(secs(100));
    assert_eq!(p.count("room"), Ok(1), "nobody gave it a lease");
}

#[test]
fn a_clock_that_is_set_back_shortens_no_lease() {
    let p = presence("a", 1, secs(3));
    p.track(&NewEntry::new("room", "ann", "c1")).unwrap();
    p.track(&NewEntry::new("room", "bob", "c2")).unwrap();
    p.handle_timeout(secs(100));
    p.lease_owner(secs(75), "c1", secs(30));
    assert!(p.lease(secs(75), "room", "bob", "c2", secs(30)));
    p.handle_timeout(secs(129));
    assert_eq!(p.count("room"), Ok(2));
    p.handle_timeout(secs(130));
    assert_eq!(p.count("room"), Ok(0));
}

#[test]
fn an_owner_that_returns_keeps_its_entries() {
    let p = presence("a", 1, secs(3));
    p.track(&NewEntry::new("room", "ann", "c1")).unwrap();
    p.owner_lost(secs(0), "c1");
    assert!(p.owner_back("c1"));
    assert!(!p.owner_back("c1"));
    p.handle_timeout(secs(10));
    assert_eq!(p.count("room").unwrap(), 1);
    p.owner_lost(secs(10), "c1");
    assert_eq!(p.untrack_owner("c1"), 1, "an untrack ends the grace");
    p.handle_timeout(secs(20));
}

/// Connections of an earlier start may be found again, or not: nothing is offered before.
#[test]
fn a_start_is_handed_the_own_entries_of_a_snapshot_and_offers_none() {
    let a = presence("a", 7, secs(0));
    let b = presence("b", 1, secs(0));
    let long = "room ".repeat(40);
    let entries = [
        NewEntry::new("room", "ann", "c1").meta(b"1"),
        NewEntry::new("room", "ann", "c2"),
        NewEntry::new(&long, "Zo\u{eb}", "c1").status(3),
        NewEntry::bytes("", b"\xff\x00", b"", Encoding::Bytes),
    ];
    for entry in &entries {
        a.track(entry).unwrap();
    }
    b.track(&NewEntry::new("room", "bob", "c1")).unwrap();
    talk(&[("a", &a), ("b", &b)], 0, 3);
    assert_eq!(a.len(), 5);
    let id = ReplicaId::new("a", 7, 0).unwrap();
    let restored = Presence::restore(id, PresenceConfig::default(), &a.snapshot());
    let (later, diff) = restored.unwrap();
    assert!(later.id().supersedes(&a.id()) && later.is_empty());
    assert_eq!(changes([diff.clone()]), (4, 0, 0));
    let joined = |topic: &str| diff.topic(topic).unwrap().joins.clone();
    assert_eq!(joined("room").len(), 2);
    assert_eq!(joined(&long)[0].status(), 3);
    assert_eq!(joined("")[0].key().bytes, b"\xff\x00");
    drop(a);
    talk(&[("a", &later), ("b", &b)], 3, 6);
    assert_eq!((later.len(), b.len()), (1, 1), "nothing old is offered");
    later.track(&entries[0].meta(b"again")).unwrap();
    talk(&[("a", &later), ("b", &b)], 6, 8);
    assert_eq!(b.get_by_key("room", "ann").unwrap()[0].meta(), b"again");
}

#[test]
fn bad_snapshots_have_typed_errors() {
    let a = presence("a", 1, secs(0));
    for topic in ["room", "hall", "attic"] {
        a.track(&NewEntry::new(topic, "ann", "c1")).unwrap();
    }
    let good = a.snapshot();
    let restore = |bytes: &[u8]| {
        let id = ReplicaId::new("b", 1, 0).unwrap();
        let restored = Presence::restore(id, PresenceConfig::default(), bytes);
        restored.map(|(_, diff)| changes([diff]).0)
    };
    assert_eq!(restore(&good), Ok(3));
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let refused = restore(&bad);
        assert!(matches!(refused, Err(RestoreError::Decode(_))), "{bit}");
    }
    for len in 0..good.len() {
        let cut = restore(&good[..len]);
        assert!(matches!(cut, Err(RestoreError::Decode(_))), "{len}");
    }
    let envelope = headcount::codec::Envelope::default();
    let opened = envelope.open(&good).unwrap();
    let body = opened.body;
    let sealed = |body: &[u8]| envelope.seal(opened.kind, None, body);
    for at in 0..body.len() {
        for byte in [1, 0x7F, 0x80, 0xFF] {
            let mut bent = body.to_vec();
            bent[at] ^= byte;
            if let Ok(entries) = restore(&sealed(&bent)) {
                assert!(entries <= 3);
            }
        }
    }
    let twice = [body, &body[body.len() - 12..]].concat();
    assert!(restore(&sealed(&twice)).is_err());
}
