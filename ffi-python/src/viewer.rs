//! `Viewer`: the windows of one viewer.

use std::any::Any;

use bytes::Bytes;
use headcount as core;
use headcount::member_list::{
    BundleFormat, Discord, HeldWindow, LiveList, TableError, WindowError,
};
use headcount::{Bodies, WindowSpec};
use parking_lot::Mutex;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyBytes;

use crate::bounds::{bytes, texts};
use crate::error::{Raised, raise};
use crate::held_windows::held_windows;
use crate::id::PyId;
use crate::sync::Birth;
use crate::windows::{AnyTick, Bundle, Published, Shown};

/// Most names of windows in one `resync`: a viewer holds few, one of them may come twice.
const NAMES_MAX: usize = 64;

/// Reads the names of windows.
pub(crate) fn window_names(windows: &Bound<'_, PyAny>) -> PyResult<Vec<PyBackedStr>> {
    texts(windows, "windows", NAMES_MAX)
}

/// A viewer of a list of some kind of ids.
pub(crate) trait Viewing: Send + Sync {
    fn open(&self, window: &str) -> Result<Bundle, Raised>;
    fn retarget(&self, from: &str, to: &str) -> Result<Bundle, Raised>;
    fn close(&self, window: &str) -> Result<(), Raised>;
    fn resync(&self, windows: &[&str]) -> Result<Bundle, Raised>;
    fn resume(&self, held: &[HeldWindow]) -> Result<Bundle, Raised>;
    /// Goes to a [`Shown`] of some kind of ids.
    fn switch(&self, shown: &(dyn Any + Send + Sync), windows: &[&str]) -> Result<Bundle, Raised>;
    fn catch_up(&self) -> Result<Bundle, Raised>;
    fn is_stale(&self) -> bool;
    fn set_hidden(&self, hidden: bool);
    fn windows(&self) -> Vec<String>;
    fn invalidate(&self, chunk: u32, encoder: &Discord) -> Bytes;
    fn bundle(&self, tick: &Published) -> Result<Option<Bundle>, Raised>;
}

struct Watching<I: PyId> {
    shown: Shown<I>,
    viewer: core::Viewer<I>,
    /// The format of its bundles.
    format: BundleFormat,
}

impl<I: PyId> Watching<I> {
    /// Makes a bundle of viewer and list.
    fn with<E: Into<Raised>>(
        &mut self,
        f: impl FnOnce(
            &mut core::Viewer<I>,
            &mut LiveList<'_, I>,
            Bodies<'_, I>,
        ) -> Result<core::member_list::Bundle<I>, E>,
    ) -> Result<Bundle, Raised> {
        let viewer = &mut self.viewer;
        let made = self.shown.with(|list, bodies| f(viewer, list, bodies))?;
        let bundle = made.map_err(Into::into)?;
        Ok(Bundle::new(bundle, self.format))
    }
}

/// The lock of a viewer is taken before that of its list, everywhere.
struct Typed<I: PyId>(Mutex<Watching<I>>);

fn specs<I: PyId>(windows: &[&str]) -> Result<Vec<WindowSpec<I>>, WindowError> {
    windows.iter().map(|name| WindowSpec::parse(name)).collect()
}

impl<I: PyId> Viewing for Typed<I> {
    fn open(&self, window: &str) -> Result<Bundle, Raised> {
        let spec = WindowSpec::parse(window)?;
        let mut watching = self.0.lock();
        watching.with(|viewer, list, bodies| viewer.open(list, spec, bodies))
    }

    fn retarget(&self, from: &str, to: &str) -> Result<Bundle, Raised> {
        let from = WindowSpec::parse(from)?;
        let to = WindowSpec::parse(to)?;
        let mut watching = self.0.lock();
        watching.with(|viewer, list, bodies| viewer.retarget(list, &from, to, bodies))
    }

    fn close(&self, window: &str) -> Result<(), Raised> {
        let spec = WindowSpec::parse(window)?;
        Ok(self.0.lock().viewer.close(&spec)?)
    }

    fn resync(&self, windows: &[&str]) -> Result<Bundle, Raised> {
        let specs = specs(windows)?;
        let mut watching = self.0.lock();
        watching.with(|viewer, list, bodies| viewer.resync(list, &specs, bodies))
    }

    fn resume(&self, held: &[HeldWindow]) -> Result<Bundle, Raised> {
        let mut watching = self.0.lock();
        watching.with(|viewer, list, bodies| viewer.resume(list, held, bodies))
    }

    fn switch(&self, shown: &(dyn Any + Send + Sync), windows: &[&str]) -> Result<Bundle, Raised> {
        let shown = shown.downcast_ref::<Shown<I>>().ok_or_else(|| {
            Raised(PyTypeError::new_err(
                "the ids of the other list are of another kind",
            ))
        })?;
        let specs = specs(windows)?;
        let mut watching = self.0.lock();
        let viewer = &mut watching.viewer;
        let opened = shown.with(|list, bodies| viewer.switch(list, &specs, bodies))??;
        watching.shown = shown.clone();
        Ok(Bundle::new(opened, watching.format))
    }

    fn catch_up(&self) -> Result<Bundle, Raised> {
        let mut watching = self.0.lock();
        watching.with(|viewer, list, bodies| Ok::<_, TableError>(viewer.catch_up(list, bodies)))
    }

    fn is_stale(&self) -> bool {
        self.0.lock().viewer.is_stale()
    }

    fn set_hidden(&self, hidden: bool) {
        self.0.lock().viewer.set_hidden(hidden);
    }

    fn windows(&self) -> Vec<String> {
        let watching = self.0.lock();
        watching.viewer.windows().map(ToString::to_string).collect()
    }

    fn invalidate(&self, chunk: u32, encoder: &Discord) -> Bytes {
        encoder.invalidate(&self.0.lock().viewer, chunk)
    }

    fn bundle(&self, published: &Published) -> Result<Option<Bundle>, Raised> {
        let mut watching = self.0.lock();
        if !published.is_of(&watching.shown.source) {
            let text = "the tick is of another list or table";
            return Err(Raised(PyValueError::new_err(text)));
        }
        let bundle = published.bundle(&mut watching.viewer);
        let format = watching.format;
        Ok(bundle.map(|bundle| Bundle::new(bundle, format)))
    }
}

/// One viewer of a list: its windows, and the bundles that keep them current. No I/O: send the
/// bundles.
///
/// After each `tick` of the list or its table every viewer is asked for its `bundle`. Any tick may be left out for
/// any viewer, such as one whose connection is slow: asked again, it gives what was missed.
/// Windows have names: `c:3` is rows 300 to 399, `a:77:50:49` the 50 rows above
/// member 77, itself and 49 below; `f:77:50:49` follows the member when it moves,
/// `g:online:0:99` a header.
///
/// >>> ml = MemberList(int, groups=["online"])
/// >>> _ = ml.upsert(7, "online", "Ann")
/// >>> viewer, client = ml.viewer(), Client()
/// >>> client.open("c:0")
/// >>> _ = client.apply(viewer.open("c:0"))
/// >>> _ = ml.upsert(9, "online", "Bob")
/// >>> bundle = viewer.bundle(ml.tick(0.25))
/// >>> client.apply(bundle).changed
/// ['c:0']
/// >>> [row.get("id") for row in client.windows["c:0"].rows]
/// [None, '7', '9']
#[pyclass(frozen, module = "headcount")]
pub(crate) struct Viewer {
    birth: Birth,
    viewing: Box<dyn Viewing>,
}

impl Viewer {
    pub(crate) fn new<I: PyId>(shown: Shown<I>, discord: bool, resumable: bool) -> PyResult<Self> {
        let viewer = match (discord, resumable) {
            (true, true) => {
                let text = "clients of Discord cannot resume: discord or resumable, not both";
                return Err(PyValueError::new_err(text));
            }
            (true, false) => core::Viewer::discord(),
            (false, true) => core::Viewer::resumable(),
            (false, false) => core::Viewer::new(),
        };
        let format = match resumable {
            true => BundleFormat::Two,
            false => BundleFormat::One,
        };
        let watching = Watching {
            shown,
            viewer,
            format,
        };
        Ok(Self {
            birth: Birth::now(),
            viewing: Box::new(Typed(Mutex::new(watching))),
        })
    }

    /// Works on the viewer with the interpreter released.
    pub(crate) fn with<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&dyn Viewing) -> R + Send,
    ) -> PyResult<R> {
        self.birth.check()?;
        Ok(py.detach(|| f(&*self.viewing)))
    }
}

#[pymethods]
impl Viewer {
    /// Open a window; return a bundle with its SYNC and all counts. Opening it again is a
    /// `resync`.
    ///
    /// Raises `WindowError` for a bad name or an unknown anchor, `LimitError` over a limit.
    fn open(&self, py: Python<'_>, window: &str) -> PyResult<Bundle> {
        self.with(py, |viewing| viewing.open(window))?
            .map_err(raise)
    }

    /// Close one window and open another; return a bundle with the SYNC of the new one.
    fn retarget(&self, py: Python<'_>, window: &str, to: &str) -> PyResult<Bundle> {
        self.with(py, |viewing| viewing.retarget(window, to))?
            .map_err(raise)
    }

    /// Close a window.
    fn close(&self, py: Python<'_>, window: &str) -> PyResult<()> {
        self.with(py, |viewing| viewing.close(window))?
            .map_err(raise)
    }

    /// Return a bundle with the SYNC of each of these windows, and all counts.
    ///
    /// Raises `WindowError` when one is not open, `LimitError` for more than 64 names.
    #[pyo3(signature = (windows = None))]
    fn resync(&self, py: Python<'_>, windows: Option<&Bound<'_, PyAny>>) -> PyResult<Bundle> {
        let windows = windows.map_or_else(|| Ok(Vec::new()), window_names)?;
        let windows: Vec<&str> = windows.iter().map(|window| &**window).collect();
        self.with(py, |viewing| viewing.resync(&windows))?
            .map_err(raise)
    }

    /// Open the windows that a client still shows after its connection ended, as `Client.reconnect`
    /// of the client names them: return a bundle with what changed in each of them since, and all
    /// counts. A window comes whole where that is smaller, and when the list does not know its
    /// version: the client was away for more than 60 seconds, or its rows are of another epoch or
    /// node.
    ///
    /// The list keeps the windows of a resumable viewer that is gone, not those that it closed: so
    /// let go of the viewer of a connection that ended.
    ///
    /// Raises `WindowError` for a bad or repeated name, a window that is not of that shape, and when
    /// this viewer is not a resumable one; `LimitError` over a limit. No window is open then.
    ///
    /// >>> ml = MemberList(int, groups=["online"])
    /// >>> _ = ml.bulk_load([(id, "online", f"Name {id}") for id in range(40)])
    /// >>> viewer, client = ml.viewer(resumable=True), Client()
    /// >>> client.open("c:0")
    /// >>> _ = client.apply(viewer.open("c:0"))
    /// >>> del viewer  # the connection was cut
    /// >>> _ = ml.upsert(40, "online", "Zoe")
    /// >>> request, held = client.reconnect()
    /// >>> bundle = ml.viewer(resumable=True).resume(held)
    /// >>> bundle.to_dict()["frames"][0]["kind"]
    /// 'delta'
    /// >>> client.apply(bundle, request).changed
    /// ['c:0']
    fn resume(&self, py: Python<'_>, held: &Bound<'_, PyAny>) -> PyResult<Bundle> {
        let held = held_windows(held)?;
        self.with(py, |viewing| viewing.resume(&held))?
            .map_err(raise)
    }

    /// Return the bundle of a tick for this viewer; `None` when there is nothing to send.
    ///
    /// Ticks must come in order; any may be left out. The bundle then has the counts of the ticks
    /// left out; windows that changed in them come whole with the next tick.
    fn bundle(&self, py: Python<'_>, tick: AnyTick<'_>) -> PyResult<Option<Bundle>> {
        let published = tick.published();
        self.with(py, |viewing| viewing.bundle(published))?
            .map_err(raise)
    }

    /// Return whether a window has missed frames. `catch_up` brings its rows at once, or else the
    /// next tick.
    fn is_stale(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |viewing| viewing.is_stale())
    }

    /// Return a bundle with a SYNC for each window that has missed frames, and all counts.
    fn catch_up(&self, py: Python<'_>) -> PyResult<Bundle> {
        self.with(py, |viewing| viewing.catch_up())?.map_err(raise)
    }

    /// Hide the viewer, or show it again: a hidden viewer is sent counts only. Call `catch_up`
    /// after it is shown again.
    #[pyo3(signature = (hidden = true))]
    fn set_hidden(&self, py: Python<'_>, hidden: bool) -> PyResult<()> {
        self.with(py, |viewing| viewing.set_hidden(hidden))
    }

    /// Return the present names of the windows of the viewer.
    fn windows(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |viewing| viewing.windows())
    }

    /// Return the event by which a client of Discord drops a chunk of rows, in JSON; send it after
    /// `close`.
    #[pyo3(signature = (chunk, guild, list = "everyone"))]
    fn invalidate<'py>(
        &self,
        py: Python<'py>,
        chunk: u32,
        guild: &str,
        list: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let encoder = Discord::new(guild, list);
        let event = self.with(py, |viewing| viewing.invalidate(chunk, &encoder))?;
        bytes(py, &event)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Viewer {}>", self.windows(py)?.join(" ")))
    }
}
