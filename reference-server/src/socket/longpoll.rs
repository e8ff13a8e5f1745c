//! `Polls`: the long-poll fallback, the same channels over plain requests. It owns the sessions, under one lock for
//! their map and one for each session's channels.
//!
//! The HTTP status is always 200; the body contains the one that counts. A session ends when two
//! checks in a row find its last poll more than 15 s ago.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::Bytes,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    CloseReason, Outbox, Vsn,
    channels::Channels,
    choices::Choices,
    frame::Malformed,
    handshake::{identify, origin_allowed, refuse},
    refusal::ConnectRefusal,
};
use crate::{
    app::App,
    auth::Identity,
    connections::Contact,
    metrics::Transport,
    net::{ClientAddress, Peer},
};

/// The longest body of a POST, in bytes, and the most messages in it.
pub(crate) const BODY_BYTES_MAX: usize = 8 << 20;
const MESSAGES_MAX: usize = 100;
/// The time that a poll waits for frames.
const POLL_MAX: Duration = Duration::from_secs(10);
/// A session ends this long after its last poll.
const SESSION_TTL: Duration = Duration::from_secs(15);
const SESSIONS_MAX: usize = 10_000;
const USER_SESSIONS_MAX: usize = 8;
const ADDRESS_SESSIONS_MAX: usize = 64;

const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-phoenix-authtoken");
const SESSION_TOKEN: HeaderName = HeaderName::from_static("x-phoenix-longpoll-token");

/// The open sessions, by their tokens.
pub(crate) struct Polls {
    app: Arc<App>,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
}

/// A client that polls.
struct Session {
    token: String,
    channels: tokio::sync::Mutex<Channels>,
    outbox: Arc<Outbox>,
    polled: Mutex<Polled>,
    user: Uuid,
    address: IpAddr,
}

/// The last poll of a client.
struct Polled {
    time: Instant,
    /// True if the last check found it long ago.
    is_late: bool,
}

impl Polled {
    fn new(time: Instant) -> Self {
        let is_late = false;
        Self { time, is_late }
    }

    /// Checks whether the client still polls. One check is not enough to end the session: after a pause of the whole
    /// server its polls may still wait.
    fn is_live(&mut self, now: Instant) -> bool {
        let was_late = self.is_late;
        self.is_late = now.saturating_duration_since(self.time) >= SESSION_TTL;
        !(self.is_late && was_late)
    }
}

impl Polls {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let sessions = Mutex::default();
        Self { app, sessions }
    }

    /// Ends the sessions whose clients poll no more, or whose tokens have expired.
    pub(crate) fn prune(&self, now: Instant) {
        let mut sessions = self.sessions.lock();
        sessions.retain(|_, session| session.polled.lock().is_live(now));
        for session in sessions.values() {
            // One that is in use is looked at the next time.
            if let Ok(mut channels) = session.channels.try_lock() {
                channels.expire(tokio::time::Instant::now());
            }
        }
    }

    /// Ends all sessions.
    pub(crate) fn clear(&self) {
        self.sessions.lock().clear();
    }

    fn find(&self, token: &str) -> Option<Arc<Session>> {
        self.sessions.lock().get(token).cloned()
    }

    /// Opens a session; `None` when there are too many of all, of the user or of the address, or no randomness
    /// to name it.
    fn open(
        &self,
        vsn: Vsn,
        identity: Identity,
        choices: Choices,
        address: IpAddr,
    ) -> Option<Arc<Session>> {
        let user = identity.id;
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).ok()?;
        let token: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mut sessions = self.sessions.lock();
        let of_user = sessions.values().filter(|s| s.user == user).count();
        let of_address = sessions.values().filter(|s| s.address == address).count();
        if sessions.len() >= SESSIONS_MAX
            || of_user >= USER_SESSIONS_MAX
            || of_address >= ADDRESS_SESSIONS_MAX
        {
            return None;
        }
        let channels = Channels::new(Arc::clone(&self.app), vsn, identity, choices);
        let session = Arc::new(Session {
            outbox: Arc::clone(channels.outbox()),
            channels: channels.into(),
            polled: Polled::new(Instant::now()).into(),
            token: token.clone(),
            user,
            address,
        });
        sessions.insert(token, Arc::clone(&session));
        Some(session)
    }

    fn remove(&self, token: &str) {
        self.sessions.lock().remove(token);
    }
}

/// `GET`: waits for frames, or opens a session.
pub(crate) async fn poll(
    State(polls): State<Arc<Polls>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let ClientAddress(address) =
        ClientAddress::find(&peer, &headers, &polls.app.config.trusted_proxies);
    let answer = match session_of(&polls, &uri, &headers) {
        Some(session) => wait(&polls, &session).await,
        None if !polls.app.admit_connection().await => reply(500, None, &[]),
        None => match connect(&polls, &uri, &headers, address).await {
            Ok(session) => reply(410, Some(&session.token), &[]),
            Err(refusal) => {
                let refused = refuse(&polls.app, refusal, reply(403, None, &[])).await;
                // The client reads the status in the body: without one it would never try again.
                match refused.status().is_success() {
                    true => refused,
                    false => reply(500, None, &[]),
                }
            }
        },
    };
    with_headers(&polls.app, &headers, answer)
}

/// `POST`: pushes, one a line. A closed session ends with it, as with a poll.
pub(crate) async fn push(
    State(polls): State<Arc<Polls>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = match session_of(&polls, &uri, &headers) {
        None => reply(410, None, &[]),
        Some(session) => {
            receive(&session, &body).await;
            if session.outbox.is_closed() {
                polls.remove(&session.token);
                reply(410, None, &[])
            } else {
                reply(200, Some(&session.token), &[])
            }
        }
    };
    with_headers(&polls.app, &headers, answer)
}

/// `OPTIONS`: the request of a browser before it polls from another site.
pub(crate) async fn preflight(State(polls): State<Arc<Polls>>, headers: HeaderMap) -> Response {
    let mut response = with_headers(&polls.app, &headers, StatusCode::OK.into_response());
    let answer = response.headers_mut();
    if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    let methods = HeaderValue::from_static("get, post, options");
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    answer.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("3600"),
    );
    response
}

/// Returns the session that a request names: by header, or by the last `token`, since the client's own
/// parameters may contain one as well.
fn session_of(polls: &Polls, uri: &Uri, headers: &HeaderMap) -> Option<Arc<Session>> {
    if let Some(token) = headers.get(SESSION_TOKEN) {
        return polls.find(token.to_str().ok()?);
    }
    let query = uri.query().unwrap_or_default().as_bytes();
    let (_, token) = form_urlencoded::parse(query)
        .filter(|(key, _)| key == "token")
        .last()?;
    polls.find(&token)
}

/// Opens a session under the same rules as the WebSocket.
async fn connect(
    polls: &Polls,
    uri: &Uri,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<Arc<Session>, ConnectRefusal> {
    let token = headers.get(AUTH_TOKEN);
    let token = token.and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (vsn, identity) = identify(&polls.app, uri, headers, token).await?;
    let contact = Contact {
        transport: Transport::LongPoll,
        address: Some(address),
    };
    let choices = Choices::read(uri, contact);
    let session = polls.open(vsn, identity, choices, address);
    session.ok_or(ConnectRefusal::Sessions)
}

async fn wait(polls: &Polls, session: &Session) -> Response {
    *session.polled.lock() = Polled::new(Instant::now());
    let _ = timeout(POLL_MAX, session.outbox.ready()).await;
    *session.polled.lock() = Polled::new(Instant::now());
    let frames: Vec<_> = std::iter::from_fn(|| session.outbox.pop()).collect();
    if !frames.is_empty() {
        let frames: Vec<_> = frames.iter().map(|frame| frame.as_str()).collect();
        let bytes = frames.iter().map(|frame| frame.len()).sum();
        session.outbox.note_delivered(frames.len() as u64, bytes);
        return reply(200, Some(&session.token), &frames);
    }
    if session.outbox.closing().is_some() {
        // The client takes this for a failure, and starts over.
        polls.remove(&session.token);
        return reply(500, None, &[]);
    }
    reply(204, Some(&session.token), &[])
}

/// Handles the pushes of a body, if the client may still push. A body that has none closes the session.
async fn receive(session: &Session, body: &[u8]) {
    let mut channels = session.channels.lock().await;
    channels.expire(tokio::time::Instant::now());
    if handle(&mut channels, body).await.is_err() {
        session.outbox.close(CloseReason::Malformed);
    }
}

/// Handles the pushes of a body in order, until the session is closed. Lines without JSON are binary pushes in base64.
async fn handle(channels: &mut Channels, body: &[u8]) -> Result<(), Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed)?;
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    if lines.len() > MESSAGES_MAX {
        return Err(Malformed);
    }
    for line in lines {
        if channels.outbox().is_closed() {
            return Ok(());
        }
        if line.starts_with(['[', '{']) {
            channels.handle_text(line).await?;
        } else {
            let bytes = STANDARD.decode(line).map_err(|_| Malformed)?;
            channels.handle_binary(&bytes).await?;
        }
    }
    Ok(())
}

fn reply(status: u16, token: Option<&str>, messages: &[&str]) -> Response {
    let body = match token {
        Some(token) => json!({ "status": status, "token": token, "messages": messages }),
        None => json!({ "status": status, "messages": messages }),
    };
    Json(body).into_response()
}

fn with_headers(app: &App, request: &HeaderMap, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(origin) = request.get(header::ORIGIN)
        && origin_allowed(&app.config.allowed_origins, request)
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_the_server_ends_no_session_whose_poll_waits() {
        let start = Instant::now();
        let mut polled = Polled::new(start);
        let woken = start + 2 * SESSION_TTL;
        assert!(polled.is_live(woken));
        polled = Polled::new(woken);
        assert!(polled.is_live(woken + SESSION_TTL));
        assert!(!polled.is_live(woken + SESSION_TTL + Duration::from_secs(1)));
    }
}
