//! Texts of bundles: JSON and Discord's events. The binary form is in `wire`, beside its decoder.

mod discord;
mod json;

pub use discord::Discord;
