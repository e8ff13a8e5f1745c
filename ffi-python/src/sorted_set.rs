//! `SortedTree`: the counted tree over plain Python values. `headcount.SortedSet` makes a collection of it.

use headcount::SortedSet as Tree;
use pyo3::exceptions::{PyIndexError, PyKeyError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::bounds::{self, BATCH_MAX, SHORT, YIELD_EVERY, room_for, yielding};
use crate::convert::{Place, Rows, out_of_range, place, repr};
use crate::detached_drop::{Content, DetachedDrop};
use crate::item::Item;
use crate::ranked::{NODE_LEN, Rank, Ranked, Shared, build};
use crate::sync::Locked;

/// The methods of `SortedSet` that a tree makes fast; the class adds those of sets and sequences.
#[pyclass(frozen, subclass, generic, weakref, module = "headcount")]
#[derive(Debug)]
pub(crate) struct SortedTree {
    tree: Locked<Tree<Shared>>,
    key: Option<Py<PyAny>>,
}

#[pymethods]
impl SortedTree {
    /// Create a set of the values of an iterable, 16,777,216 at most; `update` takes more. `key` returns, for each
    /// value, another one that decides its place. O(n log n).
    ///
    /// Raises `LimitError` when there are more, `MemoryError` when there is no room for them.
    #[new]
    #[pyo3(signature = (iterable = None, key = None))]
    fn new(
        py: Python<'_>,
        iterable: Option<&Bound<'_, PyAny>>,
        key: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let key = key.filter(|key| !key.is_none(py));
        let tree = Locked::new(Tree::new());
        let this = Self { tree, key };
        if let Some(values) = iterable {
            this._replace(values)?;
        }
        Ok(this)
    }

    /// The function that decides the places of values; `None` when values are ordered by themselves.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.key.as_ref().map(|key| key.bind(py).clone())
    }

    /// Add a value, unless the set has it. O(log n).
    #[pyo3(signature = (value, /))]
    fn add(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.insert(value).map(drop)
    }

    /// Add a value; return its index and whether it is new. O(log n).
    #[pyo3(signature = (value, /))]
    fn insert(&self, value: &Bound<'_, PyAny>) -> PyResult<(usize, bool)> {
        let entry = self.entry(value)?;
        self.tree.write(value.py(), |tree| tree.insert(entry))
    }

    /// Remove a value if the set has it; return the index it had, or `None`. O(log n).
    #[pyo3(signature = (value, /))]
    fn take(&self, value: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        let Some(probe) = self.probe(value)? else {
            return Ok(None);
        };
        self.tree.write(value.py(), |tree| tree.remove(&probe))
    }

    /// Remove a value if the set has it. O(log n).
    #[pyo3(signature = (value, /))]
    fn discard(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.take(value).map(drop)
    }

    /// Remove a value. O(log n).
    ///
    /// Raises `KeyError` when the set does not have it.
    #[pyo3(signature = (value, /))]
    fn remove(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.take(value)? {
            Some(_) => Ok(()),
            None => Err(PyKeyError::new_err(value.clone().unbind())),
        }
    }

    /// Remove the value at an index, the last one by default, and return it. O(log n).
    ///
    /// Raises `IndexError` when there is none.
    #[pyo3(signature = (index = -1), text_signature = "($self, index=-1)")]
    fn pop<'py>(&self, py: Python<'py>, index: isize) -> PyResult<Bound<'py, PyAny>> {
        let removed = self.tree.write(py, |tree| {
            let from_end = |index: isize| tree.len().checked_sub(index.unsigned_abs());
            let index = if index < 0 {
                from_end(index)
            } else {
                Some(index as usize)
            };
            index.and_then(|index| tree.remove_at(index))
        })?;
        match removed.and_then(|entry| entry.object(py)) {
            Some(object) => Ok(object),
            None => Err(PyIndexError::new_err("pop index out of range")),
        }
    }

    /// Add many values, 16,777,216 at most; return the set. O(k log n).
    ///
    /// Raises `LimitError` when there are more, `MemoryError` when there is no room for them; nothing
    /// has changed then.
    #[pyo3(signature = (*iterables))]
    fn update<'py>(
        this: PyRef<'py, Self>,
        iterables: &Bound<'py, PyTuple>,
    ) -> PyResult<PyRef<'py, Self>> {
        let mut entries = Vec::new();
        for iterable in iterables.iter() {
            entries.append(&mut this.collect(&iterable)?);
        }
        this.tree.write_long(iterables.py(), |tree| {
            for entry in entries {
                tree.insert(entry);
            }
        })?;
        Ok(this)
    }

    /// Put these values in the place of the present ones.
    #[pyo3(signature = (values, /))]
    fn _replace(&self, values: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = values.py();
        let entries = bounds::collect(values, "values", BATCH_MAX, |value| self.ranked(value))?;
        room_for(entries.len(), NODE_LEN)?;
        let tree = py.detach(|| build(entries));
        drop(DetachedDrop::new(
            self.tree.write(py, |old| std::mem::replace(old, tree))?,
        ));
        Ok(())
    }

    /// Return the index of a value between two indexes. O(log n).
    ///
    /// Raises `ValueError` when it is not there.
    #[pyo3(signature = (value, start = 0, stop = isize::MAX))]
    fn index(&self, value: &Bound<'_, PyAny>, start: isize, stop: isize) -> PyResult<usize> {
        let found = match self.probe(value)? {
            Some(probe) => self.tree.read(value.py(), |tree| {
                let range = bounds_of(start, stop, tree.len());
                tree.index_of(&probe).filter(|index| range.contains(index))
            })?,
            None => None,
        };
        match found {
            Some(index) => Ok(index),
            None => Err(PyValueError::new_err(format!(
                "{} is not in the set",
                repr(value)?
            ))),
        }
    }

    /// Return how often the set has a value: once or not at all. O(log n).
    #[pyo3(signature = (value, /))]
    fn count(&self, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.__contains__(value).map(usize::from)
    }

    /// Return the number of values that sort before this one, which need not be there. O(log n).
    #[pyo3(signature = (value, /))]
    fn rank(&self, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.bisect_left(value)
    }

    /// Return the index before the values that sort as this one. O(log n).
    #[pyo3(signature = (value, /))]
    fn bisect_left(&self, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        let bound = self.bound(value, Item::Least)?;
        self.position(value.py(), &bound, false)
    }

    /// Return the index after the values that sort as this one. O(log n).
    #[pyo3(signature = (value, /))]
    fn bisect_right(&self, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        let bound = self.bound(value, Item::Greatest)?;
        self.position(value.py(), &bound, true)
    }

    /// Return the index before the values with this key. O(log n).
    #[pyo3(signature = (key, /))]
    fn bisect_key_left(&self, key: &Bound<'_, PyAny>) -> PyResult<usize> {
        let bound = key_bound(key, Item::Least)?;
        self.position(key.py(), &bound, false)
    }

    /// Return the index after the values with this key. O(log n).
    #[pyo3(signature = (key, /))]
    fn bisect_key_right(&self, key: &Bound<'_, PyAny>) -> PyResult<usize> {
        let bound = key_bound(key, Item::Greatest)?;
        self.position(key.py(), &bound, true)
    }

    /// Return an iterator over the values between two indexes, backwards with `reverse`. It walks the
    /// set as it is now.
    #[pyo3(signature = (start = None, stop = None, reverse = false))]
    fn islice(
        &self,
        py: Python<'_>,
        start: Option<isize>,
        stop: Option<isize>,
        reverse: bool,
    ) -> PyResult<SortedSetIterator> {
        let tree = self.tree.read(py, Tree::clone)?;
        let range = bounds_of(start.unwrap_or(0), stop.unwrap_or(isize::MAX), tree.len());
        Ok(SortedSetIterator::new(tree, range, reverse))
    }

    /// Return a copy with the same key function. O(1): the values are shared until one of the sets changes.
    #[pyo3(signature = (other, /))]
    fn _share(&self, py: Python<'_>, other: &Self) -> PyResult<()> {
        let tree = other.tree.read(py, Tree::clone)?;
        drop(self.tree.write(py, |old| std::mem::replace(old, tree))?);
        Ok(())
    }

    /// Remove all values.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        drop(DetachedDrop::new(self.tree.write(py, std::mem::take)?));
        Ok(())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.tree.read(py, Tree::len)
    }

    fn __contains__(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        match self.probe(value)? {
            Some(probe) => self.tree.read(value.py(), |tree| tree.contains(&probe)),
            None => Ok(false),
        }
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match place(index, self.__len__(py)?)? {
            Place::At(at) => {
                let object = self
                    .tree
                    .read_attached(py, |tree| tree.get(at).and_then(|entry| entry.object(py)))?;
                object.ok_or_else(out_of_range)
            }
            Place::Rows(rows) if rows.len() <= SHORT => {
                let mut objects = Vec::with_capacity(rows.len());
                self.tree.read_attached(py, |tree| {
                    let object = |entry: &Shared| entry.object(py);
                    match rows.range() {
                        Some(range) => objects.extend(tree.slice(range).filter_map(object)),
                        None => {
                            let found = rows.iter().filter_map(|at| tree.get(at));
                            objects.extend(found.filter_map(object));
                        }
                    }
                })?;
                Ok(PyList::new(py, objects)?.into_any())
            }
            Place::Rows(rows) => {
                let entries = self.tree.read_long(py, |tree| pick(tree, rows))??;
                let objects = entries.iter().filter_map(|entry| entry.object(py));
                let objects: Vec<_> = yielding(py, objects).collect();
                Ok(PyList::new(py, objects)?.into_any())
            }
        }
    }

    fn __delitem__(&self, py: Python<'_>, index: &Bound<'_, PyAny>) -> PyResult<()> {
        match place(index, self.__len__(py)?)? {
            Place::At(at) => {
                let removed = self.tree.write(py, |tree| tree.remove_at(at))?;
                removed.map(drop).ok_or_else(out_of_range)
            }
            Place::Rows(rows) => {
                let mut indexes: Vec<usize> = rows.iter().collect();
                indexes.sort_unstable();
                let remove = |tree: &mut Tree<Shared>| -> Vec<_> {
                    let last_first = indexes.into_iter().rev();
                    last_first.filter_map(|at| tree.remove_at(at)).collect()
                };
                drop(self.tree.write_long(py, remove)?);
                Ok(())
            }
        }
    }

    /// Return an iterator over the set as it is now, whatever is added or removed meanwhile.
    fn __iter__(&self, py: Python<'_>) -> PyResult<SortedSetIterator> {
        self.islice(py, None, None, false)
    }

    fn __reversed__(&self, py: Python<'_>) -> PyResult<SortedSetIterator> {
        self.islice(py, None, None, true)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.key)
    }
}

impl SortedTree {
    fn entry(&self, value: &Bound<'_, PyAny>) -> PyResult<Shared> {
        self.ranked(value).map(Shared::from)
    }

    fn ranked(&self, value: &Bound<'_, PyAny>) -> PyResult<Ranked> {
        let item = Item::of(value)?;
        Ok(Ranked::new(Some(value), self.rank_of(value, item)?))
    }

    fn rank_of(&self, value: &Bound<'_, PyAny>, item: Item) -> PyResult<Rank> {
        let key = match &self.key {
            Some(key) => Some(Box::new(Item::of(&key.bind(value.py()).call1((value,))?)?)),
            None => None,
        };
        Ok(Rank { key, item })
    }

    /// Returns what to search for to find a value; `None` for a value that no set has.
    fn probe(&self, value: &Bound<'_, PyAny>) -> PyResult<Option<Shared>> {
        match Item::of(value) {
            Ok(item) => Ok(Some(Shared::new(None, self.rank_of(value, item)?))),
            Err(_) => Ok(None),
        }
    }

    /// Returns what to bisect at: the value's own place, or the side `edge` of all values with its key.
    fn bound(&self, value: &Bound<'_, PyAny>, edge: Item) -> PyResult<Shared> {
        match &self.key {
            Some(key) => key_bound(&key.bind(value.py()).call1((value,))?, edge),
            None => {
                let item = Item::of(value)?;
                Ok(Shared::new(None, Rank { key: None, item }))
            }
        }
    }

    fn position(&self, py: Python<'_>, bound: &Shared, after: bool) -> PyResult<usize> {
        self.tree.read(py, |tree| match tree.rank(bound) {
            Ok(index) => index + usize::from(after),
            Err(index) => index,
        })
    }

    fn collect(&self, values: &Bound<'_, PyAny>) -> PyResult<Vec<Shared>> {
        let entries = bounds::collect(values, "values", BATCH_MAX, |value| self.entry(value))?;
        room_for(entries.len(), NODE_LEN)?;
        Ok(entries)
    }
}

fn key_bound(key: &Bound<'_, PyAny>, edge: Item) -> PyResult<Shared> {
    let key = Some(Box::new(Item::of(key)?));
    Ok(Shared::new(None, Rank { key, item: edge }))
}

/// Returns the range between two indexes of a sequence, each of which may count from the end.
fn bounds_of(start: isize, stop: isize, len: usize) -> std::ops::Range<usize> {
    let clipped = |index: isize| match index {
        0.. => len.min(index as usize),
        _ => len.saturating_sub(index.unsigned_abs()),
    };
    let stop = clipped(stop);
    clipped(start).min(stop)..stop
}

fn pick(tree: &Tree<Shared>, rows: Rows) -> PyResult<Vec<Shared>> {
    room_for(rows.len(), 2 * size_of::<Shared>())?;
    Ok(match rows.range() {
        Some(range) => tree.slice(range).cloned().collect(),
        None => rows.iter().filter_map(|at| tree.get(at).cloned()).collect(),
    })
}

/// The values need the interpreter when they are freed. It is let go of between them.
impl Content for Tree<Shared> {
    fn parts(&self) -> usize {
        self.len()
    }

    fn free(self, py: Python<'_>) {
        let mut entries: Vec<Shared> = Vec::new();
        if entries.try_reserve_exact(self.len()).is_ok() {
            py.detach(|| entries.extend(self));
            yielding(py, entries.into_iter()).for_each(drop);
        }
    }
}

/// An iterator over a `SortedSet` as it was when it was asked for.
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct SortedSetIterator(Locked<Walk>);

/// The number of values that an iterator fetches at a time.
const PAGE: usize = 64;

#[derive(Debug)]
struct Walk {
    tree: Tree<Shared>,
    left: std::ops::Range<usize>,
    reverse: bool,
    page: std::vec::IntoIter<Shared>,
    /// The number of values that were asked for.
    count: usize,
}

impl Content for Walk {
    fn parts(&self) -> usize {
        self.tree.len()
    }

    fn free(self, py: Python<'_>) {
        self.tree.free(py);
    }
}

impl Walk {
    fn next(&mut self) -> Option<Shared> {
        if self.page.len() == 0 && !self.left.is_empty() {
            let count = self.left.len().min(PAGE);
            let mut page: Vec<Shared>;
            if self.reverse {
                let start = self.left.end - count;
                page = self.tree.slice(start..self.left.end).cloned().collect();
                page.reverse();
                self.left.end = start;
            } else {
                let stop = self.left.start + count;
                page = self.tree.slice(self.left.start..stop).cloned().collect();
                self.left.start = stop;
            }
            self.page = page.into_iter();
        }
        self.page.next()
    }
}

impl SortedSetIterator {
    fn new(tree: Tree<Shared>, left: std::ops::Range<usize>, reverse: bool) -> Self {
        let page = Vec::new().into_iter();
        Self(Locked::new(Walk {
            tree,
            left,
            reverse,
            page,
            count: 0,
        }))
    }
}

#[pymethods]
impl SortedSetIterator {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (entry, is_due) = self.0.write(py, |walk| {
            walk.count += 1;
            (walk.next(), walk.count.is_multiple_of(YIELD_EVERY))
        })?;
        if is_due {
            py.detach(|| {});
        }
        Ok(entry.and_then(|entry| entry.object(py)))
    }
}
