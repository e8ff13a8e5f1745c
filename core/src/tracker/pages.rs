//! Lists of large topics in pages: between two of them the tracker may change.

use super::Tracker;
use super::entry::Entry;
use super::read::Sessions;
use super::slice::Slice;

/// A list of a topic that is read in pages, with changes in between. See [`Slice`].
///
/// An entry that is tracked from the first page to the last comes once, one that joins or leaves
/// meanwhile at most once.
///
/// ```
/// use headcount::tracker::Pages;
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// for n in 0..10 {
///     tracker.track(&NewEntry::new("room", &format!("user {n}"), "conn"))?;
/// }
/// let mut pages = Pages::begin(&tracker, "room");
/// let mut seen = 0;
/// assert!(!pages.step(&tracker, 4, |_| seen += 1).done);
/// assert_eq!(seen, 4);
/// tracker.track(&NewEntry::new("room", "late", "conn"))?;
/// while !pages.step(&tracker, 4, |_| seen += 1).done {}
/// assert_eq!(seen, 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pages {
    topic: Box<str>,
    /// Hashes of the keys still to come, the next one last. Keys come and go, a hash stays.
    hashes: Vec<u32>,
    down_too: bool,
}

impl Pages {
    /// Begins a list of a topic. Copies four bytes a key. O(keys x log keys).
    #[must_use]
    pub fn begin(tracker: &Tracker, topic: &str) -> Self {
        Self::collect(tracker, topic).sorted()
    }

    /// Does the part of [`begin`](Self::begin) that needs the tracker; [`sorted`](Self::sorted) is
    /// the rest. O(keys).
    pub(crate) fn collect(tracker: &Tracker, topic: &str) -> Self {
        let found = tracker.state.store().find_topic(topic);
        let hashes = found.map_or_else(Vec::new, |topic| topic.key_hashes().collect());
        Self {
            topic: topic.into(),
            hashes,
            down_too: false,
        }
    }

    /// Adds the entries of replicas that are down, which no other read shows: to look into a
    /// cluster, not to show who is here.
    ///
    /// ```
    /// use headcount::tracker::Pages;
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
    /// a.track(&NewEntry::new("room", "ann", "conn"))?;
    /// b.apply(&a.delta_since(a.id(), 0).unwrap())?;
    /// b.set_hidden(a.id(), true);
    /// assert_eq!(b.list("room").count(), 0);
    /// let mut seen = 0;
    /// assert!(Pages::begin(&b, "room").down_too().step(&b, 4, |_| seen += 1).done);
    /// assert_eq!(seen, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn down_too(mut self) -> Self {
        self.down_too = true;
        self
    }

    /// Brings each hash once, in about the order of the table, so that a page reads near memory.
    pub(crate) fn sorted(mut self) -> Self {
        let place_bits = (self.hashes.len() * 8 / 7)
            .next_power_of_two()
            .trailing_zeros();
        self.hashes
            .sort_unstable_by_key(|hash| hash.rotate_right(place_bits));
        self.hashes.dedup();
        self
    }

    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Calls `each` for the visible entries of the next `keys_max` keys (at least one), without
    /// copying. O(their sessions).
    pub fn step(
        &mut self,
        tracker: &Tracker,
        keys_max: usize,
        mut each: impl FnMut(Entry<'_>),
    ) -> Slice {
        let rest = self.hashes.len().saturating_sub(keys_max.max(1));
        if let Some(topic) = tracker.state.store().find_topic(&self.topic) {
            for &hash in self.hashes[rest..].iter().rev() {
                for first in topic.first_sessions_of(hash) {
                    let sessions = Sessions::new(&tracker.state, first);
                    sessions.down_too(self.down_too).for_each(&mut each);
                }
            }
        }
        self.hashes.truncate(rest);
        Slice::silent(rest == 0)
    }
}
