//! A list under random changes: members join, leave, move, change, and groups are rearranged.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use headcount::member_list::client::Client;
use headcount::member_list::{
    Body, CountsTable, Fields, FrameRow, NewMember, RowKey, RowSource, Tick,
};
use headcount::{Bodies, GroupId, ListOptions, MemberList, Row, SortKey, Viewer, WindowSpec};
use serde_json::{Value, json};

use crate::support::rng::Rng;

pub(crate) const NAME: Fields = Fields(1);
pub(crate) const STATUS: Fields = Fields(2);
pub(crate) type Spec = WindowSpec<u64>;

/// The application's data on members, from which the list asks for bodies.
#[derive(Default)]
pub(crate) struct People(pub(crate) HashMap<u64, Person>);

impl People {
    /// Adds a member whose name is made of the id.
    pub(crate) fn enter(&mut self, id: u64) {
        let name = format!("n{id}");
        let status = None;
        self.0.insert(id, Person { name, status });
    }
}

#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) status: Option<&'static str>,
}

impl RowSource<u64> for People {
    fn write_body(&self, id: &u64, fields: Fields, out: &mut Vec<u8>) {
        let person = &self.0[id];
        let mut body = json!({});
        if fields.intersects(NAME) {
            body["name"] = json!(person.name);
        }
        if fields.intersects(STATUS) && (person.status.is_some() || fields != Fields::ALL) {
            body["status"] = json!(person.status);
        }
        out.extend_from_slice(body.to_string().as_bytes());
    }
}

pub(crate) struct World {
    pub(crate) list: MemberList<u64>,
    pub(crate) people: People,
    pub(crate) groups: Vec<GroupId>,
    pub(crate) rng: Rng,
    pub(crate) next_id: u64,
    pub(crate) now: Duration,
    /// Checksum by window and version: the same for all viewers, always.
    pub(crate) published: HashMap<(Arc<str>, u64), u32>,
}

impl World {
    pub(crate) fn new(seed: u64, members: usize) -> Self {
        let mut rng = Rng(seed);
        let options = ListOptions::default();
        let mut list = MemberList::new(if rng.one_in(4) {
            options.headers(false)
        } else {
            options
        });
        list.begin_epoch("room:1", 1).expect("a higher epoch");
        let groups = list
            .set_groups(&["mods", "online", "away", "offline"])
            .expect("good names");
        let mut world = Self {
            list,
            people: People::default(),
            groups,
            rng,
            next_id: 1,
            now: Duration::ZERO,
            published: HashMap::new(),
        };
        (0..members).for_each(|_| world.join());
        world
    }

    pub(crate) fn group(&mut self) -> GroupId {
        self.groups[self.rng.index(self.groups.len())]
    }

    pub(crate) fn name(&mut self) -> String {
        format!(
            "{}{}",
            ["ada", "Bob", "čeněk", "dora", "eve"][self.rng.index(5)],
            self.rng.index(90)
        )
    }

    pub(crate) fn random_member(&mut self) -> Option<u64> {
        let total = self.list.len();
        if total == 0 {
            return None;
        }
        match self.list.row_at(self.rng.index(total)) {
            Some(Row::Member { id, .. }) => Some(*id),
            _ => None,
        }
    }

    pub(crate) fn join(&mut self) {
        let id = self.next_id;
        self.next_id += 1;
        self.enter(id);
    }

    pub(crate) fn enter(&mut self, id: u64) {
        let name = self.name();
        let group = self.group();
        let attrs = self.rng.index(3) as u32;
        self.list
            .upsert(id, group, &SortKey::from_name(&name), attrs)
            .expect("group exists");
        self.people.0.insert(id, Person { name, status: None });
    }

    pub(crate) fn change(&mut self) {
        let what = self.rng.index(40);
        let Some(id) = self.random_member() else {
            return self.join();
        };
        let group = self.group();
        match what {
            0..6 => self.join(),
            6..11 => {
                self.list.remove(&id);
                if self.rng.one_in(3) {
                    self.enter(id);
                } else {
                    self.people.0.remove(&id);
                }
            }
            11..19 => drop(self.list.set_group(&id, group)),
            19..24 => {
                let name = self.name();
                self.list
                    .set_key(&id, &SortKey::from_name(&name))
                    .expect("known");
                self.people.0.get_mut(&id).expect("known").name = name;
                self.list.touch_fields(&id, NAME).expect("known");
            }
            24..32 => {
                let status = [None, Some("idle"), Some("dnd")][self.rng.index(3)];
                self.people.0.get_mut(&id).expect("known").status = status;
                let fields = if self.rng.one_in(4) {
                    Fields::ALL
                } else {
                    STATUS
                };
                self.list.touch_fields(&id, fields).expect("known");
            }
            32..36 => drop(self.list.set_attrs(&id, self.rng.index(4) as u32)),
            36 => {
                let hidden = self.rng.one_in(3);
                self.list.set_group_hidden(group, hidden).expect("known");
            }
            37 => {
                let collapsed = self.rng.one_in(3);
                self.list
                    .set_group_collapsed(group, collapsed)
                    .expect("known");
            }
            38 => self
                .list
                .move_group(group, self.rng.index(4))
                .expect("known"),
            _ => self.bulk(group),
        }
    }

    pub(crate) fn bulk(&mut self, group: GroupId) {
        match self.rng.index(4) {
            0 => {
                let into = self.group();
                self.list.merge_group(group, into).expect("known");
            }
            1 => {
                let name = format!("group {}", self.rng.index(1_000_000));
                self.list.rename_group(group, &name).expect("a new name");
            }
            _ => {
                let mut load = Vec::new();
                for _ in 0..self.rng.index(30) {
                    let id = self.next_id;
                    let name = self.name();
                    self.next_id += 1;
                    let key = SortKey::from_name(&name);
                    load.push(NewMember {
                        id,
                        group,
                        key,
                        attrs: 0,
                    });
                    self.people.0.insert(id, Person { name, status: None });
                }
                self.list.bulk_load(load).expect("known group");
            }
        }
    }

    pub(crate) fn tick(&mut self) -> Tick<u64> {
        self.now += Duration::from_millis([250, 1_000][self.rng.index(2)]);
        let tick = self.list.tick(self.now, Bodies::from(&self.people));
        for frame in tick.frames() {
            let name = frame.renamed.as_ref().unwrap_or(&frame.window);
            self.note(name, frame.new_version, frame.checksum32);
        }
        tick
    }

    pub(crate) fn note(&mut self, name: &Arc<str>, version: u64, checksum32: u32) {
        let known = self
            .published
            .entry((name.clone(), version))
            .or_insert(checksum32);
        assert_eq!(*known, checksum32, "{name} at {version}");
    }

    pub(crate) fn random_spec(&mut self) -> Spec {
        let around = [(0, 0), (1, 1), (5, 9), (30, 30)][self.rng.index(4)];
        match (self.rng.index(4), self.random_member()) {
            (0 | 1, Some(id)) => WindowSpec::anchored(id, around.0, around.1),
            (2, Some(id)) => WindowSpec::following(id, around.0, around.1),
            (2, None) => WindowSpec::header("online", around.0, around.1),
            _ => WindowSpec::Chunk(self.rng.index(4) as u32),
        }
    }

    /// Returns the rows that a window of this name shows now, read from the list.
    pub(crate) fn expected(&self, name: &str) -> (u64, Vec<Value>) {
        let spec = Spec::parse(name).expect("a canonical name");
        let total = self.list.len();
        let range = match &spec {
            WindowSpec::Search(_) => panic!("no search in this world"),
            WindowSpec::Chunk(k) => (*k as usize * 100)..(*k as usize * 100 + 100),
            WindowSpec::Anchored {
                anchor,
                before,
                after,
                ..
            } => {
                let at = self.list.iter().position(|row| match (row, anchor) {
                    (Row::Member { id, .. }, RowKey::Member(a)) => id == a,
                    (Row::Header { name, .. }, RowKey::Header(a)) => *name == **a,
                    _ => false,
                });
                match at {
                    Some(at) => at.saturating_sub(*before as usize)..at + *after as usize + 1,
                    None => {
                        assert_eq!(total, 0, "{name}: an anchor that is no row");
                        0..0
                    }
                }
            }
        };
        let rows = self
            .list
            .slice(range.start.min(total)..range.end.min(total));
        let rows = rows.map(|row| match row {
            Row::Header { name, count, .. } => json!({"group": name, "count": count}),
            Row::Member {
                id,
                revision,
                attrs,
                ..
            } => {
                let mut body = Vec::new();
                self.people.write_body(id, Fields::ALL, &mut body);
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                json!({"id": id.to_string(), "revision": revision, "attrs": attrs, "body": body})
            }
        });
        (range.start as u64, rows.collect())
    }

    /// Checks that the client of a viewer shows exactly what the list shows; with `places`, also at
    /// the right indexes and with the right counts.
    pub(crate) fn check(&self, viewer: &Viewer<u64>, client: &Client<u64>, places: bool) {
        let mut names: Vec<_> = viewer.windows().map(ToString::to_string).collect();
        names.sort();
        let windows: Vec<_> = client.windows().map(|(name, _)| name.to_string()).collect();
        assert_eq!(windows, names);
        for (name, window) in client.windows() {
            let (base_index, rows) = self.expected(name);
            assert!(!window.is_waiting(), "{name}");
            let got = shown(window.rows());
            let at = got.iter().zip(&rows).position(|(a, b)| a != b);
            assert_eq!(at.map(|at| (&got[at], &rows[at])), None, "{name}");
            assert_eq!(got.len(), rows.len(), "{name}");
            if places && !rows.is_empty() {
                assert_eq!(window.base_index(), base_index, "{name}");
            }
        }
        if let Some(counts) = client.counts().filter(|_| places) {
            assert_eq!(counts.rows, self.list.len() as u64);
            assert_eq!(counts.members, self.list.member_count() as u64);
            let CountsTable::Full(groups) = &counts.table else {
                panic!("a client keeps full tables")
            };
            let groups = groups.iter().map(|group| {
                let flags = (group.hidden, group.collapsed);
                (group.group.to_string(), group.count as usize, flags)
            });
            let listed = self.list.groups().map(|group| {
                let flags = (group.hidden, group.collapsed);
                (group.name.to_owned(), group.count, flags)
            });
            assert!(groups.eq(listed), "the group table");
        }
    }
}

fn shown(rows: &[FrameRow<u64>]) -> Vec<Value> {
    let row = |row: &FrameRow<u64>| match row {
        FrameRow::Header { group, count } => json!({"group": &**group, "count": count}),
        FrameRow::Member {
            id,
            revision,
            attrs,
            body,
        } => {
            let Some(Body::Json(body)) = body else {
                panic!("bodies are JSON")
            };
            let body: Value = serde_json::from_slice(body).expect("JSON");
            json!({"id": id.to_string(), "revision": revision, "attrs": attrs, "body": body})
        }
    };
    rows.iter().map(row).collect()
}
