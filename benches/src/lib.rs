//! Workload generators shared by the benches.

pub mod crowd;
pub mod list;
pub mod memory;
