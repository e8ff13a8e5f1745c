//! What the pushes of a client do: the channel state machine, and the events of a room.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    connection::Connection,
    frame::{Push, encode},
};
use crate::{
    db::{self, Role},
    error::ApiError,
    room::{Subscription, Visitor, WindowRequest, session_status},
};

/// Channels one socket may join.
const CHANNELS_MAX: usize = 100;

/// What a push is answered with.
type Reply = Result<Value, Value>;

/// Parameters of a join; whatever else stands there is ignored.
#[derive(Default, Deserialize)]
struct JoinParams {
    status: Option<String>,
}

#[derive(Deserialize)]
struct SetStatus {
    status: String,
}

impl Connection {
    pub(super) async fn handle(&mut self, push: Push<'_>) {
        match (&*push.topic, &*push.event) {
            ("phoenix", "heartbeat") => self.reply(&push, "ok", "{}"),
            (_, "phx_join") => self.join(&push).await,
            (_, "phx_leave") => self.leave(&push),
            _ => self.event(&push).await,
        }
    }

    /// The subscription of a topic, unless the server has ended it meanwhile.
    fn subscription(&mut self, topic: &str) -> Option<Subscription> {
        let subscription = self.channels.get(topic)?.clone();
        if subscription.room.has(subscription.id) {
            return Some(subscription);
        }
        self.channels.remove(topic);
        None
    }

    async fn join(&mut self, push: &Push<'_>) {
        let old = self.subscription(&push.topic);
        if old.is_none() && self.channels.len() >= CHANNELS_MAX {
            let reason = json!({ "reason": "too many channels joined" }).to_string();
            return self.reply(push, "error", &reason);
        }
        if !push.topic.starts_with("room:") && !push.topic.starts_with("dm:") {
            return self.unmatched(push);
        }
        let joining = AssertUnwindSafe(self.subscribe(push, old.as_ref())).catch_unwind();
        let refused = match joining.await {
            Ok(Ok(subscription)) => {
                self.channels.insert(push.topic.to_string(), subscription);
                return;
            }
            Ok(Err(reason)) => reason,
            Err(_) => "join crashed",
        };
        // The old channel is torn down by any join, also by one that is refused.
        self.reply(push, "error", &json!({ "reason": refused }).to_string());
        if let Some(old) = old {
            self.channels.remove(&*push.topic);
            old.room.leave(&self.app.hub.presence, old.id);
            self.push_close(&old, &push.topic);
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
            error => trouble(&error, push).unwrap_or("join crashed"),
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

    /// Always answered: a client whose join timed out leaves a channel we may not know.
    fn leave(&mut self, push: &Push<'_>) {
        let subscription = self.subscription(&push.topic);
        let current = subscription.filter(|subscription| {
            push.join_ref.is_none() || push.join_ref == subscription.join_ref
        });
        if let Some(subscription) = &current {
            self.channels.remove(&*push.topic);
            subscription
                .room
                .leave(&self.app.hub.presence, subscription.id);
        }
        self.reply(push, "ok", "{}");
        if let Some(subscription) = current {
            self.push_close(&subscription, &push.topic);
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

    /// One event of a joined room. No reply is legal, and right for typing.
    async fn room_event(&self, push: &Push<'_>, subscription: &Subscription) -> Option<Reply> {
        match &*push.event {
            "new_message" => Some(self.new_message(push).await),
            "typing" => {
                subscription.room.typing(subscription.id, true);
                None
            }
            "stop_typing" => {
                subscription.room.typing(subscription.id, false);
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

    /// The author is whoever the socket's token names; ids in the payload are not looked at.
    async fn new_message(&self, push: &Push<'_>) -> Reply {
        #[derive(Deserialize)]
        struct NewMessage {
            content: String,
        }
        let internal = |error: ApiError| json!({ "reason": trouble(&error, push).unwrap_or("internal error") });
        let Some(NewMessage { content }) = push.payload.parse() else {
            return Err(json!({ "reason": "invalid payload" }));
        };
        let room = self.room(&push.topic).await.map_err(internal)?;
        let posted = Arc::clone(&self.app)
            .post(room, self.identity.clone(), Some(content))
            .await;
        match posted {
            Ok(message) => Ok(json!(message)),
            Err(ApiError::RateLimited { retry_after_ms }) => {
                Err(json!({ "reason": "rate limited", "retry_after_ms": retry_after_ms }))
            }
            Err(ApiError::Invalid(errors)) => Err(json!({ "reason": "invalid", "errors": errors })),
            Err(ApiError::NotFound(_)) => Err(json!({ "reason": "not found" })),
            Err(error) => Err(internal(error)),
        }
    }

    fn unmatched(&self, push: &Push<'_>) {
        self.reply_as(None, push, "error", r#"{"reason":"unmatched topic"}"#);
    }

    fn push_close(&self, subscription: &Subscription, topic: &str) {
        let join_ref = subscription.join_ref.as_deref();
        self.outbox.push(encode(
            self.vsn,
            join_ref,
            join_ref,
            topic,
            "phx_close",
            "{}",
        ));
    }

    /// A handler panicked: this channel ends, with the event that makes the client join anew.
    fn crash(&mut self, subscription: &Subscription, topic: &str) {
        self.channels.remove(topic);
        subscription
            .room
            .leave(&self.app.hub.presence, subscription.id);
        let join_ref = subscription.join_ref.as_deref();
        self.outbox.push(encode(
            self.vsn,
            join_ref,
            join_ref,
            topic,
            "phx_error",
            "{}",
        ));
    }
}

/// Logs what kept a push from being done; the reason for the client if it is the storage.
fn trouble(error: &ApiError, push: &Push<'_>) -> Option<&'static str> {
    tracing::error!(topic = %push.topic, event = %push.event, %error, "push failed");
    match error {
        ApiError::Storage(error) => Some(error.fault.reason()),
        _ => None,
    }
}

/// A request about the member list. The room replies itself, in step with its frames; only
/// refusals come back here.
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
        .member_list(subscription.id, &push.reference, &request);
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
