//! Clients of HTTP, for webhooks, the other site of a sign-in and the load.

use reqwest::{ClientBuilder, redirect::Policy};

/// Returns the builder of a client whose TLS is that of the other connections of the server: rustls with ring. It
/// follows no redirect: one could lead a request, and what it carries, to another host.
pub(crate) fn builder() -> ClientBuilder {
    // Only the first installs something, for the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientBuilder::new().redirect(Policy::none())
}
