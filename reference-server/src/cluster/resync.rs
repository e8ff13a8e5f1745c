//! The repair after missed events: what the rooms and connections here show is compared with the database.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;
use uuid::Uuid;

use super::Cluster;
use crate::{
    app::App,
    auth::{TOKEN_LEEWAY_SECONDS, USER_TOKEN_SECONDS},
    db::{self, Cursor, MemberChange, StorageError},
    room::{Room, session_status},
};

/// The time between two repairs, in which more gaps may be noticed.
const PAUSE: Duration = Duration::from_millis(250);
/// The pause before a repair that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Stored members, or changes of them, that are read at once.
const MEMBERS_PAGE: u32 = 5_000;
/// Users whose statuses are read at once.
const STATUS_PAGE: usize = 1_000;
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

    /// Brings everything here to the state of the database. O(open rooms, and what changed in them).
    async fn repair(&self) -> Result<(), StorageError> {
        tracing::info!("events of the cluster were missed: reading the database");
        self.repair_tokens().await?;
        let mut by_server: HashMap<Uuid, Vec<Arc<Room>>> = HashMap::new();
        for room in self.hub.open_rooms() {
            self.repair_room(&room).await?;
            if let Some(server) = room.server() {
                by_server.entry(server).or_default().push(room);
            }
        }
        for (server, rooms) in by_server {
            self.repair_roles(server, &rooms).await?;
        }
        // One that is chosen while they are read is read again.
        while self.repair_statuses().await? {}
        self.inboxes.send_where(|_| true, "missed", "{}");
        Ok(())
    }

    /// Ends the connections whose tokens were revoked, or have ended with all others of their users. O(connections).
    async fn repair_tokens(&self) -> Result<(), StorageError> {
        let now = db::now_micros();
        for (token, expires_at) in self.db.revoked_tokens(now / 1_000_000).await? {
            self.revocations.add(token, expires_at);
        }
        // Older tokens have expired.
        let oldest = now - 1_000_000 * (USER_TOKEN_SECONDS + TOKEN_LEEWAY_SECONDS).cast_signed();
        let ended = self.db.ended_tokens(oldest).await?;
        let ended: HashMap<Uuid, i64> = ended.into_iter().collect();
        self.connections.end_all(|user, token| {
            token.id.is_some_and(|id| self.revocations.contains(id))
                || ended.get(&user).is_some_and(|at| token.issued_at < *at)
        });
        Ok(())
    }

    /// Shows the statuses that users here have chosen on other nodes; returns whether there were any. O(users here).
    async fn repair_statuses(&self) -> Result<bool, StorageError> {
        let shown = self.connections.chosen_statuses();
        let users: Vec<Uuid> = shown.keys().copied().collect();
        let mut differed = false;
        for page in users.chunks(STATUS_PAGE) {
            for (user, status) in self.db.statuses(page).await? {
                let chosen = session_status(&status);
                if let Some(status) = chosen.filter(|it| shown.get(&user) != Some(it)) {
                    self.show_status_here(user, status);
                    differed = true;
                }
            }
        }
        Ok(differed)
    }

    async fn repair_room(&self, room: &Arc<Room>) -> Result<(), StorageError> {
        let Some(stored) = self.db.room(room.tenant(), room.id).await? else {
            self.hub.close(room.id).await;
            return Ok(());
        };
        self.repair_messages(room).await?;
        self.repair_members(room).await?;
        if stored.limited {
            self.hub.evict_guests(room.id).await;
        }
        Ok(())
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

    /// Notes, in a cluster, that a change of a room's members is shown, and now and then up to which number all are.
    pub(super) async fn note_member_shown(&self, room: Uuid) -> Result<(), StorageError> {
        let open = self.cluster.as_ref().and_then(|_| self.hub.find(room));
        match open.filter(|open| open.shown.note_unnumbered()) {
            Some(open) => self.repair_members(&open).await,
            None => Ok(()),
        }
    }

    /// Shows who is a member: reads the changes after those that are shown, or all members if some of these changes are
    /// not kept any more.
    async fn repair_members(&self, room: &Room) -> Result<(), StorageError> {
        loop {
            let shown = room.shown.members();
            let page = self.db.member_changes(room.id, shown, MEMBERS_PAGE).await?;
            self.count_rows(page.len());
            let Some(last) = page.last().map(|last| last.seq) else {
                return Ok(());
            };
            if page[0].seq != shown + 1 {
                return self.reread_members(room).await;
            }
            let is_last = page.len() < MEMBERS_PAGE as usize;
            for change in page {
                self.repair_member(room, &change).await?;
            }
            room.shown.note_members(last);
            if is_last {
                return Ok(());
            }
        }
    }

    async fn repair_member(&self, room: &Room, change: &MemberChange) -> Result<(), StorageError> {
        let user = change.user_id;
        match (&change.username, room.is_stored(user)) {
            (Some(name), false) => self.hub.show_member(&self.db, room.id, user, name).await,
            (None, true) => self.hide_if_gone(room, user).await,
            _ => Ok(()),
        }
    }

    /// Shows that a user is no member, unless it has joined since that was read.
    async fn hide_if_gone(&self, room: &Room, user: Uuid) -> Result<(), StorageError> {
        if self.db.role(room.id, user).await?.is_none() {
            self.hub.hide_member(room.id, user).await;
        }
        Ok(())
    }

    /// Reads all members of a room. O(members).
    async fn reread_members(&self, room: &Room) -> Result<(), StorageError> {
        let Some(stored) = self.db.room(room.tenant(), room.id).await? else {
            return Ok(());
        };
        let mut gone: HashSet<Uuid> = room.stored_members().into_iter().collect();
        let mut after = Uuid::nil();
        loop {
            let page = self.db.members(room.id, after, MEMBERS_PAGE).await?;
            self.count_rows(page.len());
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
            self.hide_if_gone(room, user).await?;
        }
        room.shown.note_members(stored.members_seq);
        Ok(())
    }

    /// Shows the roles of a server in its open rooms: reads which there are, and those of the users that were given or
    /// lost some; of all members if some of these changes are not kept any more.
    async fn repair_roles(&self, server: Uuid, rooms: &[Arc<Room>]) -> Result<(), StorageError> {
        self.hub.show_roles(&self.db, server).await?;
        let mut shown = rooms.iter().map(|room| room.shown.holders()).min();
        while let Some(after) = shown {
            let page = self.db.holder_changes(server, after, MEMBERS_PAGE).await?;
            self.count_rows(page.len());
            let Some(last) = page.last().map(|last| last.seq) else {
                return Ok(());
            };
            if page[0].seq != after + 1 {
                return self.reread_roles(server, rooms).await;
            }
            let users: HashSet<Uuid> = page.iter().map(|change| change.user_id).collect();
            for user in users {
                self.hub.show_roles_of(&self.db, server, user).await?;
            }
            rooms.iter().for_each(|room| room.shown.note_holders(last));
            shown = (page.len() == MEMBERS_PAGE as usize).then_some(last);
        }
        Ok(())
    }

    /// Reads the roles of all members of the open rooms of a server, and everyone with a role. O(members).
    async fn reread_roles(&self, server: Uuid, rooms: &[Arc<Room>]) -> Result<(), StorageError> {
        let newest = self.db.holders_seq(server).await?;
        self.hub.reload_table(&self.db, server).await?;
        for room in rooms {
            self.hub.reload_roles(&self.db, room).await?;
            self.count_rows(room.stored_members().len());
            room.shown.note_holders(newest);
        }
        Ok(())
    }

    fn count_rows(&self, rows: usize) {
        if let Some(cluster) = &self.cluster {
            cluster.metrics.repair_rows.increment(rows as u64);
        }
    }
}
