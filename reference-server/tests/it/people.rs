//! Events for a user outside of open rooms: unread messages, conversations, invitations, the own status.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::{Server, Socket, User, error};

/// Connects a user and joins its own channel.
pub(crate) async fn listen(server: &Server, user: &User) -> Socket {
    let mut socket = server.connect(user).await;
    let topic = format!("user:{}", user.id);
    socket.send(json!(["1", "1", topic, "phx_join", {}])).await;
    assert_eq!(socket.next().await[4]["status"], "ok");
    socket
}

async fn put(server: &Server, user: &User, path: &str, body: Value) -> (StatusCode, Value) {
    server
        .call(Method::PUT, path, Some(&user.token), Some(body))
        .await
}

async fn say(server: &Server, user: &User, path: &str, content: &str) {
    let (status, answer) = server.post(user, path, json!({ "content": content })).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

async fn listed(server: &Server, user: &User, name: &str) -> Value {
    let (_, rooms) = server.get(user, "/rooms").await;
    let rooms = rooms["data"].as_array().unwrap();
    rooms
        .iter()
        .find(|room| room["name"] == name)
        .unwrap()
        .clone()
}

#[tokio::test]
async fn unread_messages_are_counted_from_the_join_to_what_was_read() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let room = server.create_room(&ada, "Engines").await;
    let messages = format!("/rooms/{room}/messages");
    let mut of_ada = listen(&server, &ada).await;
    say(&server, &ada, &messages, "before bob").await;
    // The news is out before bob listens.
    assert_eq!(of_ada.expect("unread").await[4]["last_seq"], 1);
    assert_eq!(listed(&server, &bob, "Engines").await.get("read_seq"), None);
    server
        .post(&bob, &format!("/rooms/{room}/join"), json!({}))
        .await;
    let mut of_bob = listen(&server, &bob).await;
    say(&server, &ada, &messages, "two").await;
    let unread = of_bob.expect("unread").await;
    assert_eq!(unread[4], json!({ "room_id": room, "last_seq": 2 }));
    let of = |room: &Value| (room["last_seq"].clone(), room["read_seq"].clone());
    assert_eq!(
        of(&listed(&server, &bob, "Engines").await),
        (json!(2), json!(1))
    );
    // An author has read what it wrote.
    assert_eq!(
        of(&listed(&server, &ada, "Engines").await),
        (json!(2), json!(2))
    );

    let read = format!("/rooms/{room}/read");
    for (seq, noted) in [(2, 2), (1, 2), (99, 2)] {
        let (status, answer) = put(&server, &bob, &read, json!({ "seq": seq })).await;
        assert_eq!(
            (status, &answer["data"]["read_seq"]),
            (StatusCode::OK, &json!(noted))
        );
        let frame = of_bob.expect("read").await;
        assert_eq!(frame[4], json!({ "room_id": room, "read_seq": noted }));
    }
    assert_eq!(
        of(&listed(&server, &bob, "Engines").await),
        (json!(2), json!(2))
    );
    let guest = server.guest().await;
    let (status, _) = put(&server, &guest, &read, json!({ "seq": 1 })).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    for body in [json!({}), json!({ "seq": -1 })] {
        let (status, answer) = put(&server, &bob, &read, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer["errors"]["seq"].is_array());
    }
}

#[tokio::test]
async fn counters_of_a_tenant_outlive_a_room() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    for n in 0..3 {
        say(
            &server,
            &ada,
            &format!("/rooms/{room}/messages"),
            &format!("{n}"),
        )
        .await;
    }
    let stats = |messages, rooms| {
        let counts = json!({ "message_count": messages, "room_count": rooms, "user_count": 1 });
        json!({ "data": counts })
    };
    assert_eq!(server.get(&ada, "/stats").await.1, stats(3, 2));
    server.delete(&ada, &format!("/rooms/{room}")).await;
    assert_eq!(server.get(&ada, "/stats").await.1, stats(3, 1));
}

#[tokio::test]
async fn a_first_direct_message_reaches_the_peer() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let mut of_bob = listen(&server, &bob).await;
    let (_, dm) = server.post(&ada, "/dm", json!({ "user_id": bob.id })).await;
    let dm = &dm["data"];
    let peer = json!({ "id": bob.id, "username": "bob", "status": "online" });
    assert_eq!((&dm["peer"], &dm["last_message"]), (&peer, &Value::Null));
    let id = dm["id"].as_str().unwrap();
    let messages = format!("/dm/{id}/messages");
    say(&server, &ada, &messages, "hello").await;
    let frame = of_bob.expect("dm_started").await;
    assert_eq!(frame[4]["dm"]["id"], id);
    let peer = json!({ "id": ada.id, "username": "ada", "status": "offline" });
    assert_eq!(frame[4]["dm"]["peer"], peer);
    assert_eq!(frame[4]["dm"]["last_message"]["content"], "hello");
    let unread = of_bob.expect("unread").await;
    assert_eq!(unread[4], json!({ "room_id": id, "last_seq": 1 }));
    say(&server, &ada, &messages, "are you there?").await;
    let unread = of_bob.expect("unread").await;
    assert_eq!(unread[4]["last_seq"], 2);

    let (_, dms) = server.get(&bob, "/dm").await;
    let dm = &dms["data"][0];
    assert_eq!(dm["last_message"]["content"], "are you there?");
    assert_eq!((&dm["last_seq"], &dm["read_seq"]), (&json!(2), &json!(0)));
    let read = format!("/rooms/{id}/read");
    assert_eq!(
        put(&server, &bob, &read, json!({ "seq": 2 })).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn conversations_are_listed_by_their_newest_messages_and_paged() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let mut ids = Vec::new();
    for name in ["bob", "cyd", "dan"] {
        let peer = server.register(name).await;
        let (_, dm) = server
            .post(&ada, "/dm", json!({ "user_id": peer.id }))
            .await;
        ids.push(dm["data"]["id"].as_str().unwrap().to_owned());
    }
    say(&server, &ada, &format!("/dm/{}/messages", ids[0]), "hi").await;
    let (_, all) = server.get(&ada, "/dm").await;
    let names = |page: &Value| -> Vec<String> {
        let page = page["data"].as_array().unwrap().iter();
        page.map(|dm| dm["peer"]["username"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&all), ["bob", "dan", "cyd"]);
    let (_, first) = server.get(&ada, "/dm?limit=2").await;
    assert_eq!(names(&first), ["bob", "dan"]);
    let last = first["data"][1]["id"].as_str().unwrap();
    let (_, rest) = server
        .get(&ada, &format!("/dm?limit=2&before={last}"))
        .await;
    assert_eq!(names(&rest), ["cyd"]);
}

#[tokio::test]
async fn an_invited_user_accepts_or_declines() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let cyd = server.register("cyd").await;
    let body = json!({ "name": "Cellar", "private": true });
    let (_, room) = server.post(&ada, "/rooms", body).await;
    let room = room["data"]["id"].as_str().unwrap();
    let invites = format!("/rooms/{room}/invites");
    let mut of_bob = listen(&server, &bob).await;
    for user in [&bob, &cyd] {
        let (status, invite) = server
            .post(&ada, &invites, json!({ "user_id": user.id }))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{invite}");
        assert_eq!(invite["data"]["inviter"], "ada");
    }
    let frame = of_bob.expect("invited").await;
    assert_eq!(
        (&frame[4]["room_id"], &frame[4]["room_name"]),
        (&json!(room), &json!("Cellar"))
    );
    let (_, list) = server.get(&bob, "/invites").await;
    assert_eq!(list["data"], json!([frame[4]]));
    assert_eq!(
        server.get(&bob, &format!("/rooms/{room}")).await.0,
        StatusCode::FORBIDDEN
    );
    let (status, shown) = server
        .post(&bob, &format!("/invites/{room}/accept"), json!({}))
        .await;
    assert_eq!(
        (status, &shown["data"]["name"]),
        (StatusCode::OK, &json!("Cellar"))
    );
    assert_eq!(of_bob.expect("room_created").await[4]["id"], room);
    say(
        &server,
        &bob,
        &format!("/rooms/{room}/messages"),
        "here I am",
    )
    .await;

    let decline = format!("/invites/{room}/decline");
    assert_eq!(
        server.post(&cyd, &decline, json!({})).await.0,
        StatusCode::OK
    );
    let none = (StatusCode::NOT_FOUND, error("no such invitation"));
    for user in [&bob, &cyd] {
        assert_eq!(server.get(user, "/invites").await.1["data"], json!([]));
        let accept = format!("/invites/{room}/accept");
        assert_eq!(server.post(user, &accept, json!({})).await, none);
    }
    assert_eq!(
        server.get(&cyd, &format!("/rooms/{room}")).await.0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn invitations_that_cannot_be_are_refused() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let public = server.create_room(&ada, "Engines").await;
    let body = json!({ "name": "Cellar", "private": true });
    let (_, room) = server.post(&ada, "/rooms", body).await;
    let room = room["data"]["id"].as_str().unwrap();
    let nobody = "018f0000-0000-7000-8000-000000000001";
    for (caller, room, user, status) in [
        (&bob, room, ada.id.as_str(), StatusCode::FORBIDDEN),
        (&ada, &*public, bob.id.as_str(), StatusCode::FORBIDDEN),
        (&ada, room, nobody, StatusCode::NOT_FOUND),
        (&ada, room, "nonsense", StatusCode::NOT_FOUND),
        (&ada, nobody, bob.id.as_str(), StatusCode::NOT_FOUND),
        (&ada, room, "", StatusCode::UNPROCESSABLE_ENTITY),
        (
            &ada,
            room,
            ada.id.as_str(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let body = json!({ "user_id": user });
        let answer = server
            .post(caller, &format!("/rooms/{room}/invites"), body)
            .await;
        assert_eq!(answer.0, status, "{}", answer.1);
    }
}

#[tokio::test]
async fn a_chosen_status_is_shown_on_all_devices_and_kept() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.room(&ada, "lobby").await;
    server
        .post(&ada, &format!("/rooms/{room}/join"), json!({}))
        .await;
    let topic = format!("room:{room}");
    let mut phone = listen(&server, &ada).await;
    let mut desk = listen(&server, &ada).await;
    for socket in [&mut phone, &mut desk] {
        socket.join(&topic, "2").await;
    }
    let (_, mut watcher) = server.enter(&room).await;
    let own = format!("user:{}", ada.id);
    phone
        .send(json!(["1", "3", own, "set_status", { "status": "dnd" }]))
        .await;
    assert_eq!(
        phone.reply("3").await[4]["response"],
        json!({ "status": "dnd" })
    );
    assert_eq!(desk.expect("status").await[4], json!({ "status": "dnd" }));
    loop {
        let diff = watcher.expect("presence_diff").await;
        let metas = diff[4]["joins"][&ada.id]["metas"].as_array();
        if metas.is_some_and(|m| m.len() == 2 && m.iter().all(|meta| meta["status"] == "dnd")) {
            break;
        }
    }
    phone
        .send(json!(["1", "4", own, "set_status", { "status": "asleep" }]))
        .await;
    assert_eq!(
        phone.reply("4").await[4]["response"]["reason"],
        "invalid status"
    );
    let server = Server::start_in(server.stop().await, |_| {}).await;
    assert_eq!(
        server.get(&ada, "/auth/me").await.1["data"]["status"],
        "dnd"
    );
    let mut socket = server.connect(&ada).await;
    socket.send(json!(["1", "1", own, "phx_join", {}])).await;
    assert_eq!(
        socket.next().await[4]["response"],
        json!({ "status": "dnd" })
    );
    socket.send(json!(["2", "2", topic, "phx_join", {}])).await;
    let state = socket.expect("presence_state").await;
    assert_eq!(state[4][&ada.id]["metas"][0]["status"], "dnd");

    let bob = server.register("bob").await;
    let shown = server.get(&bob, &format!("/users/{}", ada.id)).await.1;
    assert_eq!(shown["data"]["status"], "dnd");
    let body = json!({ "status": "invisible" });
    assert_eq!(
        put(&server, &ada, "/auth/status", body).await.0,
        StatusCode::OK
    );
    let shown = server.get(&bob, &format!("/users/{}", ada.id)).await.1;
    assert_eq!(shown["data"]["status"], "offline");
}

#[tokio::test]
async fn the_time_a_user_was_last_seen_outlives_a_restart() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let path = format!("/users/{}", ada.id);
    assert_eq!(
        server.get(&bob, &path).await.1["data"]["last_seen_at"],
        Value::Null
    );
    let socket = server.connect(&ada).await;
    let server = Server::start_in(server.stop().await, |_| {}).await;
    drop(socket);
    let shown = server.get(&bob, &path).await.1;
    let seen = shown["data"]["last_seen_at"].as_str().unwrap();
    assert!(seen.ends_with('Z'), "{shown}");
    assert_eq!(shown["data"]["status"], "offline");
}

#[tokio::test]
async fn sockets_of_a_revoked_token_are_told_before_they_are_closed() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let mut socket = listen(&server, &ada).await;
    server.delete(&ada, "/auth/logout").await;
    let frame = socket.expect("revoked").await;
    assert_eq!(frame[2], format!("user:{}", ada.id));
    assert_eq!(socket.closed().await, 1008);
}
