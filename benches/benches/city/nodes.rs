//! Two nodes and the line between them, in simulated time: frames arrive at once.

use std::time::Duration;

use headcount::replica::Event;
use headcount::{Diff, NewEntry, Presence, PresenceConfig, ReplicaId, Status};

pub(crate) const TOPIC: &str = "city";

/// One step of simulated time.
const STEP: Duration = Duration::from_millis(5);

/// A session's meta, as chat servers have them.
const META: &[u8] = br#"{"device":"web","joined":1}"#;

/// The node where the users are connected, and a node that only watches.
pub(crate) struct Nodes {
    pub(crate) home: Presence,
    pub(crate) other: Presence,
    /// The changes that the other node was told of, until they are taken.
    pub(crate) diffs: Vec<Diff>,
    now: Duration,
    /// The bytes that the home node has sent.
    pub(crate) sent: usize,
}

fn presence(name: &str, seed: u64) -> Presence {
    let id = ReplicaId::new(name, 1, 0).expect("a short name");
    Presence::new(id, PresenceConfig::default().seed(seed))
}

/// The texts by which a user is tracked.
pub(crate) struct Session {
    key: String,
    owner: String,
}

impl Session {
    pub(crate) fn of(user: u64) -> Self {
        Self {
            key: user.to_string(),
            owner: format!("c{user}"),
        }
    }

    fn entry(&self, status: Status) -> NewEntry<'_> {
        NewEntry::new(TOPIC, &self.key, &self.owner)
            .meta(META)
            .status(status as u8)
    }
}

impl Nodes {
    pub(crate) fn new() -> Self {
        Self {
            home: presence("home", 1),
            other: presence("other", 2),
            diffs: Vec::new(),
            now: Duration::ZERO,
            sent: 0,
        }
    }

    /// Tracks a user at home.
    pub(crate) fn join(&self, user: u64) {
        let entry = Session::of(user);
        let tracked = self.home.track(&entry.entry(Status::Online));
        tracked.expect("a new session");
    }

    /// Changes the status of a user at home.
    pub(crate) fn set_status(&self, session: &Session, status: Status) {
        let updated = self.home.update(&session.entry(status));
        updated.expect("a tracked session");
    }

    /// Lets time pass and carries all frames, both ways.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.home.handle_timeout(self.now);
            self.other.handle_timeout(self.now);
            while let Some(frame) = self.home.poll_transmit() {
                self.sent += frame.frame.len();
                let heard = self.other.handle_message(self.now, "home", &frame.frame);
                heard.expect("a good frame");
            }
            while let Some(frame) = self.other.poll_transmit() {
                let heard = self.home.handle_message(self.now, "other", &frame.frame);
                heard.expect("a good frame");
            }
            while let Some(event) = self.other.poll_event() {
                assert_ne!(event, Event::DiffsDropped);
            }
            let diffs = std::iter::from_fn(|| self.other.poll_diff());
            self.diffs.extend(diffs);
        }
    }

    /// Lets time pass until the other node was told of as many users.
    pub(crate) fn replicate(&mut self, users: usize) {
        for _ in 0..10_000 {
            self.pass(Duration::from_millis(50));
            let topics = self.diffs.iter().filter_map(|diff| diff.topic(TOPIC));
            let joined: usize = topics.map(|topic| topic.joins.len()).sum();
            if joined == users {
                return;
            }
        }
        panic!("{:?} of {users} arrived", self.other.count(TOPIC));
    }
}
