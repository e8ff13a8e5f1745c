//! The `headcount-server` program: reads its settings, binds, serves until a signal stops it.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use headcount_server::{Config, Server};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The port that is tried first if none is named, and the number tried after it.
const PORT: u16 = 4000;
const PORTS_TRIED: u16 = 100;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::load(std::env::args_os()) {
        Ok(config) => config,
        Err(error) => error.exit(),
    };
    if let Err(e) = start_log(&config) {
        eprintln!("--log {:?}: {e}", config.log);
        return ExitCode::FAILURE;
    }
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("headcount-server: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    // Before anything is printed: the reader of the address may stop the server at once.
    let signals = Signals::new()?;
    raise_file_limit();
    let listener = bind(&config).await?;
    let address = listener.local_addr()?;
    let demo = config.demo;
    let server = Server::open(config).await?;
    let host = if address.ip().is_unspecified() {
        "localhost".into()
    } else {
        host(&address)
    };
    println!(
        "headcount-server listens on http://{host}:{}",
        address.port()
    );
    if demo > 0 {
        println!("the room \"city\" has {demo} simulated members");
    }
    io::stdout().flush()?;
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(signals, shutdown.clone()));
    Ok(server.serve(listener, shutdown).await?)
}

/// Raises the number of files that the process may open to what the system allows it: every connection is one.
fn raise_file_limit() {
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(files) => tracing::info!(files, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

/// Binds the port that was named, or else the first free one from `PORT` on, and prints which.
async fn bind(config: &Config) -> Result<TcpListener, String> {
    let bind = async |port: u16| {
        let bound = TcpListener::bind((config.host, port)).await;
        bound.map_err(|error| (error.kind(), format!("{}:{port}: {error}", config.host)))
    };
    if let Some(port) = config.port {
        return bind(port).await.map_err(|(_, text)| text);
    }
    let mut port = PORT;
    loop {
        match bind(port).await {
            Ok(listener) => {
                if port != PORT {
                    println!("port {PORT} is in use, taking {port}");
                }
                return Ok(listener);
            }
            Err((io::ErrorKind::AddrInUse, _)) if port - PORT < PORTS_TRIED => port += 1,
            Err((_, text)) => return Err(text),
        }
    }
}

fn host(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

/// Starts the drain at Ctrl-C or SIGTERM; ends the process at once at a second one.
async fn cancel_on_signal(mut signals: Signals, shutdown: CancellationToken) {
    signals.next().await;
    shutdown.cancel();
    signals.next().await;
    std::process::exit(130);
}

/// The signals that stop the server, caught while this exists; and SIGHUP, which does not.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP has no effect: settings are read at the start");
                }
            }
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

fn start_log(config: &Config) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&config.log)?)
        .with_writer(io::stderr);
    if config.log_json {
        log.json().try_init()
    } else {
        log.try_init()
    }
}
