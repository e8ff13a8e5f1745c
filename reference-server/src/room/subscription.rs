//! A subscription of one connection to one room.

use std::sync::Arc;

use headcount::{Status, Viewer};
use uuid::Uuid;

use super::{Room, publish::Counts};
use crate::{
    auth::Identity,
    socket::{Outbox, Ref, Vsn, encode},
};

/// Names a subscription for the life of the process; it is also the owner of its presence entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SubscriptionId(pub(super) u64);

impl SubscriptionId {
    /// The presence owner.
    pub(super) fn owner(self) -> String {
        self.0.to_string()
    }
}

/// What a connection holds of a room it is in.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) room: Arc<Room>,
    pub(crate) id: SubscriptionId,
    pub(crate) join_ref: Ref,
}

/// Who comes in, and how to reach them.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) identity: Identity,
    pub(crate) staff: bool,
    pub(crate) status: Status,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) vsn: Vsn,
    pub(crate) join_ref: Ref,
}

/// A visitor who has taken a subscription.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) visitor: Visitor,
    /// Presence diffs follow a state; without one they are not sent.
    pub(super) has_state: bool,
    /// It was left out of a diff, and what it shows since is wrong.
    pub(super) is_behind: bool,
    /// The counts it was last sent, in this period of counts.
    pub(super) told_counts: Option<Counts>,
    /// There once the client has opened a window of the member list.
    pub(super) viewer: Option<Viewer<u128>>,
}

impl Subscriber {
    pub(super) fn user(&self) -> Uuid {
        self.visitor.identity.id
    }

    /// Sends an event to this subscriber alone, under its join reference.
    pub(super) fn push(&self, topic: &str, event: &str, payload: &str) {
        let v = &self.visitor;
        v.outbox.push(encode(
            v.vsn,
            v.join_ref.as_deref(),
            None,
            topic,
            event,
            payload,
        ));
    }

    /// Ends the channel in the client: it will not come back by itself.
    pub(super) fn push_close(&self, topic: &str) {
        let v = &self.visitor;
        let join_ref = v.join_ref.as_deref();
        v.outbox
            .push(encode(v.vsn, join_ref, join_ref, topic, "phx_close", "{}"));
    }
}
