//! The server from outside: every test starts one on a free port and speaks HTTP and WebSocket.

mod admin;
mod bad_input;
mod big_rooms;
mod cli;
mod demo;
mod edits;
mod grace;
mod life;
mod limits;
mod load;
mod longpoll;
mod member_list;
mod metrics;
mod names;
mod people;
mod presence;
mod refused_joins;
mod rest;
mod servers;
mod socket;
mod storage;
mod storage_full;
mod support;
mod tenants;
mod users;
mod webhooks;
