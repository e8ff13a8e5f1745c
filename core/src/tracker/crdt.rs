//! The traits of the `crdts` crate, for the tracker as a whole.

use crdts::{CmRDT, CvRDT, VClock};

use super::{Tracker, VersionVector};
use crate::error::ApplyError;
use crate::id::Origin;

/// The operations of one origin between two clocks, as the `Op` of [`CmRDT`]: a frame of
/// [`Tracker::delta_since`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta(Vec<u8>);

impl Delta {
    /// Wraps a frame. The tracker checks it when it applies it.
    #[must_use]
    pub fn new(frame: Vec<u8>) -> Self {
        Self(frame)
    }

    /// Returns the frame.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Merging takes the newer state of each origin: that of the greater incarnation, then that of the
/// greater clock. The own origin stays as it is.
///
/// ```
/// use crdts::CvRDT;
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
/// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
/// b.track(&NewEntry::new("room", "bob", "conn-2"))?;
/// a.validate_merge(&b)?;
/// a.merge(b.clone());
/// assert_eq!(a.count("room"), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl CvRDT for Tracker {
    type Validation = ApplyError;

    /// Refuses a state of other topics, one whose clock of this tracker's own origin is ahead of
    /// the tracker, and one that differs at an equal clock.
    fn validate_merge(&self, other: &Self) -> Result<(), ApplyError> {
        let shares = [self, other].map(|tracker| tracker.state.share());
        if shares[0] != shares[1] {
            return Err(ApplyError::WrongPartition {
                frame: shares[1].place(),
                tracker: shares[0].place(),
            });
        }
        for theirs in other.origins() {
            if theirs.replica.supersedes(self.id()) {
                return Err(ApplyError::OwnOrigin);
            }
            let Some(ours) = self.origin_info(&theirs.replica) else {
                continue;
            };
            if theirs.replica == *self.id() && theirs.clock > ours.clock {
                return Err(ApplyError::OwnOrigin);
            }
            if theirs.clock == ours.clock && theirs.fingerprint != ours.fingerprint {
                return Err(ApplyError::Diverged { op: ours.clock });
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        for theirs in other.origins() {
            if theirs.replica.name() == self.id().name() {
                continue;
            }
            let clock = self.clock(&theirs.replica);
            if let Some(frame) = other.delta_since(&theirs.replica, clock) {
                // Refuses a lower incarnation than ours, as the order demands.
                let _ = self.apply(&frame);
            }
        }
    }
}

/// Operations of one origin must be applied in order; `validate_op` reports a gap.
///
/// ```
/// use crdts::CmRDT;
/// use headcount::tracker::{ApplyError, Delta};
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
/// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
/// let first = Delta::new(a.delta_since(a.id(), 0).unwrap());
/// a.untrack("room", "ann", "conn-1");
/// let second = Delta::new(a.delta_since(a.id(), 1).unwrap());
/// assert_eq!(b.validate_op(&second), Err(ApplyError::Gap { clock: 0, from: 1 }));
/// CmRDT::apply(&mut b, first);
/// assert_eq!(b.validate_op(&second), Ok(()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl CmRDT for Tracker {
    type Op = Delta;
    type Validation = ApplyError;

    fn validate_op(&self, op: &Delta) -> Result<(), ApplyError> {
        self.check_frame(&op.0)
    }

    /// Applies an operation. One that does not pass [`validate_op`](CmRDT::validate_op) changes
    /// nothing.
    fn apply(&mut self, op: Delta) {
        let _ = Self::apply(self, &op.0);
    }
}

impl From<VersionVector> for VClock<Origin> {
    fn from(vector: VersionVector) -> Self {
        Self {
            dots: vector
                .iter()
                .map(|(origin, clock)| (origin.clone(), clock))
                .collect(),
        }
    }
}

impl From<VClock<Origin>> for VersionVector {
    fn from(clock: VClock<Origin>) -> Self {
        clock.dots.into_iter().collect()
    }
}
