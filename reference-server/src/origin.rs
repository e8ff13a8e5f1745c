//! `Origin`: an origin of pages that may use API and socket, as browsers name it.

use std::{fmt, str::FromStr};

use axum::http::{HeaderValue, Uri};

/// An allowed origin, or any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Returns whether it is `*`.
    pub(crate) fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// Returns whether the value of an `Origin` header is allowed.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        self.is_any() || self.0.eq_ignore_ascii_case(origin)
    }

    pub(crate) fn to_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

impl FromStr for Origin {
    type Err = String;

    /// Parses `https://example.org:8443` or `*`. A slash at the end, capitals, and the usual port are put
    /// right, as no browser sends them.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self(text.into()));
        }
        let refused =
            |why: &str| format!("{why}; an origin is like https://example.org:8443, or *");
        let uri: Uri = text.parse().map_err(|e| refused(&format!("{e}")))?;
        let Some((scheme, host)) = uri.scheme_str().zip(uri.host()) else {
            return Err(refused("no scheme or no host"));
        };
        if uri.path_and_query().is_some_and(|path| path != "/") {
            return Err(refused("it has a path"));
        }
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(refused("it has a user"));
        }
        let usual = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let host = host.to_ascii_lowercase();
        let port = uri.port_u16().filter(|port| Some(*port) != usual);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self(format!("{scheme}://{host}{port}")))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_put_in_the_form_that_browsers_send() {
        for (text, origin) in [
            ("https://example.org", "https://example.org"),
            ("https://example.org/", "https://example.org"),
            (" HTTPS://Example.ORG:443/ ", "https://example.org"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:3000/", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("*", "*"),
        ] {
            assert_eq!(
                text.parse::<Origin>().unwrap().to_string(),
                origin,
                "{text}"
            );
        }
        for text in [
            "",
            "example.org",
            "https://a.b/path",
            "https://u@a.b",
            "null",
            "https://",
        ] {
            let refused = text.parse::<Origin>().unwrap_err();
            assert!(
                refused.contains("https://example.org:8443"),
                "{text}: {refused}"
            );
        }
    }
}
