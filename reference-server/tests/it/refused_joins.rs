//! Joins that are refused again and again.

use reqwest::StatusCode;
use serde_json::json;
use sqlx::Connection as _;

use crate::support::client::Server;

/// A client that joins again and again costs nothing but the check of its token.
#[tokio::test]
async fn a_refused_join_is_known_until_the_user_is_a_member() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let room = server.create_room(&ada, "Engines").await;
    let topic = format!("room:{room}");
    let mut socket = server.connect(&bob).await;
    let mut join = async || {
        socket.send(json!(["1", "1", topic, "phx_join", {}])).await;
        socket.expect("phx_reply").await[4].clone()
    };
    let refused = json!({ "status": "error", "response": { "reason": "not a member" } });
    assert_eq!(join().await, refused);
    // A membership that the server does not know of: a query would find it.
    let insert =
        "INSERT INTO room_members (room_id, user_id, role, joined_at) VALUES (?, ?, 'member', 0)";
    let path = server.dir().join("headcount.db");
    let mut database = sqlx::SqliteConnection::connect(path.to_str().unwrap())
        .await
        .unwrap();
    let insert = sqlx::query(insert)
        .bind(room.parse::<uuid::Uuid>().unwrap())
        .bind(bob.id.parse::<uuid::Uuid>().unwrap());
    insert.execute(&mut database).await.unwrap();
    assert_eq!(join().await, refused);
    let (status, _) = server
        .post(&bob, &format!("/rooms/{room}/join"), json!({}))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(join().await["status"], "ok");
}

/// What an open room knows of its members is asked of no database, and what it takes from them it knows at once.
#[tokio::test]
async fn a_join_of_an_open_room_costs_no_query_and_one_after_a_leave_is_refused() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let room = server.create_room(&ada, "Engines").await;
    let topic = format!("room:{room}");
    let join = format!("/rooms/{room}/join");
    assert_eq!(server.post(&bob, &join, json!({})).await.0, StatusCode::OK);
    let mut of_ada = server.connect(&ada).await;
    of_ada.join(&topic, "1").await;
    // The server does not know that the memberships are gone: a query would find it.
    let path = server.dir().join("headcount.db");
    let mut database = sqlx::SqliteConnection::connect(path.to_str().unwrap())
        .await
        .unwrap();
    sqlx::query("DELETE FROM room_members")
        .execute(&mut database)
        .await
        .unwrap();
    let mut of_bob = server.connect(&bob).await;
    of_bob.join(&topic, "1").await;
    let rejoined = of_ada.push(&topic, "2", "phx_join", json!({})).await;
    assert_eq!(rejoined["status"], "ok", "{rejoined}");
    assert_eq!(server.post(&bob, &join, json!({})).await.0, StatusCode::OK);
    let leave = format!("/rooms/{room}/leave");
    assert_eq!(server.delete(&bob, &leave).await.0, StatusCode::OK);
    of_bob.expect("phx_close").await;
    of_bob.send(json!(["2", "2", topic, "phx_join", {}])).await;
    let reply = of_bob.reply("2").await;
    assert_eq!(reply[4]["response"]["reason"], "not a member", "{reply}");
    // A guest is in every public room, and a room is no conversation.
    let (_, mut of_guest) = server.enter(&room).await;
    let other = topic.replace("room:", "dm:");
    of_guest
        .send(json!(["2", "2", other, "phx_join", {}]))
        .await;
    let reply = of_guest.reply("2").await;
    assert_eq!(reply[4]["response"]["reason"], "not found", "{reply}");
}
