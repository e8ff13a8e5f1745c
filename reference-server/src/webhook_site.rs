//! The site that the webhook calls.

use std::time::Duration;

use reqwest::Client;

use crate::{
    config::{Config, Secret},
    http_client,
};

/// The time for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The site that is told of events.
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) url: String,
    pub(crate) secret: Secret,
}

impl Site {
    /// Returns the site of the settings, if they name one.
    ///
    /// # Errors
    /// No client for requests can be made.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>, reqwest::Error> {
        // The settings refuse an address without a secret.
        let (Some(url), Some(secret)) = (&config.webhook, &config.webhook_secret) else {
            return Ok(None);
        };
        Ok(Some(Self {
            client: http_client::builder().timeout(ANSWER_MAX).build()?,
            url: url.clone(),
            secret: secret.clone(),
        }))
    }
}
