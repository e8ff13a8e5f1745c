//! Python objects in, checked before anything of ours sees them.

use std::ops::{Deref, Range};
use std::time::Duration;

use headcount::member_list::{BODY_DEPTH_MAX, Body};
use headcount::tracker::{Encoding, Key};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyIndexError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyMemoryView, PySlice, PyString};

use crate::bounds::no_memory;
use crate::error::LimitError;
use crate::json::{Json, plain_to_json, to_json};

/// Most bytes that are copied of a buffer that can change: no frame is longer.
const COPY_MAX: usize = u32::MAX as usize;

/// The bytes of an object that exports a contiguous buffer.
///
/// `bytes`, and memory views of `bytes`, are used where they lie: they cannot change. Any other
/// buffer (`bytearray`, `array`, `mmap`, NumPy) can be written to by another thread once the
/// interpreter is released, so it is copied once.
#[derive(Debug)]
pub(crate) enum Buffer {
    Shared(PyBackedBytes, Range<usize>),
    Text(PyBackedStr),
    Copied(Vec<u8>),
}

impl Buffer {
    pub(crate) const fn empty() -> Self {
        Self::Copied(Vec::new())
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(bytes, range) => &bytes[range.clone()],
            Self::Text(text) => text.as_bytes(),
            Self::Copied(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<'py> FromPyObject<'_, 'py> for Buffer {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let obj = obj.to_owned();
        if let Ok(bytes) = obj.cast::<PyBytes>() {
            return Ok(Self::whole(bytes.clone()));
        }
        let buffer = PyBuffer::<u8>::get(&obj).map_err(|error| refuse(&obj, error))?;
        if !buffer.is_c_contiguous() {
            return Err(PyBufferError::new_err(
                "the buffer is not contiguous: copy it with bytes()",
            ));
        }
        match view_of_bytes(&obj, &buffer)? {
            Some(shared) => Ok(shared),
            None => Self::copy(obj.py(), &buffer),
        }
    }
}

impl Buffer {
    fn copy(py: Python<'_>, buffer: &PyBuffer<u8>) -> PyResult<Self> {
        let len = buffer.len_bytes();
        if len > COPY_MAX {
            let text = format!("a buffer that can change has at most {COPY_MAX} bytes, not {len}");
            return Err(LimitError::new_err((text, COPY_MAX)));
        }
        let mut copy = Vec::new();
        copy.try_reserve_exact(len).map_err(no_memory)?;
        copy.resize(len, 0);
        buffer.copy_to_slice(py, &mut copy)?;
        Ok(Self::Copied(copy))
    }

    fn whole(bytes: Bound<'_, PyBytes>) -> Self {
        let bytes = PyBackedBytes::from(bytes);
        let range = 0..bytes.len();
        Self::Shared(bytes, range)
    }
}

fn refuse(obj: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyBufferError>(obj.py()) {
        return error;
    }
    PyTypeError::new_err(format!(
        "a bytes-like object is required, not {}",
        type_name(obj)
    ))
}

/// The part of a `bytes` object that a memory view shows, found by the distance of their starts.
fn view_of_bytes(obj: &Bound<'_, PyAny>, buffer: &PyBuffer<u8>) -> PyResult<Option<Buffer>> {
    if !obj.is_instance_of::<PyMemoryView>() {
        return Ok(None);
    }
    let base = obj.getattr("obj")?;
    let Ok(base) = base.cast_exact::<PyBytes>() else {
        return Ok(None);
    };
    let offset = buffer
        .buf_ptr()
        .addr()
        .wrapping_sub(base.as_bytes().as_ptr().addr());
    let range = offset..offset.wrapping_add(buffer.len_bytes());
    if base.as_bytes().get(range.clone()).is_none() {
        return Ok(None);
    }
    Ok(Some(Buffer::Shared(
        PyBackedBytes::from(base.clone()),
        range,
    )))
}

/// A key or an owner: text, or bytes.
#[derive(Debug)]
pub(crate) enum Name {
    Text(PyBackedStr),
    Bytes(Buffer),
}

impl Name {
    pub(crate) fn encoding(&self) -> Encoding {
        match self {
            Self::Text(_) => Encoding::Text,
            Self::Bytes(_) => Encoding::Bytes,
        }
    }

    pub(crate) fn as_key(&self) -> Key<'_> {
        Key::new(self.encoding(), self.as_bytes())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Name {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if obj.is_instance_of::<PyString>() {
            return Ok(Self::Text(obj.extract()?));
        }
        match obj.extract() {
            Ok(bytes) => Ok(Self::Bytes(bytes)),
            Err(error) if error.is_instance_of::<PyTypeError>(obj.py()) => Err(
                PyTypeError::new_err(format!("expected str or bytes, not {}", type_name(&obj))),
            ),
            Err(error) => Err(error),
        }
    }
}

/// A meta: nothing, bytes as they are, or anything else as JSON.
#[derive(Debug)]
pub(crate) enum Meta {
    Bytes(Buffer),
    Json(Json),
}

impl Meta {
    pub(crate) const fn empty() -> Self {
        Self::Bytes(Buffer::empty())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Json(json) => json.as_bytes(),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Meta {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if obj.is_none() {
            return Ok(Self::empty());
        }
        if let Some(json) = plain_to_json(&obj)? {
            return Ok(Self::Json(Json::Own(json)));
        }
        match obj.extract() {
            Ok(bytes) => Ok(Self::Bytes(bytes)),
            Err(error) if error.is_instance_of::<PyTypeError>(obj.py()) => {
                let json = to_json(&obj)?;
                // `Entry.json` would not read it.
                if Body::is_too_deep(json.as_bytes()) {
                    let text = format!("the meta nests deeper than {BODY_DEPTH_MAX}");
                    return Err(LimitError::new_err((text, BODY_DEPTH_MAX)));
                }
                Ok(Self::Json(json))
            }
            Err(error) => Err(error),
        }
    }
}

/// The arguments of `track`, `update` and `upsert`, borrowed.
pub(crate) fn new_entry<'a>(
    topic: &'a str,
    (key, owner): (&'a Name, &'a Name),
    meta: &'a Meta,
    status: u8,
) -> PyResult<headcount::NewEntry<'a>> {
    let encoding = key.encoding();
    if owner.encoding() != encoding {
        return Err(PyTypeError::new_err(
            "key and owner must both be str or both be bytes",
        ));
    }
    if encoding == Encoding::Bytes && matches!(meta, Meta::Json(_)) {
        return Err(PyTypeError::new_err(
            "the meta of a key of bytes must be bytes",
        ));
    }
    let entry = headcount::NewEntry::bytes(topic, key.as_bytes(), owner.as_bytes(), encoding);
    Ok(entry.meta(meta.as_bytes()).status(status))
}

/// Seconds since some start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seconds(pub(crate) Duration);

impl<'py> FromPyObject<'_, 'py> for Seconds {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let seconds: f64 = obj.extract()?;
        let duration = Duration::try_from_secs_f64(seconds);
        duration.map(Self).map_err(|_| {
            PyValueError::new_err(format!("seconds are from 0 to 2**64, not {seconds}"))
        })
    }
}

/// The subscript of `x[...]`, for a length.
#[derive(Debug)]
pub(crate) enum Place {
    At(usize),
    Rows(Rows),
}

/// The indexes of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    start: isize,
    step: isize,
    count: usize,
}

impl Rows {
    /// Returns how many indexes there are.
    pub(crate) fn len(self) -> usize {
        self.count
    }

    /// The indexes as a range, if they follow one another.
    pub(crate) fn range(self) -> Option<Range<usize>> {
        let start = usize::try_from(self.start).ok()?;
        (self.step == 1).then_some(start..start + self.count)
    }

    /// The indexes one by one.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..self.count as isize).map(move |i| (self.start + i * self.step) as usize)
    }
}

impl From<Range<usize>> for Rows {
    fn from(range: Range<usize>) -> Self {
        Self {
            start: range.start as isize,
            step: 1,
            count: range.len(),
        }
    }
}

/// Reads an index or a slice as a sequence of `len` items does.
pub(crate) fn place(index: &Bound<'_, PyAny>, len: usize) -> PyResult<Place> {
    if let Ok(slice) = index.cast::<PySlice>() {
        let indices = slice.indices(len as isize)?;
        let start = indices.start;
        let step = indices.step;
        let count = indices.slicelength;
        return Ok(Place::Rows(Rows { start, step, count }));
    }
    let at: isize = index.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyTypeError>(index.py()) {
            let name = type_name(index);
            return PyTypeError::new_err(format!("an index is an int or a slice, not {name}"));
        }
        if error.is_instance_of::<PyOverflowError>(index.py()) {
            return out_of_range();
        }
        error
    })?;
    let at = if at < 0 { at + len as isize } else { at };
    usize::try_from(at)
        .ok()
        .filter(|&at| at < len)
        .map(Place::At)
        .ok_or_else(out_of_range)
}

pub(crate) fn out_of_range() -> PyErr {
    PyIndexError::new_err("index out of range")
}

/// The name of the object's type, for messages.
pub(crate) fn type_name(obj: &Bound<'_, PyAny>) -> String {
    obj.get_type()
        .name()
        .map_or_else(|_| "object".to_owned(), |name| name.to_string())
}

/// `1204331` as `1_204_331`, the way Python writes long numbers.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

/// Returns what Python's `repr` says.
pub(crate) fn repr(obj: &Bound<'_, PyAny>) -> PyResult<String> {
    obj.repr()?.extract()
}
