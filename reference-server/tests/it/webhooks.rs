//! The webhook: signed, batched, repeated until it is answered.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode as Status, routing::post,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    cli::{program, read_until},
    support::{
        client::{Server, User},
        http,
    },
};

pub(crate) const SECRET: &str = "a secret of thirty-two characters";

/// A site that is called: it refuses the first calls.
pub(crate) struct Site {
    pub(crate) url: String,
    calls: UnboundedReceiver<(String, Bytes)>,
}

#[derive(Clone)]
struct Receiver {
    refusals: Arc<AtomicUsize>,
    calls: UnboundedSender<(String, Bytes)>,
}

async fn receive(State(site): State<Receiver>, headers: HeaderMap, body: Bytes) -> Status {
    let signature = headers["x-headcount-signature"]
        .to_str()
        .unwrap()
        .to_owned();
    let _ = site.calls.send((signature, body));
    let left = site
        .refusals
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    if left.is_ok() {
        Status::BAD_GATEWAY
    } else {
        Status::NO_CONTENT
    }
}

impl Site {
    pub(crate) async fn start(refusals: usize) -> Self {
        let (sender, calls) = unbounded_channel();
        let receiver = Receiver {
            refusals: Arc::new(AtomicUsize::new(refusals)),
            calls: sender,
        };
        let router = Router::new()
            .route("/hook", post(receive))
            .with_state(receiver);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, calls }
    }

    async fn call(&mut self) -> (String, Bytes) {
        let patience = std::time::Duration::from_secs(20);
        tokio::time::timeout(patience, self.calls.recv())
            .await
            .expect("a call comes")
            .unwrap()
    }

    /// Returns the events of calls until one of that kind came.
    pub(crate) async fn events_until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        while events.iter().all(|event: &Value| event["type"] != kind) {
            let (_, body) = self.call().await;
            let body: Value = serde_json::from_slice(&body).unwrap();
            events.extend(body["events"].as_array().unwrap().clone());
        }
        events
    }
}

async fn start(site: &Site) -> Server {
    let url = site.url.clone();
    Server::start_with(|config| {
        config.webhook = Some(url);
        config.webhook_secret = Some(SECRET.parse().unwrap());
    })
    .await
}

fn kinds(events: &[Value]) -> BTreeSet<String> {
    let kinds = events.iter().map(|event| event["type"].as_str().unwrap());
    kinds.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_site_is_told_of_rooms_users_and_messages() {
    let mut site = Site::start(0).await;
    let server = start(&site).await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    let topic = format!("room:{room}");
    let mut socket = server.connect(&ada).await;
    socket.join(&topic, "1").await;
    socket
        .push(&topic, "2", "new_message", json!({ "content": "hello" }))
        .await;
    let events = site.events_until("message_created").await;
    let message = events
        .iter()
        .find(|e| e["type"] == "message_created")
        .unwrap();
    assert_eq!(
        (&message["tenant"], &message["data"]["content"]),
        (&json!("default"), &json!("hello"))
    );
    assert_eq!(message["id"], message["data"]["id"]);
    let mut all = events;
    while !kinds(&all).contains("room_occupied") {
        all.extend(site.events_until("room_occupied").await);
    }
    let online = all.iter().find(|e| e["type"] == "user_online").unwrap();
    assert_eq!(online["data"], json!({ "user_id": ada.id }));
    let occupied = all.iter().find(|e| e["type"] == "room_occupied").unwrap();
    assert_eq!(occupied["data"], json!({ "room_id": room }));
    socket.close(Some(1000)).await;
    let mut rest = site.events_until("user_offline").await;
    while !kinds(&rest).contains("room_vacated") {
        rest.extend(site.events_until("room_vacated").await);
    }
    let ids: BTreeSet<_> = all
        .iter()
        .chain(&rest)
        .map(|e| e["id"].to_string())
        .collect();
    assert_eq!(ids.len(), all.len() + rest.len(), "each event came once");
}

#[tokio::test]
async fn a_refused_call_is_repeated_as_it_was_and_signed() {
    let mut site = Site::start(2).await;
    let server = start(&site).await;
    let ada = server.register("ada").await;
    let _socket = server.connect(&ada).await;
    let (signature, first) = site.call().await;
    assert!(
        signature.starts_with("sha256=") && signature.len() == 7 + 64,
        "{signature}"
    );
    for _ in 0..2 {
        assert_eq!(site.call().await, (signature.clone(), first.clone()));
    }
    // It was answered: the next call is about something else.
    let room = server.create_room(&ada, "Engines").await;
    let path = format!("/rooms/{room}/messages");
    server.post(&ada, &path, json!({ "content": "news" })).await;
    let events = site.events_until("message_created").await;
    assert_eq!(
        kinds(&events),
        BTreeSet::from(["message_created".to_owned()])
    );
}

/// It was followed: the events were lost as sent, or went to another host.
#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    for status in [Status::FOUND, Status::TEMPORARY_REDIRECT] {
        let mut foreign = Site::start(0).await;
        let location = foreign.url.clone();
        let (sender, mut calls) = unbounded_channel();
        let redirect = move |body: Bytes| {
            let _ = sender.send(body);
            let location = location.clone();
            async move { (status, [("location", location)]) }
        };
        let router = Router::new().route("/hook", post(redirect));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let server = Server::start_with(|config| {
            config.webhook = Some(url);
            config.webhook_secret = Some(SECRET.parse().unwrap());
        })
        .await;
        let ada = server.register("ada").await;
        let _socket = server.connect(&ada).await;
        let first = calls.recv().await.unwrap();
        assert_eq!(calls.recv().await.unwrap(), first, "{status}");
        assert!(foreign.calls.try_recv().is_err(), "{status}");
    }
}

#[tokio::test]
async fn events_outlive_a_restart_while_the_site_is_down() {
    let mut site = Site::start(0).await;
    let url = site.url.clone();
    let dead = Site::start(usize::MAX).await;
    let server = start(&dead).await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    let path = format!("/rooms/{room}/messages");
    server.post(&ada, &path, json!({ "content": "kept" })).await;
    let dir = server.stop().await;
    let _server = Server::start_in(dir, |config| {
        config.webhook = Some(url);
        config.webhook_secret = Some(SECRET.parse().unwrap());
    })
    .await;
    let events = site.events_until("message_created").await;
    assert_eq!(events[0]["data"]["content"], "kept");
}

/// The beat that notices empty rooms ended before the last connections did.
#[tokio::test]
async fn rooms_are_vacated_by_the_stop_of_the_server() {
    let mut site = Site::start(0).await;
    let url = site.url.clone();
    let server = start(&site).await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    let mut socket = server.connect(&ada).await;
    socket.join(&format!("room:{room}"), "1").await;
    site.events_until("room_occupied").await;
    let dir = server.stop().await;
    let _server = Server::start_in(dir, |config| {
        config.webhook = Some(url);
        config.webhook_secret = Some(SECRET.parse().unwrap());
    })
    .await;
    let events = site.events_until("room_vacated").await;
    let vacated = events.iter().find(|e| e["type"] == "room_vacated").unwrap();
    assert_eq!(vacated["data"], json!({ "room_id": room }));
}

/// Starts the program, whose webhook is `site`. Returns it and the address of its API.
fn start_program(dir: &tempfile::TempDir, site: &str) -> (std::process::Child, String) {
    let args = ["--port", "0", "--webhook", site, "--webhook-secret", SECRET];
    let mut child = program(dir, &args).spawn().unwrap();
    let said = read_until(&mut child, &["http://"]);
    let (_, rest) = said.split_once("http://").unwrap();
    let api = format!("http://{}/api/v1", rest.lines().next().unwrap());
    (child, api)
}

/// The event of an answered message was in memory alone for a moment.
#[tokio::test]
async fn a_server_that_is_killed_loses_no_event_of_a_message_that_it_answered() {
    let dir = tempfile::tempdir().unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", silent.local_addr().unwrap());
    let (mut child, api) = start_program(&dir, &url);
    let body = json!({ "username": "ada", "password": "correct horse" });
    let register = http::client()
        .post(format!("{api}/auth/register"))
        .json(&body);
    let answer = register.send().await.unwrap().json().await.unwrap();
    let ada = User::new(&answer);
    let get = http::client()
        .get(format!("{api}/rooms"))
        .bearer_auth(&ada.token);
    let rooms: Value = get.send().await.unwrap().json().await.unwrap();
    let room = format!("{api}/rooms/{}", rooms["data"][0]["id"].as_str().unwrap());
    let post = async |path: &str, content: &str| {
        let request = http::client()
            .post(format!("{room}/{path}"))
            .bearer_auth(&ada.token);
        let answer = request.json(&json!({ "content": content })).send().await;
        answer.unwrap().status()
    };
    assert_eq!(post("join", "").await, StatusCode::OK);
    assert_eq!(post("messages", "called").await, StatusCode::CREATED);
    // The site is called, and does not answer: the server waits for it.
    let _call = silent.accept().await.unwrap();
    assert_eq!(post("messages", "kept").await, StatusCode::CREATED);
    child.kill().unwrap();
    child.wait().unwrap();

    let mut site = Site::start(0).await;
    let (mut child, _) = start_program(&dir, &site.url);
    let mut sent = Vec::new();
    while !sent.contains(&json!("kept")) {
        let events = site.events_until("message_created").await;
        let messages = events.iter().filter(|e| e["type"] == "message_created");
        sent.extend(messages.map(|event| event["data"]["content"].clone()));
    }
    assert_eq!(sent, ["called", "kept"]);
    child.kill().unwrap();
    child.wait().unwrap();
}
