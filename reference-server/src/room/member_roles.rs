//! `MemberRoles`: the roles of a server, the members of a room that have them, and what their rows show of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use uuid::Uuid;

use crate::db::ServerRole;

/// The roles that count in one room.
#[derive(Debug, Default)]
pub(super) struct MemberRoles {
    /// The highest first.
    roles: Vec<Role>,
    /// The place of each role in them.
    places: HashMap<Uuid, usize>,
    /// The members with a role, by user id.
    holders: BTreeMap<u128, Holder>,
}

/// A role, as far as member lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) id: Uuid,
    pub(super) name: String,
    colour: Option<Arc<str>>,
    is_hoisted: bool,
}

#[derive(Debug)]
struct Holder {
    roles: Box<[Uuid]>,
    look: Look,
}

/// Holds what the row of a member shows of its roles.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// The highest role that is hoisted.
    pub(super) hoisted: Option<Uuid>,
    /// The colour of the highest role that has one.
    pub(super) colour: Option<Arc<str>>,
}

/// The difference that new roles make to the row of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LookChange {
    pub(super) id: u128,
    pub(super) moves: bool,
    pub(super) recolours: bool,
}

impl From<&ServerRole> for Role {
    fn from(role: &ServerRole) -> Self {
        Self {
            id: role.id,
            name: role.name.clone(),
            colour: (!role.colour.is_empty()).then(|| role.colour.as_str().into()),
            is_hoisted: role.hoisted,
        }
    }
}

impl MemberRoles {
    /// Takes `roles`, the highest first, for those of the server. Returns the rows that change.
    pub(super) fn set_roles(&mut self, roles: &[ServerRole]) -> Vec<LookChange> {
        let roles: Vec<Role> = roles.iter().map(Role::from).collect();
        if roles == self.roles {
            return Vec::new();
        }
        self.roles = roles;
        let places = self.roles.iter().enumerate();
        self.places = places.map(|(place, role)| (role.id, place)).collect();
        let mut changes = Vec::new();
        for (id, holder) in &mut self.holders {
            let now = Look::of(&holder.roles, &self.roles, &self.places);
            changes.extend(LookChange::between(*id, &holder.look, &now));
            holder.look = now;
        }
        changes
    }

    /// Takes `roles` for those that a member has. Returns the change of its row, if there is one.
    pub(super) fn set_roles_of(&mut self, id: u128, roles: &[Uuid]) -> Option<LookChange> {
        let look = Look::of(roles, &self.roles, &self.places);
        let before = match roles {
            [] => self.holders.remove(&id),
            _ => {
                let roles = roles.into();
                let look = look.clone();
                self.holders.insert(id, Holder { roles, look })
            }
        };
        let before = before.map(|holder| holder.look).unwrap_or_default();
        LookChange::between(id, &before, &look)
    }

    /// Returns what the row of a member shows of its roles.
    pub(super) fn look(&self, id: u128) -> Option<&Look> {
        self.holders.get(&id).map(|holder| &holder.look)
    }

    /// Returns the members that have a role. O(members with any role).
    pub(super) fn holders_of(&self, role: Uuid) -> Vec<u128> {
        let holders = self.holders.iter();
        let holders = holders.filter(|(_, holder)| holder.roles.contains(&role));
        holders.map(|(id, _)| *id).collect()
    }

    /// Returns the hoisted roles, the highest first.
    pub(super) fn hoisted(&self) -> impl Iterator<Item = &Role> {
        self.roles.iter().filter(|role| role.is_hoisted)
    }
}

impl Look {
    /// Looks through `held`, roles by id in any order. Those that are none of `roles` count for nothing.
    fn of(held: &[Uuid], roles: &[Role], places: &HashMap<Uuid, usize>) -> Self {
        let mut held: Vec<usize> = held
            .iter()
            .filter_map(|id| places.get(id).copied())
            .collect();
        held.sort_unstable();
        let mut held = held.into_iter().map(|place| &roles[place]);
        let hoisted = held.clone().find(|role| role.is_hoisted);
        Self {
            hoisted: hoisted.map(|role| role.id),
            colour: held.find_map(|role| role.colour.clone()),
        }
    }
}

impl LookChange {
    fn between(id: u128, before: &Look, now: &Look) -> Option<Self> {
        (before != now).then(|| Self {
            id,
            moves: before.hoisted != now.hoisted,
            recolours: before.colour != now.colour,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(n: u128, colour: &str, hoisted: bool) -> ServerRole {
        ServerRole {
            id: Uuid::from_u128(n),
            server_id: Uuid::nil(),
            name: format!("role {n}"),
            colour: colour.into(),
            hoisted,
            position: 0,
            inserted_at: 0,
        }
    }

    #[test]
    fn the_highest_role_with_a_colour_and_the_highest_hoisted_one_are_shown() {
        let [one, two, three] = [1, 2, 3].map(Uuid::from_u128);
        let mut roles = MemberRoles::default();
        roles.set_roles(&[
            role(1, "", true),
            role(2, "#00ff00", false),
            role(3, "#0000ff", true),
        ]);
        let moved = LookChange {
            id: 7,
            moves: true,
            recolours: true,
        };
        assert_eq!(roles.set_roles_of(7, &[three, two]), Some(moved));
        let look = |roles: &MemberRoles| roles.look(7).cloned().unwrap();
        assert_eq!(look(&roles).hoisted, Some(three));
        assert_eq!(look(&roles).colour.as_deref(), Some("#00ff00"));
        let higher = roles.set_roles_of(7, &[one, two, three]);
        assert_eq!(
            higher.map(|change| (change.moves, change.recolours)),
            Some((true, false))
        );
        assert_eq!(look(&roles).hoisted, Some(one));
        // The second one is deleted, the others are in another order.
        let changes = roles.set_roles(&[role(3, "#0000ff", true), role(1, "", true)]);
        assert_eq!(changes, [moved]);
        assert_eq!(look(&roles).hoisted, Some(three));
        assert_eq!(look(&roles).colour.as_deref(), Some("#0000ff"));
        assert!(roles.set_roles_of(7, &[]).is_some());
        assert_eq!(roles.look(7), None);
        assert_eq!(roles.set_roles_of(7, &[two]), None);
    }
}
