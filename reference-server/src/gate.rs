//! `Gate`: the answers on a listener until the server can give its own: it waits for its database, and a node for NATS.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header},
    middleware::from_fn,
    response::{IntoResponse as _, Response},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::SetOnce, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    admin::TEXT_FORMAT,
    error::ApiError,
    net::{self, Peer, TimedListener},
};

/// The time for which a request waits: a start that waits for nothing takes a moment.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The metrics of a server that starts.
const NOT_READY: &str = "# TYPE headcount_ready gauge\nheadcount_ready 0\n";

/// A door that opens once. Clones are the same door.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    router: Arc<SetOnce<Router>>,
    /// The step of the start that is under way.
    step: Arc<Mutex<&'static str>>,
    is_for_operators: bool,
}

impl Gate {
    /// Returns the gate of users.
    pub(crate) fn for_users() -> Self {
        Self {
            router: Arc::default(),
            step: Arc::new(Mutex::new("starting")),
            is_for_operators: false,
        }
    }

    /// Returns the gate of operators, which has metrics at any time.
    pub(crate) fn for_operators() -> Self {
        Self {
            is_for_operators: true,
            ..Self::for_users()
        }
    }

    /// Names the step of the start that is under way, for requests that come too early.
    pub(crate) fn wait_for(&self, step: &'static str) {
        *self.step.lock() = step;
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
        let step = *self.step.lock();
        match path {
            "/metrics" if self.is_for_operators => {
                ([(header::CONTENT_TYPE, TEXT_FORMAT)], NOT_READY).into_response()
            }
            "/healthz" => "ok".into_response(),
            path if path.starts_with("/api/") => ApiError::Unavailable(step).into_response(),
            _ => (StatusCode::SERVICE_UNAVAILABLE, step).into_response(),
        }
    }
}
