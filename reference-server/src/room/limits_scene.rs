//! A server in a database, its hub, and clients of its rooms.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use fastrand::Rng;
use headcount::Status;
use headcount::member_list::{
    Body, Bundle, BundleFormat, FrameRow,
    client::{Client, merge_json},
};
use metrics::Histogram;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::model::{Held, Model, ROOMS, USERS};
use crate::{
    auth::Identity,
    db::{self, Db, NewRoom, RoleContent},
    inbox::Inboxes,
    metrics::DatabaseMetrics,
    name_order::NameOrder,
    names::Username,
    room::{
        Hub, ListFormat, RefusedJoins, Room, RoomPresence, SubscriptionId, Visitor, WindowRequest,
    },
    socket::{Outbox, Vsn},
};

/// Beats in which all rooms publish, windows of searches too, which do so once a second.
const BEATS: u32 = 25;

/// A client of a room, with what it shows.
pub(super) struct Shown {
    room: usize,
    pub(super) open: Arc<Room>,
    pub(super) subscription: SubscriptionId,
    outbox: Arc<Outbox>,
    client: Client<u128>,
    pub(super) resyncs: usize,
}

impl Shown {
    fn ask(&mut self, request: &WindowRequest) -> Bundle<u128> {
        self.take();
        let asked = self.open.request_window(self.subscription, &None, request);
        asked.expect("a good request");
        let reply = self.outbox.pop().expect("the reply is queued");
        let frame: Value = serde_json::from_str(&reply).unwrap();
        bundle(&frame[4]["response"])
    }

    fn open(&mut self, window: &str, request: &WindowRequest) {
        let number = self.client.open(window);
        let answer = self.ask(request);
        let _ = self.client.answer(number, &answer);
    }

    pub(super) fn close_search(&mut self) {
        let window = "q:61:0".to_owned();
        self.client.close(&window);
        let request = WindowRequest::Close { window };
        let closed = self.open.request_window(self.subscription, &None, &request);
        closed.expect("it is open");
    }

    /// Takes what was sent; asks for windows where that is not enough.
    pub(super) fn take(&mut self) {
        let mut asks = BTreeSet::new();
        while let Some(frame) = self.outbox.pop() {
            let frame: Value = serde_json::from_str(&frame).unwrap();
            if frame[3] == "member_list" {
                let report = self.client.apply(&bundle(&frame[4]));
                asks.extend(report.resync.iter().map(|name| name.to_string()));
            }
        }
        if !asks.is_empty() {
            self.resyncs += 1;
            let windows = asks.into_iter().collect();
            let number = self.client.request();
            let answer = self.ask(&WindowRequest::Resync { windows });
            let _ = self.client.answer(number, &answer);
        }
    }

    pub(super) fn rows(&self, window: &str) -> Vec<String> {
        let shown = self.client.window(window).expect("it is open");
        assert!(!shown.is_waiting(), "{window}");
        let text = |row: &FrameRow<u128>| match row {
            FrameRow::Header { group, count } => format!("{group} ({count})"),
            FrameRow::Member { attrs, body, .. } => {
                assert_eq!(*attrs, 0, "roles are not shown as attributes");
                let Some(Body::Json(body)) = body else {
                    panic!("{body:?}");
                };
                row_text(&serde_json::from_slice(body).unwrap())
            }
        };
        shown.rows().iter().map(text).collect()
    }
}

fn row_text(body: &Value) -> String {
    let word = |field: &str| body[field].as_str().unwrap_or_default();
    format!("{} {} {}", word("username"), word("status"), word("colour"))
}

fn bundle(json: &Value) -> Bundle<u128> {
    assert!(
        json["list"].as_str().unwrap().starts_with("room:"),
        "{json}"
    );
    Bundle::from_json(json.to_string().as_bytes()).unwrap()
}

pub(super) struct Scene {
    pub(super) db: Db,
    pub(super) hub: Hub,
    pub(super) now: Instant,
    server: Uuid,
    pub(super) users: Vec<Uuid>,
    pub(super) rooms: Vec<db::Room>,
    pub(super) shown: Vec<Shown>,
    pub(super) model: Model,
    pub(super) rng: Rng,
    roles_made: usize,
    _dir: TempDir,
}

impl Scene {
    pub(super) async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let db = Db::open(&path, None, DatabaseMetrics::default())
            .await
            .unwrap();
        db.ensure_default_server("default").await.unwrap();
        let mut users = Vec::new();
        for name in USERS {
            let name = Username::parse(Some(name)).unwrap();
            let user = db.insert_user("default", name, "").await.unwrap();
            users.push(user.unwrap().id);
        }
        let server = db
            .insert_server("default", "Guild", "guild", users[0], 1)
            .await;
        let server = server.unwrap().added().unwrap().id;
        let mut rooms = Vec::new();
        for name in ["attic", "bridge", "cellar", "deck"] {
            let new = NewRoom {
                tenant: "default",
                server: Some(server),
                name,
                skeleton: name,
                owner: Some(users[0]),
                ..NewRoom::default()
            };
            rooms.push(db.insert_room(&new).await.unwrap().added().unwrap());
        }
        let order = NameOrder::default();
        let hub = Hub::new(RoomPresence::new(), 250, order, RefusedJoins::new(0));
        let mut scene = Self {
            db,
            hub,
            now: Instant::now(),
            server,
            users,
            rooms,
            shown: Vec::new(),
            model: Model::default(),
            rng: Rng::with_seed(seed),
            roles_made: 0,
            _dir: dir,
        };
        scene.choose(0, Some(Status::Online));
        for room in 0..ROOMS {
            for format in [BundleFormat::One, BundleFormat::Two] {
                scene.watch(room, format).await;
            }
        }
        scene
    }

    /// Joins the owner to a room, and opens windows of its list there.
    pub(super) async fn watch(&mut self, room: usize, format: BundleFormat) {
        let outbox = Arc::new(Outbox::default());
        let identity = Identity::new(self.users[0], USERS[0].into(), false, "default".into());
        let visitor = Visitor {
            identity,
            staff: true,
            status: Status::Online,
            device: None,
            list_format: ListFormat::Bundles(format),
            online_at: 0,
            outbox: Arc::clone(&outbox),
            vsn: Vsn::V2,
            join_ref: None,
        };
        let joined = self
            .hub
            .join(&self.db, &self.rooms[room], visitor, &None, None)
            .await;
        let joined = joined.unwrap().unwrap();
        let mut shown = Shown {
            room,
            open: joined.room,
            subscription: joined.id,
            outbox,
            client: Client::new(merge_json),
            resyncs: 0,
        };
        self.beat();
        let window = "c:0".to_owned();
        shown.open("c:0", &WindowRequest::Open { window });
        let search = r#"{"search":"A"}"#;
        let search = WindowRequest::Search(serde_json::from_str(search).unwrap());
        shown.open("q:61:0", &search);
        self.shown.push(shown);
    }

    pub(super) fn beat(&mut self) {
        for _ in 0..BEATS {
            self.now += Hub::BEAT;
            self.hub
                .beat(&Inboxes::default(), &Histogram::noop(), self.now);
        }
    }

    pub(super) fn check(&mut self, what: &str) {
        self.beat();
        for shown in &mut self.shown {
            shown.take();
            for (window, beginning) in [("c:0", ""), ("q:61:0", "a")] {
                let expected = self.model.rows(shown.room, beginning);
                assert_eq!(
                    shown.rows(window),
                    expected,
                    "{what}: {window} of {}",
                    shown.room
                );
            }
        }
        let limits: BTreeSet<_> = self.model.limits.iter().flatten().collect();
        let sizes: Vec<_> = self
            .hub
            .tables
            .all()
            .iter()
            .map(|(_, table)| table.sizes())
            .collect();
        let holders = self.model.roles.iter().flat_map(|held| &held.holders);
        let members: BTreeSet<_> = holders.chain([&0]).collect();
        let expected = (members.len(), limits.len());
        assert_eq!(
            sizes,
            if limits.is_empty() {
                vec![]
            } else {
                vec![expected]
            },
            "{what}"
        );
    }

    pub(super) async fn create(&mut self, name: &str, colour: &str, hoisted: bool) {
        self.roles_made += 1;
        let content = RoleContent {
            name,
            skeleton: &self.roles_made.to_string(),
            colour,
            hoisted,
        };
        let added = self.db.insert_role(self.server, &content, 250).await;
        let role = added.unwrap().added().expect("it is not refused");
        let holders = BTreeSet::new();
        self.model.roles.push(Held { role, holders });
        self.hub.show_roles(&self.db, self.server).await.unwrap();
    }

    pub(super) async fn delete(&mut self, place: usize) {
        let role = self.model.roles.remove(place).role;
        self.db.delete_role(role.id).await.unwrap();
        for limit in self.model.limits.iter_mut().flatten() {
            limit.remove(&role.id);
        }
        self.hub.show_roles(&self.db, self.server).await.unwrap();
    }

    async fn edit(&mut self, place: usize, name: &str, colour: &str, hoisted: bool) {
        let skeleton = format!("{name} {place} {}", self.rng.u64(..));
        let content = RoleContent {
            name,
            skeleton: &skeleton,
            colour,
            hoisted,
        };
        let role = &mut self.model.roles[place].role;
        let updated = self.db.update_role(role, &content).await.unwrap();
        *role = updated.expect("the name is free");
        self.hub.show_roles(&self.db, self.server).await.unwrap();
    }

    pub(super) async fn hold(&mut self, place: usize, user: usize, is_given: bool) {
        let held = &mut self.model.roles[place];
        let id = self.users[user];
        if is_given {
            held.holders.insert(user);
            self.db.give_role(&held.role, id).await.unwrap();
        } else {
            held.holders.remove(&user);
            self.db.take_role(&held.role, id).await.unwrap();
        }
        let shown = self.hub.show_roles_of(&self.db, self.server, id).await;
        shown.unwrap();
    }

    pub(super) async fn limit(&mut self, room: usize, places: &[usize]) {
        let roles = places.iter().map(|place| self.model.roles[*place].role.id);
        let roles: Vec<Uuid> = roles.collect();
        self.db
            .limit_room(self.rooms[room].id, &roles)
            .await
            .unwrap();
        let limit = roles.into_iter().collect::<BTreeSet<_>>();
        self.model.limits[room] = (!limit.is_empty()).then_some(limit);
        self.hub.show_roles(&self.db, self.server).await.unwrap();
    }

    /// Connects a user with a status, changes it, or ends the connection.
    pub(super) fn choose(&mut self, user: usize, status: Option<Status>) {
        let presence = &self.hub.presence;
        let id = self.users[user];
        match (self.model.statuses.get(&user), status) {
            (None, Some(status)) => presence.enter_user(id, "default", status),
            (Some(_), Some(status)) => presence.set_user_status(id, status),
            (_, None) => presence.exit_user(id),
        }
        match status {
            Some(status) => self.model.statuses.insert(user, status),
            None => self.model.statuses.remove(&user),
        };
    }

    pub(super) async fn step(&mut self) -> String {
        let long = "é".repeat(40);
        let longer = format!("{long}!");
        let names = ["Crew", "idle", "online", "Él", &long, &longer, "ж", "staff"];
        let name = names[self.rng.usize(..names.len())];
        let colour = ["", "#aa0000", "#0000aa"][self.rng.usize(..3)];
        let hoisted = self.rng.bool();
        let user = self.rng.usize(..USERS.len());
        let room = self.rng.usize(..ROOMS);
        let len = self.model.roles.len();
        if len == 0 || (len < 8 && self.rng.u32(..8) == 0) {
            self.create(name, colour, hoisted).await;
            return format!("create {name} {hoisted}");
        }
        let place = self.rng.usize(..len);
        match self.rng.u32(..100) {
            0..6 => self.delete(place).await,
            6..45 => {
                let is_given = self.rng.u32(..3) > 0;
                self.hold(place, user, is_given).await;
                return format!("{is_given} {place} of {}", USERS[user]);
            }
            45..60 => {
                self.edit(place, name, colour, hoisted).await;
                return format!("edit {place} {name} {colour} {hoisted}");
            }
            60..75 => {
                let count = self.rng.usize(..3).min(len);
                let places = self.rng.choose_multiple(0..len, count);
                self.limit(room, &places).await;
                return format!("limit {room} to {places:?}");
            }
            75..80 => {
                self.rng.shuffle(&mut self.model.roles);
                let order: Vec<Uuid> = self.model.roles.iter().map(|held| held.role.id).collect();
                let ordered = self.db.order_roles(self.server, &order).await.unwrap();
                assert!(ordered.is_some());
                self.hub.show_roles(&self.db, self.server).await.unwrap();
                return "order".into();
            }
            _ => {
                let statuses = [Status::Online, Status::Idle, Status::Dnd, Status::Invisible];
                let status = statuses.get(self.rng.usize(..=statuses.len())).copied();
                let user = self.rng.usize(1..USERS.len());
                self.choose(user, status);
                return format!("{} is {status:?}", USERS[user]);
            }
        }
        format!("delete {place}")
    }
}
