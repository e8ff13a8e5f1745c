//! `Keys`: how many keys a topic has, as bounds.

use headcount as core;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Bounds of the number of distinct keys in a topic: what `count_keys` returns. They are equal where the entries are
/// held. A node that holds only counts, see `watch_counts`, does not know which keys of two nodes are the same.
#[pyclass(frozen, eq, hash, module = "headcount")]
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Keys(core::Keys);

impl From<core::Keys> for Keys {
    fn from(keys: core::Keys) -> Self {
        Self(keys)
    }
}

#[pymethods]
impl Keys {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["at_least", "at_most"])
    }

    /// The keys that there are at least: as many as one node has.
    #[getter]
    fn at_least(&self) -> usize {
        self.0.at_least
    }

    /// The keys that there are at most: as many as there are if no two nodes have the same one.
    #[getter]
    fn at_most(&self) -> usize {
        self.0.at_most
    }

    /// Return whether the bounds leave one number only.
    #[getter]
    fn is_exact(&self) -> bool {
        self.0.exact().is_some()
    }

    fn __repr__(&self) -> String {
        let core::Keys { at_least, at_most } = self.0;
        format!("<Keys at_least={at_least} at_most={at_most}>")
    }
}
