//! Nodes that fall silent for longer than `down_after`, in one way or another.

use super::plan::BEAT_MS;
use super::stats::Incident;
use super::world::World;

/// Silences a node up to three times in a row; it may end with it.
pub(super) fn fall_silent(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    let times = 1 + world.run.rng.below(3);
    for time in 1..=times {
        world.run.count(Incident::Silence);
        if time > 1 {
            world.run.count(Incident::SilentAgain);
        }
        match world.run.rng.below(5) {
            0 | 1 => freeze(world, place)?,
            2 => mute(world, place, true)?,
            3 => mute(world, place, false)?,
            _ if time < times => mute(world, place, true)?,
            _ => {
                world.stop(place);
                world.run.count(Incident::Crash);
                world.run.note(|| format!("crash {place}"));
                return beats(world, beats_until_down(world));
            }
        }
        let count = 1 + world.run.rng.below(3);
        beats(world, count)?;
    }
    Ok(())
}

/// Lets beats pass that all nodes hear.
pub(super) fn beats(world: &mut World<'_>, count: u64) -> Result<(), String> {
    for _ in 0..count {
        world.pass(BEAT_MS)?;
        world.deliver_all()?;
    }
    Ok(())
}

fn beats_until_down(world: &World<'_>) -> u64 {
    world.run.plan.down_ms / BEAT_MS + 2
}

/// Cuts off what a node sends, and what it receives if `is_deaf`, for a while.
fn mute(world: &mut World<'_>, place: usize, is_deaf: bool) -> Result<(), String> {
    let before = world.network.mute(place, is_deaf);
    world
        .run
        .note(|| format!("{place} is not heard, deaf: {is_deaf}"));
    beats(world, beats_until_down(world))?;
    world.network.set_cuts(before);
    world.run.note(|| format!("{place} is heard again"));
    Ok(())
}

/// Freezes a process for a while. When it runs again, it handles the frames that arrived meanwhile
/// first and looks at its deadlines then, as every driver must.
fn freeze(world: &mut World<'_>, place: usize) -> Result<(), String> {
    let Some(node) = &mut world.nodes[place] else {
        return Ok(());
    };
    node.frozen = Some(Vec::new());
    world.run.count(Incident::Frozen);
    world.run.note(|| format!("{place} freezes"));
    let count = beats_until_down(world);
    // What waits for it is older than it looks.
    world.run.ghost_ms += count * BEAT_MS;
    beats(world, count)?;
    let Some(node) = &mut world.nodes[place] else {
        return Ok(());
    };
    let waiting = node.frozen.take().unwrap_or_default();
    world
        .run
        .note(|| format!("{place} runs again, {} frames wait", waiting.len()));
    for flight in waiting {
        world.hand_over(flight)?;
    }
    world.wake()
}
