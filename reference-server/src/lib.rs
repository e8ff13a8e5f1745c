//! The headcount reference server: a chat server that exercises the whole crate, usable as it is.
//!
//! One process serves HTTP API, Phoenix Channels socket and web page over SQLite. The binary
//! only reads [`Config`], binds and calls [`run`]; tests do the same on port 0.
#![forbid(unsafe_code)]

mod api;
mod app;
mod auth;
mod config;
mod connections;
mod db;
mod demo;
mod error;
#[cfg(feature = "harness")]
mod harness;
mod inbox;
mod limit;
mod meters;
mod names;
mod net;
mod origin;
mod post;
mod room;
mod server;
mod socket;
mod validate;
mod web;

pub use config::{Config, DEMO_MAX, SECRET_CHARS_MIN, Secret};
pub use db::StorageError;
#[cfg(feature = "harness")]
pub use harness::Harness;
pub use origin::Origin;
pub use server::{Server, ServerError, run};
