//! `Opened`: what a server opens before it serves, and how it becomes the state of a node.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, Instant},
};

use headcount::{member_list::Collation, runtime::Node};
use tokio::{sync::SetOnce, time};
use tokio_util::task::TaskTracker;

use crate::{
    app::App,
    auth::{Passwords, Revocations, Tokens},
    cluster::Cluster,
    config::{self, Config},
    connections::Connections,
    db::{self, DatabaseUrl, Db, NewRoom, StorageError},
    error::chain,
    inbox::Inboxes,
    limit::{AuthLimit, MessageLimit},
    meters::{Admission, PushMeters},
    metrics::Metrics,
    name_order::NameOrder,
    oidc::Oidc,
    room::{Hub, RefusedJoins, RoomPresence},
    talkers::Talkers,
    webhook_site::Site,
    webhooks::{WAITING_MAX, Webhooks},
};

/// The pause before NATS is tried again.
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
    /// Another server runs on the data directory.
    #[error("the data directory {} is in use by another server", .0.display())]
    DataDirInUse(PathBuf),
    /// A setting is invalid.
    #[error("{0}")]
    Config(String),
    /// A task ended without which the server cannot go on. The log says more.
    #[error("the task {0:?} has ended, without which the server cannot go on")]
    TaskEnded(&'static str),
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

/// Locks the data directory, which is created if missing, against other servers, until the file is
/// dropped.
pub(crate) fn lock_data_dir(config: &Config) -> Result<fs::File, ServerError> {
    let lock = fs::create_dir_all(&config.data_dir).and_then(|()| config::lock_data_dir(config));
    lock.map_err(|error| ServerError::data_dir(config, error))?
        .ok_or_else(|| ServerError::DataDirInUse(config.data_dir.clone()))
}

/// The parts that a server opens before it joins its cluster.
pub(crate) struct Opened {
    tenants: Vec<Arc<str>>,
    tokens: Tokens,
    oidc: Option<Oidc>,
    webhook_site: Option<Site>,
    metrics: Metrics,
    name_order: NameOrder,
    db: Db,
    pub(crate) config: Config,
}

impl Opened {
    /// Opens the database, and what depends on the settings only.
    pub(crate) async fn open(config: Config) -> Result<Self, ServerError> {
        config.check().map_err(ServerError::Config)?;
        let tenants: Vec<Arc<str>> = config.tenants.iter().map(|t| t.trim().into()).collect();
        let nats = config.nats_access.options().read().await;
        nats.map_err(|error| ServerError::Config(format!("the access to NATS: {error}")))?;
        let secret = config::resolve_secret(&config)
            .map_err(|error| ServerError::data_dir(&config, error))?;
        let uncallable = |callee: &str, error: reqwest::Error| {
            ServerError::Config(format!("{callee} cannot be called: {}", chain(&error)))
        };
        let oidc =
            Oidc::new(&config, &secret).map_err(|error| uncallable("the provider", error))?;
        let webhook_site = Site::new(&config).map_err(|error| uncallable("the webhook", error))?;
        let metrics = Metrics::new();
        let db = open_database(&config, &metrics, &tenants)
            .await
            .map_err(|error| ServerError::database(&config, error))?;
        Ok(Self {
            tenants,
            tokens: Tokens::new(&secret),
            oidc,
            webhook_site,
            metrics,
            name_order: name_order(&config)?,
            db,
            config,
        })
    }

    /// Joins the cluster that the settings name, if they do. While NATS is not reached, it tries again.
    pub(crate) async fn join(&self) -> Option<(Cluster, Node)> {
        let config = &self.config;
        let url = config.nats.as_ref()?;
        loop {
            let metrics = self.metrics.cluster.clone();
            match Cluster::connect(url, config, metrics).await {
                Ok(joined) => return Some(joined),
                Err(error) => tracing::error!(%url, %error, "waiting for NATS"),
            }
            time::sleep(RETRY).await;
        }
    }

    /// Returns the state of a server that has joined its cluster, if it has one.
    pub(crate) async fn into_app(
        self,
        joined: Option<(Cluster, Node)>,
    ) -> Result<App, ServerError> {
        let config = self.config;
        let revoked = self.db.revoked_tokens(db::now_micros() / 1_000_000).await;
        let revoked = revoked.map_err(|error| ServerError::database(&config, error))?;
        let (cluster, node) = joined.unzip();
        let down_after = Duration::from_millis(config.down_after_ms);
        let presence = match node {
            Some(node) => RoomPresence::of_node(node, down_after),
            None => RoomPresence::new(),
        };
        Ok(App {
            tokens: self.tokens,
            passwords: Passwords::new(),
            oidc: self.oidc,
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
                self.name_order,
                RefusedJoins::new(config.join_refusal_delay_ms),
            ),
            cluster,
            inboxes: Inboxes::default(),
            connections: Connections::default(),
            revocations: Revocations::new(revoked),
            webhook_site: self.webhook_site,
            webhooks: Webhooks::new(config.webhook.is_some(), WAITING_MAX),
            metrics: self.metrics,
            talkers: Talkers::new(Instant::now()),
            started: Instant::now(),
            tasks: TaskTracker::new(),
            ended: SetOnce::new(),
            ready: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            grace_ms: AtomicU64::new(config.grace_ms),
            tenants: self.tenants,
            db: self.db,
            config,
        })
    }
}

/// Opens the state of a server that is no node of a cluster.
#[cfg(feature = "harness")]
pub(crate) async fn open(config: Config) -> Result<App, ServerError> {
    Opened::open(config).await?.into_app(None).await
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
