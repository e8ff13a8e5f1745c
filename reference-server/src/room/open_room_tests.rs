//! Tests of an open room: what its subscribers are sent.

use std::collections::BTreeMap;

use headcount::{
    Status,
    member_list::{BundleFormat, Epoch, HeldWindow},
};

use super::*;
use crate::room::{
    ListFormat, Visitor,
    presence_feed::{CALM, COUNT_PERIOD},
    published::PublishedPresence,
};
use crate::socket::{Outbox, Vsn};

struct Scene {
    room: Arc<Room>,
    presence: RoomPresence,
    subscriptions: u64,
}

impl Scene {
    fn new(full_max: usize) -> Self {
        let info = db::Room {
            id: Uuid::now_v7(),
            tenant: "default".into(),
            server_id: None,
            category_id: None,
            kind: "group".into(),
            name: "room".into(),
            description: String::new(),
            owner_id: None,
            private: false,
            limited: false,
            simulated: false,
            last_seq: 0,
            member_count: 0,
            members_seq: 0,
            inserted_at: 0,
        };
        let members = RoomMembers::new(&info.topic(), "node", &Arc::default());
        let room = Arc::new(Room::new(info, &[], members, full_max));
        Self {
            room,
            presence: RoomPresence::new(),
            subscriptions: 0,
        }
    }

    fn join(&mut self) -> (SubscriptionId, Arc<Outbox>) {
        self.join_as(Uuid::now_v7(), Status::Online)
    }

    fn join_as(&mut self, id: Uuid, status: Status) -> (SubscriptionId, Arc<Outbox>) {
        self.join_with(id, status, ListFormat::default())
    }

    fn join_with(
        &mut self,
        id: Uuid,
        status: Status,
        list_format: ListFormat,
    ) -> (SubscriptionId, Arc<Outbox>) {
        self.subscriptions += 1;
        let outbox = Arc::new(Outbox::default());
        let visitor = Visitor {
            online_at: 0,
            device: None,
            list_format,
            identity: Identity::new(id, "guest".into(), true, "default".into()),
            staff: false,
            status,
            outbox: Arc::clone(&outbox),
            vsn: Vsn::V2,
            join_ref: None,
        };
        let subscription = SubscriptionId(self.subscriptions);
        let joined = self
            .room
            .join(&self.presence, subscription, visitor, &None, None);
        // A user that was lost returns to the subscription of before.
        (joined.expect("the room is open").id, outbox)
    }

    /// Makes a request about the member list, and returns the answer.
    fn ask(&self, by: &(SubscriptionId, Arc<Outbox>), request: &WindowRequest) -> Value {
        let (subscription, outbox) = by;
        while outbox.pop().is_some() {}
        let asked = self.room.request_window(*subscription, &None, request);
        asked.expect("a good request");
        let answers = events(outbox);
        named(&answers, "phx_reply")[0]["response"].clone()
    }

    fn beat(&self) {
        for diff in self.presence.take_diff().iter() {
            self.room.apply(&self.presence, &[diff]);
        }
    }
}

/// Takes all frames out, as event and payload.
fn events(outbox: &Outbox) -> Vec<(String, Value)> {
    let frames = std::iter::from_fn(|| outbox.pop());
    let parse = |frame: tungstenite::Utf8Bytes| {
        let frame: Value = serde_json::from_str(&frame).unwrap();
        (frame[3].as_str().unwrap().to_owned(), frame[4].clone())
    };
    frames.map(parse).collect()
}

fn named<'a>(events: &'a [(String, Value)], name: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|(event, _)| event == name)
        .map(|(_, payload)| payload)
        .collect()
}

#[test]
fn a_room_that_empties_names_its_members_again() {
    let mut scene = Scene::new(5);
    let mut subscriptions: Vec<_> = (0..6).map(|_| scene.join()).collect();
    scene.beat();
    let outbox = Arc::clone(&subscriptions[0].1);
    assert_eq!(
        named(&events(&outbox), "presence_mode"),
        [&json!({ "mode": "counts" })]
    );
    let now = Instant::now();
    for (subscription, _) in subscriptions.drain(3..) {
        scene.room.leave(&scene.presence, subscription);
    }
    scene.beat();
    scene.room.tick(&scene.presence, now);
    scene.room.tick(&scene.presence, now + CALM / 2);
    assert!(named(&events(&outbox), "presence_mode").is_empty());
    scene.room.tick(&scene.presence, now + CALM);
    let sent = events(&outbox);
    assert_eq!(named(&sent, "presence_mode"), [&json!({ "mode": "full" })]);
    let states = named(&sent, "presence_state");
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].as_object().unwrap().len(), 3);
}

/// While only counts are sent, users that a subscriber has seen still leave; a subscriber that was behind then gets the
/// rest of its state when it has caught up.
#[test]
fn a_subscriber_that_was_behind_shows_no_ghosts_in_counts_mode() {
    let mut scene = Scene::new(3);
    let mut subscriptions: Vec<_> = (0..3).map(|_| scene.join()).collect();
    scene.beat();
    let slow = Arc::clone(&subscriptions[0].1);
    while !slow.is_congested() {
        slow.push("filler".into());
    }
    subscriptions.extend((0..3).map(|_| scene.join()));
    scene.beat();
    assert_eq!(scene.room.state.lock().feed.mode(), "counts");
    scene.room.leave(&scene.presence, subscriptions[1].0);
    scene.beat();
    while slow.pop().is_some() {}
    scene.room.tick(&scene.presence, Instant::now());
    let sent = events(&slow);
    let states = named(&sent, "presence_state");
    let users = |state: &Value| state.as_object().expect("users").len();
    assert_eq!(states.into_iter().map(users).collect::<Vec<_>>(), [5]);
    // A new subscriber in counts mode gets no names.
    let newcomer = scene.join().1;
    scene.room.tick(&scene.presence, Instant::now());
    assert!(named(&events(&newcomer), "presence_state").is_empty());
}

/// A subscriber that was behind when the counts were sent gets them when it has caught up.
#[test]
fn a_subscriber_that_was_behind_gets_the_counts_it_missed() {
    let mut scene = Scene::new(1);
    let (_, slow) = scene.join();
    let subscriptions: Vec<_> = (0..3).map(|_| scene.join()).collect();
    scene.beat();
    let mut now = Instant::now() + COUNT_PERIOD;
    scene.room.tick(&scene.presence, now);
    let counts = |sent: &[(String, Value)]| {
        let sent = named(sent, "presence_count");
        sent.iter()
            .map(|counts| counts["online"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(&events(&slow)), [4]);
    while !slow.is_congested() {
        slow.push("filler".into());
    }
    scene.room.leave(&scene.presence, subscriptions[2].0);
    scene.beat();
    now += COUNT_PERIOD;
    scene.room.tick(&scene.presence, now);
    assert_eq!(counts(&events(&subscriptions[0].1)).last(), Some(&json!(3)));
    while let Some(frame) = slow.pop() {
        assert!(frame.as_str() == "filler");
    }
    now += COUNT_PERIOD;
    scene.room.tick(&scene.presence, now);
    assert_eq!(counts(&events(&slow)), [3]);
    now += COUNT_PERIOD;
    scene.room.tick(&scene.presence, now);
    assert!(events(&slow).is_empty() && events(&subscriptions[0].1).is_empty());
}

#[test]
fn a_congested_subscriber_gets_one_state_instead_of_every_diff() {
    let mut scene = Scene::new(250);
    let (_, slow) = scene.join();
    scene.beat();
    while !slow.is_congested() {
        slow.push("filler".into());
    }
    for _ in 0..10 {
        scene.join();
        scene.beat();
    }
    scene.room.tick(&scene.presence, Instant::now());
    let late = std::iter::from_fn(|| slow.pop()).skip_while(|f| f.as_str() != "filler");
    assert!(late.into_iter().all(|frame| frame.as_str() == "filler"));
    scene.room.tick(&scene.presence, Instant::now());
    let sent = events(&slow);
    let states = named(&sent, "presence_state");
    assert_eq!(states.len(), 1, "{sent:?}");
    assert_eq!(states[0].as_object().unwrap().len(), 11);
    scene.join();
    scene.beat();
    assert_eq!(named(&events(&slow), "presence_diff").len(), 1);
}

/// The metas by key and reference that a Phoenix client derives from a state and the diffs after it.
#[derive(Debug, Default, PartialEq, Eq)]
struct View(BTreeMap<(String, String), Value>);

impl View {
    fn metas(users: &Value) -> BTreeMap<(String, String), Value> {
        let mut metas = BTreeMap::new();
        for (key, user) in users.as_object().unwrap() {
            for meta in user["metas"].as_array().unwrap() {
                let reference = meta["phx_ref"].as_str().unwrap().to_owned();
                metas.insert((key.clone(), reference), meta.clone());
            }
        }
        metas
    }

    fn follow(&mut self, outbox: &Outbox) {
        for (event, payload) in events(outbox) {
            match event.as_str() {
                "presence_state" => self.0 = Self::metas(&payload),
                "presence_diff" => {
                    self.0.extend(Self::metas(&payload["joins"]));
                    for (of, meta) in Self::metas(&payload["leaves"]) {
                        let known = self.0.remove(&of);
                        assert!(known.is_none_or(|known| known == meta), "as it joined");
                    }
                }
                _ => {}
            }
        }
    }
}

/// Newcomers are sent a state between any two changes that become one diff.
#[test]
fn a_newcomer_between_two_changes_of_one_diff_sees_all_users() {
    let statuses = [Status::Online, Status::Idle, Status::Dnd, Status::Invisible];
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut scene = Scene::new(250);
        let users: Vec<_> = (0..4).map(|_| Uuid::now_v7()).collect();
        let mut subscriptions: Vec<(SubscriptionId, Arc<Outbox>, View)> = Vec::new();
        for _ in 0..120 {
            let index = rng.usize(..subscriptions.len().max(1));
            let status = statuses[rng.usize(..statuses.len())];
            match rng.u8(..8) {
                0 | 1 if subscriptions.len() < 8 => {
                    let (subscription, outbox) = scene.join_as(users[rng.usize(..4)], status);
                    subscriptions.push((subscription, outbox, View::default()));
                }
                2 if !subscriptions.is_empty() => {
                    let (subscription, ..) = subscriptions.swap_remove(index);
                    scene.room.leave(&scene.presence, subscription);
                }
                3..6 if !subscriptions.is_empty() => {
                    let subscription = subscriptions[index].0;
                    scene.room.set_status(&scene.presence, subscription, status);
                }
                6 => scene.beat(),
                _ => {}
            }
        }
        scene.beat();
        let expected = PublishedPresence::of(&scene.presence, &scene.room.topic).state();
        let expected = View::metas(&serde_json::from_str(&expected).unwrap());
        let refs: Vec<_> = expected.keys().collect();
        for (_, outbox, view) in &mut subscriptions {
            view.follow(outbox);
            assert_eq!(view.0.keys().collect::<Vec<_>>(), refs, "seed {seed}");
        }
    }
}

/// Returns what a client holds of the first window of an answer.
fn held_window(answer: &Value) -> HeldWindow {
    let epoch = &answer["epoch"];
    HeldWindow {
        window: "c:0".into(),
        epoch: Epoch::new(
            epoch["node"].as_str().unwrap(),
            epoch["number"].as_u64().unwrap(),
        ),
        version: answer["frames"][0]["new_version"].as_u64().unwrap(),
    }
}

#[test]
fn a_client_that_was_away_for_a_minute_at_most_gets_what_changed() {
    const TWO: ListFormat = ListFormat::Bundles(BundleFormat::Two);
    let open = WindowRequest::Open {
        window: "c:0".into(),
    };
    for (away_s, kind) in [(30, "delta"), (62, "sync")] {
        let mut scene = Scene::new(5);
        let simulated: Vec<usize> = (0..2_500).collect();
        scene.room.load_simulated(&simulated);
        let users: Vec<Uuid> = (0..6).map(|_| Uuid::now_v7()).collect();
        let others: Vec<_> = users[1..4]
            .iter()
            .map(|id| scene.join_as(*id, Status::Online))
            .collect();
        let first = scene.join_with(users[0], Status::Online, TWO);
        scene.beat();
        let now = Instant::now();
        let shown = scene.ask(&first, &open);
        scene.room.tick(&scene.presence, now);

        let grace = Duration::from_secs(600);
        scene.room.lose(&scene.presence, first.0, grace);
        scene.room.leave(&scene.presence, others[0].0);
        scene
            .room
            .set_status_of_user(&scene.presence, users[2], Status::Idle);
        let _ = scene.join_as(users[4], Status::Online);
        scene.beat();
        // The list goes on without viewers, for those that are away.
        for second in 1..=away_s {
            scene
                .room
                .tick(&scene.presence, now + Duration::from_secs(second));
        }

        let again = scene.join_with(users[0], Status::Online, TWO);
        let request = WindowRequest::Resume {
            held: vec![held_window(&shown)],
        };
        let resumed = scene.ask(&again, &request);
        let fresh = scene.join_with(users[5], Status::Online, TWO);
        let synced = scene.ask(&fresh, &open);
        let frame = &resumed["frames"][0];
        let sync = &synced["frames"][0];
        assert_eq!(frame["kind"], kind, "away for {away_s} s");
        assert_eq!(frame["checksum32"], sync["checksum32"]);
        assert_eq!(resumed["windows"][0]["version"], frame["new_version"]);
        if kind == "delta" {
            assert_eq!(frame["base_version"], shown["frames"][0]["new_version"]);
            assert!(
                frame.to_string().len() < sync.to_string().len() / 4,
                "{frame}"
            );
        }
    }
}

#[test]
fn a_list_without_viewers_is_not_published() {
    let mut scene = Scene::new(5);
    let open = WindowRequest::Open {
        window: "c:0".into(),
    };
    let viewer = scene.join();
    scene.ask(&viewer, &open);
    let now = Instant::now();
    scene.room.tick(&scene.presence, now);
    assert!(scene.room.state.lock().members.is_published());
    scene.room.lose(&scene.presence, viewer.0, Duration::ZERO);
    scene
        .room
        .tick(&scene.presence, now + Duration::from_secs(1));
    assert!(!scene.room.state.lock().members.is_published());
}
