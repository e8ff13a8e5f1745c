//! Open rooms: subscribers, presence, typing, history, member list.
//!
//! The `Hub` owns the open rooms and the presence of all of them. A `Room` is one lock around its parts, which do not
//! know it: `Subscribers`, `LostSessions`, `PresenceFeed` (with `PublishedPresence`), `RoomMembers` (with `Cards`,
//! `MemberGroups`, `MemberRoles` and `MemberWindows`), `Typing`, `History`. Rooms of a server that are limited to roles
//! show lists of one `ServerTable`. Lock order: maps of the hub, then room, then table of a server, then presence or
//! inboxes.

mod cards;
mod changes;
mod delivery;
mod history;
mod hub;
mod limits;
mod locks;
mod lost;
mod member_groups;
mod member_roles;
mod member_windows;
mod members;
mod open_room;
mod overview;
mod presence;
mod presence_feed;
mod published;
mod readable;
mod refused;
mod server_roles;
mod server_table;
mod sessions;
mod shown_changes;
mod subscribers;
mod subscription_id;
mod typing;
mod watch;
mod window_request;

pub(crate) use cards::ShownRow;
pub(crate) use hub::Hub;
pub(crate) use member_windows::ListFormat;
pub(crate) use open_room::{Occupation, Room, Subscription};
pub(crate) use overview::{NodeOverview, Place, RoomOverview};
pub(crate) use presence::{NewSession, Profile, RoomPresence, session_status};
pub(crate) use refused::{JoinRefusal, RefusedJoins};
pub(crate) use subscribers::Visitor;
pub(crate) use subscription_id::SubscriptionId;
pub(crate) use typing::TypingNote;
pub(crate) use watch::Transition;
pub(crate) use window_request::{WindowRefusal, WindowRequest};
