//! The Beat of a replica, toggles of its index, and signs.

use bytes::Bytes;

use super::BEAT_TOGGLES_MAX;
use super::list::Input;
use super::values::{fixed_u64, op};
use crate::codec::{DecodeError, Reader, Writer};

/// The longest topic, key and payload of a sign.
pub(crate) const SIGN_FIELD_MAX: usize = 256;

/// The constant part of a replica's beat: that it lives, and checks of what others hold of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) heartbeat: u64,
    /// Counts Beats, from 1.
    pub(crate) seq: u64,
    /// The version of the index.
    pub(crate) version: u64,
    /// The hash of the set of occupied partitions.
    pub(crate) set_hash: u64,
    /// The hash of all positions.
    pub(crate) sum: u64,
    /// The last toggles of the index, up to `version`.
    pub(crate) toggles: Vec<u16>,
}

/// A short-lived sign such as "is typing".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sign {
    pub(crate) seq: u64,
    pub(crate) topic: Bytes,
    pub(crate) key: Bytes,
    pub(crate) kind: u8,
    pub(crate) ttl_ms: u32,
    pub(crate) payload: Bytes,
}

impl Beat {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u64(self.heartbeat);
        writer.u64(self.seq);
        writer.u64(self.version);
        writer.raw(&self.set_hash.to_le_bytes());
        writer.raw(&self.sum.to_le_bytes());
        write_toggles(writer, &self.toggles);
        // Flags, of which none is in use.
        writer.u8(0);
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let reader = &mut input.reader;
        let at = reader.offset();
        let beat = Self {
            heartbeat: op(reader)?,
            seq: op(reader)?,
            version: op(reader)?,
            set_hash: fixed_u64(reader)?,
            sum: fixed_u64(reader)?,
            toggles: read_toggles(input, BEAT_TOGGLES_MAX)?,
        };
        input.reader.u8()?;
        if beat.seq == 0 || beat.toggles.len() as u64 > beat.version {
            return Err(Reader::invalid(at, "a Beat does not fit its index"));
        }
        Ok(beat)
    }
}

impl Sign {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u64(self.seq);
        writer.bytes(&self.topic);
        writer.bytes(&self.key);
        writer.u8(self.kind);
        writer.u64(u64::from(self.ttl_ms));
        writer.bytes(&self.payload);
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let field = |input: &mut Input<'_>| {
            let len = input.reader.bytes(SIGN_FIELD_MAX)?.len();
            let end = input.reader.offset();
            Ok::<_, DecodeError>(input.bytes.slice(end - len..end))
        };
        let seq = input.reader.u64()?;
        let at = input.reader.offset();
        let topic = field(input)?;
        if std::str::from_utf8(&topic).is_err() {
            return Err(Reader::invalid(at, "a topic is not UTF-8"));
        }
        Ok(Self {
            seq,
            topic,
            key: field(input)?,
            kind: input.reader.u8()?,
            ttl_ms: input.reader.u32()?,
            payload: field(input)?,
        })
    }
}

pub(super) fn write_toggles(writer: &mut Writer, toggles: &[u16]) {
    writer.u64(toggles.len() as u64);
    toggles.iter().for_each(|p| writer.u64(u64::from(*p)));
}

pub(super) fn read_toggles(input: &mut Input<'_>, len_max: usize) -> Result<Vec<u16>, DecodeError> {
    let at = input.reader.offset();
    let len = input.reader.u64()?;
    if len > len_max as u64 || len > input.reader.remaining() as u64 {
        return Err(Reader::invalid(at, "there are too many toggles"));
    }
    let mut toggles = Vec::with_capacity(len as usize);
    for _ in 0..len {
        toggles.push(input.partition()?);
    }
    Ok(toggles)
}
