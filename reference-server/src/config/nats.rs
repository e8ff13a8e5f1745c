//! `NatsAccess`: who the node is to the NATS servers, and how it knows them.

use std::path::PathBuf;

use clap::Args;
use headcount::runtime::nats::NatsOptions;

/// The identity of the node to the NATS servers, beside a user and password in their address, and how it knows them.
#[derive(Debug, Clone, Default, Args)]
pub struct NatsAccess {
    /// File with the JWT and the seed of a NATS user, as `nsc` writes it.
    #[arg(long, env = "HEADCOUNT_NATS_CREDENTIALS", value_name = "FILE")]
    pub nats_credentials: Option<PathBuf>,

    /// PEM file of the root certificates of the NATS servers, instead of those of the system. With it, or with a
    /// certificate of the node, they are spoken to by TLS only; so they are with addresses like `tls://bus`.
    #[arg(long, env = "HEADCOUNT_NATS_TLS_CA", value_name = "FILE")]
    pub nats_tls_ca: Option<PathBuf>,

    /// PEM file with the certificate that the node shows the NATS servers.
    #[arg(long, env = "HEADCOUNT_NATS_TLS_CERT", value_name = "FILE")]
    pub nats_tls_cert: Option<PathBuf>,

    /// PEM file with the key of --nats-tls-cert.
    #[arg(long, env = "HEADCOUNT_NATS_TLS_KEY", value_name = "FILE")]
    pub nats_tls_key: Option<PathBuf>,

    /// Begin TLS before the NATS servers speak (their option `handshake_first`).
    #[arg(
        long,
        env = "HEADCOUNT_NATS_TLS_FIRST",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub nats_tls_first: bool,
}

impl NatsAccess {
    pub(crate) fn options(&self) -> NatsOptions {
        NatsOptions {
            credentials: self.nats_credentials.clone(),
            tls_first: self.nats_tls_first,
            tls_ca: self.nats_tls_ca.clone(),
            tls_cert: self.nats_tls_cert.clone(),
            tls_key: self.nats_tls_key.clone(),
            ..NatsOptions::default()
        }
    }
}
