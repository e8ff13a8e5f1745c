//! News of rooms that no client here has open: their members among the users who listen here hear of them, and no room
//! is loaded for that.

use std::{collections::HashMap, mem};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::db::Message;

/// The number of the newest message of each such room since its members were last told.
#[derive(Debug, Default)]
pub(super) struct ClosedRoomNews(Mutex<HashMap<Uuid, i64>>);

impl ClosedRoomNews {
    /// Notes a message; returns whether it is the first one to be told.
    pub(super) fn note(&self, message: &Message) -> bool {
        let mut rooms = self.0.lock();
        let is_first = rooms.is_empty();
        let newest = rooms.entry(message.room_id).or_default();
        *newest = message.seq.max(*newest);
        is_first
    }

    pub(super) fn take(&self) -> HashMap<Uuid, i64> {
        mem::take(&mut *self.0.lock())
    }
}
