//! The rows of a Digest.

use super::message::{Result, SLOTS, put_id, read_id, read_tick};
use crate::codec::{Reader, Writer};
use crate::id::ReplicaId;

/// One line of a Digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: ReplicaId,
    pub(crate) heartbeat: u64,
    pub(crate) age_ms: u32,
    pub(crate) down: bool,
    pub(crate) retired: bool,
    /// Slots whose content the sender does not trust.
    pub(crate) doubt: u32,
    /// Slots listed.
    pub(crate) mask: u32,
    pub(crate) slots: [(u64, u64); SLOTS],
}

impl Row {
    pub(crate) fn bare(id: ReplicaId, heartbeat: u64, age_ms: u32) -> Self {
        let down = false;
        let retired = false;
        let doubt = 0;
        let mask = 0;
        Self {
            id,
            heartbeat,
            age_ms,
            down,
            retired,
            doubt,
            mask,
            slots: [(0, 0); SLOTS],
        }
    }

    /// The slots listed: (slot, clock, H).
    pub(crate) fn listed(&self) -> impl Iterator<Item = (usize, u64, u64)> + '_ {
        bits(self.mask).map(|slot| (slot, self.slots[slot].0, self.slots[slot].1))
    }

    pub(crate) fn encode(&self, w: &mut Writer) {
        put_id(w, &self.id);
        w.u64(self.heartbeat);
        w.u64(u64::from(self.age_ms));
        w.u8(u8::from(self.down) | u8::from(self.retired) << 1 | u8::from(self.doubt != 0) << 2);
        w.u64(u64::from(self.mask));
        if self.doubt != 0 {
            w.u64(u64::from(self.doubt));
        }
        for (_, clock, hash) in self.listed() {
            w.u64(clock);
            w.u64(hash);
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self> {
        let mut row = Self::bare(read_id(r)?, read_tick(r)?, r.u32()?);
        let flags = r.u8()?;
        row.mask = r.u32()?;
        row.doubt = if flags & 4 != 0 { r.u32()? } else { 0 };
        row.down = flags & 1 != 0;
        row.retired = flags & 2 != 0;
        for slot in bits(row.mask) {
            row.slots[slot] = (read_tick(r)?, r.u64()?);
        }
        Ok(row)
    }
}

/// Rows of a Digest one by one, so that a frame never costs more memory than itself.
pub(crate) struct Rows<'a>(Reader<'a>);

impl<'a> Rows<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Reader::new(bytes))
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.0.remaining() > 0).then(|| Row::decode(&mut self.0))
    }
}

/// The numbers of the bits set in `mask`, ascending.
pub(crate) fn bits(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let bit = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            bit
        })
    })
}
