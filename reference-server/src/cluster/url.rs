//! `NatsUrl`: the addresses of NATS servers.

use std::{convert::Infallible, fmt, str::FromStr};

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

/// The addresses of one or more NATS servers. What it prints has no password in it.
#[derive(Clone)]
pub struct NatsUrl(Result<Vec<ServerAddr>, ()>);

impl NatsUrl {
    pub(crate) fn addresses(&self) -> Option<&[ServerAddr]> {
        self.0.as_deref().ok()
    }

    /// Returns the user and the password that stand in the first address with a user.
    pub(crate) fn user(&self) -> Option<(String, String)> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        self.addresses()?.iter().find_map(|address| {
            let user = address.username()?;
            let password = address.password().unwrap_or_default();
            Some((decode(user), decode(password)))
        })
    }
}

impl FromStr for NatsUrl {
    type Err = Infallible;

    /// Never fails, since the error of a flag would print its value: the check of the settings refuses a wrong one.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let addresses = text.split(',').map(|address| address.trim().parse());
        let addresses: Result<Vec<ServerAddr>, _> = addresses.collect();
        Ok(Self(addresses.map_err(drop)))
    }
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(addresses) = &self.0 else {
            return f.write_str("nats://..");
        };
        for (i, address) in addresses.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let host = address.host();
            let port = address.port();
            write!(f, "{comma}{}://{host}:{port}", address.scheme())?;
        }
        Ok(())
    }
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NatsUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_printed_without_passwords() {
        let url: NatsUrl = "nats://ada:secret@bus-1:4222, bus-2".parse().unwrap();
        assert_eq!(url.to_string(), "nats://bus-1:4222,nats://bus-2:4222");
        assert!(!format!("{url:?}").contains("secret"));
        assert_eq!(url.user(), Some(("ada".into(), "secret".into())));
        let wrong: NatsUrl = "nats://ada:secret@:x".parse().unwrap();
        assert!(wrong.addresses().is_none());
        assert!(!format!("{wrong:?}{wrong}").contains("secret"));
        assert_eq!(wrong.user(), None);
    }

    #[test]
    fn the_user_is_read_as_it_is_meant() {
        for (url, user) in [
            ("nats://bus", None),
            (
                "nats://bus-1,nats://zo%C3%AB:a%40b%3Ac%2F%25@bus-2",
                Some(("zoë", "a@b:c/%")),
            ),
            ("nats://token@bus", Some(("token", ""))),
        ] {
            let read = url.parse::<NatsUrl>().unwrap().user();
            let read = read.as_ref().map(|(user, password)| (&**user, &**password));
            assert_eq!(read, user, "{url}");
        }
    }
}
