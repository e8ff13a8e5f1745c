//! `Hub`: all open rooms, the presence of all of them, and the beat at which they publish. Its map of rooms has a lock
//! of its own, held only for a look-up.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use headcount::Status;
use metrics::Histogram;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    Occupation, RefusedJoins, Room, RoomOverview, RoomPresence, Subscription, SubscriptionId,
    Visitor, history,
    locks::RoomLocks,
    members::{Occupancy, RoomMembers},
    server_table::ServerTables,
};
use crate::{
    db::{self, Cursor, Db, StorageError, in_time},
    inbox::Inboxes,
    metrics::Sample,
    name_order::NameOrder,
    socket::Ref,
};

/// Beats between two ticks of the rooms, which happen four times a second.
const BEATS_PER_TICK: u64 = 5;
/// Stored members that are read at once.
pub(super) const MEMBERS_PAGE: u32 = 5_000;
/// The open rooms of a process.
pub(crate) struct Hub {
    pub(crate) presence: RoomPresence,
    rooms: Mutex<HashMap<Uuid, Arc<Room>>>,
    /// Of servers with limited rooms that are open.
    pub(super) tables: ServerTables,
    locks: RoomLocks,
    full_max: usize,
    pub(super) name_order: Arc<NameOrder>,
    /// Names this process in the epochs of its member lists.
    pub(super) node: Arc<str>,
    pub(crate) refused: RefusedJoins,
    next_subscription: AtomicU64,
    /// Evictions so far: who was admitted to a room before one may be no longer.
    evictions: AtomicU64,
    /// By server, held while the roles in its open rooms are brought up to date. Taken after the lock of a room.
    pub(super) role_locks: RoomLocks,
    /// Changes of roles so far, on all servers: a room that is being opened may have missed one.
    pub(super) role_changes: AtomicU64,
    /// Beats so far. Held during one: diffs must reach the rooms in the order they were taken.
    beats: Mutex<u64>,
}

impl Hub {
    /// Presence gathered for this long goes out as one diff.
    pub(crate) const BEAT: Duration = Duration::from_millis(50);

    pub(crate) fn new(
        presence: RoomPresence,
        full_max: usize,
        name_order: NameOrder,
        refused: RefusedJoins,
    ) -> Self {
        // Unique among the nodes of a cluster too: an entry of presence names its subscription by it.
        let first = if presence.is_clustered() {
            u64::from(fastrand::u32(..)) << 32
        } else {
            0
        };
        Self {
            presence,
            rooms: Mutex::default(),
            tables: ServerTables::default(),
            locks: RoomLocks::default(),
            full_max,
            name_order: Arc::new(name_order),
            node: Uuid::new_v4().to_string().into(),
            refused,
            next_subscription: AtomicU64::new(first + 1),
            evictions: AtomicU64::new(0),
            role_locks: RoomLocks::default(),
            role_changes: AtomicU64::new(0),
            beats: Mutex::new(0),
        }
    }

    /// Returns an open room, and opens it if it was not; `None` if it has been deleted.
    pub(crate) async fn open(
        &self,
        db: &Db,
        info: &db::Room,
    ) -> Result<Option<Arc<Room>>, StorageError> {
        if let Some(room) = self.find_in_use(info.id) {
            return Ok(Some(room));
        }
        let _lock = self.locks.lock(info.id).await;
        if let Some(room) = self.find_in_use(info.id) {
            return Ok(Some(room));
        }
        let Some(info) = db.room(&info.tenant, info.id).await? else {
            return Ok(None);
        };
        let limit = u32::try_from(history::MESSAGES_MAX).unwrap_or(u32::MAX);
        let latest = db
            .messages(info.id, Cursor::Latest, limit)
            .await?
            .unwrap_or_default();
        let role_changes = self.role_changes.load(Ordering::Acquire);
        let holders_seq = match info.server_id {
            Some(server) => db.holders_seq(server).await?,
            None => 0,
        };
        let members = load_members(db, &info, &self.node, &self.name_order).await?;
        let room = Arc::new(Room::new(info, &latest, members, self.full_max));
        room.shown.note_holders(holders_seq);
        room.follow(&self.presence).await;
        self.show_stored_limit(db, &room).await?;
        self.rooms.lock().insert(room.id, Arc::clone(&room));
        if role_changes != self.role_changes.load(Ordering::Acquire) {
            self.reload_roles(db, &room).await?;
        }
        Ok(Some(room))
    }

    /// Returns an open room, which then stays open for a while.
    fn find_in_use(&self, id: Uuid) -> Option<Arc<Room>> {
        self.find(id).filter(|room| room.touch())
    }

    /// Returns a room that is open.
    pub(crate) fn find(&self, id: Uuid) -> Option<Arc<Room>> {
        self.rooms.lock().get(&id).cloned()
    }

    /// Subscribes a visitor to a room; `replaced` is the subscription that the connection has there already.
    /// Returns `None` if the room has been deleted.
    pub(crate) async fn join(
        &self,
        db: &Db,
        info: &db::Room,
        visitor: Visitor,
        reference: &Ref,
        replaced: Option<SubscriptionId>,
    ) -> Result<Option<Subscription>, StorageError> {
        let Some(room) = self.open(db, info).await? else {
            return Ok(None);
        };
        let id = SubscriptionId(self.next_subscription.fetch_add(1, Ordering::Relaxed));
        // A room that closes at this very moment is being deleted.
        Ok(room
            .join(&self.presence, id, visitor, reference, replaced)
            .ok())
    }

    fn forget(&self, room: &Arc<Room>) {
        let mut rooms = self.rooms.lock();
        if rooms.get(&room.id).is_some_and(|r| Arc::ptr_eq(r, room)) {
            rooms.remove(&room.id);
            self.presence.set_occupied(room.id, room.tenant(), false);
        }
        drop(rooms);
        // A connection may still know the room.
        room.show_list(None);
    }

    /// Returns the size of a room. Of one that is not open only the users online are counted, all of them
    /// on other nodes, without their names.
    pub(crate) async fn occupancy(&self, room: &db::Room) -> Occupancy {
        match self.find(room.id) {
            Some(open) => open.occupancy(),
            None => Occupancy {
                online: self.presence.online_len(&room.topic()).await,
                total: 0,
            },
        }
    }

    /// Returns whether a room is open, or about to be.
    pub(crate) fn is_in_use(&self, room: Uuid) -> bool {
        // In this order: one that is being opened has its lock until it is open.
        self.locks.is_locked(room) || self.find(room).is_some()
    }

    /// Returns an open room, after it was loaded if it is being opened.
    pub(crate) async fn find_loaded(&self, room: Uuid) -> Option<Arc<Room>> {
        let _lock = self.locks.lock(room).await;
        self.find(room)
    }

    /// Makes `user` a stored member of the room, which is to be [shown](Self::show_member). Returns false if its roles
    /// do not admit it.
    pub(crate) async fn store_member(
        &self,
        db: &Db,
        room: Uuid,
        user: Uuid,
    ) -> Result<bool, StorageError> {
        let _lock = in_time(self.locks.lock(room)).await?;
        if !db.admits(room, user).await? {
            return Ok(false);
        }
        db.join_room(room, user).await?;
        Ok(true)
    }

    /// Ends the channels of a room that has become limited of all that are no stored members: of guests.
    pub(crate) async fn evict_guests(&self, room: Uuid) {
        let _lock = self.locks.lock(room).await;
        if let Some(open) = self.begin_eviction(room) {
            open.note_limited();
            let stored: HashSet<Uuid> = open.stored_members().into_iter().collect();
            open.evict(&self.presence, |user| !stored.contains(&user));
        }
    }

    /// Ends the subscriptions that a user has of a room.
    pub(crate) fn evict_user(&self, room: Uuid, user: Uuid) {
        if let Some(open) = self.begin_eviction(room) {
            open.evict(&self.presence, |u| u == user);
        }
    }

    /// Returns the room if it is open. A join that is under way and comes after the eviction sees that there was one,
    /// whether the room was open or not.
    fn begin_eviction(&self, room: Uuid) -> Option<Arc<Room>> {
        self.evictions.fetch_add(1, Ordering::AcqRel);
        self.find(room)
    }

    /// Counts the evictions, of all rooms.
    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Acquire)
    }

    /// Shows a user that has become a stored member, unless it has left meanwhile.
    pub(crate) async fn show_member(
        &self,
        db: &Db,
        room: Uuid,
        user: Uuid,
        username: &str,
    ) -> Result<(), StorageError> {
        let _lock = in_time(self.locks.lock(room)).await?;
        self.refused.forget(user, room);
        if let Some(open) = self.find(room)
            && db.role(room, user).await?.is_some()
        {
            self.add_with_roles(db, &open, user, username).await?;
        }
        Ok(())
    }

    /// Ends a membership; the user's channels of the room end with it.
    pub(crate) async fn remove_member(
        &self,
        db: &Db,
        room: &db::Room,
        user: Uuid,
    ) -> Result<(), StorageError> {
        let _lock = in_time(self.locks.lock(room.id)).await?;
        db.leave_room(room.id, user).await?;
        self.remove_from_open(room.id, user);
        Ok(())
    }

    /// Shows that a user is a stored member no more.
    pub(crate) async fn hide_member(&self, room: Uuid, user: Uuid) {
        let _lock = self.locks.lock(room).await;
        self.remove_from_open(room, user);
    }

    fn remove_from_open(&self, room: Uuid, user: Uuid) {
        self.evict_user(room, user);
        if let Some(open) = self.find(room) {
            open.remove_member(user);
        }
    }

    /// Deletes a room with all its messages, and ends its subscriptions.
    pub(crate) async fn delete(&self, db: &Db, room: &db::Room) -> Result<(), StorageError> {
        let _lock = in_time(self.locks.lock(room.id)).await?;
        db.delete_room(room.id).await?;
        self.close_open(room.id);
        Ok(())
    }

    /// Ends the subscriptions of a deleted room.
    pub(crate) async fn close(&self, room: Uuid) {
        let _lock = self.locks.lock(room).await;
        self.close_open(room);
    }

    fn close_open(&self, room: Uuid) {
        if let Some(open) = self.find(room) {
            open.close();
            open.evict(&self.presence, |_| true);
            self.forget(&open);
        }
    }

    /// Changes the status of a user in all rooms. O(open rooms).
    pub(crate) fn set_status(&self, user: Uuid, status: Status) {
        for room in self.open_rooms() {
            room.set_status_of_user(&self.presence, user, status);
        }
    }

    /// Returns the rooms in memory.
    pub(crate) fn open_rooms(&self) -> Vec<Arc<Room>> {
        self.rooms.lock().values().cloned().collect()
    }

    /// Counts the rooms in memory and their subscriptions.
    pub(crate) fn sample(&self, sample: &mut Sample) {
        let rooms = self.open_rooms();
        sample.rooms = rooms.len();
        sample.subscriptions = rooms.iter().map(|room| room.subscriptions_len()).sum();
    }

    /// Returns the rooms with the most subscriptions, at most `limit`. O(rooms in memory).
    pub(crate) fn largest(&self, limit: usize) -> Vec<RoomOverview> {
        let rooms = self.open_rooms();
        let mut rooms: Vec<_> = rooms.iter().map(|room| room.overview()).collect();
        rooms.sort_unstable_by(|a, b| {
            let order = |room: &RoomOverview| Reverse((room.subscriptions, room.online));
            order(a).cmp(&order(b)).then_with(|| a.topic.cmp(&b.topic))
        });
        rooms.truncate(limit);
        rooms
    }

    /// Publishes the changes since the last beat. Returns the rooms that became occupied or vacated, which in a cluster
    /// [`RoomPresence::take_transitions`] says.
    pub(crate) fn beat(
        &self,
        inboxes: &Inboxes,
        list_ticks: &Histogram,
        now: Instant,
    ) -> Vec<(Arc<Room>, Occupation)> {
        let mut beats = self.beats.lock();
        *beats += 1;
        let mut changed = Vec::new();
        let alone = (!self.presence.is_clustered()).then(|| self.presence.take_diff());
        for diff in alone.iter().flat_map(|diff| diff.iter()) {
            let id = diff
                .topic
                .rsplit_once(':')
                .and_then(|(_, id)| id.parse().ok());
            if let Some(room) = id.and_then(|id| self.find(id)) {
                let occupation = room.apply(&self.presence, &[diff]);
                changed.extend(occupation.map(|occupation| (room, occupation)));
            }
        }
        if self.presence.is_clustered() {
            for room in self.open_rooms() {
                room.apply_changes(&self.presence);
            }
        }
        let changed_users = self.presence.take_changed_users();
        let tables = self.tables.all();
        for (_, table) in tables.iter().filter(|_| !changed_users.is_empty()) {
            let users = changed_users.iter().map(Uuid::as_u128);
            table.show_statuses(users, &self.presence);
        }
        if beats.is_multiple_of(BEATS_PER_TICK) {
            let started = Instant::now();
            tables.iter().for_each(|(_, table)| table.tick(now));
            for room in self.open_rooms() {
                room.tick(&self.presence, now);
                room.announce_news(inboxes);
                if room.close_if_idle(now) {
                    self.forget(&room);
                }
            }
            list_ticks.record(started.elapsed());
        }
        changed
    }
}

/// Loads the stored members of a room page by page, on the threads for long work, and the roles that they have.
async fn load_members(
    db: &Db,
    room: &db::Room,
    node: &str,
    order: &Arc<NameOrder>,
) -> Result<RoomMembers, StorageError> {
    let mut members = RoomMembers::new(&room.topic(), node, order);
    let roles = match room.server_id {
        Some(server) => db.roles(server).await?,
        None => Vec::new(),
    };
    members.set_roles(&roles);
    let mut loading = tokio::task::spawn_blocking(move || members);
    let mut after = Uuid::nil();
    loop {
        // While the page before it is loaded.
        let page = db.members(room.id, after, MEMBERS_PAGE).await?;
        let last = page.last().map(|last| last.user_id);
        let held = match (roles.first(), last) {
            (Some(role), Some(last)) => {
                db.roles_of_members(role.server_id, room.id, after, last)
                    .await?
            }
            _ => Vec::new(),
        };
        let mut members = match loading.await {
            Ok(members) => members,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let Some(last) = last else {
            return Ok(members);
        };
        after = last;
        loading = tokio::task::spawn_blocking(move || {
            members.load(page, &held);
            members
        });
    }
}
