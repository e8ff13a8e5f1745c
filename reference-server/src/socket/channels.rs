//! `Channels`: the channels that a client has joined, over a WebSocket or by polls. It is the state machine of Phoenix
//! Channels, and hands the events of a room to it. The task of the client owns it; no lock.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    CloseReason, Outbox, Vsn,
    choices::Choices,
    expiry::{Due, Expiry, Refusals},
    frame::{Malformed, Push, Ref, decode_binary, decode_text, encode, encode_reply},
    member_list,
    messages::{self, Reply, storage_reason},
};
use crate::{
    app::App,
    auth::Identity,
    db::{self, Role},
    error::{ApiError, millis},
    inbox,
    meters::Kind,
    room::{JoinRefusal, Subscription, Visitor, session_status},
    validate,
};

/// Channels one socket may join.
const CHANNELS_MAX: usize = 100;

/// Parameters of a join; others are ignored.
#[derive(Default, Deserialize)]
struct JoinParams {
    status: Option<String>,
}

#[derive(Deserialize)]
struct AccessToken {
    token: String,
}

#[derive(Deserialize)]
struct SetStatus {
    status: String,
}

#[derive(Deserialize)]
struct Find {
    prefix: String,
}

/// A client and the channels that it has joined.
pub(crate) struct Channels {
    app: Arc<App>,
    vsn: Vsn,
    identity: Identity,
    choices: Choices,
    outbox: Arc<Outbox>,
    /// True once the client has said that it leaves: its sessions then do not wait for it.
    has_left: bool,
    joined: HashMap<String, Subscription>,
    /// The join reference of the user's own channel, if that is joined.
    inbox: Option<Ref>,
    refusals: Refusals,
    expiry: Expiry,
}

/// Ends the subscriptions, however the connection ends.
impl Drop for Channels {
    fn drop(&mut self) {
        let grace = if self.is_lost() {
            self.app.grace()
        } else {
            Duration::ZERO
        };
        let reason = self.outbox.close_reason();
        let reason = reason.map_or("client", CloseReason::as_str);
        self.app.metrics.close(reason);
        let presence = &self.app.hub.presence;
        for (_, subscription) in self.joined.drain() {
            subscription.room.lose(presence, subscription.id, grace);
        }
        self.app.connections.remove(self.identity.id, &self.outbox);
        if self.inbox.is_some() {
            self.app.inboxes.leave(self.identity.id, &self.outbox);
        }
    }
}

impl Channels {
    pub(crate) fn new(app: Arc<App>, vsn: Vsn, identity: Identity, choices: Choices) -> Self {
        let outbox = Arc::new(Outbox::new(Arc::clone(&app.metrics.queues)));
        app.metrics.open(choices.contact.transport);
        app.add_connection(&identity, vsn, choices.contact, &outbox);
        let expiry = Expiry::new(identity.expires_at);
        Self {
            app,
            vsn,
            identity,
            choices,
            outbox,
            has_left: false,
            joined: HashMap::new(),
            inbox: None,
            refusals: Refusals::new(),
            expiry,
        }
    }

    /// Notes that the client leaves, and is not lost.
    pub(super) fn say_left(&mut self) {
        self.has_left = true;
    }

    /// Returns whether the client was lost, so that it may return: it has not left, and was not turned out.
    fn is_lost(&self) -> bool {
        let reason = self.outbox.close_reason();
        let is_turned_out = matches!(
            reason,
            Some(
                CloseReason::TokenEnded
                    | CloseReason::Flood
                    | CloseReason::Restart
                    | CloseReason::Abrupt
            )
        );
        !self.has_left && !is_turned_out
    }

    /// Returns the time at which [`Self::expire`] has something to do.
    pub(super) fn next_expiry(&self) -> Instant {
        self.expiry.next()
    }

    /// Announces the end of the token, then closes the connection at it.
    pub(super) fn expire(&mut self, now: Instant) {
        match self.expiry.due(now) {
            Due::Nothing => {}
            Due::Warning(left) => {
                let payload = json!({ "expires_in_ms": millis(left) }).to_string();
                let event = "token_expiring";
                let frame = encode(self.vsn, None, None, "phoenix", event, &payload);
                self.outbox.push(frame);
            }
            Due::End => self.outbox.close(CloseReason::TokenEnded),
        }
    }

    /// Handles a push on the user's own channel.
    async fn inbox_event(&mut self, push: &Push<'_>) {
        let inboxes = &self.app.inboxes;
        match &*push.event {
            "phx_join" => {
                let old = self.inbox.replace(push.join_ref.clone());
                if old.is_none() {
                    inboxes.join(&self.identity, self.vsn, &self.outbox);
                }
                let status = self.app.connections.chosen_status(self.identity.id);
                let status = status.unwrap_or_default().as_str();
                self.reply(push, "ok", &json!({ "status": status }).to_string());
                if let Some(old) = old {
                    self.push_end(old.as_deref(), &push.topic, "phx_close");
                }
            }
            "phx_leave" => {
                let left = self.inbox.take_if(|joined| is_of_join(push, joined));
                self.reply(push, "ok", "{}");
                if let Some(left) = left {
                    inboxes.leave(self.identity.id, &self.outbox);
                    self.push_end(left.as_deref(), &push.topic, "phx_close");
                }
            }
            _ if self.inbox.is_none() => self.unmatched(push),
            _ if self
                .inbox
                .as_ref()
                .is_some_and(|joined| !is_of_join(push, joined)) => {}
            "set_status" => self.choose_status(push).await,
            _ => self.reply(push, "error", r#"{"reason":"unknown event"}"#),
        }
    }

    /// Changes the status of the user on all devices.
    async fn choose_status(&self, push: &Push<'_>) {
        let wanted = push.payload.parse();
        let wanted = wanted.and_then(|p: SetStatus| session_status(&p.status));
        let Some(status) = wanted else {
            return self.reply(push, "error", r#"{"reason":"invalid status"}"#);
        };
        match self.app.choose_status(&self.identity, status).await {
            Ok(()) => {
                let answer = json!({ "status": status.as_str() });
                self.reply(push, "ok", &answer.to_string());
            }
            Err(error) => {
                let reason = storage_reason(&error).unwrap_or("internal error");
                let answer = json!({ "reason": reason });
                self.reply(push, "error", &answer.to_string());
            }
        }
    }

    /// Takes a new token of the same user in place of the present one.
    async fn renew(&mut self, push: &Push<'_>) {
        let refused = |reason: &str| json!({ "reason": reason }).to_string();
        let Some(AccessToken { token }) = push.payload.parse() else {
            return self.reply(push, "error", &refused("invalid payload"));
        };
        let known = self.app.authenticate(&token).await;
        let known = match known {
            Ok(identity) => identity,
            Err(error) => {
                let reason = storage_reason(&error).unwrap_or("internal error");
                return self.reply(push, "error", &refused(reason));
            }
        };
        let own = &self.identity;
        let is_own = |new: &Identity| new.id == own.id && new.tenant == own.tenant;
        let Some(identity) = known.filter(is_own) else {
            return self.reply(push, "error", &refused("invalid token"));
        };
        self.expiry = Expiry::new(identity.expires_at);
        self.app.connections.remove(self.identity.id, &self.outbox);
        let contact = self.choices.contact;
        self.app
            .add_connection(&identity, self.vsn, contact, &self.outbox);
        self.identity = identity;
        self.reply(push, "ok", "{}");
    }

    /// Charges a push to the rate of its kind. Refuses it if that is used up, and closes a connection that goes on.
    fn charge(&mut self, push: &Push<'_>) -> bool {
        let kind = Kind::of(&push.event);
        let Err(wait) = self.app.meter(kind, self.identity.id) else {
            return true;
        };
        let answer = json!({ "reason": "rate_limited", "retry_after_ms": millis(wait) });
        self.reply(push, "error", &answer.to_string());
        if self.refusals.add(Instant::now()) {
            self.outbox.close(CloseReason::Flood);
        }
        false
    }

    /// Returns the queue of frames to the client.
    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Handles a push in text, in the client's version of the protocol.
    pub(crate) async fn handle_text(&mut self, text: &str) -> Result<(), Malformed> {
        self.handle(decode_text(self.vsn, text)?).await;
        Ok(())
    }

    /// Handles a binary push.
    pub(crate) async fn handle_binary(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.handle(decode_binary(bytes)?).await;
        Ok(())
    }

    /// Handles a push within a span that names its topic and event in the log.
    async fn handle(&mut self, push: Push<'_>) {
        let topic = push.topic.clone();
        let event = push.event.clone();
        let span = tracing::error_span!("push", ?topic, ?event);
        self.dispatch(push).instrument(span).await;
    }

    async fn dispatch(&mut self, mut push: Push<'_>) {
        if push.event == "phx_join" && push.join_ref.is_none() {
            push.join_ref.clone_from(&push.reference);
        }
        self.app.metrics.pushes.increment(1);
        if !self.charge(&push) {
            return;
        }
        match (&*push.topic, &*push.event) {
            ("phoenix", "heartbeat") => self.reply(&push, "ok", "{}"),
            ("phoenix", "access_token") => self.renew(&push).await,
            (topic, _) if topic == inbox::topic(self.identity.id) => {
                self.inbox_event(&push).await;
            }
            (_, "phx_join") => self.join(&push).await,
            (_, "phx_leave") => self.leave(&push),
            _ => self.event(&push).await,
        }
    }

    /// Returns the subscription of a topic, unless the server has ended it meanwhile.
    fn subscription(&mut self, topic: &str) -> Option<Subscription> {
        let subscription = self.joined.get(topic)?.clone();
        if subscription.room.has(subscription.id) {
            return Some(subscription);
        }
        self.joined.remove(topic);
        None
    }

    async fn join(&mut self, push: &Push<'_>) {
        let old = self.subscription(&push.topic);
        if old.is_none() && self.joined.len() >= CHANNELS_MAX {
            return self.refuse_join(push, JoinRefusal::TooManyChannels);
        }
        if !is_topic_of_room(&push.topic) {
            self.app
                .metrics
                .refuse_join(JoinRefusal::UnmatchedTopic.as_str());
            return self.unmatched(push);
        }
        let generation = self.app.hub.refused.generation();
        let joining = AssertUnwindSafe(self.subscribe(push, old.as_ref())).catch_unwind();
        let refused = match joining.await {
            Ok(Ok(subscription)) => {
                self.app.metrics.joins.increment(1);
                self.joined.insert(push.topic.to_string(), subscription);
                return;
            }
            Ok(Err(refusal)) => refusal,
            Err(_) => JoinRefusal::Crashed,
        };
        let now = std::time::Instant::now();
        let known = &self.app.hub.refused;
        known.note(&self.identity, &push.topic, refused, generation, now);
        // The old channel is torn down by any join, also by one that is refused.
        self.refuse_join(push, refused);
        if let Some(old) = old {
            self.joined.remove(&*push.topic);
            old.room.leave(&self.app.hub.presence, old.id);
            self.push_end(old.join_ref.as_deref(), &push.topic, "phx_close");
        }
    }

    fn refuse_join(&self, push: &Push<'_>, refusal: JoinRefusal) {
        self.app.metrics.refuse_join(refusal.as_str());
        let answer = json!({ "reason": refusal.reason() }).to_string();
        let join_ref = push.join_ref.as_deref();
        let reference = push.reference.as_deref();
        let frame = encode_reply(self.vsn, join_ref, reference, &push.topic, "error", &answer);
        self.app.hub.refused.answer(&self.outbox, frame);
    }

    /// Joins the room of the topic. On success the reply has been sent.
    async fn subscribe(
        &self,
        push: &Push<'_>,
        old: Option<&Subscription>,
    ) -> Result<Subscription, JoinRefusal> {
        let now = std::time::Instant::now();
        let known = &self.app.hub.refused;
        if let Some(refusal) = known.find(&self.identity, &push.topic, now) {
            return Err(refusal);
        }
        let reason = |error: ApiError| match error {
            ApiError::NotFound(_) => JoinRefusal::NotFound,
            error => storage_reason(&error).map_or(JoinRefusal::Crashed, JoinRefusal::Storage),
        };
        let hub = &self.app.hub;
        let evictions = hub.evictions();
        let room = messages::room_and_role_of(&self.app, &self.identity, &push.topic);
        let (room, role) = room.await.map_err(reason)?;
        let role = role.ok_or(JoinRefusal::NotAMember)?;
        let params: JoinParams = push.payload.parse().unwrap_or_default();
        let visitor = Visitor {
            identity: self.identity.clone(),
            staff: role == Role::Admin,
            status: params
                .status
                .and_then(|word| session_status(&word))
                .or_else(|| self.app.connections.chosen_status(self.identity.id))
                .unwrap_or_default(),
            device: self.choices.device.clone(),
            list_format: self.choices.list_format,
            online_at: db::now_micros() / 1_000_000,
            outbox: Arc::clone(&self.outbox),
            vsn: self.vsn,
            join_ref: push.join_ref.clone(),
        };
        let replaced = old.map(|subscription| subscription.id);
        let subscription = hub
            .join(&self.app.db, &room, visitor, &push.reference, replaced)
            .await
            .map_err(|error| reason(error.into()))?
            .ok_or(JoinRefusal::NotFound)?;
        if evictions != hub.evictions() {
            self.evict_if_refused(room.id).await;
        }
        Ok(subscription)
    }

    /// Ends the user's channels of a room that admits it no longer: it may have lost the room while it joined.
    async fn evict_if_refused(&self, room: Uuid) {
        let id = room.to_string();
        let found = self.app.room_and_role(&self.identity, &id).await;
        // One that cannot be asked for may be lost: the client joins again.
        if !matches!(found, Ok((_, Some(_)))) {
            self.app.hub.evict_user(room, self.identity.id);
        }
    }

    /// Leaves a channel. The server always replies: a client whose join timed out may leave a channel that the server
    /// does not know.
    fn leave(&mut self, push: &Push<'_>) {
        let subscription = self.subscription(&push.topic);
        let current = subscription.filter(|subscription| is_of_join(push, &subscription.join_ref));
        if let Some(subscription) = &current {
            self.joined.remove(&*push.topic);
            subscription
                .room
                .leave(&self.app.hub.presence, subscription.id);
        }
        self.reply(push, "ok", "{}");
        if let Some(subscription) = current {
            self.push_end(subscription.join_ref.as_deref(), &push.topic, "phx_close");
        }
    }

    async fn event(&mut self, push: &Push<'_>) {
        let Some(subscription) = self.subscription(&push.topic) else {
            return self.unmatched(push);
        };
        if !is_of_join(push, &subscription.join_ref) {
            return;
        }
        match AssertUnwindSafe(self.room_event(push, &subscription))
            .catch_unwind()
            .await
        {
            Ok(Some(reply)) => {
                let (status, response) = match reply {
                    Ok(response) => ("ok", response),
                    Err(response) => ("error", response),
                };
                let join_ref = subscription.join_ref.as_deref();
                self.reply_as(join_ref, push, status, &response.to_string());
            }
            Ok(None) => {}
            Err(_) => self.crash(&subscription, &push.topic),
        }
    }

    /// Handles an event of a joined room. Typing gets no reply, which is legal.
    async fn room_event(&self, push: &Push<'_>, subscription: &Subscription) -> Option<Reply> {
        match &*push.event {
            "new_message" | "edit_message" | "delete_message" => {
                Some(messages::handle(&self.app, &self.identity, push).await)
            }
            "typing" => {
                let room = &subscription.room;
                let note = room.begin_typing(&self.app.hub.presence, subscription.id);
                if let Some(note) = note {
                    self.app.relay_typing(room.id, &note, true);
                }
                None
            }
            "stop_typing" => {
                let room = &subscription.room;
                if let Some(note) = room.stop_typing(subscription.id) {
                    self.app.relay_typing(room.id, &note, false);
                }
                None
            }
            "set_status" => Some(self.set_status(push, subscription)),
            "member_list_open" | "member_list_search" | "member_list_move"
            | "member_list_close" | "member_list_resync" | "member_list_resume" => {
                member_list::handle(push, subscription)
            }
            "member_list_find" => Some(match push.payload.parse() {
                Some(Find { prefix }) => Ok(subscription.room.find_members(&prefix)),
                None => Err(json!({ "reason": "invalid payload" })),
            }),
            _ => Some(Err(json!({ "reason": "unknown event" }))),
        }
    }

    fn set_status(&self, push: &Push<'_>, subscription: &Subscription) -> Reply {
        let wanted = push
            .payload
            .parse()
            .and_then(|p: SetStatus| session_status(&p.status));
        let Some(status) = wanted else {
            return Err(json!({ "reason": "invalid status" }));
        };
        subscription
            .room
            .set_status(&self.app.hub.presence, subscription.id, status);
        Ok(json!({ "status": status.as_str() }))
    }

    /// Answers a push under the join reference it came with.
    fn reply(&self, push: &Push<'_>, status: &str, response: &str) {
        self.reply_as(push.join_ref.as_deref(), push, status, response);
    }

    fn reply_as(&self, join_ref: Option<&str>, push: &Push<'_>, status: &str, response: &str) {
        let reference = push.reference.as_deref();
        let frame = encode_reply(self.vsn, join_ref, reference, &push.topic, status, response);
        self.outbox.push(frame);
    }

    fn unmatched(&self, push: &Push<'_>) {
        self.reply_as(None, push, "error", r#"{"reason":"unmatched topic"}"#);
    }

    /// Sends an event that ends a channel, under the reference of its join.
    fn push_end(&self, join_ref: Option<&str>, topic: &str, event: &str) {
        let frame = encode(self.vsn, join_ref, join_ref, topic, event, "{}");
        self.outbox.push(frame);
    }

    /// Ends a channel whose handler panicked, with the event that makes the client rejoin.
    fn crash(&mut self, subscription: &Subscription, topic: &str) {
        self.joined.remove(topic);
        subscription
            .room
            .leave(&self.app.hub.presence, subscription.id);
        self.push_end(subscription.join_ref.as_deref(), topic, "phx_error");
    }
}

/// Returns whether a push is meant for the channel of that join, and for none that this socket has replaced since.
fn is_of_join(push: &Push<'_>, join_ref: &Ref) -> bool {
    push.join_ref.is_none() || push.join_ref == *join_ref
}

/// Returns whether a topic names a room by its canonical id.
fn is_topic_of_room(topic: &str) -> bool {
    let id = topic
        .split_once(':')
        .filter(|(kind, _)| ["room", "dm"].contains(kind));
    id.is_some_and(|(_, id)| validate::room_id(id).is_some())
}
