//! Rooms while somebody is in them: subscribers, presence, typing, history.
//!
//! The `Hub` owns the rooms and the presence of all of them; a `Room` is one lock around what
//! its subscribers share. Lock order: hub map, then room, then presence.

mod attendance;
mod hub;
mod post;
mod publish;
mod roll;
mod seat;
mod sidebar;
mod state;

pub(crate) use attendance::{Attendance, Profile, session_status};
pub(crate) use hub::Hub;
pub(crate) use seat::{Seat, SeatId, Visitor};
pub(crate) use sidebar::WindowRequest;
pub(crate) use state::Room;
