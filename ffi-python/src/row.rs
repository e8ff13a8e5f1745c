//! Rows of a member list as Python objects, and how lists and snapshots are read.

use std::sync::Arc;

use headcount as core;
use headcount::member_list::GroupInfo;
use headcount::{GroupId, ListError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::bounds;
use crate::convert::{Rows, grouped, repr};
use crate::detached_drop::{Content, DetachedDrop};
use crate::error::{HiddenMember, raise};
use crate::group_name::GroupName;
use crate::id::{AnyId, PyId};
use crate::sync::Locked;

/// A member's row.
///
/// >>> ml = MemberList(int, groups=["online"])
/// >>> _ = ml.upsert(7, "online", "Ann", attrs=3)
/// >>> match ml[1]:
/// ...     case Member(id, group):
/// ...         print(id, group)
/// 7 online
#[pyclass(frozen, eq, generic, module = "headcount")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    id: AnyId,
    /// The name of the group that the member is in.
    group: GroupName,
    revision: u32,
    attrs: u32,
    payload: Box<[u8]>,
}

#[pymethods]
impl Member {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["id", "group"])
    }

    /// The id of the member.
    #[getter]
    fn id(&self) -> &AnyId {
        &self.id
    }

    /// The name of the group that the member is in.
    #[getter]
    fn group(&self) -> &str {
        self.group.as_str()
    }

    /// A number that grows with each change of attributes or payload, and never repeats for an id.
    #[getter]
    fn revision(&self) -> u32 {
        self.revision
    }

    /// The attribute bits, 32, whose meaning is up to the application.
    #[getter]
    fn attrs(&self) -> u32 {
        self.attrs
    }

    /// The payload; empty in lists without payloads.
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bounds::bytes(py, &self.payload)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let id = repr(&self.id.into_pyobject(py)?)?;
        let group = repr(bounds::text(py, self.group.as_str())?.as_any())?;
        let revision = self.revision;
        let attrs = self.attrs;
        Ok(format!(
            "Member(id={id}, group={group}, revision={revision}, attrs={attrs})"
        ))
    }
}

/// The row of a group's header, before its members.
#[pyclass(frozen, eq, module = "headcount")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    group: GroupName,
    count: usize,
}

#[pymethods]
impl Header {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["group", "count"])
    }

    /// The name of the group.
    #[getter]
    fn group(&self) -> &str {
        self.group.as_str()
    }

    /// The number of members of the group.
    #[getter]
    fn count(&self) -> usize {
        self.count
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let group = repr(bounds::text(py, self.group.as_str())?.as_any())?;
        Ok(format!("Header(group={group}, count={})", self.count))
    }
}

/// The state of a group in a list.
#[pyclass(frozen, eq, module = "headcount")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// The name of the group.
    #[pyo3(get)]
    name: String,
    /// The number of members of the group, shown or not.
    #[pyo3(get)]
    count: usize,
    /// The index of the first row of the group; `None` when it has no rows.
    #[pyo3(get)]
    first_index: Option<usize>,
    /// True if the group is out of the index space, header included.
    #[pyo3(get)]
    hidden: bool,
    /// True if only the header of the group is in the index space.
    #[pyo3(get)]
    collapsed: bool,
}

impl Group {
    /// ` online=88_120`, for the `repr` of a list.
    pub(crate) fn summary(&self) -> String {
        format!(" {}={}", self.name, grouped(self.count))
    }
}

#[pymethods]
impl Group {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let name = repr(bounds::text(py, &self.name)?.as_any())?;
        let flags = match (self.hidden, self.collapsed) {
            (true, _) => ", hidden=True",
            (_, true) => ", collapsed=True",
            _ => "",
        };
        Ok(format!("Group(name={name}, count={}{flags})", self.count))
    }
}

impl From<GroupInfo<'_>> for Group {
    fn from(group: GroupInfo<'_>) -> Self {
        Self {
            name: group.name.to_owned(),
            count: group.count,
            first_index: group.first_index,
            hidden: group.hidden,
            collapsed: group.collapsed,
        }
    }
}

/// A row, before it is a Python object.
#[derive(Debug, IntoPyObject)]
pub(crate) enum Row {
    Header(Header),
    Member(Member),
}

/// The reads that lists and snapshots have in common, whatever their ids are.
pub(crate) trait Reading: Send + Sync {
    fn rows_len(&self) -> usize;
    fn members_len(&self) -> usize;
    fn row(&self, at: usize) -> Option<Row>;
    fn rows(&self, rows: Rows) -> Vec<Row>;
    /// Makes rows into objects of Python. No Python code runs: the collector of garbage does not know such objects, so
    /// they do not start it.
    fn objects<'py>(&self, py: Python<'py>, rows: Rows) -> PyResult<Vec<Bound<'py, PyAny>>>;
    fn all_groups(&self) -> Vec<Group>;
}

macro_rules! reading {
    ($type:ty) => {
        impl<I: PyId> Reading for $type {
            fn rows_len(&self) -> usize {
                self.len()
            }

            fn members_len(&self) -> usize {
                self.member_count()
            }

            fn row(&self, at: usize) -> Option<Row> {
                own(self.row_at(at), |group| self.group_name(group)).next()
            }

            fn rows(&self, rows: Rows) -> Vec<Row> {
                let name = |group| self.group_name(group);
                match rows.range() {
                    Some(range) => own(self.slice(range), name).collect(),
                    None => own(rows.iter().filter_map(|at| self.row_at(at)), name).collect(),
                }
            }

            fn objects<'py>(
                &self,
                py: Python<'py>,
                rows: Rows,
            ) -> PyResult<Vec<Bound<'py, PyAny>>> {
                let name = |group| self.group_name(group);
                match rows.range() {
                    Some(range) => objects(py, own(self.slice(range), name), rows.len()),
                    None => {
                        let found = rows.iter().filter_map(|at| self.row_at(at));
                        objects(py, own(found, name), rows.len())
                    }
                }
            }

            fn all_groups(&self) -> Vec<Group> {
                self.groups().map(Group::from).collect()
            }
        }
    };
}

reading!(core::MemberList<I>);
reading!(core::Snapshot<I>);
reading!(core::member_list::ListView<'_, I>);

/// The reads by id of a snapshot, whatever its ids are.
pub(crate) trait Finding: Reading {
    /// Reads an id of this list; `TypeError` if it is of another kind.
    fn id(&self, id: &Bound<'_, PyAny>) -> PyResult<AnyId>;
    fn has(&self, id: &AnyId) -> bool;
    fn row_of(&self, id: &AnyId) -> Option<usize>;
    fn found(&self, id: &AnyId) -> Option<Row>;
}

impl<I: PyId> Finding for core::Snapshot<I> {
    fn id(&self, id: &Bound<'_, PyAny>) -> PyResult<AnyId> {
        I::from_py(id).map(|id| id.to_any())
    }

    fn has(&self, id: &AnyId) -> bool {
        I::from_any(id).is_ok_and(|id| self.contains(&id))
    }

    fn row_of(&self, id: &AnyId) -> Option<usize> {
        self.index_of(&I::from_any(id).ok()?)
    }

    fn found(&self, id: &AnyId) -> Option<Row> {
        let row = self.get(&I::from_any(id).ok()?);
        own(row, |group| self.group_name(group)).next()
    }
}

/// The last one frees the members that no list has any more.
impl<R: Reading + ?Sized> Content for Arc<R> {
    fn parts(&self) -> usize {
        match Self::strong_count(self) {
            1 => self.members_len(),
            _ => 0,
        }
    }
}

/// Copies rows. Neighbours are mostly of one group, so its name is looked up once for them all.
fn own<'a, 'n, I: PyId>(
    rows: impl IntoIterator<Item = core::Row<'a, I>>,
    name: impl Fn(GroupId) -> Option<&'n str>,
) -> impl Iterator<Item = Row> {
    let mut last: Option<(GroupId, GroupName)> = None;
    let mut name_of = move |id: GroupId| match &last {
        Some((known, name)) if *known == id => name.clone(),
        _ => {
            let name = name(id).expect("the group of every row is in the list");
            let name = GroupName::from(name);
            last = Some((id, name.clone()));
            name
        }
    };
    rows.into_iter().map(move |row| match row {
        core::Row::Header { group, count, .. } => Row::Header(Header {
            group: name_of(group),
            count,
        }),
        core::Row::Member {
            id,
            group,
            revision,
            attrs,
            payload,
        } => Row::Member(Member {
            id: id.to_any(),
            group: name_of(group),
            revision,
            attrs,
            payload: payload.into(),
        }),
    })
}

fn objects<'py>(
    py: Python<'py>,
    rows: impl Iterator<Item = Row>,
    count: usize,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let mut objects = Vec::with_capacity(count);
    let mut made = rows.map(|row| row.into_pyobject(py));
    made.try_for_each(|object| object.map(|object| objects.push(object)))?;
    Ok(objects)
}

/// Copies rows of some members, found by id.
pub(crate) fn own_found<'a, 'n, I: PyId>(
    found: &[Option<(usize, core::Row<'a, I>)>],
    name: impl Fn(GroupId) -> Option<&'n str>,
) -> Vec<Option<(usize, Row)>> {
    let rows = found.iter().flatten().map(|(_, row)| row.clone());
    let mut rows = own(rows, name);
    let indexes = found
        .iter()
        .map(|row| row.as_ref().map(|(index, _)| *index));
    indexes.map(|index| Some((index?, rows.next()?))).collect()
}

/// A member as `get` gives it.
pub(crate) fn member<I: PyId>(list: &core::MemberList<I>, id: &I) -> Option<Member> {
    let member = list.get(id)?;
    Some(Member {
        id: member.id.to_any(),
        group: list.group_name(member.group)?.into(),
        revision: member.revision,
        attrs: member.attrs,
        payload: member.payload.into(),
    })
}

/// Returns the error of a member without a row.
pub(crate) fn absent(id: String, is_member: bool) -> PyErr {
    if is_member {
        let text = format!("the member {id:?} has no row: its group is hidden or collapsed");
        return HiddenMember::new_err((text, "hidden_member"));
    }
    raise(ListError::UnknownMember { id })
}

/// An iterator over the rows of a list as it was when it was asked for.
#[pyclass(frozen, module = "headcount")]
pub(crate) struct RowIterator {
    list: DetachedDrop<Arc<dyn Reading>>,
    reverse: bool,
    state: Locked<Walk>,
}

impl Content for Walk {}

#[derive(Debug)]
struct Walk {
    left: std::ops::Range<usize>,
    /// The number of rows to fetch next.
    page_len: usize,
    page: std::vec::IntoIter<Row>,
}

impl RowIterator {
    pub(crate) fn new(list: Arc<dyn Reading>, reverse: bool) -> Self {
        let walk = Walk {
            left: 0..list.rows_len(),
            page_len: PAGE_MIN,
            page: Vec::new().into_iter(),
        };
        Self {
            list: DetachedDrop::new(list),
            reverse,
            state: Locked::new(walk),
        }
    }

    /// Fetches the rows that are next.
    fn fetch(&self, walk: &mut Walk) {
        let count = walk.left.len().min(walk.page_len);
        let range = if self.reverse {
            walk.left.end -= count;
            walk.left.end..walk.left.end + count
        } else {
            walk.left.start += count;
            walk.left.start - count..walk.left.start
        };
        let mut page = self.list.rows(Rows::from(range));
        if self.reverse {
            page.reverse();
        }
        walk.page = page.into_iter();
        walk.page_len = PAGE_MAX.min(walk.page_len * 2);
    }
}

/// The number of rows that an iterator fetches at first, and at most: for those the interpreter is
/// released.
const PAGE_MIN: usize = 64;
const PAGE_MAX: usize = 1024;

/// What an iterator has at hand.
enum Next {
    Row(Option<Row>),
    /// A page must be fetched, for which the interpreter is released.
    Long,
}

#[pymethods]
impl RowIterator {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Row>> {
        let next = self.state.write(py, |walk| {
            if walk.page.len() == 0 && !walk.left.is_empty() {
                if walk.page_len == PAGE_MAX {
                    return Next::Long;
                }
                self.fetch(walk);
            }
            Next::Row(walk.page.next())
        })?;
        match next {
            Next::Row(row) => Ok(row),
            Next::Long => self.state.write_long(py, |walk| {
                // Another thread may have been faster.
                if walk.page.len() == 0 && !walk.left.is_empty() {
                    self.fetch(walk);
                }
                walk.page.next()
            }),
        }
    }
}
