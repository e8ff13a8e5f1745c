//! Ids in serde's formats. What is read is checked as the constructors check it.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{OP_MAX, ReplicaId};

impl Serialize for ReplicaId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut id = serializer.serialize_struct("ReplicaId", 3)?;
        id.serialize_field("name", self.name())?;
        id.serialize_field("incarnation", &self.incarnation())?;
        id.serialize_field("salt", &self.salt())?;
        id.end()
    }
}

impl<'de> Deserialize<'de> for ReplicaId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename = "ReplicaId")]
        struct Fields {
            name: String,
            incarnation: u64,
            salt: u32,
        }
        let fields = Fields::deserialize(deserializer)?;
        Self::new(&fields.name, fields.incarnation, fields.salt).map_err(D::Error::custom)
    }
}

/// Reads the number of an operation: below [`OP_MAX`].
pub(super) fn op<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let op = u64::deserialize(deserializer)?;
    if op < OP_MAX {
        Ok(op)
    } else {
        Err(D::Error::custom(format!(
            "operation {op} is not below 2^62"
        )))
    }
}
