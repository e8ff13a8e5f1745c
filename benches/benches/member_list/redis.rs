//! A Redis sorted set beside the list, over its socket, pipelined: the usual choice for a list
//! outside the process.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headcount_benches::list::Rng;
use headcount_benches::table::Table;

const WHO: &str = "Redis ZSET";
/// Commands in one pipeline.
const PIPELINE: usize = 1000;

/// A server of the bench, stopped when this is dropped.
struct Server {
    child: Child,
    dir: std::path::PathBuf,
    stream: BufReader<UnixStream>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Server {
    fn start() -> Option<Self> {
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
    fn run(&mut self, commands: impl Iterator<Item = String>) {
        let commands: Vec<String> = commands.collect();
        for pipeline in commands.chunks(PIPELINE) {
            let bytes: String = pipeline.concat();
            self.stream
                .get_mut()
                .write_all(bytes.as_bytes())
                .expect("redis reads");
            pipeline.iter().for_each(|_| drop(self.reply()));
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

    fn memory(&mut self) -> usize {
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

/// Returns the time of one of `count` operations, by the clock: another process does the work.
fn time_each(count: usize, work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed() / count.max(1) as u32
}

/// Adds the lines of Redis; prints a note and skips them without a redis-server.
pub(crate) fn run(n: usize, table: &mut Table) {
    let Some(mut server) = Server::start() else {
        println!("redis-server is not installed: no Redis in the table");
        return;
    };
    let mut rng = Rng::new(1);
    let empty = server.memory();
    let score = |rng: &mut Rng| rng.next_u64() >> 12;
    server.run((0..n).map(|id| format!("ZADD z {} {id}\r\n", score(&mut rng))));
    let used = server.memory().saturating_sub(empty);
    table.note("memory a member", "B", WHO, used as f64 / n as f64);
    let count = (n / 4).clamp(1_000, 50_000);
    for _ in 0..3 {
        let moves: Vec<String> = (0..count)
            .map(|_| format!("ZADD z {} {}\r\n", score(&mut rng), rng.below(n)))
            .collect();
        let each = time_each(count, || server.run(moves.into_iter()));
        table.time("upsert that moves", WHO, each);
        let ranks: Vec<String> = (0..count)
            .map(|_| format!("ZRANK z {}\r\n", rng.below(n)))
            .collect();
        let each = time_each(count, || server.run(ranks.into_iter()));
        table.time("index_of (pair: get by key)", WHO, each);
        let pages: Vec<String> = (0..count / 50)
            .map(|_| rng.below(n))
            .map(|from| format!("ZRANGE z {from} {}\r\n", from + 99))
            .collect();
        let each = time_each(pages.len(), || server.run(pages.into_iter()));
        table.time("slice of 100", WHO, each);
    }
}
