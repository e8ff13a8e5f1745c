//! The list below a roster, and what a roster writes to it.

use super::placement::Spot;
use super::sessions::Parts;
use super::{OfflinePolicy, RosterError};
use crate::member_list::{Id, MemberList, RowWrite, SortKey};

/// A list whose rows a roster writes.
pub(super) struct Listing<I> {
    pub(super) list: MemberList<I>,
    pub(super) offline: OfflinePolicy,
    /// The attribute bits that the roster owns.
    pub(super) status_bits: u32,
}

impl<I: Id> Listing<I> {
    /// Writes what a session says of the row of its user. `touch` says that the content of the row
    /// has changed. O(log n).
    pub(super) fn place(&mut self, id: &I, spot: &Spot, touch: bool) -> Result<(), RosterError> {
        let write = RowWrite {
            group: spot.group,
            key: spot.key.as_ref(),
            mask: self.status_bits,
            bits: spot.bits,
            payload: spot.payload.as_ref(),
            touch,
        };
        match self.list.write_row(id, &write)? {
            true => Ok(()),
            false => Err(RosterError::NoPlace),
        }
    }

    /// Raises the revision of a row, if there is one. O(log n).
    pub(super) fn touch(&mut self, id: &I) -> Result<(), RosterError> {
        let touch = true;
        let write = RowWrite {
            touch,
            ..RowWrite::default()
        };
        self.list.write_row(id, &write)?;
        Ok(())
    }

    /// Removes the row of a user who went offline, or moves it to the group of those who are.
    /// O(log n).
    pub(super) fn take_offline(&mut self, id: &I) -> Result<(), RosterError> {
        match self.offline {
            OfflinePolicy::Remove => {
                self.list.remove(id);
            }
            OfflinePolicy::Keep(group) => {
                let write = RowWrite {
                    group: Some(group),
                    mask: self.status_bits,
                    touch: true,
                    ..RowWrite::default()
                };
                self.list.write_row(id, &write)?;
            }
        }
        Ok(())
    }

    /// Returns these parts of a row as they are now. O(log n).
    pub(super) fn spot(&self, id: &I, parts: Parts) -> Option<Spot> {
        let row = self.list.get(id)?;
        let payload = parts.payload().then(|| self.list.payload_of(id));
        Some(Spot {
            group: parts.group().then_some(row.group),
            key: parts.key().then(|| SortKey::cut(row.key)),
            bits: row.attrs & self.status_bits,
            payload: payload.flatten(),
        })
    }
}
