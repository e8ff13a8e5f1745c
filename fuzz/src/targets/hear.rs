//! Messages in a row into a presence that has peers.

use std::time::Duration;

use headcount::codec::{Envelope, Mode, Shape};
use headcount::replica::Config;
use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};

use super::{Message, steps};

/// What a presence holds of others. Each hears the same messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Everything,
    /// It passes frames on besides.
    Relayed,
    Watched,
    Counted,
}

impl Holds {
    pub(crate) const ALL: [Self; 4] = [
        Self::Everything,
        Self::Relayed,
        Self::Watched,
        Self::Counted,
    ];

    pub(crate) fn config(self) -> Config {
        match self {
            Self::Everything => Config::default(),
            Self::Relayed => Config::default().relay(true),
            Self::Watched => Config::default().mode(Mode::Interest),
            Self::Counted => Config::default().mode(Mode::Interest).counts(true),
        }
    }

    /// Returns the envelope of the frames of such a cluster.
    pub(crate) fn envelope(self) -> Envelope {
        let shape = match self {
            Self::Everything => Some(Shape::default()),
            Self::Relayed => Shape::default().with_relay(),
            Self::Watched => Shape::new(32, Mode::Interest),
            Self::Counted => Shape::new(32, Mode::Interest).and_then(Shape::with_counts),
        };
        Envelope::new("headcount", None, shape.expect("a valid shape"))
    }
}

/// Steps of a kind and the body of a message: whole frames of a neighbour, with some time between
/// them. A refused one changes nothing, and after each the lists agree with the counts.
pub fn hear(data: &[u8]) {
    for holds in Holds::ALL {
        hear_as(holds, data);
    }
}

fn hear_as(holds: Holds, data: &[u8]) {
    let id = ReplicaId::new("here", 1, 1).expect("a valid id");
    let config = PresenceConfig::default().replication(holds.config());
    let presence = Presence::new(id, config);
    let entry = NewEntry::new("room", "ann", "conn");
    presence.track(&entry).expect("within limits");
    let envelope = holds.envelope();
    let mut now = Duration::from_secs(1);
    presence.watch(now, "room");
    presence.watch_counts(now, "hall");
    for (n, (kind, body)) in steps(data).enumerate() {
        now += Duration::from_millis(40);
        presence.handle_timeout(now);
        // A watch ends and begins again now and then.
        match n % 16 {
            7 => presence.unwatch(now, "room"),
            11 => presence.watch(now, "room"),
            _ => {}
        }
        let before = (presence.clocks(), presence.replicas());
        let frame = Message::read(kind, body).seal(&envelope);
        if presence.handle_message(now, "there", &frame).is_err() {
            let after = (presence.clocks(), presence.replicas());
            assert_eq!(before, after, "changed by a refused frame");
        }
        presence.handle_timeout(now);
        while presence.poll_transmit().is_some() {}
        while presence.poll_subscription().is_some() {}
        while presence.poll_event().is_some() {}
        while let Some(diff) = presence.poll_diff() {
            diff.iter().for_each(|diff| check(&presence, &diff.topic));
        }
        check(&presence, "room");
        check(&presence, "hall");
    }
}

/// Checks that what can be read of a topic agrees.
fn check(presence: &Presence, topic: &str) {
    let keys = presence.count_keys(topic).ok();
    assert!(
        keys.is_none_or(|keys| keys.at_least <= keys.at_most),
        "{keys:?} of {topic}"
    );
    if let Ok(listed) = presence.list(topic) {
        assert_eq!(presence.count(topic), Ok(listed.len()), "{topic}");
        assert!(keys.is_some_and(|keys| keys.exact().is_some()), "{topic}");
    }
}
