//! Servers and their categories.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::openapi::{Envelope, Refusals};
use super::{
    params::{NO_SERVER, Page, Params, PathId, new_one},
    rooms::{self, RoomInput, Shown},
};
use crate::{
    app::App,
    auth::{CurrentUser, Identity},
    db::{Category, Deleted, Most, Server},
    error::{ApiError, ApiResult, Body, FieldErrors, created, ok},
    meters::Kind,
    names::RoomName,
};

/// The most servers of a user, and rooms and categories of a server.
const SERVERS_OWNED_MAX: u32 = 100;
const ROOMS_MAX: u32 = 500;
const CATEGORIES_MAX: u32 = 50;
pub(super) const NOT_OWNER: ApiError =
    ApiError::Forbidden("only the owner of the server does that");

#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct NameInput {
    name: Option<String>,
}

impl NameInput {
    fn parse(&self) -> Result<RoomName, ApiError> {
        let name = RoomName::parse(self.name.as_deref());
        name.map_err(|message| FieldErrors::one("name", message).into())
    }
}

/// `GET /servers?limit=100&after=<id>`: the default one first.
#[utoipa::path(
    get,
    path = "/servers",
    tag = "servers",
    operation_id = "servers_list",
    params(Page),
    responses((status = 200, body = Envelope<Vec<Server>>), Refusals),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    Params(page): Params<Page>,
) -> ApiResult<Vec<Server>> {
    let servers = app.db.servers(&caller.tenant, page.after(), page.limit());
    ok(servers.await?)
}

/// `POST /servers {name}`
#[utoipa::path(
    post,
    path = "/servers",
    tag = "servers",
    operation_id = "servers_create",
    request_body = NameInput,
    responses((status = 201, body = Envelope<Server>), Refusals),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    Body(input): Body<NameInput>,
) -> ApiResult<Server> {
    if caller.guest {
        return Err(ApiError::Forbidden("guests cannot create servers"));
    }
    let name = input.parse()?;
    app.charge_request(Kind::Change, caller.id)?;
    let added = app.db.insert_server(
        &caller.tenant,
        &name.name,
        &name.skeleton,
        caller.id,
        SERVERS_OWNED_MAX,
    );
    let server = new_one(added.await?, "you own 100 servers, which is the limit")?;
    let payload = json!(server).to_string();
    app.tell_tenant(&caller.tenant, "server_created", &payload);
    created(server)
}

/// `DELETE /servers/:id`: by its owner, with all its rooms.
#[utoipa::path(
    delete,
    path = "/servers/{id}",
    tag = "servers",
    operation_id = "servers_delete",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Value>), Refusals),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Value> {
    let server = owned(&app, &caller, &id).await?;
    app.charge_request(Kind::Change, caller.id)?;
    let id = server.id;
    let change = Arc::clone(&app);
    app.finish(async move {
        // A room that is made meanwhile is found in the next round.
        loop {
            for room in change.db.rooms_of_server(id).await? {
                change.delete_room(&room).await?;
            }
            match change.db.delete_server(id).await? {
                Deleted::Now => return Ok::<_, ApiError>(()),
                Deleted::HasRooms => {}
                Deleted::Before => return Err(NO_SERVER),
            }
        }
    })
    .await?;
    let payload = json!({ "id": id }).to_string();
    app.tell_tenant(&caller.tenant, "server_removed", &payload);
    let rest = Arc::clone(&app);
    let purge = app.tasks.spawn(async move { rest.purge_rooms().await });
    let _ = purge.await;
    ok(json!({ "id": id, "deleted": true }))
}

/// `GET /servers/:id/rooms?limit=100&after=<id>`
#[utoipa::path(
    get,
    path = "/servers/{id}/rooms",
    tag = "servers",
    operation_id = "servers_list_rooms",
    params(("id" = String, Path), Page),
    responses((status = 200, body = Envelope<Vec<Shown>>), Refusals),
)]
pub(super) async fn list_rooms(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Params(page): Params<Page>,
) -> ApiResult<Vec<Shown>> {
    let server = find(&app, &caller, &id).await?;
    rooms::list_of(&app, &caller, server.id, &page).await
}

/// `POST /servers/:id/rooms`: by the owner of the server.
#[utoipa::path(
    post,
    path = "/servers/{id}/rooms",
    tag = "servers",
    operation_id = "servers_create_room",
    request_body = RoomInput,
    params(("id" = String, Path)),
    responses((status = 201, body = Envelope<Shown>), Refusals),
)]
pub(super) async fn create_room(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Body(input): Body<RoomInput>,
) -> ApiResult<Shown> {
    let server = owned(&app, &caller, &id).await?;
    let full = "the server has 500 rooms, which is the limit";
    let most = Most::OfServer(ROOMS_MAX);
    rooms::create_on(&app, &caller, server.id, input, most, full).await
}

/// `GET /servers/:id/categories`
#[utoipa::path(
    get,
    path = "/servers/{id}/categories",
    tag = "servers",
    operation_id = "servers_list_categories",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<Category>>), Refusals),
)]
pub(super) async fn list_categories(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Vec<Category>> {
    let server = find(&app, &caller, &id).await?;
    ok(app.db.categories(server.id).await?)
}

/// `POST /servers/:id/categories {name}`: by the owner of the server.
#[utoipa::path(
    post,
    path = "/servers/{id}/categories",
    tag = "servers",
    operation_id = "servers_create_category",
    request_body = NameInput,
    params(("id" = String, Path)),
    responses((status = 201, body = Envelope<Category>), Refusals),
)]
pub(super) async fn create_category(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Body(input): Body<NameInput>,
) -> ApiResult<Category> {
    let server = owned(&app, &caller, &id).await?;
    let name = input.parse()?;
    app.charge_request(Kind::Change, caller.id)?;
    let added = app
        .db
        .insert_category(server.id, &name.name, &name.skeleton, CATEGORIES_MAX);
    let full = "the server has 50 categories, which is the limit";
    let category = new_one(added.await?, full)?;
    let payload = json!(category).to_string();
    app.tell_tenant(&caller.tenant, "category_created", &payload);
    created(category)
}

/// `DELETE /categories/:id`: by the owner of the server; its rooms stay.
#[utoipa::path(
    delete,
    path = "/categories/{id}",
    tag = "servers",
    operation_id = "servers_delete_category",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Value>), Refusals),
)]
pub(super) async fn delete_category(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<Value> {
    let none = || ApiError::NotFound("no such category");
    let id = id.parse().map_err(|_| none())?;
    let category = app.db.category(id).await?.ok_or_else(none)?;
    let server = app.db.server(&caller.tenant, category.server_id).await?;
    let server = server.ok_or_else(none)?;
    if server.owner_id != Some(caller.id) {
        return Err(NOT_OWNER);
    }
    app.charge_request(Kind::Change, caller.id)?;
    app.db.delete_category(&category).await?;
    let payload = json!({ "id": id, "server_id": server.id }).to_string();
    app.tell_tenant(&caller.tenant, "category_removed", &payload);
    ok(json!({ "id": id, "deleted": true }))
}

pub(super) async fn find(app: &App, caller: &Identity, id: &str) -> Result<Server, ApiError> {
    let id = id.parse().map_err(|_| NO_SERVER)?;
    app.db.server(&caller.tenant, id).await?.ok_or(NO_SERVER)
}

/// Returns a server, if the caller owns it.
pub(super) async fn owned(app: &App, caller: &Identity, id: &str) -> Result<Server, ApiError> {
    let server = find(app, caller, id).await?;
    if server.owner_id == Some(caller.id) {
        Ok(server)
    } else {
        Err(NOT_OWNER)
    }
}
