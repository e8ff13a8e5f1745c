//! `Tracker`: the delta-CRDT alone, without network or clock.

use headcount as core;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bounds::{self, room_for};
use crate::convert::{Buffer, Meta, Name, grouped, new_entry};
use crate::detached_drop::Content;
use crate::diff::Diff;
use crate::error::raise;
use crate::keys::Keys;
use crate::replica::{Replica, new_id};
use crate::sync::Locked;
use crate::verbs::{ENTRY_LEN, Reads, entry_verbs, making_verbs, reference};

/// Presence entries by topic, key and owner, replicated by frames: a delta-CRDT.
///
/// A key names what is present, a user; its owner names what holds it there, a connection. Each
/// entry has a meta: bytes as they are, or any other object as JSON, which nests 128 deep at most.
/// Key and owner are both `str` or both `bytes`; the meta of a key of `bytes` is `bytes` too. `"a"`
/// and `b"a"` are two keys, but one owner. `incarnation` distinguishes one life of the node from the
/// next; left out, it is the wall clock in microseconds.
///
/// `name` is the name of the node, up to 64 bytes. `salt` tells lives of one incarnation apart;
/// left out, it is random.
///
/// >>> t = Tracker("node-1")
/// >>> _ = t.track("room", "ann", "phone", {"away": True})
/// >>> _ = t.track("room", "ann", "laptop")
/// >>> t.count("room"), t.count_keys("room").at_most, ("room", "ann") in t
/// (2, 1, True)
/// >>> t.untrack_owner("phone")
/// 1
///
/// A frame carries what another node lacks:
///
/// >>> other = Tracker("node-2")
/// >>> other.apply(t.delta_since())
/// <Diff topics=1 joins=1 leaves=0 updates=0>
#[pyclass(frozen, weakref, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Tracker {
    core: Locked<core::Tracker>,
}

impl Content for core::Tracker {
    fn parts(&self) -> usize {
        self.len()
    }
}

making_verbs!(Tracker);
entry_verbs!(Tracker);

#[pymethods]
impl Tracker {
    #[new]
    #[pyo3(signature = (name, *, incarnation = None, salt = None))]
    fn new(name: &str, incarnation: Option<u64>, salt: Option<u32>) -> PyResult<Self> {
        let id = new_id(name, incarnation, salt)?;
        Ok(Self {
            core: Locked::new(core::Tracker::new(id)),
        })
    }

    /// This replica.
    #[getter]
    fn replica(&self, py: Python<'_>) -> PyResult<Replica> {
        Ok(Replica(self.core.read(py, |tracker| tracker.id().clone())?))
    }

    /// Return the topics that have entries, hidden ones included, sorted.
    fn topics(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.core.read_long(py, |tracker| {
            let mut topics: Vec<_> = tracker.topics().map(str::to_owned).collect();
            topics.sort();
            topics
        })
    }

    /// Return the changes of this replica's own entries since the last call. O(changes).
    fn take_diff(&self, py: Python<'_>) -> PyResult<Diff> {
        room_for(self.__len__(py)?, ENTRY_LEN)?;
        Ok(self.core.write_long(py, core::Tracker::take_diff)?.into())
    }

    /// Return the number of operations of a replica that are known here; of this one if it is left out. O(1).
    #[pyo3(signature = (replica = None))]
    fn clock(&self, py: Python<'_>, replica: Option<&Replica>) -> PyResult<u64> {
        self.core.read(py, |tracker| {
            tracker.clock(replica.map_or(tracker.id(), |replica| &replica.0))
        })
    }

    /// Return the clock of every replica known here, this one first.
    fn clocks(&self, py: Python<'_>) -> PyResult<Vec<(Replica, u64)>> {
        let origin = |info: core::tracker::OriginInfo| (Replica(info.replica), info.clock);
        self.core
            .read(py, |tracker| tracker.origins().map(origin).collect())
    }

    /// Return a frame with what a holder at clock `since` lacks of a replica (of this one if it is left
    /// out); `None` when it lacks nothing. O(what is missing).
    #[pyo3(signature = (since = 0, *, replica = None))]
    fn delta_since<'py>(
        &self,
        py: Python<'py>,
        since: u64,
        replica: Option<&Replica>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        room_for(self.__len__(py)?, ENTRY_LEN)?;
        let frame = self.core.read_long(py, |tracker| {
            tracker.delta_since(replica.map_or(tracker.id(), |replica| &replica.0), since)
        })?;
        frame.map(|frame| bounds::bytes(py, &frame)).transpose()
    }

    /// Apply a frame of `delta_since` and return what it changed. O(changes).
    ///
    /// Raises `DecodeError` when it is malformed, `GapError` when frames before it are missing,
    /// `ApplyError` when it does not fit for another reason, `MemoryError` when there is no room for
    /// its entries. Nothing has changed then.
    fn apply(&self, py: Python<'_>, frame: Buffer) -> PyResult<Diff> {
        room_for(frame.len(), FRAME_GROWTH)?;
        self.core
            .write_long(py, |tracker| tracker.apply(&frame))?
            .map(Diff::from)
            .map_err(raise)
    }

    /// Hide the entries of another replica, or show them again; return whether that changed
    /// anything. O(1).
    #[pyo3(signature = (replica, hidden = true))]
    fn set_hidden(&self, py: Python<'_>, replica: &Replica, hidden: bool) -> PyResult<bool> {
        self.core
            .write(py, |tracker| tracker.set_hidden(&replica.0, hidden))
    }

    /// Drop another replica with all its entries, and return their leaves. O(its entries).
    fn forget(&self, py: Python<'_>, replica: &Replica) -> PyResult<Diff> {
        Ok(self
            .core
            .write_long(py, |tracker| tracker.forget(&replica.0))?
            .into())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (id, len) = self
            .core
            .read(py, |tracker| (tracker.id().clone(), tracker.len()))?;
        Ok(format!("<Tracker {id} {}>", grouped(len)))
    }
}

/// The approximate number of bytes that a byte of a frame becomes in a tracker, the Diff included.
pub(crate) const FRAME_GROWTH: usize = 32;
