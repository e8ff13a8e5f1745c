//! `Room`: an open room. It is one lock around the parts that its subscribers share, and routes what happens to them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use headcount::TopicDiff;
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    RoomOverview, RoomPresence, ShownRow, SubscriptionId, WindowRefusal, WindowRequest,
    changes::TopicChanges,
    history::History,
    lost::LostSessions,
    members::{Occupancy, RoomMembers},
    presence_feed::PresenceFeed,
    shown_changes::ShownChanges,
    subscribers::{Subscriber, Subscribers},
    typing::Typing,
};
use crate::{
    auth::Identity,
    db::{self, Message, Role, ServerRole},
    metrics::Dropped,
    socket::{Broadcast, Ref, encode},
};

/// A room without subscribers is forgotten after this long.
const IDLE: Duration = Duration::from_secs(60);

/// A room that has subscribers, or had some a short while ago.
pub(crate) struct Room {
    pub(crate) id: Uuid,
    pub(crate) topic: Arc<str>,
    /// The row as it was when the room was opened; only its constant columns are read.
    pub(super) info: db::Room,
    /// True once the room is limited to roles, be it for a while.
    was_limited: AtomicBool,
    opened: Instant,
    /// Held from storing a message to sending it: messages are sent in the order of their numbers.
    pub(crate) posting: tokio::sync::Mutex<()>,
    pub(crate) shown: ShownChanges,
    /// In a cluster: the changes of presence here on all nodes.
    changes: Mutex<Vec<TopicChanges>>,
    pub(super) state: Mutex<State>,
}

/// The parts of a room, guarded by one lock.
pub(super) struct State {
    pub(super) subscribers: Subscribers,
    pub(super) lost: LostSessions,
    pub(super) history: History,
    pub(super) typing: Typing,
    pub(super) feed: PresenceFeed,
    pub(super) members: RoomMembers,
    /// True once the room is dropped from the hub: its users must open it again.
    pub(super) is_closed: bool,
    /// True if a message came since the members were last told of new ones.
    pub(super) has_news: bool,
    pub(super) last_seq: i64,
    /// True if the room is never forgotten, however long it has no subscribers.
    is_pinned: bool,
    pub(super) used: Instant,
}

/// The subscription of a connection to a room.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) room: Arc<Room>,
    pub(crate) id: SubscriptionId,
    pub(crate) join_ref: Ref,
}

/// A change of whether there is anybody in a room that others see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occupation {
    Occupied,
    Vacated,
}

/// The error of a room that was dropped meanwhile: open it again.
#[derive(Debug)]
pub(crate) struct Closed;

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({})", self.topic)
    }
}

impl Room {
    pub(super) fn new(
        info: db::Room,
        latest: &[Message],
        members: RoomMembers,
        full_max: usize,
    ) -> Self {
        let now = Instant::now();
        let topic: Arc<str> = info.topic().into();
        let shown = ShownChanges::default();
        shown.note_members(info.members_seq);
        Self {
            id: info.id,
            was_limited: AtomicBool::new(info.limited),
            opened: now,
            posting: tokio::sync::Mutex::new(()),
            shown,
            changes: Mutex::default(),
            state: Mutex::new(State {
                subscribers: Subscribers::default(),
                lost: LostSessions::default(),
                history: History::new(latest),
                typing: Typing::default(),
                feed: PresenceFeed::new(Arc::clone(&topic), full_max, now),
                members,
                is_closed: false,
                has_news: false,
                last_seq: info.last_seq,
                is_pinned: false,
                used: now,
            }),
            topic,
            info,
        }
    }

    /// Returns the room, and the role of a user in it, if they are known without the database: not of a room that was
    /// limited to roles, nor of a user that may not join, or not yet.
    pub(crate) fn known_role(&self, user: &Identity) -> Option<(&db::Room, Role)> {
        if self.was_limited.load(Ordering::Acquire) || self.info.tenant != *user.tenant {
            return None;
        }
        let is_in = match user.guest {
            true => !self.info.private,
            false => self.is_stored(user.id),
        };
        let is_admin = self.info.kind == "group" && self.info.owner_id == Some(user.id);
        let role = if is_admin { Role::Admin } else { Role::Member };
        is_in.then_some((&self.info, role))
    }

    /// Notes that the room was limited to roles.
    pub(super) fn note_limited(&self) {
        self.was_limited.store(true, Ordering::Release);
    }

    /// Begins to follow the room on all nodes, and takes in who is there.
    pub(super) async fn follow(&self, presence: &RoomPresence) {
        let changes = presence.follow(&self.topic).await;
        *self.changes.lock() = changes;
        self.apply_changes(presence);
    }

    /// Applies what has happened on all nodes, in a cluster.
    pub(super) fn apply_changes(&self, presence: &RoomPresence) {
        let mut changes = self.changes.lock();
        let taken = changes.iter_mut().map(|c| presence.take_changes(c));
        let taken: Vec<_> = taken.flatten().collect();
        if !taken.is_empty() {
            let diffs: Vec<&TopicDiff> = taken.iter().map(AsRef::as_ref).collect();
            self.apply(presence, &diffs);
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

    pub(super) fn end_typing(&self, state: &mut State, user: Uuid) {
        if let Some(payload) = state.typing.end(user) {
            self.send_typing(state, "stop_typing", payload, user);
        }
    }

    /// Sends a typing event to the others. It is the first thing that a congested client does without.
    pub(super) fn send_typing(
        &self,
        state: &State,
        event: &'static str,
        payload: String,
        user: Uuid,
    ) {
        let event = Broadcast::new(&self.topic, event, payload);
        let is_to = |s: &Subscriber| s.user() != user && !s.leaves_out(Dropped::Typing);
        state.subscribers.broadcast(&event, is_to);
    }

    /// Closes the room for good if it has had no subscribers for a while. Returns whether it is closed.
    pub(super) fn close_if_idle(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let is_idle = now.saturating_duration_since(state.used) >= IDLE;
        let is_empty = state.subscribers.is_empty() && state.lost.is_empty();
        state.is_closed |= is_idle && !state.is_pinned && is_empty;
        state.is_closed
    }

    /// Closes the room for good.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
    }

    /// Applies what happened to presence in this room, and sends it. Returns whether the room became occupied, or
    /// vacated.
    pub(super) fn apply(
        &self,
        presence: &RoomPresence,
        diffs: &[&TopicDiff],
    ) -> Option<Occupation> {
        let mut state = self.state.lock();
        let wall_s = u64::try_from(db::now_micros() / 1_000_000).unwrap_or_default();
        let State {
            subscribers,
            feed,
            members,
            ..
        } = &mut *state;
        let before = members.occupancy().online;
        for diff in diffs {
            members.apply(diff, wall_s);
        }
        feed.send_diff(presence, members, subscribers, diffs);
        let occupation = match (before, members.occupancy().online) {
            (0, 1..) => Occupation::Occupied,
            (1.., 0) => Occupation::Vacated,
            _ => return None,
        };
        let is_occupied = occupation == Occupation::Occupied;
        presence.set_occupied(self.id, self.tenant(), is_occupied);
        Some(occupation)
    }

    /// Returns the server of the room; a conversation of two has none.
    pub(crate) fn server(&self) -> Option<Uuid> {
        self.info.server_id
    }

    /// Returns the tenant of the room.
    pub(crate) fn tenant(&self) -> &str {
        &self.info.tenant
    }

    /// Sends the changes of a quarter of a second to the subscribers.
    pub(super) fn tick(&self, presence: &RoomPresence, now: Instant) {
        let mut state = self.state.lock();
        let expired = state.lost.take_expired(now);
        self.untrack_lost(presence, expired);
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

    /// Sends frames of the member list to the subscribers with open windows, and keeps the list up
    /// to date for clients that are away. A congested client is left out, and gets fresh windows
    /// when it has caught up.
    fn send_frames(&self, members: &mut RoomMembers, subscribers: &mut Subscribers, now: Instant) {
        let has_viewers = subscribers.any(|s| s.viewer.is_some());
        let since = now.saturating_duration_since(self.opened);
        let Some(tick) = members.tick(since, has_viewers) else {
            return;
        };
        for subscriber in subscribers.iter_mut() {
            let v = &subscriber.visitor;
            let Some(viewer) = &mut subscriber.viewer else {
                continue;
            };
            if v.outbox.leaves_out(Dropped::MemberList) {
                continue;
            }
            for bundle in members.bundles(viewer, &tick, v.list_format) {
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
    ) -> Result<(), WindowRefusal> {
        let mut state = self.state.lock();
        let State {
            subscribers,
            members,
            ..
        } = &mut *state;
        let Some(subscriber) = subscribers.get_mut(subscription) else {
            return Ok(());
        };
        let format = subscriber.visitor.list_format;
        let viewer = subscriber
            .viewer
            .get_or_insert_with(|| Box::new(members.viewer(format)));
        let answer = members.request(viewer, request, format)?;
        subscriber.reply(&self.topic, reference, answer.as_deref().unwrap_or("{}"));
        Ok(())
    }

    /// Returns the first rows of the member list, at most `limit`, and the size of the room.
    pub(crate) fn first_rows(&self, limit: usize) -> (Vec<ShownRow>, Occupancy) {
        let state = self.state.lock();
        (state.members.first_rows(limit), state.members.occupancy())
    }

    /// Returns the positions in the member list of the first names that begin with `prefix`.
    pub(crate) fn find_members(&self, prefix: &str) -> Value {
        json!({ "matches": self.state.lock().members.find(prefix) })
    }

    /// Adds a stored member, and the roles that it has.
    pub(super) fn add_member(&self, user: Uuid, username: &str, roles: &[Uuid]) {
        let mut state = self.state.lock();
        state.members.add_member(user, username, roles);
    }

    /// Returns whether a user is a stored member.
    pub(crate) fn is_stored(&self, user: Uuid) -> bool {
        self.state.lock().members.is_stored(user)
    }

    /// Takes these roles for those of the server, the highest first.
    pub(super) fn set_roles(&self, roles: &[ServerRole]) {
        self.state.lock().members.set_roles(roles);
    }

    /// Takes these roles for those that a stored member has.
    pub(super) fn set_roles_of(&self, user: Uuid, roles: &[Uuid]) {
        self.state.lock().members.set_roles_of(user, roles);
    }

    /// Returns the stored members. O(members).
    pub(crate) fn stored_members(&self) -> Vec<Uuid> {
        self.state.lock().members.stored()
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

    /// Counts the subscriptions.
    pub(super) fn subscriptions_len(&self) -> usize {
        self.state.lock().subscribers.len()
    }

    /// Returns the room as operators see it.
    pub(super) fn overview(&self) -> RoomOverview {
        let state = self.state.lock();
        let Occupancy { online, total } = state.members.occupancy();
        RoomOverview {
            topic: self.topic.to_string(),
            name: self.info.name.clone(),
            is_dm: self.info.kind == "dm",
            tenant: self.info.tenant.clone(),
            subscriptions: state.subscribers.len(),
            online,
            total,
            messages: state.last_seq,
        }
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        self.state.lock().members.occupancy()
    }
}

#[cfg(test)]
#[path = "open_room_tests.rs"]
mod tests;
