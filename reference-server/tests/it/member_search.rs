//! Searches in the member list: windows that the server opens for a text.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    hoisted_roles::rows,
    support::client::{Server, Socket, User},
};

/// A viewer of the list of a room.
struct Viewer {
    socket: Socket,
    topic: String,
    requests: u32,
}

impl Viewer {
    /// Joins the room as `user`, in the format that the query names.
    async fn join(server: &Server, user: &User, topic: &str, format: &str) -> Self {
        let query = format!("vsn=2.0.0&token={}{format}", user.token);
        let mut socket = server.connect_with(&query, &[]).await.unwrap();
        socket.join(topic, "1").await;
        Self {
            socket,
            topic: topic.to_owned(),
            requests: 0,
        }
    }

    /// Pushes a request and returns the reply, after as many tries as the rate of its kind takes.
    async fn request(&mut self, event: &str, payload: Value) -> Value {
        loop {
            self.requests += 1;
            let reference = format!("s{}", self.requests);
            let push = self
                .socket
                .push(&self.topic, &reference, event, payload.clone());
            let reply = push.await;
            let Some(wait) = reply["response"]["retry_after_ms"].as_u64() else {
                return reply;
            };
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }

    /// Searches, and returns the bundle of the answer.
    async fn search(&mut self, payload: Value) -> Value {
        let reply = self.request("member_list_search", payload.clone()).await;
        assert_eq!(reply["status"], "ok", "{payload}: {reply}");
        reply["response"].clone()
    }

    /// Searches a text in all groups, closes the window, and returns the rows without headers.
    async fn names(&mut self, text: &str) -> Vec<String> {
        let found = self.search(json!({ "search": text })).await;
        let frame = &found["frames"][0];
        let window = json!({ "window": frame["window"] });
        self.request("member_list_close", window).await;
        let names = |row: &Value| row["body"]["username"].as_str().map(str::to_owned);
        let shown = frame["rows"].as_array().unwrap().iter().filter_map(names);
        let shown: Vec<_> = shown.collect();
        assert_eq!(frame["matches"], shown.len(), "{text}");
        shown
    }

    /// Waits until the pushed window of a search shows these rows.
    async fn shows(&mut self, window: &str, expected: &[&str]) -> Value {
        loop {
            let bundle = self.socket.expect("member_list").await[4].clone();
            let frame = &bundle["frames"][0];
            if frame["window"] == window && rows(&bundle) == expected {
                assert_eq!(frame["kind"], "sync");
                return frame.clone();
            }
        }
    }

    async fn refusal(&mut self, event: &str, payload: Value) -> String {
        let reply = self.request(event, payload.clone()).await;
        assert_eq!(reply["status"], "error", "{payload}: {reply}");
        reply["response"]["reason"].as_str().unwrap().to_owned()
    }
}

/// Makes a room of `quinn` with members of these names, all offline.
async fn room(server: &Server, names: &[&str]) -> (User, Vec<User>, String) {
    let owner = server.register("quinn").await;
    let room = server.create_room(&owner, "Engines").await;
    let mut users = Vec::new();
    for name in names {
        let user = server.register(name).await;
        join(server, &user, &room).await;
        users.push(user);
    }
    (owner, users, format!("room:{room}"))
}

async fn join(server: &Server, user: &User, room: &str) {
    let room = room.trim_start_matches("room:");
    let path = format!("/rooms/{room}/join");
    server.post(user, &path, json!({})).await;
}

#[tokio::test]
async fn a_search_opens_a_window_that_follows_those_who_come_leave_and_change_their_status() {
    let server = Server::start().await;
    let (owner, users, topic) = room(&server, &["maxim", "mara", "bo"]).await;
    let mut viewer = Viewer::join(&server, &owner, &topic, "").await;
    let found = viewer.search(json!({ "search": "MA", "page": 0 })).await;
    let frame = &found["frames"][0];
    assert_eq!(found["list"], json!(topic));
    assert_eq!(frame["window"], "q:6d61:0");
    assert_eq!(
        (&frame["kind"], &frame["base_index"], &frame["matches"]),
        (&json!("sync"), &json!(0), &json!(2))
    );
    let both = ["offline (2)", "mara offline", "maxim offline"];
    assert_eq!(rows(&found), both);
    assert!(found["counts"]["groups"].is_array());
    assert_eq!(found["windows"], json!(["q:6d61:0"]));

    let mut of_mara = Viewer::join(&server, &users[1], &topic, "").await;
    let apart = ["online (1)", "mara online", "offline (1)", "maxim offline"];
    viewer.shows("q:6d61:0", &apart).await;
    let idle = json!({ "status": "idle" });
    of_mara.request("set_status", idle).await;
    let idle = ["idle (1)", "mara idle", "offline (1)", "maxim offline"];
    viewer.shows("q:6d61:0", &idle).await;
    let path = topic.replace("room:", "/rooms/") + "/leave";
    server.delete(&users[0], &path).await;
    let mavis = server.register("mavis").await;
    join(&server, &mavis, &topic).await;
    let last = ["idle (1)", "mara idle", "offline (1)", "mavis offline"];
    let frame = viewer.shows("q:6d61:0", &last).await;
    assert_eq!(frame["matches"], 2);

    let again = json!({ "windows": ["q:6d61:0"] });
    let reply = viewer.request("member_list_resync", again).await;
    assert_eq!(rows(&reply["response"]), last);
    let window = json!({ "window": "q:6d61:0" });
    let closed = viewer.request("member_list_close", window).await;
    assert_eq!(closed, json!({ "status": "ok", "response": {} }));
    server.delete(&mavis, &path).await;
    for frame in viewer.socket.drain().await {
        assert!(!frame.to_string().contains("q:6d61"), "{frame}");
    }
}

#[tokio::test]
async fn a_text_finds_names_however_both_are_spelt() {
    let server = Server::start().await;
    // The first two have one key, and the last two one beginning of 64 bytes.
    let long = "界".repeat(32);
    let other = format!("{}田", "界".repeat(31));
    let names = ["straße", "strasse", "stra", "élodie", "elena", "山田太郎"];
    let names: Vec<_> = names.into_iter().chain([&*long, &*other]).collect();
    let (owner, _, topic) = room(&server, &names).await;
    let mut viewer = Viewer::join(&server, &owner, &topic, "").await;
    for (text, expected) in [
        ("stra", vec!["stra", "straße", "strasse"]),
        ("STRASS", vec!["straße", "strasse"]),
        ("Straß", vec!["straße", "strasse"]),
        ("STRAẞE", vec!["straße", "strasse"]),
        ("e", vec!["elena"]),
        ("É", vec!["élodie"]),
        ("E\u{301}LO", vec!["élodie"]),
        ("山田", vec!["山田太郎"]),
        ("界界", vec![&*long, &*other]),
        (&*long, vec![&*long, &*other]),
        (&*"x".repeat(1_024), vec![]),
        ("\u{10ffff}", vec![]),
        (" ", vec![]),
    ] {
        let mut found = viewer.names(text).await;
        // Names of one key are in the order of their ids.
        found.sort_unstable();
        let mut expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{text}");
    }
}

#[tokio::test]
async fn a_text_finds_names_as_the_language_of_the_server_does() {
    for (locale, expected) in [("sv", vec!["oskar"]), ("de", vec!["oskar", "östen"])] {
        let server = Server::start_with(|config| config.locale = Some(locale.into())).await;
        let (owner, _, topic) = room(&server, &["östen", "oskar", "anna"]).await;
        let mut viewer = Viewer::join(&server, &owner, &topic, "").await;
        assert_eq!(viewer.names("O").await, expected, "{locale}");
        assert_eq!(viewer.names("ÖST").await, ["östen"], "{locale}");
        let nothing = json!({ "search": "\u{ad}\u{200d}" });
        let refusal = viewer.refusal("member_list_search", nothing).await;
        assert_eq!(refusal, "nothing to search for");
    }
}

#[tokio::test]
async fn a_search_is_read_by_pages_in_all_groups_or_one() {
    let server = Server::start_with(|config| config.demo = 2_500).await;
    let guest = server.guest().await;
    let topic = format!("room:{}", server.room(&guest, "city").await);
    let mut viewer = Viewer::join(&server, &guest, &topic, "").await;
    let first = viewer.search(json!({ "search": "m" })).await;
    let second = viewer.search(json!({ "search": "m", "page": 1 })).await;
    let matches = first["frames"][0]["matches"].as_u64().unwrap();
    assert!(matches > 100, "{matches}");
    assert_eq!((rows(&first).len(), rows(&second).len()), (50, 50));
    assert_eq!(second["frames"][0]["window"], "q:6d:1");
    assert_eq!(second["frames"][0]["base_index"], 50);
    assert_eq!(second["frames"][0]["matches"], matches);
    let third = json!({ "search": "m", "page": 2 });
    let refusal = viewer.refusal("member_list_search", third).await;
    assert_eq!(refusal, "viewer already holds 2 searches");
    // The second text has the window of the first one, which it brings again.
    let same = viewer.search(json!({ "search": "M" })).await;
    assert_eq!(same["frames"][0]["window"], "q:6d:0");
    let next = json!({ "from": "q:6d:1", "window": "q:6d:85899344" });
    let reply = viewer.request("member_list_move", next).await;
    let beyond = &reply["response"]["frames"][0];
    assert_eq!(
        (&beyond["rows"], &beyond["matches"]),
        (&json!([]), &json!(matches))
    );
    let close = json!({ "window": "q:6d:0" });
    viewer.request("member_list_close", close).await;

    let offline = json!({ "search": "m", "group": "offline" });
    let offline = viewer.search(offline).await;
    assert_eq!(offline["frames"][0]["window"], "r:6d:0:offline");
    assert!(offline["frames"][0]["matches"].as_u64() < Some(matches));
    let rows = offline["frames"][0]["rows"].as_array().unwrap();
    let is_offline = |row: &Value| row["body"]["status"] == "offline";
    assert!(rows.iter().all(is_offline), "{rows:?}");
}

#[tokio::test]
async fn searches_that_cannot_be_are_refused_and_change_nothing() {
    let server = Server::start().await;
    let (owner, _, topic) = room(&server, &["maxim"]).await;
    let mut viewer = Viewer::join(&server, &owner, &topic, "").await;
    let high = json!({ "search": "m", "page": 85_899_345 });
    for (payload, reason) in [
        (json!({}), "invalid payload"),
        (json!({ "search": 7 }), "invalid payload"),
        (json!({ "search": null, "page": 0 }), "invalid payload"),
        (json!({ "search": "m", "page": -1 }), "invalid payload"),
        (json!({ "search": "m", "page": "0" }), "invalid payload"),
        (
            json!({ "search": "m", "page": 1_u64 << 32 }),
            "invalid payload",
        ),
        (json!({ "search": "m", "group": 1 }), "invalid payload"),
        (high, "page 85899345, at most 85899344"),
        (json!({ "search": "" }), "nothing to search for"),
        (
            json!({ "search": "m".repeat(1_025) }),
            "search text over 1024 bytes",
        ),
        (json!({ "search": "m", "group": "" }), "unknown group"),
        (json!({ "search": "m", "group": "Staff" }), "unknown group"),
    ] {
        let refusal = viewer.refusal("member_list_search", payload.clone()).await;
        assert_eq!(refusal, reason, "{payload}");
    }
    let found = viewer.search(json!({ "search": "m" })).await;
    assert_eq!(found["windows"], json!(["q:6d:0"]));
    let mut of_discord = Viewer::join(&server, &owner, &topic, "&member_list=discord").await;
    let search = json!({ "search": "m" });
    let refusal = of_discord.refusal("member_list_search", search).await;
    assert_eq!(refusal, "this viewer's protocol has no such windows");
}

#[tokio::test]
async fn a_search_is_resumed_over_another_connection() {
    let server = Server::start().await;
    let (owner, _, topic) = room(&server, &["maxim", "mara"]).await;
    let mut viewer = Viewer::join(&server, &owner, &topic, "&member_list=2").await;
    let found = viewer.search(json!({ "search": "ma" })).await;
    let version = &found["frames"][0]["new_version"];
    assert_eq!(
        found["windows"],
        json!([{ "window": "q:6d61:0", "version": version }])
    );
    viewer.socket.drop_abruptly();
    let mavis = server.register("mavis").await;
    join(&server, &mavis, &topic).await;

    let mut viewer = Viewer::join(&server, &owner, &topic, "&member_list=2").await;
    let held = json!({ "window": "q:6d61:0", "epoch": found["epoch"], "version": version });
    let held = json!({ "held": [held] });
    let reply = viewer.request("member_list_resume", held).await;
    let three = [
        "offline (3)",
        "mara offline",
        "mavis offline",
        "maxim offline",
    ];
    assert_eq!(rows(&reply["response"]), three);
    assert_eq!(reply["response"]["frames"][0]["matches"], 3);
    let mut of_mavis = Viewer::join(&server, &mavis, &topic, "").await;
    of_mavis
        .request("set_status", json!({ "status": "dnd" }))
        .await;
    let busy = [
        "online (1)",
        "mavis dnd",
        "offline (2)",
        "mara offline",
        "maxim offline",
    ];
    viewer.shows("q:6d61:0", &busy).await;
}
