//! The NIF under the Elixir package `headcount`.
//!
//! Each function converts its arguments, calls the crate `headcount` and converts the answer. A call that may take
//! longer than a millisecond runs on a dirty scheduler, or exists twice (see `shared`); a panic becomes the Elixir
//! error `:nif_panicked`.
#![deny(unsafe_code)]

mod atoms;
mod entries;
mod errors;
mod json;
mod keys;
mod member_list;
mod nats;
mod owner;
mod portable;
mod presence;
mod shared;
mod sorted_set;
mod term;
mod tracker;

rustler::init!("Elixir.Headcount.Native");
