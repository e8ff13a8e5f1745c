//! A list, and the same list as plain vectors that are sorted at each question.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use headcount::member_list::{Body, Fields, FrameRow, Id, RowKey, RowSource, SharedBodies, Tick};
use headcount::{Bodies, GroupId, ListOptions, MemberList, SortKey, WindowSpec};
use serde_json::{Value, json};

use crate::support::list_keys::Keys;
use crate::support::rng::Rng;

pub(crate) const STATUS: Fields = Fields(1);
pub(crate) const NAME: Fields = Fields(2);

/// The bodies of members: a number that stands for the name, and a status.
pub(crate) struct Profiles<I>(BTreeMap<I, Profile>);

impl<I> Default for Profiles<I> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

struct Profile {
    name: u64,
    status: u64,
}

impl<I: Id> RowSource<I> for Profiles<I> {
    fn write_body(&self, id: &I, fields: Fields, out: &mut Vec<u8>) {
        let Profile { name, status } = &self.0[id];
        let mut body = json!({});
        if fields.intersects(NAME) {
            body["name"] = json!(format!("Ünïcode \"{name}\" 田中"));
        }
        if fields.intersects(STATUS) {
            body["status"] = json!(status);
        }
        out.extend_from_slice(body.to_string().as_bytes());
    }
}

impl<I: Id> Profiles<I> {
    pub(crate) fn enter(&mut self, id: I, name: u64) {
        self.0.insert(id, Profile { name, status: 0 });
    }

    pub(crate) fn rename(&mut self, id: &I, name: u64) {
        self.0.get_mut(id).expect("known").name = name;
    }

    pub(crate) fn change_status(&mut self, id: &I) {
        self.0.get_mut(id).expect("known").status += 1;
    }

    /// Returns the whole body of a member.
    pub(crate) fn body(&self, id: &I) -> Value {
        let mut body = Vec::new();
        self.write_body(id, Fields::ALL, &mut body);
        serde_json::from_slice(&body).expect("JSON")
    }
}

struct Group {
    id: GroupId,
    name: String,
    hidden: bool,
    collapsed: bool,
}

struct Member {
    group: GroupId,
    key: SortKey,
    attrs: u32,
}

/// A list, and what it should be.
pub(crate) struct NaiveWorld<I> {
    pub(crate) list: MemberList<I>,
    pub(crate) profiles: Profiles<I>,
    pub(crate) rng: Rng,
    pub(crate) now: Duration,
    /// The threads that make a tick together; none if `tick` makes it.
    pub(crate) threads: usize,
    groups: Vec<Group>,
    members: BTreeMap<I, Member>,
    id_of: fn(u64) -> I,
    keys: Keys,
    next: u64,
}

impl<I: Id> NaiveWorld<I> {
    pub(crate) fn new(seed: u64, groups: usize, keys: Keys, id_of: fn(u64) -> I) -> Self {
        let mut list = MemberList::new(ListOptions::default());
        let groups = (0..groups).map(|at| {
            let name = format!("grüppe:{at}");
            Group {
                id: list.add_group(&name).expect("a good name"),
                name,
                hidden: false,
                collapsed: false,
            }
        });
        let groups = groups.collect();
        Self {
            list,
            profiles: Profiles::default(),
            rng: Rng(seed),
            now: Duration::ZERO,
            threads: 0,
            groups,
            members: BTreeMap::new(),
            id_of,
            keys,
            next: 0,
        }
    }

    pub(crate) fn join(&mut self) {
        self.next += 1;
        self.enter((self.id_of)(self.next));
    }

    fn enter(&mut self, id: I) {
        let group = self.any_group();
        let number = self.rng.below(1 << 20);
        let key = self.keys.key(number);
        let attrs = self.rng.below(3) as u32;
        self.list
            .upsert(id.clone(), group, &key, attrs)
            .expect("room");
        self.profiles.enter(id.clone(), number);
        self.members.insert(id, Member { group, key, attrs });
    }

    fn any_group(&mut self) -> GroupId {
        // Few groups have most of the members.
        let groups = self.groups.len();
        let groups = if self.rng.one_in(4) {
            groups
        } else {
            groups.min(3)
        };
        self.groups[self.rng.index(groups)].id
    }

    fn any_member(&mut self) -> Option<I> {
        let at = self.rng.index(self.members.len().max(1));
        self.members.keys().nth(at).cloned()
    }

    /// Changes a member, or with `groups` the groups.
    pub(crate) fn change(&mut self, groups: bool) {
        let Some(id) = self.any_member() else {
            return self.join();
        };
        match self.rng.index(30) {
            0..4 => self.join(),
            4..8 => {
                self.list.remove(&id);
                self.members.remove(&id);
                self.profiles.0.remove(&id);
                if self.rng.one_in(3) {
                    self.enter(id);
                }
            }
            8..13 => {
                let group = self.any_group();
                self.list.set_group(&id, group).expect("known");
                self.members.get_mut(&id).expect("known").group = group;
            }
            13..17 => {
                let number = self.rng.below(1 << 20);
                let key = self.keys.key(number);
                self.list.set_key(&id, &key).expect("known");
                self.members.get_mut(&id).expect("known").key = key;
                self.profiles.rename(&id, number);
                self.list.touch_fields(&id, NAME).expect("known");
            }
            17..25 => {
                self.profiles.change_status(&id);
                self.list.touch_fields(&id, STATUS).expect("known");
            }
            25..29 => {
                let attrs = self.rng.below(4) as u32;
                self.list.set_attrs(&id, attrs).expect("known");
                self.members.get_mut(&id).expect("known").attrs = attrs;
            }
            _ if groups => self.change_group(),
            _ => {}
        }
    }

    fn change_group(&mut self) {
        let at = self.rng.index(self.groups.len());
        let to = self.rng.index(self.groups.len());
        let on = self.rng.one_in(3);
        let group = &mut self.groups[at];
        match self.rng.index(4) {
            0 => {
                self.list.set_group_hidden(group.id, on).expect("known");
                group.hidden = on;
            }
            1 => {
                self.list.set_group_collapsed(group.id, on).expect("known");
                group.collapsed = on;
            }
            2 => {
                self.list.move_group(group.id, to).expect("known");
                let group = self.groups.remove(at);
                self.groups.insert(to, group);
            }
            _ => {
                group.name = format!("renamed {}", self.rng.below(1 << 40));
                self.list
                    .rename_group(group.id, &group.name)
                    .expect("a new name");
            }
        }
    }

    pub(crate) fn tick(&mut self) -> Tick<I> {
        self.now += Duration::from_millis([250, 1_000][self.rng.index(2)]);
        if self.threads == 0 {
            return self.list.tick(self.now, Bodies::from(&self.profiles));
        }
        let bodies = SharedBodies::from(&self.profiles);
        let work = self.list.begin_tick(self.now, bodies);
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| while work.step(1) {});
            }
        });
        work.finish()
    }

    /// Returns the keys of all rows that the list should show.
    fn row_keys(&self) -> Vec<RowKey<I>> {
        let mut rows = Vec::new();
        for group in self.groups.iter().filter(|group| !group.hidden) {
            let members = self.members.iter();
            let mut members: Vec<_> = members
                .filter(|(_, member)| member.group == group.id)
                .map(|(id, member)| (member.key.as_bytes().to_vec(), id))
                .collect();
            members.sort();
            if members.is_empty() {
                continue;
            }
            rows.push(RowKey::Header(group.name.as_str().into()));
            if !group.collapsed {
                rows.extend(
                    members
                        .into_iter()
                        .map(|(_, id)| RowKey::Member(id.clone())),
                );
            }
        }
        rows
    }

    /// Returns the rows that a window should show.
    pub(crate) fn expected(&self, name: &str) -> Vec<Value> {
        let rows = self.row_keys();
        let (start, end) = match WindowSpec::<I>::parse(name).expect("a canonical name") {
            WindowSpec::Chunk(k) => (k as usize * 100, k as usize * 100 + 100),
            WindowSpec::Anchored {
                anchor,
                before,
                after,
                ..
            } => match rows.iter().position(|row| *row == anchor) {
                Some(at) => (at.saturating_sub(before.into()), at + after as usize + 1),
                None => {
                    assert!(rows.is_empty(), "{name}: an anchor that is no row");
                    (0, 0)
                }
            },
            WindowSpec::Search(_) => panic!("no searches here"),
        };
        let shown = rows.iter().take(end).skip(start);
        shown.map(|key| self.row(key)).collect()
    }

    fn row(&self, key: &RowKey<I>) -> Value {
        match key {
            RowKey::Header(name) => {
                let group = self.groups.iter().find(|group| *group.name == **name);
                let group = group.expect("known").id;
                let members = self.members.values();
                let count = members.filter(|member| member.group == group).count();
                json!({"group": &**name, "count": count})
            }
            RowKey::Member(id) => {
                let body = self.profiles.body(id);
                json!({"id": id.to_text(), "attrs": self.members[id].attrs, "body": body})
            }
        }
    }

    pub(crate) fn any_spec(&mut self) -> WindowSpec<I> {
        let rows = self.row_keys();
        let (before, after) = [(0, 0), (2, 7), (40, 40)][self.rng.index(3)];
        let at = self.rng.index(rows.len().max(1));
        match (self.rng.index(5), rows.get(at)) {
            (0 | 1, Some(RowKey::Member(id))) => WindowSpec::anchored(id.clone(), before, after),
            (2, Some(RowKey::Member(id))) => WindowSpec::following(id.clone(), before, after),
            (3, Some(RowKey::Header(name))) => WindowSpec::header(name, before, after),
            _ => WindowSpec::Chunk(self.rng.below(3) as u32),
        }
    }
}

/// Returns rows as [`NaiveWorld::expected`] has them.
pub(crate) fn shown<I: Id>(rows: &[FrameRow<I>]) -> Vec<Value> {
    let row = |row: &FrameRow<I>| match row {
        FrameRow::Header { group, count } => json!({"group": &**group, "count": count}),
        FrameRow::Member {
            id, attrs, body, ..
        } => {
            let Some(Body::Json(body)) = body else {
                panic!("bodies are JSON")
            };
            let body: Value = serde_json::from_slice(body).expect("JSON");
            json!({"id": id.to_text(), "attrs": attrs, "body": body})
        }
    };
    rows.iter().map(row).collect()
}
