//! Lives, answers and visibility of the entries of one node.

use super::*;
use crate::replica::message::{Delta, Repair};
use crate::replica::output::{CapturedParts, Long, Parts, ServePart, Served, ServedPart};
use crate::tracker::{Key, LeaveReason, NewEntry, Since};

const ROOM: &str = "room";

fn partitions(name: &str) -> Partitions {
    let id = ReplicaId::new(name, 1, 0).unwrap();
    Partitions::new(id, Shape::default(), Limits::default())
}

fn room() -> u16 {
    Shape::default().partition_of(ROOM)
}

fn track(partitions: &mut Partitions, key: &str) -> u64 {
    let tracked = partitions.track(&NewEntry::new(ROOM, key, "conn"));
    tracked.unwrap().version
}

fn untrack(partitions: &mut Partitions, key: &str) -> bool {
    partitions.untrack(ROOM, Key::from(key), b"conn")
}

fn execute(partitions: &mut Partitions, action: Action) {
    partitions.execute(action, &|_| true);
}

/// Returns the push of a partition as a frame of a life.
fn pushed(partitions: &Partitions, life: u64, since: u64) -> Apply {
    let pushed = partitions.push(room(), since);
    Apply {
        id: partitions.id.clone(),
        partition: room(),
        life,
        from: since,
        to: pushed.clock,
        content: pushed.records.unwrap(),
        is_repair: false,
        answers: None,
        is_full: false,
        part: 0,
        parts: 1,
    }
}

#[track_caller]
fn apply(partitions: &mut Partitions, apply: &Apply) -> Report {
    match partitions.apply(apply, &|_| true) {
        Answered::Applied(report, _) => report,
        other => panic!("{other:?}"),
    }
}

fn keys(partitions: &Partitions) -> Vec<&str> {
    let entries = partitions.tracker(ROOM).list(ROOM);
    let mut keys: Vec<_> = entries.filter_map(|entry| entry.key_str()).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn later_lives_begin_above_all_earlier_ones() {
    let mut a = partitions("a");
    assert_eq!(track(&mut a, "ann"), 1);
    assert!(untrack(&mut a, "ann"));
    let state = a.take_unreported().remove(0);
    assert_eq!((state.clock, state.entries), (2, 0));
    a.vacate(room(), 1);
    assert_eq!(a.trackers().count(), 1, "it has moved since");
    a.vacate(room(), 2);
    assert_eq!(
        a.trackers().count(),
        1,
        "no Diff has reported that she left"
    );
    assert_eq!(a.take_diff().topic(ROOM).unwrap().leaves.len(), 1);
    assert_eq!(a.trackers().count(), 0);
    assert_eq!(track(&mut a, "bob"), 3);
    let other = a.track(&NewEntry::new("other room", "bob", "conn"));
    assert_eq!(other.unwrap().version, 3, "the floor is that of all");
}

#[test]
fn a_later_life_replaces_and_an_earlier_one_is_ignored() {
    let mut a = partitions("a");
    let mut b = partitions("b");
    track(&mut a, "ann");
    let first = pushed(&a, 1, 0);
    assert_eq!(apply(&mut b, &first).outcome, Outcome::Done);
    untrack(&mut a, "ann");
    a.vacate(room(), 2);
    track(&mut a, "bob");
    track(&mut a, "cid");
    let over_a_gap = pushed(&a, 3, 3);
    assert_eq!(apply(&mut b, &over_a_gap).outcome, Outcome::Gap);
    assert_eq!(keys(&b), ["ann"]);
    let report = apply(&mut b, &pushed(&a, 3, 0));
    let held = report.held.unwrap();
    assert_eq!((held.life, held.clock), (3, 4));
    assert_eq!(keys(&b), ["bob", "cid"]);
    assert_eq!(apply(&mut b, &first).held, Some(held));
    b.drop_origin(
        &a.id,
        room(),
        LeaveReason::Unknown,
        &|_| true,
        &mut Vec::new(),
    );
    assert_eq!((b.position(&a.id, room()), b.trackers().count()), (None, 0));
}

#[test]
fn a_topic_of_another_partition_is_refused() {
    let mut a = partitions("a");
    let mut b = partitions("b");
    track(&mut a, "ann");
    let mut frame = pushed(&a, 1, 0);
    frame.partition = (room() + 1) % 32;
    let report = apply(&mut b, &frame);
    assert!(matches!(report.outcome, Outcome::Refused(_)), "{report:?}");
    assert_eq!((report.held, b.trackers().count()), (None, 0));
}

#[test]
fn askers_are_sent_what_they_miss() {
    let mut a = partitions("a");
    track(&mut a, "ann");
    track(&mut a, "bob");
    let serve = |clock, is_full| Serve {
        bytes_max: 1 << 16,
        saved_max: 1 << 20,
        reply: 1,
        partition: room(),
        life: 1,
        clock,
        shown: clock,
        is_full,
        nonce: 7,
        version: 1,
    };
    let mut served = |clock, is_full| match a.serve(serve(clock, is_full), &|_| true) {
        Answered::Pull(served) => served.found,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        served(0, false),
        Found::Data(Data::Repair(Repair {
            base: 0,
            to: 2,
            nonce: 7,
            ..
        }))
    ));
    assert!(matches!(
        served(1, false),
        Found::Data(Data::Delta(Delta { from: 1, to: 2, .. }))
    ));
    assert!(matches!(
        served(2, false),
        Found::Data(Data::Same(Same {
            clock: 2,
            nonce: 7,
            ..
        }))
    ));
    assert!(matches!(
        served(2, true),
        Found::Data(Data::Repair(Repair { base: 0, .. }))
    ));
    assert_eq!(
        served(3, false),
        Found::Beyond,
        "the asker has heard a second self"
    );
}

#[test]
fn entries_of_a_replica_that_is_down_stay_hidden_whatever_comes() {
    let mut a = partitions("a");
    let mut b = partitions("b");
    track(&mut a, "ann");
    execute(&mut b, Action::Hide(a.id.clone()));
    apply(&mut b, &pushed(&a, 1, 0));
    assert!(keys(&b).is_empty());
    execute(&mut b, Action::Show(a.id.clone()));
    assert_eq!(keys(&b), ["ann"]);
}

#[test]
fn a_new_identity_offers_the_same_entries() {
    let mut a = partitions("a");
    let mut b = partitions("b");
    track(&mut a, "ann");
    apply(&mut b, &pushed(&a, 1, 0));
    let new = ReplicaId::new("a", 2, 0).unwrap();
    execute(&mut a, Action::Reincarnate(new.clone()));
    let id = ReplicaId::new("a", 1, 0).unwrap();
    let reason = LeaveReason::ReplicaLeft;
    execute(&mut b, Action::Forget { id, reason });
    assert!(keys(&b).is_empty());
    apply(&mut b, &pushed(&a, 1, 0));
    assert_eq!(keys(&b), ["ann"]);
    assert!(b.position(&new, room()).is_some());
}

#[test]
fn own_leaves_are_remembered_for_a_time_and_within_a_bound_and_those_of_others_not() {
    let second = Duration::from_secs(1);
    let churn = |partitions: &mut Partitions| {
        for _ in 0..100 {
            track(partitions, "ann");
            untrack(partitions, "ann");
        }
        partitions.take_unreported();
    };
    let mut a = partitions("a");
    let mut b = partitions("b");
    track(&mut a, "bob");
    apply(&mut b, &pushed(&a, 1, 0));
    churn(&mut a);
    apply(&mut b, &pushed(&a, 1, 1));
    assert_eq!((a.leave_log_len(), b.leave_log_len()), (100, 0));
    a.limit_longest_leave_log(50);
    assert_eq!((a.leave_log_len(), a.longest_leave_log()), (50, 50));
    a.trim_leaves(4 * second);
    a.trim_leaves(63 * second);
    assert_eq!(a.leave_log_len(), 50);
    a.trim_leaves(64 * second);
    assert_eq!(a.leave_log_len(), 0);
    let serve = Serve {
        reply: 1,
        partition: room(),
        life: 1,
        clock: 1,
        shown: 1,
        is_full: false,
        nonce: 7,
        version: 1,
        bytes_max: 1 << 16,
        saved_max: 1 << 20,
    };
    let repair = a.serve(serve, &|_| true);
    assert!(
        matches!(&repair, Answered::Pull(served) if matches!(served.found, Found::Data(Data::Repair(_)))),
        "{repair:?}"
    );
}

#[test]
fn an_owner_leaves_all_partitions_at_once_and_what_it_lost_can_be_taken_over() {
    let mut a = partitions("a");
    let topics = ["room", "hall", "attic"];
    for topic in topics {
        for owner in ["phone", "laptop"] {
            a.track(&NewEntry::new(topic, "ann", owner)).unwrap();
            a.upsert(&NewEntry::new(topic, "ann", owner).meta(b"2"))
                .unwrap();
        }
    }
    assert_eq!(a.sessions_of(b"phone").len(), 3);
    let new = NewEntry::new("room", "ann", "tablet").meta(b"new");
    assert_eq!(a.adopt(b"phone", &new).unwrap().version, 5);
    let (session, version) = a.sessions_of(b"tablet").remove(0);
    let older = Since::Version(version - 1);
    assert!(!a.leave(&session, older, LeaveReason::Expired));
    assert!(a.leave(&session, Since::Version(version), LeaveReason::Expired));
    a.take_unreported();
    assert_eq!(a.remove_owner(b"phone", LeaveReason::OwnerGone), 2);
    let states = a.take_unreported();
    assert_eq!(states.len(), 2);
    assert!(states.iter().all(|state| state.entries == 1));
    assert_eq!(a.remove_owner(b"phone", LeaveReason::OwnerGone), 0);
    let entries = topics.iter().flat_map(|topic| a.tracker(topic).list(topic));
    assert_eq!(entries.count(), 3, "the laptop is in all topics");
}

/// Makes a question for all, of an asker that others were shown a clock before.
fn serve_all(bytes_max: usize, reply: u64, shown: u64) -> Serve {
    Serve {
        reply,
        partition: room(),
        life: 1,
        clock: 0,
        shown,
        is_full: false,
        nonce: 7,
        version: 1,
        bytes_max,
        saved_max: 1 << 20,
    }
}

/// Answers questions to the end. Returns the captures, with their clocks, by the replies.
fn captured(a: &mut Partitions, serves: Vec<Serve>) -> BTreeMap<u64, (u64, CapturedParts)> {
    let serves = serves.into_iter();
    let mut answers: Vec<_> = serves.map(|serve| a.serve(serve, &|_| true)).collect();
    answers.extend(std::iter::from_fn(|| a.work(&|_| true)));
    let found = answers.into_iter().filter_map(|answer| match answer {
        Answered::Pull(Served { reply, found, .. }) => Some((reply, found)),
        _ => None,
    });
    let captured = found.map(|(reply, found)| match found {
        Found::Long(Long {
            base: 0,
            to,
            parts: Parts::Captured(parts),
            ..
        }) => (reply, (to, parts)),
        other => panic!("{other:?}"),
    });
    captured.collect()
}

fn serve_part(a: &Partitions, capture: u64, part: u32) -> ServedPart {
    let request = ServePart {
        partition: room(),
        capture,
        reply: 1,
        part,
    };
    match a.serve_part(request) {
        Answered::Part(served) => served,
        other => panic!("{other:?}"),
    }
}

/// A state of many frames is captured once for all that ask at about the same time, and each draws
/// exactly what was there when it was captured.
#[test]
fn askers_share_a_state_that_no_frame_takes() {
    let mut a = partitions("a");
    let user = |number: u32| format!("user {number}");
    for number in 0..3_000 {
        a.track(&NewEntry::new(ROOM, &user(number), "conn").meta(&[1; 40]))
            .unwrap();
    }
    let both = vec![serve_all(1_000, 1, 3_000), serve_all(1_000, 2, 3_000)];
    let found = captured(&mut a, both);
    let (to, parts) = found[&1].clone();
    assert_eq!((to, &found[&2]), (3_000, &found[&1]));
    assert!(
        parts.bytes < 4 * 3_500 && parts.longest <= 1_000,
        "{parts:?}"
    );
    for number in 0..100 {
        untrack(&mut a, &user(number));
    }
    let ask = |a: &mut Partitions, bytes_max, shown| {
        captured(a, vec![serve_all(bytes_max, 3, shown)])[&3]
            .1
            .capture
    };
    assert_eq!(ask(&mut a, 1_000, 3_000), parts.capture, "nobody saw more");
    let other = ask(&mut a, 2_000, 3_000);
    assert_ne!(other, parts.capture, "of longer frames");
    let mut content = 0;
    for part in 0..parts.count {
        let served = serve_part(&a, parts.capture, part);
        content += served.content.expect("it is captured").len();
        assert!(served.bytes > parts.bytes + 100 * 40, "what left is saved");
    }
    assert!(content > 3_000 * 40);
    untrack(&mut a, &user(100));
    assert_ne!(ask(&mut a, 2_000, 3_101), other, "more was shown");
    for capture in [parts.capture, other] {
        a.end_capture(room(), capture);
        assert_eq!(serve_part(&a, capture, 0).content, None);
    }
}
