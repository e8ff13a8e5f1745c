//! A user with a socket to one node, and what its client would show.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _, stream::SplitSink};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::sleep};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message as Frame,
};

use crate::{http, until};

/// A user that was registered at some node.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl User {
    pub(crate) async fn register(address: &str, name: &str) -> Self {
        let body = json!({ "username": name, "password": "correct horse" });
        let answer = call(address, "POST", "/auth/register", None, body).await.1;
        let text = |value: &Value| value.as_str().expect("a session").to_owned();
        Self {
            id: text(&answer["data"]["user"]["id"]),
            token: text(&answer["data"]["token"]),
        }
    }

    pub(crate) async fn call(
        &self,
        address: &str,
        method: &str,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        call(address, method, path, Some(&self.token), body).await
    }
}

async fn call(
    address: &str,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> (u16, Value) {
    let url = format!("http://{address}/api/v1{path}");
    let mut request = http::client().request(method.parse().unwrap(), url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.json(&body).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

/// The state of a client after all that it was sent.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// References of sessions, by user.
    pub(crate) presence: BTreeMap<String, BTreeSet<String>>,
    /// Contents by number.
    pub(crate) messages: BTreeMap<i64, String>,
    /// Numbers in the order in which they came.
    pub(crate) order: Vec<i64>,
    /// The other events: the event and its payload.
    pub(crate) events: Vec<(String, Value)>,
    replies: HashMap<String, Value>,
    pub(crate) is_closed: bool,
}

impl View {
    fn take(&mut self, frame: &Value) {
        let payload = &frame[4];
        match frame[3].as_str().unwrap_or_default() {
            "phx_reply" => {
                let reference = frame[1].as_str().unwrap_or_default().to_owned();
                self.replies.insert(reference, payload.clone());
            }
            "presence_state" => {
                self.presence.clear();
                self.join(payload);
            }
            "presence_diff" => {
                self.join(&payload["joins"]);
                self.leave(&payload["leaves"]);
            }
            "message_history" => {
                for message in payload["messages"].as_array().into_iter().flatten() {
                    self.note(message);
                }
            }
            "new_message" => {
                self.order.push(payload["seq"].as_i64().unwrap());
                self.note(payload);
            }
            "message_updated" => self.note(payload),
            "message_deleted" => {
                let seq = payload["seq"].as_i64().unwrap();
                self.messages.insert(seq, String::new());
            }
            event => self.events.push((event.to_owned(), payload.clone())),
        }
    }

    fn note(&mut self, message: &Value) {
        let seq = message["seq"].as_i64().unwrap();
        let content = message["content"].as_str().unwrap_or_default().to_owned();
        self.messages.insert(seq, content);
    }

    fn join(&mut self, users: &Value) {
        for (key, references) in references(users) {
            self.presence.entry(key).or_default().extend(references);
        }
    }

    fn leave(&mut self, users: &Value) {
        for (key, references) in references(users) {
            if let Some(known) = self.presence.get_mut(&key) {
                known.retain(|reference| !references.contains(reference));
                if known.is_empty() {
                    self.presence.remove(&key);
                }
            }
        }
    }
}

fn references(users: &Value) -> Vec<(String, Vec<String>)> {
    let users = users.as_object().into_iter().flatten();
    let of = |user: &Value| {
        let metas = user["metas"].as_array().into_iter().flatten();
        metas
            .map(|meta| meta["phx_ref"].as_str().unwrap().to_owned())
            .collect()
    };
    users.map(|(key, user)| (key.clone(), of(user))).collect()
}

/// A client that has joined a room.
pub(crate) struct Viewer {
    pub(crate) user: User,
    pub(crate) view: Arc<Mutex<View>>,
    topic: String,
    sink: SplitSink<WebSocketStream<MaybeTlsStream<TcpStream>>, Frame>,
    pushes: u64,
}

impl Viewer {
    /// Connects and joins a room, and the user's own topic.
    pub(crate) async fn enter(address: &str, user: &User, room: &str) -> Self {
        let entered = Self::try_enter(address, user, room).await;
        entered.expect("the node takes the client")
    }

    /// Enters a room as [`enter`](Self::enter) does, or returns `None` if the node has gone or goes meanwhile.
    pub(crate) async fn try_enter(address: &str, user: &User, room: &str) -> Option<Self> {
        let token = &user.token;
        let url = format!("ws://{address}/chat/socket/websocket?vsn=2.0.0&token={token}");
        let (stream, _) = connect_async(url).await.ok()?;
        let (sink, mut frames) = stream.split();
        let view = Arc::new(Mutex::new(View::default()));
        let taken = Arc::clone(&view);
        tokio::spawn(async move {
            while let Some(Ok(frame)) = frames.next().await {
                if let Frame::Text(text) = frame {
                    taken.lock().take(&serde_json::from_str(&text).unwrap());
                }
            }
            taken.lock().is_closed = true;
        });
        let mut viewer = Self {
            user: user.clone(),
            view,
            topic: format!("room:{room}"),
            sink,
            pushes: 0,
        };
        for topic in [format!("user:{}", user.id), viewer.topic.clone()] {
            let joined = viewer.try_push_to(&topic, "phx_join", json!({})).await?;
            assert_eq!(joined["status"], "ok", "{joined}");
        }
        Some(viewer)
    }

    /// Closes the connection.
    pub(crate) async fn leave(mut self) {
        self.sink.close().await.unwrap();
    }

    /// Pushes an event to the room and returns the payload of its reply.
    pub(crate) async fn push(&mut self, event: &str, payload: Value) -> Value {
        let topic = self.topic.clone();
        self.push_to(&topic, event, payload).await
    }

    pub(crate) async fn push_to(&mut self, topic: &str, event: &str, payload: Value) -> Value {
        let reply = self.try_push_to(topic, event, payload).await;
        reply.expect("the node stays")
    }

    /// Pushes an event to the room. Returns `None` if the connection ends before the reply.
    pub(crate) async fn try_push(&mut self, event: &str, payload: Value) -> Option<Value> {
        let topic = self.topic.clone();
        self.try_push_to(&topic, event, payload).await
    }

    async fn try_push_to(&mut self, topic: &str, event: &str, payload: Value) -> Option<Value> {
        let reference = self.send(topic, event, payload).await?;
        until("a reply", || async {
            let mut view = self.view.lock();
            let reply = view.replies.remove(&reference);
            (reply.is_some() || view.is_closed).then_some(reply)
        })
        .await
    }

    /// Pushes an event to the room that has no reply.
    pub(crate) async fn say(&mut self, event: &str) {
        let topic = self.topic.clone();
        let sent = self.send(&topic, event, json!({})).await;
        sent.expect("the node stays");
    }

    async fn send(&mut self, topic: &str, event: &str, payload: Value) -> Option<String> {
        self.pushes += 1;
        let reference = self.pushes.to_string();
        // The user's own topic was joined by the first push, the room by the second.
        let join = match event {
            "phx_join" => &reference,
            _ if topic == self.topic => "2",
            _ => "1",
        };
        let frame = json!([join, reference, topic, event, payload]).to_string();
        self.sink.send(Frame::text(frame)).await.ok()?;
        Some(reference)
    }

    /// Posts a message until it is stored, as clients do under one `client_id`. Returns the message.
    pub(crate) async fn post(&mut self, content: &str) -> Value {
        loop {
            let name = content.replace(' ', "-");
            let name = name.chars().filter(char::is_ascii).take(32);
            let draft = json!({ "content": content, "client_id": name.collect::<String>() });
            let reply = self.push("new_message", draft).await;
            if reply["status"] == "ok" {
                return reply["response"].clone();
            }
            assert!(reply["response"]["errors"].is_null(), "{reply}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Returns the users that the client shows as present.
    pub(crate) fn present(&self) -> Vec<String> {
        self.view.lock().presence.keys().cloned().collect()
    }

    /// Returns the rows of the member list: name and status.
    pub(crate) async fn rows(&mut self) -> Vec<String> {
        let mut rows = self.all_rows().await;
        rows.retain(|row| !row.ends_with(')'));
        rows
    }

    /// Waits until the member list has these members.
    pub(crate) async fn shows_rows(&mut self, expected: &[String]) {
        let mut rows = Vec::new();
        for _ in 0..300 {
            rows = self.rows().await;
            if rows == expected {
                return;
            }
            // Windows may be asked for ten times a second.
            sleep(Duration::from_millis(250)).await;
        }
        assert_eq!(rows, expected);
    }

    /// Returns the first rows of the member list, as `group (count)` and `name status`.
    pub(crate) async fn all_rows(&mut self) -> Vec<String> {
        self.push("member_list_open", json!({ "window": "c:0" }))
            .await;
        let windows = json!({ "windows": ["c:0"] });
        let reply = self.push("member_list_resync", windows).await;
        let rows = reply["response"]["frames"][0]["rows"].as_array();
        let text = |row: &Value, field: &str| row["body"][field].as_str().unwrap().to_owned();
        let format = |row: &Value| match row["group"].as_str() {
            Some(group) => format!("{group} ({})", row["count"]),
            None => format!("{} {}", text(row, "username"), text(row, "status")),
        };
        rows.into_iter().flatten().map(format).collect()
    }

    /// Waits until exactly these users are present.
    pub(crate) async fn sees(&self, users: &[&User]) {
        let mut expected: Vec<String> = users.iter().map(|user| user.id.clone()).collect();
        expected.sort();
        until("the users that are present", || async {
            (self.present() == expected).then_some(())
        })
        .await;
    }

    /// Waits until the client shows a message under its number.
    pub(crate) async fn shows(&self, seq: i64, content: &str) {
        until(content, || async {
            let view = self.view.lock();
            let found = view.messages.get(&seq).is_some_and(|c| c == content);
            found.then_some(())
        })
        .await;
    }

    /// Waits for another event with a payload that `fits`.
    pub(crate) async fn hears(&self, event: &str, fits: impl Fn(&Value) -> bool) {
        until(event, || async {
            let view = self.view.lock();
            let mut events = view.events.iter();
            let heard = events.any(|(name, payload)| name == event && fits(payload));
            heard.then_some(())
        })
        .await;
    }
}
