//! The delivery of messages in the order of their numbers, though several nodes store them.

use super::Room;
use crate::db::{Cursor, Db, Message, StorageError};

/// Missed messages that are sent to the clients, and those that are read at once.
const CATCH_UP_MAX: i64 = 500;
const PAGE: u32 = 100;

impl Room {
    /// Returns whether a message is the one after the newest.
    pub(crate) fn takes_next(&self, message: &Message) -> bool {
        message.seq == self.last_seq() + 1
    }

    /// Sends a stored message after those before it, which other nodes may have stored; nothing if it was sent already.
    /// The caller holds `posting`.
    pub(crate) async fn deliver(&self, db: &Db, message: &Message) -> Result<(), StorageError> {
        if message.seq > self.last_seq() + 1 {
            self.catch_up(db).await?;
        }
        if message.seq > self.last_seq() {
            self.publish(message);
        }
        Ok(())
    }

    /// Sends the messages that are stored after the newest one here; of very many only the last ones, before which
    /// clients see the gap and load it. The caller holds `posting`.
    pub(crate) async fn catch_up(&self, db: &Db) -> Result<(), StorageError> {
        let stored = db.room(self.tenant(), self.id).await?;
        let last = stored.map_or(0, |room| room.last_seq);
        let mut after = self.last_seq().max(last - CATCH_UP_MAX);
        while after < last {
            let page = db.messages(self.id, Cursor::AfterSeq(after), PAGE).await?;
            let page = page.unwrap_or_default();
            let Some(newest) = page.last() else {
                break;
            };
            after = newest.seq;
            for message in page {
                self.publish(&message);
            }
        }
        Ok(())
    }
}
