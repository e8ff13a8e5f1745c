//! Clients of HTTP, made as the server makes its own.

#[path = "../../../src/http_client.rs"]
mod http_client;

use reqwest::{Client, IntoUrl, Response};

pub(crate) use http_client::builder;

/// Returns a client.
pub(crate) fn client() -> Client {
    builder()
        .build()
        .expect("a client needs nothing from outside")
}

/// Asks for a page.
pub(crate) async fn get(url: impl IntoUrl) -> reqwest::Result<Response> {
    client().get(url).send().await
}
