//! Roles of a server, and rooms that are limited to them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::{Server, Socket, User, error};

pub(crate) async fn made(server: &Server, user: &User, path: &str, body: Value) -> Value {
    let (status, answer) = server.post(user, path, body).await;
    assert_eq!(status, StatusCode::CREATED, "{path}: {answer}");
    answer["data"].clone()
}

pub(crate) async fn put(
    server: &Server,
    user: &User,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    server
        .call(Method::PUT, path, Some(&user.token), Some(body))
        .await
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

pub(crate) fn names(answer: &Value) -> Vec<&str> {
    let list = answer["data"].as_array().unwrap().iter();
    list.map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_owner_makes_orders_and_deletes_roles() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
    let roles = format!("/servers/{}/roles", text(&guild["id"]));
    let body = json!({ "name": "Crew", "colour": "#AA0000", "hoisted": true });
    let crew = made(&server, &ada, &roles, body).await;
    assert_eq!(crew["colour"], "#aa0000");
    let mates = made(&server, &ada, &roles, json!({ "name": "Matés" })).await;
    for (body, field) in [
        (json!({ "name": "CREW" }), "name"),
        (json!({ "name": " " }), "name"),
        (json!({ "name": "x", "colour": "red" }), "colour"),
    ] {
        let (status, answer) = server.post(&ada, &roles, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer["errors"][field].is_array(), "{answer}");
    }
    let order = json!({ "role_ids": [mates["id"], crew["id"]] });
    let refused = error("only the owner of the server does that");
    let refused = (StatusCode::FORBIDDEN, refused);
    assert_eq!(put(&server, &bob, &roles, order.clone()).await, refused);
    let (status, answer) = put(&server, &ada, &roles, order).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(names(&server.get(&bob, &roles).await.1), ["Matés", "Crew"]);
    let partial = json!({ "role_ids": [crew["id"]] });
    let (status, _) = put(&server, &ada, &roles, partial).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let one = format!("{roles}/{}", text(&mates["id"]));
    assert_eq!(server.delete(&bob, &one).await, refused);
    assert_eq!(server.delete(&ada, &one).await.0, StatusCode::OK);
    assert_eq!(names(&server.get(&bob, &roles).await.1), ["Crew"]);
}

/// Checks that a user can read nothing of a room, nor note that it did, nor join it.
async fn is_refused(server: &Server, user: &User, room: &str) {
    for (method, path) in [
        (Method::GET, ""),
        (Method::GET, "/members"),
        (Method::GET, "/messages"),
        (Method::POST, "/join"),
    ] {
        let path = format!("/rooms/{room}{path}");
        let (status, answer) = server.call(method, &path, Some(&user.token), None).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {answer}");
    }
    // The answer would tell how many messages there are.
    let path = format!("/rooms/{room}/read");
    let (status, answer) = put(server, user, &path, json!({ "seq": 9_999 })).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {answer}");
}

#[tokio::test]
async fn a_limited_room_admits_those_with_a_role_while_they_have_it() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let cyd = server.register("cyd").await;
    let guest = server.guest().await;
    let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
    let at = format!("/servers/{}", text(&guild["id"]));
    let roles = format!("{at}/roles");
    let rooms = format!("{at}/rooms");
    let crew = made(&server, &ada, &roles, json!({ "name": "Crew" })).await;
    let hall = made(&server, &ada, &rooms, json!({ "name": "hall" })).await;
    let room = text(&hall["id"]);
    let topic = format!("room:{room}");
    let join = format!("/rooms/{room}/join");
    let given = format!("{at}/members/{}/roles/{}", bob.id, text(&crew["id"]));
    for user in [&bob, &cyd] {
        assert_eq!(server.post(user, &join, json!({})).await.0, StatusCode::OK);
    }
    let (status, _) = put(&server, &ada, &given, json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let mut of_guest = server.connect(&guest).await;
    of_guest.join(&topic, "1").await;
    let mut of_bob = server.connect(&bob).await;
    of_bob.join(&topic, "1").await;

    let limit = json!({ "role_ids": [crew["id"]] });
    let (status, answer) = put(&server, &ada, &format!("/rooms/{room}/roles"), limit).await;
    assert_eq!(
        (status, &answer["data"]["limited"]),
        (StatusCode::OK, &json!(true))
    );
    of_guest.expect("phx_close").await;
    // The room is open still, and must not admit by what it knew before.
    let rejoin = json!(["2", "2", topic, "phx_join", {}]);
    of_guest.send(rejoin).await;
    let reply = of_guest.reply("2").await;
    assert_eq!(reply[4]["response"]["reason"], "not a member", "{reply}");
    for user in [&cyd, &guest] {
        is_refused(&server, user, &room).await;
    }
    assert_eq!(names(&server.get(&cyd, &rooms).await.1).len(), 0);
    assert_eq!(names(&server.get(&bob, &rooms).await.1), ["hall"]);
    let messages = format!("/rooms/{room}/messages");
    assert_eq!(server.get(&ada, &messages).await.0, StatusCode::OK);
    assert_eq!(server.get(&bob, &messages).await.0, StatusCode::OK);

    let own = format!("user:{}", bob.id);
    let joined = of_bob.push(&own, "2", "phx_join", json!({})).await;
    assert_eq!(joined["status"], "ok", "{joined}");
    assert_eq!(server.delete(&ada, &given).await.0, StatusCode::OK);
    of_bob.expect("phx_close").await;
    assert_eq!(of_bob.expect("room_removed").await[4]["id"], room);
    assert_eq!(server.get(&bob, &messages).await.0, StatusCode::FORBIDDEN);
    put(&server, &ada, &given, json!({})).await;
    assert_eq!(of_bob.expect("room_created").await[4]["id"], room);
    assert_eq!(server.post(&bob, &join, json!({})).await.0, StatusCode::OK);
    // Without its role the room is open to nobody but the owner.
    let role = format!("{at}/roles/{}", text(&crew["id"]));
    assert_eq!(server.delete(&ada, &role).await.0, StatusCode::OK);
    assert_eq!(server.get(&bob, &messages).await.0, StatusCode::FORBIDDEN);
    assert_eq!(server.get(&ada, &messages).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_room_that_opens_to_all_is_announced_to_all() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let cyd = server.register("cyd").await;
    let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
    let at = format!("/servers/{}", text(&guild["id"]));
    let crew = json!({ "name": "Crew" });
    let crew = made(&server, &ada, &format!("{at}/roles"), crew).await;
    let hall = json!({ "name": "hall" });
    let hall = made(&server, &ada, &format!("{at}/rooms"), hall).await;
    let room = text(&hall["id"]);
    let limit = format!("/rooms/{room}/roles");
    put(&server, &ada, &limit, json!({ "role_ids": [crew["id"]] })).await;
    is_refused(&server, &cyd, &room).await;
    let mut of_cyd = server.connect(&cyd).await;
    let own = format!("user:{}", cyd.id);
    of_cyd.push(&own, "1", "phx_join", json!({})).await;
    put(&server, &ada, &limit, json!({ "role_ids": [] })).await;
    assert_eq!(of_cyd.expect("room_created").await[4]["id"], room);
    let join = format!("/rooms/{room}/join");
    assert_eq!(server.post(&cyd, &join, json!({})).await.0, StatusCode::OK);
}

/// Registers three users, of whom Ada owns a server; returns the path of that, too.
async fn guild_of_ada(server: &Server) -> ([User; 3], String) {
    let users = [
        server.register("ada").await,
        server.register("bob").await,
        server.register("cyd").await,
    ];
    let guild = made(server, &users[0], "/servers", json!({ "name": "Guild" })).await;
    (users, format!("/servers/{}", text(&guild["id"])))
}

/// Connects users, each in the topic of their own.
async fn listening(server: &Server, users: [&User; 3]) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for user in users {
        let mut socket = server.connect(user).await;
        let own = format!("user:{}", user.id);
        socket.push(&own, "1", "phx_join", json!({})).await;
        sockets.push(socket);
    }
    sockets
}

#[tokio::test]
async fn a_limited_room_is_shown_anew_to_those_whom_it_admits() {
    let server = Server::start().await;
    let ([ada, bob, cyd], at) = guild_of_ada(&server).await;
    let mut roles = Vec::new();
    for (name, holder) in [("Crew", &bob), ("Mates", &cyd)] {
        let role = json!({ "name": name });
        let role = made(&server, &ada, &format!("{at}/roles"), role).await;
        let given = format!("{at}/members/{}/roles/{}", holder.id, text(&role["id"]));
        put(&server, &ada, &given, json!({})).await;
        roles.push(role);
    }
    let hall = json!({ "name": "hall" });
    let hall = made(&server, &ada, &format!("{at}/rooms"), hall).await;
    let limit = format!("/rooms/{}/roles", text(&hall["id"]));
    let mut sockets = listening(&server, [&ada, &bob, &cyd]).await;
    let [of_ada, of_bob, of_cyd] = &mut sockets[..] else {
        unreachable!("three have connected");
    };
    put(
        &server,
        &ada,
        &limit,
        json!({ "role_ids": [roles[0]["id"]] }),
    )
    .await;
    for socket in [&mut *of_ada, of_bob] {
        let told = socket.expect("room_created").await;
        assert_eq!(
            (&told[4]["id"], &told[4]["limited"]),
            (&hall["id"], &json!(true))
        );
    }
    // Whom the room newly admits hears of it; that was the first that Cyd heard.
    let both = json!({ "role_ids": [roles[0]["id"], roles[1]["id"]] });
    put(&server, &ada, &limit, both).await;
    assert_eq!(of_cyd.next().await[4]["id"], hall["id"]);
}

/// It kept its lock on the pages of its members until they were loaded again.
#[tokio::test]
async fn the_members_of_a_private_room_hear_of_its_limit_and_of_the_end_of_that() {
    let server = Server::start().await;
    let ([ada, bob, cyd], at) = guild_of_ada(&server).await;
    let crew = json!({ "name": "Crew" });
    let crew = made(&server, &ada, &format!("{at}/roles"), crew).await;
    for user in [&bob, &cyd] {
        let given = format!("{at}/members/{}/roles/{}", user.id, text(&crew["id"]));
        put(&server, &ada, &given, json!({})).await;
    }
    let vault = json!({ "name": "vault", "private": true });
    let vault = made(&server, &ada, &format!("{at}/rooms"), vault).await;
    let room = text(&vault["id"]);
    let invite = json!({ "user_id": bob.id });
    made(&server, &ada, &format!("/rooms/{room}/invites"), invite).await;
    let accept = format!("/invites/{room}/accept");
    let (status, _) = server.post(&bob, &accept, json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let mut sockets = listening(&server, [&ada, &bob, &cyd]).await;
    let limit = format!("/rooms/{room}/roles");
    for (roles, limited) in [(json!([crew["id"]]), true), (json!([]), false)] {
        put(&server, &ada, &limit, json!({ "role_ids": roles })).await;
        for socket in &mut sockets[..2] {
            let told = socket.next().await;
            assert_eq!(told[3], "room_created", "{told}");
            let shown = (&told[4]["id"], &told[4]["limited"]);
            assert_eq!(shown, (&vault["id"], &json!(limited)));
        }
    }
    // One with the role who is no member hears nothing of the room.
    assert_eq!(sockets[2].drain().await, Vec::<Value>::new());
}
