//! What users are told on their own topics, and how often others can have them told.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    people::listen,
    roles::{made, put, text},
    support::client::{Server, Socket, User},
};

async fn limit(server: &Server, owner: &User, room: &str, roles: &[&Value]) {
    let path = format!("/rooms/{room}/roles");
    let (status, answer) = put(server, owner, &path, json!({ "role_ids": roles })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

/// Returns the next event about that room.
async fn told(socket: &mut Socket, room: &str) -> String {
    loop {
        let frame = socket.next().await;
        if frame[4]["id"] == room {
            return text(&frame[3]);
        }
    }
}

#[tokio::test]
async fn a_room_goes_from_all_whom_its_limit_does_not_admit_members_or_not() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
    let at = format!("/servers/{}", text(&guild["id"]));
    let crew = made(
        &server,
        &ada,
        &format!("{at}/roles"),
        json!({ "name": "Crew" }),
    )
    .await;
    let mates = made(
        &server,
        &ada,
        &format!("{at}/roles"),
        json!({ "name": "Mates" }),
    )
    .await;
    let given = format!("{at}/members/{}/roles/{}", bob.id, text(&crew["id"]));
    assert_eq!(
        put(&server, &ada, &given, json!({})).await.0,
        StatusCode::OK
    );
    let mut of_ada = listen(&server, &ada).await;
    let mut of_bob = listen(&server, &bob).await;
    let mut of_guest = listen(&server, &server.guest().await).await;
    let hall = made(
        &server,
        &ada,
        &format!("{at}/rooms"),
        json!({ "name": "hall" }),
    )
    .await;
    let room = text(&hall["id"]);
    for socket in [&mut of_ada, &mut of_bob, &mut of_guest] {
        assert_eq!(told(socket, &room).await, "room_created");
    }
    let crew = &crew["id"];
    let mates = &mates["id"];
    for (roles, of_one_with_crew) in [
        (vec![mates], "room_removed"),
        (vec![crew], "room_created"),
        (vec![mates], "room_removed"),
        (vec![crew, mates], "room_created"),
    ] {
        limit(&server, &ada, &room, &roles).await;
        assert_eq!(
            told(&mut of_bob, &room).await,
            of_one_with_crew,
            "{roles:?}"
        );
        assert_eq!(
            told(&mut of_guest, &room).await,
            "room_removed",
            "{roles:?}"
        );
        assert_eq!(told(&mut of_ada, &room).await, "room_created", "{roles:?}");
    }
    let role = format!("{at}/roles/{}", text(crew));
    assert_eq!(server.delete(&ada, &role).await.0, StatusCode::OK);
    assert_eq!(told(&mut of_bob, &room).await, "room_removed");
    limit(&server, &ada, &room, &[]).await;
    for socket in [&mut of_ada, &mut of_bob] {
        assert_eq!(told(socket, &room).await, "room_created");
    }
}

#[tokio::test]
async fn a_leave_of_a_join_that_was_replaced_ends_nothing() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let mut socket = server.connect(&ada).await;
    let topic = format!("user:{}", ada.id);
    for reference in ["1", "2"] {
        let join = json!([reference, reference, topic, "phx_join", {}]);
        socket.send(join).await;
        assert_eq!(socket.reply(reference).await[4]["status"], "ok");
    }
    assert_eq!(socket.expect("phx_close").await[0], "1");
    let late = [
        ("3", "phx_leave", json!({})),
        ("4", "set_status", json!({ "status": "dnd" })),
    ];
    for (reference, event, payload) in late {
        socket
            .send(json!(["1", reference, topic, event, payload]))
            .await;
    }
    assert_eq!(socket.reply("3").await[4]["status"], "ok");
    let status = json!(["2", "5", topic, "set_status", { "status": "idle" }]);
    socket.send(status).await;
    assert_eq!(socket.reply("5").await[4]["response"]["status"], "idle");
    let (_, me) = server.get(&ada, "/auth/me").await;
    assert_eq!(me["data"]["status"], "idle");
}

#[tokio::test]
async fn requests_that_others_hear_of_have_a_rate() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let refused = async |count: usize, path: &str, method: Method, body: Value| {
        let call = || server.call(method.clone(), path, Some(&ada.token), Some(body.clone()));
        let answers = join_all((0..count).map(|_| call())).await;
        let refused = answers
            .iter()
            .filter(|(status, _)| *status == StatusCode::TOO_MANY_REQUESTS);
        assert!(
            refused
                .clone()
                .all(|(_, answer)| answer["retry_after_ms"].is_u64())
        );
        refused.count()
    };
    let dnd = json!({ "status": "dnd" });
    assert!(refused(40, "/auth/status", Method::PUT, dnd).await > 20);
    let den = json!({ "name": "den", "private": true });
    let den = made(&server, &ada, "/rooms", den).await;
    let invites = format!("/rooms/{}/invites", text(&den["id"]));
    let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
    let roles = format!("/servers/{}/roles", text(&guild["id"]));
    let mut of_bob = listen(&server, &bob).await;
    let invite = json!({ "user_id": bob.id });
    assert!(refused(400, &invites, Method::POST, invite).await > 100);
    let order = json!({ "role_ids": [] });
    assert!(refused(100, &roles, Method::PUT, order).await > 20);
    of_bob.expect("invited").await;
    let rest = of_bob.drain().await;
    assert!(rest.iter().all(|frame| frame[3] != "invited"), "{rest:?}");
}

#[tokio::test]
async fn of_requests_at_once_no_more_succeed_than_may() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let counted = async |path: &str, bodies: Vec<Value>, success: StatusCode| {
        let calls = bodies.into_iter().map(|body| server.post(&ada, path, body));
        let answers = join_all(calls).await;
        answers
            .iter()
            .filter(|(status, _)| *status == success)
            .count()
    };
    let rooms = (0..120)
        .map(|n| json!({ "name": format!("r{n}") }))
        .collect();
    assert_eq!(counted("/rooms", rooms, StatusCode::CREATED).await, 100);
    let change = |n| json!({ "password": "correct horse", "new_password": format!("battery {n}") });
    let changes = (0..6).map(change).collect();
    assert_eq!(counted("/auth/password", changes, StatusCode::OK).await, 1);
}

/// All users of the tenant were told its id.
#[tokio::test]
async fn a_private_room_that_goes_is_told_to_those_who_know_of_it() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let eve = server.register("eve").await;
    let den = json!({ "name": "den", "private": true });
    let den = made(&server, &ada, "/rooms", den).await;
    let room = format!("/rooms/{}", text(&den["id"]));
    let invite = json!({ "user_id": bob.id });
    let invites = format!("{room}/invites");
    assert!(server.post(&ada, &invites, invite).await.0.is_success());
    let mut of_ada = listen(&server, &ada).await;
    let mut of_bob = listen(&server, &bob).await;
    let mut of_eve = listen(&server, &eve).await;
    assert_eq!(server.delete(&ada, &room).await.0, StatusCode::OK);
    for socket in [&mut of_ada, &mut of_bob] {
        assert_eq!(socket.expect("room_removed").await[4]["id"], den["id"]);
    }
    let rest = of_eve.drain().await;
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn the_creator_of_a_private_room_who_left_may_return() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let den = json!({ "name": "den", "private": true });
    let den = made(&server, &ada, "/rooms", den).await;
    let room = format!("/rooms/{}", text(&den["id"]));
    let (status, _) = server.delete(&ada, &format!("{room}/leave")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(server.get(&ada, &room).await.0, StatusCode::OK);
    let (_, rooms) = server.get(&ada, "/rooms").await;
    let listed = rooms["data"].as_array().unwrap().iter();
    assert!(
        listed.clone().any(|listed| listed["id"] == den["id"]),
        "{rooms}"
    );
    let (status, _) = server.post(&ada, &format!("{room}/join"), json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let bob = server.register("bob").await;
    assert_eq!(server.get(&bob, &room).await.0, StatusCode::FORBIDDEN);
}
