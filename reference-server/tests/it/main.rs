//! The server from outside: every test starts one on a free port and speaks HTTP and WebSocket.

mod admin;
mod at_once;
mod bad_input;
mod big_rooms;
mod cli;
mod demo;
mod edits;
mod grace;
mod hoisted_roles;
mod life;
mod limits;
mod load;
mod longpoll;
mod lost_database;
mod member_list;
mod member_search;
#[cfg(target_os = "linux")]
mod memory;
mod mentions;
mod metrics;
mod metrics_moved;
mod names;
mod people;
mod postgres;
mod presence;
#[cfg(target_os = "linux")]
mod read_only;
mod refused_joins;
mod rest;
mod roles;
mod roles_model;
mod servers;
mod socket;
mod start;
mod storage;
mod storage_full;
mod storage_shown;
mod storage_writes;
mod support;
mod tenants;
mod told_users;
mod users;
mod webhooks;
