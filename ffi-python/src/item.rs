//! The values of a `SortedSet`, as Rust can order them without a call into Python.

use std::cmp::Ordering;

use num_bigint::{BigInt, Sign};
use num_traits::FromPrimitive;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString, PyTuple, PyType};

use crate::bounds::{no_memory, push};
use crate::convert::type_name;

/// The deepest nesting of tuples in a value.
const DEPTH_MAX: usize = 32;

/// A value that has a place in the order. Values of different types are ordered as the variants are listed here,
/// values of one type as in Python.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    /// A bound below every value; no set has it.
    Least,
    Number(Number),
    Bytes(BytesItem),
    Text(TextItem),
    Tuple(Box<[Self]>),
    /// A date, as its ordinal.
    Date(i64),
    /// A datetime without a time zone, in microseconds.
    DateTime(i64),
    /// A datetime with a time zone, in microseconds of UTC.
    Instant(i64),
    Uuid([u8; 16]),
    /// A bound above every value; no set has it.
    Greatest,
}

/// A number by its value: 1, 1.0 and True are equal.
#[derive(Debug)]
pub(crate) enum Number {
    Int(i64),
    /// A number that does not fit in 64 bits.
    Big(Box<BigInt>),
    /// A number that is not NaN.
    Float(f64),
}

/// A text, read where Python keeps it.
#[derive(Debug)]
pub(crate) struct TextItem(PyBackedStr);

/// Bytes, read where Python keeps them.
#[derive(Debug)]
pub(crate) struct BytesItem(PyBackedBytes);

impl TextItem {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl BytesItem {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

macro_rules! ordered_by {
    ($type:ty, $cmp:expr) => {
        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                let cmp: fn(&Self, &Self) -> Ordering = $cmp;
                cmp(self, other)
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Eq for $type {}
    };
}

ordered_by!(Number, compare_numbers);
ordered_by!(TextItem, |a, b| a.as_bytes().cmp(b.as_bytes()));
ordered_by!(BytesItem, |a, b| a.as_bytes().cmp(b.as_bytes()));

fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => a.cmp(b),
        (Number::Big(a), Number::Big(b)) => a.cmp(b),
        // Neither is NaN.
        (Number::Float(a), Number::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Number::Int(a), Number::Float(b)) => compare_int_float(*a, *b),
        (Number::Big(a), Number::Float(b)) => compare_big_float(a, *b),
        (Number::Big(a), Number::Int(_)) => side(a),
        (a, b) => compare_numbers(b, a).reverse(),
    }
}

/// Returns the side of zero on which a number lies that does not fit in 64 bits.
fn side(big: &BigInt) -> Ordering {
    if big.sign() == Sign::Minus {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

fn compare_int_float(int: i64, float: f64) -> Ordering {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if float >= BEYOND {
        return Ordering::Less;
    }
    if float < -BEYOND {
        return Ordering::Greater;
    }
    let whole = float.trunc();
    let rest = 0.0_f64.partial_cmp(&(float - whole));
    int.cmp(&(whole as i64))
        .then(rest.unwrap_or(Ordering::Equal))
}

fn compare_big_float(big: &BigInt, float: f64) -> Ordering {
    match BigInt::from_f64(float) {
        Some(whole) => big.cmp(&whole),
        None if float > 0.0 => Ordering::Less,
        None => Ordering::Greater,
    }
}

impl Item {
    /// Reads a value; its methods run only when its type can be a subclass.
    ///
    /// Raises `TypeError` for a type that has no place in the order, `ValueError` for NaN and for tuples nested too
    /// deep.
    pub(crate) fn of(obj: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::nested(obj, DEPTH_MAX)
    }

    fn nested(obj: &Bound<'_, PyAny>, depth: usize) -> PyResult<Self> {
        if let Ok(int) = obj.cast_exact::<PyInt>() {
            return Self::int(int);
        }
        if let Ok(text) = obj.cast_exact::<PyString>() {
            return Self::text(text);
        }
        if let Ok(tuple) = obj.cast_exact::<PyTuple>() {
            return Self::tuple(tuple, depth);
        }
        if let Ok(number) = obj.cast_exact::<PyFloat>() {
            return Self::float(number.value());
        }
        if let Ok(bytes) = obj.cast_exact::<PyBytes>() {
            return Ok(Self::bytes(bytes));
        }
        if let Ok(flag) = obj.cast_exact::<PyBool>() {
            return Ok(Self::Number(Number::Int(flag.is_true().into())));
        }
        match Self::of_module(obj)? {
            Some(item) => Ok(item),
            None => Self::of_subclass(obj, depth),
        }
    }

    fn int(int: &Bound<'_, PyInt>) -> PyResult<Self> {
        let number = match int.extract::<i64>() {
            Ok(small) => Number::Int(small),
            Err(_) => Number::Big(Box::new(int.extract()?)),
        };
        Ok(Self::Number(number))
    }

    fn float(float: f64) -> PyResult<Self> {
        if float.is_nan() {
            return Err(PyValueError::new_err("NaN has no place in an order"));
        }
        Ok(Self::Number(Number::Float(float)))
    }

    fn text(text: &Bound<'_, PyString>) -> PyResult<Self> {
        PyBackedStr::try_from(text.clone()).map(|text| Self::Text(TextItem(text)))
    }

    fn bytes(bytes: &Bound<'_, PyBytes>) -> Self {
        Self::Bytes(BytesItem(bytes.clone().into()))
    }

    fn tuple(tuple: &Bound<'_, PyTuple>, depth: usize) -> PyResult<Self> {
        if depth == 0 {
            let text = format!("tuples of a SortedSet nest at most {DEPTH_MAX} deep");
            return Err(PyValueError::new_err(text));
        }
        let mut items = Vec::new();
        // Exactly: a boxed slice of fewer than there is room for moves once more.
        items.try_reserve_exact(tuple.len()).map_err(no_memory)?;
        for item in tuple.iter() {
            push(&mut items, Self::nested(&item, depth - 1)?)?;
        }
        Ok(Self::Tuple(items.into_boxed_slice()))
    }

    /// Reads dates, datetimes and UUIDs.
    fn of_module(obj: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        static DATE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        static DATETIME: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = obj.py();
        let class = obj.get_type();
        if class.is(DATE.import(py, "datetime", "date")?) {
            let ordinal = obj.call_method0("toordinal")?.extract()?;
            return Ok(Some(Self::Date(ordinal)));
        }
        if class.is(DATETIME.import(py, "datetime", "datetime")?) {
            return datetime(obj).map(Some);
        }
        if class.is(UUID.import(py, "uuid", "UUID")?) {
            let int: u128 = obj.getattr("int")?.extract()?;
            return Ok(Some(Self::Uuid(int.to_be_bytes())));
        }
        Ok(None)
    }

    /// Reads an instance of a subclass, such as a named tuple, if the subclass keeps the order of its base.
    fn of_subclass(obj: &Bound<'_, PyAny>, depth: usize) -> PyResult<Self> {
        let py = obj.py();
        let class = obj.get_type();
        let keeps_order_of = |base: &Bound<'_, PyType>| -> PyResult<bool> {
            let is_same = |name| Ok::<_, PyErr>(class.getattr(name)?.is(&base.getattr(name)?));
            Ok(is_same("__lt__")? && is_same("__eq__")?)
        };
        if let Ok(int) = obj.cast::<PyInt>()
            && keeps_order_of(&py.get_type::<PyInt>())?
        {
            return Self::int(int);
        }
        if let Ok(text) = obj.cast::<PyString>()
            && keeps_order_of(&py.get_type::<PyString>())?
        {
            return Self::text(text);
        }
        if let Ok(tuple) = obj.cast::<PyTuple>()
            && keeps_order_of(&py.get_type::<PyTuple>())?
        {
            return Self::tuple(tuple, depth);
        }
        if let Ok(number) = obj.cast::<PyFloat>()
            && keeps_order_of(&py.get_type::<PyFloat>())?
        {
            return Self::float(number.value());
        }
        if let Ok(bytes) = obj.cast::<PyBytes>()
            && keeps_order_of(&py.get_type::<PyBytes>())?
        {
            return Ok(Self::bytes(bytes));
        }
        Err(PyTypeError::new_err(format!(
            "a SortedSet holds int, float, str, bytes, date, datetime, UUID and tuples of these, and \
             subclasses that keep their order, not {}",
            type_name(obj)
        )))
    }
}

/// Reads a datetime as a number of microseconds: of its own clock, or of UTC if it has a time zone.
fn datetime(obj: &Bound<'_, PyAny>) -> PyResult<Item> {
    let part = |name: &str| obj.getattr(name)?.extract::<i64>();
    let days: i64 = obj.call_method0("toordinal")?.extract()?;
    let seconds = part("hour")? * 3_600 + part("minute")? * 60 + part("second")?;
    let micros = (days * 86_400 + seconds) * 1_000_000 + part("microsecond")?;
    let offset = obj.call_method0("utcoffset")?;
    if offset.is_none() {
        return Ok(Item::DateTime(micros));
    }
    let part = |name: &str| offset.getattr(name)?.extract::<i64>();
    let seconds = part("days")? * 86_400 + part("seconds")?;
    let offset = seconds * 1_000_000 + part("microseconds")?;
    Ok(Item::Instant(micros - offset))
}
