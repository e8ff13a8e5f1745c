//! `WebSocket`: a WebSocket on its connection. The task of the client owns it; no lock.
//!
//! tungstenite reads, and answers pings and closes. What is written is gathered in one buffer, which is there only
//! while a client has not taken it: of the buffers that tungstenite would keep, each grows to the longest frame ever.

use std::{
    future::poll_fn,
    io::{self, ErrorKind, Read, Write},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::{
    Error, Message,
    protocol::{
        Role, WebSocketConfig, WebSocketContext,
        frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use super::{CloseReason, Outbox};
use crate::net::Connection;

/// The longest frame a client may send, in bytes.
const FRAME_BYTES_MAX: usize = 64 << 10;
/// The bytes that are read at once: most frames of clients are shorter.
const READ_BYTES: usize = 1 << 10;
/// Frames are gathered until they have this many bytes.
const WRITE_BYTES: usize = 64 << 10;
/// Answers to pings that wait while the client takes nothing; of more, the last one is sent.
const REPLY_BYTES_MAX: usize = 1 << 10;

/// A WebSocket, from the answer to its request.
pub(super) struct WebSocket {
    connection: Connection,
    context: WebSocketContext,
    /// Whole frames, of which the client has taken `written` bytes.
    out: Vec<u8>,
    written: usize,
    sending: Sending,
}

/// The frames of the outbox that are being written.
#[derive(Debug, Default)]
struct Sending {
    frames: u64,
    /// Of their texts.
    bytes: usize,
}

/// What a socket waited for.
pub(super) enum Event {
    Read(Result<Message, Error>),
    /// The outbox has a reason to close the connection.
    Closing,
    /// The client cannot be written to.
    Failed,
}

impl WebSocket {
    /// Returns the WebSocket on a connection of which `read` was read already.
    pub(super) fn new(connection: Connection, read: &Bytes) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(REPLY_BYTES_MAX)
            .max_frame_size(Some(FRAME_BYTES_MAX))
            .max_message_size(Some(FRAME_BYTES_MAX));
        connection.become_websocket();
        let context =
            WebSocketContext::from_partially_read(read.to_vec(), Role::Server, Some(config));
        Self {
            connection,
            context,
            out: Vec::new(),
            written: 0,
            sending: Sending::default(),
        }
    }

    /// Writes the frames of the outbox until a frame is read, or one of them ends the connection. A client that is
    /// slow to take frames is still heard.
    pub(super) async fn next(&mut self, outbox: &Outbox) -> Event {
        poll_fn(|cx| self.poll_next(cx, outbox)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, outbox: &Outbox) -> Poll<Event> {
        outbox.wake_by(cx.waker());
        if outbox.is_closed() {
            return Poll::Ready(Event::Closing);
        }
        if let Poll::Ready(Err(_)) = self.poll_write(cx, outbox) {
            return Poll::Ready(Event::Failed);
        }
        let read = self.poll_read(cx);
        // The answer to a ping.
        if let Poll::Ready(Err(_)) = self.poll_flush(cx) {
            return Poll::Ready(Event::Failed);
        }
        read.map(Event::Read)
    }

    /// Ends the connection: with the last frames of the outbox and the close frame that it asks for, or with the
    /// answer to the client's own close frame, as RFC 6455, 5.5.1 asks.
    pub(super) async fn finish(&mut self, outbox: &Outbox) {
        if let Some(reason) = outbox.close_reason()
            && self.say_goodbye(outbox, reason).await.is_err()
        {
            return;
        }
        let rest = poll_fn(|cx| {
            while ready!(self.poll_read(cx)).is_ok() {}
            self.poll_flush(cx)
        });
        // Nobody is left to be told of an error.
        let _ = rest.await;
    }

    /// Writes the last frames and the close frame; fails also if the connection is to end without one.
    async fn say_goodbye(&mut self, outbox: &Outbox, reason: CloseReason) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx, outbox)).await?;
        let mut close = reason.frame();
        if close.is_none() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        poll_fn(|cx| {
            if let Some(close) = close.take() {
                let (context, mut wire) = self.wire(cx);
                // One that the client has closed meanwhile takes no close frame, and needs none.
                let _ = context.close(&mut wire, Some(close));
            }
            self.poll_flush(cx)
        })
        .await
    }

    /// Writes all frames of the outbox.
    fn poll_write(&mut self, cx: &mut Context<'_>, outbox: &Outbox) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush(cx))?;
            let sent = mem::take(&mut self.sending);
            if sent.frames > 0 {
                outbox.note_delivered(sent.frames, sent.bytes);
            }
            while self.out.len() < WRITE_BYTES
                && let Some(text) = outbox.pop()
            {
                self.sending.frames += 1;
                self.sending.bytes += text.len();
                let frame = Frame::message(text, OpCode::Data(Data::Text), true);
                self.out.reserve(frame.len());
                frame
                    .format(&mut self.out)
                    .expect("a vector takes all bytes");
            }
            if self.out.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes what is gathered.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match ready!(Pin::new(&mut self.connection).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                bytes => self.written += bytes,
            }
        }
        self.out = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        let (context, mut wire) = self.wire(cx);
        match context.read(&mut wire) {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        }
    }

    fn wire<'a, 'b>(
        &'a mut self,
        cx: &'a mut Context<'b>,
    ) -> (&'a mut WebSocketContext, Wire<'a, 'b>) {
        let wire = Wire {
            connection: &mut self.connection,
            out: &mut self.out,
            cx,
        };
        (&mut self.context, wire)
    }
}

/// The connection as tungstenite sees it: reading never waits, and what it writes is gathered behind the frames that
/// are being sent.
struct Wire<'a, 'b> {
    connection: &'a mut Connection,
    out: &'a mut Vec<u8>,
    cx: &'a mut Context<'b>,
}

impl Read for Wire<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.connection).poll_read(self.cx, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Wire<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() > WRITE_BYTES {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::serve::Listener as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpSocket, TcpStream},
        time::timeout,
    };
    use tungstenite::protocol::frame::coding::Control;

    use super::*;
    use crate::net::TimedListener;

    const PINGS: u32 = 50_000;
    const PING_BYTES: usize = 100;

    async fn connect() -> (WebSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpSocket::new_v4().unwrap();
        // The fewer bytes wait on their way, the fewer it takes until the client is written to in vain.
        client.set_recv_buffer_size(16 << 10).unwrap();
        let client = client.connect(address).await.unwrap();
        let (connection, _) = TimedListener(listener).accept().await;
        (WebSocket::new(connection, &Bytes::new()), client)
    }

    fn ping(n: u32) -> Vec<u8> {
        let mut payload = vec![b'x'; PING_BYTES];
        payload[..4].copy_from_slice(&n.to_be_bytes());
        let mut frame = Frame::ping(payload);
        frame.header_mut().mask = Some([7; 4]);
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn pings_of_a_client_that_reads_nothing_take_no_memory_and_the_last_is_answered() {
        let (mut socket, client) = connect().await;
        let (mut answers, mut pings) = client.into_split();
        let outbox = Outbox::default();
        outbox.push("between the answers".into());
        let sent = tokio::spawn(async move {
            for n in 1..=PINGS {
                pings.write_all(&ping(n)).await.unwrap();
            }
            pings
        });
        let mut most = 0;
        for n in 1..=PINGS {
            let Event::Read(Ok(Message::Ping(payload))) = socket.next(&outbox).await else {
                panic!("no ping");
            };
            assert_eq!(payload[..4], n.to_be_bytes());
            most = most.max(socket.out.capacity());
        }
        assert!(socket.written < socket.out.len(), "the client took all");
        assert!(most <= 4 * WRITE_BYTES, "{most}");
        let _pings = sent.await.unwrap();

        let mut received = Vec::new();
        let reads = async {
            loop {
                answers.read_buf(&mut received).await.unwrap();
                if received.ends_with(&pong(PINGS)) {
                    return;
                }
            }
        };
        let both = async {
            tokio::select! {
                () = reads => {}
                _ = socket.next(&outbox) => panic!("nothing more was sent"),
            }
        };
        timeout(Duration::from_secs(60), both)
            .await
            .expect("the last answer");
        let (pongs, texts) = count_frames(&received);
        assert!(pongs > 0, "{pongs}");
        assert_eq!(texts, 1);
    }

    fn pong(n: u32) -> Vec<u8> {
        let mut payload = vec![b'x'; PING_BYTES];
        payload[..4].copy_from_slice(&n.to_be_bytes());
        let mut bytes = Vec::new();
        Frame::pong(payload).format(&mut bytes).unwrap();
        bytes
    }

    /// Counts the pongs and texts, which must be whole.
    fn count_frames(mut bytes: &[u8]) -> (usize, usize) {
        use tungstenite::protocol::frame::FrameHeader;
        let mut pongs = 0;
        let mut texts = 0;
        while !bytes.is_empty() {
            let mut cursor = io::Cursor::new(bytes);
            let (header, length) = FrameHeader::parse(&mut cursor).unwrap().expect("a header");
            let start = usize::try_from(cursor.position()).unwrap();
            match header.opcode {
                OpCode::Control(Control::Pong) => pongs += 1,
                OpCode::Data(Data::Text) => texts += 1,
                other => panic!("{other:?}"),
            }
            bytes = &bytes[start + usize::try_from(length).unwrap()..];
        }
        (pongs, texts)
    }
}
