//! The errors of saving tables and lists and of loading them.

use std::error::Error;
use std::{fmt, io};

use crate::member_list::ListError;

/// The reason why a table or list was not saved.
#[derive(Debug)]
#[non_exhaustive]
pub enum SaveError {
    /// Another save of the table or list has not come to its end.
    Running,
    /// The save was begun on another table or list.
    OtherTable,
    /// The writer failed.
    Io(io::Error),
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("another save has not come to its end"),
            Self::OtherTable => f.write_str("the save was begun on another table or list"),
            Self::Io(error) => write!(f, "the save could not be written: {error}"),
        }
    }
}

impl Error for SaveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Running | Self::OtherTable => None,
        }
    }
}

impl From<io::Error> for SaveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The reason why a saved table or list was not loaded. Each says at which byte of the file, but for
/// [`Epoch`](Self::Epoch).
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The reader failed.
    Io {
        /// The error of the reader.
        error: io::Error,
        /// The bytes read before.
        offset: u64,
    },
    /// The epoch that was asked for is none: its number or the name of its node is over the limit.
    Epoch(ListError),
    /// The file does not begin as saved tables and lists do.
    NotASave,
    /// A later edition of headcount wrote the file.
    NewerVersion {
        /// The version of the file.
        version: u32,
        /// The latest one that is known.
        max: u32,
    },
    /// The file has something else than what is to be loaded.
    OtherKind {
        /// The kind that is to be loaded.
        expected: &'static str,
        /// The kind that the file has.
        found: &'static str,
    },
    /// The file ends too early.
    Cut {
        /// Its length.
        offset: u64,
    },
    /// The file is not as it was written.
    Damaged {
        /// The beginning of the block whose checksum or length is wrong, or the first byte behind
        /// the end.
        offset: u64,
    },
    /// The file contradicts itself although its checksums are right: another program wrote it.
    Invalid {
        /// The contradiction.
        what: &'static str,
        /// The place in the file.
        offset: u64,
    },
    /// The file has, or says that it has, more of something than there can be.
    OverLimit {
        /// The things of which there are too many.
        what: &'static str,
        /// Their number in the file.
        got: u64,
        /// The limit.
        max: u64,
        /// The place in the file.
        offset: u64,
    },
}

impl LoadError {
    /// Returns the byte of the file at which the error was noticed.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match self {
            Self::Epoch(_) | Self::NotASave | Self::OtherKind { .. } => 0,
            Self::NewerVersion { .. } => 8,
            Self::Io { offset, .. }
            | Self::Cut { offset }
            | Self::Damaged { offset }
            | Self::Invalid { offset, .. }
            | Self::OverLimit { offset, .. } => *offset,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { error, offset } => write!(f, "byte {offset} could not be read: {error}"),
            Self::Epoch(error) => error.fmt(f),
            Self::NotASave => f.write_str("this is no saved table or list"),
            Self::NewerVersion { version, max } => {
                write!(f, "the file has version {version}, known are up to {max}")
            }
            Self::OtherKind { expected, found } => {
                write!(f, "the file has a {found}, not a {expected}")
            }
            Self::Cut { offset } => write!(f, "the file ends too early, after {offset} bytes"),
            Self::Damaged { offset } => {
                write!(f, "the file was damaged or altered at byte {offset}")
            }
            Self::Invalid { what, offset } => write!(f, "{what}, at byte {offset}"),
            Self::OverLimit {
                what,
                got,
                max,
                offset,
            } => write!(f, "{got} {what}, at most {max}, at byte {offset}"),
        }
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Epoch(error) => Some(error),
            _ => None,
        }
    }
}
