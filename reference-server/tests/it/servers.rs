//! Servers, their categories and their rooms.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::client::{Server, User, error};

async fn made(server: &Server, user: &User, path: &str, body: Value) -> Value {
    let (status, answer) = server.post(user, path, body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["data"].clone()
}

fn id_of(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

fn names(answer: &Value) -> Vec<&str> {
    let list = answer["data"].as_array().unwrap().iter();
    list.map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn rooms_lie_on_servers_in_categories() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
    let (_, servers) = server.get(&bob, "/servers").await;
    assert_eq!(names(&servers), ["main", "Guild"]);
    assert_eq!(servers["data"][0]["is_default"], true);
    let at = |rest: &str| format!("/servers/{}/{rest}", id_of(&guild));
    let craft = made(&server, &ada, &at("categories"), json!({ "name": "Craft" })).await;
    let body = json!({ "name": "lobby", "category_id": craft["id"] });
    let room = made(&server, &ada, &at("rooms"), body).await;
    assert_eq!(
        (&room["server_id"], &room["category_id"]),
        (&guild["id"], &craft["id"])
    );
    // Another server has a lobby of its own.
    let (_, rooms) = server.get(&bob, &at("rooms")).await;
    assert_eq!(names(&rooms), ["lobby"]);
    assert_eq!(rooms["data"][0]["id"], room["id"]);
    let (_, flat) = server.get(&bob, "/rooms").await;
    assert_eq!(names(&flat), ["lobby"]);
    assert_ne!(flat["data"][0]["id"], room["id"]);
    let (_, categories) = server.get(&bob, &at("categories")).await;
    assert_eq!(names(&categories), ["Craft"]);

    let gone = server
        .delete(&ada, &format!("/categories/{}", id_of(&craft)))
        .await;
    assert_eq!(gone.0, StatusCode::OK);
    let (_, rooms) = server.get(&bob, &at("rooms")).await;
    assert_eq!(rooms["data"][0]["category_id"], Value::Null);
}

#[tokio::test]
async fn users_list_the_rooms_of_all_servers_that_they_have_joined() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let mut joined = Vec::new();
    for name in ["Guild", "Mill"] {
        let guild = made(&server, &ada, "/servers", json!({ "name": name })).await;
        for name in ["loom", "dye"] {
            let path = format!("/servers/{}/rooms", id_of(&guild));
            joined.push(made(&server, &ada, &path, json!({ "name": name })).await);
        }
    }
    let (_, of_bob) = server.get(&bob, "/rooms/joined").await;
    assert_eq!(of_bob["data"], json!([]));
    for room in &joined[..3] {
        let join = format!("/rooms/{}/join", id_of(room));
        assert_eq!(server.post(&bob, &join, json!({})).await.0, StatusCode::OK);
    }
    let posted = format!("/rooms/{}/messages", id_of(&joined[2]));
    made(&server, &ada, &posted, json!({ "content": "look, @bob" })).await;

    let (_, first) = server.get(&bob, "/rooms/joined?limit=2").await;
    assert_eq!(names(&first), ["loom", "dye"]);
    let rest = format!("/rooms/joined?limit=2&after={}", id_of(&joined[1]));
    let (_, rest) = server.get(&bob, &rest).await;
    assert_eq!(names(&rest), ["loom"]);
    let room = &rest["data"][0];
    assert_eq!(
        (&room["id"], &room["server_id"]),
        (&joined[2]["id"], &joined[2]["server_id"])
    );
    let counted = [&room["last_seq"], &room["read_seq"], &room["mentions"]];
    assert_eq!(counted, [1, 0, 1]);

    // Neither a room that it has left nor one of a server that is gone.
    let leave = format!("/rooms/{}/leave", id_of(&joined[0]));
    assert_eq!(server.delete(&bob, &leave).await.0, StatusCode::OK);
    let mill = format!("/servers/{}", joined[2]["server_id"].as_str().unwrap());
    assert_eq!(server.delete(&ada, &mill).await.0, StatusCode::OK);
    let (_, left) = server.get(&bob, "/rooms/joined").await;
    assert_eq!(names(&left), ["dye"]);
}

#[tokio::test]
async fn only_the_owner_changes_a_server() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
    let at = |rest: &str| format!("/servers/{}{rest}", id_of(&guild));
    let (_, servers) = server.get(&ada, "/servers").await;
    let main = id_of(&servers["data"][0]).to_owned();
    let craft = made(
        &server,
        &ada,
        &at("/categories"),
        json!({ "name": "Craft" }),
    )
    .await;
    let name = json!({ "name": "x" });
    let refused = (
        StatusCode::FORBIDDEN,
        error("only the owner of the server does that"),
    );
    for path in [
        at("/rooms"),
        at("/categories"),
        format!("/servers/{main}/categories"),
    ] {
        assert_eq!(
            server.post(&bob, &path, name.clone()).await,
            refused,
            "{path}"
        );
    }
    assert_eq!(server.delete(&bob, &at("")).await, refused);
    assert_eq!(
        server.delete(&ada, &format!("/servers/{main}")).await,
        refused
    );
    let craft = format!("/categories/{}", id_of(&craft));
    assert_eq!(server.delete(&bob, &craft).await, refused);
    let guest = server.guest().await;
    assert_eq!(
        server.post(&guest, "/servers", name.clone()).await.0,
        StatusCode::FORBIDDEN
    );
    for (path, body, field) in [
        ("/servers".to_owned(), json!({ "name": " GUILD" }), "name"),
        ("/servers".to_owned(), json!({}), "name"),
        (at("/categories"), json!({ "name": "craft" }), "name"),
        (
            at("/rooms"),
            json!({ "name": "y", "category_id": main }),
            "category_id",
        ),
    ] {
        let (status, answer) = server.post(&ada, &path, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert!(answer["errors"][field].is_array(), "{answer}");
    }
    let none = (StatusCode::NOT_FOUND, error("no such server"));
    assert_eq!(server.get(&ada, "/servers/nonsense/rooms").await, none);
}

#[tokio::test]
async fn a_deleted_server_takes_its_rooms_along() {
    let server = Server::start_with(|c| c.tenants = vec!["default".into(), "other".into()]).await;
    let ada = server.register("ada").await;
    let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
    let at = format!("/servers/{}", id_of(&guild));
    let room = made(
        &server,
        &ada,
        &format!("{at}/rooms"),
        json!({ "name": "hall" }),
    )
    .await;
    let (_, mut socket) = server.enter(id_of(&room)).await;
    let body = json!({ "username": "eve", "password": "correct horse" });
    let path = "/auth/register?tenant=other";
    let (_, eve) = server
        .call(reqwest::Method::POST, path, None, Some(body))
        .await;
    let none = (StatusCode::NOT_FOUND, error("no such server"));
    assert_eq!(
        server.get(&User::new(&eve), &format!("{at}/rooms")).await,
        none
    );
    assert_eq!(server.delete(&ada, &at).await.0, StatusCode::OK);
    socket.expect("phx_close").await;
    let path = format!("/rooms/{}", id_of(&room));
    assert_eq!(server.get(&ada, &path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(names(&server.get(&ada, "/servers").await.1), ["main"]);
    // Its name is free again.
    made(&server, &ada, "/servers", json!({ "name": "guild" })).await;
}
