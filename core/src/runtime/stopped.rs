//! The end of a node, as an error.

use std::fmt;

use crate::error::{ReadError, STOPPED, TrackError};
use crate::replica::SignalError;

/// The node has stopped: its transport panicked, or its runtime ended. A call that returns this has
/// changed nothing.
///
/// Each error of a [`Node`](super::Node) has a variant of this name, into which `?` turns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STOPPED)
    }
}

impl std::error::Error for Stopped {}

impl From<Stopped> for TrackError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<Stopped> for ReadError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<Stopped> for SignalError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}
