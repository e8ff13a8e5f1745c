//! Windows as clients held them when their connections ended.

use std::cell::Cell;

use headcount::member_list::{Epoch, HeldWindow};
use pyo3::exceptions::{PyLookupError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyList};

use crate::bounds;
use crate::error::WindowError;

/// Most windows that one `resume` may name: a viewer holds few.
const HELD_MAX: usize = 64;

/// Reads the windows that a client says it holds, as [`held_list`] makes them.
pub(crate) fn held_windows(held: &Bound<'_, PyAny>) -> PyResult<Vec<HeldWindow>> {
    let index = Cell::new(0);
    bounds::collect(held, "held", HELD_MAX, |item| {
        let at = index.replace(index.get() + 1);
        held_window(item).map_err(|error| malformed(item.py(), at, error))
    })
}

fn held_window(item: &Bound<'_, PyAny>) -> PyResult<HeldWindow> {
    let py = item.py();
    let window: PyBackedStr = item.get_item(intern!(py, "window"))?.extract()?;
    let epoch = item.get_item(intern!(py, "epoch"))?;
    let node: PyBackedStr = epoch.get_item(intern!(py, "node"))?.extract()?;
    let number = epoch.get_item(intern!(py, "number"))?.extract()?;
    Ok(HeldWindow {
        window: (*window).into(),
        epoch: Epoch::new(&node, number),
        version: item.get_item(intern!(py, "version"))?.extract()?,
    })
}

/// Makes an error about the content of a window one that names the window; others pass.
fn malformed(py: Python<'_>, at: usize, error: PyErr) -> PyErr {
    let is_about_content = error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyValueError>(py)
        || error.is_instance_of::<PyLookupError>(py)
        || error.is_instance_of::<PyOverflowError>(py);
    if !is_about_content {
        return error;
    }
    WindowError::new_err((format!("held[{at}]: {error}"), "malformed"))
}

/// Returns windows as dicts, ready to be sent as JSON.
pub(crate) fn held_list<'py>(py: Python<'py>, held: &[HeldWindow]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for HeldWindow {
        window,
        epoch,
        version,
    } in held
    {
        let of_node = PyDict::new(py);
        of_node.set_item(intern!(py, "node"), bounds::text(py, &epoch.node)?)?;
        of_node.set_item(intern!(py, "number"), epoch.number)?;
        let dict = PyDict::new(py);
        dict.set_item(intern!(py, "window"), bounds::text(py, window)?)?;
        dict.set_item(intern!(py, "epoch"), of_node)?;
        dict.set_item(intern!(py, "version"), version)?;
        list.append(dict)?;
    }
    Ok(list)
}
