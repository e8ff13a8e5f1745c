//! `NatsUrl`: the addresses of NATS servers.

use std::{convert::Infallible, fmt, str::FromStr};

use async_nats::ServerAddr;

/// The addresses of one or more NATS servers. What it prints has no password in it.
#[derive(Clone)]
pub struct NatsUrl(Result<Vec<ServerAddr>, ()>);

impl NatsUrl {
    pub(crate) fn addresses(&self) -> Option<&[ServerAddr]> {
        self.0.as_deref().ok()
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
        let wrong: NatsUrl = "nats://ada:secret@:x".parse().unwrap();
        assert!(wrong.addresses().is_none());
        assert!(!format!("{wrong:?}{wrong}").contains("secret"));
    }
}
