//! Calls of the API that must succeed.

use serde_json::Value;

use crate::{nodes::Node, viewer::User};

/// Calls a node as a user. Returns the data of the answer.
pub(crate) async fn call(user: &User, node: &Node, method: &str, path: &str, body: Value) -> Value {
    let (status, answer) = user.call(&node.address, method, path, body).await;
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
    answer["data"].clone()
}

/// Returns the id of what a call made.
pub(crate) fn id_of(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}
