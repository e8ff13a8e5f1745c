//! Messages that are edited and deleted.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::{Server, User, error};

async fn patch(server: &Server, user: &User, id: &str, content: &str) -> (StatusCode, Value) {
    let path = format!("/messages/{id}");
    let body = json!({ "content": content });
    server
        .call(Method::PATCH, &path, Some(&user.token), Some(body))
        .await
}

async fn post(server: &Server, user: &User, room: &str, content: &str) -> Value {
    let path = format!("/rooms/{room}/messages");
    let (status, answer) = server
        .post(user, &path, json!({ "content": content }))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["data"].clone()
}

fn id_of(message: &Value) -> &str {
    message["id"].as_str().unwrap()
}

#[tokio::test]
async fn an_author_edits_and_deletes_and_all_are_told() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    let (_, mut listener) = server.enter(&room).await;
    let message = post(&server, &ada, &room, "frist").await;
    let id = id_of(&message);
    let (status, edited) = patch(&server, &ada, id, "first").await;
    assert_eq!(
        (status, &edited["data"]["content"], &edited["data"]["seq"]),
        (StatusCode::OK, &json!("first"), &json!(1))
    );
    let frame = listener.expect("message_updated").await;
    let expected = json!({
        "id": id, "seq": 1, "content": "first", "edited_at": edited["data"]["edited_at"]
    });
    assert_eq!(frame[4], expected);
    assert!(frame[4]["edited_at"].as_str().unwrap().ends_with('Z'));

    let mut joined = server.connect(&ada).await;
    joined
        .send(json!(["1", "1", format!("room:{room}"), "phx_join", {}]))
        .await;
    let history = joined.expect("message_history").await;
    assert_eq!(history[4]["messages"][0]["content"], "first");
    assert_eq!(
        history[4]["messages"][0]["edited_at"],
        frame[4]["edited_at"]
    );

    let (status, gone) = server.delete(&ada, &format!("/messages/{id}")).await;
    assert_eq!(
        (status, &gone["data"]["content"], &gone["data"]["deleted"]),
        (StatusCode::OK, &json!(""), &json!(true))
    );
    let frame = listener.expect("message_deleted").await;
    assert_eq!(frame[4], json!({ "id": id, "seq": 1 }));
    // The row and its number stay.
    let second = post(&server, &ada, &room, "second").await;
    assert_eq!(second["seq"], 2);
    let server = Server::start_in(server.stop().await, |_| {}).await;
    let (_, page) = server.get(&ada, &format!("/rooms/{room}/messages")).await;
    let page = page["data"].as_array().unwrap();
    assert_eq!((page.len(), &page[0]["deleted"]), (2, &json!(true)));
    assert_eq!(page[0]["content"], "");
    for answer in [
        patch(&server, &ada, id, "again").await,
        server.delete(&ada, &format!("/messages/{id}")).await,
    ] {
        assert_eq!(answer, (StatusCode::NOT_FOUND, error("no such message")));
    }
}

#[tokio::test]
async fn others_may_not_unless_they_are_admins_of_the_room() {
    let server = Server::start_with(|c| c.tenants = vec!["default".into(), "other".into()]).await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let room = server.create_room(&ada, "Engines").await;
    server
        .post(&bob, &format!("/rooms/{room}/join"), json!({}))
        .await;
    let of_ada = post(&server, &ada, &room, "mine").await;
    let of_bob = post(&server, &bob, &room, "his").await;
    let guest = server.guest().await;
    for other in [&bob, &guest] {
        let refused = patch(&server, other, id_of(&of_ada), "yours").await;
        assert_eq!(refused, (StatusCode::FORBIDDEN, error("not your message")));
        let path = format!("/messages/{}", id_of(&of_ada));
        let refused = server.delete(other, &path).await;
        assert_eq!(refused, (StatusCode::FORBIDDEN, error("not your message")));
    }
    let (status, _) = server
        .delete(&ada, &format!("/messages/{}", id_of(&of_bob)))
        .await;
    assert_eq!(status, StatusCode::OK);

    // What the caller cannot read does not exist: in a private room, of another tenant, no id at all.
    let body = json!({ "name": "Cellar", "private": true });
    let (_, cellar) = server.post(&ada, "/rooms", body).await;
    let hidden = post(
        &server,
        &ada,
        cellar["data"]["id"].as_str().unwrap(),
        "hidden",
    )
    .await;
    let body = json!({ "username": "eve", "password": "correct horse" });
    let (_, eve) = server
        .call(
            Method::POST,
            "/auth/register?tenant=other",
            None,
            Some(body),
        )
        .await;
    let eve = User::new(&eve);
    let none = (StatusCode::NOT_FOUND, error("no such message"));
    assert_eq!(patch(&server, &bob, id_of(&hidden), "x").await, none);
    assert_eq!(patch(&server, &eve, id_of(&of_ada), "x").await, none);
    assert_eq!(patch(&server, &bob, "nonsense", "x").await, none);
    let (status, answer) = patch(&server, &ada, id_of(&of_ada), " ").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer["errors"]["content"].is_array(), "{answer}");
}

#[tokio::test]
async fn edits_over_the_socket_count_for_the_rate_of_messages() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    let topic = format!("room:{room}");
    let mut socket = server.connect(&ada).await;
    socket.join(&topic, "1").await;
    let posted = socket
        .push(&topic, "2", "new_message", json!({ "content": "one" }))
        .await;
    let id = posted["response"]["id"].clone();
    for n in 0..9 {
        let edit = json!({ "id": id, "content": format!("edit {n}") });
        let reply = socket
            .push(&topic, &format!("e{n}"), "edit_message", edit)
            .await;
        assert_eq!(reply["response"]["content"], format!("edit {n}"), "{reply}");
    }
    let edit = json!({ "id": id, "content": "too much" });
    let reply = socket.push(&topic, "3", "edit_message", edit).await;
    assert_eq!(reply["response"]["reason"], "rate_limited");
    let reply = socket
        .push(&topic, "4", "delete_message", json!({ "id": id }))
        .await;
    assert_eq!(reply["status"], "ok", "{reply}");
    for (payload, reason) in [
        (json!({ "id": id }), "not found"),
        (json!({ "id": 5 }), "invalid payload"),
        (json!([]), "invalid payload"),
    ] {
        let reply = socket.push(&topic, "5", "delete_message", payload).await;
        assert_eq!(reply["response"]["reason"], reason);
    }
}
