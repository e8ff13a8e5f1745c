//! Choices that a schedule makes more or less often.

use crate::replica::rng::Rng;

/// Values with their weights.
#[derive(Debug, Clone)]
pub(super) struct Weights<T> {
    choices: Vec<(T, u64)>,
    total: u64,
}

impl<T: Copy> Weights<T> {
    pub(super) fn new(choices: Vec<(T, u64)>) -> Self {
        let total = choices.iter().map(|(_, weight)| weight).sum();
        Self { choices, total }
    }

    /// Draws a value; `None` without choices.
    pub(super) fn draw(&self, rng: &mut Rng) -> Option<T> {
        let mut draw = rng.below(self.total);
        for (value, weight) in &self.choices {
            match draw.checked_sub(*weight) {
                Some(rest) => draw = rest,
                None => return Some(*value),
            }
        }
        None
    }
}
