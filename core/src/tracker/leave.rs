//! Leaves: versions of entries that are over, and the reasons for it.

use super::entry::{EntryBuf, Key};

/// The reason for which a version of an entry is over.
///
/// The first three are said by the replica that held the entry, and travel with the leave. The
/// others are what this holder knows of the end.
///
/// ```
/// use headcount::tracker::LeaveReason;
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
/// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
/// a.track(&NewEntry::new("room", "bob", "conn-2"))?;
/// b.apply(&a.delta_since(a.id(), 0).unwrap())?;
///
/// a.untrack("room", "ann", "conn-1"); // ann left the room
/// a.untrack_owner("conn-2"); // bob's connection broke
/// let diff = b.apply(&a.delta_since(a.id(), b.clock(a.id())).unwrap())?;
/// let leaves = &diff.topic("room").unwrap().leaves;
/// assert_eq!((leaves[0].entry.key_str(), leaves[0].reason), (Some("ann"), LeaveReason::Untracked));
/// assert_eq!((leaves[1].entry.key_str(), leaves[1].reason), (Some("bob"), LeaveReason::OwnerGone));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum LeaveReason {
    /// A program untracked the entry.
    Untracked = 0,
    /// A program untracked the owner of the entry: the connection closed, or the process ended. So
    /// it is too when the grace of a lost owner ends.
    OwnerGone = 1,
    /// The lease of the entry, or of its owner, ran out.
    Expired = 2,
    /// A later version of the entry follows. [`Update::old`](super::Update::old) is over for this
    /// reason too.
    Updated = 3,
    /// The replica of the entry went down: it was silent for `down_after`, or its transport said
    /// that it is gone. The entry joins again if the replica comes back with it.
    ReplicaDown = 4,
    /// The replica of the entry said Goodbye.
    ReplicaLeft = 5,
    /// A later start of the replica took its place and, until the grace ended, did not put the
    /// entry again.
    ReplicaReplaced = 6,
    /// The program dropped the replica ([`Tracker::forget`](super::Tracker::forget),
    /// [`Tracker::retire`](super::Tracker::retire)) while the entry was visible. A
    /// [`Presence`](crate::Presence) hides a replica before it forgets it: its reason is
    /// [`ReplicaDown`](Self::ReplicaDown).
    ReplicaForgotten = 7,
    /// Nothing says why. This holder missed the leave, and a later state of the replica no longer
    /// has the entry; or the replica runs a later version of headcount, with a reason that this one
    /// does not know.
    Unknown = 8,
}

impl LeaveReason {
    /// Returns the name of the reason, as serde, Elixir and Python have it: `"owner_gone"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untracked => "untracked",
            Self::OwnerGone => "owner_gone",
            Self::Expired => "expired",
            Self::Updated => "updated",
            Self::ReplicaDown => "replica_down",
            Self::ReplicaLeft => "replica_left",
            Self::ReplicaReplaced => "replica_replaced",
            Self::ReplicaForgotten => "replica_forgotten",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the reason with this number on the wire, where only the origin's reasons have one.
    pub(super) const fn from_wire(number: u8) -> Self {
        match number {
            0 => Self::Untracked,
            1 => Self::OwnerGone,
            2 => Self::Expired,
            _ => Self::Unknown,
        }
    }
}

/// A version of an entry that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Leave {
    /// The version, as it was.
    pub entry: EntryBuf,
    /// The reason for which it is over.
    pub reason: LeaveReason,
}

impl Leave {
    /// Returns the key of the entry.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        self.entry.key()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reasons_of_an_origin_have_numbers_on_the_wire() {
        use LeaveReason::{Expired, OwnerGone, Unknown, Untracked};
        for reason in [Untracked, OwnerGone, Expired] {
            assert_eq!(LeaveReason::from_wire(reason as u8), reason);
        }
        assert!((3..=u8::MAX).all(|number| LeaveReason::from_wire(number) == Unknown));
    }
}
