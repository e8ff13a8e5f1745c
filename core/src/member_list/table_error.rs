//! The errors of calls on a table of members and its lists.

use std::fmt;

use crate::member_list::ListError;

/// The reason why a call on a [`MemberTable`](crate::member_list::MemberTable) was refused. The
/// table did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// The call was refused for a reason that there is for single lists, too.
    List(ListError),
    /// An attribute bit is out of range.
    AttrTooHigh {
        /// The bit.
        bit: u16,
        /// The highest one.
        max: usize,
    },
    /// The members of a table have as many different sets of attributes as they can have.
    TooManyAttrSets {
        /// The limit.
        max: usize,
    },
    /// A table was asked for more key columns than it can have, or for none.
    BadKeyColumns {
        /// Columns asked for.
        columns: usize,
        /// The limit.
        max: usize,
    },
    /// The table has no such key column.
    UnknownKeyColumn {
        /// The column, from 0.
        column: usize,
        /// The columns of the table.
        columns: usize,
    },
    /// A member was given another number of keys than its table has columns.
    WrongKeys {
        /// The keys given.
        got: usize,
        /// The columns of the table.
        columns: usize,
    },
    /// There is no such list, or no longer.
    UnknownList {
        /// The id that was given.
        list: u64,
    },
    /// The table has another list of this name.
    ListExists {
        /// The name.
        name: String,
    },
    /// The list is still being built. It can be read and changed once it is.
    ListBuilding {
        /// The name of the list.
        name: String,
    },
    /// The list was added more than once; as all of its owners see it, none can change its spec.
    ListShared {
        /// The name of the list.
        name: String,
        /// The number of times it was added.
        owners: usize,
    },
    /// A table has as many lists as it can have.
    TooManyLists {
        /// The limit.
        max: usize,
    },
    /// The name of a list is empty, too long or has control characters.
    BadListName {
        /// Length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The spec of a list has too many clauses that admit members.
    TooManyClauses {
        /// The clauses.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// The spec of a list names too many members that are always or never in it.
    TooManyIds {
        /// The ids.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// The spec of a list says of a member that it is always in it, and that it never is.
    AlwaysAndNever {
        /// The id, as text.
        id: String,
    },
    /// A change of a batch, or a member of a bulk load, was refused, and with it all of them.
    InBatch {
        /// Its position, from 0.
        at: usize,
        /// The reason why the table refused it.
        error: Box<Self>,
    },
}

impl TableError {
    /// Returns the error of what has this position in a batch.
    pub(crate) fn in_batch(self, at: usize) -> Self {
        let error = Box::new(self);
        Self::InBatch { at, error }
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(error) => error.fmt(f),
            Self::AttrTooHigh { bit, max } => {
                write!(f, "attribute bits are 0 to {max}, not {bit}")
            }
            Self::TooManyAttrSets { max } => {
                write!(f, "members have at most {max} different sets of attributes")
            }
            Self::BadKeyColumns { columns, max } => {
                write!(f, "a table has 1 to {max} key columns, not {columns}")
            }
            Self::UnknownKeyColumn { column, columns } => {
                write!(f, "no key column {column} among {columns}")
            }
            Self::WrongKeys { got, columns } => {
                write!(
                    f,
                    "a member has a key for each of {columns} columns, not {got}"
                )
            }
            Self::UnknownList { list } => write!(f, "there is no list {list}"),
            Self::ListExists { name } => write!(f, "there is another list {name:?}"),
            Self::ListBuilding { name } => write!(f, "list {name:?} is still being built"),
            Self::ListShared { name, owners } => {
                write!(f, "list {name:?} has {owners} owners, so its spec stays")
            }
            Self::TooManyLists { max } => write!(f, "a table has at most {max} lists"),
            Self::BadListName { len, max } => {
                write!(
                    f,
                    "a list name has 1 to {max} bytes and no control characters, not {len}"
                )
            }
            Self::TooManyClauses { got, max } => {
                write!(
                    f,
                    "a list admits members by at most {max} clauses, not {got}"
                )
            }
            Self::TooManyIds { got, max } => {
                write!(f, "a list names at most {max} members, not {got}")
            }
            Self::AlwaysAndNever { id } => {
                write!(f, "member {id:?} is always and never in the list")
            }
            Self::InBatch { at, error } => write!(f, "change {at} of the batch: {error}"),
        }
    }
}

impl std::error::Error for TableError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::List(error) => error.source(),
            Self::InBatch { error, .. } => Some(&**error),
            _ => None,
        }
    }
}

impl From<ListError> for TableError {
    fn from(error: ListError) -> Self {
        Self::List(error)
    }
}
