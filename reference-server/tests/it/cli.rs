//! The program itself: its output, its refusals, its end.

use std::{
    io::Read as _,
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::support::http;

pub(crate) fn program(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount-server"));
    // Others run at the same time.
    command.args(["--admin-addr", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(dir.path()).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Reads the output until it contains all of `words`.
pub(crate) fn read_until(child: &mut Child, words: &[&str]) -> String {
    let mut text = String::new();
    let mut byte = [0];
    let out = child.stdout.as_mut().unwrap();
    while !(words.iter().all(|word| text.contains(word)) && text.ends_with('\n')) {
        assert_eq!(out.read(&mut byte).unwrap(), 1, "it ended after {text:?}");
        text.push(char::from(byte[0]));
    }
    text
}

pub(crate) fn terminate(child: Child) -> Output {
    end_by("-TERM", child)
}

fn end_by(signal: &str, child: Child) -> Output {
    let started = Instant::now();
    let pid = child.id().to_string();
    let signalled = Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(signalled.success());
    let output = child.wait_with_output().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "the stop took too long"
    );
    output
}

#[tokio::test]
async fn the_default_port_is_passed_over_if_in_use_and_secrets_stay_out_of_the_log() {
    // Taken by this, or by another process already.
    let _taken = TcpListener::bind("127.0.0.1:4000");
    let dir = tempfile::tempdir().unwrap();
    let mut child = program(&dir, &["--log", "trace"]).spawn().unwrap();
    let said = read_until(&mut child, &["http://"]);
    assert!(said.contains("port 4000 is in use"), "{said}");
    let (_, rest) = said.split_once("http://").unwrap();
    let address = rest.lines().next().unwrap();
    assert_ne!(address, "127.0.0.1:4000");
    // The log is long, and a full pipe would stop the program.
    let mut log = child.stderr.take().unwrap();
    let log = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    });

    let password = "correct horse battery";
    let answer: Value = http::client()
        .post(format!("http://{address}/api/v1/auth/register"))
        .json(&json!({ "username": "ada", "password": password }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let token = answer["data"]["token"].as_str().unwrap();
    let url = format!("ws://{address}/chat/socket/websocket?vsn=2.0.0&token={token}");
    let (socket, _) = connect_async(url).await.unwrap();
    let me = http::client().get(format!("http://{address}/api/v1/auth/me"));
    assert!(
        me.bearer_auth(token)
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    drop(socket);

    let output = terminate(child);
    assert!(output.status.success(), "{:?}", output.status);
    let log = log.join().unwrap();
    assert!(!log.is_empty());
    let secret = std::fs::read_to_string(dir.path().join("jwt-secret")).unwrap();
    for word in [token, password, secret.trim(), "$argon2"] {
        assert!(!log.contains(word), "{word:?} is in the log");
    }
}

#[test]
fn a_second_instance_on_port_zero_is_no_conflict_and_demo_is_announced() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = program(&dir, &["--port", "0", "--demo", "100"])
        .spawn()
        .unwrap();
    let said = read_until(&mut child, &["http://", "100 simulated members"]);
    assert!(!said.contains("in use"), "{said}");
    assert!(terminate(child).status.success());
}

#[test]
fn invalid_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (args, reason) in [
        (&["--jwt-secret", "too short"][..], "at least 32"),
        (&["--demo", "2000000"], "1000000"),
        (&["--port", "70000"], "70000"),
        (&["--log", "a=b=c"], "--log"),
        (&["--log", "wran"], "wran"),
        (&["--tenant", " "], "tenant"),
        (&["--nonsense"], "--nonsense"),
        (&["--admin-token", "too short"], "at least 32"),
        (&["--allowed-origin", "example.org"], "https://example.org"),
        (&["--trusted-proxy", "10.0.0.0/33"], "10.0.0.0/8"),
        (&["--config", "/does/not/exist"], "/does/not/exist"),
    ] {
        let output = program(&dir, args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains(reason),
            "{args:?}: {text}"
        );
    }
}

/// A server that was told a port took another one when that was in use.
#[test]
fn a_port_that_was_named_is_the_only_one() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let by_flag = program(&dir, &["--port", &port]).output().unwrap();
    let by_environment = program(&dir, &[])
        .env("HEADCOUNT_PORT", &port)
        .output()
        .unwrap();
    for output in [by_flag, by_environment] {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(&port), "{text}");
        assert!(output.stdout.is_empty());
    }
}

/// It said that it listened, and then could not start.
#[test]
fn it_says_that_it_listens_once_it_can_serve() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("headcount.db"), "no database".repeat(1_000)).unwrap();
    let output = program(&dir, &["--port", "0"]).output().unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("headcount.db"), "{text}");
}

#[test]
fn settings_come_from_flags_then_environment_then_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.toml");
    let path = file.to_str().unwrap();
    std::fs::write(
        &file,
        "port = 1\ndemo = 7\ntenant = ['a', 'b']\nlog-json = true\nauth-per-minute = 5\n",
    )
    .unwrap();
    let mut child = program(&dir, &["--config", path, "--port", "0"])
        .env("HEADCOUNT_DEMO", "9")
        .spawn()
        .unwrap();
    let said = read_until(&mut child, &["http://", "9 simulated members"]);
    assert!(!said.contains(":1\n"), "{said}");
    assert!(terminate(child).status.success());
    for (text, reason) in [
        ("colour = 'red'", "colour"),
        ("demo = 2000000", "1000000"),
        ("demo = [[1]]", "demo"),
        ("port = ", "settings.toml"),
        ("config = 'other.toml'", "config"),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = program(&dir, &["--config", path]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{text}");
        assert!(
            said.contains(reason) && said.contains("settings.toml"),
            "{said}"
        );
    }
}

/// The address for operators was open to the network without a word.
#[test]
fn operators_from_other_machines_need_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount-server"));
    command.args(["--port", "0", "--admin-addr", "0.0.0.0:0", "--data-dir"]);
    let output = command.arg(dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("--admin-token"), "{text}");
}

#[test]
fn load_measures_a_running_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = program(&dir, &["--port", "0"]).spawn().unwrap();
    let said = read_until(&mut child, &["http://", "/admin"]);
    let (_, rest) = said.split_once("listens on ").unwrap();
    let url = rest.lines().next().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_headcount-server"))
        .args([
            "load",
            "--json",
            "--connections",
            "5",
            "--duration",
            "1",
            "--url",
            url,
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["joins"]["joined"], 5);
    let deliveries = &report["deliveries"];
    assert_eq!(deliveries["received"], deliveries["expected"], "{report}");
    assert!(terminate(child).status.success());
}

/// It left them behind.
#[cfg(unix)]
#[tokio::test]
async fn load_that_is_interrupted_deletes_its_rooms() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = program(&dir, &["--port", "0"]).spawn().unwrap();
    let said = read_until(&mut child, &["http://", "/admin"]);
    let (_, rest) = said.split_once("listens on ").unwrap();
    let url = rest.lines().next().unwrap();
    let client = http::client();
    let guest = client.post(format!("{url}/api/v1/auth/guest"));
    let guest: Value = guest.send().await.unwrap().json().await.unwrap();
    let token = guest["data"]["token"].as_str().unwrap();
    let rooms = async || {
        let rooms = client.get(format!("{url}/api/v1/rooms")).bearer_auth(token);
        let rooms: Value = rooms.send().await.unwrap().json().await.unwrap();
        rooms["data"].as_array().unwrap().len()
    };
    let before = rooms().await;
    let mut load = Command::new(env!("CARGO_BIN_EXE_headcount-server"));
    load.args(["load", "--connections", "5", "--rooms", "3", "--duration"]);
    load.args(["600", "--url", url]).stderr(Stdio::piped());
    let load = load.spawn().unwrap();
    // Until messages are posted: then it waits for the signal.
    let posted = async || {
        let metrics = said.split_once("page on ").unwrap().1.lines().next();
        let metrics = metrics.unwrap().replace("/admin", "/metrics");
        let metrics = client.get(metrics).send().await.unwrap();
        let text = metrics.text().await.unwrap();
        let mut lines = text.lines();
        lines.any(|l| l.starts_with("headcount_messages_total") && !l.ends_with(" 0"))
    };
    while !posted().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rooms().await, before + 3);
    let output = end_by("-INT", load);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("interrupted"), "{text}");
    assert_eq!(rooms().await, before);
    assert!(terminate(child).status.success());
}

#[cfg(unix)]
#[tokio::test]
async fn a_hangup_takes_the_limits_of_the_settings_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.toml");
    std::fs::write(&file, "auth-per-minute = 1\n").unwrap();
    let args = ["--port", "0", "--config", file.to_str().unwrap()];
    let mut child = program(&dir, &args).spawn().unwrap();
    let said = read_until(&mut child, &["http://", "/admin"]);
    let (_, rest) = said.split_once("listens on ").unwrap();
    let url = rest.lines().next().unwrap().to_owned();
    let guest = async || {
        let request = http::client().post(format!("{url}/api/v1/auth/guest"));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((guest().await, guest().await), (201, 429));
    let hang_up = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let pid = child.id().to_string();
        let signalled = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(signalled.unwrap().success());
    };
    hang_up("colour = 'red'\n");
    hang_up("webhook-secret = 'hunter2'\n");
    hang_up("auth-per-minute = 1000\n");
    while guest().await != 201 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // More than a burst of the old limit.
    assert_eq!((guest().await, guest().await), (201, 201));
    let output = terminate(child);
    assert!(output.status.success());
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!log.contains("hunter2"), "{log}");
}

/// It lived until the terminal was closed; `1` was no truth value; a refused origin was in no log.
#[cfg(unix)]
#[tokio::test]
async fn it_survives_a_hangup_and_logs_as_json_what_it_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = program(&dir, &["--port", "0", "--log", "info"])
        .env("HEADCOUNT_LOG_JSON", "1")
        .spawn()
        .unwrap();
    let said = read_until(&mut child, &["http://"]);
    let (_, rest) = said.split_once("http://").unwrap();
    let address = rest.lines().next().unwrap();
    let signalled = Command::new("kill")
        .args(["-HUP", &child.id().to_string()])
        .status();
    assert!(signalled.unwrap().success());
    let url = format!("http://{address}");
    let guest = http::client().post(format!("{url}/api/v1/auth/guest"));
    assert!(guest.send().await.unwrap().status().is_success());
    let socket = http::client()
        .get(format!("{url}/chat/socket/longpoll?vsn=2.0.0&token=x"))
        .header("origin", "https://evil.example");
    socket.send().await.unwrap();
    let output = terminate(child);
    assert!(output.status.success());
    let log = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.starts_with('{')).collect();
    let find = |words: &[&str]| {
        let found = lines
            .iter()
            .find(|line| words.iter().all(|word| line.contains(word)));
        let found = found.unwrap_or_else(|| panic!("{words:?} is not in {log}"));
        serde_json::from_str::<Value>(found).unwrap()
    };
    find(&["SIGHUP"]);
    find(&["serving", address]);
    let answered = find(&["/auth/guest", "201"]);
    assert_eq!(answered["span"]["method"], "POST");
    let refused = find(&["evil.example"]);
    assert_eq!(refused["level"], "WARN");
}

/// It asked for the room, and then for the role of the user, which the open room knows.
#[tokio::test]
async fn a_join_of_an_open_room_asks_no_database() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--port", "0", "--log", "error,[push]=debug"];
    let mut child = program(&dir, &args).spawn().unwrap();
    let said = read_until(&mut child, &["http://"]);
    let address = said
        .split_once("http://")
        .unwrap()
        .1
        .lines()
        .next()
        .unwrap();
    let mut token = String::new();
    let mut post = async |path: &str, body: Value| {
        let post = http::client().post(format!("http://{address}/api/v1{path}"));
        let answer = post.bearer_auth(&token).json(&body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        if let Some(given) = answer["data"]["token"].as_str() {
            given.clone_into(&mut token);
        }
        answer["data"]["id"].as_str().unwrap_or_default().to_owned()
    };
    let ada = json!({ "username": "ada", "password": "correct horse" });
    post("/auth/register", ada).await;
    let room = post("/rooms", json!({ "name": "Engines" })).await;
    let message = json!({ "content": "which opens the room" });
    post(&format!("/rooms/{room}/messages"), message).await;
    let url = format!("ws://{address}/chat/socket/websocket?vsn=2.0.0&token={token}");
    let (mut socket, _) = connect_async(url).await.unwrap();
    let topic = format!("room:{room}");
    let join = json!(["1", "1", topic, "phx_join", {}]);
    let message = json!(["1", "2", topic, "new_message", { "content": "which is stored" }]);
    for push in [join, message] {
        socket.send(Message::text(push.to_string())).await.unwrap();
        let mut reply = String::new();
        while !reply.contains("phx_reply") {
            let frame = socket.next().await.unwrap().unwrap();
            frame.into_text().unwrap().as_str().clone_into(&mut reply);
        }
        assert!(reply.contains(r#""status":"ok""#), "{reply}");
    }

    let log = String::from_utf8(terminate(child).stderr).unwrap();
    let queries = log.lines().filter(|line| line.contains("sqlx::query"));
    let (of_join, others): (Vec<_>, Vec<_>) = queries.partition(|line| line.contains("phx_join"));
    assert_eq!((of_join.len(), others.is_empty()), (0, false), "{log}");
}

/// The limit of open files that most systems start processes with is far below what they allow.
#[cfg(target_os = "linux")]
#[test]
fn the_limit_of_open_files_is_raised() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new("sh")
        .arg("-c")
        .arg("ulimit -Sn 256; exec \"$0\" --port 0 --data-dir \"$1\"")
        .arg(env!("CARGO_BIN_EXE_headcount-server"))
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    read_until(&mut child, &["http://"]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let words: Vec<_> = files.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{files}");
    assert!(terminate(child).status.success());
}
