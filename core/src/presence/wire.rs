//! `Wire`: the protocol by which presences replicate. A presence is made for one of them.

use std::fmt::Debug;

use parking_lot::RwLock;

use super::control::Control;
use super::plane::{Plane, Shard};
use super::{Presence, PresenceConfig};
use crate::id::ReplicaId;

/// A protocol by which presences replicate.
pub trait Wire: Sized + Debug + Send + Sync + 'static {
    /// The entries behind one lock.
    type Shard: Shard + Debug + Clone + Send + Sync + 'static;
    /// The control plane.
    type Plane: Plane<Event = Self::Event> + Debug + Send + 'static;
    /// A message to users.
    type Event: Debug + Clone + PartialEq + Send + 'static;

    /// Makes an empty presence.
    fn presence(replica: ReplicaId, config: PresenceConfig) -> Presence<Self>;

    /// Tells the control plane of the own operations in a shard since it was last told.
    fn report(control: &mut Control<Self::Plane>, number: u8, shard: &RwLock<Self::Shard>);

    /// Does what the control plane asks for.
    fn run(presence: &Presence<Self>, control: &mut Control<Self::Plane>);

    /// Does one slice of the work that waits longest.
    fn work(presence: &Presence<Self>, control: &mut Control<Self::Plane>);

    /// Does what is due on the entries.
    fn tend(presence: &Presence<Self>, control: &mut Control<Self::Plane>);

    /// Makes the Diffs of all that reads of a topic's shard show already.
    fn finish_visibility(
        presence: &Presence<Self>,
        control: &mut Control<Self::Plane>,
        topic: &str,
    );

    /// Returns the kind of an event, as far as nodes count and treat them.
    fn news(event: &Self::Event) -> News;

    /// Copies the control plane of a presence, for a second process with the same memory.
    #[cfg(feature = "testing")]
    fn fork(presence: &Presence<Self>, control: &mut Control<Self::Plane>) -> Self::Plane;
}

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A replica is heard.
    Up,
    /// A replica is not heard any more.
    Down,
    /// Content differs from that of its origin.
    Divergence,
    /// Entries were refused.
    Refused,
    /// Diffs were dropped.
    DiffsDropped,
    /// Any other.
    Other,
}
