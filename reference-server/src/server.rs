//! The running server, from start to drain.

use std::{
    fmt, fs,
    future::IntoFuture as _,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api,
    app::App,
    auth::{Passwords, Revocations, Tokens},
    config::{self, Config},
    connections::Connections,
    db::{self, Db, NewRoom, StorageError},
    demo,
    inbox::Inboxes,
    limit::{AuthLimit, MessageLimit},
    meters::{Admission, PushMeters},
    net::{Peer, TimedListener},
    room::Hub,
    socket::longpoll::Polls,
};

/// The time that a drain may take before open requests are cut off.
const DRAIN: Duration = Duration::from_secs(10);
/// The period at which expired rate limit windows and long-poll sessions are forgotten.
const PRUNE_PERIOD: Duration = Duration::from_secs(1);
/// The pause before start-up work that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The room that every tenant starts with.
const LOBBY: &str = "lobby";

/// The error of a server that could not start or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The listener failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The data directory could not be created, or not be written.
    #[error("data directory {}: {error}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// The database could not be opened or brought up to date.
    #[error("database {}: {error}", path.display())]
    Database {
        /// The file of the database.
        path: PathBuf,
        /// The cause, and what helps.
        #[source]
        error: StorageError,
    },
    /// Another server runs on the data directory.
    #[error("the data directory {} is in use by another server", .0.display())]
    DataDirInUse(PathBuf),
    /// A setting is invalid.
    #[error("{0}")]
    Config(String),
}

impl ServerError {
    fn data_dir(config: &Config, error: io::Error) -> Self {
        Self::DataDir {
            path: config.data_dir.clone(),
            error,
        }
    }
}

/// A server that has its data and can serve.
pub struct Server {
    app: Arc<App>,
    _lock: fs::File,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.app.config;
        f.debug_struct("Server").field("config", config).finish()
    }
}

impl Server {
    /// Locks the data directory and opens the database.
    ///
    /// # Errors
    /// The data directory, the secret or the database cannot be used; the error names the path.
    pub async fn open(config: Config) -> Result<Self, ServerError> {
        let lock = lock_data_dir(&config)?;
        let app = Arc::new(open(config).await?);
        Ok(Self { app, _lock: lock })
    }

    /// Serves on `listener` until `shutdown` is cancelled, then drains: no new connections, sockets
    /// closed with 1012 in batches, running requests finished.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), ServerError> {
        let app = self.app;
        let data_dir = app.config.data_dir.display();
        tracing::info!(address = %listener.local_addr()?, %data_dir, "serving");
        let polls = Arc::new(Polls::new(Arc::clone(&app)));
        let rooms = pulse(Arc::clone(&app), Arc::clone(&polls), shutdown.clone());
        let rooms = app.tasks.spawn(rooms);
        app.tasks.spawn(start(Arc::clone(&app), shutdown.clone()));
        let router = api::router(&app, &polls).into_make_service_with_connect_info::<Peer>();
        let serve = axum::serve(TimedListener(listener), router)
            .with_graceful_shutdown(shutdown.clone().cancelled_owned())
            .into_future();
        let drained = async {
            shutdown.cancelled().await;
            tracing::info!("draining");
            app.connections.drain().await;
            time::sleep(DRAIN).await;
        };
        tokio::select! {
            result = serve => result?,
            () = drained => tracing::warn!("requests still open after the drain"),
        }
        rooms.abort();
        app.connections.drain().await;
        polls.clear();
        app.tasks.close();
        let _ = time::timeout(DRAIN, app.tasks.wait()).await;
        app.db.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Opens a [`Server`] and serves.
///
/// # Errors
/// As [`Server::open`] and [`Server::serve`].
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    Server::open(config).await?.serve(listener, shutdown).await
}

/// Locks the data directory, which is created if missing, against other servers, until the file is
/// dropped.
fn lock_data_dir(config: &Config) -> Result<fs::File, ServerError> {
    let lock = fs::create_dir_all(&config.data_dir).and_then(|()| config::lock_data_dir(config));
    lock.map_err(|error| ServerError::data_dir(config, error))?
        .ok_or_else(|| ServerError::DataDirInUse(config.data_dir.clone()))
}

/// Opens the state of a server.
pub(crate) async fn open(config: Config) -> Result<App, ServerError> {
    let tenants: Vec<Arc<str>> = config.tenants.iter().map(|t| t.trim().into()).collect();
    if tenants.iter().any(|t| t.is_empty()) || tenants.is_empty() {
        return Err(ServerError::Config("a tenant needs a name".into()));
    }
    let secret =
        config::resolve_secret(&config).map_err(|error| ServerError::data_dir(&config, error))?;
    let path = config.data_dir.join("headcount.db");
    let db = open_database(&path, config.database_max_mib, &tenants)
        .await
        .map_err(|error| ServerError::Database {
            path: path.clone(),
            error,
        })?;
    let revoked = db.revoked_tokens(db::now_micros() / 1_000_000).await;
    let revoked = revoked.map_err(|error| ServerError::Database { path, error })?;
    Ok(App {
        tokens: Tokens::new(&secret),
        passwords: Passwords::new(),
        message_limit: MessageLimit::default(),
        auth_limit: AuthLimit::per_minute(config.auth_per_minute),
        push_meters: PushMeters::new(),
        admission: Admission::new(
            config.connects_per_second,
            Duration::from_millis(config.refusal_delay_ms),
        ),
        hub: Hub::new(config.presence_full_max),
        inboxes: Inboxes::default(),
        connections: Connections::default(),
        revocations: Revocations::new(revoked),
        tasks: TaskTracker::new(),
        ready: AtomicBool::new(false),
        tenants,
        db,
        config,
    })
}

async fn open_database(
    path: &Path,
    max_mib: Option<u32>,
    tenants: &[Arc<str>],
) -> Result<Db, StorageError> {
    let db = Db::open(path, max_mib).await?;
    for tenant in tenants {
        // The lobby is there before any user is: its name is free.
        db.ensure_server_room(&NewRoom {
            tenant,
            name: LOBBY,
            skeleton: LOBBY,
            description: "Everybody meets here.",
            ..NewRoom::default()
        })
        .await?;
    }
    Ok(db)
}

/// Does the work that precedes readiness.
async fn start(app: Arc<App>, shutdown: CancellationToken) {
    app.purge_rooms().await;
    while app.config.demo > 0 && !shutdown.is_cancelled() {
        match demo::fill(&app).await {
            Ok(city) => {
                app.tasks.spawn(city.live(Arc::clone(&app), shutdown));
                break;
            }
            Err(error) => tracing::error!(%error, "the simulated room could not be set up"),
        }
        let _ = time::timeout(RETRY, shutdown.cancelled()).await;
    }
    app.ready.store(true, Ordering::Release);
}

/// Beats until `shutdown`: rooms publish, limits and long-poll sessions expire.
async fn pulse(app: Arc<App>, polls: Arc<Polls>, shutdown: CancellationToken) {
    let mut beat = time::interval(Hub::BEAT);
    beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut pruned = Instant::now();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        // A fault in one beat must not end all the later ones.
        let beat = AssertUnwindSafe(|| app.hub.beat(Instant::now()));
        if catch_unwind(beat).is_err() {
            tracing::error!("a beat was cut short by a fault");
        }
        if pruned.elapsed() >= PRUNE_PERIOD {
            polls.prune(Instant::now());
            pruned = Instant::now();
            app.message_limit.prune(pruned);
            app.auth_limit.prune();
            app.push_meters.prune();
            let now = db::now_micros() / 1_000_000;
            app.revocations
                .prune(u64::try_from(now).unwrap_or_default());
        }
    }
}
