//! The refusals of lists and tables.

use headcount::ListError;
use headcount::member_list::TableError;
use rustler::{Atom, Encoder, Env, Term};
use std::fmt;

use crate::{atoms, errors};

/// The longest value that a message shows, in bytes of the external format.
const SHOWN_MAX: usize = 100;

/// The reason why an argument, or a change, was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// A term of another kind than the ids of the list or table: a mistake of the program.
    NotAnId,
    /// A value of the right kind beyond a limit of a type of the crate.
    Value(Atom, String),
    Crate(TableError),
    InBatch(usize, Box<Self>),
}

impl Refused {
    /// Makes the reason of an id that breaks a rule.
    pub(crate) fn id(rule: &str, term: Term<'_>) -> Self {
        let message = match (term.to_binary().len(), term.decode::<&str>()) {
            (len, _) if len > SHOWN_MAX => format!("{rule}, not a term of {len} bytes"),
            (_, Ok(text)) => format!("{rule}, not {text:?}"),
            _ => format!("{rule}, not {term:?}"),
        };
        Self::Value(atoms::bad_id(), message)
    }

    /// Names the position in a batch.
    pub(crate) fn at(self, at: usize) -> Self {
        Self::InBatch(at, Box::new(self))
    }
}

impl From<ListError> for Refused {
    fn from(error: ListError) -> Self {
        Self::Crate(error.into())
    }
}

impl From<TableError> for Refused {
    fn from(error: TableError) -> Self {
        Self::Crate(error)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnId => f.write_str("not an id"),
            Self::Value(_, message) => f.write_str(message),
            Self::Crate(error) => error.fmt(f),
            Self::InBatch(at, refused) => write!(f, "change {at} of the batch: {refused}"),
        }
    }
}

/// `{:error, {what, message}}`; for a term that is no id `:bad_id`, in a batch `{:bad_id, index}`, which Elixir raises.
impl Encoder for Refused {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        match self {
            Self::NotAnId => atoms::bad_id().encode(env),
            Self::Value(what, message) => (atoms::error(), (what, message)).encode(env),
            Self::Crate(error) => errors::table(env, error),
            Self::InBatch(at, refused) => match **refused {
                Self::NotAnId => (atoms::bad_id(), at).encode(env),
                _ => (atoms::error(), (atoms::in_batch(), self.to_string())).encode(env),
            },
        }
    }
}
