//! News of rooms that no client here has open: their members among the users who listen here hear of new messages,
//! and no room is loaded for that.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::json;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    app::App,
    db::{Message, StorageError},
};

/// The time for which news are gathered.
const PAUSE: Duration = Duration::from_millis(250);

/// The number of the newest message of each such room since its members were last told.
#[derive(Debug, Default)]
pub(super) struct ClosedRoomNews(Mutex<HashMap<Uuid, i64>>);

impl ClosedRoomNews {
    /// Notes a message; returns whether it is the first one to be told.
    fn note(&self, message: &Message) -> bool {
        let mut rooms = self.0.lock();
        let is_first = rooms.is_empty();
        let newest = rooms.entry(message.room_id).or_default();
        *newest = message.seq.max(*newest);
        is_first
    }

    fn take(&self) -> HashMap<Uuid, i64> {
        mem::take(&mut *self.0.lock())
    }
}

impl App {
    /// Tells the members who listen here of a message in a room that is not open here, soon.
    pub(super) fn note_closed_room_news(self: &Arc<Self>, message: &Message) {
        let Some(cluster) = &self.cluster else {
            return;
        };
        if self.inboxes.is_empty() || !cluster.news.note(message) {
            return;
        }
        let app = Arc::clone(self);
        self.tasks.spawn(async move {
            sleep(PAUSE).await;
            let told = app.tell_closed_room_news().await;
            app.log_missed(told);
        });
    }

    /// Tells what was noted. O(listening users) for each room.
    async fn tell_closed_room_news(&self) -> Result<(), StorageError> {
        let Some(cluster) = &self.cluster else {
            return Ok(());
        };
        for (room, last_seq) in cluster.news.take() {
            let listening = self.inboxes.users();
            let members = self.db.members_among(room, &listening).await?;
            let payload = json!({ "room_id": room, "last_seq": last_seq }).to_string();
            for member in members {
                self.inboxes.send(member, "unread", &payload);
            }
        }
        Ok(())
    }
}
