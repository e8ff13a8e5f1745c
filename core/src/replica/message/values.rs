//! Values that several messages have.

use crate::codec::{DecodeError, DecodeErrorKind, Reader, Writer};
use crate::id::{OP_MAX, ReplicaId};

/// Reads a clock, a life, a version or a heartbeat.
pub(super) fn op(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let at = reader.offset();
    let value = reader.u64()?;
    if value >= OP_MAX {
        return Err(DecodeError::new(at, DecodeErrorKind::BadInteger));
    }
    Ok(value)
}

/// Reads the number of a life, which is not 0.
pub(super) fn life(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let at = reader.offset();
    match op(reader)? {
        0 => Err(Reader::invalid(at, "lives are numbered from 1")),
        life => Ok(life),
    }
}

/// Reads the 4 bytes of a nonce.
pub(super) fn fixed_u32(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(reader.raw(4)?);
    Ok(u32::from_le_bytes(bytes))
}

/// Reads the 8 bytes of a hash.
pub(super) fn fixed_u64(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(reader.raw(8)?);
    Ok(u64::from_le_bytes(bytes))
}

pub(super) fn write_id(writer: &mut Writer, id: &ReplicaId) {
    writer.identity(id.name(), id.incarnation(), id.salt());
}

pub(super) fn read_id(reader: &mut Reader<'_>) -> Result<ReplicaId, DecodeError> {
    let at = reader.offset();
    let (name, incarnation, salt) = reader.identity()?;
    let id = ReplicaId::new(name, incarnation, salt);
    id.map_err(|_| Reader::invalid(at, "not a replica id"))
}
