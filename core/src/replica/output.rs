//! The output of a replica: frames to send, work on entries, events for users.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::message::{Data, Position};
use crate::codec::Shape;
use crate::error::ApplyError;
use crate::id::ReplicaId;
use crate::tracker::{Diff, LeaveReason};

/// The name of a neighbour, chosen by the transport.
pub type Address = Arc<str>;

/// Where a frame goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To every neighbour of the transport.
    All,
    /// To one neighbour.
    Peer(Address),
    /// To the neighbours that have subscribed to a partition, in mode
    /// [`Interest`](super::Mode::Interest). A transport without groups sends it to all: those that
    /// do not watch the partition drop the frame unread.
    Group(u16),
}

/// A change of what this node is to be sent, in mode [`Interest`](super::Mode::Interest). It may
/// take effect late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupSubscription {
    /// Frames to the group of this partition are wanted.
    Subscribe(u16),
    /// Frames to the group of this partition are no longer wanted.
    Unsubscribe(u16),
}

/// The right to read a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    NotWatched,
    /// It is watched, and what others have in it is not here yet.
    NotReady,
    Ready,
}

/// A frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub to: Destination,
    /// The frame. Losing it costs time, never data.
    pub frame: Bytes,
}

/// Measures how far this node is behind another replica.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// The replica.
    pub id: ReplicaId,
    /// True if it is heard.
    pub is_up: bool,
    /// The time since it was last heard: normally at most one heartbeat.
    pub silence: Duration,
    /// The partitions in which this node is behind it: each one is asked for, and not answered yet.
    pub partitions_behind: usize,
}

/// A short-lived sign such as "is typing"; not stored, dropped first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The topic that it concerns, at most 256 bytes.
    pub topic: String,
    /// The key that it concerns, at most 256 bytes.
    pub key: Vec<u8>,
    /// A kind that the application defines.
    pub kind: u8,
    /// The time for which it holds, in milliseconds.
    pub ttl_ms: u32,
    /// At most 256 bytes.
    pub payload: Vec<u8>,
}

/// Work on the entries, to be done in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Take own operations after a clock and hand them to
    /// [`Replica::answer_push`](super::Replica::answer_push).
    Push { partition: u16, since: u64 },
    /// Encode an answer and hand it to [`Replica::answer_pull`](super::Replica::answer_pull).
    Serve(Serve),
    /// Encode a part of a captured answer.
    ServePart(ServePart),
    /// Give up a captured answer: nobody draws it any more.
    EndCapture { partition: u16, capture: u64 },
    /// Apply a frame and report to [`Replica::report_applied`](super::Replica::report_applied).
    Apply(Apply),
    /// Drop what is held of a replica in a partition.
    Drop { id: ReplicaId, partition: u16 },
    /// Drop the own origin of a partition if it is still empty at this clock; later lives begin
    /// above it.
    Vacate { partition: u16, clock: u64 },
    /// Drop what is held of all others in a partition.
    DropOthers(u16),
    /// Note whether a topic may be read.
    Open {
        partition: u16,
        topic: Arc<str>,
        access: Access,
    },
    /// Hide the entries of a replica.
    Hide(ReplicaId),
    /// Show them again.
    Show(ReplicaId),
    /// Drop everything of a replica, for a reason that the leaves have.
    Forget { id: ReplicaId, reason: LeaveReason },
    /// Give up a replica that a later start of its name replaces. What is visible of it stays so
    /// until the later life puts it again, or the grace ends.
    Replace(ReplicaId),
    /// Drop what is still visible of a replaced replica.
    EndGrace(ReplicaId),
    /// Continue with the own entries under a new identity.
    Reincarnate(ReplicaId),
}

impl Action {
    /// Returns the partition that it is about; `None` if it is about all.
    pub(crate) fn partition(&self) -> Option<u16> {
        match self {
            Self::Push { partition, .. }
            | Self::EndCapture { partition, .. }
            | Self::Drop { partition, .. }
            | Self::Vacate { partition, .. }
            | Self::DropOthers(partition)
            | Self::Open { partition, .. } => Some(*partition),
            Self::Serve(serve) => Some(serve.partition),
            Self::ServePart(part) => Some(part.partition),
            Self::Apply(apply) => Some(apply.partition),
            Self::Hide(_)
            | Self::Show(_)
            | Self::Forget { .. }
            | Self::Replace(_)
            | Self::EndGrace(_)
            | Self::Reincarnate(_) => None,
        }
    }
}

/// A frame of another replica that passed the checks of the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Apply {
    pub(crate) id: ReplicaId,
    pub(crate) partition: u16,
    pub(crate) life: u64,
    /// The clock that it starts after, or the base of a repair.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) content: Bytes,
    /// True if the content is that of a repair, false if it is records of operations.
    pub(crate) is_repair: bool,
    /// The nonce of the question that it answers, if that is known.
    pub(crate) answers: Option<u32>,
    /// True if the whole state was asked for.
    pub(crate) is_full: bool,
    /// The number of this part of an answer, from 0, and the number of all: more than one only for
    /// a whole state, of which nothing is held.
    pub(crate) part: u32,
    pub(crate) parts: u32,
}

/// A request to encode what an asker misses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Serve {
    /// The number of the reply that the answer belongs to.
    pub(crate) reply: u64,
    pub(crate) partition: u16,
    /// The current life.
    pub(crate) life: u64,
    /// The clock of the asker in this life; 0 if it has nothing of it.
    pub(crate) clock: u64,
    /// The clock that others were shown when the question came: the answer must not be older.
    pub(crate) shown: u64,
    pub(crate) is_full: bool,
    pub(crate) nonce: u32,
    /// The version of the index.
    pub(crate) version: u64,
    /// The most bytes of the content of one frame.
    pub(crate) bytes_max: usize,
    /// The most bytes that a captured answer takes for what changes while it is drawn.
    pub(crate) saved_max: usize,
}

/// A request for a part of a captured answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServePart {
    pub(crate) partition: u16,
    pub(crate) capture: u64,
    /// The number of the long answer, and that of the part.
    pub(crate) reply: u32,
    pub(crate) part: u32,
}

/// The answer to a [`ServePart`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServedPart {
    pub(crate) request: ServePart,
    /// The content; `None` if the capture was given up.
    pub(crate) content: Option<Bytes>,
    /// The bytes that the capture takes now.
    pub(crate) bytes: usize,
}

/// The answer to a [`Serve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) reply: u64,
    pub(crate) partition: u16,
    pub(crate) found: Found,
}

/// The outcome of a [`Serve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Data(Data),
    /// An answer longer than a frame.
    Long(Long),
    /// The partition changed too much meanwhile: the asker asks again.
    Nothing,
    /// The asker has operations that were never made here.
    Beyond,
}

/// An answer in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Long {
    pub(crate) life: u64,
    pub(crate) base: u64,
    pub(crate) to: u64,
    pub(crate) nonce: u32,
    pub(crate) parts: Parts,
}

/// The parts of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parts {
    /// Pieces of a change.
    Encoded(Vec<Bytes>),
    /// Parts of a whole state, which are encoded when they are asked for. Askers share it.
    Captured(CapturedParts),
}

/// A captured state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CapturedParts {
    pub(crate) capture: u64,
    pub(crate) count: u32,
    /// The bytes of the longest part.
    pub(crate) longest: usize,
    /// The bytes that it takes now.
    pub(crate) bytes: usize,
}

impl Parts {
    /// Returns the number of parts.
    pub(crate) fn count(&self) -> u32 {
        match self {
            Self::Encoded(parts) => parts.len() as u32,
            Self::Captured(captured) => captured.count,
        }
    }

    /// Returns the bytes of the longest part.
    pub(crate) fn longest(&self) -> usize {
        match self {
            Self::Encoded(parts) => parts.iter().map(Bytes::len).max().unwrap_or(0),
            Self::Captured(captured) => captured.longest,
        }
    }

    /// Returns the number of the capture, if it is one.
    pub(crate) fn capture(&self) -> Option<u64> {
        match self {
            Self::Encoded(_) => None,
            Self::Captured(captured) => Some(captured.capture),
        }
    }
}

/// The answer to an [`Action::Push`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pushed {
    pub(crate) partition: u16,
    pub(crate) since: u64,
    pub(crate) clock: u64,
    pub(crate) fingerprint: u64,
    /// `None` if leaves among the operations are no longer remembered.
    pub(crate) records: Option<Bytes>,
}

/// The outcome of an [`Apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Applied, or not newer than what is held.
    Done,
    /// A part before the last one was loaded.
    Loaded,
    /// Work on the same origin is under way: nothing has changed.
    Busy,
    /// It starts after what is held.
    Gap,
    /// Its content contradicts what is held.
    Contradicts,
    /// It breaks a limit or the format. What is held is unchanged.
    Refused(ApplyError),
}

/// The state of a replica in a partition after an [`Apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) id: ReplicaId,
    pub(crate) partition: u16,
    /// The position that is held now.
    pub(crate) held: Option<Position>,
    /// The nonce of the question that was answered.
    pub(crate) answers: Option<u32>,
    /// The number of the part.
    pub(crate) part: u32,
    pub(crate) outcome: Outcome,
}

/// The own state of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnState {
    pub(crate) partition: u16,
    pub(crate) clock: u64,
    pub(crate) entries: u32,
}

/// The answer to an action.
#[derive(Debug, Clone)]
pub(crate) enum Answered {
    Nothing,
    Push(Pushed),
    Pull(Served),
    Part(ServedPart),
    /// The report on a frame, and its Diffs, in order.
    Applied(Report, Vec<Diff>),
    /// The partition in which nothing is held of some replicas any more, these, and the Diffs.
    Dropped(u16, Vec<ReplicaId>, Vec<Diff>),
    /// The Diffs of a change without a frame.
    Changed(Vec<Diff>),
}

/// A message to users.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A replica is heard: new, or after being down.
    ReplicaUp(ReplicaId),
    /// A replica is not heard any more; its entries are hidden.
    ReplicaDown(ReplicaId),
    /// A replica was dropped: silent for `forget_after`, or the one down for longest when one more than
    /// `peers_max` was heard, or replaced by a later start.
    ReplicaForgotten(ReplicaId),
    /// A replica said Goodbye; its entries are gone.
    ReplicaLeft(ReplicaId),
    /// A replica's entries here differ from its own at the same clock; they are asked for again.
    Divergence {
        /// The replica.
        origin: ReplicaId,
        /// The partition of the entries.
        partition: u16,
    },
    /// Entries of a replica break a limit of this node or the format, or are longer than its frames.
    /// They are asked for again with growing pauses. Told once a minute of a replica and a rule.
    Refused {
        /// The replica.
        origin: ReplicaId,
        /// The partition of the first of the entries.
        partition: u16,
        /// The rule that is broken, by the first of them.
        error: ApplyError,
        /// The frames refused since the last such event, with the first one: at least 1.
        count: u64,
    },
    /// This node has caught up with all replicas that it knows and that are up, but for those
    /// missing. If some are, it is said again when none is. In mode
    /// [`Interest`](super::Mode::Interest) it knows of each where it has entries, and
    /// [`TopicReady`](Self::TopicReady) tells what can be read.
    Ready {
        /// The replicas that this node has not caught up with.
        missing: Vec<ReplicaId>,
    },
    /// A topic that is [watched](crate::Presence::watch) can be read: what each replica had in it when
    /// the watch began, and still has, is here, but for those missing. If some are, it is said again
    /// when none is. In mode [`Interest`](super::Mode::Interest) only.
    TopicReady {
        /// The topic.
        topic: Arc<str>,
        /// The age of the oldest news on which this rests: normally at most one heartbeat, never more
        /// than `down_after`.
        age: Duration,
        /// The replicas of which something may be missing.
        missing: Vec<ReplicaId>,
    },
    /// The counts of a topic, [watched](crate::Presence::watch_counts), can be read: what each replica
    /// had in it when the watch began, or more recently, is counted, but for those missing. If some
    /// are, it is said again when none is. In a cluster with [`counts`](super::Config::counts) only.
    CountsReady {
        /// The topic.
        topic: Arc<str>,
        /// The age of the oldest news on which this rests: normally at most one heartbeat, never more
        /// than `down_after`.
        age: Duration,
        /// The replicas of which something may be missing.
        missing: Vec<ReplicaId>,
    },
    /// A replica sent a short-lived sign.
    Signal {
        /// The replica.
        from: ReplicaId,
        /// The sign.
        signal: Signal,
    },
    /// Another live node uses this node's name; this one is silent until the other is gone.
    DuplicateName {
        /// The other one.
        other: ReplicaId,
    },
    /// This node took a new identity: it found a second self, or came back under an older one.
    Reincarnated {
        /// The identity taken.
        id: ReplicaId,
    },
    /// Frames under this node's own identity were refused, or such as know more of it than it does
    /// itself: they are copies of its own frames that a transport, a neighbour or an attacker sends
    /// back, or they came too soon after it took a new identity for the like
    /// ([`Reincarnated`](Self::Reincarnated)). Told of an address once a minute.
    SecondSelf {
        /// The address.
        from: Address,
        /// The frames refused since the last such event: at least 1.
        count: u64,
    },
    /// A replica was refused: the hash by which frames name it is that of another one. Told of an
    /// address once a minute.
    HandleCollision {
        /// The one refused.
        refused: ReplicaId,
        /// The frames refused since the last such event: at least 1.
        count: u64,
    },
    /// A replica was refused: `peers_max` are known already, and all are up. Told of an address once a
    /// minute.
    PeerLimit {
        /// The one refused.
        refused: ReplicaId,
        /// The frames refused since the last such event: at least 1.
        count: u64,
    },
    /// A node of the cluster was given another number of partitions or another mode, or relays while
    /// this one does not, or the reverse. Told of an address once a minute.
    ShapeMismatch {
        /// The address of the node.
        from: Address,
        /// The shape of this node.
        ours: Shape,
        /// The shape of that node.
        theirs: Shape,
        /// The frames refused since the last such event: at least 1.
        count: u64,
    },
    /// An answer is longer than a frame; its asker does not get the entries, and is told so
    /// ([`Refused`](Self::Refused)). Told of a partition once a minute.
    AnswerTooLong {
        /// The partition of the entries.
        partition: u16,
        /// The length of the answer.
        bytes: usize,
        /// The address of the node that was the first to ask.
        to: Address,
        /// The questions without an answer since the last such event: at least 1.
        count: u64,
    },
    /// Frames of an address have no valid seal of this cluster, or break the format. Told once a minute
    /// of an address and a rule.
    Unreadable {
        /// The address.
        from: Address,
        /// The rule that is broken, in words, by the first of the frames.
        what: String,
        /// The frames refused since the last such event: at least 1.
        count: u64,
    },
    /// A replica asks for entries more often than any that follows the protocol; its further questions
    /// are dropped until the next beat. Told of a replica once a minute.
    TooManyPulls {
        /// The replica that asks.
        from: ReplicaId,
        /// The frames refused since the last such event: at least 1.
        count: u64,
    },
    /// Frames were refused for other reasons, or from other peers, than the 1,024 that are told of one
    /// by one within a minute. Told once a minute.
    OthersRefused {
        /// The frames refused since the last such event: at least 1.
        count: u64,
    },
    /// Diffs that were not fetched took more bytes than
    /// [`diffs_bytes_max`](crate::PresenceConfig::diffs_bytes_max) and are gone, or one lost
    /// versions that came and went ([`Diff::is_lossy`](crate::Diff::is_lossy)). The lists are
    /// right: read them again, with [`list_with_diffs`](crate::Presence::list_with_diffs). Told
    /// once, however often it happened since events were polled.
    DiffsDropped,
}

impl Event {
    /// Returns how many frames were refused, if it is about a refusal; 1 for each other event. O(1).
    ///
    /// ```
    /// use headcount::replica::Event;
    /// assert_eq!(Event::OthersRefused { count: 7 }.count(), 7);
    /// assert_eq!(Event::DiffsDropped.count(), 1);
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Refused { count, .. }
            | Self::SecondSelf { count, .. }
            | Self::HandleCollision { count, .. }
            | Self::PeerLimit { count, .. }
            | Self::ShapeMismatch { count, .. }
            | Self::AnswerTooLong { count, .. }
            | Self::Unreadable { count, .. }
            | Self::TooManyPulls { count, .. }
            | Self::OthersRefused { count } => *count,
            _ => 1,
        }
    }

    /// Replaces the count of a refusal.
    pub(super) fn with_count(mut self, new: u64) -> Self {
        if let Self::Refused { count, .. }
        | Self::SecondSelf { count, .. }
        | Self::HandleCollision { count, .. }
        | Self::PeerLimit { count, .. }
        | Self::ShapeMismatch { count, .. }
        | Self::AnswerTooLong { count, .. }
        | Self::Unreadable { count, .. }
        | Self::TooManyPulls { count, .. }
        | Self::OthersRefused { count } = &mut self
        {
            *count = new;
        }
        self
    }
}
