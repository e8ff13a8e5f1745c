//! The first bytes of the content: what is saved.

use std::io::Read;

use crate::member_list::Id;
use crate::member_list::limits::{KEY_COLUMNS_MAX, MEMBERS_MAX};
use crate::member_list::load_error::LoadError;
use crate::member_list::saves::blocks::{BlockReader, CONTENT_AT, is_saved};

/// The slots of `MEMBERS_MAX` members and the free ones between them are fewer.
const SLOTS_MAX: u64 = 1 << 31;

/// The ids of a saved table or list, which tell the type to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SavedIds {
    /// `u64`, or [`IntId`](crate::member_list::IntId) of which none is below 0.
    U64,
    /// `u128`, UUIDs.
    U128,
    /// [`TextId`](crate::member_list::TextId).
    Text,
    /// [`IntId`](crate::member_list::IntId) of which some are below 0.
    Int,
}

impl SavedIds {
    /// The bytes that [`of`](Self::of) needs.
    pub const BYTES: usize = IDS_AT + 1;

    /// Reads the ids from the beginning of a file; `None` if it is no saved table or list, or too
    /// short. The rest of the file may still be refused.
    ///
    /// ```
    /// use headcount::member_list::{MemberTable, SavedIds, TableOptions};
    ///
    /// let mut file = Vec::new();
    /// MemberTable::<u128>::new(TableOptions::default())?.save(&mut file)?;
    /// assert_eq!(SavedIds::of(&file), Some(SavedIds::U128));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of(start: &[u8]) -> Option<Self> {
        let ids = start.get(IDS_AT).filter(|_| is_saved(start))?;
        match *ids {
            0 => Some(Self::U64),
            1 => Some(Self::U128),
            2 => Some(Self::Text),
            3 => Some(Self::Int),
            _ => None,
        }
    }
}

/// The first content is the kind, the second one the ids.
const IDS_AT: usize = CONTENT_AT + 1;

/// The kind of thing that a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Table = 0,
    List = 1,
}

/// Describes what is saved, and how much of it there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// Each id has its sign after it.
    pub(crate) signed: bool,
    pub(crate) columns: usize,
    pub(crate) payloads: bool,
    /// Of lists.
    pub(crate) headers: bool,
    /// Of tables.
    pub(crate) shown: u32,
    /// The revision of members that are new.
    pub(crate) floor: u32,
    /// The next epoch of a table; the epoch of a list.
    pub(crate) epoch: u64,
    pub(crate) slots: u64,
    pub(crate) members: u64,
}

const PAYLOADS: u8 = 1;
const HEADERS: u8 = 2;

impl Head {
    pub(crate) fn save<I: Id>(&self, out: &mut Vec<u8>) {
        let payloads = if self.payloads { PAYLOADS } else { 0 };
        let headers = if self.headers { HEADERS } else { 0 };
        out.push(self.kind as u8);
        out.push(I::SIGNED_KIND.filter(|_| self.signed).unwrap_or(I::KIND));
        out.push(self.columns as u8);
        out.push(payloads | headers);
        out.extend_from_slice(&self.shown.to_le_bytes());
        out.extend_from_slice(&self.floor.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.slots.to_le_bytes());
        out.extend_from_slice(&self.members.to_le_bytes());
    }

    /// Reads what a file has, which must be of this kind.
    pub(crate) fn load<I: Id>(
        kind: Kind,
        reader: &mut BlockReader<impl Read>,
    ) -> Result<Self, LoadError> {
        let found = reader.u8()?;
        let ids = reader.u8()?;
        let signed = I::SIGNED_KIND == Some(ids);
        let expected = name_of(kind as u8, if signed { ids } else { I::KIND });
        let found = name_of(found, ids);
        match (expected, found) {
            (Some(expected), Some(found)) if expected != found => {
                return Err(LoadError::OtherKind { expected, found });
            }
            (_, None) => return Err(reader.invalid("it is neither a table nor a list")),
            _ => {}
        }
        if signed != reader.is_signed() {
            return Err(reader.invalid("files of this version have other ids"));
        }
        let columns = usize::from(reader.u8()?);
        if !(1..=KEY_COLUMNS_MAX).contains(&columns) || kind == Kind::List && columns > 1 {
            return Err(reader.invalid("the number of key columns is wrong"));
        }
        let flags = reader.u8()?;
        if flags & !(PAYLOADS | HEADERS) != 0 {
            return Err(reader.invalid("there are flags that no version knows"));
        }
        let head = Self {
            kind,
            signed,
            columns,
            payloads: flags & PAYLOADS != 0,
            headers: flags & HEADERS != 0,
            shown: reader.u32()?,
            floor: reader.u32()?,
            epoch: reader.u64()?,
            slots: reader.u64()?,
            members: reader.u64()?,
        };
        let offset = reader.offset();
        let check = |what, got, max| match got > max {
            true => Err(LoadError::OverLimit {
                what,
                got,
                max,
                offset,
            }),
            false => Ok(()),
        };
        check("members", head.members, MEMBERS_MAX as u64)?;
        check("places for members", head.slots, SLOTS_MAX)?;
        Ok(head)
    }
}

fn name_of(kind: u8, ids: u8) -> Option<&'static str> {
    Some(match (kind, ids) {
        (0, 0) => "table of integers",
        (0, 1) => "table of UUIDs",
        (0, 2) => "table of texts",
        (0, 3) => "table of integers with a sign",
        (1, 0) => "list of integers",
        (1, 1) => "list of UUIDs",
        (1, 2) => "list of texts",
        (1, 3) => "list of integers with a sign",
        _ => return None,
    })
}
