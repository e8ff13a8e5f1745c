//! The repair after missed events: what the rooms and connections here show is compared with the database.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::sleep;
use uuid::Uuid;

use super::Cluster;
use crate::{
    app::App,
    db::{self, Cursor, StorageError},
    room::Room,
};

/// The time between two repairs, in which more gaps may be noticed.
const PAUSE: Duration = Duration::from_millis(250);
/// The pause before a repair that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Stored members that are read at once.
const MEMBERS_PAGE: u32 = 5_000;
/// The newest messages that are compared.
const LATEST: u32 = 50;

impl App {
    /// Repairs whenever events were missed.
    pub(super) async fn repair_when_missed(self: &Arc<Self>, cluster: &Cluster) {
        loop {
            cluster.missed.notified().await;
            while let Err(error) = self.repair().await {
                cluster.metrics.repairs_failed.increment(1);
                tracing::error!(%error, "events of the cluster were missed, and the database does not answer");
                sleep(RETRY).await;
            }
            cluster.metrics.repairs.increment(1);
            sleep(PAUSE).await;
        }
    }

    /// Brings everything here to the state of the database. O(open rooms and their members).
    async fn repair(&self) -> Result<(), StorageError> {
        tracing::info!("events of the cluster were missed: reading the database");
        let now = db::now_micros() / 1_000_000;
        let known = |(token, _): &(Uuid, u64)| self.revocations.contains(*token);
        let revoked = self.db.revoked_tokens(now).await?;
        for (token, expires_at) in revoked.into_iter().filter(|token| !known(token)) {
            self.revocations.add(token, expires_at);
        }
        self.revocations.renew_generation();
        for room in self.hub.open_rooms() {
            self.repair_room(&room).await?;
        }
        Ok(())
    }

    async fn repair_room(&self, room: &Arc<Room>) -> Result<(), StorageError> {
        if self.db.room(room.tenant(), room.id).await?.is_none() {
            self.hub.close(room.id).await;
            return Ok(());
        }
        self.repair_messages(room).await?;
        self.repair_members(room).await
    }

    async fn repair_messages(&self, room: &Room) -> Result<(), StorageError> {
        let _turn = room.posting.lock().await;
        room.catch_up(&self.db).await?;
        let latest = self.db.messages(room.id, Cursor::Latest, LATEST).await?;
        for message in latest.into_iter().flatten() {
            room.repair(&message);
        }
        Ok(())
    }

    async fn repair_members(&self, room: &Room) -> Result<(), StorageError> {
        let mut gone: HashSet<Uuid> = room.stored_members().into_iter().collect();
        let mut after = Uuid::nil();
        loop {
            let page = self.db.members(room.id, after, MEMBERS_PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = last.user_id;
            for member in &page {
                if !gone.remove(&member.user_id) {
                    let name = &member.username;
                    let shown = self
                        .hub
                        .show_member(&self.db, room.id, member.user_id, name);
                    shown.await?;
                }
            }
        }
        for user in gone {
            // It may have joined after its page was read.
            if self.db.role(room.id, user).await?.is_none() {
                self.hub.hide_member(room.id, user).await;
            }
        }
        self.hub.reload_roles(&self.db, room).await?;
        if self.db.is_limited(room.id).await? {
            self.hub.evict_guests(room.id).await;
        }
        Ok(())
    }
}
