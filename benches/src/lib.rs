//! The shared parts of the benches: workloads, meters, and the table they print.

pub mod crowd;
pub mod ingest;
pub mod list;
pub mod memory;
pub mod meter;
pub mod partitioned;
pub mod people;
pub mod redis;
pub mod report;
pub mod table;

/// The Rust example of the project's README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
