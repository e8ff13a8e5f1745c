//! Pushes about messages: new ones, edits, deletions.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::frame::Push;
use crate::{
    app::App,
    auth::Identity,
    db::{self, Role},
    error::ApiError,
    post::{Draft, Posted},
};

/// The answer to a push.
pub(super) type Reply = Result<Value, Value>;

#[derive(Deserialize)]
struct Edit {
    id: String,
    content: Option<String>,
}

#[derive(Deserialize)]
struct Deletion {
    id: String,
}

/// Handles a push. Its author is the user of the socket's token; ids of users in the payload are ignored.
pub(super) async fn handle(app: &Arc<App>, author: &Identity, push: &Push<'_>) -> Reply {
    let invalid = || json!({ "reason": "invalid payload" });
    let done = match &*push.event {
        "edit_message" => {
            let Edit { id, content } = push.payload.parse().ok_or_else(invalid)?;
            let edited = app.edit_message(author, &id, content).await;
            edited.map(|message| json!(message))
        }
        "delete_message" => {
            let Deletion { id } = push.payload.parse().ok_or_else(invalid)?;
            let deleted = app.delete_message(author, &id).await;
            deleted.map(|message| json!(message))
        }
        _ => {
            let draft = push.payload.parse().ok_or_else(invalid)?;
            new_message(app, author, push, draft).await
        }
    };
    done.map_err(refusal)
}

async fn new_message(
    app: &Arc<App>,
    author: &Identity,
    push: &Push<'_>,
    draft: Draft,
) -> Result<Value, ApiError> {
    let room = room_of(app, author, &push.topic).await?;
    let posted = Arc::clone(app).post(room, author.clone(), draft).await?;
    let (Posted::New(message) | Posted::Before(message)) = posted;
    Ok(json!(message))
}

fn refusal(error: ApiError) -> Value {
    match error {
        ApiError::RateLimited { retry_after_ms } => {
            json!({ "reason": "rate_limited", "retry_after_ms": retry_after_ms })
        }
        ApiError::Invalid(errors) => json!({ "reason": "invalid", "errors": errors }),
        ApiError::NotFound(_) => json!({ "reason": "not found" }),
        ApiError::Forbidden(reason) => json!({ "reason": reason }),
        error => json!({ "reason": storage_reason(&error).unwrap_or("internal error") }),
    }
}

async fn room_of(app: &App, caller: &Identity, topic: &str) -> Result<db::Room, ApiError> {
    let (kind, id) = topic.split_once(':').unwrap_or_default();
    let room = app.room(caller, id).await?;
    check_kind(&room, kind)?;
    Ok(room)
}

/// Returns the room of a topic with the role of `caller` in it, of an open one without the database if that can be.
pub(super) async fn room_and_role_of(
    app: &App,
    caller: &Identity,
    topic: &str,
) -> Result<(db::Room, Option<Role>), ApiError> {
    if let Some((room, role)) = app.known_room_and_role(caller, topic) {
        return Ok((room, Some(role)));
    }
    let (kind, id) = topic.split_once(':').unwrap_or_default();
    let (room, role) = app.room_and_role(caller, id).await?;
    check_kind(&room, kind)?;
    Ok((room, role))
}

/// Refuses a room whose topics begin with another word than `kind`.
fn check_kind(room: &db::Room, kind: &str) -> Result<(), ApiError> {
    let expected = if kind == "dm" { "dm" } else { "group" };
    if room.kind == expected {
        Ok(())
    } else {
        Err(ApiError::NotFound("no such room"))
    }
}

/// Logs the error of a push. Returns the reason for the client if it is the storage.
pub(super) fn storage_reason(error: &ApiError) -> Option<&'static str> {
    tracing::error!(%error, "push failed");
    match error {
        ApiError::Storage(error) => Some(error.fault.reason()),
        _ => None,
    }
}
