//! One room: a lock around its subscribers and what they share.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use headcount::{NewEntry, Status};
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    RoomPresence, Subscription, SubscriptionId, Visitor, members::RoomMembers, presence::Profile,
    published::PublishedPresence, subscription::Subscriber,
};
use crate::{
    auth::Identity,
    db::{self, Message},
    socket::{Broadcast, Ref, encode_reply},
};

/// Messages sent to everyone who joins.
pub(super) const HISTORY: usize = 50;
/// A typing note ends by itself after this long.
pub(super) const TYPING_TTL: Duration = Duration::from_secs(6);
/// A repeated `typing` is passed on this often.
const TYPING_PERIOD: Duration = Duration::from_secs(2);
/// A room nobody is in is forgotten after this long.
const IDLE: Duration = Duration::from_secs(60);

/// A room that somebody is in, or was a short while ago.
pub(crate) struct Room {
    pub(crate) id: Uuid,
    pub(crate) topic: Arc<str>,
    /// The row as it was when the room was opened; only its constant columns are read.
    info: db::Room,
    /// Members online up to which presence is sent in full.
    pub(super) full_max: usize,
    pub(super) opened: Instant,
    /// Held from storing a message to sending it: they go out in the order of their numbers.
    pub(super) posting: tokio::sync::Mutex<()>,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    /// Set when the room is dropped from the hub: whoever still holds it must open it anew.
    pub(super) closed: bool,
    pub(super) subscribers: HashMap<SubscriptionId, Subscriber>,
    /// The newest messages as JSON, oldest first.
    pub(super) history: VecDeque<String>,
    pub(super) typing: HashMap<Uuid, Typing>,
    pub(super) published: PublishedPresence,
    pub(super) mode: Mode,
    /// Since when the room has been small enough for full presence again.
    pub(super) calm_since: Option<Instant>,
    /// When counts were last sent.
    pub(super) count_sent: Instant,
    pub(super) members: RoomMembers,
    pub(super) used: Instant,
    /// Never forgotten, however long nobody is in it.
    pub(super) kept: bool,
}

pub(super) struct Typing {
    pub(super) username: Arc<str>,
    pub(super) sent: Instant,
}

/// What subscribers are told of presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Full,
    Counts,
}

impl Mode {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Counts => "counts",
        }
    }
}

/// The room was dropped meanwhile: open it again.
#[derive(Debug)]
pub(crate) struct Closed;

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({})", self.topic)
    }
}

/// The socket topic of a room.
pub(crate) fn topic(room: &db::Room) -> String {
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
        let members = RoomMembers::new(&topic, members);
        Self {
            id: info.id,
            topic,
            info,
            full_max,
            opened: now,
            posting: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                closed: false,
                subscribers: HashMap::new(),
                history: latest.iter().map(to_json).collect(),
                typing: HashMap::new(),
                published: PublishedPresence::default(),
                mode: Mode::Full,
                calm_since: None,
                count_sent: now,
                members,
                used: now,
                kept: false,
            }),
        }
    }

    /// Keeps the room open for a while, unless it is closed already.
    pub(super) fn touch(&self) -> bool {
        let mut state = self.state.lock();
        state.used = Instant::now();
        !state.closed
    }

    /// Keeps the room open for good.
    pub(crate) fn keep_open(&self) {
        self.state.lock().kept = true;
    }

    /// Subscribes a visitor: reply, then the close of the subscription it replaces, then presence and the
    /// latest messages. All of it stands in the outbox before any broadcast can.
    pub(super) fn join(
        self: &Arc<Self>,
        presence: &RoomPresence,
        id: SubscriptionId,
        visitor: Visitor,
        reference: &Ref,
        replaced: Option<SubscriptionId>,
    ) -> Result<Subscription, Closed> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Closed);
        }
        state.used = Instant::now();
        let old = replaced.and_then(|subscription| state.subscribers.remove(&subscription));
        let subscriber = Subscriber {
            visitor,
            has_state: false,
            is_behind: false,
            told_counts: (state.mode == Mode::Counts).then(|| state.counts()),
            viewer: None,
        };
        let reply = self
            .reply_to_join(&subscriber.visitor.identity, state.mode)
            .to_string();
        let v = &subscriber.visitor;
        let join_ref = v.join_ref.as_deref();
        v.outbox.push(encode_reply(
            v.vsn,
            join_ref,
            reference.as_deref(),
            &self.topic,
            "ok",
            &reply,
        ));
        if let (Some(old), Some(subscription)) = (old, replaced) {
            old.push_close(&self.topic);
            self.untrack(presence, &mut state, subscription, &old.visitor.identity);
        }
        self.track(presence, &mut state, id, &subscriber);
        let subscription = Subscription {
            room: Arc::clone(self),
            id,
            join_ref: subscriber.visitor.join_ref.clone(),
        };
        state.subscribers.insert(id, subscriber);
        let subscriber = state
            .subscribers
            .get(&id)
            .expect("it was inserted in the line above");
        if let Some(counts) = &subscriber.told_counts {
            subscriber.push(&self.topic, "presence_count", &counts.payload());
        }
        subscriber.push(&self.topic, "message_history", &state.history_payload());
        state.send_state(id, &self.topic);
        Ok(subscription)
    }

    fn reply_to_join(&self, identity: &Identity, mode: Mode) -> Value {
        json!({
            "presence": mode.as_str(),
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

    /// Frees a subscription. Says whether it was taken.
    pub(crate) fn leave(&self, presence: &RoomPresence, subscription: SubscriptionId) -> bool {
        let mut state = self.state.lock();
        let Some(subscriber) = state.subscribers.remove(&subscription) else {
            return false;
        };
        state.used = Instant::now();
        self.untrack(
            presence,
            &mut state,
            subscription,
            &subscriber.visitor.identity,
        );
        true
    }

    /// Returns whether the subscription is still taken.
    pub(crate) fn has(&self, subscription: SubscriptionId) -> bool {
        self.state.lock().subscribers.contains_key(&subscription)
    }

    fn track(
        &self,
        presence: &RoomPresence,
        state: &mut State,
        subscription: SubscriptionId,
        s: &Subscriber,
    ) {
        let identity = &s.visitor.identity;
        let key = identity.id.to_string();
        let owner = subscription.owner();
        let meta = profile(&s.visitor);
        let put = NewEntry::new(&self.topic, &key, &owner)
            .meta(&meta)
            .status(s.visitor.status as u8);
        if let Err(error) = presence.track(&put) {
            // The visitor is in the room all the same; only nobody sees them.
            tracing::error!(%error, "presence refused an entry");
        }
        if state.mode == Mode::Full {
            state.published.refresh(presence, &self.topic, &key);
        }
    }

    fn untrack(
        &self,
        presence: &RoomPresence,
        state: &mut State,
        subscription: SubscriptionId,
        identity: &Identity,
    ) {
        presence.untrack(&self.topic, &identity.id.to_string(), &subscription.owner());
        if !state.subscribers.values().any(|s| s.user() == identity.id) {
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
        let Some(subscriber) = state.subscribers.get_mut(&subscription) else {
            return;
        };
        subscriber.visitor.status = status;
        let visitor = subscriber.visitor.clone();
        let identity = &visitor.identity;
        let key = identity.id.to_string();
        let owner = subscription.owner();
        let meta = profile(&visitor);
        let put = NewEntry::new(&self.topic, &key, &owner)
            .meta(&meta)
            .status(status as u8);
        if let Err(error) = presence.update(&put) {
            tracing::error!(%error, "presence refused an update");
        }
        if status == Status::Invisible {
            self.end_typing(&mut state, identity.id);
        }
    }

    /// A stored message goes to everyone in the room.
    pub(super) fn publish(&self, message: &Message) {
        let text = to_json(message);
        let mut state = self.state.lock();
        state.used = Instant::now();
        self.end_typing(&mut state, message.user.id);
        state.broadcast(
            &Broadcast::new(&self.topic, "new_message", text.clone()),
            |_| true,
        );
        if state.history.len() == HISTORY {
            state.history.pop_front();
        }
        state.history.push_back(text);
    }

    /// `subscription` types, or stopped to. The others hear of it, unless the user is invisible.
    pub(crate) fn typing(&self, subscription: SubscriptionId, types: bool) {
        let mut state = self.state.lock();
        let now = Instant::now();
        let Some(subscriber) = state.subscribers.get(&subscription) else {
            return;
        };
        let Identity { id, username, .. } = subscriber.visitor.identity.clone();
        let hidden = |s: &Subscriber| s.user() == id && s.visitor.status == Status::Invisible;
        if !types {
            return self.end_typing(&mut state, id);
        }
        if state.subscribers.values().any(hidden) {
            return;
        }
        let noted = state
            .typing
            .get(&id)
            .is_some_and(|t| now - t.sent < TYPING_PERIOD);
        if noted {
            return;
        }
        let payload = typing_payload(id, &username);
        state.typing.insert(
            id,
            Typing {
                username,
                sent: now,
            },
        );
        state.broadcast_typing(&Broadcast::new(&self.topic, "typing", payload), id);
    }

    pub(super) fn end_typing(&self, state: &mut State, user: Uuid) {
        if let Some(typing) = state.typing.remove(&user) {
            let payload = typing_payload(user, &typing.username);
            state.broadcast_typing(&Broadcast::new(&self.topic, "stop_typing", payload), user);
        }
    }

    /// Shows everyone out who `applies`: their channels end and do not come back by themselves.
    pub(super) fn evict(&self, presence: &RoomPresence, applies: impl Fn(Uuid) -> bool) {
        let mut state = self.state.lock();
        let subscriptions: Vec<_> = state
            .subscribers
            .iter()
            .filter(|(_, s)| applies(s.user()))
            .map(|(subscription, _)| *subscription)
            .collect();
        for subscription in subscriptions {
            if let Some(subscriber) = state.subscribers.remove(&subscription) {
                subscriber.push_close(&self.topic);
                self.untrack(
                    presence,
                    &mut state,
                    subscription,
                    &subscriber.visitor.identity,
                );
            }
        }
    }

    /// Closes the room for good if nobody has been in it for a while (or at once).
    pub(super) fn close(&self, at_once: bool, now: Instant) -> bool {
        let mut state = self.state.lock();
        let unused = now.saturating_duration_since(state.used) >= IDLE;
        state.closed |= at_once || (unused && !state.kept && state.subscribers.is_empty());
        state.closed
    }
}

impl State {
    pub(super) fn broadcast(&self, event: &Broadcast, to: impl Fn(&Subscriber) -> bool) {
        for subscriber in self.subscribers.values().filter(|s| to(s)) {
            subscriber
                .visitor
                .outbox
                .push(event.frame(subscriber.visitor.vsn));
        }
    }

    /// Typing notes go to the others, and are the first thing a slow client does without.
    fn broadcast_typing(&self, event: &Broadcast, user: Uuid) {
        self.broadcast(event, |s| {
            s.user() != user && !s.visitor.outbox.is_congested()
        });
    }

    fn history_payload(&self) -> String {
        let mut out = String::from(r#"{"messages":["#);
        for (i, message) in self.history.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(message);
        }
        out.push_str("]}");
        out
    }

    /// In full mode every subscriber gets one state for its join.
    fn send_state(&mut self, subscription: SubscriptionId, topic: &str) {
        if self.mode == Mode::Full {
            let state = self.published.state();
            if let Some(subscriber) = self.subscribers.get_mut(&subscription) {
                subscriber.push(topic, "presence_state", &state);
                subscriber.has_state = true;
            }
        }
    }

    /// Tells the counts to all subscribers that know others and are not behind; returns whether
    /// there was one.
    pub(super) fn send_counts(&mut self, topic: &str) -> bool {
        let counts = self.counts();
        let mut payload = None;
        for subscriber in self.subscribers.values_mut() {
            if subscriber.told_counts != Some(counts) && !subscriber.visitor.outbox.is_congested() {
                let payload = payload.get_or_insert_with(|| counts.payload());
                subscriber.push(topic, "presence_count", payload);
                subscriber.told_counts = Some(counts);
            }
        }
        payload.is_some()
    }

    /// Subscribers that were too slow for diffs, and have caught up, start over. While only counts
    /// are sent, those that never had a state need none.
    pub(super) fn send_missing_states(&mut self, topic: &str) {
        let full = self.mode == Mode::Full;
        let waiting = |s: &&mut Subscriber| {
            let needs_one = if full { !s.has_state } else { s.is_behind };
            needs_one && !s.visitor.outbox.is_congested()
        };
        let mut state = None;
        for subscriber in self.subscribers.values_mut().filter(waiting) {
            let state = state.get_or_insert_with(|| self.published.state());
            subscriber.push(topic, "presence_state", state);
            (subscriber.has_state, subscriber.is_behind) = (true, false);
        }
    }
}

fn profile(visitor: &Visitor) -> Vec<u8> {
    let Visitor {
        identity, staff, ..
    } = visitor;
    let profile = Profile {
        username: identity.username.as_ref().into(),
        guest: identity.guest,
        staff: *staff,
        simulated: false,
        online_at: Some(db::now_micros() / 1_000_000),
    };
    profile.to_bytes()
}

fn typing_payload(user: Uuid, username: &str) -> String {
    json!({ "user_id": user, "username": username }).to_string()
}

fn to_json(message: &Message) -> String {
    serde_json::to_string(message).expect("a stored message always serialises")
}
