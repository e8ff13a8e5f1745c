//! Changes: `Diff`, `TopicDiff` and `Update`.

use std::sync::Arc;

use headcount as core;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyList, PyTuple};

use crate::bounds::{self, room_for, yielding};
use crate::detached_drop::{Content, DetachedDrop};
use crate::entry::Entry;
use crate::verbs::ENTRY_LEN;

/// Changes per topic: a mapping of topics to `TopicDiff`, empty when nothing changed.
///
/// The changes of a session (topic, key, owner) become one join, leave or update. Every version
/// that `list` could have shown and that is over has a leave, or is the `old` of an update. So a
/// copy of a list, read at any moment, stays right when it applies every diff after it: first the
/// joins, then the updates, then the leaves, by key and `ref`. It ignores leaves of versions that
/// it does not have.
///
/// >>> t = Tracker("a")
/// >>> _ = t.track("room", "ann", "conn-1")
/// >>> diff = t.take_diff()
/// >>> for topic, change in diff.items():
/// ...     print(topic, [entry.key for entry in change.joins])
/// room ['ann']
/// >>> bool(t.take_diff())
/// False
#[pyclass(frozen, mapping, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Diff(DetachedDrop<Vec<Arc<core::TopicDiff>>>, IsLossy);

/// True if a diff lost versions that came and went.
type IsLossy = bool;

impl From<core::Diff> for Diff {
    fn from(diff: core::Diff) -> Self {
        let is_lossy = diff.is_lossy();
        let changes: Vec<_> = diff.into_iter().map(Arc::new).collect();
        Self(DetachedDrop::new(changes), is_lossy)
    }
}

impl Diff {
    /// Returns the same changes. O(topics).
    pub(crate) fn share(&self) -> Self {
        Self(DetachedDrop::new((*self.0).clone()), self.1)
    }

    fn topic(&self, topic: &str) -> Option<TopicDiff> {
        let at = self
            .0
            .binary_search_by(|change| (*change.topic).cmp(topic))
            .ok()?;
        Some(TopicDiff::from(Arc::clone(&self.0[at])))
    }

    fn topics(&self) -> impl Iterator<Item = &core::TopicDiff> {
        self.0.iter().map(|change| &**change)
    }

    fn sum(&self, of: fn(&core::TopicDiff) -> usize) -> usize {
        self.topics().map(of).sum()
    }
}

#[pymethods]
impl Diff {
    /// The entries that are new, of all topics, including those that have left again.
    #[getter]
    fn joins<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        room_for(self.sum(|change| change.joins.len()), ENTRY_LEN)?;
        bounds::list(py, self.topics().flat_map(joins))
    }

    /// The versions of entries that are over, of all topics, each with the reason.
    #[getter]
    fn leaves<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        room_for(self.sum(|change| change.leaves.len()), ENTRY_LEN)?;
        all(py, self.topics().flat_map(|change| leaves(py, change)))
    }

    /// The entries whose content changed, of all topics.
    #[getter]
    fn updates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        room_for(self.sum(|change| change.updates.len()), 2 * ENTRY_LEN)?;
        bounds::list(py, self.topics().flat_map(updates))
    }

    /// Return whether versions that came and went are missing among the leaves, because there were
    /// more than the 4 MiB that a tracker keeps. Read the lists again then.
    fn is_lossy(&self) -> bool {
        self.1
    }

    /// Return a view of the topics with changes, sorted.
    fn keys<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        view(this, "KeysView")
    }

    /// Return a view of the changes, sorted by topic.
    fn values<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        view(this, "ValuesView")
    }

    /// Return a view of the pairs of a topic and its changes, sorted by topic.
    fn items<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        view(this, "ItemsView")
    }

    /// Return the changes of a topic, or `default` when it has none.
    #[pyo3(signature = (key, default = None, /))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match key
            .extract::<&str>()
            .ok()
            .and_then(|topic| self.topic(topic))
        {
            Some(change) => Ok(Bound::new(py, change)?.into_any()),
            None => Ok(default.unwrap_or_else(|| py.None().into_bound(py))),
        }
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__(&self, topic: PyBackedStr) -> PyResult<TopicDiff> {
        self.topic(&topic)
            .ok_or_else(|| PyKeyError::new_err(topic.to_string()))
    }

    fn __contains__(&self, topic: &Bound<'_, PyAny>) -> bool {
        topic
            .extract::<&str>()
            .is_ok_and(|topic| self.topic(topic).is_some())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let topics = self.0.iter().map(|change| &*change.topic);
        Ok(PyTuple::new(py, topics)?.try_iter()?.into_any())
    }

    fn __repr__(&self) -> String {
        let joins = self.sum(|c| c.joins.len());
        let leaves = self.sum(|c| c.leaves.len());
        let updates = self.sum(|c| c.updates.len());
        format!(
            "<Diff topics={} joins={joins} leaves={leaves} updates={updates}>",
            self.0.len()
        )
    }
}

fn view<'py>(diff: &Bound<'py, Diff>, kind: &str) -> PyResult<Bound<'py, PyAny>> {
    let module = diff.py().import("collections.abc")?;
    module.call_method1(kind, (diff,))
}

/// The changes of one topic.
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct TopicDiff(pub(crate) DetachedDrop<Arc<core::TopicDiff>>);

impl From<Arc<core::TopicDiff>> for TopicDiff {
    fn from(change: Arc<core::TopicDiff>) -> Self {
        Self(DetachedDrop::new(change))
    }
}

/// The last one frees the entries.
impl Content for Arc<core::TopicDiff> {
    fn parts(&self) -> usize {
        match Self::strong_count(self) {
            1 => self.len(),
            _ => 0,
        }
    }
}

/// Returns the entries that are new in a topic.
fn joins(change: &core::TopicDiff) -> impl Iterator<Item = Entry> {
    let entry = |buf: &core::EntryBuf| Entry::new(Arc::clone(&change.topic), buf.clone());
    change.joins.iter().map(entry)
}

/// Returns the versions that are over in a topic.
fn leaves<'py, 'a>(
    py: Python<'py>,
    change: &'a core::TopicDiff,
) -> impl Iterator<Item = PyResult<Bound<'py, Leave>>> + use<'py, 'a> {
    let leave = move |leave: &core::tracker::Leave| {
        let entry = Entry::new(Arc::clone(&change.topic), leave.entry.clone());
        let reason = Leave(leave.reason);
        Bound::new(py, PyClassInitializer::from(entry).add_subclass(reason))
    };
    change.leaves.iter().map(leave)
}

/// Returns the entries whose content changed in a topic.
fn updates(change: &core::TopicDiff) -> impl Iterator<Item = Update> {
    let entry = |buf: &core::EntryBuf| Entry::new(Arc::clone(&change.topic), buf.clone());
    let update = move |update: &core::tracker::Update| Update {
        old: entry(&update.old),
        new: entry(&update.new),
    };
    change.updates.iter().map(update)
}

/// Makes leaves into a list of Python, unless one cannot be made.
fn all<'py>(
    py: Python<'py>,
    objects: impl Iterator<Item = PyResult<Bound<'py, Leave>>>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for object in yielding(py, objects) {
        list.append(object?)?;
    }
    Ok(list)
}

#[pymethods]
impl TopicDiff {
    /// The topic.
    #[getter]
    fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The entries that are new, including those that have left again.
    #[getter]
    fn joins<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        room_for(self.0.joins.len(), ENTRY_LEN)?;
        bounds::list(py, joins(&self.0))
    }

    /// The versions of entries that are over, each as it was and with the reason.
    #[getter]
    fn leaves<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        room_for(self.0.leaves.len(), ENTRY_LEN)?;
        all(py, leaves(py, &self.0))
    }

    /// The entries whose content changed.
    #[getter]
    fn updates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        room_for(self.0.updates.len(), 2 * ENTRY_LEN)?;
        bounds::list(py, updates(&self.0))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __repr__(&self) -> String {
        let joins = self.0.joins.len();
        let leaves = self.0.leaves.len();
        let updates = self.0.updates.len();
        format!(
            "<TopicDiff {:?} joins={joins} leaves={leaves} updates={updates}>",
            self.0.topic
        )
    }
}

/// A version of an entry that is over, with the reason.
///
/// >>> t = Tracker("a")
/// >>> _ = t.track("room", "ann", "conn-1"), t.take_diff()
/// >>> t.untrack_owner("conn-1")
/// 1
/// >>> leave, = t.take_diff().leaves
/// >>> leave.key, leave.reason
/// ('ann', 'owner_gone')
#[pyclass(frozen, extends = Entry, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Leave(core::tracker::LeaveReason);

#[pymethods]
impl Leave {
    /// The reason for which it is over:
    ///
    /// - `"untracked"`: a program untracked the entry
    /// - `"owner_gone"`: its owner was untracked, as the connection closed
    /// - `"expired"`: its lease ran out
    /// - `"updated"`: a later version of the entry follows
    /// - `"replica_down"`: its node is silent or its connection broke; the entry joins again if the
    ///   node comes back with it
    /// - `"replica_left"`: its node said Goodbye
    /// - `"replica_replaced"`: its node started again without it
    /// - `"replica_forgotten"`: the program made a `Tracker` forget the replica
    /// - `"unknown"`: this node missed the leave and was only sent what is there now, or the reason
    ///   is one of a later version of headcount
    #[getter]
    fn reason(&self) -> &'static str {
        self.0.name()
    }

    fn __repr__(this: &Bound<'_, Self>) -> PyResult<String> {
        let entry = this.as_super().get().__repr__(this.py())?;
        let fields = entry.trim_start_matches("Entry(").trim_end_matches(')');
        Ok(format!("Leave({fields}, reason='{}')", this.get().reason()))
    }
}

/// An entry before and after a change of its content.
#[pyclass(frozen, eq, module = "headcount")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Update {
    old: Entry,
    new: Entry,
}

#[pymethods]
impl Update {
    /// The key, the same before and after.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.new.key(py)
    }

    /// The entry as a diff last reported it; versions in between are among the leaves.
    #[getter(old)]
    fn before(&self) -> Entry {
        self.old.clone()
    }

    /// The entry as it is now.
    #[getter(new)]
    fn after(&self) -> Entry {
        self.new.clone()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Update(old={}, new={})",
            self.old.__repr__(py)?,
            self.new.__repr__(py)?
        ))
    }
}
