//! `Client`: the other end of windows. It binds the client of the crate, which reads bundles from JSON.

use std::collections::HashMap;
use std::sync::Arc;

use headcount as core;
use headcount::member_list::client::{ClientWindow, merge_json};
use headcount::member_list::{
    Body, Counts, CountsTable, FrameRow, RowKey, TextId, VIEWER_WINDOWS_MAX, WINDOW_ROWS_MAX,
};
use parking_lot::Mutex;
use pyo3::exceptions::{PyRecursionError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyString};

use crate::bounds;
use crate::convert::Buffer;
use crate::detached_drop::Content;
use crate::error::{DecodeError, raise};
use crate::held_windows::held_list;
use crate::json::{Json, from_json, to_json};
use crate::sync::Locked;
use crate::viewer::window_names;
use crate::windows::Bundle;

/// The most dicts of rows that a client keeps: those of all windows, and as many that are gone.
const ROW_DICTS_MAX: usize = 2 * VIEWER_WINDOWS_MAX * WINDOW_ROWS_MAX;

/// The windows of one list, held as the server of the list says they are. No I/O, no timers.
///
/// Call `open` and `close` when you ask the server for these, pass every bundle to `apply`, and ask
/// the server for what `apply` returns. `MemberList.viewer` is the other side. The rules are in
/// `core/docs/list-frames.md`, section 7.
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Client {
    core: Locked<core::member_list::client::Client<TextId>>,
    dicts: Arc<RowDicts>,
}

impl Content for core::member_list::client::Client<TextId> {}

#[pymethods]
impl Client {
    /// Create a client without windows.
    #[new]
    fn new() -> Self {
        let client = core::member_list::client::Client::new(merge_json);
        Self {
            core: Locked::new(client),
            dicts: Arc::default(),
        }
    }

    /// Note that the server is asked to open this window. `request` is the request of a search whose
    /// answer has come and told this name: pass that answer to `apply` next.
    #[pyo3(signature = (window, request=None))]
    fn open(&self, py: Python<'_>, window: &str, request: Option<&Request>) -> PyResult<()> {
        self.core.write(py, |client| match request {
            Some(request) => client.open_found(request.0, window),
            None => {
                let _ = client.open(window);
            }
        })
    }

    /// Note that the server is told to close this window. Frames on their way are ignored.
    fn close(&self, py: Python<'_>, window: &str) -> PyResult<()> {
        self.core.write(py, |client| client.close(window))?;
        Ok(())
    }

    /// Note that the server is asked for another list, with these windows there. The windows of the
    /// old list are gone; frames of it that are on their way are ignored. Only the answer to the
    /// request that is returned takes the client to the other list: `apply(answer, request)`.
    fn switch(&self, py: Python<'_>, windows: &Bound<'_, PyAny>) -> PyResult<Request> {
        let windows = window_names(windows)?;
        let request = self.core.write(py, |client| {
            client.switch(windows.iter().map(|name| &**name))
        });
        Ok(Request(request?))
    }

    /// Note any other request to the server, to be passed to `apply` with its answer.
    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        Ok(Request(self.core.write(py, |client| client.request())?))
    }

    /// Note that a connection begins. Return its first request and the windows to resume by it, as
    /// `Viewer.resume` takes them: `[{"window", "epoch": {"node", "number"}, "version"}]`. The rows
    /// stay; bundles of the former connection, answers too, are not taken any more.
    fn reconnect<'py>(&self, py: Python<'py>) -> PyResult<(Request, Bound<'py, PyList>)> {
        let (request, held) = self.core.write(py, |client| client.reconnect())?;
        Ok((Request(request), held_list(py, &held)?))
    }

    /// Apply a bundle: a `Bundle`, its JSON or its dict. O(rows of its windows). `request` is the
    /// request that it answers; `None` for one that the server sent by itself.
    ///
    /// Raises `DecodeError` when it is not a well-formed bundle; nothing has changed then. A frame
    /// that does not fit is no error: its window stays as it was and is among those to `resync`.
    #[pyo3(signature = (bundle, request = None))]
    fn apply(
        &self,
        bundle: &Bound<'_, PyAny>,
        request: Option<&Bound<'_, Request>>,
    ) -> PyResult<BundleReport> {
        let request = request.map(|request| request.get().0);
        let json = text_of(bundle)?;
        let py = bundle.py();
        let bundle = py
            .detach(|| core::member_list::Bundle::from_json(&json))
            .map_err(raise)?;
        let report = self.core.write(py, |client| match request {
            Some(request) => client.answer(request, &bundle),
            None => client.apply(&bundle),
        });
        Ok(report?.into())
    }

    /// The windows by name, as they are now.
    #[getter]
    fn windows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let windows: Vec<_> = self.core.read(py, |client| {
            let windows = client.windows();
            windows
                .map(|(name, window)| (name.clone(), window.clone()))
                .collect()
        })?;
        let dict = PyDict::new(py);
        for (name, window) in windows {
            let window = Window {
                window,
                dicts: Arc::clone(&self.dicts),
            };
            dict.set_item(bounds::text(py, &name)?, window)?;
        }
        Ok(dict)
    }

    /// The totals and the full table of groups, as a dict; `None` before the first.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let counts = self.core.read(py, |client| client.counts().cloned())?;
        counts.map(|counts| counts_dict(py, &counts)).transpose()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let names: Vec<String> = self.core.read(py, |client| {
            client.windows().map(|(name, _)| name.to_string()).collect()
        })?;
        Ok(format!("<Client {}>", names.join(" ")))
    }
}

/// A request of a `Client` to its server; see `Client.apply`.
#[pyclass(frozen, eq, hash, name = "ListRequest", module = "headcount")]
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request(core::member_list::client::Request);

#[pymethods]
impl Request {
    fn __repr__(&self) -> String {
        "<ListRequest>".to_owned()
    }
}

/// Returns the JSON of what a client takes for a bundle.
fn text_of(bundle: &Bound<'_, PyAny>) -> PyResult<Buffer> {
    let py = bundle.py();
    if let Ok(bundle) = bundle.cast::<Bundle>() {
        return bundle.get().to_json(py)?.extract();
    }
    if bundle.is_instance_of::<PyString>() {
        return Ok(Buffer::Text(bundle.extract()?));
    }
    let Ok(mapping) = bundle.cast::<PyMapping>() else {
        return bundle.extract();
    };
    let encoded =
        PyDict::from_sequence(mapping.items()?.as_any()).and_then(|dict| to_json(dict.as_any()));
    match encoded {
        Ok(Json::Own(json)) => Ok(Buffer::Copied(json)),
        Ok(Json::Python(json)) => Ok(Buffer::Text(json)),
        Err(error) if is_about_content(py, &error) => {
            let text = format!("not a bundle: {error}");
            Err(DecodeError::new_err((text, 0, "json")))
        }
        Err(error) => Err(error),
    }
}

fn is_about_content(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyValueError>(py)
        || error.is_instance_of::<PyRecursionError>(py)
}

fn counts_dict<'py>(py: Python<'py>, counts: &Counts) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "version"), counts.version)?;
    dict.set_item(intern!(py, "rows"), counts.rows)?;
    dict.set_item(intern!(py, "members"), counts.members)?;
    if !counts.headers {
        dict.set_item(intern!(py, "headers"), false)?;
    }
    let groups = PyList::empty(py);
    // A client holds a full table, whatever came over the line.
    if let CountsTable::Full(table) = &counts.table {
        for group in table {
            let entry = header_dict(py, &group.group, group.count)?;
            if group.hidden {
                entry.set_item(intern!(py, "hidden"), true)?;
            }
            if group.collapsed {
                entry.set_item(intern!(py, "collapsed"), true)?;
            }
            groups.append(entry)?;
        }
    }
    dict.set_item(intern!(py, "groups"), groups)?;
    Ok(dict)
}

fn header_dict<'py>(py: Python<'py>, group: &str, count: u32) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "group"), bounds::text(py, group)?)?;
    dict.set_item(intern!(py, "count"), count)?;
    Ok(dict)
}

/// A window of a `Client`, as it was when `Client.windows` was read.
#[pyclass(frozen, eq, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Window {
    window: ClientWindow<TextId>,
    dicts: Arc<RowDicts>,
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.window == other.window
    }
}

#[pymethods]
impl Window {
    /// The rows in order: `{"group", "count"}` or `{"id", "revision", "attrs"?, "body"?}`. Rows that
    /// are equal may be the same dict at the next read, so do not change them.
    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.dicts.list(py, self.window.rows())
    }

    /// The version of the rows.
    #[getter]
    fn version(&self) -> u64 {
        self.window.version()
    }

    /// The absolute index of the first row.
    #[getter]
    fn base_index(&self) -> u64 {
        self.window.base_index()
    }

    /// The number of members that match, on all pages, in the window of a search; else `None`.
    #[getter]
    fn matches(&self) -> Option<u64> {
        self.window.matches()
    }

    /// True while the window waits for a SYNC; until then the rows are what they were.
    #[getter]
    fn waiting(&self) -> bool {
        self.window.is_waiting()
    }

    fn __repr__(&self) -> String {
        let rows = self.window.rows().len();
        let waiting = if self.window.is_waiting() {
            " waiting"
        } else {
            ""
        };
        let version = self.window.version();
        format!("<Window rows={rows} version={version}{waiting}>")
    }
}

/// The dicts of rows that were read, so that a row is decoded once for all reads until it changes.
#[derive(Debug, Default)]
struct RowDicts(Mutex<HashMap<RowKey<TextId>, RowDict>>);

#[derive(Debug)]
struct RowDict {
    row: FrameRow<TextId>,
    dict: Py<PyDict>,
}

impl RowDicts {
    fn list<'py>(
        &self,
        py: Python<'py>,
        rows: &[FrameRow<TextId>],
    ) -> PyResult<Bound<'py, PyList>> {
        // Out of its lock, because the garbage collector may run Python code while dicts are made.
        let mut known = std::mem::take(&mut *self.0.lock());
        if known.len() > ROW_DICTS_MAX {
            known.clear();
        }
        let list = PyList::empty(py);
        for row in rows {
            let key = row.key();
            let dict = match known.get(&key) {
                Some(known) if known.row == *row => known.dict.clone_ref(py),
                _ => {
                    let dict = row_dict(py, row)?.unbind();
                    let known_dict = dict.clone_ref(py);
                    let row = row.clone();
                    known.insert(
                        key,
                        RowDict {
                            row,
                            dict: known_dict,
                        },
                    );
                    dict
                }
            };
            list.append(dict)?;
        }
        *self.0.lock() = known;
        Ok(list)
    }
}

fn row_dict<'py>(py: Python<'py>, row: &FrameRow<TextId>) -> PyResult<Bound<'py, PyDict>> {
    match row {
        FrameRow::Header { group, count } => header_dict(py, group, *count),
        FrameRow::Member {
            id,
            revision,
            attrs,
            body,
        } => {
            let dict = PyDict::new(py);
            dict.set_item(intern!(py, "id"), bounds::text(py, id.as_str())?)?;
            dict.set_item(intern!(py, "revision"), *revision)?;
            if *attrs != 0 {
                dict.set_item(intern!(py, "attrs"), *attrs)?;
            }
            match body {
                Some(Body::Json(json)) => {
                    dict.set_item(intern!(py, "body"), from_json(py, json)?)?
                }
                Some(Body::Raw(raw)) => {
                    dict.set_item(intern!(py, "body"), bounds::bytes(py, raw)?)?
                }
                None => {}
            }
            Ok(dict)
        }
    }
}

/// The effect of a bundle on a `Client`, and the requests that it calls for.
#[pyclass(frozen, eq, get_all, module = "headcount")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BundleReport {
    /// The windows whose rows or place changed, by their present names.
    changed: Vec<String>,
    /// The old and new names of windows whose anchor was replaced.
    renamed: Vec<(String, String)>,
    /// True if the counts changed.
    counts: bool,
    /// The windows to ask the server for, by `resync`.
    resync: Vec<String>,
    /// True if the counts must be asked for: by `resync`, without windows if it needs nothing else.
    resync_counts: bool,
}

impl From<core::member_list::client::BundleReport> for BundleReport {
    fn from(applied: core::member_list::client::BundleReport) -> Self {
        let texts = |names: Vec<Arc<str>>| names.iter().map(ToString::to_string).collect();
        let pair = |(old, new): &(Arc<str>, Arc<str>)| (old.to_string(), new.to_string());
        Self {
            changed: texts(applied.changed),
            renamed: applied.renamed.iter().map(pair).collect(),
            counts: applied.counts,
            resync: texts(applied.resync),
            resync_counts: applied.resync_counts,
        }
    }
}

#[pymethods]
impl BundleReport {
    fn __repr__(&self) -> String {
        format!(
            "<BundleReport changed={:?} renamed={:?} counts={} resync={:?} resync_counts={}>",
            self.changed, self.renamed, self.counts, self.resync, self.resync_counts
        )
    }
}
