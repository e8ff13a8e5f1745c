//! The headcount reference server.
#![forbid(unsafe_code)]
fn main() {}
