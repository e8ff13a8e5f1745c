//! Integration tests of the crate, one module per area: one binary, one link.

mod codec;
mod failures;
mod found;
mod laws;
mod member_list_churn;
mod member_list_model;
mod mesh;
mod nats;
mod presence;
mod presence_timers;
mod replica;
mod roster;
mod runtime;
mod sim;
mod tidy;
mod tracker;
mod tracker_model;
mod windows;
mod windows_discord;
mod windows_json;
mod windows_rules;
mod windows_scenarios;
mod windows_vectors;
mod windows_world;
