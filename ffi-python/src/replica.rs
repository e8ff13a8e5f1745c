//! `Replica`: one life of one node.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::SystemTime;

use headcount::ReplicaId;
use pyo3::prelude::*;

use crate::error::raise;

/// One life of one node: its name, an incarnation that grows with each start, a random salt.
#[pyclass(frozen, eq, ord, module = "headcount")]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Replica(pub(crate) ReplicaId);

#[pymethods]
impl Replica {
    #[new]
    fn new(name: &str, incarnation: u64, salt: u32) -> PyResult<Self> {
        ReplicaId::new(name, incarnation, salt)
            .map(Self)
            .map_err(raise)
    }

    /// The name of the node, the same over restarts.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// The life of the node, larger after each restart.
    #[getter]
    fn incarnation(&self) -> u64 {
        self.0.incarnation()
    }

    /// A random number that distinguishes two nodes that started in the same microsecond.
    #[getter]
    fn salt(&self) -> u32 {
        self.0.salt()
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<Replica {}>", self.0)
    }
}

/// Returns an id for a node that starts now; the caller may give its own incarnation and salt. Raises `OSError`
/// when the operating system has no random number.
pub(crate) fn new_id(
    name: &str,
    incarnation: Option<u64>,
    salt: Option<u32>,
) -> PyResult<ReplicaId> {
    let id = ReplicaId::generate(name, SystemTime::now()).map_err(raise)?;
    let incarnation = incarnation.unwrap_or(id.incarnation());
    let salt = salt.unwrap_or(id.salt());
    ReplicaId::new(name, incarnation, salt).map_err(raise)
}
