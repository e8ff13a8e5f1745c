//! Bad input gets a clear answer, and the server serves the others.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Server;

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
        json!({ "id": eve.id, "username": eve.username })
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
async fn names_with_sql_emoji_and_control_characters() {
    let server = Server::start().await;
    let bobby = server.register("Robert'); DROP TABLE users;--").await;
    let emoji = server.register("👩‍💻🎉 Жанна").await;
    let (_, users) = server.get(&bobby, "/users").await;
    let names: Vec<_> = users["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| &u["username"])
        .collect();
    assert_eq!(names, [&bobby.username, &emoji.username]);
    let room = server
        .create_room(&emoji, "\"'; DELETE FROM rooms; 🏙️")
        .await;
    let (_, shown) = server.get(&bobby, &format!("/rooms/{room}")).await;
    assert_eq!(shown["data"]["name"], "\"'; DELETE FROM rooms; 🏙️");
    for name in [
        "nul\u{0}byte",
        "new\nline",
        "\u{202e}txet",
        "\u{1b}[31mred",
        "\u{feff}bom",
    ] {
        let body = json!({ "username": name, "password": "correct horse" });
        let (status, answer) = server
            .call(Method::POST, "/auth/register", None, Some(body))
            .await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{name:?}");
        assert_eq!(
            answer["errors"]["username"][0],
            "must not contain control characters"
        );
        let (status, _) = server.post(&bobby, "/rooms", json!({ "name": name })).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{name:?}");
    }
    let injection = json!({ "username": "' OR 1=1;--", "password": "correct horse" });
    let (status, _) = server
        .call(Method::POST, "/auth/login", None, Some(injection))
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn bodies_without_json_and_long_ones_are_refused() {
    let server = Server::start().await;
    let url = format!("http://{}/api/v1/auth/register", server.address);
    let post = async |body: String, mime: &str| {
        let request = reqwest::Client::new()
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
        assert!(answer["error"].is_string(), "{answer}");
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
    ] {
        let (status, answer) = server.get(&guest, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer["error"].is_string(), "{path}");
    }
    let (status, _) = server.delete(&guest, "/rooms").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    for path in [
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/vendor/../../Cargo.toml",
        "//etc/passwd",
    ] {
        let url = format!("http://{}{path}", server.address);
        let response = reqwest::get(url).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
