//! Steps of programs that watch topics.

use super::plan::{self, Plan, TOPICS};
use super::stats::Incident;
use super::world::World;

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
    if node.watching.begin_again(topic) {
        presence.watch(now, topic);
        return Ok(());
    }
    let is_first = !presence.replica().wants(Plan::shape().partition_of(topic));
    // What is held already may be behind what was heard.
    let up = presence.replicas().into_iter();
    let up = up.filter(|(_, is_up)| *is_up && is_first);
    let beats = up.map(|(id, _)| {
        let heartbeat = node.views.last_beat(&id);
        (id, heartbeat)
    });
    let beats = beats.collect();
    presence.watch(now, topic);
    let (entries, diffs) = presence.take_list_with_diffs(topic);
    node.reader
        .begin(presence.id().name(), topic, &entries, &diffs)?;
    node.watching.begin(topic, now_ms, beats);
    Ok(())
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
