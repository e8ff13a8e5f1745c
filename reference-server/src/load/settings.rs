//! The settings of `headcount-server load`.

use clap::Parser;
use reqwest::Url;

use crate::config::Secret;

const EXAMPLES: &str = "\
Examples:
  headcount-server load --connections 1000 --rooms 10 --duration 30
  headcount-server load --jwt-secret \"$(cat headcount-data/jwt-secret)\" --connections 15000 \\
      --connect-rate 500 --pid \"$(pgrep -o headcount)\" --json";

/// The settings of a run, as `headcount-server load` reads them.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "headcount-server load",
    about = "Joins rooms of a running server with many clients, posts, and measures",
    after_help = EXAMPLES
)]
pub struct Load {
    /// Address of the server.
    #[arg(long, default_value = "http://127.0.0.1:4000")]
    pub url: Url,

    /// Clients, each a guest with a WebSocket of its own.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,

    /// Rooms, which are made for the run and deleted after it; the clients are spread over them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rooms: u32,

    /// Seconds for which messages are posted.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub duration: u64,

    /// Messages per second of all clients together. A client may post 10 in 5 s.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub rate: u32,

    /// Clients that connect per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connect_rate: u32,

    /// Secret of the server: the tokens of the guests are signed with it. Without it the server is asked for them,
    /// which gives 120 a minute unless its `--auth-per-minute` is higher.
    #[arg(long, env = "HEADCOUNT_JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,

    /// User that owns the rooms: registered by the first run, and used by the next ones with the same secret. Runs at
    /// the same time may share it while they make no more than 100 rooms.
    #[arg(long, default_value = "load-runner", value_name = "NAME")]
    pub owner: String,

    /// Tenant of the clients.
    #[arg(long, default_value = "default")]
    pub tenant: String,

    /// Process of the server, on this machine: its CPU time and memory are measured (Linux).
    #[arg(long)]
    pub pid: Option<i32>,

    /// Write the result as JSON.
    #[arg(long)]
    pub json: bool,

    /// Show no progress.
    #[arg(long, short)]
    pub quiet: bool,
}

impl Load {
    /// Returns the messages of the whole run.
    pub(super) fn messages(&self) -> u64 {
        u64::from(self.rate) * self.duration
    }
}
