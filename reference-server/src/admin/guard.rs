//! The guard of the address for operators: it lets requests with the token pass, or without one those of this machine.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use crate::app::App;

/// Lets requests with the token pass. Without a token only this machine reaches the address; a browser on it must
/// have named it by an address or as `localhost`: a name that another site can redirect is refused.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    match &app.config.admin_token {
        Some(token) if !has_token(headers, token.as_bytes()) => {
            let ask = [(header::WWW_AUTHENTICATE, r#"Basic realm="headcount""#)];
            (StatusCode::UNAUTHORIZED, ask, "the admin token is needed\n").into_response()
        }
        None if !is_local_name(headers) => {
            let text = "use the address, or localhost; other names need --admin-token\n";
            (StatusCode::FORBIDDEN, text).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Returns whether a request has the token: as bearer token, or as the password of any user.
fn has_token(headers: &HeaderMap, token: &[u8]) -> bool {
    let given = headers.get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.to_str().ok());
    let Some((scheme, credentials)) = given.and_then(|value| value.split_once(' ')) else {
        return false;
    };
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return is_same(credentials.as_bytes(), token);
    }
    let decoded = STANDARD.decode(credentials).unwrap_or_default();
    let colon = decoded.iter().position(|byte| *byte == b':');
    scheme.eq_ignore_ascii_case("basic")
        && colon.is_some_and(|colon| is_same(&decoded[colon + 1..], token))
}

/// Compares secrets in a time that tells nothing about them.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    Sha256::digest(given) == Sha256::digest(wanted)
}

fn is_local_name(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST);
    let host = host.and_then(|value| value.to_str().ok()?.parse::<Authority>().ok());
    host.is_some_and(|host| {
        let name = host.host();
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
        name.eq_ignore_ascii_case("localhost") || address.is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_token_is_a_bearer_token_or_a_password() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (value, passes) in [
            ("Bearer secret".to_owned(), true),
            ("bearer  secret ".to_owned(), true),
            (basic("ops:secret"), true),
            (basic(":secret"), true),
            (basic("secret"), false),
            (basic("secret:"), false),
            ("Bearer secre".to_owned(), false),
            ("Bearer".to_owned(), false),
            ("Basic %".to_owned(), false),
            ("Digest secret".to_owned(), false),
        ] {
            let headers = with(header::AUTHORIZATION, &value);
            assert_eq!(has_token(&headers, b"secret"), passes, "{value}");
        }
        assert!(!has_token(&HeaderMap::new(), b"secret"));
    }

    #[test]
    fn names_that_another_site_may_own_are_not_local() {
        for (host, is_local) in [
            ("127.0.0.1:4001", true),
            ("localhost:4001", true),
            ("[::1]:4001", true),
            ("evil.example:4001", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_local_name(&with(header::HOST, host)), is_local, "{host}");
        }
    }
}
