//! The processes of a cluster.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStderr, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};

use crate::{
    http,
    postgres::{Postgres, SECRET, free_port},
    until,
};

/// A NATS server, which is killed when this is dropped.
pub(crate) struct Nats {
    pub(crate) url: String,
    child: Child,
    _dir: TempDir,
}

impl Nats {
    pub(crate) async fn start() -> Self {
        Self::start_on(free_port()).await
    }

    /// Starts a server on this port, where nodes may have looked for it in vain.
    pub(crate) async fn start_on(port: u16) -> Self {
        Self::start_with(port, &[]).await
    }

    /// Starts a server with more arguments.
    pub(crate) async fn start_with(port: u16, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new("nats-server")
            .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
            .args(more)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is installed: .ci/setup does it");
        let address = format!("127.0.0.1:{port}");
        until("NATS listens", || async {
            TcpStream::connect(&address).await.ok()
        })
        .await;
        Self {
            url: format!("nats://{address}"),
            child,
            _dir: dir,
        }
    }

    /// Kills the process. Returns its port.
    pub(crate) fn kill(&mut self) -> u16 {
        kill(&mut self.child);
        let (_, port) = self.url.rsplit_once(':').unwrap();
        port.parse().unwrap()
    }

    /// Stops the process, as a machine that hangs does.
    pub(crate) fn stop(&self) {
        signal(&self.child, "-STOP");
    }

    /// Continues the process.
    pub(crate) fn resume(&self) {
        signal(&self.child, "-CONT");
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// A server of the cluster, which is killed when this is dropped.
pub(crate) struct Node {
    pub(crate) address: String,
    admin: String,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Node {
    /// Starts a node and waits until it is ready. It reaches NATS at `nats`.
    pub(crate) async fn start(database: &str, nats: &str, webhook: &str) -> Self {
        let node = Self::launch(database, nats, webhook);
        until("the node is ready", || async {
            let (status, _) = node.probe("readyz").await?;
            (status == 200).then_some(())
        })
        .await;
        node
    }

    /// Starts a node and waits until it listens.
    pub(crate) fn launch(database: &str, nats: &str, webhook: &str) -> Self {
        Self::launch_with(
            database,
            nats,
            &["--webhook", webhook, "--webhook-secret", SECRET],
        )
    }

    /// Starts a node with more arguments and waits until it listens.
    pub(crate) fn launch_with(database: &str, nats: &str, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_headcount-server"))
            .args([
                "--port",
                "0",
                "--admin-addr",
                "127.0.0.1:0",
                "--grace-ms",
                "0",
            ])
            .args(["--database", database, "--nats", nats, "--cluster", "test"])
            .args(more)
            .args(["--auth-per-minute", "10000", "--refusal-delay-ms", "0"])
            .env("HEADCOUNT_JWT_SECRET", SECRET)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = keep_log(child.stderr.take().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = || {
            let line = lines.next().unwrap().unwrap();
            let (_, address) = line.split_once("http://").expect("a line names it");
            address.to_owned()
        };
        Self {
            address: address(),
            admin: address().replace("/admin", ""),
            child,
            log,
        }
    }

    /// Waits until the log says something.
    pub(crate) async fn says(&self, text: &str) {
        until(text, || async {
            self.log.lock().contains(text).then_some(())
        })
        .await;
    }

    /// Returns status and text of a page; `None` if the node does not answer.
    pub(crate) async fn probe(&self, page: &str) -> Option<(u16, String)> {
        let url = format!("http://{}/{page}", self.address);
        let answer = http::get(&url).await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Returns the value of a metric, whose name has its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.operators_read("metrics").await;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.expect("a metric of that name").parse().unwrap()
    }

    /// Returns the sum of a metric over its labels.
    pub(crate) async fn metric_sum(&self, name: &str) -> f64 {
        let text = self.operators_read("metrics").await;
        let labelled = format!("{name}{{");
        let lines = text.lines().filter(|line| line.starts_with(&labelled));
        let values = lines.map(|line| line.rsplit_once(' ').unwrap().1);
        values.map(|value| value.parse::<f64>().unwrap()).sum()
    }

    /// Returns a page for operators.
    pub(crate) async fn operators_read(&self, page: &str) -> String {
        let url = format!("http://{}/{page}", self.admin);
        http::get(url).await.unwrap().text().await.unwrap()
    }

    /// Kills the process: nothing is said to anyone.
    pub(crate) fn kill(&mut self) {
        kill(&mut self.child);
    }

    /// Asks the process to read its settings again.
    pub(crate) fn reload(&self) {
        signal(&self.child, "-HUP");
    }

    /// Asks the process to stop, and waits for its end.
    pub(crate) async fn terminate(&mut self) {
        signal(&self.child, "-TERM");
        while self.child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// All processes of a test.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) nats: Nats,
    pub(crate) database: String,
    pub(crate) postgres: Postgres,
}

impl Cluster {
    /// Starts PostgreSQL, NATS and three nodes.
    pub(crate) async fn start(webhook: &str) -> Self {
        let postgres = Postgres::start().await;
        let database = postgres.create().await;
        Self::start_on(postgres, database, webhook).await
    }

    /// Starts NATS and three nodes on a database.
    pub(crate) async fn start_on(postgres: Postgres, database: String, webhook: &str) -> Self {
        let nats = Nats::start().await;
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Node::start(&database, &nats.url, webhook).await);
        }
        Self {
            nodes,
            nats,
            database,
            postgres,
        }
    }
}

/// Shows what a process writes to its log with what the test writes, and keeps it.
fn keep_log(stderr: ChildStderr) -> Arc<Mutex<String>> {
    let log = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&log);
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            eprintln!("{line}");
            let mut kept = kept.lock();
            kept.push_str(&line);
            kept.push('\n');
        }
    });
    log
}

fn kill(child: &mut Child) {
    // A stopped process is killed too.
    let _ = child.kill();
    let _ = child.wait();
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let signalled = Command::new("kill").args([name, &pid]).status().unwrap();
    assert!(signalled.success());
}
