//! The sessions of a room: they join, leave, are lost, change their status and are ended.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use headcount::Status;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Room, RoomPresence, Subscription, SubscriptionId, Visitor,
    lost::LostSession,
    open_room::{Closed, State},
    presence::{NewSession, Profile},
    subscribers::Subscriber,
};
use crate::{auth::Identity, socket::Ref};

impl Room {
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
    pub(super) fn untrack_lost(&self, presence: &RoomPresence, sessions: Vec<LostSession>) {
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

    /// Changes the status of all subscriptions of a user. The lost sessions of one that hides end.
    pub(super) fn set_status_of_user(&self, presence: &RoomPresence, user: Uuid, status: Status) {
        if status == Status::Invisible {
            let lost = self.state.lock().lost.take_where(|lost| lost.user == user);
            self.untrack_lost(presence, lost);
        }
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
