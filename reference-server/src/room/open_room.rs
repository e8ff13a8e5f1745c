//! `Room`: an open room. It is one lock around the parts that its subscribers share, and routes what happens to them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use headcount::{Status, TopicDiff};
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    RoomOverview, RoomPresence, ShownRow, SubscriptionId, Visitor, WindowRefusal, WindowRequest,
    changes::TopicChanges,
    history::History,
    lost::{LostSession, LostSessions},
    members::{Occupancy, RoomMembers},
    presence::{NewSession, Profile},
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
    info: db::Room,
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
    lost: LostSessions,
    pub(super) history: History,
    pub(super) typing: Typing,
    feed: PresenceFeed,
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

    /// Subscribes a visitor: reply, then the close of the subscription it replaces, then presence and the
    /// latest messages. All of it is queued in the outbox before any broadcast can be.
    pub(super) fn join(
        self: &Arc<Self>,
        presence: &RoomPresence,
        id: SubscriptionId,
        mut visitor: Visitor,
        reference: &Ref,
        replaced: Option<SubscriptionId>,
    ) -> Result<Subscription, Closed> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Closed);
        }
        state.used = Instant::now();
        let lost = state.lost.take(&visitor);
        let id = lost.as_ref().map_or(id, |lost| lost.id);
        if let Some(lost) = &lost {
            visitor.online_at = lost.online_at;
        }
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
        self.track(presence, &mut state, id, &subscriber.visitor, lost.as_ref());
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

    /// Ends a subscription whose connection was lost: its session stays for `grace`, until the user returns.
    pub(crate) fn lose(
        &self,
        presence: &RoomPresence,
        subscription: SubscriptionId,
        grace: Duration,
    ) {
        if grace.is_zero() {
            self.leave(presence, subscription);
            return;
        }
        let mut state = self.state.lock();
        let Some(subscriber) = state.subscribers.remove(subscription) else {
            return;
        };
        let now = Instant::now();
        state.used = now;
        let visitor = &subscriber.visitor;
        state.lost.add(subscription, visitor, now + grace);
        self.end_typing_of_gone(&mut state, visitor.identity.id);
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
        lost: Option<&LostSession>,
    ) {
        // Nobody saw a lost one leave: there is nothing to tell, unless its status has changed.
        if lost.is_none_or(|lost| lost.status != visitor.status) {
            self.show(presence, subscription, visitor);
        }
        let key = visitor.identity.id.to_string();
        state.feed.refresh(presence, &key);
    }

    /// Shows a session, or its change. A visitor whose session is refused is in the room all the same, but shown to
    /// none.
    fn show(&self, presence: &RoomPresence, subscription: SubscriptionId, visitor: &Visitor) {
        let shown = presence.put(&NewSession {
            topic: &self.topic,
            key: &visitor.identity.id.to_string(),
            owner: &subscription.owner(),
            profile: &profile(visitor),
            status: visitor.status,
        });
        if let Err(error) = shown {
            tracing::error!(%error, "presence refused a session");
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
        self.end_typing_of_gone(state, identity.id);
    }

    /// Ends the sessions of users that have not returned.
    fn untrack_lost(&self, presence: &RoomPresence, sessions: Vec<LostSession>) {
        for lost in sessions {
            let key = lost.user.to_string();
            presence.untrack(&self.topic, &key, &lost.id.owner());
        }
    }

    /// Ends the typing note of a user that has no subscription left.
    fn end_typing_of_gone(&self, state: &mut State, user: Uuid) {
        if state.typing.contains(user) && !state.subscribers.any(|s| s.user() == user) {
            self.end_typing(state, user);
        }
    }

    /// Changes the status of all subscriptions of a user.
    pub(super) fn set_status_of_user(&self, presence: &RoomPresence, user: Uuid, status: Status) {
        for subscription in presence.subscriptions(&self.topic, &user.to_string()) {
            self.set_status(presence, subscription, status);
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
        self.show(presence, subscription, &subscriber.visitor);
        if status == Status::Invisible {
            self.end_typing(&mut state, user);
        }
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

    /// Ends the subscriptions of the users that `applies` accepts. Their clients do not rejoin by themselves.
    pub(super) fn evict(&self, presence: &RoomPresence, applies: impl Fn(Uuid) -> bool) {
        let mut state = self.state.lock();
        let lost = state.lost.take_where(|lost| applies(lost.user));
        self.untrack_lost(presence, lost);
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

fn profile(visitor: &Visitor) -> Vec<u8> {
    let profile = Profile {
        username: visitor.identity.username.as_ref().into(),
        guest: visitor.identity.guest,
        staff: visitor.staff,
        simulated: false,
        online_at: Some(visitor.online_at),
    };
    profile.to_bytes()
}

#[cfg(test)]
#[path = "open_room_tests.rs"]
mod tests;
