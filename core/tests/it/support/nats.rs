//! A `nats-server`, proxies to it and programs for it.
#![expect(
    clippy::disallowed_methods,
    reason = "core has no I/O, but these tests run real processes over a real network"
)]

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A child process that is killed when this is dropped.
pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Starts a server on a free port.
pub(crate) fn nats_server() -> (Server, u16) {
    let port = free_port();
    (nats_server_on(port, &[]), port)
}

/// Starts a server on a port, with more arguments.
pub(crate) fn nats_server_on(port: u16, more: &[&str]) -> Server {
    let command = Command::new("nats-server")
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .args(more)
        .stderr(Stdio::null())
        .spawn();
    let server = Server(command.expect("nats-server is installed (Debian package nats-server)"));
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "nats-server does not answer"
        );
        thread::sleep(Duration::from_millis(20));
    }
    server
}

/// A proxy to the server that can be closed: bytes under way are lost, new connections fail.
pub(crate) struct Gate {
    pub(crate) port: u16,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    pub(crate) fn new(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_open = Arc::new(AtomicBool::new(true));
        let gate = Arc::clone(&is_open);
        thread::spawn(move || {
            for inner in listener.incoming().flatten() {
                let Ok(outer) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                for (from, to) in [(&inner, &outer), (&outer, &inner)] {
                    let from = from.try_clone().unwrap();
                    let to = to.try_clone().unwrap();
                    let gate = Arc::clone(&gate);
                    thread::spawn(move || pipe(from, to, &gate));
                }
            }
        });
        Self { port, is_open }
    }

    pub(crate) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::SeqCst);
    }
}

fn pipe(mut from: TcpStream, mut to: TcpStream, gate: &AtomicBool) {
    use std::io::Read;
    let _ = from.set_read_timeout(Some(Duration::from_millis(50)));
    let mut buffer = [0; 16 * 1024];
    while gate.load(Ordering::SeqCst) {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) if to.write_all(&buffer[..len]).is_err() => break,
            Ok(_) => {}
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Returns the path of an example: built with the tests, or now if only this binary was.
pub(crate) fn example(name: &str) -> String {
    let here = std::env::current_exe().unwrap();
    let built = here.parent().unwrap().with_file_name("examples").join(name);
    let mut cargo = Command::new(env!("CARGO"));
    // Build scripts that look at what cargo tells a test of its package would run again, and all that
    // depends on them would be compiled once more, here and after the tests.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    let output = cargo
        .args(["build", "-q", "--profile", "test", "--example", name])
        // As the suites are built: for this package alone all would be compiled once more.
        .args(["--workspace", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && built.exists(),
        "no {built:?}: {errors}"
    );
    built.to_str().unwrap().to_owned()
}
