//! `Headcount.Transport.NATS`: the crate's NATS transport on a thread of its own (feature `nats`).

use rustler::{Env, LocalPid, Resource, ResourceArc, Term};

#[cfg(feature = "nats")]
use rustler::{Binary, Encoder, NifMap};
#[cfg(feature = "nats")]
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::atoms;

/// A connection; the thread ends when it is dropped.
struct Connection {
    #[cfg(feature = "nats")]
    commands: tokio::sync::mpsc::Sender<thread::Command>,
    /// The frames that were dropped, or that NATS did not take.
    #[cfg(feature = "nats")]
    unsent: Arc<AtomicU64>,
    /// The longest frame that the server takes.
    #[cfg(feature = "nats")]
    frame_max: Arc<AtomicUsize>,
}

impl std::panic::RefUnwindSafe for Connection {}

#[rustler::resource_impl]
impl Resource for Connection {}

#[cfg(not(feature = "nats"))]
#[rustler::nif]
fn nats_connect<'a>(
    env: Env<'a>,
    _servers: &str,
    _cluster: &str,
    _options: Term<'a>,
    _to: LocalPid,
) -> Term<'a> {
    rustler::Encoder::encode(&atoms::not_built(), env)
}

#[cfg(not(feature = "nats"))]
#[rustler::nif]
fn nats_subscribe(_connection: ResourceArc<Connection>, _partition: u16, _wanted: bool) -> bool {
    false
}

#[cfg(not(feature = "nats"))]
#[rustler::nif]
fn nats_send(_connection: ResourceArc<Connection>, _to: Term<'_>, _frame: Term<'_>) -> bool {
    false
}

#[cfg(not(feature = "nats"))]
#[rustler::nif]
fn nats_unsent(_connection: ResourceArc<Connection>) -> u64 {
    0
}

#[cfg(not(feature = "nats"))]
#[rustler::nif]
fn nats_frame_max(_connection: ResourceArc<Connection>) -> usize {
    0
}

/// The options of `Headcount.Transport.NATS` beside `:servers`.
#[cfg(feature = "nats")]
#[derive(NifMap)]
struct Options {
    credentials: Option<String>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    nkey: Option<String>,
    tls: bool,
    tls_first: bool,
    tls_ca: Option<String>,
    tls_cert: Option<String>,
    tls_key: Option<String>,
}

#[cfg(feature = "nats")]
impl From<Options> for headcount::runtime::nats::NatsOptions {
    fn from(options: Options) -> Self {
        Self {
            credentials: options.credentials.map(Into::into),
            user: options.user,
            password: options.password,
            token: options.token,
            nkey: options.nkey,
            tls: options.tls,
            tls_first: options.tls_first,
            tls_ca: options.tls_ca.map(Into::into),
            tls_cert: options.tls_cert.map(Into::into),
            tls_key: options.tls_key.map(Into::into),
        }
    }
}

/// Returns `{:ok, connection}` or `{:error, message}` for options of no use. Frames come to the process as
/// `{:headcount_nats, from, frame}`; why there is no connection yet, and the first thing that the server
/// refuses later, as `{:headcount_nats, :error, message}`.
#[cfg(feature = "nats")]
#[rustler::nif(schedule = "DirtyIo")]
fn nats_connect<'a>(
    env: Env<'a>,
    servers: String,
    cluster: String,
    options: Options,
    to: LocalPid,
) -> Term<'a> {
    let told = thread::Told::default();
    let target = thread::Target {
        servers,
        cluster,
        options: options.into(),
    };
    match thread::start(target, to, told.clone()) {
        Ok(commands) => {
            let connection = ResourceArc::new(Connection {
                commands,
                unsent: told.unsent,
                frame_max: told.frame_max,
            });
            (atoms::ok(), connection).encode(env)
        }
        Err(message) => (atoms::error(), message).encode(env),
    }
}

/// Sends a frame to an address, to the subscribers of a partition, or to all for `nil`; returns `false` when too many
/// wait and it is dropped.
#[cfg(feature = "nats")]
#[rustler::nif]
fn nats_send(connection: ResourceArc<Connection>, to: Term<'_>, frame: Binary<'_>) -> bool {
    use headcount::replica::{Destination, Transmit};

    let to = if let Ok(partition) = to.decode() {
        Destination::Group(partition)
    } else if let Ok(address) = to.decode::<&str>() {
        Destination::Peer(address.into())
    } else {
        Destination::All
    };
    let frame = frame.as_slice().to_vec().into();
    let command = thread::Command::Send(Transmit { to, frame });
    let is_taken = connection.commands.try_send(command).is_ok();
    connection
        .unsent
        .fetch_add(u64::from(!is_taken), Ordering::Relaxed);
    is_taken
}

/// Returns how many frames were not sent since the connection was made.
#[cfg(feature = "nats")]
#[rustler::nif]
fn nats_unsent(connection: ResourceArc<Connection>) -> u64 {
    connection.unsent.load(Ordering::Relaxed)
}

/// Returns the longest frame that the server takes to which the connection goes now.
#[cfg(feature = "nats")]
#[rustler::nif]
fn nats_frame_max(connection: ResourceArc<Connection>) -> usize {
    connection.frame_max.load(Ordering::Relaxed)
}

/// Subscribes to the frames of a partition, or no longer; returns `false` when too many frames wait and it does not.
#[cfg(feature = "nats")]
#[rustler::nif]
fn nats_subscribe(connection: ResourceArc<Connection>, partition: u16, wanted: bool) -> bool {
    use headcount::replica::GroupSubscription;

    let change = if wanted {
        GroupSubscription::Subscribe(partition)
    } else {
        GroupSubscription::Unsubscribe(partition)
    };
    let command = thread::Command::Subscribe(change);
    connection.commands.try_send(command).is_ok()
}

#[cfg(feature = "nats")]
mod thread {
    use headcount::replica::{GroupSubscription, Transmit};
    use headcount::runtime::nats::async_nats::{Event, ServerAddr};
    use headcount::runtime::nats::{NatsOptions, NatsTransport};
    use headcount::runtime::{Incoming, Transport};
    use rustler::{LocalPid, OwnedEnv};
    use std::collections::HashSet;
    use std::pin::pin;
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    };
    use std::time::Duration;
    use tokio::sync::mpsc::{Receiver, Sender, channel};

    use crate::atoms;
    use crate::entries::binary;

    /// An order to the transport.
    pub(super) enum Command {
        Send(Transmit),
        Subscribe(GroupSubscription),
    }

    /// The state of the connection, which the thread tells.
    #[derive(Clone)]
    pub(super) struct Told {
        /// The frames that were not sent.
        pub(super) unsent: Arc<AtomicU64>,
        /// The longest frame that the server takes.
        pub(super) frame_max: Arc<AtomicUsize>,
    }

    impl Default for Told {
        fn default() -> Self {
            Self {
                unsent: Arc::default(),
                frame_max: Arc::new(AtomicUsize::new(FRAME_MAX)),
            }
        }
    }

    /// The cluster that a connection joins, and how.
    pub(super) struct Target {
        pub(super) servers: String,
        pub(super) cluster: String,
        pub(super) options: NatsOptions,
    }

    impl Target {
        /// Checks what a server has no part in.
        async fn check(&self) -> Result<(), String> {
            let servers: Result<Vec<ServerAddr>, _> =
                self.servers.split(',').map(str::parse).collect();
            servers.map_err(|e| e.to_string())?;
            let options = self.options.clone().read().await;
            options.map(drop).map_err(|e| e.to_string())
        }

        /// Connects once. The process is told of the first thing that the server refuses from then on; the others
        /// count as not sent.
        async fn join(&self, to: LocalPid) -> Result<NatsTransport, String> {
            let options = self.options.clone().read().await;
            let options = options.map_err(|e| e.to_string())?;
            let is_quiet = Arc::new(AtomicBool::new(true));
            let of_events = Arc::clone(&is_quiet);
            let tell = move |event: &Event| {
                if let Event::ServerError(error) = event
                    && !of_events.swap(true, Ordering::Relaxed)
                {
                    report(&to, &error.to_string());
                }
            };
            let joining = NatsTransport::connect_with(options, &self.servers, &self.cluster, tell);
            let joined = match tokio::time::timeout(CONNECT_TIMEOUT, joining).await {
                Err(_) => return Err("the NATS servers do not answer".to_owned()),
                Ok(joined) => joined.map_err(|error| error.to_string())?,
            };
            is_quiet.store(false, Ordering::Relaxed);
            Ok(joined)
        }
    }

    /// Most commands that wait for the thread; new ones beyond it are dropped.
    const WAITING_MAX: usize = 4096;
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// The pause after an attempt to connect, times the number of attempts up to [`PAUSES_MAX`].
    const PAUSE: Duration = Duration::from_millis(100);
    const PAUSES_MAX: u32 = 20;
    /// The longest frame until the server says which it takes.
    const FRAME_MAX: usize = 256 * 1024;

    /// Tries to connect, again and again in the background if the first attempt fails, then moves frames until the
    /// sender is dropped or the process ends.
    pub(super) fn start(target: Target, to: LocalPid, of: Told) -> Result<Sender<Command>, String> {
        let (commands, waiting) = channel(WAITING_MAX);
        let (tell, told) = std::sync::mpsc::channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error.to_string()))),
            };
            runtime.block_on(async {
                if let Err(message) = target.check().await {
                    return drop(tell.send(Err(message)));
                }
                let tried = || drop(tell.send(Ok(())));
                let mut outside = Outside {
                    waiting,
                    of: &of,
                    wanted: HashSet::new(),
                };
                if let Some(transport) = outside.join(&target, &to, tried).await {
                    pump(transport, outside.waiting, &to, &of).await;
                }
            });
        };
        let thread = std::thread::Builder::new().name("headcount-nats".into());
        thread.spawn(run).map_err(|error| error.to_string())?;
        told.recv()
            .map_err(|error| error.to_string())?
            .map(|()| commands)
    }

    /// The time before the first connection.
    struct Outside<'a> {
        waiting: Receiver<Command>,
        of: &'a Told,
        /// Partitions to subscribe to.
        wanted: HashSet<u16>,
    }

    impl Outside<'_> {
        /// Connects; `None` if the sender was dropped meanwhile. Calls `tried` after each attempt.
        async fn join(
            &mut self,
            target: &Target,
            to: &LocalPid,
            tried: impl Fn(),
        ) -> Option<NatsTransport> {
            let mut reported = String::new();
            let mut attempts = 0;
            loop {
                match self.during(target.join(*to)).await? {
                    Ok(mut transport) => {
                        for partition in self.wanted.drain() {
                            let change = GroupSubscription::Subscribe(partition);
                            transport.subscribe(change).await;
                        }
                        let frame_max = transport.frame_max();
                        self.of.frame_max.store(frame_max, Ordering::Relaxed);
                        tried();
                        return Some(transport);
                    }
                    Err(message) if message != reported => {
                        report(to, &message);
                        reported = message;
                    }
                    Err(_) => {}
                }
                tried();
                attempts = PAUSES_MAX.min(attempts + 1);
                self.during(tokio::time::sleep(PAUSE * attempts)).await?;
            }
        }

        /// Takes orders in while something else is done: without a connection a frame is lost. `None` if the sender
        /// was dropped.
        async fn during<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
            let mut work = pin!(work);
            loop {
                let command = tokio::select! {
                    done = &mut work => return Some(done),
                    command = self.waiting.recv() => command?,
                };
                match command {
                    Command::Send(_) => {
                        self.of.unsent.fetch_add(1, Ordering::Relaxed);
                    }
                    Command::Subscribe(GroupSubscription::Subscribe(partition)) => {
                        self.wanted.insert(partition);
                    }
                    Command::Subscribe(GroupSubscription::Unsubscribe(partition)) => {
                        self.wanted.remove(&partition);
                    }
                }
            }
        }
    }

    /// Tells the process why there is no connection, or what the server refuses.
    fn report(to: &LocalPid, message: &str) {
        let _ = OwnedEnv::new().send_and_clear(to, |env| {
            rustler::Encoder::encode(&(atoms::headcount_nats(), atoms::error(), message), env)
        });
    }

    async fn pump(
        mut transport: NatsTransport,
        mut waiting: Receiver<Command>,
        to: &LocalPid,
        told: &Told,
    ) {
        let mut unsent = 0;
        loop {
            // After each reconnect it may be another one.
            told.frame_max
                .store(transport.frame_max(), Ordering::Relaxed);
            // The server may have refused some since.
            let unsent_before = std::mem::replace(&mut unsent, transport.unsent());
            told.unsent
                .fetch_add(unsent - unsent_before, Ordering::Relaxed);
            tokio::select! {
                command = waiting.recv() => match command {
                    Some(Command::Send(transmit)) => transport.send(transmit).await,
                    Some(Command::Subscribe(change)) => transport.subscribe(change).await,
                    None => return,
                },
                incoming = transport.receive() => match incoming {
                    Some(incoming) if deliver(to, &incoming) => {}
                    _ => return,
                },
            }
        }
    }

    /// Returns whether the process is alive.
    fn deliver(to: &LocalPid, incoming: &Incoming) -> bool {
        let sent = OwnedEnv::new().send_and_clear(to, |env| match incoming {
            Incoming::Frame { from, frame } => rustler::Encoder::encode(
                &(atoms::headcount_nats(), &**from, binary(env, frame)),
                env,
            ),
            Incoming::Gone(from) => {
                rustler::Encoder::encode(&(atoms::headcount_nats(), &**from, atoms::gone()), env)
            }
        });
        sent.is_ok()
    }
}
