//! Query parameters, with refusals in the error envelope.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    db::Added,
    error::{ApiError, FieldErrors},
};

pub(super) const NO_SERVER: ApiError = ApiError::NotFound("no such server");
/// The longest page.
pub(super) const PAGE_MAX: u32 = 100;

/// Refuses a name that another one looks like.
pub(super) fn taken() -> FieldErrors {
    FieldErrors::one("name", "has already been taken")
}

/// Returns what was added; `full` says why nothing more may be.
pub(super) fn new_one<T>(added: Added<T>, full: &'static str) -> Result<T, ApiError> {
    match added {
        Added::New(new) => Ok(new),
        Added::Taken => Err(taken().into()),
        Added::Full => Err(ApiError::Forbidden(full)),
        Added::NoServer => Err(NO_SERVER),
        Added::NoCategory => Err(FieldErrors::one("category_id", "is none of this server").into()),
    }
}

/// `Query` with the error envelope.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::BadRequest(rejection.body_text().into())),
        }
    }
}

/// The id in a path, or several, with refusals in the error envelope.
#[derive(Debug)]
pub(super) struct PathId<T = String>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(rejection) => Err(ApiError::BadRequest(rejection.body_text().into())),
        }
    }
}

/// A page of a listing in order of ids: `?limit=100&after=<id>`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    limit: Option<i64>,
    after: Option<Uuid>,
}

impl Page {
    pub(super) fn limit(&self) -> u32 {
        clamp(self.limit, PAGE_MAX)
    }

    pub(super) fn after(&self) -> Uuid {
        self.after.unwrap_or(Uuid::nil())
    }
}

/// Returns `limit` within 1..=100; `default` if there is none.
pub(super) fn clamp(limit: Option<i64>, default: u32) -> u32 {
    let limit = limit
        .unwrap_or(i64::from(default))
        .clamp(1, i64::from(PAGE_MAX));
    u32::try_from(limit).unwrap_or(default)
}
