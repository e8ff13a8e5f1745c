//! One schedule from its seed to its end.

use super::plan::Plan;
use super::run::Run;
use super::world::World;
use super::{Failure, Stats, convergence, steps, watching};

/// Runs the schedule of a seed, and hands an account of it to `trace`.
///
/// # Errors
/// The first broken promise.
pub(super) fn run(seed: u64, trace: Option<&mut dyn FnMut(&str)>) -> Result<Stats, Failure> {
    let mut world = World::new(Run::with_plan(seed, Plan::new, trace));
    if world.run.is_traced() {
        let plan = format!("{:?}", world.run.plan);
        world.run.note(|| plan);
    }
    match drive(&mut world) {
        Ok(()) => Ok(world.run.stats),
        Err(what) => {
            world.run.note(|| format!("FAILED: {what}"));
            let step = world.run.step;
            Err(Failure { seed, step, what })
        }
    }
}

fn drive(world: &mut World<'_>) -> Result<(), String> {
    for place in world.alive() {
        watching::begin(world, place)?;
    }
    for _ in 0..world.run.plan.steps {
        world.run.step += 1;
        let step = world.run.plan.step(&mut world.run.rng);
        steps::take(world, step)?;
    }
    world.run.stats.steps = world.run.step;
    convergence::finish(world)
}
