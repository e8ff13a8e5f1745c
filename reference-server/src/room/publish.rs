//! What a room tells its subscribers of presence: diffs, counts and the member list.

use std::time::{Duration, Instant};

use headcount::TopicDiff;
use headcount::member_list::WindowError;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Room, RoomPresence, SubscriptionId, WindowRequest,
    published::PublishedPresence,
    state::{Mode, State, TYPING_TTL, Typing},
};
use crate::{
    db,
    socket::{Broadcast, Ref, encode, encode_reply},
};

/// Counts are sent at most this often.
const COUNT_PERIOD: Duration = Duration::from_secs(1);
/// Sessions per member that full presence allows for.
const SESSIONS_PER_MEMBER: usize = 4;
/// A room goes back to full presence after being this long below four fifths of the bound.
const CALM: Duration = Duration::from_secs(10);

impl Room {
    /// Takes up what happened to presence in this room.
    pub(super) fn take(&self, presence: &RoomPresence, diff: &TopicDiff) {
        let mut state = self.state.lock();
        let wall_s = u64::try_from(db::now_micros() / 1_000_000).unwrap_or_default();
        state.members.apply(diff, wall_s);
        let full = state.mode == Mode::Full;
        if full && state.subscribers.is_empty() && self.is_crowded(presence, &state) {
            // Nobody has been told anybody's name: there is no diff to make.
            self.set_mode(&mut state, Mode::Counts);
            return;
        }
        let entries = diff.joins.iter().chain(&diff.leaves);
        for entry in entries.chain(diff.updates.iter().map(|u| &u.new)) {
            if let Some(key) = entry
                .key_str()
                .filter(|key| full || state.published.contains(key))
            {
                state.published.mark(key);
            }
        }
        self.publish_diff(presence, &mut state);
        if full && self.is_crowded(presence, &state) {
            self.set_mode(&mut state, Mode::Counts);
        }
    }

    /// Too many to name: members, or sessions if some have very many.
    fn is_crowded(&self, presence: &RoomPresence, state: &State) -> bool {
        state.members.online() > self.full_max
            || presence.sessions_len(&self.topic) > SESSIONS_PER_MEMBER * self.full_max
    }

    fn publish_diff(&self, presence: &RoomPresence, state: &mut State) {
        let payload = match state.mode {
            Mode::Full => state.published.diff(presence, &self.topic),
            Mode::Counts => state.published.leaves(presence, &self.topic),
        };
        let Some(payload) = payload else {
            return;
        };
        let diff = Broadcast::new(&self.topic, "presence_diff", payload);
        for subscriber in state.subscribers.values_mut().filter(|s| s.has_state) {
            if subscriber.visitor.outbox.is_congested() {
                // It gets a new state when it has caught up.
                (subscriber.has_state, subscriber.is_behind) = (false, true);
            } else {
                subscriber
                    .visitor
                    .outbox
                    .push(diff.frame(subscriber.visitor.vsn));
            }
        }
    }

    fn set_mode(&self, state: &mut State, mode: Mode) {
        state.mode = mode;
        state.calm_since = None;
        for subscriber in state.subscribers.values_mut() {
            subscriber.told_counts = None;
        }
        let payload = json!({ "mode": mode.as_str() }).to_string();
        state.broadcast(
            &Broadcast::new(&self.topic, "presence_mode", payload),
            |_| true,
        );
    }

    /// What is due every quarter of a second.
    pub(super) fn tick(&self, presence: &RoomPresence, now: Instant) {
        let mut state = self.state.lock();
        let late = |t: &Typing| now.saturating_duration_since(t.sent) > TYPING_TTL;
        let ended: Vec<_> = state
            .typing
            .iter()
            .filter(|(_, t)| late(t))
            .map(|(user, _)| *user)
            .collect();
        for user in ended {
            self.end_typing(&mut state, user);
        }
        match state.mode {
            Mode::Counts => self.tick_counts(presence, &mut state, now),
            Mode::Full => {}
        }
        state.send_missing_states(&self.topic);
        self.tick_list(&mut state, now);
    }

    fn tick_counts(&self, presence: &RoomPresence, state: &mut State, now: Instant) {
        let is_due = now.saturating_duration_since(state.count_sent) >= COUNT_PERIOD;
        if is_due && state.send_counts(&self.topic) {
            state.count_sent = now;
        }
        if state.members.online() >= self.full_max / 5 * 4 || self.is_crowded(presence, state) {
            state.calm_since = None;
        } else if now.saturating_duration_since(*state.calm_since.get_or_insert(now)) >= CALM {
            self.set_mode(state, Mode::Full);
            state.published = PublishedPresence::of(presence, &self.topic);
            for subscriber in state.subscribers.values_mut() {
                subscriber.has_state = false;
            }
        }
    }

    /// Frames of the member list for everyone who has a window open. A client that is behind is
    /// left out, and gets a fresh start when it has caught up.
    fn tick_list(&self, state: &mut State, now: Instant) {
        if state.subscribers.values().all(|s| s.viewer.is_none()) {
            return;
        }
        let tick = state
            .members
            .tick(now.saturating_duration_since(self.opened));
        for subscriber in state.subscribers.values_mut() {
            let v = &subscriber.visitor;
            let Some(viewer) = subscriber
                .viewer
                .as_mut()
                .filter(|_| !v.outbox.is_congested())
            else {
                continue;
            };
            for bundle in state.members.bundles(viewer, &tick) {
                let frame = encode(v.vsn, None, None, &self.topic, "member_list", &bundle);
                v.outbox.push(frame);
            }
        }
    }

    /// Answers a request about the member list. The reply is queued before any later frame of
    /// the windows it speaks of.
    pub(crate) fn member_list(
        &self,
        subscription: SubscriptionId,
        reference: &Ref,
        request: &WindowRequest,
    ) -> Result<(), WindowError> {
        let mut state = self.state.lock();
        let State {
            subscribers,
            members,
            ..
        } = &mut *state;
        let Some(subscriber) = subscribers.get_mut(&subscription) else {
            return Ok(());
        };
        let viewer = subscriber.viewer.get_or_insert_default();
        let answer = members.request(viewer, request)?;
        let v = &subscriber.visitor;
        v.outbox.push(encode_reply(
            v.vsn,
            v.join_ref.as_deref(),
            reference.as_deref(),
            &self.topic,
            "ok",
            answer.as_deref().unwrap_or("{}"),
        ));
        Ok(())
    }

    /// Returns where the names that begin with `prefix` stand in the member list.
    pub(crate) fn find_members(&self, prefix: &str) -> Value {
        json!({ "matches": self.state.lock().members.find(prefix) })
    }

    /// A stored member came to be.
    pub(super) fn add_member(&self, user: Uuid, username: &str) {
        self.state.lock().members.add_member(user, username);
    }

    /// A membership ended.
    pub(super) fn remove_member(&self, user: Uuid) {
        self.state.lock().members.remove_member(user);
    }

    /// Loads simulated members, all of them offline.
    pub(crate) fn load_simulated(&self, members: &[usize]) {
        self.state
            .lock()
            .members
            .load_simulated(members.iter().copied());
    }

    /// Users in the room now, and all of its members.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.members.online(), state.members.total())
    }
}

/// Users in the room now, and all of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    online: usize,
    total: usize,
}

impl Counts {
    pub(super) fn payload(self) -> String {
        json!({ "online": self.online, "total": self.total }).to_string()
    }
}

impl State {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            online: self.members.online(),
            total: self.members.total(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use headcount::Status;
    use serde_json::Value;

    use super::*;
    use crate::{
        auth::Identity,
        room::Visitor,
        socket::{Outbox, Vsn},
    };

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
                kind: "group".into(),
                name: "room".into(),
                description: String::new(),
                owner_id: None,
                private: false,
                simulated: false,
                last_seq: 0,
                member_count: 0,
                inserted_at: 0,
            };
            let room = Arc::new(Room::new(info, &[], Vec::new(), full_max));
            Self {
                room,
                presence: RoomPresence::new(),
                subscriptions: 0,
            }
        }

        fn enter(&mut self) -> (SubscriptionId, Arc<Outbox>) {
            self.enter_as(Uuid::now_v7(), Status::Online)
        }

        fn enter_as(&mut self, id: Uuid, status: Status) -> (SubscriptionId, Arc<Outbox>) {
            self.subscriptions += 1;
            let outbox = Arc::new(Outbox::default());
            let visitor = Visitor {
                identity: Identity {
                    id,
                    username: "guest".into(),
                    guest: true,
                    tenant: "default".into(),
                },
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
            joined.expect("the room is open");
            (subscription, outbox)
        }

        fn beat(&self) {
            for diff in self.presence.take_diff().iter() {
                self.room.take(&self.presence, diff);
            }
        }
    }

    /// Takes everything out: event and payload.
    fn events(outbox: &Outbox) -> Vec<(String, Value)> {
        let frames = std::iter::from_fn(|| outbox.pop());
        let parse = |frame: axum::extract::ws::Utf8Bytes| {
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
        let mut subscriptions: Vec<_> = (0..6).map(|_| scene.enter()).collect();
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
        let told = events(&outbox);
        assert_eq!(named(&told, "presence_mode"), [&json!({ "mode": "full" })]);
        let states = named(&told, "presence_state");
        assert_eq!(states.len(), 1);
        assert_eq!(states[0].as_object().unwrap().len(), 3);
    }

    /// While only counts are sent, users that a subscriber has seen still leave; one that was
    /// behind then gets what is left of its state when it has caught up.
    #[test]
    fn a_subscriber_that_was_behind_keeps_no_ghosts_among_counts() {
        let mut scene = Scene::new(3);
        let mut subscriptions: Vec<_> = (0..3).map(|_| scene.enter()).collect();
        scene.beat();
        let slow = Arc::clone(&subscriptions[0].1);
        while !slow.is_congested() {
            slow.push("filler".into());
        }
        subscriptions.extend((0..3).map(|_| scene.enter()));
        scene.beat();
        assert!(matches!(scene.room.state.lock().mode, Mode::Counts));
        scene.room.leave(&scene.presence, subscriptions[1].0);
        scene.beat();
        while slow.pop().is_some() {}
        scene.room.tick(&scene.presence, Instant::now());
        let told = events(&slow);
        let states = named(&told, "presence_state");
        let users = |state: &Value| state.as_object().expect("users").len();
        assert_eq!(states.into_iter().map(users).collect::<Vec<_>>(), [5]);
        // One that came among counts is told no names.
        let newcomer = scene.enter().1;
        scene.room.tick(&scene.presence, Instant::now());
        assert!(named(&events(&newcomer), "presence_state").is_empty());
    }

    /// A subscriber that was behind when the counts were sent gets them when it has caught up.
    #[test]
    fn a_subscriber_that_was_behind_gets_the_counts_it_missed() {
        let mut scene = Scene::new(1);
        let (_, slow) = scene.enter();
        let subscriptions: Vec<_> = (0..3).map(|_| scene.enter()).collect();
        scene.beat();
        let mut now = Instant::now() + COUNT_PERIOD;
        scene.room.tick(&scene.presence, now);
        let counts = |told: &[(String, Value)]| {
            let told = named(told, "presence_count");
            told.iter()
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
    fn who_is_behind_gets_one_state_instead_of_every_diff() {
        let mut scene = Scene::new(250);
        let (_, slow) = scene.enter();
        scene.beat();
        while !slow.is_congested() {
            slow.push("filler".into());
        }
        for _ in 0..10 {
            scene.enter();
            scene.beat();
        }
        scene.room.tick(&scene.presence, Instant::now());
        let late = std::iter::from_fn(|| slow.pop()).skip_while(|f| f.as_str() != "filler");
        assert!(late.into_iter().all(|frame| frame.as_str() == "filler"));
        scene.room.tick(&scene.presence, Instant::now());
        let told = events(&slow);
        let states = named(&told, "presence_state");
        assert_eq!(states.len(), 1, "{told:?}");
        assert_eq!(states[0].as_object().unwrap().len(), 11);
        scene.enter();
        scene.beat();
        assert_eq!(named(&events(&slow), "presence_diff").len(), 1);
    }

    /// What the Phoenix client makes of a state and the diffs after it: metas by key and reference.
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
    fn whoever_comes_between_two_changes_of_one_diff_sees_who_is_here() {
        let statuses = [Status::Online, Status::Idle, Status::Dnd, Status::Invisible];
        for seed in 0..60 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut scene = Scene::new(250);
            let users: Vec<_> = (0..4).map(|_| Uuid::now_v7()).collect();
            let mut subscriptions: Vec<(SubscriptionId, Arc<Outbox>, View)> = Vec::new();
            for _ in 0..120 {
                let some = rng.usize(..subscriptions.len().max(1));
                let status = statuses[rng.usize(..statuses.len())];
                match rng.u8(..8) {
                    0 | 1 if subscriptions.len() < 8 => {
                        let (subscription, outbox) = scene.enter_as(users[rng.usize(..4)], status);
                        subscriptions.push((subscription, outbox, View::default()));
                    }
                    2 if !subscriptions.is_empty() => {
                        let (subscription, ..) = subscriptions.swap_remove(some);
                        scene.room.leave(&scene.presence, subscription);
                    }
                    3..6 if !subscriptions.is_empty() => {
                        let subscription = subscriptions[some].0;
                        scene.room.set_status(&scene.presence, subscription, status);
                    }
                    6 => scene.beat(),
                    _ => {}
                }
            }
            scene.beat();
            let here = PublishedPresence::of(&scene.presence, &scene.room.topic).state();
            let here = View::metas(&serde_json::from_str(&here).unwrap());
            let refs: Vec<_> = here.keys().collect();
            for (_, outbox, view) in &mut subscriptions {
                view.follow(outbox);
                assert_eq!(view.0.keys().collect::<Vec<_>>(), refs, "seed {seed}");
            }
        }
    }
}
