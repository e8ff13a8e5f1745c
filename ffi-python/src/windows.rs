//! Windows of a list: `Tick`, `Viewer` and `Bundle`.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use headcount as core;
use headcount::member_list::{BodyFormat, Discord, TextId, WindowError};
use headcount::{Bodies, WindowSpec};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bounds::{self, texts};
use crate::convert::Buffer;
use crate::error::raise;
use crate::id::{Kind, PyId};
use crate::json::from_json;
use crate::list_or_roster::ListOrRoster;
use crate::sync::{Birth, Locked};

/// Most names of windows in one `resync`: a viewer holds few, one of them may come twice.
const NAMES_MAX: usize = 64;

/// A list as its viewers hold it, with where its bodies come from.
pub(crate) struct Shown<I: PyId> {
    pub(crate) list: Arc<Locked<ListOrRoster<I>>>,
    pub(crate) format: Option<BodyFormat>,
}

impl<I: PyId> Shown<I> {
    fn bodies<'a>(&self) -> Bodies<'a, I> {
        self.format.map_or(Bodies::None, Bodies::Payloads)
    }
}

/// One publication of a list, from which `Viewer.bundle` makes bundles.
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Tick {
    /// The `core::member_list::Tick` of a list of some kind of ids, and that list.
    tick: Box<dyn Any + Send + Sync>,
    list: Arc<dyn Any + Send + Sync>,
    #[pyo3(get)]
    /// The version of the list.
    version: u64,
    is_empty: bool,
}

impl Tick {
    pub(crate) fn new<I: PyId>(
        py: Python<'_>,
        shown: &Shown<I>,
        now: std::time::Duration,
    ) -> PyResult<Self> {
        let tick = shown
            .list
            .write_long(py, |list| list.tick(now, shown.bodies()))?;
        let version = tick.version();
        let is_empty = tick.is_empty();
        Ok(Self {
            tick: Box::new(tick),
            list: shown.list.clone(),
            version,
            is_empty,
        })
    }

    /// The tick, if it is of this list.
    fn of<I: PyId>(
        &self,
        list: &Arc<Locked<ListOrRoster<I>>>,
    ) -> Option<&core::member_list::Tick<I>> {
        let same = std::ptr::addr_eq(Arc::as_ptr(&self.list), Arc::as_ptr(list));
        self.tick.downcast_ref().filter(|_| same)
    }
}

#[pymethods]
impl Tick {
    /// Returns whether there is anything for a viewer, be it what it missed of an earlier tick.
    fn __bool__(&self) -> bool {
        !self.is_empty
    }

    fn __repr__(&self) -> String {
        let empty = if self.is_empty { " empty" } else { "" };
        format!("<Tick version={}{empty}>", self.version)
    }
}

/// One message for one viewer, to be shown all at once: frames of its windows, and counts.
/// `core/docs/list-frames.md` describes it; `headcount.Client` and the JavaScript client apply it.
#[pyclass(frozen, module = "headcount")]
pub(crate) struct Bundle {
    encoded: Box<dyn Encoded>,
    #[pyo3(get)]
    /// The version of the list.
    version: u64,
    #[pyo3(get)]
    /// The epoch of the list.
    epoch: u64,
    #[pyo3(get)]
    /// The names of the windows that have frames in the bundle.
    windows: Vec<String>,
}

/// A bundle of a list of some kind of ids.
trait Encoded: Send + Sync {
    fn json(&self) -> Bytes;
    fn binary(&self) -> Bytes;
    fn discord(&self, encoder: &Discord) -> Bytes;
}

impl<I: PyId> Encoded for core::member_list::Bundle<I> {
    fn json(&self) -> Bytes {
        self.to_json()
    }

    fn binary(&self) -> Bytes {
        self.to_binary()
    }

    fn discord(&self, encoder: &Discord) -> Bytes {
        encoder.event(self)
    }
}

impl<I: PyId> From<core::member_list::Bundle<I>> for Bundle {
    fn from(bundle: core::member_list::Bundle<I>) -> Self {
        Self {
            version: bundle.version,
            epoch: bundle.epoch,
            windows: bundle
                .frames
                .iter()
                .map(|frame| frame.window.to_string())
                .collect(),
            encoded: Box::new(bundle),
        }
    }
}

#[pymethods]
impl Bundle {
    /// Read the bytes of `to_binary`, for a list with ids of this type.
    ///
    /// Raises `DecodeError` when the bytes are not a bundle of such a list.
    #[staticmethod]
    #[pyo3(signature = (data, ids = Kind::Text))]
    fn from_binary(py: Python<'_>, data: Buffer, ids: Kind) -> PyResult<Self> {
        py.detach(|| match ids {
            Kind::Int => core::member_list::Bundle::<u64>::from_binary(&data).map(Self::from),
            Kind::Uuid => core::member_list::Bundle::<u128>::from_binary(&data).map(Self::from),
            Kind::Text => core::member_list::Bundle::<TextId>::from_binary(&data).map(Self::from),
        })
        .map_err(raise)
    }

    /// Return the bundle as JSON, ready to be sent. Frames that viewers share are encoded once.
    pub(crate) fn to_json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bounds::bytes(py, &py.detach(|| self.encoded.json()))
    }

    /// Return the bundle in the binary form: smaller, with a checksum.
    fn to_binary<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bounds::bytes(py, &py.detach(|| self.encoded.binary()))
    }

    /// Return the data of a `GUILD_MEMBER_LIST_UPDATE` event of Discord, in JSON, for a viewer
    /// made with `discord=True`.
    #[pyo3(signature = (guild, list = "everyone"))]
    fn to_discord<'py>(
        &self,
        py: Python<'py>,
        guild: &str,
        list: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let encoder = Discord::new(guild, list);
        bounds::bytes(py, &py.detach(|| self.encoded.discord(&encoder)))
    }

    /// Return the bundle as a dict.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_json(py, &py.detach(|| self.encoded.json()))
    }

    fn __repr__(&self) -> String {
        format!(
            "<Bundle version={} windows={:?}>",
            self.version, self.windows
        )
    }
}

/// A viewer of a list of some kind of ids.
pub(crate) trait Viewing: Send + Sync {
    fn open(&self, window: &str) -> Result<Bundle, WindowError>;
    fn retarget(&self, from: &str, to: &str) -> Result<Bundle, WindowError>;
    fn close(&self, window: &str) -> Result<(), WindowError>;
    fn resync(&self, windows: &[&str]) -> Result<Bundle, WindowError>;
    fn catch_up(&self) -> Bundle;
    fn is_stale(&self) -> bool;
    fn set_hidden(&self, hidden: bool);
    fn windows(&self) -> Vec<String>;
    /// The outer `None`: the tick is of another list.
    fn bundle(&self, tick: &Tick) -> Option<Option<Bundle>>;
}

struct Typed<I: PyId> {
    shown: Shown<I>,
    viewer: Mutex<core::Viewer<I>>,
}

impl<I: PyId> Typed<I> {
    /// Works on viewer and list. The lock of the viewer is taken first, everywhere.
    fn with<R>(&self, f: impl FnOnce(&mut core::Viewer<I>, &mut core::MemberList<I>) -> R) -> R {
        let mut viewer = self.viewer.lock();
        self.shown.list.write_detached(|list| f(&mut viewer, list))
    }
}

impl<I: PyId> Viewing for Typed<I> {
    fn open(&self, window: &str) -> Result<Bundle, WindowError> {
        let spec = WindowSpec::parse(window)?;
        let bodies = self.shown.bodies();
        self.with(|viewer, list| viewer.open(list, spec, bodies))
            .map(Bundle::from)
    }

    fn retarget(&self, from: &str, to: &str) -> Result<Bundle, WindowError> {
        let from = WindowSpec::parse(from)?;
        let to = WindowSpec::parse(to)?;
        let bodies = self.shown.bodies();
        self.with(|viewer, list| viewer.retarget(list, &from, to, bodies))
            .map(Bundle::from)
    }

    fn close(&self, window: &str) -> Result<(), WindowError> {
        self.viewer.lock().close(&WindowSpec::parse(window)?)
    }

    fn resync(&self, windows: &[&str]) -> Result<Bundle, WindowError> {
        let specs: Result<Vec<_>, _> = windows.iter().map(|w| WindowSpec::parse(w)).collect();
        let specs = specs?;
        let bodies = self.shown.bodies();
        self.with(|viewer, list| viewer.resync(list, &specs, bodies))
            .map(Bundle::from)
    }

    fn catch_up(&self) -> Bundle {
        self.with(|viewer, list| viewer.catch_up(list, self.shown.bodies()))
            .into()
    }

    fn is_stale(&self) -> bool {
        self.viewer.lock().is_stale()
    }

    fn set_hidden(&self, hidden: bool) {
        self.viewer.lock().set_hidden(hidden);
    }

    fn windows(&self) -> Vec<String> {
        self.viewer
            .lock()
            .windows()
            .map(ToString::to_string)
            .collect()
    }

    fn bundle(&self, tick: &Tick) -> Option<Option<Bundle>> {
        let tick = tick.of(&self.shown.list)?;
        Some(self.viewer.lock().bundle(tick).map(Bundle::from))
    }
}

/// One viewer of a list: its windows, and the bundles that keep them current. No I/O: send the
/// bundles.
///
/// After each `MemberList.tick` every viewer is asked for its `bundle`. Any tick may be left out for
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
    pub(crate) fn new<I: PyId>(shown: Shown<I>, discord: bool) -> Self {
        let viewer = if discord {
            core::Viewer::discord()
        } else {
            core::Viewer::new()
        };
        let viewer = Mutex::new(viewer);
        Self {
            birth: Birth::now(),
            viewing: Box::new(Typed { shown, viewer }),
        }
    }

    /// Works on the viewer with the interpreter released.
    fn with<R: Send>(
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
        let names = |windows| texts(windows, "windows", NAMES_MAX);
        let windows = windows.map_or_else(|| Ok(Vec::new()), names)?;
        let windows: Vec<&str> = windows.iter().map(|window| &**window).collect();
        self.with(py, |viewing| viewing.resync(&windows))?
            .map_err(raise)
    }

    /// Return the bundle of a tick for this viewer; `None` when there is nothing to send.
    ///
    /// Ticks must come in order; any may be left out. The bundle then has the counts of the ticks
    /// left out; windows that changed in them come whole with the next tick.
    fn bundle(&self, py: Python<'_>, tick: &Tick) -> PyResult<Option<Bundle>> {
        let bundle = self.with(py, |viewing| viewing.bundle(tick))?;
        bundle.ok_or_else(|| PyValueError::new_err("the tick is of another list"))
    }

    /// Return whether a window has missed frames. `catch_up` brings its rows at once, or else the
    /// next tick.
    fn is_stale(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |viewing| viewing.is_stale())
    }

    /// Return a bundle with a SYNC for each window that has missed frames, and all counts.
    fn catch_up(&self, py: Python<'_>) -> PyResult<Bundle> {
        self.with(py, |viewing| viewing.catch_up())
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

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Viewer {}>", self.windows(py)?.join(" ")))
    }
}
