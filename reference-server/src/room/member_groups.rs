//! `MemberGroups`: the groups of a member list. Members that are online are in the group of their highest hoisted role,
//! others in one by status.

use std::collections::{HashMap, HashSet};

use headcount::member_list::GROUP_NAME_MAX;
use headcount::{GroupId, ListError, MemberList, Status};
use uuid::Uuid;

use super::member_roles::Role;

/// The groups of a room without hoisted roles, in the order of the list. With them, all members that are online and
/// have none are in `online`.
pub(super) const FIXED: [&str; 4] = ["staff", "online", "idle", "offline"];

/// The groups of one list, by what they are for.
#[derive(Debug, Clone)]
pub(super) struct MemberGroups {
    staff: GroupId,
    online: GroupId,
    idle: GroupId,
    pub(super) offline: GroupId,
    /// Those of the hoisted roles, the highest first.
    hoisted: Vec<Hoisted>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hoisted {
    role: Uuid,
    name: String,
    group: GroupId,
}

impl MemberGroups {
    /// Adds the groups of a room without hoisted roles to a new list.
    pub(super) fn new(list: &mut MemberList<u128>) -> Self {
        let groups = list
            .set_groups(&FIXED)
            .expect("four short names are four groups");
        let &[staff, online, idle, offline] = &groups[..] else {
            unreachable!("as many groups come back as went in");
        };
        Self {
            staff,
            online,
            idle,
            offline,
            hoisted: Vec::new(),
        }
    }

    /// Returns the group of a member that is online.
    pub(super) fn of(&self, hoisted: Option<Uuid>, is_staff: bool, status: Status) -> GroupId {
        let of_role = |role| self.hoisted.iter().find(|of| of.role == role);
        match hoisted.and_then(of_role) {
            Some(of) => of.group,
            None if self.has_hoisted() => self.online,
            None if is_staff => self.staff,
            None if status == Status::Idle => self.idle,
            None => self.online,
        }
    }

    /// Returns whether there is a group of a hoisted role, with members or not.
    pub(super) fn has_hoisted(&self) -> bool {
        !self.hoisted.is_empty()
    }

    /// Makes the groups of these roles, the highest first, before all others. Returns the groups of roles that are
    /// hoisted no more: remove them once their members are elsewhere.
    pub(super) fn hoist<'a>(
        &mut self,
        list: &mut MemberList<u128>,
        roles: impl Iterator<Item = &'a Role>,
    ) -> Result<Vec<GroupId>, ListError> {
        let named = name_all(roles);
        let known = self.hoisted.iter().map(|of| (of.role, of.name.as_str()));
        if known.eq(named.iter().map(|(role, name)| (*role, name.as_str()))) {
            return Ok(Vec::new());
        }
        let mut before: HashMap<Uuid, Hoisted> = HashMap::new();
        for of in std::mem::take(&mut self.hoisted) {
            // Names move between roles: each is free before it is given.
            if !named.contains(&(of.role, of.name.clone())) {
                list.rename_group(of.group, &of.role.to_string())?;
            }
            before.insert(of.role, of);
        }
        for (role, name) in named {
            let group = match before.remove(&role) {
                Some(of) => {
                    list.rename_group(of.group, &name)?;
                    of.group
                }
                None => list.add_group(&name)?,
            };
            self.hoisted.push(Hoisted { role, name, group });
        }
        let unused: Vec<GroupId> = before.into_values().map(|of| of.group).collect();
        let hoisted = self.hoisted.iter().map(|of| of.group);
        let fixed = [self.staff, self.online, self.idle, self.offline];
        let order: Vec<GroupId> = hoisted.chain(fixed).chain(unused.iter().copied()).collect();
        list.reorder_groups(&order)?;
        Ok(unused)
    }
}

/// Names the groups of roles as the roles, cut to what a group may be called, and each in another way: a role called
/// as a fixed group begins with a capital letter, which no other role of the server can.
pub(super) fn name_all<'a>(roles: impl Iterator<Item = &'a Role>) -> Vec<(Uuid, String)> {
    let mut taken = HashSet::new();
    let name = |role: &Role| {
        let mut name = cut(&role.name, GROUP_NAME_MAX).to_owned();
        if FIXED.contains(&name.as_str()) {
            name[..1].make_ascii_uppercase();
        }
        if taken.contains(&name) {
            let id = role.id.simple().to_string();
            name = format!("{} {id}", cut(&role.name, GROUP_NAME_MAX - 1 - id.len()));
        }
        taken.insert(name.clone());
        (role.id, name)
    };
    roles.map(name).collect()
}

/// Returns the beginning of a text, of at most `bytes_max` bytes.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use headcount::ListOptions;

    use super::*;
    use crate::db::ServerRole;

    fn role(n: u128, name: &str) -> Role {
        Role::from(&ServerRole {
            id: Uuid::from_u128(n),
            server_id: Uuid::nil(),
            name: name.into(),
            colour: String::new(),
            hoisted: true,
            position: 0,
            inserted_at: 0,
        })
    }

    fn names(list: &MemberList<u128>) -> Vec<String> {
        list.groups().map(|group| group.name.to_owned()).collect()
    }

    #[test]
    fn groups_follow_the_roles_and_keep_their_members() {
        let mut list = MemberList::new(ListOptions::default());
        let mut groups = MemberGroups::new(&mut list);
        let mut hoist = |list: &mut MemberList<u128>, roles: &[Role]| {
            let unused = groups.hoist(list, roles.iter()).unwrap();
            let first = groups.of(Some(Uuid::from_u128(1)), false, Status::Online);
            (first, unused)
        };
        let (first, unused) = hoist(&mut list, &[role(1, "a"), role(2, "b")]);
        assert_eq!(unused, []);
        assert_eq!(
            names(&list),
            ["a", "b", "staff", "online", "idle", "offline"]
        );
        // Two roles exchange their names and places.
        let swapped = [role(2, "a"), role(1, "b")];
        assert_eq!(hoist(&mut list, &swapped), (first, vec![]));
        assert_eq!(names(&list)[..2], ["a", "b"]);
        assert_eq!(list.group("b").unwrap(), first);
        let (_, unused) = hoist(&mut list, &[role(3, "b")]);
        assert_eq!(unused.len(), 2);
        unused
            .iter()
            .for_each(|group| list.remove_group(*group).unwrap());
        assert_eq!(names(&list)[..2], ["b", "staff"]);
    }

    #[test]
    fn every_role_gives_a_group_a_name_of_its_own() {
        let long = "é".repeat(40);
        let roles = [
            role(1, "idle"),
            role(2, &long),
            role(3, &format!("{long}!")),
        ];
        let named = name_all(roles.iter());
        assert_eq!(named[0].1, "Idle");
        assert_eq!(named[1].1, "é".repeat(32));
        assert_eq!(named[2].1.len(), 64 - 1);
        assert!(named[2].1.starts_with("éé"));
        let mut list = MemberList::new(ListOptions::default());
        let mut groups = MemberGroups::new(&mut list);
        assert_eq!(groups.hoist(&mut list, roles.iter()), Ok(vec![]));
    }
}
