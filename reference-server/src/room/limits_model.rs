//! The rows that member lists should show, as a naive filter and sort says.

use std::collections::{BTreeMap, BTreeSet};

use headcount::Status;
use uuid::Uuid;

use crate::db::ServerRole;

/// The owner of the server comes first. The keys of names have a long beginning in common, and two alphabets.
pub(super) const USERS: [&str; 10] = [
    "ada",
    "ada 2",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "bob",
    "жук",
    "жу",
    "zed",
    "zed0",
    "cyd",
];
pub(super) const ROOMS: usize = 4;
const FIXED_NAMES: [&str; 4] = ["staff", "online", "idle", "offline"];

/// A role, and the users that have it.
pub(super) struct Held {
    pub(super) role: ServerRole,
    pub(super) holders: BTreeSet<usize>,
}

/// The server as it should be.
#[derive(Default)]
pub(super) struct Model {
    /// The highest first.
    pub(super) roles: Vec<Held>,
    pub(super) limits: [Option<BTreeSet<Uuid>>; ROOMS],
    /// As their users have chosen them.
    pub(super) statuses: BTreeMap<usize, Status>,
}

impl Model {
    fn listed(&self, room: usize) -> Vec<usize> {
        let Some(limit) = &self.limits[room] else {
            // The viewers are there, and all are the owner.
            return vec![0];
        };
        let admits = |user: &usize| {
            let mut roles = self.roles.iter();
            *user == 0
                || roles.any(|held| limit.contains(&held.role.id) && held.holders.contains(user))
        };
        (0..USERS.len()).filter(admits).collect()
    }

    fn status(&self, user: usize) -> Status {
        match self.statuses.get(&user) {
            None | Some(Status::Invisible) => Status::Offline,
            Some(status) => *status,
        }
    }

    fn group_names(&self) -> Vec<(usize, String)> {
        let mut names: Vec<(usize, String)> = Vec::new();
        for (place, held) in self.roles.iter().enumerate() {
            if !held.role.hoisted {
                continue;
            }
            let cut = |bytes: usize| {
                let mut cut = held.role.name.clone();
                while cut.len() > bytes {
                    cut.pop();
                }
                cut
            };
            let mut name = cut(64);
            if FIXED_NAMES.contains(&name.as_str()) {
                name = name[..1].to_uppercase() + &name[1..];
            }
            if names.iter().any(|(_, taken)| *taken == name) {
                name = format!("{} {}", cut(31), held.role.id.simple());
            }
            names.push((place, name));
        }
        names
    }

    /// Returns the rows of a room that show names with this beginning.
    pub(super) fn rows(&self, room: usize, beginning: &str) -> Vec<String> {
        let hoisted = self.group_names();
        let group = |user: usize| {
            let role = hoisted
                .iter()
                .find(|(place, _)| self.roles[*place].holders.contains(&user));
            match (self.status(user), role) {
                (Status::Offline, _) => "offline".to_owned(),
                (_, Some((_, name))) => name.clone(),
                _ if !hoisted.is_empty() => "online".into(),
                _ if user == 0 => "staff".into(),
                (Status::Idle, _) => "idle".into(),
                _ => "online".into(),
            }
        };
        let mut order: Vec<String> = hoisted.iter().map(|(_, name)| name.clone()).collect();
        order.extend(FIXED_NAMES.map(str::to_owned));
        let mut listed = self.listed(room);
        listed.retain(|user| USERS[*user].starts_with(beginning));
        listed.sort_by_key(|user| USERS[*user]);
        let mut rows = Vec::new();
        for name in order {
            let members = listed.iter().filter(|user| group(**user) == name);
            let members: Vec<usize> = members.copied().collect();
            if !members.is_empty() {
                rows.push(format!("{name} ({})", members.len()));
            }
            rows.extend(members.into_iter().map(|user| self.row(user)));
        }
        rows
    }

    fn row(&self, user: usize) -> String {
        let mut held = self
            .roles
            .iter()
            .filter(|held| held.holders.contains(&user));
        let colour = held.find(|held| !held.role.colour.is_empty());
        let colour = colour.map_or("", |held| held.role.colour.as_str());
        format!("{} {} {colour}", USERS[user], self.status(user).as_str())
    }
}
