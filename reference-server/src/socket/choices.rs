//! The parameters of a connection that a client chooses.

use std::sync::Arc;

use axum::http::Uri;
use headcount::member_list::BundleFormat;

use crate::{connections::Contact, room::ListFormat};

/// The longest name of a device.
const DEVICE_BYTES_MAX: usize = 64;

/// The choices of a client when it connects, and the way by which it came.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    /// Its own name of its device.
    pub(super) device: Option<Arc<str>>,
    pub(super) list_format: ListFormat,
    pub(super) contact: Contact,
}

impl Choices {
    /// Makes those of a client that can resume its windows.
    #[cfg(feature = "harness")]
    pub(crate) fn resumable() -> Self {
        Self {
            list_format: ListFormat::Bundles(BundleFormat::Two),
            ..Self::default()
        }
    }

    /// Reads the parameters `device` and `member_list`; those that cannot be are left out.
    pub(super) fn read(uri: &Uri, contact: Contact) -> Self {
        let is_good = |name: &String| (1..=DEVICE_BYTES_MAX).contains(&name.len());
        let list_format = match param(uri, "member_list").as_deref() {
            Some("discord") => ListFormat::Discord,
            Some("2") => ListFormat::Bundles(BundleFormat::Two),
            _ => ListFormat::default(),
        };
        Self {
            device: param(uri, "device").filter(is_good).map(Into::into),
            list_format,
            contact,
        }
    }
}

/// Returns the first query parameter of that name.
pub(super) fn param(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default().as_bytes();
    let found = form_urlencoded::parse(query).find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}
