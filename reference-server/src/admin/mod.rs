//! The address for operators: `/metrics`, and the page `/admin`.

mod guard;
mod page;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::header,
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Redirect},
    routing::{get, post},
};
use tower_http::csrf::CsrfLayer;

use crate::{app::App, net, web};

/// The longest form.
const BODY_BYTES_MAX: usize = 4 << 10;

/// The format of Prometheus.
pub(crate) const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns all routes for operators.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/", get(async || Redirect::to("/admin")))
        .route("/admin", get(page::show))
        .route("/admin/kick", post(page::kick))
        .route("/css/{file}", get(web::serve))
        .route("/icon.svg", get(web::serve))
        .layer(from_fn(net::read_body))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&app), guard::check))
        .layer(CsrfLayer::new())
        .with_state(app)
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let text = app.metrics.render(&app.sample());
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], text)
}
