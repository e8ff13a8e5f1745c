//! What happened to a tracker since its start, counted.

use std::collections::BTreeMap;

use headcount::codec::{DecodeError, Kind};
use headcount::replica::Event;
use parking_lot::Mutex;

/// An amount of frames, and of their bytes.
type Traffic = (u64, u64);

/// `[{kind, frames, bytes}]`
type ByKind = Vec<(&'static str, u64, u64)>;

/// The counts as a term: what was sent, what was received, `[{reason, frames}]` of what was refused, and how often a
/// node came, went, or had other entries, and entries were refused.
pub(super) type Counted = (
    ByKind,
    ByKind,
    Vec<(&'static str, u64)>,
    (u64, u64, u64, u64),
);

#[derive(Default)]
pub(super) struct Counts(Mutex<Sums>);

#[derive(Default)]
struct Sums {
    sent: BTreeMap<&'static str, Traffic>,
    received: BTreeMap<&'static str, Traffic>,
    refused: BTreeMap<&'static str, u64>,
    ups: u64,
    downs: u64,
    divergences: u64,
    refused_entries: u64,
}

impl Counts {
    pub(super) fn sent(&self, frame: &[u8]) {
        add(&mut self.0.lock().sent, frame);
    }

    pub(super) fn received(&self, frame: &[u8]) {
        add(&mut self.0.lock().received, frame);
    }

    pub(super) fn refused(&self, error: &DecodeError) {
        *self.0.lock().refused.entry(error.kind.name()).or_default() += 1;
    }

    pub(super) fn event(&self, event: &Event) {
        let mut sums = self.0.lock();
        let sum = match event {
            Event::ReplicaUp(_) => &mut sums.ups,
            Event::ReplicaDown(_) => &mut sums.downs,
            Event::Divergence { .. } => &mut sums.divergences,
            Event::Refused { .. } => &mut sums.refused_entries,
            _ => return,
        };
        *sum += 1;
    }

    pub(super) fn read(&self) -> Counted {
        let sums = self.0.lock();
        let refused = sums.refused.iter();
        let events = (sums.ups, sums.downs, sums.divergences, sums.refused_entries);
        (
            by_kind(&sums.sent),
            by_kind(&sums.received),
            refused.map(|(reason, frames)| (*reason, *frames)).collect(),
            events,
        )
    }
}

fn add(traffic: &mut BTreeMap<&'static str, Traffic>, frame: &[u8]) {
    let (frames, bytes) = traffic.entry(Kind::of(frame).name()).or_default();
    *frames += 1;
    *bytes += frame.len() as u64;
}

fn by_kind(traffic: &BTreeMap<&'static str, Traffic>) -> ByKind {
    let traffic = traffic.iter();
    traffic
        .map(|(kind, (frames, bytes))| (*kind, *frames, *bytes))
        .collect()
}
