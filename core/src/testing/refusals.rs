//! `Refusals`: what a node must have refused, and what it told of that.

use std::collections::BTreeMap;

use crate::replica::{Address, Event};

/// Frames that a node refused and did not tell of, by the neighbours that they came from.
#[derive(Clone, Default)]
pub(super) struct Refusals {
    untold: BTreeMap<Address, u64>,
}

impl Refusals {
    /// Notes a frame that the node had to refuse.
    pub(super) fn note(&mut self, from: &Address) {
        *self.untold.entry(from.clone()).or_default() += 1;
    }

    /// Takes an event about frames that cannot be read. Returns whether it is one.
    ///
    /// # Errors
    /// It tells of frames that the node was not sent, or told of before.
    pub(super) fn take(&mut self, event: &Event) -> Result<bool, String> {
        let (from, count) = match event {
            Event::Unreadable { from, count, .. } | Event::ShapeMismatch { from, count, .. } => {
                (from, *count)
            }
            _ => return Ok(false),
        };
        let untold = self.untold.entry(from.clone()).or_default();
        match untold.checked_sub(count) {
            Some(rest) if count > 0 => *untold = rest,
            _ => return Err(format!("reports {event:?} of {untold} frames")),
        }
        Ok(true)
    }
}
