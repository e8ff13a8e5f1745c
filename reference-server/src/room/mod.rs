//! Rooms while somebody is in them: subscribers, presence, typing, history.
//!
//! The `Hub` owns the rooms and the presence of all of them; a `Room` is one lock around what
//! its subscribers share. Lock order: hub map, then room, then presence.

mod hub;
mod members;
mod post;
mod presence;
mod publish;
mod published;
mod state;
mod subscription;

pub(crate) use hub::Hub;
pub(crate) use members::WindowRequest;
pub(crate) use presence::{Profile, RoomPresence, session_status};
pub(crate) use state::Room;
pub(crate) use subscription::{Subscription, SubscriptionId, Visitor};
