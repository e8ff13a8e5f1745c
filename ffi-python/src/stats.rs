//! The counts of a node as dicts.

use std::collections::BTreeMap;

use headcount::replica::PeerStats;
use headcount::replica::Traffic;
use headcount::runtime::NodeStats;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Returns the counts as a dict, whose keys are those of the class `Stats` in the stub.
pub(crate) fn to_dict<'py>(
    py: Python<'py>,
    stats: &NodeStats,
    transport_errors: u64,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("entries", stats.entries)?;
    dict.set_item("topics", stats.topics)?;
    let peers = stats.peers.iter().map(|peer| peer_to_dict(py, peer));
    dict.set_item("peers", peers.collect::<PyResult<Vec<_>>>()?)?;
    dict.set_item("leave_log_bytes", stats.leave_log_bytes)?;
    dict.set_item("diffs_bytes", stats.diffs_bytes)?;
    dict.set_item("frames", stats.frames)?;
    dict.set_item("replicas_up", stats.replicas_up)?;
    dict.set_item("replicas_down", stats.replicas_down)?;
    dict.set_item("subscriptions", stats.subscriptions)?;
    dict.set_item("watches", stats.watches)?;
    dict.set_item("waiting_max", stats.waiting_max)?;
    dict.set_item("lagged", stats.lagged)?;
    dict.set_item("sent", traffic(py, &stats.sent)?)?;
    dict.set_item("unsent", stats.unsent)?;
    dict.set_item("received", traffic(py, &stats.received)?)?;
    dict.set_item("refused", &stats.refused)?;
    dict.set_item("refused_entries", stats.refused_entries)?;
    dict.set_item("divergences", stats.divergences)?;
    dict.set_item("ups", stats.ups)?;
    dict.set_item("downs", stats.downs)?;
    dict.set_item("transport_errors", transport_errors)?;
    Ok(dict)
}

fn peer_to_dict<'py>(py: Python<'py>, peer: &PeerStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", peer.id.name())?;
    dict.set_item("up", peer.is_up)?;
    dict.set_item("silence", peer.silence.as_secs_f64())?;
    dict.set_item("partitions_behind", peer.partitions_behind)?;
    Ok(dict)
}

fn traffic<'py>(
    py: Python<'py>,
    by_kind: &BTreeMap<&'static str, Traffic>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (kind, traffic) in by_kind {
        let of_kind = PyDict::new(py);
        of_kind.set_item("frames", traffic.frames)?;
        of_kind.set_item("bytes", traffic.bytes)?;
        dict.set_item(kind, of_kind)?;
    }
    Ok(dict)
}
