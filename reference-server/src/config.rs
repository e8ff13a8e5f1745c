//! Settings: flags first, then the environment (`HEADCOUNT_*`), then a file, then the defaults.

use std::{
    ffi::OsString,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{
    ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, error::ErrorKind,
    parser::ValueSource,
};
use headcount::member_list::Collation;
use ipnet::IpNet;
use openidconnect::{ClientId, ClientSecret, IssuerUrl, url::Host};
use reqwest::Url;

use crate::{cluster::NatsUrl, db::DatabaseUrl, origin::Origin};

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
        hide_env_values = true,
        requires = "jwt_secret"
    )]
    pub database: Option<DatabaseUrl>,

    /// The NATS servers that connect this node with the others on its database: `nats://host:4222`,
    /// several with commas.
    #[arg(
        long,
        env = "HEADCOUNT_NATS",
        value_name = "URL",
        hide_env_values = true,
        requires = "database",
        conflicts_with = "demo"
    )]
    pub nats: Option<NatsUrl>,

    /// The name of the cluster on NATS: nodes of other names are strangers.
    #[arg(
        long,
        env = "HEADCOUNT_CLUSTER",
        default_value = "headcount",
        value_name = "NAME",
        value_parser = parse_cluster
    )]
    pub cluster: String,

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
        conflicts_with = "database",
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
        requires = "webhook_secret",
        value_parser = parse_webhook
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
        requires = "oidc_client_id",
        requires = "public_url",
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
        let Some(path) = given.get_one::<PathBuf>("config") else {
            return Self::from_arg_matches(&given);
        };
        let mut refused = |why: String| {
            let text = format!("settings file {}: {why}", path.display());
            command.error(ErrorKind::ValueValidation, text)
        };
        let text = fs::read_to_string(path).map_err(|e| refused(e.to_string()))?;
        let settings = text.parse().map_err(|e| refused(format!("{e}")))?;
        let more = flags_of(&settings, &given).map_err(&mut refused)?;
        args.extend(more.into_iter().map(OsString::from));
        Self::try_parse_from(args).map_err(|e| refused(e.to_string()))
    }
}

/// Returns the settings of a file as flags, without those that are given by flag or environment.
fn flags_of(settings: &toml::Table, given: &ArgMatches) -> Result<Vec<String>, String> {
    let command = Config::command();
    let mut flags = Vec::new();
    for (name, value) in settings {
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(name));
        let arg = arg.filter(|arg| arg.get_id() != "config");
        let arg = arg.ok_or_else(|| format!("there is no setting {name:?}"))?;
        let source = given.value_source(arg.get_id().as_str());
        if matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        ) {
            continue;
        }
        let values = match value {
            toml::Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            match value {
                toml::Value::Boolean(true) => flags.push(format!("--{name}")),
                toml::Value::Boolean(false) => {}
                toml::Value::String(text) => flags.push(format!("--{name}={text}")),
                toml::Value::Integer(number) => flags.push(format!("--{name}={number}")),
                _ => {
                    return Err(format!(
                        "{name:?} is neither text nor number nor truth value"
                    ));
                }
            }
        }
    }
    Ok(flags)
}

impl Default for Config {
    /// Returns the defaults of the command line, without reading the process's own.
    fn default() -> Self {
        Self::parse_from(["headcount-server"])
    }
}

/// A secret of the operator. Its `Debug` form reveals nothing.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl std::str::FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let chars = text.chars().count();
        if chars < SECRET_CHARS_MIN {
            return Err(format!(
                "the secret has {chars} characters, at least {SECRET_CHARS_MIN} are needed"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Returns the secret to sign with: the given one, or the one stored in the data directory, which is
/// generated (with a line on stderr) at the first start.
pub(crate) fn resolve_secret(config: &Config) -> io::Result<Secret> {
    if let Some(secret) = &config.jwt_secret {
        return Ok(secret.clone());
    }
    let path = config.data_dir.join("jwt-secret");
    match fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|e| io::Error::other(format!("{}: {e}", path.display()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let text = random_hex()?;
            write_private(&path, &text)?;
            eprintln!(
                "no --jwt-secret given: generated one, stored in {}",
                path.display()
            );
            Ok(Secret(text))
        }
        Err(e) => Err(e),
    }
}

/// Parses a network, or one address.
fn parse_net(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    let net = text.parse().or_else(|_| one());
    net.map_err(|_| "it is no address and no network like 10.0.0.0/8".into())
}

/// Parses a name that is one word of a NATS subject.
fn parse_cluster(text: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(is_good) {
        Ok(text.to_owned())
    } else {
        Err("it is not 1 to 64 letters, digits, - and _".into())
    }
}

fn parse_locale(text: &str) -> Result<String, String> {
    let known = Collation::new(text).map_err(|e| e.to_string());
    known.map(|_| text.to_owned())
}

/// Parses an address of this server, to which paths are appended.
fn parse_public_url(text: &str) -> Result<Url, String> {
    let mut url = parse_http(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has more than a host and a path".into());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Parses the address of a provider, which proves itself by its certificate, except on this machine.
fn parse_issuer(text: &str) -> Result<IssuerUrl, String> {
    let url = parse_http(text)?;
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() != "https" && !is_here {
        return Err("it is no https address".into());
    }
    IssuerUrl::new(text.into()).map_err(|e| e.to_string())
}

fn parse_http(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    if ["http", "https"].contains(&url.scheme()) && url.has_host() {
        Ok(url)
    } else {
        Err("it is no http or https address".into())
    }
}

/// Checks the address of a webhook.
fn parse_webhook(text: &str) -> Result<String, String> {
    parse_http(text).map(|_| text.to_owned())
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn write_private(path: &std::path::Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(text.as_bytes());
    written.and_then(|()| file.sync_all()).inspect_err(|_| {
        // Half a secret would prevent later starts, when there is room again.
        let _ = fs::remove_file(path);
    })
}

/// Locks the data directory for this process until the file is dropped; `None` if another server
/// has locked it.
pub(crate) fn lock_data_dir(config: &Config) -> io::Result<Option<fs::File>> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(config.data_dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_secret_is_refused_and_none_is_printed() {
        let parse =
            |secret: &str| Config::try_parse_from(["headcount-server", "--jwt-secret", secret]);
        let message = parse(&"x".repeat(31)).unwrap_err().to_string();
        assert!(message.contains("31 characters, at least 32"), "{message}");
        let config = parse(&"x".repeat(32)).unwrap();
        assert!(!format!("{config:?}").contains("xxx"));
    }

    #[test]
    fn the_generated_secret_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().into(),
            jwt_secret: None,
            ..Config::default()
        };
        let first = resolve_secret(&config).unwrap();
        let second = resolve_secret(&config).unwrap();
        assert_eq!(first.as_bytes(), second.as_bytes());
        assert_eq!(first.as_bytes().len(), 64);
    }

    #[test]
    fn a_provider_needs_its_settings_and_https() {
        let parse = |flags: &[&str]| {
            let flags = ["headcount-server"].iter().chain(flags);
            Config::try_parse_from(flags).map_err(|error| error.to_string())
        };
        let page = ["--public-url", "https://chat.example/app"];
        let client = ["--oidc-client-id", "headcount"];
        let issuer = ["--oidc-issuer", "https://login.example/realm"];
        let config = parse(&[page, client, issuer].concat()).unwrap();
        assert_eq!(
            config.public_url.unwrap().as_str(),
            "https://chat.example/app/"
        );
        assert!(
            parse(&[page, issuer].concat())
                .unwrap_err()
                .contains("--oidc-client-id")
        );
        assert!(
            parse(&[client, issuer].concat())
                .unwrap_err()
                .contains("--public-url")
        );
        let here = ["--oidc-issuer", "http://127.0.0.1:8080"];
        assert!(parse(&[page, client, here].concat()).is_ok());
        for bad in [
            "http://login.example",
            "login.example",
            "ftp://login.example",
            "",
        ] {
            assert!(
                parse(&[page, client, ["--oidc-issuer", bad]].concat()).is_err(),
                "{bad}"
            );
        }
        for bad in [
            "https://chat.example/?a=1",
            "https://chat.example/#a",
            "/app",
        ] {
            assert!(parse(&["--public-url", bad]).is_err(), "{bad}");
        }
        let secret = parse(&["--oidc-client-secret", "hush"]).unwrap();
        assert!(!format!("{secret:?}").contains("hush"));
    }

    #[test]
    fn a_locale_is_one() {
        let parse = |locale: &str| Config::try_parse_from(["headcount-server", "--locale", locale]);
        assert!(parse("de-u-co-phonebk").is_ok());
        let message = parse("not a locale").unwrap_err().to_string();
        assert!(
            message.contains("--locale") && message.contains("not a locale"),
            "{message}"
        );
    }

    #[test]
    fn demo_has_a_limit() {
        assert!(Config::try_parse_from(["headcount-server", "--demo", "1000001"]).is_err());
    }
}
