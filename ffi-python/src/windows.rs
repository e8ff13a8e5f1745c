//! Windows of a list: `Tick`, `Viewer` and `Bundle`.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headcount as core;
use headcount::codec::DecodeError;
use headcount::member_list::{
    BodyFormat, BundleFormat, Discord, HeldWindow, ListId, LiveList, MemberTable, TableError,
    TextId, Watchable, WindowError,
};
use headcount::{Bodies, WindowSpec};
use parking_lot::Mutex;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyBytes;

use crate::bounds::{self, texts};
use crate::convert::Buffer;
use crate::error::{Raised, raise};
use crate::held_windows::held_windows;
use crate::id::{Kind, PyId};
use crate::json::from_json;
use crate::list_or_roster::ListOrRoster;
use crate::sync::{Birth, Locked};

/// Most names of windows in one `resync`: a viewer holds few, one of them may come twice.
const NAMES_MAX: usize = 64;

/// Reads the names of windows.
pub(crate) fn window_names(windows: &Bound<'_, PyAny>) -> PyResult<Vec<PyBackedStr>> {
    texts(windows, "windows", NAMES_MAX)
}

/// A list that a viewer watches, and where its bodies come from.
#[derive(Debug, Clone)]
pub(crate) struct Shown<I: PyId> {
    pub(crate) source: Source<I>,
    pub(crate) format: Option<BodyFormat>,
}

/// A list of its own, or one of a table.
#[derive(Debug, Clone)]
pub(crate) enum Source<I: PyId> {
    List(Arc<Locked<ListOrRoster<I>>>),
    Table(Arc<Locked<MemberTable<I>>>, ListId),
}

impl<I: PyId> Source<I> {
    /// Returns whether the list, or its table, is this one.
    fn is_of(&self, owner: &Arc<dyn Any + Send + Sync>) -> bool {
        match self {
            Self::List(list) => std::ptr::addr_eq(Arc::as_ptr(owner), Arc::as_ptr(list)),
            Self::Table(table, _) => std::ptr::addr_eq(Arc::as_ptr(owner), Arc::as_ptr(table)),
        }
    }
}

impl<I: PyId> Shown<I> {
    /// Works on the list, with its bodies.
    fn with<R>(
        &self,
        f: impl FnOnce(&mut LiveList<'_, I>, Bodies<'_, I>) -> R,
    ) -> Result<R, TableError> {
        let bodies = bodies(self.format);
        match &self.source {
            Source::List(list) => {
                list.write_detached(|list| Ok(f(&mut live::<I>(&mut **list), bodies)))
            }
            Source::Table(table, id) => {
                table.write_detached(|table| Ok(f(&mut table.live(*id)?, bodies)))
            }
        }
    }
}

fn bodies<'a, I: PyId>(format: Option<BodyFormat>) -> Bodies<'a, I> {
    format.map_or(Bodies::None, Bodies::Payloads)
}

fn live<I: PyId>(list: &mut impl Watchable<I>) -> LiveList<'_, I> {
    list.live()
}

/// A tick of a list or a table with some kind of ids, and that list or table.
#[derive(Debug)]
pub(crate) struct Published {
    tick: Box<dyn Any + Send + Sync>,
    owner: Arc<dyn Any + Send + Sync>,
    is_empty: bool,
}

/// One publication of a list, from which `Viewer.bundle` makes bundles.
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Tick {
    published: Published,
    #[pyo3(get)]
    /// The version of the list.
    version: u64,
}

impl Tick {
    pub(crate) fn new<I: PyId>(
        py: Python<'_>,
        list: &Arc<Locked<ListOrRoster<I>>>,
        format: Option<BodyFormat>,
        now: Duration,
    ) -> PyResult<Self> {
        let tick = list.write_long(py, |list| list.tick(now, bodies(format)))?;
        let version = tick.version();
        let published = Published {
            is_empty: tick.is_empty(),
            tick: Box::new(tick),
            owner: list.clone(),
        };
        Ok(Self { published, version })
    }
}

#[pymethods]
impl Tick {
    /// Returns whether there is anything for a viewer, be it what it missed of an earlier tick.
    fn __bool__(&self) -> bool {
        !self.published.is_empty
    }

    fn __repr__(&self) -> String {
        let empty = if self.published.is_empty {
            " empty"
        } else {
            ""
        };
        format!("<Tick version={}{empty}>", self.version)
    }
}

/// One publication of all lists of a table that viewers watch, as they were at one moment. From it
/// `Viewer.bundle` makes bundles.
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct TableTick(Published);

impl TableTick {
    pub(crate) fn new<I: PyId>(
        py: Python<'_>,
        table: &Arc<Locked<MemberTable<I>>>,
        format: Option<BodyFormat>,
        now: Duration,
    ) -> PyResult<Self> {
        let tick = table.write_long(py, |table| table.tick(now, bodies(format)))?;
        Ok(Self(Published {
            is_empty: tick.is_empty(),
            tick: Box::new(tick),
            owner: table.clone(),
        }))
    }
}

#[pymethods]
impl TableTick {
    /// Returns whether there is anything for a viewer.
    fn __bool__(&self) -> bool {
        !self.0.is_empty
    }

    fn __repr__(&self) -> String {
        let empty = if self.0.is_empty { " empty" } else { "" };
        format!("<TableTick{empty}>")
    }
}

/// A tick of either kind.
#[derive(FromPyObject)]
enum AnyTick<'py> {
    List(Bound<'py, Tick>),
    Table(Bound<'py, TableTick>),
}

impl AnyTick<'_> {
    fn published(&self) -> &Published {
        match self {
            Self::List(tick) => &tick.get().published,
            Self::Table(tick) => &tick.get().0,
        }
    }
}

/// One message for one viewer, to be shown all at once: frames of its windows, and counts.
/// `core/docs/list-frames.md` describes it; `headcount.Client` and the JavaScript client apply it.
#[pyclass(frozen, module = "headcount")]
pub(crate) struct Bundle {
    encoded: Box<dyn Encoded>,
    format: BundleFormat,
    #[pyo3(get)]
    /// The version of the list.
    version: u64,
    #[pyo3(get)]
    /// The number of the epoch of the list.
    epoch: u64,
    #[pyo3(get)]
    /// The node whose epoch it is; empty if it has no name, and in a bundle that was read in format
    /// 1.
    node: String,
    #[pyo3(get)]
    /// The names of the windows that have frames in the bundle.
    windows: Vec<String>,
}

/// A bundle of a list of some kind of ids.
trait Encoded: Send + Sync {
    fn json(&self, format: BundleFormat) -> Bytes;
    fn binary(&self, format: BundleFormat) -> Bytes;
    fn discord(&self, encoder: &Discord) -> Bytes;
}

impl<I: PyId> Encoded for core::member_list::Bundle<I> {
    fn json(&self, format: BundleFormat) -> Bytes {
        self.to_json_in(format)
    }

    fn binary(&self, format: BundleFormat) -> Bytes {
        self.to_binary_in(format)
    }

    fn discord(&self, encoder: &Discord) -> Bytes {
        encoder.event(self)
    }
}

impl Bundle {
    /// A bundle that is to be encoded in `format`.
    fn new<I: PyId>(bundle: core::member_list::Bundle<I>, format: BundleFormat) -> Self {
        Self {
            format,
            version: bundle.version,
            epoch: bundle.epoch.number,
            node: bundle.epoch.node.to_string(),
            windows: bundle
                .frames
                .iter()
                .map(|frame| frame.window.to_string())
                .collect(),
            encoded: Box::new(bundle),
        }
    }

    /// Reads a bundle of either format, to be encoded in the same one.
    fn read<I: PyId>(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bundle = core::member_list::Bundle::<I>::from_binary(bytes)?;
        let has_versions = bundle.windows.iter().any(|window| window.version.is_some());
        let format = match has_versions || !bundle.epoch.node.is_empty() {
            true => BundleFormat::Two,
            false => BundleFormat::One,
        };
        Ok(Self::new(bundle, format))
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
            Kind::Int => Self::read::<u64>(&data),
            Kind::Uuid => Self::read::<u128>(&data),
            Kind::Text => Self::read::<TextId>(&data),
        })
        .map_err(raise)
    }

    /// Return the bundle as JSON, ready to be sent. Frames that viewers share are encoded once.
    /// The bundles of a resumable viewer are of frame format 2.
    pub(crate) fn to_json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bounds::bytes(py, &py.detach(|| self.encoded.json(self.format)))
    }

    /// Return the bundle in the binary form: smaller, with a checksum.
    fn to_binary<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bounds::bytes(py, &py.detach(|| self.encoded.binary(self.format)))
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
        from_json(py, &py.detach(|| self.encoded.json(self.format)))
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

    fn bundle(&self, published: &Published) -> Result<Option<Bundle>, Raised> {
        let mut watching = self.0.lock();
        if !watching.shown.source.is_of(&published.owner) {
            let text = "the tick is of another list or table";
            return Err(Raised(PyValueError::new_err(text)));
        }
        let viewer = &mut watching.viewer;
        let tick = published.tick.downcast_ref::<core::member_list::Tick<I>>();
        let bundle = match (
            tick,
            published
                .tick
                .downcast_ref::<core::member_list::TableTick<I>>(),
        ) {
            (Some(tick), _) => viewer.bundle(tick),
            (None, Some(tick)) => tick.bundle(viewer),
            (None, None) => None,
        };
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

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Viewer {}>", self.windows(py)?.join(" ")))
    }
}
