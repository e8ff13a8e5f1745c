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
    /// The neighbour it goes to; `None` for all, or for those that subscribed to the `partition`.
    #[getter]
    fn to(&self) -> Option<&str> {
        match &self.0.to {
            core::Destination::All | core::Destination::Group(_) => None,
            core::Destination::Peer(peer) => Some(peer),
        }
    }

    /// The partition whose subscribers it goes to, in mode `interest`; `None` for all other frames. A transport
    /// without groups sends it to all: those that do not watch the partition drop it unread.
    #[getter]
    fn partition(&self) -> Option<u16> {
        match &self.0.to {
            core::Destination::Group(partition) => Some(*partition),
            core::Destination::All | core::Destination::Peer(_) => None,
        }
    }

    /// The frame.
    #[getter]
    fn frame<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bounds::bytes(py, &self.0.frame)
    }

    fn __repr__(&self) -> String {
        let to = match &self.0.to {
            core::Destination::All => "to=None".to_owned(),
            core::Destination::Peer(peer) => format!("to={peer:?}"),
            core::Destination::Group(partition) => format!("partition={partition}"),
        };
        format!("<Transmit {to} {} bytes>", self.0.frame.len())
    }
}

/// A change of the partitions whose frames the transport is to bring, in mode `interest`. It may take effect late.
#[pyclass(frozen, eq, module = "headcount")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GroupSubscription(core::GroupSubscription);

impl From<core::GroupSubscription> for GroupSubscription {
    fn from(change: core::GroupSubscription) -> Self {
        Self(change)
    }
}

#[pymethods]
impl GroupSubscription {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["partition", "is_wanted"])
    }

    /// The partition.
    #[getter]
    fn partition(&self) -> u16 {
        match self.0 {
            core::GroupSubscription::Subscribe(partition)
            | core::GroupSubscription::Unsubscribe(partition) => partition,
        }
    }

    /// True to subscribe, false to unsubscribe.
    #[getter]
    fn is_wanted(&self) -> bool {
        matches!(self.0, core::GroupSubscription::Subscribe(_))
    }

    fn __repr__(&self) -> String {
        format!(
            "<GroupSubscription partition={} is_wanted={}>",
            self.partition(),
            if self.is_wanted() { "True" } else { "False" }
        )
    }
}

/// An event of the cluster.
///
/// Kinds: `replica_up`, `replica_down`, `replica_forgotten`, `replica_left`, `ready`, `topic_ready`, `counts_ready`,
/// `divergence`, `refused`, `duplicate_name`, `reincarnated`, `diffs_dropped`, `signal`, `peer_limit`,
/// `second_self`, `handle_collision`, `shape_mismatch`, `answer_too_long`, `unreadable`,
/// `too_many_pulls`, `others_refused`. After `diffs_dropped`, when diffs that nobody polled took more than 64 MiB,
/// lists are right: read them again.
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
            | core::Event::TooManyPulls { from: id, .. }
            | core::Event::PeerLimit { refused: id, .. }
            | core::Event::HandleCollision { refused: id, .. } => Some(Replica(id.clone())),
            _ => None,
        }
    }

    /// The topic that can be read from now on, when the kind is `topic_ready`, or counted, when it is `counts_ready`.
    #[getter]
    fn topic(&self) -> Option<&str> {
        match &self.0 {
            core::Event::TopicReady { topic, .. } | core::Event::CountsReady { topic, .. } => {
                Some(topic)
            }
            _ => None,
        }
    }

    /// The time in seconds that has passed, when the kind is `topic_ready` or `counts_ready`, since the replica was
    /// heard last that was heard least recently of those whose entries, or counts, are here: normally a heartbeat,
    /// never more than `down_after`.
    #[getter]
    fn age(&self) -> Option<f64> {
        match &self.0 {
            core::Event::TopicReady { age, .. } | core::Event::CountsReady { age, .. } => {
                Some(age.as_secs_f64())
            }
            _ => None,
        }
    }

    /// The replicas that this node has not caught up with, when the kind is `ready`, or whose entries of the topic are
    /// not here, when it is `topic_ready`, or whose counts are not, when it is `counts_ready`: those of all others that
    /// are up are. If some are missing, the event comes again when none is.
    #[getter]
    fn missing(&self) -> Option<Vec<Replica>> {
        match &self.0 {
            core::Event::Ready { missing }
            | core::Event::TopicReady { missing, .. }
            | core::Event::CountsReady { missing, .. } => {
                Some(missing.iter().cloned().map(Replica).collect())
            }
            _ => None,
        }
    }

    /// The fault in words. With the kind `refused` entries of the replica break a limit of this node or the format.
    /// With `unreadable` frames of the peer break the format or are of another cluster. Both come at most once a minute
    /// for each replica or peer and each rule.
    #[getter]
    fn reason(&self) -> Option<String> {
        match &self.0 {
            core::Event::Refused { error, .. } => Some(error.to_string()),
            core::Event::Unreadable { what, .. } => Some(what.clone()),
            _ => None,
        }
    }

    /// The number of frames that were refused since the last such event, when the event is about a refusal; else 1.
    #[getter]
    fn count(&self) -> u64 {
        self.0.count()
    }

    /// The address of the other node at the transport, when the kind is `shape_mismatch`, `unreadable` or
    /// `second_self`: frames with this node's own identity come from there.
    #[getter]
    fn peer(&self) -> Option<&str> {
        match &self.0 {
            core::Event::ShapeMismatch { from, .. }
            | core::Event::SecondSelf { from, .. }
            | core::Event::Unreadable { from, .. } => Some(from),
            _ => None,
        }
    }

    /// The number of the partition, when the kind is `divergence`, `refused` or `answer_too_long`.
    #[getter]
    fn partition(&self) -> Option<u16> {
        match &self.0 {
            core::Event::Divergence { partition, .. }
            | core::Event::Refused { partition, .. }
            | core::Event::AnswerTooLong { partition, .. } => Some(*partition),
            _ => None,
        }
    }

    /// The shapes of this node and of the other one, when the kind is `shape_mismatch`: of each the number of
    /// partitions, the mode, whether it has counts, and whether it relays. Neither hears the other.
    #[getter]
    fn shapes(&self) -> Option<(Shape, Shape)> {
        match &self.0 {
            core::Event::ShapeMismatch { ours, theirs, .. } => Some((shape(*ours), shape(*theirs))),
            _ => None,
        }
    }

    /// The length of the answer in bytes, when the kind is `answer_too_long`: no frame of the transport takes it, so
    /// the node that asked does not get the entries.
    #[getter]
    fn length(&self) -> Option<usize> {
        match &self.0 {
            core::Event::AnswerTooLong { bytes, .. } => Some(*bytes),
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
        let mut text = format!("<Event {}", self.kind());
        if let Some(Replica(id)) = self.replica() {
            text += &format!(" {id}");
        }
        if let Some(peer) = self.peer() {
            text += &format!(" {peer:?}");
        }
        if let Some(partition) = self.partition() {
            text += &format!(" partition={partition}");
        }
        if let Some(topic) = self.topic() {
            text += &format!(" {topic:?}");
        }
        text += &match &self.0 {
            core::Event::Ready { missing }
            | core::Event::TopicReady { missing, .. }
            | core::Event::CountsReady { missing, .. } => {
                format!(" missing={missing:?}")
            }
            core::Event::ShapeMismatch { ours, theirs, .. } => {
                format!(": it has {theirs}, this node has {ours}")
            }
            core::Event::AnswerTooLong { bytes, .. } => format!(": {bytes} bytes"),
            _ => {
                let reason = self.reason();
                reason.map_or(String::new(), |reason| format!(": {reason}"))
            }
        };
        text + ">"
    }
}

/// A number of partitions, the name of a mode, whether topics are counted, and whether frames are passed on.
type Shape = (u32, &'static str, bool, bool);

fn shape(shape: core::Shape) -> Shape {
    let mode = match shape.mode() {
        core::Mode::All => "all",
        core::Mode::Interest => "interest",
    };
    (
        shape.partitions(),
        mode,
        shape.has_counts(),
        shape.is_relayed(),
    )
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
