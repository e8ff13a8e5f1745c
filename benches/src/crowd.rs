//! The workload of the tracker benches: a crowd of sessions in random order.

use headcount::{NewEntry, ReplicaId, Tracker};

/// The number of sessions that share a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// 100 sessions in each topic.
    HundredPerTopic,
    /// All sessions in one topic.
    OneTopic,
}

/// Sessions with 20-byte keys, 8-byte owners (one owner each) and 32-byte metas, in random order.
#[derive(Debug)]
pub struct Crowd {
    topics: Vec<String>,
    keys: Vec<String>,
    owners: Vec<String>,
    meta: [u8; 32],
}

impl Crowd {
    /// Makes `n` sessions, the same in every call.
    #[must_use]
    pub fn new(n: usize, layout: Layout) -> Self {
        let mut order: Vec<usize> = (0..n).collect();
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        for i in (1..n).rev() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            order.swap(i, (state >> 33) as usize % (i + 1));
        }
        let topic = |i: usize| match layout {
            Layout::HundredPerTopic => format!("room:{:05}", i / 100),
            Layout::OneTopic => "room:city".to_owned(),
        };
        Self {
            topics: order.iter().map(|&i| topic(i)).collect(),
            keys: order.iter().map(|i| format!("user:{i:015}")).collect(),
            owners: order.iter().map(|i| format!("c{i:07}")).collect(),
            meta: [0x2E; 32],
        }
    }

    /// Returns the number of sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether there are no sessions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Iterates over the sessions in the form that a tracker takes.
    pub fn entries(&self) -> impl Iterator<Item = NewEntry<'_>> {
        let places = self.topics.iter().zip(&self.keys).zip(&self.owners);
        places.map(|((topic, key), owner)| NewEntry::new(topic, key, owner).meta(&self.meta))
    }

    /// Iterates over the 20-byte keys, for rivals without topics.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Returns the meta of every session.
    #[must_use]
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// Returns topic, key and owner of a session.
    #[must_use]
    pub fn place(&self, i: usize) -> (&str, &str, &str) {
        (&self.topics[i], &self.keys[i], &self.owners[i])
    }

    /// Makes a tracker in which all sessions are tracked.
    ///
    /// # Panics
    /// Never: the sessions are valid and different.
    #[must_use]
    pub fn tracked(&self) -> Tracker {
        let mut tracker = empty("bench");
        for entry in self.entries() {
            tracker
                .track(&entry)
                .expect("sessions are valid and different");
        }
        tracker
    }
}

/// Makes an empty tracker.
///
/// # Panics
/// If the name is empty or too long.
#[must_use]
pub fn empty(name: &str) -> Tracker {
    Tracker::new(ReplicaId::new(name, 1, 0).expect("a short name"))
}
