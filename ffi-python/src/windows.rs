//! The publications of a list for its windows: `Tick`, `TableTick` and `Bundle`.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headcount as core;
use headcount::Bodies;
use headcount::codec::DecodeError;
use headcount::member_list::{
    BodyFormat, BundleFormat, Discord, IntId, ListId, LiveList, TableError, TextId, Watchable,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bounds;
use crate::convert::Buffer;
use crate::error::raise;
use crate::id::{Kind, PyId};
use crate::json::from_json;
use crate::list_or_roster::{ListOrRoster, TableOrRoster};
use crate::sync::Locked;

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
    Table(Arc<Locked<TableOrRoster<I>>>, ListId),
}

impl<I: PyId> Shown<I> {
    /// Works on the list, with its bodies.
    pub(crate) fn with<R>(
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

impl Published {
    /// Returns whether it is a tick of this list, or of its table.
    pub(crate) fn is_of<I: PyId>(&self, source: &Source<I>) -> bool {
        let owner = Arc::as_ptr(&self.owner);
        match source {
            Source::List(list) => std::ptr::addr_eq(owner, Arc::as_ptr(list)),
            Source::Table(table, _) => std::ptr::addr_eq(owner, Arc::as_ptr(table)),
        }
    }

    /// Returns the bundle for a viewer, if there is anything to send.
    pub(crate) fn bundle<I: PyId>(
        &self,
        viewer: &mut core::Viewer<I>,
    ) -> Option<core::member_list::Bundle<I>> {
        if let Some(tick) = self.tick.downcast_ref::<core::member_list::Tick<I>>() {
            return viewer.bundle(tick);
        }
        let tick = self.tick.downcast_ref::<core::member_list::TableTick<I>>();
        tick.and_then(|tick| tick.bundle(viewer))
    }
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
        table: &Arc<Locked<TableOrRoster<I>>>,
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
pub(crate) enum AnyTick<'py> {
    List(Bound<'py, Tick>),
    Table(Bound<'py, TableTick>),
}

impl AnyTick<'_> {
    pub(crate) fn published(&self) -> &Published {
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
    pub(crate) fn new<I: PyId>(bundle: core::member_list::Bundle<I>, format: BundleFormat) -> Self {
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
            Kind::Int => Self::read::<IntId>(&data),
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
