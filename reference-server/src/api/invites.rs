//! Invitations to private rooms.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::openapi::{Envelope, Refusals};
use super::{
    params::{PAGE_MAX, PathId},
    rooms::{PRIVATE, Shown, shown},
};
use crate::{
    app::App,
    auth::{CurrentUser, Identity},
    db::{Invite, Role, Room},
    error::{ApiError, ApiResult, Body, FieldErrors, created, ok},
    meters::Kind,
};

/// The most invitations to a room that wait for an answer.
const INVITES_MAX: u32 = 1_000;
const NO_INVITE: ApiError = ApiError::NotFound("no such invitation");

#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct NewInvite {
    user_id: Option<String>,
}

/// `POST /rooms/:id/invites {user_id}`: an admin of a private room invites a user.
#[utoipa::path(
    post,
    path = "/rooms/{id}/invites",
    tag = "invites",
    operation_id = "invites_create",
    request_body = NewInvite,
    params(("id" = String, Path)),
    responses((status = 201, body = Envelope<Invite>), Refusals),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Body(input): Body<NewInvite>,
) -> ApiResult<Invite> {
    let (room, role) = app.room_and_role(&caller, &id).await?;
    if room.kind != "group" {
        return Err(ApiError::NotFound("no such room"));
    }
    if role != Some(Role::Admin) {
        return Err(ApiError::Forbidden("only an admin of the room invites"));
    }
    if !room.private {
        return Err(ApiError::Forbidden("the room is public: all may join"));
    }
    let Some(user) = input.user_id.filter(|id| !id.is_empty()) else {
        return Err(FieldErrors::one("user_id", "can't be blank").into());
    };
    let no_user = || ApiError::NotFound("no such user");
    let user: Uuid = user.parse().map_err(|_| no_user())?;
    app.db
        .user(&caller.tenant, user)
        .await?
        .ok_or_else(no_user)?;
    app.charge_request(Kind::Change, caller.id)?;
    if app.db.role(room.id, user).await?.is_some() {
        return Err(FieldErrors::one("user_id", "is a member already").into());
    }
    if app.db.invites_len(room.id, INVITES_MAX).await? == INVITES_MAX {
        return Err(ApiError::Forbidden(
            "1000 invitations wait, which is the limit",
        ));
    }
    let inviter = caller.id;
    let change = Arc::clone(&app);
    let invite = app.finish(async move {
        let invite = change.db.invite(room.id, user, inviter).await?;
        let (invite, is_new) = invite.ok_or(NO_INVITE)?;
        if is_new {
            change.tell_user(user, "invited", &json!(invite).to_string());
        }
        Ok::<_, ApiError>(invite)
    });
    created(invite.await?)
}

/// `GET /invites`: the caller's invitations, the newest first, at most a hundred.
#[utoipa::path(
    get,
    path = "/invites",
    tag = "invites",
    operation_id = "invites_list",
    responses((status = 200, body = Envelope<Vec<Invite>>), Refusals),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
) -> ApiResult<Vec<Invite>> {
    ok(app.db.invites(caller.id, PAGE_MAX).await?)
}

/// `POST /invites/:room_id/accept`: makes the caller a member of the room.
#[utoipa::path(
    post,
    path = "/invites/{id}/accept",
    tag = "invites",
    operation_id = "invites_accept",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Shown>), Refusals),
)]
pub(super) async fn accept(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Shown> {
    let room = invited_room(&app, &caller, &id).await?;
    let user = caller.id;
    let answer = shown(&app, room.clone()).await;
    let payload = json!(answer).to_string();
    let change = Arc::clone(&app);
    app.finish(async move {
        let id = room.id;
        if !change.add_member(&room, &caller).await? {
            return Err(PRIVATE);
        }
        let user = caller.id;
        let remove =
            move |app: Arc<App>| async move { app.db.remove_invite(id, user).await.map(drop) };
        change.show(remove).await;
        Ok(())
    })
    .await?;
    app.tell_user(user, "room_created", &payload);
    ok(answer)
}

/// `POST /invites/:room_id/decline`
#[utoipa::path(
    post,
    path = "/invites/{id}/decline",
    tag = "invites",
    operation_id = "invites_decline",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Value>), Refusals),
)]
pub(super) async fn decline(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Value> {
    let room = invited_room(&app, &caller, &id).await?;
    app.db.remove_invite(room.id, caller.id).await?;
    ok(json!({ "room_id": room.id, "declined": true }))
}

async fn invited_room(app: &App, caller: &Identity, id: &str) -> Result<Room, ApiError> {
    let room = app.room(caller, id).await.map_err(|error| match error {
        ApiError::NotFound(_) => NO_INVITE,
        error => error,
    })?;
    let invite = app.db.invite_to(caller.id, room.id).await?;
    invite.map(|_| room).ok_or(NO_INVITE)
}
