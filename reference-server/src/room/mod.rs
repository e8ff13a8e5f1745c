//! Rooms while somebody is in them: subscribers, presence, typing, history.
//!
//! The `Hub` owns the rooms and the presence of all of them; a `Room` is one lock around what
//! its subscribers share. Lock order: hub map, then room, then presence.

mod attendance;
mod hub;
mod post;
mod roll;
mod seat;
mod state;

pub(crate) use attendance::{Attendance, Profile, Status};
pub(crate) use hub::Hub;
pub(crate) use seat::{Seat, SeatId, Visitor};
pub(crate) use state::Room;
