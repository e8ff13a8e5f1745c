//! Bytes into every decoder of presence frames.

use std::time::Duration;

use bytes::Bytes;
use headcount::codec::{DecodeError, Envelope, Kind, Shape};
use headcount::tracker::{DeltaHead, RepairHead};
use headcount::{Presence, PresenceConfig, ReplicaId};

use super::{Message, bounded, within};

/// The first byte is a kind, the rest is taken as a frame, as a body of that kind, and as the
/// fields of that body. Every decoder answers or refuses; an offset lies within the input.
pub fn decode(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    let envelope = Envelope::default();
    let opened = bounded("Envelope::open", bytes, || {
        envelope.open(bytes).map_err(DecodeError::from)
    });
    within(bytes, opened);
    within(
        bytes,
        bounded("DeltaHead::decode", bytes, || DeltaHead::decode(bytes)),
    );
    within(
        bytes,
        bounded("RepairHead::decode", bytes, || RepairHead::decode(bytes)),
    );
    let sealed = envelope.seal(Kind(kind), None, bytes);
    let opened = envelope.open(&sealed).expect("what was sealed opens");
    assert_eq!((opened.kind, opened.body), (Kind(kind), bytes));
    hear(&Bytes::copy_from_slice(bytes));
    let envelope = Envelope::new("headcount", None, Shape::default());
    hear(&Message::read(kind, bytes).seal(&envelope));
}

/// Lets a presence hear a frame: it answers or refuses, and works on.
fn hear(frame: &Bytes) {
    let id = ReplicaId::new("here", 1, 1).expect("a valid id");
    let presence = Presence::new(id, PresenceConfig::default());
    let now = Duration::from_secs(1);
    presence.handle_timeout(now);
    let refused = presence.handle_message(now, "there", frame).is_err();
    presence.handle_timeout(now + Duration::from_secs(30));
    while presence.poll_transmit().is_some() {}
    if refused {
        let known = presence.replicas();
        assert!(known.is_empty(), "a refused frame made a replica known");
    }
}
