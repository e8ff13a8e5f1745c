//! `NatsOptions`: who a node is to NATS servers, and how it knows that they are the right ones.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;

/// The credentials and the TLS of a connection to NATS servers, as settings name them.
///
/// Elixir, Python and the chat server take them under these names. What it prints has no secret in it.
///
/// ```
/// use headcount::runtime::nats::NatsOptions;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let options = NatsOptions {
///     credentials: Some("/etc/chat/chat.creds".into()),
///     ..NatsOptions::default()
/// };
/// let error = options.read().await.unwrap_err();
/// assert!(error.to_string().starts_with("credentials: cannot read /etc/chat/chat.creds: "));
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NatsOptions {
    /// A file with the JWT and the seed of a user, as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// The user; goes with `password`.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<String>,
    /// A token.
    pub token: Option<String>,
    /// The seed of an NKey.
    pub nkey: Option<String>,
    /// If true, the client refuses a connection without TLS. It does too with any of the following.
    pub tls: bool,
    /// If true, TLS begins before the server speaks (its option `handshake_first`).
    pub tls_first: bool,
    /// A PEM file of root certificates, instead of those of the system.
    pub tls_ca: Option<PathBuf>,
    /// A PEM file with the certificate of this client; goes with `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with the key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
}

impl NatsOptions {
    /// Reads the files and makes the options for
    /// [`NatsTransport::connect_with`](super::NatsTransport::connect_with).
    ///
    /// # Errors
    /// [`NatsOptionsError`] if a file cannot be read, or an option lacks the one that it goes with.
    pub async fn read(self) -> Result<ConnectOptions, NatsOptionsError> {
        let by_tls = [&self.tls_ca, &self.tls_cert, &self.tls_key];
        let by_tls = by_tls.iter().any(|file| file.is_some());
        let mut options = ConnectOptions::new().require_tls(self.tls || by_tls);
        if let Some(file) = self.credentials {
            let text = text("credentials", &file).await?;
            options = options.credentials(&text).map_err(|error| {
                let option = "credentials";
                NatsOptionsError::File {
                    option,
                    file,
                    error,
                }
            })?;
        }
        options = match (self.user, self.password) {
            (Some(user), Some(password)) => options.user_and_password(user, password),
            (None, None) => options,
            _ => return Err(NatsOptionsError::Together("user", "password")),
        };
        if let Some(token) = self.token {
            options = options.token(token);
        }
        if let Some(seed) = self.nkey {
            options = options.nkey(seed);
        }
        if self.tls_first {
            options = options.tls_first();
        }
        // The client reads these when it connects: an error then would name no file.
        if let Some(file) = self.tls_ca {
            text("tls_ca", &file).await?;
            options = options.add_root_certificates(file);
        }
        match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => {
                text("tls_cert", &cert).await?;
                text("tls_key", &key).await?;
                options = options.add_client_certificate(cert, key);
            }
            (None, None) => {}
            _ => return Err(NatsOptionsError::Together("tls_cert", "tls_key")),
        }
        Ok(options)
    }
}

/// Adds the user and the password that stand in the first address with a user, as in
/// `nats://ann:secret@host`; a user without a password is a token. They win over those of the options.
/// The client itself reads none of an address. O(addresses).
///
/// ```
/// use headcount::runtime::nats::{async_nats::ConnectOptions, with_user_of};
///
/// let servers = ["nats://host-1".parse()?, "nats://ann:p%40ss@host-2".parse()?];
/// let options = with_user_of(ConnectOptions::new(), &servers);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn with_user_of(options: ConnectOptions, servers: &[ServerAddr]) -> ConnectOptions {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = servers.iter().find_map(|server| {
        let user = server.username()?;
        Some((decode(user), server.password().map(decode)))
    });
    match user {
        Some((user, Some(password))) => options.user_and_password(user, password),
        Some((token, None)) => options.token(token),
        None => options,
    }
}

/// Reads the text file that an option names.
async fn text(option: &'static str, file: &Path) -> Result<String, NatsOptionsError> {
    let read = tokio::task::spawn_blocking({
        let file = file.to_owned();
        move || std::fs::read_to_string(file)
    });
    let read = read.await.map_err(io::Error::from).flatten();
    read.map_err(|error| {
        let file = file.to_owned();
        NatsOptionsError::File {
            option,
            file,
            error,
        }
    })
}

impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "..");
        f.debug_struct("NatsOptions")
            .field("credentials", &self.credentials)
            .field("user", &self.user)
            .field("password", &hidden(&self.password))
            .field("token", &hidden(&self.token))
            .field("nkey", &hidden(&self.nkey))
            .field("tls", &self.tls)
            .field("tls_first", &self.tls_first)
            .field("tls_ca", &self.tls_ca)
            .field("tls_cert", &self.tls_cert)
            .field("tls_key", &self.tls_key)
            .finish()
    }
}

/// The reason why [`NatsOptions`] are of no use.
#[derive(Debug)]
#[non_exhaustive]
pub enum NatsOptionsError {
    /// The file of an option cannot be read, or is not what it should be.
    File {
        /// The option.
        option: &'static str,
        /// The file.
        file: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// One of two options is missing.
    Together(&'static str, &'static str),
}

impl fmt::Display for NatsOptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                option,
                file,
                error,
            } => {
                let file = file.display();
                write!(f, "{option}: cannot read {file}: {error}")
            }
            Self::Together(one, other) => write!(f, "{one} and {other} go together"),
        }
    }
}

impl std::error::Error for NatsOptionsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { error, .. } => Some(error),
            Self::Together(..) => None,
        }
    }
}
