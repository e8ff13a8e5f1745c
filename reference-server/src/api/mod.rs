//! The HTTP API, `/api/v1`, and the routes around it.

mod auth;
mod dm;
mod invites;
mod messages;
mod oidc;
mod openapi;
mod params;
mod roles;
mod rooms;
mod servers;
mod users;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use tower_http::{
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
    trace::{DefaultOnResponse, HttpMakeClassifier, TraceLayer},
};

use openapi::Description;
use utoipa::{OpenApi as _, openapi::Server};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    error::ApiError,
    net,
    oidc::{CALLBACK_PATH, LOGIN_PATH},
    origin::Origin,
    page,
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
    let api = api()
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
                // Else it would take the frames of the next poll.
                .head(async || StatusCode::METHOD_NOT_ALLOWED)
                .post(longpoll::push)
                .options(longpoll::preflight),
        )
        .layer(from_fn(net::read_body))
        .layer(DefaultBodyLimit::max(longpoll::BODY_BYTES_MAX))
        .with_state(Arc::clone(polls));
    // Not in the log: they are asked again and again, and not to be ready is no error.
    let probes = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(readyz))
        .layer(from_fn_with_state(Arc::clone(app), count))
        .with_state(Arc::clone(app));
    Router::new()
        .nest("/api/v1", api)
        // Not a path of the nested router.
        .route("/api/v1/", any(no_resource))
        .route("/", get(page::show))
        .route(&format!("/{LOGIN_PATH}"), get(oidc::login))
        .route(&format!("/{CALLBACK_PATH}"), get(oidc::callback))
        .fallback(web::serve)
        .layer(CompressionLayer::new())
        .route("/chat/socket/websocket", get(socket::upgrade))
        .with_state(Arc::clone(app))
        .merge(longpoll)
        .layer(from_fn_with_state(Arc::clone(app), count))
        .layer(requests())
        .merge(probes)
}

/// Returns the routes of the API, and their description at `/openapi.json`.
fn api() -> Router<Arc<App>> {
    let described = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::guest))
        .routes(routes!(oidc::session))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::change_password))
        .routes(routes!(auth::me))
        .routes(routes!(auth::set_status))
        .routes(routes!(users::stats))
        .routes(routes!(users::list))
        .routes(routes!(users::show))
        .routes(routes!(servers::list, servers::create))
        .routes(routes!(servers::delete))
        .routes(routes!(servers::list_rooms, servers::create_room))
        .routes(routes!(servers::list_categories, servers::create_category))
        .routes(routes!(servers::delete_category))
        .routes(routes!(roles::list, roles::create, roles::order))
        .routes(routes!(roles::edit, roles::delete))
        .routes(routes!(roles::of_member))
        .routes(routes!(roles::give, roles::take))
        .routes(routes!(roles::of_room, roles::limit_room))
        .routes(routes!(rooms::list, rooms::create))
        .routes(routes!(rooms::list_joined))
        .routes(routes!(rooms::show, rooms::delete))
        .routes(routes!(rooms::join))
        .routes(routes!(rooms::leave))
        .routes(routes!(rooms::members))
        .routes(routes!(messages::list, messages::create))
        .routes(routes!(messages::mark_read))
        .routes(routes!(messages::edit, messages::delete))
        .routes(routes!(invites::create))
        .routes(routes!(invites::list))
        .routes(routes!(invites::accept))
        .routes(routes!(invites::decline))
        .routes(routes!(dm::list, dm::create))
        .routes(routes!(messages::list_dm, messages::create_dm))
        .split_for_parts();
    let (router, mut description) = described;
    description.servers = Some(vec![Server::new("/api/v1")]);
    router.route("/openapi.json", get(move || openapi::serve(description)))
}

async fn no_resource() -> ApiError {
    ApiError::NotFound("no such resource")
}

/// `GET /readyz`: 200 once the start-up work is done, while the database can be written, until a stop begins. A node
/// that lost NATS later stays ready: so do all others then, and each serves its own clients.
async fn readyz(State(app): State<Arc<App>>) -> impl IntoResponse {
    if !app.is_ready() {
        let is_draining = app.is_draining.load(Ordering::Acquire);
        let state = if is_draining { "draining" } else { "starting" };
        return (StatusCode::SERVICE_UNAVAILABLE, state.to_owned());
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
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("x-tenant"),
        ])
}

/// Counts requests by route, method and status, and measures their time.
async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = known_method(request.method());
    let response = next.run(request).await;
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    let status = response.status().as_u16();
    app.metrics
        .request(route, method, status, started.elapsed());
    response
}

/// Returns the name of a method; all that no route has are one.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
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
    let room = room_of(route, request.uri().path());
    tracing::error_span!("request", method = %request.method(), route, room)
}

/// Returns the id of the room or conversation that a path names.
fn room_of<'a>(route: &str, path: &'a str) -> Option<&'a str> {
    let mut before = "";
    for (name, value) in route.split('/').zip(path.split('/')) {
        if name == "{id}" && ["rooms", "dm"].contains(&before) {
            return Some(value);
        }
        before = name;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_path_is_found() {
        let route = "/api/v1/rooms/{id}/messages";
        assert_eq!(room_of(route, "/api/v1/rooms/7/messages"), Some("7"));
        assert_eq!(room_of("/api/v1/dm/{id}", "/api/v1/dm/8"), Some("8"));
        assert_eq!(room_of("/api/v1/users/{id}", "/api/v1/users/9"), None);
        assert_eq!(room_of("", "/rooms/7"), None);
    }
}
