//! Faults of the storage: nothing is acknowledged, sent or shown before it is stored, and the server
//! recovers by itself when the fault ends.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use headcount_server::Config;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::time::sleep;

use crate::support::{client::Server, http, metrics::Scrape};

pub(crate) const FAILED: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

fn database(dir: &Path) -> PathBuf {
    dir.join("headcount.db")
}

/// Runs statements on the database of a running server.
pub(crate) async fn run(dir: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(database(dir));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Returns the answer of `/readyz` once it is not 200; an answer may be a second old.
pub(crate) async fn not_ready(server: &Server) -> String {
    loop {
        let (status, body) = server.readyz().await;
        if status == FAILED {
            return body;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Users that sign in at another site have no password; they are users all the same.
#[tokio::test]
async fn a_user_without_a_password_is_found_by_name_but_cannot_log_in() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let grace = server.register("grace").await;
    run(
        server.dir(),
        "UPDATE users SET password_hash = '' WHERE username = 'grace'",
    )
    .await;
    let (status, answer) = server.get(&ada, "/users?name=grace").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["data"][0]["id"], grace.id, "{answer}");
    let body = json!({ "username": "grace", "password": "correct horse" });
    let (status, _) = server
        .call(Method::POST, "/auth/login", None, Some(body))
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

/// The client of long polls knows the statuses of its protocol alone, and would not try again.
#[tokio::test]
async fn a_long_poll_that_the_storage_fails_may_be_tried_again() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let address = server.address;
    let token = &ada.token;
    let url = format!("http://{address}/chat/socket/longpoll?vsn=2.0.0&token={token}");
    let poll = async || {
        let response = http::client().get(&url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.json::<Value>().await.unwrap()["status"].clone()
    };
    run(server.dir(), "ALTER TABLE users RENAME TO gone").await;
    assert_eq!(poll().await, 500);
    run(server.dir(), "ALTER TABLE gone RENAME TO users").await;
    assert_eq!(poll().await, 410, "a session is open");
}

#[tokio::test]
async fn a_locked_database_is_reported_as_busy_to_all_at_once() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    let options = SqliteConnectOptions::new().filename(database(server.dir()));
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    let path = format!("/rooms/{room}/messages");
    let hi = json!({ "content": "hi" });
    let (a, b, c, body) = tokio::join!(
        server.post(&ada, &path, hi.clone()),
        server.post(&ada, &path, hi.clone()),
        server.post(&ada, "/rooms", json!({ "name": "New" })),
        not_ready(&server),
    );
    for (status, answer) in [a, b, c] {
        let busy = json!({ "error": "storage busy" });
        assert_eq!((status, answer), (FAILED, busy));
    }
    assert!(body.contains("storage busy"), "{body}");
    assert_eq!(
        server.get(&ada, &path).await.0,
        StatusCode::OK,
        "it can be read"
    );
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    let (_, stored) = server.post(&ada, &path, hi).await;
    assert_eq!(stored["data"]["seq"], 1);
}

#[tokio::test]
async fn nothing_is_acknowledged_once_the_files_are_deleted() {
    for name in ["headcount.db", "headcount.db-wal"] {
        let server = Server::start().await;
        let ada = server.register("ada").await;
        let room = server.create_room(&ada, "Engines").await;
        fs::remove_file(server.dir().join(name)).unwrap();
        let path = format!("/rooms/{room}/messages");
        let hi = json!({ "content": "hi" });
        for _ in 0..2 {
            let answer = server.post(&ada, &path, hi.clone()).await;
            assert_eq!(answer, (FAILED, json!({ "error": "storage missing" })));
        }
        let (_, page) = server.get(&ada, &path).await;
        assert_eq!(page["data"], json!([]));
        assert!(not_ready(&server).await.contains("storage missing"));
    }
}

#[tokio::test]
async fn the_simulated_room_is_set_up_when_the_storage_is_back() {
    let dir = Server::start().await.stop().await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON rooms
                  BEGIN SELECT RAISE(ABORT, 'refused'); END";
    run(dir.path(), refuse).await;
    let server = Server::start_unready(dir, |config| config.demo = 10).await;
    let (status, state) = server.readyz().await;
    assert_eq!(status, FAILED);
    // With what it waits for, until the database is open.
    assert!(state.starts_with("starting"), "{state}");
    assert_eq!(Scrape::of(&server).await.get("headcount_ready"), 0.0);
    run(server.dir(), "DROP TRIGGER refuse").await;
    server.wait_until_ready().await;
    let guest = server.guest().await;
    server.room(&guest, "city").await;
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_named_at_the_start() {
    let dir = Server::start().await.stop().await;
    run(
        dir.path(),
        "INSERT INTO _sqlx_migrations VALUES (9999, 'later', '', 1, x'00', 0)",
    )
    .await;
    start_fails(dir.path(), &["headcount.db", "newer version"]).await;

    let dir = tempfile::tempdir().unwrap();
    fs::write(
        database(dir.path()),
        "this is no database at all".repeat(1_000),
    )
    .unwrap();
    start_fails(dir.path(), &["headcount.db", "storage damaged"]).await;

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(database(dir.path())).unwrap();
    start_fails(dir.path(), &["headcount.db", "storage cannot be opened"]).await;

    let server = Server::start().await;
    start_fails(server.dir(), &["in use by another server"]).await;
    server.register("ada").await;
}

/// Pages in the middle of the file are lost: the start succeeds or says so, and no request that needs them does.
#[tokio::test]
async fn a_damaged_database_is_reported_with_its_path() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    server.create_room(&ada, "Engines").await;
    let dir = server.stop().await;
    let path = database(dir.path());
    assert!(
        !dir.path().join("headcount.db-wal").exists(),
        "all is in one file"
    );
    let mut bytes = fs::read(&path).unwrap();
    bytes[2 * 4096..].fill(0);
    fs::write(&path, &bytes).unwrap();
    start_fails(dir.path(), &["headcount.db", "storage damaged", "backup"]).await;

    // The same while a server runs.
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let server = Server::start_in(server.stop().await, |_| {}).await;
    let path = database(server.dir());
    let mut bytes = fs::read(&path).unwrap();
    bytes[2 * 4096..].fill(0);
    // In place: the server has the file open.
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
    let answer = server.post(&ada, "/rooms", json!({ "name": "New" })).await;
    assert_eq!(answer, (FAILED, json!({ "error": "storage damaged" })));
}

/// Writes that need a remedy of the operator are refused with one, and the path is named.
#[tokio::test]
async fn a_read_only_place_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("place");
    fs::create_dir(&place).unwrap();
    let mut mount = std::process::Command::new("mount");
    let mount = mount.args(["-t", "tmpfs", "-o", "ro", "headcount-test"]);
    let mounted = mount.arg(&place).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return println!("NOT RUN: no file system can be mounted here");
    }
    let config = Config {
        data_dir: place.join("data"),
        ..Config::default()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = headcount_server::Server::open(listener, config)
        .await
        .expect_err("it must not start")
        .to_string();
    let unmounted = std::process::Command::new("umount").arg(&place).status();
    assert!(unmounted.unwrap().success());
    assert!(
        error.contains("place/data") && error.contains("Read-only"),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_created_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start().await;
    let files = fs::read_dir(server.dir()).unwrap().map(Result::unwrap);
    let mut names = Vec::new();
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    let database = ["headcount.db", "headcount.db-shm", "headcount.db-wal"];
    assert_eq!(names, [&database[..], &["jwt-secret", "lock"]].concat());
}

/// Starts a server that must refuse to start, with an error that contains these words.
async fn start_fails(dir: &Path, words: &[&str]) {
    let config = Config {
        data_dir: dir.into(),
        ..Config::default()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let error = headcount_server::run(listener, config, stop)
        .await
        .expect_err("it must not start")
        .to_string();
    for word in words.iter().copied().chain([dir.to_str().unwrap()]) {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
}

/// Clients post without pause while the server stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_acknowledged_during_a_stop_is_stored() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.room(&ada, "lobby").await;
    let path = format!("/rooms/{room}/messages");
    let url = format!("http://{}/api/v1{path}", server.address);
    let mut clients = Vec::new();
    for n in 0..20 {
        let guest = server.guest().await;
        let url = url.clone();
        clients.push(tokio::spawn(async move {
            let client = http::client();
            let mut acknowledged = Vec::new();
            for m in 0..10 {
                let content = format!("{n}.{m}");
                let post = client.post(&url).bearer_auth(&guest.token);
                let sent = post.json(&json!({ "content": content })).send().await;
                if sent.is_ok_and(|answer| answer.status() == StatusCode::CREATED) {
                    acknowledged.push(content);
                }
            }
            acknowledged
        }));
    }
    let guest = server.guest().await;
    while server.get(&guest, &path).await.1["data"]
        .as_array()
        .unwrap()
        .len()
        < 20
    {}
    let dir = server.stop().await;
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    let server = Server::start_in(dir, |_| {}).await;
    let mut stored = Vec::new();
    for after in [0, 100] {
        let page = format!("{path}?limit=100&after_seq={after}");
        let (_, page) = server.get(&guest, &page).await;
        let page = page["data"].as_array().unwrap().iter();
        stored.extend(page.map(|message| message["content"].as_str().unwrap().to_owned()));
    }
    assert!(acknowledged.len() >= 20);
    for content in acknowledged {
        assert!(stored.contains(&content), "{content} is lost");
    }
}

/// A membership ended between the check of a join and the join: the user stayed in the room.
#[tokio::test]
async fn who_loses_a_room_while_it_joins_hears_nothing_of_it() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let room = server.create_room(&ada, "Engines").await;
    let path = format!("/rooms/{room}");
    server.post(&bob, &format!("{path}/join"), json!({})).await;
    let mut socket = server.connect(&bob).await;
    let options = SqliteConnectOptions::new().filename(database(server.dir()));
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let begin = sqlx::query("BEGIN IMMEDIATE").execute(&mut other);
    begin.await.unwrap();
    let leave = format!("{path}/leave");
    let (left, ()) = tokio::join!(server.delete(&bob, &leave), async {
        // The removal waits for the database, and the join, which was admitted, for the removal.
        sleep(Duration::from_millis(300)).await;
        let join = json!(["1", "1", format!("room:{room}"), "phx_join", {}]);
        socket.send(join).await;
        sleep(Duration::from_millis(300)).await;
        let end = sqlx::query("ROLLBACK").execute(&mut other);
        end.await.unwrap();
    });
    assert_eq!(left.0, StatusCode::OK, "{}", left.1);
    socket.expect("phx_close").await;
    let secret = json!({ "content": "secret" });
    let (status, _) = server.post(&ada, &format!("{path}/messages"), secret).await;
    assert_eq!(status, StatusCode::CREATED);
    let heard = socket.drain().await;
    assert!(heard.iter().all(|f| !f.to_string().contains("secret")));
}
