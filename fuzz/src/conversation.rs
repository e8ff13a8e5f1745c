//! What nodes say to each other.

use std::time::Duration;

use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};

use crate::targets::{Holds, Message};

/// Returns what a node is sent by another one: at its start, with a long answer, and at its end.
pub(crate) fn conversation(holds: Holds) -> Vec<Message> {
    let node = |name, seed| {
        let id = ReplicaId::new(name, 1, 1).expect("a valid id");
        let replication = holds.config().frame_max(1_024);
        let config = PresenceConfig::default();
        Presence::new(id, config.seed(seed).replication(replication))
    };
    let here = node("here", 1);
    let there = node("there", 2);
    let track = |name: &str, owner: &str| {
        let entry = NewEntry::new("room", name, owner).meta(&[b'x'; 80]);
        there.track(&entry).expect("within limits");
    };
    (0..30).for_each(|n| track(&format!("user-{n}"), "conn"));
    let hall = there.track(&NewEntry::new("hall", "bob", "conn"));
    hall.expect("within limits");
    here.watch(Duration::ZERO, "room");
    here.watch_counts(Duration::ZERO, "hall");
    let envelope = holds.envelope();
    let mut sent = Vec::new();
    for ms in (0..3_000).step_by(10) {
        let now = Duration::from_millis(ms);
        match ms {
            1_500 => track("late", "other"),
            2_000 => drop(there.untrack_owner("conn")),
            2_500 => there.leave_gracefully(now),
            _ => {}
        }
        for (name, from, to) in [("here", &here, &there), ("there", &there, &here)] {
            from.handle_timeout(now);
            while let Some(transmit) = from.poll_transmit() {
                to.handle_message(now, name, &transmit.frame)
                    .expect("they are of one cluster");
                if name == "there" {
                    sent.push(Message::of(&envelope, &transmit.frame));
                }
            }
        }
    }
    sent
}
