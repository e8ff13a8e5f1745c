//! `Subscribers`: the connections that are subscribed to a room, and what each of them was sent. The room's lock
//! guards it.

use std::{collections::HashMap, sync::Arc};

use headcount::{Status, Viewer};
use uuid::Uuid;

use super::{member_windows::ListFormat, members::Occupancy, subscription_id::SubscriptionId};
use crate::{
    auth::Identity,
    metrics::Dropped,
    socket::{Broadcast, Outbox, Ref, Vsn, encode, encode_reply},
};

/// A user that joins a room, and the connection that reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) identity: Identity,
    pub(crate) staff: bool,
    pub(crate) status: Status,
    /// The client's own name of the device, by which it returns after a lost connection.
    pub(crate) device: Option<Arc<str>>,
    /// The format in which it reads the member list.
    pub(crate) list_format: ListFormat,
    /// When it joined, in seconds since 1970.
    pub(crate) online_at: i64,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) vsn: Vsn,
    pub(crate) join_ref: Ref,
}

/// A visitor with a subscription.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) visitor: Visitor,
    /// True once it was sent a presence state: diffs follow only after one.
    pub(super) has_state: bool,
    /// True if a diff was left out for it: the presence that it shows is wrong.
    pub(super) is_behind: bool,
    /// The counts that it was last sent, in this period of counts.
    pub(super) sent_counts: Option<Occupancy>,
    /// Present once the client has opened a window of the member list; most never do.
    pub(super) viewer: Option<Box<Viewer<u128>>>,
}

impl Subscriber {
    pub(super) fn new(visitor: Visitor) -> Self {
        Self {
            visitor,
            has_state: false,
            is_behind: false,
            sent_counts: None,
            viewer: None,
        }
    }

    pub(super) fn user(&self) -> Uuid {
        self.visitor.identity.id
    }

    /// Returns whether its connection has more queued than it can take.
    pub(super) fn is_congested(&self) -> bool {
        self.visitor.outbox.is_congested()
    }

    /// Returns whether it goes without a frame of this kind because it has more queued than it can take.
    pub(super) fn leaves_out(&self, kind: Dropped) -> bool {
        self.visitor.outbox.leaves_out(kind)
    }

    /// Sends an event to this subscriber alone, under its join reference.
    pub(super) fn push(&self, topic: &str, event: &str, payload: &str) {
        let v = &self.visitor;
        let join_ref = v.join_ref.as_deref();
        let frame = encode(v.vsn, join_ref, None, topic, event, payload);
        v.outbox.push(frame);
    }

    /// Sends the same frame as to others.
    pub(super) fn push_broadcast(&self, event: &Broadcast) {
        self.visitor.outbox.push(event.frame(self.visitor.vsn));
    }

    /// Answers a push of this subscriber with success.
    pub(super) fn reply(&self, topic: &str, reference: &Ref, response: &str) {
        let v = &self.visitor;
        let join_ref = v.join_ref.as_deref();
        let reference = reference.as_deref();
        let frame = encode_reply(v.vsn, join_ref, reference, topic, "ok", response);
        v.outbox.push(frame);
    }

    /// Ends the channel in the client, which does not rejoin by itself.
    pub(super) fn push_close(&self, topic: &str) {
        let v = &self.visitor;
        let join_ref = v.join_ref.as_deref();
        let frame = encode(v.vsn, join_ref, join_ref, topic, "phx_close", "{}");
        v.outbox.push(frame);
    }
}

/// The subscribers of a room.
#[derive(Debug, Default)]
pub(super) struct Subscribers(HashMap<SubscriptionId, Subscriber>);

impl Subscribers {
    /// Adds a subscriber, and returns it.
    pub(super) fn insert(&mut self, id: SubscriptionId, subscriber: Subscriber) -> &mut Subscriber {
        self.0.entry(id).insert_entry(subscriber).into_mut()
    }

    pub(super) fn remove(&mut self, id: SubscriptionId) -> Option<Subscriber> {
        self.0.remove(&id)
    }

    pub(super) fn get(&self, id: SubscriptionId) -> Option<&Subscriber> {
        self.0.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Subscriber> {
        self.0.get_mut(&id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subscriber> {
        self.0.values_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the subscriptions of the users that `applies` accepts.
    pub(super) fn of_users(&self, applies: impl Fn(Uuid) -> bool) -> Vec<SubscriptionId> {
        let chosen = self.0.iter().filter(|(_, s)| applies(s.user()));
        chosen.map(|(id, _)| *id).collect()
    }

    /// Returns whether `applies` accepts any subscriber.
    pub(super) fn any(&self, applies: impl Fn(&Subscriber) -> bool) -> bool {
        self.0.values().any(applies)
    }

    /// Sends an event to the subscribers that `to` accepts.
    pub(super) fn broadcast(&self, event: &Broadcast, to: impl Fn(&Subscriber) -> bool) {
        for subscriber in self.0.values().filter(|s| to(s)) {
            subscriber.push_broadcast(event);
        }
    }
}
