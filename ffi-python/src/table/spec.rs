//! `Clause` and `ListSpec`: which members a list of a table has.

use std::sync::Arc;

use headcount as core;
use headcount::member_list::{ATTRS_MAX, Attrs, CLAUSES_MAX, GROUPS_MAX, PERSONAL_MAX, TableError};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyFrozenSet;

use crate::bounds::{collect, text};
use crate::convert::{repr, type_name};
use crate::error::raise;
use crate::id::{AnyId, PyId};

/// A set of attributes: any iterable of their numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bits(pub(crate) Attrs);

impl<'py> FromPyObject<'_, 'py> for Bits {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let bits = collect(&obj, "attributes", ATTRS_MAX, |bit| bit.extract::<u16>())?;
        Attrs::of(bits).map(Self).map_err(raise)
    }
}

impl Bits {
    /// Returns the attributes as bits; `LimitError` if one is not among the first 32.
    pub(crate) fn low(&self) -> PyResult<u32> {
        match self.0.bits().find(|bit| *bit >= 32) {
            Some(bit) => Err(raise(TableError::AttrTooHigh { bit, max: 31 })),
            None => Ok(self.0.low()),
        }
    }
}

/// Returns the numbers of attributes.
pub(crate) fn numbers<'py>(py: Python<'py>, attrs: &Attrs) -> PyResult<Bound<'py, PyFrozenSet>> {
    PyFrozenSet::new(py, attrs.bits())
}

/// A condition on the attributes of a member: it has the attributes `all`, one of `any` and none of
/// `none`. A part that is left out asks for nothing.
///
/// >>> Clause(any=[1, 2], none=[9])
/// Clause(any=[1, 2], none=[9])
#[pyclass(frozen, eq, hash, from_py_object, module = "headcount")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Clause {
    all: Attrs,
    any: Attrs,
    none: Attrs,
}

#[pymethods]
impl Clause {
    #[new]
    #[pyo3(signature = (*, all = Bits::default(), any = Bits::default(), none = Bits::default()))]
    fn new(all: Bits, any: Bits, none: Bits) -> Self {
        Self {
            all: all.0,
            any: any.0,
            none: none.0,
        }
    }

    /// The attributes that a member needs all of.
    #[getter]
    fn all<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyFrozenSet>> {
        numbers(py, &self.all)
    }

    /// The attributes of which a member needs one.
    #[getter]
    fn any<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyFrozenSet>> {
        numbers(py, &self.any)
    }

    /// The attributes of which a member may have none.
    #[getter]
    fn none<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyFrozenSet>> {
        numbers(py, &self.none)
    }

    /// Return whether the condition holds for these attributes. O(1).
    fn holds(&self, attrs: Bits) -> bool {
        self.core().holds(&attrs.0)
    }

    fn __repr__(&self) -> String {
        let parts = [("all", self.all), ("any", self.any), ("none", self.none)];
        let parts = parts.iter().filter(|(_, attrs)| !attrs.is_empty());
        let parts = parts.map(|(name, attrs)| {
            let bits: Vec<u16> = attrs.bits().collect();
            format!("{name}={bits:?}")
        });
        format!("Clause({})", parts.collect::<Vec<_>>().join(", "))
    }
}

impl Clause {
    const fn core(&self) -> core::member_list::Clause {
        core::member_list::Clause::new()
            .all(self.all)
            .any(self.any)
            .none(self.none)
    }
}

/// The definition of a list of a `MemberTable`: it admits members by their attributes, sorts them
/// by one of their keys, and puts each into the group of the first clause that holds for it.
///
/// `admit` are up to 16 clauses of which one must hold; without it all members are in the list.
/// `always` and `never` are ids, together up to 4,096, that are in the list, or not, whatever their
/// attributes. `groups` are pairs of a clause and the name of a group; groups are in the order in
/// which they are named first, and `default_group` comes last unless a clause names it too. Viewers
/// see the `name` of the list in every bundle. `sort_by` is the key column that sorts members (0),
/// `descending` turns the order within each group round (false), and `headers` says whether each
/// group with members has a header row (true).
///
/// >>> online = Clause(all=[0])
/// >>> ListSpec("staff room", "offline", admit=[Clause(any=[3])], groups=[(online, "online")])
/// ListSpec('staff room', 'offline', admit=[Clause(any=[3])], groups=[(Clause(all=[0]), 'online')])
#[pyclass(frozen, eq, generic, module = "headcount")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListSpec {
    name: Arc<str>,
    default_group: Arc<str>,
    #[pyo3(get)]
    /// The key column that sorts the members of each group, from 0. Equal keys are sorted by id.
    sort_by: usize,
    #[pyo3(get)]
    /// True if members are shown from the last to the first, equal keys included.
    descending: bool,
    #[pyo3(get)]
    /// True if each group with members has a header row.
    headers: bool,
    #[pyo3(get)]
    /// The clauses of which one must hold for a member of the list; `None` for a list of all.
    admit: Option<Vec<Clause>>,
    always: Vec<AnyId>,
    never: Vec<AnyId>,
    groups: Vec<(Clause, Arc<str>)>,
}

#[pymethods]
impl ListSpec {
    #[new]
    #[pyo3(signature = (
        name, default_group, *, sort_by = 0, descending = false, headers = true, admit = None,
        always = None, never = None, groups = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        name: &str,
        default_group: &str,
        sort_by: usize,
        descending: bool,
        headers: bool,
        admit: Option<&Bound<'_, PyAny>>,
        always: Option<&Bound<'_, PyAny>>,
        never: Option<&Bound<'_, PyAny>>,
        groups: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let admit = admit.map(|admit| collect(admit, "admit", CLAUSES_MAX, clause));
        let ids = |ids: Option<&Bound<'_, PyAny>>, name| match ids {
            Some(ids) => collect(ids, name, PERSONAL_MAX, |id| AnyId::from_py(id)),
            None => Ok(Vec::new()),
        };
        let groups = groups.map(|groups| {
            collect(groups, "groups", GROUPS_MAX, |pair| {
                let (condition, group): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
                Ok((clause(&condition)?, group.extract::<&str>()?.into()))
            })
        });
        Ok(Self {
            name: name.into(),
            default_group: default_group.into(),
            sort_by,
            descending,
            headers,
            admit: admit.transpose()?,
            always: ids(always, "always")?,
            never: ids(never, "never")?,
            groups: groups.transpose()?.unwrap_or_default(),
        })
    }

    /// The name of the list, 1 to 64 bytes.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The group of members that no clause puts anywhere.
    #[getter]
    fn default_group(&self) -> &str {
        &self.default_group
    }

    /// The ids of members that are in the list whatever their attributes.
    #[getter]
    fn always(&self) -> Vec<&AnyId> {
        self.always.iter().collect()
    }

    /// The ids of members that are not in the list whatever their attributes.
    #[getter]
    fn never(&self) -> Vec<&AnyId> {
        self.never.iter().collect()
    }

    /// The clauses that put members into groups, and the names of these groups.
    #[getter]
    fn groups(&self) -> Vec<(Clause, &str)> {
        let groups = self.groups.iter();
        groups.map(|(clause, group)| (*clause, &**group)).collect()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let quoted = |name: &str| repr(text(py, name)?.as_any());
        let mut parts = vec![quoted(&self.name)?, quoted(&self.default_group)?];
        if self.sort_by != 0 {
            parts.push(format!("sort_by={}", self.sort_by));
        }
        if self.descending {
            parts.push("descending=True".to_owned());
        }
        if !self.headers {
            parts.push("headers=False".to_owned());
        }
        if let Some(admit) = &self.admit {
            let clauses: Vec<String> = admit.iter().map(Clause::__repr__).collect();
            parts.push(format!("admit=[{}]", clauses.join(", ")));
        }
        for (name, ids) in [("always", &self.always), ("never", &self.never)] {
            if !ids.is_empty() {
                parts.push(format!("{name}=<{} ids>", ids.len()));
            }
        }
        if !self.groups.is_empty() {
            let groups = self.groups.iter();
            let groups = groups.map(|(clause, group)| {
                let group = quoted(group)?;
                Ok(format!("({}, {group})", clause.__repr__()))
            });
            let groups = groups.collect::<PyResult<Vec<String>>>()?;
            parts.push(format!("groups=[{}]", groups.join(", ")));
        }
        Ok(format!("ListSpec({})", parts.join(", ")))
    }
}

impl ListSpec {
    /// Makes the spec of a list of a table with ids of one kind.
    pub(crate) fn core<I: PyId>(&self) -> PyResult<core::member_list::ListSpec<I>> {
        let ids = |ids: &[AnyId]| ids.iter().map(I::from_any).collect::<PyResult<Vec<I>>>();
        let mut spec = core::member_list::ListSpec::new(&self.name, &self.default_group)
            .sort_by(self.sort_by)
            .descending(self.descending)
            .headers(self.headers)
            .always(ids(&self.always)?)
            .never(ids(&self.never)?);
        if let Some(admit) = &self.admit {
            spec = spec.admit(admit.iter().map(Clause::core));
        }
        let groups = self.groups.iter();
        Ok(groups.fold(spec, |spec, (clause, group)| {
            spec.group(clause.core(), group)
        }))
    }
}

fn clause(obj: &Bound<'_, PyAny>) -> PyResult<Clause> {
    let clause = obj.cast::<Clause>().map_err(|_| {
        PyTypeError::new_err(format!("a Clause is required, not {}", type_name(obj)))
    })?;
    Ok(*clause.get())
}
