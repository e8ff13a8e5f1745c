//! A node of the crate, from its start to its stop, on a thread of its own.

use std::time::Duration;

use headcount::Presence;
use headcount::runtime::Node;
use parking_lot::RwLock;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;

use crate::error::NodeStopped;
use crate::sync::Birth;

/// The longest time that a node takes to say Goodbye.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// The place of a node: empty before the start and after the stop.
#[derive(Debug)]
pub(crate) struct Running {
    birth: Birth,
    life: RwLock<Life>,
}

#[derive(Debug, Default)]
struct Life {
    live: Option<Live>,
    /// The number of the start under way.
    starting: Option<u64>,
    /// The starts there ever were.
    starts: u64,
    has_stopped: bool,
}

#[derive(Debug)]
struct Live {
    node: Node,
    runtime: Runtime,
}

impl Running {
    pub(crate) fn new() -> Self {
        Self {
            birth: Birth::now(),
            life: RwLock::default(),
        }
    }

    pub(crate) fn check(&self) -> PyResult<()> {
        self.birth.check()
    }

    /// Starts a node that `make` makes, on a new thread.
    ///
    /// Raises `RuntimeError` when one runs or starts already, `NodeStopped` after a `stop`.
    pub(crate) fn start(
        &self,
        py: Python<'_>,
        make: impl FnOnce(&Handle) -> PyResult<Node> + Send,
    ) -> PyResult<()> {
        self.birth.check()?;
        py.detach(|| {
            let number = self.life.write().begin()?;
            let made = start(make);
            let mut life = self.life.write();
            if life.starting != Some(number) {
                drop(life);
                made.map(Live::end)?;
                return Err(NodeStopped::new_err(
                    "the node was stopped while it started",
                ));
            }
            life.starting = None;
            life.live = Some(made?);
            Ok(())
        })
    }

    /// Stops the node for good; with `graceful` it says Goodbye first. Returns whether there was one.
    pub(crate) fn stop(&self, py: Python<'_>, graceful: bool) -> PyResult<bool> {
        self.birth.check()?;
        py.detach(|| {
            let mut life = self.life.write();
            life.has_stopped = true;
            life.starting = None;
            let live = life.live.take();
            drop(life);
            let Some(Live { node, runtime }) = live else {
                return Ok(false);
            };
            if graceful {
                let _ = runtime.block_on(async { timeout(LEAVE_MAX, node.leave()).await });
            }
            runtime.shutdown_background();
            Ok(true)
        })
    }

    /// Undoes a start, also one under way: the node can be started once more.
    pub(crate) fn undo_start(&self, py: Python<'_>) -> PyResult<()> {
        self.birth.check()?;
        py.detach(|| {
            let mut life = self.life.write();
            life.starting = None;
            let live = life.live.take();
            drop(life);
            if let Some(live) = live {
                live.end();
            }
        });
        Ok(())
    }

    /// Writes, with the interpreter released. Raises `NodeStopped` when no node runs.
    pub(crate) fn write<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&Node) -> R + Send,
    ) -> PyResult<R> {
        self.birth.check()?;
        let done = py.detach(|| {
            let life = self.life.read();
            let live = life.live.as_ref().filter(|live| !live.node.is_stopped());
            live.map(|live| f(&live.node))
        });
        done.ok_or_else(|| NodeStopped::new_err("the node is not running"))
    }

    pub(crate) fn read<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&Presence) -> R + Send,
    ) -> PyResult<R> {
        self.write(py, |node| f(node.presence()))
    }

    pub(crate) fn read_long<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&Presence) -> R + Send,
    ) -> PyResult<R> {
        self.read(py, f)
    }
}

impl Life {
    /// Begins a start, and returns its number.
    fn begin(&mut self) -> PyResult<u64> {
        if self.has_stopped {
            return Err(NodeStopped::new_err(
                "the node has stopped: make another one",
            ));
        }
        if self.live.is_some() || self.starting.is_some() {
            return Err(PyRuntimeError::new_err("the node has started already"));
        }
        self.starts += 1;
        self.starting = Some(self.starts);
        Ok(self.starts)
    }
}

impl Live {
    /// Falls silent, without a Goodbye.
    fn end(self) {
        drop(self.node);
        self.runtime.shutdown_background();
    }
}

/// Starts a node that `make` makes, on a new thread.
fn start(make: impl FnOnce(&Handle) -> PyResult<Node>) -> PyResult<Live> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("headcount")
        .enable_all()
        .build()?;
    let node = {
        let _entered = runtime.enter();
        make(runtime.handle())
    };
    match node {
        Ok(node) => Ok(Live { node, runtime }),
        Err(error) => {
            runtime.shutdown_background();
            Err(error)
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let live = self.life.get_mut().live.take();
        match live {
            // The thread of the runtime does not exist in a child of the process.
            Some(live) if self.birth.check().is_err() => std::mem::forget(live),
            Some(live) => live.end(),
            None => {}
        }
    }
}
