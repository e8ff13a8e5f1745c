//! `Room`: an open room. It is one lock around the parts that its subscribers share, and routes what happens to them.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use headcount::member_list::WindowError;
use headcount::{NewEntry, Status, TopicDiff};
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    RoomPresence, SubscriptionId, Visitor, WindowRequest,
    history::History,
    members::{Occupancy, RoomMembers},
    presence::Profile,
    presence_feed::PresenceFeed,
    subscribers::{Subscriber, Subscribers},
    typing::Typing,
};
use crate::{
    auth::Identity,
    db::{self, Message},
    socket::{Broadcast, Ref, encode},
};

/// A room without subscribers is forgotten after this long.
const IDLE: Duration = Duration::from_secs(60);

/// A room that has subscribers, or had some a short while ago.
pub(crate) struct Room {
    pub(crate) id: Uuid,
    pub(crate) topic: Arc<str>,
    /// The row as it was when the room was opened; only its constant columns are read.
    info: db::Room,
    opened: Instant,
    /// Held from storing a message to sending it: messages are sent in the order of their numbers.
    pub(crate) posting: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// The parts of a room, guarded by one lock.
struct State {
    subscribers: Subscribers,
    history: History,
    typing: Typing,
    feed: PresenceFeed,
    members: RoomMembers,
    /// True once the room is dropped from the hub: its users must open it again.
    is_closed: bool,
    /// True if the room is never forgotten, however long it has no subscribers.
    is_pinned: bool,
    used: Instant,
}

/// The subscription of a connection to a room.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) room: Arc<Room>,
    pub(crate) id: SubscriptionId,
    pub(crate) join_ref: Ref,
}

/// The error of a room that was dropped meanwhile: open it again.
#[derive(Debug)]
pub(crate) struct Closed;

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({})", self.topic)
    }
}

/// Returns the socket topic of a room.
fn topic(room: &db::Room) -> String {
    match room.kind.as_str() {
        "dm" => format!("dm:{}", room.id),
        _ => format!("room:{}", room.id),
    }
}

impl Room {
    pub(super) fn new(
        info: db::Room,
        latest: &[Message],
        members: Vec<db::Member>,
        full_max: usize,
    ) -> Self {
        let now = Instant::now();
        let topic: Arc<str> = topic(&info).into();
        Self {
            id: info.id,
            info,
            opened: now,
            posting: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                subscribers: Subscribers::default(),
                history: History::new(latest),
                typing: Typing::default(),
                feed: PresenceFeed::new(Arc::clone(&topic), full_max, now),
                members: RoomMembers::new(&topic, members),
                is_closed: false,
                is_pinned: false,
                used: now,
            }),
            topic,
        }
    }

    /// Marks the room as used, so that it stays open for a while. Returns whether it is open.
    pub(super) fn touch(&self) -> bool {
        let mut state = self.state.lock();
        state.used = Instant::now();
        !state.is_closed
    }

    /// Keeps the room open for good.
    pub(crate) fn pin(&self) {
        self.state.lock().is_pinned = true;
    }

    /// Subscribes a visitor: reply, then the close of the subscription it replaces, then presence and the
    /// latest messages. All of it is queued in the outbox before any broadcast can be.
    pub(super) fn join(
        self: &Arc<Self>,
        presence: &RoomPresence,
        id: SubscriptionId,
        visitor: Visitor,
        reference: &Ref,
        replaced: Option<SubscriptionId>,
    ) -> Result<Subscription, Closed> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Closed);
        }
        state.used = Instant::now();
        let old = replaced.and_then(|id| Some((id, state.subscribers.remove(id)?)));
        let subscription = Subscription {
            room: Arc::clone(self),
            id,
            join_ref: visitor.join_ref.clone(),
        };
        let subscriber = Subscriber::new(visitor);
        let reply = self.reply_to_join(&subscriber.visitor.identity, state.feed.mode());
        subscriber.reply(&self.topic, reference, &reply.to_string());
        if let Some((replaced, old)) = old {
            old.push_close(&self.topic);
            self.untrack(presence, &mut state, replaced, &old.visitor.identity);
        }
        self.track(presence, &mut state, id, &subscriber.visitor);
        let State {
            subscribers,
            feed,
            members,
            history,
            ..
        } = &mut *state;
        let subscriber = subscribers.insert(id, subscriber);
        feed.send_counts_to(subscriber, members);
        subscriber.push(&self.topic, "message_history", &history.payload());
        feed.send_state_to(subscriber);
        Ok(subscription)
    }

    fn reply_to_join(&self, identity: &Identity, mode: &str) -> Value {
        json!({
            "presence": mode,
            "room": {
                "id": self.id,
                "kind": self.info.kind,
                "name": self.info.name,
                "description": self.info.description,
                "owner_id": self.info.owner_id,
                "simulated": self.info.simulated,
            },
            "user": {
                "id": identity.id,
                "username": identity.username,
                "guest": identity.guest,
            },
        })
    }

    /// Ends a subscription. Returns whether there was one.
    pub(crate) fn leave(&self, presence: &RoomPresence, subscription: SubscriptionId) -> bool {
        let mut state = self.state.lock();
        let Some(subscriber) = state.subscribers.remove(subscription) else {
            return false;
        };
        state.used = Instant::now();
        let identity = &subscriber.visitor.identity;
        self.untrack(presence, &mut state, subscription, identity);
        true
    }

    /// Returns whether the subscription has not ended.
    pub(crate) fn has(&self, subscription: SubscriptionId) -> bool {
        self.state.lock().subscribers.get(subscription).is_some()
    }

    fn track(
        &self,
        presence: &RoomPresence,
        state: &mut State,
        subscription: SubscriptionId,
        visitor: &Visitor,
    ) {
        let key = visitor.identity.id.to_string();
        let owner = subscription.owner();
        let meta = profile(visitor);
        let entry = NewEntry::new(&self.topic, &key, &owner)
            .meta(&meta)
            .status(visitor.status as u8);
        if let Err(error) = presence.track(&entry) {
            // The visitor is in the room all the same, but shown to none.
            tracing::error!(%error, "presence refused an entry");
        }
        state.feed.refresh(presence, &key);
    }

    fn untrack(
        &self,
        presence: &RoomPresence,
        state: &mut State,
        subscription: SubscriptionId,
        identity: &Identity,
    ) {
        presence.untrack(&self.topic, &identity.id.to_string(), &subscription.owner());
        if !state.subscribers.any(|s| s.user() == identity.id) {
            self.end_typing(state, identity.id);
        }
    }

    /// Changes the status of one subscription.
    pub(crate) fn set_status(
        &self,
        presence: &RoomPresence,
        subscription: SubscriptionId,
        status: Status,
    ) {
        let mut state = self.state.lock();
        let Some(subscriber) = state.subscribers.get_mut(subscription) else {
            return;
        };
        subscriber.visitor.status = status;
        let user = subscriber.user();
        let key = user.to_string();
        let owner = subscription.owner();
        let meta = profile(&subscriber.visitor);
        let entry = NewEntry::new(&self.topic, &key, &owner)
            .meta(&meta)
            .status(status as u8);
        if let Err(error) = presence.update(&entry) {
            tracing::error!(%error, "presence refused an update");
        }
        if status == Status::Invisible {
            self.end_typing(&mut state, user);
        }
    }

    /// Sends a stored message to all subscribers.
    pub(crate) fn publish(&self, message: &Message) {
        let mut state = self.state.lock();
        state.used = Instant::now();
        self.end_typing(&mut state, message.user.id);
        let payload = state.history.push(message);
        let event = Broadcast::new(&self.topic, "new_message", payload);
        state.subscribers.broadcast(&event, |_| true);
    }

    /// Sends the other users that one types, unless it is invisible.
    pub(crate) fn begin_typing(&self, subscription: SubscriptionId) {
        let mut state = self.state.lock();
        let Some(subscriber) = state.subscribers.get(subscription) else {
            return;
        };
        let user = subscriber.user();
        let username = Arc::clone(&subscriber.visitor.identity.username);
        let is_hidden = |s: &Subscriber| s.user() == user && s.visitor.status == Status::Invisible;
        if state.subscribers.any(is_hidden) {
            return;
        }
        if let Some(payload) = state.typing.begin(user, &username, Instant::now()) {
            self.send_typing(&state, "typing", payload, user);
        }
    }

    /// Sends the other users that one types no more.
    pub(crate) fn stop_typing(&self, subscription: SubscriptionId) {
        let mut state = self.state.lock();
        if let Some(user) = state.subscribers.get(subscription).map(Subscriber::user) {
            self.end_typing(&mut state, user);
        }
    }

    fn end_typing(&self, state: &mut State, user: Uuid) {
        if let Some(payload) = state.typing.end(user) {
            self.send_typing(state, "stop_typing", payload, user);
        }
    }

    /// Sends a typing event to the others. It is the first thing that a congested client does without.
    fn send_typing(&self, state: &State, event: &'static str, payload: String, user: Uuid) {
        let event = Broadcast::new(&self.topic, event, payload);
        let is_to = |s: &Subscriber| s.user() != user && !s.is_congested();
        state.subscribers.broadcast(&event, is_to);
    }

    /// Ends the subscriptions of the users that `applies` accepts. Their clients do not rejoin by themselves.
    pub(super) fn evict(&self, presence: &RoomPresence, applies: impl Fn(Uuid) -> bool) {
        let mut state = self.state.lock();
        for subscription in state.subscribers.of_users(applies) {
            if let Some(subscriber) = state.subscribers.remove(subscription) {
                subscriber.push_close(&self.topic);
                let identity = &subscriber.visitor.identity;
                self.untrack(presence, &mut state, subscription, identity);
            }
        }
    }

    /// Closes the room for good if it has had no subscribers for a while. Returns whether it is closed.
    pub(super) fn close_if_idle(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let is_idle = now.saturating_duration_since(state.used) >= IDLE;
        state.is_closed |= is_idle && !state.is_pinned && state.subscribers.is_empty();
        state.is_closed
    }

    /// Closes the room for good.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
    }

    /// Applies what happened to presence in this room, and sends it.
    pub(super) fn apply(&self, presence: &RoomPresence, diff: &TopicDiff) {
        let mut state = self.state.lock();
        let wall_s = u64::try_from(db::now_micros() / 1_000_000).unwrap_or_default();
        let State {
            subscribers,
            feed,
            members,
            ..
        } = &mut *state;
        members.apply(diff, wall_s);
        feed.send_diff(presence, members, subscribers, diff);
    }

    /// Sends what is due every quarter of a second.
    pub(super) fn tick(&self, presence: &RoomPresence, now: Instant) {
        let mut state = self.state.lock();
        for user in state.typing.expired(now) {
            self.end_typing(&mut state, user);
        }
        let State {
            subscribers,
            feed,
            members,
            ..
        } = &mut *state;
        feed.tick(presence, members, subscribers, now);
        self.send_frames(members, subscribers, now);
    }

    /// Sends frames of the member list to the subscribers with open windows. A congested client is
    /// left out, and gets fresh windows when it has caught up.
    fn send_frames(&self, members: &mut RoomMembers, subscribers: &mut Subscribers, now: Instant) {
        if !subscribers.any(|s| s.viewer.is_some()) {
            return;
        }
        let tick = members.tick(now.saturating_duration_since(self.opened));
        for subscriber in subscribers.iter_mut() {
            let v = &subscriber.visitor;
            let Some(viewer) = &mut subscriber.viewer else {
                continue;
            };
            if v.outbox.is_congested() {
                continue;
            }
            for bundle in members.bundles(viewer, &tick) {
                let frame = encode(v.vsn, None, None, &self.topic, "member_list", &bundle);
                v.outbox.push(frame);
            }
        }
    }

    /// Answers a request about the member list. The reply is queued before any later frame of
    /// its windows.
    pub(crate) fn request_window(
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
        let Some(subscriber) = subscribers.get_mut(subscription) else {
            return Ok(());
        };
        let viewer = subscriber.viewer.get_or_insert_default();
        let answer = members.request(viewer, request)?;
        subscriber.reply(&self.topic, reference, answer.as_deref().unwrap_or("{}"));
        Ok(())
    }

    /// Returns the positions in the member list of the first names that begin with `prefix`.
    pub(crate) fn find_members(&self, prefix: &str) -> Value {
        json!({ "matches": self.state.lock().members.find(prefix) })
    }

    /// Adds a stored member.
    pub(super) fn add_member(&self, user: Uuid, username: &str) {
        self.state.lock().members.add_member(user, username);
    }

    /// Removes a stored member.
    pub(super) fn remove_member(&self, user: Uuid) {
        self.state.lock().members.remove_member(user);
    }

    /// Loads simulated members, all of them offline.
    pub(crate) fn load_simulated(&self, members: &[usize]) {
        let members = members.iter().copied();
        self.state.lock().members.load_simulated(members);
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        self.state.lock().members.occupancy()
    }
}

fn profile(visitor: &Visitor) -> Vec<u8> {
    let profile = Profile {
        username: visitor.identity.username.as_ref().into(),
        guest: visitor.identity.guest,
        staff: visitor.staff,
        simulated: false,
        online_at: Some(db::now_micros() / 1_000_000),
    };
    profile.to_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::room::{
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

        fn join(&mut self) -> (SubscriptionId, Arc<Outbox>) {
            self.join_as(Uuid::now_v7(), Status::Online)
        }

        fn join_as(&mut self, id: Uuid, status: Status) -> (SubscriptionId, Arc<Outbox>) {
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
                self.room.apply(&self.presence, diff);
            }
        }
    }

    /// Takes all frames out, as event and payload.
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

    /// While only counts are sent, users that a subscriber has seen still leave; one that was
    /// behind then gets what is left of its state when it has caught up.
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
        // A newcomer in counts mode is sent no names.
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
}
