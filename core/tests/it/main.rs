//! Integration tests of the crate, one module per area: one binary, one link.

mod presence;
mod member_list_model;
mod replica;
mod tidy;
mod tracker;
