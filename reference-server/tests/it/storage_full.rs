//! A full disk: acknowledged messages are there after a restart, refused ones are not.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::support::client::{Server, Socket, User};

/// Number of times that the disk is filled and freed.
const ROUNDS: usize = 3;
/// Messages that a user may send in a row.
const TURN: usize = 10;
/// The pause between two messages of a client.
const PAUSE: Duration = Duration::from_millis(5);
/// Longer than any step of a test takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_database_at_its_limit_loses_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir, |config| config.database_max_mib = Some(1)).await;
    let owner = server.register("owner").await;
    let mut ballast = Ballast { owner, room: None };
    let (server, record) = post_while_it_fills(server, &mut ballast).await;
    ballast.free(&server).await;
    let dir = server.stop().await;
    record.compare(&Server::start_in(dir, |_| {}).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_loses_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = match SmallDisk::mount(dir.path()) {
        Ok(disk) => disk,
        Err(why) => return println!("NOT RUN: no file system can be mounted here: {why}"),
    };
    let data_dir = disk.path.join("data");
    let server = Server::start_in(dir, |config| config.data_dir = data_dir.clone()).await;
    server.register("owner").await;
    let (server, record) = post_while_it_fills(server, &mut disk).await;
    let dir = server.stop().await;
    let server = Server::start_in(dir, |config| config.data_dir = data_dir).await;
    record.compare(&server).await;
    drop(disk);
}

/// A way to take all free space, and to free it.
trait Filler {
    async fn fill(&mut self, server: &Server);
    async fn free(&mut self, server: &Server);
}

/// Long messages in a room of their own.
struct Ballast {
    owner: User,
    room: Option<String>,
}

impl Filler for Ballast {
    async fn fill(&mut self, server: &Server) {
        let room = server.create_room(&self.owner, "ballast").await;
        let path = format!("/rooms/{room}/messages");
        self.room = Some(room);
        let content = json!({ "content": "\u{1f389}".repeat(4_000) });
        for _ in 0..100 {
            let guest = server.guest().await;
            for _ in 0..TURN {
                let (status, answer) = server.post(&guest, &path, content.clone()).await;
                if status != StatusCode::CREATED {
                    return assert_eq!(reason(status, &answer), "storage full");
                }
            }
        }
        panic!("1 MiB holds 16 MB of messages");
    }

    async fn free(&mut self, server: &Server) {
        if let Some(room) = self.room.take() {
            let (status, answer) = server.delete(&self.owner, &format!("/rooms/{room}")).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
        }
    }
}

/// A file system in memory, and the file that fills it.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(dir: &Path) -> Result<Self, String> {
        let path = dir.join("small");
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m", "headcount-test"]);
        let output = mount.arg(&path).output().map_err(|e| e.to_string())?;
        if output.status.success() {
            Ok(Self { path })
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

impl Filler for SmallDisk {
    async fn fill(&mut self, _: &Server) {
        let mut file = File::create(self.ballast()).unwrap();
        for size in [64 << 10, 4 << 10] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    async fn free(&mut self, _: &Server) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

/// The answers that clients received.
#[derive(Default)]
struct Record {
    stop: AtomicBool,
    room: String,
    /// Acknowledged messages by content and number; those refused; those seen on a socket.
    stored: Mutex<Vec<(String, i64)>>,
    refused: Mutex<Vec<String>>,
    broadcast: Mutex<Vec<(String, i64)>>,
    accounts: Mutex<Vec<String>>,
    accounts_refused: AtomicUsize,
}

impl Record {
    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn stored(&self, kind: &str) -> usize {
        let stored = self.stored.lock();
        stored.iter().filter(|(c, _)| c.starts_with(kind)).count()
    }

    fn refused(&self, kind: &str) -> usize {
        let refused = self.refused.lock();
        refused.iter().filter(|c| c.starts_with(kind)).count()
    }

    /// Compares with the messages of a restarted server.
    async fn compare(self, server: &Server) {
        let guest = server.guest().await;
        let mut found = Vec::new();
        loop {
            let path = format!("/rooms/{}/messages?limit=100", self.room);
            let path = format!("{path}&after_seq={}", found.len());
            let (_, page) = server.get(&guest, &path).await;
            let page = page["data"].as_array().unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page.iter().map(content_and_seq));
        }
        let numbers: Vec<_> = found.iter().map(|(_, seq)| *seq).collect();
        let expected: Vec<_> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, expected, "numbers have no gap and come once");
        let mut stored = self.stored.into_inner();
        stored.sort_by_key(|(_, seq)| *seq);
        assert!(stored.len() > 20 && !self.refused.lock().is_empty());
        let refused = self.refused.into_inner();
        for (content, _) in &found {
            assert!(!refused.contains(content), "{content:?} was refused");
        }
        assert!(stored == found, "acknowledged, and found");
        assert!(self.broadcast.into_inner() == found, "sent, and found");
        let (_, room) = server.get(&guest, &format!("/rooms/{}", self.room)).await;
        assert_eq!(room["data"]["last_seq"], found.len());
        let (_, users) = server.get(&guest, "/users?limit=100").await;
        let users = users["data"].as_array().unwrap().iter();
        let users: Vec<_> = users.map(|u| u["username"].as_str().unwrap()).collect();
        let mut accounts = self.accounts.into_inner();
        accounts.insert(0, "owner".into());
        assert_eq!(users, accounts);
    }
}

fn content_and_seq(message: &Value) -> (String, i64) {
    let content = message["content"].as_str().unwrap().to_owned();
    (content, message["seq"].as_i64().unwrap())
}

/// Returns the reason of a refusal by the storage.
fn reason(status: StatusCode, answer: &Value) -> String {
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{answer}");
    answer["error"].as_str().unwrap().to_owned()
}

/// Posts and registers continuously, while the disk is filled and freed.
async fn post_while_it_fills(server: Server, disk: &mut impl Filler) -> (Server, Record) {
    let guest = server.guest().await;
    let record = Record {
        room: server.room(&guest, "lobby").await,
        ..Record::default()
    };
    let (_, socket) = server.enter(&record.room).await;
    tokio::join!(
        post_by_rest(&server, &record),
        post_by_socket(&server, &record),
        listen(socket, &record),
        register(&server, &record),
        async {
            for _ in 0..ROUNDS {
                round(&server, &record, disk).await;
            }
            record.stop.store(true, Ordering::Relaxed);
        }
    );
    (server, record)
}

/// Fills the disk until posts fail by REST and socket, and frees it until both succeed.
async fn round(server: &Server, record: &Record, disk: &mut impl Filler) {
    let refused = ["rest", "socket"].map(|kind| record.refused(kind));
    disk.fill(server).await;
    wait_for(|| record.refused("rest") > refused[0] && record.refused("socket") > refused[1]).await;
    let body = wait_for_readyz(server, StatusCode::SERVICE_UNAVAILABLE).await;
    for word in ["headcount.db", "storage full"] {
        assert!(body.contains(word), "{body}");
    }
    disk.free(server).await;
    let stored = ["rest", "socket"].map(|kind| record.stored(kind));
    let accounts = record.accounts.lock().len();
    wait_for(|| {
        record.stored("rest") > stored[0] + TURN
            && record.stored("socket") > stored[1] + TURN
            && record.accounts.lock().len() > accounts
    })
    .await;
    wait_for_readyz(server, StatusCode::OK).await;
}

async fn wait_for(condition: impl Fn() -> bool) {
    let happened = async {
        while !condition() {
            sleep(PAUSE).await;
        }
    };
    timeout(PATIENCE, happened).await.expect("it happens");
}

async fn wait_for_readyz(server: &Server, status: StatusCode) -> String {
    let answered = async {
        loop {
            let (found, body) = server.readyz().await;
            if found == status {
                return body;
            }
            sleep(PAUSE).await;
        }
    };
    timeout(PATIENCE, answered).await.expect("it is answered")
}

async fn post_by_rest(server: &Server, record: &Record) {
    let path = format!("/rooms/{}/messages", record.room);
    let mut author = server.guest().await;
    for n in 1.. {
        if record.stops() {
            return;
        }
        let content = format!("rest {n}");
        let body = json!({ "content": content });
        let (status, answer) = server.post(&author, &path, body).await;
        if status == StatusCode::CREATED {
            record.stored.lock().push(content_and_seq(&answer["data"]));
        } else {
            assert_eq!(reason(status, &answer), "storage full");
            record.refused.lock().push(content);
        }
        if n % TURN == 0 {
            author = server.guest().await;
        }
        sleep(PAUSE).await;
    }
}

async fn post_by_socket(server: &Server, record: &Record) {
    let topic = format!("room:{}", record.room);
    for turn in 0.. {
        let (_, mut socket) = server.enter(&record.room).await;
        for n in 0..TURN {
            if record.stops() {
                return;
            }
            let content = format!("socket {turn}.{n}");
            let reply = socket
                .push(
                    &topic,
                    &content,
                    "new_message",
                    json!({ "content": content }),
                )
                .await;
            if reply["status"] == "ok" {
                let stored = content_and_seq(&reply["response"]);
                record.stored.lock().push(stored);
            } else {
                assert_eq!(reply["response"], json!({ "reason": "storage full" }));
                record.refused.lock().push(content);
            }
            sleep(PAUSE).await;
        }
    }
}

/// Records every message that is sent to a socket.
async fn listen(mut socket: Socket, record: &Record) {
    loop {
        let stops = record.stops();
        let frames = socket.drain().await;
        let messages = frames.iter().filter(|frame| frame[3] == "new_message");
        let messages = messages.map(|frame| content_and_seq(&frame[4]));
        record.broadcast.lock().extend(messages);
        if stops {
            return;
        }
    }
}

async fn register(server: &Server, record: &Record) {
    for n in 1.. {
        if record.stops() {
            return;
        }
        let name = format!("account-{n}");
        let body = json!({ "username": name, "password": "correct horse" });
        let (status, answer) = server
            .call(Method::POST, "/auth/register", None, Some(body))
            .await;
        if status == StatusCode::CREATED {
            record.accounts.lock().push(name);
        } else {
            assert_eq!(reason(status, &answer), "storage full");
            record.accounts_refused.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(200)).await;
    }
}
