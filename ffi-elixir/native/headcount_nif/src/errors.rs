//! Errors of the crate as `{:error, reason}`.

use headcount::TrackError;
use headcount::codec::DecodeError;
use headcount::member_list::TableError;
use headcount::tracker::ApplyError;
use rustler::{Atom, Encoder, Env, Term};
use std::fmt::{Debug, Display};

use crate::atoms;
use crate::json;

/// Returns `:already_tracked`, `:nopresence`, `{what, len, max}`, `{what, max}` or `{what, message}`.
pub(crate) fn track<'a>(env: Env<'a>, error: &TrackError) -> Term<'a> {
    let name = name(env, error);
    let reason = match *error {
        TrackError::AlreadyTracked => name.encode(env),
        TrackError::NotTracked => atoms::nopresence().encode(env),
        TrackError::TopicTooLong { len, max }
        | TrackError::KeyTooLong { len, max }
        | TrackError::OwnerTooLong { len, max }
        | TrackError::MetaTooLarge { len, max } => (name, len, max).encode(env),
        TrackError::OwnerFull { max } | TrackError::TooManyEntries { max } => {
            (name, max).encode(env)
        }
        ref other => (name, other.to_string()).encode(env),
    };
    (atoms::error(), reason).encode(env)
}

/// Returns `{:not_json, message}`, or the error of a meta that is too large in any codec.
pub(crate) fn json<'a>(env: Env<'a>, error: &json::Error) -> Term<'a> {
    let not_json = |message: &str| (atoms::error(), (atoms::not_json(), message)).encode(env);
    match error {
        json::Error::KeyNotText => not_json("with the codec :json a key must be a string in UTF-8"),
        json::Error::Meta(message) => not_json(message),
        json::Error::TooLarge(len, max) => track(
            env,
            &TrackError::MetaTooLarge {
                len: *len,
                max: *max,
            },
        ),
    }
}

/// Returns `{:decode, offset, kind}`, `{:gap, clock, from}` or `{what, message}`.
pub(crate) fn apply<'a>(env: Env<'a>, error: &ApplyError) -> Term<'a> {
    match *error {
        ApplyError::Decode(ref error) => decode(env, error),
        ApplyError::Gap { clock, from } => {
            (atoms::error(), (name(env, error), clock, from)).encode(env)
        }
        ref other => described(env, other),
    }
}

/// Returns `{:decode, offset, kind}`
pub(crate) fn decode<'a>(env: Env<'a>, error: &DecodeError) -> Term<'a> {
    (
        atoms::error(),
        (atoms::decode(), error.offset, name(env, &error.kind)),
    )
        .encode(env)
}

/// Returns `{what, message}`
pub(crate) fn described<'a>(env: Env<'a>, error: &(impl Debug + Display)) -> Term<'a> {
    (atoms::error(), (name(env, error), error.to_string())).encode(env)
}

/// Returns `{what, message}`; what single lists refuse too has the name that it has there.
pub(crate) fn table<'a>(env: Env<'a>, error: &TableError) -> Term<'a> {
    match error {
        TableError::List(error) => described(env, error),
        other => described(env, other),
    }
}

/// Returns the variant as an atom: `KeyTooLong { .. }` is `:key_too_long`. There is one atom for each variant.
fn name(env: Env<'_>, error: &impl Debug) -> Atom {
    let debug = format!("{error:?}");
    let mut name = String::new();
    for letter in debug.chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    Atom::from_str(env, &name).unwrap_or_else(|_| atoms::error())
}
