//! The writes of a `MemberList`.

use headcount as core;
use pyo3::prelude::*;

use crate::batch::{BatchReport, BulkReport, Changes, NewMembers, payload};
use crate::bounds::{BATCH_MAX, collect};
use crate::error::raise;
use crate::id::{Key, PyId};
use crate::member_list::{MemberList, each, group_names};

/// The effect of a write on one member.
#[pyclass(frozen, eq, module = "headcount")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upsert {
    /// The present row of the member; `None` while its group is hidden or collapsed.
    #[pyo3(get)]
    index: Option<usize>,
    /// True if the member was added.
    #[pyo3(get)]
    is_new: bool,
    /// The row of the member before; `None` for new members and those without a row.
    #[pyo3(get)]
    old_index: Option<usize>,
}

impl From<core::member_list::Upsert> for Upsert {
    fn from(upsert: core::member_list::Upsert) -> Self {
        Self {
            index: upsert.index,
            is_new: upsert.is_new,
            old_index: upsert.old_index,
        }
    }
}

#[pymethods]
impl Upsert {
    fn __repr__(&self) -> String {
        let show = |index: Option<usize>| index.map_or("None".to_owned(), |at| at.to_string());
        let index = show(self.index);
        let old = show(self.old_index);
        let is_new = if self.is_new { "True" } else { "False" };
        format!("Upsert(index={index}, is_new={is_new}, old_index={old})")
    }
}

#[pymethods]
impl MemberList {
    /// Add a group at the end of the order.
    fn add_group(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        each!(self, list => list.write(py, |list| list.add_group(name).map(drop))?).map_err(raise)
    }

    /// Create the groups that do not exist, and put these groups in this order before all others.
    ///
    /// Raises `LimitError` for more than 4,096 groups.
    fn set_groups(&self, py: Python<'_>, names: &Bound<'_, PyAny>) -> PyResult<()> {
        let names = group_names(names)?;
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        each!(self, list => list.write(py, |list| list.set_groups(&names).map(drop))?)
            .map_err(raise)
    }

    /// Rename a group.
    fn rename_group(&self, py: Python<'_>, name: &str, to: &str) -> PyResult<()> {
        each!(self, list => list.write(py, |list| {
            let group = list.group(name)?;
            list.rename_group(group, to)
        })?)
        .map_err(raise)
    }

    /// Move a group to an index in the order; an index past the end means the end.
    fn move_group(&self, py: Python<'_>, name: &str, to: usize) -> PyResult<()> {
        each!(self, list => list.write(py, |list| {
            let group = list.group(name)?;
            list.move_group(group, to)
        })?)
        .map_err(raise)
    }

    /// Put all groups in this order.
    ///
    /// Raises `ListError` unless each group is named once.
    fn reorder_groups(&self, py: Python<'_>, names: &Bound<'_, PyAny>) -> PyResult<()> {
        let names = group_names(names)?;
        each!(self, list => list.write(py, |list| {
            let order = names.iter().map(|name| list.group(name));
            let order = order.collect::<Result<Vec<_>, _>>()?;
            list.reorder_groups(&order)
        })?)
        .map_err(raise)
    }

    /// Take a group out of the index space, header included, or put it back.
    #[pyo3(signature = (name, hidden = true))]
    fn set_group_hidden(&self, py: Python<'_>, name: &str, hidden: bool) -> PyResult<()> {
        each!(self, list => list.write(py, |list| {
            let group = list.group(name)?;
            list.set_group_hidden(group, hidden)
        })?)
        .map_err(raise)
    }

    /// Leave only the header of a group in the index space, or put its members back.
    #[pyo3(signature = (name, collapsed = true))]
    fn set_group_collapsed(&self, py: Python<'_>, name: &str, collapsed: bool) -> PyResult<()> {
        each!(self, list => list.write(py, |list| {
            let group = list.group(name)?;
            list.set_group_collapsed(group, collapsed)
        })?)
        .map_err(raise)
    }

    /// Move all members of a group to another, and return how many. The group stays, empty.
    fn merge_group(&self, py: Python<'_>, name: &str, to: &str) -> PyResult<usize> {
        each!(self, list => list.write_long(py, |list| {
            let group = list.group(name)?;
            let to = list.group(to)?;
            list.merge_group(group, to)
        })?)
        .map_err(raise)
    }

    /// Remove a group without members.
    fn remove_group(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        each!(self, list => list.write(py, |list| {
            let group = list.group(name)?;
            list.remove_group(group)
        })?)
        .map_err(raise)
    }

    /// Add a member, or move it and set its attributes. O(log n).
    #[pyo3(signature = (id, group, key, *, attrs = 0))]
    fn upsert(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        group: &str,
        key: Key,
        attrs: u32,
    ) -> PyResult<Upsert> {
        each!(self, list => {
            let id = PyId::from_py(id)?;
            list.write(py, |list| {
                let group = list.group(group)?;
                list.upsert(id, group, &key.0, attrs)
            })?
        })
        .map(Upsert::from)
        .map_err(raise)
    }

    /// Remove a member, and return the row it had; `None` when there is no such member, and when
    /// it had no row because its group is hidden or collapsed. O(log n).
    fn remove(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        each!(self, list => {
            let id = PyId::from_py(id)?;
            list.write(py, |list| list.remove(&id))
        })
    }

    /// Move a member to another group. O(log n).
    fn set_group(&self, py: Python<'_>, id: &Bound<'_, PyAny>, group: &str) -> PyResult<Upsert> {
        each!(self, list => {
            let id = PyId::from_py(id)?;
            list.write(py, |list| {
                let group = list.group(group)?;
                list.set_group(&id, group)
            })?
        })
        .map(Upsert::from)
        .map_err(raise)
    }

    /// Change the sort key of a member. O(log n).
    fn set_key(&self, py: Python<'_>, id: &Bound<'_, PyAny>, key: Key) -> PyResult<Upsert> {
        each!(self, list => {
            let id = PyId::from_py(id)?;
            list.write(py, |list| list.set_key(&id, &key.0))?
        })
        .map(Upsert::from)
        .map_err(raise)
    }

    /// Set the attribute bits of a member, and return its row. O(log n).
    fn set_attrs(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        attrs: u32,
    ) -> PyResult<Option<usize>> {
        each!(self, list => {
            let id = PyId::from_py(id)?;
            list.write(py, |list| list.set_attrs(&id, attrs))?
        })
        .map_err(raise)
    }

    /// Set the payload of a member, in a list with payloads, and return its row: bytes, or in a
    /// list of JSON any object that JSON can express. O(log n).
    fn set_payload(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        payload: &Bound<'_, PyAny>,
    ) -> PyResult<Option<usize>> {
        let payload = self::payload(payload, self.format)?;
        each!(self, list => {
            let id = PyId::from_py(id)?;
            list.write(py, |list| list.set_payload(&id, payload))?
        })
        .map_err(raise)
    }

    /// Move many members to a group, and return how many of them exist; unknown ids are ignored.
    /// At most 16,777,216 at a time. O(k log n).
    fn set_group_many(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        group: &str,
    ) -> PyResult<usize> {
        each!(self, list => {
            let ids = collect(ids, "ids", BATCH_MAX, |id| PyId::from_py(id))?;
            list.write_long(py, |list| {
                let group = list.group(group)?;
                list.set_group_many(&ids, group)
            })?
        })
        .map_err(raise)
    }

    /// Report that the content shown for a member has changed, and return its row. O(log n).
    fn touch(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        each!(self, list => {
            let id = PyId::from_py(id)?;
            list.write(py, |list| list.touch(&id))?
        })
        .map_err(raise)
    }

    /// Apply many changes in order, all or none: tuples of a verb and its arguments, `("upsert",
    /// id, group, key)` or with attrs, `("remove", id)`, `("set_group", id, group)`, `("set_key",
    /// id, key)`, `("set_attrs", id, attrs)`, `("set_payload", id, payload)`, `("touch", id)`.
    /// Changes of unknown members do nothing and are counted. At most 16,777,216 at a time. O(k
    /// log n).
    fn apply_batch(&self, py: Python<'_>, changes: &Bound<'_, PyAny>) -> PyResult<BatchReport> {
        each!(self, list => {
            let mut changes = Changes::read(changes, self.format)?;
            list.write_long(py, |list| {
                let changes = changes.resolve(list)?;
                list.apply_batch(&changes).map(BatchReport::from)
            })?
        })
        .map_err(raise)
    }

    /// Add many members, sorted or not: tuples `(id, group, key)` or `(id, group, key, attrs)`.
    /// Ids that exist already, or come twice, are left out and reported. At most 16,777,216 at a
    /// time.
    ///
    /// Raises as `upsert`, with the position of the first member whose group is unknown,
    /// `LimitError` when there are more, `MemoryError` when there is no room for them; nothing was
    /// loaded then.
    pub(crate) fn bulk_load(
        &self,
        py: Python<'_>,
        members: &Bound<'_, PyAny>,
    ) -> PyResult<BulkReport> {
        each!(self, list => {
            let mut members = NewMembers::read(members)?;
            list.write_long(py, |list| members.load(list).map(BulkReport::from))?
        })
        .map_err(raise)
    }
}
