//! Wakes Python without its interpreter lock: a node writes one byte to a socket, and a thread or an event loop of
//! Python reads it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;

#[cfg(unix)]
type Stream = std::os::unix::net::UnixStream;
#[cfg(not(unix))]
type Stream = std::net::TcpStream;

/// The numbers of the feeds that have news, and the socket that says so.
#[derive(Debug)]
pub(crate) struct Ready {
    numbers: Mutex<Vec<u64>>,
    made: AtomicU64,
    socket: Mutex<Option<Stream>>,
}

impl Ready {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            numbers: Mutex::new(Vec::new()),
            made: AtomicU64::new(0),
            socket: Mutex::new(None),
        })
    }

    /// Opens the socket; returns the file descriptor of its other end, which the caller owns.
    pub(crate) fn open(&self) -> io::Result<i64> {
        let (socket, other) = pair()?;
        socket.set_nonblocking(true)?;
        *self.socket.lock() = Some(socket);
        if !self.numbers.lock().is_empty() {
            self.report();
        }
        Ok(other)
    }

    /// Makes a waker with a number of its own.
    pub(crate) fn waker(self: &Arc<Self>) -> (u64, Waker) {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let ready = Arc::clone(self);
        (number, Arc::new(Waiter { ready, number }).into())
    }

    /// Returns the numbers woken since the last call.
    pub(crate) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.numbers.lock())
    }

    /// Closes the socket, which ends what reads its other end.
    pub(crate) fn close(&self) {
        self.socket.lock().take();
    }

    fn push(&self, number: u64) {
        let mut numbers = self.numbers.lock();
        let is_first = numbers.is_empty();
        numbers.push(number);
        drop(numbers);
        if is_first {
            self.report();
        }
    }

    fn report(&self) {
        if let Some(socket) = &mut *self.socket.lock() {
            // A full socket wakes its reader too.
            let _ = socket.write(&[0]);
        }
    }
}

struct Waiter {
    ready: Arc<Ready>,
    number: u64,
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.number);
    }
}

#[cfg(unix)]
fn pair() -> io::Result<(Stream, i64)> {
    use std::os::fd::IntoRawFd;

    let (ours, theirs) = Stream::pair()?;
    Ok((ours, i64::from(theirs.into_raw_fd())))
}

#[cfg(windows)]
fn pair() -> io::Result<(Stream, i64)> {
    use std::os::windows::io::IntoRawSocket;

    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let ours = Stream::connect(listener.local_addr()?)?;
    loop {
        let (theirs, from) = listener.accept()?;
        if from == ours.local_addr()? {
            return Ok((ours, theirs.into_raw_socket() as i64));
        }
    }
}
