//! Messages that name users: how many of them a user has not read.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    people::listen,
    support::client::{Server, User},
};

/// A room with members, of which the first posts.
struct Scene {
    server: Server,
    ada: User,
    bob: User,
    room: String,
}

impl Scene {
    async fn set_up() -> Self {
        let server = Server::start().await;
        let ada = server.register("ada").await;
        let bob = server.register("bob").await;
        let room = server.create_room(&ada, "Engines").await;
        let scene = Self {
            server,
            ada,
            bob,
            room,
        };
        scene.join(&scene.bob).await;
        scene
    }

    async fn join(&self, user: &User) {
        let join = format!("/rooms/{}/join", self.room);
        let (status, answer) = self.server.post(user, &join, json!({})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    /// Posts a message. Returns its id.
    async fn say(&self, user: &User, content: &str) -> String {
        let path = format!("/rooms/{}/messages", self.room);
        let (status, answer) = self
            .server
            .post(user, &path, json!({ "content": content }))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer["data"]["id"].as_str().unwrap().to_owned()
    }

    async fn put(&self, method: Method, path: &str, body: Value) {
        let call = self
            .server
            .call(method, path, Some(&self.ada.token), Some(body));
        let (status, answer) = call.await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    /// Returns the count as a user's list has it.
    async fn count(&self, user: &User) -> Value {
        let (_, rooms) = self.server.get(user, "/rooms").await;
        let mut rooms = rooms["data"].as_array().unwrap().iter();
        let room = rooms.find(|room| room["id"] == self.room.as_str());
        room.unwrap()
            .get("mentions")
            .cloned()
            .unwrap_or(Value::Null)
    }

    async fn read(&self, user: &User, seq: i64) {
        let path = format!("/rooms/{}/read", self.room);
        let body = Some(json!({ "seq": seq }));
        let call = self
            .server
            .call(Method::PUT, &path, Some(&user.token), body);
        assert_eq!(call.await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn messages_that_name_a_member_are_counted_until_it_has_read_them() {
    let scene = Scene::set_up().await;
    let Scene { ada, bob, .. } = &scene;
    for content in [
        "for everybody",
        "ada@bob.example, @bobby, bob, @ bob",
        "@carl is no member",
        "@",
    ] {
        scene.say(ada, content).await;
    }
    assert_eq!(scene.count(bob).await, 0);
    for (content, count) in [
        ("@bob", 1),
        ("Hello (@BOB), @bob and @Bob!", 2),
        ("first line\n@bob", 3),
        ("🚀@bob: a ship", 4),
    ] {
        scene.say(ada, content).await;
        assert_eq!(scene.count(bob).await, count, "{content}");
    }
    // Up to the second of them.
    scene.read(bob, 6).await;
    assert_eq!(scene.count(bob).await, 2);
    scene.read(bob, 8).await;
    assert_eq!(scene.count(bob).await, 0);
    // An author is not told of itself, nor by its own message of what was before.
    scene.say(bob, "I, @bob, say it to @ada").await;
    assert_eq!(scene.count(bob).await, 0);
    assert_eq!(scene.count(ada).await, 1);
    // One that is no member has nothing to read there.
    let guest = scene.server.guest().await;
    assert_eq!(scene.count(&guest).await, Value::Null);
}

#[tokio::test]
async fn the_longest_name_is_meant() {
    let scene = Scene::set_up().await;
    let short = scene.server.register("zoë").await;
    let long = scene.server.register("zoë von der heide").await;
    let marked = scene.server.register("zoë!").await;
    for user in [&short, &long, &marked] {
        scene.join(user).await;
    }
    scene.say(&scene.ada, "@Zoë von der Heide, welcome").await;
    scene.say(&scene.ada, "@zoë! @zoë, @zoë von").await;
    let counts = [&short, &long, &marked].map(|user| scene.count(user));
    let counts = futures_util::future::join_all(counts).await;
    assert_eq!(counts, [json!(1), json!(1), json!(1)]);
}

#[tokio::test]
async fn edits_and_deletions_change_who_is_named() {
    let scene = Scene::set_up().await;
    let Scene { ada, bob, .. } = &scene;
    let id = scene.say(ada, "@bbo, a typo").await;
    let path = format!("/messages/{id}");
    for (content, count) in [("@bob", 1), ("@bob @bob", 1), ("nobody", 0), ("@bob", 1)] {
        scene
            .put(Method::PATCH, &path, json!({ "content": content }))
            .await;
        assert_eq!(scene.count(bob).await, count, "{content}");
    }
    scene.put(Method::DELETE, &path, json!({})).await;
    assert_eq!(scene.count(bob).await, 0);
    // A room that is deleted takes them along.
    scene.say(ada, "@bob").await;
    scene
        .put(Method::DELETE, &format!("/rooms/{}", scene.room), json!({}))
        .await;
    scene.server.wait_until_ready().await;
}

#[tokio::test]
async fn a_user_hears_that_it_is_named_and_a_conversation_counts_it_too() {
    let scene = Scene::set_up().await;
    let Scene {
        server,
        ada,
        bob,
        room,
    } = &scene;
    let mut of_bob = listen(server, bob).await;
    scene.say(ada, "nobody").await;
    scene.say(ada, "@bob").await;
    let named = of_bob.expect("mentioned").await;
    assert_eq!(named[4], json!({ "room_id": room, "seq": 2 }));

    let (_, dm) = server.post(ada, "/dm", json!({ "user_id": bob.id })).await;
    assert_eq!(dm["data"]["mentions"], 0);
    let id = dm["data"]["id"].as_str().unwrap();
    let path = format!("/dm/{id}/messages");
    for content in ["hi", "you, @bob", "and I, @ada"] {
        server.post(ada, &path, json!({ "content": content })).await;
    }
    let named = of_bob.expect("mentioned").await;
    assert_eq!(named[4], json!({ "room_id": id, "seq": 2 }));
    for (user, count) in [(bob, 1), (ada, 0)] {
        let (_, dms) = server.get(user, "/dm").await;
        assert_eq!(dms["data"][0]["mentions"], count);
    }
}
