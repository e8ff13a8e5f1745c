//! Names of users and rooms: none is blank, none looks like another, guests are marked.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::{Server, User};

const INVALID: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

/// Names in which nothing is to be seen, or more than is written.
const UNSEEN: [&str; 14] = [
    "\u{3164}\u{3164}",
    "\u{115f}\u{1160}",
    "\u{2800}\u{2800}",
    "\u{180e}\u{180e}",
    "\u{200d}\u{200d}",
    "\u{2003}\u{2003}",
    "\u{e0041}\u{e0042}",
    "nul\u{0}byte",
    "new\nline",
    "\u{202e}txet",
    "\u{1b}[31mred",
    "bom\u{feff}",
    "a\u{300}\u{300}\u{300}\u{300}\u{300}\u{300}",
    "two\u{2028}lines",
];

/// Names that look like "admin".
const LOOK_ALIKES: [&str; 15] = [
    "admin",
    "ADMIN",
    "\u{430}dmin",
    "ａｄｍｉｎ",
    "adm\u{131}n",
    "admin\u{200d}",
    "ad\u{200b}min",
    "admin\u{34f}",
    "admin\u{3164}",
    "admin\u{115f}",
    "admin\u{fe0f}",
    "admin\u{61c}",
    "admin\u{e0041}",
    "\u{1d4b6}dmin",
    "\u{2003}admin ",
];

async fn register(server: &Server, username: &str) -> (StatusCode, Value) {
    let body = json!({ "username": username, "password": "correct horse" });
    server
        .call(Method::POST, "/auth/register", None, Some(body))
        .await
}

async fn name_room(server: &Server, owner: &User, name: &str) -> (StatusCode, Value) {
    server.post(owner, "/rooms", json!({ "name": name })).await
}

#[tokio::test]
async fn names_in_which_something_is_unseen_are_refused_with_the_reason() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    for name in UNSEEN {
        let (status, answer) = register(&server, name).await;
        assert_eq!(status, INVALID, "{name:?}");
        assert!(answer["errors"]["username"][0].is_string(), "{answer}");
        let (status, answer) = name_room(&server, &ada, name).await;
        assert_eq!(status, INVALID, "{name:?}");
        assert!(answer["errors"]["name"][0].is_string(), "{answer}");
    }
    let (_, answer) = register(&server, "zero\u{200b}width").await;
    let reason = answer["errors"]["username"][0].as_str().unwrap();
    assert!(reason.contains("U+200B"), "{reason}");
}

#[tokio::test]
async fn no_name_looks_like_another() {
    let server = Server::start().await;
    let admin = server.register("admin").await;
    for name in LOOK_ALIKES {
        assert_eq!(register(&server, name).await.0, INVALID, "{name:?}");
    }
    assert_eq!(
        name_room(&server, &admin, "admin").await.0,
        StatusCode::CREATED
    );
    for name in LOOK_ALIKES {
        assert_eq!(
            name_room(&server, &admin, name).await.0,
            INVALID,
            "{name:?}"
        );
    }
    let taken = json!({ "errors": { "name": ["has already been taken"] } });
    for name in ["lobby", "LOBBY", "l\u{43e}bby", "  lobby  ", "1obby"] {
        let answer = name_room(&server, &admin, name).await;
        assert_eq!(answer, (INVALID, taken.clone()), "{name:?}");
    }
    // Hyphens, letters and digits that look like those of a guest's name.
    for name in [
        "guest-1a2b3c",
        "Guest-9",
        "\u{261}uest-1",
        "gu\u{435}st-1",
        "guest\u{2011}1",
    ] {
        assert_eq!(register(&server, name).await.0, INVALID, "{name:?}");
    }
}

#[tokio::test]
async fn the_spellings_of_a_name_are_one_user() {
    let server = Server::start().await;
    let eve = server.register("E\u{301}ve Lovelace").await;
    assert_eq!(eve.username, "\u{e9}ve lovelace");
    let taken = json!({ "errors": { "username": ["has already been taken"] } });
    let answer = register(&server, "\u{c9}ve lovelace").await;
    assert_eq!(answer, (INVALID, taken));
    for spelling in ["\u{e9}ve lovelace", " e\u{301}VE Lovelace "] {
        let body = json!({ "username": spelling, "password": "correct horse" });
        let login = server.call(Method::POST, "/auth/login", None, Some(body));
        let (status, answer) = login.await;
        assert_eq!(status, StatusCode::OK, "{spelling:?}: {answer}");
        assert_eq!(answer["data"]["user"]["id"], json!(eve.id));
    }
}

#[tokio::test]
async fn names_of_all_scripts_and_with_sql_are_names() {
    let server = Server::start().await;
    let bobby = server.register("robert'); drop table users;--").await;
    for name in [
        "жанна",
        "李小龙",
        "שלום",
        "سارة",
        "straße",
        "o'hara",
        "a1",
        "x_y-z.9",
    ] {
        assert_eq!(server.register(name).await.username, name);
    }
    let (_, users) = server.get(&bobby, "/users").await;
    assert_eq!(users["data"].as_array().unwrap().len(), 9);
    let name = "\"'; DELETE FROM rooms; 🏙 München";
    let room = server.create_room(&bobby, name).await;
    let (_, shown) = server.get(&bobby, &format!("/rooms/{room}")).await;
    assert_eq!(shown["data"]["name"], name);
    let injection = json!({ "username": "' OR 1=1;--", "password": "correct horse" });
    let login = server.call(Method::POST, "/auth/login", None, Some(injection));
    assert_eq!(login.await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn guests_are_marked_wherever_they_are_named() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.room(&ada, "lobby").await;
    server
        .post(&ada, &format!("/rooms/{room}/join"), json!({}))
        .await;
    let topic = format!("room:{room}");
    let mut socket = server.connect(&ada).await;
    socket.join(&topic, "1").await;
    let (guest, mut other) = server.enter(&room).await;
    other.send(json!(["1", "2", topic, "typing", {}])).await;
    let typing = socket.expect("typing").await;
    assert_eq!(typing[4]["guest"], true);
    let path = format!("/rooms/{room}/messages");
    let (_, posted) = server.post(&guest, &path, json!({ "content": "hi" })).await;
    assert_eq!(posted["data"]["user"]["guest"], true);
    let live = socket.expect("new_message").await;
    assert_eq!(live[4]["user"], posted["data"]["user"]);
    let (_, own) = server.post(&ada, &path, json!({ "content": "ho" })).await;
    assert_eq!(own["data"]["user"].get("guest"), None);
    let (_, page) = server.get(&ada, &path).await;
    assert_eq!(page["data"][0]["user"], posted["data"]["user"]);
    let mut late = server.connect(&ada).await;
    late.send(json!(["1", "1", topic, "phx_join", {}])).await;
    let history = late.expect("message_history").await;
    assert_eq!(history[4]["messages"][0]["user"], posted["data"]["user"]);
}
