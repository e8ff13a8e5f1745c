//! Authentication: signed tokens, passwords and the request extractors.

mod extract;
mod password;
mod revoked;
mod token;

pub(crate) use extract::{CurrentUser, PublicTenant};
pub(crate) use password::Passwords;
pub(crate) use revoked::Revocations;
pub(crate) use token::{Identity, TOKEN_LEEWAY_SECONDS, Tokens, USER_TOKEN_SECONDS};
