//! The long-poll fallback.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{pause, resume, sleep};

use crate::{
    admin::kick,
    support::{
        client::{Server, User},
        http,
    },
    users::{SECRET, sign},
};

/// A client that polls.
struct Poller<'a> {
    server: &'a Server,
    query: String,
    token: Option<String>,
}

impl<'a> Poller<'a> {
    fn new(server: &'a Server, user: &User) -> Self {
        let query = format!("vsn=2.0.0&token={}&", user.token);
        Self {
            server,
            query,
            token: None,
        }
    }

    async fn request(&self, method: Method, body: String) -> Value {
        let session = self
            .token
            .as_ref()
            .map_or_else(String::new, |t| format!("token={t}"));
        let address = self.server.address;
        let url = format!(
            "http://{address}/chat/socket/longpoll?{}{session}",
            self.query
        );
        let request = http::client().request(method, url).body(body);
        let response = request
            .header("content-type", "application/x-ndjson")
            .send();
        let response = response.await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["cache-control"], "no-store");
        response.json().await.unwrap()
    }

    async fn poll(&mut self) -> Value {
        let answer = self.request(Method::GET, String::new()).await;
        if let Some(token) = answer["token"].as_str() {
            self.token = Some(token.to_owned());
        }
        answer
    }

    /// Polls until a frame of that event arrives.
    async fn expect(&mut self, event: &str) -> Value {
        loop {
            let answer = self.poll().await;
            for text in answer["messages"].as_array().unwrap() {
                let frame: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
                if frame[3] == event {
                    return frame;
                }
            }
        }
    }

    async fn push(&self, frames: &[Value]) -> Value {
        let lines: Vec<_> = frames.iter().map(Value::to_string).collect();
        self.request(Method::POST, lines.join("\n")).await
    }
}

#[tokio::test]
async fn a_poller_chats_with_a_socket() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let room = server.room(&guest, "lobby").await;
    let topic = format!("room:{room}");
    let mut poller = Poller::new(&server, &guest);
    let opened = poller.poll().await;
    assert_eq!(
        (&opened["status"], &opened["messages"]),
        (&json!(410), &json!([]))
    );
    let frames = [
        json!([null, "1", "phoenix", "heartbeat", {}]),
        json!(["2", "2", topic, "phx_join", {}]),
    ];
    assert_eq!(poller.push(&frames).await["status"], 200);
    assert_eq!(poller.expect("phx_reply").await[1], "1");

    let (_, mut socket) = server.enter(&room).await;
    let message = json!(["2", "3", topic, "new_message", { "content": "by post" }]);
    assert_eq!(poller.push(&[message]).await["status"], 200);
    assert_eq!(socket.expect("new_message").await[4]["content"], "by post");
    poller.expect("new_message").await;
    socket
        .push(
            &topic,
            "4",
            "new_message",
            json!({ "content": "by socket" }),
        )
        .await;
    assert_eq!(
        poller.expect("new_message").await[4]["content"],
        "by socket"
    );
}

#[tokio::test]
async fn an_unknown_session_is_refused() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let mut stranger = Poller::new(&server, &guest);
    stranger.query = "vsn=2.0.0&token=forged".into();
    assert_eq!(
        stranger.poll().await,
        json!({ "status": 403, "messages": [] })
    );
    let mut poller = Poller::new(&server, &guest);
    let heartbeat = json!([null, "1", "phoenix", "heartbeat", {}]);
    assert_eq!(
        poller.push(std::slice::from_ref(&heartbeat)).await["status"],
        410
    );
    poller.poll().await;
    let many = vec![heartbeat.clone(); 101];
    assert_eq!(poller.push(&many).await["status"], 410);
    assert_eq!(
        poller.push(&[heartbeat]).await["status"],
        410,
        "a bad batch ends its session"
    );
    poller.poll().await;
    assert_eq!(poller.push(&[json!([1, 2])]).await["status"], 410);
}

/// One token opened as many sessions as there are, for all tenants.
#[tokio::test]
async fn sessions_are_bounded_by_user_and_by_address() {
    let server = Server::start().await;
    let guest = server.guest().await;
    for n in 0..12 {
        let status = if n < 8 { 410 } else { 403 };
        assert_eq!(
            Poller::new(&server, &guest).poll().await["status"],
            status,
            "{n}"
        );
    }
    for n in 1..10 {
        let guest = server.guest().await;
        for _ in 0..8 {
            let status = if n < 8 { 410 } else { 403 };
            assert_eq!(
                Poller::new(&server, &guest).poll().await["status"],
                status,
                "{n}"
            );
        }
    }
    // Sockets are no sessions.
    server.connect(&guest).await;
}

/// The token of a client that only posts ended, and it went on posting until its session was forgotten.
#[tokio::test]
async fn a_client_whose_token_was_ended_posts_nothing_more() {
    let server = Server::start().await;
    let owner = server.register("owner").await;
    let room = server.create_room(&owner, "Engines").await;
    let topic = format!("room:{room}");
    for way in ["logout", "password", "kick"] {
        let user = server.register(&format!("user of {way}")).await;
        let path = format!("/rooms/{room}/join");
        server.post(&user, &path, json!({})).await;
        let mut poller = Poller::new(&server, &user);
        poller.poll().await;
        let join = json!(["1", "1", topic, "phx_join", {}]);
        assert_eq!(poller.push(&[join]).await["status"], 200);
        match way {
            "logout" => drop(server.delete(&user, "/auth/logout").await),
            "password" => {
                let body = json!({ "password": "correct horse", "new_password": "battery staple" });
                let (status, _) = server.post(&user, "/auth/password", body).await;
                assert_eq!(status, StatusCode::OK);
            }
            _ => assert_eq!(kick(&server, &user, &[]).await, StatusCode::SEE_OTHER),
        }
        let message = json!(["1", "2", topic, "new_message", { "content": "still here" }]);
        for _ in 0..2 {
            let answer = poller.push(std::slice::from_ref(&message)).await;
            assert_eq!(answer, json!({ "status": 410, "messages": [] }), "{way}");
        }
        // It does not come back under that token either.
        assert_eq!(poller.poll().await["status"], 403, "{way}");
    }
    let (_, page) = server.get(&owner, &format!("/rooms/{room}/messages")).await;
    assert_eq!(page["data"], json!([]));
}

#[tokio::test]
async fn a_client_that_only_posts_is_heard_until_its_token_expires() {
    let server = Server::start_with(|c| c.jwt_secret = Some(SECRET.parse().unwrap())).await;
    let user = User {
        id: "018f0000-0000-4000-8000-000000000001".into(),
        username: "guest-a".into(),
        token: sign("018f0000-0000-4000-8000-000000000001", "guest-a", true, 90),
    };
    let mut poller = Poller::new(&server, &user);
    poller.poll().await;
    let heartbeat = [json!([null, "1", "phoenix", "heartbeat", {}])];
    for (seconds, status) in [(140, 200), (20, 410)] {
        pause();
        // The end of the token is 90 s and the leeway of 60 s away.
        sleep(Duration::from_secs(seconds)).await;
        resume();
        assert_eq!(poller.push(&heartbeat).await["status"], status);
    }
}

/// It was answered by the frames that wait, without a body to hold them.
#[tokio::test]
async fn head_takes_no_frames() {
    let server = Server::start().await;
    let user = server.register("ada").await;
    let mut client = Poller::new(&server, &user);
    client.poll().await;
    let session = client.token.as_ref().unwrap();
    let url = format!(
        "http://{}/chat/socket/longpoll?{}token={session}",
        server.address, client.query
    );
    let answer = http::client().head(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
}
