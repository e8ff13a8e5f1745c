//! One room: a lock around its subscribers and what they share.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use headcount::{Put, TopicDiff};
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Attendance, Seat, SeatId, Status, Visitor, attendance::Profile, roll::Roll, seat::Subscriber,
};
use crate::{
    auth::Identity,
    db::{self, Message},
    socket::{Broadcast, Ref, encode_reply},
};

/// Messages sent to everyone who joins.
pub(super) const HISTORY: usize = 50;
/// A typing note ends by itself after this long.
const TYPING_TTL: Duration = Duration::from_secs(6);
/// A repeated `typing` is passed on this often.
const TYPING_PERIOD: Duration = Duration::from_secs(2);
/// Counts are sent at most this often.
const COUNT_PERIOD: Duration = Duration::from_secs(1);
/// A room goes back to full presence after being this long below four fifths of the bound.
const CALM: Duration = Duration::from_secs(10);
/// A room nobody is in is forgotten after this long.
const IDLE: Duration = Duration::from_secs(60);

/// A room that somebody is in, or was a short while ago.
pub(crate) struct Room {
    pub(crate) id: Uuid,
    pub(crate) topic: Arc<str>,
    /// The row as it was when the room was opened; only its constant columns are read.
    info: db::Room,
    full_max: usize,
    /// Held from storing a message to sending it: they go out in the order of their numbers.
    pub(super) posting: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    /// Set when the room is dropped from the hub: whoever still holds it must open it anew.
    closed: bool,
    subscribers: HashMap<SeatId, Subscriber>,
    /// The newest messages as JSON, oldest first.
    history: VecDeque<String>,
    typing: HashMap<Uuid, Typing>,
    roll: Roll,
    mode: Mode,
    /// Since when the room has been small enough for full presence again.
    calm_since: Option<Instant>,
    count_sent: (usize, Instant),
    used: Instant,
    /// Never forgotten, however long nobody is in it.
    kept: bool,
}

struct Typing {
    username: Arc<str>,
    sent: Instant,
}

/// What subscribers are told of presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Full,
    Counts,
}

impl Mode {
    fn as_str(self) -> &'static str {
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
    pub(super) fn new(info: db::Room, latest: &[Message], full_max: usize) -> Self {
        let now = Instant::now();
        Self {
            id: info.id,
            topic: topic(&info).into(),
            info,
            full_max,
            posting: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                closed: false,
                subscribers: HashMap::new(),
                history: latest.iter().map(to_json).collect(),
                typing: HashMap::new(),
                roll: Roll::default(),
                mode: Mode::Full,
                calm_since: None,
                count_sent: (0, now),
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

    /// Seats a visitor: reply, then the close of the seat it replaces, then presence and the
    /// latest messages. All of it stands in the outbox before any broadcast can.
    pub(super) fn join(
        self: &Arc<Self>,
        attendance: &Attendance,
        id: SeatId,
        visitor: Visitor,
        reference: &Ref,
        replaced: Option<SeatId>,
    ) -> Result<Seat, Closed> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Closed);
        }
        state.used = Instant::now();
        let old = replaced.and_then(|seat| state.subscribers.remove(&seat));
        let subscriber = Subscriber {
            visitor,
            has_state: false,
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
        if let (Some(old), Some(seat)) = (old, replaced) {
            old.push_close(&self.topic);
            self.untrack(attendance, &mut state, seat, &old.visitor.identity);
        }
        self.track(attendance, &mut state, id, &subscriber);
        let seat = Seat {
            room: Arc::clone(self),
            id,
            join_ref: subscriber.visitor.join_ref.clone(),
        };
        state.subscribers.insert(id, subscriber);
        let subscriber = state
            .subscribers
            .get(&id)
            .expect("it was inserted in the line above");
        if state.mode == Mode::Counts {
            subscriber.push(
                &self.topic,
                "presence_count",
                &self.counts(attendance).to_string(),
            );
        }
        subscriber.push(&self.topic, "message_history", &state.history_payload());
        state.send_state(id, &self.topic);
        Ok(seat)
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

    /// Frees a seat. Says whether it was taken.
    pub(crate) fn leave(&self, attendance: &Attendance, seat: SeatId) -> bool {
        let mut state = self.state.lock();
        let Some(subscriber) = state.subscribers.remove(&seat) else {
            return false;
        };
        state.used = Instant::now();
        self.untrack(attendance, &mut state, seat, &subscriber.visitor.identity);
        true
    }

    /// Whether the seat is still taken.
    pub(crate) fn has(&self, seat: SeatId) -> bool {
        self.state.lock().subscribers.contains_key(&seat)
    }

    fn track(&self, attendance: &Attendance, state: &mut State, seat: SeatId, s: &Subscriber) {
        let identity = &s.visitor.identity;
        let (key, owner) = (identity.id.to_string(), seat.owner());
        let meta = profile(identity);
        let put = Put::new(&self.topic, &key, &owner)
            .meta(&meta)
            .status(s.visitor.status as u8);
        if let Err(error) = attendance.track(&put) {
            // The visitor is in the room all the same; only nobody sees them.
            tracing::error!(%error, "presence refused an entry");
        }
        if state.mode == Mode::Full {
            state.roll.look(attendance, &self.topic, &key);
        }
    }

    fn untrack(
        &self,
        attendance: &Attendance,
        state: &mut State,
        seat: SeatId,
        identity: &Identity,
    ) {
        attendance.untrack(&self.topic, &identity.id.to_string(), &seat.owner());
        if !state.subscribers.values().any(|s| s.user() == identity.id) {
            self.end_typing(state, identity.id);
        }
    }

    /// Changes the status of one seat.
    pub(crate) fn set_status(&self, attendance: &Attendance, seat: SeatId, status: Status) {
        let mut state = self.state.lock();
        let Some(subscriber) = state.subscribers.get_mut(&seat) else {
            return;
        };
        subscriber.visitor.status = status;
        let identity = subscriber.visitor.identity.clone();
        let (key, owner) = (identity.id.to_string(), seat.owner());
        let meta = profile(&identity);
        let put = Put::new(&self.topic, &key, &owner)
            .meta(&meta)
            .status(status as u8);
        if let Err(error) = attendance.update(&put) {
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

    /// `seat` types, or stopped to. The others hear of it, unless the user is invisible.
    pub(crate) fn typing(&self, seat: SeatId, types: bool) {
        let (mut state, now) = (self.state.lock(), Instant::now());
        let Some(subscriber) = state.subscribers.get(&seat) else {
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

    fn end_typing(&self, state: &mut State, user: Uuid) {
        if let Some(typing) = state.typing.remove(&user) {
            let payload = typing_payload(user, &typing.username);
            state.broadcast_typing(&Broadcast::new(&self.topic, "stop_typing", payload), user);
        }
    }

    /// Takes up what happened to presence in this room.
    pub(super) fn take(&self, attendance: &Attendance, diff: &TopicDiff) {
        let mut state = self.state.lock();
        let full = state.mode == Mode::Full;
        let entries = diff.joins.iter().chain(&diff.leaves);
        for entry in entries.chain(diff.updates.iter().map(|u| &u.new)) {
            if let Some(key) = entry
                .key_str()
                .filter(|key| full || state.roll.contains(key))
            {
                state.roll.mark(key);
            }
        }
        if full && attendance.count_keys(&self.topic) > self.full_max {
            self.publish_diff(attendance, &mut state);
            self.set_mode(&mut state, Mode::Counts);
        } else {
            self.publish_diff(attendance, &mut state);
        }
    }

    fn publish_diff(&self, attendance: &Attendance, state: &mut State) {
        let payload = match state.mode {
            Mode::Full => state.roll.diff(attendance, &self.topic),
            Mode::Counts => state.roll.leaves(attendance, &self.topic),
        };
        let Some(payload) = payload else {
            return;
        };
        let diff = Broadcast::new(&self.topic, "presence_diff", payload);
        for subscriber in state.subscribers.values_mut().filter(|s| s.has_state) {
            if subscriber.visitor.outbox.is_congested() {
                // It gets a new state when it has caught up.
                subscriber.has_state = false;
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
        let payload = json!({ "mode": mode.as_str() }).to_string();
        state.broadcast(
            &Broadcast::new(&self.topic, "presence_mode", payload),
            |_| true,
        );
    }

    /// What is due every quarter of a second.
    pub(super) fn tick(&self, attendance: &Attendance, now: Instant) {
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
            Mode::Counts => self.tick_counts(attendance, &mut state, now),
            Mode::Full => state.send_missing_states(&self.topic),
        }
    }

    fn tick_counts(&self, attendance: &Attendance, state: &mut State, now: Instant) {
        let online = attendance.count_keys(&self.topic);
        let (sent, at) = state.count_sent;
        if online != sent && now.saturating_duration_since(at) >= COUNT_PERIOD {
            state.count_sent = (online, now);
            let payload = self.counts(attendance).to_string();
            state.broadcast(
                &Broadcast::new(&self.topic, "presence_count", payload),
                |s| !s.visitor.outbox.is_congested(),
            );
        }
        if online >= self.full_max / 5 * 4 {
            state.calm_since = None;
        } else if now.saturating_duration_since(*state.calm_since.get_or_insert(now)) >= CALM {
            self.set_mode(state, Mode::Full);
            state.roll = Roll::of(attendance, &self.topic);
            for subscriber in state.subscribers.values_mut() {
                subscriber.has_state = false;
            }
            state.send_missing_states(&self.topic);
        }
    }

    fn counts(&self, attendance: &Attendance) -> Value {
        let online = attendance.count_keys(&self.topic);
        let total = usize::try_from(self.info.member_count)
            .unwrap_or(0)
            .max(online);
        json!({ "online": online, "total": total })
    }

    /// Shows everyone out who `applies`: their channels end and do not come back by themselves.
    pub(super) fn show_out(&self, attendance: &Attendance, applies: impl Fn(Uuid) -> bool) {
        let mut state = self.state.lock();
        let seats: Vec<_> = state
            .subscribers
            .iter()
            .filter(|(_, s)| applies(s.user()))
            .map(|(seat, _)| *seat)
            .collect();
        for seat in seats {
            if let Some(subscriber) = state.subscribers.remove(&seat) {
                subscriber.push_close(&self.topic);
                self.untrack(attendance, &mut state, seat, &subscriber.visitor.identity);
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
    fn broadcast(&self, event: &Broadcast, to: impl Fn(&Subscriber) -> bool) {
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
    fn send_state(&mut self, seat: SeatId, topic: &str) {
        if self.mode == Mode::Full {
            let state = self.roll.state();
            if let Some(subscriber) = self.subscribers.get_mut(&seat) {
                subscriber.push(topic, "presence_state", &state);
                subscriber.has_state = true;
            }
        }
    }

    /// Subscribers that were too slow for diffs, and have caught up, start over.
    fn send_missing_states(&mut self, topic: &str) {
        let waiting = |s: &&mut Subscriber| !s.has_state && !s.visitor.outbox.is_congested();
        let mut state = None;
        for subscriber in self.subscribers.values_mut().filter(waiting) {
            let state = state.get_or_insert_with(|| self.roll.state());
            subscriber.push(topic, "presence_state", state);
            subscriber.has_state = true;
        }
    }
}

fn profile(identity: &Identity) -> Vec<u8> {
    let profile = Profile {
        username: identity.username.as_ref().into(),
        guest: identity.guest,
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
