//! `Channels`: the channels that a client has joined, over a WebSocket or by polls. It is the state machine of Phoenix
//! Channels, and hands the events of a room to it. The task of the client owns it; no lock.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    CloseReason, Outbox, Vsn,
    expiry::{Due, Expiry, Refusals},
    frame::{Malformed, Push, Ref, decode_binary, decode_text, encode, encode_reply},
};
use crate::{
    app::App,
    auth::Identity,
    db::{self, Role},
    error::ApiError,
    inbox,
    limit::millis,
    meters::Kind,
    post::{Draft, Posted},
    room::{Subscription, Visitor, WindowRequest, session_status},
    validate,
};

/// Channels one socket may join.
const CHANNELS_MAX: usize = 100;

/// The answer to a push.
type Reply = Result<Value, Value>;

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

/// A client and the channels that it has joined.
pub(crate) struct Channels {
    app: Arc<App>,
    vsn: Vsn,
    identity: Identity,
    outbox: Arc<Outbox>,
    joined: HashMap<String, Subscription>,
    /// The join reference of the user's own channel, if that is joined.
    inbox: Option<Ref>,
    refusals: Refusals,
    expiry: Expiry,
}

/// Ends the subscriptions, however the connection ends.
impl Drop for Channels {
    fn drop(&mut self) {
        for (_, subscription) in self.joined.drain() {
            subscription
                .room
                .leave(&self.app.hub.presence, subscription.id);
        }
        self.app.connections.remove(self.identity.id, &self.outbox);
        if self.inbox.is_some() {
            self.app.inboxes.leave(self.identity.id, &self.outbox);
        }
    }
}

impl Channels {
    pub(crate) fn new(app: Arc<App>, vsn: Vsn, identity: Identity) -> Self {
        let outbox = Arc::new(Outbox::default());
        app.connections.add(&identity, &outbox);
        // Revoked since it was checked, perhaps: the client comes again.
        if identity.generation != app.revocations.generation() {
            outbox.close(CloseReason::TokenEnded);
        }
        let expiry = Expiry::new(identity.expires_at);
        Self {
            app,
            vsn,
            identity,
            outbox,
            joined: HashMap::new(),
            inbox: None,
            refusals: Refusals::new(),
            expiry,
        }
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

    /// Handles a push on the user's own channel, on which clients only listen.
    fn inbox_event(&mut self, push: &Push<'_>) {
        let inboxes = &self.app.inboxes;
        match &*push.event {
            "phx_join" => {
                let old = self.inbox.replace(push.join_ref.clone());
                if old.is_none() {
                    inboxes.join(&self.identity, self.vsn, &self.outbox);
                }
                self.reply(push, "ok", "{}");
                if let Some(old) = old {
                    self.push_end(old.as_deref(), &push.topic, "phx_close");
                }
            }
            "phx_leave" => {
                let old = self.inbox.take();
                inboxes.leave(self.identity.id, &self.outbox);
                self.reply(push, "ok", "{}");
                if let Some(old) = old {
                    self.push_end(old.as_deref(), &push.topic, "phx_close");
                }
            }
            _ if self.inbox.is_none() => self.unmatched(push),
            _ => self.reply(push, "error", r#"{"reason":"unknown event"}"#),
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
                let reason = storage_reason(&error, push).unwrap_or("internal error");
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
        self.app.connections.add(&identity, &self.outbox);
        self.identity = identity;
        self.reply(push, "ok", "{}");
    }

    /// Charges a push to the rate of its kind. Refuses it if that is used up, and closes a connection that goes on.
    fn charge(&mut self, push: &Push<'_>) -> bool {
        let kind = Kind::of(&push.event);
        let Err(wait) = self.app.push_meters.check(kind, self.identity.id) else {
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

    async fn handle(&mut self, mut push: Push<'_>) {
        if push.event == "phx_join" && push.join_ref.is_none() {
            push.join_ref.clone_from(&push.reference);
        }
        if !self.charge(&push) {
            return;
        }
        match (&*push.topic, &*push.event) {
            ("phoenix", "heartbeat") => self.reply(&push, "ok", "{}"),
            ("phoenix", "access_token") => self.renew(&push).await,
            (topic, _) if topic == inbox::topic(self.identity.id) => self.inbox_event(&push),
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
            let reason = json!({ "reason": "too many channels joined" }).to_string();
            return self.reply(push, "error", &reason);
        }
        if !is_topic_of_room(&push.topic) {
            return self.unmatched(push);
        }
        let joining = AssertUnwindSafe(self.subscribe(push, old.as_ref())).catch_unwind();
        let refused = match joining.await {
            Ok(Ok(subscription)) => {
                self.joined.insert(push.topic.to_string(), subscription);
                return;
            }
            Ok(Err(reason)) => reason,
            Err(_) => "join crashed",
        };
        // The old channel is torn down by any join, also by one that is refused.
        self.reply(push, "error", &json!({ "reason": refused }).to_string());
        if let Some(old) = old {
            self.joined.remove(&*push.topic);
            old.room.leave(&self.app.hub.presence, old.id);
            self.push_end(old.join_ref.as_deref(), &push.topic, "phx_close");
        }
    }

    /// Joins the room of the topic. On success the reply has been sent.
    async fn subscribe(
        &self,
        push: &Push<'_>,
        old: Option<&Subscription>,
    ) -> Result<Subscription, &'static str> {
        let reason = |error: ApiError| match error {
            ApiError::NotFound(_) => "not found",
            error => storage_reason(&error, push).unwrap_or("join crashed"),
        };
        let room = self.room(&push.topic).await.map_err(reason)?;
        let role = self.app.role(&self.identity, &room).await.map_err(reason)?;
        let role = role.ok_or("not a member")?;
        let params: JoinParams = push.payload.parse().unwrap_or_default();
        let visitor = Visitor {
            identity: self.identity.clone(),
            staff: role == Role::Admin,
            status: params
                .status
                .and_then(|word| session_status(&word))
                .unwrap_or_default(),
            online_at: db::now_micros() / 1_000_000,
            outbox: Arc::clone(&self.outbox),
            vsn: self.vsn,
            join_ref: push.join_ref.clone(),
        };
        let hub = &self.app.hub;
        let replaced = old.map(|subscription| subscription.id);
        hub.join(&self.app.db, &room, visitor, &push.reference, replaced)
            .await
            .map_err(|error| reason(error.into()))?
            .ok_or("not found")
    }

    async fn room(&self, topic: &str) -> Result<db::Room, ApiError> {
        let (kind, id) = topic.split_once(':').unwrap_or_default();
        let room = self.app.room(&self.identity, id).await?;
        let expected = if kind == "dm" { "dm" } else { "group" };
        if room.kind == expected {
            Ok(room)
        } else {
            Err(ApiError::NotFound("no such room"))
        }
    }

    /// Leaves a channel. The server always replies: a client whose join timed out may leave a channel that the server
    /// does not know.
    fn leave(&mut self, push: &Push<'_>) {
        let subscription = self.subscription(&push.topic);
        let current = subscription.filter(|subscription| {
            push.join_ref.is_none() || push.join_ref == subscription.join_ref
        });
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
        if push.join_ref.is_some() && push.join_ref != subscription.join_ref {
            // Meant for a channel this socket has replaced since.
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
            "new_message" => Some(self.new_message(push).await),
            "typing" => {
                subscription
                    .room
                    .begin_typing(&self.app.hub.presence, subscription.id);
                None
            }
            "stop_typing" => {
                subscription.room.stop_typing(subscription.id);
                None
            }
            "set_status" => Some(self.set_status(push, subscription)),
            "member_list_open" | "member_list_move" | "member_list_close"
            | "member_list_resync" => member_list(push, subscription),
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

    /// Posts a message. Its author is the user of the socket's token; ids in the payload are ignored.
    async fn new_message(&self, push: &Push<'_>) -> Reply {
        let internal = |error: ApiError| json!({ "reason": storage_reason(&error, push).unwrap_or("internal error") });
        let Some(draft) = push.payload.parse::<Draft>() else {
            return Err(json!({ "reason": "invalid payload" }));
        };
        let room = self.room(&push.topic).await.map_err(internal)?;
        let posted = Arc::clone(&self.app)
            .post(room, self.identity.clone(), draft)
            .await;
        match posted {
            Ok(Posted::New(message) | Posted::Before(message)) => Ok(json!(message)),
            Err(ApiError::RateLimited { retry_after_ms }) => {
                Err(json!({ "reason": "rate_limited", "retry_after_ms": retry_after_ms }))
            }
            Err(ApiError::Invalid(errors)) => Err(json!({ "reason": "invalid", "errors": errors })),
            Err(ApiError::NotFound(_)) => Err(json!({ "reason": "not found" })),
            Err(error) => Err(internal(error)),
        }
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

/// Returns whether a topic names a room by its canonical id.
fn is_topic_of_room(topic: &str) -> bool {
    let id = topic
        .split_once(':')
        .filter(|(kind, _)| ["room", "dm"].contains(kind));
    id.is_some_and(|(_, id)| validate::room_id(id).is_some())
}

/// Logs the error of a push. Returns the reason for the client if it is the storage.
fn storage_reason(error: &ApiError, push: &Push<'_>) -> Option<&'static str> {
    tracing::error!(topic = %push.topic, event = %push.event, %error, "push failed");
    match error {
        ApiError::Storage(error) => Some(error.fault.reason()),
        _ => None,
    }
}

/// Handles a request about the member list. The room replies itself, in step with its frames; returns
/// refusals only.
fn member_list(push: &Push<'_>, subscription: &Subscription) -> Option<Reply> {
    let request = match &*push.event {
        "member_list_open" => push
            .payload
            .parse()
            .map(|Open { window }| WindowRequest::Open { window }),
        "member_list_move" => push
            .payload
            .parse()
            .map(|Move { from, window }| WindowRequest::Move { from, window }),
        "member_list_close" => push
            .payload
            .parse()
            .map(|Open { window }| WindowRequest::Close { window }),
        _ => push
            .payload
            .parse()
            .map(|Resync { windows }| WindowRequest::Resync { windows }),
    };
    let Some(request) = request else {
        return Some(Err(json!({ "reason": "invalid payload" })));
    };
    let answer = subscription
        .room
        .request_window(subscription.id, &push.reference, &request);
    answer
        .err()
        .map(|error| Err(json!({ "reason": error.to_string() })))
}

#[derive(Deserialize)]
struct Open {
    window: String,
}

#[derive(Deserialize)]
struct Move {
    from: String,
    window: String,
}

#[derive(Deserialize)]
struct Resync {
    windows: Vec<String>,
}

#[derive(Deserialize)]
struct Find {
    prefix: String,
}
