//! What comes out of a replica: frames, orders for the trackers, news for users; and their answers.

use std::sync::Arc;

use bytes::Bytes;

use super::Signal;
use crate::error::ApplyError;
use crate::id::ReplicaId;

/// How a transport names one of its neighbours: opaque here.
pub type Address = Arc<str>;

/// Where a frame goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To every neighbour of the transport.
    All,
    /// To one neighbour.
    Peer(Address),
}

/// A frame to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub to: Destination,
    /// The frame. Losing it costs time, never data.
    pub frame: Bytes,
}

/// What the owner of the trackers must do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Apply a frame under the lock of its slot, then call [`applied`](super::Replica::applied).
    Apply(Apply),
    /// Encode what an asker lacks, then call [`reply`](super::Replica::reply).
    Serve(Serve),
    /// Encode the local operations after `since` as a Delta, then call [`push`](super::Replica::push).
    Push {
        /// The slot.
        slot: u8,
        /// The tick up to which peers were told.
        since: u64,
    },
    /// Hide the entries of a replica; clocks and data stay.
    Hide(ReplicaId),
    /// Show them again.
    Show(ReplicaId),
    /// Drop everything of a replica.
    Forget(ReplicaId),
    /// A later life took the name: as [`Forget`](Self::Forget), but what users see of the earlier
    /// one may stay for a grace.
    Replace(ReplicaId),
    /// The local origins go on under a new identity.
    Reincarnate {
        /// The identity given up.
        old: ReplicaId,
        /// The identity taken.
        new: ReplicaId,
    },
    /// Every up peer has acknowledged the leaves up to this tick.
    Trim {
        /// The origin's replica.
        origin: ReplicaId,
        /// Its slot.
        slot: u8,
        /// The newest tick that may go.
        upto: u64,
    },
}

/// A slot frame that passed the checks of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apply {
    /// The origin's replica.
    pub origin: ReplicaId,
    /// Its slot.
    pub slot: u8,
    /// The body of the Delta or Repair.
    pub body: Bytes,
    /// Whether it is a Repair.
    pub repair: bool,
    /// Whether this holder asked for it with `full`.
    pub full: bool,
    /// The clock it leads to.
    pub to: u64,
    /// Who sent it.
    pub source: Address,
}

/// A request to encode a Delta or Repair for an asker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// The origin's replica.
    pub origin: ReplicaId,
    /// Its slot.
    pub slot: u8,
    /// What the asker has.
    pub since: u64,
    /// Whether the asker wants the full state in any case.
    pub full: bool,
    /// Goes into a Repair.
    pub nonce: u64,
    pub(super) to: Address,
}

/// What became of an [`Apply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Applied, or not newer than what is here.
    Done,
    /// It starts after what is here.
    Gap,
    /// Its content contradicts what is here.
    Invalid,
    /// The tracker does not take it: it breaks a limit or the format. What is here stays right.
    Refused {
        /// The clock it leads to.
        to: u64,
        /// Whether this holder asked for it with `full`.
        full: bool,
        /// What is wrong with it.
        error: ApplyError,
    },
    /// It is being applied in slices; another report follows.
    Started,
}

/// The state of one origin after an [`Apply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its clock.
    pub clock: u64,
    /// Its rolling digest.
    pub hash: u64,
    /// What became of the frame.
    pub outcome: Outcome,
}

/// What users are told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A replica is heard: new, or after being down.
    ReplicaUp(ReplicaId),
    /// A replica is not heard any more; its entries are hidden.
    ReplicaDown(ReplicaId),
    /// A replica was dropped: silent for `forget_after`, or replaced by a later start.
    ReplicaForgotten(ReplicaId),
    /// A replica said Goodbye; its entries are gone.
    ReplicaLeft(ReplicaId),
    /// Two holders of one origin disagree at the same clock; a full repair is under way.
    Divergence {
        /// The origin's replica.
        origin: ReplicaId,
        /// Its slot.
        slot: u8,
    },
    /// Entries of a replica are refused: they break a limit of this node or the format. Told once
    /// for a slot, until a frame of it is taken; it is asked for again with growing pauses.
    Refused {
        /// Who sent the frame.
        from: Address,
        /// The origin's replica.
        origin: ReplicaId,
        /// Its slot.
        slot: u8,
        /// What is wrong with the frame.
        error: ApplyError,
    },
    /// Another live node uses this node's name; this one is silent until the other is gone.
    DuplicateName {
        /// The other one.
        other: ReplicaId,
    },
    /// This node took a new identity (it found a second self, or came back under an older one).
    Reincarnated {
        /// The identity taken.
        id: ReplicaId,
    },
    /// Too many Diffs were not fetched and are gone, or one lost versions that came and went
    /// ([`Diff::is_lossy`](crate::Diff::is_lossy)). The lists are right: read them again.
    DiffsDropped,
    /// A sign from another node.
    Signal {
        /// Who sent it.
        from: ReplicaId,
        /// What it says.
        signal: Signal,
    },
    /// A replica was refused: `peers_max` are known already.
    PeerLimit {
        /// The one refused.
        refused: ReplicaId,
    },
    /// A peer speaks other major wire versions.
    Unsupported {
        /// Where it was heard.
        from: Address,
        /// The lowest version it speaks.
        min: u8,
        /// The highest version it speaks.
        max: u8,
    },
}
