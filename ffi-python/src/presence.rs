//! `Presence`: the replicated whole, sans-I/O.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headcount as core;
use headcount::codec::{CLUSTER_LEN_MAX, SharedKey};
use headcount::replica::{Config, Signal};
use headcount::{EntryBuf, PresenceConfig, TrackError};
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::bounds::{self, look, room_for};
use crate::convert::{Buffer, Meta, Name, Seconds, grouped, put};
use crate::diff::Diff;
use crate::entry::Entry;
use crate::error::{LimitError, raise};
use crate::event::{Event, Transmit};
use crate::replica::{Replica, new_id};
use crate::tracker::{ENTRY_LEN, FRAME_GROWTH};

/// Who is here, on all nodes of a cluster: without I/O, so that any network can carry it.
///
/// The verbs are those of `Tracker`. The caller moves frames and tells the time: `now` is in
/// seconds since any start, the same for all calls. Feed `handle_message` and `handle_timeout`,
/// send what `poll` gives, and call again when `poll_timeout` says. `headcount.aio.Node` does that
/// for asyncio.
///
/// >>> a, b = Presence("a"), Presence("b")
/// >>> _ = a.track("room", "ann", "conn-1")
/// >>> for ms in range(3_000):
/// ...     for sender, receiver in [(a, b), (b, a)]:
/// ...         sender.handle_timeout(ms / 1_000)
/// ...         for output in sender.poll():
/// ...             if isinstance(output, Transmit):
/// ...                 receiver.handle_message(ms / 1_000, sender.replica.name, output.frame)
/// >>> b.count("room"), a.is_synced(), b.is_synced()
/// (1, True, True)
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Presence {
    core: core::Presence,
    /// What it was made with, for `restore`.
    config: PresenceConfig,
}

impl Presence {
    fn put<F>(&self, py: Python<'_>, f: F) -> PyResult<String>
    where
        F: FnOnce(&core::Presence) -> Result<core::id::EntryRef, TrackError> + Send,
    {
        py.detach(|| f(&self.core))
            .map(|entry_ref| entry_ref.to_string())
            .map_err(raise)
    }
}

#[pymethods]
impl Presence {
    /// A node of a cluster, alone so far. Durations are in seconds; `key` is a secret of 16 bytes
    /// that all nodes share; `relay` is for transports that do not reach every node directly.
    ///
    /// Raises `ValueError` for a name of more than 64 bytes, `LimitError` for such a `cluster`.
    #[new]
    #[pyo3(signature = (
        name, *, incarnation = None, salt = None, cluster = "headcount", key = None,
        heartbeat = None, down_after = None, forget_after = None, push_after = None,
        flush = None, grace = None, frame_max = None, relay = false,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a constructor")]
    fn new(
        name: &str,
        incarnation: Option<u64>,
        salt: Option<u32>,
        cluster: &str,
        key: Option<Buffer>,
        heartbeat: Option<Seconds>,
        down_after: Option<Seconds>,
        forget_after: Option<Seconds>,
        push_after: Option<Seconds>,
        flush: Option<Seconds>,
        grace: Option<Seconds>,
        frame_max: Option<usize>,
        relay: bool,
    ) -> PyResult<Self> {
        if cluster.len() > CLUSTER_LEN_MAX {
            let len = cluster.len();
            let max = CLUSTER_LEN_MAX;
            let text = format!("cluster has {len} bytes, at most {max} are allowed");
            return Err(LimitError::new_err((text, max)));
        }
        let key = key.map(|key| shared_key(&key)).transpose()?;
        let mut replication = Config::default().cluster(cluster).key(key).relay(relay);
        replication = set(replication, Config::heartbeat, heartbeat);
        replication = set(replication, Config::down_after, down_after);
        replication = set(replication, Config::forget_after, forget_after);
        replication = set(replication, Config::push_after, push_after);
        if let Some(frame_max) = frame_max {
            replication = replication.frame_max(frame_max);
        }
        let seed = getrandom::u64().map_err(std::io::Error::from)?;
        let mut config = PresenceConfig::default()
            .replication(replication)
            .seed(seed);
        config = set(config, PresenceConfig::flush, flush);
        config = set(config, PresenceConfig::grace, grace);
        let core = core::Presence::new(new_id(name, incarnation, salt)?, config.clone());
        Ok(Self { core, config })
    }

    /// A presence that starts with what `snapshot` knew of the other replicas, so that only what
    /// happened since has to travel. They stay hidden until they are heard. The own entries of the
    /// snapshot are gone: their connections are. The options are those of the constructor.
    /// O(entries).
    ///
    /// Raises `DecodeError` when the bytes are no snapshot.
    #[staticmethod]
    #[pyo3(signature = (snapshot, name, *, now = Seconds(Duration::ZERO), **options))]
    fn restore(
        py: Python<'_>,
        snapshot: Buffer,
        name: &str,
        now: Seconds,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        room_for(snapshot.len(), FRAME_GROWTH)?;
        let new = py.get_type::<Self>().call((name,), options)?;
        let new = new.cast::<Self>()?.get();
        let id = new.core.id();
        let config = new.config.clone();
        let restored = py.detach(|| core::Presence::restore(id, config, now.0, &snapshot));
        Ok(Self {
            core: restored.map_err(raise)?,
            config: new.config.clone(),
        })
    }

    /// The state of all replicas as bytes, for `restore`. Operations go on meanwhile. O(entries).
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        room_for(self.__len__(py), ENTRY_LEN)?;
        let snapshot = py.detach(|| self.core.snapshot());
        bounds::bytes(py, &snapshot)
    }

    /// Gives an owner's entries a lease, or renews it: unless renewed again within `ttl` seconds,
    /// they leave.
    fn lease_owner(&self, py: Python<'_>, now: Seconds, owner: Name, ttl: Seconds) {
        py.detach(|| self.core.lease_owner(now.0, owner.as_bytes(), ttl.0));
    }

    /// Gives one entry a lease, or renews it. Returns whether there is such an entry.
    fn lease(
        &self,
        py: Python<'_>,
        now: Seconds,
        topic: &str,
        key: Name,
        owner: Name,
        ttl: Seconds,
    ) -> bool {
        let key = key.as_key();
        let owner = owner.as_bytes();
        py.detach(|| self.core.lease(now.0, topic, key, owner, ttl.0))
    }

    /// Says that an owner went without a word: its entries stay for the `grace` of the
    /// constructor, in case it comes back.
    fn owner_lost(&self, py: Python<'_>, now: Seconds, owner: Name) {
        py.detach(|| self.core.owner_lost(now.0, owner.as_bytes()));
    }

    /// Says that a lost owner is back: its entries stay. Returns whether it was waited for.
    fn owner_back(&self, py: Python<'_>, owner: Name) -> bool {
        py.detach(|| self.core.owner_back(owner.as_bytes()))
    }

    /// This replica. It changes when the node finds a second self and takes a new incarnation.
    #[getter]
    fn replica(&self, py: Python<'_>) -> Replica {
        Replica(py.detach(|| self.core.id()))
    }

    /// Tracks an entry and returns its reference. O(1).
    ///
    /// Raises `AlreadyTracked` when this topic, key and owner are tracked, `LimitError` when
    /// something is too long.
    #[pyo3(signature = (topic, key, owner, meta = Meta::empty(), *, status = 0))]
    fn track(
        &self,
        py: Python<'_>,
        topic: &str,
        key: Name,
        owner: Name,
        meta: Meta,
        status: u8,
    ) -> PyResult<String> {
        let put = put(topic, (&key, &owner), &meta, status)?;
        self.put(py, |presence| presence.track(&put))
    }

    /// Replaces meta and status of a tracked entry; returns the reference of the new version. O(1).
    ///
    /// Raises `NotTracked` when there is no such entry.
    #[pyo3(signature = (topic, key, owner, meta = Meta::empty(), *, status = 0))]
    fn update(
        &self,
        py: Python<'_>,
        topic: &str,
        key: Name,
        owner: Name,
        meta: Meta,
        status: u8,
    ) -> PyResult<String> {
        let put = put(topic, (&key, &owner), &meta, status)?;
        self.put(py, |presence| presence.update(&put))
    }

    /// Tracks an entry, or updates it when it is tracked. O(1).
    #[pyo3(signature = (topic, key, owner, meta = Meta::empty(), *, status = 0))]
    fn upsert(
        &self,
        py: Python<'_>,
        topic: &str,
        key: Name,
        owner: Name,
        meta: Meta,
        status: u8,
    ) -> PyResult<String> {
        let put = put(topic, (&key, &owner), &meta, status)?;
        self.put(py, |presence| presence.upsert(&put))
    }

    /// Removes one of this replica's entries. Returns whether it was there. O(1).
    fn untrack(&self, py: Python<'_>, topic: &str, key: Name, owner: Name) -> bool {
        py.detach(|| self.core.untrack(topic, key.as_key(), owner.as_bytes()))
    }

    /// Removes everything an owner holds, in all topics. Returns how many entries. O(entries).
    fn untrack_owner(&self, py: Python<'_>, owner: Name) -> usize {
        py.detach(|| self.core.untrack_owner(owner.as_bytes()))
    }

    /// The visible entries of a topic, in no particular order. O(entries of the topic).
    ///
    /// Raises `MemoryError` when they find no room.
    fn list(&self, py: Python<'_>, topic: &str) -> PyResult<Vec<Entry>> {
        room_for(self.count(py, topic), ENTRY_LEN)?;
        Ok(py.detach(|| collect(topic, self.core.list(topic))))
    }

    /// The visible entries of a key in a topic. O(entries of the key).
    fn get_by_key(&self, py: Python<'_>, topic: &str, key: Name) -> Vec<Entry> {
        py.detach(|| collect(topic, self.core.get_by_key(topic, key.as_key())))
    }

    /// Returns how many visible entries a topic has. O(replicas).
    fn count(&self, py: Python<'_>, topic: &str) -> usize {
        py.detach(|| self.core.count(topic))
    }

    /// Returns how many distinct visible keys a topic has.
    fn count_keys(&self, py: Python<'_>, topic: &str) -> usize {
        py.detach(|| self.core.count_keys(topic))
    }

    /// Flushes now: what changed about this replica's own entries since the last flush. A change
    /// comes out once, here or, `flush` seconds (0.005) after a call has seen it, from `poll`.
    /// O(changes).
    fn take_diff(&self, py: Python<'_>) -> PyResult<Diff> {
        room_for(self.__len__(py), ENTRY_LEN)?;
        Ok(py.detach(|| self.core.take_diff()).into())
    }

    /// Takes one frame from a neighbour of the transport. O(changes).
    ///
    /// Raises `DecodeError` when it is malformed, not authentic, or of another cluster or version;
    /// nothing has changed then.
    fn handle_message(
        &self,
        py: Python<'_>,
        now: Seconds,
        sender: &str,
        frame: Buffer,
    ) -> PyResult<()> {
        room_for(frame.len(), FRAME_GROWTH)?;
        let frame = Bytes::from_owner(frame);
        py.detach(|| self.core.handle_message(now.0, sender, &frame))
            .map_err(raise)
    }

    /// Does what is due: heartbeats, pushes, pulls, verdicts of down and forgotten.
    ///
    /// Raises `MemoryError` when there is no room for a slice of it; nothing is lost.
    fn handle_timeout(&self, py: Python<'_>, now: Seconds) -> PyResult<()> {
        look(0)?;
        py.detach(|| self.core.handle_timeout(now.0));
        Ok(())
    }

    /// A hint of the transport that a neighbour is gone: its replica is hidden at once.
    fn disconnected(&self, py: Python<'_>, now: Seconds, sender: &str) {
        py.detach(|| self.core.disconnected(now.0, sender));
    }

    /// When `handle_timeout` wants to be called next, in seconds as `now`; `None` for never. Local
    /// operations may bring that nearer.
    fn poll_timeout(&self, py: Python<'_>) -> Option<f64> {
        py.detach(|| self.core.poll_timeout())
            .map(|at| at.as_secs_f64())
    }

    /// The next frame to send.
    fn poll_transmit(&self, py: Python<'_>) -> Option<Transmit> {
        py.detach(|| self.core.poll_transmit()).map(Transmit::from)
    }

    /// The next thing that happened to the cluster.
    fn poll_event(&self, py: Python<'_>) -> Option<Event> {
        py.detach(|| self.core.poll_event()).map(Event::from)
    }

    /// The next changes, of other replicas and of this one, in the order in which the lists changed.
    fn poll_diff(&self, py: Python<'_>) -> Option<Diff> {
        py.detach(|| self.core.poll_diff()).map(Diff::from)
    }

    /// All outputs there are now: each a `Transmit`, an `Event` or a `Diff`.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut outputs = Vec::new();
        while let Some(transmit) = self.poll_transmit(py) {
            outputs.push(Output::Transmit(transmit));
        }
        while let Some(event) = self.poll_event(py) {
            outputs.push(Output::Event(event));
        }
        while let Some(diff) = self.poll_diff(py) {
            outputs.push(Output::Diff(diff));
        }
        Ok(PyList::new(py, outputs)?.try_iter()?.into_any())
    }

    /// Returns whether everything that the peers heard of had to show has arrived once since the start.
    fn is_synced(&self, py: Python<'_>) -> bool {
        py.detach(|| self.core.is_synced())
    }

    /// The other replicas known, and whether each is up.
    fn replicas(&self, py: Python<'_>) -> Vec<(Replica, bool)> {
        let replicas = py.detach(|| self.core.replicas());
        replicas
            .into_iter()
            .map(|(id, up)| (Replica(id), up))
            .collect()
    }

    /// Sends a short-lived sign, such as typing, to all peers; nothing is stored. `ttl` is in
    /// seconds.
    #[pyo3(signature = (topic, key, kind, payload = Buffer::empty(), *, ttl = Seconds(Duration::from_secs(5))))]
    fn signal(
        &self,
        py: Python<'_>,
        topic: &str,
        key: Name,
        kind: u8,
        payload: Buffer,
        ttl: Seconds,
    ) -> PyResult<()> {
        let signal = Signal {
            topic: topic.to_owned(),
            key: bounds::copied(key.as_bytes())?,
            kind,
            ttl_ms: u32::try_from(ttl.0.as_millis())
                .map_err(|_| PyOverflowError::new_err("the ttl is at most 49 days"))?,
            payload: bounds::copied(&payload)?,
        };
        py.detach(|| self.core.signal(signal)).map_err(raise)
    }

    /// Leaves the cluster: peers drop this replica's entries at once. Send what `poll` still has,
    /// then stop.
    fn leave_gracefully(&self, py: Python<'_>, now: Seconds) {
        py.detach(|| self.core.leave_gracefully(now.0));
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.core.len())
    }

    fn __contains__(&self, py: Python<'_>, topic_and_key: &Bound<'_, PyAny>) -> bool {
        topic_and_key
            .extract::<(String, Name)>()
            .is_ok_and(|(topic, key)| {
                py.detach(|| !self.core.get_by_key(&topic, key.as_key()).is_empty())
            })
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let (id, len, replicas) =
            py.detach(|| (self.core.id(), self.core.len(), self.core.replicas()));
        let up = replicas.iter().filter(|(_, up)| *up).count();
        format!(
            "<Presence {id} {} peers={up}/{}>",
            grouped(len),
            replicas.len()
        )
    }
}

#[derive(IntoPyObject)]
enum Output {
    Transmit(Transmit),
    Event(Event),
    Diff(Diff),
}

/// Calls a setter of the settings if the caller gave a value for it.
fn set<C>(config: C, setter: fn(C, Duration) -> C, given: Option<Seconds>) -> C {
    match given {
        Some(seconds) => setter(config, seconds.0),
        None => config,
    }
}

fn shared_key(key: &[u8]) -> PyResult<SharedKey> {
    let key = <[u8; 16]>::try_from(key)
        .map_err(|_| PyValueError::new_err(format!("a key has 16 bytes, not {}", key.len())))?;
    Ok(SharedKey::new(key))
}

fn collect(topic: &str, entries: Vec<EntryBuf>) -> Vec<Entry> {
    let topic: Arc<str> = topic.into();
    entries
        .into_iter()
        .map(|entry| Entry::new(Arc::clone(&topic), entry))
        .collect()
}
