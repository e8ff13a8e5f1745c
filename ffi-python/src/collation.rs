//! `Collation`: sort keys in the order of a language.

use headcount::member_list::Collation as Order;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bounds::bytes;
use crate::convert::repr;
use crate::error::raise;

/// The order of names in a language, by the Unicode collation algorithm with the data of CLDR.
///
/// It makes sort keys, which any call that takes a key takes instead of a name. Upper and lower case
/// sort together; accents decide between names that are equal without them. Keys of different
/// collations, or of names without one, must not meet in one group.
///
/// `locale` is one such as "sv" or "de-u-co-phonebk"; those without rules of their own have the
/// order of the root. Raises `ListError` when it is no locale.
///
/// >>> swedish, german = Collation("sv"), Collation("de")
/// >>> sorted(["Zoë", "Östen", "anna"], key=swedish.key)
/// ['anna', 'Zoë', 'Östen']
/// >>> sorted(["Zoë", "Östen", "anna"], key=german.key)
/// ['anna', 'Östen', 'Zoë']
/// >>> members = MemberList(int, groups=["online"])
/// >>> _ = members.upsert(7, "online", german.key("Mörk"))
/// >>> members.find_prefix(german.prefix("mor"))
/// [('online', 1)]
#[pyclass(frozen, module = "headcount")]
#[derive(Debug)]
pub(crate) struct Collation {
    order: Order,
    locale: String,
}

#[pymethods]
impl Collation {
    #[new]
    fn new(locale: &str) -> PyResult<Self> {
        Ok(Self {
            order: Order::new(locale).map_err(raise)?,
            locale: locale.to_owned(),
        })
    }

    /// The locale.
    #[getter]
    fn locale(&self) -> &str {
        &self.locale
    }

    /// Return the sort key of a name, at most 64 bytes. To find names by a prefix, use `prefix`.
    /// O(length).
    fn key<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        bytes(py, self.order.key(name).as_bytes())
    }

    /// Return the prefix by which `find_prefix`, `search_prefix` and searches find the names that
    /// begin with a text. Case does not count, nor do accents, except where the language has a
    /// letter of its own for them. A vowel that is written before the consonant by which it sorts,
    /// as in Thai and Lao, does not count at the end of a text. O(length).
    fn prefix<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyBytes>> {
        bytes(py, self.order.prefix(text).as_bytes())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let locale = repr((&self.locale).into_pyobject(py)?.as_any())?;
        Ok(format!("Collation({locale})"))
    }
}
