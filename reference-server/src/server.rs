//! The running server, from start to drain.

use std::{
    fmt, fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinHandle, time};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    admin, api,
    app::App,
    cluster,
    config::Config,
    db, demo,
    gate::Gate,
    opened::{Opened, ServerError, lock_data_dir},
    room::Hub,
    socket::{CloseReason, longpoll::Polls},
    tasks::{keep, supervise},
    webhook_calls,
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
    opened: Opened,
    doors: Doors,
    /// Cancelled once the connections are drained: until then all goes on for those that are left.
    stopping: CancellationToken,
    /// Of the data directory, unless the database is another one.
    _lock: Option<fs::File>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.opened.config;
        f.debug_struct("Server").field("config", config).finish()
    }
}

impl Server {
    /// Locks the data directory and opens the database. Meanwhile `listeners` answer: 200 at `/healthz`, and 503 with
    /// the step of the start at `/readyz`.
    ///
    /// # Errors
    /// The data directory, the secret or the database cannot be used; the error names the path.
    pub async fn open(
        listeners: impl Into<Listeners>,
        config: Config,
    ) -> Result<Self, ServerError> {
        let Listeners { main, admin } = listeners.into();
        let lock = match config.database {
            Some(_) => None,
            None => Some(lock_data_dir(&config)?),
        };
        let data_dir = config.data_dir.display();
        tracing::info!(address = %main.local_addr()?, %data_dir, "serving");
        let stopping = CancellationToken::new();
        let doors = Doors::new(main, admin, &stopping);
        doors.wait_for("starting: the database is not open");
        Ok(Self {
            opened: Opened::open(config).await?,
            doors,
            stopping,
            _lock: lock,
        })
    }

    /// Serves until `shutdown` is cancelled, then drains: no new connections, sockets closed with 1012 in batches,
    /// running requests finished. In a cluster it waits for NATS first, and says so at `/readyz`. `reloader` changes
    /// its limits meanwhile.
    ///
    /// # Errors
    /// The listener fails, or the database does at the start.
    pub async fn serve(
        self,
        reloader: &Reloader,
        shutdown: CancellationToken,
    ) -> Result<(), ServerError> {
        let mut doors = self.doors;
        let opened = self.opened;
        if opened.config.nats.is_some() {
            doors.wait_for("starting: NATS is not reached");
        }
        let begun = async {
            let joined = opened.join().await;
            opened.into_app(joined).await
        };
        let app = tokio::select! {
            ended = &mut doors.serving => return Ok(ended.map_err(io::Error::from)??),
            app = begun => Arc::new(app?),
            () = shutdown.cancelled() => return Ok(()),
        };
        reloader.attach(&app);
        run_app(app, doors, shutdown, self.stopping).await?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// The listeners: the gate at each, and the task that serves it until it is dropped.
struct Doors {
    users: Gate,
    operators: Gate,
    serving: AbortOnDropHandle<io::Result<()>>,
    _serving_operators: Option<AbortOnDropHandle<()>>,
}

impl Doors {
    /// Serves until `stopping` is cancelled and the running requests have ended.
    fn new(main: TcpListener, admin: Option<TcpListener>, stopping: &CancellationToken) -> Self {
        let users = Gate::for_users();
        let operators = Gate::for_operators();
        let serving = users.clone().serve(main, stopping.clone());
        let serve_operators = |listener| {
            let serving = operators.clone().serve(listener, stopping.clone());
            let serving = async move {
                if let Err(error) = serving.await {
                    tracing::error!(%error, "the address for operators failed");
                }
            };
            AbortOnDropHandle::new(tokio::spawn(serving))
        };
        Self {
            serving: AbortOnDropHandle::new(tokio::spawn(serving)),
            _serving_operators: admin.map(serve_operators),
            users,
            operators,
        }
    }

    fn wait_for(&self, step: &'static str) {
        self.users.wait_for(step);
        self.operators.wait_for(step);
    }
}

/// Runs what serves the clients until `shutdown`, then ends it.
async fn run_app(
    app: Arc<App>,
    mut doors: Doors,
    shutdown: CancellationToken,
    stopping: CancellationToken,
) -> Result<(), ServerError> {
    let polls = Arc::new(Polls::new(Arc::clone(&app)));
    let rooms = spawn_tasks(&app, &polls, &shutdown, &stopping);
    doors.users.open(api::router(&app, &polls));
    doors.operators.open(admin::router(Arc::clone(&app)));
    let drained = async {
        tokio::select! {
            () = shutdown.cancelled_owned() => {}
            _ = app.ended.wait() => {}
        }
        tracing::info!("draining");
        app.is_draining.store(true, Ordering::Release);
        drain(&app).await;
        stopping.cancel();
        time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = &mut doors.serving => ended.map_err(io::Error::from)??,
        () = drained => tracing::warn!("requests still open after the drain"),
    }
    rooms.abort();
    drain(&app).await;
    polls.clear();
    app.tasks.close();
    let _ = time::timeout(DRAIN, app.tasks.wait()).await;
    app.note_gone(Instant::now(), Duration::ZERO).await;
    // The rooms that the last connections have left are vacated.
    app.beat(Instant::now());
    if let Err(error) = webhook_calls::store(&app).await {
        tracing::error!(%error, "the last events of the webhook are lost");
    }
    // Both use the state, which the end needs for itself.
    drop((doors, polls));
    app.db.close().await;
    let ended = app.ended.get().copied();
    leave(app).await;
    ended.map_or(Ok(()), |name| Err(ServerError::TaskEnded(name)))
}

/// Spawns the tasks that run until `stopping`, and the work that precedes readiness. Returns the one that publishes.
fn spawn_tasks(
    app: &Arc<App>,
    polls: &Arc<Polls>,
    shutdown: &CancellationToken,
    stopping: &CancellationToken,
) -> JoinHandle<()> {
    let begin = {
        let app = Arc::clone(app);
        let shutdown = shutdown.clone();
        move || start(Arc::clone(&app), shutdown.clone())
    };
    app.tasks.spawn(supervise("start", begin));
    if app.webhook_site.is_some() {
        let state = Arc::clone(app);
        let stop = stopping.clone();
        let calls = move || webhook_calls::run(Arc::clone(&state), stop.clone());
        keep(app, "webhook", stopping, calls);
    }
    if app.cluster.is_some() {
        let state = Arc::clone(app);
        let stop = stopping.clone();
        let events = move || cluster::run(Arc::clone(&state), stop.clone());
        keep(app, "cluster", stopping, events);
        let state = Arc::clone(app);
        let stop = stopping.clone();
        let presence = move || presence_runs(Arc::clone(&state), stop.clone());
        keep(app, "presence", stopping, presence);
    }
    let state = Arc::clone(app);
    let polls = Arc::clone(polls);
    let stop = stopping.clone();
    let pulse = move || pulse(Arc::clone(&state), Arc::clone(&polls), stop.clone());
    keep(app, "pulse", stopping, pulse)
}

/// Waits until `stopping`, or until the node of presence has stopped by itself.
async fn presence_runs(app: Arc<App>, stopping: CancellationToken) {
    tokio::select! {
        () = stopping.cancelled() => {}
        () = app.hub.presence.stopped() => {}
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

/// Changes the limits of the server that serves with it; before that they wait for it. Clones change those of the same
/// server.
#[derive(Clone, Default)]
pub struct Reloader(Arc<Mutex<Reloading>>);

/// The server, once it has joined its cluster, and the settings that came before.
#[derive(Default)]
struct Reloading {
    app: Weak<App>,
    early: Option<Config>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reloader")
    }
}

impl Reloader {
    /// Takes the limits of `config`: sign-ins, connections admitted, delays of refusals, grace. Other settings hold
    /// from the next start.
    pub fn reload(&self, config: &Config) {
        let mut reloading = self.0.lock();
        match reloading.app.upgrade() {
            Some(app) => reload(&app, config),
            None => reloading.early = Some(config.clone()),
        }
    }

    /// Changes the limits of `app` from now on.
    fn attach(&self, app: &Arc<App>) {
        let mut reloading = self.0.lock();
        reloading.app = Arc::downgrade(app);
        if let Some(config) = reloading.early.take() {
            reload(app, &config);
        }
    }
}

fn reload(app: &App, config: &Config) {
    app.auth_limit.set_per_minute(config.auth_per_minute);
    app.admission.set(
        config.connects_per_second,
        Duration::from_millis(config.refusal_delay_ms),
    );
    app.hub.refused.set_delay(config.join_refusal_delay_ms);
    app.grace_ms.store(config.grace_ms, Ordering::Relaxed);
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
    let server = tokio::select! {
        server = Server::open(listeners, config) => server?,
        () = shutdown.cancelled() => return Ok(()),
    };
    server.serve(&Reloader::default(), shutdown).await
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
        () = app.know_others() => app.ready.store(true, Ordering::Release),
        () = shutdown.cancelled() => {}
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// It went on without the task: a node of a cluster was deaf.
    #[tokio::test]
    async fn a_task_that_ends_stops_the_server_which_says_that_it_failed() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().into(),
            ..Config::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::open(listener, config).await.unwrap();
        let app = Arc::new(server.opened.into_app(None).await.unwrap());
        let shutdown = CancellationToken::new();
        keep(&app, "sample", &server.stopping, || async {});
        let ended = run_app(app, server.doors, shutdown, server.stopping).await;
        assert!(matches!(ended, Err(ServerError::TaskEnded("sample"))));
    }
}
