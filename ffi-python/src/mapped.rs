//! The results of the mapping of a roster.

use bytes::Bytes;
use headcount::member_list::BodyFormat;
use headcount::{ListError, Placement, Status};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::batch::payload;
use crate::error::raise;
use crate::id::{Key, PyId};
use crate::list_or_roster::Rostered;
use crate::table::batch::RowForm;

/// The result of a mapping, before its group is looked up.
pub(crate) struct Mapped {
    /// Not an object of Python: thousands of them, let go of without the interpreter, would wait for
    /// it.
    group: Option<Box<str>>,
    placement: Placement,
}

impl Mapped {
    /// Reads what a mapping of a list with payloads of this format gave.
    pub(crate) fn in_list(
        place: &Bound<'_, PyAny>,
        status: Status,
        format: Option<BodyFormat>,
    ) -> PyResult<Self> {
        let tuple = place.cast::<PyTuple>().ok();
        let Some(tuple) = tuple.filter(|tuple| matches!(tuple.len(), 2..=4)) else {
            let text = "a mapping gives a tuple (group, key), (group, key, attrs) or \
                        (group, key, attrs, payload)";
            return Err(PyTypeError::new_err(text));
        };
        let rest = |at: usize| (at < tuple.len()).then(|| tuple.get_item(at)).transpose();
        let group = tuple.get_item(0)?.extract::<&str>()?.into();
        let key = tuple.get_item(1)?.extract::<Key>()?.0;
        let bits = rest(2)?.map_or(Ok(0), |attrs| attrs.extract())?;
        let payload = rest(3)?.map(|it| payload(&it, format)).transpose()?;
        Ok(Self {
            group: Some(group),
            placement: with_payload(Placement::new(status).key(key).bits(bits), payload),
        })
    }

    /// Reads what a mapping of a table gave.
    pub(crate) fn in_table(
        place: &Bound<'_, PyAny>,
        status: Status,
        form: RowForm,
    ) -> PyResult<Self> {
        let tuple = place.cast::<PyTuple>().map_err(|_| {
            let text = "a mapping gives a tuple of the keys, (key,), or with attributes (key, attrs), \
                        or with a payload (key, attrs, payload)";
            PyTypeError::new_err(text)
        })?;
        let row = form.read(tuple, 0, 2).map_err(raise)??;
        let placement = Placement::new(status).keys(row.keys);
        let placement = placement.bits(row.attrs.low()?);
        Ok(Self {
            group: None,
            placement: with_payload(placement, form.payload(row.payload)?),
        })
    }

    /// Returns the placement, with its group.
    pub(crate) fn resolve<I: PyId, L: Rostered<I>>(
        self,
        target: &L,
    ) -> Result<Placement, ListError> {
        Ok(match self.group {
            Some(name) => self.placement.group(target.group_for_rows(&name)?),
            None => self.placement,
        })
    }
}

fn with_payload(placement: Placement, payload: Option<Bytes>) -> Placement {
    match payload {
        Some(payload) => placement.payload(payload),
        None => placement,
    }
}
