//! Steps of programs that watch topics.

use super::node::Node;
use super::plan::{self, TOPICS};
use super::stats::Incident;
use super::watching::{Beats, HeardBeat};
use super::world::World;

/// Lets the program at a place watch a topic, or end a watch.
pub(super) fn change(world: &mut World<'_>, begins: bool) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    let topic = plan::topic(world.run.rng.below(TOPICS as u64) as u8);
    let is_of_counts = world.run.plan.has_counts && world.run.rng.below(2) == 0;
    match (begins, is_of_counts) {
        (true, false) => watch(world, place, topic)?,
        (true, true) => watch_counts(world, place, topic),
        (false, false) => unwatch(world, place, topic),
        (false, true) => unwatch_counts(world, place, topic),
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
        if world.run.plan.has_counts && world.run.rng.below(2) == 0 {
            watch_counts(world, place, topic);
        }
    }
    Ok(())
}

/// Returns the last Beats that came from those that are up.
fn beats(node: &Node, partition: u16) -> Beats {
    let presence = &node.process.presence;
    let is_exact = !presence.replica().wants(partition);
    let up = presence.replicas().into_iter();
    let up = up.filter(|(_, is_up)| *is_up);
    let beats = up.map(|(id, _)| HeardBeat {
        beat: node.views.last_beat(&id),
        id,
        is_exact,
    });
    beats.collect()
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
    if node.watching.begin_again(topic) {
        presence.watch(now, topic);
        return Ok(());
    }
    let beats = beats(node, node.watching.partition_of(topic));
    let presence = &node.process.presence;
    presence.watch(now, topic);
    let (entries, diffs) = presence.take_list_with_diffs(topic);
    node.reader
        .begin(presence.id().name(), topic, &entries, &diffs)?;
    node.watching.begin(topic, now_ms, beats);
    Ok(())
}

fn watch_counts(world: &mut World<'_>, place: usize, topic: &'static str) {
    let now = world.now(place);
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let Some(node) = &mut world.nodes[place] else {
        return;
    };
    world
        .run
        .note(|| format!("{place} watches the counts of {topic}"));
    world.run.count(Incident::WatchCounts);
    let is_watched = node.counting.begin_again(topic);
    let beats = beats(node, node.counting.partition_of(topic));
    node.process.presence.watch_counts(now, topic);
    if !is_watched {
        node.counting.begin(topic, now_ms, beats);
    }
}

fn unwatch_counts(world: &mut World<'_>, place: usize, topic: &'static str) {
    let now = world.now(place);
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let Some(node) = &mut world.nodes[place] else {
        return;
    };
    if node.counting.contains(topic) {
        world
            .run
            .note(|| format!("{place} unwatches the counts of {topic}"));
        node.process.presence.unwatch_counts(now, topic);
        node.counting.end(topic, now_ms);
    }
}

fn unwatch(world: &mut World<'_>, place: usize, topic: &'static str) {
    let now = world.now(place);
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let Some(node) = &mut world.nodes[place] else {
        return;
    };
    if !node.watching.contains(topic) {
        return;
    }
    world.run.note(|| format!("{place} unwatches {topic}"));
    world.run.count(Incident::Unwatch);
    node.process.presence.unwatch(now, topic);
    if node.watching.end(topic, now_ms) {
        node.reader.end(topic);
    }
}
