//! Roles of a server, their holders, and rooms that are limited to them.

use std::{collections::HashSet, sync::Arc};

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::openapi::{Envelope, Refusals};
use super::{
    params::{PathId, new_one, taken},
    rooms::shown,
    servers::{NOT_OWNER, find, owned},
};
use crate::{
    app::App,
    auth::{CurrentUser, Identity},
    db::{RoleContent, Room, Server, ServerRole, StorageError},
    error::{ApiError, ApiResult, Body, FieldErrors, created, ok},
    meters::Kind,
    names::RoomName,
};

/// The most roles of a server.
const ROLES_MAX: u32 = 250;
const NO_ROLE: ApiError = ApiError::NotFound("no such role");
const NO_ROOM: ApiError = ApiError::NotFound("no such room");

/// The content of a role. What a change leaves out stays.
#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct RoleInput {
    name: Option<String>,
    /// As `#rrggbb`; empty for none.
    colour: Option<String>,
    hoisted: Option<bool>,
}

/// Roles by id.
#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct RoleIds {
    role_ids: Option<Vec<String>>,
}

/// The content of a role, after it was checked.
struct CheckedRole {
    name: RoomName,
    colour: String,
    hoisted: bool,
}

impl RoleInput {
    /// Checks the content; what it leaves out is that of the role of before.
    fn check(self, before: Option<&ServerRole>) -> Result<CheckedRole, FieldErrors> {
        let mut errors = FieldErrors::default();
        let name = self.name.as_deref();
        let name = name.or(before.map(|role| role.name.as_str()));
        let colour = self.colour.as_deref();
        let colour = colour.or(before.map(|role| role.colour.as_str()));
        let name = errors.check("name", RoomName::parse(name));
        let colour = errors.check("colour", parse_colour(colour.unwrap_or_default()));
        let hoisted = self.hoisted.or(before.map(|role| role.hoisted));
        let Some((name, colour)) = name.zip(colour) else {
            return Err(errors);
        };
        Ok(CheckedRole {
            name,
            colour,
            hoisted: hoisted.unwrap_or_default(),
        })
    }
}

impl CheckedRole {
    fn content(&self) -> RoleContent<'_> {
        RoleContent {
            name: &self.name.name,
            skeleton: &self.name.skeleton,
            colour: &self.colour,
            hoisted: self.hoisted,
        }
    }
}

impl RoleIds {
    /// Returns the ids, each of which must be one of `roles` and stand there once.
    fn parse(self, roles: &[ServerRole]) -> Result<Vec<Uuid>, FieldErrors> {
        let wrong = |message: &str| FieldErrors::one("role_ids", message);
        let known: HashSet<Uuid> = roles.iter().map(|role| role.id).collect();
        let texts = self.role_ids.ok_or_else(|| wrong("can't be blank"))?;
        let mut named = HashSet::new();
        let mut ids = Vec::new();
        for text in texts {
            let id: Option<Uuid> = text.parse().ok().filter(|id| known.contains(id));
            let id = id.ok_or_else(|| wrong("names a role that is none of this server"))?;
            if !named.insert(id) {
                return Err(wrong("names a role twice"));
            }
            ids.push(id);
        }
        Ok(ids)
    }
}

/// Checks a colour: `#` and six hexadecimal digits, or nothing.
fn parse_colour(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix('#').unwrap_or_default();
    let is_colour = digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if is_colour || text.is_empty() {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be # and six hexadecimal digits, or empty".into())
    }
}

/// `GET /servers/:id/roles`: the highest first.
#[utoipa::path(
    get,
    path = "/servers/{id}/roles",
    tag = "roles",
    operation_id = "roles_list",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<ServerRole>>), Refusals),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Vec<ServerRole>> {
    let server = find(&app, &caller, &id).await?;
    ok(app.db.roles(server.id).await?)
}

/// `POST /servers/:id/roles {name, colour?, hoisted?}`: below all others, by the owner of the server.
#[utoipa::path(
    post,
    path = "/servers/{id}/roles",
    tag = "roles",
    operation_id = "roles_create",
    request_body = RoleInput,
    params(("id" = String, Path)),
    responses((status = 201, body = Envelope<ServerRole>), Refusals),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Body(input): Body<RoleInput>,
) -> ApiResult<ServerRole> {
    let server = owned(&app, &caller, &id).await?;
    let role = input.check(None)?;
    app.charge_request(Kind::Change, caller.id)?;
    let change = Arc::clone(&app);
    let added = app.finish(async move {
        let content = role.content();
        let added = change.db.insert_role(server.id, &content, ROLES_MAX);
        let added = added.await?;
        change.show_roles_later(server.id).await;
        Ok::<_, StorageError>(added)
    });
    let full = "the server has 250 roles, which is the limit";
    created(new_one(added.await?, full)?)
}

/// `PUT /servers/:id/roles {role_ids}`: orders all roles, the highest first; by the owner of the server.
#[utoipa::path(
    put,
    path = "/servers/{id}/roles",
    tag = "roles",
    operation_id = "roles_order",
    request_body = RoleIds,
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<ServerRole>>), Refusals),
)]
pub(super) async fn order(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Body(input): Body<RoleIds>,
) -> ApiResult<Vec<ServerRole>> {
    let server = owned(&app, &caller, &id).await?;
    app.charge_request(Kind::Change, caller.id)?;
    let ids = input.parse(&app.db.roles(server.id).await?)?;
    let change = Arc::clone(&app);
    let ordered = app.finish(async move {
        let ordered = change.db.order_roles(server.id, &ids).await?;
        change.show_roles_later(server.id).await;
        Ok::<_, StorageError>(ordered)
    });
    let unordered = || FieldErrors::one("role_ids", "must name every role of the server once");
    ok(ordered.await?.ok_or_else(unordered)?)
}

/// `PATCH /servers/:id/roles/:role_id {name?, colour?, hoisted?}`: by the owner of the server.
#[utoipa::path(
    patch,
    path = "/servers/{id}/roles/{role_id}",
    tag = "roles",
    operation_id = "roles_edit",
    request_body = RoleInput,
    params(("id" = String, Path), ("role_id" = String, Path)),
    responses((status = 200, body = Envelope<ServerRole>), Refusals),
)]
pub(super) async fn edit(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId((id, role)): PathId<(String, String)>,
    Body(input): Body<RoleInput>,
) -> ApiResult<ServerRole> {
    let server = owned(&app, &caller, &id).await?;
    let role = role_of(&app, &server, &role).await?;
    app.charge_request(Kind::Change, caller.id)?;
    let checked = input.check(Some(&role))?;
    let change = Arc::clone(&app);
    let updated = app.finish(async move {
        let updated = change.db.update_role(&role, &checked.content()).await?;
        change.show_roles_later(server.id).await;
        Ok::<_, StorageError>(updated)
    });
    ok(updated.await?.ok_or_else(taken)?)
}

/// `DELETE /servers/:id/roles/:role_id`: by the owner of the server. A room that was limited to this role alone then
/// admits only the owner.
#[utoipa::path(
    delete,
    path = "/servers/{id}/roles/{role_id}",
    tag = "roles",
    operation_id = "roles_delete",
    params(("id" = String, Path), ("role_id" = String, Path)),
    responses((status = 200, body = Envelope<Value>), Refusals),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId((id, role)): PathId<(String, String)>,
) -> ApiResult<Value> {
    let server = owned(&app, &caller, &id).await?;
    let role = role_of(&app, &server, &role).await?;
    app.charge_request(Kind::Change, caller.id)?;
    let id = role.id;
    app.finish(Arc::clone(&app).delete_role(role)).await?;
    ok(json!({ "id": id, "deleted": true }))
}

/// `GET /servers/:id/members/:user_id/roles`: the highest first.
#[utoipa::path(
    get,
    path = "/servers/{id}/members/{user_id}/roles",
    tag = "roles",
    operation_id = "roles_of_member",
    params(("id" = String, Path), ("user_id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<ServerRole>>), Refusals),
)]
pub(super) async fn of_member(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId((id, user)): PathId<(String, String)>,
) -> ApiResult<Vec<ServerRole>> {
    let server = find(&app, &caller, &id).await?;
    let user = user_of(&app, &caller, &user).await?;
    ok(app.db.roles_of(server.id, user).await?)
}

/// `PUT /servers/:id/members/:user_id/roles/:role_id`: gives the role, by the owner of the server.
#[utoipa::path(
    put,
    path = "/servers/{id}/members/{user_id}/roles/{role_id}",
    tag = "roles",
    operation_id = "roles_give",
    params(("id" = String, Path), ("user_id" = String, Path), ("role_id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<ServerRole>>), Refusals),
)]
pub(super) async fn give(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(holding): PathId<(String, String, String)>,
) -> ApiResult<Vec<ServerRole>> {
    let (user, role) = holding_of(&app, &caller, holding).await?;
    app.charge_request(Kind::Change, caller.id)?;
    let (held, opened) = app.finish(Arc::clone(&app).give_role(role, user)).await?;
    for room in opened {
        let payload = json!(shown(&app, room).await).to_string();
        app.tell_user(user, "room_created", &payload);
    }
    ok(held)
}

/// `DELETE /servers/:id/members/:user_id/roles/:role_id`: takes the role, by the owner of the server. The user leaves
/// the rooms to which no other role admits it.
#[utoipa::path(
    delete,
    path = "/servers/{id}/members/{user_id}/roles/{role_id}",
    tag = "roles",
    operation_id = "roles_take",
    params(("id" = String, Path), ("user_id" = String, Path), ("role_id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<ServerRole>>), Refusals),
)]
pub(super) async fn take(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(holding): PathId<(String, String, String)>,
) -> ApiResult<Vec<ServerRole>> {
    let (user, role) = holding_of(&app, &caller, holding).await?;
    app.charge_request(Kind::Change, caller.id)?;
    ok(app.finish(Arc::clone(&app).take_role(role, user)).await?)
}

/// `GET /rooms/:id/roles`: the roles to which a room is limited, the highest first; by the owner of its server.
#[utoipa::path(
    get,
    path = "/rooms/{id}/roles",
    tag = "roles",
    operation_id = "roles_of_room",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<ServerRole>>), Refusals),
)]
pub(super) async fn of_room(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Vec<ServerRole>> {
    let (room, _) = owned_room(&app, &caller, &id).await?;
    ok(app.db.roles_of_room(room.id).await?)
}

/// `PUT /rooms/:id/roles {role_ids}`: limits a room to users with one of the roles, whom its member list then shows;
/// none opens it to all. By the owner of its server.
#[utoipa::path(
    put,
    path = "/rooms/{id}/roles",
    tag = "roles",
    operation_id = "roles_limit_room",
    request_body = RoleIds,
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Room>), Refusals),
)]
pub(super) async fn limit_room(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Body(input): Body<RoleIds>,
) -> ApiResult<Room> {
    let (room, server) = owned_room(&app, &caller, &id).await?;
    app.charge_request(Kind::Change, caller.id)?;
    let ids = input.parse(&app.db.roles(server).await?)?;
    let was_limited = room.limited;
    let limited = Room {
        limited: !ids.is_empty(),
        ..room.clone()
    };
    app.finish(Arc::clone(&app).limit_room(room, ids)).await?;
    let room = match app.room(&caller, &id).await {
        // It is limited, and all hear of it, also if it cannot be read now.
        Err(ApiError::Storage(_)) => limited,
        room => room?,
    };
    let payload = json!(shown(&app, room.clone()).await).to_string();
    if room.limited || (was_limited && room.private) {
        if !room.private {
            app.tell_user(caller.id, "room_created", &payload);
        }
        let id = room.id;
        let tell = Arc::clone(&app);
        app.finish(async move {
            tell.show(move |app| app.tell_admitted(id, payload.clone()))
                .await;
            Ok::<_, ApiError>(())
        })
        .await?;
    } else if was_limited {
        app.tell_tenant(&caller.tenant, "room_created", &payload);
    }
    ok(room)
}

/// Returns a room and the id of its server, which the caller owns.
async fn owned_room(app: &App, caller: &Identity, id: &str) -> Result<(Room, Uuid), ApiError> {
    let room = app.room(caller, id).await?;
    let server = room.server_id.ok_or(NO_ROOM)?;
    let server = app.db.server(&caller.tenant, server).await?;
    let server = server.ok_or(NO_ROOM)?;
    if server.owner_id != Some(caller.id) {
        return Err(NOT_OWNER);
    }
    Ok((room, server.id))
}

/// Returns the id of a user, and a role of a server that the caller owns.
async fn holding_of(
    app: &App,
    caller: &Identity,
    (id, user, role): (String, String, String),
) -> Result<(Uuid, ServerRole), ApiError> {
    let server = owned(app, caller, &id).await?;
    let user = user_of(app, caller, &user).await?;
    let role = role_of(app, &server, &role).await?;
    Ok((user, role))
}

/// Returns the role of that id, if it is one of the server.
async fn role_of(app: &App, server: &Server, id: &str) -> Result<ServerRole, ApiError> {
    let id = id.parse().map_err(|_| NO_ROLE)?;
    app.db.server_role(server.id, id).await?.ok_or(NO_ROLE)
}

/// Returns the id of a registered user of the caller's tenant.
async fn user_of(app: &App, caller: &Identity, id: &str) -> Result<Uuid, ApiError> {
    let none = || ApiError::NotFound("no such user");
    let id: Uuid = id.parse().map_err(|_| none())?;
    let user = app.db.user(&caller.tenant, id).await?;
    user.map(|_| id).ok_or_else(none)
}
