//! `Roster`: where presence and list meet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use headcount as core;
use headcount::roster::{OfflinePolicy, RosterError, RosterTarget, UnknownStatus};
use headcount::{EntryBuf, Placement, RosterOptions, Status};
use parking_lot::Mutex;
use pyo3::exceptions::{PyAttributeError, PyException, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::batch::BulkReport;
use crate::bounds::{self, BATCH_MAX, collect, texts, yielding};
use crate::convert::{Seconds, type_name};
use crate::detached_drop::{Content, DetachedDrop};
use crate::diff::TopicDiff;
use crate::entry::Entry;
use crate::error::raise;
use crate::id::{AnyId, PyId};
use crate::list_or_roster::{Held, Rostered};
use crate::mapped::Mapped;
use crate::member_list::{MemberList, each};
use crate::table::MemberTable;
use crate::table::batch::RowForm;
use crate::table::list_view::each_table;
use crate::table::spec::Bits;

/// Placements of the entries of the diff at hand: made before the list is locked, so that no
/// Python code runs under its lock.
type Placements = Arc<Mutex<HashMap<(core::id::Origin, u64), Placement>>>;

/// A list or a table that follows presence: one row for each user with sessions.
///
/// `mapping` takes an `Entry` and says where it puts its user, over a list `(group, key)`, `(group,
/// key, attrs)` or `(group, key, attrs, payload)`. Over a table it returns what follows the id in
/// `MemberTable.bulk_load`, `(key,)` with a key for each column, or with attributes, or with
/// attributes and a payload: its lists choose the groups by the attributes. With `None` the entry
/// does not count as a session. The attributes are among `status_bits`, which are the roster's, of a
/// table numbers up to 31; it leaves the others as the application sets them. The payload is one as
/// `MemberList.set_payload` takes it; where the mapping gives none, the roster leaves the payload as
/// it is. The key of an entry is the id of the row. The status of an entry is 0 online, 1 idle, 2
/// dnd, 3 invisible; over the sessions of a user the first of `priority` decides. A user whose
/// sessions are gone, or who is invisible, is offline for others: the row is removed, or moves to
/// the group `offline` of the list; with `rows_stay` it stays, without the attributes in
/// `status_bits`, and the lists of a table put it where members without these belong.
///
/// `target` is a list or a table that has no roster yet; it stays usable. `last_seen_max` users
/// (100,000) are remembered with the time when they went offline; the longest ago are forgotten
/// first.
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
///
/// Over a table, of which each list shows those who are online in its own way:
///
/// >>> ONLINE = 0
/// >>> table = MemberTable(str)
/// >>> online = Clause(all=[ONLINE])
/// >>> everyone = table.add_list(ListSpec("everyone", "offline", groups=[(online, "online")]))
/// >>> here = table.add_list(ListSpec("here", "online", admit=[online]))
/// >>> roster = Roster(table, lambda e: (e.key, [ONLINE]), status_bits=[ONLINE], rows_stay=True)
/// >>> roster.reset(t.list("room")).changes
/// [('ann', 'offline', 'idle')]
/// >>> everyone, here
/// (<ListView 'everyone' 1 online=1 offline=0>, <ListView 'here' 1 online=1>)
/// >>> _ = t.untrack_owner("phone")
/// >>> _ = roster.apply(t.take_diff()["room"])
/// >>> everyone, here
/// (<ListView 'everyone' 1 online=0 offline=1>, <ListView 'here' 0 online=0>)
#[pyclass(frozen, generic, weakref, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Roster {
    target: Target,
    mapping: Py<PyAny>,
    placements: Placements,
}

/// The list or table of a roster.
#[derive(Debug)]
enum Target {
    List(MemberList),
    Table(MemberTable, RowForm),
}

/// The same code for a list or table with each kind of ids.
macro_rules! each_target {
    ($this:expr, $target:ident => $body:expr) => {
        match &$this {
            Target::List(list) => each!(list, $target => $body),
            Target::Table(table, _) => each_table!(table, $target => $body),
        }
    };
}

impl Target {
    fn read(target: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(list) = target.cast::<MemberList>() {
            return Ok(Self::List(list.get().clone()));
        }
        let table = target.cast::<MemberTable>().map_err(|_| {
            let name = type_name(target);
            PyTypeError::new_err(format!(
                "a roster is over a MemberList or a MemberTable, not {name}"
            ))
        })?;
        let table = table.get();
        Ok(Self::Table(table.clone(), table.form(target.py())?))
    }

    /// Reads the attributes that a roster owns.
    fn status_bits(&self, bits: &Bound<'_, PyAny>) -> PyResult<u32> {
        match self {
            Self::List(_) => bits.extract(),
            Self::Table(..) => bits.extract::<Bits>()?.low(),
        }
    }

    /// Checks what is to become of the rows of users who go offline.
    fn check_offline(&self, offline: Option<&str>, rows_stay: bool) -> PyResult<()> {
        let text = match (self, offline) {
            (Self::Table(..), Some(_)) => {
                "the lists of a table group members by their attributes: rows_stay, not offline"
            }
            (Self::List(_), Some(_)) if rows_stay => "offline or rows_stay, not both",
            _ => return Ok(()),
        };
        Err(PyValueError::new_err(text))
    }
}

#[pymethods]
impl Roster {
    #[new]
    #[pyo3(signature = (
        target, mapping, *, offline = None, rows_stay = false, priority = None,
        last_seen_max = None, status_bits = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        py: Python<'_>,
        target: &Bound<'_, PyAny>,
        mapping: Py<PyAny>,
        offline: Option<&str>,
        rows_stay: bool,
        priority: Option<&Bound<'_, PyAny>>,
        last_seen_max: Option<usize>,
        status_bits: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let target = Target::read(target)?;
        target.check_offline(offline, rows_stay)?;
        let placements = Placements::default();
        let mut options = RosterOptions::default();
        if rows_stay {
            options = options.offline(OfflinePolicy::Stay);
        }
        if let Some(bits) = status_bits {
            options = options.status_bits(target.status_bits(bits)?);
        }
        if let Some(last_seen_max) = last_seen_max {
            options = options.last_seen_max(last_seen_max);
        }
        if let Some(names) = priority {
            options = options.priority(statuses(names)?);
        }
        let put = each_target!(target, target => {
            target.write(py, |target| enroll(target, options, offline, &placements))?
        });
        match put.map_err(raise)? {
            true => Ok(Self {
                target,
                mapping,
                placements,
            }),
            false => {
                let text = "the list or table has a roster already";
                Err(PyValueError::new_err(text))
            }
        }
    }

    /// The list.
    ///
    /// Raises `AttributeError` when the roster is over a table.
    #[getter]
    fn list(&self) -> PyResult<MemberList> {
        match &self.target {
            Target::List(list) => Ok(list.clone()),
            Target::Table(..) => {
                let text = "the roster is over a table, not a list";
                Err(PyAttributeError::new_err(text))
            }
        }
    }

    /// The table.
    ///
    /// Raises `AttributeError` when the roster is over a list.
    #[getter]
    fn table(&self) -> PyResult<MemberTable> {
        match &self.target {
            Target::Table(table, _) => Ok(table.clone()),
            Target::List(_) => {
                let text = "the roster is over a list, not a table";
                Err(PyAttributeError::new_err(text))
            }
        }
    }

    /// Apply the changes of the topic. `now` is the wall clock in seconds since 1970, for
    /// last-seen; left out, it is read. O(changes x log members).
    ///
    /// An entry for which the mapping raises, or names a group that the list lacks or attributes
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

    /// Load members that are offline, all at once, as `bulk_load` of the list or table does.
    fn load_offline(&self, py: Python<'_>, members: &Bound<'_, PyAny>) -> PyResult<BulkReport> {
        match &self.target {
            Target::List(list) => list.bulk_load(py, members),
            Target::Table(table, _) => table.bulk_load(py, members),
        }
    }

    /// Return the status of a user that others see: `online`, `idle`, `dnd` or `offline`.
    fn status(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<&'static str> {
        each_target!(self.target, target => {
            let id = PyId::from_py(id)?;
            target.read(py, |target| target.roster().map_or("offline", |r| r.status(&id).as_str()))
        })
    }

    /// Return the status that the user's own sessions see: as `status`, or `invisible`.
    fn own_status(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<&'static str> {
        each_target!(self.target, target => {
            let id = PyId::from_py(id)?;
            target.read(py, |target| target.roster().map_or("offline", |r| r.own_status(&id).as_str()))
        })
    }

    /// Return whether others see that the user is here. Ask it before you pass on that they type.
    fn is_visible(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        each_target!(self.target, target => {
            let id = PyId::from_py(id)?;
            target.read(py, |target| target.roster().is_some_and(|r| r.is_visible(&id)))
        })
    }

    /// Note a time at which a user was last seen, in seconds since 1970, from a database or another node;
    /// the newest stays. That of a user who is visible is not kept. O(log times).
    fn note_last_seen(&self, py: Python<'_>, id: &Bound<'_, PyAny>, time: Seconds) -> PyResult<()> {
        each_target!(self.target, target => {
            let id = PyId::from_py(id)?;
            let wall_s = time.0.as_secs();
            target.write(py, |target| {
                if let Some(roster) = target.roster_mut() {
                    roster.note_last_seen(id, wall_s);
                }
            })
        })
    }

    /// Return the time at which the user was last seen, in seconds since 1970; `None` while the
    /// user is visible, or when it is not known.
    fn last_seen(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        each_target!(self.target, target => {
            let id = PyId::from_py(id)?;
            target.read(py, |target| target.roster().and_then(|roster| roster.last_seen(&id)))
        })
    }

    /// Return the number of users that others see online. O(1).
    fn online_count(&self, py: Python<'_>) -> PyResult<usize> {
        each_target!(self.target, target => {
            target.read(py, |target| target.roster().map_or(0, core::Roster::online_count))
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let members = match &self.target {
            Target::List(list) => list.member_count(py)?,
            Target::Table(table, _) => table.__len__(py)?,
        };
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
        let placements = &self.placements;
        // What was read goes with the closure, before the interpreter comes back.
        each_target!(self.target, target => target.write_long(py, move |target| {
            for (buf, place) in places {
                match place.resolve(&**target) {
                    Ok(place) => drop(placements.lock().insert(name_of(&buf), place)),
                    Err(error) => refused.push((buf, error.to_string())),
                }
            }
            let report = target.roster_mut().map(|roster| work.run(roster, wall_s));
            placements.lock().clear();
            report.map(|report| RosterReport::new(report, &refused)).unwrap_or_default()
        }))
    }

    /// Asks the mapping where an entry puts its user; `None` if the entry does not count.
    fn place(&self, py: Python<'_>, entry: Entry) -> PyResult<Option<Mapped>> {
        let status = Status::of_session(entry.buf().status());
        let place = self.mapping.bind(py).call1((entry,))?;
        if place.is_none() {
            return Ok(None);
        }
        let place = match &self.target {
            Target::List(list) => Mapped::in_list(&place, status, list.format),
            Target::Table(_, form) => Mapped::in_table(&place, status, *form),
        };
        place.map(Some)
    }
}

/// A change of a roster whose ids may be of any kind.
#[derive(Clone, Copy)]
enum Work<'a> {
    Apply(&'a core::TopicDiff),
    Reset(&'a [EntryBuf]),
}

impl Work<'_> {
    fn run<I: PyId, L: RosterTarget<I>>(
        self,
        roster: &mut core::Roster<I, L>,
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

/// Reads the names of statuses.
fn statuses(names: &Bound<'_, PyAny>) -> PyResult<Vec<Status>> {
    let names = texts(names, "priority", Status::ALL.len())?;
    let statuses = names.iter().map(|name| name.parse::<Status>());
    let statuses: Result<Vec<Status>, UnknownStatus> = statuses.collect();
    statuses.map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Puts a roster over a list or table, unless it has one.
fn enroll<I: PyId, L: Rostered<I>>(
    target: &mut Held<I, L>,
    mut options: RosterOptions,
    offline: Option<&str>,
    placements: &Placements,
) -> Result<bool, RosterError> {
    if let Some(name) = offline {
        options = options.offline(OfflinePolicy::Keep(target.group_for_rows(name)?));
    }
    let placements = Arc::clone(placements);
    let mapping = move |buf: &EntryBuf| placements.lock().get(&name_of(buf)).cloned();
    target.enroll(options, mapping)
}

fn wall_clock_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

impl Content for (AnyId, &'static str, &'static str) {}

impl Content for (AnyId, String) {}

/// The effect of a diff on the statuses that others see.
#[pyclass(frozen, generic, module = "headcount")]
#[derive(Debug, Default)]
pub(crate) struct RosterReport {
    changes: DetachedDrop<Vec<(AnyId, &'static str, &'static str)>>,
    refused: DetachedDrop<Vec<(AnyId, String)>>,
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
            changes: DetachedDrop::new(report.changes.iter().map(change).collect()),
            refused: DetachedDrop::new(entries.chain(rows).collect()),
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
