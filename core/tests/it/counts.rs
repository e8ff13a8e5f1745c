//! Counts without entries, in mode `interest`.

use headcount::replica::{Config, Event};
use headcount::{Keys, NewEntry, ReadError};

use crate::support::cluster::{Cluster, seconds};

/// Returns the topics of which a node was told that they can be counted.
fn countable(cluster: &Cluster, node: usize) -> Vec<String> {
    let events = std::iter::from_fn(|| cluster.nodes[node].poll_event());
    let ready = events.filter_map(|event| match event {
        Event::CountsReady { topic, .. } => Some(topic.to_string()),
        _ => None,
    });
    ready.collect()
}

fn bounds(at_least: usize, at_most: usize) -> Keys {
    Keys { at_least, at_most }
}

#[test]
fn a_node_counts_what_it_does_not_hold() {
    let mut cluster = Cluster::with_counts(3);
    for user in 0..50 {
        let name = format!("Zoë {user}");
        cluster.track(0, "room", &name);
        cluster.track(1, "room", &format!("Åsa {user}"));
        // The second session of a user, on another node.
        cluster.track(1, "room", &name);
    }
    cluster.run(seconds(3));
    cluster.nodes[2].watch_counts(cluster.now, "room");
    let topic: Box<str> = "room".into();
    let not_ready = Err(ReadError::NotReady { topic });
    assert_eq!(cluster.nodes[2].count("room"), not_ready);
    cluster.run(seconds(1));
    assert_eq!(countable(&cluster, 2), ["room"]);
    let node = &cluster.nodes[2];
    assert_eq!(node.count("room").unwrap(), 150);
    assert_eq!(node.count_keys("room").unwrap(), bounds(100, 150));
    assert_eq!((node.len(), node.topics()), (0, vec![]));
    assert!(node.list("room").is_err() && node.poll_diff().is_none());
    let topic: Box<str> = "hall".into();
    assert_eq!(node.count("hall"), Err(ReadError::NotWatched { topic }));
    assert!(node.check_countable("room").is_ok());

    // Own entries count at once, those of others with their next Beat.
    cluster.track(2, "room", "Bob");
    cluster.nodes[0].untrack("room", "Zoë 7", "conn");
    let node = &cluster.nodes[2];
    assert_eq!(node.count("room").unwrap(), 151);
    assert_eq!(node.count_keys("room").unwrap(), bounds(100, 151));
    cluster.run(seconds(2));
    assert_eq!(cluster.nodes[2].count("room").unwrap(), 150);
}

#[test]
fn counts_of_a_silent_replica_are_hidden_and_come_back() {
    let mut cluster = Cluster::with_counts(2);
    cluster.track(0, "room", "ann");
    cluster.nodes[1].watch_counts(cluster.now, "room");
    cluster.run(seconds(3));
    assert_eq!(cluster.nodes[1].count("room").unwrap(), 1);
    cluster.cut = Some((0, 1));
    cluster.run(seconds(7));
    assert_eq!(cluster.nodes[1].count("room").unwrap(), 0);
    cluster.track(0, "room", "bob");
    cluster.cut = None;
    cluster.run(seconds(3));
    assert_eq!(cluster.nodes[1].count("room").unwrap(), 2);
    cluster.nodes[0].untrack_owner("conn");
    cluster.run(seconds(2));
    assert_eq!(cluster.nodes[1].count("room").unwrap(), 0);
}

#[test]
fn a_topic_whose_entries_are_held_is_counted_by_them() {
    let mut cluster = Cluster::with_counts(2);
    for user in ["ann", "bob"] {
        cluster.track(0, "room", user);
        cluster.track(1, "room", user);
    }
    cluster.nodes[1].watch_counts(cluster.now, "room");
    cluster.run(seconds(3));
    assert_eq!(cluster.nodes[1].count_keys("room").unwrap(), bounds(2, 4));
    cluster.watch(1, "room");
    assert_eq!(
        cluster.nodes[1].count("room").unwrap(),
        4,
        "until it is ready"
    );
    cluster.run(seconds(1));
    assert_eq!(
        cluster.nodes[1].count_keys("room").unwrap().exact(),
        Some(2)
    );
    cluster.nodes[1].unwatch(cluster.now, "room");
    assert_eq!(cluster.nodes[1].count_keys("room").unwrap(), bounds(2, 4));
    cluster.nodes[1].unwatch_counts(cluster.now, "room");
    assert!(cluster.nodes[1].count("room").is_err());
    let topic: Box<str> = "room".into();
    let not_watched = Err(ReadError::NotWatched { topic });
    assert_eq!(cluster.nodes[1].check_countable("room"), not_watched);
}

/// Users change their status, which no count shows.
#[test]
fn a_node_that_counts_is_sent_counts_only() {
    let mut cluster = Cluster::with_counts(3);
    let text = [b'x'; 1_000];
    for node in [1, 2] {
        cluster.nodes[node].watch_counts(cluster.now, "room");
    }
    cluster.watch(1, "room");
    cluster.run(seconds(3));
    let before = cluster.received.clone();
    for user in 0..100 {
        let key = format!("user {user}");
        let entry = NewEntry::new("room", &key, "conn").meta(&text);
        cluster.nodes[0].track(&entry).unwrap();
    }
    cluster.run(seconds(3));
    let received = |node: usize| cluster.received[node] - before[node];
    assert_eq!(cluster.nodes[2].count("room").unwrap(), 100);
    assert!(received(1) > 100_000, "{} bytes", received(1));
    assert!(received(2) < 2_000, "{} bytes", received(2));
    let before = cluster.received[2];
    for user in 0..100 {
        let key = format!("user {user}");
        let entry = NewEntry::new("room", &key, "conn").meta(b"away");
        cluster.nodes[0].update(&entry).unwrap();
    }
    cluster.run(seconds(3));
    let beats = cluster.received[2] - before;
    assert!(beats < 1_000, "{beats} bytes");
}

#[test]
fn without_counts_the_entries_are_watched() {
    let mut cluster = Cluster::new(2);
    cluster.track(0, "room", "ann");
    cluster.nodes[1].watch_counts(cluster.now, "room");
    cluster.run(seconds(3));
    assert_eq!(cluster.nodes[1].count("room").unwrap(), 1);
    assert_eq!(cluster.nodes[1].list("room").unwrap().len(), 1);
    cluster.nodes[1].unwatch_counts(cluster.now, "room");
    assert!(cluster.nodes[1].list("room").is_err());
}

/// More topics of one partition than a frame takes, with names as long as they may be.
#[test]
fn counts_of_more_topics_than_a_frame_takes_arrive() {
    let config = Config::default().counts(true).partitions(1);
    let mut cluster = Cluster::with(2, config.frame_max(4_096));
    let topic = |number: usize| format!("{number:0>256}");
    for number in 0..500 {
        cluster.track(0, &topic(number), "ann");
        cluster.track(0, &topic(number), "bob");
    }
    cluster.run(seconds(3));
    for number in [0, 77, 499] {
        cluster.nodes[1].watch_counts(cluster.now, &topic(number));
    }
    cluster.run(seconds(3));
    for number in [0, 77, 499] {
        assert_eq!(cluster.nodes[1].count(&topic(number)).unwrap(), 2);
    }
}
