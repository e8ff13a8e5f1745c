//! A server for a test, and clients of it.

use std::{net::SocketAddr, path::Path, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use headcount_server::{Config, Listeners, ServerError, run};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest, http, protocol::CloseFrame},
};
use tokio_util::sync::CancellationToken;

use super::postgres::SECRET;

/// Longer than any step of a test takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for a frame to arrive, if there is one.
const SILENCE: Duration = Duration::from_millis(400);

/// A running server with a data directory of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServerError>>,
    dir: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(set: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), set).await
    }

    pub(crate) async fn start_in(dir: TempDir, set: impl FnOnce(&mut Config)) -> Self {
        let server = Self::start_unready(dir, set).await;
        server.wait_until_ready().await;
        server
    }

    /// Starts a server that may not become ready.
    pub(crate) async fn start_unready(dir: TempDir, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            data_dir: dir.path().into(),
            auth_per_minute: 10_000,
            refusal_delay_ms: 0,
            join_refusal_delay_ms: 0,
            grace_ms: 0,
            ..Config::default()
        };
        set(&mut config);
        share_database(&mut config).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let admin_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = admin_listener.local_addr().unwrap();
        let listeners = Listeners {
            main: listener,
            admin: Some(admin_listener),
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(listeners, config, shutdown.clone()));
        Self {
            address,
            admin,
            shutdown,
            task,
            dir,
        }
    }

    pub(crate) async fn wait_until_ready(&self) {
        for _ in 0..1_000 {
            // A server that has just begun may reset a connection.
            let answer = self.try_readyz().await;
            if answer.is_ok_and(|(status, _)| status == StatusCode::OK) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the server did not get ready");
    }

    /// Returns the answer of `/readyz`.
    pub(crate) async fn readyz(&self) -> (StatusCode, String) {
        self.try_readyz().await.unwrap()
    }

    async fn try_readyz(&self) -> reqwest::Result<(StatusCode, String)> {
        let url = format!("http://{}/readyz", self.address);
        let response = super::http::get(url).await?;
        Ok((response.status(), response.text().await?))
    }

    /// Returns the data directory of the server.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops the server as SIGTERM does. Returns its data directory.
    pub(crate) async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task)
            .await
            .expect("the drain ends")
            .unwrap()
            .unwrap();
        self.dir
    }

    /// Starts a stop without waiting for its end.
    pub(crate) fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request =
            super::http::client().request(method, format!("http://{}/api/v1{path}", self.address));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (
            response.status(),
            response.json().await.unwrap_or(Value::Null),
        )
    }

    pub(crate) async fn get(&self, user: &User, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, Some(&user.token), None).await
    }

    pub(crate) async fn post(&self, user: &User, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, Some(&user.token), Some(body))
            .await
    }

    pub(crate) async fn delete(&self, user: &User, path: &str) -> (StatusCode, Value) {
        self.call(Method::DELETE, path, Some(&user.token), None)
            .await
    }

    pub(crate) async fn register(&self, username: &str) -> User {
        let body = json!({ "username": username, "password": "correct horse" });
        let (status, answer) = self
            .call(Method::POST, "/auth/register", None, Some(body))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        User::new(&answer)
    }

    pub(crate) async fn guest(&self) -> User {
        let (status, answer) = self.call(Method::POST, "/auth/guest", None, None).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        User::new(&answer)
    }

    /// Returns the id of the room of that name, as listed for `user`.
    pub(crate) async fn room(&self, user: &User, name: &str) -> String {
        let (_, rooms) = self.get(user, "/rooms").await;
        let rooms = rooms["data"].as_array().unwrap();
        let room = rooms
            .iter()
            .find(|room| room["name"] == name)
            .expect("the room is listed");
        room["id"].as_str().unwrap().to_owned()
    }

    /// Creates a public room of `user`.
    pub(crate) async fn create_room(&self, user: &User, name: &str) -> String {
        let (status, answer) = self.post(user, "/rooms", json!({ "name": name })).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer["data"]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn connect(&self, user: &User) -> Socket {
        self.connect_with(&format!("vsn=2.0.0&token={}", user.token), &[])
            .await
            .unwrap()
    }

    /// Connects a socket; the error is the status of the refusal.
    pub(crate) async fn connect_with(
        &self,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, StatusCode> {
        let url = format!("ws://{}/chat/socket/websocket?{query}", self.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((stream, response)) => Ok(Socket { stream, response }),
            Err(tungstenite::Error::Http(response)) => {
                assert!(response.body().as_ref().is_none_or(Vec::is_empty));
                Err(StatusCode::from_u16(response.status().as_u16()).unwrap())
            }
            Err(e) => panic!("{e}"),
        }
    }

    /// Connects a socket with a small receive buffer, which soon blocks the server unless it is read.
    pub(crate) async fn connect_slow(&self, user: &User) -> Socket {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4096).unwrap();
        let tcp = MaybeTlsStream::Plain(tcp.connect(self.address).await.unwrap());
        let query = format!("vsn=2.0.0&token={}", user.token);
        let url = format!("ws://{}/chat/socket/websocket?{query}", self.address);
        let (stream, response) = client_async(url, tcp).await.unwrap();
        Socket { stream, response }
    }

    /// Connects a guest and joins `room`.
    pub(crate) async fn enter(&self, room: &str) -> (User, Socket) {
        let user = self.guest().await;
        let mut socket = self.connect(&user).await;
        socket.join(&format!("room:{room}"), "1").await;
        (user, socket)
    }
}

/// Gives a server a database of its own on the PostgreSQL server that `HEADCOUNT_TEST_POSTGRES` names, if it does. A
/// server that starts again in the same directory gets the same one.
async fn share_database(config: &mut Config) {
    let Ok(admin) = std::env::var("HEADCOUNT_TEST_POSTGRES") else {
        return;
    };
    if config.database.is_some() {
        return;
    }
    let name = config.data_dir.file_name().unwrap().to_str().unwrap();
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE \"{name}\""));
    let created = sqlx::query(create).execute(&mut connection).await;
    let is_there = |e: &sqlx::Error| {
        e.as_database_error()
            .is_some_and(|e| e.code().as_deref() == Some("42P04"))
    };
    assert!(created.as_ref().err().is_none_or(is_there), "{created:?}");
    let (server, _) = admin.rsplit_once('/').unwrap();
    config.database = Some(format!("{server}/{name}").parse().unwrap());
    config
        .jwt_secret
        .get_or_insert_with(|| SECRET.parse().unwrap());
}

/// A user with a token.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) token: String,
}

impl User {
    pub(crate) fn new(answer: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let data = &answer["data"];
        Self {
            id: text(&data["user"]["id"]),
            username: text(&data["user"]["username"]),
            token: text(&data["token"]),
        }
    }
}

/// A raw WebSocket that speaks JSON.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) response: http::Response<Option<Vec<u8>>>,
}

impl Socket {
    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_raw(Message::text(frame.to_string())).await;
    }

    /// Sends a frame, unless the connection has ended.
    pub(crate) async fn try_send(&mut self, frame: Value) -> Result<(), tungstenite::Error> {
        self.stream.send(Message::text(frame.to_string())).await
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// Returns the next frame as JSON.
    pub(crate) async fn next(&mut self) -> Value {
        match self.next_raw().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("not a text frame: {other:?}"),
        }
    }

    /// Returns the next text frame as JSON; `None` if the connection ends instead.
    pub(crate) async fn next_or_end(&mut self) -> Option<Value> {
        match timeout(PATIENCE, self.stream.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => serde_json::from_str(&text).ok(),
            Ok(_) => None,
            Err(_) => panic!("no frame comes"),
        }
    }

    async fn next_raw(&mut self) -> Message {
        timeout(PATIENCE, self.stream.next())
            .await
            .expect("a frame comes")
            .unwrap()
            .unwrap()
    }

    /// Returns the next frame as JSON, without a limit on the time.
    pub(crate) async fn next_at_last(&mut self) -> Value {
        match self.stream.next().await.unwrap().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("not a text frame: {other:?}"),
        }
    }

    /// Returns the next frame of that event; skips others.
    pub(crate) async fn expect(&mut self, event: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame[3] == event {
                return frame;
            }
        }
    }

    /// Returns the reply to the push with that reference.
    pub(crate) async fn reply(&mut self, reference: &str) -> Value {
        loop {
            let frame = self.expect("phx_reply").await;
            if frame[1] == reference {
                return frame;
            }
        }
    }

    /// Returns the frames that arrive until the socket is silent for a while.
    pub(crate) async fn drain(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        while let Ok(Some(Ok(Message::Text(text)))) = timeout(SILENCE, self.stream.next()).await {
            frames.push(serde_json::from_str(&text).unwrap());
        }
        frames
    }

    /// Returns the code that the server closes with.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match self.next_raw().await {
                Message::Close(frame) => return frame.unwrap().code.into(),
                Message::Text(_) => {}
                other => panic!("not a close frame: {other:?}"),
            }
        }
    }

    /// Returns the code that the server closes with, without a limit on the time.
    pub(crate) async fn closed_at_last(&mut self) -> u16 {
        match self.stream.next().await.unwrap().unwrap() {
            Message::Close(frame) => frame.unwrap().code.into(),
            other => panic!("not a close frame: {other:?}"),
        }
    }

    /// Sends a close frame with this code, or none, and returns the server's answer.
    pub(crate) async fn close(&mut self, code: Option<u16>) -> Option<CloseFrame> {
        let frame = code.map(|code| CloseFrame {
            code: code.into(),
            reason: "done".into(),
        });
        self.send_raw(Message::Close(frame)).await;
        loop {
            match self.next_raw().await {
                Message::Close(answer) => return answer,
                Message::Text(_) => {}
                other => panic!("not a close frame: {other:?}"),
            }
        }
    }

    /// Returns whether the connection ends without a close frame.
    pub(crate) async fn is_lost(&mut self) -> bool {
        loop {
            let next = timeout(PATIENCE, self.stream.next()).await;
            match next.expect("the connection ends") {
                Some(Ok(Message::Text(_))) => {}
                Some(Ok(Message::Close(_))) => return false,
                Some(Ok(other)) => panic!("not a close frame: {other:?}"),
                Some(Err(_)) | None => return true,
            }
        }
    }

    /// Returns whether the server ended the connection after its close frame.
    pub(crate) async fn has_ended(&mut self) -> bool {
        let next = timeout(PATIENCE, self.stream.next()).await;
        next.expect("the connection ends").is_none()
    }

    /// Ends the connection without a close frame, as a lost network does.
    pub(crate) fn drop_abruptly(self) {
        drop(self);
    }

    /// Pushes an event and waits for its reply's payload.
    pub(crate) async fn push(
        &mut self,
        topic: &str,
        reference: &str,
        event: &str,
        p: Value,
    ) -> Value {
        self.send(json!(["1", reference, topic, event, p])).await;
        self.reply(reference).await[4].clone()
    }

    /// Joins, and reads the reply and the history. Returns the response.
    pub(crate) async fn join(&mut self, topic: &str, reference: &str) -> Value {
        self.send(json!([reference, reference, topic, "phx_join", {}]))
            .await;
        let reply = self.next().await;
        assert_eq!(reply[4]["status"], "ok", "{reply}");
        self.expect("message_history").await;
        reply[4]["response"].clone()
    }
}

/// Returns an error envelope.
pub(crate) fn error(message: &str) -> Value {
    json!({ "error": message })
}
