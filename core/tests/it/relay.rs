//! Partial meshes: nodes that reach only some of the others, and pass frames on.

use headcount::replica::{Config, Event};
use headcount::{NewEntry, Presence, PresenceConfig};

use crate::support::mesh::{Mesh, configured, events, seconds};

const NODES: usize = 6;

fn relaying(name: &str, seed: u64, set: impl FnOnce(PresenceConfig) -> PresenceConfig) -> Presence {
    let replication = Config::default().relay(true).frame_max(1_024);
    configured(name, 1, seed, |config| set(config.replication(replication)))
}

/// A ring: each node reaches two others.
fn ring() -> Mesh {
    let mut mesh = Mesh::new(&[]);
    for number in 0..NODES {
        let node = relaying(&format!("n{number}"), number as u64, |config| config);
        let entry = NewEntry::new("room", "ann", "conn");
        node.track(&entry.meta(&[number as u8])).unwrap();
        mesh.nodes.push(node);
    }
    mesh.cut = cuts(|from, to| !is_linked(from, to));
    mesh
}

fn is_linked(from: usize, to: usize) -> bool {
    (from + 1) % NODES == to || (to + 1) % NODES == from
}

fn cuts(is_cut: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let pairs = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
    pairs.filter(|&(from, to)| is_cut(from, to)).collect()
}

fn counts(mesh: &Mesh) -> Vec<usize> {
    mesh.nodes
        .iter()
        .map(|node| node.count("room").unwrap())
        .collect()
}

#[test]
fn a_ring_converges_and_stays_as_one_link_or_one_node_is_lost() {
    let mut mesh = ring();
    mesh.run(seconds(4));
    assert_eq!(counts(&mesh), [NODES; NODES]);
    for node in &mesh.nodes {
        assert!(node.is_synced());
        assert_eq!(
            node.id().incarnation(),
            1,
            "own frames that return are no evidence"
        );
    }
    // The other way round.
    mesh.cut.extend([(0, 1), (1, 0)]);
    mesh.nodes[1]
        .track(&NewEntry::new("room", "bob", "conn"))
        .unwrap();
    mesh.run(seconds(8));
    assert_eq!(counts(&mesh), [NODES + 1; NODES]);
    // A node of the line that is left dies: what is behind it is lost too.
    mesh.cut(3);
    mesh.run(seconds(7));
    assert_eq!(counts(&mesh), [3, 3, 3, 1, 3, 3]);
    mesh.cut = cuts(|from, to| !is_linked(from, to));
    mesh.run(seconds(4));
    assert_eq!(counts(&mesh), [NODES + 1; NODES]);
    for node in &mesh.nodes {
        let events = events(node);
        let is_fault = |event: &&Event| {
            matches!(
                event,
                Event::Divergence { .. } | Event::Reincarnated { .. } | Event::Unreadable { .. }
            )
        };
        assert_eq!(events.iter().find(is_fault), None);
    }
}

#[test]
fn a_long_state_and_a_goodbye_pass_all_nodes_between() {
    let mut mesh = ring();
    for number in 0..500 {
        let key = format!("user {number}");
        let entry = NewEntry::new("hall", &key, "conn").meta(&[7; 60]);
        mesh.nodes[0].track(&entry).unwrap();
    }
    mesh.run(seconds(8));
    assert_eq!(
        mesh.nodes[3].count("hall").unwrap(),
        500,
        "in parts, over three links"
    );
    mesh.nodes[0].leave_gracefully(mesh.now);
    mesh.run(seconds(1));
    assert_eq!(mesh.nodes[3].count("hall").unwrap(), 0);
    assert_eq!(mesh.nodes[3].replicas().len(), NODES - 2);
}

/// Frames to one node do not reach all: only those on the way are sent them.
#[test]
fn answers_take_one_way() {
    let mut mesh = ring();
    mesh.run(seconds(4));
    mesh.lost.push(headcount::codec::Kind::DELTA);
    for number in 0..200 {
        let key = format!("user {number}");
        let entry = NewEntry::new("hall", &key, "conn").meta(&[7; 60]);
        mesh.nodes[0].track(&entry).unwrap();
    }
    mesh.run(seconds(1));
    mesh.lost.clear();
    let relayed = mesh.relayed;
    mesh.run(seconds(6));
    assert_eq!(mesh.nodes[3].count("hall").unwrap(), 200);
    // Nine links lead to the five askers, and 12 make the ring: a flood of each answer takes 60.
    let frames = mesh.relayed - relayed;
    assert!(frames < 700, "{frames} frames");
}

/// Before, the frames that it passed on made its neighbours take thousands of identities.
#[test]
fn a_node_that_relays_among_others_that_do_not_is_told_of_and_harms_nobody() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    mesh.nodes[0]
        .track(&NewEntry::new("room", "ann", "conn"))
        .unwrap();
    mesh.run(seconds(3));
    mesh.nodes.push(relaying("relay", 7, |config| config));
    mesh.refused = true;
    mesh.nodes.iter().for_each(|node| drop(events(node)));
    mesh.run(seconds(5));
    for (node, others) in mesh.nodes.iter().zip([1, 1, 2]) {
        assert_eq!(node.id().incarnation(), 1);
        let told = events(node);
        let is_mismatch = |event: &&Event| matches!(event, Event::ShapeMismatch { .. });
        assert_eq!(told.iter().filter(is_mismatch).count(), others, "{told:?}");
        assert_eq!(told.len(), others + usize::from(others == 2), "{told:?}");
    }
    assert_eq!(counts(&mesh), [1, 1, 0]);
}
