//! `WatchHandle`: a watch of a topic, or of its counts, by a node, in `headcount.Watch` and `headcount.aio.Watch`.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use headcount::runtime::Watch;
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::feed::{Feed, Source};
use crate::ready::Ready;
use crate::sync::Birth;

/// A watch of a topic, or of its counts, until it is closed or nothing refers to it.
#[pyclass(frozen, module = "headcount._headcount")]
pub(crate) struct WatchHandle {
    birth: Birth,
    ready: Arc<Ready>,
    /// Not dropped in a child of the process: its locks may be taken there for ever.
    watch: Mutex<Option<ManuallyDrop<Watch>>>,
}

impl WatchHandle {
    pub(crate) fn new(ready: &Arc<Ready>, watch: Watch) -> Self {
        Self {
            birth: Birth::now(),
            ready: Arc::clone(ready),
            watch: Mutex::new(Some(ManuallyDrop::new(watch))),
        }
    }

    fn end(&self) {
        if self.birth.check().is_ok() {
            let watch = self.watch.lock().take();
            drop(watch.map(ManuallyDrop::into_inner));
        }
    }
}

#[pymethods]
impl WatchHandle {
    /// End the watch.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.end());
    }

    /// Return a feed with one item, once the topic can be read, or counted, the watch has ended or the node has
    /// stopped; `None` when the watch has ended before.
    fn ready(&self) -> PyResult<Option<Feed>> {
        self.birth.check()?;
        let watch = self.watch.lock();
        let ready = watch.as_ref().map(|watch| watch.ready());
        Ok(ready.map(|ready| {
            // The caller asks then whether the topic can be read, which says why it cannot.
            let done = async {
                let _ = ready.await;
                Ok(())
            };
            Feed::new(&self.ready, Source::Done(Box::pin(done)))
        }))
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        self.end();
    }
}
