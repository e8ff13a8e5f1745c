//! Reads of presence.

use headcount::ReadError;

/// Returns what was read. A room that is open is watched, and ready: nothing can be missing there.
pub(super) fn readable<T: Default>(read: Result<T, ReadError>) -> T {
    read.unwrap_or_else(|error| not_readable(&error))
}

/// Logs that presence cannot be read, and returns nothing.
pub(super) fn not_readable<T: Default>(error: &ReadError) -> T {
    tracing::warn!(%error, "presence could not be read");
    T::default()
}
