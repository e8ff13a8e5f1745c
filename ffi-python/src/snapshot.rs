//! `Snapshot`: a list as it was.

use std::sync::{Arc, Once};

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::bounds::{self, SHORT, room_for};
use crate::convert::{Place, out_of_range, place};
use crate::detached_drop::DetachedDrop;
use crate::id::AnyId;
use crate::member_list::{ROW_LEN, describe};
use crate::row::{Finding, Group, Reading, Row, RowIterator, absent};

/// About what a member takes in the table of the ids.
const PLACE_LEN: usize = 64;

/// A `MemberList` as it was at one moment. Readers never wait for writers, nor writers for readers.
///
/// As in the list, `len`, indexes, slices and iteration speak of rows; `in`, `get` and `index` speak
/// of member ids. The first of these makes a table of the ids, O(n), which the snapshot keeps: in a
/// large list that changes, ask the list. A copy of a snapshot is the snapshot itself.
///
/// >>> ml = MemberList(int, groups=["online"])
/// >>> _ = ml.upsert(1, "online", "Ann")
/// >>> before = ml.snapshot()
/// >>> ml.remove(1)
/// 1
/// >>> len(before), len(ml)
/// (2, 0)
/// >>> 1 in before, before.index(1), 1 in ml
/// (True, 1, False)
#[pyclass(frozen, generic, weakref, module = "headcount")]
pub(crate) struct Snapshot {
    list: DetachedDrop<Arc<dyn Finding>>,
    /// Done when the ids have a table.
    ids: Once,
}

impl Snapshot {
    pub(crate) fn new(list: Arc<dyn Finding>) -> Self {
        let ids = Once::new();
        let list = DetachedDrop::new(list);
        Self { list, ids }
    }

    /// Returns an iterator over the rows.
    pub(crate) fn walk(&self, reverse: bool) -> RowIterator {
        let list: Arc<dyn Reading> = Arc::<dyn Finding>::clone(&*self.list);
        RowIterator::new(list, reverse)
    }

    /// Reads an id, and makes sure that ids have a table.
    fn id(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<AnyId> {
        let id = self.list.id(id)?;
        if !self.ids.is_completed() {
            room_for(self.list.members_len(), PLACE_LEN)?;
            py.detach(|| self.ids.call_once(|| _ = self.list.has(&id)));
        }
        Ok(id)
    }
}

#[pymethods]
impl Snapshot {
    /// Return all groups in order, including hidden and empty ones.
    fn groups(&self) -> Vec<Group> {
        self.list.all_groups()
    }

    /// Return the number of members, shown or not. O(1).
    fn member_count(&self) -> usize {
        self.list.members_len()
    }

    /// Return a member by id, shown or not, or `None`. O(log n); the first read by id O(n).
    fn get(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<Row>> {
        let id = self.id(py, id)?;
        Ok(self.list.found(&id))
    }

    /// Return the row of a member. O(log groups); the first read by id O(n).
    ///
    /// Raises `UnknownMember` when there is no such member, and `HiddenMember` when its group is
    /// hidden or collapsed.
    fn index(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<usize> {
        let id = self.id(py, id)?;
        let index = self.list.row_of(&id);
        index.ok_or_else(|| absent(id.to_text(), self.list.has(&id)))
    }

    /// Return the row of a member; `None` when it is unknown or its group is hidden or collapsed.
    /// O(log groups); the first read by id O(n).
    fn index_of(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        let id = self.id(py, id)?;
        Ok(self.list.row_of(&id))
    }

    fn __len__(&self) -> usize {
        self.list.rows_len()
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        // What is no id of this list is not in it, as with the list.
        if self.list.id(id).is_err() {
            return Ok(false);
        }
        let id = self.id(py, id)?;
        Ok(self.list.has(&id))
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match place(index, self.list.rows_len())? {
            Place::At(at) => {
                let row = self.list.row(at).ok_or_else(out_of_range)?;
                row.into_pyobject(py)
            }
            Place::Rows(rows) if rows.len() <= SHORT => {
                Ok(PyList::new(py, self.list.objects(py, rows)?)?.into_any())
            }
            Place::Rows(rows) => {
                room_for(rows.len(), ROW_LEN)?;
                let rows = py.detach(|| self.list.rows(rows));
                Ok(bounds::list(py, rows)?.into_any())
            }
        }
    }

    fn __iter__(&self) -> RowIterator {
        self.walk(false)
    }

    fn __reversed__(&self) -> RowIterator {
        self.walk(true)
    }

    fn __copy__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __deepcopy__<'py>(this: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        this
    }

    fn __repr__(&self) -> String {
        describe("Snapshot", self.member_count(), &self.groups())
    }
}
