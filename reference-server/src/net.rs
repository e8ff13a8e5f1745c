//! Connections of clients: what they may take their time for, and the address they come from.
//!
//! A connection has ten seconds for the head of a request, 30 for a body, 75 between two requests, and is ended when
//! the client has taken no byte for 30 seconds, whatever is being sent.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{ConnectInfo, FromRequest as _, FromRequestParts, Request, connect_info::Connected},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
    serve::{IncomingStream, Listener},
};
use futures_util::task::AtomicWaker;
use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep, timeout},
};

use crate::{app::App, error::ApiError};

/// The time for the head of a request, from its first byte, or from the connection for the first one.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// The time for the body of a request.
const BODY_MAX: Duration = Duration::from_secs(30);
/// The time between two requests: more than the 60 s for which proxies keep connections.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// The time after which a client that takes no byte is given up.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Accepts connections with limits on their time.
#[derive(Debug)]
pub(crate) struct TimedListener(pub(crate) TcpListener);

impl Listener for TimedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (tcp, address) = Listener::accept(&mut self.0).await;
        // Frames are short, and must not wait for each other.
        let _ = tcp.set_nodelay(true);
        let connection = Connection {
            tcp,
            phase: Arc::default(),
            reading: None,
            writing: None,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The state of a connection: the reading side waits for as long as it allows.
#[derive(Debug, Default)]
struct Phase {
    value: AtomicU8,
    /// Wakes the reading side when the time for it begins.
    reader: AtomicWaker,
}

impl Phase {
    /// The head of a request is awaited or arrives.
    const HEAD: u8 = 0;
    /// A request is answered, or the connection has become a WebSocket.
    const BUSY: u8 = 1;
    /// The last request is answered.
    const IDLE: u8 = 2;

    fn get(&self) -> u8 {
        self.value.load(Ordering::Acquire)
    }

    fn set(&self, phase: u8) {
        self.value.store(phase, Ordering::Release);
        self.reader.wake();
    }
}

/// A TCP connection that fails when its client takes too long.
#[derive(Debug)]
pub(crate) struct Connection {
    tcp: TcpStream,
    phase: Arc<Phase>,
    /// The end of the phase that is named beside it.
    reading: Option<(u8, Pin<Box<Sleep>>)>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Takes off the limits of time of requests: a WebSocket has limits of its own.
    pub(crate) fn become_websocket(&self) {
        self.phase.set(Phase::BUSY);
    }

    /// Waits for the end of the present phase, which is an error.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.phase.reader.register(cx.waker());
        let phase = self.phase.get();
        let limit = match phase {
            Phase::HEAD => HEAD_MAX,
            Phase::IDLE => IDLE_MAX,
            _ => {
                self.reading = None;
                return Poll::Pending;
            }
        };
        let reading = self.reading.take().filter(|(armed, _)| *armed == phase);
        let (_, end) = self
            .reading
            .insert(reading.unwrap_or_else(|| (phase, Box::pin(sleep(limit)))));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Passes a result of a write on; one that waits for too long is an error.
    fn poll_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            if self.phase.get() == Phase::IDLE {
                // The answer is still on its way: the time until the next request begins after it.
                self.reading = None;
            }
            return written;
        }
        let end = self
            .writing
            .get_or_insert_with(|| Box::pin(sleep(STALL_MAX)));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.tcp).poll_read(cx, buf) {
            Poll::Ready(read) => {
                if self.phase.get() == Phase::IDLE {
                    self.phase.set(Phase::HEAD);
                }
                Poll::Ready(read)
            }
            Poll::Pending => self.poll_late(cx),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.poll_stalled(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.poll_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// The other end of the connection of a request.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    address: SocketAddr,
    phase: Arc<Phase>,
}

#[cfg(feature = "harness")]
impl Peer {
    /// Returns a peer on this machine.
    pub(crate) fn local() -> Self {
        Self {
            address: ([127, 0, 0, 1], 1).into(),
            phase: Arc::default(),
        }
    }
}

impl Connected<IncomingStream<'_, TimedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TimedListener>) -> Self {
        Self {
            address: *stream.remote_addr(),
            phase: Arc::clone(&stream.io().phase),
        }
    }
}

/// Marks the connection as busy while a request is answered.
pub(crate) async fn mark_busy(
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    peer.phase.set(Phase::BUSY);
    let response = next.run(request).await;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        peer.phase.set(Phase::IDLE);
    }
    response
}

/// Reads the body of a request within its time and the limit of its route.
pub(crate) async fn read_body(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    // The limit of the route is among the extensions of the request.
    let whole = Request::from_parts(parts.clone(), body);
    match timeout(BODY_MAX, Bytes::from_request(whole, &())).await {
        Ok(Ok(bytes)) => {
            next.run(Request::from_parts(parts, Body::from(bytes)))
                .await
        }
        Ok(Err(error)) => ApiError::Rejected(error.status(), error.body_text()).into_response(),
        Err(_) => {
            let text = "the body took more than 30 s".to_owned();
            let error = ApiError::Rejected(StatusCode::REQUEST_TIMEOUT, text);
            let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
            (close, error).into_response()
        }
    }
}

/// The address that a request comes from: of the connection, or as a trusted proxy names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl ClientAddress {
    /// Returns the address of the client behind proxies that are trusted: the last one in `X-Forwarded-For` that
    /// is not itself such a proxy. Anything before it is the client's own invention.
    pub(crate) fn find(peer: &Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        let mut client = peer.address.ip().to_canonical();
        let forwarded = headers.get_all("x-forwarded-for");
        let hops: Vec<_> = forwarded
            .iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .collect();
        for hop in hops.into_iter().rev() {
            if !is_trusted(&client) {
                break;
            }
            let Some(address) = parse_hop(hop) else {
                break;
            };
            client = address;
        }
        Self(client)
    }
}

/// Parses an address with or without zone and port.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?.trim();
    let (address, zone) = hop.split_once('%').unwrap_or((hop, ""));
    let port = zone.find(']').map_or("", |end| &zone[end..]);
    let hop = format!("{address}{port}");
    let bare = hop.trim_matches(['[', ']']).parse();
    let address = bare.or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

impl FromRequestParts<Arc<App>> for ClientAddress {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        let ConnectInfo(peer) = peer.ok_or(ApiError::Unavailable("no address"))?;
        let trusted = &app.config.trusted_proxies;
        Ok(Self::find(peer, &parts.headers, trusted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_behind_trusted_proxies_is_found_and_no_invented_one() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        for (peer, forwarded, client) in [
            ("192.0.2.1:9", &["203.0.113.5"][..], "192.0.2.1"),
            ("10.0.0.1:9", &[], "10.0.0.1"),
            ("10.0.0.1:9", &["203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1:9", &["1.1.1.1, 203.0.113.5"], "203.0.113.5"),
            (
                "10.0.0.1:9",
                &["1.1.1.1", "203.0.113.5,10.0.0.2"],
                "203.0.113.5",
            ),
            ("[::ffff:10.0.0.1]:9", &["203.0.113.5:4711"], "203.0.113.5"),
            ("[::1]:9", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1:9", &["nonsense"], "10.0.0.1"),
            ("10.0.0.1:9", &["1.1.1.1, unknown, 10.9.9.9"], "10.9.9.9"),
            ("10.0.0.1:9", &["\u{e4}, 203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1:9", &["1.1.1.1, \u{e4}"], "10.0.0.1"),
            ("10.0.0.1:9", &["fe80::1%eth0"], "fe80::1"),
            ("10.0.0.1:9", &["[fe80::1%eth0]:4711"], "fe80::1"),
        ] {
            let peer = Peer {
                address: peer.parse().unwrap(),
                phase: Arc::default(),
            };
            let mut headers = HeaderMap::new();
            for line in forwarded {
                headers.append(
                    "x-forwarded-for",
                    HeaderValue::from_bytes(line.as_bytes()).unwrap(),
                );
            }
            let found = ClientAddress::find(&peer, &headers, &trusted);
            assert_eq!(found.0, client.parse::<IpAddr>().unwrap(), "{forwarded:?}");
        }
    }
}
