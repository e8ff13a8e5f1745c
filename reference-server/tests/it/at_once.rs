//! Requests that come at once: each ends, and what one ends the other does not continue.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::{
    roles::{made, put, text},
    support::client::{Server, User},
};

const ROUNDS: usize = 20;
const PASSWORD: &str = "correct horse";

/// The second of two deletions wrote to the database without end.
#[tokio::test]
async fn a_server_is_deleted_once() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    for _ in 0..ROUNDS {
        let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
        let path = format!("/servers/{}", text(&guild["id"]));
        let rooms = format!("{path}/rooms");
        made(&server, &ada, &rooms, json!({ "name": "hall" })).await;
        let both = tokio::join!(server.delete(&ada, &path), server.delete(&ada, &path));
        let mut statuses = [both.0.0, both.1.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [StatusCode::OK, StatusCode::NOT_FOUND]);
    }
}

/// A room whose category went, and a role or a category whose server went, were a fault of the storage.
#[tokio::test]
async fn what_is_added_to_something_that_goes_is_refused() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    for round in 0..ROUNDS {
        let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
        let at = |rest: &str| format!("/servers/{}{rest}", text(&guild["id"]));
        let craft = made(
            &server,
            &ada,
            &at("/categories"),
            json!({ "name": "Craft" }),
        )
        .await;
        let category = format!("/categories/{}", text(&craft["id"]));
        let room = json!({ "name": format!("r{round}"), "category_id": craft["id"] });
        let rooms = at("/rooms");
        let (_, (status, answer)) = tokio::join!(
            server.delete(&ada, &category),
            server.post(&ada, &rooms, room)
        );
        let right = [StatusCode::CREATED, StatusCode::UNPROCESSABLE_ENTITY];
        assert!(right.contains(&status), "{status} {answer}");
        let of_server = [at("/roles"), at("/categories"), at("/rooms")];
        let name = json!({ "name": "x" });
        let added = of_server
            .iter()
            .map(|path| server.post(&ada, path, name.clone()));
        let guild = at("");
        let (_, added) = tokio::join!(server.delete(&ada, &guild), join_all(added));
        for (status, answer) in added {
            let right = [StatusCode::CREATED, StatusCode::NOT_FOUND];
            assert!(right.contains(&status), "{status} {answer}");
        }
        // The rate of changes is no matter here.
        if round % 10 == 9 {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }
}

async fn log_in(server: &Server, password: &str) -> Option<User> {
    let body = json!({ "username": "ada", "password": password });
    let answer = server.call(Method::POST, "/auth/login", None, Some(body));
    let (status, answer) = answer.await;
    (status == StatusCode::OK).then(|| User::new(&answer))
}

/// Those whose password was being checked stayed signed in with the old one.
#[tokio::test]
async fn a_change_of_the_password_ends_the_sign_ins_under_way() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let is_changed = AtomicBool::new(false);
    let sign_in = async || {
        let mut users = Vec::new();
        while !is_changed.load(Ordering::Acquire) {
            users.extend(log_in(&server, PASSWORD).await);
        }
        users
    };
    let change = async {
        let body = json!({ "password": PASSWORD, "new_password": "battery staple" });
        let answer = server.post(&ada, "/auth/password", body).await;
        is_changed.store(true, Ordering::Release);
        answer
    };
    let (users, (status, changed)) = tokio::join!(join_all((0..6).map(|_| sign_in())), change);
    assert_eq!(status, StatusCode::OK, "{changed}");
    for user in users.iter().flatten() {
        let (status, _) = server.get(user, "/auth/me").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    for user in [
        User::new(&changed),
        log_in(&server, "battery staple").await.unwrap(),
    ] {
        assert_eq!(server.get(&user, "/auth/me").await.0, StatusCode::OK);
    }
}

/// A socket took a token that was being revoked, and outlived it.
#[tokio::test]
async fn a_token_that_is_revoked_while_a_socket_takes_it_ends_the_socket() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    for _ in 0..ROUNDS {
        let other = log_in(&server, PASSWORD).await.unwrap();
        let mut socket = server.connect(&ada).await;
        let renewal = json!({ "token": other.token });
        let (ended, reply) = tokio::join!(server.delete(&other, "/auth/logout"), async {
            let push = json!([null, "1", "phoenix", "access_token", renewal]);
            socket.send(push).await;
            socket.next_or_end().await
        });
        assert_eq!(ended.0, StatusCode::OK);
        let Some(reply) = reply else {
            continue;
        };
        if reply[4]["status"] == "error" {
            assert_eq!(reply[4]["response"]["reason"], "invalid token", "{reply}");
        } else {
            socket.closed().await;
        }
    }
}

/// They were stored if they were checked before the membership ended.
#[tokio::test]
async fn a_message_is_stored_only_while_its_author_is_within_the_room() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let room = server.create_room(&ada, "Engines").await;
    let topic = format!("room:{room}");
    let join = format!("/rooms/{room}/join");
    assert_eq!(server.post(&bob, &join, json!({})).await.0, StatusCode::OK);
    let mut of_bob = server.connect(&bob).await;
    of_bob.join(&topic, "1").await;
    let (_, mut of_guest) = server.enter(&room).await;
    let mut number = 1;
    let mut post = async |socket: &mut crate::support::client::Socket| {
        number += 1;
        let body = json!({ "content": "hello" });
        let event = "new_message";
        socket.push(&topic, &number.to_string(), event, body).await
    };
    assert_eq!(post(&mut of_bob).await["status"], "ok");
    assert_eq!(post(&mut of_guest).await["status"], "ok");
    // The server does not know of it: their channels are still open.
    let path = server.dir().join("headcount.db");
    let mut database = sqlx::SqliteConnection::connect(path.to_str().unwrap())
        .await
        .unwrap();
    let refused = json!({
        "status": "error", "response": { "reason": "not a member of this room" }
    });
    sqlx::query("UPDATE rooms SET limited = 1")
        .execute(&mut database)
        .await
        .unwrap();
    assert_eq!(post(&mut of_bob).await, refused);
    assert_eq!(post(&mut of_guest).await, refused);
    for change in ["UPDATE rooms SET limited = 0", "DELETE FROM room_members"] {
        sqlx::query(change).execute(&mut database).await.unwrap();
    }
    assert_eq!(post(&mut of_bob).await, refused);
    assert_eq!(post(&mut of_guest).await["status"], "ok");
    let (_, shown) = server.get(&ada, &format!("/rooms/{room}")).await;
    assert_eq!(shown["data"]["last_seq"], 3);
}

/// A guest who tried again was refused for as long as it did.
#[tokio::test]
async fn a_room_that_is_opened_admits_those_at_once_whom_it_refused() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
    let at = |rest: &str| format!("/servers/{}/{rest}", text(&guild["id"]));
    let crew = made(&server, &ada, &at("roles"), json!({ "name": "Crew" })).await;
    let hall = made(&server, &ada, &at("rooms"), json!({ "name": "hall" })).await;
    let limit = format!("/rooms/{}/roles", text(&hall["id"]));
    let guest = server.guest().await;
    let mut socket = server.connect(&guest).await;
    let topic = format!("room:{}", text(&hall["id"]));
    let to = |roles: &[&Value]| json!({ "role_ids": roles });
    let limited = put(&server, &ada, &limit, to(&[&crew["id"]])).await;
    assert_eq!(limited.0, StatusCode::OK);
    let refused = socket.push(&topic, "1", "phx_join", json!({})).await;
    assert_eq!(refused["response"]["reason"], "not a member");
    assert_eq!(put(&server, &ada, &limit, to(&[])).await.0, StatusCode::OK);
    let joined = socket.push(&topic, "2", "phx_join", json!({})).await;
    assert_eq!(joined["status"], "ok", "{joined}");
}
