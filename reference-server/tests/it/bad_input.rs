//! Bad input gets a clear answer, and the server serves the others.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    client::{Server, error},
    http,
    raw::Raw,
};

#[tokio::test]
async fn malformed_frames_close_their_own_socket_only() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let room = server.room(&guest, "lobby").await;
    let (_, mut bystander) = server.enter(&room).await;
    for text in [
        "",
        "hello",
        "{}",
        "[]",
        "[1,2,3,4]",
        r#"["1","2","room:x","event"]"#,
        r#"["1","2",{},"event",{}]"#,
        r#"[["1"],"2","t","event",{}]"#,
        "[\"1\",\"2\",\"t\",\"e\",{\"a\":\u{0}}]",
    ] {
        let mut socket = server.connect(&guest).await;
        socket.send_raw(Message::text(text)).await;
        assert_eq!(socket.closed().await, 1011, "{text:?}");
    }
    for bytes in [
        &b""[..],
        b"\x00",
        b"\x00\xff\xff\xff\xff",
        b"\x07\x00\x00\x00\x00",
    ] {
        let mut socket = server.connect(&guest).await;
        socket.send_raw(Message::binary(bytes.to_vec())).await;
        assert_eq!(socket.closed().await, 1011, "{bytes:?}");
    }
    let deep = format!(
        r#"["1","2","room:{room}","phx_join",{}1{}]"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    let mut socket = server.connect(&guest).await;
    socket.send_raw(Message::text(deep)).await;
    assert_eq!(socket.next().await[4]["status"], "ok");
    bystander
        .send(json!([null, "1", "phoenix", "heartbeat", {}]))
        .await;
    assert_eq!(bystander.reply("1").await[4]["status"], "ok");
}

/// The codes that RFC 6455 names for faults below the frames of this protocol. They all were 1006.
#[tokio::test]
async fn faults_of_the_websocket_close_it_with_their_own_codes() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let mut long_ping = vec![0x89, 0xfe, 0x00, 0x7e, 0, 0, 0, 0];
    long_ping.resize(8 + 0x7e, b'x');
    for (bytes, code) in [
        // Text that is no UTF-8, in one frame and in two.
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe][..], 1007),
        (
            &[0x01, 0x81, 0, 0, 0, 0, 0xe2, 0x80, 0x81, 0, 0, 0, 0, b'x'],
            1007,
        ),
        // No mask; a reserved opcode; reserved bits; a continuation of nothing.
        (&[0x81, 0x02, b'h', b'i'], 1002),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),
        (&[0xc1, 0x80, 0, 0, 0, 0], 1002),
        (&[0x80, 0x80, 0, 0, 0, 0], 1002),
        // A fragmented ping, one that is too long, a message within another.
        (&[0x09, 0x80, 0, 0, 0, 0], 1002),
        (&long_ping, 1002),
        (&[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0], 1002),
    ] {
        let mut raw = Raw::websocket(server.address, &guest).await;
        raw.send(bytes).await;
        assert_eq!(raw.closed().await, code, "{bytes:x?}");
    }
    server.connect(&guest).await;
}

#[tokio::test]
async fn a_frame_over_64_kib_closes_the_socket() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let mut socket = server.connect(&guest).await;
    let big = "x".repeat(64 << 10);
    socket
        .send(json!([null, "1", "phoenix", "heartbeat", { "x": big }]))
        .await;
    assert_eq!(socket.closed().await, 1009);
}

#[tokio::test]
async fn strange_payloads_get_an_error_and_store_nothing() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let room = server.room(&guest, "lobby").await;
    let topic = format!("room:{room}");
    let mut socket = server.connect(&guest).await;
    socket.join(&topic, "1").await;
    for (n, payload) in [
        json!(null),
        json!(7),
        json!([]),
        json!({}),
        json!({ "content": null }),
        json!({ "content": 5 }),
        json!({ "content": "" }),
        json!({ "content": " \n\t " }),
        json!({ "content": "bell \u{7}" }),
        json!({ "content": "nul \u{0}" }),
        json!({ "content": "é".repeat(4_001) }),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = socket
            .push(&topic, &format!("p{n}"), "new_message", payload.clone())
            .await;
        assert_eq!(reply["status"], "error", "{payload}");
        assert!(reply["response"]["reason"].is_string());
    }
    let reply = socket.push(&topic, "u", "no_such_event", json!({})).await;
    assert_eq!(reply["response"]["reason"], "unknown event");
    // The binary form of new_message: kind 0, then lengths.
    let mut binary = vec![0, 1, 1, u8::try_from(topic.len()).unwrap(), 11];
    binary.extend(format!("1b{topic}new_messagepayload").bytes());
    socket.send_raw(Message::binary(binary)).await;
    assert_eq!(
        socket.reply("b").await[4]["response"]["reason"],
        "invalid payload"
    );
    let (_, page) = server.get(&guest, &format!("/rooms/{room}/messages")).await;
    assert_eq!(page["data"], json!([]));
}

#[tokio::test]
async fn no_user_posts_under_another_id() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let eve = server.guest().await;
    let room = server.room(&eve, "lobby").await;
    let topic = format!("room:{room}");
    let mut socket = server.connect(&eve).await;
    let claims = json!({
        "user_id": ada.id, "username": "ada", "user": { "id": ada.id }, "guest": false,
        "content": "I am Ada", "id": 1, "seq": 900, "type": "system",
    });
    socket
        .send(json!(["1", "1", topic, "phx_join", claims]))
        .await;
    let state = socket.expect("presence_state").await;
    assert_eq!(
        state[4].as_object().unwrap().keys().collect::<Vec<_>>(),
        [&eve.id]
    );
    let reply = socket
        .push(&topic, "2", "new_message", claims.clone())
        .await;
    let message = &reply["response"];
    assert_eq!(
        message["user"],
        json!({ "id": eve.id, "username": eve.username, "guest": true })
    );
    assert_eq!(
        (&message["seq"], &message["type"]),
        (&json!(1), &json!("text"))
    );
    let (_, message) = server
        .post(&eve, &format!("/rooms/{room}/messages"), claims)
        .await;
    assert_eq!(message["data"]["user"]["id"], json!(eve.id));
}

#[tokio::test]
async fn tokens_of_other_servers_are_refused() {
    let server = Server::start().await;
    let elsewhere = Server::start().await;
    let ada = elsewhere.register("ada").await;
    let guest = server.guest().await;
    let mut cut = guest.token.clone();
    cut.pop();
    let long = "x".repeat(7_000);
    for token in ["", "x", "a.b.c", &ada.token, &cut, &long] {
        let (status, answer) = server
            .call(Method::GET, "/auth/me", Some(token), None)
            .await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
        assert!(answer["error"].is_string());
        let query = format!("vsn=2.0.0&token={token}");
        let refused = server.connect_with(&query, &[]).await.err();
        assert_eq!(refused, Some(StatusCode::FORBIDDEN));
    }
    let (status, answer) = server.call(Method::GET, "/rooms", None, None).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::UNAUTHORIZED, &json!("missing bearer token"))
    );
}

#[tokio::test]
async fn bodies_without_json_and_long_ones_are_refused() {
    let server = Server::start().await;
    let url = format!("http://{}/api/v1/auth/register", server.address);
    let post = async |body: String, mime: &str| {
        let request = http::client()
            .post(&url)
            .header("content-type", mime)
            .body(body);
        let response = request.send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    let json = "application/json";
    for (body, mime, status) in [
        ("{".to_owned(), json, StatusCode::BAD_REQUEST),
        (String::new(), json, StatusCode::BAD_REQUEST),
        (
            format!("{{\"x\":{}", "[".repeat(50_000)),
            json,
            StatusCode::BAD_REQUEST,
        ),
        (
            "a=b".to_owned(),
            "text/plain",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            format!("\"{}\"", "x".repeat(100_000)),
            json,
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ] {
        let (got, answer) = post(body, mime).await;
        assert_eq!(got, status, "{answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(
            error.len() > 15 && !error.contains(status.as_str()),
            "{answer}"
        );
    }
    let (status, answer) = post(r#"{"username":5}"#.into(), json).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer["errors"]["body"][0]
            .as_str()
            .unwrap()
            .contains("username"),
        "{answer}"
    );
}

#[tokio::test]
async fn unknown_paths_are_refused() {
    let server = Server::start().await;
    let guest = server.guest().await;
    for path in [
        "/rooms/1",
        "/rooms/..%2f..%2f",
        "/users/'",
        "/nothing",
        "/rooms/%00",
        "/",
        "",
    ] {
        let (status, answer) = server.get(&guest, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer["error"].is_string(), "{path}");
    }
    let (status, answer) = server.delete(&guest, "/rooms").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer, error("method not allowed"));
    let (status, answer) = server.get(&guest, "/rooms/%ff").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].is_string(), "{answer}");
    for (method, path) in [
        (Method::DELETE, "/servers/%ff/roles/%ff"),
        (Method::GET, "/servers/%ff/members/%ff/roles"),
        (Method::PUT, "/servers/%ff/members/%ff/roles/%ff"),
        (Method::DELETE, "/servers/%ff/members/%ff/roles/%ff"),
    ] {
        let (status, answer) = server.call(method, path, Some(&guest.token), None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer["error"].is_string(), "{path}: {answer}");
    }
    for path in [
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/vendor/../../Cargo.toml",
        "//etc/passwd",
    ] {
        let url = format!("http://{}{path}", server.address);
        let response = http::get(url).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
