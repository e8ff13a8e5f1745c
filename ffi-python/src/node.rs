//! `NodeBase`: a node on its own thread, under `headcount.Node` and `headcount.aio.Node`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headcount as core;
use headcount::ReplicaId;
use headcount::runtime::{Node, Stopped, Transport};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use tokio::sync::mpsc;

use crate::bounds::{self, room_for};
use crate::bridge::{Bridge, bridge};
use crate::convert::{Buffer, Meta, Name, Seconds, new_entry};
use crate::diff::Diff;
use crate::error::raise;
use crate::feed::{Feed, Source};
use crate::keys::Keys;
use crate::network::{MemoryNetwork, NatsOptions, connect_nats};
use crate::presence::{Presence, SIGNAL_TTL, check_topic, read_signal};
use crate::ready::Ready;
use crate::replica::Replica;
use crate::running::Running;
use crate::stats;
use crate::verbs::{ENTRY_LEN, Reads, entry_verbs, reference};
use crate::watch::WatchHandle;

/// Most troubles of a transport that wait to be logged.
const NOTES_MAX: usize = 64;

/// A node of a cluster on a thread of its own: the verbs that `Node` and `aio.Node` share.
///
/// A write on any thread is sent at once. All verbs raise `NodeStopped` before the start and after
/// the stop. In mode `interest` reads of a topic raise `NotWatched` without a watch, and `NotReady`
/// until it is ready.
#[pyclass(frozen, subclass, weakref, module = "headcount._headcount")]
pub(crate) struct NodeBase {
    core: Running,
    id: ReplicaId,
    config: core::PresenceConfig,
    snapshot: Option<Buffer>,
    /// The entries of the snapshot, from the start on.
    restored: Mutex<Option<Diff>>,
    ready: Arc<Ready>,
    notes: Mutex<Notes>,
    transport_errors: Arc<AtomicU64>,
}

entry_verbs!(NodeBase);

/// Writes.
#[pymethods]
impl NodeBase {
    /// Track an entry and return its reference. With `ttl` it leaves after that many seconds, unless
    /// `lease` renews it. O(1).
    ///
    /// Raises `AlreadyTracked` when this topic, key and owner are tracked, `LimitError` when
    /// something is too long.
    #[pyo3(signature = (topic, key, owner, meta = Meta::empty(), *, status = 0, ttl = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a verb")]
    fn track(
        &self,
        py: Python<'_>,
        topic: &str,
        key: Name,
        owner: Name,
        meta: Meta,
        status: u8,
        ttl: Option<Seconds>,
    ) -> PyResult<String> {
        let entry = new_entry(topic, (&key, &owner), &meta, status)?;
        let tracked = self.core.write(py, |node| {
            let tracked = node.track(&entry)?;
            lease(node, topic, &key, &owner, ttl)?;
            Ok(tracked)
        })?;
        reference(tracked)
    }

    /// Track an entry, or update it when it is tracked, as `update` does; `ttl` as in `track`. O(1).
    #[pyo3(signature = (topic, key, owner, meta = Meta::empty(), *, status = None, ttl = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a verb")]
    fn upsert(
        &self,
        py: Python<'_>,
        topic: &str,
        key: Name,
        owner: Name,
        meta: Meta,
        status: Option<u8>,
        ttl: Option<Seconds>,
    ) -> PyResult<String> {
        let entry = new_entry(topic, (&key, &owner), &meta, status.unwrap_or(0))?;
        let written = self.core.write(py, |node| {
            let own = || {
                node.presence()
                    .get_own(topic, key.as_key(), owner.as_bytes())
            };
            let kept = status.or_else(|| own().map(|entry| entry.status()));
            let entry = entry.status(kept.unwrap_or(0));
            let written = node.upsert(&entry)?;
            lease(node, topic, &key, &owner, ttl)?;
            Ok(written)
        })?;
        reference(written)
    }

    /// Remove one of this replica's entries; return whether it was tracked. O(1).
    fn untrack(&self, py: Python<'_>, topic: &str, key: Name, owner: Name) -> PyResult<bool> {
        self.change(py, |node| {
            node.untrack(topic, key.as_key(), owner.as_bytes())
        })
    }

    /// Remove all entries of an owner, in all topics; return how many. O(its entries).
    fn untrack_owner(&self, py: Python<'_>, owner: Name) -> PyResult<usize> {
        self.change(py, |node| node.untrack_owner(owner.as_bytes()))
    }

    /// Give one entry a lease, or renew it: unless it is renewed within `ttl` seconds, the entry
    /// leaves; return whether it is tracked.
    fn lease(
        &self,
        py: Python<'_>,
        topic: &str,
        key: Name,
        owner: Name,
        ttl: Seconds,
    ) -> PyResult<bool> {
        self.change(py, |node| {
            node.lease(topic, key.as_key(), owner.as_bytes(), ttl.0)
        })
    }

    /// Give all entries of an owner a lease, or renew it, as `lease` does for one.
    fn lease_owner(&self, py: Python<'_>, owner: Name, ttl: Seconds) -> PyResult<()> {
        self.change(py, |node| node.lease_owner(owner.as_bytes(), ttl.0))
    }

    /// Report that an owner was lost unexpectedly: its entries stay for the `grace` of the node, in
    /// case it comes back.
    fn owner_lost(&self, py: Python<'_>, owner: Name) -> PyResult<()> {
        self.change(py, |node| node.owner_lost(owner.as_bytes()))
    }

    /// Report that a lost owner is back: its entries stay; return whether its grace was not over.
    fn owner_back(&self, py: Python<'_>, owner: Name) -> PyResult<bool> {
        self.change(py, |node| node.owner_back(owner.as_bytes()))
    }

    /// Send a short-lived signal, such as typing, to all other nodes, which see it among their
    /// `events`; nothing is stored. `ttl` is in seconds.
    ///
    /// Raises `LimitError` when the topic, the key or the payload has more than 256 bytes.
    #[pyo3(signature = (topic, key, kind, payload = Buffer::empty(), *, ttl = Seconds(SIGNAL_TTL)))]
    fn signal(
        &self,
        py: Python<'_>,
        topic: &str,
        key: Name,
        kind: u8,
        payload: Buffer,
        ttl: Seconds,
    ) -> PyResult<()> {
        let signal = read_signal(topic, &key, kind, &payload, ttl)?;
        self.core
            .write(py, |node| node.signal(signal))?
            .map_err(raise)
    }
}

/// Reads.
#[pymethods]
impl NodeBase {
    /// This replica. It changes when the node finds a duplicate of itself and takes a new incarnation.
    #[getter]
    fn replica(&self, py: Python<'_>) -> PyResult<Replica> {
        self.core.check()?;
        let id = self.core.read(py, |presence| presence.id());
        Ok(Replica(id.unwrap_or_else(|_| self.id.clone())))
    }

    /// Return the topics that have entries, hidden ones included, sorted. O(topics).
    fn topics(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.core.read(py, core::Presence::topics)
    }

    /// Return the other replicas known, each with whether it is up.
    fn replicas(&self, py: Python<'_>) -> PyResult<Vec<(Replica, bool)>> {
        let replicas = self.core.read(py, core::Presence::replicas)?;
        let replicas = replicas.into_iter();
        Ok(replicas.map(|(id, is_up)| (Replica(id), is_up)).collect())
    }

    /// Return whether this node has caught up, at least once, with everything its known peers advertised.
    fn is_synced(&self, py: Python<'_>) -> PyResult<bool> {
        self.core.read(py, core::Presence::is_synced)
    }

    /// The entries that the `snapshot` of the constructor has, as the joins of a `Diff`; an empty one without a
    /// snapshot, and before the start. The node tracks none of them: track those again whose connections are still
    /// there, with a `ttl` for those that might not be.
    #[getter]
    fn restored(&self) -> PyResult<Diff> {
        self.core.check()?;
        let restored = self.restored.lock();
        let entries = restored.as_ref().map(Diff::share);
        Ok(entries.unwrap_or_else(|| core::Diff::default().into()))
    }

    /// Return the entries of this node as bytes, to start the next node of this name with. O(own entries).
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        room_for(self.__len__(py)?, ENTRY_LEN)?;
        let snapshot = self.core.read(py, core::Presence::snapshot)?;
        bounds::bytes(py, &snapshot)
    }

    /// Return what the node holds now, and the counts of what happened since its start. O(topics).
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.core.write(py, Node::stats)?;
        stats::to_dict(py, &stats, self.transport_errors.load(Ordering::Relaxed))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let known = self.core.read(py, |presence| {
            let replicas = presence.replicas();
            let up = replicas.iter().filter(|(_, is_up)| *is_up).count();
            (presence.id(), presence.len(), up, replicas.len())
        });
        Ok(match known {
            Ok((id, len, up, all)) => format!("<Node {id} {len} peers={up}/{all}>"),
            Err(_) => format!("<Node {} not running>", self.id),
        })
    }
}

/// The life of a node, driven by its subclasses.
#[pymethods]
impl NodeBase {
    #[new]
    #[pyo3(signature = (presence, snapshot = None))]
    fn new(presence: &Presence, snapshot: Option<Buffer>) -> PyResult<Self> {
        let (id, config) = presence.identity()?;
        Ok(Self {
            core: Running::new(),
            id,
            config,
            snapshot,
            restored: Mutex::new(None),
            ready: Ready::new(),
            notes: Mutex::new(Notes::new()),
            transport_errors: Arc::default(),
        })
    }

    fn _start_nats(
        &self,
        py: Python<'_>,
        servers: &str,
        cluster: &str,
        options: NatsOptions,
        time: Seconds,
    ) -> PyResult<()> {
        let notes = self.notes.lock().sender.clone();
        let errors = Arc::clone(&self.transport_errors);
        self.core.start(py, |runtime| {
            let connecting = connect_nats(servers, cluster, options, time.0, notes, errors);
            self.make(runtime.block_on(connecting)?)
        })
    }

    fn _start_memory(&self, py: Python<'_>, network: &MemoryNetwork) -> PyResult<()> {
        let transport = network.join(self.id.name());
        self.core.start(py, |_| self.make(transport))
    }

    fn _start_bridge(&self, py: Python<'_>, frame_max: usize) -> PyResult<Bridge> {
        let (bridge, transport) = bridge(&self.ready, frame_max);
        self.core.start(py, |_| self.make(transport))?;
        Ok(bridge)
    }

    fn _undo_start(&self, py: Python<'_>) -> PyResult<()> {
        self.core.undo_start(py)?;
        *self.notes.lock() = Notes::new();
        Ok(())
    }

    fn _stop(&self, py: Python<'_>, graceful: bool) -> PyResult<bool> {
        self.core.stop(py, graceful)
    }

    /// Opens the socket that reports news; returns the file descriptor of the end to read.
    fn _open_socket(&self) -> PyResult<i64> {
        Ok(self.ready.open()?)
    }

    fn _close_socket(&self) {
        self.ready.close();
    }

    /// Returns the numbers of the feeds that have news.
    fn _news(&self) -> Vec<u64> {
        self.ready.take()
    }

    fn _count_transport_error(&self) {
        self.transport_errors.fetch_add(1, Ordering::Relaxed);
    }

    fn _begin_watch(&self, py: Python<'_>, topic: &str, counts: bool) -> PyResult<WatchHandle> {
        check_topic(topic)?;
        let begin = if counts {
            Node::watch_counts
        } else {
            Node::watch
        };
        let watch = self.core.write(py, |node| begin(node, topic))?;
        Ok(WatchHandle::new(&self.ready, watch))
    }

    /// Checks that a watched topic can be read, or counted.
    fn _check_watched(&self, py: Python<'_>, topic: &str, counts: bool) -> PyResult<()> {
        let check = if counts {
            core::Presence::check_countable
        } else {
            core::Presence::check_readable
        };
        let checked = self.core.read(py, |presence| check(presence, topic))?;
        checked.map_err(raise)
    }

    #[pyo3(signature = (kind, topic = ""))]
    fn _feed(&self, py: Python<'_>, kind: &str, topic: &str) -> PyResult<Feed> {
        let source = match kind {
            "changes" => self.core.write(py, |node| {
                let (joins, changes) = node.list_and_subscribe(topic).map_err(raise)?;
                let topic = topic.into();
                let state = core::TopicDiff {
                    topic,
                    joins,
                    leaves: Vec::new(),
                    updates: Vec::new(),
                };
                Ok::<_, PyErr>(Source::Changes(Some(Arc::new(state)), changes))
            })??,
            "events" => Source::Events(self.core.write(py, Node::events)?),
            "refusals" => Source::Refusals(self.core.write(py, Node::refusals)?),
            "synced" => {
                let synced = self.core.write(py, Node::synced)?;
                Source::Done(Box::pin(async { Ok(synced.await?) }))
            }
            "notes" => {
                let notes = self.notes.lock().receiver.take();
                Source::Notes(notes.ok_or_else(|| PyValueError::new_err("the notes are taken"))?)
            }
            _ => return Err(PyValueError::new_err(format!("there is no feed of {kind}"))),
        };
        Ok(Feed::new(&self.ready, source))
    }
}

/// The two ends of what a transport has to say about its connection.
struct Notes {
    sender: mpsc::Sender<String>,
    receiver: Option<mpsc::Receiver<String>>,
}

impl Notes {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel(NOTES_MAX);
        let receiver = Some(receiver);
        Self { sender, receiver }
    }
}

impl NodeBase {
    /// Writes, and raises `NodeStopped` when no node runs.
    fn change<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&Node) -> Result<R, Stopped> + Send,
    ) -> PyResult<R> {
        self.core.write(py, f)?.map_err(raise)
    }

    fn make(&self, transport: impl Transport) -> PyResult<Node> {
        let id = self.id.clone();
        let config = self.config.clone();
        match &self.snapshot {
            Some(snapshot) => {
                let restored = Node::restore(id, config, transport, snapshot);
                let (node, entries) = restored.map_err(raise)?;
                *self.restored.lock() = Some(entries.into());
                Ok(node)
            }
            None => Ok(Node::start(id, config, transport)),
        }
    }
}

fn lease(
    node: &Node,
    topic: &str,
    key: &Name,
    owner: &Name,
    ttl: Option<Seconds>,
) -> Result<(), Stopped> {
    if let Some(ttl) = ttl {
        node.lease(topic, key.as_key(), owner.as_bytes(), ttl.0)?;
    }
    Ok(())
}
