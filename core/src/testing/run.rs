//! `Run`: what every part of a schedule draws on, namely its plan, chance, time and account. The
//! `World` owns it and lends it to its parts for one call each.

use super::stats::{Incident, Stats};
use crate::replica::rng::Rng;

/// The plan, the random numbers, the clock and the account of one schedule.
pub(super) struct Run<'t, P> {
    pub(super) plan: P,
    pub(super) rng: Rng,
    /// The clock of the world.
    pub(super) now_ms: u64,
    pub(super) step: u64,
    pub(super) stats: Stats,
    trace: Option<&'t mut dyn FnMut(&str)>,
}

impl<'t, P> Run<'t, P> {
    /// Begins the schedule of a seed, with the plan that is made from it.
    pub(super) fn with_plan(
        seed: u64,
        plan: impl FnOnce(&mut Rng) -> P,
        trace: Option<&'t mut dyn FnMut(&str)>,
    ) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6865_6164);
        let plan = plan(&mut rng);
        Self {
            plan,
            rng,
            now_ms: 1000,
            step: 0,
            stats: Stats::default(),
            trace,
        }
    }

    pub(super) fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    /// Hands a line to the reader of the schedule, if there is one.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let line = format!("{:>4} {:>7} ms  {}", self.step, self.now_ms, line());
            trace(&line);
        }
    }

    pub(super) fn count(&mut self, incident: Incident) {
        self.stats.incidents.add(incident);
    }

    /// Draws one of `choices`, which are not empty.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.rng.below(choices.len() as u64) as usize]
    }
}
