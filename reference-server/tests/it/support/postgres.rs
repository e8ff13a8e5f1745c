//! A PostgreSQL server for a test, in a directory of its own.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::time::sleep;

/// A secret that is long enough; nodes that share a database need one.
pub(crate) const SECRET: &str = "a secret that all nodes of a test share";

/// A running server, which is killed when this is dropped.
pub(crate) struct Postgres {
    dir: TempDir,
    port: u16,
    server: Option<Child>,
    databases: AtomicU32,
}

impl Postgres {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        if let Some((user, group)) = postgres_user() {
            chown(dir.path(), Some(user), Some(group)).unwrap();
        }
        let data = dir.path().join("data");
        let done = program("initdb")
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
            ])
            .args(["--no-locale", "--pgdata"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .expect("PostgreSQL is installed: .ci/setup does it");
        assert!(done.success(), "initdb failed");
        let mut postgres = Self {
            port: free_port(),
            dir,
            server: None,
            databases: AtomicU32::new(0),
        };
        postgres.resume().await;
        postgres
    }

    /// Starts the server again after [`kill`](Self::kill), on the same port.
    pub(crate) async fn resume(&mut self) {
        // What a killed server left.
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let server = program("postgres")
            .args(["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c"])
            .args(["max_connections=300", "-p", &self.port.to_string(), "-k"])
            .arg(self.dir.path())
            .arg("-D")
            .arg(self.data())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        for _ in 0..1_200 {
            if PgConnection::connect(&self.url("postgres")).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        panic!("PostgreSQL did not start: {log}");
    }

    /// Kills the server at once, as a lost machine does.
    pub(crate) fn kill(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let pid = server.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = server.wait();
    }

    /// Makes an empty database. Returns its address.
    pub(crate) async fn create(&self) -> String {
        self.create_in("pg_default").await
    }

    /// Makes an empty database in a tablespace. Returns its address.
    pub(crate) async fn create_in(&self, tablespace: &str) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run(format!("CREATE DATABASE {name} TABLESPACE {tablespace}"))
            .await;
        self.url(&name)
    }

    /// Runs a statement as the administrator.
    pub(crate) async fn run(&self, sql: impl Into<String>) {
        let mut admin = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let sql = sqlx::AssertSqlSafe(sql.into());
        sqlx::query(sql).execute(&mut admin).await.unwrap();
    }

    /// Returns the address of a database, with a password that the server does not ask for.
    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres:hunter2@127.0.0.1:{}/{database}",
            self.port
        )
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns a port that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Makes the command for a program of PostgreSQL, which root may not run: then the user of Debian's package does.
fn program(name: &str) -> Command {
    let mut command = Command::new(find(name));
    if let Some((user, group)) = postgres_user() {
        command.uid(user).gid(group);
    }
    command.current_dir("/");
    command
}

/// Returns the path of a program, which Debian keeps out of `PATH`.
fn find(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let found = versions
        .flatten()
        .map(|version| version.path().join("bin").join(name));
    found
        .filter(|path| path.exists())
        .max()
        .unwrap_or_else(|| name.into())
}

/// Returns the ids of the user `postgres`, if this is root.
pub(crate) fn postgres_user() -> Option<(u32, u32)> {
    let id = |args: &[&str]| {
        let output = Command::new("id").args(args).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let is_root = id(&["-u"]) == Some(0) && Path::new("/proc/self").exists();
    is_root.then(|| Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?)))?
}
