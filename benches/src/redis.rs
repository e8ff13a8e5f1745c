//! A Redis server of a bench, over its socket, pipelined: the usual choice for a list outside the
//! process.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Commands in one pipeline.
const PIPELINE: usize = 1000;

/// A server of a bench, stopped when this is dropped.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    dir: std::path::PathBuf,
    stream: BufReader<UnixStream>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Redis {
    /// Starts a server without persistence; returns `None` if none is installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let dir = std::env::temp_dir().join(format!("headcount-redis-{}", std::process::id()));
        std::fs::create_dir_all(&dir).ok()?;
        let socket = dir.join("redis.sock");
        let child = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--unixsocket",
            ])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let connect = || {
            std::thread::sleep(Duration::from_millis(100));
            UnixStream::connect(&socket).ok()
        };
        let stream = (0..50).find_map(|_| connect())?;
        Some(Self {
            child,
            dir,
            stream: BufReader::new(stream),
        })
    }

    /// Sends commands in pipelines and reads their replies.
    ///
    /// # Panics
    /// If the server ends.
    pub fn run(&mut self, commands: impl Iterator<Item = String>) {
        self.run_groups(commands, 1);
    }

    /// Sends texts of `size` commands each in pipelines and reads their replies.
    ///
    /// # Panics
    /// If the server ends.
    pub fn run_groups(&mut self, groups: impl Iterator<Item = String>, size: usize) {
        let mut groups = groups.peekable();
        while groups.peek().is_some() {
            let pipeline: Vec<String> = groups.by_ref().take(PIPELINE).collect();
            let bytes = pipeline.concat();
            let written = self.stream.get_mut().write_all(bytes.as_bytes());
            written.expect("redis reads");
            (0..pipeline.len() * size).for_each(|_| drop(self.reply()));
        }
    }

    /// Reads one reply; returns the text of strings and numbers.
    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("redis answers");
        match line.as_bytes().first() {
            Some(b'*') => {
                let parts: usize = line[1..].trim().parse().unwrap_or(0);
                (0..parts).for_each(|_| drop(self.reply()));
                line
            }
            Some(b'$') if !line.starts_with("$-1") => {
                let len: usize = line[1..].trim().parse().unwrap_or(0);
                let mut text = vec![0; len + 2];
                std::io::Read::read_exact(&mut self.stream, &mut text).expect("redis answers");
                String::from_utf8_lossy(&text).into_owned()
            }
            _ => line,
        }
    }

    /// Returns the bytes in use, as the server reports them.
    ///
    /// # Panics
    /// If the server ends.
    pub fn memory(&mut self) -> usize {
        let command = "INFO memory\r\n".to_owned();
        self.stream
            .get_mut()
            .write_all(command.as_bytes())
            .expect("redis reads");
        let info = self.reply();
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        used.and_then(|bytes| bytes.trim().parse().ok())
            .unwrap_or(0)
    }
}
