//! The `headcount-server` program: reads its settings, binds, serves until a signal stops it.
#![forbid(unsafe_code)]

mod log;
mod signals;

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use clap::Parser as _;
use headcount_server::{Config, Listeners, Load, Reloader, Server, run_load};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use signals::{Signal, Signals};

/// The port that is tried first if none is named, and the number tried after it.
const PORT: u16 = 4000;
const ADMIN_PORT: u16 = 4001;
const PORTS_TRIED: u16 = 100;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == "load")
    {
        return load().await;
    }
    let config = match Config::load(std::env::args_os()) {
        Ok(config) => config,
        Err(error) => error.exit(),
    };
    if let Err(e) = log::start(&config) {
        log::complain(&format!("--log {:?}: {e}", config.log));
        return ExitCode::FAILURE;
    }
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            log::complain(&format!("headcount-server: {e}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs `headcount-server load`.
async fn load() -> ExitCode {
    let load = Load::parse_from(std::env::args_os().skip(1));
    log::start_for_load();
    raise_file_limit();
    match print_load(&load).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            log::complain(&format!("headcount-server load: {e}"));
            ExitCode::FAILURE
        }
    }
}

async fn print_load(load: &Load) -> Result<(), Box<dyn std::error::Error>> {
    let report = run_load(load).await?;
    let text = if load.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        report.to_string()
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

async fn serve(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    // Before anything is printed: the reader of the address may stop the server at once.
    let signals = Signals::new()?;
    raise_file_limit();
    let listeners = Listeners {
        main: bind(config.host, config.port, PORT).await?,
        admin: Some(bind_admin(config.admin_addr).await?),
    };
    let address = listeners.main.local_addr()?;
    let demo = config.demo;
    let admin = listeners.admin.as_ref().map(TcpListener::local_addr);
    let admin = admin.transpose()?;
    let shutdown = CancellationToken::new();
    let reloader = Reloader::default();
    tokio::spawn(obey_signals(signals, reloader.clone(), shutdown.clone()));
    let server = tokio::select! {
        server = Server::open(listeners, config) => server?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let host = if address.ip().is_unspecified() {
        "localhost".into()
    } else {
        host(&address)
    };
    let mut said = format!(
        "headcount-server listens on http://{host}:{}\n",
        address.port()
    );
    if let Some(address) = admin {
        said += &format!("metrics and admin page on http://{address}/admin\n");
    }
    if demo > 0 {
        said += &format!("the room \"city\" has {demo} simulated members\n");
    }
    say(&said);
    Ok(server.serve(&reloader, shutdown).await?)
}

/// Prints on stdout, if it can be written. In one piece: a reader of the first line may close the pipe.
fn say(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Raises the number of files that the process may open to what the system allows it: every connection is one.
fn raise_file_limit() {
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(files) => tracing::info!(files, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

/// Binds the address for operators that was named, or else one that only this machine reaches.
async fn bind_admin(named: Option<SocketAddr>) -> Result<TcpListener, String> {
    match named {
        Some(address) => bind(address.ip(), Some(address.port()), ADMIN_PORT).await,
        None => bind(Ipv4Addr::LOCALHOST.into(), None, ADMIN_PORT).await,
    }
}

/// Binds the port that was named, or else the first free one from `first` on, and prints which.
async fn bind(host: IpAddr, port: Option<u16>, first: u16) -> Result<TcpListener, String> {
    let bind = async |port: u16| {
        let address = SocketAddr::new(host, port);
        let bound = TcpListener::bind(address).await;
        bound.map_err(|error| (error.kind(), format!("{address}: {error}")))
    };
    if let Some(port) = port {
        return bind(port).await.map_err(|(_, text)| text);
    }
    let mut port = first;
    loop {
        match bind(port).await {
            Ok(listener) => {
                if port != first {
                    say(&format!("port {first} is in use, taking {port}\n"));
                }
                return Ok(listener);
            }
            Err((io::ErrorKind::AddrInUse, _)) if port - first < PORTS_TRIED => port += 1,
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

/// Starts the drain at Ctrl-C or SIGTERM, and ends the process at once at a second one; takes the limits of the
/// settings file at SIGHUP.
async fn obey_signals(mut signals: Signals, reloader: Reloader, shutdown: CancellationToken) {
    loop {
        match signals.next().await {
            Signal::Reload => reload(&reloader),
            Signal::Stop if shutdown.is_cancelled() => std::process::exit(130),
            Signal::Stop => shutdown.cancel(),
        }
    }
}

/// Reads the settings again. If they are refused, those before stay.
fn reload(reloader: &Reloader) {
    match Config::load(std::env::args_os()) {
        Ok(config) => {
            reloader.reload(&config);
            tracing::warn!("SIGHUP: the limits of the settings hold from now on");
        }
        Err(error) => {
            let error = error.to_string();
            let error = error.lines().next().unwrap_or_default();
            tracing::error!(
                error,
                "SIGHUP: the settings are refused, and none is changed"
            );
        }
    }
}
