//! Direct messages between two users.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;

use super::params::PAGE_MAX;
use crate::{
    app::App,
    auth::CurrentUser,
    db::Room,
    error::{ApiError, ApiResult, Body, FieldErrors, ok},
};

/// The most conversations that a user may begin.
const DMS_BEGUN_MAX: u32 = 1_000;

#[derive(Deserialize)]
pub(super) struct NewDm {
    user_id: Option<String>,
}

/// `GET /dm`: the caller's conversations, newest first, at most a hundred.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
) -> ApiResult<Vec<Room>> {
    ok(app.db.dms(&caller.tenant, caller.id, PAGE_MAX).await?)
}

/// `POST /dm {user_id}`: gets or creates the conversation with that user.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    Body(input): Body<NewDm>,
) -> ApiResult<Room> {
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
    if let Some(dm) = app.db.find_dm(caller.id, other).await? {
        return ok(dm);
    }
    let begun = app.db.owned_rooms(caller.id, "dm", DMS_BEGUN_MAX);
    if begun.await? == DMS_BEGUN_MAX {
        return Err(ApiError::Forbidden(
            "you have begun 1000 conversations, which is the limit",
        ));
    }
    ok(app.db.dm(&caller.tenant, caller.id, other).await?)
}
