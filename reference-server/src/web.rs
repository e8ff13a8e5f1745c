//! The files of the web page, embedded at build time.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rust_embed::Embed;
use sha2::{Digest as _, Sha256};

/// The content policy: the page loads nothing from other origins, and any site may frame it.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
                      base-uri 'none'; object-src 'none'";

#[derive(Embed)]
#[folder = "web/"]
struct Assets;

/// Returns the headers that every page and file has.
pub(crate) fn policy() -> [(HeaderName, HeaderValue); 3] {
    headers(HeaderValue::from_static(POLICY))
}

/// Returns the headers of a page with one `<style>` element of that content; none is in it if that is empty.
pub(crate) fn policy_with_style(style: &str) -> [(HeaderName, HeaderValue); 3] {
    if style.is_empty() {
        return policy();
    }
    let hash = STANDARD.encode(Sha256::digest(style));
    let text = format!("{POLICY}; style-src 'self' 'sha256-{hash}'");
    headers(HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(POLICY)))
}

fn headers(policy: HeaderValue) -> [(HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_SECURITY_POLICY, policy),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
    ]
}

/// Serves the file that the path names; a folder names its `index.html`.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let mut path = uri.path().trim_start_matches('/').to_owned();
    if path.is_empty() || path.ends_with('/') {
        path.push_str("index.html");
    }
    // Embedded names never contain two dots in sequence, so a climbing path finds nothing; in debug
    // builds, where files are read from disk, it must not even be tried.
    let hidden = path
        .split('/')
        .any(|part| part.starts_with('.') || part.is_empty());
    let Some(file) = (!hidden).then(|| Assets::get(&path)).flatten() else {
        return (StatusCode::NOT_FOUND, "not found").into_response();
    };
    let etag = etag(&file.metadata.sha256_hash());
    if headers.get(header::IF_NONE_MATCH) == Some(&etag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let headers = [
        (header::CONTENT_TYPE, content_type(file.metadata.mimetype())),
        (header::ETAG, etag),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (policy(), headers, Body::from(file.data.into_owned())).into_response()
}

fn etag(hash: &[u8; 32]) -> HeaderValue {
    let hex: String = hash[..16].iter().map(|b| format!("{b:02x}")).collect();
    HeaderValue::from_str(&format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

fn content_type(mime: &str) -> HeaderValue {
    let text = match mime {
        "application/javascript" | "text/javascript" => "text/javascript; charset=utf-8".to_owned(),
        text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}
