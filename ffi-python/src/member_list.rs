//! `MemberList`.

use std::sync::Arc;

use headcount as core;
use headcount::member_list::{BodyFormat, Epoch, GROUPS_MAX, Id, IntId, Matches, TextId};
use headcount::{GroupId, ListError, ListOptions, WindowSpec};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyList;

use crate::batch::Format;
use crate::bounds::{self, BATCH_MAX, SHORT, collect, room_for, texts};
use crate::convert::{Place, Seconds, grouped, out_of_range, place};
use crate::error::raise;
use crate::id::{Key, Kind, OfKind, PyId};
use crate::list_or_roster::ListOrRoster;
use crate::row::{Group, Member, Reading, Row, RowIterator, absent, member, own_found};
use crate::saves::{self, Pickle};
use crate::snapshot::Snapshot;
use crate::sync::Locked;
use crate::viewer::Viewer;
use crate::windows::{Shown, Source, Tick};

/// The name of a group, how many of its members a search finds, and the row of the first one.
pub(crate) type FoundInGroup = (String, usize, Option<usize>);

/// A sorted, grouped, sliced list of members, for any number of threads.
///
/// A row is a member, or the header of a group with members. `len`, indexes, slices and iteration
/// speak of rows; `in`, `get`, `index` and the writes speak of member ids. Ids are `int` (-2**63 to
/// 2**64 - 1), `uuid.UUID` or `str` (64 bytes), one kind for a list. Members of a group are sorted
/// by a key: a name (in case-insensitive Unicode order), an int, a pair of ints, or up to 64 bytes
/// that sort as they are.
///
/// `ids` is the type of the ids (`str`), `groups` are the first groups in order, `headers` says
/// whether each group with members has a header row (true), and `payloads` gives members payloads:
/// "json", sent as the bodies of rows, or "raw" (none).
///
/// >>> ml = MemberList(str, groups=["online", "offline"])
/// >>> ml.upsert("u7", "online", "Bob")
/// Upsert(index=1, is_new=True, old_index=None)
/// >>> ml.upsert("u9", "online", "alice")
/// Upsert(index=1, is_new=True, old_index=None)
/// >>> ml.set_group("u9", "offline")
/// Upsert(index=3, is_new=False, old_index=1)
/// >>> ml
/// <MemberList 2 online=1 offline=1>
/// >>> ml[0], ml[1].id, ml.index("u9"), "u7" in ml
/// (Header(group='online', count=1), 'u7', 3, True)
/// >>> [row.group for row in ml[2:]]
/// ['offline', 'offline']
#[pyclass(frozen, generic, weakref, module = "headcount")]
#[derive(Debug, Clone)]
pub(crate) struct MemberList {
    pub(crate) lists: Lists,
    pub(crate) format: Option<BodyFormat>,
}

type List<I> = Arc<Locked<ListOrRoster<I>>>;
pub(crate) type Lists = OfKind<List<IntId>, List<u128>, List<TextId>>;

/// The same code for a list of each kind of ids.
macro_rules! each {
    ($this:expr, $list:ident => $body:expr) => {
        $crate::id::each_kind!(&$this.lists, $list => $body)
    };
}
pub(crate) use each;

#[pymethods]
impl MemberList {
    #[new]
    #[pyo3(signature = (ids = Kind::Text, /, *, groups = None, headers = true, payloads = None))]
    fn new(
        ids: Kind,
        groups: Option<&Bound<'_, PyAny>>,
        headers: bool,
        payloads: Option<Format>,
    ) -> PyResult<Self> {
        let format = payloads.map(|payloads| payloads.0);
        let options = ListOptions::default()
            .headers(headers)
            .payloads(format.is_some());
        let groups = groups.map_or_else(|| Ok(Vec::new()), group_names)?;
        let groups: Vec<&str> = groups.iter().map(|name| &**name).collect();
        let lists = match ids {
            Kind::Int => Lists::Int(create(options, &groups).map_err(raise)?),
            Kind::Uuid => Lists::Uuid(create(options, &groups).map_err(raise)?),
            Kind::Text => Lists::Text(create(options, &groups).map_err(raise)?),
        };
        Ok(Self { lists, format })
    }

    /// Return all groups in order, including hidden and empty ones.
    fn groups(&self, py: Python<'_>) -> PyResult<Vec<Group>> {
        each!(self, list => list.read(py, |list| list.all_groups()))
    }

    /// Return a member by id, or `None`. O(log n).
    fn get(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<Member>> {
        each!(self, list => {
            let id = PyId::from_py(id)?;
            list.read(py, |list| member(list, &id))
        })
    }

    /// Return the bytes by which a member sorts. O(log n).
    ///
    /// Raises `UnknownMember` when there is no such member.
    fn key(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
        each!(self, list => {
            let id = PyId::from_py(id)?;
            list.read(py, |list| match list.get(&id) {
                Some(member) => Ok(member.key.to_vec()),
                None => Err(ListError::UnknownMember { id: id.to_text() }),
            })?
        })
        .map_err(raise)
    }

    /// Return the row of a member. O(log n).
    ///
    /// Raises `UnknownMember` when there is no such member, and `HiddenMember` when its group is
    /// hidden or collapsed.
    fn index(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<usize> {
        each!(self, list => {
            let id = PyId::from_py(id)?;
            let (index, is_member) = list.read(py, |list| (list.index_of(&id), list.contains(&id)))?;
            index.ok_or_else(|| absent(id.to_text(), is_member))
        })
    }

    /// Return the row of a member; `None` when it is unknown or its group is hidden or collapsed.
    /// O(log n).
    fn index_of(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        each!(self, list => {
            let id = PyId::from_py(id)?;
            list.read(py, |list| list.index_of(&id))
        })
    }

    /// Return the row of each of many members, in the order of the ids: for each what `index_of`
    /// returns, in less time. At most 16,777,216 at a time. O(k log n).
    fn index_of_many<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let rows = each!(self, list => {
            let ids = many(ids)?;
            list.read_long(py, |list| list.index_of_many(&ids))?
        });
        bounds::list(py, rows)
    }

    /// Return the index and the row of each of many members, in the order of the ids; `None` for one
    /// that is unknown or whose group is hidden or collapsed. At most 16,777,216 at a time.
    /// O(k log n).
    fn rows_of<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let rows = each!(self, list => {
            let ids = many(ids)?;
            list.read_long(py, |list| own_found(&list.rows_of(&ids), |group| list.group_name(group)))?
        });
        bounds::list(py, rows)
    }

    /// Return the row of a group's header, if it has one.
    fn header_index(&self, py: Python<'_>, group: &str) -> PyResult<Option<usize>> {
        each!(self, list => {
            list.read(py, |list| list.group(group).map(|group| list.header_index(group)))?
        })
        .map_err(raise)
    }

    /// Return, for each group, its name and the row of the first member whose key begins with this
    /// prefix. Groups without such a member, and groups not shown, are left out. Names are
    /// compared without case but with accents, in their first 64 bytes.
    fn find_prefix(&self, py: Python<'_>, prefix: Key) -> PyResult<Vec<(String, usize)>> {
        each!(self, list => list.read(py, |list| {
            named(list.find_prefix(&prefix.0), |group| list.group_name(group))
        }))
    }

    /// Return, for each group with members whose key begins with this prefix, its name, how many
    /// there are, and the row of the first one, which the others follow; `None` when the group is
    /// collapsed. O(groups log n).
    fn search_prefix(&self, py: Python<'_>, prefix: Key) -> PyResult<Vec<FoundInGroup>> {
        each!(self, list => list.read(py, |list| {
            found(&list.search_prefix(&prefix.0), |group| list.group_name(group))
        }))
    }

    /// Return the name of the window that shows a page of the members whose key begins with this
    /// prefix, 50 rows, of all groups or of one.
    #[staticmethod]
    #[pyo3(signature = (prefix, page = 0, group = None))]
    fn search_window(prefix: Key, page: u32, group: Option<&str>) -> String {
        let spec = match group {
            Some(group) => WindowSpec::<IntId>::search_in(group, &prefix.0, page),
            None => WindowSpec::search(&prefix.0, page),
        };
        spec.to_string()
    }

    /// Return the list as it is now, for reading while other threads write. O(1).
    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        Ok(each!(self, list => Snapshot::new(Arc::new(list.read(py, |list| list.snapshot())?))))
    }

    /// Return a viewer without windows; with `discord`, its bundles can be encoded as events of
    /// Discord; with `resumable`, they are of frame format 2, and its client can `resume` windows.
    #[pyo3(signature = (*, discord = false, resumable = false))]
    fn viewer(&self, discord: bool, resumable: bool) -> PyResult<Viewer> {
        each!(self, list => {
            let source = Source::List(Arc::clone(list));
            Viewer::new(Shown { source, format: self.format }, discord, resumable)
        })
    }

    /// Publish the changes since the last tick: ask each viewer for its bundle then. `now` is in
    /// seconds of any clock that does not run backwards; counts travel at most once a second.
    fn tick(&self, py: Python<'_>, now: Seconds) -> PyResult<Tick> {
        each!(self, list => {
            Tick::new(py, list, self.format, now.0)
        })
    }

    /// Name the list for its viewers and begin an epoch: the next tick sends every viewer its
    /// windows and the counts whole. Epochs of a node must grow, up to 2**53 - 1. `node` is the name
    /// of the server where there are several, each with epochs of its own; names have at most 1,024
    /// bytes. Before the first call the names are empty and the epoch is 1, which that call may keep.
    ///
    /// Raises `ListError` for an epoch that is not higher, `LimitError` over a limit.
    #[pyo3(signature = (name, epoch, *, node = ""))]
    fn begin_epoch(&self, py: Python<'_>, name: &str, epoch: u64, node: &str) -> PyResult<()> {
        let epoch = Epoch::new(node, epoch);
        each!(self, list => list.write(py, |list| list.begin_epoch(name, epoch))?).map_err(raise)
    }

    /// Return the number of members, shown or not. O(1).
    pub(crate) fn member_count(&self, py: Python<'_>) -> PyResult<usize> {
        each!(self, list => list.read(py, |list| list.member_count()))
    }

    /// Return the heap memory of the list in bytes, without the memory that text ids, keys over 15
    /// bytes and payloads own.
    fn heap_bytes(&self, py: Python<'_>) -> PyResult<usize> {
        each!(self, list => list.read_long(py, |list| list.heap_bytes()))
    }

    /// Save the list as it is now, with its name, groups, members and their order, to a path or to
    /// an object with `write`. It works in steps between which other threads may use and change the
    /// list; the file has the state at the beginning. A file that has the path stays until the new
    /// one is whole. Viewers are not saved.
    ///
    /// Raises `ListError` while another thread saves the list, `OSError` if the file cannot be
    /// written.
    ///
    /// >>> import io
    /// >>> ml = MemberList(int, groups=["online", "offline"])
    /// >>> _ = ml.upsert(7, "offline", "Zoe")
    /// >>> file = io.BytesIO()
    /// >>> ml.save(file)
    /// >>> MemberList.load(io.BytesIO(file.getvalue()))
    /// <MemberList 1 online=0 offline=1>
    fn save(&self, py: Python<'_>, file: &Bound<'_, PyAny>) -> PyResult<()> {
        each!(self, list => saves::save(py, list, file))
    }

    /// Return the list of a file that `save` wrote: a path, or an object with `read`. In a list with
    /// payloads, `payloads` says what they are, `"json"` or `"raw"`. The list begins the epoch
    /// `epoch`, by default the time in milliseconds, of the server `node`.
    ///
    /// Raises `DecodeError` for a file that was cut or altered, or that a later edition wrote, and
    /// `ListError` if only one of `payloads` and the file has payloads.
    #[staticmethod]
    #[pyo3(signature = (file, /, *, payloads = None, epoch = None, node = ""))]
    fn load(
        file: &Bound<'_, PyAny>,
        payloads: Option<Format>,
        epoch: Option<u64>,
        node: &str,
    ) -> PyResult<Self> {
        let format = payloads.map(|payloads| payloads.0);
        let lists = saves::load(file, format, saves::epoch(epoch, node))?;
        Ok(Self { lists, format })
    }

    /// Return how `pickle` and `copy` make an equal list: by a save and a load.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Pickle<'py>> {
        let file = each!(self, list => saves::dump(py, list))?;
        saves::pickle(py, "load_list", file, self.format)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        each!(self, list => list.read(py, |list| list.len()))
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(each!(self, list => {
            match PyId::from_py(id) {
                Ok(id) => list.read(py, |list| list.contains(&id))?,
                Err(_) => false,
            }
        }))
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match place(index, self.__len__(py)?)? {
            Place::At(at) => each!(self, list => list.read(py, |list| list.row(at))?)
                .ok_or_else(out_of_range)?
                .into_pyobject(py),
            Place::Rows(rows) if rows.len() <= SHORT => {
                let objects =
                    each!(self, list => list.read_attached(py, |list| list.objects(py, rows))?);
                Ok(PyList::new(py, objects?)?.into_any())
            }
            Place::Rows(rows) => {
                room_for(rows.len(), ROW_LEN)?;
                let rows = each!(self, list => list.read_long(py, |list| list.rows(rows))?);
                Ok(bounds::list(py, rows)?.into_any())
            }
        }
    }

    /// Return an iterator over the rows as they are now, whatever is written meanwhile.
    fn __iter__(&self, py: Python<'_>) -> PyResult<RowIterator> {
        Ok(self.snapshot(py)?.walk(false))
    }

    /// Return an iterator over the rows as they are now, the last one first.
    fn __reversed__(&self, py: Python<'_>) -> PyResult<RowIterator> {
        Ok(self.snapshot(py)?.walk(true))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(describe(
            "MemberList",
            self.member_count(py)?,
            &self.groups(py)?,
        ))
    }
}

/// About what a row takes on its way to Python.
pub(crate) const ROW_LEN: usize = 2 * size_of::<Row>() + size_of::<usize>();

/// Reads the ids of many members, and makes sure that there is room for their rows.
pub(crate) fn many<I: PyId>(ids: &Bound<'_, PyAny>) -> PyResult<Vec<I>> {
    let ids = collect(ids, "ids", BATCH_MAX, |id| I::from_py(id))?;
    room_for(ids.len(), ROW_LEN)?;
    Ok(ids)
}

pub(crate) fn group_names(names: &Bound<'_, PyAny>) -> PyResult<Vec<PyBackedStr>> {
    texts(names, "groups", GROUPS_MAX)
}

fn create<I: PyId>(
    options: ListOptions,
    groups: &[&str],
) -> Result<Arc<Locked<ListOrRoster<I>>>, ListError> {
    let mut list = core::MemberList::new(options);
    list.set_groups(groups)?;
    Ok(Arc::new(Locked::new(ListOrRoster::Alone(list))))
}

pub(crate) fn describe(name: &str, members: usize, groups: &[Group]) -> String {
    let mut text = format!("<{name} {}", grouped(members));
    for group in groups {
        text.push_str(&group.summary());
    }
    text.push('>');
    text
}

/// Returns rows by the names of their groups.
pub(crate) fn named<'n>(
    rows: Vec<(GroupId, usize)>,
    name: impl Fn(GroupId) -> Option<&'n str>,
) -> Vec<(String, usize)> {
    let rows = rows.into_iter();
    rows.map(|(id, row)| (name(id).unwrap_or_default().to_owned(), row))
        .collect()
}

/// Returns what a search finds by the names of the groups.
pub(crate) fn found<'n>(
    matches: &Matches,
    name: impl Fn(GroupId) -> Option<&'n str>,
) -> Vec<FoundInGroup> {
    let found = matches.groups().iter();
    found
        .map(|found| {
            let name = name(found.group).unwrap_or_default();
            (name.to_owned(), found.count, found.first_index)
        })
        .collect()
}
