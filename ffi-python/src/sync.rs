//! Access to the values inside the classes that never blocks the interpreter.

use std::ops::Deref;

use parking_lot::RwLock;
use pyo3::Python;

/// A value behind a lock that never blocks the interpreter.
///
/// The closures are pure Rust (`Send` admits no attached Python object), so no Python code ever runs under
/// the lock and a thread that waits for it has let go of the interpreter: neither can deadlock.
#[derive(Debug)]
pub(crate) struct Locked<T>(RwLock<T>);

impl<T: Send + Sync> Locked<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    /// Reads; for work of a few microseconds, which is not worth letting go of the interpreter.
    pub(crate) fn read<R: Send>(&self, py: Python<'_>, f: impl FnOnce(&T) -> R + Send) -> R {
        match self.0.try_read() {
            Some(guard) => f(&guard),
            None => py.detach(|| f(&self.0.read())),
        }
    }

    /// Writes; for work of a few microseconds.
    pub(crate) fn write<R: Send>(&self, py: Python<'_>, f: impl FnOnce(&mut T) -> R + Send) -> R {
        match self.0.try_write() {
            Some(mut guard) => f(&mut guard),
            None => py.detach(|| f(&mut self.0.write())),
        }
    }

    /// Reads with the interpreter released, for work that grows with the data.
    pub(crate) fn read_long<R: Send>(&self, py: Python<'_>, f: impl FnOnce(&T) -> R + Send) -> R {
        py.detach(|| f(&self.0.read()))
    }

    /// Writes with the interpreter released.
    pub(crate) fn write_long<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&mut T) -> R + Send,
    ) -> R {
        py.detach(|| f(&mut self.0.write()))
    }

    /// Writes, for a caller that has released the interpreter.
    pub(crate) fn write_detached<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.write())
    }
}

/// A value that locks for itself. All calls release the interpreter; the verbs are those of [`Locked`].
#[derive(Debug)]
pub(crate) struct Detached<T>(T);

impl<T: Sync> Detached<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    pub(crate) fn read<R: Send>(&self, py: Python<'_>, f: impl FnOnce(&T) -> R + Send) -> R {
        py.detach(|| f(&self.0))
    }

    pub(crate) fn write<R: Send>(&self, py: Python<'_>, f: impl FnOnce(&T) -> R + Send) -> R {
        self.read(py, f)
    }

    pub(crate) fn read_long<R: Send>(&self, py: Python<'_>, f: impl FnOnce(&T) -> R + Send) -> R {
        self.read(py, f)
    }

    pub(crate) fn write_long<R: Send>(&self, py: Python<'_>, f: impl FnOnce(&T) -> R + Send) -> R {
        self.read(py, f)
    }
}

impl<T> Deref for Detached<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
