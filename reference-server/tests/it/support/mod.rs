//! What tests share.

pub(crate) mod client;
