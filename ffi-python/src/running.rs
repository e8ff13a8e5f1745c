//! A node of the crate, from its start to its stop, on a thread of its own.

use std::time::Duration;

use headcount::Presence;
use headcount::runtime::Node;
use parking_lot::RwLock;
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
    node: RwLock<Option<Live>>,
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
            node: RwLock::new(None),
        }
    }

    pub(crate) fn check(&self) -> PyResult<()> {
        self.birth.check()
    }

    /// Starts a node that `make` makes, on a new thread. Raises `RuntimeError` when one runs already.
    pub(crate) fn start(
        &self,
        py: Python<'_>,
        make: impl FnOnce(&Handle) -> PyResult<Node> + Send,
    ) -> PyResult<()> {
        self.birth.check()?;
        py.detach(|| {
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
                Ok(node) => *self.node.write() = Some(Live { node, runtime }),
                Err(error) => {
                    runtime.shutdown_background();
                    return Err(error);
                }
            }
            Ok(())
        })
    }

    /// Stops the node; with `graceful` it says Goodbye first. Returns whether there was one.
    pub(crate) fn stop(&self, py: Python<'_>, graceful: bool) -> PyResult<bool> {
        self.birth.check()?;
        py.detach(|| {
            let Some(Live { node, runtime }) = self.node.write().take() else {
                return Ok(false);
            };
            if graceful {
                let _ = runtime.block_on(async { timeout(LEAVE_MAX, node.leave()).await });
            }
            runtime.shutdown_background();
            Ok(true)
        })
    }

    /// Writes, with the interpreter released. Raises `NodeStopped` when no node runs.
    pub(crate) fn write<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&Node) -> R + Send,
    ) -> PyResult<R> {
        self.birth.check()?;
        let done = py.detach(|| self.node.read().as_ref().map(|live| f(&live.node)));
        done.ok_or_else(|| NodeStopped::new_err("the node is not running"))
    }

    pub(crate) fn write_long<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&Node) -> R + Send,
    ) -> PyResult<R> {
        self.write(py, f)
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

impl Drop for Running {
    fn drop(&mut self) {
        let live = self.node.get_mut().take();
        match live {
            // The thread of the runtime does not exist in a child of the process.
            Some(live) if self.birth.check().is_err() => std::mem::forget(live),
            Some(Live { node, runtime }) => {
                drop(node);
                runtime.shutdown_background();
            }
            None => {}
        }
    }
}
