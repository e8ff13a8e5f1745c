//! A disk that becomes read-only while the server runs: nothing is acknowledged until it can be written again.
//!
//! A file system with open files cannot be made read-only, and root may write what has no permissions. So a library
//! between the program and the system refuses its writes as such a file system does, while a file of a certain name is
//! there.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    cli::{program, read_until},
    support::http,
};

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

typedef ssize_t (*write_at)(int, const void *, size_t, off64_t);

static ssize_t write_or_refuse(const char *name, int fd, const void *bytes, size_t size, off64_t at) {
    if (access(getenv("READ_ONLY_WHILE"), F_OK) == 0) {
        errno = EROFS;
        return -1;
    }
    return ((write_at)dlsym(RTLD_NEXT, name))(fd, bytes, size, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    return write_or_refuse("pwrite", fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    return write_or_refuse("pwrite64", fd, bytes, size, at);
}
"#;
/// The file while which nothing can be written.
const READ_ONLY: &str = "read-only";
/// Far more than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Compiles the library into a directory.
fn compile(dir: &Path) {
    fs::write(dir.join("library.c"), LIBRARY).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o", "library.so", "library.c", "-ldl"]);
    let compiled = compiler.current_dir(dir).status();
    assert!(compiled.expect("a compiler of C is installed").success());
}

/// A server on that library, killed when this is dropped.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(data: &TempDir, tools: &Path) -> Self {
        let mut program = program(data, &["--port", "0", "--refusal-delay-ms", "0"]);
        program.env("LD_PRELOAD", tools.join("library.so"));
        program.env("READ_ONLY_WHILE", tools.join(READ_ONLY));
        // Nobody reads it.
        program.stderr(std::process::Stdio::null());
        let mut child = program.spawn().unwrap();
        let said = read_until(&mut child, &["http://"]);
        let (_, rest) = said.split_once("http://").unwrap();
        let address = rest.lines().next().unwrap().to_owned();
        Self { child, address }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let url = format!("http://{}/api/v1{path}", self.address);
        let request = http::client().request(method, url).bearer_auth(token);
        let answer = request.json(&body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// Waits until `/readyz` answers with that status. Returns the text.
    async fn is(&self, status: StatusCode) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let url = format!("http://{}/readyz", self.address);
            let answer = http::get(url).await.unwrap();
            let found = answer.status();
            let text = answer.text().await.unwrap();
            if found == status {
                return text;
            }
            assert!(Instant::now() < end, "{found}: {text}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns the contents of the messages of a room.
    async fn contents(&self, messages: &str, token: &str) -> Vec<String> {
        let (status, page) = self.call(Method::GET, messages, token, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let page = page["data"].as_array().unwrap().iter();
        page.map(|message| message["content"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_a_read_only_disk_does_not_take_is_refused_and_later_writes_succeed() {
    let [data, tools] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    compile(tools.path());
    let server = Running::start(&data, tools.path());
    server.is(StatusCode::OK).await;
    let account = json!({ "username": "ada", "password": "correct horse" });
    let register = "/auth/register";
    let (_, answer) = server.call(Method::POST, register, "", account).await;
    let token = answer["data"]["token"].as_str().unwrap();
    let (_, room) = server
        .call(Method::POST, "/rooms", token, json!({ "name": "Engines" }))
        .await;
    let messages = format!("/rooms/{}/messages", room["data"]["id"].as_str().unwrap());
    let mut stored = Vec::new();
    for round in 0..3 {
        let said = [format!("{round} before"), format!("{round} meanwhile")];
        let [before, meanwhile] = said.clone().map(|content| json!({ "content": content }));
        let (status, answer) = server.call(Method::POST, &messages, token, before).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        stored.push(said[0].clone());

        fs::write(tools.path().join(READ_ONLY), "").unwrap();
        let other = json!({ "username": "bob", "password": "correct horse" });
        for (path, body) in [
            (&*messages, meanwhile),
            ("/rooms", json!({ "name": "More" })),
            (register, other),
        ] {
            let (status, answer) = server.call(Method::POST, path, token, body).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer}");
            assert_eq!(answer, json!({ "error": "storage failed" }), "{path}");
        }
        let said = server.is(StatusCode::SERVICE_UNAVAILABLE).await;
        for word in ["headcount.db", "storage failed"] {
            assert!(said.contains(word), "{said}");
        }
        assert_eq!(server.contents(&messages, token).await, stored);

        fs::remove_file(tools.path().join(READ_ONLY)).unwrap();
        server.is(StatusCode::OK).await;
    }
    // What was acknowledged is on the disk, and nothing else.
    drop(server);
    let server = Running::start(&data, tools.path());
    server.is(StatusCode::OK).await;
    assert_eq!(server.contents(&messages, token).await, stored);
    let (_, rooms) = server.call(Method::GET, "/rooms", token, Value::Null).await;
    assert_eq!(rooms["data"].as_array().unwrap().len(), 2, "{rooms}");
}
