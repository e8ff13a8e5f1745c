//! Turns errors of the crate into the exceptions of `headcount._errors`.

use std::fmt::Debug;

use headcount::codec::DecodeError as Malformed;
use headcount::id::IdError;
use headcount::member_list::{LoadError, SaveError, TableError, WindowError as Unseen};
use headcount::presence::RestoreError as Unrestored;
use headcount::replica::{ConfigError, SignalError};
use headcount::roster::RosterError;
use headcount::runtime::Stopped;
use headcount::tracker::ApplyError as Refused;
use headcount::{ListError as Unlisted, ReadError, TrackError as Untracked};
use pyo3::PyErr;
use pyo3::exceptions::{PyOSError, PyValueError};

pyo3::import_exception!(headcount._errors, AlreadyTracked);
pyo3::import_exception!(headcount._errors, ApplyError);
pyo3::import_exception!(headcount._errors, ConnectError);
pyo3::import_exception!(headcount._errors, DecodeError);
pyo3::import_exception!(headcount._errors, ForkError);
pyo3::import_exception!(headcount._errors, GapError);
pyo3::import_exception!(headcount._errors, HeadcountError);
pyo3::import_exception!(headcount._errors, HiddenMember);
pyo3::import_exception!(headcount._errors, LagError);
pyo3::import_exception!(headcount._errors, LimitError);
pyo3::import_exception!(headcount._errors, ListBuilding);
pyo3::import_exception!(headcount._errors, ListError);
pyo3::import_exception!(headcount._errors, NodeStopped);
pyo3::import_exception!(headcount._errors, NotReady);
pyo3::import_exception!(headcount._errors, NotTracked);
pyo3::import_exception!(headcount._errors, NotWatched);
pyo3::import_exception!(headcount._errors, TrackError);
pyo3::import_exception!(headcount._errors, UnknownGroup);
pyo3::import_exception!(headcount._errors, UnknownList);
pyo3::import_exception!(headcount._errors, UnknownMember);
pyo3::import_exception!(headcount._errors, WindowError);

/// `?` on an error of the crate: `.map_err(raise)?`.
pub(crate) fn raise(error: impl Into<Raised>) -> PyErr {
    error.into().0
}

/// An exception on its way.
pub(crate) struct Raised(pub(crate) PyErr);

impl From<Malformed> for Raised {
    fn from(error: Malformed) -> Self {
        Self(DecodeError::new_err((
            error.to_string(),
            error.offset,
            kind_of(&error.kind),
        )))
    }
}

impl From<Refused> for Raised {
    fn from(error: Refused) -> Self {
        let text = error.to_string();
        match error {
            Refused::Decode(error) => error.into(),
            Refused::Gap { clock, from } => Self(GapError::new_err((text, clock, from))),
            _ => Self(ApplyError::new_err((text, kind_of(&error)))),
        }
    }
}

impl From<ReadError> for Raised {
    fn from(error: ReadError) -> Self {
        let text = error.to_string();
        Self(match error {
            ReadError::NotWatched { topic } => NotWatched::new_err((text, String::from(topic))),
            ReadError::NotReady { topic } => NotReady::new_err((text, String::from(topic))),
            ReadError::Stopped => NodeStopped::new_err(text),
            _ => HeadcountError::new_err(text),
        })
    }
}

impl From<Untracked> for Raised {
    fn from(error: Untracked) -> Self {
        let text = error.to_string();
        Self(match error {
            Untracked::AlreadyTracked => AlreadyTracked::new_err((text, kind_of(&error))),
            Untracked::NotTracked => NotTracked::new_err((text, kind_of(&error))),
            Untracked::TopicTooLong { max, .. }
            | Untracked::KeyTooLong { max, .. }
            | Untracked::OwnerTooLong { max, .. }
            | Untracked::MetaTooLarge { max, .. } => LimitError::new_err((text, max)),
            Untracked::OwnerFull { max } | Untracked::TooManyEntries { max } => {
                LimitError::new_err((text, max))
            }
            Untracked::Stopped => NodeStopped::new_err(text),
            _ => TrackError::new_err((text, kind_of(&error))),
        })
    }
}

impl From<SignalError> for Raised {
    fn from(error: SignalError) -> Self {
        let text = error.to_string();
        Self(match error {
            SignalError::TopicTooLong { max, .. }
            | SignalError::KeyTooLong { max, .. }
            | SignalError::PayloadTooLong { max, .. } => LimitError::new_err((text, max)),
            SignalError::Stopped => NodeStopped::new_err(text),
            _ => HeadcountError::new_err(text),
        })
    }
}

impl From<ConfigError> for Raised {
    fn from(error: ConfigError) -> Self {
        Self(PyValueError::new_err(error.to_string()))
    }
}

impl From<Stopped> for Raised {
    fn from(stopped: Stopped) -> Self {
        Self(NodeStopped::new_err(stopped.to_string()))
    }
}

impl From<Unlisted> for Raised {
    fn from(error: Unlisted) -> Self {
        Self(unlisted(error.to_string(), &error))
    }
}

/// Returns the exception with this text of an error, or of the change of a batch that has it.
fn unlisted(text: String, error: &Unlisted) -> PyErr {
    match error {
        Unlisted::InBatch { error, .. } => unlisted(text, error),
        Unlisted::UnknownMember { .. } => UnknownMember::new_err((text, kind_of(error))),
        Unlisted::UnknownGroup { .. } => UnknownGroup::new_err((text, kind_of(error))),
        Unlisted::KeyTooLong { max, .. }
        | Unlisted::ListNameTooLong { max, .. }
        | Unlisted::NodeNameTooLong { max, .. }
        | Unlisted::PayloadTooLong { max, .. }
        | Unlisted::TooManyGroups { max }
        | Unlisted::TooManyMembers { max } => LimitError::new_err((text, *max)),
        Unlisted::EpochTooHigh { max, .. } => LimitError::new_err((text, *max)),
        _ => ListError::new_err((text, kind_of(error))),
    }
}

impl From<TableError> for Raised {
    fn from(error: TableError) -> Self {
        Self(unlisted_in_table(error.to_string(), &error))
    }
}

/// As [`unlisted`], of a table.
fn unlisted_in_table(text: String, error: &TableError) -> PyErr {
    match error {
        TableError::InBatch { error, .. } => unlisted_in_table(text, error),
        TableError::List(error) => unlisted(text, error),
        TableError::UnknownList { .. } => UnknownList::new_err((text, kind_of(error))),
        TableError::ListBuilding { .. } => ListBuilding::new_err((text, kind_of(error))),
        TableError::AttrTooHigh { max, .. }
        | TableError::TooManyAttrSets { max }
        | TableError::BadKeyColumns { max, .. }
        | TableError::TooManyLists { max }
        | TableError::TooManyClauses { max, .. }
        | TableError::TooManyIds { max, .. } => LimitError::new_err((text, *max)),
        _ => ListError::new_err((text, kind_of(error))),
    }
}

impl From<RosterError> for Raised {
    fn from(error: RosterError) -> Self {
        match error {
            RosterError::List(error) => error.into(),
            RosterError::Table(error) => error.into(),
            _ => Self(PyValueError::new_err(error.to_string())),
        }
    }
}

impl From<SaveError> for Raised {
    fn from(error: SaveError) -> Self {
        let text = error.to_string();
        Self(match error {
            SaveError::Io(error) => error.into(),
            _ => ListError::new_err((text, kind_of(&error))),
        })
    }
}

impl From<LoadError> for Raised {
    fn from(error: LoadError) -> Self {
        let text = error.to_string();
        let offset = error.offset();
        Self(match error {
            LoadError::Io { error, .. } => error.into(),
            LoadError::Epoch(error) => return error.into(),
            _ => DecodeError::new_err((text, offset, kind_of(&error))),
        })
    }
}

impl From<Unrestored> for Raised {
    fn from(error: Unrestored) -> Self {
        match error {
            Unrestored::Decode(error) => error.into(),
            Unrestored::Apply(error) => error.into(),
            _ => Self(ApplyError::new_err((error.to_string(), kind_of(&error)))),
        }
    }
}

impl From<Unseen> for Raised {
    fn from(error: Unseen) -> Self {
        let text = error.to_string();
        Self(match error {
            Unseen::TooManyRows { max, .. }
            | Unseen::TooManyWindows { max }
            | Unseen::TooManySearches { max }
            | Unseen::TooManyGroups { max, .. } => LimitError::new_err((text, max)),
            Unseen::ChunkTooHigh { max, .. } | Unseen::PageTooHigh { max, .. } => {
                LimitError::new_err((text, max))
            }
            _ => WindowError::new_err((text, kind_of(&error))),
        })
    }
}

impl From<IdError> for Raised {
    fn from(error: IdError) -> Self {
        let text = error.to_string();
        Self(match error {
            IdError::NoRandomness => PyOSError::new_err(text),
            _ => PyValueError::new_err(text),
        })
    }
}

/// The name of an enum's variant in snake case.
pub(crate) fn kind_of(error: &impl Debug) -> String {
    let debug = format!("{error:?}");
    let name = debug.chars().take_while(char::is_ascii_alphanumeric);
    let mut kind = String::new();
    for letter in name {
        if letter.is_ascii_uppercase() && !kind.is_empty() {
            kind.push('_');
        }
        kind.push(letter.to_ascii_lowercase());
    }
    kind
}
