//! Random changes of roles on one server, after which every user may list, and every member list shows, what a naive
//! model says. `SEED=<number>` repeats one run.

use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, Instant},
};

use fastrand::Rng;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    hoisted_roles::rows,
    roles::{made, names, text},
    support::client::{Server, Socket, User},
};

const ROUNDS: usize = 60;
const STEPS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(10);
/// The owner of the server comes first. The last one is never connected.
const USERS: [&str; 5] = ["ada", "bob", "cyd", "dan", "eve"];
const ROOMS: [&str; 3] = ["attic", "bridge", "cellar"];
const ROLE_NAMES: [&str; 8] = [
    "Crew", "Mates", "idle", "online", "Staff", "offline", "zeta", "Él",
];
const COLOURS: [&str; 3] = ["", "#aa0000", "#0000aa"];

struct Role {
    id: String,
    name: &'static str,
    colour: &'static str,
    hoisted: bool,
    holders: BTreeSet<usize>,
}

#[derive(Default)]
struct Room {
    /// The ids of the roles that admit; `None` for a room that is open to all.
    limit: Option<HashSet<String>>,
    members: BTreeSet<usize>,
    online: BTreeSet<usize>,
}

/// The server as it should be.
struct Model {
    /// The highest first.
    roles: Vec<Role>,
    rooms: [Room; ROOMS.len()],
    /// The users that are invisible to others.
    hidden: BTreeSet<usize>,
}

impl Model {
    fn admits(&self, room: usize, user: usize) -> bool {
        let has = |id: &String| {
            let mut roles = self.roles.iter();
            roles.any(|role| role.id == *id && role.holders.contains(&user))
        };
        let limit = &self.rooms[room].limit;
        user == 0 || limit.as_ref().is_none_or(|limit| limit.iter().any(has))
    }

    /// Ends the memberships of users who are no longer admitted.
    fn evict(&mut self) {
        for room in 0..ROOMS.len() {
            for user in 0..USERS.len() {
                if !self.admits(room, user) {
                    self.rooms[room].members.remove(&user);
                    self.rooms[room].online.remove(&user);
                }
            }
        }
    }

    fn listed(&self, user: usize) -> Vec<&'static str> {
        let rooms = 0..ROOMS.len();
        let admitted = rooms.filter(|room| self.admits(*room, user));
        admitted.map(|room| ROOMS[room]).collect()
    }

    /// Returns the users that the member list of a room shows, and those of them that it shows online: of a limited
    /// room all whom it admits, whether they were ever there or not.
    fn shown(&self, room: usize) -> [BTreeSet<usize>; 2] {
        let Room {
            limit,
            members,
            online,
        } = &self.rooms[room];
        let [listed, mut online] = if limit.is_some() {
            let listed = (0..USERS.len()).filter(|user| self.admits(room, *user));
            let listed: BTreeSet<usize> = listed.collect();
            let connected = (0..USERS.len() - 1).collect();
            [listed.clone(), &listed & &connected]
        } else {
            [members.clone(), online.clone()]
        };
        online.retain(|user| !self.hidden.contains(user));
        [listed, online]
    }

    /// Returns the rows of the member list of a room.
    fn rows(&self, room: usize) -> Vec<String> {
        let [members, online] = &self.shown(room);
        let mut hoisted = self.roles.iter().filter(|role| role.hoisted).peekable();
        let has_hoisted = hoisted.peek().is_some();
        let mut left = online.clone();
        let mut groups: Vec<(String, BTreeSet<usize>)> = Vec::new();
        for role in hoisted {
            let (group, others) = left
                .into_iter()
                .partition(|user| role.holders.contains(user));
            let name = match role.name {
                "idle" => "Idle",
                "online" => "Online",
                "offline" => "Offline",
                name => name,
            };
            groups.push((name.into(), group));
            left = others;
        }
        if !has_hoisted {
            let (staff, others) = left.into_iter().partition(|user| *user == 0);
            groups.push(("staff".into(), staff));
            left = others;
        }
        groups.push(("online".into(), left));
        groups.push(("offline".into(), members - online));
        let mut rows = Vec::new();
        for (name, users) in groups.into_iter().filter(|(_, users)| !users.is_empty()) {
            rows.push(format!("{name} ({})", users.len()));
            rows.extend(
                users
                    .into_iter()
                    .map(|user| self.row(user, online.contains(&user))),
            );
        }
        rows
    }

    fn row(&self, user: usize, is_online: bool) -> String {
        let mut held = self
            .roles
            .iter()
            .filter(|role| role.holders.contains(&user));
        let colour = held.find(|role| !role.colour.is_empty());
        let colour = colour.map_or("", |role| role.colour);
        let status = if is_online { "online" } else { "offline" };
        format!("{} {status} {colour}", USERS[user])
            .trim_end()
            .into()
    }
}

/// The server as it is.
struct Scene {
    server: Server,
    rng: Rng,
    users: Vec<User>,
    sockets: Vec<Socket>,
    at: String,
    rooms: Vec<String>,
    requests: u32,
    model: Model,
}

impl Scene {
    async fn new(seed: u64) -> Self {
        let server = Server::start().await;
        let mut users = Vec::new();
        let mut sockets = Vec::new();
        for name in &USERS {
            let user = server.register(name).await;
            if *name != USERS[USERS.len() - 1] {
                sockets.push(server.connect(&user).await);
            }
            users.push(user);
        }
        let guild = made(&server, &users[0], "/servers", json!({ "name": "Guild" })).await;
        let at = format!("/servers/{}", text(&guild["id"]));
        let mut rooms = Vec::new();
        for name in ROOMS {
            let path = format!("{at}/rooms");
            let room = made(&server, &users[0], &path, json!({ "name": name })).await;
            rooms.push(text(&room["id"]));
        }
        let model = Model {
            roles: Vec::new(),
            rooms: Default::default(),
            hidden: BTreeSet::new(),
        };
        let mut scene = Self {
            server,
            rng: Rng::with_seed(seed),
            users,
            sockets,
            at,
            rooms,
            requests: 0,
            model,
        };
        for room in 0..ROOMS.len() {
            scene.enter(room, 0).await;
            let open = json!({ "window": "c:0" });
            scene.push(0, room, "member_list_open", open).await;
        }
        scene
    }

    async fn call(
        &self,
        user: usize,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let token = Some(self.users[user].token.as_str());
        self.server.call(method, path, token, Some(body)).await
    }

    /// Calls a path of the server as its owner.
    async fn change(&self, method: Method, path: &str, body: Value) -> Value {
        let path = format!("{}/{path}", self.at);
        let (status, answer) = self.call(0, method, &path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer["data"].clone()
    }

    async fn push(&mut self, user: usize, room: usize, event: &str, payload: Value) -> Value {
        self.requests += 1;
        let reference = format!("r{}", self.requests);
        let topic = format!("room:{}", self.rooms[room]);
        let join_ref = format!("room {room}");
        let frame = json!([join_ref, reference, topic, event, payload]);
        self.sockets[user].send(frame).await;
        self.sockets[user].reply(&reference).await[4].clone()
    }

    /// Performs one random change, on the server and in the model. Returns what it is.
    async fn step(&mut self) -> String {
        let user = self.rng.usize(1..USERS.len());
        let room = self.rng.usize(0..ROOMS.len());
        let done = match self.rng.u32(0..100) {
            0..12 => self.create().await,
            12..17 => self.delete().await,
            17..37 => self.hold(user, true).await,
            37..50 => self.hold(user, false).await,
            50..60 => self.edit().await,
            60..66 => self.order().await,
            66..76 => self.limit(room).await,
            76..90 => self.enter(room, user).await,
            90..95 => self.hide(user).await,
            _ => self.leave(room, user).await,
        };
        self.model.evict();
        done
    }

    async fn create(&mut self) -> String {
        let taken: Vec<&str> = self.model.roles.iter().map(|role| role.name).collect();
        let free = ROLE_NAMES.into_iter().filter(|name| !taken.contains(name));
        let Some(name) = self.rng.choice(free.collect::<Vec<_>>()) else {
            return "no name is free".into();
        };
        let colour = COLOURS[self.rng.usize(0..COLOURS.len())];
        let hoisted = self.rng.bool();
        let body = json!({ "name": name, "colour": colour, "hoisted": hoisted });
        let id = text(&self.change(Method::POST, "roles", body.clone()).await["id"]);
        self.model.roles.push(Role {
            id,
            name,
            colour,
            hoisted,
            holders: BTreeSet::new(),
        });
        format!("create {body}")
    }

    fn any_role(&mut self) -> Option<usize> {
        let len = self.model.roles.len();
        (len > 0).then(|| self.rng.usize(0..len))
    }

    async fn delete(&mut self) -> String {
        let Some(place) = self.any_role() else {
            return "no role to delete".into();
        };
        let role = self.model.roles.remove(place);
        let path = format!("roles/{}", role.id);
        self.change(Method::DELETE, &path, json!({})).await;
        for room in &mut self.model.rooms {
            if let Some(limit) = &mut room.limit {
                limit.remove(&role.id);
            }
        }
        format!("delete {}", role.name)
    }

    async fn hold(&mut self, user: usize, is_given: bool) -> String {
        let Some(place) = self.any_role() else {
            return "no role to hold".into();
        };
        let role = &mut self.model.roles[place];
        let method = if is_given {
            role.holders.insert(user);
            Method::PUT
        } else {
            role.holders.remove(&user);
            Method::DELETE
        };
        let done = format!("{method} {} of {}", role.name, USERS[user]);
        let path = format!("members/{}/roles/{}", self.users[user].id, role.id);
        self.change(method, &path, json!({})).await;
        done
    }

    async fn edit(&mut self) -> String {
        let Some(place) = self.any_role() else {
            return "no role to edit".into();
        };
        let colour = COLOURS[self.rng.usize(0..COLOURS.len())];
        let hoisted = self.rng.bool();
        let role = &mut self.model.roles[place];
        (role.colour, role.hoisted) = (colour, hoisted);
        let path = format!("roles/{}", role.id);
        let body = json!({ "colour": colour, "hoisted": hoisted });
        let done = format!("edit {} {body}", role.name);
        self.change(Method::PATCH, &path, body).await;
        done
    }

    async fn order(&mut self) -> String {
        self.rng.shuffle(&mut self.model.roles);
        let ids: Vec<&str> = self
            .model
            .roles
            .iter()
            .map(|role| role.id.as_str())
            .collect();
        self.change(Method::PUT, "roles", json!({ "role_ids": ids }))
            .await;
        let names: Vec<&str> = self.model.roles.iter().map(|role| role.name).collect();
        format!("order {names:?}")
    }

    async fn limit(&mut self, room: usize) -> String {
        let len = self.rng.usize(0..3);
        let roles = self.model.roles.iter().map(|role| role.id.clone());
        let chosen = self.rng.choose_multiple(roles, len);
        let path = format!("/rooms/{}/roles", self.rooms[room]);
        let body = json!({ "role_ids": chosen });
        let (status, answer) = self.call(0, Method::PUT, &path, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let done = format!("limit {} to {} roles", ROOMS[room], chosen.len());
        let is_limited = !chosen.is_empty();
        self.model.rooms[room].limit = is_limited.then(|| chosen.into_iter().collect());
        done
    }

    /// Makes a user a member of a room, if its roles admit it; some of the users then come online there.
    async fn enter(&mut self, room: usize, user: usize) -> String {
        let join = format!("/rooms/{}/join", self.rooms[room]);
        let (status, answer) = self.call(user, Method::POST, &join, json!({})).await;
        let done = format!("{} enters {}: {status}", USERS[user], ROOMS[room]);
        if !self.model.admits(room, user) {
            assert_eq!(status, StatusCode::FORBIDDEN, "{done}: {answer}");
            return done;
        }
        assert_eq!(status, StatusCode::OK, "{done}: {answer}");
        self.model.rooms[room].members.insert(user);
        if user != USERS.len() - 1 {
            let joined = self.push(user, room, "phx_join", json!({})).await;
            assert_eq!(joined["status"], "ok", "{done}: {joined}");
            self.model.rooms[room].online.insert(user);
        }
        done
    }

    async fn leave(&mut self, room: usize, user: usize) -> String {
        if self.model.rooms[room].members.remove(&user) {
            self.model.rooms[room].online.remove(&user);
            let leave = format!("/rooms/{}/leave", self.rooms[room]);
            let (status, answer) = self.call(user, Method::DELETE, &leave, json!({})).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
        }
        format!("{} leaves {}", USERS[user], ROOMS[room])
    }

    /// Makes a user invisible, or visible again.
    async fn hide(&mut self, user: usize) -> String {
        let status = if self.model.hidden.remove(&user) {
            "online"
        } else {
            self.model.hidden.insert(user);
            "invisible"
        };
        let body = json!({ "status": status });
        let (code, answer) = self.call(user, Method::PUT, "/auth/status", body).await;
        assert_eq!(code, StatusCode::OK, "{answer}");
        format!("{} is {status}", USERS[user])
    }

    async fn check(&mut self, what: &str) {
        for socket in &mut self.sockets {
            // Their users stay connected, however slow the machine is.
            let heartbeat = json!([null, "beat", "phoenix", "heartbeat", {}]);
            socket.send(heartbeat).await;
            socket.reply("beat").await;
        }
        for (user, name) in USERS.iter().enumerate() {
            let path = format!("{}/rooms", self.at);
            let (_, answer) = self.server.get(&self.users[user], &path).await;
            let expected = self.model.listed(user);
            assert_eq!(names(&answer), expected, "{what}: rooms of {name}");
        }
        for (room, name) in ROOMS.iter().enumerate() {
            let expected = self.model.rows(room);
            let end = Instant::now() + PATIENCE;
            loop {
                // Presence follows within a beat, and windows may be asked for ten times a second.
                sleep(Duration::from_millis(105)).await;
                let resync = json!({ "windows": ["c:0"] });
                let reply = self.push(0, room, "member_list_resync", resync).await;
                let response = &reply["response"];
                if reply["status"] == "ok" && rows(response) == expected {
                    break;
                }
                let shown = format!("{what}: {name}: {response}, not {expected:?}");
                assert!(Instant::now() < end, "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn rooms_and_member_lists_follow_random_changes_of_roles() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut scene = Scene::new(seed).await;
    for round in 0..ROUNDS {
        let mut what = format!("SEED={seed} round {round}");
        for _ in 0..STEPS {
            what += "; ";
            what += &scene.step().await;
        }
        scene.check(&what).await;
    }
}
