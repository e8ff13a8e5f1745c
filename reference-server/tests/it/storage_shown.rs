//! Changes that are stored, and cannot be shown because the database does not answer for that: they are answered as
//! stored, and shown later.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    people::listen,
    roles::{made, put, text},
    storage::run,
    support::client::{Server, Socket},
};

#[tokio::test]
async fn a_first_direct_message_is_answered_and_announced_later() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let mut of_bob = listen(&server, &bob).await;
    let (_, dm) = server.post(&ada, "/dm", json!({ "user_id": bob.id })).await;
    let topic = format!("dm:{}", text(&dm["data"]["id"]));
    let mut of_ada = server.connect(&ada).await;
    of_ada.join(&topic, "1").await;
    run(server.dir(), "ALTER TABLE users RENAME TO away;").await;
    let message = json!({ "content": "hello" });
    let reply = of_ada.push(&topic, "2", "new_message", message).await;
    assert_eq!(reply["status"], "ok", "{reply}");
    assert_eq!(reply["response"]["seq"], 1);
    run(server.dir(), "ALTER TABLE away RENAME TO users;").await;
    let told = of_bob.expect("dm_started").await;
    assert_eq!(told[4]["dm"]["last_message"]["content"], "hello");
}

/// Once roles are ordered, one is given, or a conversation is begun, what is to be answered cannot be read.
const ANSWERS_SPOIL: &str = "
    CREATE TRIGGER spoil AFTER UPDATE ON roles BEGIN
        INSERT OR IGNORE INTO roles VALUES (x'00', NEW.server_id, 'x', 'x', '', 0, 9, 0);
    END;
    CREATE TRIGGER spoil_gift AFTER INSERT ON role_holders BEGIN
        UPDATE roles SET name = CAST(x'ff' AS TEXT) WHERE id = NEW.role_id;
    END;
    CREATE TRIGGER spoil_dm AFTER INSERT ON rooms WHEN NEW.kind = 'dm' BEGIN
        UPDATE rooms SET name = CAST(x'ff' AS TEXT) WHERE id = NEW.id;
    END;";
const MEND_ANSWERS: &str = "DROP TRIGGER spoil; DROP TRIGGER spoil_gift; DROP TRIGGER spoil_dm;";

/// They were answered as failures, and stored.
#[tokio::test]
async fn what_cannot_be_answered_is_not_stored() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
    let roles = format!("/servers/{}/roles", text(&guild["id"]));
    let crew = made(&server, &ada, &roles, json!({ "name": "Crew" })).await;
    let mates = made(&server, &ada, &roles, json!({ "name": "Mates" })).await;
    let order = json!({ "role_ids": [mates["id"], crew["id"]] });
    let held = format!("/servers/{}/members/{}/roles", text(&guild["id"]), bob.id);
    let gift = format!("{held}/{}", text(&crew["id"]));
    let with_bob = json!({ "user_id": bob.id });

    run(server.dir(), ANSWERS_SPOIL).await;
    for (path, body) in [(&roles, order.clone()), (&gift, json!({}))] {
        let (status, answer) = put(&server, &ada, path, body).await;
        assert!(status.is_server_error(), "{path}: {status} {answer}");
    }
    let (status, _) = server.post(&ada, "/dm", with_bob.clone()).await;
    assert!(status.is_server_error(), "{status}");
    run(server.dir(), MEND_ANSWERS).await;
    let (_, stored) = server.get(&ada, &roles).await;
    assert_eq!(stored["data"][0]["name"], "Crew", "{stored}");
    assert_eq!(server.get(&ada, &held).await.1, json!({ "data": [] }));
    assert_eq!(server.get(&ada, "/dm").await.1, json!({ "data": [] }));

    let (status, ordered) = put(&server, &ada, &roles, order).await;
    assert_eq!(
        (status, &ordered["data"][0]["name"]),
        (StatusCode::OK, &json!("Mates"))
    );
    let (status, given) = put(&server, &ada, &gift, json!({})).await;
    assert_eq!(
        (status, &given["data"][0]["name"]),
        (StatusCode::OK, &json!("Crew"))
    );
    let (status, dm) = server.post(&ada, "/dm", with_bob).await;
    assert_eq!(
        (status, &dm["data"]["peer"]["username"]),
        (StatusCode::OK, &json!("bob"))
    );
}

/// Once a user has joined a room, it has a role that cannot be read.
const JOINS_SPOIL: &str = "
    CREATE TRIGGER spoil AFTER INSERT ON room_members BEGIN
        INSERT INTO roles SELECT x'00', server_id, 'x', 'x', '', 0, 9, 0 FROM rooms WHERE id = NEW.room_id;
        INSERT INTO role_holders VALUES (x'00', NEW.user_id);
    END;";
/// Once a role is made, or deleted, its server has one that cannot be read.
const ROLES_SPOIL: &str = "
    CREATE TRIGGER spoil AFTER INSERT ON roles BEGIN
        INSERT INTO roles VALUES (x'00', NEW.server_id, 'x', 'x', '', 0, 9, 0);
    END;";
const DELETIONS_SPOIL: &str = "
    CREATE TRIGGER spoil AFTER DELETE ON roles WHEN OLD.skeleton <> 'x' BEGIN
        INSERT INTO roles VALUES (x'00', OLD.server_id, 'x', 'x', '', 0, 9, 0);
    END;";
const MEND: &str = "DROP TRIGGER spoil; DELETE FROM roles WHERE id = x'00';";

/// Waits until the member list of a room has a user of that name.
async fn finds(socket: &mut Socket, topic: &str, name: &str) {
    loop {
        let asked = json!({ "prefix": name });
        let reply = socket.push(topic, "find", "member_list_find", asked).await;
        if !reply["response"]["matches"][0].is_null() {
            return;
        }
        sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn a_join_is_answered_and_shown_later() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let room = server.create_room(&ada, "Engines").await;
    let topic = format!("room:{room}");
    let mut of_ada = server.connect(&ada).await;
    of_ada.join(&topic, "1").await;
    run(server.dir(), JOINS_SPOIL).await;
    let join = format!("/rooms/{room}/join");
    let (status, answer) = server.post(&bob, &join, json!({})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    run(server.dir(), MEND).await;
    finds(&mut of_ada, &topic, "bob").await;
}

/// A role that was made, but answered as a failure, could not be made again; one that was deleted left its users in
/// the rooms that it had admitted them to.
#[tokio::test]
async fn roles_are_made_and_deleted_and_what_follows_comes_later() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
    let at = format!("/servers/{}", text(&guild["id"]));
    let rooms = format!("{at}/rooms");
    let hall = made(&server, &ada, &rooms, json!({ "name": "Hall" })).await;
    let room = format!("/rooms/{}", text(&hall["id"]));
    run(server.dir(), ROLES_SPOIL).await;
    let roles = format!("{at}/roles");
    let crew = made(&server, &ada, &roles, json!({ "name": "Crew" })).await;
    run(server.dir(), MEND).await;

    let role = text(&crew["id"]);
    let holding = format!("{at}/members/{}/roles/{role}", bob.id);
    assert_eq!(put(&server, &ada, &holding, json!({})).await.0, 200);
    let limit = json!({ "role_ids": [role] });
    let limited = put(&server, &ada, &format!("{room}/roles"), limit).await;
    assert_eq!(limited.0, 200);
    let joined = server.post(&bob, &format!("{room}/join"), json!({})).await;
    assert_eq!(joined.0, 200);
    let mut of_bob = listen(&server, &bob).await;
    run(server.dir(), DELETIONS_SPOIL).await;
    let (status, answer) = server.delete(&ada, &format!("{roles}/{role}")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    run(server.dir(), MEND).await;
    let removed = of_bob.expect("room_removed").await;
    assert_eq!(removed[4]["id"], hall["id"]);
}
