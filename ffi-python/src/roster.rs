//! `Roster`: where presence and list meet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use headcount as core;
use headcount::member_list::BodyFormat;
use headcount::roster::OfflinePolicy;
use headcount::{EntryBuf, ListError, Placement, RosterOptions, SortKey, Status};
use parking_lot::Mutex;
use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyList, PyTuple};

use crate::batch::{BulkReport, NewMembers, payload};
use crate::bounds::{self, BATCH_MAX, collect, texts, yielding};
use crate::convert::Seconds;
use crate::diff::TopicDiff;
use crate::entry::Entry;
use crate::error::raise;
use crate::id::{AnyId, Key, PyId};
use crate::list_or_roster::ListOrRoster;
use crate::member_list::{MemberList, each};

/// Placements of the entries of the diff at hand: made before the list is locked, so that no
/// Python code runs under its lock.
type Placements = Arc<Mutex<HashMap<(core::id::Origin, u64), Placement>>>;

/// A list that follows presence: one row for each user with sessions.
///
/// `mapping` takes an `Entry` and says where it puts its user: `(group, key)`, `(group, key, attrs)`
/// or `(group, key, attrs, payload)`; with `None` the entry does not count as a session. The
/// attribute bits are those of `status_bits`, which are the roster's; it leaves the others as the
/// application sets them. The payload is one as `MemberList.set_payload` takes it; where the mapping
/// gives none, the roster leaves the payload as it is. The key of an entry is the id of the row. The
/// status of an entry is 0 online, 1 idle, 2 dnd, 3 invisible; over the sessions of a user the first
/// of `priority` decides. A user whose sessions are gone, or who is invisible, is offline for
/// others: the row is removed, or moves to the group `offline`.
///
/// >>> ml = MemberList(str, groups=["here", "away", "offline"])
/// >>> roster = Roster(ml, lambda e: ("away" if e.status == 1 else "here", e.key), offline="offline")
/// >>> t = Tracker("a")
/// >>> _ = t.track("room", "ann", "phone", status=1)
/// >>> _ = t.track("room", "ann", "laptop")
/// >>> roster.apply(t.take_diff()["room"]).changes
/// [('ann', 'offline', 'online')]
/// >>> ml
/// <MemberList 1 here=1 away=0 offline=0>
/// >>> _ = t.untrack_owner("laptop")
/// >>> roster.apply(t.take_diff()["room"]).changes
/// [('ann', 'online', 'idle')]
/// >>> ml
/// <MemberList 1 here=0 away=1 offline=0>
#[pyclass(frozen, generic, weakref, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Roster {
    list: MemberList,
    mapping: Py<PyAny>,
    placements: Placements,
}

#[pymethods]
impl Roster {
    /// Create a roster over a list that has none yet; the list stays usable.
    #[new]
    #[pyo3(signature = (
        list, mapping, *, offline = None, priority = None, last_seen_max = None, status_bits = 0,
    ))]
    fn new(
        py: Python<'_>,
        list: &Bound<'_, MemberList>,
        mapping: Py<PyAny>,
        offline: Option<&str>,
        priority: Option<&Bound<'_, PyAny>>,
        last_seen_max: Option<usize>,
        status_bits: u32,
    ) -> PyResult<Self> {
        let list = list.get().clone();
        let placements = Placements::default();
        let mut options = RosterOptions::default().status_bits(status_bits);
        if let Some(last_seen_max) = last_seen_max {
            options = options.last_seen_max(last_seen_max);
        }
        if let Some(names) = priority {
            let names = texts(names, "priority", Status::ALL.len())?;
            let status = |name: &PyBackedStr| name.parse::<Status>();
            let statuses: Result<Vec<_>, _> = names.iter().map(status).collect();
            let statuses = statuses.map_err(|error: core::roster::UnknownStatus| {
                PyValueError::new_err(error.to_string())
            })?;
            options = options.priority(statuses);
        }
        let put = each!(list, target => target.write(py, |target| enroll(target, options, offline, &placements))?);
        if put.map_err(raise)? {
            Ok(Self {
                list,
                mapping,
                placements,
            })
        } else {
            Err(PyValueError::new_err("the list has a roster already"))
        }
    }

    /// The list.
    #[getter]
    fn list(&self) -> MemberList {
        self.list.clone()
    }

    /// Apply the changes of the topic. `now` is the wall clock in seconds since 1970, for
    /// last-seen; left out, it is read. O(changes x log members).
    ///
    /// An entry for which the mapping raises, or names a group that the list lacks or attribute bits
    /// outside of `status_bits`, is refused and does not count as a session; the others are applied.
    #[pyo3(signature = (change, *, now = None))]
    fn apply(
        &self,
        py: Python<'_>,
        change: &TopicDiff,
        now: Option<Seconds>,
    ) -> PyResult<RosterReport> {
        let diff = &*change.0;
        let new = diff.updates.iter().map(|update| &update.new);
        let entries = diff
            .joins
            .iter()
            .chain(new)
            .map(|buf| Entry::new(Arc::clone(&diff.topic), buf.clone()));
        self.work(py, entries, now, Work::Apply(diff))
    }

    /// Put the entries of the topic, as `Presence.list` returns them, in the place of all sessions:
    /// to begin with, and after changes were missed, such as by a `LagError`. Entries are refused as
    /// in `apply`. O(entries x log members).
    #[pyo3(signature = (entries, *, now = None))]
    fn reset(
        &self,
        py: Python<'_>,
        entries: &Bound<'_, PyAny>,
        now: Option<Seconds>,
    ) -> PyResult<RosterReport> {
        let entries = collect(entries, "entries", BATCH_MAX, |entry| {
            Ok(entry.cast::<Entry>()?.get().clone())
        })?;
        let bufs = yielding(py, entries.iter()).map(|entry| entry.buf().clone());
        let bufs: Vec<_> = bufs.collect();
        let report = self.work(py, entries, now, Work::Reset(&bufs));
        py.detach(|| drop(bufs));
        report
    }

    /// Load members that are offline, all at once, as `MemberList.bulk_load` does.
    fn load_offline(&self, py: Python<'_>, members: &Bound<'_, PyAny>) -> PyResult<BulkReport> {
        each!(self.list, target => {
            let members = NewMembers::read(members)?;
            target.write_long(py, |target| members.load(target))?
            .map(BulkReport::from)
            .map_err(raise)
        })
    }

    /// Return the status of a user that others see: `online`, `idle`, `dnd` or `offline`.
    fn status(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<&'static str> {
        each!(self.list, target => {
            let id = PyId::from_py(id)?;
            target.read(py, |target| target.roster().map_or("offline", |r| r.status(&id).as_str()))
        })
    }

    /// Return the status that the user's own sessions see: as `status`, or `invisible`.
    fn own_status(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<&'static str> {
        each!(self.list, target => {
            let id = PyId::from_py(id)?;
            target.read(py, |target| target.roster().map_or("offline", |r| r.own_status(&id).as_str()))
        })
    }

    /// Return the time at which the user was last seen, in seconds since 1970; `None` while the
    /// user is visible, or when it is not known.
    fn last_seen(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        each!(self.list, target => {
            let id = PyId::from_py(id)?;
            target.read(py, |target| target.roster().and_then(|roster| roster.last_seen(&id)))
        })
    }

    /// Return the number of users that others see online. O(1).
    fn online_count(&self, py: Python<'_>) -> PyResult<usize> {
        each!(self.list, target => {
                    target.read(py, |target| target.roster().map_or(0, core::Roster::online_count))
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let members = self.list.member_count(py)?;
        let online = self.online_count(py)?;
        Ok(format!("<Roster {members} online={online}>"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.mapping)
    }
}

impl Roster {
    /// Asks the mapping about the entries, without the lock of the list, then changes the roster.
    fn work(
        &self,
        py: Python<'_>,
        entries: impl IntoIterator<Item = Entry>,
        now: Option<Seconds>,
        work: Work<'_>,
    ) -> PyResult<RosterReport> {
        let mut places = Vec::new();
        let mut refused = Vec::new();
        for entry in yielding(py, entries.into_iter()) {
            let buf = entry.buf().clone();
            match self.place(py, entry) {
                Ok(Some(place)) => places.push((buf, place)),
                Ok(None) => {}
                Err(error) if error.is_instance_of::<PyException>(py) => {
                    refused.push((buf, error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        let wall_s = now.map_or_else(wall_clock_s, |now| now.0.as_secs());
        each!(self.list, target => target.write_long(py, |target| {
            for (buf, place) in places {
                let status = Status::of_session(buf.status());
                match place.resolve(target, status) {
                    Ok(place) => drop(self.placements.lock().insert(name_of(&buf), place)),
                    Err(error) => refused.push((buf, error.to_string())),
                }
            }
            let report = target.roster_mut().map(|roster| work.run(roster, wall_s));
            self.placements.lock().clear();
            report.map(|report| RosterReport::new(report, &refused)).unwrap_or_default()
        }))
    }

    /// Asks the mapping where an entry puts its user; `None` if the entry does not count.
    fn place(&self, py: Python<'_>, entry: Entry) -> PyResult<Option<Place>> {
        let place = self.mapping.bind(py).call1((entry,))?;
        if place.is_none() {
            return Ok(None);
        }
        Place::read(&place, self.list.format).map(Some)
    }
}

/// A change of a roster whose ids may be of any kind.
#[derive(Clone, Copy)]
enum Work<'a> {
    Apply(&'a core::TopicDiff),
    Reset(&'a [EntryBuf]),
}

impl Work<'_> {
    fn run<I: PyId>(
        self,
        roster: &mut core::Roster<I>,
        wall_s: u64,
    ) -> core::roster::RosterReport<I> {
        match self {
            Self::Apply(diff) => roster.apply(diff, wall_s),
            Self::Reset(entries) => roster.reset(entries, wall_s),
        }
    }
}

/// Returns the name of a version of an entry.
fn name_of(buf: &EntryBuf) -> (core::id::Origin, u64) {
    (buf.origin().clone(), buf.version())
}

/// The result of a mapping, before its group is looked up.
struct Place {
    /// Not an object of Python: thousands of them, let go of without the interpreter, would wait for it.
    group: Box<str>,
    key: SortKey,
    attrs: u32,
    payload: Option<Bytes>,
}

impl Place {
    /// Reads what a mapping of a list with payloads of this format gave.
    fn read(place: &Bound<'_, PyAny>, format: Option<BodyFormat>) -> PyResult<Self> {
        let tuple = place.cast::<PyTuple>().ok();
        let Some(tuple) = tuple.filter(|tuple| matches!(tuple.len(), 2..=4)) else {
            let text = "a mapping gives a tuple (group, key), (group, key, attrs) or \
                        (group, key, attrs, payload)";
            return Err(PyTypeError::new_err(text));
        };
        let rest = |at: usize| (at < tuple.len()).then(|| tuple.get_item(at)).transpose();
        Ok(Self {
            group: tuple.get_item(0)?.extract::<&str>()?.into(),
            key: tuple.get_item(1)?.extract::<Key>()?.0,
            attrs: rest(2)?.map_or(Ok(0), |attrs| attrs.extract())?,
            payload: rest(3)?.map(|it| payload(&it, format)).transpose()?,
        })
    }

    fn resolve<I: PyId>(
        self,
        list: &ListOrRoster<I>,
        status: Status,
    ) -> Result<Placement, ListError> {
        let group = list.group(&self.group)?;
        let placement = Placement::new(status).group(group).key(self.key);
        let placement = placement.bits(self.attrs);
        Ok(match self.payload {
            Some(payload) => placement.payload(payload),
            None => placement,
        })
    }
}

/// Puts a roster over a list, unless it has one.
fn enroll<I: PyId>(
    target: &mut ListOrRoster<I>,
    mut options: RosterOptions,
    offline: Option<&str>,
    placements: &Placements,
) -> Result<bool, ListError> {
    if let Some(name) = offline {
        options = options.offline(OfflinePolicy::Keep(target.group(name)?));
    }
    let empty = ListOrRoster::List(core::MemberList::new(target.options()));
    match std::mem::replace(target, empty) {
        ListOrRoster::List(list) => {
            let placements = Arc::clone(placements);
            let mapping = move |buf: &EntryBuf| placements.lock().get(&name_of(buf)).cloned();
            *target = ListOrRoster::Roster(core::Roster::new(list, options, mapping));
            Ok(true)
        }
        roster => {
            *target = roster;
            Ok(false)
        }
    }
}

fn wall_clock_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// The effect of a diff on the statuses that others see.
#[pyclass(frozen, generic, module = "headcount")]
#[derive(Debug, Default)]
pub(crate) struct RosterReport {
    changes: Vec<(AnyId, &'static str, &'static str)>,
    refused: Vec<(AnyId, String)>,
    #[pyo3(get)]
    /// The number of keys that are not ids of the list. They were ignored.
    foreign: usize,
}

impl RosterReport {
    /// Makes a report of the changes, and of the entries that were refused before them.
    fn new<I: PyId>(
        report: core::roster::RosterReport<I>,
        refused_entries: &[(EntryBuf, String)],
    ) -> Self {
        let change =
            |c: &core::roster::RosterChange<I>| (c.id.to_any(), c.old.as_str(), c.new.as_str());
        let entries = refused_entries.iter().filter_map(|(buf, reason)| {
            let id = buf.key_str().and_then(I::parse_text)?;
            Some((id.to_any(), reason.clone()))
        });
        let rows = report.refused.iter();
        let rows = rows.map(|(id, error)| (id.to_any(), error.to_string()));
        Self {
            changes: report.changes.iter().map(change).collect(),
            refused: entries.chain(rows).collect(),
            foreign: report.foreign,
        }
    }
}

#[pymethods]
impl RosterReport {
    /// The users whose status changed for others: id, status before, status now.
    #[getter]
    fn changes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let changes = self.changes.iter();
        bounds::list(py, changes.map(|(id, old, new)| (id, *old, *new)))
    }

    /// The users whose row was refused, by the list or by the mapping, and the reason.
    #[getter]
    fn refused<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        bounds::list(py, self.refused.iter().map(|(id, why)| (id, &**why)))
    }

    fn __repr__(&self) -> String {
        let changes = self.changes.len();
        let refused = self.refused.len();
        format!(
            "<RosterReport changes={changes} refused={refused} foreign={}>",
            self.foreign
        )
    }
}
