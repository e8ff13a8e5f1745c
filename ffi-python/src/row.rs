//! Rows of a member list as Python objects, and how lists and snapshots are read.

use std::sync::Arc;

use headcount as core;
use headcount::GroupId;
use headcount::member_list::GroupInfo;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::bounds;
use crate::convert::{Rows, grouped, repr};
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
    group: Arc<str>,
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
        &self.group
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
        let group = repr(bounds::text(py, &self.group)?.as_any())?;
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
    group: Arc<str>,
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
        &self.group
    }

    /// The number of members of the group.
    #[getter]
    fn count(&self) -> usize {
        self.count
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let group = repr(bounds::text(py, &self.group)?.as_any())?;
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
                own(self.row_at(at), self.groups()).pop()
            }

            fn rows(&self, rows: Rows) -> Vec<Row> {
                match rows.range() {
                    Some(range) => own(self.slice(range), self.groups()),
                    None => own(rows.iter().filter_map(|at| self.row_at(at)), self.groups()),
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

/// Copies rows. Neighbours are mostly of one group, so its name is looked up once for them all.
fn own<'a, I: PyId>(
    rows: impl IntoIterator<Item = core::Row<'a, I>>,
    mut groups: impl Iterator<Item = GroupInfo<'a>>,
) -> Vec<Row> {
    let mut known: Vec<(GroupId, Arc<str>)> = Vec::new();
    let mut name_of = |id: GroupId| loop {
        match known.iter().rev().find(|(known, _)| *known == id) {
            Some((_, name)) => return Arc::clone(name),
            None => {
                let group = groups
                    .next()
                    .expect("the group of every row is in the list");
                known.push((group.id, group.name.into()));
            }
        }
    };
    rows.into_iter()
        .map(|row| match row {
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
        .collect()
}

/// Copies rows of some members, found by id.
pub(crate) fn own_found<'a, I: PyId>(
    found: &[Option<(usize, core::Row<'a, I>)>],
    groups: impl Iterator<Item = GroupInfo<'a>>,
) -> Vec<Option<(usize, Row)>> {
    let rows = found.iter().flatten().map(|(_, row)| row.clone());
    let mut rows = own(rows, groups).into_iter();
    let indexes = found
        .iter()
        .map(|row| row.as_ref().map(|(index, _)| *index));
    indexes.map(|index| Some((index?, rows.next()?))).collect()
}

/// A member as `get` gives it.
pub(crate) fn member<I: PyId>(list: &core::MemberList<I>, id: &I) -> Option<Member> {
    let member = list.get(id)?;
    let group = list.groups().find(|group| group.id == member.group)?;
    Some(Member {
        id: member.id.to_any(),
        group: group.name.into(),
        revision: member.revision,
        attrs: member.attrs,
        payload: member.payload.into(),
    })
}

/// An iterator over the rows of a list as it was when it was asked for.
#[pyclass(frozen, module = "headcount")]
pub(crate) struct RowIterator {
    list: Arc<dyn Reading>,
    reverse: bool,
    state: Locked<Walk>,
}

#[derive(Debug)]
struct Walk {
    left: std::ops::Range<usize>,
    page: std::vec::IntoIter<Row>,
}

impl RowIterator {
    pub(crate) fn new(list: Arc<dyn Reading>, reverse: bool) -> Self {
        let left = 0..list.rows_len();
        let page = Vec::new().into_iter();
        Self {
            list,
            reverse,
            state: Locked::new(Walk { left, page }),
        }
    }
}

/// The number of rows that an iterator fetches at a time.
const PAGE: usize = 256;

#[pymethods]
impl RowIterator {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Row>> {
        self.state.write(py, |walk| {
            if walk.page.len() == 0 && !walk.left.is_empty() {
                let count = walk.left.len().min(PAGE);
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
            }
            walk.page.next()
        })
    }
}
