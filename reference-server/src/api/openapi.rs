//! The description of the API in the format of OpenAPI, made from the routes themselves.

use axum::{Json, response::IntoResponse};
use serde::Serialize;
use utoipa::{
    IntoResponses, Modify, OpenApi, ToSchema,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

/// An answer with data.
#[derive(Serialize, ToSchema)]
pub(super) struct Envelope<T> {
    data: T,
}

/// An answer that refuses.
#[derive(Serialize, ToSchema)]
pub(super) struct Refusal {
    error: String,
    /// The time to wait, of a 429.
    retry_after_ms: Option<u64>,
}

/// An answer that refuses values, with the reasons by field.
#[derive(Serialize, ToSchema)]
pub(super) struct InvalidFields {
    errors: std::collections::BTreeMap<String, Vec<String>>,
}

/// The answers of every route that refuse.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
pub(super) enum Refusals {
    /// The request cannot be read.
    #[response(status = 400)]
    BadRequest(Refusal),
    /// There is no valid token.
    #[response(status = 401)]
    Unauthorized(Refusal),
    /// The caller may not do this.
    #[response(status = 403)]
    Forbidden(Refusal),
    /// There is no such thing for the caller.
    #[response(status = 404)]
    NotFound(Refusal),
    /// The body did not come in time.
    #[response(status = 408)]
    Timeout(Refusal),
    /// The body is too long.
    #[response(status = 413)]
    TooLong(Refusal),
    /// The body is not declared as JSON.
    #[response(status = 415)]
    NotJson(Refusal),
    /// A value is refused.
    #[response(status = 422)]
    Invalid(InvalidFields),
    /// Too often.
    #[response(status = 429)]
    TooOften(Refusal),
    /// The server is busy, or its storage is in trouble.
    #[response(status = 503)]
    Unavailable(Refusal),
    /// The storage is full.
    #[response(status = 507)]
    Full(Refusal),
}

/// The description without the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "headcount-server",
        description = "Rooms, messages and their users. `Authorization: Bearer <token>`, except to get a token.",
        license(name = "MIT OR Apache-2.0")
    ),
    components(schemas(Refusal, InvalidFields)),
    security(("token" = [])),
    modifiers(&Token)
)]
pub(super) struct Description;

struct Token;

impl Modify for Token {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", bearer);
    }
}

/// Answers with the description, which is the same for all.
pub(super) async fn serve(description: utoipa::openapi::OpenApi) -> impl IntoResponse {
    Json(description)
}
