//! The knowledge of a tracker: one clock per origin.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::id::Origin;

/// A clock per origin. It describes a state exactly: equal vectors mean equal entries.
///
/// ```
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// let before = a.version_vector();
/// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
/// assert!(before < a.version_vector());
/// assert_eq!(a.version_vector().get(&a.origin()), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct VersionVector {
    /// Clocks above 0.
    clocks: BTreeMap<Origin, u64>,
}

impl VersionVector {
    /// Returns the clock of an origin; 0 when it is unknown. O(log origins).
    #[must_use]
    pub fn get(&self, origin: &Origin) -> u64 {
        self.clocks.get(origin).copied().unwrap_or(0)
    }

    /// Returns the origins known, with their clocks, in the order of the origins.
    pub fn iter(&self) -> impl Iterator<Item = (&Origin, u64)> {
        self.clocks.iter().map(|(origin, clock)| (origin, *clock))
    }

    /// Returns the number of origins known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clocks.len()
    }

    /// Returns whether no origin is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clocks.is_empty()
    }
}

impl FromIterator<(Origin, u64)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (Origin, u64)>>(clocks: I) -> Self {
        Self {
            clocks: clocks.into_iter().filter(|(_, clock)| *clock > 0).collect(),
        }
    }
}

impl PartialOrd for VersionVector {
    /// Orders a vector before another if each of its clocks is at most that of the other. Two
    /// vectors that each have a greater clock have no order.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let covered = |a: &Self, b: &Self| a.iter().all(|(origin, clock)| clock <= b.get(origin));
        match (covered(self, other), covered(other, self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => None,
        }
    }
}
