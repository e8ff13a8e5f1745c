//! The member sidebar through windows.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Server, Socket, User};

/// Makes a room of `ada` with `bob` as a member, and joins it with a socket of `ada`.
async fn room(server: &Server) -> (User, User, Socket, String) {
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let room = server.create_room(&ada, "Engines").await;
    server
        .post(&bob, &format!("/rooms/{room}/join"), json!({}))
        .await;
    let mut socket = server.connect(&ada).await;
    let topic = format!("room:{room}");
    socket.join(&topic, "1").await;
    // The list follows presence by one beat, that of the diff.
    socket.expect("presence_diff").await;
    (ada, bob, socket, topic)
}

/// Returns the next bundle with frames; others contain counts only.
async fn frames(socket: &mut Socket) -> Value {
    loop {
        let pushed = socket.expect("member_list").await;
        if pushed[4]["frames"] != json!([]) {
            return pushed;
        }
    }
}

/// Formats rows as `group (count)` and `name status`.
fn rows(frame: &Value) -> Vec<String> {
    let text = |row: &Value| match row["group"].as_str() {
        Some(group) => format!("{group} ({})", row["count"]),
        None => {
            let word = |field: &str| row["body"][field].as_str().unwrap().to_owned();
            format!("{} {}", word("username"), word("status"))
        }
    };
    frame["rows"].as_array().unwrap().iter().map(text).collect()
}

#[tokio::test]
async fn a_window_opens_with_its_rows_and_follows_by_deltas() {
    let server = Server::start().await;
    let (ada, bob, mut socket, topic) = room(&server).await;
    let reply = socket
        .push(&topic, "2", "member_list_open", json!({ "window": "c:0" }))
        .await;
    let bundle = &reply["response"];
    assert_eq!(
        (&reply["status"], &bundle["list"]),
        (&json!("ok"), &json!(topic))
    );
    let frame = &bundle["frames"][0];
    assert_eq!(
        (&frame["kind"], &frame["window"]),
        (&json!("sync"), &json!("c:0"))
    );
    assert_eq!(
        rows(frame),
        ["staff (1)", "ada online", "offline (1)", "bob offline"]
    );
    assert_eq!(frame["rows"][1]["id"], json!(ada.id));
    let groups = bundle["counts"]["groups"].as_array().unwrap();
    let names: Vec<_> = groups
        .iter()
        .map(|g| g["group"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["staff", "online", "idle", "offline"]);

    let mut other = server.connect(&bob).await;
    other.join(&topic, "1").await;
    let pushed = frames(&mut socket).await;
    assert_eq!((&pushed[0], &pushed[1]), (&Value::Null, &Value::Null));
    let delta = &pushed[4]["frames"][0];
    assert_eq!(
        (&delta["kind"], &delta["base_version"]),
        (&json!("delta"), &frame["new_version"])
    );
    // Only the header between them moved: bob's own row is updated in place.
    assert_eq!(delta["deletes"], json!([2]));
    let header = json!({ "group": "online", "count": 1 });
    assert_eq!(delta["inserts"], json!([{ "index": 2, "row": header }]));
    let update = &delta["updates"][0];
    assert_eq!(
        (&update["index"], &update["body"]["status"]),
        (&json!(3), &json!("online"))
    );

    other
        .push(&topic, "2", "set_status", json!({ "status": "idle" }))
        .await;
    frames(&mut socket).await;
    let again = json!({ "windows": ["c:0"] });
    let reply = socket.push(&topic, "3", "member_list_resync", again).await;
    let frame = &reply["response"]["frames"][0];
    assert_eq!(
        rows(frame),
        ["staff (1)", "ada online", "idle (1)", "bob idle"]
    );
}

#[tokio::test]
async fn guests_are_rows_while_they_are_online() {
    let server = Server::start().await;
    let (_, _, mut socket, topic) = room(&server).await;
    socket
        .push(&topic, "2", "member_list_open", json!({ "window": "c:0" }))
        .await;
    let (guest, visitor) = server.enter(topic.strip_prefix("room:").unwrap()).await;
    let delta = frames(&mut socket).await;
    assert!(delta[4].to_string().contains(&guest.username), "{delta}");
    visitor.drop_abruptly();
    frames(&mut socket).await;
    let again = json!({ "windows": ["c:0"] });
    let reply = socket.push(&topic, "3", "member_list_resync", again).await;
    let rows = rows(&reply["response"]["frames"][0]);
    assert_eq!(
        rows,
        ["staff (1)", "ada online", "offline (1)", "bob offline"]
    );
}

#[tokio::test]
async fn invisible_members_are_listed_as_offline() {
    let server = Server::start().await;
    let (_, bob, mut socket, topic) = room(&server).await;
    let mut other = server.connect(&bob).await;
    other
        .send(json!(["1", "1", topic, "phx_join", { "status": "invisible" }]))
        .await;
    other.drain().await;
    let reply = socket
        .push(&topic, "2", "member_list_open", json!({ "window": "c:0" }))
        .await;
    let rows = rows(&reply["response"]["frames"][0]);
    assert_eq!(
        rows,
        ["staff (1)", "ada online", "offline (1)", "bob offline"]
    );
}

#[tokio::test]
async fn members_appear_and_leave_with_their_membership() {
    let server = Server::start().await;
    let (_, bob, mut socket, topic) = room(&server).await;
    let path = topic.replace("room:", "/rooms/");
    socket
        .push(&topic, "2", "member_list_open", json!({ "window": "c:0" }))
        .await;
    server.delete(&bob, &format!("{path}/leave")).await;
    let left = frames(&mut socket).await;
    assert_eq!(left[4]["frames"][0]["deletes"], json!([3, 2]));
    let eve = server.register("eve").await;
    server.post(&eve, &format!("{path}/join"), json!({})).await;
    let joined = frames(&mut socket).await;
    let inserted = &joined[4]["frames"][0]["inserts"][1]["row"]["body"];
    assert_eq!(inserted, &json!({ "username": "eve", "status": "offline" }));
}

#[tokio::test]
async fn windows_move_and_close() {
    let server = Server::start().await;
    let (ada, bob, mut socket, topic) = room(&server).await;
    let here = format!("a:{}:1:1", ada.id);
    socket
        .push(&topic, "2", "member_list_open", json!({ "window": "c:0" }))
        .await;
    let request = json!({ "from": "c:0", "window": here });
    let reply = socket.push(&topic, "3", "member_list_move", request).await;
    let frame = &reply["response"]["frames"][0];
    assert_eq!(
        (&frame["window"], &frame["base_index"]),
        (&json!(here), &json!(0))
    );
    assert_eq!(rows(frame), ["staff (1)", "ada online", "offline (1)"]);
    let reply = socket
        .push(&topic, "4", "member_list_close", json!({ "window": here }))
        .await;
    assert_eq!(reply, json!({ "status": "ok", "response": {} }));
    let mut other = server.connect(&bob).await;
    other.join(&topic, "1").await;
    for frame in socket.drain().await {
        let frames = frame[4]["frames"].as_array().map_or(0, Vec::len);
        assert!(frame[3] != "member_list" || frames == 0, "{frame}");
    }
}

#[tokio::test]
async fn bad_window_requests_are_refused_with_a_reason() {
    let server = Server::start().await;
    let (ada, _, mut socket, topic) = room(&server).await;
    let stranger = "01a2014d-2659-74e2-8d65-c91b6809009c";
    for (n, (event, payload)) in [
        ("member_list_open", json!({})),
        ("member_list_open", json!({ "window": 5 })),
        ("member_list_open", json!({ "window": "" })),
        ("member_list_open", json!({ "window": "c:-1" })),
        (
            "member_list_open",
            json!({ "window": "c:99999999999999999999" }),
        ),
        (
            "member_list_open",
            json!({ "window": format!("a:{}:499:499", ada.id) }),
        ),
        (
            "member_list_open",
            json!({ "window": format!("a:{stranger}:1:1") }),
        ),
        (
            "member_list_open",
            json!({ "window": "a:'; DROP TABLE users:1:1" }),
        ),
        (
            "member_list_move",
            json!({ "from": "c:3", "window": "c:0" }),
        ),
        ("member_list_close", json!({ "window": "c:0" })),
        ("member_list_resync", json!({ "windows": "c:0" })),
        ("member_list_resync", json!({ "windows": ["c:0"] })),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = socket
            .push(&topic, &format!("b{n}"), event, payload.clone())
            .await;
        assert_eq!(reply["status"], "error", "{event} {payload}");
        assert!(reply["response"]["reason"].is_string(), "{event} {payload}");
    }
    for k in 0..8 {
        let window = json!({ "window": format!("c:{k}") });
        let reply = socket
            .push(&topic, &format!("o{k}"), "member_list_open", window)
            .await;
        assert_eq!(reply["status"], "ok");
    }
    let reply = socket
        .push(&topic, "o8", "member_list_open", json!({ "window": "c:8" }))
        .await;
    assert_eq!(
        reply["response"]["reason"],
        "viewer already holds 8 windows"
    );
}

/// Returns a window as a client says that it holds it.
fn held_window(window: &str, epoch: &Value, version: &Value) -> Value {
    json!({ "window": window, "epoch": epoch, "version": version })
}

/// Joins a room of `user` by a socket that reads frames of format 2.
async fn join_in_format_2(server: &Server, user: &User, topic: &str) -> Socket {
    let query = format!("vsn=2.0.0&token={}&member_list=2", user.token);
    let mut socket = server.connect_with(&query, &[]).await.unwrap();
    socket.join(topic, "1").await;
    socket
}

#[tokio::test]
async fn a_window_is_resumed_over_another_connection() {
    let server = Server::start_with(|config| config.demo = 2_500).await;
    let guest = server.guest().await;
    let topic = format!("room:{}", server.room(&guest, "city").await);
    let mut socket = join_in_format_2(&server, &guest, &topic).await;
    let open = json!({ "window": "c:0" });
    let reply = socket.push(&topic, "2", "member_list_open", open).await;
    let shown = &reply["response"];
    let version = &shown["frames"][0]["new_version"];
    assert_eq!(shown["format"], 2);
    assert!(!shown["epoch"]["node"].as_str().unwrap().is_empty());
    let windows = json!([{ "window": "c:0", "version": version }]);
    assert_eq!(shown["windows"], windows);
    socket.drop_abruptly();
    // A few ticks, at each of which some of the 2,500 come, leave or change their status.
    tokio::time::sleep(Duration::from_millis(800)).await;

    let mut socket = join_in_format_2(&server, &guest, &topic).await;
    let asked = |epoch, version| json!({ "held": [held_window("c:0", epoch, version)] });
    let epoch = shown["epoch"].clone();
    let request = asked(&epoch, version);
    let reply = socket
        .push(&topic, "2", "member_list_resume", request)
        .await;
    let frame = &reply["response"]["frames"][0];
    assert_eq!(
        (&frame["kind"], &frame["base_version"]),
        (&json!("delta"), version)
    );
    let long = shown["frames"][0].to_string().len();
    assert!(frame.to_string().len() < long, "{frame}");
    // It goes on from there.
    let pushed = frames(&mut socket).await;
    assert_eq!(pushed[4]["frames"][0]["base_version"], frame["new_version"]);

    let other_node = json!({ "node": "elsewhere", "number": epoch["number"] });
    let other_epoch = json!({ "node": epoch["node"], "number": 7 });
    for (epoch, version) in [
        (&epoch, &json!(9_007_199_254_740_991_u64)),
        (&epoch, &json!(0)),
        (&other_node, version),
        (&other_epoch, version),
    ] {
        let request = asked(epoch, version);
        let reply = socket
            .push(&topic, "3", "member_list_resume", request.clone())
            .await;
        assert_eq!(reply["response"]["frames"][0]["kind"], "sync", "{request}");
    }
}

#[tokio::test]
async fn bad_resumes_are_refused_with_a_reason() {
    let server = Server::start().await;
    let (ada, _, mut first, topic) = room(&server).await;
    let mut socket = join_in_format_2(&server, &ada, &topic).await;
    let epoch = json!({ "node": "n", "number": 1 });
    let window = |name: &str| held_window(name, &epoch, &json!(1));
    let many: Vec<Value> = (0..9).map(|k| window(&format!("c:{k}"))).collect();
    let no_epoch = json!({ "window": "c:0", "version": 1 });
    for (n, (payload, reason)) in [
        (json!({}), "invalid payload"),
        (json!({ "held": "c:0" }), "invalid payload"),
        (json!({ "held": [no_epoch] }), "invalid payload"),
        (
            json!({ "held": [held_window("c:0", &json!(5), &json!(1))] }),
            "invalid payload",
        ),
        (
            json!({ "held": [held_window("c:0", &epoch, &json!(-1))] }),
            "invalid payload",
        ),
        (
            json!({ "held": [held_window("c:0", &epoch, &json!(1.5))] }),
            "invalid payload",
        ),
        (
            json!({ "held": [window("c:x")] }),
            "not a canonical window name",
        ),
        (
            json!({ "held": [window("c:0"), window("c:0")] }),
            "a window is named twice",
        ),
        (json!({ "held": many }), "viewer already holds 8 windows"),
    ]
    .into_iter()
    .enumerate()
    {
        let reference = format!("b{n}");
        let reply = socket
            .push(&topic, &reference, "member_list_resume", payload.clone())
            .await;
        assert_eq!(
            (&reply["status"], &reply["response"]["reason"]),
            (&json!("error"), &json!(reason)),
            "{payload}"
        );
    }
    let good = json!({ "held": [window("c:0")] });
    let reply = socket
        .push(&topic, "g", "member_list_resume", good.clone())
        .await;
    assert_eq!(reply["response"]["frames"][0]["kind"], "sync");
    // A client of format 1 has no epochs of nodes.
    let reply = first.push(&topic, "g", "member_list_resume", good).await;
    let reason = reply["response"]["reason"].as_str().unwrap();
    assert!(reason.contains("frame format 2"), "{reason}");
}

/// The rows that a client of Discord has after the operations of an event, by index.
fn apply_discord(rows: &mut Vec<Value>, event: &Value) {
    for op in event["ops"].as_array().unwrap() {
        let index = || usize::try_from(op["index"].as_u64().unwrap()).unwrap();
        match op["op"].as_str().unwrap() {
            "SYNC" => *rows = op["items"].as_array().unwrap().clone(),
            "INSERT" => rows.insert(index(), op["item"].clone()),
            "UPDATE" => rows[index()] = op["item"].clone(),
            "DELETE" => drop(rows.remove(index())),
            other => panic!("unknown operation {other}"),
        }
    }
}

#[tokio::test]
async fn a_client_of_discord_reads_the_list_in_its_own_format() {
    let server = Server::start().await;
    let (ada, bob, _, topic) = room(&server).await;
    let query = format!("vsn=2.0.0&token={}&member_list=discord", ada.token);
    let mut socket = server.connect_with(&query, &[]).await.unwrap();
    socket.join(&topic, "1").await;
    let window = json!({ "window": "c:0" });
    let reply = socket
        .push(&topic, "2", "member_list_open", window.clone())
        .await;
    let event = &reply["response"];
    assert_eq!(
        (&event["guild_id"], &event["id"]),
        (&json!(topic), &json!("everyone"))
    );
    assert_eq!(
        (&event["member_count"], &event["online_count"]),
        (&json!(2), &json!(1))
    );
    let mut rows = Vec::new();
    apply_discord(&mut rows, event);
    assert_eq!(rows[0], json!({ "group": { "id": "staff", "count": 1 } }));
    let shown = |row: &Value| {
        let member = &row["member"];
        (member["user"].clone(), member["presence"]["status"].clone())
    };
    let user = |user: &User| json!({ "id": user.id, "username": user.username });
    assert_eq!(shown(&rows[1]), (user(&ada), json!("online")));
    assert_eq!(shown(&rows[3]), (user(&bob), json!("offline")));
    let mut of_bob = server.connect(&bob).await;
    of_bob.join(&topic, "1").await;
    while shown(&rows[3]) != (user(&bob), json!("online")) {
        apply_discord(&mut rows, &socket.expect("member_list").await[4]);
    }
    assert_eq!(rows[2], json!({ "group": { "id": "online", "count": 1 } }));
    let closed = socket.push(&topic, "3", "member_list_close", window).await;
    let ops = json!([{ "op": "INVALIDATE", "range": [0, 99] }]);
    assert_eq!(closed["response"]["ops"], ops);
}

/// Opens the list of a room whose members have these names. Returns the names in order, and the first one that is
/// found by each prefix.
async fn sorted(
    locale: Option<&str>,
    names: &[&str],
    prefixes: &[&str],
) -> (Vec<String>, Vec<String>) {
    let server = Server::start_with(|config| config.locale = locale.map(str::to_owned)).await;
    let owner = server.register("quinn").await;
    let room = server.create_room(&owner, "Engines").await;
    let mut users = Vec::new();
    for name in names {
        let user = server.register(name).await;
        let path = format!("/rooms/{room}/join");
        server.post(&user, &path, json!({})).await;
        users.push(user);
    }
    let mut socket = server.connect(&owner).await;
    let topic = format!("room:{room}");
    socket.join(&topic, "1").await;
    let open = json!({ "window": "c:0" });
    let reply = socket.push(&topic, "2", "member_list_open", open).await;
    let rows = rows(&reply["response"]["frames"][0]);
    let shown: Vec<String> = rows
        .iter()
        .filter_map(|row| Some(row.strip_suffix(" offline")?.to_owned()))
        // Presence may follow later.
        .filter(|name| name != "quinn")
        .collect();
    let mut found = Vec::new();
    for prefix in prefixes {
        let asked = json!({ "prefix": prefix });
        let reply = socket.push(&topic, "3", "member_list_find", asked).await;
        let id = &reply["response"]["matches"][0]["id"];
        let user = users.iter().find(|user| *id == json!(user.id));
        found.push(user.map_or_else(String::new, |user| user.username.clone()));
    }
    (shown, found)
}

#[tokio::test]
async fn names_are_sorted_and_found_as_the_language_of_the_server_does() {
    let names = ["zoë", "östen", "oskar", "ångström", "anna", "ärla"];
    let prefixes = ["o", "ö", "a", "å", "ZO", "x"];
    let (shown, found) = sorted(Some("sv"), &names, &prefixes).await;
    assert_eq!(shown, ["anna", "oskar", "zoë", "ångström", "ärla", "östen"]);
    assert_eq!(found, ["oskar", "östen", "anna", "ångström", "zoë", ""]);
    let (shown, found) = sorted(Some("de"), &names, &prefixes).await;
    assert_eq!(shown, ["ångström", "anna", "ärla", "oskar", "östen", "zoë"]);
    assert_eq!(found, ["oskar", "oskar", "ångström", "ångström", "zoë", ""]);
    let (shown, found) = sorted(None, &names, &prefixes).await;
    assert_eq!(shown, ["anna", "oskar", "zoë", "ärla", "ångström", "östen"]);
    assert_eq!(found, ["oskar", "östen", "anna", "ångström", "zoë", ""]);
}
