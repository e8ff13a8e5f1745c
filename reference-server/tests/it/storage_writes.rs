//! Every write of the API while no commit succeeds: nothing of it is answered, sent or shown.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    roles::{made, put, text},
    storage::{FAILED, not_ready, run},
    support::client::{Server, Socket, User},
};

/// Makes every commit of the server fail that wrote to a table of its own: the reference to a row
/// that does not exist is looked at in the commit.
const COMMITS_FAIL: &str = "
    CREATE TABLE absent (id INTEGER PRIMARY KEY);
    CREATE TABLE wrong (id INTEGER REFERENCES absent (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TRIGGER f1 AFTER INSERT ON users BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f2 AFTER UPDATE OF status ON users BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f3 AFTER UPDATE OF password_hash ON users BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f4 AFTER INSERT ON revoked_tokens BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f5 AFTER INSERT ON servers BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f6 AFTER DELETE ON servers BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f7 AFTER INSERT ON categories BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f8 AFTER DELETE ON categories BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f9 AFTER INSERT ON rooms BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f10 AFTER UPDATE OF kind ON rooms BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f11 AFTER UPDATE OF limited ON rooms BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f12 AFTER INSERT ON room_members BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f13 AFTER UPDATE ON room_members BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f14 AFTER DELETE ON room_members BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f15 AFTER INSERT ON messages BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f16 AFTER UPDATE ON messages BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f17 AFTER INSERT ON roles BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f18 AFTER UPDATE ON roles BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f19 AFTER DELETE ON roles BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f20 AFTER INSERT ON role_holders BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f21 AFTER DELETE ON role_holders BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f22 AFTER INSERT ON invites BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f23 AFTER DELETE ON invites BEGIN INSERT INTO wrong VALUES (1); END;
    CREATE TRIGGER f24 AFTER INSERT ON probes BEGIN INSERT INTO wrong VALUES (1); END;";
const COMMITS_SUCCEED: &str = "
    DROP TRIGGER f1; DROP TRIGGER f2; DROP TRIGGER f3; DROP TRIGGER f4; DROP TRIGGER f5;
    DROP TRIGGER f6; DROP TRIGGER f7; DROP TRIGGER f8; DROP TRIGGER f9; DROP TRIGGER f10;
    DROP TRIGGER f11; DROP TRIGGER f12; DROP TRIGGER f13; DROP TRIGGER f14; DROP TRIGGER f15;
    DROP TRIGGER f16; DROP TRIGGER f17; DROP TRIGGER f18; DROP TRIGGER f19; DROP TRIGGER f20;
    DROP TRIGGER f21; DROP TRIGGER f22; DROP TRIGGER f23; DROP TRIGGER f24;";

/// A write, by its name.
struct Write {
    what: &'static str,
    token: Option<String>,
    /// The method and the path.
    request: String,
    body: Value,
}

impl Write {
    fn of(user: &User, what: &'static str, request: impl Into<String>, body: Value) -> Self {
        Self {
            what,
            token: Some(user.token.clone()),
            request: request.into(),
            body,
        }
    }

    fn bare(user: &User, what: &'static str, request: impl Into<String>) -> Self {
        Self::of(user, what, request, json!({}))
    }
}

/// Two users, a room of the first that the second has joined, and a socket of each in it.
struct Scene {
    server: Server,
    ada: User,
    room: String,
    of_ada: Socket,
    of_bob: Socket,
    writes: Vec<Write>,
}

impl Scene {
    async fn set_up() -> Self {
        let server = Server::start().await;
        let ada = server.register("ada").await;
        let bob = server.register("bob").await;
        let room = server.create_room(&ada, "Engines").await;
        let joined = server
            .post(&bob, &format!("/rooms/{room}/join"), json!({}))
            .await;
        assert_eq!(joined.0, StatusCode::OK);
        let mut writes = writes_of_rooms(&server, &ada, &bob, &room).await;
        writes.extend(writes_of_servers(&server, &ada, &bob).await);
        writes.extend(writes_of_accounts(&server).await);
        let mut of_ada = server.connect(&ada).await;
        let mut of_bob = server.connect(&bob).await;
        for socket in [&mut of_ada, &mut of_bob] {
            socket.join(&format!("room:{room}"), "1").await;
        }
        Self {
            server,
            ada,
            room,
            of_ada,
            of_bob,
            writes,
        }
    }

    /// Does every write of the API except those by socket, and returns the answers.
    async fn write(&self) -> Vec<(&'static str, StatusCode, Value)> {
        let mut answers = Vec::new();
        for write in &self.writes {
            let (method, path) = write.request.split_once(' ').unwrap();
            let method = method.parse().unwrap();
            let token = write.token.as_deref();
            let body = Some(write.body.clone());
            let (status, answer) = self.server.call(method, path, token, body).await;
            answers.push((write.what, status, answer));
        }
        answers
    }

    async fn push_message(&mut self, reference: &str) -> Value {
        let topic = format!("room:{}", self.room);
        let message = json!({ "content": "by socket" });
        self.of_ada
            .push(&topic, reference, "new_message", message)
            .await
    }
}

fn named(name: &str) -> Value {
    json!({ "name": name })
}

/// Returns the writes to rooms and messages. Those that must come last do.
async fn writes_of_rooms(server: &Server, ada: &User, bob: &User, room: &str) -> Vec<Write> {
    let carl = &server.register("carl").await;
    let hall = format!("/rooms/{}", server.create_room(ada, "Hall").await);
    let join = format!("{hall}/join");
    assert_eq!(server.post(bob, &join, json!({})).await.0, StatusCode::OK);
    let said = json!({ "content": "by rest" });
    let mut messages = Vec::new();
    // An edit is charged to its author as a post is.
    for user in [bob, ada] {
        let message = made(server, user, &format!("{hall}/messages"), said.clone()).await;
        messages.push(format!("/messages/{}", text(&message["id"])));
    }
    let invite = json!({ "user_id": carl.id });
    let mut vaults = Vec::new();
    for name in ["Vault", "Cellar", "Attic"] {
        let vault = json!({ "name": name, "private": true });
        let vault = text(&made(server, ada, "/rooms", vault).await["id"]);
        if name != "Vault" {
            let invites = format!("/rooms/{vault}/invites");
            made(server, ada, &invites, invite.clone()).await;
        }
        vaults.push(vault);
    }
    let [vault, cellar, attic] = <[String; 3]>::try_from(vaults).unwrap();
    let [edited, deleted] = <[String; 2]>::try_from(messages).unwrap();
    let room = format!("/rooms/{room}");
    let dm = json!({ "user_id": bob.id });
    let seq = json!({ "seq": 2 });
    let post = format!("POST {room}/messages");
    let invites = format!("POST /rooms/{vault}/invites");
    vec![
        Write::of(ada, "create", "POST /rooms", named("New")),
        Write::bare(carl, "join", format!("POST {room}/join")),
        Write::of(ada, "dm", "POST /dm", dm),
        Write::of(ada, "message", post, said.clone()),
        Write::of(bob, "edit", format!("PATCH {edited}"), said),
        Write::bare(ada, "deletion", format!("DELETE {deleted}")),
        Write::of(bob, "read", format!("PUT {hall}/read"), seq),
        Write::of(ada, "invite", invites, invite),
        Write::bare(carl, "accept", format!("POST /invites/{cellar}/accept")),
        Write::bare(carl, "decline", format!("POST /invites/{attic}/decline")),
        Write::bare(bob, "leave", format!("DELETE {room}/leave")),
        Write::bare(ada, "delete", format!("DELETE {room}")),
    ]
}

/// Returns the writes to servers, categories and roles.
async fn writes_of_servers(server: &Server, ada: &User, bob: &User) -> Vec<Write> {
    let make = async |path: &str, name: &str| {
        let made = made(server, ada, path, named(name)).await;
        text(&made["id"])
    };
    let at = format!("/servers/{}", make("/servers", "Guild").await);
    let ruin = make("/servers", "Ruin").await;
    let old = make(&format!("{at}/categories"), "Old").await;
    let hall = make(&format!("{at}/rooms"), "Hall").await;
    let roles = format!("{at}/roles");
    let mut ids = Vec::new();
    for name in ["Crew", "Mates", "Past"] {
        ids.push(make(&roles, name).await);
    }
    let [crew, mates, past] = <[String; 3]>::try_from(ids).unwrap();
    let of_bob = format!("{at}/members/{}/roles", bob.id);
    let held = format!("{of_bob}/{mates}");
    assert_eq!(put(server, ada, &held, json!({})).await.0, StatusCode::OK);
    let order = json!({ "role_ids": [past, mates, crew] });
    let limit = json!({ "role_ids": [crew] });
    let edit = format!("PATCH {roles}/{crew}");
    let categories = format!("POST {at}/categories");
    vec![
        Write::of(ada, "server", "POST /servers", named("League")),
        Write::bare(ada, "end of a server", format!("DELETE /servers/{ruin}")),
        Write::of(ada, "room", format!("POST {at}/rooms"), named("New")),
        Write::of(ada, "category", categories, named("New")),
        Write::bare(
            ada,
            "end of a category",
            format!("DELETE /categories/{old}"),
        ),
        Write::of(ada, "order", format!("PUT {roles}"), order),
        Write::of(ada, "role", format!("POST {roles}"), named("New")),
        Write::of(ada, "edit of a role", edit, named("Tars")),
        Write::bare(ada, "give", format!("PUT {of_bob}/{crew}")),
        Write::bare(ada, "take", format!("DELETE {held}")),
        Write::of(ada, "limit", format!("PUT /rooms/{hall}/roles"), limit),
        Write::bare(ada, "end of a role", format!("DELETE {roles}/{past}")),
    ]
}

/// Returns the writes to accounts.
async fn writes_of_accounts(server: &Server) -> Vec<Write> {
    let erin = &server.register("erin").await;
    let finn = &server.register("finn").await;
    let dora = json!({ "username": "dora", "password": "correct horse" });
    let passwords = json!({ "password": "correct horse", "new_password": "battery staple" });
    let idle = json!({ "status": "idle" });
    let register = Write {
        token: None,
        ..Write::of(erin, "register", "POST /auth/register", dora)
    };
    vec![
        register,
        Write::of(erin, "status", "PUT /auth/status", idle),
        Write::of(erin, "password", "POST /auth/password", passwords),
        Write::bare(finn, "logout", "DELETE /auth/logout"),
    ]
}

#[tokio::test]
async fn a_failed_commit_is_refused_on_every_path_and_leaves_nothing() {
    let mut scene = Scene::set_up().await;
    let dir = scene.server.dir().to_owned();
    run(&dir, COMMITS_FAIL).await;
    let mut before = Value::Null;
    while !before.to_string().contains(r#""online":2"#) {
        before = scene.server.get(&scene.ada, "/rooms").await.1;
    }
    scene.of_bob.drain().await;
    for n in 2..5 {
        for (what, status, answer) in scene.write().await {
            let refused = json!({ "error": "storage failed" });
            assert_eq!((status, answer), (FAILED, refused), "{what}");
        }
        let reply = scene.push_message(&n.to_string()).await;
        let refused = json!({ "reason": "storage failed" });
        assert_eq!(
            (&reply["status"], &reply["response"]),
            (&json!("error"), &refused)
        );
    }
    let body = not_ready(&scene.server).await;
    for word in ["headcount.db", "storage failed"] {
        assert!(body.contains(word), "{body}");
    }
    let events = scene.of_bob.drain().await;
    let mut events = events.iter().map(|frame| frame[3].as_str().unwrap());
    assert!(!events.any(|event| event == "new_message" || event == "phx_close"));
    assert_eq!(scene.server.get(&scene.ada, "/rooms").await.1, before);

    run(&dir, COMMITS_SUCCEED).await;
    assert_eq!(scene.push_message("9").await["response"]["seq"], 1);
    for (what, status, answer) in scene.write().await {
        assert!(status.is_success(), "{what}: {answer}");
        if what == "message" {
            assert_eq!(answer["data"]["seq"], 2);
        }
    }
    assert_eq!(scene.of_bob.expect("new_message").await[4]["seq"], 1);
    assert_eq!(scene.of_bob.expect("new_message").await[4]["seq"], 2);
    scene.of_bob.expect("phx_close").await;
    scene.server.wait_until_ready().await;
    let room = scene.room;
    let ada = scene.ada;
    let server = Server::start_in(scene.server.stop().await, |_| {}).await;
    let (_, rooms) = server.get(&ada, "/rooms").await;
    assert!(rooms.to_string().contains("New") && !rooms.to_string().contains(&room));
    let (_, users) = server.get(&ada, "/users").await;
    assert!(users.to_string().contains("dora"));
}
