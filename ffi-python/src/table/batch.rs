//! Many members of a table at once: `bulk_load`, `apply_batch`, and what their tuples say.

use bytes::Bytes;
use headcount as core;
use headcount::SortKey;
use headcount::member_list::{
    Attrs, BodyFormat, Fields, NewTableMember, TableBatchReport as Report, TableChange, TableError,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyList, PyTuple};

use crate::batch::{BulkReport, MEMBER_LEN, change_tuple, payload, unknown_change};
use crate::bounds::{self, BATCH_MAX, collect, room_for};
use crate::error::raise;
use crate::id::{Key, PyId};
use crate::table::MemberTable;
use crate::table::list_view::{ListMove, TableOf, each_table};
use crate::table::spec::Bits;

/// About what a member takes in each list while many are put in, with its share of trees that grow.
const LIST_LEN: usize = 64;
/// About what a row that a change moved takes, in memory that grows.
const MOVE_LEN: usize = 3 * size_of::<(usize, core::member_list::ListMove)>();
/// About what such a row takes as an object of Python.
const MOVE_OBJECT_LEN: usize = 256;

/// The form of the tuples of a table: keys, one for each column, then attributes and a payload,
/// which may be left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowForm {
    columns: usize,
    format: Option<BodyFormat>,
}

/// The parts of a tuple that says where a member belongs.
#[derive(Debug)]
pub(crate) struct RowItems<'py> {
    pub(crate) keys: Vec<SortKey>,
    pub(crate) attrs: Bits,
    pub(crate) payload: Option<Bound<'py, PyAny>>,
}

impl RowForm {
    /// Reads the items of a tuple from the one at `start`, of which `more` at most follow the keys.
    /// A tuple with another number of items has the wrong number of keys.
    pub(crate) fn read<'py>(
        self,
        tuple: &Bound<'py, PyTuple>,
        start: usize,
        more: usize,
    ) -> Result<PyResult<RowItems<'py>>, TableError> {
        let columns = self.columns;
        let got = tuple.len().saturating_sub(start);
        if !(columns..=columns + more).contains(&got) {
            return Err(TableError::WrongKeys { got, columns });
        }
        Ok(self.items(tuple, start))
    }

    fn items<'py>(self, tuple: &Bound<'py, PyTuple>, start: usize) -> PyResult<RowItems<'py>> {
        let end = start + self.columns;
        let key = |at| Ok(tuple.get_borrowed_item(at)?.extract::<Key>()?.0);
        let rest = |at| (at < tuple.len()).then(|| tuple.get_item(at)).transpose();
        Ok(RowItems {
            keys: (start..end).map(key).collect::<PyResult<Vec<SortKey>>>()?,
            attrs: rest(end)?.map_or_else(|| Ok(Bits::default()), |attrs| attrs.extract())?,
            payload: rest(end + 1)?,
        })
    }

    /// Reads a payload, if there is one.
    pub(crate) fn payload(self, payload: Option<Bound<'_, PyAny>>) -> PyResult<Option<Bytes>> {
        let payload = payload.map(|it| self::payload(&it, self.format));
        payload.transpose()
    }

    /// Reads a new member, which comes after so many others.
    fn new_member<I: PyId>(
        self,
        member: &Bound<'_, PyAny>,
        before: usize,
    ) -> PyResult<NewTableMember<I>> {
        let tuple = member.cast::<PyTuple>().map_err(|_| {
            let text = "a new member is a tuple of its id and keys, (id, key), or with attributes \
                        (id, key, attrs), or with a payload (id, key, attrs, payload)";
            PyTypeError::new_err(text)
        })?;
        let row = self.read(tuple, 1, 2);
        let row = row.map_err(|error| raise(in_batch(before, error)))??;
        Ok(NewTableMember {
            id: I::from_py(&tuple.get_item(0)?)?,
            keys: row.keys,
            attrs: row.attrs.0,
            payload: self.payload(row.payload)?,
        })
    }

    /// Reads a change, which comes after so many others.
    fn change<I: PyId>(self, change: &Bound<'_, PyAny>, before: usize) -> PyResult<TableChange<I>> {
        let tuple = change_tuple(change)?;
        let arg = |at: usize| tuple.get_item(at);
        let bits = |at: usize| Ok::<Attrs, PyErr>(arg(at)?.extract::<Bits>()?.0);
        let id = || I::from_py(&arg(1)?);
        let verb: PyBackedStr = arg(0)?.extract()?;
        Ok(match (&*verb, tuple.len()) {
            ("upsert", 2..) => {
                let row = self.read(tuple, 2, 1);
                let row = row.map_err(|error| raise(in_batch(before, error)))??;
                TableChange::Upsert {
                    id: id()?,
                    keys: row.keys,
                    attrs: row.attrs.0,
                }
            }
            ("remove", 2) => TableChange::Remove(id()?),
            ("touch", 2) => TableChange::TouchFields(id()?, Fields::ALL),
            ("set_key", 4) => TableChange::SetKey {
                id: id()?,
                column: arg(2)?.extract()?,
                key: arg(3)?.extract::<Key>()?.0,
            },
            ("set_attrs", 4) => TableChange::SetAttrs {
                id: id()?,
                clear: bits(2)?,
                set: bits(3)?,
            },
            ("set_payload", 3) => TableChange::SetPayload(id()?, payload(&arg(2)?, self.format)?),
            (verb, len) => return Err(unknown_change(verb, len)),
        })
    }
}

fn in_batch(at: usize, error: TableError) -> TableError {
    let error = Box::new(error);
    TableError::InBatch { at, error }
}

impl MemberTable {
    /// Returns the form of the tuples of the table, and how many lists it has.
    fn form_and_lists<I: PyId>(
        &self,
        py: Python<'_>,
        table: &TableOf<I>,
    ) -> PyResult<(RowForm, usize)> {
        let format = self.format;
        table.read(py, |table| {
            let columns = table.key_columns();
            (RowForm { columns, format }, table.lists().count())
        })
    }

    /// Returns the form of the tuples of the table.
    pub(crate) fn form(&self, py: Python<'_>) -> PyResult<RowForm> {
        each_table!(self, table => Ok(self.form_and_lists(py, table)?.0))
    }
}

#[pymethods]
impl MemberTable {
    /// Apply many changes in order, all or none: tuples of a verb and its arguments, `("upsert", id,
    /// key)` with a key for each column, or with attributes after them, `("remove", id)`,
    /// `("set_key", id, column, key)`, `("set_attrs", id, clear, set)`, `("set_payload", id,
    /// payload)`, `("touch", id)`. Changes of unknown members do nothing and are counted. With
    /// `rows`, the report has the rows that each change moved a member from and to. At most
    /// 16,777,216 at a time. The cost is that of the single calls, in less time.
    ///
    /// Raises as the single calls, with the position of the first change that is refused, and
    /// `MemoryError` when there is no room, with `rows` for a row of each change in each list.
    ///
    /// >>> table = MemberTable(int)
    /// >>> _ = table.add_list(ListSpec("all", "members"))
    /// >>> report = table.apply_batch([("upsert", 7, "Bob", [3]), ("upsert", 9, "Ann")], rows=True)
    /// >>> report
    /// TableBatchReport(inserted=2, updated=0, removed=0, missing=0)
    /// >>> [(change, move.list.name, move.index) for change, move in report.rows]
    /// [(0, 'all', 1), (1, 'all', 1)]
    #[pyo3(signature = (changes, *, rows = false))]
    fn apply_batch(
        &self,
        py: Python<'_>,
        changes: &Bound<'_, PyAny>,
        rows: bool,
    ) -> PyResult<TableBatchReport> {
        let (report, moves) = each_table!(self, table => {
            let (form, lists) = self.form_and_lists(py, table)?;
            let mut before = 0;
            let changes = collect(changes, "changes", BATCH_MAX, |change| {
                let change = form.change(change, before);
                before += 1;
                change
            })?;
            let row_len = if rows { LIST_LEN + MOVE_LEN } else { LIST_LEN };
            room_for(changes.len(), MEMBER_LEN + lists * row_len)?;
            table.write_long(py, move |table| {
                let mut moves = Vec::new();
                let report = table.apply_batch(&changes, rows.then_some(&mut moves));
                report.map(|report| (report, moves))
            })?
        })
        .map_err(raise)?;
        Ok(TableBatchReport {
            report,
            moves,
            table: self.clone(),
        })
    }

    /// Add many members, sorted or not, as one change for viewers: tuples `(id, key)` with a key for
    /// each column, or with attributes after them, or with attributes and a payload. Ids that exist
    /// already, or come twice, are left out and reported. At most 16,777,216 at a time. O(k log k)
    /// for each column by which lists are sorted, and O(k log n) or O(n + k) for each list.
    ///
    /// Raises as `upsert` and `set_payload`, with the position of the first member that is refused,
    /// `LimitError` when there are more, `MemoryError` when there is no room for them; nothing was
    /// loaded then.
    ///
    /// >>> table = MemberTable(int, key_columns=2)
    /// >>> table.bulk_load([(7, "Bob", 2019), (9, "Ann", 2024, [3]), (7, "Eve", 2020)])
    /// <BulkReport loaded=2 duplicates=1>
    pub(crate) fn bulk_load(
        &self,
        py: Python<'_>,
        members: &Bound<'_, PyAny>,
    ) -> PyResult<BulkReport> {
        each_table!(self, table => {
            let (form, lists) = self.form_and_lists(py, table)?;
            let mut before = 0;
            let members = collect(members, "members", BATCH_MAX, |member| {
                let member = form.new_member(member, before);
                before += 1;
                member
            })?;
            room_for(members.len(), MEMBER_LEN + lists * LIST_LEN)?;
            table.write_long(py, |table| table.bulk_load(members).map(BulkReport::from))?
        })
        .map_err(raise)
    }
}

/// The effect of `MemberTable.apply_batch`.
#[pyclass(frozen, generic, module = "headcount")]
#[derive(Debug)]
pub(crate) struct TableBatchReport {
    report: Report,
    moves: Vec<(usize, core::member_list::ListMove)>,
    table: MemberTable,
}

#[pymethods]
impl TableBatchReport {
    /// The number of members that were added.
    #[getter]
    const fn inserted(&self) -> usize {
        self.report.inserted
    }

    /// The number of members that were changed, moved or not.
    #[getter]
    const fn updated(&self) -> usize {
        self.report.updated
    }

    /// The number of members that were removed.
    #[getter]
    const fn removed(&self) -> usize {
        self.report.removed
    }

    /// The number of changes to members that did not exist at that point; they did nothing.
    #[getter]
    const fn missing(&self) -> usize {
        self.report.missing
    }

    /// The rows that changes moved members from and to, each with the position of its change, as
    /// they were at that moment; none unless the call asked for `rows`.
    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        room_for(self.moves.len(), MOVE_OBJECT_LEN)?;
        let moves = self.moves.iter();
        let moves = moves.map(|(change, moved)| {
            let list = self.table.view(moved.list);
            (*change, ListMove::new(list, moved))
        });
        bounds::list(py, moves)
    }

    fn __repr__(&self) -> String {
        let Report {
            inserted,
            updated,
            removed,
            missing,
        } = self.report;
        format!(
            "TableBatchReport(inserted={inserted}, updated={updated}, removed={removed}, missing={missing})"
        )
    }
}
