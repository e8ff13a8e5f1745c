//! Open rooms: subscribers, presence, typing, history, member list.
//!
//! The `Hub` owns the open rooms and the presence of all of them. A `Room` is one lock around its parts, which do not
//! know it: `Subscribers`, `PresenceFeed` (with `PublishedPresence`), `RoomMembers`, `Typing`, `History`. Lock order:
//! map of the hub, then room, then presence.

mod history;
mod hub;
mod locks;
mod members;
mod open_room;
mod presence;
mod presence_feed;
mod published;
mod subscribers;
mod typing;

pub(crate) use hub::Hub;
pub(crate) use members::WindowRequest;
pub(crate) use open_room::{Room, Subscription};
pub(crate) use presence::{Profile, RoomPresence, session_status};
pub(crate) use subscribers::{SubscriptionId, Visitor};
