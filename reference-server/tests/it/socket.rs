//! The socket's state machine, as observed on Phoenix.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{Server, Socket};

pub(crate) fn error_reply(
    join_ref: impl Into<Value>,
    reference: &str,
    topic: &str,
    reason: &str,
) -> Value {
    let payload = json!({ "status": "error", "response": { "reason": reason } });
    json!([join_ref.into(), reference, topic, "phx_reply", payload])
}

/// Returns a guest's socket and the topic of the lobby, not joined.
async fn lobby(server: &Server) -> (Socket, String) {
    let guest = server.guest().await;
    let room = server.room(&guest, "lobby").await;
    (server.connect(&guest).await, format!("room:{room}"))
}

#[tokio::test]
async fn handshakes() {
    let server = Server::start().await;
    let token = server.guest().await.token;
    for (query, ok) in [
        (format!("vsn=2.0.0&token={token}"), true),
        (format!("vsn=2.0.0&token={token}&"), true),
        (format!("vsn=1.0.0&token={token}"), true),
        (format!("token={token}&a[b]=c"), true),
        (format!("vsn=3.0.0&token={token}"), false),
        (format!("vsn=two&token={token}"), false),
        ("vsn=2.0.0".into(), false),
        ("vsn=2.0.0&token=".into(), false),
        ("vsn=2.0.0&token=forged.forged.forged".into(), false),
    ] {
        let refused = server.connect_with(&query, &[]).await.err();
        assert_eq!(refused, (!ok).then_some(StatusCode::FORBIDDEN), "{query}");
    }
    let elsewhere = [("origin", "https://evil.example")];
    let query = format!("vsn=2.0.0&token={token}");
    let refused = server.connect_with(&query, &elsewhere).await.err();
    assert_eq!(refused, Some(StatusCode::FORBIDDEN));
    let here = format!("http://{}", server.address);
    assert!(
        server
            .connect_with(&query, &[("origin", &here)])
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_token_may_come_as_a_subprotocol() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let server = Server::start().await;
    let token = server.guest().await.token;
    let protocols = format!(
        "phoenix, base64url.bearer.phx.{}",
        URL_SAFE_NO_PAD.encode(token.as_bytes())
    );
    let headers = [("sec-websocket-protocol", protocols.as_str())];
    let mut socket = server.connect_with("vsn=2.0.0", &headers).await.unwrap();
    assert_eq!(
        socket.response.headers()["sec-websocket-protocol"],
        "phoenix"
    );
    socket
        .send(json!([null, "1", "phoenix", "heartbeat", {}]))
        .await;
    assert_eq!(socket.next().await[4]["status"], "ok");
}

#[tokio::test]
async fn heartbeats_echo_their_reference_as_it_came() {
    let server = Server::start().await;
    let (mut socket, _) = lobby(&server).await;
    for reference in [json!("7"), json!(7)] {
        socket
            .send(json!([
                null,
                reference,
                "phoenix",
                "heartbeat",
                {},
                "extra"
            ]))
            .await;
        let payload = json!({ "status": "ok", "response": {} });
        let expected = json!([null, reference, "phoenix", "phx_reply", payload]);
        assert_eq!(socket.next().await, expected);
    }
    // kind 0, lengths 0 1 7 9, then the strings and no data
    let mut binary = vec![0, 0, 1, 7, 9];
    binary.extend(b"3phoenixheartbeat");
    socket.send_raw(Message::binary(binary)).await;
    assert_eq!(socket.next().await[1], "3");
}

#[tokio::test]
async fn a_join_is_answered_before_anything_else_of_its_topic() {
    let server = Server::start().await;
    let (mut socket, topic) = lobby(&server).await;
    socket.send(json!(["3", "4", topic, "phx_join", {}])).await;
    let reply = socket.next().await;
    assert_eq!(&reply[0], "3");
    assert_eq!(&reply[1], "4");
    assert_eq!(
        (&reply[3], &reply[4]["status"]),
        (&json!("phx_reply"), &json!("ok"))
    );
    assert_eq!(reply[4]["response"]["presence"], "full");
    let mut events = Vec::new();
    while events.len() < 2 {
        let frame = socket.next().await;
        if frame[3] != "presence_diff" {
            events.push(frame);
        }
    }
    for frame in &events {
        assert_eq!((&frame[0], &frame[1]), (&json!("3"), &Value::Null));
    }
    assert_eq!(events[0][3], "message_history");
    assert_eq!(events[1][3], "presence_state");
}

#[tokio::test]
async fn joins_are_refused_with_a_reason() {
    let server = Server::start().await;
    let (mut socket, lobby) = lobby(&server).await;
    let ada = server.register("ada").await;
    let mut outsider = server.connect(&ada).await;
    let unknown = "room:00000000-0000-0000-0000-000000000000";
    let crossed = lobby.replace("room:", "dm:");
    for (topic, reason) in [(unknown, "not found"), (&crossed, "not found")] {
        socket.send(json!(["1", "1", topic, "phx_join", {}])).await;
        assert_eq!(socket.next().await, error_reply("1", "1", topic, reason));
    }
    outsider
        .send(json!(["1", "1", lobby, "phx_join", {}]))
        .await;
    assert_eq!(
        outsider.next().await,
        error_reply("1", "1", &lobby, "not a member")
    );
}

#[tokio::test]
async fn unmatched_topics() {
    let server = Server::start().await;
    let (mut socket, topic) = lobby(&server).await;
    for (topic, event) in [
        ("nonsense", "phx_join"),
        ("room:'; DROP TABLE rooms;--", "phx_join"),
        (topic.as_str(), "new_message"),
        ("phoenix", "other"),
    ] {
        socket.send(json!(["1", "2", topic, event, {}])).await;
        assert_eq!(
            socket.next().await,
            error_reply(Value::Null, "2", topic, "unmatched topic")
        );
    }
}

/// Other spellings of an id joined the room of the canonical one, and the answers named that topic: clients timed
/// out, and one socket was in a room many times.
#[tokio::test]
async fn room_ids_in_other_spellings_are_no_topics() {
    let server = Server::start().await;
    let (mut socket, lobby) = lobby(&server).await;
    let ada = server.register("ada").await;
    let (kind, id) = lobby.split_once(':').unwrap();
    let spellings = [
        id.to_uppercase(),
        id.replace('-', ""),
        format!("{{{id}}}"),
        format!("urn:uuid:{id}"),
        format!("{id} "),
        format!("+{id}"),
    ];
    for spelling in spellings {
        for kind in [kind, "dm"] {
            let topic = format!("{kind}:{spelling}");
            for event in ["phx_join", "new_message"] {
                socket.send(json!(["1", "2", topic, event, {}])).await;
                let refused = error_reply(Value::Null, "2", &topic, "unmatched topic");
                assert_eq!(socket.next().await, refused);
            }
        }
        let path = format!("/rooms/{}", spelling.replace(' ', "%20"));
        assert_eq!(server.get(&ada, &path).await.0, StatusCode::NOT_FOUND);
    }
    socket.join(&lobby, "1").await;
}

/// Every client saw 1006: the server ended the connection without an answer to the close frame (RFC 6455, 5.5.1).
#[tokio::test]
async fn a_close_frame_is_answered_with_its_code() {
    let server = Server::start().await;
    let (mut watcher, topic) = lobby(&server).await;
    watcher.join(&topic, "1").await;
    for code in [Some(1000), Some(1001), Some(3000), Some(4999), None] {
        let (mut socket, _) = lobby(&server).await;
        socket.join(&topic, "1").await;
        let answer = socket.close(code).await;
        assert_eq!(answer.map(|frame| frame.code.into()), code);
        assert!(socket.has_ended().await);
        // The subscription ends with the connection.
        loop {
            let diff = watcher.expect("presence_diff").await;
            if !diff[4]["leaves"].as_object().unwrap().is_empty() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_second_join_replaces_the_first() {
    let server = Server::start().await;
    let (mut socket, topic) = lobby(&server).await;
    socket.join(&topic, "1").await;
    let before = socket.expect("presence_state").await;
    socket.expect("presence_diff").await;
    socket.send(json!(["5", "6", topic, "phx_join", {}])).await;
    let reply = socket.next().await;
    assert_eq!((&reply[0], &reply[1]), (&json!("5"), &json!("6")));
    assert_eq!(
        socket.next().await,
        json!(["1", "1", topic, "phx_close", {}])
    );
    let state = socket.expect("presence_state").await;
    assert_eq!(state[0], "5");
    assert_ne!(state[4], before[4]);
    let diff = socket.expect("presence_diff").await;
    assert_eq!(diff[4]["leaves"], before[4]);
    // The old join reference is stale now; null is always accepted.
    socket
        .send(json!(["1", "7", topic, "new_message", { "content": "stale" }]))
        .await;
    socket
        .send(json!([null, "8", topic, "new_message", { "content": "current" }]))
        .await;
    loop {
        let frame = socket.next().await;
        assert!(frame[1] != "7" && frame[4]["content"] != "stale", "{frame}");
        if frame[1] == "8" {
            assert_eq!(frame[4]["status"], "ok");
            break;
        }
    }
}

#[tokio::test]
async fn leaving() {
    let server = Server::start().await;
    let (mut socket, topic) = lobby(&server).await;
    let ok = json!({ "status": "ok", "response": {} });
    socket.send(json!(["9", "1", topic, "phx_leave", {}])).await;
    assert_eq!(
        socket.next().await,
        json!(["9", "1", topic, "phx_reply", ok])
    );
    socket.join(&topic, "2").await;
    socket.expect("presence_diff").await;
    socket.send(json!(["1", "3", topic, "phx_leave", {}])).await;
    assert_eq!(
        socket.next().await,
        json!(["1", "3", topic, "phx_reply", ok])
    );
    socket.send(json!(["2", "4", topic, "phx_leave", {}])).await;
    assert_eq!(
        socket.next().await,
        json!(["2", "4", topic, "phx_reply", ok])
    );
    assert_eq!(
        socket.next().await,
        json!(["2", "2", topic, "phx_close", {}])
    );
    socket.send(json!(["2", "5", topic, "typing", {}])).await;
    assert_eq!(
        socket.next().await,
        error_reply(Value::Null, "5", &topic, "unmatched topic")
    );
}

#[tokio::test]
async fn messages_reach_everyone_in_order_and_newcomers_by_history() {
    let server = Server::start().await;
    let (mut a, topic) = lobby(&server).await;
    let (mut b, _) = lobby(&server).await;
    a.join(&topic, "1").await;
    b.join(&topic, "1").await;
    let content = "Hello, 世界 🎉 \"quoted\" \\ <b>";
    let reply = a
        .push(&topic, "2", "new_message", json!({ "content": content }))
        .await;
    assert_eq!(reply["response"]["seq"], 1);
    let message = b.expect("new_message").await;
    assert_eq!((&message[0], &message[1]), (&Value::Null, &Value::Null));
    assert_eq!(message[4]["content"], content);
    assert_eq!(message[4]["id"], reply["response"]["id"]);
    assert_eq!(message[4]["type"], "text");
    assert!(message[4]["inserted_at"].as_str().unwrap().ends_with('Z'));

    let (mut late, _) = lobby(&server).await;
    late.send(json!(["1", "1", topic, "phx_join", {}])).await;
    let history = late.expect("message_history").await;
    assert_eq!(history[4]["messages"], json!([message[4]]));
}

#[tokio::test]
async fn a_message_by_rest_appears_on_sockets() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let room = server.room(&guest, "lobby").await;
    let (_, mut socket) = server.enter(&room).await;
    let body = json!({ "content": "by post" });
    server
        .post(&guest, &format!("/rooms/{room}/messages"), body)
        .await;
    let message = socket.expect("new_message").await;
    assert_eq!(message[4]["user"]["username"], guest.username);
}

#[tokio::test]
async fn typing_is_sent_to_the_others_only() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let room = server.room(&guest, "lobby").await;
    let topic = format!("room:{room}");
    let (a_user, mut a) = server.enter(&room).await;
    let (_, mut b) = server.enter(&room).await;
    a.drain().await;
    a.send(json!(["1", "2", topic, "typing", {}])).await;
    let typing = b.expect("typing").await;
    let who = json!({ "user_id": a_user.id, "username": a_user.username, "guest": true });
    assert_eq!(typing[4], who);
    a.send(json!(["1", "3", topic, "stop_typing", {}])).await;
    assert_eq!(b.expect("stop_typing").await[4], who);
    assert!(
        a.drain()
            .await
            .iter()
            .all(|f| f[3] != "typing" && f[3] != "stop_typing")
    );
    // A user that leaves has stopped typing.
    a.send(json!(["1", "4", topic, "typing", {}])).await;
    b.expect("typing").await;
    a.drop_abruptly();
    assert_eq!(b.expect("stop_typing").await[4], who);
}

#[tokio::test]
async fn version_1_clients_get_objects() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let topic = format!("room:{}", server.room(&guest, "lobby").await);
    let mut socket = server
        .connect_with(&format!("token={}", guest.token), &[])
        .await
        .unwrap();
    socket
        .send(json!({ "topic": topic, "event": "phx_join", "payload": {}, "ref": "1" }))
        .await;
    let reply = socket.next().await;
    assert_eq!(
        (&reply["ref"], &reply["event"]),
        (&json!("1"), &json!("phx_reply"))
    );
    assert_eq!(reply["payload"]["status"], "ok");
    let push = json!({
        "topic": topic, "event": "new_message", "payload": { "content": "old" }, "ref": "2"
    });
    socket.send(push).await;
    loop {
        let frame = socket.next().await;
        if frame["event"] == "new_message" {
            assert_eq!(
                (&frame["payload"]["content"], &frame["ref"]),
                (&json!("old"), &Value::Null)
            );
            return;
        }
    }
}

#[tokio::test]
async fn a_socket_has_a_hundred_channels_at_most() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let mut socket = server.connect(&ada).await;
    for n in 0..=100 {
        let owner = if n < 100 { &ada } else { &bob };
        let room = server.create_room(owner, &format!("r{n}")).await;
        if n == 100 {
            server
                .post(&ada, &format!("/rooms/{room}/join"), json!({}))
                .await;
        }
        let topic = format!("room:{room}");
        socket
            .send(json!(["1", n.to_string(), topic, "phx_join", {}]))
            .await;
        let reply = socket.reply(&n.to_string()).await;
        if n < 100 {
            assert_eq!(reply[4]["status"], "ok");
        } else {
            assert_eq!(reply[4]["response"]["reason"], "too many channels joined");
        }
    }
}

#[tokio::test]
async fn a_deleted_room_closes_its_channels() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Brief").await;
    let (_, mut socket) = server.enter(&room).await;
    assert_eq!(
        server.delete(&ada, &format!("/rooms/{room}")).await.0,
        StatusCode::OK
    );
    let close = socket.expect("phx_close").await;
    assert_eq!((&close[0], &close[1]), (&json!("1"), &json!("1")));
    let topic = format!("room:{room}");
    socket.send(json!(["1", "2", topic, "typing", {}])).await;
    assert_eq!(
        socket.reply("2").await[4]["response"]["reason"],
        "unmatched topic"
    );
}

#[tokio::test]
async fn a_silent_socket_is_closed_after_a_minute() {
    let server = Server::start().await;
    let (mut socket, _) = lobby(&server).await;
    // From here on time jumps to the next timer whenever the server is idle.
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    assert_eq!(socket.closed_at_last().await, 1001);
    let waited = start.elapsed().as_secs();
    assert!((59..=61).contains(&waited), "{waited} s");
}

/// A server that was paused closed clients as idle whose heartbeats waited.
#[tokio::test]
async fn a_paused_server_reads_waiting_frames_before_it_calls_a_client_idle() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let mut sockets = Vec::new();
    for _ in 0..16 {
        sockets.push(server.connect(&ada).await);
    }
    let heartbeat = json!([null, "1", "phoenix", "heartbeat", {}]);
    for socket in &mut sockets {
        socket.send(heartbeat.clone()).await;
    }
    // Server and clients share one thread: nothing ran between the heartbeats and this.
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    tokio::time::resume();
    for socket in &mut sockets {
        assert_eq!(socket.reply("1").await[4]["status"], "ok");
    }
}

/// Phoenix takes the reference of such a join for its join reference; the answers had null.
#[tokio::test]
async fn a_join_without_join_reference_is_known_by_its_reference() {
    let server = Server::start().await;
    let (mut socket, topic) = lobby(&server).await;
    socket.send(json!([null, "7", topic, "phx_join", {}])).await;
    let reply = socket.next().await;
    assert_eq!((&reply[0], &reply[1]), (&json!("7"), &json!("7")));
    assert_eq!(socket.expect("presence_state").await[0], "7");
    socket.send(json!(["7", "8", topic, "phx_leave", {}])).await;
    assert_eq!(socket.reply("8").await[0], "7");
    assert_eq!(socket.expect("phx_close").await[0], "7");
}
