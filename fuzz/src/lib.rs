//! Properties that hold for any bytes, each a plain function of a byte slice.
//!
//! `fuzz_targets/` wraps them for libFuzzer; on stable the same programs replay the corpus, and
//! the tests replay it together with thousands of mutations of it.

mod conversation;
mod meter;
mod replay;
mod seeds;
mod targets;

pub use meter::{Meter, peak_of};
pub use replay::{corpus, main, mutations, replay, write_seeds};
pub use seeds::seeds;
pub use targets::{TARGETS, Target, apply, decode, hear, list_frames, load, rest, restore, socket};
