//! Registered users of the caller's tenant.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::openapi::{Envelope, Refusals};
use super::params::{PAGE_MAX, Params, PathId, clamp};
use crate::{
    app::App,
    auth::CurrentUser,
    db::{Stats, User},
    error::{ApiError, ApiResult, ok},
    names::Username,
};

/// A user, and the status that others see.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ShownUser {
    #[serde(flatten)]
    user: User,
    status: &'static str,
}

fn shown(app: &App, user: User) -> ShownUser {
    let status = app.status_of(user.id).as_str();
    ShownUser { user, status }
}

/// `GET /stats`: how much the caller's tenant has.
#[utoipa::path(
    get,
    path = "/stats",
    tag = "users",
    operation_id = "users_stats",
    responses((status = 200, body = Envelope<Stats>), Refusals),
)]
pub(super) async fn stats(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
) -> ApiResult<Stats> {
    ok(app.db.stats(&caller.tenant).await?)
}

/// A page of users, or the one of a name.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UserPage {
    limit: Option<i64>,
    after: Option<Uuid>,
    name: Option<String>,
}

/// `GET /users?limit=100&after=<id>`, `GET /users?name=<name>`
#[utoipa::path(
    get,
    path = "/users",
    tag = "users",
    operation_id = "users_list",
    params(UserPage),
    responses((status = 200, body = Envelope<Vec<ShownUser>>), Refusals),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    Params(page): Params<UserPage>,
) -> ApiResult<Vec<ShownUser>> {
    let users = match page.name {
        Some(name) => {
            let name = Username::parse(Some(&name)).ok();
            match name {
                Some(name) => app.db.user_named(&caller.tenant, &name).await?,
                None => None,
            }
            .into_iter()
            .collect()
        }
        None => {
            let after = page.after.unwrap_or(Uuid::nil());
            let limit = clamp(page.limit, PAGE_MAX);
            app.db.users(&caller.tenant, after, limit).await?
        }
    };
    let users = users.into_iter();
    ok(users.map(|user| shown(&app, user)).collect())
}

/// `GET /users/:id`
#[utoipa::path(
    get,
    path = "/users/{id}",
    tag = "users",
    operation_id = "users_show",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<ShownUser>), Refusals),
)]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<ShownUser> {
    let not_found = ApiError::NotFound("no such user");
    let Ok(id) = id.parse() else {
        return Err(not_found);
    };
    let user = app.db.user(&caller.tenant, id).await?.ok_or(not_found)?;
    ok(shown(&app, user))
}
