//! `Watching`: the topics that the program on a node watches, and what it must and must not hold of
//! others for that.

use std::collections::BTreeMap;

use super::node::Node;
use super::plan::{self, BEAT_MS, PARTITIONS, Plan, TOPICS};
use super::stats::Incident;
use super::world::World;
use crate::id::ReplicaId;
use crate::replica::Access;

/// The topics that a program watches.
#[derive(Clone, Default)]
pub(super) struct Watching {
    topics: BTreeMap<&'static str, Watched>,
    /// When the last watch of a partition ended, by the clock of the node.
    ended_ms: BTreeMap<u16, u64>,
    /// When the deadlines of the node were first looked at while it spoke.
    first_ms: Option<u64>,
}

#[derive(Clone)]
struct Watched {
    watches: u32,
    begun_ms: u64,
    is_ready: bool,
    /// True if it was ready with replicas missing.
    is_partly: bool,
    /// The last Beat of each replica that was up, heard before the watch; none if something of the
    /// partition was held then.
    beats: Vec<(ReplicaId, u64)>,
}

impl Watching {
    pub(super) fn contains(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub(super) fn contains_partition(&self, partition: u16) -> bool {
        let mut topics = self.topics.keys();
        topics.any(|topic| Plan::shape().partition_of(topic) == partition)
    }

    /// Takes the news that a topic is ready, but for the replicas that are missing.
    ///
    /// # Errors
    /// It is not watched, said too early or once more, or something is missing.
    pub(super) fn take_ready(
        &mut self,
        topic: &str,
        missing: &[ReplicaId],
    ) -> Result<Vec<(ReplicaId, u64)>, String> {
        let Some(watched) = self.topics.get_mut(topic) else {
            return Err(format!("is ready to read {topic}, which it does not watch"));
        };
        if watched.is_ready && !watched.is_partly {
            return Err(format!("is ready to read {topic} again"));
        }
        if watched.is_partly && !missing.is_empty() {
            return Err(format!("is partly ready to read {topic} again"));
        }
        watched.is_ready = true;
        watched.is_partly = !missing.is_empty();
        Ok(watched.beats.clone())
    }

    /// Returns whether the news that each topic is ready has come.
    pub(super) fn is_ready(&self) -> bool {
        let mut topics = self.topics.values();
        topics.all(|watched| watched.is_ready && !watched.is_partly)
    }
}

/// Lets the program at a place watch a topic, or end a watch.
pub(super) fn change(world: &mut World<'_>, begins: bool) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    let topic = plan::topic(world.run.rng.below(TOPICS as u64) as u8);
    if begins {
        watch(world, place, topic)?;
    } else {
        unwatch(world, place, topic);
    }
    world.after(place)
}

/// Lets a new process watch some topics.
pub(super) fn begin(world: &mut World<'_>, place: usize) -> Result<(), String> {
    if !world.run.plan.is_interest {
        return Ok(());
    }
    for topic in plan::topics() {
        if world.run.rng.below(2) == 0 {
            watch(world, place, topic)?;
        }
    }
    Ok(())
}

fn watch(world: &mut World<'_>, place: usize, topic: &'static str) -> Result<(), String> {
    let now = world.now(place);
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let Some(node) = &mut world.nodes[place] else {
        return Ok(());
    };
    world.run.note(|| format!("{place} watches {topic}"));
    world.run.count(Incident::Watch);
    let presence = &node.process.presence;
    if let Some(watched) = node.watching.topics.get_mut(topic) {
        watched.watches += 1;
        presence.watch(now, topic);
        return Ok(());
    }
    let partition = Plan::shape().partition_of(topic);
    let is_first = !presence.replica().wants(partition);
    let up = presence.replicas().into_iter().filter(|(_, is_up)| *is_up);
    let beats = up.map(|(id, _)| {
        let heartbeat = node.views.last_beat(&id);
        (id, heartbeat)
    });
    let watched = Watched {
        watches: 1,
        begun_ms: now_ms,
        is_ready: false,
        is_partly: false,
        beats: if is_first {
            beats.collect()
        } else {
            Vec::new()
        },
    };
    presence.watch(now, topic);
    let (entries, diffs) = presence.take_list_with_diffs(topic);
    node.reader
        .begin(presence.id().name(), topic, &entries, &diffs)?;
    node.watching.topics.insert(topic, watched);
    node.watching.ended_ms.remove(&partition);
    Ok(())
}

fn unwatch(world: &mut World<'_>, place: usize, topic: &'static str) {
    let now = world.now(place);
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let Some(node) = &mut world.nodes[place] else {
        return;
    };
    let watching = &mut node.watching;
    let Some(watched) = watching.topics.get_mut(topic) else {
        return;
    };
    world.run.note(|| format!("{place} unwatches {topic}"));
    world.run.count(Incident::Unwatch);
    node.process.presence.unwatch(now, topic);
    watched.watches -= 1;
    if watched.watches > 0 {
        return;
    }
    watching.topics.remove(topic);
    node.reader.end(topic);
    let partition = Plan::shape().partition_of(topic);
    if !watching.contains_partition(partition) {
        watching.ended_ms.insert(partition, now_ms);
    }
}

/// Checks that a node can read what it watches and is ready, and nothing else, and that it holds
/// nothing of others in partitions that it has not watched.
pub(super) fn check(node: &Node) -> Result<(), String> {
    let presence = &node.process.presence;
    for topic in plan::topics() {
        let watched = node.watching.topics.get(topic);
        let expected = match watched {
            None => Access::NotWatched,
            Some(watched) if watched.is_ready => Access::Ready,
            Some(_) => Access::NotReady,
        };
        let access = presence.access(topic);
        if access != expected {
            return Err(format!("says {access:?} of {topic}, which is {expected:?}"));
        }
    }
    for (partition, info) in presence.origins() {
        let watching = &node.watching;
        let is_wanted =
            watching.contains_partition(partition) || watching.ended_ms.contains_key(&partition);
        if info.replica != node.id && !is_wanted {
            let id = &info.replica;
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
    if is_speaking {
        node.watching.first_ms.get_or_insert(own_ms);
    }
    if presence.is_working() {
        return Ok(());
    }
    let ended = node.watching.ended_ms.iter();
    let over = ended.filter(|(_, ended_ms)| own_ms >= *ended_ms + plan.unwatch_ms);
    let over: Vec<_> = over.map(|(partition, _)| *partition).collect();
    for (partition, info) in presence.origins() {
        if info.replica != node.id && over.contains(&partition) {
            let id = &info.replica;
            return Err(format!("holds {id}/{partition}, no longer watched"));
        }
    }
    for partition in over {
        node.watching.ended_ms.remove(&partition);
    }
    let Some(first_ms) = node.watching.first_ms.filter(|_| is_speaking) else {
        return Ok(());
    };
    for (topic, watched) in &node.watching.topics {
        let begun_ms = watched.begun_ms.max(first_ms + 2 * BEAT_MS);
        let until_ms = begun_ms + plan.ready_ms + BEAT_MS;
        if !watched.is_ready && own_ms >= until_ms {
            return Err(format!("is not ready to read {topic} at {own_ms} ms"));
        }
    }
    Ok(())
}

/// Checks that a node that is ready to read a topic holds what each replica had in it when the watch
/// began, and still has.
pub(super) fn check_ready(
    world: &World<'_>,
    place: usize,
    topic: &str,
    beats: &[(ReplicaId, u64)],
) -> Result<(), String> {
    let Some(node) = &world.nodes[place] else {
        return Ok(());
    };
    let truth = &world.truth;
    let presence = &node.process.presence;
    let partition = Plan::shape().partition_of(topic);
    for (id, heartbeat) in beats {
        let is_up = presence.replicas().contains(&(id.clone(), true));
        let origin = world.nodes.iter().flatten().find(|other| other.id == *id);
        let Some(origin) = origin.filter(|_| is_up && !truth.is_forked(id)) else {
            continue;
        };
        let shown = truth.shown_with(id, *heartbeat).iter();
        for (_, shown) in shown.filter(|(shown, _)| *shown == partition) {
            let now = origin.process.replica().index().position(partition);
            let is_current = now.is_some_and(|now| now.life == shown.life);
            let held = presence.position(id, partition);
            let is_held =
                held.is_some_and(|held| (held.life, held.clock) >= (shown.life, shown.clock));
            if is_current && !is_held {
                return Err(format!(
                    "is ready to read {topic} with {held:?} of {id}, which had {shown:?}"
                ));
            }
        }
    }
    Ok(())
}

/// The partitions of a cluster in which a node holds what others have.
pub(super) fn partitions(node: &Node, plan: &Plan) -> Vec<u16> {
    let all = 0..PARTITIONS as u16;
    all.filter(|partition| !plan.is_interest || node.watching.contains_partition(*partition))
        .collect()
}
