//! The errors of calls on a list. The list is unchanged after any error.

use std::fmt;

/// The reason why a call on a [`MemberList`](crate::member_list::MemberList) was refused. The list
/// did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListError {
    /// No member has this id.
    UnknownMember {
        /// The id, as text.
        id: String,
    },
    /// No group has this id or name.
    UnknownGroup {
        /// The number or the name that was given.
        group: String,
    },
    /// A group of this name exists already.
    GroupExists {
        /// The name.
        name: String,
    },
    /// A group that has members cannot be removed.
    GroupNotEmpty {
        /// The group's name.
        name: String,
        /// Its members.
        members: usize,
    },
    /// A group's name is empty, too long or has control characters.
    BadGroupName {
        /// Length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// There are as many groups as a list can have.
    TooManyGroups {
        /// The limit.
        max: usize,
    },
    /// A new group order does not name every group exactly once.
    BadGroupOrder {
        /// Groups in the list.
        expected: usize,
        /// Distinct known groups in the order given.
        got: usize,
    },
    /// The name of a list with groups of its own is too long.
    ListNameTooLong {
        /// Length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The name of the node of an epoch is too long.
    NodeNameTooLong {
        /// Length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The number of an epoch is too high for clients.
    EpochTooHigh {
        /// The number.
        epoch: u64,
        /// The limit.
        max: u64,
    },
    /// An epoch is not later than the present one of the list and the node.
    EpochNotHigher {
        /// The number that was given.
        epoch: u64,
        /// The number of the present epoch.
        last: u64,
    },
    /// A raw sort key is too long.
    KeyTooLong {
        /// Length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A text id is empty, too long or has control characters.
    BadId {
        /// Length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// There are as many members as a list can have.
    TooManyMembers {
        /// The limit.
        max: usize,
    },
    /// The list was made without [`payloads`](crate::member_list::ListOptions::payloads).
    NoPayloads,
    /// A payload is too long.
    PayloadTooLong {
        /// Length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A locale for collation is malformed or has no data.
    BadLocale {
        /// The locale that was given.
        locale: String,
    },
    /// A change of a batch was refused, and with it the whole batch.
    InBatch {
        /// The position of the change in the batch, from 0.
        at: usize,
        /// The reason why the list refused it.
        error: Box<Self>,
    },
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMember { id } => write!(f, "no member has the id {id:?}"),
            Self::UnknownGroup { group } => write!(f, "there is no group {group:?}"),
            Self::GroupExists { name } => write!(f, "there is a group {name:?} already"),
            Self::GroupNotEmpty { name, members } => {
                write!(f, "group {name:?} still has {members} members")
            }
            Self::BadGroupName { len, max } => {
                write!(
                    f,
                    "a group name has 1 to {max} bytes and no control characters, not {len}"
                )
            }
            Self::TooManyGroups { max } => write!(f, "a list has at most {max} groups"),
            Self::BadGroupOrder { expected, got } => {
                write!(
                    f,
                    "a group order names each of the {expected} groups once, not {got}"
                )
            }
            Self::ListNameTooLong { len, max } => {
                write!(f, "a list name has at most {max} bytes, not {len}")
            }
            Self::NodeNameTooLong { len, max } => {
                write!(f, "a node name has at most {max} bytes, not {len}")
            }
            Self::EpochTooHigh { epoch, max } => {
                write!(f, "the number of an epoch is at most {max}, not {epoch}")
            }
            Self::EpochNotHigher { epoch, last } => {
                write!(
                    f,
                    "the list is in epoch {last}, and the next one of its node is higher, not {epoch}"
                )
            }
            Self::KeyTooLong { len, max } => {
                write!(f, "a raw sort key has at most {max} bytes, not {len}")
            }
            Self::BadId { len, max } => {
                write!(
                    f,
                    "a text id has 1 to {max} bytes and no control characters, not {len}"
                )
            }
            Self::TooManyMembers { max } => write!(f, "a list has at most {max} members"),
            Self::NoPayloads => f.write_str("this list was made without payloads"),
            Self::PayloadTooLong { len, max } => {
                write!(f, "a payload has at most {max} bytes, not {len}")
            }
            Self::BadLocale { locale } => write!(f, "no collation for the locale {locale:?}"),
            Self::InBatch { at, error } => write!(f, "change {at} of the batch: {error}"),
        }
    }
}

impl std::error::Error for ListError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InBatch { error, .. } => Some(&**error),
            _ => None,
        }
    }
}
