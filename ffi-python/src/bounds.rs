//! Values that Python may hand over in any amount: collected up to a bound, copied into reserved memory.

use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyList, PyString};

use crate::error::LimitError;

/// Most items of one call that takes many.
pub(crate) const BATCH_MAX: usize = 1 << 24;
/// Bytes that must be free beside those a call is known to need, for what it allocates in passing.
const HEADROOM: usize = 32 << 20;
/// Most items of an answer for which it is not worth letting go of the interpreter.
pub(crate) const SHORT: usize = 1024;
/// Items of a conversion between two chances for other threads.
pub(crate) const YIELD_EVERY: usize = 1024;
/// Items between two looks at the memory that is left.
const LOOK_EVERY: usize = 4096;

/// Items after which a list is looked at for the first time: each may have taken memory of its own.
const LOOK_FIRST: usize = 256;

/// Collects an iterable of at most `max` items. Its `__len__` is not believed. O(items).
///
/// Raises `LimitError` at the item after the last one allowed, `MemoryError` when there is no room.
pub(crate) fn collect<'py, T>(
    items: &Bound<'py, PyAny>,
    name: &str,
    max: usize,
    mut read: impl FnMut(&Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<T>> {
    let mut out = Vec::new();
    for item in yielding(items.py(), items.try_iter()?) {
        let item = item?;
        if out.len() == max {
            let text = format!("{name} has more than {max} items, at most {max} are allowed");
            return Err(LimitError::new_err((text, max)));
        }
        push(&mut out, read(&item)?)?;
    }
    Ok(out)
}

/// Passes on the items of a long conversion, and lets other threads run now and then.
pub(crate) fn yielding<'py, I: Iterator>(py: Python<'py>, items: I) -> Yielding<'py, I> {
    Yielding {
        py,
        items,
        count: 0,
    }
}

/// The iterator of [`yielding`].
pub(crate) struct Yielding<'py, I> {
    py: Python<'py>,
    items: I,
    count: usize,
}

impl<I: Iterator> Iterator for Yielding<'_, I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.count += 1;
        if self.count.is_multiple_of(YIELD_EVERY) {
            self.py.detach(|| {});
        }
        self.items.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

/// Makes items into a list of Python, and lets other threads run now and then. O(items).
pub(crate) fn list<'py, T: IntoPyObject<'py>>(
    py: Python<'py>,
    items: impl IntoIterator<Item = T>,
) -> PyResult<Bound<'py, PyList>> {
    let items = yielding(py, items.into_iter());
    // `PyList::new` makes room for the least number of items at once, and panics when there is none.
    if items.size_hint().0 <= SHORT {
        return PyList::new(py, items);
    }
    let list = PyList::empty(py);
    for item in items {
        list.append(item)?;
    }
    Ok(list)
}

/// Appends to a list of any length; `MemoryError` when there is no room.
pub(crate) fn push<T>(out: &mut Vec<T>, item: T) -> PyResult<()> {
    out.try_reserve(1).map_err(no_memory)?;
    // After the list has grown, which may take the last memory. A short list is not worth the
    // question.
    if out.len() == LOOK_FIRST || (!out.is_empty() && out.len().is_multiple_of(LOOK_EVERY)) {
        look(0)?;
    }
    out.push(item);
    Ok(())
}

/// Collects the strings of an iterable, which is no string itself.
pub(crate) fn texts(
    items: &Bound<'_, PyAny>,
    name: &str,
    max: usize,
) -> PyResult<Vec<PyBackedStr>> {
    if items.is_instance_of::<PyString>() {
        let text = format!("{name} are an iterable of str, not one str");
        return Err(PyTypeError::new_err(text));
    }
    collect(items, name, max, |item| item.extract())
}

/// Asks for the memory that `count` items of about `each` bytes take, and gives it back: what
/// follows then finds it. Few items are not worth the question.
///
/// An allocation that fails inside the crate aborts the process, as everywhere in Rust; with this
/// question before it the caller gets a `MemoryError` instead.
pub(crate) fn room_for(count: usize, each: usize) -> PyResult<()> {
    if count < LOOK_EVERY {
        return Ok(());
    }
    look(count.saturating_mul(each))
}

/// Asks for this much memory and some headroom, and gives it back. A few microseconds.
pub(crate) fn look(bytes: usize) -> PyResult<()> {
    let mut probe = Vec::<u8>::new();
    probe
        .try_reserve_exact(bytes.saturating_add(HEADROOM))
        .map_err(no_memory)?;
    // Otherwise the compiler may leave out an allocation that is not used.
    std::hint::black_box(probe.as_ptr());
    Ok(())
}

/// A copy of bytes; `MemoryError` when there is no room.
pub(crate) fn copied(bytes: &[u8]) -> PyResult<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(no_memory)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// A `bytes` object; `MemoryError` when there is no room, where `PyBytes::new` panics.
pub(crate) fn bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, bytes.len(), |copy| {
        copy.copy_from_slice(bytes);
        Ok(())
    })
}

/// A `str` object; `MemoryError` when there is no room, where `PyString::new` panics.
pub(crate) fn text<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyString>> {
    PyString::from_bytes(py, text.as_bytes())
}

pub(crate) fn no_memory(error: std::collections::TryReserveError) -> PyErr {
    PyMemoryError::new_err(error.to_string())
}
