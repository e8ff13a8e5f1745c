//! Direct messages between two users.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use uuid::Uuid;

use super::openapi::{Envelope, Refusals};
use super::params::{PAGE_MAX, Params, clamp};
use crate::{
    app::App,
    auth::CurrentUser,
    db::Dm,
    error::{ApiError, ApiResult, Body, FieldErrors, ok},
};

const GONE: ApiError = ApiError::NotFound("no such conversation");

/// The most conversations that a user may begin.
const DMS_BEGUN_MAX: u32 = 1_000;

#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct NewDm {
    user_id: Option<String>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DmPage {
    limit: Option<i64>,
    before: Option<Uuid>,
}

/// `GET /dm?limit=100&before=<id>`: the caller's conversations, those with the newest messages first.
#[utoipa::path(
    get,
    path = "/dm",
    tag = "direct messages",
    operation_id = "dm_list",
    params(DmPage),
    responses((status = 200, body = Envelope<Vec<Dm>>), Refusals),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    Params(page): Params<DmPage>,
) -> ApiResult<Vec<Dm>> {
    let limit = clamp(page.limit, PAGE_MAX);
    let dms = app.db.dms(caller.id, page.before, limit).await?;
    ok(dms.into_iter().map(|dm| app.with_status(dm)).collect())
}

/// `POST /dm {user_id}`: gets or creates the conversation with that user.
#[utoipa::path(
    post,
    path = "/dm",
    tag = "direct messages",
    operation_id = "dm_create",
    request_body = NewDm,
    responses((status = 200, body = Envelope<Dm>), Refusals),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    Body(input): Body<NewDm>,
) -> ApiResult<Dm> {
    if caller.guest {
        return Err(ApiError::Forbidden("guests have no direct messages"));
    }
    let not_found = ApiError::NotFound("no such user");
    let Some(other) = input.user_id.filter(|id| !id.is_empty()) else {
        return Err(FieldErrors::one("user_id", "can't be blank").into());
    };
    let Ok(other) = other.parse() else {
        return Err(not_found);
    };
    if other == caller.id {
        return Err(FieldErrors::one("user_id", "must be another user").into());
    }
    app.db.user(&caller.tenant, other).await?.ok_or(not_found)?;
    if let Some(room) = app.db.find_dm(caller.id, other).await? {
        return ok(app.dm_of(caller.id, room.id).await?.ok_or(GONE)?);
    }
    let begun = app.db.dms_begun(caller.id, DMS_BEGUN_MAX);
    if begun.await? == DMS_BEGUN_MAX {
        return Err(ApiError::Forbidden(
            "you have begun 1000 conversations, which is the limit",
        ));
    }
    let dm = app.db.dm(&caller.tenant, caller.id, other).await?;
    ok(app.with_status(dm))
}
