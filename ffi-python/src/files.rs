//! Files that lists and tables are saved to and loaded from: a path, or an object with `write` or `read`.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;

use headcount::member_list::LoadError;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};

use crate::bounds::{bytes, no_memory};
use crate::convert::repr;
use crate::error::raise;

/// Bytes that are read at once, after which Python may interrupt.
const READ_AT_ONCE: usize = 1 << 20;

/// The file of a save.
pub(crate) enum Sink<'a> {
    /// Written beside the path and renamed at the end, so that an old file stays until then.
    Path {
        file: File,
        part: PathBuf,
        path: PathBuf,
    },
    Object(Py<PyAny>),
    /// The bytes of a pickle.
    Memory(&'a mut Vec<u8>),
}

impl Sink<'_> {
    pub(crate) fn open(file: &Bound<'_, PyAny>) -> PyResult<Self> {
        let Ok(path) = file.extract::<PathBuf>() else {
            return object(file, "write").map(Self::Object);
        };
        // What a link leads to is replaced, not the link; a new file leads nowhere yet.
        let path = file.py().detach(|| fs::canonicalize(&path).unwrap_or(path));
        let mut part = path.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = file.py().detach(|| File::create(&part))?;
        Ok(Self::Path { file, part, path })
    }

    /// Writes bytes; for a path without the interpreter.
    pub(crate) fn write(&mut self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let object = match self {
            Self::Path { file, .. } => return Ok(py.detach(|| file.write_all(data))?),
            Self::Memory(bytes) => {
                bytes.try_reserve(data.len()).map_err(no_memory)?;
                bytes.extend_from_slice(data);
                return Ok(());
            }
            Self::Object(object) => object.bind(py),
        };
        let mut rest = data;
        while !rest.is_empty() {
            let written = object.call_method1("write", (bytes(py, rest)?,))?;
            // Unbuffered files may take less than they are given.
            let count = written.extract::<usize>().ok();
            rest = match count.and_then(|count| rest.get(count..)) {
                Some(_) if count == Some(0) => {
                    return Err(io::Error::from(io::ErrorKind::WriteZero).into());
                }
                Some(rest) => rest,
                None => return Err(not_a_count(&written, rest.len())?),
            };
        }
        Ok(())
    }

    /// Ends a file that is whole.
    pub(crate) fn commit(&mut self, py: Python<'_>) -> PyResult<()> {
        if let Self::Path { file, part, path } = self {
            py.detach(|| file.sync_all().and_then(|()| fs::rename(part, path)))?;
        }
        Ok(())
    }

    /// Removes what was written of a file that is not whole.
    pub(crate) fn discard(&self) {
        if let Self::Path { part, .. } = self {
            let _ = fs::remove_file(part);
        }
    }
}

/// Returns the exception for a `write` that does not say how much of its bytes it took.
fn not_a_count(written: &Bound<'_, PyAny>, len: usize) -> PyResult<PyErr> {
    let text = format!(
        "write() of {len} bytes returned {}, not how many it took",
        repr(written)?
    );
    Ok(if written.is_instance_of::<PyInt>() {
        PyValueError::new_err(text)
    } else {
        PyTypeError::new_err(text)
    })
}

fn object(file: &Bound<'_, PyAny>, method: &str) -> PyResult<Py<PyAny>> {
    if file.hasattr(method)? {
        return Ok(file.clone().unbind());
    }
    let text = format!("a path or an object with {method}() is needed");
    Err(PyTypeError::new_err(text))
}

/// The file of a load, and the exception of its reads.
pub(crate) struct Source {
    from: From,
    error: Option<PyErr>,
}

enum From {
    Path(File),
    Object(Py<PyAny>),
}

impl Source {
    pub(crate) fn open(file: &Bound<'_, PyAny>) -> PyResult<BufReader<Self>> {
        let from = match file.extract::<PathBuf>() {
            Ok(path) => From::Path(file.py().detach(|| File::open(path))?),
            Err(_) => From::Object(object(file, "read")?),
        };
        let source = Self { from, error: None };
        Ok(BufReader::with_capacity(READ_AT_ONCE, source))
    }

    fn read_some(&mut self, to: &mut [u8]) -> PyResult<usize> {
        Python::attach(|py| py.check_signals())?;
        let object = match &mut self.from {
            From::Path(file) => return Ok(file.read(to)?),
            From::Object(object) => object,
        };
        Python::attach(|py| {
            let read = object.bind(py).call_method1("read", (to.len(),))?;
            let read = read.cast::<PyBytes>()?.as_bytes();
            let Some(to) = to.get_mut(..read.len()) else {
                let text = "read() returned more than it was asked for";
                return Err(PyTypeError::new_err(text));
            };
            to.copy_from_slice(read);
            Ok(read.len())
        })
    }
}

impl Read for Source {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.read_some(to).map_err(|error| {
            self.error = Some(error);
            io::Error::other("the read raised an exception")
        })
    }
}

/// Returns the exception of a load that failed: that of the reads, if there is one.
pub(crate) fn failed(reader: &mut BufReader<Source>, error: LoadError) -> PyErr {
    let of_reads = reader.get_mut().error.take();
    of_reads.unwrap_or_else(|| raise(error))
}
