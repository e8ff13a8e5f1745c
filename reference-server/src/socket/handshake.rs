//! The upgrade request: protocol version, token, origin.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, alphabet, engine};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use tungstenite::handshake::server::create_response_with_body;

use super::{
    Vsn,
    channels::Channels,
    choices::{Choices, param},
    exchange,
    refusal::ConnectRefusal,
    websocket::WebSocket,
};
use crate::{
    app::App,
    auth::Identity,
    connections::Contact,
    metrics::Transport,
    net::{ClientAddress, Connection},
    origin::Origin,
};

/// The protocol that is spoken on the socket.
const PROTOCOL: &str = "phoenix";
/// Browsers send a token as a subprotocol of this form beside `phoenix`.
const TOKEN_PROTOCOL: &str = "base64url.bearer.phx.";

/// `GET /chat/socket/websocket`. Every refusal of a WebSocket is a 403 without body: clients read nothing else.
pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    mut request: Request,
) -> Response {
    let mut response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let Some(upgraded) = request.extensions_mut().remove::<OnUpgrade>() else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    if !app.admit_connection().await {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let uri = request.uri();
    let headers = request.headers();
    let token = protocol_token(headers);
    let (vsn, identity) = match identify(&app, uri, headers, token).await {
        Ok(known) => known,
        Err(refusal) => return refuse(&app, refusal, StatusCode::FORBIDDEN).await,
    };
    let choices = Choices::read(
        uri,
        Contact {
            transport: Transport::WebSocket,
            address: Some(address),
        },
    );
    if offered_protocols(headers).any(|offered| offered == PROTOCOL) {
        let protocol = HeaderValue::from_static(PROTOCOL);
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    app.tasks.clone().spawn(async move {
        // A client may be gone before it has the answer.
        if let Some(socket) = upgraded.await.ok().and_then(websocket_on) {
            let channels = Channels::new(app, vsn, identity, choices);
            exchange::run(socket, channels).await;
        }
    });
    response
}

/// Returns the WebSocket on a connection of which HTTP is done.
fn websocket_on(upgraded: Upgraded) -> Option<WebSocket> {
    let Ok(parts) = downcast::<TokioIo<Connection>>(upgraded) else {
        tracing::error!("a socket is on a connection of another listener");
        return None;
    };
    Some(WebSocket::new(parts.io.into_inner(), &parts.read_buf))
}

/// Returns the version and the user of a request, whose token is in a header or else in the query.
pub(super) async fn identify(
    app: &App,
    uri: &Uri,
    headers: &HeaderMap,
    token: Option<String>,
) -> Result<(Vsn, Identity), ConnectRefusal> {
    let (vsn, token) = read_params(uri, token).ok_or(ConnectRefusal::Parameters)?;
    if !origin_allowed(&app.config.allowed_origins, headers) {
        return Err(ConnectRefusal::Origin);
    }
    let identity = app.authenticate(&token).await?;
    Ok((vsn, identity.ok_or(ConnectRefusal::Token)?))
}

/// Counts a refusal, and answers with `answer` after a while; with the error of a storage in trouble at once.
pub(super) async fn refuse(
    app: &App,
    refusal: ConnectRefusal,
    answer: impl IntoResponse,
) -> Response {
    app.metrics.refuse_connect(refusal.as_str());
    if let ConnectRefusal::Failed(error) = refusal {
        return error.into_response();
    }
    app.admission.delay_refusal().await;
    answer.into_response()
}

/// Reads version and token; `None` is a refusal.
fn read_params(uri: &Uri, token: Option<String>) -> Option<(Vsn, String)> {
    let token = token.or_else(|| param(uri, "token"))?;
    Some((vsn_of(uri)?, token))
}

/// Returns the serializer that the client names; V1 if it names none, `None` for an unknown one.
fn vsn_of(uri: &Uri) -> Option<Vsn> {
    match param(uri, "vsn") {
        None => Some(Vsn::V1),
        Some(text) => parse_vsn(&text),
    }
}

/// Parses a version: `~> 2.0.0` is V2, `~> 1.0.0` is V1.
fn parse_vsn(text: &str) -> Option<Vsn> {
    let (series, patch) = text.rsplit_once('.')?;
    patch.parse::<u32>().ok()?;
    match series {
        "2.0" => Some(Vsn::V2),
        "1.0" => Some(Vsn::V1),
        _ => None,
    }
}

/// Returns the subprotocols that a client offers.
fn offered_protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Reads the token in `Sec-WebSocket-Protocol`, in either base64 alphabet, with or without padding.
fn protocol_token(headers: &HeaderMap) -> Option<String> {
    let encoded =
        offered_protocols(headers).find_map(|protocol| protocol.strip_prefix(TOKEN_PROTOCOL))?;
    let config = engine::GeneralPurposeConfig::new()
        .with_decode_padding_mode(engine::DecodePaddingMode::Indifferent);
    let encoded = encoded.replace('+', "-").replace('/', "_");
    let decoded = engine::GeneralPurpose::new(&alphabet::URL_SAFE, config)
        .decode(encoded)
        .ok()?;
    String::from_utf8(decoded).ok()
}

/// Returns whether a request's origin may connect: one without `Origin` (no browser), one on the allow-list, or
/// without a list one from a page of this host. A refused one is in the log.
pub(super) fn origin_allowed(allowed: &[Origin], headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let text = origin.to_str().unwrap_or_default();
    let is_of_host = host.is_some() && text.split_once("://").map(|(_, rest)| rest) == host;
    let is_allowed = is_of_host || allowed.iter().any(|allowed| allowed.allows(text));
    if !is_allowed {
        tracing::warn!(?origin, ?host, "the origin of a socket is not allowed");
    }
    is_allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()))
            .collect()
    }

    #[test]
    fn versions() {
        for (text, expected) in [
            ("2.0.0", Some(Vsn::V2)),
            ("2.0.7", Some(Vsn::V2)),
            ("1.0.0", Some(Vsn::V1)),
            ("3.0.0", None),
            ("2.1.0", None),
            ("2.0", None),
            ("", None),
            ("2.0.x", None),
        ] {
            assert_eq!(parse_vsn(text), expected, "{text}");
        }
    }

    #[test]
    fn tokens_come_from_query_or_subprotocol() {
        let uri: Uri = "/chat/socket/websocket?vsn=2.0.0&token=a%2Eb&"
            .parse()
            .unwrap();
        let none = HeaderMap::new();
        assert_eq!(
            read_params(&uri, protocol_token(&none)),
            Some((Vsn::V2, "a.b".into()))
        );
        let absent: Uri = "/chat/socket/websocket?token=t".parse().unwrap();
        assert_eq!(read_params(&absent, None), Some((Vsn::V1, "t".into())));
        let bare: Uri = "/chat/socket/websocket?vsn=2.0.0".parse().unwrap();
        assert_eq!(read_params(&bare, None), None);
        // "??>" is Pz8+ in the standard alphabet and Pz8- in the url-safe one.
        for text in ["Pz8+", "Pz8-"] {
            let protocol = format!("phoenix, base64url.bearer.phx.{text}");
            let headers = headers(&[("sec-websocket-protocol", &protocol)]);
            assert_eq!(
                read_params(&bare, protocol_token(&headers)),
                Some((Vsn::V2, "??>".into()))
            );
        }
    }

    #[test]
    fn origins() {
        let from = |origin| headers(&[("origin", origin), ("host", "chat.example:4000")]);
        assert!(origin_allowed(&[], &HeaderMap::new()));
        assert!(origin_allowed(&[], &from("http://chat.example:4000")));
        assert!(!origin_allowed(&[], &from("https://evil.example")));
        assert!(!origin_allowed(&[], &from("null")));
        let list = ["https://blog.example".parse().unwrap()];
        assert!(origin_allowed(&list, &from("https://blog.example")));
        assert!(!origin_allowed(&list, &from("https://blog.example.evil")));
        let all = ["*".parse().unwrap()];
        assert!(origin_allowed(&all, &from("https://evil.example")));
    }
}
