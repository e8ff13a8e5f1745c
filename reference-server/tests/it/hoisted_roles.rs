//! Roles in the member lists of rooms: groups of hoisted roles, and colours.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    roles::{made, put, text},
    support::client::{Server, Socket, User},
};

/// Formats rows as `group (count)` and `name status colour`.
pub(crate) fn rows(bundle: &Value) -> Vec<String> {
    let rows = bundle["frames"][0]["rows"].as_array();
    let rows = rows.unwrap_or_else(|| panic!("no rows: {bundle}")).iter();
    let format = |row: &Value| match row["group"].as_str() {
        Some(group) => format!("{group} ({})", row["count"]),
        None => {
            let word = |field: &str| row["body"][field].as_str().unwrap_or_default().to_owned();
            let line = format!("{} {} {}", word("username"), word("status"), word("colour"));
            line.trim_end().to_owned()
        }
    };
    rows.map(format).collect()
}

/// A room of a server, and a viewer of its member list.
struct Scene {
    server: Server,
    ada: User,
    bob: User,
    cyd: User,
    /// The path of the server.
    at: String,
    topic: String,
    viewer: Socket,
    requests: u32,
}

impl Scene {
    /// Makes a room of ada, with bob, who is online, and cyd, who is offline.
    async fn new() -> Self {
        let server = Server::start().await;
        let ada = server.register("ada").await;
        let bob = server.register("bob").await;
        let cyd = server.register("cyd").await;
        let guild = made(&server, &ada, "/servers", json!({ "name": "Guild" })).await;
        let at = format!("/servers/{}", text(&guild["id"]));
        let hall = json!({ "name": "hall" });
        let hall = made(&server, &ada, &format!("{at}/rooms"), hall).await;
        let room = text(&hall["id"]);
        for user in [&bob, &cyd] {
            let join = format!("/rooms/{room}/join");
            assert_eq!(server.post(user, &join, json!({})).await.0, StatusCode::OK);
        }
        let viewer = server.connect(&ada).await;
        Self {
            server,
            ada,
            bob,
            cyd,
            at,
            topic: format!("room:{room}"),
            viewer,
            requests: 0,
        }
    }

    async fn role(&self, name: &str, colour: &str, hoisted: bool) -> String {
        let body = json!({ "name": name, "colour": colour, "hoisted": hoisted });
        let roles = format!("{}/roles", self.at);
        text(&made(&self.server, &self.ada, &roles, body).await["id"])
    }

    async fn call(&self, method: Method, path: &str, body: Value) {
        let path = format!("{}/{path}", self.at);
        let token = Some(self.ada.token.as_str());
        let (status, answer) = self.server.call(method, &path, token, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    }

    async fn give(&self, user: &User, role: &str) {
        let path = format!("members/{}/roles/{role}", user.id);
        self.call(Method::PUT, &path, json!({})).await;
    }

    async fn take(&self, user: &User, role: &str) {
        let path = format!("members/{}/roles/{role}", user.id);
        self.call(Method::DELETE, &path, json!({})).await;
    }

    async fn order(&self, roles: &[&str]) {
        self.call(Method::PUT, "roles", json!({ "role_ids": roles }))
            .await;
    }

    async fn edit(&self, role: &str, body: Value) {
        self.call(Method::PATCH, &format!("roles/{role}"), body)
            .await;
    }

    async fn request(&mut self, event: &str, payload: Value) -> Vec<String> {
        self.requests += 1;
        let reference = format!("list {}", self.requests);
        let reply = self
            .viewer
            .push(&self.topic, &reference, event, payload)
            .await;
        rows(&reply["response"])
    }

    /// Waits for the frames of one tick, and returns the rows after it.
    async fn next_rows(&mut self) -> Vec<String> {
        while self.viewer.expect("member_list").await[4]["frames"] == json!([]) {}
        self.request("member_list_resync", json!({ "windows": ["c:0"] }))
            .await
    }
}

#[tokio::test]
async fn members_online_are_grouped_under_their_highest_hoisted_role() {
    let mut scene = Scene::new().await;
    let crew = scene.role("Crew", "#AA0000", true).await;
    let mates = scene.role("Mates", "#00aa00", true).await;
    let pale = scene.role("Pale", "#0000aa", false).await;
    let ada = scene.ada.clone();
    let bob = scene.bob.clone();
    let cyd = scene.cyd.clone();
    scene.give(&bob, &mates).await;
    scene.give(&bob, &pale).await;
    scene.give(&cyd, &crew).await;
    let topic = scene.topic.clone();
    scene.viewer.join(&topic, "1").await;
    let mut of_bob = scene.server.connect(&bob).await;
    of_bob.join(&topic, "1").await;
    scene.viewer.expect("presence_diff").await;
    scene.viewer.drain().await;

    // The first bundle has it all. An admin of the room has no group of its own then.
    let open = json!({ "window": "c:0" });
    let first = scene.request("member_list_open", open).await;
    let others = ["offline (1)", "cyd offline #aa0000"];
    let online = ["online (1)", "ada online"];
    let in_mates = ["Mates (1)", "bob online #00aa00"];
    assert_eq!(first, [in_mates, online, others].concat());
    scene.give(&bob, &crew).await;
    let in_crew = ["Crew (1)", "bob online #aa0000"];
    assert_eq!(scene.next_rows().await, [in_crew, online, others].concat());
    scene.order(&[&mates, &crew, &pale]).await;
    assert_eq!(scene.next_rows().await, [in_mates, online, others].concat());
    scene
        .edit(&mates, json!({ "name": "online", "colour": "" }))
        .await;
    // A group of a status is called as the role already.
    let renamed = ["Online (1)", "bob online #aa0000"];
    assert_eq!(scene.next_rows().await, [renamed, online, others].concat());
    scene.give(&ada, &crew).await;
    let of_ada = ["Crew (1)", "ada online #aa0000"];
    assert_eq!(scene.next_rows().await, [renamed, of_ada, others].concat());
    scene.take(&ada, &crew).await;
    assert_eq!(scene.next_rows().await, [renamed, online, others].concat());
    scene.edit(&crew, json!({ "hoisted": false })).await;
    scene.take(&bob, &mates).await;
    let together = ["online (2)", "ada online", "bob online #aa0000"];
    assert_eq!(scene.next_rows().await, [&together[..], &others].concat());
    // The last hoisted role goes: the list is one by status again.
    scene
        .call(Method::DELETE, &format!("roles/{mates}"), json!({}))
        .await;
    let by_status = [
        "staff (1)",
        "ada online",
        "online (1)",
        "bob online #aa0000",
    ];
    assert_eq!(scene.next_rows().await, [&by_status[..], &others].concat());
    scene
        .call(Method::DELETE, &format!("roles/{crew}"), json!({}))
        .await;
    let plain = [
        "staff (1)",
        "ada online",
        "online (1)",
        "bob online #0000aa",
    ];
    let others = ["offline (1)", "cyd offline"];
    assert_eq!(scene.next_rows().await, [&plain[..], &others].concat());
}

#[tokio::test]
async fn all_sessions_of_a_user_are_in_the_group_of_its_role() {
    let mut scene = Scene::new().await;
    let crew = scene.role("Crew", "", true).await;
    let bob = scene.bob.clone();
    let topic = scene.topic.clone();
    let room = topic.strip_prefix("room:").unwrap().to_owned();
    scene.give(&bob, &crew).await;
    scene.viewer.join(&topic, "1").await;
    let mut desk = scene.server.connect(&bob).await;
    desk.join(&topic, "1").await;
    let mut phone = scene.server.connect(&bob).await;
    phone.join(&topic, "1").await;
    scene.viewer.drain().await;
    let open = json!({ "window": "c:0" });
    let first = scene.request("member_list_open", open).await;
    assert_eq!(first[..2], ["Crew (1)", "bob online"]);
    scene.take(&bob, &crew).await;
    let after = scene.next_rows().await;
    assert_eq!(after[..3], ["online (2)", "ada online", "bob online"]);
    // The session that decides changes: the other one was tracked while bob had the role.
    desk.close(Some(1000)).await;
    scene.viewer.drain().await;
    let resync = json!({ "windows": ["c:0"] });
    let after = scene.request("member_list_resync", resync.clone()).await;
    assert_eq!(after[..3], ["online (2)", "ada online", "bob online"]);
    phone.close(Some(1000)).await;
    scene.viewer.drain().await;
    scene.give(&bob, &crew).await;
    let after = scene.request("member_list_resync", resync.clone()).await;
    assert_eq!(after[2..], ["offline (2)", "bob offline", "cyd offline"]);
    // A member that comes back to the room has the role in its first row.
    let leave = format!("/rooms/{room}/leave");
    let join = format!("/rooms/{room}/join");
    let (status, _) = scene.server.delete(&bob, &leave).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = scene.server.post(&bob, &join, json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let mut desk = scene.server.connect(&bob).await;
    desk.join(&topic, "1").await;
    scene.viewer.drain().await;
    let after = scene.request("member_list_resync", resync).await;
    assert_eq!(after[..2], ["Crew (1)", "bob online"]);
}

#[tokio::test]
async fn the_owner_reads_to_which_roles_a_room_is_limited() {
    let scene = Scene::new().await;
    let Scene {
        server, ada, bob, ..
    } = &scene;
    let crew = scene.role("Crew", "", false).await;
    let mates = scene.role("Mates", "", false).await;
    let path = scene.topic.replace("room:", "/rooms/") + "/roles";
    assert_eq!(server.get(ada, &path).await.1["data"], json!([]));
    let limit = json!({ "role_ids": [mates, crew] });
    assert_eq!(put(server, ada, &path, limit).await.0, StatusCode::OK);
    let (_, answer) = server.get(ada, &path).await;
    assert_eq!(crate::roles::names(&answer), ["Crew", "Mates"]);
    assert_eq!(server.get(bob, &path).await.0, StatusCode::FORBIDDEN);
}
