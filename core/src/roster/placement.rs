//! The results of a mapping: placements, and the reasons why a session was refused.

use std::fmt;

use bytes::Bytes;

use super::Status;
use crate::member_list::{GroupId, ListError, SortKey, TableError};

/// The row that a session wants for its user, for as long as that session decides.
///
/// The parts that are left out are the application's: the roster never writes them. A row that is
/// new needs a group and a sort key; that of a table has no group of its own, but a key for each
/// column. What the application writes to a row counts as said by the
/// session that decides, until that session has a new version.
///
/// ```
/// use headcount::{GroupId, Placement, SortKey, Status};
///
/// let placement = Placement::new(Status::Idle)
///     .group(GroupId(2))
///     .key(SortKey::from_name("Ann"))
///     .bits(1 << 4);
/// assert_eq!(placement.status(), Status::Idle);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub(super) status: Status,
    pub(super) spot: Spot,
}

/// The row that a session wants, without what it leaves to the application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) group: Option<GroupId>,
    pub(super) keys: RowKeys,
    pub(super) bits: u32,
    pub(super) payload: Option<Bytes>,
}

/// The sort keys that a session wants. Nearly always there is one at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum RowKeys {
    /// They are the application's.
    #[default]
    LeftOut,
    One(SortKey),
    Many(Vec<SortKey>),
}

impl RowKeys {
    /// Returns the keys; none if they are left out.
    pub(super) fn as_slice(&self) -> &[SortKey] {
        match self {
            Self::LeftOut => &[],
            Self::One(key) => std::slice::from_ref(key),
            Self::Many(keys) => keys,
        }
    }
}

impl FromIterator<SortKey> for RowKeys {
    fn from_iter<T: IntoIterator<Item = SortKey>>(keys: T) -> Self {
        let keys: Vec<SortKey> = keys.into_iter().collect();
        match keys[..] {
            [key] => Self::One(key),
            _ => Self::Many(keys),
        }
    }
}

impl Placement {
    /// Makes the placement of a session with a status that writes nothing else.
    #[must_use]
    pub fn new(status: Status) -> Self {
        let spot = Spot::default();
        Self { status, spot }
    }

    /// Sets the group of the row. A table has none: its lists group members by their attributes,
    /// and a placement that names a group is an error.
    #[must_use]
    pub fn group(mut self, group: GroupId) -> Self {
        self.spot.group = Some(group);
        self
    }

    /// Sets the place within the group: the only sort key.
    #[must_use]
    pub fn key(mut self, key: SortKey) -> Self {
        self.spot.keys = RowKeys::One(key);
        self
    }

    /// Sets a sort key for each key column of a table. Another number of keys is an error.
    ///
    /// ```
    /// use headcount::{Placement, SortKey, Status};
    ///
    /// let joined = SortKey::from_u64(1_700_000_000);
    /// let placement = Placement::new(Status::Online).keys([SortKey::from_name("Ann"), joined]);
    /// # let _ = placement;
    /// ```
    #[must_use]
    pub fn keys(mut self, keys: impl IntoIterator<Item = SortKey>) -> Self {
        self.spot.keys = keys.into_iter().collect();
        self
    }

    /// Sets the attribute bits of the row that the roster owns; those left out are zero. Bits
    /// outside of [`RosterOptions::status_bits`](super::RosterOptions::status_bits) are an error.
    #[must_use]
    pub fn bits(mut self, bits: u32) -> Self {
        self.spot.bits = bits;
        self
    }

    /// Sets the payload of the row.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.spot.payload = Some(payload.into());
        self
    }

    /// Returns the status of the session.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }
}

/// The results that a mapping of a [`Roster`](super::Roster) may have.
///
/// | result | |
/// |---|---|
/// | [`Placement`] | the session counts |
/// | `Option<Placement>` | with `None` it does not count |
/// | `Result` of one of these | with an error it does not count, and is in the report |
pub trait IntoPlacement {
    /// Returns the placement, `None` for a session that does not count, or why there is none.
    ///
    /// # Errors
    ///
    /// [`RosterError::Mapping`] with the text of the mapping's own error.
    fn into_placement(self) -> Result<Option<Placement>, RosterError>;
}

impl IntoPlacement for Placement {
    fn into_placement(self) -> Result<Option<Placement>, RosterError> {
        Ok(Some(self))
    }
}

impl IntoPlacement for Option<Placement> {
    fn into_placement(self) -> Result<Option<Placement>, RosterError> {
        Ok(self)
    }
}

impl<E: fmt::Display> IntoPlacement for Result<Placement, E> {
    fn into_placement(self) -> Result<Option<Placement>, RosterError> {
        self.map(Some).into_placement()
    }
}

impl<E: fmt::Display> IntoPlacement for Result<Option<Placement>, E> {
    fn into_placement(self) -> Result<Option<Placement>, RosterError> {
        self.map_err(|error| RosterError::Mapping {
            reason: error.to_string(),
        })
    }
}

/// The reason why a [`Roster`](super::Roster) refused a session or its row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RosterError {
    /// The mapping returned an error. The session does not count.
    Mapping {
        /// The text of the error.
        reason: String,
    },
    /// The placement has bits that the roster does not own. The session does not count.
    BitsNotOwned {
        /// The bits of the placement.
        bits: u32,
        /// Those of [`RosterOptions::status_bits`](super::RosterOptions::status_bits).
        status_bits: u32,
    },
    /// The placement, or [`OfflinePolicy::Keep`](super::OfflinePolicy::Keep), names a group, and the
    /// roster is over a table, whose lists group members by their attributes. The session does not
    /// count.
    NoGroups {
        /// The group.
        group: GroupId,
    },
    /// The placement has another number of sort keys than rows have. The session does not count.
    WrongKeys {
        /// The keys of the placement.
        got: usize,
        /// The key columns of the table; a list has one.
        columns: usize,
    },
    /// The user has no row, and the placement lacks what one is made of: both a group and a sort key,
    /// over a table its sort keys. The session counts.
    NoPlace,
    /// The list refused the row, or the table for a reason that there is for lists, too. The session
    /// counts, and the row stays as it was.
    List(ListError),
    /// The table refused the row. The session counts, and the row stays as it was.
    Table(TableError),
}

impl fmt::Display for RosterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapping { reason } => f.write_str(reason),
            Self::BitsNotOwned { bits, status_bits } => write!(
                f,
                "the placement has the attribute bits {bits:#x}, the roster may write {status_bits:#x}"
            ),
            Self::NoGroups { group } => write!(
                f,
                "group {} is named, but the lists of a table group members by their attributes",
                group.0
            ),
            Self::WrongKeys { got, columns } => {
                write!(f, "the placement has {got} sort keys, a row has {columns}")
            }
            Self::NoPlace => {
                f.write_str("a new row needs a group and a sort key, that of a table its sort keys")
            }
            Self::List(error) => fmt::Display::fmt(error, f),
            Self::Table(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for RosterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::List(error) => Some(error),
            Self::Table(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ListError> for RosterError {
    fn from(error: ListError) -> Self {
        Self::List(error)
    }
}

impl From<TableError> for RosterError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::List(error) => Self::List(error),
            error => Self::Table(error),
        }
    }
}
