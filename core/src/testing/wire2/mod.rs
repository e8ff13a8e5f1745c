//! The simulator of wire 2: every node is a real control plane with real trackers, every message
//! real bytes.
//!
//! The network, the random numbers and the account are those of the simulator of wire 1; so is the
//! idea: after every step each node's view must be a state that its origin really had, and at the
//! end all must be equal and quiet. What a state should be is known from the operations alone: the
//! program on each node keeps a model of its own entries, and `truth` the course of these models.
//! No hash of the implementation takes part in it.

mod convergence;
mod hostile;
mod model;
mod node;
mod plan;
mod process;
mod programs;
mod reader;
#[cfg(test)]
mod regressions;
mod sight;
mod snapshots;
mod steps;
mod strangers;
mod traffic;
mod truth;
mod views;
mod world;

use super::run::Run;
use super::{Failure, Fault, Stats};
use world::World;

pub use crate::wire2::Event;
pub use traffic::{Load, Traffic, measure};

/// Runs the schedule of a seed, with one rule of the protocol broken if `fault` names one.
///
/// # Errors
/// The first broken promise.
pub fn simulate(seed: u64, fault: Option<Fault>) -> Result<Stats, Failure> {
    crate::fault::with(fault, || run(seed, None))
}

/// Runs the schedule of a seed as [`simulate`] does, and calls `line` with a readable account of
/// every step.
///
/// # Errors
/// The first broken promise.
pub fn replay(
    seed: u64,
    fault: Option<Fault>,
    line: &mut dyn FnMut(&str),
) -> Result<Stats, Failure> {
    crate::fault::with(fault, || run(seed, Some(line)))
}

fn run(seed: u64, trace: Option<&mut dyn FnMut(&str)>) -> Result<Stats, Failure> {
    let mut world = World::new(Run::with_plan(seed, plan::Plan::new, trace));
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
    for _ in 0..world.run.plan.steps {
        world.run.step += 1;
        let step = world.run.plan.step(&mut world.run.rng);
        steps::take(world, step)?;
    }
    world.run.stats.steps = world.run.step;
    convergence::finish(world)
}
