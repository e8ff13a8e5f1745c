//! `Tracker`: the delta-CRDT alone, without network or clock.

use std::sync::Arc;

use headcount as core;
use headcount::TrackError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bounds::{self, room_for};
use crate::convert::{Buffer, Meta, Name, grouped, put};
use crate::diff::Diff;
use crate::entry::Entry;
use crate::error::raise;
use crate::replica::{Replica, new_id};
use crate::sync::Locked;

/// Presence entries by topic, key and owner, replicated by frames: a delta-CRDT.
///
/// A key is what is present (a user), its owner what holds it there (a connection). Each entry
/// has a meta: JSON of whatever is passed, or bytes as they are. `incarnation` tells one life of
/// the node from the next; left out, it is the wall clock in microseconds.
///
/// >>> t = Tracker("node-1")
/// >>> _ = t.track("room", "ann", "phone", {"away": True})
/// >>> _ = t.track("room", "ann", "laptop")
/// >>> t.count("room"), t.count_keys("room"), ("room", "ann") in t
/// (2, 1, True)
/// >>> t.untrack_owner("phone")
/// 1
///
/// What another node lacks travels as a frame:
///
/// >>> other = Tracker("node-2")
/// >>> other.apply(t.delta_since())
/// <Diff topics=1 joins=1 leaves=0 updates=0>
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Tracker(Locked<core::Tracker>);

impl Tracker {
    fn put<F>(&self, py: Python<'_>, f: F) -> PyResult<String>
    where
        F: FnOnce(&mut core::Tracker) -> Result<core::id::EntryRef, TrackError> + Send,
    {
        self.0
            .write(py, f)
            .map(|entry_ref| entry_ref.to_string())
            .map_err(raise)
    }
}

#[pymethods]
impl Tracker {
    #[new]
    #[pyo3(signature = (name, *, incarnation = None, salt = None))]
    fn new(name: &str, incarnation: Option<u64>, salt: Option<u32>) -> PyResult<Self> {
        let id = new_id(name, incarnation, salt)?;
        Ok(Self(Locked::new(core::Tracker::new(id))))
    }

    /// This replica.
    #[getter]
    fn replica(&self, py: Python<'_>) -> Replica {
        Replica(self.0.read(py, |tracker| tracker.id().clone()))
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
        self.put(py, |tracker| tracker.track(&put))
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
        self.put(py, |tracker| tracker.update(&put))
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
        self.put(py, |tracker| tracker.upsert(&put))
    }

    /// Removes one of this replica's entries. Returns whether it was there. O(1).
    fn untrack(&self, py: Python<'_>, topic: &str, key: Name, owner: Name) -> bool {
        self.0.write(py, |tracker| {
            tracker.untrack(topic, key.as_key(), owner.as_bytes())
        })
    }

    /// Removes everything an owner holds, in all topics. Returns how many entries. O(entries).
    fn untrack_owner(&self, py: Python<'_>, owner: Name) -> usize {
        self.0
            .write_long(py, |tracker| tracker.untrack_owner(owner.as_bytes()))
    }

    /// The entries of a topic, in no particular order. O(entries of the topic).
    ///
    /// Raises `MemoryError` when they find no room.
    fn list(&self, py: Python<'_>, topic: &str) -> PyResult<Vec<Entry>> {
        room_for(self.count(py, topic), ENTRY_LEN)?;
        Ok(self
            .0
            .read_long(py, |tracker| collect(topic, tracker.list(topic))))
    }

    /// The entries of a key in a topic. O(entries of the key).
    fn get_by_key(&self, py: Python<'_>, topic: &str, key: Name) -> Vec<Entry> {
        self.0.read(py, |tracker| {
            collect(topic, tracker.get_by_key(topic, key.as_key()))
        })
    }

    /// Returns how many entries a topic has. O(1).
    fn count(&self, py: Python<'_>, topic: &str) -> usize {
        self.0.read(py, |tracker| tracker.count(topic))
    }

    /// Returns how many distinct keys a topic has. O(1).
    fn count_keys(&self, py: Python<'_>, topic: &str) -> usize {
        self.0.read(py, |tracker| tracker.count_keys(topic))
    }

    /// The topics that have entries, sorted.
    fn topics(&self, py: Python<'_>) -> Vec<String> {
        self.0.read_long(py, |tracker| {
            let mut topics: Vec<_> = tracker.topics().map(str::to_owned).collect();
            topics.sort();
            topics
        })
    }

    /// Returns what changed about this replica's own entries since the last call. O(changes).
    fn take_diff(&self, py: Python<'_>) -> PyResult<Diff> {
        room_for(self.__len__(py), ENTRY_LEN)?;
        Ok(self.0.write_long(py, core::Tracker::take_diff).into())
    }

    /// Returns how far the operations of a replica are known here; of this one if it is left out. O(1).
    #[pyo3(signature = (replica = None))]
    fn clock(&self, py: Python<'_>, replica: Option<&Replica>) -> u64 {
        self.0.read(py, |tracker| {
            tracker.clock(replica.map_or(tracker.id(), |replica| &replica.0))
        })
    }

    /// The clock of every replica known here, this one first.
    fn clocks(&self, py: Python<'_>) -> Vec<(Replica, u64)> {
        let origin = |info: core::tracker::OriginInfo| (Replica(info.replica), info.clock);
        self.0
            .read(py, |tracker| tracker.origins().map(origin).collect())
    }

    /// A frame with what a holder at clock `since` lacks of a replica (of this one if it is left
    /// out); `None` when it lacks nothing. O(what is missing).
    #[pyo3(signature = (since = 0, *, replica = None))]
    fn delta_since<'py>(
        &self,
        py: Python<'py>,
        since: u64,
        replica: Option<&Replica>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        room_for(self.__len__(py), ENTRY_LEN)?;
        let frame = self.0.read_long(py, |tracker| {
            tracker.delta_since(replica.map_or(tracker.id(), |replica| &replica.0), since)
        });
        frame.map(|frame| bounds::bytes(py, &frame)).transpose()
    }

    /// Takes in a frame of `delta_since` and returns what it changed. O(changes).
    ///
    /// Raises `DecodeError` when it is malformed, `GapError` when frames before it are missing,
    /// `ApplyError` when it does not fit otherwise, `MemoryError` when what it brings finds no
    /// room. Nothing has changed then.
    fn apply(&self, py: Python<'_>, frame: Buffer) -> PyResult<Diff> {
        room_for(frame.len(), FRAME_GROWTH)?;
        self.0
            .write_long(py, |tracker| tracker.apply(&frame))
            .map(Diff::from)
            .map_err(raise)
    }

    /// Hides the entries of another replica, or shows them again. Returns whether that changed
    /// anything. O(1).
    #[pyo3(signature = (replica, hidden = true))]
    fn set_hidden(&self, py: Python<'_>, replica: &Replica, hidden: bool) -> bool {
        self.0
            .write(py, |tracker| tracker.set_hidden(&replica.0, hidden))
    }

    /// Drops another replica with all its entries, and returns their leaves. O(its entries).
    fn forget(&self, py: Python<'_>, replica: &Replica) -> Diff {
        self.0
            .write_long(py, |tracker| tracker.forget(&replica.0))
            .into()
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.0.read(py, core::Tracker::len)
    }

    fn __contains__(&self, py: Python<'_>, topic_and_key: &Bound<'_, PyAny>) -> bool {
        topic_and_key
            .extract::<(String, Name)>()
            .is_ok_and(|(topic, key)| {
                self.0.read(py, |tracker| {
                    tracker.get_by_key(&topic, key.as_key()).next().is_some()
                })
            })
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let (id, len) = self
            .0
            .read(py, |tracker| (tracker.id().clone(), tracker.len()));
        format!("<Tracker {id} {}>", grouped(len))
    }
}

/// About what a copy of an entry takes.
pub(crate) const ENTRY_LEN: usize = 256;
/// About how many bytes a byte of a frame becomes in a tracker, the Diff included.
pub(crate) const FRAME_GROWTH: usize = 32;

fn collect<'a>(topic: &str, entries: impl Iterator<Item = core::Entry<'a>>) -> Vec<Entry> {
    let topic: Arc<str> = topic.into();
    entries
        .map(|entry| Entry::new(Arc::clone(&topic), entry.to_buf()))
        .collect()
}
