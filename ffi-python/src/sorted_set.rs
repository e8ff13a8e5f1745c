//! `SortedSet`: the tree alone, over plain Python values.

use headcount::SortedSet as Tree;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::bounds::{self, BATCH_MAX, room_for};
use crate::convert::{Place, Rows, grouped, out_of_range, place, repr};
use crate::item::Item;
use crate::sync::Locked;

/// A set in order that knows positions: what is at an index, and at which index something is.
///
/// It holds `int` (64 bits), `bytes`, `str` and tuples of these. Values of different types are
/// ordered int < bytes < str < tuple, values of one type as in Python.
///
/// >>> scores = SortedSet([(30, "ann"), (10, "bob"), (20, "cid")])
/// >>> scores.insert((15, "dan"))
/// (1, True)
/// >>> scores[1], scores[-1], scores.index((20, "cid"))
/// ((15, 'dan'), (30, 'ann'), 2)
/// >>> scores[1:3]
/// [(15, 'dan'), (20, 'cid')]
/// >>> scores.remove((10, "bob"))
/// 0
#[pyclass(frozen, generic, module = "headcount")]
#[derive(Debug)]
pub(crate) struct SortedSet(Locked<Tree<Item>>);

/// About what a value takes in the tree while it is built.
const NODE_LEN: usize = 4 * size_of::<Item>();

#[pymethods]
impl SortedSet {
    /// A set of these values, 16,777,216 at most; `update` takes more. O(n log n).
    ///
    /// Raises `LimitError` when there are more, `MemoryError` when they find no room.
    #[new]
    #[pyo3(signature = (values = None, /))]
    fn new(py: Python<'_>, values: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let items = values.map_or_else(|| Ok(Vec::new()), collect)?;
        Ok(Self(Locked::new(py.detach(|| Tree::from_vec(items)))))
    }

    /// Puts a value in. Returns its index and whether it is new. O(log n).
    #[pyo3(signature = (value, /))]
    fn insert(&self, py: Python<'_>, value: Item) -> (usize, bool) {
        self.0.write(py, |tree| tree.insert(value))
    }

    /// Takes a value out. Returns the index it had, or `None` if it was not there. O(log n).
    #[pyo3(signature = (value, /))]
    fn remove(&self, py: Python<'_>, value: Item) -> Option<usize> {
        self.0.write(py, |tree| tree.remove(&value))
    }

    /// Puts many values in, 16,777,216 at most. Returns how many were new. O(k log n).
    ///
    /// Raises `LimitError` when there are more, `MemoryError` when they find no room; nothing has
    /// changed then.
    #[pyo3(signature = (values, /))]
    fn update(&self, py: Python<'_>, values: &Bound<'_, PyAny>) -> PyResult<usize> {
        let items = collect(values)?;
        Ok(self.0.write_long(py, |tree| {
            items
                .into_iter()
                .map(|item| usize::from(tree.insert(item).1))
                .sum()
        }))
    }

    /// The index of a value; `ValueError` if it is not there. O(log n).
    #[pyo3(signature = (value, /))]
    fn index(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        let item: Item = value.extract()?;
        let found = self.0.read(py, |tree| tree.index_of(&item));
        match found {
            Some(index) => Ok(index),
            None => Err(PyValueError::new_err(format!(
                "{} is not in the set",
                repr(value)?
            ))),
        }
    }

    /// Returns how many values are less than this one, which need not be there. O(log n).
    #[pyo3(signature = (value, /))]
    fn rank(&self, py: Python<'_>, value: Item) -> usize {
        self.0
            .read(py, |tree| tree.rank(&value).unwrap_or_else(|before| before))
    }

    /// Takes everything out.
    fn clear(&self, py: Python<'_>) {
        let old = self.0.write(py, std::mem::take);
        py.detach(|| drop(old));
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.0.read(py, Tree::len)
    }

    fn __contains__(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> bool {
        value
            .extract::<Item>()
            .is_ok_and(|item| self.0.read(py, |tree| tree.contains(&item)))
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match place(index, self.__len__(py))? {
            Place::At(at) => {
                let item = self.0.read(py, |tree| tree.get(at).cloned());
                item.as_ref().ok_or_else(out_of_range)?.into_pyobject(py)
            }
            Place::Rows(rows) => {
                let items = self.0.read_long(py, |tree| pick(tree, rows))?;
                Ok(PyList::new(py, &items)?.into_any())
            }
        }
    }

    /// Goes through the set as it is now, whatever is put in or taken out meanwhile.
    fn __iter__(&self, py: Python<'_>) -> SortedSetIterator {
        let tree = self.0.read(py, Tree::clone);
        SortedSetIterator(Locked::new((tree, 0)))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<SortedSet {}>", grouped(self.__len__(py)))
    }
}

fn pick(tree: &Tree<Item>, rows: Rows) -> PyResult<Vec<Item>> {
    room_for(rows.len(), 2 * size_of::<Item>())?;
    Ok(match rows.range() {
        Some(range) => tree.slice(range).cloned().collect(),
        None => rows.iter().filter_map(|at| tree.get(at).cloned()).collect(),
    })
}

fn collect(values: &Bound<'_, PyAny>) -> PyResult<Vec<Item>> {
    let items = bounds::collect(values, "values", BATCH_MAX, |value| value.extract())?;
    room_for(items.len(), NODE_LEN)?;
    Ok(items)
}

/// An iterator over a `SortedSet`.
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct SortedSetIterator(Locked<(Tree<Item>, usize)>);

#[pymethods]
impl SortedSetIterator {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let item = self.0.write(py, |(tree, next)| {
            *next += 1;
            tree.get(*next - 1).cloned()
        });
        item.as_ref().map(|item| item.into_pyobject(py)).transpose()
    }
}
