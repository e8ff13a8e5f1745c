//! A receiver reports refused frames once a minute, with their number, and asks for them again with
//! growing pauses.

use headcount::replica::Event;
use headcount::tracker::Limits;
use headcount::{NewEntry, Presence, PresenceConfig};

use crate::support::mesh::{Mesh, configured, events, seconds};

/// Simulated beats, of one second.
const BEATS: u64 = 100;

/// Makes a mesh in which node 0 accepts owners of 8 bytes, the others of 64.
fn narrow(others: u64) -> Mesh {
    let narrow = |config: PresenceConfig| config.limits(Limits::default().owner_len_max(8));
    let mut mesh = Mesh::new(&[]);
    mesh.nodes.push(configured("narrow", 1, 0, narrow));
    for n in 1..=others {
        mesh.nodes
            .push(configured(&format!("n{n}"), 1, n, |config| config));
    }
    mesh.run(seconds(3));
    mesh.pulls.clear();
    mesh
}

/// Takes the reports of a node: once a minute of an origin and a rule, in 100 beats twice at most.
/// Returns the first one in words, and the number of frames that all of them are about.
#[track_caller]
fn reports(node: &Presence) -> (String, u64) {
    let mut reports = events(node);
    let is_report =
        |event: &Event| matches!(event, Event::Refused { .. } | Event::Divergence { .. });
    reports.retain(is_report);
    assert!((1..=2).contains(&reports.len()), "{reports:?}");
    let frames = reports.iter().map(Event::count).sum();
    assert_eq!(reports[0].count(), 1, "the first one comes at once");
    let text = format!("{:?}", reports[0]);
    let name = |event: &Event| match event {
        Event::Refused { origin, .. } => Some(origin.clone()),
        _ => None,
    };
    assert!(
        reports
            .iter()
            .all(|report| name(report) == name(&reports[0]))
    );
    (text, frames)
}

fn pulls_of(mesh: &Mesh, node: usize) -> usize {
    mesh.pulls.iter().filter(|(from, _)| *from == node).count()
}

#[test]
fn a_frame_over_a_limit_is_reported_once_a_minute_and_seldom_asked_for() {
    for others in [1, 4] {
        let mut mesh = narrow(others);
        let entry = NewEntry::new("room", "ann", "a long owner");
        mesh.nodes[1].track(&entry).unwrap();
        mesh.run(seconds(BEATS));
        let (text, frames) = reports(&mesh.nodes[0]);
        for part in ["n1", "TooLong { len: 12, max: 8 }"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let pulls = pulls_of(&mesh, 0);
        let untold = 1 + pulls as u64 - frames;
        assert!(untold <= 1, "the push and the answers but for the last");
        assert!((1..=5).contains(&pulls), "{pulls} Pulls in {BEATS} beats");
        assert!(mesh.nodes[0].is_synced(), "it is not waited for");
        assert_eq!(mesh.nodes[0].count("room").unwrap(), 0);
        mesh.pulls.clear();
        mesh.run(seconds(BEATS));
        assert!(pulls_of(&mesh, 0) <= 1, "ever more seldom");
    }
}

#[test]
fn a_refused_origin_that_changed_is_asked_for_again() {
    let mut mesh = narrow(2);
    let entry = NewEntry::new("room", "ann", "a long owner");
    mesh.nodes[1].track(&entry).unwrap();
    mesh.run(seconds(BEATS));
    assert!(mesh.nodes[1].untrack("room", "ann", "a long owner"));
    mesh.nodes[1]
        .track(&NewEntry::new("room", "bob", "short"))
        .unwrap();
    mesh.run(seconds(20));
    assert_eq!(
        mesh.nodes[0].count("room").unwrap(),
        1,
        "what can be taken is"
    );
    reports(&mesh.nodes[0]);
    // A minute later nothing is left to tell, so that the next one is told at once.
    mesh.run(seconds(2 * 60));
    events(&mesh.nodes[0]);
    mesh.nodes[1].track(&entry).unwrap();
    mesh.run(seconds(5));
    assert_eq!(reports(&mesh.nodes[0]).1, 1);
}

#[test]
fn an_origin_that_is_busy_is_asked_with_pauses() {
    let mut mesh = narrow(1);
    mesh.nodes[1]
        .track(&NewEntry::new("room", "ann", "a long owner"))
        .unwrap();
    for n in 0..10 * BEATS {
        mesh.nodes[1]
            .upsert(&NewEntry::new("room", "bob", "short").meta(&n.to_le_bytes()))
            .unwrap();
        mesh.run(seconds(1) / 10);
    }
    let pulls = pulls_of(&mesh, 0);
    assert!((1..=12).contains(&pulls), "{pulls} Pulls in {BEATS} beats");
    reports(&mesh.nodes[0]);
}

#[test]
fn a_later_life_of_the_origin_is_asked_at_once() {
    let mut mesh = narrow(1);
    mesh.nodes[1]
        .track(&NewEntry::new("room", "ann", "a long owner"))
        .unwrap();
    mesh.run(seconds(BEATS));
    mesh.nodes[1] = configured("n1", 2, 9, |config| config);
    mesh.nodes[1]
        .track(&NewEntry::new("room", "ann", "short"))
        .unwrap();
    mesh.run(seconds(3));
    assert_eq!(mesh.nodes[0].count("room").unwrap(), 1);
}

#[test]
fn a_receiver_that_is_full_asks_with_pauses_until_it_has_room() {
    let small = |config: PresenceConfig| config.limits(Limits::default().entries_max(2));
    let mut mesh = Mesh::new(&[("ignored", 1)]);
    mesh.nodes = vec![
        configured("small", 1, 0, small),
        configured("n1", 1, 1, |config| config),
    ];
    mesh.run(seconds(3));
    mesh.pulls.clear();
    mesh.nodes[0]
        .track(&NewEntry::new("room", "own", "c"))
        .unwrap();
    for key in ["ann", "bob"] {
        mesh.nodes[1]
            .track(&NewEntry::new("room", key, "c"))
            .unwrap();
    }
    mesh.run(seconds(BEATS));
    reports(&mesh.nodes[0]);
    let pulls = pulls_of(&mesh, 0);
    assert!((1..=5).contains(&pulls), "{pulls} Pulls in {BEATS} beats");
    assert!(mesh.nodes[0].untrack("room", "own", "c"));
    assert!(mesh.nodes[1].untrack("room", "bob", "c"));
    mesh.run(seconds(20));
    assert_eq!(mesh.nodes[0].count("room").unwrap(), 1);
}

#[test]
fn a_receiver_of_few_origins_takes_those_and_refuses_the_rest() {
    let few = |config: PresenceConfig| config.limits(Limits::default().origins_max(3));
    let mut mesh = Mesh::new(&[("ignored", 1), ("n1", 1), ("n2", 1), ("n3", 1)]);
    mesh.nodes[0] = configured("few", 1, 0, few);
    mesh.run(seconds(3));
    mesh.pulls.clear();
    for (n, node) in mesh.nodes.iter().enumerate() {
        let key = format!("user {n}");
        node.track(&NewEntry::new("room", &key, "c")).unwrap();
    }
    mesh.run(seconds(BEATS));
    let (text, _) = reports(&mesh.nodes[0]);
    let names_the_limit = text.contains("TooManyOrigins { max: 3 }");
    assert!(names_the_limit, "{text}");
    assert_eq!(mesh.nodes[0].count("room").unwrap(), 3, "itself and two");
    let pulls = pulls_of(&mesh, 0);
    assert!((1..=5).contains(&pulls), "{pulls} Pulls in {BEATS} beats");
    let counts = mesh.nodes[1..].iter().map(|node| node.count("room"));
    assert_eq!(counts.collect::<Result<Vec<_>, _>>(), Ok(vec![4; 3]));
    // One of those that were taken goes, so there is room.
    let refused = (1..4).find(|n| text.contains(&format!("n{n}")));
    let goes = 1 + refused.expect("it is named") % 3;
    mesh.nodes[goes].leave_gracefully(mesh.now);
    mesh.run(seconds(4 * BEATS));
    assert_eq!(mesh.nodes[0].count("room").unwrap(), 3);
}

#[test]
fn an_entry_longer_than_the_frames_of_its_node_is_told_on_both_sides() {
    let mut mesh = Mesh::new(&[("asker", 1), ("origin", 1)]);
    mesh.nodes[1].set_frame_max(2_048);
    mesh.run(seconds(3));
    mesh.pulls.clear();
    let long = vec![0; 4_000];
    let entry = NewEntry::new("room", "ann", "c").meta(&long);
    mesh.nodes[1].track(&entry).unwrap();
    mesh.run(seconds(BEATS));
    let (told, _) = reports(&mesh.nodes[0]);
    assert!(told.contains("TooLong { len: 4"), "{told}");
    assert!(mesh.nodes[0].is_synced(), "it is not waited for");
    let told = events(&mesh.nodes[1]).into_iter();
    let is_told = |event: &Event| matches!(event, Event::AnswerTooLong { bytes: 4_000.., to, .. } if **to == *"0");
    let told: Vec<_> = told.filter(is_told).map(|event| event.count()).collect();
    assert!(told.len() <= 2 && told[0] == 1, "{told:?}");
    assert!(
        told.iter().sum::<u64>() <= pulls_of(&mesh, 0) as u64,
        "{told:?}"
    );
    let pulls = pulls_of(&mesh, 0);
    assert!((1..=6).contains(&pulls), "{pulls} Pulls in {BEATS} beats");
    // Longer frames take it.
    mesh.nodes[1].set_frame_max(64 * 1024);
    mesh.run(seconds(4 * BEATS));
    assert_eq!(mesh.nodes[0].count("room").unwrap(), 1);
}

#[test]
fn a_large_frame_and_a_full_repair_are_refused_alike() {
    let mut mesh = narrow(1);
    for n in 0..3_000 {
        mesh.nodes[1]
            .track(&NewEntry::new("room", &n.to_string(), "short"))
            .unwrap();
    }
    mesh.nodes[1]
        .track(&NewEntry::new("room", "ann", "a long owner"))
        .unwrap();
    mesh.run(seconds(BEATS));
    reports(&mesh.nodes[0]);
    let pulls = pulls_of(&mesh, 0);
    assert!((1..=5).contains(&pulls), "{pulls} Pulls in {BEATS} beats");
}

/// Programs rely on the names of limits in events.
#[test]
fn the_event_names_origin_and_reason() {
    let mut mesh = narrow(1);
    mesh.nodes[1]
        .track(&NewEntry::new("room", "ann", "a long owner"))
        .unwrap();
    mesh.run(seconds(5));
    let events = events(&mesh.nodes[0]);
    let refusal = events.iter().find_map(|event| match event {
        Event::Refused { origin, error, .. } => Some((origin, error.to_string())),
        _ => None,
    });
    let (origin, error) = refusal.expect("it is reported");
    assert_eq!(origin.name(), "n1");
    assert!(
        error.contains("length 12 is above the limit of 8"),
        "{error}"
    );
}
