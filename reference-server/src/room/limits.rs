//! The member lists of rooms that are limited to roles: whom the roles admit, of everyone on the server, read from the
//! database by one task at a time for a server. A private room goes on to show its members.

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

use super::{
    Hub, Room,
    hub::MEMBERS_PAGE,
    open_room::State,
    server_table::{Limit, LimitedList, RoleHolders, ServerTable},
};
use crate::{
    db::{Admission, Db, ServerRole, StorageError, in_time},
    socket::encode,
};

impl Hub {
    /// Shows in the open rooms of a server whom they admit, as it is stored. The caller holds the lock of its roles.
    pub(super) async fn show_limits(
        &self,
        db: &Db,
        server: Uuid,
        roles: &[ServerRole],
    ) -> Result<(), StorageError> {
        if let Some(table) = self.tables.find(server) {
            table.set_roles(roles);
            table.build().await;
        }
        let mut limits = limits(db.admissions(server).await?);
        for room in self.open_rooms_of(server) {
            let limit = limits.remove(&room.id);
            self.show_limit(db, &room, limit, roles).await?;
        }
        Ok(())
    }

    /// Shows in one room whom it admits, as it is stored. The caller holds the lock of the roles of its server.
    pub(super) async fn show_limit_of(
        &self,
        db: &Db,
        room: &Room,
        roles: &[ServerRole],
    ) -> Result<(), StorageError> {
        let limit = limits(db.admissions_of(room.id).await?).remove(&room.id);
        self.show_limit(db, room, limit, roles).await
    }

    async fn show_limit(
        &self,
        db: &Db,
        room: &Room,
        limit: Option<Limit>,
        roles: &[ServerRole],
    ) -> Result<(), StorageError> {
        let limit = limit.and_then(|limit| Some((room.server()?, limit)));
        let Some((server, limit)) = limit else {
            room.show_own_list();
            return Ok(());
        };
        let table = self.table(db, server, roles).await?;
        if room.shows_limited(&table, &limit) {
            return Ok(());
        }
        match table.list(limit) {
            Ok(list) => {
                table.build().await;
                room.show_list(Some(list));
            }
            Err(error) => {
                tracing::error!(%error, "a limited room got no list");
                room.show_own_list();
            }
        }
        Ok(())
    }

    /// Returns the table of a server, after it was loaded if there was none.
    async fn table(
        &self,
        db: &Db,
        server: Uuid,
        roles: &[ServerRole],
    ) -> Result<Arc<ServerTable>, StorageError> {
        if let Some(table) = self.tables.find(server) {
            return Ok(table);
        }
        let owner = db.owner_of(server).await?.map(|owner| owner.user_id);
        let members = load_holders(db, server, roles).await?;
        let table = ServerTable::new(&self.node, owner, roles, &self.name_order);
        let loading = tokio::task::spawn_blocking(move || {
            table.load(members);
            Arc::new(table)
        });
        let table = match loading.await {
            Ok(table) => table,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        // From here on it hears of changes of statuses.
        self.tables.insert(server, &table);
        table.show_all_statuses(&self.presence).await;
        Ok(table)
    }

    /// Shows the roles that a user has in the table of a server. The caller holds the lock of the server's roles.
    pub(super) async fn show_holder(
        &self,
        db: &Db,
        server: Uuid,
        user: Uuid,
        roles: &[Uuid],
    ) -> Result<(), StorageError> {
        if let Some(table) = self.tables.find(server)
            && let Some(holder) = db.holder(user).await?
        {
            table.set_member(&holder, roles, &self.presence);
        }
        Ok(())
    }

    /// Brings the members of the table of a server, if there is one, to those that are stored.
    pub(crate) async fn reload_table(&self, db: &Db, server: Uuid) -> Result<(), StorageError> {
        let Some(table) = self.tables.find(server) else {
            return Ok(());
        };
        let _turn = in_time(self.role_locks.lock(server)).await?;
        let roles = db.roles(server).await?;
        table.set_roles(&roles);
        table.build().await;
        let members = load_holders(db, server, &roles).await?;
        table.reload(&members, &self.presence).await;
        Ok(())
    }
}

impl Room {
    fn shows_limited(&self, table: &Arc<ServerTable>, limit: &[Uuid]) -> bool {
        let state = self.state.lock();
        state
            .members
            .limited()
            .is_some_and(|list| list.is(table, limit))
    }

    fn show_own_list(&self) {
        if self.state.lock().members.limited().is_some() {
            self.show_list(None);
        }
    }

    /// Shows a list of a table, or the list of the room for `None`, and moves the viewers to it.
    pub(super) fn show_list(&self, list: Option<LimitedList>) {
        let mut state = self.state.lock();
        if state.is_closed && list.is_some() {
            return;
        }
        let State {
            subscribers,
            members,
            ..
        } = &mut *state;
        members.show_list(list);
        for subscriber in subscribers.iter_mut() {
            let user = subscriber.user();
            let v = &subscriber.visitor;
            if let Some(bundle) = members.move_viewer(&mut subscriber.viewer, user, v.list_format) {
                let frame = encode(v.vsn, None, None, &self.topic, "member_list", &bundle);
                v.outbox.push(frame);
            }
        }
    }
}

/// Gathers the roles to which each room is limited.
fn limits(admissions: Vec<Admission>) -> HashMap<Uuid, Limit> {
    let mut limits: HashMap<Uuid, Limit> = HashMap::new();
    for (room, role) in admissions {
        limits.entry(room).or_default().extend(role);
    }
    limits.values_mut().for_each(|limit| limit.sort_unstable());
    limits
}

/// Reads everyone with a role of a server, and its owner, page by page.
async fn load_holders(
    db: &Db,
    server: Uuid,
    roles: &[ServerRole],
) -> Result<RoleHolders, StorageError> {
    let mut holders = RoleHolders::new();
    if let Some(owner) = db.owner_of(server).await? {
        holders.insert(owner.user_id, (owner, Vec::new()));
    }
    for role in roles {
        let mut after = Uuid::nil();
        loop {
            let page = db.role_holders(role.id, after, MEMBERS_PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = last.user_id;
            for holder in page {
                let known = holders.entry(holder.user_id);
                let (_, held) = known.or_insert_with(|| (holder, Vec::new()));
                held.push(role.id);
            }
        }
    }
    Ok(holders)
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
