//! Presences with more partitions than locks, and the other way round.

use std::collections::BTreeSet;

use super::*;
use crate::replica::Config;
use crate::tracker::NewEntry;

const SECOND: Duration = Duration::from_secs(1);

fn presence(name: &str, partitions: u32, shards_max: u32) -> Presence {
    let replication = Config::default()
        .partitions(partitions)
        .vacate_after(SECOND);
    let id = ReplicaId::new(name, 1, 0).unwrap();
    let config = PresenceConfig::default().seed(u64::from(name.as_bytes()[0]));
    Presence::with_shards(id, config.replication(replication), shards_max)
}

/// Runs two nodes from one time to another.
fn talk(a: &Presence, b: &Presence, from: Duration, to: Duration) {
    let mut now = from;
    while now < to {
        now += Duration::from_millis(10);
        for (name, node, other) in [("a", a, b), ("b", b, a)] {
            node.handle_timeout(now);
            while let Some(transmit) = node.poll_transmit() {
                other.handle_message(now, name, &transmit.frame).unwrap();
            }
        }
    }
}

fn leaves(presence: &Presence) -> usize {
    let diffs = std::iter::from_fn(|| presence.poll_diff());
    let topics = diffs.flat_map(|diff| diff.into_iter().collect::<Vec<_>>());
    topics.map(|topic| topic.leaves.len()).sum()
}

#[test]
fn any_number_of_partitions_lies_behind_any_number_of_locks() {
    let topics: Vec<_> = (0..300).map(|number| format!("room {number}")).collect();
    for (partitions, shards_max) in [(1, 32), (4, 2), (64, 32), (65_536, 4)] {
        let a = presence("a", partitions, shards_max);
        let b = presence("b", partitions, shards_max);
        for topic in &topics {
            for owner in ["phone", "laptop"] {
                a.track(&NewEntry::new(topic, "ann", owner)).unwrap();
            }
        }
        assert!(a.shards.len() as u32 <= shards_max.min(partitions));
        talk(&a, &b, Duration::ZERO, 3 * SECOND);
        let shared: BTreeSet<_> = b.topics().into_iter().collect();
        assert_eq!(shared, topics.iter().cloned().collect());
        assert_eq!(
            b.count(&topics[7]).unwrap(),
            2,
            "{partitions} behind {shards_max}"
        );
        assert_eq!(a.untrack_owner("phone"), 300);
        assert!(a.untrack(&topics[0], "ann", "laptop"));
        talk(&a, &b, 3 * SECOND, 4 * SECOND);
        assert_eq!((a.len(), b.len()), (299, 299));
        a.owner_lost(4 * SECOND, "laptop");
        talk(&a, &b, 4 * SECOND, 7 * SECOND);
        assert_eq!((b.len(), leaves(&b)), (0, 600));
        assert!(
            a.clocks().is_empty() && b.clocks().is_empty(),
            "all vacated"
        );
    }
}

#[test]
fn leaves_that_no_diff_has_reported_outlive_their_partition() {
    let replication = Config::default().vacate_after(SECOND);
    let id = ReplicaId::new("a", 1, 0).unwrap();
    let config = PresenceConfig::default().flush(Duration::MAX);
    let a = Presence::new(id, config.replication(replication));
    let b = presence("b", 32, 32);
    a.track(&NewEntry::new("room", "ann", "phone")).unwrap();
    assert_eq!(a.take_diff().topic("room").unwrap().joins.len(), 1);
    talk(&a, &b, Duration::ZERO, 2 * SECOND);
    a.untrack("room", "ann", "phone");
    talk(&a, &b, 2 * SECOND, 6 * SECOND);
    assert!(b.clocks().is_empty(), "the partition was vacated");
    assert_eq!(a.take_diff().topic("room").unwrap().leaves.len(), 1);
    assert!(a.clocks().is_empty());
    a.track(&NewEntry::new("room", "bob", "phone")).unwrap();
    let joined = a.list("room").unwrap().remove(0);
    assert_eq!(joined.version(), 3, "numbers are not used twice");
    talk(&a, &b, 6 * SECOND, 8 * SECOND);
    assert_eq!(b.list("room").unwrap(), [joined]);
}

#[test]
fn a_list_that_comes_back_to_a_partition_has_another_revision() {
    let b = presence("b", 32, 32);
    let revision = || b.read("room", |tracker| tracker.list_revision("room"));
    let mut seen = vec![revision()];
    for (life, start) in [(1, 0), (2, 3), (3, 6)] {
        let id = ReplicaId::new("a", life, 0).unwrap();
        let a = Presence::new(id, PresenceConfig::default());
        let owner = format!("{life}");
        a.track(&NewEntry::new("room", "ann", &owner)).unwrap();
        talk(&a, &b, start * SECOND, (start + 3) * SECOND);
        assert_eq!(b.list("room").unwrap()[0].owner(), owner.as_bytes());
        assert!(!seen.contains(&revision()), "life {life}");
        seen.push(revision());
        b.disconnected((start + 3) * SECOND, "a");
    }
}

/// Threads write while frames are taken in and pushes are made.
#[test]
fn writers_on_many_threads_are_seen_whole_by_others() {
    let a = presence("a", 64, 32);
    let b = presence("b", 64, 32);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let a = &a;
            scope.spawn(move || {
                for number in 0..2_000 {
                    let topic = format!("room {}", number % 70);
                    let owner = format!("{thread}");
                    let entry = NewEntry::new(&topic, "ann", &owner);
                    a.upsert(&entry).unwrap();
                    if number % 3 == 0 {
                        a.untrack(&topic, "ann", &owner);
                    }
                }
            });
        }
        talk(&a, &b, Duration::ZERO, 3 * SECOND);
    });
    talk(&a, &b, 3 * SECOND, 6 * SECOND);
    assert!(!a.is_empty());
    for topic in a.topics() {
        let mut listed = [a.list(&topic).unwrap(), b.list(&topic).unwrap()];
        listed.iter_mut().for_each(|entries| {
            entries.sort_by(|a, b| a.owner().cmp(b.owner()));
        });
        assert_eq!(listed[0], listed[1]);
    }
}

#[test]
fn only_watched_topics_are_in_the_diffs_of_a_hide() {
    let a = presence("a", 32, 32);
    let b = presence("b", 32, 32);
    for topic in ["room", "hall"] {
        a.track(&NewEntry::new(topic, "ann", "phone")).unwrap();
    }
    talk(&a, &b, Duration::ZERO, 3 * SECOND);
    while b.poll_diff().is_some() {}
    b.diff_topics(["hall".to_owned()]);
    b.disconnected(3 * SECOND, "a");
    let diff = b.poll_diff().unwrap();
    assert!(diff.topic("hall").is_some() && diff.topic("room").is_none());
    assert_eq!((b.count("hall").unwrap(), b.count("room").unwrap()), (0, 0));
}

#[test]
fn a_diff_that_is_taken_without_waiting_comes_after_the_older_ones() {
    let a = presence("a", 32, 32);
    let b = presence("b", 32, 32);
    a.track(&NewEntry::new("room", "ann", "phone")).unwrap();
    talk(&a, &b, Duration::ZERO, 3 * SECOND);
    b.track(&NewEntry::new("room", "bob", "phone")).unwrap();
    assert_eq!(b.try_take_diff(), None, "that of ann waits");
    let older = b.poll_diff().unwrap();
    assert_eq!(older.topic("room").unwrap().joins[0].key_str(), Some("ann"));
    b.track(&NewEntry::new("hall", "bob", "phone")).unwrap();
    b.read("hall", |_| assert_eq!(b.try_take_diff(), None))
        .unwrap();
    let newest = b.try_take_diff().unwrap();
    let joins = |topic| newest.topic(topic).unwrap().joins[0].key_str();
    assert_eq!((joins("room"), joins("hall")), (Some("bob"), Some("bob")));
    assert!(b.try_take_diff().unwrap().is_empty());
}
