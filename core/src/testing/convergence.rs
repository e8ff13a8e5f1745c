//! The end of a schedule: the network heals, and all nodes must become equal, and quiet but for
//! their Beats.

use std::collections::BTreeSet;
use std::sync::Arc;

use crdts::{CvRDT, Orswot};

use super::own_entries::Session;
use super::plan::{self, BEAT_MS, PARTITIONS, Plan, TOPICS};
use super::readiness;
use super::views::{entries_of, session_of, shows};
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
    let expected = Expected::of(world);
    let mut last = Ok(());
    for _ in 0..BEATS_MAX {
        beat(world)?;
        if world.run.now_ms < settled_ms {
            continue;
        }
        last = check_equal(world, &expected);
        if last.is_ok() {
            break;
        }
    }
    last?;
    beat(world)?;
    for _ in 0..QUIET_BEATS {
        let mut kinds = beat(world)?;
        check_equal(world, &expected)?;
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

/// What all nodes must list and count in the end.
struct Expected {
    /// The members of the merged sets of all programs, sorted.
    members: Vec<Session>,
    topics: Vec<Counts>,
}

/// What all programs have in a topic.
struct Counts {
    entries: usize,
    /// The distinct keys of each program.
    keys: Vec<usize>,
    /// The distinct keys of all programs.
    all_keys: usize,
}

impl Expected {
    /// Merges what the programs have. Nothing ends by itself any more.
    fn of(world: &World<'_>) -> Self {
        let mut members = Orswot::default();
        for node in world.nodes.iter().flatten() {
            members.merge(node.own.oracle().clone());
        }
        let mut members: Vec<_> = members.read().val.into_iter().collect();
        members.sort_unstable();
        let counts = |topic: u8| {
            let of_topic = world.nodes.iter().flatten().map(|node| {
                let sessions = node.own.sessions().iter();
                let sessions = sessions.filter(|session| session.0 == topic);
                let keys: Vec<_> = sessions.map(|session| session.1).collect();
                (keys.len(), keys.into_iter().collect::<BTreeSet<_>>())
            });
            let of_topic: Vec<_> = of_topic.collect();
            let all: BTreeSet<_> = of_topic.iter().flat_map(|(_, keys)| keys).collect();
            Counts {
                entries: of_topic.iter().map(|(entries, _)| entries).sum(),
                keys: of_topic.iter().map(|(_, keys)| keys.len()).collect(),
                all_keys: all.len(),
            }
        };
        Self {
            members,
            topics: (0..TOPICS as u8).map(counts).collect(),
        }
    }
}

/// Checks that every node knows exactly the other nodes, their indexes and their entries, and
/// nothing else.
fn check_equal(world: &World<'_>, expected: &Expected) -> Result<(), String> {
    let nodes: Vec<(usize, &Node)> = world
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(place, node)| Some((place, node.as_ref()?)))
        .collect();
    let plan = &world.run.plan;
    for (place, node) in &nodes {
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
        let alive: BTreeSet<_> = others
            .clone()
            .map(|(_, other)| (other.process.presence.id(), true))
            .collect();
        if known != alive {
            return Err(format!("{place} knows {known:?}, alive are {alive:?}"));
        }
        let is_read = |topic: u8| !plan.is_interest || node.watching.contains(plan::topic(topic));
        check_members(node, expected, &is_read).map_err(|what| format!("{place} {what}"))?;
        if !node.watching.is_ready() {
            return Err(format!("{place} is not ready to read all that it watches"));
        }
        if !node.counting.is_ready() {
            return Err(format!("{place} is not ready to count all that it watches"));
        }
        check_counts(node, expected).map_err(|what| format!("{place} {what}"))?;
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
    expected: &Expected,
    is_read: &dyn Fn(u8) -> bool,
) -> Result<(), String> {
    let presence = &node.process.presence;
    let mut listed = Vec::new();
    let mut counted = 0;
    let mut entries = 0;
    for (number, topic) in (0..).zip(plan::topics()) {
        if !is_read(number) {
            continue;
        }
        let count = presence.count(topic);
        counted += count.map_err(|error| error.to_string())?;
        entries += expected.topics[usize::from(number)].entries;
        let each = |entry: Entry<'_>| listed.push(session_of(number, &entry));
        let read = presence.for_each(topic, each);
        read.map_err(|error| error.to_string())?;
    }
    listed.sort_unstable();
    listed.dedup();
    let members = expected.members.iter();
    let members = members.filter(|session| is_read(session.0));
    if members.clone().eq(&listed) && counted == entries {
        return Ok(());
    }
    let members: Vec<_> = members.collect();
    Err(format!(
        "lists {listed:?} and counts {counted}, not {members:?} and {entries}"
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
fn check_counts(node: &Node, expected: &Expected) -> Result<(), String> {
    for (expected, topic) in expected.topics.iter().zip(plan::topics()) {
        if !node.counting.contains(topic) {
            continue;
        }
        let Counts {
            entries,
            keys,
            all_keys,
        } = expected;
        let bounds = if node.watching.contains(topic) {
            (*all_keys, *all_keys)
        } else {
            (keys.iter().copied().max().unwrap_or(0), keys.iter().sum())
        };
        let presence = &node.process.presence;
        let counted = presence.count(topic).map_err(|error| error.to_string())?;
        let keys = presence.count_keys(topic);
        let keys = keys.map_err(|error| error.to_string())?;
        if (counted, (keys.at_least, keys.at_most)) != (*entries, bounds) {
            return Err(format!(
                "counts {counted} and {keys:?} in {topic}, not {entries} and {bounds:?}"
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
        let expected = match partition.checked_sub(PARTITIONS as u16) {
            None => other.model.entries(partition),
            Some(counted) => Arc::new(other.model.counts(counted)),
        };
        if !shows(&node.process.presence, id, partition, &expected) {
            let entries = entries_of(&node.process.presence, id, partition);
            return Err(format!(
                "shows {entries:?} of {id}/{partition}, not {expected:?}"
            ));
        }
    }
    Ok(())
}
