//! Group rooms and their members.

use std::sync::Arc;

use axum::extract::State;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::openapi::{Envelope, Refusals};
use super::params::{PAGE_MAX, Page, Params, PathId, new_one, taken};
use crate::{
    app::App,
    auth::{CurrentUser, Identity},
    db::{ListedRoom, Member, Most, NewRoom, Room},
    demo,
    error::{ApiError, ApiResult, Body, FieldErrors, created, ok},
    meters::Kind,
    names::RoomName,
    validate,
};

/// The most rooms that a user may own.
const ROOMS_OWNED_MAX: u32 = 100;
pub(super) const PRIVATE: ApiError = ApiError::Forbidden("the room is private");

#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct RoomInput {
    name: Option<String>,
    description: Option<String>,
    #[serde(default)]
    private: bool,
    category_id: Option<Uuid>,
}

/// A room and the number of members online.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Shown {
    #[serde(flatten)]
    room: Room,
    /// The number of the newest message that the caller has read; for members, in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    read_seq: Option<i64>,
    /// The number of messages that the caller has not read and that name it after `@`, at most 100; for members, in
    /// lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    mentions: Option<i64>,
    /// Members online, simulated ones and guests included. In a cluster a room that nobody has open on the node that
    /// answers is counted once a second, and a user with sessions on several nodes may count once for each.
    online: usize,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Detailed {
    #[serde(flatten)]
    shown: Shown,
    /// The first hundred; `/rooms/:id/members` lists them all.
    members: Vec<Member>,
}

/// Returns a room with the number of members online.
pub(super) async fn shown(app: &App, mut room: Room) -> Shown {
    let open = app.hub.occupancy(&room).await;
    if room.simulated {
        room.member_count = i64::try_from(open.total).unwrap_or(i64::MAX);
    }
    let online = open.online;
    Shown {
        room,
        read_seq: None,
        mentions: None,
        online,
    }
}

/// `GET /rooms?limit=100&after=<id>`: public rooms of the default server, and the caller's private ones.
#[utoipa::path(
    get,
    path = "/rooms",
    tag = "rooms",
    operation_id = "rooms_list",
    params(Page),
    responses((status = 200, body = Envelope<Vec<Shown>>), Refusals),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    Params(page): Params<Page>,
) -> ApiResult<Vec<Shown>> {
    let server = app.db.default_server(&caller.tenant).await?;
    list_of(&app, &caller, server, &page).await
}

/// Lists the rooms of a server.
pub(super) async fn list_of(
    app: &App,
    caller: &Identity,
    server: Uuid,
    page: &Page,
) -> ApiResult<Vec<Shown>> {
    let simulated = app.config.demo > 0;
    let rooms = app
        .db
        .rooms(server, caller.id, simulated, page.after(), page.limit());
    ok(all_shown(app, rooms.await?).await)
}

async fn all_shown(app: &App, rooms: Vec<ListedRoom>) -> Vec<Shown> {
    let listed = rooms.into_iter().map(async |listed| Shown {
        read_seq: listed.read_seq,
        mentions: listed.read_seq.map(|_| listed.mentions),
        ..shown(app, listed.room).await
    });
    join_all(listed).await
}

/// `GET /rooms/joined?limit=100&after=<id>`: the rooms of all servers of which the caller is a member.
#[utoipa::path(
    get,
    path = "/rooms/joined",
    tag = "rooms",
    operation_id = "rooms_list_joined",
    params(Page),
    responses((status = 200, body = Envelope<Vec<Shown>>), Refusals),
)]
pub(super) async fn list_joined(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    Params(page): Params<Page>,
) -> ApiResult<Vec<Shown>> {
    let simulated = app.config.demo > 0;
    let rooms = app
        .db
        .rooms_joined(caller.id, simulated, page.after(), page.limit());
    ok(all_shown(&app, rooms.await?).await)
}

/// `POST /rooms`: on the default server. The creator becomes the room's admin.
#[utoipa::path(
    post,
    path = "/rooms",
    tag = "rooms",
    operation_id = "rooms_create",
    request_body = RoomInput,
    responses((status = 201, body = Envelope<Shown>), Refusals),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    Body(input): Body<RoomInput>,
) -> ApiResult<Shown> {
    if caller.guest {
        return Err(ApiError::Forbidden("guests cannot create rooms"));
    }
    let server = app.db.default_server(&caller.tenant).await?;
    let full = "you own 100 rooms, which is the limit";
    let most = Most::OfOwner(ROOMS_OWNED_MAX);
    create_on(&app, &caller, server, input, most, full).await
}

/// Creates a room on a server, unless `most` are there: then that is refused with the words `full`.
pub(super) async fn create_on(
    app: &App,
    caller: &Identity,
    server: Uuid,
    input: RoomInput,
    most: Most,
    full: &'static str,
) -> ApiResult<Shown> {
    app.charge_request(Kind::Change, caller.id)?;
    let mut errors = FieldErrors::default();
    let name = errors.check("name", RoomName::parse(input.name.as_deref()));
    let about = errors.check(
        "description",
        validate::description(input.description.as_deref()),
    );
    let (Some(name), Some(about)) = (name, about) else {
        return Err(errors.into());
    };
    if demo::is_reserved(&name) {
        return Err(taken().into());
    }
    let added = app
        .db
        .insert_room(&NewRoom {
            tenant: &caller.tenant,
            server: Some(server),
            category: input.category_id,
            name: &name.name,
            skeleton: &name.skeleton,
            description: &about,
            owner: Some(caller.id),
            private: input.private,
            simulated: false,
            most,
        })
        .await?;
    let room = new_one(added, full)?;
    let room = shown(app, room).await;
    let payload = json!(room).to_string();
    if room.room.private {
        app.tell_user(caller.id, "room_created", &payload);
    } else {
        app.tell_tenant(&caller.tenant, "room_created", &payload);
    }
    created(room)
}

/// Returns the room, if the caller may read it.
async fn visible(app: &App, caller: &Identity, id: &str) -> Result<Room, ApiError> {
    let (room, role) = app.room_and_role(caller, id).await?;
    let is_owner = !caller.guest && room.owner_id == Some(caller.id);
    let is_open = is_owner || !room.private;
    let is_visible = role.is_some() || (is_open && app.admits(caller, &room).await?);
    if is_visible { Ok(room) } else { Err(PRIVATE) }
}

/// `GET /rooms/:id`
#[utoipa::path(
    get,
    path = "/rooms/{id}",
    tag = "rooms",
    operation_id = "rooms_show",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Detailed>), Refusals),
)]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Detailed> {
    let room = visible(&app, &caller, &id).await?;
    let members = app.db.members(room.id, Uuid::nil(), PAGE_MAX).await?;
    ok(Detailed {
        shown: shown(&app, room).await,
        members,
    })
}

/// `GET /rooms/:id/members?limit=100&after=<user id>`
#[utoipa::path(
    get,
    path = "/rooms/{id}/members",
    tag = "rooms",
    operation_id = "rooms_members",
    params(("id" = String, Path), Page),
    responses((status = 200, body = Envelope<Vec<Member>>), Refusals),
)]
pub(super) async fn members(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Params(page): Params<Page>,
) -> ApiResult<Vec<Member>> {
    let room = visible(&app, &caller, &id).await?;
    ok(app.db.members(room.id, page.after(), page.limit()).await?)
}

/// `DELETE /rooms/:id`: by its creator; subscriptions to it end.
#[utoipa::path(
    delete,
    path = "/rooms/{id}",
    tag = "rooms",
    operation_id = "rooms_delete",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Value>), Refusals),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Value> {
    let room = app.room(&caller, &id).await?;
    if room.kind != "group" {
        return Err(ApiError::NotFound("no such room"));
    }
    if caller.guest || room.owner_id != Some(caller.id) {
        return Err(ApiError::Forbidden("only its creator can delete a room"));
    }
    app.charge_request(Kind::Change, caller.id)?;
    let id = room.id;
    let told = if room.private {
        Some(app.db.told_of_private(id).await?)
    } else {
        None
    };
    let change = Arc::clone(&app);
    app.finish(async move { change.delete_room(&room).await })
        .await?;
    // The room is gone for all; what is left of it is removed here, or after the next start.
    let rest = Arc::clone(&app);
    let purge = app.tasks.spawn(async move { rest.purge_rooms().await });
    let payload = json!({ "id": id }).to_string();
    match told {
        Some(users) => users
            .into_iter()
            .for_each(|user| app.tell_user(user, "room_removed", &payload)),
        None => app.tell_tenant(&caller.tenant, "room_removed", &payload),
    }
    let _ = purge.await;
    ok(json!({ "id": id, "deleted": true }))
}

/// `POST /rooms/:id/join`: joining twice changes nothing. Guests are in every public room
/// already and are not stored.
#[utoipa::path(
    post,
    path = "/rooms/{id}/join",
    tag = "rooms",
    operation_id = "rooms_join",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Value>), Refusals),
)]
pub(super) async fn join(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Value> {
    let room = visible(&app, &caller, &id).await?;
    if room.kind != "group" {
        return Err(ApiError::NotFound("no such room"));
    }
    let answer = json!({ "room_id": room.id, "user_id": caller.id, "joined": true });
    if !caller.guest {
        app.charge_request(Kind::Change, caller.id)?;
        let change = Arc::clone(&app);
        let joined = app.finish(async move { change.add_member(&room, &caller).await });
        if !joined.await? {
            return Err(PRIVATE);
        }
    }
    ok(answer)
}

/// `DELETE /rooms/:id/leave`
#[utoipa::path(
    delete,
    path = "/rooms/{id}/leave",
    tag = "rooms",
    operation_id = "rooms_leave",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Value>), Refusals),
)]
pub(super) async fn leave(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Value> {
    let room = visible(&app, &caller, &id).await?;
    if room.kind != "group" {
        return Err(ApiError::NotFound("no such room"));
    }
    app.charge_request(Kind::Change, caller.id)?;
    let answer = json!({ "room_id": room.id, "user_id": caller.id, "joined": false });
    let gone = room.private.then(|| json!({ "id": room.id }).to_string());
    let user = caller.id;
    let change = Arc::clone(&app);
    app.finish(async move { change.remove_member(&room, user).await })
        .await?;
    if let Some(payload) = gone {
        app.tell_user(user, "room_removed", &payload);
    }
    ok(answer)
}
