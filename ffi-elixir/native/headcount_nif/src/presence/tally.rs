//! What happened to a tracker since its start, as a term.

use std::collections::BTreeMap;

use headcount::replica::{Tally, Traffic};

/// `[{kind, frames, bytes}]`
type ByKind = Vec<(&'static str, u64, u64)>;

/// What was sent, what was received, `[{reason, frames}]` of what was refused, and how often a node came, went, or had
/// other entries, and entries were refused.
pub(super) type Counted = (
    ByKind,
    ByKind,
    Vec<(&'static str, u64)>,
    (u64, u64, u64, u64),
);

pub(super) fn counted(tally: &Tally) -> Counted {
    let refused = tally.refused.iter();
    (
        by_kind(&tally.sent),
        by_kind(&tally.received),
        refused.map(|(reason, frames)| (*reason, *frames)).collect(),
        (
            tally.ups,
            tally.downs,
            tally.divergences,
            tally.refused_entries,
        ),
    )
}

fn by_kind(traffic: &BTreeMap<&'static str, Traffic>) -> ByKind {
    let traffic = traffic.iter();
    traffic
        .map(|(kind, traffic)| (*kind, traffic.frames, traffic.bytes))
        .collect()
}
