//! Errors of the HTTP API and their envelopes.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::db::{StorageError, StorageFault};

/// The error of an API call, which has then changed nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    #[error("{0}")]
    Unauthorized(&'static str),
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{0}")]
    NotFound(&'static str),
    #[error("{1}")]
    Rejected(StatusCode, String),
    #[error("validation failed")]
    Invalid(FieldErrors),
    #[error("rate limited")]
    RateLimited { retry_after_ms: u64 },
    #[error("{0}")]
    Unavailable(&'static str),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("internal error: {0}")]
    Internal(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl ApiError {
    /// Refuses a call until some time has passed.
    pub(crate) fn rate_limited(wait: Duration) -> Self {
        Self::RateLimited {
            retry_after_ms: millis(wait),
        }
    }
}

/// Returns `wait` in milliseconds, at least one.
pub(crate) fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Returns the error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The result of an API handler: `{"data": …}` or an error envelope.
pub(crate) type ApiResult<T> = Result<Data<T>, ApiError>;

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl From<FieldErrors> for ApiError {
    fn from(errors: FieldErrors) -> Self {
        Self::Invalid(errors)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let text = self.to_string();
        let (status, body) = match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, json!({ "error": text })),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, json!({ "error": text })),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, json!({ "error": text })),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, json!({ "error": text })),
            Self::Rejected(status, _) => (status, json!({ "error": text })),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "error": text })),
            Self::Invalid(errors) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                json!({ "errors": errors }),
            ),
            Self::RateLimited { retry_after_ms } => {
                let body = json!({ "error": text, "retry_after_ms": retry_after_ms });
                let mut response = (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response();
                let seconds = HeaderValue::from(retry_after_ms.div_ceil(1000));
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
                return response;
            }
            Self::Storage(error) => {
                tracing::error!(%error, "request failed");
                let status = match error.fault {
                    StorageFault::Full => StatusCode::INSUFFICIENT_STORAGE,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                (status, json!({ "error": error.fault.reason() }))
            }
            Self::Internal(error) => {
                tracing::error!(%error, "request failed");
                let body = json!({ "error": "internal error" });
                (StatusCode::INTERNAL_SERVER_ERROR, body)
            }
        };
        (status, Json(body)).into_response()
    }
}

/// Messages by field, the `{"errors": {…}}` of a 422.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct FieldErrors(BTreeMap<&'static str, Vec<String>>);

impl FieldErrors {
    /// Makes the errors of one field with one message.
    pub(crate) fn one(field: &'static str, message: impl Into<String>) -> Self {
        Self(BTreeMap::from([(field, vec![message.into()])]))
    }

    /// Returns the value, or adds the message and returns `None`.
    pub(crate) fn check<T>(&mut self, field: &'static str, r: Result<T, String>) -> Option<T> {
        r.map_err(|message| self.0.entry(field).or_default().push(message))
            .ok()
    }
}

/// The success envelope.
#[derive(Debug)]
pub(crate) struct Data<T>(pub(crate) StatusCode, pub(crate) T);

/// `200 {"data": value}`.
pub(crate) fn ok<T>(value: T) -> ApiResult<T> {
    Ok(Data(StatusCode::OK, value))
}

/// `201 {"data": value}`.
pub(crate) fn created<T>(value: T) -> ApiResult<T> {
    Ok(Data(StatusCode::CREATED, value))
}

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Envelope<T> {
            data: T,
        }
        (self.0, Json(Envelope { data: self.1 })).into_response()
    }
}

/// A JSON body with refusals in the error envelope.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(JsonRejection::JsonDataError(e)) => {
                Err(FieldErrors::one("body", e.body_text()).into())
            }
            Err(e) => Err(ApiError::Rejected(e.status(), e.body_text())),
        }
    }
}
