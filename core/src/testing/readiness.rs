//! Checks of what a node may read, and of what it holds for that.

use super::events::ReadyTopic;
use super::node::Node;
use super::plan::{self, Plan};
use super::truth::Truth;
use crate::id::ReplicaId;
use crate::presence::Held;
use crate::replica::Position;

/// Checks that a node can read what it watches and is ready, and nothing else, and that it holds
/// nothing of others in partitions that it has not watched.
pub(super) fn check(node: &Node, origins: &[Held]) -> Result<(), String> {
    let presence = &node.process.presence;
    for topic in plan::topics() {
        let access = presence.access(topic);
        let expected = node.watching.access(topic);
        if access != expected {
            return Err(format!("says {access:?} of {topic}, which is {expected:?}"));
        }
        let access = presence.count_access(topic);
        let expected = node.counting.access(topic);
        if access != expected {
            let of = format!("of counts of {topic}, which is {expected:?}");
            return Err(format!("says {access:?} {of}"));
        }
    }
    for held in origins {
        let id = &held.info.replica;
        let partition = held.partition;
        let is_wanted = || node.watching.wants(partition) || node.counting.wants(partition);
        if *id != node.id && !is_wanted() {
            return Err(format!("holds {id}/{partition}, which it never watched"));
        }
    }
    Ok(())
}

/// Checks that a node whose deadlines were looked at holds nothing of others in a partition that it
/// has not watched for long, and knows of every watched topic whether it is ready.
pub(super) fn check_deadlines(node: &mut Node, plan: &Plan, own_ms: u64) -> Result<(), String> {
    let presence = &node.process.presence;
    let is_speaking = presence.replica().is_speaking();
    if presence.is_working() {
        return Ok(());
    }
    let mut over = node.watching.take_over(own_ms, plan.unwatch_ms);
    over.extend(node.counting.take_over(own_ms, plan.unwatch_ms));
    let mut origins = Vec::new();
    if !over.is_empty() {
        presence.origins(&mut origins);
    }
    for held in &origins {
        let id = &held.info.replica;
        let partition = held.partition;
        if *id != node.id && over.contains(&partition) {
            return Err(format!("holds {id}/{partition}, no longer watched"));
        }
    }
    let late = node.watching.late(own_ms, plan.ready_ms);
    match late.or_else(|| node.counting.late(own_ms, plan.ready_ms)) {
        Some(topic) if is_speaking => Err(format!("is not ready to read {topic} at {own_ms} ms")),
        _ => Ok(()),
    }
}

/// Checks that a node that is ready, but for the replicas missing, holds what each other one had
/// when it was heard first, and still has.
pub(super) fn check_node(
    nodes: &[Option<Node>],
    place: usize,
    truth: &Truth,
    missing: &[ReplicaId],
) -> Result<(), String> {
    let Some(node) = &nodes[place] else {
        return Ok(());
    };
    for (id, is_up) in &node.process.presence.replicas() {
        if missing.contains(id) {
            if !is_up {
                return Err(format!("misses {id}, which is down"));
            }
        } else if *is_up {
            let shown = truth.shown_with(id, node.views.first_beat(id));
            check_held(nodes, node, truth, id, shown.iter().copied())?;
        }
    }
    Ok(())
}

/// Checks that a node that is ready to read a topic, or its counts, holds what each replica had in
/// the partition of it with the last Beat before the watch, and still has.
pub(super) fn check_topic(
    nodes: &[Option<Node>],
    place: usize,
    truth: &Truth,
    ready: &ReadyTopic,
) -> Result<(), String> {
    let Some(node) = &nodes[place] else {
        return Ok(());
    };
    let ReadyTopic {
        partition,
        topic,
        beats,
    } = ready;
    let replicas = node.process.presence.replicas();
    for beat in beats {
        let id = &beat.id;
        if replicas.contains(&(id.clone(), true)) {
            let shown = truth.shown_with(id, beat.beat).iter();
            let shown = shown.filter(|(shown, _)| shown == partition);
            let shown = shown.map(|(partition, shown)| {
                let clock = if beat.is_exact { shown.clock } else { 0 };
                (*partition, Position { clock, ..*shown })
            });
            check_held(nodes, node, truth, id, shown)
                .map_err(|what| format!("can read {topic}: {what}"))?;
        }
    }
    Ok(())
}

/// Checks that a node holds what a replica showed and still has.
fn check_held(
    nodes: &[Option<Node>],
    node: &Node,
    truth: &Truth,
    id: &ReplicaId,
    shown: impl Iterator<Item = (u16, Position)>,
) -> Result<(), String> {
    let origin = nodes.iter().flatten().find(|other| other.id == *id);
    let Some(origin) = origin.filter(|_| !truth.is_forked(id)) else {
        return Ok(());
    };
    for (partition, shown) in shown {
        let now = origin.process.replica().index().position(partition);
        let is_current = now.is_some_and(|now| now.life == shown.life);
        let held = node.process.presence.position(id, partition);
        let is_held = held.is_some_and(|held| (held.life, held.clock) >= (shown.life, shown.clock));
        if is_current && !is_held {
            return Err(format!(
                "is ready with {held:?} of {id}/{partition}, which had {shown:?}"
            ));
        }
    }
    Ok(())
}

/// The partitions of a cluster in which a node holds what others have.
pub(super) fn partitions(node: &Node, plan: &Plan) -> Vec<u16> {
    let is_watched = |partition: &u16| {
        node.watching.contains_partition(*partition) || node.counting.contains_partition(*partition)
    };
    let all = plan.partitions();
    all.filter(|partition| !plan.is_interest || is_watched(partition))
        .collect()
}
