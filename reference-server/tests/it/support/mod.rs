//! Helpers that tests share.

pub(crate) mod client;
pub(crate) mod metrics;
pub(crate) mod raw;
