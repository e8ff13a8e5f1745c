//! The outputs of a `Presence`: frames to send, and events.

use headcount::replica as core;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::bounds;
use crate::error::kind_of;
use crate::replica::Replica;

/// A frame to send.
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Transmit(core::Transmit);

impl From<core::Transmit> for Transmit {
    fn from(transmit: core::Transmit) -> Self {
        Self(transmit)
    }
}

#[pymethods]
impl Transmit {
    /// The neighbour it goes to; `None` for all.
    #[getter]
    fn to(&self) -> Option<&str> {
        match &self.0.to {
            core::Destination::All => None,
            core::Destination::Peer(peer) => Some(peer),
        }
    }

    /// The frame.
    #[getter]
    fn frame<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bounds::bytes(py, &self.0.frame)
    }

    fn __repr__(&self) -> String {
        let to = self.to().map_or("None".to_owned(), |to| format!("{to:?}"));
        format!("<Transmit to={to} {} bytes>", self.0.frame.len())
    }
}

/// An event of the cluster.
///
/// Kinds: `replica_up`, `replica_down`, `replica_forgotten`, `replica_left`, `divergence`, `refused`,
/// `duplicate_name`, `reincarnated`, `diffs_dropped`, `signal`, `peer_limit`, `unsupported`.
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Event(core::Event);

impl From<core::Event> for Event {
    fn from(event: core::Event) -> Self {
        Self(event)
    }
}

#[pymethods]
impl Event {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["kind", "replica"])
    }

    /// The kind of the event, as one word of snake case.
    #[getter]
    fn kind(&self) -> String {
        kind_of(&self.0)
    }

    /// The replica it is about, if it is about one.
    #[getter]
    fn replica(&self) -> Option<Replica> {
        match &self.0 {
            core::Event::ReplicaUp(id)
            | core::Event::ReplicaDown(id)
            | core::Event::ReplicaForgotten(id)
            | core::Event::ReplicaLeft(id)
            | core::Event::Divergence { origin: id, .. }
            | core::Event::Refused { origin: id, .. }
            | core::Event::DuplicateName { other: id }
            | core::Event::Reincarnated { id }
            | core::Event::Signal { from: id, .. }
            | core::Event::PeerLimit { refused: id } => Some(Replica(id.clone())),
            _ => None,
        }
    }

    /// The reason for which the frames of the replica are refused, when the kind is `refused`: they break a limit
    /// of this node or the format. The event comes once, until a frame of the replica is applied.
    #[getter]
    fn reason(&self) -> Option<String> {
        match &self.0 {
            core::Event::Refused { error, .. } => Some(error.to_string()),
            _ => None,
        }
    }

    /// The neighbour of the transport that the frame came from, when the kind is `refused` or
    /// `unsupported`.
    #[getter]
    fn peer(&self) -> Option<&str> {
        match &self.0 {
            core::Event::Refused { from, .. } | core::Event::Unsupported { from, .. } => Some(from),
            _ => None,
        }
    }

    /// The signal, when the kind is `signal`.
    #[getter]
    fn signal(&self) -> Option<Signal> {
        match &self.0 {
            core::Event::Signal { signal, .. } => Some(Signal(signal.clone())),
            _ => None,
        }
    }

    fn __repr__(&self) -> String {
        let who = self
            .replica()
            .map_or(String::new(), |replica| format!(" {}", replica.0));
        let why = self
            .reason()
            .map_or(String::new(), |reason| format!(": {reason}"));
        format!("<Event {}{who}{why}>", self.kind())
    }
}

/// A short-lived signal from another node, such as typing.
#[pyclass(frozen, eq, module = "headcount")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signal(core::Signal);

#[pymethods]
impl Signal {
    /// The topic that it concerns.
    #[getter]
    fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The bytes of the key that it concerns.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bounds::bytes(py, &self.0.key)
    }

    /// A number whose meaning is up to the application.
    #[getter]
    fn kind(&self) -> u8 {
        self.0.kind
    }

    /// The payload.
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bounds::bytes(py, &self.0.payload)
    }

    /// The time for which it holds, in seconds.
    #[getter]
    fn ttl(&self) -> f64 {
        f64::from(self.0.ttl_ms) / 1_000.0
    }

    fn __repr__(&self) -> String {
        let key = self.0.key.escape_ascii();
        let payload = self.0.payload.len();
        format!(
            "<Signal {:?} \"{key}\" kind={} {payload} bytes>",
            self.0.topic, self.0.kind
        )
    }
}
