//! Clients of HTTP.

use reqwest::{Client, ClientBuilder, IntoUrl, Response};

/// Returns a client.
pub(crate) fn client() -> Client {
    builder()
        .build()
        .expect("a client needs nothing from outside")
}

/// Returns the builder of a client.
pub(crate) fn builder() -> ClientBuilder {
    // Only the first installs something, for the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientBuilder::new()
}

/// Asks for a page.
pub(crate) async fn get(url: impl IntoUrl) -> reqwest::Result<Response> {
    client().get(url).send().await
}
