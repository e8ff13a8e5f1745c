//! The topics that may be read.

use std::sync::Arc;

use super::Partitions;
use crate::codec::Mode;
use crate::error::ReadError;
use crate::replica::output::Access;

impl Partitions {
    /// Returns whether a topic may be read. O(1).
    pub(crate) fn access(&self, topic: &str) -> Access {
        match self.shape.mode() {
            Mode::All => Access::Ready,
            Mode::Interest => self
                .watched
                .get(topic)
                .copied()
                .unwrap_or(Access::NotWatched),
        }
    }

    /// Checks that a topic may be read. O(1).
    pub(crate) fn check_readable(&self, topic: &str) -> Result<(), ReadError> {
        match self.access(topic) {
            Access::Ready => Ok(()),
            Access::NotReady => Err(ReadError::NotReady {
                topic: topic.into(),
            }),
            Access::NotWatched => Err(ReadError::NotWatched {
                topic: topic.into(),
            }),
        }
    }

    /// Notes whether a topic may be read.
    pub(super) fn open(&mut self, topic: Arc<str>, access: Access) {
        match access {
            Access::NotWatched => drop(self.watched.remove(&topic)),
            access => drop(self.watched.insert(topic, access)),
        }
    }
}
