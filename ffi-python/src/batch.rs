//! Many members at once: the arguments and reports of `apply_batch` and `bulk_load`.

use std::mem;

use bytes::Bytes;
use headcount as core;
use headcount::member_list::{BODY_DEPTH_MAX, Body, BodyFormat};
use headcount::{GroupId, ListError, SortKey};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyList, PyTuple};
use serde::de::IgnoredAny;

use crate::bounds::{self, BATCH_MAX, collect, copied, look, push, room_for};
use crate::convert::{Buffer, type_name};
use crate::detached_drop::{Content, DetachedDrop};
use crate::error::LimitError;
use crate::id::{AnyId, Key, PyId};
use crate::json::{plain_to_json, to_json};

/// About what a member takes while many are put in, with its share of tables that grow.
pub(crate) const MEMBER_LEN: usize = 512;

/// The length from which each payload is followed by a look at the memory that is left: a batch looks at every few
/// thousand changes only.
const LARGE_PAYLOAD: usize = 2 << 10;

/// The format of the payloads of a list, as Python names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format(pub(crate) BodyFormat);

impl<'py> FromPyObject<'_, 'py> for Format {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match obj.extract::<&str>()? {
            "json" => Ok(Self(BodyFormat::Json)),
            "raw" => Ok(Self(BodyFormat::Raw)),
            other => {
                let text = format!("payloads are \"json\" or \"raw\", not {other:?}");
                Err(PyValueError::new_err(text))
            }
        }
    }
}

/// Reads a payload. JSON is checked, because it stands in bundles as it is.
pub(crate) fn payload(obj: &Bound<'_, PyAny>, format: Option<BodyFormat>) -> PyResult<Bytes> {
    let payload = read_payload(obj, format)?;
    if payload.len() >= LARGE_PAYLOAD {
        look(0)?;
    }
    Ok(payload)
}

fn read_payload(obj: &Bound<'_, PyAny>, format: Option<BodyFormat>) -> PyResult<Bytes> {
    if format == Some(BodyFormat::Json)
        && let Some(json) = plain_to_json(obj)?
    {
        return Ok(json.into());
    }
    match (format, obj.extract::<Buffer>()) {
        (Some(BodyFormat::Json), Ok(bytes)) => {
            let text = std::str::from_utf8(&bytes).map_err(|error| not_json(&error))?;
            serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
            check_depth(&bytes)?;
            Ok(copied(&bytes)?.into())
        }
        (Some(BodyFormat::Json), Err(_)) => {
            let json = to_json(obj)?;
            check_depth(json.as_bytes())?;
            Ok(copied(json.as_bytes())?.into())
        }
        (_, bytes) => Ok(copied(&bytes?)?.into()),
    }
}

/// Raises `LimitError` for JSON that nests deeper than clients read it.
fn check_depth(json: &[u8]) -> PyResult<()> {
    if Body::is_too_deep(json) {
        let text = format!("the payload nests deeper than {BODY_DEPTH_MAX}");
        return Err(LimitError::new_err((text, BODY_DEPTH_MAX)));
    }
    Ok(())
}

fn not_json(error: &dyn std::fmt::Display) -> PyErr {
    PyValueError::new_err(format!("the payload is not JSON: {error}"))
}

/// Returns the tuple of a change: a verb and its arguments.
pub(crate) fn change_tuple<'a, 'py>(
    change: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, PyTuple>> {
    let change_of = |_| {
        let text = format!("a change is a tuple, not {}", type_name(change));
        PyTypeError::new_err(text)
    };
    change.cast::<PyTuple>().map_err(change_of)
}

pub(crate) fn unknown_change(verb: &str, items: usize) -> PyErr {
    let text = format!("there is no change {verb:?} of {items} items");
    PyValueError::new_err(text)
}

/// Changes, whose groups are still names.
#[derive(Debug)]
pub(crate) struct Changes<I> {
    changes: Vec<ChangeOf<I>>,
    groups: GroupNames,
}

/// A change; its group, if it has one, is an index of [`GroupNames`].
#[derive(Debug)]
enum ChangeOf<I> {
    Upsert {
        id: I,
        group: u32,
        key: SortKey,
        attrs: u32,
    },
    SetGroup(I, u32),
    Other(core::member_list::Change<I>),
}

impl<I: PyId> Changes<I> {
    /// Reads the changes of an iterable.
    pub(crate) fn read(changes: &Bound<'_, PyAny>, format: Option<BodyFormat>) -> PyResult<Self> {
        let mut groups = GroupNames::new();
        let changes = collect(changes, "changes", BATCH_MAX, |change| {
            ChangeOf::read(change, format, &mut groups)
        })?;
        room_for(changes.len(), MEMBER_LEN)?;
        Ok(Self { changes, groups })
    }

    /// Takes the changes, with the groups that the names say. The names stay, to be let go of with the interpreter.
    pub(crate) fn resolve(
        &mut self,
        list: &core::MemberList<I>,
    ) -> Result<Vec<core::member_list::Change<I>>, ListError> {
        let mentioned = self.changes.iter().map(ChangeOf::group);
        let groups = self.groups.resolve(list, mentioned)?;
        let changes = mem::take(&mut self.changes).into_iter();
        Ok(changes.map(|change| change.resolve(&groups)).collect())
    }
}

impl<I: PyId> ChangeOf<I> {
    fn read(
        change: &Bound<'_, PyAny>,
        format: Option<BodyFormat>,
        groups: &mut GroupNames,
    ) -> PyResult<Self> {
        let tuple = change_tuple(change)?;
        let arg = |at: usize| tuple.get_item(at);
        let id = || I::from_py(&arg(1)?);
        let verb: PyBackedStr = tuple.get_item(0)?.extract()?;
        let change = match (&*verb, tuple.len()) {
            ("upsert", 4 | 5) => {
                let attrs = if tuple.len() == 5 {
                    arg(4)?.extract()?
                } else {
                    0
                };
                let group = groups.index(&arg(2)?)?;
                let key = arg(3)?.extract::<Key>()?.0;
                return Ok(Self::Upsert {
                    id: id()?,
                    group,
                    key,
                    attrs,
                });
            }
            ("set_group", 3) => return Ok(Self::SetGroup(id()?, groups.index(&arg(2)?)?)),
            ("remove", 2) => core::member_list::Change::Remove(id()?),
            ("touch", 2) => core::member_list::Change::Touch(id()?),
            ("set_key", 3) => core::member_list::Change::SetKey(id()?, arg(2)?.extract::<Key>()?.0),
            ("set_attrs", 3) => core::member_list::Change::SetAttrs(id()?, arg(2)?.extract()?),
            ("set_payload", 3) => {
                core::member_list::Change::SetPayload(id()?, payload(&arg(2)?, format)?)
            }
            (verb, len) => return Err(unknown_change(verb, len)),
        };
        Ok(Self::Other(change))
    }

    /// Returns the group that the change names.
    const fn group(&self) -> Option<u32> {
        match self {
            Self::Upsert { group, .. } | Self::SetGroup(_, group) => Some(*group),
            Self::Other(_) => None,
        }
    }

    fn resolve(self, groups: &[GroupId]) -> core::member_list::Change<I> {
        match self {
            Self::Upsert {
                id,
                group,
                key,
                attrs,
            } => core::member_list::Change::Upsert {
                id,
                group: groups[group as usize],
                key,
                attrs,
            },
            Self::SetGroup(id, group) => {
                core::member_list::Change::SetGroup(id, groups[group as usize])
            }
            Self::Other(change) => change,
        }
    }
}

/// New members, whose groups are still names.
#[derive(Debug)]
pub(crate) struct NewMembers<I> {
    members: Vec<NewMember<I>>,
    groups: GroupNames,
}

/// A new member; its group is an index of [`GroupNames`].
#[derive(Debug)]
struct NewMember<I> {
    id: I,
    group: u32,
    key: SortKey,
    attrs: u32,
}

/// The places in which an object that names a group is looked for.
const RECENT: usize = 64;

/// The names of groups as members mention them. Members mostly mention the same few objects, which are read once.
#[derive(Debug)]
struct GroupNames {
    names: Vec<PyBackedStr>,
    /// The addresses of objects among `names`, which keep them, and their indexes.
    recent: [(usize, u32); RECENT],
}

impl GroupNames {
    fn new() -> Self {
        Self {
            names: Vec::new(),
            recent: [(0, 0); RECENT],
        }
    }

    /// Returns the index of a name; equal names may have several.
    fn index(&mut self, name: &Bound<'_, PyAny>) -> PyResult<u32> {
        let address = name.as_ptr().addr();
        let place = (address >> 4) % RECENT;
        if self.recent[place].0 == address {
            return Ok(self.recent[place].1);
        }
        // There are at most as many as members.
        let index = self.names.len() as u32;
        push(&mut self.names, name.extract()?)?;
        self.recent[place] = (address, index);
        Ok(index)
    }

    /// Returns the groups of the names. The error has the position of the first item that mentions one that the list
    /// does not have.
    fn resolve<I: PyId>(
        &self,
        list: &core::MemberList<I>,
        mentioned: impl Iterator<Item = Option<u32>>,
    ) -> Result<Vec<GroupId>, ListError> {
        let groups: Vec<_> = self.names.iter().map(|name| list.group(name)).collect();
        let wrong = |(at, index): (usize, Option<u32>)| {
            let error = groups[index? as usize].clone().err()?;
            let error = Box::new(error);
            Some(ListError::InBatch { at, error })
        };
        let is_wrong = groups.iter().any(Result::is_err);
        match is_wrong.then(|| mentioned.enumerate().find_map(wrong)) {
            Some(Some(error)) => Err(error),
            _ => groups.into_iter().collect(),
        }
    }
}

impl<I: PyId> NewMembers<I> {
    /// Reads the members of an iterable.
    pub(crate) fn read(members: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut groups = GroupNames::new();
        let members = collect(members, "members", BATCH_MAX, |member| {
            NewMember::read(member, &mut groups)
        })?;
        room_for(members.len(), MEMBER_LEN)?;
        Ok(Self { members, groups })
    }

    /// Loads the members, unless a group is unknown. The names stay, to be let go of with the interpreter.
    pub(crate) fn load(
        &mut self,
        list: &mut core::MemberList<I>,
    ) -> Result<core::member_list::BulkReport<I>, ListError> {
        let mentioned = self.members.iter().map(|member| Some(member.group));
        let groups = self.groups.resolve(list, mentioned)?;
        let members = mem::take(&mut self.members).into_iter();
        list.bulk_load(members.map(|member| core::member_list::NewMember {
            id: member.id,
            group: groups[member.group as usize],
            key: member.key,
            attrs: member.attrs,
        }))
    }
}

impl<I: PyId> NewMember<I> {
    fn read(member: &Bound<'_, PyAny>, groups: &mut GroupNames) -> PyResult<Self> {
        let tuple = member
            .cast::<PyTuple>()
            .ok()
            .filter(|tuple| matches!(tuple.len(), 3 | 4));
        let tuple = tuple.ok_or_else(|| {
            PyTypeError::new_err(
                "a new member is a tuple (id, group, key) or (id, group, key, attrs)",
            )
        })?;
        let id = tuple.get_borrowed_item(0)?;
        let group = tuple.get_borrowed_item(1)?;
        Ok(Self {
            id: I::from_py(&id)?,
            group: groups.index(&group)?,
            key: tuple.get_borrowed_item(2)?.extract::<Key>()?.0,
            attrs: if tuple.len() == 4 {
                tuple.get_borrowed_item(3)?.extract()?
            } else {
                0
            },
        })
    }
}

/// The effect of `apply_batch`.
#[pyclass(frozen, eq, module = "headcount")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BatchReport {
    /// The number of members that were added.
    #[pyo3(get)]
    inserted: usize,
    /// The number of members that were changed, moved or not.
    #[pyo3(get)]
    updated: usize,
    /// The number of members that were removed.
    #[pyo3(get)]
    removed: usize,
    /// The number of changes to members that did not exist at that point; they did nothing.
    #[pyo3(get)]
    missing: usize,
    rows: Vec<(Option<usize>, Option<usize>)>,
}

impl From<core::member_list::BatchReport> for BatchReport {
    fn from(report: core::member_list::BatchReport) -> Self {
        let core::member_list::BatchReport {
            inserted,
            updated,
            removed,
            missing,
            rows,
        } = report;
        let rows = rows.into_iter();
        Self {
            inserted,
            updated,
            removed,
            missing,
            rows: rows.map(|moved| (moved.old_index, moved.index)).collect(),
        }
    }
}

#[pymethods]
impl BatchReport {
    /// The row before and after each change, in order; `None` for a member without a row.
    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        bounds::list(py, self.rows.iter().copied())
    }

    fn __repr__(&self) -> String {
        let Self {
            inserted,
            updated,
            removed,
            missing,
            ..
        } = self;
        format!(
            "BatchReport(inserted={inserted}, updated={updated}, removed={removed}, missing={missing})"
        )
    }
}

/// The effect of `bulk_load`.
#[pyclass(frozen, generic, module = "headcount")]
#[derive(Debug)]
pub(crate) struct BulkReport {
    /// The number of members that were added.
    #[pyo3(get)]
    loaded: usize,
    duplicates: DetachedDrop<Vec<(usize, AnyId)>>,
}

impl Content for (usize, AnyId) {}

impl<I: PyId> From<core::member_list::BulkReport<I>> for BulkReport {
    fn from(report: core::member_list::BulkReport<I>) -> Self {
        let duplicates = report.duplicates.iter();
        let duplicates: Vec<_> = duplicates.map(|(at, id)| (*at, id.to_any())).collect();
        Self {
            loaded: report.loaded,
            duplicates: DetachedDrop::new(duplicates),
        }
    }
}

#[pymethods]
impl BulkReport {
    /// The positions and ids of members that were left out, because they existed or came twice.
    #[getter]
    fn duplicates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        bounds::list(py, self.duplicates.iter().map(|(at, id)| (*at, id)))
    }

    fn __repr__(&self) -> String {
        format!(
            "<BulkReport loaded={} duplicates={}>",
            self.loaded,
            self.duplicates.len()
        )
    }
}
