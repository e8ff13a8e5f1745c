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
