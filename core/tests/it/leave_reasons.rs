//! The reason of each leave: where it was made, and at the other nodes.

use headcount::tracker::{Encoding, LeaveReason, StagedRepair, VisibilityChange};
use headcount::{Diff, NewEntry, Presence, PresenceConfig, ReplicaId, Tracker};

use crate::support::mesh::{Mesh, configured, seconds};

use LeaveReason::{
    Expired, OwnerGone, ReplicaDown, ReplicaForgotten, ReplicaLeft, ReplicaReplaced, Unknown,
    Untracked, Updated,
};

const ROOM: &str = "room";

/// A leave as tests name it: key, meta, reason.
type Left = (String, String, LeaveReason);

fn left(key: &str, meta: &str, reason: LeaveReason) -> Left {
    (key.to_owned(), meta.to_owned(), reason)
}

fn leaves(diffs: impl IntoIterator<Item = Diff>) -> Vec<Left> {
    let leaves = diffs.into_iter().flatten().flat_map(|topic| topic.leaves);
    let mut leaves: Vec<_> = leaves
        .map(|leave| {
            let key = leave.entry.key_str().expect("keys are texts").to_owned();
            let meta = String::from_utf8_lossy(leave.entry.meta()).into_owned();
            (key, meta, leave.reason)
        })
        .collect();
    leaves.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    leaves
}

fn taken(presence: &Presence) -> Vec<Left> {
    leaves(std::iter::from_fn(|| presence.poll_diff()))
}

fn track(presence: &Presence, key: &str, owner: &str, meta: &str) {
    let entry = NewEntry::new(ROOM, key, owner).meta(meta.as_bytes());
    presence.upsert(&entry).unwrap();
}

/// Returns the nodes a and b after they have met, with an entry of ann, bob, cleo and dan on a.
fn met(set: impl Fn(PresenceConfig) -> PresenceConfig) -> Mesh {
    let mut mesh = Mesh::new(&[]);
    mesh.nodes = ["a", "b"].map(|name| configured(name, 1, 7, &set)).into();
    for key in ["ann", "bob", "cleo", "dan"] {
        track(&mesh.nodes[0], key, &format!("conn of {key}"), "1");
    }
    mesh.run(seconds(3));
    assert_eq!(mesh.nodes[1].count(ROOM).unwrap(), 4);
    assert_eq!(mesh.nodes.iter().map(taken).collect::<Vec<_>>(), [[], []]);
    mesh
}

#[test]
fn the_origin_says_why_and_every_node_reports_it() {
    let mut mesh = met(|config| config);
    let a = &mesh.nodes[0];
    assert!(a.untrack(ROOM, "ann", "conn of ann"));
    assert_eq!(a.untrack_owner("conn of bob"), 1);
    assert!(a.lease(mesh.now, ROOM, "cleo", "conn of cleo", seconds(1)));
    a.lease_owner(mesh.now, "conn of dan", seconds(1));
    mesh.run(seconds(2));
    let expected = [
        left("ann", "1", Untracked),
        left("bob", "1", OwnerGone),
        left("cleo", "1", Expired),
        left("dan", "1", Expired),
    ];
    for node in &mesh.nodes {
        assert_eq!(taken(node), expected, "at {}", node.id());
    }
}

#[test]
fn a_lost_owner_is_gone_when_its_grace_ends() {
    let mut mesh = met(|config| config.grace(seconds(1)));
    mesh.nodes[0].owner_lost(mesh.now, "conn of ann");
    mesh.run(seconds(2));
    for node in &mesh.nodes {
        assert_eq!(taken(node), [left("ann", "1", OwnerGone)]);
    }
}

#[test]
fn a_version_in_between_is_updated_and_the_last_reason_is_that_of_the_entry() {
    let mut mesh = met(|config| config);
    let a = &mesh.nodes[0];
    for meta in ["2", "3"] {
        track(a, "ann", "conn of ann", meta);
        track(a, "bob", "conn of bob", meta);
        track(a, "eve", "conn of eve", meta);
    }
    a.untrack_owner("conn of bob");
    a.untrack(ROOM, "eve", "conn of eve");
    mesh.run(seconds(1));
    let expected = [
        left("ann", "2", Updated),
        left("bob", "1", OwnerGone),
        left("bob", "2", Updated),
        left("bob", "3", OwnerGone),
        left("eve", "2", Updated),
        left("eve", "3", Untracked),
    ];
    assert_eq!(taken(&mesh.nodes[0]), expected);
    assert_eq!(
        taken(&mesh.nodes[1]),
        [left("bob", "1", OwnerGone)],
        "the other node was sent the outcome"
    );
}

#[test]
fn entries_of_a_silent_replica_leave_as_it_goes_down_and_not_again() {
    let mut mesh = met(|config| config);
    mesh.cut(0);
    mesh.run(seconds(60));
    let all = ["ann", "bob", "cleo", "dan"].map(|key| left(key, "1", ReplicaDown));
    assert_eq!(taken(&mesh.nodes[1]), all);
    mesh.cut.clear();
    mesh.run(seconds(5));
    assert_eq!(mesh.nodes[1].count(ROOM).unwrap(), 4);
    assert_eq!(taken(&mesh.nodes[1]), []);
    mesh.nodes[1].disconnected(mesh.now, "0");
    mesh.cut(0);
    mesh.run(seconds(1));
    assert_eq!(taken(&mesh.nodes[1]), all, "the transport lost it");
    mesh.run(seconds(3 * 60 * 60));
    assert_eq!(mesh.nodes[1].clocks(), [], "it is forgotten");
    assert_eq!(taken(&mesh.nodes[1]), []);
}

/// With slices of one entry a whole replica goes in many steps.
#[test]
fn a_goodbye_is_the_reason_of_all_leaves_however_many_slices_they_take() {
    for slice_entries_max in [1, 1_024] {
        let mut mesh = met(|config| config.slice_entries_max(slice_entries_max));
        mesh.nodes[0].leave_gracefully(mesh.now);
        mesh.run(seconds(1));
        let all = ["ann", "bob", "cleo", "dan"].map(|key| left(key, "1", ReplicaLeft));
        assert_eq!(taken(&mesh.nodes[1]), all);
    }
}

#[test]
fn a_later_start_replaces_what_it_does_not_put_again() {
    for grace in [0, 2] {
        let set = |config: PresenceConfig| config.grace(seconds(grace));
        let mut mesh = met(set);
        mesh.nodes[0] = configured("a", 2, 8, set);
        mesh.run(seconds(1));
        if grace > 0 {
            assert_eq!(taken(&mesh.nodes[1]), [], "the grace is not over");
            track(&mesh.nodes[0], "ann", "conn of ann", "2");
            mesh.run(seconds(3));
        }
        let gone = ["ann", "bob", "cleo", "dan"].into_iter();
        let gone = gone.filter(|key| grace == 0 || *key != "ann");
        let gone: Vec<_> = gone.map(|key| left(key, "1", ReplicaReplaced)).collect();
        assert_eq!(taken(&mesh.nodes[1]), gone);
    }
}

fn tracker(name: &str, incarnation: u64) -> Tracker {
    Tracker::new(ReplicaId::new(name, incarnation, 0).unwrap())
}

fn with_ann(incarnation: u64) -> Tracker {
    let mut tracker = tracker("a", incarnation);
    let ann = NewEntry::new(ROOM, "ann", "c").meta(b"1");
    tracker.track(&ann).unwrap();
    tracker
}

/// Returns a tracker that holds what `a` has.
fn holder_of(a: &Tracker) -> Tracker {
    let mut b = tracker("b", 1);
    b.apply(&a.delta_since(a.id(), 0).unwrap()).unwrap();
    b
}

#[test]
fn a_repair_that_no_longer_names_an_entry_does_not_say_why() {
    let mut a = with_ann(1);
    let mut holders = [(); 2].map(|()| holder_of(&a));
    a.untrack_owner("c");
    a.track(&NewEntry::new(ROOM, "bob", "c")).unwrap();
    let expected = [left("ann", "1", Unknown)];
    let body = a.full_body(a.id()).unwrap();
    let at_once = holders[0].apply_repair(&body, false).unwrap();
    assert_eq!(leaves([at_once]), expected);
    let mut staged = StagedRepair::new(body.into(), holders[1].limits()).unwrap();
    assert!(staged.begin(&mut holders[1], false).unwrap());
    let mut slices = Vec::new();
    loop {
        let slice = staged.step(&mut holders[1], 1).unwrap();
        slices.push(slice.diff);
        if slice.done {
            break;
        }
    }
    assert_eq!(leaves(slices), expected);
}

#[test]
fn a_delta_says_why_and_a_reason_of_a_later_version_is_unknown_here() {
    let mut a = with_ann(1);
    let mut b = holder_of(&a);
    let before = a.clock(a.id());
    a.untrack_owner("c");
    let body = a.push_body(before).unwrap();
    // The reason shares the first byte of the last record with its kind, 2: 2 + 4 x reason.
    let at = body.iter().rposition(|byte| *byte == 2 + 4).unwrap();
    for (number, reason) in [(0, Untracked), (1, OwnerGone), (2, Expired), (3, Unknown)] {
        let mut body = body.clone();
        body[at] = 2 + 4 * number;
        let diff = b.clone().apply_delta(&body).unwrap();
        assert_eq!(leaves([diff]), [left("ann", "1", reason)]);
    }
    let diff = b.apply_delta(&body).unwrap();
    assert_eq!(leaves([diff]), [left("ann", "1", OwnerGone)]);
}

/// Before, an entry that came again was a join, and the leave of the state that was dropped followed it.
#[test]
fn an_entry_that_comes_again_before_its_leave_is_told_did_not_leave() {
    let mut a = with_ann(1);
    a.track(&NewEntry::new(ROOM, "bob", "c")).unwrap();
    let mut b = holder_of(&a);
    assert!(b.retire(a.id()));
    a.update(&NewEntry::new(ROOM, "ann", "c").meta(b"2"))
        .unwrap();
    let frame = a.delta_since(a.id(), 0).unwrap();
    let diff = b.apply(&frame).unwrap();
    let room = diff.iter().next().unwrap();
    assert_eq!((room.joins.len(), room.leaves.len()), (0, 0));
    let updated: Vec<_> = room
        .updates
        .iter()
        .map(|update| update.new.meta())
        .collect();
    assert_eq!(updated, [b"2"], "of bob there is nothing to say");
    assert_eq!(leaves([b.reap(9, &|_| true).diff]), []);
    assert_eq!(b.len(), 2);
}

#[test]
fn a_tracker_names_what_the_program_did_to_a_replica() {
    let a = with_ann(1);
    let mut b = holder_of(&a);
    let expected = |reason| [left("ann", "1", reason)];
    assert_eq!(
        leaves([b.clone().forget(a.id())]),
        expected(ReplicaForgotten)
    );
    let mut retired = b.clone();
    assert!(retired.retire(a.id()));
    assert_eq!(
        leaves([retired.reap(9, &|_| true).diff]),
        expected(ReplicaForgotten)
    );
    let later = with_ann(2);
    let frame = later.delta_since(later.id(), 0).unwrap();
    let mut replaced = b.clone();
    let diff = replaced.apply(&frame).unwrap();
    assert_eq!(
        diff.topic(ROOM).unwrap().updates.len(),
        1,
        "the later start has ann too"
    );
    let mut empty = tracker("a", 3);
    empty.track(&NewEntry::new("hall", "bob", "c")).unwrap();
    let frame = empty.delta_since(empty.id(), 0).unwrap();
    assert_eq!(
        leaves([replaced.apply(&frame).unwrap()]),
        expected(ReplicaReplaced)
    );
    b.set_hidden(a.id(), true);
    let mut change = VisibilityChange::begin(&mut b, a.id()).unwrap();
    let slice = change.step(&mut b, 9, &|_| true);
    assert_eq!(leaves([slice.diff]), expected(ReplicaDown));
}

/// A session that left and came again within one Diff is an update; one that left twice has a leave
/// of each of its entries, with the reason of each.
#[test]
fn each_of_two_visits_in_one_diff_has_its_own_reason() {
    let mut a = with_ann(1);
    let _ = a.take_diff();
    a.untrack(ROOM, "ann", "c");
    a.track(&NewEntry::new(ROOM, "ann", "c").meta(b"2"))
        .unwrap();
    let mut stays = a.clone();
    let diff = stays.take_diff();
    assert_eq!(leaves([diff.clone()]), []);
    assert_eq!(diff.topic(ROOM).unwrap().updates.len(), 1);
    a.untrack_owner("c");
    assert_eq!(
        leaves([a.take_diff()]),
        [left("ann", "1", Untracked), left("ann", "2", OwnerGone)]
    );
}

#[test]
fn names_of_reasons_are_those_of_serde() {
    let reasons = [
        Untracked,
        OwnerGone,
        Expired,
        Updated,
        ReplicaDown,
        ReplicaLeft,
        ReplicaReplaced,
        ReplicaForgotten,
        Unknown,
    ];
    for reason in reasons {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
    }
    let mut tracker = tracker("a", 1);
    let bytes = NewEntry::bytes(ROOM, b"k", b"o", Encoding::Bytes);
    tracker.track(&bytes).unwrap();
    tracker.untrack_owner(b"o");
    let diff = tracker.take_diff();
    let json = serde_json::to_value(&diff).unwrap();
    let leave = &json["topics"][0]["leaves"][0];
    assert_eq!(leave["reason"], "owner_gone");
    assert_eq!(leave["entry"]["owner"], "o");
    assert_eq!(serde_json::from_value::<Diff>(json).unwrap(), diff);
}
