//! `Cards`: the content of the rows of a member list, and their bodies.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use headcount::member_list::{Fields, RowSource};
use headcount::{EntryBuf, Status};
use serde::Serialize;
use uuid::Uuid;

use super::{member_roles::MemberRoles, presence::Profile};
use crate::{db, demo::simulated};

/// The content of rows.
#[derive(Debug, Default)]
pub(super) struct Cards {
    /// By user id. Offline simulated members have none.
    pub(super) by_id: HashMap<u128, Card>,
    pub(super) roles: MemberRoles,
    /// True once a viewer reads the list in the format of Discord: bodies then also have the fields of that.
    pub(super) with_discord: bool,
}

/// A row of a member list as a page shows it.
#[derive(Debug)]
pub(crate) enum ShownRow {
    Group {
        name: String,
        count: usize,
    },
    Member {
        id: Uuid,
        username: String,
        status: Status,
        guest: bool,
        simulated: bool,
        /// The colour of the highest role that has one, as `#rrggbb`.
        colour: Option<Arc<str>>,
    },
}

/// Holds what is known of a member.
#[derive(Debug)]
pub(super) struct Card {
    /// `None` for a simulated member: the id gives it.
    pub(super) name: Option<Box<str>>,
    pub(super) status: Status,
    pub(super) guest: bool,
    /// True for an admin of the room, once it was online.
    pub(super) staff: bool,
    /// When it went offline, in microseconds since 1970.
    pub(super) last_seen: Option<i64>,
    /// True for a stored member, which stays in the list when offline.
    pub(super) stays: bool,
}

impl Card {
    /// Makes the card of a stored member that is offline.
    pub(super) fn stored(username: &str) -> Self {
        Self {
            name: Some(username.into()),
            status: Status::Offline,
            guest: false,
            staff: false,
            last_seen: None,
            stays: true,
        }
    }
}

/// The body of a row.
#[derive(Serialize)]
struct Body<'a> {
    username: Cow<'a, str>,
    status: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    guest: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    simulated: bool,
    /// The colour of the highest role that has one, as `#rrggbb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    colour: Option<&'a str>,
    /// Of one that is offline.
    #[serde(
        serialize_with = "db::rfc3339_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    last_seen_at: Option<i64>,
    #[serde(flatten)]
    discord: Option<DiscordMember>,
}

/// The fields of a member object of Discord.
#[derive(Serialize)]
struct DiscordMember {
    user: DiscordUser,
    presence: DiscordPresence,
}

#[derive(Serialize)]
struct DiscordUser {
    id: Uuid,
    username: String,
}

#[derive(Serialize)]
struct DiscordPresence {
    status: &'static str,
}

impl RowSource<u128> for Cards {
    fn write_body(&self, id: &u128, _fields: Fields, out: &mut Vec<u8>) {
        let card = self.by_id.get(id);
        let Some(username) = self.name(*id) else {
            return;
        };
        let status = card.map_or(Status::Offline, |card| card.status).as_str();
        let discord = self.with_discord.then(|| DiscordMember {
            user: DiscordUser {
                id: Uuid::from_u128(*id),
                username: username.clone().into_owned(),
            },
            presence: DiscordPresence { status },
        });
        let body = Body {
            username,
            status,
            discord,
            guest: card.is_some_and(|card| card.guest),
            simulated: simulated::index(*id).is_some(),
            colour: self.roles.look(*id).and_then(|look| look.colour.as_deref()),
            last_seen_at: card
                .filter(|card| card.status == Status::Offline)
                .and_then(|card| card.last_seen),
        };
        serde_json::to_writer(out, &body).expect("writing to a vector does not fail");
    }
}

impl Cards {
    /// Returns the name of a member.
    fn name(&self, id: u128) -> Option<Cow<'_, str>> {
        let card = self.by_id.get(&id);
        let given = card
            .and_then(|card| card.name.as_deref())
            .map(Cow::Borrowed);
        given.or_else(|| simulated::index(id).map(|i| Cow::Owned(simulated::name(i))))
    }

    /// Returns the row of a member as a page shows it.
    pub(super) fn show(&self, id: u128) -> Option<ShownRow> {
        let card = self.by_id.get(&id);
        Some(ShownRow::Member {
            id: Uuid::from_u128(id),
            username: self.name(id)?.into_owned(),
            status: card.map_or(Status::Offline, |card| card.status),
            guest: card.is_some_and(|card| card.guest),
            simulated: simulated::index(id).is_some(),
            colour: self.roles.look(id).and_then(|look| look.colour.clone()),
        })
    }

    /// Forgets a member.
    pub(super) fn forget(&mut self, id: u128) {
        self.by_id.remove(&id);
        self.roles.set_roles_of(id, &[]);
    }

    /// Notes the user of a session.
    pub(super) fn note(&mut self, entry: &EntryBuf) {
        let id = entry.key_str().and_then(|key| key.parse::<Uuid>().ok());
        let Some(id) = id.map(|id| id.as_u128()) else {
            return;
        };
        let simulated = simulated::index(id).is_some();
        let profile = Profile::of(entry);
        let card = self.by_id.entry(id).or_insert_with(|| Card {
            name: (!simulated).then(|| profile.username.as_ref().into()),
            status: Status::Offline,
            guest: profile.guest,
            staff: profile.staff,
            last_seen: None,
            stays: simulated,
        });
        card.guest = profile.guest;
        card.staff = profile.staff;
    }
}
