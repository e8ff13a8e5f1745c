//! A node that was cut off reads the memberships and roles that changed meanwhile, and not all.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{
    api::{call, id_of},
    nodes::{Cluster, Node},
    site::{Proxy, Site},
    until,
    viewer::{User, Viewer},
};

const STORED: u32 = 5_000;
/// Changes of the members of a room that are kept; of more, all members are read.
const KEPT: u32 = 10_000;
/// Changes that are read at once.
const PAGE: f64 = 5_000.0;
const REPAIRS: &str = r#"headcount_cluster_repairs_total{outcome="ok"}"#;
const ROWS: &str = "headcount_cluster_repair_rows_total";

/// A room of many stored members, and a node that can be cut off with a viewer of the room.
struct Scene {
    cluster: Cluster,
    proxy: Proxy,
    cut_off: Node,
    owner: User,
    server: String,
    room: String,
    viewer: Viewer,
    _site: Site,
}

impl Scene {
    /// Makes the room with these users as members beside many others, and opens it at the node.
    async fn set_up(names: &[&str]) -> (Self, Vec<User>) {
        let (site, webhook) = Site::start().await;
        let cluster = Cluster::start(&webhook).await;
        let proxy = Proxy::start(&cluster.nats.url).await;
        let cut_off = Node::start(&cluster.database, &proxy.url, &webhook).await;
        let first = &cluster.nodes[0];
        let owner = User::register(&first.address, "owner").await;
        let guild = json!({ "name": "Guild" });
        let server = call(&owner, first, "POST", "/servers", guild).await;
        let rooms = format!("/servers/{}/rooms", id_of(&server));
        let room = call(&owner, first, "POST", &rooms, json!({ "name": "hall" })).await;
        let mut users = Vec::new();
        for name in names {
            users.push(User::register(&first.address, name).await);
        }
        let server = id_of(&server).to_owned();
        let room = id_of(&room).to_owned();
        run(
            &cluster,
            format!(
                "WITH added AS (INSERT INTO users
                     (id, tenant, username, skeleton, password_hash, inserted_at)
                     SELECT gen_random_uuid(), 'default', name, name, '', 0
                     FROM (SELECT 'one of many members ' || n AS name
                           FROM generate_series(1, {STORED}) n) AS named RETURNING id)
                 INSERT INTO room_members (room_id, user_id, role, joined_at)
                 SELECT '{room}', id, 'member', 0 FROM added"
            ),
        )
        .await;
        let viewer = Viewer::enter(&cut_off.address, &owner, &room).await;
        let scene = Self {
            cluster,
            proxy,
            cut_off,
            owner,
            server,
            room,
            viewer,
            _site: site,
        };
        (scene, users)
    }

    async fn join(&self, user: &User) {
        let path = format!("/rooms/{}/join", self.room);
        call(user, &self.cluster.nodes[0], "POST", &path, json!({})).await;
    }

    async fn leave(&self, user: &User) {
        let path = format!("/rooms/{}/leave", self.room);
        let first = &self.cluster.nodes[0].address;
        let (status, answer) = user.call(first, "DELETE", &path, Value::Null).await;
        assert!((200..300).contains(&status), "{answer}");
    }

    /// Waits until the list at the node has as many members offline as the database has beside the owner.
    async fn shows_all_stored(&mut self) {
        let count = format!(
            "SELECT count(*) FROM room_members WHERE room_id = '{}'",
            self.room
        );
        let mut database = PgConnection::connect(&self.cluster.database).await.unwrap();
        let (stored,): (i64,) = sqlx::query_as(AssertSqlSafe(count))
            .fetch_one(&mut database)
            .await
            .unwrap();
        let header = format!("offline ({})", stored - 1);
        for _ in 0..300 {
            let rows = self.viewer.all_rows().await;
            if rows.contains(&header) {
                return;
            }
            // Windows may be asked for ten times a second.
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
        panic!("the list does not have {header}");
    }

    /// Returns whether the list at the node has a member of that name.
    async fn has(&mut self, name: &str) -> bool {
        let find = json!({ "prefix": name });
        let found = self.viewer.push("member_list_find", find).await;
        let found = found["response"]["matches"].as_array().unwrap();
        !found.is_empty()
    }

    /// Waits for the repairs after the connection has healed. Returns the rows that they read.
    async fn heal(&self) -> f64 {
        let repairs = self.cut_off.metric(REPAIRS).await;
        let rows = self.cut_off.metric(ROWS).await;
        self.proxy.heal();
        until("a repair", || async {
            (self.cut_off.metric(REPAIRS).await > repairs).then_some(())
        })
        .await;
        self.cut_off.metric(ROWS).await - rows
    }
}

async fn run(cluster: &Cluster, sql: String) {
    let mut database = PgConnection::connect(&cluster.database).await.unwrap();
    let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut database).await;
    done.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_cut_off_reads_the_changes_and_not_all_members() {
    let names = ["zoë", "zola", "李雷", "yara", "yves"];
    let (mut scene, users) = Scene::set_up(&names).await;
    let (joining, leaving) = users.split_at(3);
    for user in leaving {
        scene.join(user).await;
    }
    scene.shows_all_stored().await;
    let roles = format!("/servers/{}/roles", scene.server);
    let first = &scene.cluster.nodes[0];
    let crew = json!({ "name": "Crew", "hoisted": true });
    let crew = call(&scene.owner, first, "POST", &roles, crew).await;

    scene.proxy.cut();
    for user in joining {
        scene.join(user).await;
    }
    for user in leaving {
        scene.leave(user).await;
    }
    let server = &scene.server;
    let of = |user: &User| {
        format!(
            "/servers/{server}/members/{}/roles/{}",
            user.id,
            id_of(&crew)
        )
    };
    for user in [&scene.owner, &users[0]] {
        call(&scene.owner, first, "PUT", &of(user), json!({})).await;
    }
    let rows = scene.heal().await;
    // Two joins before the cut, of which events told; three joins, two leaves and two roles that were missed.
    assert_eq!(rows, 9.0);
    scene.shows_all_stored().await;
    for (name, is_member) in names.iter().zip([true, true, true, false, false]) {
        assert_eq!(scene.has(name).await, is_member, "{name}");
    }
    let shown = scene.viewer.all_rows().await;
    assert_eq!(shown[..2], ["Crew (1)", "owner online"]);

    // What was read is not read again.
    scene.proxy.cut();
    scene.leave(&users[0]).await;
    assert_eq!(scene.heal().await, 1.0);
    scene.shows_all_stored().await;
    assert!(!scene.has("zoë").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_chosen_while_a_node_was_cut_off_is_shown_there() {
    let (scene, _) = Scene::set_up(&[]).await;
    scene.viewer.sees(&[&scene.owner]).await;
    scene.proxy.cut();
    let hidden = json!({ "status": "invisible" });
    let first = &scene.cluster.nodes[0];
    call(&scene.owner, first, "PUT", "/auth/status", hidden).await;
    // Presence knows nothing of it: the session is at the node that is cut off.
    scene.viewer.sees(&[&scene.owner]).await;
    scene.heal().await;
    scene.viewer.sees(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_missed_more_changes_than_are_kept_reads_all_members() {
    let (mut scene, users) = Scene::set_up(&["zoë"]).await;
    scene.shows_all_stored().await;
    scene.proxy.cut();
    scene.join(&users[0]).await;
    let again = [
        "DELETE FROM room_members WHERE role = 'member'".to_owned(),
        format!(
            "INSERT INTO room_members (room_id, user_id, role, joined_at)
             SELECT '{}', id, 'member', 0 FROM users WHERE username LIKE 'one of many%'",
            scene.room
        ),
    ];
    for statement in again {
        run(&scene.cluster, statement).await;
        // It may have taken so long that a silent client is given up.
        assert!(scene.has("one of many").await);
    }
    let kept = format!(
        "DO $$ BEGIN ASSERT {KEPT} = (SELECT count(*) FROM member_changes
         WHERE room_id = '{}'); END $$",
        scene.room
    );
    run(&scene.cluster, kept).await;
    // A page of the changes, of which the first is not the next, then the members.
    assert_eq!(scene.heal().await, PAGE + f64::from(STORED + 1));
    scene.shows_all_stored().await;
    assert!(!scene.has("zoë").await);
}
