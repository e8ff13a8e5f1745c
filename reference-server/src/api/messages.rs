//! Messages of rooms and DMs.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::openapi::{Envelope, Refusals};
use super::params::{Params, PathId, clamp};
use crate::{
    app::App,
    auth::{CurrentUser, Identity},
    db::{Cursor, Message, Room},
    error::{ApiError, ApiResult, Body, FieldErrors, created, ok},
    post::{Draft, NOT_A_MEMBER, Posted},
};

const PAGE_DEFAULT: u32 = 50;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MessagePage {
    limit: Option<i64>,
    before_id: Option<Uuid>,
    after_seq: Option<i64>,
}

/// `GET /rooms/:id/messages?limit=50&before_id=&after_seq=`: oldest first.
#[utoipa::path(
    get,
    path = "/rooms/{id}/messages",
    tag = "messages",
    operation_id = "messages_list",
    params(("id" = String, Path), MessagePage),
    responses((status = 200, body = Envelope<Vec<Message>>), Refusals),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Params(page): Params<MessagePage>,
) -> ApiResult<Vec<Message>> {
    read(&app, &caller, &id, "group", &page).await
}

/// `GET /dm/:id/messages`
#[utoipa::path(
    get,
    path = "/dm/{id}/messages",
    tag = "direct messages",
    operation_id = "messages_list_dm",
    params(("id" = String, Path), MessagePage),
    responses((status = 200, body = Envelope<Vec<Message>>), Refusals),
)]
pub(super) async fn list_dm(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Params(page): Params<MessagePage>,
) -> ApiResult<Vec<Message>> {
    read(&app, &caller, &id, "dm", &page).await
}

/// `POST /rooms/:id/messages`: stored, then sent to all subscribers of the room.
#[utoipa::path(
    post,
    path = "/rooms/{id}/messages",
    tag = "messages",
    operation_id = "messages_create",
    request_body = Draft,
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Message>), (status = 201, body = Envelope<Message>), Refusals),
)]
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
#[utoipa::path(
    post,
    path = "/dm/{id}/messages",
    tag = "direct messages",
    operation_id = "messages_create_dm",
    request_body = Draft,
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Message>), (status = 201, body = Envelope<Message>), Refusals),
)]
pub(super) async fn create_dm(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Body(draft): Body<Draft>,
) -> ApiResult<Message> {
    let room = member_room(&app, &caller, &id, "dm").await?;
    posted(Arc::clone(&app).post(room, caller, draft).await?)
}

#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct Edit {
    content: Option<String>,
}

/// `PATCH /messages/:id {content}`: by its author, or an admin of the room.
#[utoipa::path(
    patch,
    path = "/messages/{id}",
    tag = "messages",
    operation_id = "messages_edit",
    request_body = Edit,
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Message>), Refusals),
)]
pub(super) async fn edit(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Body(edit): Body<Edit>,
) -> ApiResult<Message> {
    ok(app.edit_message(&caller, &id, edit.content).await?)
}

/// `DELETE /messages/:id`: by its author, or an admin of the room. The row stays, without content.
#[utoipa::path(
    delete,
    path = "/messages/{id}",
    tag = "messages",
    operation_id = "messages_delete",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Message>), Refusals),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Message> {
    ok(app.delete_message(&caller, &id).await?)
}

#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct ReadMark {
    seq: Option<i64>,
}

/// `PUT /rooms/:id/read {seq}`, also of a conversation: the caller has read up to this message.
#[utoipa::path(
    put,
    path = "/rooms/{id}/read",
    tag = "messages",
    operation_id = "messages_mark_read",
    request_body = ReadMark,
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Value>), Refusals),
)]
pub(super) async fn mark_read(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Body(mark): Body<ReadMark>,
) -> ApiResult<Value> {
    let seq = mark.seq.filter(|seq| *seq >= 0);
    let seq = seq.ok_or(FieldErrors::one("seq", "must be a number, 0 or more"))?;
    let (room, role) = app.room_and_role(&caller, &id).await?;
    role.ok_or(NOT_A_MEMBER)?;
    let noted = app.db.mark_read(room.id, caller.id, seq).await?;
    let noted = noted.ok_or(NOT_A_MEMBER)?;
    let answer = json!({ "room_id": room.id, "read_seq": noted });
    // The other devices of the user do not show it as unread any more.
    app.tell_user(caller.id, "read", &answer.to_string());
    ok(answer)
}

/// Answers 201 with a new message, 200 with one that an earlier post has stored.
fn posted(posted: Posted) -> ApiResult<Message> {
    match posted {
        Posted::New(message) => created(message),
        Posted::Before(message) => ok(message),
    }
}

async fn member_room(app: &App, caller: &Identity, id: &str, kind: &str) -> Result<Room, ApiError> {
    let (room, role) = app.room_and_role(caller, id).await?;
    if room.kind != kind {
        return Err(ApiError::NotFound("no such room"));
    }
    if role.is_none() {
        return Err(NOT_A_MEMBER);
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
