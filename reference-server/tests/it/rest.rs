//! The HTTP API and its envelopes.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    client::{Server, User, error},
    http,
};

#[tokio::test]
async fn register_login_me_logout() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let (status, me) = server.get(&ada, "/auth/me").await;
    assert_eq!(
        (status, &me["data"]["username"]),
        (StatusCode::OK, &json!("ada"))
    );
    assert_eq!(me["data"]["guest"], false);

    let login = |name: &str, password: &str| {
        let body = json!({ "username": name, "password": password });
        server.call(Method::POST, "/auth/login", None, Some(body))
    };
    let (status, answer) = login("Ada", "correct horse").await;
    assert_eq!(
        (status, &answer["data"]["user"]["id"]),
        (StatusCode::OK, &json!(ada.id))
    );
    assert!(answer["data"]["token"].is_string());
    for (name, password) in [
        ("ada", "wrong horse"),
        ("nobody", "correct horse"),
        ("", ""),
    ] {
        let expected = (
            StatusCode::UNAUTHORIZED,
            error("invalid username or password"),
        );
        assert_eq!(login(name, password).await, expected);
    }
    assert_eq!(server.delete(&ada, "/auth/logout").await.0, StatusCode::OK);
}

#[tokio::test]
async fn registration_reports_errors_by_field() {
    let server = Server::start().await;
    server.register("Ada").await;
    let register = |body: Value| server.call(Method::POST, "/auth/register", None, Some(body));
    for (body, errors) in [
        (
            json!({}),
            json!({ "username": ["can't be blank"], "password": ["can't be blank"] }),
        ),
        (
            json!({ "username": "ADA", "password": "correct horse" }),
            json!({ "username": ["has already been taken"] }),
        ),
        (
            json!({ "username": "bob", "password": "short" }),
            json!({ "password": ["should be at least 8 character(s)"] }),
        ),
        (
            json!({ "username": "guest-1", "password": "correct horse" }),
            json!({ "username": ["is reserved"] }),
        ),
    ] {
        let expected = (
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({ "errors": errors }),
        );
        assert_eq!(register(body).await, expected);
    }
}

#[tokio::test]
async fn rooms_are_made_joined_left_and_deleted() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let room = server.create_room(&ada, "Engines").await;
    let path = format!("/rooms/{room}");

    let (_, shown) = server.get(&bob, &path).await;
    assert_eq!(shown["data"]["name"], "Engines");
    assert_eq!(shown["data"]["members"][0]["username"], "ada");
    assert_eq!(shown["data"]["members"][0]["role"], "admin");
    assert_eq!(shown["data"]["member_count"], 1);

    for _ in 0..2 {
        let (status, _) = server.post(&bob, &format!("{path}/join"), json!({})).await;
        assert_eq!(status, StatusCode::OK);
    }
    let (_, members) = server.get(&bob, &format!("{path}/members?limit=1")).await;
    assert_eq!(members["data"].as_array().unwrap().len(), 1);
    let after = members["data"][0]["user_id"].as_str().unwrap();
    let (_, rest) = server
        .get(&bob, &format!("{path}/members?after={after}"))
        .await;
    assert_eq!(rest["data"][0]["username"], "bob");

    assert_eq!(server.delete(&bob, &path).await.0, StatusCode::FORBIDDEN);
    assert_eq!(
        server.delete(&bob, &format!("{path}/leave")).await.0,
        StatusCode::OK
    );
    assert_eq!(server.delete(&ada, &path).await.0, StatusCode::OK);
    assert_eq!(
        server.get(&ada, &path).await,
        (StatusCode::NOT_FOUND, error("no such room"))
    );
}

#[tokio::test]
async fn private_rooms_are_closed_to_others() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let body = json!({ "name": "Secret", "private": true });
    let (_, room) = server.post(&ada, "/rooms", body).await;
    let path = format!("/rooms/{}", room["data"]["id"].as_str().unwrap());
    for user in [&bob, &server.guest().await] {
        assert_eq!(server.get(user, &path).await.0, StatusCode::FORBIDDEN);
        assert_eq!(
            server
                .post(user, &format!("{path}/join"), json!({}))
                .await
                .0,
            StatusCode::FORBIDDEN
        );
        let (_, rooms) = server.get(user, "/rooms").await;
        assert!(!rooms.to_string().contains("Secret"));
    }
}

#[tokio::test]
async fn messages_are_paged_oldest_first() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    let path = format!("/rooms/{room}/messages");
    for n in 1..=5 {
        let (status, message) = server
            .post(&ada, &path, json!({ "content": format!("m{n}") }))
            .await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(
            (&message["data"]["seq"], &message["data"]["type"]),
            (&json!(n), &json!("text"))
        );
        assert_eq!(message["data"]["user"]["username"], "ada");
    }
    let contents = |page: &Value| -> Vec<String> {
        let page = page["data"].as_array().unwrap();
        page.iter()
            .map(|m| m["content"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, latest) = server.get(&ada, &format!("{path}?limit=2")).await;
    assert_eq!(contents(&latest), ["m4", "m5"]);
    let before = latest["data"][0]["id"].as_str().unwrap();
    let (_, page) = server
        .get(&ada, &format!("{path}?limit=2&before_id={before}"))
        .await;
    assert_eq!(contents(&page), ["m2", "m3"]);
    let (_, page) = server.get(&ada, &format!("{path}?after_seq=3")).await;
    assert_eq!(contents(&page), ["m4", "m5"]);
    let (_, page) = server.get(&ada, &format!("{path}?limit=0")).await;
    assert_eq!(contents(&page), ["m5"]);
    for bad in ["limit=x", "before_id=x", "after_seq=1e9"] {
        let (status, answer) = server.get(&ada, &format!("{path}?{bad}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer["error"].is_string());
    }
    let stranger = server.register("bob").await;
    let expected = (StatusCode::FORBIDDEN, error("not a member of this room"));
    assert_eq!(server.get(&stranger, &path).await, expected);
    assert_eq!(
        server
            .post(&stranger, &path, json!({ "content": "hi" }))
            .await,
        expected
    );
}

#[tokio::test]
async fn the_rate_limit_is_shared_by_rest_and_socket() {
    let server = Server::start().await;
    let (guest, mut socket) = {
        let guest = server.guest().await;
        let socket = server.connect(&guest).await;
        (guest, socket)
    };
    let room = server.room(&guest, "lobby").await;
    let topic = format!("room:{room}");
    socket.join(&topic, "1").await;
    for n in 0..5 {
        let body = json!({ "content": format!("rest {n}") });
        let (status, _) = server
            .post(&guest, &format!("/rooms/{room}/messages"), body)
            .await;
        assert_eq!(status, StatusCode::CREATED);
        let reference = format!("p{n}");
        let content = json!({ "content": format!("socket {n}") });
        let reply = socket
            .push(&topic, &reference, "new_message", content)
            .await;
        assert_eq!(reply["status"], "ok", "{reply}");
    }
    let reply = socket
        .push(&topic, "over", "new_message", json!({ "content": "11" }))
        .await;
    assert_eq!(
        (&reply["status"], &reply["response"]["reason"]),
        (&json!("error"), &json!("rate_limited"))
    );
    assert!(reply["response"]["retry_after_ms"].as_u64().unwrap() <= 5_000);
    let (status, answer) = server
        .post(
            &guest,
            &format!("/rooms/{room}/messages"),
            json!({ "content": "12" }),
        )
        .await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::TOO_MANY_REQUESTS, &json!("rate limited"))
    );
    assert!(answer["retry_after_ms"].as_u64().unwrap() <= 5_000);
}

#[tokio::test]
async fn guests_have_names_and_no_rows() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let ada = server.register("ada").await;
    assert!(guest.username.starts_with("guest-"));
    let (_, users) = server.get(&ada, "/users").await;
    assert_eq!(users["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        server.get(&ada, &format!("/users/{}", guest.id)).await.0,
        StatusCode::NOT_FOUND
    );
    let (status, _) = server
        .post(&guest, "/rooms", json!({ "name": "Mine" }))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn guests_are_limited_per_address() {
    let server = Server::start_with(|config| config.auth_per_minute = 3).await;
    for _ in 0..3 {
        server.guest().await;
    }
    let (status, answer) = server.call(Method::POST, "/auth/guest", None, None).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(answer["retry_after_ms"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_pair_has_one_conversation() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let eve = server.register("eve").await;
    let open = async |from: &User, to: &User| {
        let (status, dm) = server.post(from, "/dm", json!({ "user_id": to.id })).await;
        assert_eq!(status, StatusCode::OK, "{dm}");
        dm["data"]["id"].as_str().unwrap().to_owned()
    };
    let dm = open(&ada, &bob).await;
    assert_eq!(open(&bob, &ada).await, dm);
    let mut socket = server.connect(&bob).await;
    socket.join(&format!("dm:{dm}"), "1").await;
    let path = format!("/dm/{dm}/messages");
    let (status, _) = server.post(&ada, &path, json!({ "content": "psst" })).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(socket.expect("new_message").await[4]["content"], "psst");
    assert_eq!(server.get(&eve, &path).await.0, StatusCode::FORBIDDEN);
    let (_, list) = server.get(&bob, "/dm").await;
    assert_eq!(list["data"][0]["id"], json!(dm));
    for (user_id, reason) in [
        (json!(ada.id), "must be another user"),
        (Value::Null, "can't be blank"),
        (json!(""), "can't be blank"),
    ] {
        let (status, answer) = server
            .post(&ada, "/dm", json!({ "user_id": user_id }))
            .await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer, json!({ "errors": { "user_id": [reason] } }));
    }
    let (status, _) = server
        .post(&ada, "/dm", json!({ "user_id": "nobody" }))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // It belongs to both: neither can delete it.
    let (status, _) = server.delete(&ada, &format!("/rooms/{dm}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tenants_see_nothing_of_each_other() {
    let server =
        Server::start_with(|config| config.tenants = vec!["default".into(), "shop".into()]).await;
    let ada = server.register("ada").await;
    server.create_room(&ada, "Engines").await;
    let url = format!("http://{}/api/v1/auth/register", server.address);
    let body = json!({ "username": "ada", "password": "correct horse" });
    let register = |tenant: &str| {
        http::client()
            .post(&url)
            .header("x-tenant", tenant)
            .json(&body)
            .send()
    };
    assert_eq!(
        register("nowhere").await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    let other: Value = register("shop").await.unwrap().json().await.unwrap();
    let token = other["data"]["token"].as_str().unwrap();
    let (_, rooms) = server.call(Method::GET, "/rooms", Some(token), None).await;
    let names: Vec<_> = rooms["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["name"])
        .collect();
    assert_eq!(names, ["lobby"]);
    let path = format!("/users/{}", ada.id);
    let (status, _) = server.call(Method::GET, &path, Some(token), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let lobby = server.room(&ada, "lobby").await;
    let path = format!("/rooms/{lobby}");
    let (status, _) = server.call(Method::GET, &path, Some(token), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn browsers_of_other_sites_may_call_unless_origins_are_listed() {
    let preflight = async |server: &Server| {
        let url = format!("http://{}/api/v1/rooms", server.address);
        let request = http::client()
            .request(Method::OPTIONS, url)
            .header("origin", "https://blog.example")
            .header("access-control-request-method", "GET");
        let response = request.send().await.unwrap();
        let allowed = response.headers().get("access-control-allow-origin");
        allowed.map(|v| v.to_str().unwrap().to_owned())
    };
    let open = Server::start().await;
    assert_eq!(preflight(&open).await.as_deref(), Some("*"));
    let listed =
        Server::start_with(|c| c.allowed_origins = vec!["https://a.example".parse().unwrap()])
            .await;
    assert_eq!(preflight(&listed).await, None);
}

/// A message whose answer was lost and that was sent again was stored twice.
#[tokio::test]
async fn the_same_client_id_of_a_user_is_one_message() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let room = server.room(&guest, "lobby").await;
    let topic = format!("room:{room}");
    let (_, mut watcher) = server.enter(&room).await;
    let mut socket = server.connect(&guest).await;
    socket.join(&topic, "1").await;
    let path = format!("/rooms/{room}/messages");
    let body = json!({ "content": "once", "client_id": "b1946ac9" });
    let (status, first) = server.post(&guest, &path, body.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(first["data"]["client_id"], "b1946ac9");
    let (status, again) = server.post(&guest, &path, body.clone()).await;
    assert_eq!((status, &again), (StatusCode::OK, &first));
    let reply = socket.push(&topic, "2", "new_message", body.clone()).await;
    assert_eq!(reply["response"], first["data"]);
    // The id is the author's own: that of another user, and another id, are other messages.
    let other = server.guest().await;
    let (status, second) = server.post(&other, &path, body).await;
    assert_eq!(
        (status, &second["data"]["seq"]),
        (StatusCode::CREATED, &json!(2))
    );
    let body = json!({ "content": "once", "client_id": "b1946ac8" });
    let reply = socket.push(&topic, "3", "new_message", body).await;
    assert_eq!(reply["response"]["seq"], 3);
    for seq in 1..=3 {
        let message = watcher.expect("new_message").await;
        assert_eq!(message[4]["seq"], seq);
        assert!(message[4]["client_id"].is_string());
    }
    for client_id in [json!(""), json!("x".repeat(65)), json!("line\nbreak")] {
        let body = json!({ "content": "no", "client_id": client_id });
        let (status, answer) = server.post(&other, &path, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer["errors"]["client_id"][0].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn an_owner_that_leaves_and_returns_is_still_its_admin() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    server.delete(&ada, &format!("/rooms/{room}/leave")).await;
    server
        .post(&ada, &format!("/rooms/{room}/join"), json!({}))
        .await;
    let (_, room) = server.get(&ada, &format!("/rooms/{room}")).await;
    assert_eq!(room["data"]["members"][0]["role"], "admin");
}
