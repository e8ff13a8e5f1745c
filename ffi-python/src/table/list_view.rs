//! `ListView`: a list of a table, to be read, and its viewers.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use headcount as core;
use headcount::member_list::{BodyFormat, Id, IntId, ListId, TableError, TextId};
use headcount::{GroupId, ListError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyList;

use crate::bounds::{self, SHORT, room_for};
use crate::convert::{Place, out_of_range, place, repr};
use crate::error::raise;
use crate::id::{Key, OfKind, PyId, each_kind};
use crate::list_or_roster::TableOrRoster;
use crate::member_list::{FoundInGroup, ROW_LEN, found, many, named};
use crate::row::{Finding, Group, Reading, RowIterator, absent, own_found};
use crate::snapshot::Snapshot;
use crate::sync::Locked;
use crate::viewer::{Viewer, window_names};
use crate::windows::{Bundle, Shown, Source};

pub(crate) type TableOf<I> = Arc<Locked<TableOrRoster<I>>>;
pub(crate) type Tables = OfKind<TableOf<IntId>, TableOf<u128>, TableOf<TextId>>;

/// A list of a `MemberTable`, live: it shows the list as it is when it is asked.
///
/// As in a `MemberList`, `len`, indexes, slices and iteration speak of rows; `in`, `index` and
/// `group_of` speak of the ids of members that the list admits. Reads raise `ListBuilding` until the
/// list has been built, and `UnknownList` after it was removed. Views of the same list are equal.
///
/// >>> table = MemberTable(int)
/// >>> _ = table.upsert(7, "Bob", attrs=[3])
/// >>> _ = table.upsert(9, "alice")
/// >>> staff = table.add_list(ListSpec("staff", "all", admit=[Clause(all=[3])]))
/// >>> table.build()
/// 0
/// >>> staff
/// <ListView 'staff' 1 all=1>
/// >>> staff[1].id, staff.index(7), 9 in staff
/// (7, 1, False)
#[pyclass(frozen, eq, hash, generic, weakref, module = "headcount")]
#[derive(Debug, Clone)]
pub(crate) struct ListView {
    pub(super) tables: Tables,
    pub(super) id: ListId,
    pub(super) format: Option<BodyFormat>,
}

/// The same code for a table of each kind of ids.
macro_rules! each_table {
    ($this:expr, $table:ident => $body:expr) => {
        $crate::id::each_kind!(&$this.tables, $table => $body)
    };
}
pub(crate) use each_table;

impl ListView {
    fn address(&self) -> usize {
        address(&self.tables)
    }

    pub(super) fn is_of(&self, tables: &Tables) -> bool {
        self.address() == address(tables)
    }
}

fn address(tables: &Tables) -> usize {
    each_kind!(tables, table => Arc::as_ptr(table).addr())
}

impl PartialEq for ListView {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.address() == other.address()
    }
}

impl Eq for ListView {}

impl Hash for ListView {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.id, self.address()).hash(state);
    }
}

fn read<I: PyId, R: Send>(
    py: Python<'_>,
    table: &TableOf<I>,
    list: ListId,
    f: impl FnOnce(core::member_list::ListView<'_, I>) -> R + Send,
) -> PyResult<R> {
    let read = table.read(py, |table| Ok::<R, TableError>(f(table.list(list)?)))?;
    read.map_err(raise)
}

/// Returns the group of a name.
fn group<I: PyId>(
    list: core::member_list::ListView<'_, I>,
    name: &str,
) -> Result<GroupId, ListError> {
    let unknown = || ListError::UnknownGroup {
        group: name.to_owned(),
    };
    list.group(name).ok_or_else(unknown)
}

#[pymethods]
impl ListView {
    /// The name of the list.
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        each_table!(self, table => {
            let name = table.read(py, |table| table.spec(self.id).map(|spec| spec.name().to_owned()));
            name?.map_err(raise)
        })
    }

    /// Return all groups in order, including hidden and empty ones. O(groups).
    fn groups(&self, py: Python<'_>) -> PyResult<Vec<Group>> {
        each_table!(self, table => read(py, table, self.id, |list| list.all_groups()))
    }

    /// Return the number of members that the list admits, shown or not. O(1).
    fn member_count(&self, py: Python<'_>) -> PyResult<usize> {
        each_table!(self, table => read(py, table, self.id, |list| list.member_count()))
    }

    /// Return the row of a member. O(log n).
    ///
    /// Raises `UnknownMember` when the list has no such member, and `HiddenMember` when its group
    /// is hidden or collapsed.
    fn index(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<usize> {
        each_table!(self, table => {
            let id = PyId::from_py(id)?;
            let (index, is_member) = read(py, table, self.id, |list| {
                (list.index_of(&id), list.group_of(&id).is_some())
            })?;
            index.ok_or_else(|| absent(id.to_text(), is_member))
        })
    }

    /// Return the row of a member; `None` when the list has no such member or its group is hidden
    /// or collapsed. O(log n).
    fn index_of(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        each_table!(self, table => {
            let id = PyId::from_py(id)?;
            read(py, table, self.id, |list| list.index_of(&id))
        })
    }

    /// Return the row of each of many members, in the order of the ids: for each what `index_of`
    /// returns, in less time. At most 16,777,216 at a time. O(k log n).
    fn index_of_many<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let rows = each_table!(self, table => {
            let ids = many(ids)?;
            let read = |table: &TableOrRoster<_>| table.list(self.id).map(|list| list.index_of_many(&ids));
            table.read_long(py, read)?.map_err(raise)?
        });
        bounds::list(py, rows)
    }

    /// Return the index and the row of each of many members, in the order of the ids; `None` for one
    /// that the list does not admit or whose group is hidden or collapsed. At most 16,777,216 at a time.
    /// O(k log n).
    fn rows_of<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let rows = each_table!(self, table => {
            let ids = many(ids)?;
            let rows = |list: core::member_list::ListView<'_, _>| {
                own_found(&list.rows_of(&ids), |group| list.group_name(group))
            };
            let read = |table: &TableOrRoster<_>| table.list(self.id).map(rows);
            table.read_long(py, read)?.map_err(raise)?
        });
        bounds::list(py, rows)
    }

    /// Return the group of a member; `None` when the list has no such member. O(log n).
    fn group_of(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        each_table!(self, table => {
            let id = PyId::from_py(id)?;
            read(py, table, self.id, |list| {
                list.group_name(list.group_of(&id)?).map(str::to_owned)
            })
        })
    }

    /// Return, for each group, its name and the row of the first member whose key begins with this
    /// prefix; see `MemberList.find_prefix`. O(groups log n).
    fn find_prefix(&self, py: Python<'_>, prefix: Key) -> PyResult<Vec<(String, usize)>> {
        each_table!(self, table => read(py, table, self.id, |list| {
            named(list.find_prefix(&prefix.0), |group| list.group_name(group))
        }))
    }

    /// Return, for each group with members whose key begins with this prefix, its name, how many
    /// there are, and the row of the first one; see `MemberList.search_prefix`. O(groups log n).
    fn search_prefix(&self, py: Python<'_>, prefix: Key) -> PyResult<Vec<FoundInGroup>> {
        each_table!(self, table => read(py, table, self.id, |list| {
            found(&list.search_prefix(&prefix.0), |group| list.group_name(group))
        }))
    }

    /// Take a group out of the index space, header included, or put it back. O(groups).
    #[pyo3(signature = (name, hidden = true))]
    fn set_group_hidden(&self, py: Python<'_>, name: &str, hidden: bool) -> PyResult<()> {
        each_table!(self, table => table.write(py, |table| {
            let group = group(table.list(self.id)?, name)?;
            table.set_group_hidden(self.id, group, hidden)
        })?)
        .map_err(raise)
    }

    /// Leave only the header of a group in the index space, or put its members back. O(groups).
    #[pyo3(signature = (name, collapsed = true))]
    fn set_group_collapsed(&self, py: Python<'_>, name: &str, collapsed: bool) -> PyResult<()> {
        each_table!(self, table => table.write(py, |table| {
            let group = group(table.list(self.id)?, name)?;
            table.set_group_collapsed(self.id, group, collapsed)
        })?)
        .map_err(raise)
    }

    /// Return the list as it is now, for reading while other threads write. O(1).
    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        let snapshot: Arc<dyn Finding> = each_table!(self, table => {
            let snapshot = read(py, table, self.id, |list| list.snapshot())?;
            Arc::new(snapshot)
        });
        Ok(Snapshot::new(snapshot))
    }

    /// Return a viewer without windows; with `discord`, its bundles can be encoded as events of
    /// Discord; with `resumable`, they are of frame format 2, and its client can `resume` windows.
    #[pyo3(signature = (*, discord = false, resumable = false))]
    fn viewer(&self, discord: bool, resumable: bool) -> PyResult<Viewer> {
        each_table!(self, table => Viewer::new(self.shown(table), discord, resumable))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        each_table!(self, table => read(py, table, self.id, |list| list.len()))
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        each_table!(self, table => {
            match PyId::from_py(id) {
                Ok(id) => read(py, table, self.id, |list| list.group_of(&id).is_some()),
                Err(_) => Ok(false),
            }
        })
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match place(index, self.__len__(py)?)? {
            Place::At(at) => {
                each_table!(self, table => read(py, table, self.id, |list| list.row(at))?)
                    .ok_or_else(out_of_range)?
                    .into_pyobject(py)
            }
            Place::Rows(rows) if rows.len() <= SHORT => {
                let objects = each_table!(self, table => {
                    let read = |table: &TableOrRoster<_>| table.list(self.id).map(|list| list.objects(py, rows));
                    table.read_attached(py, read)?.map_err(raise)?
                });
                Ok(PyList::new(py, objects?)?.into_any())
            }
            Place::Rows(rows) => {
                room_for(rows.len(), ROW_LEN)?;
                let rows = each_table!(self, table => {
                    let read = |table: &TableOrRoster<_>| table.list(self.id).map(|list| list.rows(rows));
                    table.read_long(py, read)?.map_err(raise)?
                });
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
        let state = each_table!(self, table => table.read(py, |table| {
            let name = table.spec(self.id).ok()?.name().to_owned();
            let list = table.list(self.id).ok();
            Some((name, list.map(|list| (list.member_count(), list.all_groups()))))
        })?);
        let Some((name, built)) = state else {
            return Ok("<ListView removed>".to_owned());
        };
        let name = repr(name.into_pyobject(py)?.as_any())?;
        let Some((members, groups)) = built else {
            return Ok(format!("<ListView {name} building>"));
        };
        Ok(crate::member_list::describe(
            &format!("ListView {name}"),
            members,
            &groups,
        ))
    }
}

impl ListView {
    fn shown<I: PyId>(&self, table: &TableOf<I>) -> Shown<I> {
        Shown {
            source: Source::Table(Arc::clone(table), self.id),
            format: self.format,
        }
    }
}

#[pymethods]
impl Viewer {
    /// Leave the list for another one of a table with ids of the same kind, and open windows there;
    /// return a bundle with their SYNCs and all counts. Later ticks of the old list bring nothing.
    ///
    /// Raises as `open`; the viewer stays at its list then.
    #[pyo3(signature = (list, windows = None))]
    fn switch(
        &self,
        py: Python<'_>,
        list: &Bound<'_, ListView>,
        windows: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bundle> {
        let windows = windows.map_or_else(|| Ok(Vec::<PyBackedStr>::new()), window_names)?;
        let windows: Vec<&str> = windows.iter().map(|window| &**window).collect();
        let list = list.get();
        let shown: Box<dyn Any + Send + Sync> =
            each_table!(list, table => Box::new(list.shown(table)));
        self.with(py, |viewing| viewing.switch(&*shown, &windows))?
            .map_err(raise)
    }
}

/// The rows of a member in one list before and after a write. A member that came into the list has
/// no old row, one that left it no new row; a member whose group is hidden or collapsed has none.
#[pyclass(frozen, eq, generic, module = "headcount")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListMove {
    #[pyo3(get)]
    /// The list.
    list: ListView,
    #[pyo3(get)]
    /// The row before the write.
    old_index: Option<usize>,
    #[pyo3(get)]
    /// The row after it.
    index: Option<usize>,
}

impl ListMove {
    pub(super) const fn new(list: ListView, moved: &core::member_list::ListMove) -> Self {
        Self {
            list,
            old_index: moved.old_index,
            index: moved.index,
        }
    }
}

#[pymethods]
impl ListMove {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let show = |index: Option<usize>| index.map_or("None".to_owned(), |at| at.to_string());
        let list = self.list.__repr__(py)?;
        let old = show(self.old_index);
        let index = show(self.index);
        Ok(format!("ListMove({list}, old_index={old}, index={index})"))
    }
}
