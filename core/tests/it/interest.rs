//! Mode `interest`: nodes hold what they watch.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use headcount::codec::Kind;
use headcount::replica::{Config, Mode};
use headcount::testing::{Fault, with_fault};
use headcount::{Presence, PresenceConfig, ReadError, ReplicaId};

use crate::support::cluster::{Cluster, seconds};

#[test]
fn a_node_reads_what_it_watches_and_nothing_else() {
    let mut cluster = Cluster::new(3);
    for user in 0..50 {
        cluster.track(0, "room", &format!("ann {user}"));
        cluster.track(1, "room", &format!("bob {user}"));
        cluster.track(0, "hall", &format!("ann {user}"));
    }
    cluster.run(seconds(3));
    assert_eq!(cluster.nodes[2].len(), 0, "nothing is watched");
    let topic: Box<str> = "room".into();
    let not_watched = ReadError::NotWatched { topic };
    assert_eq!(cluster.nodes[2].list("room"), Err(not_watched.clone()));
    assert_eq!(cluster.nodes[0].count_own("room"), 50);
    assert_eq!(cluster.nodes[1].count_own("hall"), 0);
    // Its own entries are a part of the topic, and no list of it.
    assert_eq!(cluster.nodes[0].list("room"), Err(not_watched.clone()));
    let own = cluster.nodes[0].get_own("room", "ann 7", "conn");
    assert_eq!(
        own.map(|entry| entry.owner().to_vec()),
        Some(b"conn".to_vec())
    );

    cluster.watch(2, "room");
    let topic: Box<str> = "room".into();
    assert_eq!(
        cluster.nodes[2].count("room"),
        Err(ReadError::NotReady { topic })
    );
    cluster.run(Duration::from_millis(20));
    assert_eq!(cluster.ready(2), [("room".to_owned(), 0)]);
    assert_eq!(cluster.nodes[2].count("room"), Ok(100));
    assert_eq!(cluster.nodes[2].len(), 100, "hall is held nowhere else");

    while cluster.nodes[2].poll_diff().is_some() {}
    cluster.track(1, "room", "cleo");
    cluster.track(1, "hall", "cleo");
    cluster.run(Duration::from_millis(50));
    let diffs: Vec<_> = std::iter::from_fn(|| cluster.nodes[2].poll_diff()).collect();
    assert_eq!((diffs.len(), diffs[0].len()), (1, 1));
    assert_eq!(
        diffs[0].topic("room").unwrap().joins[0].key_str(),
        Some("cleo")
    );

    cluster.nodes[2].unwatch(cluster.now, "room");
    assert_eq!(cluster.nodes[2].list("room"), Err(not_watched));
    cluster.run(seconds(9));
    assert_eq!(
        cluster.nodes[2].len(),
        101,
        "a watch that begins again costs nothing"
    );
    cluster.run(seconds(2));
    assert_eq!(cluster.nodes[2].len(), 0);
}

#[test]
fn watches_are_counted_and_a_short_pause_costs_no_question() {
    let mut cluster = Cluster::new(2);
    cluster.track(0, "room", "ann");
    cluster.watch(1, "room");
    cluster.watch(1, "room");
    cluster.run(seconds(3));
    assert_eq!(cluster.ready(1), [("room".to_owned(), 0)]);
    cluster.nodes[1].unwatch(cluster.now, "room");
    assert_eq!(cluster.nodes[1].count("room"), Ok(1));
    cluster.nodes[1].unwatch(cluster.now, "room");
    cluster.nodes[1].unwatch(cluster.now, "room");
    assert!(cluster.nodes[1].count("room").is_err());
    cluster.run(seconds(1));
    cluster.watch(1, "room");
    assert_eq!(cluster.ready(1), [("room".to_owned(), 0)], "at once");
    assert_eq!(cluster.nodes[1].count("room"), Ok(1));
}

#[test]
fn a_node_that_watches_nothing_is_sent_beats_alone() {
    let mut cluster = Cluster::new(2);
    cluster.run(seconds(3));
    for user in 0..1_000 {
        cluster.track(0, &format!("room {}", user % 100), &format!("user {user}"));
    }
    cluster.run(seconds(3));
    let before = cluster.received[1];
    for user in 0..1_000 {
        let topic = format!("room {}", user % 100);
        cluster.nodes[0].untrack(&topic, format!("user {user}").as_str(), "conn");
        cluster.track(0, &topic, &format!("user {user}"));
    }
    cluster.run(seconds(10));
    let bytes = cluster.received[1] - before;
    assert!(bytes <= 10 * 100, "{bytes} bytes in ten seconds");
}

#[test]
fn a_topic_is_ready_without_a_replica_that_does_not_answer_and_again_with_it() {
    let mut cluster = Cluster::new(3);
    cluster.track(0, "room", "ann");
    cluster.track(1, "room", "bob");
    cluster.run(seconds(3));
    // The Beats of node 0 arrive, the questions to it do not.
    cluster.cut = Some((2, 0));
    cluster.watch(2, "room");
    cluster.run(seconds(4));
    assert_eq!(cluster.ready(2), []);
    let topic = "room".into();
    assert_eq!(
        cluster.nodes[2].count("room"),
        Err(ReadError::NotReady { topic })
    );
    cluster.run(seconds(2));
    assert_eq!(cluster.ready(2), [("room".to_owned(), 1)]);
    assert_eq!(cluster.nodes[2].count("room"), Ok(1));
    cluster.cut = None;
    cluster.run(seconds(3));
    assert_eq!(cluster.ready(2), [("room".to_owned(), 0)]);
    assert_eq!(cluster.nodes[2].count("room"), Ok(2));
}

/// Before, a topic was ready at once if another one of its partition had been.
#[test]
fn a_second_topic_of_a_partition_waits_for_the_open_questions_of_it() {
    let ready_with_an_open_question = || {
        let mut cluster = Cluster::with(2, Config::default().partitions(1));
        cluster.watch(1, "room");
        cluster.run(seconds(4));
        assert_eq!(cluster.ready(1), [("room".to_owned(), 0)]);
        lose_deltas_and_questions_of(&mut cluster, 1);
        cluster.track(0, "hall", "ann");
        cluster.run(seconds(2));
        cluster.watch(1, "hall");
        (cluster.ready(1), cluster)
    };
    let (ready, mut cluster) = ready_with_an_open_question();
    assert_eq!(ready, []);
    assert!(cluster.nodes[1].list("hall").is_err());
    assert_eq!(cluster.nodes[1].count("room"), Ok(0));
    cluster.run(seconds(6));
    assert_eq!(cluster.ready(1), [("hall".to_owned(), 1)]);
    cluster.cut = None;
    cluster.run(seconds(3));
    assert_eq!(cluster.ready(1), [("hall".to_owned(), 0)]);
    assert_eq!(cluster.nodes[1].count("hall"), Ok(1));
    let (ready, _) = with_fault(Fault::ReadyWhereHeld, ready_with_an_open_question);
    assert_eq!(ready, [("hall".to_owned(), 0)]);
}

/// Before, a topic that was watched before anybody was heard of waited for nobody.
#[test]
fn a_topic_that_is_watched_from_the_start_waits_for_those_heard_while_the_node_starts() {
    let ready_after_the_start = || {
        let mut cluster = Cluster::new(2);
        lose_deltas_and_questions_of(&mut cluster, 1);
        cluster.track(0, "room", "ann");
        cluster.watch(1, "room");
        cluster.run(Duration::from_millis(2_500));
        (cluster.ready(1), cluster)
    };
    let (ready, mut cluster) = ready_after_the_start();
    assert_eq!(ready, []);
    cluster.cut = None;
    cluster.run(seconds(2));
    assert_eq!(cluster.ready(1), [("room".to_owned(), 0)]);
    assert_eq!(cluster.nodes[1].count("room"), Ok(1));
    let (ready, _) = with_fault(Fault::ReadyWithoutLate, ready_after_the_start);
    assert_eq!(ready, [("room".to_owned(), 0)]);
}

/// Lets frames to a group be lost, and all that a node sends to node 0.
fn lose_deltas_and_questions_of(cluster: &mut Cluster, node: usize) {
    cluster.is_lost = Box::new(|frame| Kind::of(frame) == Kind::DELTA);
    cluster.cut = Some((node, 0));
}

/// What was lost in a short cut, the rows of it too, is asked for when Beats arrive again.
#[test]
fn a_gap_in_the_beats_shows_that_more_is_missing() {
    let count_after_a_cut = || {
        let mut cluster = Cluster::new(2);
        cluster.track(0, "room", "ann");
        cluster.watch(1, "room");
        cluster.run(seconds(6));
        assert_eq!(cluster.nodes[1].count("room"), Ok(1));
        cluster.cut = Some((0, 1));
        cluster.run(Duration::from_millis(1_500));
        cluster.track(0, "room", "bob");
        cluster.run(seconds(3));
        cluster.cut = None;
        cluster.run(Duration::from_millis(1_200));
        assert!(cluster.nodes[1].replicas()[0].1, "it was not down");
        cluster.nodes[1].count("room")
    };
    assert_eq!(count_after_a_cut(), Ok(2));
    assert_eq!(with_fault(Fault::IgnoreBeatGap, count_after_a_cut), Ok(1));
}

/// What changed before the last Beat that arrived is shown again with the Beats after it, which are
/// missing: it was not asked for.
#[test]
fn a_gap_in_the_beats_shows_that_rows_of_changes_before_it_are_missing() {
    let count_after_a_cut = || {
        let mut cluster = Cluster::new(2);
        cluster.track(0, "room", "ann");
        cluster.watch(1, "room");
        cluster.run(Duration::from_millis(6_500));
        cluster.is_lost = Box::new(|frame| Kind::of(frame) == Kind::DELTA);
        cluster.track(0, "room", "bob");
        // A Beat arrives.
        cluster.run(seconds(1));
        assert_eq!(cluster.nodes[1].count("room"), Ok(1));
        // The next one, and the row that goes with it, do not.
        cluster.is_lost = Box::new(|_| false);
        cluster.cut = Some((0, 1));
        cluster.run(seconds(1));
        cluster.cut = None;
        cluster.run(seconds(2));
        cluster.nodes[1].count("room")
    };
    assert_eq!(count_after_a_cut(), Ok(2));
    assert_eq!(with_fault(Fault::AskWithoutRows, count_after_a_cut), Ok(1));
}

/// A Delta that was sent before a watch ended, and arrives after the next one began, is not followed by
/// what was sent in between. It was taken for all that there is.
#[test]
fn a_delta_from_before_the_watch_is_asked_for() {
    let count_after_a_pause = || {
        let mut cluster = Cluster::new(2);
        cluster.watch(1, "room");
        cluster.run(seconds(3));
        cluster.nodes[1].unwatch(cluster.now, "room");
        cluster.run(Duration::from_millis(9_900));
        let late = Rc::new(RefCell::new(Vec::new()));
        let held_back = Rc::clone(&late);
        cluster.cut = Some((1, 0));
        cluster.is_lost = Box::new(move |frame| {
            held_back.borrow_mut().push(frame.to_vec());
            true
        });
        cluster.track(0, "room", "ann");
        cluster.run(Duration::from_millis(200));
        // Node 1 has given the partition up.
        cluster.track(0, "room", "bob");
        cluster.run(Duration::from_millis(2_500));
        cluster.watch(1, "room");
        for frame in late.take() {
            let taken = cluster.nodes[1].handle_message(cluster.now, "0", &frame.into());
            taken.unwrap();
        }
        cluster.cut = None;
        cluster.is_lost = Box::new(|_| false);
        cluster.run(seconds(4));
        cluster.nodes[1].count("room")
    };
    assert_eq!(count_after_a_pause(), Ok(2));
    assert_eq!(
        with_fault(Fault::NewsBeforeWatch, count_after_a_pause),
        Ok(1)
    );
}

/// The place of a frame's kind, and the kind of Rows.
const KIND: usize = 4;
const ROWS: u8 = 19;
const TOPICS: usize = 900;

fn topic(n: usize) -> String {
    format!("room {n}")
}

/// Starts two nodes whose frames have at most 1 KiB. One has written in many partitions, which the other
/// one watches.
fn many_partitions() -> Cluster {
    let config = Config::default().partitions(4_096).frame_max(1_024);
    let mut cluster = Cluster::with(2, config);
    cluster.is_lost = Box::new(|frame| frame.len() > 1_024);
    for n in 0..TOPICS {
        cluster.track(0, &topic(n), "ann");
        cluster.watch(1, &topic(n));
    }
    cluster.run(seconds(6));
    cluster
}

fn count_all(cluster: &Cluster, of_each: usize) -> usize {
    let topics = (0..TOPICS).filter(|n| cluster.nodes[1].count(&topic(*n)) == Ok(of_each));
    topics.count()
}

/// Questions had up to 4,096 partitions: with shorter frames they never left.
#[test]
fn frames_of_any_length_carry_the_questions_for_many_partitions() {
    assert_eq!(count_all(&many_partitions(), 1), TOPICS);
}

/// All of them changed in one beat, so each frame of rows is of that one. Before, the frames after the
/// lost one were taken for all that had changed.
#[test]
fn a_lost_frame_of_rows_is_asked_for_again() {
    for lost in 0..4 {
        let mut cluster = many_partitions();
        cluster.cut = Some((0, 1));
        for n in 0..TOPICS {
            cluster.track(0, &topic(n), "bob");
        }
        cluster.run(Duration::from_millis(3_500));
        cluster.cut = None;
        let mut rows = 0;
        cluster.is_lost = Box::new(move |frame| {
            rows += usize::from(frame[KIND] == ROWS);
            frame[KIND] == ROWS && rows == lost + 1
        });
        cluster.run(seconds(4));
        assert!(cluster.nodes[1].replicas()[0].1, "it was not down");
        assert_eq!(count_all(&cluster, 2), TOPICS, "frame {lost} was lost");
    }
}

#[test]
fn mode_all_reads_every_topic_and_ignores_watches() {
    // A node that relays holds everything, in whichever order that is said.
    let relay = Config::default()
        .counts(true)
        .mode(Mode::Interest)
        .relay(true);
    let relay_first = Config::default().relay(true).mode(Mode::Interest);
    for config in [Config::default(), relay, relay_first] {
        let config = PresenceConfig::default().replication(config);
        let node = Presence::new(ReplicaId::new("a", 1, 0).unwrap(), config);
        assert_eq!(node.list("room"), Ok(Vec::new()));
        node.watch(Duration::ZERO, "room");
        node.unwatch(Duration::ZERO, "room");
        assert_eq!(node.count("room"), Ok(0));
        assert_eq!(node.poll_subscription(), None);
    }
}
