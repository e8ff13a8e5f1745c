//! The server from outside: every test starts one on a free port and speaks HTTP and WebSocket.

mod bad_input;
mod big_rooms;
mod cli;
mod demo;
mod life;
mod limits;
mod longpoll;
mod member_list;
mod names;
mod presence;
mod rest;
mod socket;
mod storage;
mod storage_full;
mod support;
mod users;
