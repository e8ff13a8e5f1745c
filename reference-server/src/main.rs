//! The `headcount-server` program: reads its settings, binds, serves until a signal stops it.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use clap::Parser as _;
use headcount_server::{Config, run};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Ports tried after one that is in use.
const PORTS_TRIED: u16 = 100;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
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
    let listener = bind(&config).await?;
    let address = listener.local_addr()?;
    let host = if address.ip().is_unspecified() {
        "localhost".into()
    } else {
        host(&address)
    };
    println!(
        "headcount-server listens on http://{host}:{}",
        address.port()
    );
    if config.demo > 0 {
        println!("the room \"city\" has {} simulated members", config.demo);
    }
    io::stdout().flush()?;
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(signals, shutdown.clone()));
    Ok(run(listener, config, shutdown).await?)
}

/// Binds the configured port or the next free one, and prints which.
async fn bind(config: &Config) -> io::Result<TcpListener> {
    let mut port = config.port;
    loop {
        match TcpListener::bind((config.host, port)).await {
            Ok(listener) => {
                if port != config.port {
                    println!("port {} is in use, taking {port}", config.port);
                }
                return Ok(listener);
            }
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                let next = port
                    .checked_add(1)
                    .filter(|p| p - config.port <= PORTS_TRIED);
                port = next.ok_or(e)?;
            }
            Err(e) => return Err(e),
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

/// The signals that stop the server, caught while this exists.
#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
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
