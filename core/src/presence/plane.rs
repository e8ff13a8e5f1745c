//! The two halves of a wire: `Shard`, the entries behind one lock, and `Plane`, the control plane.

use std::time::Duration;

use bytes::Bytes;

use crate::codec::DecodeError;
use crate::error::TrackError;
use crate::id::{EntryRef, ReplicaId};
use crate::replica::{Signal, Transmit};
use crate::tracker::{Diff, Key, LeaveReason, NewEntry, SessionName, Since, Tracker};

/// The entries of some of the topics.
pub trait Shard {
    /// Returns the tracker that has all entries of a topic.
    fn tracker(&self, topic: &str) -> &Tracker;

    /// Returns all trackers.
    fn trackers(&self) -> impl Iterator<Item = &Tracker>;

    /// Tracks an own entry.
    ///
    /// # Errors
    /// As [`Tracker::track`].
    fn track(&mut self, entry: &NewEntry<'_>) -> Result<EntryRef, TrackError>;

    /// Gives an own entry a new content.
    ///
    /// # Errors
    /// As [`Tracker::update`].
    fn update(&mut self, entry: &NewEntry<'_>) -> Result<EntryRef, TrackError>;

    /// Tracks an own entry, or updates it.
    ///
    /// # Errors
    /// As [`Tracker::upsert`].
    fn upsert(&mut self, entry: &NewEntry<'_>) -> Result<EntryRef, TrackError>;

    /// Gives the entry of a lost owner for the same topic and key the content of `entry`, its owner
    /// included.
    ///
    /// # Errors
    /// When there is no such entry, or the new owner has one.
    fn adopt(&mut self, owner: &[u8], entry: &NewEntry<'_>) -> Result<EntryRef, TrackError>;

    /// Removes an own entry. Returns whether it was tracked.
    fn untrack(&mut self, topic: &str, key: Key<'_>, owner: &[u8]) -> bool;

    /// Removes all own entries of an owner for a reason. Returns their number.
    fn remove_owner(&mut self, owner: &[u8], reason: LeaveReason) -> usize;

    /// Removes an own entry for a reason, if it is still the one meant. Returns whether it did.
    fn leave(&mut self, session: &SessionName, since: Since, reason: LeaveReason) -> bool;

    /// Returns the own sessions of an owner with their versions.
    fn sessions_of(&self, owner: &[u8]) -> Vec<(SessionName, u64)>;

    /// Returns the changes of own entries since the last call.
    fn take_diff(&mut self) -> Diff;

    /// Returns the number of leaves remembered.
    fn leave_log_len(&self) -> usize;

    /// Returns the length of the longest log of leaves.
    fn longest_leave_log(&self) -> usize;

    /// Cuts the longest log of leaves down to its newest `len_max`.
    fn limit_longest_leave_log(&mut self, len_max: usize);
}

/// The control plane of a wire.
pub trait Plane {
    /// A message to users.
    type Event;

    /// Takes one frame from a neighbour.
    ///
    /// # Errors
    /// When the frame is malformed, not authentic, or of another cluster or version; nothing has
    /// changed then.
    fn handle_message(
        &mut self,
        now: Duration,
        from: &str,
        frame: &Bytes,
    ) -> Result<(), DecodeError>;

    /// Does what is due.
    fn handle_timeout(&mut self, now: Duration);

    /// Takes the hint that a neighbour is gone.
    fn disconnected(&mut self, now: Duration, from: &str);

    /// Leaves the cluster for good.
    fn leave(&mut self, now: Duration);

    /// Returns when the next Goodbye is to be sent, after the first.
    fn poll_goodbye(&self) -> Option<Duration>;

    /// Returns when there is something to do next.
    fn poll_timeout(&self) -> Option<Duration>;

    /// Returns whether work in slices waits.
    fn is_working(&self) -> bool;

    /// Returns the next frame to send.
    fn poll_transmit(&mut self) -> Option<Transmit>;

    /// Returns the next message to users.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// Tells users that Diffs were dropped.
    fn tell_diffs_dropped(&mut self);

    /// Returns whether this node has caught up once with all others.
    fn is_synced(&self) -> bool;

    /// Returns the other replicas known, and whether each is up.
    fn replicas(&self) -> Vec<(ReplicaId, bool)>;

    /// Sends a short-lived sign.
    ///
    /// # Errors
    /// When a part of it is too long.
    fn signal(&mut self, signal: Signal) -> Result<(), DecodeError>;

    /// Takes the approximate number of bytes of the own operations since the last call.
    fn report_written(&mut self, bytes: usize);
}
