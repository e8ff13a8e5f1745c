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
    room::{Seat, Visitor, WindowRequest, session_status},
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

    /// The seat of a topic, unless the server has ended it meanwhile.
    fn seat(&mut self, topic: &str) -> Option<Seat> {
        let seat = self.channels.get(topic)?.clone();
        if seat.room.has(seat.id) {
            return Some(seat);
        }
        self.channels.remove(topic);
        None
    }

    async fn join(&mut self, push: &Push<'_>) {
        let old = self.seat(&push.topic);
        if old.is_none() && self.channels.len() >= CHANNELS_MAX {
            let reason = json!({ "reason": "too many channels joined" }).to_string();
            return self.reply(push, "error", &reason);
        }
        if !push.topic.starts_with("room:") && !push.topic.starts_with("dm:") {
            return self.unmatched(push);
        }
        let joining = AssertUnwindSafe(self.take_seat(push, old.as_ref())).catch_unwind();
        let refused = match joining.await {
            Ok(Ok(seat)) => {
                self.channels.insert(push.topic.to_string(), seat);
                return;
            }
            Ok(Err(reason)) => reason,
            Err(_) => "join crashed",
        };
        // The old channel is torn down by any join, also by one that is refused.
        self.reply(push, "error", &json!({ "reason": refused }).to_string());
        if let Some(old) = old {
            self.channels.remove(&*push.topic);
            old.room.leave(&self.app.hub.attendance, old.id);
            self.push_close(&old, &push.topic);
        }
    }

    /// Joins the room of the topic. On success the reply has been sent.
    async fn take_seat(&self, push: &Push<'_>, old: Option<&Seat>) -> Result<Seat, &'static str> {
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
        let replaced = old.map(|seat| seat.id);
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
        let seat = self.seat(&push.topic);
        let current = seat.filter(|seat| push.join_ref.is_none() || push.join_ref == seat.join_ref);
        if let Some(seat) = &current {
            self.channels.remove(&*push.topic);
            seat.room.leave(&self.app.hub.attendance, seat.id);
        }
        self.reply(push, "ok", "{}");
        if let Some(seat) = current {
            self.push_close(&seat, &push.topic);
        }
    }

    async fn event(&mut self, push: &Push<'_>) {
        let Some(seat) = self.seat(&push.topic) else {
            return self.unmatched(push);
        };
        if push.join_ref.is_some() && push.join_ref != seat.join_ref {
            // Meant for a channel this socket has replaced since.
            return;
        }
        match AssertUnwindSafe(self.room_event(push, &seat))
            .catch_unwind()
            .await
        {
            Ok(Some(reply)) => {
                let (status, response) = match reply {
                    Ok(response) => ("ok", response),
                    Err(response) => ("error", response),
                };
                let join_ref = seat.join_ref.as_deref();
                self.reply_as(join_ref, push, status, &response.to_string());
            }
            Ok(None) => {}
            Err(_) => self.crash(&seat, &push.topic),
        }
    }

    /// One event of a joined room. No reply is legal, and right for typing.
    async fn room_event(&self, push: &Push<'_>, seat: &Seat) -> Option<Reply> {
        match &*push.event {
            "new_message" => Some(self.new_message(push).await),
            "typing" => {
                seat.room.typing(seat.id, true);
                None
            }
            "stop_typing" => {
                seat.room.typing(seat.id, false);
                None
            }
            "set_status" => Some(self.set_status(push, seat)),
            "member_list_open" | "member_list_move" | "member_list_close"
            | "member_list_resync" => member_list(push, seat),
            "member_list_find" => Some(match push.payload.parse() {
                Some(Find { prefix }) => Ok(seat.room.find_members(&prefix)),
                None => Err(json!({ "reason": "invalid payload" })),
            }),
            _ => Some(Err(json!({ "reason": "unknown event" }))),
        }
    }

    fn set_status(&self, push: &Push<'_>, seat: &Seat) -> Reply {
        let wanted = push
            .payload
            .parse()
            .and_then(|p: SetStatus| session_status(&p.status));
        let Some(status) = wanted else {
            return Err(json!({ "reason": "invalid status" }));
        };
        seat.room
            .set_status(&self.app.hub.attendance, seat.id, status);
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

    fn push_close(&self, seat: &Seat, topic: &str) {
        let join_ref = seat.join_ref.as_deref();
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
    fn crash(&mut self, seat: &Seat, topic: &str) {
        self.channels.remove(topic);
        seat.room.leave(&self.app.hub.attendance, seat.id);
        let join_ref = seat.join_ref.as_deref();
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
fn member_list(push: &Push<'_>, seat: &Seat) -> Option<Reply> {
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
    let answer = seat.room.member_list(seat.id, &push.reference, &request);
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
