//! Connections that are lost, and users that return.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::{Server, Socket, User};

const LONG: u64 = 600_000;

/// Joins a room under the name of a device. Returns the state that the client is sent.
async fn join(server: &Server, user: &User, room: &str, device: &str) -> (Socket, Value) {
    let query = format!("vsn=2.0.0&token={}&device={device}", user.token);
    let mut socket = server.connect_with(&query, &[]).await.unwrap();
    let topic = format!("room:{room}");
    socket.send(json!(["1", "1", topic, "phx_join", {}])).await;
    let state = socket.expect("presence_state").await;
    (socket, state[4].clone())
}

/// Returns the next diff with `"joins"` or `"leaves"` of a user, past those of others.
async fn diff_with(watcher: &mut Socket, change: &str, user: &User) -> Value {
    loop {
        let diff = watcher.expect("presence_diff").await;
        if diff[4][change][&user.id].is_object() {
            return diff;
        }
    }
}

fn metas<'a>(state: &'a Value, user: &User) -> Option<&'a Vec<Value>> {
    state[&user.id]["metas"].as_array()
}

#[tokio::test]
async fn a_return_within_the_grace_is_no_leave_and_no_join() {
    let server = Server::start_with(|c| c.grace_ms = LONG).await;
    let guest = server.guest().await;
    let room = server.room(&guest, "lobby").await;
    let (mut watcher, _) = join(&server, &server.guest().await, &room, "").await;
    let (socket, first) = join(&server, &guest, &room, "a").await;
    diff_with(&mut watcher, "joins", &guest).await;
    // Another device is another session: it takes nothing over.
    let (other, both) = join(&server, &guest, &room, "b").await;
    assert_eq!(metas(&both, &guest).unwrap().len(), 2);
    socket.drop_abruptly();
    watcher.drain().await;
    let (mut socket, back) = join(&server, &guest, &room, "a").await;
    let first_meta = &metas(&first, &guest).unwrap()[0];
    let back = metas(&back, &guest).unwrap();
    assert!(back.len() == 2 && back.contains(first_meta), "{back:?}");
    // A page that is reloaded closes with 1001.
    assert!(socket.close(Some(1001)).await.is_some());
    let (mut socket, again) = join(&server, &guest, &room, "a").await;
    assert!(metas(&again, &guest).unwrap().contains(first_meta));
    let diffs = watcher.drain().await;
    assert!(
        diffs.iter().all(|frame| frame[3] != "presence_diff"),
        "{diffs:?}"
    );

    drop(other);
    socket
        .send(json!(["1", "2", format!("room:{room}"), "phx_leave", {}]))
        .await;
    let diff = diff_with(&mut watcher, "leaves", &guest).await;
    assert_eq!(&diff[4]["leaves"][&guest.id]["metas"][0], first_meta);
}

#[tokio::test]
async fn a_close_with_1000_is_a_leave() {
    let server = Server::start_with(|c| c.grace_ms = LONG).await;
    let guest = server.guest().await;
    let room = server.room(&guest, "lobby").await;
    let (mut watcher, _) = join(&server, &server.guest().await, &room, "").await;
    let (mut socket, _) = join(&server, &guest, &room, "a").await;
    diff_with(&mut watcher, "joins", &guest).await;
    socket.close(Some(1000)).await;
    diff_with(&mut watcher, "leaves", &guest).await;
}

/// Lets a member of a room lose its connection, while another user watches. Returns the member, the room and the other.
async fn lost_member(server: &Server) -> (User, String, Socket) {
    let ada = server.register("ada").await;
    let room = server.room(&ada, "lobby").await;
    server
        .post(&ada, &format!("/rooms/{room}/join"), json!({}))
        .await;
    let (mut watcher, _) = join(server, &server.guest().await, &room, "").await;
    let (socket, _) = join(server, &ada, &room, "a").await;
    diff_with(&mut watcher, "joins", &ada).await;
    socket.drop_abruptly();
    (ada, room, watcher)
}

#[tokio::test]
async fn after_the_grace_the_user_has_left() {
    let server = Server::start_with(|c| c.grace_ms = 1).await;
    let (ada, _, mut watcher) = lost_member(&server).await;
    diff_with(&mut watcher, "leaves", &ada).await;
}

#[tokio::test]
async fn a_user_who_hides_is_not_shown_by_a_lost_session() {
    let server = Server::start_with(|c| c.grace_ms = LONG).await;
    let (ada, room, mut watcher) = lost_member(&server).await;
    watcher.drain().await;
    let hidden = Some(json!({ "status": "invisible" }));
    let (status, answer) = server
        .call(Method::PUT, "/auth/status", Some(&ada.token), hidden)
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    diff_with(&mut watcher, "leaves", &ada).await;
    let (_, back) = join(&server, &ada, &room, "a").await;
    assert!(metas(&back, &ada).is_none(), "{back}");
}

#[tokio::test]
async fn who_is_turned_out_or_loses_the_membership_has_no_grace() {
    let server = Server::start_with(|c| c.grace_ms = LONG).await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let room = server.room(&ada, "lobby").await;
    let (mut watcher, _) = join(&server, &server.guest().await, &room, "").await;
    for user in [&ada, &bob] {
        server
            .post(user, &format!("/rooms/{room}/join"), json!({}))
            .await;
        let (socket, _) = join(&server, user, &room, "a").await;
        diff_with(&mut watcher, "joins", user).await;
        if user.id == ada.id {
            server.delete(user, "/auth/logout").await;
        } else {
            socket.drop_abruptly();
            assert!(watcher.drain().await.is_empty());
            server.delete(user, &format!("/rooms/{room}/leave")).await;
        }
        diff_with(&mut watcher, "leaves", user).await;
    }
}
