//! Helpers for single trackers: make one, bring one up to date, list one.

use headcount::{ReplicaId, Tracker};

pub(crate) fn tracker(name: &str) -> Tracker {
    Tracker::new(ReplicaId::new(name, 1, 0).unwrap())
}

/// Brings `to` up to date with everything that `from` holds.
pub(crate) fn sync(from: &Tracker, to: &mut Tracker) {
    for info in from.origins().collect::<Vec<_>>() {
        if info.replica.name() == to.id().name() {
            continue;
        }
        if let Some(frame) = from.delta_since(&info.replica, to.clock(&info.replica)) {
            to.apply(&frame).unwrap();
        }
    }
}

type Row = (Vec<u8>, Vec<u8>, Vec<u8>, u8);

/// Returns (key, owner, meta, status) of all visible entries of a topic, sorted.
pub(crate) fn listed(tracker: &Tracker, topic: &str) -> Vec<Row> {
    let row = |e: headcount::Entry<'_>| {
        (
            e.key().bytes.to_vec(),
            e.owner().to_vec(),
            e.meta().to_vec(),
            e.status(),
        )
    };
    let mut rows: Vec<_> = tracker.list(topic).map(row).collect();
    rows.sort();
    rows
}
