//! Registered users of the caller's tenant.

use std::sync::Arc;

use axum::extract::State;

use super::params::{Page, Params, PathId};
use crate::{
    app::App,
    auth::CurrentUser,
    db::User,
    error::{ApiError, ApiResult, ok},
};

/// `GET /users?limit=100&after=<id>`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    Params(page): Params<Page>,
) -> ApiResult<Vec<User>> {
    ok(app
        .db
        .users(&caller.tenant, page.after(), page.limit())
        .await?)
}

/// `GET /users/:id`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> ApiResult<User> {
    let not_found = ApiError::NotFound("no such user");
    let Ok(id) = id.parse() else {
        return Err(not_found);
    };
    ok(app.db.user(&caller.tenant, id).await?.ok_or(not_found)?)
}
