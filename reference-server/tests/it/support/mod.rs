//! Helpers that tests share.

pub(crate) mod client;
pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod postgres;
pub(crate) mod raw;
