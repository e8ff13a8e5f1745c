//! Messages in a row into a presence that has peers.

use std::time::Duration;

use headcount::codec::{Envelope, Shape};
use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};

use super::{Message, steps};

/// Steps of a kind and the body of a message: whole frames of a neighbour, with some time between
/// them. A refused one changes nothing, and after each the lists agree with the counts.
pub fn hear(data: &[u8]) {
    let id = ReplicaId::new("here", 1, 1).expect("a valid id");
    let presence = Presence::new(id, PresenceConfig::default());
    let entry = NewEntry::new("room", "ann", "conn");
    presence.track(&entry).expect("within limits");
    let envelope = Envelope::new("headcount", None, Shape::default());
    let mut now = Duration::from_secs(1);
    for (kind, body) in steps(data) {
        now += Duration::from_millis(40);
        presence.handle_timeout(now);
        let before = (presence.clocks(), presence.replicas());
        let frame = Message::read(kind, body).seal(&envelope);
        if presence.handle_message(now, "there", &frame).is_err() {
            let after = (presence.clocks(), presence.replicas());
            assert_eq!(before, after, "changed by a refused frame");
        }
        presence.handle_timeout(now);
        while presence.poll_transmit().is_some() {}
        while presence.poll_event().is_some() {}
        while let Some(diff) = presence.poll_diff() {
            for topic in &diff {
                let listed = presence.list(&topic.topic).map(|list| list.len());
                assert_eq!(presence.count(&topic.topic), listed, "{}", topic.topic);
            }
        }
        assert_eq!(
            presence.count("room"),
            presence.list("room").map(|list| list.len())
        );
    }
}
