//! Bytes into a presence that starts from a snapshot.

use std::time::Duration;

use headcount::codec::{Envelope, Kind};
use headcount::presence::RestoreError;
use headcount::{Presence, PresenceConfig, ReplicaId};

use super::{GROWTH, within};
use crate::meter::peak_of;

/// Bytes of an empty presence of 32 slots, and room for an error.
const EMPTY: usize = 128 * 1024;

/// The first byte says whether the rest is a snapshot or the body of one. A restored presence
/// gives a snapshot that restores to the same.
pub fn restore(data: &[u8]) {
    let Some((&sealed, bytes)) = data.split_first() else {
        return;
    };
    let snapshot = match sealed % 2 {
        0 => bytes.to_vec(),
        _ => Envelope::default().seal(Kind::SNAPSHOT, bytes),
    };
    let (restored, peak) = peak_of(|| restored(&snapshot));
    let bound = EMPTY + GROWTH * snapshot.len();
    assert!(
        peak <= bound,
        "{} bytes cost {peak}, over {bound}",
        snapshot.len()
    );
    match restored {
        Ok(presence) => {
            let again = restored_from(&presence);
            assert_eq!(
                presence.clocks(),
                again.clocks(),
                "a snapshot of it restores to another"
            );
            assert_eq!(presence.len(), again.len());
        }
        Err(RestoreError::Decode(error)) => within(&snapshot, Err::<(), _>(error)),
        Err(_) => {}
    }
}

fn restored(snapshot: &[u8]) -> Result<Presence, RestoreError> {
    let id = ReplicaId::new("here", 1, 1).expect("a valid id");
    Presence::restore(id, PresenceConfig::default(), Duration::ZERO, snapshot)
}

fn restored_from(presence: &Presence) -> Presence {
    restored(&presence.snapshot()).expect("a snapshot of a presence restores")
}
