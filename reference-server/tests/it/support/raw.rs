//! Connections that write bytes of their own: half requests, and frames that no client library sends.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::client::User;

/// A connection without any protocol.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn connect(address: SocketAddr, bytes: &[u8]) -> Self {
        let mut raw = Self(TcpStream::connect(address).await.unwrap());
        raw.send(bytes).await;
        raw
    }

    /// Connects, and does the handshake of a WebSocket.
    pub(crate) async fn websocket(address: SocketAddr, user: &User) -> Self {
        let request = format!(
            "GET /chat/socket/websocket?vsn=2.0.0&token={} HTTP/1.1\r\nhost: {address}\r\n\
             upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            user.token
        );
        let mut raw = Self::connect(address, request.as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        raw
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// Returns the head of the next response.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// Returns the code of the next frame, which must be a close frame.
    pub(crate) async fn closed(&mut self) -> u16 {
        assert_eq!(self.0.read_u8().await.unwrap(), 0x88, "a close frame");
        assert!(self.0.read_u8().await.unwrap() >= 2, "it has a code");
        self.0.read_u16().await.unwrap()
    }

    /// Reads until the server ends the connection. Returns what it still sent.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = self.0.read_to_end(&mut rest).await;
        rest
    }
}
