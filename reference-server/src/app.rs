//! The running server: what every request shares, and its life from start to drain.

use std::{
    fs,
    future::IntoFuture as _,
    io,
    net::SocketAddr,
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
    auth::{Identity, Passwords, Tokens},
    config::{self, Config},
    db::{self, Db, NewRoom, Role, StorageError},
    demo,
    error::ApiError,
    limit::{AuthLimit, MessageLimit},
    room::Hub,
    socket::longpoll::Sessions,
};

/// How long a drain may take before open requests are cut off.
const DRAIN: Duration = Duration::from_secs(10);
/// How often spent rate limit windows and sessions nobody polls are forgotten.
const PRUNE_PERIOD: Duration = Duration::from_secs(1);
/// The pause before start-up work that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The room every tenant starts with.
const LOBBY: &str = "lobby";

/// Why the server could not start or had to stop.
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
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// The database could not be opened or brought up to date.
    #[error("database {}: {error}", path.display())]
    Database {
        /// The file of the database.
        path: PathBuf,
        /// What went wrong, and what helps.
        #[source]
        error: StorageError,
    },
    /// Another server runs on the data directory.
    #[error("the data directory {} is in use by another server", .0.display())]
    DataDirInUse(PathBuf),
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
}

/// What every request and socket shares.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) tenants: Vec<Arc<str>>,
    pub(crate) db: Db,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    pub(crate) message_limit: MessageLimit,
    pub(crate) auth_limit: AuthLimit,
    pub(crate) hub: Hub,
    pub(crate) polls: Sessions,
    /// Work that a stop waits for: sockets, and changes that must not be cut in half.
    pub(crate) tasks: TaskTracker,
    pub(crate) ready: AtomicBool,
}

impl App {
    /// Runs a change of what is stored to its end, also if the caller goes away: what is stored is
    /// also shown.
    pub(crate) async fn finish<T, E>(
        &self,
        change: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        E: Into<ApiError> + Send + 'static,
    {
        let done = self.tasks.spawn(change).await;
        done.map_err(|e| ApiError::Internal(Box::new(e)))?
            .map_err(Into::into)
    }

    /// Whom `token` speaks for: signature, tenant and, for registered users, the user itself
    /// are checked. `None` if any of them does not hold.
    pub(crate) async fn authenticate(&self, token: &str) -> Result<Option<Identity>, ApiError> {
        let Some(identity) = self.tokens.verify(token) else {
            return Ok(None);
        };
        if !self.tenants.contains(&identity.tenant) {
            return Ok(None);
        }
        if !identity.guest && self.db.user(&identity.tenant, identity.id).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(identity))
    }

    /// The room of that id in the caller's tenant. Simulated rooms exist with `--demo` only.
    pub(crate) async fn room(&self, caller: &Identity, id: &str) -> Result<db::Room, ApiError> {
        let not_found = ApiError::NotFound("no such room");
        let Ok(id) = id.parse() else {
            return Err(not_found);
        };
        let room = self.db.room(&caller.tenant, id).await?;
        room.filter(|room| !room.simulated || self.config.demo > 0)
            .ok_or(not_found)
    }

    /// Returns what `caller` is in `room`; `None` may not read or write there. Guests are in every public
    /// room; users in the rooms they joined.
    pub(crate) async fn role(
        &self,
        caller: &Identity,
        room: &db::Room,
    ) -> Result<Option<Role>, ApiError> {
        if caller.guest {
            return Ok((!room.private).then_some(Role::Member));
        }
        Ok(self.db.role(room.id, caller.id).await?)
    }
}

/// Serves on `listener` until `shutdown` is cancelled, then drains: no new connections, sockets
/// closed with 1012 in batches, running requests finished.
///
/// # Errors
/// When the data directory, the secret or the database cannot be used.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    let _lock = lock_data_dir(&config)?;
    let app = Arc::new(open(config).await?);
    let rooms = app.tasks.spawn(Arc::clone(&app).pulse(shutdown.clone()));
    app.tasks.spawn(start(Arc::clone(&app), shutdown.clone()));
    let router = api::router(&app).into_make_service_with_connect_info::<SocketAddr>();
    let serve = axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .into_future();
    let drained = async {
        shutdown.cancelled().await;
        app.hub.drain().await;
        time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = serve => result?,
        () = drained => tracing::warn!("requests still open after the drain"),
    }
    rooms.abort();
    app.hub.drain().await;
    app.polls.clear();
    app.tasks.close();
    let _ = time::timeout(DRAIN, app.tasks.wait()).await;
    app.db.close().await;
    Ok(())
}

/// Keeps other servers off the data directory, which is created if missing, until the file is
/// dropped.
fn lock_data_dir(config: &Config) -> Result<fs::File, ServerError> {
    let lock = fs::create_dir_all(&config.data_dir).and_then(|()| config::lock_data_dir(config));
    lock.map_err(|error| data_dir_failed(config, error))?
        .ok_or_else(|| ServerError::DataDirInUse(config.data_dir.clone()))
}

fn data_dir_failed(config: &Config, error: io::Error) -> ServerError {
    ServerError::DataDir {
        path: config.data_dir.clone(),
        error,
    }
}

async fn open(config: Config) -> Result<App, ServerError> {
    let tenants: Vec<Arc<str>> = config.tenants.iter().map(|t| t.trim().into()).collect();
    if tenants.iter().any(|t| t.is_empty()) || tenants.is_empty() {
        return Err(ServerError::Config("a tenant needs a name".into()));
    }
    let secret =
        config::resolve_secret(&config).map_err(|error| data_dir_failed(&config, error))?;
    let path = config.data_dir.join("headcount.db");
    let db = open_database(&path, config.database_max_mib, &tenants)
        .await
        .map_err(|error| ServerError::Database { path, error })?;
    Ok(App {
        tokens: Tokens::new(&secret),
        passwords: Passwords::new(),
        message_limit: MessageLimit::default(),
        auth_limit: AuthLimit::per_minute(config.auth_per_minute),
        hub: Hub::new(config.presence_full_max),
        polls: Sessions::default(),
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
        db.house_room(&NewRoom {
            tenant,
            name: LOBBY,
            description: "Everybody meets here.",
            ..NewRoom::default()
        })
        .await?;
    }
    Ok(db)
}

/// What is to be there before the server calls itself ready.
async fn start(app: Arc<App>, shutdown: CancellationToken) {
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

impl App {
    /// Beats until `shutdown`: rooms publish what has gathered, limits forget.
    async fn pulse(self: Arc<Self>, shutdown: CancellationToken) {
        let mut beat = time::interval(Hub::BEAT);
        beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut pruned = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = beat.tick() => {}
            }
            // A fault in one beat must not end all the later ones.
            let beat = AssertUnwindSafe(|| self.hub.beat(Instant::now()));
            if catch_unwind(beat).is_err() {
                tracing::error!("a beat was cut short by a fault");
            }
            if pruned.elapsed() >= PRUNE_PERIOD {
                self.polls.prune(Instant::now());
                pruned = Instant::now();
                self.message_limit.prune(pruned);
                self.auth_limit.prune();
            }
        }
    }
}
