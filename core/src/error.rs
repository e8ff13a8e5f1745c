//! The errors of a tracker, public as `tracker::TrackError`, `tracker::ApplyError`, of reads of a
//! presence, public as `presence::ReadError`, and of signals, public as `replica::SignalError`.

use std::fmt;

use crate::codec::DecodeError;

/// The text of the errors of a node that has stopped.
pub(crate) const STOPPED: &str = "the node has stopped";

/// The reason why a tracker refused a local operation. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackError {
    /// This (topic, key, owner) is tracked already.
    AlreadyTracked,
    /// This (topic, key, owner) is not tracked.
    NotTracked,
    /// The topic is too long.
    TopicTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The key is too long.
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The owner is too long.
    OwnerTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The meta is too large.
    MetaTooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The encoding is text, but the key or the owner is not valid UTF-8.
    NotUtf8,
    /// The owner has as many entries as the limit allows.
    OwnerFull {
        /// The limit of entries per owner.
        max: u32,
    },
    /// The tracker has as many entries as the limit allows.
    TooManyEntries {
        /// The limit of entries.
        max: u32,
    },
    /// The topic does not hash to the partition of this tracker.
    WrongPartition {
        /// The partition of the topic.
        topic_partition: u16,
        /// The partition of the tracker.
        tracker_partition: u16,
    },
    /// The operation counter of this incarnation is used up (2^62 operations).
    ClockExhausted,
    /// The `runtime::Node` has stopped. A tracker or a presence never says so.
    Stopped,
}

impl fmt::Display for TrackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyTracked => write!(f, "this topic, key and owner are tracked already"),
            Self::NotTracked => write!(f, "this topic, key and owner are not tracked"),
            Self::TopicTooLong { len, max } => {
                write!(f, "topic has {len} bytes, at most {max} are allowed")
            }
            Self::KeyTooLong { len, max } => {
                write!(f, "key has {len} bytes, at most {max} are allowed")
            }
            Self::OwnerTooLong { len, max } => {
                write!(f, "owner has {len} bytes, at most {max} are allowed")
            }
            Self::MetaTooLarge { len, max } => {
                write!(f, "meta has {len} bytes, at most {max} are allowed")
            }
            Self::NotUtf8 => write!(f, "encoding is text but key or owner is not UTF-8"),
            Self::OwnerFull { max } => write!(f, "the owner has {max} entries already"),
            Self::TooManyEntries { max } => write!(f, "the tracker holds {max} entries already"),
            Self::WrongPartition {
                topic_partition,
                tracker_partition,
            } => write!(
                f,
                "topic belongs to partition {topic_partition}, the tracker is of partition \
                 {tracker_partition}"
            ),
            Self::ClockExhausted => write!(f, "the operation counter is used up"),
            Self::Stopped => f.write_str(STOPPED),
        }
    }
}

impl std::error::Error for TrackError {}

/// The reason why a tracker did not apply a frame. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApplyError {
    /// The bytes are not a valid frame.
    Decode(DecodeError),
    /// The frame starts after this tracker's clock of the origin. Pull the operations in between.
    Gap {
        /// The clock of the origin at this tracker.
        clock: u64,
        /// The clock that the frame starts from.
        from: u64,
    },
    /// The tracker is applying a repair of this origin in slices. Other frames of the origin must
    /// wait.
    Applying,
    /// The tracker knows a later incarnation of the same name.
    Superseded,
    /// The frame is about this tracker's own origin.
    OwnOrigin,
    /// The frame contradicts the state at an equal clock: two histories of one origin.
    Diverged {
        /// The op at which they differ.
        op: u64,
    },
    /// The frame is for another share of the topics than this tracker's: another partition, or one
    /// of another number of partitions.
    WrongPartition {
        /// The partition of the frame, and the number of partitions.
        frame: (u16, u32),
        /// The partition of the tracker, and the number of partitions.
        tracker: (u16, u32),
    },
    /// The tracker knows as many origins as its limit allows.
    TooManyOrigins {
        /// The limit.
        max: u16,
    },
    /// The frame would bring the tracker above its limit of entries.
    TooManyEntries {
        /// The limit.
        max: u32,
    },
    /// The origin cannot send its entries of a partition: one of them is longer than its frames.
    TooLong {
        /// The length of the entry, in bytes.
        len: u64,
    },
}

impl ApplyError {
    /// Returns the rule that the frame breaks: two frames may break the same one, each in its way.
    pub(crate) fn rule(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.kind.rule(),
            Self::Gap { .. } => "gap",
            Self::Applying => "applying",
            Self::Superseded => "superseded",
            Self::OwnOrigin => "own_origin",
            Self::Diverged { .. } => "diverged",
            Self::WrongPartition { .. } => "wrong_partition",
            Self::TooManyOrigins { .. } => "too_many_origins",
            Self::TooManyEntries { .. } => "too_many_entries",
            Self::TooLong { .. } => "entry_too_long",
        }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => write!(f, "bad frame: {error}"),
            Self::Gap { clock, from } => {
                write!(f, "gap: the frame starts at {from}, the clock is {clock}")
            }
            Self::Applying => write!(f, "a repair of this origin is being applied"),
            Self::Superseded => write!(f, "a later incarnation of this replica is known"),
            Self::OwnOrigin => write!(f, "the frame is about this replica itself"),
            Self::Diverged { op } => write!(f, "two histories of one origin differ at {op}"),
            Self::WrongPartition { frame, tracker } => write!(
                f,
                "frame is for partition {} of {}, the tracker for {} of {}",
                frame.0, frame.1, tracker.0, tracker.1
            ),
            Self::TooManyOrigins { max } => write!(f, "{max} origins are known already"),
            Self::TooManyEntries { max } => write!(f, "more than {max} entries"),
            Self::TooLong { len } => {
                write!(
                    f,
                    "an entry of {len} bytes is longer than a frame of the origin"
                )
            }
        }
    }
}

impl std::error::Error for ApplyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Decode(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DecodeError> for ApplyError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// The reason why a presence cannot read a topic, in mode
/// [`Interest`](crate::replica::Mode::Interest): what others have in it is not held, or not all of
/// it. In mode [`All`](crate::replica::Mode::All) every topic can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The topic is not watched: call [`watch`](crate::Presence::watch) first.
    NotWatched {
        /// The topic.
        topic: Box<str>,
    },
    /// The topic is watched, and some replicas have not told what they have in it: wait for
    /// [`TopicReady`](crate::replica::Event::TopicReady).
    NotReady {
        /// The topic.
        topic: Box<str>,
    },
    /// The `runtime::Node` has stopped: what it holds no longer changes. A presence never says so.
    Stopped,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWatched { topic } => write!(f, "topic {topic:?} is not watched"),
            Self::NotReady { topic } => {
                write!(f, "topic {topic:?} is watched, but not ready to be read")
            }
            Self::Stopped => f.write_str(STOPPED),
        }
    }
}

impl std::error::Error for ReadError {}

/// The reason why a [`Signal`](crate::replica::Signal) was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalError {
    /// The topic is too long.
    TopicTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The key is too long.
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The payload is too long.
    PayloadTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The `runtime::Node` has stopped. A presence never says so.
    Stopped,
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, len, max) = match self {
            Self::TopicTooLong { len, max } => ("topic", len, max),
            Self::KeyTooLong { len, max } => ("key", len, max),
            Self::PayloadTooLong { len, max } => ("payload", len, max),
            Self::Stopped => return f.write_str(STOPPED),
        };
        write!(
            f,
            "{what} of a signal has {len} bytes, at most {max} are allowed"
        )
    }
}

impl std::error::Error for SignalError {}
