//! The values a `SortedSet` holds.

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};

use crate::bounds::{self, copied, push};
use crate::convert::type_name;

/// A value of a `SortedSet`: an integer of 64 bits, `bytes`, `str`, or a tuple of these. Values
/// of different types are ordered as the variants stand here, those of one type as in Python.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    Int(i64),
    Bytes(Box<[u8]>),
    Text(Box<str>),
    Tuple(Box<[Self]>),
}

impl<'py> FromPyObject<'_, 'py> for Item {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match obj.cast::<PyTuple>() {
            Ok(tuple) => {
                let mut items = Vec::new();
                for item in tuple.iter() {
                    push(&mut items, scalar(&item)?)?;
                }
                Ok(Self::Tuple(items.into_boxed_slice()))
            }
            Err(_) => scalar(&obj),
        }
    }
}

fn scalar(obj: &Bound<'_, PyAny>) -> PyResult<Item> {
    if let Ok(int) = obj.cast::<PyInt>() {
        let int = int.extract().map_err(|_| {
            PyOverflowError::new_err("an int of a SortedSet must fit in 64 bits with sign")
        })?;
        return Ok(Item::Int(int));
    }
    if let Ok(text) = obj.cast::<PyString>() {
        let text = String::from_utf8(copied(text.to_str()?.as_bytes())?)?;
        return Ok(Item::Text(text.into_boxed_str()));
    }
    if let Ok(bytes) = obj.cast::<PyBytes>() {
        return Ok(Item::Bytes(copied(bytes.as_bytes())?.into_boxed_slice()));
    }
    Err(PyTypeError::new_err(format!(
        "a SortedSet holds int, bytes, str and tuples of these, not {}",
        type_name(obj)
    )))
}

impl<'py> IntoPyObject<'py> for &Item {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        Ok(match self {
            Item::Int(int) => int.into_pyobject(py)?.into_any(),
            Item::Bytes(bytes) => bounds::bytes(py, bytes)?.into_any(),
            Item::Text(text) => bounds::text(py, text)?.into_any(),
            Item::Tuple(items) => PyTuple::new(py, items.iter())?.into_any(),
        })
    }
}
