//! `Gate`: the answers on a listener until the server can give its own: a node waits for NATS first.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::from_fn,
    response::{IntoResponse as _, Response},
};
use tokio::{net::TcpListener, sync::SetOnce, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    error::ApiError,
    net::{self, Peer, TimedListener},
};

/// The time for which a request waits: a start that waits for nothing takes a moment.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A door that opens once. Clones are the same door.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    router: Arc<SetOnce<Router>>,
    waiting: &'static str,
}

impl Gate {
    /// Returns a gate of a server, which may be a node of a cluster.
    pub(crate) fn new(is_node: bool) -> Self {
        Self {
            router: Arc::default(),
            waiting: match is_node {
                true => "starting: NATS is not reached",
                false => "starting",
            },
        }
    }

    /// Hands all requests to `router` from now on. A gate that is open stays as it is.
    pub(crate) fn open(&self, router: Router) {
        let _ = self.router.set(router);
    }

    /// Serves on `listener` until `stopping` is cancelled and the running requests have ended.
    ///
    /// # Errors
    /// The listener fails.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        stopping: CancellationToken,
    ) -> std::io::Result<()> {
        let router = Router::new()
            .fallback(move |request| self.clone().answer(request))
            .layer(from_fn(net::mark_busy));
        let router = router.into_make_service_with_connect_info::<Peer>();
        axum::serve(TimedListener(listener), router)
            .with_graceful_shutdown(stopping.cancelled_owned())
            .await
    }

    async fn answer(self, request: Request) -> Response {
        let path = request.uri().path();
        let is_probe = path == "/healthz" || path == "/readyz";
        let wait = if is_probe { Duration::ZERO } else { WAIT_MAX };
        match timeout(wait, self.router.wait()).await {
            Ok(router) => {
                let answered = router.clone().oneshot(request).await;
                answered.unwrap_or_else(|never| match never {})
            }
            Err(_) => self.refuse(path),
        }
    }

    /// Answers a request that comes too early.
    fn refuse(&self, path: &str) -> Response {
        match path {
            "/healthz" => "ok".into_response(),
            path if path.starts_with("/api/") => {
                ApiError::Unavailable(self.waiting).into_response()
            }
            _ => (StatusCode::SERVICE_UNAVAILABLE, self.waiting).into_response(),
        }
    }
}
