//! The program itself: its output, its refusals, its end.

use std::{
    io::Read as _,
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::connect_async;

fn program(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount-server"));
    command.arg("--data-dir").arg(dir.path()).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Reads the output until it contains all of `words`.
fn read_until(child: &mut Child, words: &[&str]) -> String {
    let mut text = String::new();
    let mut byte = [0];
    let out = child.stdout.as_mut().unwrap();
    while !(words.iter().all(|word| text.contains(word)) && text.ends_with('\n')) {
        assert_eq!(out.read(&mut byte).unwrap(), 1, "it ended after {text:?}");
        text.push(char::from(byte[0]));
    }
    text
}

fn terminate(child: Child) -> Output {
    let started = Instant::now();
    let signalled = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(signalled.success());
    let output = child.wait_with_output().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "the stop took too long"
    );
    output
}

#[tokio::test]
async fn a_port_in_use_is_passed_over_and_secrets_stay_out_of_the_log() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let port_text = port.to_string();
    let mut child = program(&dir, &["--port", &port_text, "--log", "trace"])
        .spawn()
        .unwrap();
    let said = read_until(&mut child, &["http://"]);
    assert!(said.contains(&format!("port {port} is in use")), "{said}");
    let (_, rest) = said.split_once("http://").unwrap();
    let address = rest.lines().next().unwrap();
    assert_ne!(address, format!("127.0.0.1:{port}"));
    // The log is long, and a full pipe would stop the program.
    let mut log = child.stderr.take().unwrap();
    let log = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    });

    let password = "correct horse battery";
    let answer: Value = reqwest::Client::new()
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
    let me = reqwest::Client::new().get(format!("http://{address}/api/v1/auth/me"));
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
        (&["--tenant", " "], "tenant"),
        (&["--nonsense"], "--nonsense"),
    ] {
        let output = program(&dir, args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains(reason),
            "{args:?}: {text}"
        );
    }
}
