//! Settings: flags first, then the environment (`HEADCOUNT_*`), then a file, then the defaults.

mod check;
mod file;
mod nats;
mod secret;
#[cfg(test)]
mod tests;
mod values;

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, error::ErrorKind};
use ipnet::IpNet;
use openidconnect::{ClientId, ClientSecret, IssuerUrl};
use reqwest::Url;

pub use nats::NatsAccess;
pub use secret::Secret;
pub(crate) use secret::{lock_data_dir, resolve_secret};

use crate::{cluster::NatsUrl, db::DatabaseUrl, origin::Origin};
use file::read_file;
use values::{parse_cluster, parse_issuer, parse_locale, parse_net, parse_public_url};

/// The shortest JWT secret that is accepted, in characters.
pub const SECRET_CHARS_MIN: usize = 32;

/// The most simulated members that `--demo` accepts.
pub const DEMO_MAX: u32 = 1_000_000;

/// The largest limit of the database that can be set, in MiB: 4 TiB.
const DATABASE_MIB_MAX: i64 = 4 << 20;

const EXAMPLES: &str = "\
Examples:
  headcount-server                          serve on http://127.0.0.1:4000
  headcount-server --demo 100000            with a room of 100,000 simulated members
  HEADCOUNT_PORT=8080 headcount-server --host 0.0.0.0 --data-dir /var/lib/headcount
  headcount-server load --help              measure a running server
  headcount-server --database postgres://chat@db/chat --nats nats://bus:4222
                                            a node of a cluster; all have one HEADCOUNT_JWT_SECRET";

/// The settings of the server, as [`Config::load`] reads them.
#[derive(Debug, Clone, Parser)]
#[command(name = "headcount-server", version, about, after_help = EXAMPLES)]
pub struct Config {
    /// File of settings in TOML, named as the flags: `port = 8080`. Flags and environment win over it.
    #[arg(long, env = "HEADCOUNT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address to listen on.
    #[arg(long, env = "HEADCOUNT_HOST", default_value = "127.0.0.1")]
    pub host: IpAddr,

    /// Port to listen on; 0 takes any free one. Without it, 4000 or the next free one.
    #[arg(long, short, env = "HEADCOUNT_PORT")]
    pub port: Option<u16>,

    /// Address of `/metrics` and `/admin`. Without it, 127.0.0.1 and port 4001 or the next free one. One that other
    /// machines reach needs a token.
    #[arg(long, env = "HEADCOUNT_ADMIN_ADDR", value_name = "ADDRESS:PORT")]
    pub admin_addr: Option<SocketAddr>,

    /// Token that `/metrics` and `/admin` ask for, at least 32 characters: as bearer token, or as the password of a
    /// browser with any name.
    #[arg(long, env = "HEADCOUNT_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<Secret>,

    /// Directory of the database and of the generated secret; created if missing. Unused with --database.
    #[arg(long, env = "HEADCOUNT_DATA_DIR", default_value = "headcount-data")]
    pub data_dir: PathBuf,

    /// The PostgreSQL database to use instead of a file in the data directory: `postgres://user@host/database`. Several
    /// nodes may share it. Its password may also come from PGPASSWORD or a password file.
    #[arg(
        long,
        env = "HEADCOUNT_DATABASE",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database: Option<DatabaseUrl>,

    /// The NATS servers that connect this node with the others on its database: `nats://host:4222`,
    /// several with commas.
    #[arg(
        long,
        env = "HEADCOUNT_NATS",
        value_name = "URL",
        hide_env_values = true
    )]
    pub nats: Option<NatsUrl>,

    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a text here would be that of the whole command"
    )]
    pub nats_access: NatsAccess,

    /// The name of the cluster on NATS: nodes of other names are strangers.
    #[arg(
        long,
        env = "HEADCOUNT_CLUSTER",
        default_value = "headcount",
        value_name = "NAME",
        value_parser = parse_cluster
    )]
    pub cluster: String,

    /// The secret with which the nodes of the cluster seal what they send each other, at least 32 characters: nodes
    /// with another one, or none, are not heard. All nodes need the same.
    #[arg(long, env = "HEADCOUNT_CLUSTER_KEY", hide_env_values = true)]
    pub cluster_key: Option<Secret>,

    /// The silence after which the users of another node are gone, in milliseconds; nodes speak five times as often.
    #[arg(
        long,
        env = "HEADCOUNT_DOWN_AFTER_MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(500..=600_000)
    )]
    pub down_after_ms: u64,

    /// The largest size of the database file, in MiB; beyond it writes are refused as on a full
    /// disk. Without it the disk is the limit.
    #[arg(
        long,
        env = "HEADCOUNT_DATABASE_MAX_MIB",
        value_name = "MIB",
        value_parser = clap::value_parser!(u32).range(1..=DATABASE_MIB_MAX)
    )]
    pub database_max_mib: Option<u32>,

    /// Fill a room named "city" with this many simulated members (0 to 1,000,000); 0 is off.
    #[arg(
        long,
        env = "HEADCOUNT_DEMO",
        default_value_t = 0,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(0..=i64::from(DEMO_MAX))
    )]
    pub demo: u32,

    /// Changes per second among the simulated members; in a small room at most a
    /// twentieth of its members.
    #[arg(
        long,
        env = "HEADCOUNT_DEMO_RATE",
        default_value_t = 300,
        value_name = "R",
        value_parser = clap::value_parser!(u32).range(0..=10_000)
    )]
    pub demo_rate: u32,

    /// Secret that signs tokens, at least 32 characters. Without it one is generated and stored
    /// in the data directory.
    #[arg(long, env = "HEADCOUNT_JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,

    /// A tenant that is served; repeat for more. Rooms, users and messages of one are invisible
    /// to the others.
    #[arg(
        long = "tenant",
        env = "HEADCOUNT_TENANTS",
        value_delimiter = ',',
        default_value = "default"
    )]
    pub tenants: Vec<String>,

    /// An origin (`https://example.org`) that may use API and socket from a browser; repeat for
    /// more. Without one the API is open to all and the socket to pages of the same host; `*`
    /// opens both. A slash at the end is ignored.
    #[arg(
        long = "allowed-origin",
        env = "HEADCOUNT_ALLOWED_ORIGINS",
        value_delimiter = ','
    )]
    pub allowed_origins: Vec<Origin>,

    /// A proxy or network (`10.0.0.0/8`) whose `X-Forwarded-For` names the client; repeat for more.
    #[arg(
        long = "trusted-proxy",
        env = "HEADCOUNT_TRUSTED_PROXIES",
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = parse_net
    )]
    pub trusted_proxies: Vec<IpNet>,

    /// Members online up to which a room sends full presence; above it only counts are sent.
    #[arg(long, env = "HEADCOUNT_PRESENCE_FULL_MAX", default_value_t = 250)]
    pub presence_full_max: usize,

    /// The language by which member lists sort names: `sv`, `de-u-co-phonebk`. Without it names are sorted by code
    /// point, without regard to case.
    #[arg(long, env = "HEADCOUNT_LOCALE", value_parser = parse_locale)]
    pub locale: Option<String>,

    /// Registrations, logins and guests accepted per minute and address.
    #[arg(
        long,
        env = "HEADCOUNT_AUTH_PER_MINUTE",
        default_value_t = 120,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub auth_per_minute: u32,

    /// Sockets and long-poll sessions admitted per second; more wait, for 5 s at most.
    #[arg(
        long,
        env = "HEADCOUNT_CONNECTS_PER_SECOND",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub connects_per_second: u32,

    /// The time that the refusal of a socket is held back, in milliseconds: clients try again at once.
    #[arg(long, env = "HEADCOUNT_REFUSAL_DELAY_MS", default_value_t = 2_000)]
    pub refusal_delay_ms: u64,

    /// The time that a refused join is held back, in milliseconds.
    #[arg(
        long,
        env = "HEADCOUNT_JOIN_REFUSAL_DELAY_MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(0..=9_000)
    )]
    pub join_refusal_delay_ms: u64,

    /// Connections that a stop closes together; 2 s later come the next ones.
    #[arg(
        long,
        env = "HEADCOUNT_DRAIN_BATCH",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub drain_batch: u32,

    /// End connections at a stop without a close frame, after which some mobile clients do not return.
    #[arg(
        long,
        env = "HEADCOUNT_DRAIN_ABRUPT",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub drain_abrupt: bool,

    /// The time for which the sessions of a lost connection stay, in milliseconds: a client that
    /// returns within it has not left.
    #[arg(
        long,
        env = "HEADCOUNT_GRACE_MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(0..=600_000)
    )]
    pub grace_ms: u64,

    /// The URL that is told of what happens: rooms that are occupied or vacated, users that come or go, messages.
    #[arg(
        long,
        env = "HEADCOUNT_WEBHOOK",
        value_name = "URL",
        hide_env_values = true
    )]
    pub webhook: Option<String>,

    /// The secret that signs the requests to the webhook, at least 32 characters.
    #[arg(long, env = "HEADCOUNT_WEBHOOK_SECRET", hide_env_values = true)]
    pub webhook_secret: Option<Secret>,

    /// The address at which browsers find the page: `https://chat.example.org/`.
    #[arg(
        long,
        env = "HEADCOUNT_PUBLIC_URL",
        value_name = "URL",
        value_parser = parse_public_url
    )]
    pub public_url: Option<Url>,

    /// The issuer of an OpenID Connect provider at which users may sign in too; it sends them back to
    /// `auth/oidc/callback` under the public URL.
    #[arg(
        long,
        env = "HEADCOUNT_OIDC_ISSUER",
        value_name = "URL",
        value_parser = parse_issuer
    )]
    pub oidc_issuer: Option<IssuerUrl>,

    /// The id under which the provider knows this server.
    #[arg(
        long,
        env = "HEADCOUNT_OIDC_CLIENT_ID",
        value_name = "ID",
        value_parser = |text: &str| Ok::<_, String>(ClientId::new(text.into()))
    )]
    pub oidc_client_id: Option<ClientId>,

    /// The secret that the provider shares with this server; without it PKCE alone protects the code.
    #[arg(
        long,
        env = "HEADCOUNT_OIDC_CLIENT_SECRET",
        hide_env_values = true,
        value_parser = |text: &str| Ok::<_, String>(ClientSecret::new(text.into()))
    )]
    pub oidc_client_secret: Option<ClientSecret>,

    /// The name of the provider on the page; without it its host.
    #[arg(long, env = "HEADCOUNT_OIDC_NAME", value_name = "NAME")]
    pub oidc_name: Option<String>,

    /// The filter of the log on stderr: a level, or a filter such as `headcount_server=debug`.
    #[arg(long, env = "HEADCOUNT_LOG", default_value = "warn")]
    pub log: String,

    /// Write log lines as JSON.
    #[arg(
        long,
        env = "HEADCOUNT_LOG_JSON",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub log_json: bool,
}

impl Config {
    /// Reads the command line, the environment, and the file that either names.
    ///
    /// # Errors
    /// A setting is unknown or invalid, or the file cannot be read. Also a call for help is one.
    pub fn load<I, T>(args: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString>,
    {
        let mut args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let mut command = Self::command();
        let given = command.try_get_matches_from_mut(&args)?;
        let mut refused = |why: String| command.error(ErrorKind::ValueValidation, why);
        let config = match given.get_one::<PathBuf>("config") {
            None => Self::from_arg_matches(&given)?,
            Some(path) => {
                let of_file = |why| format!("settings file {}: {why}", path.display());
                let more = read_file(path, &given).map_err(|why| refused(of_file(why)))?;
                args.extend(more.into_iter().map(OsString::from));
                let parsed = Self::try_parse_from(args);
                parsed.map_err(|error| refused(of_file(first_line(&error))))?
            }
        };
        config.check().map_err(refused)?;
        Ok(config)
    }
}

/// Returns what a refusal of settings says first: the fault, and where it is. The lines after it are for a terminal.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

impl Default for Config {
    /// Returns the defaults of the command line, without reading the process's own.
    fn default() -> Self {
        Self::parse_from(["headcount-server"])
    }
}
