//! The end of a schedule: the network heals, and all nodes must become equal, and quiet but for
//! their Beats.

use std::collections::BTreeSet;

use crdts::{CvRDT, Orswot};

use super::own_entries::Session;
use super::plan::{self, BEAT_MS, PARTITIONS, Plan};
use super::readiness;
use super::views::entries_of;
use super::world::World;
use super::{node::Node, steps};
use crate::codec::Kind;
use crate::tracker::Entry;

/// Beats within which all must be equal: a replica gone is forgotten after 9 to 12, and a rival is
/// waited for.
const BEATS_MAX: u64 = 40;
/// Beats for which nodes that are equal must stay so, and quiet.
const QUIET_BEATS: u64 = 4;

/// Heals the network and waits until all nodes are equal, and remain so.
pub(super) fn finish(world: &mut World<'_>) -> Result<(), String> {
    world.run.note(|| "the end: heal, deliver, wait".into());
    steps::heal(world);
    world.run.plan.calm();
    for node in world.nodes.iter_mut().flatten() {
        node.is_altering = false;
    }
    stop_doubles(world);
    if world.run.plan.relays() {
        start_missing(world);
    }
    world.deliver_all()?;
    world.run.plan.wait_for_frames();
    let is_ending = |node: &Node| node.own.is_ending();
    while world.nodes.iter().flatten().any(is_ending) {
        beat(world)?;
    }
    if world.run.plan.loses_rows() {
        // A row that was lost is found by the next change of its partition.
        steps::update_all(world)?;
    }
    // Beats lost before the links were healed may hide a replica until `down_after` from then on.
    let settled_ms = world.run.now_ms + world.run.plan.down_ms + BEAT_MS;
    let mut last = Ok(());
    for _ in 0..BEATS_MAX {
        beat(world)?;
        if world.run.now_ms < settled_ms {
            continue;
        }
        last = check_equal(world);
        if last.is_ok() {
            break;
        }
    }
    last?;
    beat(world)?;
    for _ in 0..QUIET_BEATS {
        let mut kinds = beat(world)?;
        check_equal(world)?;
        kinds.remove(&Kind::BEAT);
        if world.run.plan.is_interest {
            kinds.remove(&Kind::ROW);
        }
        if !kinds.is_empty() {
            return Err(format!("equal, yet they still send {kinds:?}"));
        }
    }
    Ok(())
}

/// Stops all but one of several processes with one name.
fn stop_doubles(world: &mut World<'_>) {
    let mut names = BTreeSet::new();
    for place in world.alive() {
        let name = world.nodes[place].as_ref().map(|node| node.name);
        if !names.insert(name) {
            world.stop(place);
            world.run.note(|| format!("stop {place}, a double"));
        }
    }
    if names.is_empty() {
        world.start(0);
    }
}

/// Starts the names of which no process runs: the others may reach each other only by way of them.
fn start_missing(world: &mut World<'_>) {
    for place in 0..world.run.plan.nodes {
        let mut running = world.nodes.iter().flatten();
        if running.all(|node| node.name != place) {
            world.start(place);
        }
    }
}

/// Lets one beat pass in two halves. Returns the kinds of the frames that were sent.
fn beat(world: &mut World<'_>) -> Result<BTreeSet<Kind>, String> {
    let mut kinds = BTreeSet::new();
    for _ in 0..2 {
        world.pass(BEAT_MS / 2)?;
        loop {
            let flights = world.network.flights().iter();
            kinds.extend(flights.map(|flight| Kind::of(&flight.frame)));
            if !world.deliver()? {
                break;
            }
        }
    }
    Ok(kinds)
}

/// Checks that every node knows exactly the other nodes, their indexes and their entries, and
/// nothing else.
fn check_equal(world: &World<'_>) -> Result<(), String> {
    let nodes: Vec<(usize, &Node)> = world
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(place, node)| Some((place, node.as_ref()?)))
        .collect();
    let mut members = Orswot::default();
    for (_, node) in &nodes {
        members.merge(node.own.oracle().clone());
    }
    let plan = &world.run.plan;
    for (place, node) in &nodes {
        let is_read = |topic: &str| !plan.is_interest || node.watching.contains(topic);
        let sessions = nodes.iter().flat_map(|(_, node)| node.own.sessions());
        let read = sessions.filter(|session| is_read(plan::topic(session.0)));
        let entries = read.count();
        if !node.process.replica().is_speaking() {
            return Err(format!("{place} is silent"));
        }
        if !node.process.presence.is_synced() {
            return Err(format!("{place} is not ready"));
        }
        let peers = node.process.replica().peer_stats();
        if let Some(asked) = peers.iter().find(|peer| peer.partitions_behind > 0) {
            return Err(format!("{place} still asks {}", asked.id));
        }
        let own: Vec<u16> = node.process.replica().index().set().iter().collect();
        let occupied = occupied(node, plan);
        if own != occupied {
            return Err(format!("{place} tells of {own:?} and has {occupied:?}"));
        }
        let others = nodes.iter().filter(|(other, _)| other != place);
        let known: BTreeSet<_> = node.process.presence.replicas().into_iter().collect();
        let expected: BTreeSet<_> = others
            .clone()
            .map(|(_, other)| (other.process.presence.id(), true))
            .collect();
        if known != expected {
            return Err(format!("{place} knows {known:?}, alive are {expected:?}"));
        }
        check_members(node, &members, &is_read, entries)
            .map_err(|what| format!("{place} {what}"))?;
        if !node.watching.is_ready() {
            return Err(format!("{place} is not ready to read all that it watches"));
        }
        if !node.counting.is_ready() {
            return Err(format!("{place} is not ready to count all that it watches"));
        }
        check_counts(node, &nodes).map_err(|what| format!("{place} {what}"))?;
        let watched = readiness::partitions(node, plan);
        for (_, other) in others {
            check_held(node, other, &watched, plan).map_err(|what| format!("{place} {what}"))?;
        }
    }
    Ok(())
}

/// Checks that a node lists what the merged sets of all programs have, and counts all entries: two
/// programs may have the same member.
fn check_members(
    node: &Node,
    members: &Orswot<Session, u64>,
    is_read: &dyn Fn(&str) -> bool,
    entries: usize,
) -> Result<(), String> {
    let name = |session: Session| {
        let (topic, key, owner) = node.own.names(session);
        (topic, key, owner.to_owned())
    };
    let expected = members.read().val.into_iter().map(name);
    let expected: BTreeSet<_> = expected.filter(|(topic, ..)| is_read(topic)).collect();
    let presence = &node.process.presence;
    let mut listed = BTreeSet::new();
    let mut counted = 0;
    for topic in plan::topics().filter(|topic| is_read(topic)) {
        let count = presence.count(topic);
        counted += count.map_err(|error| error.to_string())?;
        let each = |entry: Entry<'_>| {
            let key = entry.key_str().unwrap_or_default().to_owned();
            let owner = String::from_utf8_lossy(entry.owner()).into_owned();
            listed.insert((topic, key, owner));
        };
        let read = presence.for_each(topic, each);
        read.map_err(|error| error.to_string())?;
    }
    if listed == expected && counted == entries {
        return Ok(());
    }
    Err(format!(
        "lists {listed:?} and counts {counted}, not {expected:?} and {entries}"
    ))
}

/// Returns the partitions that a node occupies at rest, by its model.
fn occupied(node: &Node, plan: &Plan) -> Vec<u16> {
    let occupied = node.model.occupied();
    let counted = occupied.iter().filter(|_| plan.has_counts);
    let counted: Vec<_> = counted.map(|p| p + PARTITIONS as u16).collect();
    [occupied, counted].concat()
}

/// Checks that a node counts in each topic whose counts it watches what all programs have in it.
fn check_counts(node: &Node, nodes: &[(usize, &Node)]) -> Result<(), String> {
    for (number, topic) in (0..).zip(plan::topics()) {
        if !node.counting.contains(topic) {
            continue;
        }
        let of_topic = nodes.iter().map(|(_, node)| {
            let sessions = node.own.sessions().iter();
            let sessions = sessions.filter(|session| session.0 == number);
            let keys: Vec<_> = sessions.map(|session| session.1).collect();
            (keys.len(), keys.into_iter().collect::<BTreeSet<_>>())
        });
        let of_topic: Vec<_> = of_topic.collect();
        let entries: usize = of_topic.iter().map(|(entries, _)| entries).sum();
        let keys = of_topic.iter().map(|(_, keys)| keys.len());
        let expected = if node.watching.contains(topic) {
            let all: BTreeSet<_> = of_topic.iter().flat_map(|(_, keys)| keys).collect();
            (all.len(), all.len())
        } else {
            (keys.clone().max().unwrap_or(0), keys.sum())
        };
        let presence = &node.process.presence;
        let counted = presence.count(topic).map_err(|error| error.to_string())?;
        let keys = presence.count_keys(topic);
        let keys = keys.map_err(|error| error.to_string())?;
        if (counted, (keys.at_least, keys.at_most)) != (entries, expected) {
            return Err(format!(
                "counts {counted} and {keys:?} in {topic}, not {entries} and {expected:?}"
            ));
        }
    }
    Ok(())
}

/// Checks what one node holds of another.
fn check_held(node: &Node, other: &Node, watched: &[u16], plan: &Plan) -> Result<(), String> {
    let id = &other.process.presence.id();
    let index = node.process.replica().index_of(id);
    let occupied = occupied(other, plan);
    if index.as_ref() != Some(&occupied) {
        return Err(format!(
            "has {index:?} as the index of {id}, not {occupied:?}"
        ));
    }
    for partition in plan.partitions() {
        let held = node.process.presence.position(id, partition);
        if !watched.contains(&partition) {
            if let Some(held) = held {
                return Err(format!("holds {held:?} of {id}/{partition}, unwatched"));
            }
            continue;
        }
        let shown = other.process.replica().index().position(partition);
        if held != shown {
            return Err(format!("holds {held:?} of {id}/{partition}, not {shown:?}"));
        }
        let entries = entries_of(&node.process.presence, id, partition);
        let expected = match partition.checked_sub(PARTITIONS as u16) {
            None => other.model.entries(partition),
            Some(counted) => other.model.counts(counted),
        };
        if entries != expected {
            return Err(format!(
                "shows {entries:?} of {id}/{partition}, not {expected:?}"
            ));
        }
    }
    Ok(())
}
