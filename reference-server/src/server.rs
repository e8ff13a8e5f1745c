//! The running server, from start to drain.

use std::{
    fmt, fs,
    future::IntoFuture as _,
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use headcount::member_list::Collation;
use tokio::{net::TcpListener, time};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    admin, api,
    app::App,
    auth::{Passwords, Revocations, Tokens},
    cluster::{self, Cluster, NatsUrl},
    config::{self, Config},
    connections::Connections,
    db::{self, DatabaseUrl, Db, NewRoom, StorageError},
    demo,
    inbox::Inboxes,
    limit::{AuthLimit, MessageLimit},
    meters::{Admission, PushMeters},
    metrics::{ClusterMetrics, Metrics},
    name_order::NameOrder,
    net::{Peer, TimedListener},
    oidc::Oidc,
    room::{Hub, RefusedJoins, RoomPresence},
    socket::{CloseReason, longpoll::Polls},
    talkers::Talkers,
    webhook_calls,
    webhooks::{WAITING_MAX, Webhooks},
};

/// The time that a drain may take before open requests are cut off.
const DRAIN: Duration = Duration::from_secs(10);
/// The period at which expired rate limit windows and long-poll sessions are forgotten.
const PRUNE_PERIOD: Duration = Duration::from_secs(1);
/// The pause before an end that something still holds up is tried again, and how often.
const LEAVE_PAUSE: Duration = Duration::from_millis(10);
const LEAVE_TRIES: u32 = 100;
/// The period at which expired rate limit windows are removed from a shared database.
const WINDOWS_PRUNE_PERIOD: Duration = Duration::from_secs(60);
/// The pause before start-up work that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The database in the data directory.
const DATABASE_FILE: &str = "headcount.db";
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
    /// The PostgreSQL database could not be reached or brought up to date.
    #[error("database {url}: {error}")]
    SharedDatabase {
        /// The address of the database.
        url: DatabaseUrl,
        /// The cause, and what helps.
        #[source]
        error: StorageError,
    },
    /// No NATS server could be reached.
    #[error("NATS {url}: {error}; start it or check --nats")]
    Nats {
        /// The addresses.
        url: NatsUrl,
        /// The cause.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
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

    fn database(config: &Config, error: StorageError) -> Self {
        match &config.database {
            Some(url) => Self::SharedDatabase {
                url: url.clone(),
                error,
            },
            None => Self::Database {
                path: config.data_dir.join(DATABASE_FILE),
                error,
            },
        }
    }
}

/// The sockets on which a server listens.
#[derive(Debug)]
pub struct Listeners {
    /// For users.
    pub main: TcpListener,
    /// For operators: `/metrics` and `/admin`.
    pub admin: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(main: TcpListener) -> Self {
        Self { main, admin: None }
    }
}

/// A server that has its data and can serve.
pub struct Server {
    app: Arc<App>,
    /// Of the data directory, unless the database is another one.
    _lock: Option<fs::File>,
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
        let lock = match config.database {
            Some(_) => None,
            None => Some(lock_data_dir(&config)?),
        };
        let app = Arc::new(open(config).await?);
        Ok(Self { app, _lock: lock })
    }

    /// Returns a handle that changes the limits while the server runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::downgrade(&self.app))
    }

    /// Serves on `listeners` until `shutdown` is cancelled, then drains: no new connections, sockets
    /// closed with 1012 in batches, running requests finished.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(
        self,
        listeners: impl Into<Listeners>,
        shutdown: CancellationToken,
    ) -> Result<(), ServerError> {
        let Listeners { main, admin } = listeners.into();
        let app = self.app;
        let data_dir = app.config.data_dir.display();
        tracing::info!(address = %main.local_addr()?, %data_dir, "serving");
        let admin = admin.map(|listener| tokio::spawn(admin::serve(listener, Arc::clone(&app))));
        let admin = admin.map(AbortOnDropHandle::new);
        let polls = Arc::new(Polls::new(Arc::clone(&app)));
        // Until the connections are drained, all goes on for those that are left.
        let stopping = CancellationToken::new();
        let rooms = pulse(Arc::clone(&app), Arc::clone(&polls), stopping.clone());
        let rooms = app.tasks.spawn(rooms);
        app.tasks.spawn(start(Arc::clone(&app), shutdown.clone()));
        app.tasks
            .spawn(webhook_calls::run(Arc::clone(&app), stopping.clone()));
        app.tasks
            .spawn(cluster::run(Arc::clone(&app), stopping.clone()));
        let router = api::router(&app, &polls).into_make_service_with_connect_info::<Peer>();
        let serve = axum::serve(TimedListener(main), router)
            .with_graceful_shutdown(stopping.clone().cancelled_owned())
            .into_future();
        let drained = async {
            shutdown.cancelled().await;
            tracing::info!("draining");
            app.is_draining.store(true, Ordering::Release);
            drain(&app).await;
            stopping.cancel();
            time::sleep(DRAIN).await;
        };
        tokio::select! {
            result = serve => result?,
            () = drained => tracing::warn!("requests still open after the drain"),
        }
        rooms.abort();
        drain(&app).await;
        polls.clear();
        app.tasks.close();
        let _ = time::timeout(DRAIN, app.tasks.wait()).await;
        app.note_gone(Instant::now(), Duration::ZERO).await;
        if let Err(error) = webhook_calls::store(&app).await {
            tracing::error!(%error, "the last events of the webhook are lost");
        }
        drop((admin, polls));
        app.db.close().await;
        leave(app).await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Tells the other nodes that this one stops, once nothing else uses it.
async fn leave(mut app: Arc<App>) {
    for _ in 0..LEAVE_TRIES {
        app = match Arc::try_unwrap(app) {
            Ok(app) => return app.hub.presence.leave().await,
            Err(app) => app,
        };
        time::sleep(LEAVE_PAUSE).await;
    }
    tracing::warn!("a request still runs: the other nodes notice the end of this one only later");
}

/// Closes the connections as the settings say.
async fn drain(app: &App) {
    let batch = usize::try_from(app.config.drain_batch).unwrap_or(usize::MAX);
    let reason = if app.config.drain_abrupt {
        CloseReason::Abrupt
    } else {
        CloseReason::Restart
    };
    app.connections.drain(batch, reason).await;
}

/// Changes the limits of a running server.
pub struct Reloader(Weak<App>);

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reloader")
    }
}

impl Reloader {
    /// Takes the limits of `config`: sign-ins, connections admitted, delays of refusals, grace. Other settings hold
    /// from the next start.
    pub fn reload(&self, config: &Config) {
        let Some(app) = self.0.upgrade() else {
            return;
        };
        app.auth_limit.set_per_minute(config.auth_per_minute);
        app.admission.set(
            config.connects_per_second,
            Duration::from_millis(config.refusal_delay_ms),
        );
        app.hub.refused.set_delay(config.join_refusal_delay_ms);
        app.grace_ms.store(config.grace_ms, Ordering::Relaxed);
    }
}

/// Opens a [`Server`] and serves.
///
/// # Errors
/// As [`Server::open`] and [`Server::serve`].
pub async fn run(
    listeners: impl Into<Listeners>,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    let server = Server::open(config).await?;
    server.serve(listeners, shutdown).await
}

/// Locks the data directory, which is created if missing, against other servers, until the file is
/// dropped.
fn lock_data_dir(config: &Config) -> Result<fs::File, ServerError> {
    let lock = fs::create_dir_all(&config.data_dir).and_then(|()| config::lock_data_dir(config));
    lock.map_err(|error| ServerError::data_dir(config, error))?
        .ok_or_else(|| ServerError::DataDirInUse(config.data_dir.clone()))
}

/// Checks the settings that depend on each other. Returns the tenants.
fn check(config: &Config) -> Result<Vec<Arc<str>>, ServerError> {
    let refused = |text: &str| Err(ServerError::Config(text.into()));
    let is_remote = |address: SocketAddr| !address.ip().is_loopback();
    if config.admin_token.is_none() && config.admin_addr.is_some_and(is_remote) {
        return refused("--admin-addr is reached by other machines, which needs --admin-token");
    }
    if config
        .nats
        .as_ref()
        .is_some_and(|url| url.addresses().is_none())
    {
        return refused("--nats: it is no address like nats://host:4222");
    }
    if let Some(Err(fault)) = config.database.as_ref().map(DatabaseUrl::options) {
        return refused(&format!("--database: {fault}"));
    }
    let tenants: Vec<Arc<str>> = config.tenants.iter().map(|t| t.trim().into()).collect();
    if tenants.iter().any(|t| t.is_empty()) || tenants.is_empty() {
        return refused("a tenant needs a name");
    }
    Ok(tenants)
}

/// Opens the state of a server.
pub(crate) async fn open(config: Config) -> Result<App, ServerError> {
    let tenants = check(&config)?;
    let secret =
        config::resolve_secret(&config).map_err(|error| ServerError::data_dir(&config, error))?;
    let oidc = Oidc::new(&config, &secret)
        .map_err(|error| ServerError::Config(format!("the provider cannot be called: {error}")))?;
    let metrics = Metrics::new();
    let database_error = |error| ServerError::database(&config, error);
    let db = open_database(&config, &metrics, &tenants)
        .await
        .map_err(database_error)?;
    let revoked = db.revoked_tokens(db::now_micros() / 1_000_000).await;
    let revoked = revoked.map_err(database_error)?;
    let (cluster, presence) = join_cluster(&config, metrics.cluster.clone()).await?;
    Ok(App {
        tokens: Tokens::new(&secret),
        passwords: Passwords::new(),
        oidc,
        message_limit: MessageLimit::default(),
        auth_limit: AuthLimit::per_minute(config.auth_per_minute),
        push_meters: PushMeters::new(),
        admission: Admission::new(
            config.connects_per_second,
            Duration::from_millis(config.refusal_delay_ms),
        ),
        hub: Hub::new(
            presence,
            config.presence_full_max,
            name_order(&config)?,
            RefusedJoins::new(config.join_refusal_delay_ms),
        ),
        cluster,
        inboxes: Inboxes::default(),
        connections: Connections::default(),
        revocations: Revocations::new(revoked),
        webhooks: Webhooks::new(config.webhook.is_some(), WAITING_MAX),
        metrics,
        talkers: Talkers::new(Instant::now()),
        started: Instant::now(),
        tasks: TaskTracker::new(),
        ready: AtomicBool::new(false),
        is_draining: AtomicBool::new(false),
        grace_ms: AtomicU64::new(config.grace_ms),
        tenants,
        db,
        config,
    })
}

/// Joins the cluster that the settings name, if they do.
async fn join_cluster(
    config: &Config,
    metrics: ClusterMetrics,
) -> Result<(Option<Cluster>, RoomPresence), ServerError> {
    let Some(url) = &config.nats else {
        return Ok((None, RoomPresence::new()));
    };
    let down_after = Duration::from_millis(config.down_after_ms);
    let joined = Cluster::connect(url, &config.cluster, down_after, metrics).await;
    let (cluster, node) = joined.map_err(|error| ServerError::Nats {
        url: url.clone(),
        error: error.into(),
    })?;
    Ok((Some(cluster), RoomPresence::of_node(node, down_after)))
}

fn name_order(config: &Config) -> Result<NameOrder, ServerError> {
    let Some(locale) = &config.locale else {
        return Ok(NameOrder::Unicode);
    };
    let collation = Collation::new(locale);
    let collation = collation.map_err(|error| ServerError::Config(error.to_string()))?;
    Ok(NameOrder::Collated(Box::new(collation)))
}

async fn open_database(
    config: &Config,
    metrics: &Metrics,
    tenants: &[Arc<str>],
) -> Result<Db, StorageError> {
    let measures = metrics.database.clone();
    let db = match &config.database {
        Some(url) => Db::connect(url, measures).await?,
        None => {
            let path = config.data_dir.join(DATABASE_FILE);
            Db::open(&path, config.database_max_mib, measures).await?
        }
    };
    for tenant in tenants {
        db.ensure_default_server(tenant).await?;
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
                let live = city.live(Arc::clone(&app), shutdown.clone());
                app.tasks.spawn(live);
                break;
            }
            Err(error) => tracing::error!(%error, "the simulated room could not be set up"),
        }
        let _ = time::timeout(RETRY, shutdown.cancelled()).await;
    }
    tokio::select! {
        () = app.hub.presence.synced() => {}
        () = shutdown.cancelled() => {}
    }
    app.ready.store(true, Ordering::Release);
}

/// Beats until `shutdown`: rooms publish, limits and long-poll sessions expire.
async fn pulse(app: Arc<App>, polls: Arc<Polls>, shutdown: CancellationToken) {
    let mut beat = time::interval(Hub::BEAT);
    beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut pruned = Instant::now();
    let mut windows_pruned = pruned;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        // A fault in one beat must not end all the later ones.
        let beat = AssertUnwindSafe(|| app.beat(Instant::now()));
        if catch_unwind(beat).is_err() {
            tracing::error!("a beat was cut short by a fault");
        }
        if pruned.elapsed() >= PRUNE_PERIOD {
            polls.prune(Instant::now());
            pruned = Instant::now();
            app.message_limit.prune(pruned);
            app.auth_limit.prune();
            app.push_meters.prune();
            app.metrics.upkeep();
            if app.db.is_shared() && windows_pruned.elapsed() >= WINDOWS_PRUNE_PERIOD {
                windows_pruned = pruned;
                let app = Arc::clone(&app);
                app.tasks
                    .clone()
                    .spawn(async move { app.prune_message_windows().await });
            }
            let gone = Arc::clone(&app);
            app.tasks
                .spawn(async move { gone.note_gone(pruned, gone.grace()).await });
            let now = db::now_micros() / 1_000_000;
            app.revocations
                .prune(u64::try_from(now).unwrap_or_default());
        }
    }
}
