//! `MemberTable`: the members of many lists, each once.

pub(crate) mod batch;
pub(crate) mod list_view;
pub(crate) mod spec;

use std::sync::Arc;

use headcount as core;
use headcount::member_list::{Attrs, BodyFormat, Epoch, Fields, ListId, TableError, TableOptions};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFrozenSet, PyTuple};

use crate::batch::{Format, payload};
use crate::bounds::{BATCH_MAX, bytes, collect, room_for};
use crate::convert::{Seconds, grouped, repr};
use crate::error::{UnknownList, raise};
use crate::id::{AnyId, Key, Kind, PyId};
use crate::list_or_roster::TableOrRoster;
use crate::row::Finding;
use crate::saves::{self, Pickle};
use crate::snapshot::Snapshot;
use crate::sync::Locked;
use crate::windows::TableTick;
use list_view::{ListMove, ListView, TableOf, Tables, each_table};
use spec::{Bits, ListSpec, numbers};

/// Members over which a list is built before other threads may work on the table.
const BUILD_STEP: usize = 4_000;
/// About what a member takes while the attributes of many change.
const CHANGE_LEN: usize = 64;

/// The members of up to 512 lists, each once, for any number of threads.
///
/// A member has an id, a sort key for each of 1 to 4 columns, and a set of attributes, numbers from
/// 0 to 511: roles, status, bot, ... A `ListSpec` says which members a list admits, how it groups
/// them and by which key it sorts them; a write puts the member where it belongs in every list, and
/// says where it has moved. `len` and `in` speak of members. Ids are `int`, `uuid.UUID` or `str`, as
/// in a `MemberList`; so are keys.
///
/// `ids` is the type of the ids (`str`), `key_columns` is the number of sort keys of a member (1),
/// and `payloads` gives members payloads: "json", sent as the bodies of rows, or "raw" (none).
/// `shown` are the attributes from 0 to 31 that viewers see in rows (none); the others leave no
/// trace there. A table that replaces another one must begin above its epochs, so `first_epoch`
/// (1) is a time in milliseconds, for example. `node` is the name of the server where there are
/// several, each with epochs of its own ("").
///
/// >>> ONLINE, STAFF = 0, 40
/// >>> table = MemberTable(int)
/// >>> for id, name, attrs in [(1, "Ada", [ONLINE]), (2, "Bob", [STAFF]), (3, "Cy", [STAFF])]:
/// ...     _ = table.upsert(id, name, attrs=attrs)
/// >>> online = Clause(all=[ONLINE])
/// >>> everyone = table.add_list(ListSpec("everyone", "offline", groups=[(online, "online")]))
/// >>> office = table.add_list(ListSpec("office", "staff", admit=[Clause(all=[STAFF])]))
/// >>> table.build()
/// 0
/// >>> table.set_attrs(2, set=[ONLINE])  # In the office nothing has moved.
/// [ListMove(<ListView 'everyone' 3 online=2 offline=1>, old_index=3, index=2)]
/// >>> everyone.index(2), office.index(2), 1 in office
/// (2, 1, False)
#[pyclass(frozen, generic, weakref, module = "headcount")]
#[derive(Debug, Clone)]
pub(crate) struct MemberTable {
    pub(crate) tables: Tables,
    pub(crate) format: Option<BodyFormat>,
}

fn create<I: PyId>(options: TableOptions) -> PyResult<TableOf<I>> {
    let table = core::member_list::MemberTable::new(options).map_err(raise)?;
    Ok(Arc::new(Locked::new(TableOrRoster::Alone(table))))
}

#[pymethods]
impl MemberTable {
    #[new]
    #[pyo3(signature = (
        ids = Kind::Text, /, *, key_columns = 1, payloads = None, shown = Bits::default(),
        first_epoch = 1, node = ""
    ))]
    fn new(
        ids: Kind,
        key_columns: usize,
        payloads: Option<Format>,
        shown: Bits,
        first_epoch: u64,
        node: &str,
    ) -> PyResult<Self> {
        let shown = shown.low()?;
        let format = payloads.map(|payloads| payloads.0);
        let options = TableOptions::default()
            .key_columns(key_columns)
            .payloads(format.is_some())
            .shown(shown)
            .first_epoch(Epoch::new(node, first_epoch));
        let tables = match ids {
            Kind::Int => Tables::Int(create(options)?),
            Kind::Uuid => Tables::Uuid(create(options)?),
            Kind::Text => Tables::Text(create(options)?),
        };
        Ok(Self { tables, format })
    }

    /// Add a list, or one more owner to the list of an equal spec: it stays until `remove_list` was
    /// called as often. The list of a table with members cannot be read until `build` has gone over
    /// all of them.
    ///
    /// Raises `ListError` when a list of this name has another spec, `LimitError` over a limit.
    fn add_list(&self, py: Python<'_>, spec: &Bound<'_, ListSpec>) -> PyResult<ListView> {
        let spec = spec.get();
        let id = each_table!(self, table => {
            let spec = spec.core()?;
            table.write_long(py, |table| table.add_list(spec))?
        });
        Ok(self.view(id.map_err(raise)?))
    }

    /// Give a list another spec, which may have another name. The list stays as it is until `build`
    /// has gone over all members; then viewers are sent their windows whole. When members must not
    /// be seen from now on, use `revoke`.
    ///
    /// Raises `ListBuilding` while the list is being built, `ListError` when it was added more than
    /// once, or as `add_list`.
    fn set_spec(
        &self,
        py: Python<'_>,
        list: &Bound<'_, ListView>,
        spec: &Bound<'_, ListSpec>,
    ) -> PyResult<()> {
        let list = self.own(list)?;
        let spec = spec.get();
        each_table!(self, table => {
            let spec = spec.core()?;
            table.write_long(py, |table| table.set_spec(list, spec))?
        })
        .map_err(raise)
    }

    /// Give a list another spec and empty it at once, for a permission that was taken away: the next
    /// tick shows viewers an empty list, and they see the new one once it is built. A spec that is
    /// being built is given up.
    fn revoke(
        &self,
        py: Python<'_>,
        list: &Bound<'_, ListView>,
        spec: &Bound<'_, ListSpec>,
    ) -> PyResult<()> {
        let list = self.own(list)?;
        let spec = spec.get();
        each_table!(self, table => {
            let spec = spec.core()?;
            table.write_long(py, |table| table.revoke(list, spec))?
        })
        .map_err(raise)
    }

    /// Take one owner from a list, and return whether it was the last one: then the list is gone.
    /// `Viewer.switch` its viewers to another list.
    fn remove_list(&self, py: Python<'_>, list: &Bound<'_, ListView>) -> PyResult<bool> {
        let list = self.own(list)?;
        each_table!(self, table => table.write_long(py, |table| table.remove_list(list))?)
            .map_err(raise)
    }

    /// Build the lists that were added or given another spec, over so many members at most, or to
    /// the end; return how many members are left. With 0 left all lists can be read. Other threads
    /// may use the table meanwhile. O(members x log n).
    #[pyo3(signature = (members = None))]
    fn build(&self, py: Python<'_>, members: Option<usize>) -> PyResult<usize> {
        each_table!(self, table => {
            let mut room = members.unwrap_or(usize::MAX);
            loop {
                let step = room.min(BUILD_STEP);
                let left = table.write_long(py, |table| table.build(step))?;
                room -= step;
                if left == 0 || room == 0 {
                    return Ok(left);
                }
                py.check_signals()?;
            }
        })
    }

    /// Return whether no order of a list is being built, neither its first one nor that of another
    /// spec. O(1).
    fn is_built(&self, py: Python<'_>, list: &Bound<'_, ListView>) -> PyResult<bool> {
        let list = self.own(list)?;
        each_table!(self, table => table.read(py, |table| table.is_built(list))?).map_err(raise)
    }

    /// Return the list of a name, or `None`. O(1).
    fn list_named(&self, py: Python<'_>, name: &str) -> PyResult<Option<ListView>> {
        let id = each_table!(self, table => table.read(py, |table| table.list_named(name))?);
        Ok(id.map(|id| self.view(id)))
    }

    /// Return all lists, including those that are being built.
    fn lists(&self, py: Python<'_>) -> PyResult<Vec<ListView>> {
        let ids: Vec<ListId> =
            each_table!(self, table => table.read(py, |table| table.lists().collect())?);
        Ok(ids.into_iter().map(|id| self.view(id)).collect())
    }

    /// Add a member, or change its keys and attributes: one key for each column. O(lists), and
    /// O(log n) for each list in which it moves.
    ///
    /// Raises `ListError` for another number of keys, `LimitError` over a limit.
    #[pyo3(signature = (id, *keys, attrs = Bits::default()))]
    fn upsert(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        keys: &Bound<'_, PyTuple>,
        attrs: Bits,
    ) -> PyResult<TableUpsert> {
        let keys = collect(keys, "keys", BATCH_MAX, |key| Ok(key.extract::<Key>()?.0))?;
        let (is_new, moves) = each_table!(self, table => {
            let id = PyId::from_py(id)?;
            self.write(py, table, |table, moves| table.upsert(id, &keys, attrs.0, Some(moves)))?
        });
        Ok(TableUpsert { is_new, moves })
    }

    /// Remove a member, and return the rows it had; `None` when there is no such member. O(lists),
    /// and O(log n) for each list that admits it.
    fn remove(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<Vec<ListMove>>> {
        let (was_member, moves) = each_table!(self, table => {
            let id = PyId::from_py(id)?;
            self.write(py, table, |table, moves| Ok(table.remove(&id, Some(moves))))?
        });
        Ok(was_member.then_some(moves))
    }

    /// Change the sort key of a member in one column, and return its rows in the lists where it has
    /// moved. O(lists), and O(log n) for each of those.
    ///
    /// Raises `UnknownMember` when there is no such member, `ListError` when there is no such
    /// column.
    fn set_key(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        column: usize,
        key: Key,
    ) -> PyResult<Vec<ListMove>> {
        let ((), moves) = each_table!(self, table => {
            let id = PyId::from_py(id)?;
            self.write(py, table, |table, moves| table.set_key(&id, column, &key.0, Some(moves)))?
        });
        Ok(moves)
    }

    /// Take attributes from a member and give it others; return its rows in the lists where it has
    /// moved. O(lists), and O(log n) for each of those.
    ///
    /// Raises `UnknownMember` when there is no such member.
    #[pyo3(signature = (id, *, clear = Bits::default(), set = Bits::default()))]
    fn set_attrs(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        clear: Bits,
        set: Bits,
    ) -> PyResult<Vec<ListMove>> {
        let ((), moves) = each_table!(self, table => {
            let id = PyId::from_py(id)?;
            self.write(py, table, |table, moves| {
                table.set_attrs(&id, &clear.0, &set.0, Some(moves))
            })?
        });
        Ok(moves)
    }

    /// Take attributes from many members and give them others, all or none, as one change for
    /// viewers. Return how many members were named; unknown ids are ignored. At most 16,777,216 at a
    /// time. O(k log k), and O(k log n) for each list in which members move.
    #[pyo3(signature = (ids, *, clear = Bits::default(), set = Bits::default()))]
    fn set_attrs_many(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        clear: Bits,
        set: Bits,
    ) -> PyResult<usize> {
        each_table!(self, table => {
            let ids = collect(ids, "ids", BATCH_MAX, |id| PyId::from_py(id))?;
            room_for(ids.len(), CHANGE_LEN)?;
            table.write_long(py, |table| table.set_attrs_many(&ids, &clear.0, &set.0))?
        })
        .map_err(raise)
    }

    /// Report that the content shown for a member has changed.
    ///
    /// Raises `UnknownMember` when there is no such member.
    fn touch(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<()> {
        each_table!(self, table => {
            let id = PyId::from_py(id)?;
            table.write(py, |table| table.touch_fields(&id, Fields::ALL))?
        })
        .map_err(raise)
    }

    /// Set the payload of a member, in a table with payloads: bytes, or in a table of JSON any
    /// object that JSON can express.
    fn set_payload(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        payload: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let payload = self::payload(payload, self.format)?;
        each_table!(self, table => {
            let id = PyId::from_py(id)?;
            table.write(py, |table| table.set_payload(&id, payload))?
        })
        .map_err(raise)
    }

    /// Return a member by id, or `None`. O(1).
    fn get(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<TableMember>> {
        each_table!(self, table => {
            let id = PyId::from_py(id)?;
            table.read(py, |table| table.get(&id).map(TableMember::from))
        })
    }

    /// Return how many different sets of attributes members have. O(1).
    fn attr_sets(&self, py: Python<'_>) -> PyResult<usize> {
        each_table!(self, table => table.read(py, |table| table.attr_sets()))
    }

    /// Publish the changes since the last tick in all lists that viewers watch, as they are at this
    /// moment: ask each viewer for its bundle then. `now` is in seconds of any clock that does not
    /// run backwards.
    fn tick(&self, py: Python<'_>, now: Seconds) -> PyResult<TableTick> {
        each_table!(self, table => TableTick::new(py, table, self.format, now.0))
    }

    /// Return all lists that can be read as they are now, of one moment. O(lists).
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let snapshots: Vec<(ListId, Arc<dyn Finding>)> = each_table!(self, table => {
            table.read(py, |table| {
                let snapshot = table.snapshot();
                let lists = table.lists();
                let lists = lists.filter_map(|id| {
                    let reading: Arc<dyn Finding> = Arc::new(snapshot.list(id)?.clone());
                    Some((id, reading))
                });
                lists.collect()
            })?
        });
        let dict = PyDict::new(py);
        for (id, reading) in snapshots {
            dict.set_item(self.view(id), Snapshot::new(reading))?;
        }
        Ok(dict)
    }

    /// Save the table as it is now, with its lists and their orders, to a path or to an object with
    /// `write`. It works in steps between which other threads may use and change the table; the
    /// file has the state at the beginning. A file that has the path stays until the new one is
    /// whole. Viewers are not saved.
    ///
    /// Raises `ListError` while another thread saves the table, `OSError` if the file cannot be
    /// written.
    ///
    /// >>> import io
    /// >>> table = MemberTable(int)
    /// >>> _ = table.upsert(7, "Zoe", attrs=[3])
    /// >>> _ = table.add_list(ListSpec("all", "members"))
    /// >>> table.build()
    /// 0
    /// >>> file = io.BytesIO()
    /// >>> table.save(file)
    /// >>> loaded = MemberTable.load(io.BytesIO(file.getvalue()))
    /// >>> loaded.list_named("all").index(7)
    /// 1
    fn save(&self, py: Python<'_>, file: &Bound<'_, PyAny>) -> PyResult<()> {
        each_table!(self, table => saves::save(py, table, file))
    }

    /// Return the table of a file that `save` wrote: a path, or an object with `read`. Its lists are
    /// there as they were, found by `list_named`; those that were being built begin again. In a
    /// table with payloads, `payloads` says what they are, `"json"` or `"raw"`. Epochs begin at
    /// `first_epoch`, by default the time in milliseconds, of the server `node`.
    ///
    /// Raises `DecodeError` for a file that was cut or altered, or that a later edition wrote, and
    /// `ListError` if only one of `payloads` and the file has payloads.
    #[staticmethod]
    #[pyo3(signature = (file, /, *, payloads = None, first_epoch = None, node = ""))]
    fn load(
        file: &Bound<'_, PyAny>,
        payloads: Option<Format>,
        first_epoch: Option<u64>,
        node: &str,
    ) -> PyResult<Self> {
        let format = payloads.map(|payloads| payloads.0);
        let tables = saves::load(file, format, saves::epoch(first_epoch, node))?;
        Ok(Self { tables, format })
    }

    /// Return the heap memory of the table and its lists in bytes, without the memory that text ids,
    /// keys over 15 bytes and payloads own.
    fn heap_bytes(&self, py: Python<'_>) -> PyResult<usize> {
        each_table!(self, table => table.read_long(py, |table| table.heap_bytes()))
    }

    /// Return how `pickle` and `copy` make an equal table: by a save and a load.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Pickle<'py>> {
        let file = each_table!(self, table => saves::dump(py, table))?;
        saves::pickle(py, "load_table", file, self.format)
    }

    pub(crate) fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        each_table!(self, table => table.read(py, |table| table.len()))
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        each_table!(self, table => match PyId::from_py(id) {
            Ok(id) => table.read(py, |table| table.contains(&id)),
            Err(_) => Ok(false),
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let members = grouped(self.__len__(py)?);
        let lists = self.lists(py)?.len();
        Ok(format!("<MemberTable {members} lists={lists}>"))
    }
}

impl MemberTable {
    fn view(&self, id: ListId) -> ListView {
        ListView {
            tables: self.tables.clone(),
            id,
            format: self.format,
        }
    }

    /// Returns the id of a list of this table.
    fn own(&self, list: &Bound<'_, ListView>) -> PyResult<ListId> {
        let list = list.get();
        if list.is_of(&self.tables) {
            return Ok(list.id);
        }
        let text = "the list is of another table";
        Err(UnknownList::new_err((text, "unknown_list")))
    }

    /// Writes to a member, and returns where it has moved.
    fn write<I: PyId, R: Send>(
        &self,
        py: Python<'_>,
        table: &TableOf<I>,
        f: impl FnOnce(
            &mut core::member_list::MemberTable<I>,
            &mut Vec<core::member_list::ListMove>,
        ) -> Result<R, TableError>
        + Send,
    ) -> PyResult<(R, Vec<ListMove>)> {
        let mut moves = Vec::new();
        let done = table.write(py, |table| f(table, &mut moves))?;
        let moves = moves.iter();
        let moves = moves.map(|moved| ListMove::new(self.view(moved.list), moved));
        Ok((done.map_err(raise)?, moves.collect()))
    }
}

/// The effect of `MemberTable.upsert`.
#[pyclass(frozen, eq, generic, module = "headcount")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TableUpsert {
    #[pyo3(get)]
    /// True if the member was added.
    is_new: bool,
    #[pyo3(get)]
    /// The rows of the member in the lists that show it elsewhere than before.
    moves: Vec<ListMove>,
}

#[pymethods]
impl TableUpsert {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let moves = repr(self.moves.clone().into_pyobject(py)?.as_any())?;
        let is_new = if self.is_new { "True" } else { "False" };
        Ok(format!("TableUpsert(is_new={is_new}, moves={moves})"))
    }
}

/// A member of a `MemberTable`.
#[pyclass(frozen, eq, generic, module = "headcount")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TableMember {
    id: AnyId,
    keys: Vec<Vec<u8>>,
    attrs: Attrs,
    #[pyo3(get)]
    /// A number that grows with each change of shown attributes or payload, and never repeats for an
    /// id.
    revision: u32,
    payload: Box<[u8]>,
}

impl<I: PyId> From<core::member_list::TableMember<'_, I>> for TableMember {
    fn from(member: core::member_list::TableMember<'_, I>) -> Self {
        Self {
            id: member.id.to_any(),
            keys: member.keys.iter().map(|key| key.to_vec()).collect(),
            attrs: member.attrs,
            revision: member.revision,
            payload: member.payload.into(),
        }
    }
}

#[pymethods]
impl TableMember {
    /// The id of the member.
    #[getter]
    fn id(&self) -> &AnyId {
        &self.id
    }

    /// The bytes by which the member sorts, for each key column.
    #[getter]
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        self.keys.iter().map(|key| bytes(py, key)).collect()
    }

    /// All attributes of the member.
    #[getter]
    fn attrs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyFrozenSet>> {
        numbers(py, &self.attrs)
    }

    /// The payload; empty in tables without payloads.
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bytes(py, &self.payload)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let id = repr(&self.id.into_pyobject(py)?)?;
        let attrs: Vec<u16> = self.attrs.bits().collect();
        let revision = self.revision;
        Ok(format!(
            "<TableMember id={id} attrs={attrs:?} revision={revision}>"
        ))
    }
}
