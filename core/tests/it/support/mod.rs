//! Helpers that tests share: generators, models of readers, small clusters, and the files of the
//! project.

pub(crate) mod broken_rules;
pub(crate) mod cluster;
pub(crate) mod list_keys;
pub(crate) mod member;
pub(crate) mod mesh;
pub(crate) mod mirror;
pub(crate) mod naive_world;
pub(crate) mod nats;
pub(crate) mod office;
pub(crate) mod rng;
pub(crate) mod roster_targets;
pub(crate) mod saved;
pub(crate) mod schedules;
pub(crate) mod sources;
pub(crate) mod table_changes;
pub(crate) mod table_plan;
pub(crate) mod table_world;
pub(crate) mod trackers;
pub(crate) mod windows;
pub(crate) mod windows_world;
