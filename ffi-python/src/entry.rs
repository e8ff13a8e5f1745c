//! `Entry`: an entry of a list or a diff.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use headcount::EntryBuf;
use headcount::member_list::{BODY_DEPTH_MAX, Body};
use headcount::tracker::Encoding;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bounds;
use crate::convert::repr;
use crate::json::from_json;

/// The presence of a key in a topic, held there by an owner.
///
/// >>> t = Tracker("a")
/// >>> _ = t.track("room", "ann", "conn-1", {"device": "phone"})
/// >>> entry, = t.list("room")
/// >>> entry.key, entry.json()
/// ('ann', {'device': 'phone'})
#[pyclass(frozen, eq, subclass, module = "headcount")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    topic: Arc<str>,
    buf: EntryBuf,
}

impl Entry {
    pub(crate) fn new(topic: Arc<str>, buf: EntryBuf) -> Self {
        Self { topic, buf }
    }

    pub(crate) fn buf(&self) -> &EntryBuf {
        &self.buf
    }

    fn name<'py>(&self, py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        Ok(match std::str::from_utf8(name) {
            Ok(text) if self.buf.encoding() == Encoding::Text => bounds::text(py, text)?.into_any(),
            _ => bounds::bytes(py, name)?.into_any(),
        })
    }
}

#[pymethods]
impl Entry {
    /// The topic.
    #[getter]
    fn topic(&self) -> &str {
        &self.topic
    }

    /// The name of what is present: `str`, or `bytes` if it was tracked as bytes.
    #[getter]
    pub(crate) fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.name(py, self.buf.key().bytes)
    }

    /// The name of what holds it there, a connection or a process: of the same type as the key.
    #[getter]
    fn owner<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.name(py, self.buf.owner())
    }

    /// The meta as bytes.
    #[getter]
    fn meta<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bounds::bytes(py, self.buf.meta())
    }

    /// The status, 0 to 255, whose meaning is up to the application.
    #[getter]
    fn status(&self) -> u8 {
        self.buf.status()
    }

    /// The name of the replica that holds the connection.
    #[getter]
    fn node(&self) -> &str {
        self.buf.origin().replica.name()
    }

    /// The name of this version of the entry: a short text that is safe in URLs (Phoenix: `phx_ref`).
    #[getter]
    fn r#ref(&self) -> String {
        self.buf.entry_ref().to_string()
    }

    /// The name of the version before this one, if the entry was updated (Phoenix: `phx_ref_prev`).
    #[getter]
    fn previous_ref(&self) -> Option<String> {
        self.buf.previous_ref().map(|previous| previous.to_string())
    }

    /// Return the meta, parsed as JSON; `None` when it is empty.
    ///
    /// Raises `ValueError` when it is not JSON, or nests deeper than 128.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.buf.meta().is_empty() {
            return Ok(None);
        }
        if Body::is_too_deep(self.buf.meta()) {
            let text = format!("the meta nests deeper than {BODY_DEPTH_MAX}");
            return Err(PyValueError::new_err(text));
        }
        from_json(py, self.buf.meta()).map(Some)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.buf.origin(), self.buf.version()).hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let topic = repr(bounds::text(py, &self.topic)?.as_any())?;
        let status = self.buf.status();
        let key = repr(&self.key(py)?)?;
        let owner = repr(&self.owner(py)?)?;
        let meta = repr(self.meta(py)?.as_any())?;
        Ok(format!(
            "Entry(topic={topic}, key={key}, owner={owner}, meta={meta}, status={status})"
        ))
    }
}
