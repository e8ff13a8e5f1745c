//! Rooms with very many stored members cost the others nothing.

use std::{cell::RefCell, path::Path, time::Duration};

use reqwest::StatusCode;
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::client::Server;

const MEMBERS: i64 = 40_000;

/// Stores users, all of them members of the room of that name.
const FILL: &str = "
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
    INSERT INTO users (id, tenant, username, skeleton, password_hash, inserted_at)
    SELECT randomblob(16), 'default', 'user ' || i, 'user ' || i, 'x', 0 FROM n;
    INSERT INTO room_members (room_id, user_id, role, joined_at)
    SELECT r.id, u.id, 'member', 0 FROM users u, rooms r
    WHERE u.username LIKE 'user %' AND r.name = 'big';";

async fn run(dir: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(dir.join("headcount.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Counts the stored members of all rooms.
async fn members(dir: &Path) -> i64 {
    let options = SqliteConnectOptions::new().filename(dir.join("headcount.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let count = sqlx::query_scalar("SELECT count(*) FROM room_members");
    count.fetch_one(&mut connection).await.unwrap()
}

/// The first join of a big room kept all others from joining any room.
#[tokio::test]
async fn a_big_room_that_opens_keeps_no_other_waiting() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let big = format!("room:{}", server.create_room(&ada, "big").await);
    let small = format!("room:{}", server.create_room(&ada, "small").await);
    run(server.dir(), FILL).await;
    let mut first = server.connect(&ada).await;
    let mut second = server.connect(&ada).await;
    let answered = RefCell::new(Vec::new());
    let opening = async {
        first.join(&big, "1").await;
        answered.borrow_mut().push("big");
    };
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        second.join(&small, "1").await;
        answered.borrow_mut().push("small");
    };
    tokio::join!(opening, meanwhile);
    assert_eq!(answered.into_inner(), ["small", "big"]);
    let window = json!({ "window": "c:399" });
    let opened = first.push(&big, "2", "member_list_open", window).await;
    assert_eq!(opened["status"], "ok");
    let (status, room) = server.get(&ada, &format!("/rooms/{}", &big[5..])).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(room["data"]["member_count"], MEMBERS + 1);
}

#[tokio::test]
async fn the_number_of_members_follows_every_change() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let room = server.create_room(&ada, "Engines").await;
    let path = format!("/rooms/{room}");
    let join = format!("{path}/join");
    let leave = format!("{path}/leave");
    let count = async || {
        let (_, room) = server.get(&ada, &path).await;
        let (_, rooms) = server.get(&ada, "/rooms").await;
        let count = room["data"]["member_count"].clone();
        assert_eq!(rooms["data"][1]["member_count"], count);
        count
    };
    assert_eq!(count().await, 1);
    for _ in 0..2 {
        server.post(&bob, &join, json!({})).await;
        assert_eq!(count().await, 2);
    }
    for _ in 0..2 {
        server.delete(&bob, &leave).await;
        assert_eq!(count().await, 1);
    }
}

/// The deletion of a big room kept all others from writing.
#[tokio::test]
async fn a_big_room_that_is_deleted_keeps_no_other_waiting() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let big = server.create_room(&ada, "big").await;
    let small = server.create_room(&ada, "small").await;
    run(server.dir(), FILL).await;
    let answered = RefCell::new(Vec::new());
    let deletion = async {
        let (status, _) = server.delete(&ada, &format!("/rooms/{big}")).await;
        assert_eq!(status, StatusCode::OK);
        answered.borrow_mut().push("deletion");
    };
    let post = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let path = format!("/rooms/{small}/messages");
        let (status, _) = server.post(&ada, &path, json!({ "content": "hi" })).await;
        assert_eq!(status, StatusCode::CREATED);
        answered.borrow_mut().push("post");
    };
    tokio::join!(deletion, post);
    assert_eq!(answered.into_inner(), ["post", "deletion"]);
    assert_eq!(members(server.dir()).await, 1);
    let (status, _) = server.get(&ada, &format!("/rooms/{big}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

/// A stop in the middle of a deletion: the room is deleted, and what is left of it is removed at the start.
#[tokio::test]
async fn what_is_left_of_a_deleted_room_is_removed() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "half deleted").await;
    let dir = server.stop().await;
    run(
        dir.path(),
        "UPDATE rooms SET kind = 'deleted' WHERE name = 'half deleted'",
    )
    .await;
    let server = Server::start_in(dir, |_| {}).await;
    let (status, _) = server.get(&ada, &format!("/rooms/{room}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(members(server.dir()).await, 0);
    server.create_room(&ada, "half deleted").await;
}
