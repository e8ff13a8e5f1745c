//! The end of a schedule: the network heals, and all nodes must become equal and fall silent.

use std::collections::BTreeSet;

use crdts::{CvRDT, Orswot};

use super::network::kind;
use super::node::Node;
use super::plan;
use super::plan::{BEAT_MS, Session, Shape, TOPICS};
use super::steps;
use super::truth::State;
use super::world::World;
use crate::codec::Kind;
use crate::id::ReplicaId;

/// Beats within which all must be equal: a replica gone is forgotten after 9 to 12, and a silenced
/// double needs as long to be sure.
const BEATS_MAX: u64 = 40;
/// Beats within which nodes that are equal fall silent.
const QUIET_BEATS_MAX: u64 = 6;

/// Heals the network and waits until all nodes are equal, and remain so.
pub(super) fn finish(world: &mut World<'_>) -> Result<(), String> {
    world.run.note(|| "the end: heal, deliver, wait".into());
    steps::heal(world);
    world.run.plan.calm();
    for node in world.nodes.iter_mut().flatten() {
        node.is_altering = false;
    }
    stop_doubles(world);
    world.deliver_all()?;
    world.run.plan.delay_ms = u64::MAX / 2;
    let is_ending = |node: &Node| node.own.is_ending();
    while world.nodes.iter().flatten().any(is_ending) {
        beat(world)?;
    }
    // Beats lost before the links were healed may hide a replica until `down_after` from then on.
    let settled_ms = world.run.now_ms + world.run.plan.down_ms + BEAT_MS;
    let mut last = Ok(());
    for _ in 0..BEATS_MAX {
        beat(world)?;
        last = check_equal(world);
        if last.is_ok() && world.run.now_ms >= settled_ms {
            break;
        }
    }
    last?;
    wait_until_quiet(world)?;
    // What a replaced life showed is seen until its grace ends.
    for _ in 0..world.run.plan.grace_ms.div_ceil(BEAT_MS) {
        beat(world)?;
        check_equal(world)?;
    }
    check_entries(world)
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

/// Lets one beat pass in two halves. Returns the kinds of the frames that were sent.
fn beat(world: &mut World<'_>) -> Result<BTreeSet<Kind>, String> {
    let mut kinds = BTreeSet::new();
    for _ in 0..2 {
        world.pass(BEAT_MS / 2)?;
        loop {
            let flights = world.network.flights().iter();
            kinds.extend(flights.map(|flight| kind(&flight.frame)));
            if !world.deliver()? && !world.work()? {
                break;
            }
        }
    }
    Ok(kinds)
}

/// Waits until the nodes, which are equal, send nothing but heartbeats.
fn wait_until_quiet(world: &mut World<'_>) -> Result<(), String> {
    let mut kinds = BTreeSet::new();
    for _ in 0..QUIET_BEATS_MAX {
        kinds = beat(world)?;
        check_equal(world)?;
        kinds.remove(&Kind::DIGEST);
        if kinds.is_empty() {
            return Ok(());
        }
    }
    Err(format!("equal, yet they still send {kinds:?}"))
}

/// Checks that every node knows exactly the nodes that it can hear, and all that they know.
fn check_equal(world: &World<'_>) -> Result<(), String> {
    for place in world.alive() {
        let Some(node) = &world.nodes[place] else {
            continue;
        };
        let others: Vec<usize> = reachable(world, place);
        let others: Vec<usize> = others.into_iter().filter(|&b| b != place).collect();
        let known = node.presence.replicas();
        let ids = others.iter().filter_map(|&b| world.nodes[b].as_ref());
        let ids: BTreeSet<_> = ids.map(|other| (other.presence.id(), true)).collect();
        if known.iter().cloned().collect::<BTreeSet<_>>() != ids {
            return Err(format!("{place} knows {known:?}, alive are {others:?}"));
        }
        // Others believe in a silent one for a while; then it goes, or comes back as another.
        if !node.presence.is_speaking() {
            return Err(format!("{place} is silent"));
        }
        if !node.presence.is_synced() {
            return Err(format!("{place} is not synced"));
        }
        let mut oracle = node.own.oracle().clone();
        for other in others {
            let Some(origin) = &world.nodes[other] else {
                continue;
            };
            check_origin(world.truth.slots(), node, origin)
                .map_err(|what| format!("{place} {what}"))?;
            oracle.merge(origin.own.oracle().clone());
        }
        check_members(node, &oracle)
            .and_then(|()| node.readers.check(&node.presence))
            .map_err(|what| format!("{place} {what}"))?;
    }
    Ok(())
}

/// Checks that nodes that hear each other list the same entries, content and all: equal
/// fingerprints are not trusted.
fn check_entries(world: &World<'_>) -> Result<(), String> {
    let entries = |place: usize| {
        let mut entries = Vec::new();
        for (topic, node) in TOPICS.iter().zip(world.nodes[place].iter().cycle()) {
            entries.extend(node.presence.list(topic));
        }
        entries.sort_by_cached_key(|entry| (entry.dot(), entry.version()));
        entries
    };
    let mut seen = BTreeSet::new();
    for place in world.alive() {
        if !seen.insert(place) {
            continue;
        }
        let expected = entries(place);
        for other in reachable(world, place) {
            seen.insert(other);
            if entries(other) != expected {
                return Err(format!("{place} and {other} list different entries"));
            }
        }
    }
    Ok(())
}

/// Returns the places that frames from a place can reach over live ones, all links whole.
fn reachable(world: &World<'_>, from: usize) -> Vec<usize> {
    let alive = world.alive();
    if world.run.plan.shape == Shape::Mesh {
        return alive;
    }
    let mut found = vec![from];
    let mut next = 0;
    while next < found.len() {
        let place = found[next];
        for &other in &alive {
            let plan = &world.run.plan;
            if world.network.are_neighbours(plan, place, other) && !found.contains(&other) {
                found.push(other);
            }
        }
        next += 1;
    }
    found
}

/// Checks that a node holds of another one what that one holds of itself.
fn check_origin(slots: &[u8], node: &Node, origin: &Node) -> Result<(), String> {
    let id: ReplicaId = origin.presence.id();
    for &slot in slots {
        let state = |node: &Node| {
            let info = node.presence.origin_info(&id, slot);
            info.map_or(State::default(), |info| State::of(&info))
        };
        let held = state(node);
        let own = state(origin);
        if held != own {
            return Err(format!("holds {held:?} of {id}/{slot}, which is {own:?}"));
        }
    }
    Ok(())
}

/// Checks that a node lists what the merged sets contain.
fn check_members(node: &Node, oracle: &Orswot<Session, u64>) -> Result<(), String> {
    let text = |session: Session| {
        let (topic, key, owner) = plan::names(session);
        (topic.to_owned(), key, owner.to_owned())
    };
    let expected: BTreeSet<_> = oracle.read().val.into_iter().map(text).collect();
    let mut listed = BTreeSet::new();
    for topic in TOPICS {
        node.presence.for_each(topic, |entry| {
            let key = entry.key_str().unwrap_or_default().to_owned();
            let owner = String::from_utf8_lossy(entry.owner()).into_owned();
            listed.insert((topic.to_owned(), key, owner));
        });
    }
    if listed == expected {
        return Ok(());
    }
    Err(format!("lists {listed:?}, the sets say {expected:?}"))
}
