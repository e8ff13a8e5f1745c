//! Readers of values that flags have.

use std::net::IpAddr;

use headcount::member_list::Collation;
use ipnet::IpNet;
use openidconnect::{IssuerUrl, url::Host};
use reqwest::Url;

/// Parses a network, or one address.
pub(super) fn parse_net(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    let net = text.parse().or_else(|_| one());
    net.map_err(|_| "it is no address and no network like 10.0.0.0/8".into())
}

/// Parses a name that is one word of a NATS subject.
pub(super) fn parse_cluster(text: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(is_good) {
        Ok(text.to_owned())
    } else {
        Err("it is not 1 to 64 letters, digits, - and _".into())
    }
}

pub(super) fn parse_locale(text: &str) -> Result<String, String> {
    let known = Collation::new(text).map_err(|e| e.to_string());
    known.map(|_| text.to_owned())
}

/// Parses an address of this server, to which paths are appended.
pub(super) fn parse_public_url(text: &str) -> Result<Url, String> {
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
pub(super) fn parse_issuer(text: &str) -> Result<IssuerUrl, String> {
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

/// Checks the address of a webhook. The error does not quote it: it may have a password.
pub(super) fn check_webhook(text: &str) -> Result<(), String> {
    parse_http(text).map(|_| ())
}
