//! Chats over three nodes, and what goes wrong meanwhile.

use serde_json::{Value, json};

use crate::{
    nodes::{Cluster, Node},
    site::{Proxy, Site},
    until,
    viewer::{User, Viewer},
};

/// Three users in the lobby, each on a node of its own.
struct Scene {
    cluster: Cluster,
    viewers: Vec<Viewer>,
    room: String,
    /// The messages that were acknowledged, by number.
    stored: Vec<(i64, String)>,
    site: Site,
    webhook: String,
}

impl Scene {
    async fn set_up() -> Self {
        let (site, webhook) = Site::start().await;
        let cluster = Cluster::start(&webhook).await;
        let first = &cluster.nodes[0].address;
        let mut viewers = Vec::new();
        let mut room = String::new();
        for (name, node) in ["ada", "bob", "carl"].iter().zip(&cluster.nodes) {
            let user = User::register(first, name).await;
            let (_, rooms) = user.call(&node.address, "GET", "/rooms", Value::Null).await;
            room = rooms["data"][0]["id"].as_str().unwrap().to_owned();
            let join = format!("/rooms/{room}/join");
            assert_eq!(
                user.call(&node.address, "POST", &join, json!({})).await.0,
                200
            );
            viewers.push(Viewer::enter(&node.address, &user, &room).await);
        }
        let scene = Self {
            cluster,
            viewers,
            room,
            stored: Vec::new(),
            site,
            webhook,
        };
        scene.all_see_all().await;
        scene
    }

    /// Has a new user enter a room of its own at a node.
    async fn enter_at(&self, node: usize, name: &str) -> (User, Viewer) {
        let address = &self.cluster.nodes[node].address;
        let user = User::register(address, name).await;
        let room = json!({ "name": format!("den of {name}") });
        let (_, room) = user.call(address, "POST", "/rooms", room).await;
        let room = room["data"]["id"].as_str().unwrap();
        let viewer = Viewer::enter(address, &user, room).await;
        (user, viewer)
    }

    async fn post(&mut self, viewer: usize, content: &str) -> Value {
        let message = self.viewers[viewer].post(content).await;
        let seq = message["seq"].as_i64().unwrap();
        self.stored.push((seq, content.to_owned()));
        message
    }

    /// Waits until each client shows each other one.
    async fn all_see_all(&self) {
        let users: Vec<&User> = self.viewers.iter().map(|viewer| &viewer.user).collect();
        for viewer in &self.viewers {
            viewer.sees(&users).await;
        }
    }

    /// Waits until all clients show the same, with all that was acknowledged, in its order.
    async fn all_agree(&mut self) {
        self.all_see_all().await;
        for viewer in &self.viewers {
            for (seq, content) in &self.stored {
                viewer.shows(*seq, content).await;
            }
        }
        let mut numbers: Vec<i64> = self.stored.iter().map(|(seq, _)| *seq).collect();
        numbers.sort_unstable();
        let expected: Vec<i64> = (1..=i64::try_from(numbers.len()).unwrap()).collect();
        assert_eq!(numbers, expected, "no number is missing or twice");
        for viewer in &self.viewers {
            let view = viewer.view.lock();
            let mut sorted = view.order.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(view.order, sorted, "each message came once and in order");
        }
        let rows = ["ada online", "bob online", "carl online"].map(str::to_owned);
        for viewer in &mut self.viewers {
            viewer.shows_rows(&rows).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_three_nodes_chat() {
    let mut scene = Scene::set_up().await;
    for round in 0..3 {
        for viewer in 0..3 {
            scene
                .post(viewer, &format!("round {round} of {viewer}"))
                .await;
        }
    }
    scene.all_agree().await;

    let typist = scene.viewers[0].user.id.clone();
    scene.viewers[0].say("typing").await;
    scene.viewers[1]
        .hears("typing", |p| p["user_id"] == typist)
        .await;
    scene.viewers[0].say("stop_typing").await;
    scene.viewers[2]
        .hears("stop_typing", |p| p["user_id"] == typist)
        .await;

    let message = scene.post(1, "a tpyo").await;
    let seq = message["seq"].as_i64().unwrap();
    let edit = json!({ "id": message["id"], "content": "a typo" });
    scene.viewers[1].push("edit_message", edit).await;
    scene.viewers[2].shows(seq, "a typo").await;
    scene.viewers[1]
        .push("delete_message", json!({ "id": message["id"] }))
        .await;
    scene.viewers[0].shows(seq, "").await;

    counts_rooms_that_are_open_elsewhere(&scene).await;
    begin_conversation(&scene).await;
    let [ada, bob] = [0, 1].map(|i| scene.viewers[i].user.clone());
    let address = scene.cluster.nodes[0].address.clone();

    // A status is that of the user on every node, an invisible user on none.
    let own = format!("user:{}", bob.id);
    let hidden = json!({ "status": "invisible" });
    let chosen = scene.viewers[1].push_to(&own, "set_status", hidden).await;
    assert_eq!(chosen["status"], "ok", "{chosen}");
    let carl = scene.viewers[2].user.clone();
    scene.viewers[0].sees(&[&ada, &carl]).await;
    scene.viewers[2].sees(&[&ada, &carl]).await;

    // A token that is logged out at one node ends at the others.
    let last = scene.cluster.nodes[2].address.clone();
    let (status, _) = ada.call(&last, "DELETE", "/auth/logout", Value::Null).await;
    assert_eq!(status, 200);
    scene.viewers[0].hears("revoked", |_| true).await;
    until("the socket is closed", || async {
        scene.viewers[0].view.lock().is_closed.then_some(())
    })
    .await;
    until("the token ends everywhere", || async {
        let answer = ada.call(&address, "GET", "/auth/me", Value::Null).await;
        (answer.0 == 401).then_some(())
    })
    .await;
    scene.viewers[2].sees(&[&carl]).await;
    hears_each_once(&scene).await;
    tell_their_lag(&scene).await;
}

/// Each node says how far it is behind the others, and what it sent and was sent.
async fn tell_their_lag(scene: &Scene) {
    for node in &scene.cluster.nodes {
        let metric = async |name: &str| node.metric(&format!("headcount_cluster_{name}")).await;
        assert_eq!(metric(r#"nodes{state="up"}"#).await, 2.0);
        assert_eq!(metric(r#"nodes{state="silent"}"#).await, 0.0);
        let silence = metric("silence_max_seconds").await;
        assert!(silence > 0.0 && silence < 60.0, "{silence}");
        until("it is behind in nothing", || async {
            (metric("partitions_behind").await == 0.0).then_some(())
        })
        .await;
        for counted in [
            r#"sent_bytes_total{kind="beat"}"#,
            r#"sent_bytes_total{kind="delta"}"#,
            r#"sent_frames_total{kind="beat"}"#,
            r#"received_bytes_total{kind="beat"}"#,
            r#"received_frames_total{kind="delta"}"#,
            r#"events_total{outcome="sent"}"#,
            r#"events_total{outcome="received"}"#,
        ] {
            let value = metric(counted).await;
            assert!(value > 0.0, "{counted} is {value}");
        }
        assert_eq!(metric(r#"events_total{outcome="dropped"}"#).await, 0.0);
        let page = node.operators_read("admin").await;
        assert!(page.contains("partitions behind"), "{page}");
        assert_eq!(page.matches("<td>up</td>").count(), 2, "{page}");
    }
}

/// A user enters a room of her own on one node: the others show how many are there, and hold none of it.
async fn counts_rooms_that_are_open_elsewhere(scene: &Scene) {
    let nodes = &scene.cluster.nodes;
    let [ada, carl] = [0, 2].map(|i| scene.viewers[i].user.clone());
    let (status, room) = ada
        .call(
            &nodes[0].address,
            "POST",
            "/rooms",
            json!({ "name": "attic" }),
        )
        .await;
    assert_eq!(status, 201, "{room}");
    let id = room["data"]["id"].as_str().unwrap();
    let viewer = Viewer::enter(&nodes[0].address, &ada, id).await;
    viewer.sees(&[&ada]).await;
    until("the other node counts her", || async {
        let (_, rooms) = carl
            .call(&nodes[2].address, "GET", "/rooms", Value::Null)
            .await;
        let mut rooms = rooms["data"].as_array().unwrap().iter();
        let attic = rooms.find(|room| room["id"] == id).expect("it is listed");
        (attic["online"] == 1).then_some(())
    })
    .await;
    hears_of_a_closed_room(scene, id).await;
    // Three users, the lobby with three sessions, its three nodes and the one of the attic; the session there.
    for (node, entries) in [(0, 11.0), (1, 10.0), (2, 10.0)] {
        until("what a node holds", || async {
            let held = nodes[node].metric("headcount_presence_entries").await;
            (held == entries).then_some(())
        })
        .await;
    }
}

/// A member hears of a message on a node on which nobody has the room open, and the room is not loaded for that.
async fn hears_of_a_closed_room(scene: &Scene, room: &str) {
    let nodes = &scene.cluster.nodes;
    let [ada, carl] = [0, 2].map(|i| scene.viewers[i].user.clone());
    let home = &nodes[0].address;
    let join = format!("/rooms/{room}/join");
    let (status, joined) = carl.call(home, "POST", &join, Value::Null).await;
    assert_eq!(status, 200, "{joined}");
    let open = nodes[2].metric("headcount_rooms").await;
    let posts = format!("/rooms/{room}/messages");
    for content in ["dust", "and cobwebs"] {
        let (status, posted) = ada
            .call(home, "POST", &posts, json!({ "content": content }))
            .await;
        assert_eq!(status, 201, "{posted}");
    }
    scene.viewers[2]
        .hears("unread", |p| p["room_id"] == room && p["last_seq"] == 2)
        .await;
    assert_eq!(nodes[2].metric("headcount_rooms").await, open);
}

/// Begins a conversation on one node, which another node announces.
async fn begin_conversation(scene: &Scene) {
    let [ada, bob] = [0, 1].map(|i| scene.viewers[i].user.clone());
    let address = scene.cluster.nodes[0].address.clone();
    let to_bob = json!({ "user_id": bob.id });
    let (status, dm) = ada.call(&address, "POST", "/dm", to_bob).await;
    assert_eq!(status, 200, "{dm}");
    let posts = format!("/dm/{}/messages", dm["data"]["id"].as_str().unwrap());
    ada.call(&address, "POST", &posts, json!({ "content": "psst" }))
        .await;
    scene.viewers[1]
        .hears("dm_started", |p| p["dm"]["peer"]["id"] == ada.id.as_str())
        .await;
    assert_eq!(dm["data"]["peer"]["status"], "online", "{dm}");
}

/// Waits until the webhook was sent all, and checks that it was sent each once.
async fn hears_each_once(scene: &Scene) {
    let posted = scene.stored.len() + 1;
    until("an event for each message", || async {
        let ids = scene.site.of("message_created", "id");
        (ids.len() >= posted).then_some(())
    })
    .await;
    until("the users that went", || async {
        let gone = scene.site.of("user_offline", "user_id");
        (gone.len() >= 2).then_some(())
    })
    .await;
    for (kind, field) in [
        ("message_created", "id"),
        ("user_online", "user_id"),
        ("user_offline", "user_id"),
        ("room_occupied", "room_id"),
    ] {
        let sent = scene.site.of(kind, field);
        let mut distinct: Vec<String> = sent.iter().map(Value::to_string).collect();
        distinct.sort();
        distinct.dedup();
        assert_eq!(sent.len(), distinct.len(), "{kind}: {sent:?}");
        assert!(!sent.is_empty(), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_leaves_no_ghosts_and_loses_nothing() {
    let mut scene = Scene::set_up().await;
    scene.post(2, "before the end").await;
    scene.cluster.nodes[2].kill();
    let [ada, bob, carl] = [0, 1, 2].map(|i| scene.viewers[i].user.clone());
    scene.post(0, "meanwhile").await;
    for viewer in &scene.viewers[..2] {
        viewer.sees(&[&ada, &bob]).await;
    }
    let offline = || async {
        let gone = scene.site.of("user_offline", "user_id");
        gone.iter()
            .any(|user| *user == carl.id.as_str())
            .then_some(())
    };
    until("the webhook hears that carl went", offline).await;

    // Another node takes its place, and the user returns there.
    let Scene {
        cluster, webhook, ..
    } = &scene;
    let node = Node::start(&cluster.database, &cluster.nats.url, webhook).await;
    scene.viewers[2] = Viewer::enter(&node.address, &carl, &scene.room).await;
    scene.cluster.nodes[2] = node;
    scene.post(2, "back again").await;
    scene.all_agree().await;

    // A node that is asked to stop says so.
    scene.cluster.nodes[2].terminate().await;
    for viewer in &scene.viewers[..2] {
        viewer.sees(&[&ada, &bob]).await;
    }
    scene.post(1, "the rest").await;
}

/// The oldest node tells the webhook who comes and goes. What the others saw after it was killed, and before they knew
/// that, was told by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn users_that_go_while_the_oldest_node_is_killed_are_told_of() {
    let mut scene = Scene::set_up().await;
    let [ada, bob] = [0, 1].map(|i| scene.viewers[i].user.clone());
    scene.cluster.nodes[0].kill();
    scene.viewers.remove(1).leave().await;
    for user in [&bob, &ada] {
        until("the webhook hears that the user went", || async {
            let gone = scene.site.of("user_offline", "user_id");
            let mut gone = gone.iter();
            gone.any(|id| *id == user.id.as_str()).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_nats_server_stops_no_message_and_heals() {
    let mut scene = Scene::set_up().await;
    scene.post(0, "at first").await;
    scene.all_agree().await;
    scene.cluster.nats.stop();
    for viewer in 0..3 {
        // The database stores them, whatever NATS does.
        scene.post(viewer, &format!("in the dark {viewer}")).await;
    }
    let [ada, bob, carl] = [0, 1, 2].map(|i| scene.viewers[i].user.clone());
    for (viewer, user) in scene.viewers.iter().zip([&ada, &bob, &carl]) {
        viewer.sees(&[user]).await;
    }
    scene.cluster.nats.resume();
    scene.post(1, "in the light").await;
    scene.all_agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_from_nats_reads_what_it_missed() {
    let mut scene = Scene::set_up().await;
    let proxy = Proxy::start(&scene.cluster.nats.url).await;
    let carl = scene.viewers[2].user.clone();
    scene.cluster.nodes[2].terminate().await;
    let node = Node::start(&scene.cluster.database, &proxy.url, &scene.webhook).await;
    scene.viewers[2] = Viewer::enter(&node.address, &carl, &scene.room).await;
    scene.cluster.nodes[2] = node;
    let message = scene.post(0, "a first draft").await;
    let (dora, of_dora) = scene.enter_at(2, "dora").await;
    let (erik, of_erik) = scene.enter_at(2, "erik").await;
    scene.all_agree().await;
    let cut_off = &scene.cluster.nodes[2];
    let metric = async |name: &str| cut_off.metric(&format!("headcount_cluster_{name}")).await;
    let unsent = metric("frames_unsent_total").await;
    let gaps = metric("gaps_total").await;
    proxy.cut();
    scene.viewers[2].sees(&[&carl]).await;
    assert_eq!(metric(r#"nodes{state="up"}"#).await, 0.0);
    assert_eq!(metric(r#"nodes{state="silent"}"#).await, 2.0);
    assert!(metric("frames_unsent_total").await > unsent);
    // New messages, an edit, a revoked token and a changed password, none of which comes to the cut node.
    scene.post(0, "while it is cut").await;
    let edit = json!({ "id": message["id"], "content": "a second draft" });
    scene.viewers[0].push("edit_message", edit).await;
    scene.stored[0].1 = "a second draft".into();
    let address = scene.cluster.nodes[0].address.clone();
    let left = dora.call(&address, "DELETE", "/auth/logout", Value::Null);
    assert_eq!(left.await.0, 200);
    let passwords = json!({ "password": "correct horse", "new_password": "battery staple" });
    let changed = erik.call(&address, "POST", "/auth/password", passwords);
    assert_eq!(changed.await.0, 200);
    scene.post(2, "from the cut node").await;
    proxy.heal();
    scene.all_agree().await;
    assert!(
        scene.cluster.nodes[2]
            .metric("headcount_cluster_gaps_total")
            .await
            > gaps
    );
    let repairs = r#"headcount_cluster_repairs_total{outcome="ok"}"#;
    assert!(scene.cluster.nodes[2].metric(repairs).await > 0.0);
    let cut = scene.cluster.nodes[2].address.clone();
    until("the token ends at the node that was cut", || async {
        let answer = dora.call(&cut, "GET", "/auth/me", Value::Null).await;
        (answer.0 == 401).then_some(())
    })
    .await;
    for ended in [of_dora, of_erik] {
        ended.hears("revoked", |_| true).await;
    }
    // Users that stay hear that they may have missed something.
    scene.viewers[2].hears("missed", |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_slow_to_reach_holds_up_no_other_and_heals() {
    let mut scene = Scene::set_up().await;
    let proxy = Proxy::start(&scene.cluster.nats.url).await;
    let carl = scene.viewers[2].user.clone();
    scene.cluster.nodes[2].terminate().await;
    let node = Node::start(&scene.cluster.database, &proxy.url, &scene.webhook).await;
    scene.viewers[2] = Viewer::enter(&node.address, &carl, &scene.room).await;
    scene.cluster.nodes[2] = node;
    scene.all_agree().await;

    proxy.slow_down();
    for round in 0..4 {
        for viewer in 0..3 {
            // All are stored and answered at once, also on the slow node.
            let text = format!("round {round} of {viewer}: {}", "é🎉".repeat(400));
            scene.post(viewer, &text).await;
        }
        for (seq, content) in &scene.stored {
            for viewer in &scene.viewers[..2] {
                viewer.shows(*seq, content).await;
            }
        }
    }
    assert!(proxy.slow_pieces() > 0);
    proxy.heal();
    scene.all_agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_no_node_sends_are_refused_and_counted() {
    let (_site, webhook) = Site::start().await;
    let cluster = Cluster::start(&webhook).await;
    let refused = "headcount_cluster_frames_refused_total";
    let stranger = async_nats::connect(&cluster.nats.url).await.unwrap();
    for frame in [&b""[..], b"\xff\xff", "grüße".as_bytes(), &[0; 4_096]] {
        let sent = stranger.publish_with_reply("headcount.test.all", "_INBOX.x", frame.into());
        sent.await.unwrap();
    }
    stranger.flush().await.unwrap();
    for node in &cluster.nodes {
        until("the frames are counted", || async {
            (node.metric_sum(refused).await == 4.0).then_some(())
        })
        .await;
        assert_eq!(node.probe("readyz").await.unwrap().0, 200);
    }
}
