//! The check of the settings that depend on each other. It comes after flags, environment and file are merged: each may
//! give a part.

use super::{Config, SECRET_CHARS_MIN, Secret, values::check_webhook};
use crate::db::DatabaseUrl;

impl Config {
    /// Checks what no setting shows alone, and secrets, whose own errors would print them.
    ///
    /// # Errors
    /// A setting needs or excludes another, or a secret is too short. The text names the flag, and no secret.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_secrets()?;
        self.check_addresses()?;
        self.check_needs()?;
        if self.nats.is_some() && self.demo > 0 {
            return Err("--nats cannot be used with --demo".into());
        }
        if self.database.is_some() && self.database_max_mib.is_some() {
            return Err("--database-max-mib cannot be used with --database".into());
        }
        if self.tenants.iter().any(|tenant| tenant.trim().is_empty()) || self.tenants.is_empty() {
            return Err("--tenant: a tenant needs a name".into());
        }
        Ok(())
    }

    fn check_needs(&self) -> Result<(), String> {
        let nats = &self.nats_access;
        let has_nats = self.nats.is_some();
        let has_key = self.cluster_key.is_some();
        for (is_given, flag, has_needed, needed) in [
            (
                self.database.is_some(),
                "--database",
                self.jwt_secret.is_some(),
                "--jwt-secret",
            ),
            (has_nats, "--nats", self.database.is_some(), "--database"),
            (has_key, "--cluster-key", has_nats, "--nats"),
            (
                nats.nats_credentials.is_some(),
                "--nats-credentials",
                has_nats,
                "--nats",
            ),
            (
                nats.nats_tls_ca.is_some(),
                "--nats-tls-ca",
                has_nats,
                "--nats",
            ),
            (
                nats.nats_tls_cert.is_some(),
                "--nats-tls-cert",
                nats.nats_tls_key.is_some(),
                "--nats-tls-key",
            ),
            (
                nats.nats_tls_key.is_some(),
                "--nats-tls-key",
                nats.nats_tls_cert.is_some(),
                "--nats-tls-cert",
            ),
            (
                nats.nats_tls_cert.is_some(),
                "--nats-tls-cert",
                has_nats,
                "--nats",
            ),
            (nats.nats_tls_first, "--nats-tls-first", has_nats, "--nats"),
            (
                self.webhook.is_some(),
                "--webhook",
                self.webhook_secret.is_some(),
                "--webhook-secret",
            ),
            (
                self.oidc_issuer.is_some(),
                "--oidc-issuer",
                self.oidc_client_id.is_some(),
                "--oidc-client-id",
            ),
            (
                self.oidc_issuer.is_some(),
                "--oidc-issuer",
                self.public_url.is_some(),
                "--public-url",
            ),
        ] {
            if is_given && !has_needed {
                return Err(format!("{flag} needs {needed}"));
            }
        }
        Ok(())
    }

    fn check_secrets(&self) -> Result<(), String> {
        for (flag, secret) in [
            ("--admin-token", &self.admin_token),
            ("--cluster-key", &self.cluster_key),
            ("--jwt-secret", &self.jwt_secret),
            ("--webhook-secret", &self.webhook_secret),
        ] {
            let checked = secret.as_ref().map_or(Ok(()), Secret::check);
            checked.map_err(|why| format!("{flag}: {why}"))?;
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), String> {
        let is_remote = self
            .admin_addr
            .is_some_and(|address| !address.ip().is_loopback());
        if is_remote && self.admin_token.is_none() {
            let text = "--admin-addr is reached by other machines, which needs --admin-token";
            return Err(text.into());
        }
        if let Some(Err(why)) = self.webhook.as_deref().map(check_webhook) {
            return Err(format!("--webhook: {why}"));
        }
        if self
            .nats
            .as_ref()
            .is_some_and(|url| url.addresses().is_none())
        {
            return Err("--nats: it is no address like nats://host:4222".into());
        }
        match self.database.as_ref().map(DatabaseUrl::options) {
            Some(Err(why)) => Err(format!("--database: {why}")),
            _ => Ok(()),
        }
    }
}

impl Secret {
    /// Checks the length.
    pub(super) fn check(&self) -> Result<(), String> {
        let chars = self.chars();
        if chars >= SECRET_CHARS_MIN {
            return Ok(());
        }
        Err(format!(
            "the secret has {chars} characters, at least {SECRET_CHARS_MIN} are needed"
        ))
    }
}
