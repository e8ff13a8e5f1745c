//! What the benches share: workloads, meters, and the table they print.

pub mod crowd;
pub mod list;
pub mod memory;
pub mod meter;
pub mod table;
