//! State that belongs to a user on all its connections: the end of its token, its names, its own channel.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, pause, resume, sleep};

use crate::{
    socket::error_reply,
    support::client::{Server, User},
};

pub(crate) const SECRET: &str = "a secret of thirty-two characters";

/// Signs a token that ends in `seconds`, as a site with the same secret may.
pub(crate) fn sign(id: &str, name: &str, guest: bool, seconds: u64) -> String {
    let now = jsonwebtoken::get_current_timestamp();
    let claims = json!({
        "sub": id, "name": name, "guest": guest, "iat": now, "exp": now + seconds,
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// An open socket went on after the end of its token.
#[tokio::test]
async fn a_socket_ends_with_its_token_unless_that_is_renewed() {
    let server = Server::start_with(|c| c.jwt_secret = Some(SECRET.parse().unwrap())).await;
    let id = "018f0000-0000-4000-8000-000000000001";
    let query = |token: &str| format!("vsn=2.0.0&token={token}");
    let short = sign(id, "guest-a", true, 90);
    for renewed in [false, true] {
        let mut socket = server.connect_with(&query(&short), &[]).await.unwrap();
        let heartbeat = json!([null, "h", "phoenix", "heartbeat", {}]);
        socket.send(heartbeat.clone()).await;
        socket.reply("h").await;
        pause();
        let start = Instant::now();
        // 90 s and the leeway of 60 s, less the warning of 60 s.
        sleep(Duration::from_secs(50)).await;
        resume();
        socket.send(heartbeat.clone()).await;
        socket.reply("h").await;
        pause();
        let told = socket.next_at_last().await;
        let waited = start.elapsed().as_secs();
        resume();
        assert_eq!(
            (&told[2], &told[3]),
            (&json!("phoenix"), &json!("token_expiring"))
        );
        assert!((85..=95).contains(&waited), "{waited} s");
        for (token, status) in [
            (
                sign("018f0000-0000-4000-8000-000000000002", "guest-b", true, 900),
                "error",
            ),
            ("nonsense".into(), "error"),
            (sign(id, "guest-a", true, 900), "ok"),
        ] {
            if renewed || status == "error" {
                let push = json!([null, "2", "phoenix", "access_token", { "token": token }]);
                socket.send(push).await;
                assert_eq!(socket.reply("2").await[4]["status"], status);
            }
        }
        pause();
        let code = socket.closed_at_last().await;
        let waited = start.elapsed().as_secs();
        resume();
        // With a new token it is closed for its silence.
        assert_eq!(code, if renewed { 1001 } else { 1008 });
        assert!((140..=160).contains(&waited), "{waited} s");
    }
}

/// A site that signs tokens may name its guests, but not as users are named.
#[tokio::test]
async fn a_guest_takes_no_name_of_a_user_and_a_user_has_the_stored_one() {
    let server = Server::start_with(|c| c.jwt_secret = Some(SECRET.parse().unwrap())).await;
    let ada = server.register("ada").await;
    let guest = "018f0000-0000-4000-8000-000000000001";
    for (name, ok) in [
        ("anna from the shop", true),
        ("guest-77", true),
        ("ada", false),
        ("\u{430}da", false),
        ("\u{3164}", false),
        ("", false),
    ] {
        let query = format!("vsn=2.0.0&token={}", sign(guest, name, true, 900));
        assert_eq!(
            server.connect_with(&query, &[]).await.is_ok(),
            ok,
            "{name:?}"
        );
    }
    let token = sign(&ada.id, "the boss", false, 900);
    let me = server.call(Method::GET, "/auth/me", Some(&token), None);
    assert_eq!(me.await.1["data"]["username"], "ada");
}

/// Rooms that others made appeared after a reload only.
#[tokio::test]
async fn the_channel_of_a_user_tells_of_rooms_that_come_and_go() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let topic = |user: &User| format!("user:{}", user.id);
    let mut of_ada = server.connect(&ada).await;
    let mut of_bob = server.connect(&bob).await;
    for (user, socket) in [(&ada, &mut of_ada), (&bob, &mut of_bob)] {
        socket
            .send(json!(["1", "1", topic(user), "phx_join", {}]))
            .await;
        let ok = json!({ "status": "ok", "response": { "status": "online" } });
        assert_eq!(
            socket.next().await,
            json!(["1", "1", topic(user), "phx_reply", ok])
        );
    }
    of_bob
        .send(json!(["2", "2", topic(&ada), "phx_join", {}]))
        .await;
    let refused = error_reply(Value::Null, "2", &topic(&ada), "unmatched topic");
    assert_eq!(of_bob.next().await, refused);

    let room = server.create_room(&ada, "Engines").await;
    for (user, socket) in [(&ada, &mut of_ada), (&bob, &mut of_bob)] {
        let frame = socket.next().await;
        assert_eq!(
            (&frame[2], &frame[3]),
            (&json!(topic(user)), &json!("room_created"))
        );
        assert_eq!(
            (&frame[4]["id"], &frame[4]["name"]),
            (&json!(room), &json!("Engines"))
        );
    }
    let body = json!({ "name": "Secret", "private": true });
    let (_, secret) = server.post(&ada, "/rooms", body).await;
    assert_eq!(of_ada.next().await[4]["id"], secret["data"]["id"]);
    server.delete(&ada, &format!("/rooms/{room}")).await;
    for socket in [&mut of_ada, &mut of_bob] {
        let frame = socket.next().await;
        assert_eq!(
            (&frame[3], &frame[4]),
            (&json!("room_removed"), &json!({ "id": room }))
        );
    }
    of_bob
        .send(json!(["1", "3", topic(&bob), "phx_leave", {}]))
        .await;
    assert_eq!(of_bob.next().await[4]["status"], "ok");
    assert_eq!(of_bob.next().await[3], "phx_close");
    server.create_room(&ada, "Looms").await;
    assert_eq!(of_ada.next().await[3], "room_created");
    assert!(of_bob.drain().await.is_empty());
}

async fn login(server: &Server, username: &str, password: &str) -> User {
    let body = json!({ "username": username, "password": password });
    let (status, answer) = server
        .call(Method::POST, "/auth/login", None, Some(body))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    User::new(&answer)
}

/// A token went on after its logout until it expired.
#[tokio::test]
async fn a_logout_ends_its_token_and_the_sockets_of_it_also_after_a_restart() {
    let server = Server::start().await;
    let first = server.register("ada").await;
    let second = login(&server, "ada", "correct horse").await;
    let mut of_first = server.connect(&first).await;
    let mut of_second = server.connect(&second).await;
    let (status, answer) = server.delete(&first, "/auth/logout").await;
    assert_eq!(
        (status, &answer["data"]["revoked"]),
        (StatusCode::OK, &json!(true))
    );
    assert_eq!(of_first.closed().await, 1008);
    of_second
        .send(json!([null, "1", "phoenix", "heartbeat", {}]))
        .await;
    assert_eq!(of_second.reply("1").await[4]["status"], "ok");
    let server = Server::start_in(server.stop().await, |_| {}).await;
    assert_eq!(
        server.get(&first, "/auth/me").await.0,
        StatusCode::UNAUTHORIZED
    );
    let query = format!("vsn=2.0.0&token={}", first.token);
    let refused = server.connect_with(&query, &[]).await.err();
    assert_eq!(refused, Some(StatusCode::FORBIDDEN));
    assert_eq!(server.get(&second, "/auth/me").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_new_password_ends_all_tokens_and_sockets_of_the_user() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let other = login(&server, "ada", "correct horse").await;
    let mut socket = server.connect(&other).await;
    let mut of_bob = server.connect(&bob).await;
    let change = |old: &str, new: &str| json!({ "password": old, "new_password": new });
    for (body, field) in [
        (change("wrong", "battery staple"), "password"),
        (change("correct horse", "short"), "new_password"),
    ] {
        let (status, answer) = server.post(&ada, "/auth/password", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer["errors"][field].is_array(), "{answer}");
    }
    let body = change("correct horse", "battery staple");
    let (status, answer) = server.post(&ada, "/auth/password", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let renewed = User::new(&answer);
    assert_eq!(socket.closed().await, 1008);
    for token in [&ada, &other] {
        assert_eq!(
            server.get(token, "/auth/me").await.0,
            StatusCode::UNAUTHORIZED
        );
    }
    assert_eq!(server.get(&renewed, "/auth/me").await.0, StatusCode::OK);
    server.connect(&renewed).await;
    login(&server, "ada", "battery staple").await;
    of_bob
        .send(json!([null, "1", "phoenix", "heartbeat", {}]))
        .await;
    assert_eq!(of_bob.reply("1").await[4]["status"], "ok");
    let guest = server.guest().await;
    let (status, _) = server
        .post(&guest, "/auth/password", change("a", "b"))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}
