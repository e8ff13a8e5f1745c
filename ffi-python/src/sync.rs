//! Access to the values inside the classes that never blocks the interpreter.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::RwLock;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::detached_drop::{Content, DetachedDrop};
use crate::error::ForkError;

/// The number of forks between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process in which a value was made. A fork copies a value with its locks as other threads held them, and
/// these threads do not exist in the child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth(u32);

impl Birth {
    pub(crate) fn now() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Raises `ForkError` in any process but that one.
    pub(crate) fn check(self) -> PyResult<()> {
        if self.0 == FORKS.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(ForkError::new_err(
            "this object was made before os.fork() and cannot be used in the child: make it after the fork",
        ))
    }
}

/// Counts a fork, in the child.
#[pyfunction]
pub(crate) fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Has every fork of this process counted, where the operating system can fork.
pub(crate) fn watch_forks(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let os = py.import("os")?;
    if os.hasattr("register_at_fork")? {
        let hooks = PyDict::new(py);
        hooks.set_item("after_in_child", wrap_pyfunction!(forked, module)?)?;
        os.call_method("register_at_fork", (), Some(&hooks))?;
    }
    Ok(())
}

/// A value behind a lock that never blocks the interpreter.
///
/// The closures are pure Rust (`Send` admits no attached Python object), so no Python code ever runs under
/// the lock and a thread that waits for it has let go of the interpreter: neither can deadlock. All verbs
/// raise `ForkError` in a child of the process that made the value.
#[derive(Debug)]
pub(crate) struct Locked<T: Content> {
    birth: Birth,
    value: RwLock<DetachedDrop<T>>,
}

impl<T: Content + Sync> Locked<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            birth: Birth::now(),
            value: RwLock::new(DetachedDrop::new(value)),
        }
    }

    /// Reads; for work of a few microseconds, which is not worth letting go of the interpreter.
    pub(crate) fn read<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&T) -> R + Send,
    ) -> PyResult<R> {
        self.birth.check()?;
        Ok(match self.value.try_read() {
            Some(guard) => f(&guard),
            None => py.detach(|| f(&self.value.read())),
        })
    }

    /// Reads with the interpreter, for work of a few microseconds that copies references to objects.
    ///
    /// `f` must run no Python code, not even the collector of garbage, which any new object can start: that code could
    /// want this lock.
    pub(crate) fn read_attached<R>(&self, py: Python<'_>, f: impl FnOnce(&T) -> R) -> PyResult<R> {
        self.birth.check()?;
        loop {
            if let Some(guard) = self.value.try_read() {
                return Ok(f(&guard));
            }
            py.detach(|| drop(self.value.read()));
        }
    }

    /// Writes; for work of a few microseconds.
    pub(crate) fn write<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&mut T) -> R + Send,
    ) -> PyResult<R> {
        self.birth.check()?;
        Ok(match self.value.try_write() {
            Some(mut guard) => f(&mut guard),
            None => py.detach(|| f(&mut self.value.write())),
        })
    }

    /// Reads with the interpreter released, for work that grows with the data.
    pub(crate) fn read_long<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&T) -> R + Send,
    ) -> PyResult<R> {
        self.birth.check()?;
        Ok(py.detach(|| f(&self.value.read())))
    }

    /// Writes with the interpreter released.
    pub(crate) fn write_long<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&mut T) -> R + Send,
    ) -> PyResult<R> {
        self.birth.check()?;
        Ok(py.detach(|| f(&mut self.value.write())))
    }

    /// Writes, for a caller that has released the interpreter and checked the process.
    pub(crate) fn write_detached<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.value.write())
    }
}

/// A value that locks for itself. All calls release the interpreter; the verbs are those of [`Locked`].
#[derive(Debug)]
pub(crate) struct Detached<T> {
    birth: Birth,
    value: T,
}

impl<T: Sync> Detached<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            birth: Birth::now(),
            value,
        }
    }

    /// Returns the value, for a caller that releases the interpreter itself.
    pub(crate) fn get(&self) -> PyResult<&T> {
        self.birth.check()?;
        Ok(&self.value)
    }

    pub(crate) fn read<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&T) -> R + Send,
    ) -> PyResult<R> {
        let value = self.get()?;
        Ok(py.detach(|| f(value)))
    }

    pub(crate) fn write<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&T) -> R + Send,
    ) -> PyResult<R> {
        self.read(py, f)
    }

    pub(crate) fn read_long<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&T) -> R + Send,
    ) -> PyResult<R> {
        self.read(py, f)
    }

    pub(crate) fn write_long<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&T) -> R + Send,
    ) -> PyResult<R> {
        self.read(py, f)
    }
}
