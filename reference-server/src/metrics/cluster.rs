//! `ClusterMetrics`: what a node of a cluster counts of its events, and what its presence says of the other nodes.
//!
//! The crate's own metrics of a node go to the recorder of the process; each server has a recorder of its own.

use std::{collections::BTreeMap, fmt};

use headcount::replica::Traffic;
use headcount::runtime::NodeStats;
use metrics::{Counter, counter, describe_counter, describe_gauge, gauge};

use super::causes::{self, Causes};

const NODES: &str = "headcount_cluster_nodes";
const SILENCE: &str = "headcount_cluster_silence_max_seconds";
const BEHIND: &str = "headcount_cluster_partitions_behind";
const UNSENT: &str = "headcount_cluster_frames_unsent_total";
const REFUSED: &str = "headcount_cluster_frames_refused_total";
const DIVERGENCES: &str = "headcount_cluster_divergences_total";

const EVENTS: Causes = Causes {
    name: "headcount_cluster_events_total",
    meaning: "Events between the nodes; `dropped` are those of this node that NATS did not take, \
              `refused` those of nodes with another key.",
    label: "outcome",
    values: &["sent", "dropped", "received", "refused"],
};
const REPAIRS: Causes = Causes {
    name: "headcount_cluster_repairs_total",
    meaning: "Comparisons with the database after events were missed.",
    label: "outcome",
    values: &["ok", "failed"],
};

/// The kinds of frames of presence that are there before one of them is sent: digests, changes, requests, states.
const FRAMES: &[&str] = &["beat", "delta", "pull", "repair"];

/// The reasons to refuse a frame that are there before one is: those of nodes with another key.
const REASONS: &[&str] = &["bad_checksum", "mac_mismatch"];

/// The names and meanings of the frames and their bytes, sent and received.
const SENT: [(&str, &str); 2] = [
    (
        "headcount_cluster_sent_frames_total",
        "Frames of presence to other nodes, by kind.",
    ),
    (
        "headcount_cluster_sent_bytes_total",
        "The bytes of the frames that were sent.",
    ),
];
const RECEIVED: [(&str, &str); 2] = [
    (
        "headcount_cluster_received_frames_total",
        "Frames of presence from other nodes, by kind.",
    ),
    (
        "headcount_cluster_received_bytes_total",
        "The bytes of the frames that were received.",
    ),
];

/// The counters of the events between the nodes.
#[derive(Clone)]
pub(crate) struct ClusterMetrics {
    pub(crate) sent: Counter,
    pub(crate) dropped: Counter,
    pub(crate) received: Counter,
    /// Events without the seal of the cluster.
    pub(crate) refused: Counter,
    /// The times that events of another node were missed.
    pub(crate) gaps: Counter,
    pub(crate) repairs: Counter,
    pub(crate) repairs_failed: Counter,
    /// The rows of members and their roles that were read for them.
    pub(crate) repair_rows: Counter,
}

impl ClusterMetrics {
    pub(super) fn register() -> Self {
        describe();
        EVENTS.register();
        REPAIRS.register();
        Self {
            sent: EVENTS.counter("sent"),
            dropped: EVENTS.counter("dropped"),
            received: EVENTS.counter("received"),
            refused: EVENTS.counter("refused"),
            gaps: causes::counter(
                "headcount_cluster_gaps_total",
                "The times that events of another node were missed.",
            ),
            repairs: REPAIRS.counter("ok"),
            repairs_failed: REPAIRS.counter("failed"),
            repair_rows: causes::counter(
                "headcount_cluster_repair_rows_total",
                "Memberships, roles of members, and changes of them that repairs read.",
            ),
        }
    }
}

impl fmt::Debug for ClusterMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterMetrics")
    }
}

fn describe() {
    for (name, meaning) in [
        (NODES, "The other nodes that are known."),
        (
            SILENCE,
            "The time since the node was heard that was silent longest, of those that are up.",
        ),
        (
            BEHIND,
            "Partitions of presence in which this node is behind another that is up.",
        ),
    ] {
        describe_gauge!(name, meaning);
    }
    for (name, meaning) in [
        (UNSENT, "Frames of presence that NATS did not take."),
        (
            REFUSED,
            "Frames of presence that could not be read; `mac_mismatch` and `bad_checksum` come of another key.",
        ),
        (
            DIVERGENCES,
            "The times that entries differed from those of their node, and were asked for again.",
        ),
    ]
    .into_iter()
    .chain(SENT)
    .chain(RECEIVED)
    {
        describe_counter!(name, meaning);
    }
}

/// Sets the values that presence has counted since the start.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^52")]
pub(super) fn set(stats: &NodeStats) {
    let up = stats.peers.iter().filter(|peer| peer.is_up);
    let silence = up.clone().map(|peer| peer.silence).max();
    let behind: usize = up.map(|peer| peer.partitions_behind).sum();
    gauge!(NODES, "state" => "up").set(stats.replicas_up as f64);
    gauge!(NODES, "state" => "silent").set(stats.replicas_down as f64);
    gauge!(SILENCE).set(silence.unwrap_or_default().as_secs_f64());
    gauge!(BEHIND).set(behind as f64);
    counter!(UNSENT).absolute(stats.unsent);
    let none = REASONS.iter().map(|reason| (*reason, 0));
    for (reason, frames) in none.chain(stats.refused.clone()) {
        counter!(REFUSED, "reason" => reason).absolute(frames);
    }
    counter!(DIVERGENCES).absolute(stats.divergences);
    set_traffic(SENT, &stats.sent);
    set_traffic(RECEIVED, &stats.received);
}

fn set_traffic(
    [frames, bytes]: [(&'static str, &str); 2],
    traffic: &BTreeMap<&'static str, Traffic>,
) {
    let none = FRAMES.iter().map(|kind| (*kind, Traffic::default()));
    let counted = traffic.iter().map(|(kind, traffic)| (*kind, *traffic));
    for (kind, traffic) in none.chain(counted) {
        counter!(frames.0, "kind" => kind).absolute(traffic.frames);
        counter!(bytes.0, "kind" => kind).absolute(traffic.bytes);
    }
}
