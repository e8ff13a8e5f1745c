//! Input from clients of the chat server: frames of the socket, and requests of the API.

use std::sync::LazyLock;

use headcount_server::Harness;

use super::steps;

/// One server for all inputs: what an input stores is there for the next one.
static SERVER: LazyLock<Harness> = LazyLock::new(Harness::new);

/// Frames in a row, as one client sends them. No handler panics, each answer is JSON, and a client whose frames were
/// pushes is still served.
pub fn socket(data: &[u8]) {
    SERVER.socket(steps(data));
}

/// Requests in a row, as one user sends them. No handler panics, no answer blames the server, and each is in the
/// envelope of the API.
pub fn rest(data: &[u8]) {
    SERVER.rest(steps(data));
}
