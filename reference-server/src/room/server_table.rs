//! `ServerTable`: everyone who may be admitted to limited rooms of a server, once. What such a room shows is a list of
//! it; rooms with the same limit share one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Instant,
};

use headcount::Status;
use headcount::member_list::{
    Attrs, Clause, Epoch, Fields, ListId, ListSpec, ListView, LiveList, MemberTable,
    NewTableMember, TableError, TableOptions, TableTick,
};
use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    RoomPresence,
    cards::{Card, Cards},
    member_groups::{FIXED, name_all},
};
use crate::{
    db::{self, Holder, ServerRole},
    name_order::NameOrder,
};

/// The attributes of a member: whether others see it online, or idle, and whether it owns the server. The attributes
/// after them are roles.
const ONLINE: u16 = 0;
const IDLE: u16 = 1;
const OWNER: u16 = 2;
const ROLES_FROM: u16 = 8;
const ATTRS_END: u16 = 512;

/// Members that a step of work on the table goes over while it holds the lock.
const STEP: usize = 4_000;

/// The tables of servers, each as long as a room shows a list of it.
#[derive(Default)]
pub(super) struct ServerTables(Mutex<HashMap<Uuid, Weak<ServerTable>>>);

impl ServerTables {
    pub(super) fn find(&self, server: Uuid) -> Option<Arc<ServerTable>> {
        self.0.lock().get(&server).and_then(Weak::upgrade)
    }

    pub(super) fn insert(&self, server: Uuid, table: &Arc<ServerTable>) {
        self.0.lock().insert(server, Arc::downgrade(table));
    }

    /// Returns all tables with their servers, and forgets those that are gone.
    pub(super) fn all(&self) -> Vec<(Uuid, Arc<ServerTable>)> {
        let mut tables = self.0.lock();
        tables.retain(|_, table| table.strong_count() > 0);
        let tables = tables.iter();
        let tables = tables.filter_map(|(server, table)| Some((*server, table.upgrade()?)));
        tables.collect()
    }
}

/// A user with the roles that it has on the server, by id.
pub(super) type RoleHolders = BTreeMap<Uuid, (Holder, Vec<Uuid>)>;

/// The roles to which a room is limited, in order of id.
pub(super) type Limit = Vec<Uuid>;

/// The members and lists of one server. Its lock is taken after that of a room, before that of presence.
pub(super) struct ServerTable {
    owner: Option<Uuid>,
    order: Arc<NameOrder>,
    opened: Instant,
    state: Mutex<State>,
}

struct State {
    table: MemberTable<u128>,
    cards: Cards,
    /// The attribute of each role.
    attrs: HashMap<Uuid, u16>,
    lists: BTreeMap<Limit, Shared>,
    /// The number of lists so far, which names the next one.
    lists_made: u64,
    tick: Arc<TableTick<u128>>,
}

/// A list, and how many rooms show it.
struct Shared {
    id: ListId,
    rooms: usize,
}

/// The list of a table that a room shows. The last one of a table takes it along.
pub(super) struct LimitedList {
    table: Arc<ServerTable>,
    limit: Limit,
    id: ListId,
}

impl ServerTable {
    /// Makes the table of a server on a node, with its owner and the roles that it has, the highest first, but without
    /// members.
    pub(super) fn new(
        node: &str,
        owner: Option<Uuid>,
        roles: &[ServerRole],
        order: &Arc<NameOrder>,
    ) -> Self {
        let epoch = u64::try_from(db::now_micros() / 1_000).unwrap_or(1);
        let options = TableOptions::default().first_epoch(Epoch::new(node, epoch));
        let mut state = State {
            table: MemberTable::new(options)
                .expect("one key column, and an epoch of a node and a clock"),
            cards: Cards::default(),
            attrs: HashMap::new(),
            lists: BTreeMap::new(),
            lists_made: 0,
            tick: Arc::default(),
        };
        state.set_roles(roles);
        Self {
            owner,
            order: Arc::clone(order),
            opened: Instant::now(),
            state: Mutex::new(state),
        }
    }

    /// Loads members, all of them offline, into a table without any.
    pub(super) fn load(&self, members: RoleHolders) {
        let mut state = self.state.lock();
        let mut rows = Vec::with_capacity(members.len());
        for (id, (holder, roles)) in members {
            let attrs = state.attrs_of(&roles, self.owner == Some(id));
            let key = self.order.key(&holder.username);
            state.add_card(&holder, &roles);
            rows.push(NewTableMember {
                id: id.as_u128(),
                keys: vec![key],
                attrs,
                payload: None,
            });
        }
        if let Err(error) = state.table.bulk_load(rows) {
            tracing::error!(%error, "the table of a server refused its members");
        }
    }

    /// Brings the members to those given, in steps. Others are removed.
    pub(super) async fn reload(&self, members: &RoleHolders, presence: &RoomPresence) {
        let gone = |id: &u128| !members.contains_key(&Uuid::from_u128(*id));
        let gone: Vec<u128> = {
            let state = self.state.lock();
            state.cards.by_id.keys().copied().filter(gone).collect()
        };
        for ids in gone.chunks(STEP) {
            let mut state = self.state.lock();
            ids.iter().for_each(|id| state.remove(*id));
        }
        for (at, (holder, roles)) in members.values().enumerate() {
            if at % STEP == 0 {
                tokio::task::yield_now().await;
            }
            self.set_member(holder, roles, presence);
        }
    }

    /// Takes `roles` for those that a user has. One without any is no member, unless it owns the server.
    pub(super) fn set_member(&self, holder: &Holder, roles: &[Uuid], presence: &RoomPresence) {
        let id = holder.user_id.as_u128();
        let is_owner = self.owner == Some(holder.user_id);
        let mut state = self.state.lock();
        if roles.is_empty() && !is_owner {
            return state.remove(id);
        }
        let attrs = state.attrs_of(roles, is_owner);
        if state.table.contains(&id) {
            let changed = state.cards.roles.set_roles_of(id, roles);
            let written = state.table.set_attrs(&id, &role_attrs(), &attrs, None);
            state.check(id, written);
            if changed.is_some_and(|change| change.recolours) {
                state.touch(id);
            }
        } else {
            let key = self.order.key(&holder.username);
            let added = state.table.upsert(id, &[key], attrs, None);
            state.add_card(holder, roles);
            state.check(id, added.map(drop));
        }
        state.show_status(id, presence);
    }

    /// Takes `roles`, the highest first, for those of the server. Lists go by them once they are [built](Self::build).
    pub(super) fn set_roles(&self, roles: &[ServerRole]) {
        let mut state = self.state.lock();
        state.set_roles(roles);
        state.define_lists();
        // Of a small table as one change for viewers.
        state.table.build(STEP);
    }

    /// Builds the lists that are new or have another definition, and lets others have the table between two steps.
    pub(super) async fn build(&self) {
        while self.state.lock().table.build(STEP) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Shows the statuses of all members as they are on all nodes, in steps.
    pub(super) async fn show_all_statuses(&self, presence: &RoomPresence) {
        let ids: Vec<u128> = self.state.lock().cards.by_id.keys().copied().collect();
        for ids in ids.chunks(STEP) {
            self.show_statuses(ids.iter().copied(), presence);
            tokio::task::yield_now().await;
        }
    }

    /// Shows the statuses of those of the users that are members.
    pub(super) fn show_statuses(&self, users: impl Iterator<Item = u128>, presence: &RoomPresence) {
        let mut state = self.state.lock();
        users.for_each(|id| state.show_status(id, presence));
    }

    /// Publishes what changed since the last tick, for the viewers of all rooms.
    pub(super) fn tick(&self, now: Instant) {
        let State {
            table, cards, tick, ..
        } = &mut *self.state.lock();
        let since = now.saturating_duration_since(self.opened);
        *tick = Arc::new(table.tick(since, (&*cards).into()));
    }

    /// Returns the list of a limit, and makes it if no room has that. It can be read once it is
    /// [built](Self::build).
    pub(super) fn list(self: &Arc<Self>, limit: Limit) -> Result<LimitedList, TableError> {
        let id = self.state.lock().add_list(&limit)?;
        let table = Arc::clone(self);
        Ok(LimitedList { table, limit, id })
    }

    /// Counts the members and the lists.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.table.len(), state.table.lists().count())
    }
}

impl State {
    fn add_card(&mut self, holder: &Holder, roles: &[Uuid]) {
        let id = holder.user_id.as_u128();
        let card = Card {
            last_seen: holder.last_seen_at,
            ..Card::stored(&holder.username)
        };
        self.cards.by_id.insert(id, card);
        self.cards.roles.set_roles_of(id, roles);
    }

    fn remove(&mut self, id: u128) {
        self.table.remove(&id, None);
        self.cards.forget(id);
    }

    /// Removes a member of whom a write was refused: no list may go on to show it as it was before.
    fn check(&mut self, id: u128, written: Result<(), TableError>) {
        if let Err(error) = written {
            tracing::error!(user = %Uuid::from_u128(id), %error, "the table of a server refused a member");
            self.remove(id);
        }
    }

    fn touch(&mut self, id: u128) {
        if self.table.contains(&id) {
            let touched = self.table.touch_fields(&id, Fields::ALL);
            self.check(id, touched);
        }
    }

    fn show_status(&mut self, id: u128, presence: &RoomPresence) {
        let Some(card) = self.cards.by_id.get_mut(&id) else {
            return;
        };
        let status = presence.status_of(Uuid::from_u128(id));
        if card.status == status {
            return;
        }
        card.status = status;
        let shown = match status {
            Status::Offline | Status::Invisible => Attrs::EMPTY,
            Status::Idle => attrs([ONLINE, IDLE]),
            Status::Online | Status::Dnd => attrs([ONLINE]),
        };
        if shown.is_empty() {
            card.last_seen = Some(db::now_micros());
        }
        let statuses = attrs([ONLINE, IDLE]);
        let written = self.table.set_attrs(&id, &statuses, &shown, None);
        self.check(id, written);
        self.touch(id);
    }

    fn attrs_of(&self, roles: &[Uuid], is_owner: bool) -> Attrs {
        let roles = roles.iter().filter_map(|role| self.attrs.get(role));
        attrs(roles.copied().chain(is_owner.then_some(OWNER)))
    }

    fn set_roles(&mut self, roles: &[ServerRole]) {
        for change in self.cards.roles.set_roles(roles) {
            if change.recolours {
                self.touch(change.id);
            }
        }
        let before = std::mem::take(&mut self.attrs);
        let mut free = (ROLES_FROM..ATTRS_END).collect::<Vec<u16>>();
        // An attribute that a list of before still goes by means no other role yet.
        free.retain(|bit| !before.values().any(|taken| taken == bit));
        let mut free = free.into_iter();
        for role in roles {
            let known = before.get(&role.id).copied();
            if let Some(bit) = known.or_else(|| free.next()) {
                self.attrs.insert(role.id, bit);
                if known.is_none() {
                    self.write_holders(role.id, Attrs::EMPTY, attrs([bit]));
                }
            } else {
                tracing::error!(role = %role.id, "a server has more roles than its table");
            }
        }
        for (role, bit) in before {
            if !self.attrs.contains_key(&role) {
                self.write_holders(role, attrs([bit]), Attrs::EMPTY);
                self.remove_without_role(role);
            }
        }
    }

    /// Removes those of whom a deleted role was the last one.
    fn remove_without_role(&mut self, role: Uuid) {
        let statuses = attrs([ONLINE, IDLE]);
        for id in self.cards.roles.holders_of(role) {
            let member = self.table.get(&id);
            let left = member.map(|member| member.attrs.with(&statuses, &Attrs::EMPTY));
            if left.is_none_or(|left| left.is_empty()) {
                self.remove(id);
            }
        }
    }

    /// Takes attributes from all that hold a role, and gives them others.
    fn write_holders(&mut self, role: Uuid, clear: Attrs, set: Attrs) {
        let holders = self.cards.roles.holders_of(role);
        if let Err(error) = self.table.set_attrs_many(&holders, &clear, &set) {
            tracing::error!(%role, %error, "the table of a server refused the holders of a role");
            holders.into_iter().for_each(|id| self.remove(id));
        }
    }

    /// Defines the lists by the roles as they are now.
    fn define_lists(&mut self) {
        // A list that is being built cannot be defined again. Nearly always there is none.
        self.table.build(usize::MAX);
        let lists: Vec<(Limit, ListId)> = self
            .lists
            .iter()
            .map(|(limit, shared)| (limit.clone(), shared.id))
            .collect();
        for (limit, id) in lists {
            let changed = self.table.spec(id).map(|known| {
                let spec = self.spec(known.name(), &limit);
                let is_same = *known == spec;
                (!is_same).then_some(spec)
            });
            let defined = changed.and_then(|spec| match spec {
                Some(spec) => self.table.set_spec(id, spec),
                None => Ok(()),
            });
            if let Err(error) = defined {
                tracing::error!(%error, "the list of a limited room refused its groups");
            }
        }
    }

    /// Defines a list: everyone with one of the roles, and the owner of the server; in groups as those of
    /// [`MemberGroups`](super::member_groups::MemberGroups).
    fn spec(&self, name: &str, limit: &[Uuid]) -> ListSpec<u128> {
        let [staff, online, idle, offline] = FIXED;
        let is = |bits: &[u16]| Clause::new().all(attrs(bits.iter().copied()));
        let admitted = Clause::new().any(self.attrs_of(limit, true));
        let mut spec = ListSpec::new(name, offline).admit([admitted]);
        let hoisted = name_all(self.cards.roles.hoisted());
        for (role, group) in &hoisted {
            if let Some(bit) = self.attrs.get(role) {
                spec = spec.group(is(&[ONLINE, *bit]), group);
            }
        }
        if hoisted.is_empty() {
            let is_active = is(&[ONLINE]).none(attrs([IDLE]));
            spec.group(is(&[ONLINE, OWNER]), staff)
                .group(is_active, online)
                .group(is(&[ONLINE, IDLE]), idle)
        } else {
            let never = is(&[ONLINE]).none(attrs([ONLINE]));
            spec.group(never, staff)
                .group(is(&[ONLINE]), online)
                .group(never, idle)
        }
    }

    fn add_list(&mut self, limit: &Limit) -> Result<ListId, TableError> {
        if let Some(shared) = self.lists.get_mut(limit) {
            shared.rooms += 1;
            return Ok(shared.id);
        }
        let name = self.lists_made.to_string();
        let id = self.table.add_list(self.spec(&name, limit))?;
        self.lists_made += 1;
        self.lists.insert(limit.clone(), Shared { id, rooms: 1 });
        Ok(id)
    }

    fn remove_list(&mut self, limit: &Limit) {
        let Some(shared) = self.lists.get_mut(limit) else {
            return;
        };
        shared.rooms -= 1;
        if shared.rooms > 0 {
            return;
        }
        let id = shared.id;
        self.lists.remove(limit);
        if let Err(error) = self.table.remove_list(id) {
            tracing::error!(%error, "the list of a limited room could not be removed");
        }
    }
}

impl LimitedList {
    /// Returns whether it is the list of that limit in that table.
    pub(super) fn is(&self, table: &Arc<ServerTable>, limit: &[Uuid]) -> bool {
        Arc::ptr_eq(&self.table, table) && self.limit == limit
    }

    /// Reads the list, and the content of its rows.
    pub(super) fn read<T>(&self, work: impl FnOnce(ListView<'_, u128>, &Cards) -> T) -> T {
        let state = self.table.state.lock();
        let list = state.table.list(self.id);
        work(list.expect("rooms show lists once built"), &state.cards)
    }

    /// Shows the list to a viewer.
    pub(super) fn show<T>(&self, work: impl FnOnce(&mut LiveList<'_, u128>, &Cards) -> T) -> T {
        let State { table, cards, .. } = &mut *self.table.state.lock();
        let list = table.live(self.id);
        work(&mut list.expect("rooms show lists once built"), cards)
    }

    /// Returns whether the list admits a user.
    pub(super) fn admits(&self, user: Uuid) -> bool {
        self.read(|list, _| list.group_of(&user.as_u128()).is_some())
    }

    /// Returns what was last published.
    pub(super) fn tick(&self) -> Arc<TableTick<u128>> {
        Arc::clone(&self.table.state.lock().tick)
    }

    /// Adds the fields of Discord's members to the rows of the table.
    pub(super) fn show_discord(&self) {
        self.table.state.lock().cards.with_discord = true;
    }
}

impl Drop for LimitedList {
    fn drop(&mut self) {
        self.table.state.lock().remove_list(&self.limit);
    }
}

fn attrs(bits: impl IntoIterator<Item = u16>) -> Attrs {
    Attrs::of(bits).expect("all attributes are below the end")
}

/// Returns the attributes that are roles.
fn role_attrs() -> Attrs {
    attrs(ROLES_FROM..ATTRS_END)
}
