//! The requests of clients about member lists.

use headcount::member_list::{Epoch, HeldWindow};
use serde::Deserialize;
use serde_json::json;

use super::{frame::Push, messages::Reply};
use crate::room::{Subscription, WindowRequest};

/// Handles a request about the member list. The room replies itself, in step with its frames; returns
/// refusals only.
pub(super) fn handle(push: &Push<'_>, subscription: &Subscription) -> Option<Reply> {
    let request = match &*push.event {
        "member_list_open" => push
            .payload
            .parse()
            .map(|Open { window }| WindowRequest::Open { window }),
        "member_list_search" => push.payload.parse().map(WindowRequest::Search),
        "member_list_move" => push
            .payload
            .parse()
            .map(|Move { from, window }| WindowRequest::Move { from, window }),
        "member_list_close" => push
            .payload
            .parse()
            .map(|Open { window }| WindowRequest::Close { window }),
        "member_list_resume" => push.payload.parse().map(|Resume { held }| {
            let held = held.into_iter().map(HeldWindow::from).collect();
            WindowRequest::Resume { held }
        }),
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
struct Resume {
    held: Vec<Held>,
}

/// A window that a client held when its connection ended.
#[derive(Deserialize)]
struct Held {
    window: String,
    epoch: HeldEpoch,
    version: u64,
}

#[derive(Deserialize)]
struct HeldEpoch {
    node: String,
    number: u64,
}

impl From<Held> for HeldWindow {
    fn from(held: Held) -> Self {
        Self {
            window: held.window.into(),
            epoch: Epoch::new(&held.epoch.node, held.epoch.number),
            version: held.version,
        }
    }
}
