//! The HTTP API, `/api/v1`, and the routes around it.

mod auth;
mod dm;
mod messages;
mod params;
mod rooms;
mod users;

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, Method, StatusCode, header},
    middleware::from_fn,
    response::IntoResponse,
    routing::{any, delete, get, post},
};
use tower_http::{
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
    trace::{DefaultOnResponse, HttpMakeClassifier, TraceLayer},
};

use crate::{
    app::App,
    error::ApiError,
    net,
    origin::Origin,
    socket::{
        self,
        longpoll::{self, Polls},
    },
    web,
};

/// The longest request body, in bytes. The longest useful one is a message of 4,000
/// characters, all of them escaped.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Returns all routes of the server.
pub(crate) fn router(app: &Arc<App>, polls: &Arc<Polls>) -> Router {
    let api = Router::new()
        .route("/auth/register", post(auth::register))
        .route("/auth/login", post(auth::login))
        .route("/auth/guest", post(auth::guest))
        .route("/auth/logout", delete(auth::logout))
        .route("/auth/password", post(auth::change_password))
        .route("/auth/me", get(auth::me))
        .route("/users", get(users::list))
        .route("/users/{id}", get(users::show))
        .route("/rooms", get(rooms::list).post(rooms::create))
        .route("/rooms/{id}", get(rooms::show).delete(rooms::delete))
        .route("/rooms/{id}/join", post(rooms::join))
        .route("/rooms/{id}/leave", delete(rooms::leave))
        .route("/rooms/{id}/members", get(rooms::members))
        .route(
            "/rooms/{id}/messages",
            get(messages::list).post(messages::create),
        )
        .route("/dm", get(dm::list).post(dm::create))
        .route(
            "/dm/{id}/messages",
            get(messages::list_dm).post(messages::create_dm),
        )
        .fallback(no_resource)
        .method_not_allowed_fallback(async || {
            ApiError::Rejected(StatusCode::METHOD_NOT_ALLOWED, "method not allowed".into())
        })
        .layer(from_fn(net::read_body))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(cors(&app.config.allowed_origins));
    let longpoll = Router::new()
        .route(
            "/chat/socket/longpoll",
            get(longpoll::poll)
                .post(longpoll::push)
                .options(longpoll::preflight),
        )
        .layer(from_fn(net::read_body))
        .layer(DefaultBodyLimit::max(longpoll::BODY_BYTES_MAX))
        .with_state(Arc::clone(polls));
    Router::new()
        .nest("/api/v1", api)
        // Not a path of the nested router.
        .route("/api/v1/", any(no_resource))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(readyz))
        .fallback(web::serve)
        .layer(CompressionLayer::new())
        .route("/chat/socket/websocket", get(socket::upgrade))
        .with_state(Arc::clone(app))
        .merge(longpoll)
        .layer(requests())
        .layer(from_fn(net::mark_busy))
}

async fn no_resource() -> ApiError {
    ApiError::NotFound("no such resource")
}

/// `GET /readyz`: 200 once the start-up work is done, while the database can be written.
async fn readyz(State(app): State<Arc<App>>) -> impl IntoResponse {
    if !app.ready.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting".to_owned());
    }
    match app.db.probe().await {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(trouble) => (StatusCode::SERVICE_UNAVAILABLE, trouble),
    }
}

fn cors(allowed: &[Origin]) -> CorsLayer {
    let origin = if allowed.is_empty() || allowed.iter().any(Origin::is_any) {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(allowed.iter().filter_map(Origin::to_header))
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("x-tenant"),
        ])
}

/// Writes requests to the log with their status, all at level info, failed ones as errors.
fn requests() -> TraceLayer<HttpMakeClassifier, fn(&Request) -> tracing::Span> {
    TraceLayer::new_for_http()
        .make_span_with(span as fn(&Request) -> tracing::Span)
        .on_response(DefaultOnResponse::new().level(tracing::Level::INFO))
}

/// Returns the span of a request in the log, also where only errors are logged: never its query, which may
/// contain a token.
fn span(request: &Request) -> tracing::Span {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    tracing::error_span!("request", method = %request.method(), route)
}
