//! The start of the program: what it refuses, what it shows meanwhile, and a log that nobody reads.

use std::{
    net::TcpListener,
    process::{Command, Stdio},
};

use reqwest::StatusCode;
use serde_json::json;

use crate::{
    cli::{program, read_until, terminate},
    support::http,
    webhooks::{SECRET, Site},
};

/// Each line of the log ended the request or task that wrote it.
#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // A refused call is logged, and repeated.
    let mut site = Site::start(2).await;
    let args = ["--port", "0", "--log", "info", "--webhook", &site.url];
    let mut command = program(&dir, &args);
    command.args(["--webhook-secret", SECRET]);
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    let said = read_until(&mut child, &["http://"]);
    let address = said.split_once("http://").unwrap().1;
    let address = address.lines().next().unwrap();
    let body = json!({ "username": "ada", "password": "correct horse" });
    let register = http::client().post(format!("http://{address}/api/v1/auth/register"));
    let answer = register.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let session: serde_json::Value = answer.json().await.unwrap();
    let token = session["data"]["token"].as_str().unwrap();
    let client = http::client();
    let rooms = client.get(format!("http://{address}/api/v1/rooms"));
    let rooms = rooms.bearer_auth(token).send().await.unwrap();
    let rooms: serde_json::Value = rooms.json().await.unwrap();
    let room = rooms["data"][0]["id"].as_str().unwrap();
    for (path, status) in [("join", StatusCode::OK), ("messages", StatusCode::CREATED)] {
        let post = client.post(format!("http://{address}/api/v1/rooms/{room}/{path}"));
        let post = post.bearer_auth(token).json(&json!({ "content": "hello" }));
        assert_eq!(post.send().await.unwrap().status(), status, "{path}");
    }
    for _ in 0..3 {
        site.events_until("message_created").await;
    }
    let ready = http::get(format!("http://{address}/readyz")).await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
    assert!(terminate(child).status.success());
}

/// Only SIGKILL ended it, and nothing answered.
#[cfg(unix)]
#[tokio::test]
async fn a_start_that_waits_for_its_database_answers_and_obeys() {
    let dir = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let database = format!("postgres://{}/chat", silent.local_addr().unwrap());
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let users = free();
    let operators = free();
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount-server"));
    command.args(["--port", &users.port().to_string(), "--database", &database]);
    command.args(["--admin-addr", &operators.to_string(), "--data-dir"]);
    command.arg(dir.path()).args(["--jwt-secret", SECRET]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let _connection = silent.accept().unwrap();
    let get = async |address, path| {
        let answer = http::get(format!("http://{address}{path}")).await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    assert_eq!(get(users, "/healthz").await, (StatusCode::OK, "ok".into()));
    let waits = (
        StatusCode::SERVICE_UNAVAILABLE,
        "starting: the database is not open".to_owned(),
    );
    assert_eq!(get(users, "/readyz").await, waits);
    let (status, metrics) = get(operators, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(metrics.contains("\nheadcount_ready 0\n"), "{metrics}");
    let output = terminate(child);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
}

#[test]
fn refusals_and_help_show_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.toml");
    let path = file.to_str().unwrap();
    let run = |args: &[&str], name: &str, value: &str| {
        let output = program(&dir, args).env(name, value).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        text
    };
    let text = run(&[], "HEADCOUNT_ADMIN_TOKEN", "hunter2");
    assert!(
        text.contains("--admin-token: the secret has 7 characters"),
        "{text}"
    );
    let url = "https://user:hunter2@site.example/hook";
    assert!(run(&["--help"], "HEADCOUNT_WEBHOOK", url).contains("--webhook"));
    let text = run(&[], "HEADCOUNT_WEBHOOK", "htps://user:hunter2@site");
    assert!(text.contains("--webhook"), "{text}");
    for (settings, reason) in [
        ("port = 0\njwt-secret = 'hunter2", "line 2"),
        ("webhook-secret = 'hunter2'", "--webhook-secret"),
    ] {
        std::fs::write(&file, settings).unwrap();
        let text = run(&["--config", path], "HEADCOUNT_LOG", "warn");
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn a_stored_secret_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwt-secret");
    std::fs::create_dir(&path).unwrap();
    let output = program(&dir, &["--port", "0"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
}

/// The log of a file had codes of colours in it.
#[test]
fn a_log_that_is_no_terminal_has_no_colours() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--port", "0", "--log", "info"];
    let mut child = program(&dir, &args).spawn().unwrap();
    read_until(&mut child, &["http://"]);
    let log = terminate(child).stderr;
    assert!(!log.is_empty() && !log.contains(&0x1b));
}
