//! The list or table below a roster, and what a roster writes to it.

use super::placement::{Placement, RowKeys, Spot};
use super::sessions::Parts;
use super::target::RosterTarget;
use super::{OfflinePolicy, RosterError, RosterOptions};
use crate::member_list::{Id, RowWrite};

/// A list or table whose rows a roster writes.
pub(super) struct Listing<L> {
    pub(super) target: L,
    offline: OfflinePolicy,
    /// The attribute bits that the roster owns.
    status_bits: u32,
}

impl<L> Listing<L> {
    pub(super) const fn new(target: L, options: &RosterOptions) -> Self {
        Self {
            target,
            offline: options.offline,
            status_bits: options.status_bits,
        }
    }

    /// Checks that a row can be as a placement says, whatever else is in the list.
    pub(super) fn check<I>(&self, placement: &Placement) -> Result<(), RosterError>
    where
        L: RosterTarget<I>,
    {
        let Spot {
            group, keys, bits, ..
        } = &placement.spot;
        let bits = *bits;
        let status_bits = self.status_bits;
        if bits & !status_bits != 0 {
            return Err(RosterError::BitsNotOwned { bits, status_bits });
        }
        if let Some(group) = group {
            self.target.check_group(*group)?;
        }
        let got = keys.as_slice().len();
        let columns = self.target.key_columns();
        if *keys != RowKeys::LeftOut && got != columns {
            return Err(RosterError::WrongKeys { got, columns });
        }
        Ok(())
    }

    /// Writes what a session says of the row of its user. `touch` says that the content of the row
    /// has changed. O(log n).
    pub(super) fn place<I>(&mut self, id: &I, spot: &Spot, touch: bool) -> Result<(), RosterError>
    where
        L: RosterTarget<I>,
    {
        let write = RowWrite {
            group: spot.group,
            keys: spot.keys.as_slice(),
            mask: self.status_bits,
            bits: spot.bits,
            payload: spot.payload.as_ref(),
            touch,
        };
        match self.target.write_row(id, &write)? {
            true => Ok(()),
            false => Err(RosterError::NoPlace),
        }
    }

    /// Raises the revision of a row, if there is one. O(log n).
    pub(super) fn touch<I>(&mut self, id: &I) -> Result<(), RosterError>
    where
        L: RosterTarget<I>,
    {
        let touch = true;
        let write = RowWrite {
            touch,
            ..RowWrite::default()
        };
        self.target.write_row(id, &write)?;
        Ok(())
    }

    /// Removes the row of a user who went offline, or takes the status from it. O(log n).
    pub(super) fn take_offline<I>(&mut self, id: &I) -> Result<(), RosterError>
    where
        L: RosterTarget<I>,
    {
        let group = match self.offline {
            OfflinePolicy::Remove => {
                self.target.remove_row(id);
                return Ok(());
            }
            OfflinePolicy::Keep(group) => Some(group),
            OfflinePolicy::Stay => None,
        };
        let write = RowWrite {
            group,
            mask: self.status_bits,
            touch: true,
            ..RowWrite::default()
        };
        self.target.write_row(id, &write)?;
        Ok(())
    }

    /// Returns these parts of a row as they are now. O(log n).
    pub(super) fn spot<I: Id>(&self, id: &I, parts: Parts) -> Option<Spot>
    where
        L: RosterTarget<I>,
    {
        let row = self.target.target_row(id)?;
        Some(Spot {
            group: row.group.filter(|_| parts.group()),
            keys: match parts.key() {
                true => row.keys.into_iter().collect(),
                false => RowKeys::LeftOut,
            },
            bits: row.attrs & self.status_bits,
            payload: row.payload.filter(|_| parts.payload()),
        })
    }
}
