//! The headcount reference server: a chat server that exercises the whole crate, usable as it is.
//!
//! One process serves HTTP API, Phoenix Channels socket and web page over SQLite. The binary
//! only reads [`Config`], binds and calls [`run`]; tests do the same on port 0.
#![forbid(unsafe_code)]

mod admin;
mod api;
mod app;
mod auth;
mod cluster;
mod config;
mod connections;
mod db;
mod demo;
mod error;
mod gate;
#[cfg(feature = "harness")]
mod harness;
mod http_client;
mod inbox;
mod limit;
mod load;
mod mentions;
mod meters;
mod metrics;
mod name_order;
mod names;
mod net;
mod oidc;
mod opened;
mod origin;
mod page;
mod post;
mod role_change;
mod room;
mod server;
mod socket;
mod talkers;
mod tasks;
mod validate;
mod web;
mod webhook_calls;
mod webhook_site;
mod webhooks;

pub use cluster::NatsUrl;
pub use config::{Config, DEMO_MAX, NatsAccess, SECRET_CHARS_MIN, Secret};
pub use db::{DatabaseUrl, StorageError};
#[cfg(feature = "harness")]
pub use harness::Harness;
pub use load::{
    Deliveries, Joins, Load, LoadError, Messages, Percentiles, Report, ServerUsage, run as run_load,
};
pub use opened::ServerError;
pub use origin::Origin;
pub use server::{Listeners, Reloader, Server, run};
