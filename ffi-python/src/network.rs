//! The networks that a node can join: NATS, and one in memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headcount::runtime::memory::{MemoryTransport, Network};
use headcount::runtime::nats::async_nats::{
    ConnectError as NatsConnectError, ConnectErrorKind, Event, ServerAddr, ServerError,
};
use headcount::runtime::nats::{self as core, NatsError, NatsOptionsError, NatsTransport};
use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::ConnectError;

/// The longest time of one attempt to connect, however much is left.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The networks of the URLs `memory://name`.
static NAMED: Mutex<BTreeMap<String, Network>> = Mutex::new(BTreeMap::new());

/// A network inside one process, for tests: its links can be cut.
///
/// Pass it to `connect`. Each `MemoryNetwork(name)` is the one that the URL `memory://name` means; one without a
/// `name` is its own.
///
/// >>> network = MemoryNetwork()
/// >>> network.cut("a", "b")
/// >>> network.heal()
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct MemoryNetwork(Network);

#[pymethods]
impl MemoryNetwork {
    #[new]
    #[pyo3(signature = (name = None))]
    fn new(name: Option<String>) -> Self {
        Self(match name {
            Some(name) => NAMED.lock().entry(name).or_default().clone(),
            None => Network::new(),
        })
    }

    /// Drop all frames between two nodes, both ways and silently, as a broken switch does.
    fn cut(&self, a: &str, b: &str) {
        self.0.cut(a, b);
    }

    /// Undo every `cut`.
    fn heal(&self) {
        self.0.heal();
    }
}

impl MemoryNetwork {
    /// Adds a node. Its address is its name, with a number behind it if a node of that name runs.
    pub(crate) fn join(&self, name: &str) -> MemoryTransport {
        let numbered = (2..).map(|number| format!("{name}~{number}"));
        let mut addresses = std::iter::once(name.to_owned()).chain(numbered);
        let free = addresses.find(|address| !self.0.is_joined(address));
        self.0.join(&free.expect("there is no last number"))
    }
}

/// The options of a connection to NATS servers.
pub(crate) struct NatsOptions(core::NatsOptions);

impl<'py> FromPyObject<'_, 'py> for NatsOptions {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let dict = obj.cast::<PyDict>()?;
        let text = |name: &str| value::<String>(&dict, name);
        let path = |name: &str| value::<PathBuf>(&dict, name);
        let flag = |name: &str| Ok::<_, PyErr>(value(&dict, name)?.unwrap_or(false));
        Ok(Self(core::NatsOptions {
            credentials: path("credentials")?,
            user: text("user")?,
            password: text("password")?,
            token: text("token")?,
            nkey: text("nkey")?,
            tls: flag("tls")?,
            tls_first: flag("tls_first")?,
            tls_ca: path("tls_ca")?,
            tls_cert: path("tls_cert")?,
            tls_key: path("tls_key")?,
        }))
    }
}

fn value<'py, T>(dict: &Bound<'py, PyDict>, name: &str) -> PyResult<Option<T>>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    let value = dict.get_item(name)?.filter(|value| !value.is_none());
    let value = value.map(|value| value.extract::<T>().map_err(Into::into));
    value.transpose()
}

/// Returns the exception for options that are of no use.
fn unusable(error: &NatsOptionsError) -> PyErr {
    match error {
        // With its number, Python makes it a `FileNotFoundError`, or what else it is.
        NatsOptionsError::File {
            option,
            file,
            error: cause,
        } => match cause.raw_os_error() {
            Some(number) => {
                let text = format!("{option}: {cause}");
                PyOSError::new_err((number, text, file.as_os_str().to_owned()))
            }
            None => PyOSError::new_err(error.to_string()),
        },
        _ => PyValueError::new_err(error.to_string()),
    }
}

/// Connects to NATS servers once, within `time`. The troubles of the connection go to `notes`, and are counted.
///
/// Raises `ValueError` for addresses that are none, and for a cluster without a name.
pub(crate) async fn connect_nats(
    servers: &str,
    cluster: &str,
    options: NatsOptions,
    time: Duration,
    notes: mpsc::Sender<String>,
    errors: Arc<AtomicU64>,
) -> PyResult<NatsTransport> {
    if cluster.is_empty() {
        return Err(PyValueError::new_err("the name of the cluster is empty"));
    }
    for server in servers.split(',') {
        server.parse::<ServerAddr>().map_err(|error| {
            PyValueError::new_err(format!(
                "{server:?} is no address of a NATS server: {error}"
            ))
        })?;
    }
    let options = options.0.read().await.map_err(|error| unusable(&error))?;
    let on_event = move |event: &Event| {
        if !matches!(
            event,
            Event::Connected | Event::LameDuckMode | Event::Draining | Event::Closed
        ) {
            errors.fetch_add(1, Ordering::Relaxed);
        }
        let _ = notes.try_send(event.to_string());
    };
    let connecting = NatsTransport::connect_with(options, servers, cluster, on_event);
    match timeout(CONNECT_MAX.min(time), connecting).await {
        Ok(connected) => connected.map_err(|error| refused(&error)),
        Err(_) => Err(ConnectError::new_err((
            "the NATS servers do not answer",
            true,
        ))),
    }
}

/// Returns the exception for a connection that failed: a second attempt is worth it unless the servers refused it.
fn refused(error: &NatsError) -> PyErr {
    let source = std::error::Error::source(error);
    let kind = source
        .and_then(|source| source.downcast_ref::<NatsConnectError>())
        .map(NatsConnectError::kind);
    let is_forbidden = source.is_some_and(|source| source.is::<ServerError>());
    let is_transient = !is_forbidden
        && !matches!(
            kind,
            Some(
                ConnectErrorKind::ServerParse
                    | ConnectErrorKind::Authentication
                    | ConnectErrorKind::AuthorizationViolation
                    | ConnectErrorKind::Tls
            )
        );
    ConnectError::new_err((error.to_string(), is_transient))
}
