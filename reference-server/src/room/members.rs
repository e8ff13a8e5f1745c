//! `RoomMembers`: who is in a room or stays a member of it, and the member list that the room shows: its own, by group,
//! or that of a table if the room is limited to roles. The room's lock guards it.

use std::{sync::Arc, time::Duration};

use headcount::member_list::{BundleFormat, Epoch, NewMember, Rows};
use headcount::roster::OfflinePolicy;
use headcount::{
    ListOptions, MemberList, Placement, Roster, RosterOptions, Row, Status, TopicDiff, Viewer,
};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{
    cards::{Card, Cards, ShownRow},
    member_groups::MemberGroups,
    member_roles::LookChange,
    member_windows::{ListFormat, MemberTick, MemberWindows},
    presence::Profile,
    server_table::LimitedList,
    window_request::{WindowRefusal, WindowRequest},
};
use crate::{db, demo::simulated, name_order::NameOrder};

/// Rows by user id, in groups by role and status.
pub(super) struct RoomMembers {
    roster: Roster<u128>,
    cards: Cards,
    groups: MemberGroups,
    windows: MemberWindows,
    order: Arc<NameOrder>,
    /// Is shown in the place of the room's own list while it is limited to roles.
    limited: Option<LimitedList>,
    /// True while there may be viewers, or windows that the list keeps for clients that are away.
    is_viewed: bool,
}

impl RoomMembers {
    /// Makes the list of a room on a node, without members, sorted by `order`.
    pub(super) fn new(topic: &str, node: &str, order: &Arc<NameOrder>) -> Self {
        let mut list = MemberList::new(ListOptions::default());
        let groups = MemberGroups::new(&mut list);
        // A list is rebuilt when its room opens again or the server starts: later times make higher
        // epochs.
        let epoch = u64::try_from(db::now_micros() / 1_000).unwrap_or(1);
        if let Err(error) = list.begin_epoch(topic, Epoch::new(node, epoch)) {
            tracing::error!(%error, "the member list of a room has no epoch of its node");
        }
        let options = RosterOptions::default().offline(OfflinePolicy::Keep(groups.offline));
        let by = Arc::clone(order);
        let fixed = groups.clone();
        let roster = Roster::new(list, options, move |entry| {
            let profile = Profile::of(entry);
            let status = Status::of_session(entry.status());
            let group = fixed.of(None, profile.staff, status);
            let key = by.key(&profile.username);
            Placement::new(status).group(group).key(key)
        });
        Self {
            roster,
            cards: Cards::default(),
            groups,
            windows: MemberWindows::new(topic),
            order: Arc::clone(order),
            limited: None,
            is_viewed: false,
        }
    }

    /// Loads stored members, all of them offline, and the roles that they have: pairs of a member and a role.
    pub(super) fn load(&mut self, members: Vec<db::Member>, held: &[(Uuid, Uuid)]) {
        let offline = self.groups.offline;
        let rows = members.iter().map(|member| NewMember {
            id: member.user_id.as_u128(),
            group: offline,
            key: self.order.key(&member.username),
            attrs: 0,
        });
        if let Err(error) = self.roster.load_offline(rows) {
            tracing::error!(%error, "the member list refused stored members");
            return;
        }
        let cards = members.into_iter().map(|member| {
            let card = Card {
                last_seen: member.last_seen_at,
                ..Card::stored(&member.username)
            };
            (member.user_id.as_u128(), card)
        });
        self.cards.by_id.extend(cards);
        for of_one in held.chunk_by(|(one, _), (other, _)| one == other) {
            let roles: Vec<Uuid> = of_one.iter().map(|(_, role)| *role).collect();
            self.set_roles_of(of_one[0].0, &roles);
        }
    }

    /// Takes `roles`, the highest first, for those of the server: members that are online are grouped under their
    /// highest hoisted role, if any role is hoisted.
    pub(super) fn set_roles(&mut self, roles: &[db::ServerRole]) {
        let changes = self.cards.roles.set_roles(roles);
        let had_hoisted = self.groups.has_hoisted();
        let list = self.roster.list_mut();
        let unused = match self.groups.hoist(list, self.cards.roles.hoisted()) {
            Ok(unused) => unused,
            Err(error) => {
                tracing::error!(%error, "the member list refused the groups of roles");
                return;
            }
        };
        for change in changes {
            self.show_change(change);
        }
        if had_hoisted != self.groups.has_hoisted() {
            let all: Vec<u128> = self.cards.by_id.keys().copied().collect();
            all.into_iter().for_each(|id| self.place(id));
        }
        for group in unused {
            if let Err(error) = self.roster.list_mut().remove_group(group) {
                tracing::error!(%error, "the member list kept the group of a role");
            }
        }
    }

    /// Takes `roles` for those that a stored member has; those of others are not shown.
    pub(super) fn set_roles_of(&mut self, user: Uuid, roles: &[Uuid]) {
        if self.is_stored(user) {
            let change = self.cards.roles.set_roles_of(user.as_u128(), roles);
            change
                .into_iter()
                .for_each(|change| self.show_change(change));
        }
    }

    fn show_change(&mut self, change: LookChange) {
        if change.moves {
            self.place(change.id);
        }
        if change.recolours
            && let Err(error) = self.roster.list_mut().touch(&change.id)
        {
            tracing::error!(%error, "the member list refused the colour of a member");
        }
    }

    /// Moves a member that is online to its group.
    fn place(&mut self, id: u128) {
        let Some(card) = self.cards.by_id.get(&id) else {
            return;
        };
        if card.status == Status::Offline {
            return;
        }
        let hoisted = self.cards.roles.look(id).and_then(|look| look.hoisted);
        let group = self.groups.of(hoisted, card.staff, card.status);
        if let Err(error) = self.roster.list_mut().set_group(&id, group) {
            tracing::error!(%error, "the member list refused the group of a member");
        }
    }

    /// Applies what happened to presence.
    pub(super) fn apply(&mut self, diff: &TopicDiff, wall_s: u64) {
        for entry in diff
            .joins
            .iter()
            .chain(diff.updates.iter().map(|update| &update.new))
        {
            self.cards.note(entry);
        }
        let applied = self.roster.apply(diff, wall_s);
        for (id, error) in &applied.refused {
            tracing::error!(user = %Uuid::from_u128(*id), %error, "the member list refused a session or its row");
        }
        for change in applied.changes {
            let Some(card) = self.cards.by_id.get_mut(&change.id) else {
                continue;
            };
            card.status = change.new;
            if change.new == Status::Offline {
                card.last_seen = i64::try_from(wall_s).ok().map(|s| s * 1_000_000);
                let stays = card.stays;
                if !stays || card.name.is_none() {
                    self.cards.forget(change.id);
                }
                if !stays {
                    self.roster.list_mut().remove(&change.id);
                }
            } else if self.groups.has_hoisted() {
                self.place(change.id);
            }
        }
    }

    /// Adds a stored member, and the roles that it has.
    pub(super) fn add_member(&mut self, user: Uuid, username: &str, roles: &[Uuid]) {
        let id = user.as_u128();
        let card = self
            .cards
            .by_id
            .entry(id)
            .or_insert_with(|| Card::stored(username));
        card.stays = true;
        if !self.roster.list().contains(&id) {
            let key = self.order.key(username);
            let added = self
                .roster
                .list_mut()
                .upsert(id, self.groups.offline, &key, 0);
            if let Err(error) = added {
                tracing::error!(%error, "the member list refused a member");
                return;
            }
        }
        self.set_roles_of(user, roles);
    }

    /// Removes a stored member. One that is online leaves the list when it goes offline.
    pub(super) fn remove_member(&mut self, id: Uuid) {
        let id = id.as_u128();
        let Some(card) = self.cards.by_id.get_mut(&id) else {
            return;
        };
        card.stays = false;
        if card.status == Status::Offline {
            self.cards.forget(id);
            self.roster.list_mut().remove(&id);
        }
    }

    /// Returns whether a user is a stored member.
    pub(super) fn is_stored(&self, id: Uuid) -> bool {
        let card = self.cards.by_id.get(&id.as_u128());
        card.is_some_and(|card| card.stays && card.name.is_some())
    }

    /// Returns the stored members. O(members).
    pub(super) fn stored(&self) -> Vec<Uuid> {
        let cards = self.cards.by_id.iter();
        let stored = cards.filter(|(_, card)| card.stays && card.name.is_some());
        stored.map(|(id, _)| Uuid::from_u128(*id)).collect()
    }

    /// Loads simulated members, all of them offline.
    pub(super) fn load_simulated(&mut self, members: impl Iterator<Item = usize>) {
        let offline = self.groups.offline;
        let members = members.map(|i| NewMember {
            id: simulated::id(i).as_u128(),
            group: offline,
            key: self.order.key(&simulated::name(i)),
            attrs: 0,
        });
        if let Err(error) = self.roster.load_offline(members) {
            tracing::error!(%error, "the member list refused simulated members");
        }
    }

    /// Counts the members, and those that others see as online. O(1).
    pub(super) fn occupancy(&self) -> Occupancy {
        Occupancy {
            online: self.roster.online_count(),
            total: self.roster.list().member_count(),
        }
    }

    /// Returns the first member of each group whose name begins with `prefix`.
    pub(super) fn find(&self, prefix: &str) -> Vec<Match> {
        let prefix = self.order.prefix(prefix);
        let Some(limited) = &self.limited else {
            let list = self.roster.list();
            let found = list.find_prefix(&prefix).into_iter();
            let matched =
                |(group, index)| Match::new(list.group_name(group)?, index, &list.row_at(index)?);
            return found.filter_map(matched).collect();
        };
        limited.read(|list, _| {
            let found = list.find_prefix(&prefix).into_iter();
            let matched =
                |(group, index)| Match::new(list.group_name(group)?, index, &list.row_at(index)?);
            found.filter_map(matched).collect()
        })
    }

    /// Returns the first rows, at most `limit`.
    pub(super) fn first_rows(&self, limit: usize) -> Vec<ShownRow> {
        match &self.limited {
            Some(limited) => limited.read(|list, cards| shown(list.slice(..limit), cards)),
            None => shown(self.roster.list().slice(..limit), &self.cards),
        }
    }

    /// Returns the list of a table that is shown in the place of the room's own.
    pub(super) fn limited(&self) -> Option<&LimitedList> {
        self.limited.as_ref()
    }

    /// Shows the list of a table, or the list of the room again. Viewers are to be [moved](Self::move_viewer) to it.
    pub(super) fn show_list(&mut self, limited: Option<LimitedList>) {
        self.limited = limited;
        self.windows.begin();
        self.is_viewed = true;
    }

    /// Moves a viewer to the list that is shown now. Returns what to send it; nothing, and it is no viewer any more, if
    /// the list does not admit the user.
    pub(super) fn move_viewer(
        &mut self,
        viewer: &mut Option<Box<Viewer<u128>>>,
        user: Uuid,
        format: ListFormat,
    ) -> Option<String> {
        let mut moved = viewer.take()?;
        self.note_format(format);
        let windows = &mut self.windows;
        let sent = match &self.limited {
            Some(limited) if !limited.admits(user) => return None,
            Some(limited) => {
                limited.show(|list, cards| windows.switch(list, cards, &mut moved, format))
            }
            None => windows.switch(self.roster.list_mut(), &self.cards, &mut moved, format),
        };
        let sent = sent.inspect_err(|error| {
            tracing::error!(%error, "the windows of a viewer were refused");
        });
        *viewer = Some(moved);
        sent.ok()
    }

    /// Returns what changed since the last tick, for all viewers; `None` if there is no viewer, and no client is away
    /// that may come back to its windows.
    pub(super) fn tick(&mut self, now: Duration, has_viewers: bool) -> Option<MemberTick> {
        let has_own = has_viewers && self.limited.is_none();
        let own = (has_own || self.is_viewed).then(|| {
            let tick = self.roster.list_mut().tick(now, (&self.cards).into());
            self.is_viewed = has_own || self.roster.list().resume_bytes() > 0;
            MemberTick::Room(Box::new(tick))
        });
        match &self.limited {
            Some(limited) => has_viewers.then(|| MemberTick::Table(limited.tick())),
            None => own,
        }
    }

    /// Returns what to send a viewer after a tick: frames, or fresh windows for those that missed
    /// some.
    pub(super) fn bundles(
        &mut self,
        viewer: &mut Viewer<u128>,
        tick: &MemberTick,
        format: ListFormat,
    ) -> Vec<String> {
        let mut bundles: Vec<_> = tick.bundle(viewer).into_iter().collect();
        if viewer.is_stale() {
            bundles.push(match &self.limited {
                Some(limited) => limited.show(|list, cards| viewer.catch_up(list, cards.into())),
                None => viewer.catch_up(self.roster.list_mut(), (&self.cards).into()),
            });
        }
        let encoded = bundles.into_iter();
        encoded
            .map(|bundle| self.windows.encode(bundle, format))
            .collect()
    }

    /// Returns whether the next tick publishes.
    #[cfg(test)]
    pub(super) fn is_published(&self) -> bool {
        self.is_viewed
    }

    /// Makes the viewer of a subscriber.
    pub(super) fn viewer(&mut self, format: ListFormat) -> Viewer<u128> {
        self.is_viewed = true;
        self.note_format(format);
        match format {
            ListFormat::Bundles(BundleFormat::One) => Viewer::new(),
            ListFormat::Bundles(BundleFormat::Two) => Viewer::resumable(),
            ListFormat::Discord => Viewer::discord(),
        }
    }

    fn note_format(&mut self, format: ListFormat) {
        if format == ListFormat::Discord {
            self.cards.with_discord = true;
            self.limited.iter().for_each(LimitedList::show_discord);
        }
    }

    /// Performs a viewer's request. Returns a bundle to answer with, or `None` for a close.
    pub(super) fn request(
        &mut self,
        viewer: &mut Viewer<u128>,
        request: &WindowRequest,
        format: ListFormat,
    ) -> Result<Option<String>, WindowRefusal> {
        let asked = request.windows(|group| self.has_group(group), &self.order)?;
        let windows = &mut self.windows;
        let Some(limited) = &self.limited else {
            let list = self.roster.list_mut();
            return windows.request(list, &self.cards, viewer, asked, format);
        };
        limited.show(|list, cards| windows.request(list, cards, viewer, asked, format))
    }

    fn has_group(&self, name: &str) -> bool {
        match &self.limited {
            Some(limited) => limited.read(|list, _| list.group(name).is_some()),
            None => self.roster.list().group(name).is_ok(),
        }
    }
}

fn shown(rows: Rows<'_, u128>, cards: &Cards) -> Vec<ShownRow> {
    let shown = rows.filter_map(|row| match row {
        Row::Header { name, count, .. } => Some(ShownRow::Group {
            name: name.to_owned(),
            count,
        }),
        Row::Member { id, .. } => cards.show(*id),
    });
    shown.collect()
}

/// The size of a room: users that others see as online, and all members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occupancy {
    pub(crate) online: usize,
    pub(crate) total: usize,
}

impl Occupancy {
    /// Returns the payload of `presence_count`.
    pub(super) fn payload(self) -> String {
        json!({ "online": self.online, "total": self.total }).to_string()
    }
}

/// A member found by name.
#[derive(Debug, Serialize)]
pub(super) struct Match {
    group: String,
    index: usize,
    id: Uuid,
}

impl Match {
    fn new(group: &str, index: usize, row: &Row<'_, u128>) -> Option<Self> {
        let Row::Member { id, .. } = row else {
            return None;
        };
        Some(Self {
            group: group.to_owned(),
            index,
            id: Uuid::from_u128(**id),
        })
    }
}
