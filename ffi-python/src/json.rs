//! JSON from Python objects and back, without a call into Python for the usual types.

use jiter::{PythonParse, StringCacheMode};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::sync::PyOnceLock;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// The longest text that is made here. Python makes longer ones, because it can run out of memory in peace.
const OWN_MAX: usize = 256 << 10;
/// The deepest nesting that is encoded here.
const DEPTH_MAX: usize = 64;

/// A JSON text, from here or from Python.
#[derive(Debug)]
pub(crate) enum Json {
    Own(Vec<u8>),
    Python(PyBackedStr),
}

impl Json {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Own(json) => json,
            Self::Python(json) => json.as_bytes(),
        }
    }
}

/// Encodes as `json.dumps` does, without spaces and with text as it is; what it refuses raises.
pub(crate) fn to_json(obj: &Bound<'_, PyAny>) -> PyResult<Json> {
    match plain_to_json(obj)? {
        Some(json) => Ok(Json::Own(json)),
        None => by_python(obj).map(Json::Python),
    }
}

/// Encodes an object made of the plain types of Python; returns `None` for any other object.
pub(crate) fn plain_to_json(obj: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    let mut out = Vec::with_capacity(64);
    Ok(push(obj, &mut out, DEPTH_MAX)?.then_some(out))
}

fn by_python(obj: &Bound<'_, PyAny>) -> PyResult<PyBackedStr> {
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = obj.py();
    let encode = ENCODE.get_or_try_init(py, || {
        let options = PyDict::new(py);
        options.set_item("separators", (",", ":"))?;
        options.set_item("ensure_ascii", false)?;
        options.set_item("allow_nan", false)?;
        let encoder = py
            .import("json")?
            .call_method("JSONEncoder", (), Some(&options))?;
        encoder.getattr("encode").map(Bound::unbind)
    })?;
    encode.bind(py).call1((obj,))?.extract()
}

/// Appends a plain object, and returns true; false for an object that only Python can encode.
fn push(obj: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<bool> {
    if depth == 0 || out.len() > OWN_MAX {
        return Ok(false);
    }
    if let Ok(text) = obj.cast_exact::<PyString>() {
        push_text(text.to_str()?, out);
    } else if let Ok(dict) = obj.cast_exact::<PyDict>() {
        return push_dict(dict, out, depth);
    } else if obj.is_none() {
        out.extend_from_slice(b"null");
    } else if let Ok(flag) = obj.cast_exact::<PyBool>() {
        out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
    } else if obj.cast_exact::<PyInt>().is_ok() {
        let Ok(number) = obj.extract::<i64>() else {
            return Ok(false);
        };
        out.extend_from_slice(number.to_string().as_bytes());
    } else if let Ok(number) = obj.cast_exact::<PyFloat>() {
        let number = number.value();
        if !number.is_finite() {
            return Ok(false);
        }
        out.extend_from_slice(format!("{number:?}").as_bytes());
    } else if let Ok(list) = obj.cast_exact::<PyList>() {
        return push_items(list.iter(), out, depth);
    } else if let Ok(tuple) = obj.cast_exact::<PyTuple>() {
        return push_items(tuple.iter(), out, depth);
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn push_items<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    out: &mut Vec<u8>,
    depth: usize,
) -> PyResult<bool> {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if !push(&item, out, depth - 1)? {
            return Ok(false);
        }
    }
    out.push(b']');
    Ok(true)
}

fn push_dict(dict: &Bound<'_, PyDict>, out: &mut Vec<u8>, depth: usize) -> PyResult<bool> {
    // No Python code runs between two items, so only another thread could change the dict.
    with_critical_section(dict, || {
        out.push(b'{');
        for (index, (name, value)) in dict.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let Ok(name) = name.cast_exact::<PyString>() else {
                return Ok(false);
            };
            push_text(name.to_str()?, out);
            out.push(b':');
            if !push(&value, out, depth - 1)? {
                return Ok(false);
            }
        }
        out.push(b'}');
        Ok(true)
    })
}

fn push_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Decodes as `json.loads` does.
pub(crate) fn from_json<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let parse = PythonParse {
        allow_inf_nan: true,
        cache_mode: StringCacheMode::Keys,
        ..PythonParse::default()
    };
    match parse.python_parse(py, json) {
        Ok(value) => Ok(value),
        // Python knows more encodings, nests deeper, and its errors are what callers expect.
        Err(_) => py.import("json")?.call_method1("loads", (json,)),
    }
}
