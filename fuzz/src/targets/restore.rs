//! Bytes into a presence that starts from a snapshot.

use headcount::codec::{Envelope, Kind};
use headcount::presence::RestoreError;
use headcount::{Diff, NewEntry, Presence, PresenceConfig, ReplicaId};

use super::{GROWTH, within};
use crate::meter::peak_of;

/// Bytes of an empty presence, and room for an error.
const EMPTY: usize = 128 * 1024;

/// The first byte says whether the rest is a snapshot or the body of one. A presence that tracks
/// the entries in it gives a snapshot with as many.
pub fn restore(data: &[u8]) {
    let Some((&sealed, bytes)) = data.split_first() else {
        return;
    };
    let snapshot = match sealed % 2 {
        0 => bytes.to_vec(),
        _ => Envelope::default().seal(Kind::SNAPSHOT, None, bytes),
    };
    let (restored, peak) = peak_of(|| restored(&snapshot));
    let bound = EMPTY + GROWTH * snapshot.len();
    assert!(
        peak <= bound,
        "{} bytes cost {peak}, over {bound}",
        snapshot.len()
    );
    match restored {
        Ok((presence, entries)) => {
            assert!(presence.is_empty(), "it offers what it had before");
            for topic in &entries {
                for join in &topic.joins {
                    let key = join.key();
                    let entry =
                        NewEntry::bytes(&topic.topic, key.bytes, join.owner(), key.encoding);
                    let entry = entry.meta(join.meta()).status(join.status());
                    presence.track(&entry).expect("it was tracked before");
                }
            }
            let (_, again) = self::restored(&presence.snapshot()).expect("it is sound");
            let count = |diff: &Diff| diff.iter().map(|topic| topic.joins.len()).sum::<usize>();
            assert_eq!(count(&entries), count(&again));
        }
        Err(RestoreError::Decode(error)) => within(&snapshot, Err::<(), _>(error)),
        Err(_) => {}
    }
}

fn restored(snapshot: &[u8]) -> Result<(Presence, Diff), RestoreError> {
    let id = ReplicaId::new("here", 1, 1).expect("a valid id");
    Presence::restore(id, PresenceConfig::default(), snapshot)
}
