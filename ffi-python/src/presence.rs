//! `Presence`: the replicated whole, sans-I/O.

use std::time::Duration;

use bytes::Bytes;
use headcount as core;
use headcount::codec::SharedKey;
use headcount::replica::{Config, Mode, Shape, Signal};
use headcount::tracker::Limits;
use headcount::{PresenceConfig, ReplicaId, TrackError};
use num_bigint::BigInt;
use num_traits::ToPrimitive;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::bounds::{self, look, room_for};
use crate::convert::{Buffer, Meta, Name, Seconds, grouped, new_entry};
use crate::diff::Diff;
use crate::error::{LimitError, raise};
use crate::event::{Event, GroupSubscription, Transmit};
use crate::keys::Keys;
use crate::replica::{Replica, new_id};
use crate::sync::Detached;
use crate::tracker::FRAME_GROWTH;
use crate::verbs::{ENTRY_LEN, Reads, entry_verbs, making_verbs, reference};

/// The time for which a signal holds, unless its sender says otherwise.
pub(crate) const SIGNAL_TTL: Duration = Duration::from_secs(5);
/// The most partitions of a cluster.
const PARTITIONS_MAX: u32 = 1 << 16;
/// The most partitions of a cluster with counts.
const COUNTED_PARTITIONS_MAX: u32 = PARTITIONS_MAX / 2;
/// The longest part of a host's name in the name of a node.
const HOST_LEN_MAX: usize = 32;

/// The presence of all nodes of a cluster, without I/O, so that any network can carry it.
///
/// The verbs are those of `Tracker`. The caller moves frames and passes the time: `now` is in
/// seconds since any start, the same for all calls. Call `handle_message` with each frame that
/// arrives, `handle_timeout` at the time that `poll_timeout` returns, and send the frames that
/// `poll` yields. A `Node` does all of that, over NATS or a transport of yours.
/// In mode `interest` reads of a topic raise `NotWatched` without a `watch`, and `NotReady` until it
/// is ready.
///
/// `name` must be unique in the cluster; left out, it is made of the host, the process and a
/// random number. `incarnation` and `salt` distinguish one life of the node from the next: left
/// out, they are the time and a random number. All nodes of a cluster have the same name of it,
/// `cluster` ("headcount"), the same `key`, a secret of 16 bytes that seals their frames (none),
/// and the same number of `partitions`, a power of two from 1 to 65,536 (32): a node with other
/// ones hears nothing of the rest.
///
/// Durations are in seconds. A node speaks each `heartbeat` (1). One that is not heard for
/// `down_after` (5) is down, and its entries are hidden; after `forget_after` (1,200) they are
/// removed. Changes wait for `push_after` (0.005) to be sent together, and for `flush` (0.005) to
/// be one diff. Entries of an owner that is lost stay for `grace` (0). A partition without entries
/// of this node is given up after `vacate_after` (60), and with it what is remembered of those
/// that left. The event `ready` names the nodes that this one has not caught up with `ready_after`
/// (5) after two heartbeats. Frames have at most `frame_max` bytes (262,144). `relay` (false) is
/// for transports that do not reach every node directly; all nodes have it, or none.
///
/// With `mode` "interest" (the same on all nodes; "all") a node holds, beside its own entries,
/// those of the topics that it watches: see `watch`. What others have in a topic is held for
/// `unwatch_after` (30) after its last watch. Choose it with some thousands of partitions when
/// there is more presence than each node can hold, and users of a topic are on few nodes. It
/// cannot be combined with `relay`. With `counts` (the same on all nodes; false) nodes tell how
/// many entries they have in each topic, once a heartbeat, so that a node can count topics whose
/// entries it does not hold: see `watch_counts`.
///
/// Raises `ValueError` for a name of more than 64 bytes, a key of another length, a number of
/// partitions that is not a power of two, an unknown mode, counts in mode "all", and a
/// `forget_after` that is not above `down_after`; `LimitError` for more than 65,536 partitions, or
/// 32,768 with counts.
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
#[pyclass(frozen, weakref, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Presence {
    core: Detached<core::Presence>,
    /// The options of the constructor, for `restore`.
    config: PresenceConfig,
}

making_verbs!(Presence);
entry_verbs!(Presence);

#[pymethods]
impl Presence {
    #[new]
    #[pyo3(signature = (
        name = None, *, incarnation = None, salt = None, cluster = "headcount", key = None,
        heartbeat = None, down_after = None, forget_after = None, push_after = None,
        flush = None, grace = None, frame_max = None, relay = false, partitions = None,
        vacate_after = None, ready_after = None, mode = Interest(Mode::All), unwatch_after = None,
        counts = false,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a constructor")]
    fn new(
        py: Python<'_>,
        name: Option<&str>,
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
        partitions: Option<Partitions>,
        vacate_after: Option<Seconds>,
        ready_after: Option<Seconds>,
        mode: Interest,
        unwatch_after: Option<Seconds>,
        counts: bool,
    ) -> PyResult<Self> {
        mode.check(relay)?;
        mode.check_counts(counts, partitions.as_ref())?;
        let key = key.map(|key| shared_key(&key)).transpose()?;
        let replication = Config::default().cluster(cluster).key(key);
        let mut replication = replication.relay(relay).mode(mode.0).counts(counts);
        replication = set(replication, Config::heartbeat, heartbeat);
        replication = set(replication, Config::down_after, down_after);
        replication = set(replication, Config::forget_after, forget_after);
        replication = set(replication, Config::push_after, push_after);
        replication = set(replication, Config::vacate_after, vacate_after);
        replication = set(replication, Config::ready_after, ready_after);
        replication = set(replication, Config::unwatch_after, unwatch_after);
        if let Some(frame_max) = frame_max {
            replication = replication.frame_max(frame_max);
        }
        if let Some(Partitions(partitions)) = partitions {
            replication = replication.partitions(partitions);
        }
        replication.check().map_err(raise)?;
        let name = name.map_or_else(|| name_of_process(py), |name| Ok(name.to_owned()))?;
        let seed = getrandom::u64().map_err(std::io::Error::from)?;
        let mut config = PresenceConfig::default()
            .replication(replication)
            .seed(seed);
        config = set(config, PresenceConfig::flush, flush);
        config = set(config, PresenceConfig::grace, grace);
        let core = core::Presence::new(new_id(&name, incarnation, salt)?, config.clone());
        Ok(Self {
            core: Detached::new(core),
            config,
        })
    }

    /// Create a presence, and return with it the own entries in `snapshot`, as the joins of a `Diff`. It tracks none of
    /// them: track those again whose connections are still there, with `lease` for those that might not be. It asks
    /// the other nodes for their entries. The options are those of the constructor. O(entries).
    ///
    /// Raises `DecodeError` when the bytes are not a snapshot.
    #[staticmethod]
    #[pyo3(signature = (snapshot, name, **options))]
    fn restore(
        py: Python<'_>,
        snapshot: Buffer,
        name: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(Self, Diff)> {
        room_for(snapshot.len(), FRAME_GROWTH)?;
        let new = py.get_type::<Self>().call((name,), options)?;
        let new = new.cast::<Self>()?.get();
        let id = new.core.get()?.id();
        let config = new.config.clone();
        let restored = py.detach(|| core::Presence::restore(id, config, &snapshot));
        let (core, entries) = restored.map_err(raise)?;
        let presence = Self {
            core: Detached::new(core),
            config: new.config.clone(),
        };
        Ok((presence, entries.into()))
    }

    /// Return the own entries as bytes, for `restore`. Other threads may change them meanwhile. O(own entries).
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        room_for(self.__len__(py)?, ENTRY_LEN)?;
        let snapshot = self.core.read(py, |core| core.snapshot())?;
        bounds::bytes(py, &snapshot)
    }

    /// Give an owner's entries a lease, or renew it: unless it is renewed within `ttl` seconds, they
    /// leave.
    fn lease_owner(&self, py: Python<'_>, now: Seconds, owner: Name, ttl: Seconds) -> PyResult<()> {
        self.core
            .read(py, |core| core.lease_owner(now.0, owner.as_bytes(), ttl.0))?;
        Ok(())
    }

    /// Give one entry a lease, or renew it; return whether it is tracked.
    fn lease(
        &self,
        py: Python<'_>,
        now: Seconds,
        topic: &str,
        key: Name,
        owner: Name,
        ttl: Seconds,
    ) -> PyResult<bool> {
        let key = key.as_key();
        let owner = owner.as_bytes();
        self.core
            .read(py, |core| core.lease(now.0, topic, key, owner, ttl.0))
    }

    /// Report that an owner was lost unexpectedly: its entries stay for the `grace` of the
    /// constructor, in case it comes back.
    fn owner_lost(&self, py: Python<'_>, now: Seconds, owner: Name) -> PyResult<()> {
        self.core
            .read(py, |core| core.owner_lost(now.0, owner.as_bytes()))?;
        Ok(())
    }

    /// Report that a lost owner is back: its entries stay; return whether its grace was not over.
    fn owner_back(&self, py: Python<'_>, owner: Name) -> PyResult<bool> {
        self.core.read(py, |core| core.owner_back(owner.as_bytes()))
    }

    /// This replica. It changes when the node finds a duplicate of itself and takes a new incarnation.
    #[getter]
    fn replica(&self, py: Python<'_>) -> PyResult<Replica> {
        Ok(Replica(self.core.read(py, |core| core.id())?))
    }

    /// Flush now: return the changes of this replica's own entries since the last flush. Each change
    /// is returned once: here, or by `poll`, `flush` seconds (0.005) after the first call that sees it.
    /// O(changes).
    fn take_diff(&self, py: Python<'_>) -> PyResult<Diff> {
        room_for(self.__len__(py)?, ENTRY_LEN)?;
        Ok(self.core.read(py, |core| core.take_diff())?.into())
    }

    /// Take one frame from a neighbour of the transport. O(changes).
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
        self.core
            .read(py, |core| core.handle_message(now.0, sender, &frame))?
            .map_err(raise)
    }

    /// Do what is due: heartbeats, pushes, pulls, and the verdicts that a replica is down or forgotten.
    ///
    /// Raises `MemoryError` when there is no room for a slice of it; nothing is lost.
    fn handle_timeout(&self, py: Python<'_>, now: Seconds) -> PyResult<()> {
        look(0)?;
        self.core.read(py, |core| core.handle_timeout(now.0))?;
        Ok(())
    }

    /// Report that the transport lost a neighbour: its replica is hidden at once.
    fn disconnected(&self, py: Python<'_>, now: Seconds, sender: &str) -> PyResult<()> {
        self.core
            .read(py, |core| core.disconnected(now.0, sender))?;
        Ok(())
    }

    /// Return the time of the next `handle_timeout`, in seconds as `now`; `None` for never. Local
    /// operations may bring it nearer.
    fn poll_timeout(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        Ok(self
            .core
            .read(py, |core| core.poll_timeout())?
            .map(|at| at.as_secs_f64()))
    }

    /// Watch a topic, in mode `interest`: what others have in it is held from now on, and its changes are among the
    /// diffs. It can be read once the event `topic_ready` has come: one round trip later, and two heartbeats after the
    /// start at the earliest; until then reads raise `NotReady`, without a watch `NotWatched`. Watches are counted:
    /// each is undone by one `unwatch`. In mode `all` it does nothing. O(replicas) for the first topic of a partition,
    /// else O(log topics).
    ///
    /// Raises `LimitError` for a topic of more than 256 bytes.
    fn watch(&self, py: Python<'_>, now: Seconds, topic: &str) -> PyResult<()> {
        check_topic(topic)?;
        self.core.read(py, |core| core.watch(now.0, topic))
    }

    /// End a watch of a topic. After the last one it cannot be read, and what others have in it goes `unwatch_after`
    /// later. A topic that is not watched stays so. O(log topics).
    fn unwatch(&self, py: Python<'_>, now: Seconds, topic: &str) -> PyResult<()> {
        self.core.read(py, |core| core.unwatch(now.0, topic))
    }

    /// Watch the counts of a topic, in a cluster with `counts`: `count` and `count_keys` answer once the event
    /// `counts_ready` has come, as `topic_ready` does for `watch`; until then they raise `NotReady`. They are those of
    /// the last heartbeat of each replica, and of this one as it is now. Nothing else of the topic can be read, and no
    /// diff has its changes. Watches are counted: each is undone by one `unwatch_counts`. In a cluster without `counts`
    /// the entries are watched instead; in mode `all` it does nothing. O(replicas) for the first topic of a partition,
    /// else O(log topics).
    ///
    /// Raises `LimitError` for a topic of more than 256 bytes.
    fn watch_counts(&self, py: Python<'_>, now: Seconds, topic: &str) -> PyResult<()> {
        check_topic(topic)?;
        self.core.read(py, |core| core.watch_counts(now.0, topic))
    }

    /// End a watch of the counts of a topic. After the last one it cannot be counted, unless it is watched by `watch`,
    /// and what is held of its counts goes `unwatch_after` later. One that is not watched stays so. O(log topics).
    fn unwatch_counts(&self, py: Python<'_>, now: Seconds, topic: &str) -> PyResult<()> {
        self.core.read(py, |core| core.unwatch_counts(now.0, topic))
    }

    /// Return the next partition whose frames the transport is to bring, or no longer. Ask for it before
    /// `poll_transmit`.
    fn poll_subscription(&self, py: Python<'_>) -> PyResult<Option<GroupSubscription>> {
        let change = self.core.read(py, |core| core.poll_subscription())?;
        Ok(change.map(GroupSubscription::from))
    }

    /// Return the next frame to send.
    fn poll_transmit(&self, py: Python<'_>) -> PyResult<Option<Transmit>> {
        Ok(self
            .core
            .read(py, |core| core.poll_transmit())?
            .map(Transmit::from))
    }

    /// Return the next event of the cluster.
    fn poll_event(&self, py: Python<'_>) -> PyResult<Option<Event>> {
        Ok(self
            .core
            .read(py, |core| core.poll_event())?
            .map(Event::from))
    }

    /// Return the next changes, of other replicas and of this one, in the order in which the lists changed.
    fn poll_diff(&self, py: Python<'_>) -> PyResult<Option<Diff>> {
        Ok(self.core.read(py, |core| core.poll_diff())?.map(Diff::from))
    }

    /// Return an iterator over all present outputs: each a `Transmit`, an `Event` or a `Diff`; in mode `interest` the
    /// first may be `GroupSubscription`s.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut outputs = Vec::new();
        while let Some(change) = self.poll_subscription(py)? {
            outputs.push(Output::GroupSubscription(change));
        }
        while let Some(transmit) = self.poll_transmit(py)? {
            outputs.push(Output::Transmit(transmit));
        }
        while let Some(event) = self.poll_event(py)? {
            outputs.push(Output::Event(event));
        }
        while let Some(diff) = self.poll_diff(py)? {
            outputs.push(Output::Diff(diff));
        }
        Ok(PyList::new(py, outputs)?.try_iter()?.into_any())
    }

    /// Return whether this node has caught up, at least once, with everything its known peers advertised.
    fn is_synced(&self, py: Python<'_>) -> PyResult<bool> {
        self.core.read(py, |core| core.is_synced())
    }

    /// Return the topics that have entries, hidden ones included, sorted. O(topics).
    fn topics(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.core.read_long(py, core::Presence::topics)
    }

    /// Return the other replicas known, each with whether it is up.
    fn replicas(&self, py: Python<'_>) -> PyResult<Vec<(Replica, bool)>> {
        let replicas = self.core.read(py, |core| core.replicas())?;
        Ok(replicas
            .into_iter()
            .map(|(id, up)| (Replica(id), up))
            .collect())
    }

    /// Send a short-lived signal, such as typing, to all peers, in mode "interest" to those that
    /// watch the topic; nothing is stored. `ttl` is in seconds.
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
            .read(py, |core| core.signal(signal))?
            .map_err(raise)
    }

    /// Leave the cluster: peers drop this replica's entries at once. Goodbye is said three times, 20 ms apart, as
    /// frames may be lost: send the frames that `poll` yields, and call `handle_timeout` when `poll_goodbye` says so,
    /// until that is `None`; then stop.
    fn leave_gracefully(&self, py: Python<'_>, now: Seconds) -> PyResult<()> {
        self.core.read(py, |core| core.leave_gracefully(now.0))?;
        Ok(())
    }

    /// Return the time of the `handle_timeout` that says the next Goodbye, in seconds as `now`, after
    /// `leave_gracefully`; `None` once all are said.
    fn poll_goodbye(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let next = self.core.read(py, |core| core.poll_goodbye())?;
        Ok(next.map(|at| at.as_secs_f64()))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (id, len, replicas) = self
            .core
            .read(py, |core| (core.id(), core.len(), core.replicas()))?;
        let up = replicas.iter().filter(|(_, up)| *up).count();
        let peers = replicas.len();
        Ok(format!(
            "<Presence {id} {} peers={up}/{peers}>",
            grouped(len)
        ))
    }
}

impl Presence {
    /// Returns what a node starts from.
    pub(crate) fn identity(&self) -> PyResult<(ReplicaId, PresenceConfig)> {
        Ok((self.core.get()?.id(), self.config.clone()))
    }
}

/// Raises `LimitError` for a topic in which nothing can be tracked.
pub(crate) fn check_topic(topic: &str) -> PyResult<()> {
    let max = Limits::default().get_topic_len_max();
    let len = topic.len();
    if len > max {
        return Err(raise(TrackError::TopicTooLong { len, max }));
    }
    Ok(())
}

pub(crate) fn read_signal(
    topic: &str,
    key: &Name,
    kind: u8,
    payload: &[u8],
    ttl: Seconds,
) -> PyResult<Signal> {
    Ok(Signal {
        topic: topic.to_owned(),
        key: bounds::copied(key.as_bytes())?,
        kind,
        ttl_ms: u32::try_from(ttl.0.as_millis())
            .map_err(|_| PyOverflowError::new_err("the ttl is at most 49 days"))?,
        payload: bounds::copied(payload)?,
    })
}

/// Returns a name that no other process has: host, process id and a random number.
fn name_of_process(py: Python<'_>) -> PyResult<String> {
    let host: String = py
        .import("socket")?
        .call_method0("gethostname")?
        .extract()?;
    let host: String = host
        .chars()
        .filter(char::is_ascii_graphic)
        .take(HOST_LEN_MAX)
        .collect();
    let random = getrandom::u32().map_err(std::io::Error::from)?;
    Ok(format!("{host}-{}-{random:08x}", std::process::id()))
}

#[derive(IntoPyObject)]
enum Output {
    GroupSubscription(GroupSubscription),
    Transmit(Transmit),
    Event(Event),
    Diff(Diff),
}

/// What a node holds of the others, by the name of the mode.
struct Interest(Mode);

impl Interest {
    fn check(&self, relay: bool) -> PyResult<()> {
        if relay && self.0 == Mode::Interest {
            let text = "relay is for mode \"all\": with it every node holds everything";
            return Err(PyValueError::new_err(text));
        }
        Ok(())
    }

    fn check_counts(&self, counts: bool, partitions: Option<&Partitions>) -> PyResult<()> {
        if counts && self.0 == Mode::All {
            let text =
                "counts are for mode \"interest\": in mode \"all\" every node counts what it holds";
            return Err(PyValueError::new_err(text));
        }
        let max = COUNTED_PARTITIONS_MAX;
        if counts && partitions.is_some_and(|partitions| partitions.0 > max) {
            let text = format!("with counts there are at most {max} partitions");
            return Err(LimitError::new_err((text, max)));
        }
        Ok(())
    }
}

impl<'py> FromPyObject<'_, 'py> for Interest {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match &*obj.extract::<PyBackedStr>()? {
            "all" => Ok(Self(Mode::All)),
            "interest" => Ok(Self(Mode::Interest)),
            _ => Err(PyValueError::new_err("mode is \"all\" or \"interest\"")),
        }
    }
}

/// A number of partitions.
struct Partitions(u32);

impl<'py> FromPyObject<'_, 'py> for Partitions {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let number: BigInt = obj.extract()?;
        let given = number.to_i64();
        let given = given.map_or("that".to_owned(), |number| number.to_string());
        let text = format!("partitions is a power of two from 1 to {PARTITIONS_MAX}, not {given}");
        if number > PARTITIONS_MAX.into() {
            return Err(LimitError::new_err((text, PARTITIONS_MAX)));
        }
        let shape = number
            .to_u32()
            .and_then(|number| Shape::new(number, Mode::All));
        let shape = shape.ok_or_else(|| PyValueError::new_err(text))?;
        Ok(Self(shape.partitions()))
    }
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
