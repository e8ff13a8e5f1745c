//! Messages of rooms and DMs.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use uuid::Uuid;

use super::params::{Params, PathId, clamp};
use crate::{
    app::App,
    auth::{CurrentUser, Identity},
    db::{Cursor, Message, Room},
    error::{ApiError, ApiResult, Body, created, ok},
    post::{Draft, Posted},
};

const PAGE_DEFAULT: u32 = 50;

#[derive(Deserialize)]
pub(super) struct MessagePage {
    limit: Option<i64>,
    before_id: Option<Uuid>,
    after_seq: Option<i64>,
}

/// `GET /rooms/:id/messages?limit=50&before_id=&after_seq=`: oldest first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Params(page): Params<MessagePage>,
) -> ApiResult<Vec<Message>> {
    read(&app, &caller, &id, "group", &page).await
}

/// `GET /dm/:id/messages`
pub(super) async fn list_dm(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Params(page): Params<MessagePage>,
) -> ApiResult<Vec<Message>> {
    read(&app, &caller, &id, "dm", &page).await
}

/// `POST /rooms/:id/messages`: stored, then sent to all subscribers of the room.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Body(draft): Body<Draft>,
) -> ApiResult<Message> {
    let room = member_room(&app, &caller, &id, "group").await?;
    posted(Arc::clone(&app).post(room, caller, draft).await?)
}

/// `POST /dm/:id/messages`
pub(super) async fn create_dm(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Body(draft): Body<Draft>,
) -> ApiResult<Message> {
    let room = member_room(&app, &caller, &id, "dm").await?;
    posted(Arc::clone(&app).post(room, caller, draft).await?)
}

/// Answers 201 with a new message, 200 with one that an earlier post has stored.
fn posted(posted: Posted) -> ApiResult<Message> {
    match posted {
        Posted::New(message) => created(message),
        Posted::Before(message) => ok(message),
    }
}

async fn member_room(app: &App, caller: &Identity, id: &str, kind: &str) -> Result<Room, ApiError> {
    let room = app.room(caller, id).await?;
    if room.kind != kind {
        return Err(ApiError::NotFound("no such room"));
    }
    if app.role(caller, &room).await?.is_none() {
        return Err(ApiError::Forbidden("not a member of this room"));
    }
    Ok(room)
}

async fn read(
    app: &App,
    caller: &Identity,
    id: &str,
    kind: &str,
    page: &MessagePage,
) -> ApiResult<Vec<Message>> {
    let room = member_room(app, caller, id, kind).await?;
    let cursor = match (page.before_id, page.after_seq) {
        (None, None) => Cursor::Latest,
        (Some(id), None) => Cursor::Before(id),
        (None, Some(seq)) => Cursor::AfterSeq(seq),
        (Some(_), Some(_)) => {
            return Err(ApiError::BadRequest(
                "before_id or after_seq, not both".into(),
            ));
        }
    };
    let messages = app
        .db
        .messages(room.id, cursor, clamp(page.limit, PAGE_DEFAULT))
        .await?;
    let unknown = || ApiError::BadRequest("before_id names no message of this room".into());
    ok(messages.ok_or_else(unknown)?)
}
