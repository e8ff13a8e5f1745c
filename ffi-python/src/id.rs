//! Member ids and sort keys, from Python and back.

use headcount::SortKey;
use headcount::member_list::{Id, IntId, TextId};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple, PyType};

use crate::bounds;
use crate::convert::{Buffer, type_name};
use crate::error::raise;

/// An id of any of the three kinds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum AnyId {
    Int(IntId),
    Uuid(u128),
    Text(TextId),
}

impl AnyId {
    /// Reads an id of the kind that its type says.
    pub(crate) fn from_py(id: &Bound<'_, PyAny>) -> PyResult<Self> {
        if id.is_instance_of::<PyString>() {
            return TextId::from_py(id).map(Self::Text);
        }
        if id.is_instance(uuid_type(id.py())?)? {
            return u128::from_py(id).map(Self::Uuid);
        }
        IntId::from_py(id).map(Self::Int)
    }

    /// Returns the text form, as in messages.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Int(id) => id.to_text(),
            Self::Uuid(id) => id.to_text(),
            Self::Text(id) => id.to_text(),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Uuid(_) => "UUID",
            Self::Text(_) => "str",
        }
    }
}

/// A value for each of the three kinds of ids, of which there is one.
#[derive(Debug, Clone)]
pub(crate) enum OfKind<Int, Uuid, Text> {
    Int(Int),
    Uuid(Uuid),
    Text(Text),
}

/// The same code for a value of each kind of ids.
macro_rules! each_kind {
    ($value:expr, $name:ident => $body:expr) => {
        match $value {
            $crate::id::OfKind::Int($name) => $body,
            $crate::id::OfKind::Uuid($name) => $body,
            $crate::id::OfKind::Text($name) => $body,
        }
    };
}
pub(crate) use each_kind;

/// A kind of id that a list can be made for.
pub(crate) trait PyId: Id {
    fn from_py(id: &Bound<'_, PyAny>) -> PyResult<Self>;

    fn to_any(&self) -> AnyId;

    /// Returns an id of this kind; `TypeError` if it is of another.
    fn from_any(id: &AnyId) -> PyResult<Self>;
}

fn other_kind(kind: &str, id: &AnyId) -> PyErr {
    let other = id.kind();
    PyTypeError::new_err(format!("the ids of this list are {kind}, not {other}"))
}

impl PyId for IntId {
    fn from_py(id: &Bound<'_, PyAny>) -> PyResult<Self> {
        let int = integer(id)?.ok_or_else(|| wrong("int", id))?;
        if let Ok(number) = int.extract::<i64>() {
            return Ok(Self::from(number));
        }
        let natural = int.extract::<u64>().map(Self::from);
        natural.map_err(|_| PyOverflowError::new_err("an id is from -2**63 to 2**64 - 1"))
    }

    fn to_any(&self) -> AnyId {
        AnyId::Int(*self)
    }

    fn from_any(id: &AnyId) -> PyResult<Self> {
        match id {
            AnyId::Int(id) => Ok(*id),
            _ => Err(other_kind("int", id)),
        }
    }
}

impl PyId for u128 {
    fn from_py(id: &Bound<'_, PyAny>) -> PyResult<Self> {
        if !id.is_instance(uuid_type(id.py())?)? {
            return Err(wrong("uuid.UUID", id));
        }
        id.getattr("int")?.extract()
    }

    fn to_any(&self) -> AnyId {
        AnyId::Uuid(*self)
    }

    fn from_any(id: &AnyId) -> PyResult<Self> {
        match id {
            AnyId::Uuid(id) => Ok(*id),
            _ => Err(other_kind("uuid.UUID", id)),
        }
    }
}

impl PyId for TextId {
    fn from_py(id: &Bound<'_, PyAny>) -> PyResult<Self> {
        let text = id.cast::<PyString>().map_err(|_| wrong("str", id))?;
        Self::new(text.to_str()?).map_err(raise)
    }

    fn to_any(&self) -> AnyId {
        AnyId::Text(self.clone())
    }

    fn from_any(id: &AnyId) -> PyResult<Self> {
        match id {
            AnyId::Text(id) => Ok(id.clone()),
            _ => Err(other_kind("str", id)),
        }
    }
}

/// Returns an integer of Python, or what an object with `__index__` stands for, such as one of NumPy.
fn integer<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyInt>>> {
    if let Ok(int) = obj.cast::<PyInt>() {
        return Ok(Some(int.clone()));
    }
    if !obj.hasattr(intern!(obj.py(), "__index__"))? {
        return Ok(None);
    }
    let index = obj.call_method0(intern!(obj.py(), "__index__"))?;
    Ok(index.cast_into::<PyInt>().ok())
}

fn wrong(kind: &str, id: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "the ids of this list are {kind}, not {}",
        type_name(id)
    ))
}

fn uuid_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    UUID.import(py, "uuid", "UUID")
}

impl<'py> IntoPyObject<'py> for &AnyId {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        match self {
            AnyId::Int(id) => {
                let number = i128::from(*id);
                Ok(match i64::try_from(number) {
                    Ok(number) => number.into_pyobject(py)?.into_any(),
                    Err(_) => number.into_pyobject(py)?.into_any(),
                })
            }
            AnyId::Uuid(id) => {
                uuid_type(py)?.call1((py.None(), py.None(), py.None(), py.None(), id))
            }
            AnyId::Text(id) => Ok(bounds::text(py, id.as_str())?.into_any()),
        }
    }
}

/// The kinds of ids, named in Python by their types.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Int,
    Uuid,
    Text,
}

impl<'py> FromPyObject<'_, 'py> for Kind {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = obj.py();
        if obj.is(py.get_type::<PyInt>()) {
            Ok(Self::Int)
        } else if obj.is(py.get_type::<PyString>()) {
            Ok(Self::Text)
        } else if obj.is(uuid_type(py)?) {
            Ok(Self::Uuid)
        } else {
            Err(PyTypeError::new_err(
                "the type of ids is int, str or uuid.UUID",
            ))
        }
    }
}

/// A sort key: a name, a number, two numbers, or bytes that sort as they are.
#[derive(Debug)]
pub(crate) struct Key(pub(crate) SortKey);

impl<'py> FromPyObject<'_, 'py> for Key {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(name) = obj.cast::<PyString>() {
            return Ok(Self(SortKey::from_name(name.to_str()?)));
        }
        if obj.is_instance_of::<PyInt>() {
            return Ok(Self(SortKey::from_u64(number(&obj)?)));
        }
        if let Ok(bytes) = obj.cast::<PyBytes>() {
            return SortKey::raw(bytes.as_bytes()).map(Self).map_err(raise);
        }
        if let Ok(tuple) = obj.cast::<PyTuple>() {
            if tuple.len() != 2 {
                return Err(PyValueError::new_err(
                    "a sort key of numbers has one or two",
                ));
            }
            let first = number(&tuple.get_item(0)?)?;
            let second = number(&tuple.get_item(1)?)?;
            return Ok(Self(SortKey::from_u64s(first, second)));
        }
        if let Some(int) = integer(&obj)? {
            return Ok(Self(SortKey::from_u64(number(&int)?)));
        }
        let bytes: Buffer = obj.extract().map_err(|error: PyErr| {
            if error.is_instance_of::<PyTypeError>(obj.py()) {
                let name = type_name(&obj);
                return PyTypeError::new_err(format!(
                    "a sort key is a str, an int, two ints or bytes, not {name}"
                ));
            }
            error
        })?;
        SortKey::raw(&bytes).map(Self).map_err(raise)
    }
}

/// Reads a number of a sort key, and moves its range to that of `u64`.
fn number(obj: &Bound<'_, PyAny>) -> PyResult<u64> {
    let int = integer(obj)?.ok_or_else(|| {
        PyTypeError::new_err(format!(
            "a number of a sort key is an int, not {}",
            type_name(obj)
        ))
    })?;
    let number: i64 = int
        .extract()
        .map_err(|_| PyOverflowError::new_err("a sort key is from -2**63 to 2**63 - 1"))?;
    Ok(number.cast_unsigned() ^ (1 << 63))
}
