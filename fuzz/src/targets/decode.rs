//! Bytes into every decoder of presence frames.

use std::time::Duration;

use bytes::Bytes;
use headcount::codec::{Envelope, Kind};
use headcount::replica::{Config, Replica};
use headcount::tracker::{DeltaHead, RepairHead};
use headcount::{ReplicaId, Tracker};

use super::{bounded, within};

/// The first byte is a kind, the rest is taken as a frame, as a body of that kind, and as the
/// fields of that body. Every decoder answers or refuses; an offset lies within the input.
pub fn decode(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    let envelope = Envelope::default();
    let opened = bounded("Envelope::open", bytes, || {
        envelope.open(bytes).map(|(_, body)| body)
    });
    within(bytes, opened);
    within(
        bytes,
        bounded("Tracker::frame_slot", bytes, || Tracker::frame_slot(bytes)),
    );
    within(
        bytes,
        bounded("DeltaHead::decode", bytes, || DeltaHead::decode(bytes)),
    );
    within(
        bytes,
        bounded("RepairHead::decode", bytes, || RepairHead::decode(bytes)),
    );
    let sealed = envelope.seal(Kind(kind), bytes);
    let (opened, body) = envelope.open(&sealed).expect("what was sealed opens");
    assert_eq!((opened, body), (Kind(kind), bytes));
    message(&Bytes::copy_from_slice(bytes));
    message(
        &Envelope::new("headcount", None)
            .seal(Kind(kind), bytes)
            .into(),
    );
}

/// Lets a replica hear a frame: it answers or refuses, and works on.
fn message(frame: &Bytes) {
    let id = ReplicaId::new("here", 1, 1).expect("a valid id");
    let mut replica = Replica::new(id, Config::default(), 1);
    let now = Duration::from_secs(1);
    replica.handle_timeout(now);
    let refused = replica.handle_message(now, "there", frame).is_err();
    replica.handle_timeout(now + Duration::from_secs(30));
    while replica.poll_transmit().is_some() {}
    while replica.poll_action().is_some() {}
    if refused {
        assert_eq!(
            replica.replicas().count(),
            0,
            "a refused frame made a replica known"
        );
    }
}
