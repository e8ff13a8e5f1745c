//! Short names of replicas in frames.

use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::ReplicaId;

/// The hash of a replica's id, which frames carry instead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Handle(pub(crate) u64);

impl Handle {
    /// Returns the handle of an id: the 64-bit XXH3 of its encoded form. O(length of the name).
    pub(crate) fn of(id: &ReplicaId) -> Self {
        let mut writer = Writer::with_capacity(96);
        writer.identity(id.name(), id.incarnation(), id.salt());
        Self(xxh3_64(writer.as_slice()))
    }

    pub(super) fn write(self, writer: &mut Writer) {
        writer.raw(&self.0.to_le_bytes());
    }

    /// # Errors
    /// If fewer than 8 bytes are left.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(reader.raw(8)?);
        Ok(Self(u64::from_le_bytes(bytes)))
    }
}
