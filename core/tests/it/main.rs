//! Integration tests of the crate, one module per area: one binary, one link.

mod presence;
mod tidy;
mod tracker;
