//! Content of objects of Python that is let go of without holding the interpreter.

use std::ops::{Deref, DerefMut};

use pyo3::prelude::*;

use crate::bounds::SHORT;

/// What an object of Python keeps.
pub(crate) trait Content: Send + Sized {
    /// Returns about how many parts are freed with it.
    fn parts(&self) -> usize {
        0
    }

    /// Frees many parts, so that other threads run meanwhile.
    fn free(self, py: Python<'_>) {
        py.detach(|| drop(self));
    }
}

impl<T: Content> Content for Vec<T> {
    fn parts(&self) -> usize {
        self.iter().map(|item| 1 + item.parts()).sum()
    }
}

/// Content that lets other threads run while it is freed, if it has many parts.
#[derive(Debug)]
pub(crate) struct DetachedDrop<T: Content>(Option<T>);

impl<T: Content> DetachedDrop<T> {
    pub(crate) const fn new(content: T) -> Self {
        Self(Some(content))
    }
}

impl<T: Content + Default> Default for DetachedDrop<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Content> Deref for DetachedDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("only the drop takes the content")
    }
}

impl<T: Content> DerefMut for DetachedDrop<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("only the drop takes the content")
    }
}

impl<T: Content> Drop for DetachedDrop<T> {
    fn drop(&mut self) {
        let Some(content) = self.0.take() else {
            return;
        };
        if content.parts() > SHORT {
            // At the end of the process there is no interpreter, and the closure drops the content.
            Python::try_attach(|py| content.free(py));
        }
    }
}
