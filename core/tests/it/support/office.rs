//! A table whose lists get other specs, and plain vectors that are sorted at each question.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headcount::member_list::{
    Attrs, Bundle, FrameChange, FrameRow, InsertSource, ListId, MemberTable, RowKey, TableOptions,
    TableTick,
};
use headcount::{Bodies, SortKey, WindowSpec};
use serde_json::{Value, json};

use crate::support::list_keys::{FromNumber, Keys};
use crate::support::naive_world::{NAME, Profiles, STATUS};
use crate::support::rng::Rng;
use crate::support::table_plan::{COLUMNS, Plan, SHOWN, attrs};

/// Members that there may be.
const IDS: u64 = 260;

/// A row, and what a client shows of it.
pub(crate) type Row<I> = (RowKey<I>, Value);

struct Member {
    keys: Vec<SortKey>,
    attrs: Attrs,
}

/// A list as it should be.
pub(crate) struct Room<I> {
    pub(crate) id: ListId,
    plan: Plan<I>,
    next: Option<Plan<I>>,
    is_revoked: bool,
    /// Counts the specs that the list had, and the times when it had none.
    era: u64,
    /// The eras by the numbers of their epochs.
    epochs: BTreeMap<u64, u64>,
}

/// A table with two lists, and what it should be.
pub(crate) struct Office<I> {
    pub(crate) table: MemberTable<I>,
    members: BTreeMap<I, Member>,
    pub(crate) profiles: Profiles<I>,
    pub(crate) rooms: Vec<Room<I>>,
    pub(crate) rng: Rng,
    keys: Keys,
    now: Duration,
    names: u64,
}

impl<I: FromNumber> Office<I> {
    pub(crate) fn new(seed: u64) -> Self {
        let options = TableOptions::default().key_columns(COLUMNS).shown(SHOWN);
        let mut office = Self {
            table: MemberTable::new(options).expect("good options"),
            members: BTreeMap::new(),
            profiles: Profiles::default(),
            rooms: Vec::new(),
            rng: Rng(seed),
            keys: Keys::ALL[seed as usize % Keys::ALL.len()],
            now: Duration::ZERO,
            names: 0,
        };
        (0..200).for_each(|_| office.upsert());
        for _ in 0..2 {
            let plan = office.plan(None);
            let room = Room {
                id: office.table.add_list(plan.spec()).expect("a good spec"),
                plan,
                next: None,
                is_revoked: false,
                era: 0,
                epochs: BTreeMap::new(),
            };
            office.rooms.push(room);
        }
        office.table.build(usize::MAX);
        office
    }

    /// Makes a spec of this name, or of a new one.
    fn plan(&mut self, name: Option<String>) -> Plan<I> {
        self.names += 1;
        let name = name.unwrap_or_else(|| format!("lïst {}", self.names));
        Plan::random(&mut self.rng, name, 5, COLUMNS)
    }

    fn id(&mut self) -> I {
        I::from_number(self.rng.below(IDS))
    }

    fn mask(&mut self) -> Attrs {
        attrs(self.rng.below(128) & self.rng.below(128))
    }

    fn upsert(&mut self) {
        let id = self.id();
        let numbers: Vec<u64> = (0..COLUMNS).map(|_| self.rng.below(300)).collect();
        let keys: Vec<_> = numbers
            .iter()
            .map(|number| self.keys.key(*number))
            .collect();
        let attrs = self.mask();
        self.table
            .upsert(id.clone(), &keys, attrs, None)
            .expect("room");
        if !self.members.contains_key(&id) {
            self.profiles.enter(id.clone(), numbers[0]);
        }
        self.members.insert(id, Member { keys, attrs });
    }

    pub(crate) fn change(&mut self) {
        let id = self.id();
        let clear = self.mask();
        let set = self.mask();
        let number = self.rng.below(300);
        let what = self.rng.index(24);
        if what < 6 {
            return self.upsert();
        }
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        match what {
            6..9 => {
                assert!(self.table.remove(&id, None));
                self.members.remove(&id);
            }
            9..13 => {
                let key = self.keys.key(number);
                self.table.set_key(&id, 1, &key, None).expect("known");
                member.keys[1] = key;
                self.profiles.rename(&id, number);
                self.table.touch_fields(&id, NAME).expect("known");
            }
            13..16 => {
                self.table
                    .set_attrs(&id, &clear, &set, None)
                    .expect("known");
                member.attrs = member.attrs.with(&clear, &set);
            }
            _ => {
                self.profiles.change_status(&id);
                self.table.touch_fields(&id, STATUS).expect("known");
            }
        }
    }

    /// Gives a list another spec, at once or when it is built, or goes on building.
    pub(crate) fn respec(&mut self, at: usize, revokes: bool) {
        let keeps_name = !self.rng.one_in(4);
        let name = self.rooms[at].plan.name.clone();
        let plan = self.plan(keeps_name.then_some(name));
        let room = &mut self.rooms[at];
        if revokes {
            self.table
                .revoke(room.id, plan.spec())
                .expect("a good spec");
            (room.is_revoked, room.next) = (true, Some(plan));
            room.era += 1;
        } else if room.next.is_none() {
            self.table
                .set_spec(room.id, plan.spec())
                .expect("a good spec");
            room.next = Some(plan);
        }
    }

    pub(crate) fn build(&mut self, members: usize) {
        self.table.build(members);
        for room in &mut self.rooms {
            if self.table.is_built(room.id) == Ok(true)
                && let Some(plan) = room.next.take()
            {
                (room.plan, room.is_revoked) = (plan, false);
                room.era += 1;
            }
        }
    }

    pub(crate) fn tick(&mut self) -> TableTick<I> {
        self.now += Duration::from_millis([250, 1_000][self.rng.index(2)]);
        self.table.tick(self.now, Bodies::from(&self.profiles))
    }

    /// Returns the members of a list, by group.
    pub(crate) fn admitted(&self, at: usize) -> Vec<(String, Vec<&I>)> {
        let Room {
            plan, is_revoked, ..
        } = &self.rooms[at];
        let group = |name: String| {
            let members = self.members.iter().filter(|(id, member)| {
                let is_admitted = plan.admits(id, &member.attrs) && !is_revoked;
                is_admitted && plan.group_of(&member.attrs) == name
            });
            let keyed = members.map(|(id, member)| (member.keys[plan.column].as_bytes(), id));
            let mut keyed: Vec<_> = keyed.collect();
            keyed.sort();
            if plan.descending {
                keyed.reverse();
            }
            (name, keyed.into_iter().map(|(_, id)| id).collect())
        };
        plan.group_names().into_iter().map(group).collect()
    }

    /// Returns all rows of a list.
    pub(crate) fn rows(&self, at: usize) -> Vec<Row<I>> {
        let mut rows = Vec::new();
        for (name, members) in self.admitted(at) {
            if self.rooms[at].plan.headers && !members.is_empty() {
                let header = json!({"group": name, "count": members.len()});
                rows.push((RowKey::Header(name.as_str().into()), header));
            }
            rows.extend(members.into_iter().map(|id| {
                let attrs = self.members[id].attrs.low() & SHOWN;
                let body = self.profiles.body(id);
                let row = json!({"id": id.to_text(), "attrs": attrs, "body": body});
                (RowKey::Member(id.clone()), row)
            }));
        }
        rows
    }

    /// Returns those that a window of this name should show.
    pub(crate) fn expected(rows: &[Row<I>], name: &str) -> Vec<Value> {
        let (start, end) = match WindowSpec::<I>::parse(name).expect("a canonical name") {
            WindowSpec::Chunk(k) => (k as usize * 100, k as usize * 100 + 100),
            WindowSpec::Anchored {
                anchor,
                before,
                after,
                ..
            } => match rows.iter().position(|(key, _)| *key == anchor) {
                Some(at) => (at.saturating_sub(before.into()), at + after as usize + 1),
                None => {
                    assert!(rows.is_empty(), "{name}: an anchor that is no row");
                    (0, 0)
                }
            },
            WindowSpec::Search(_) => panic!("no searches here"),
        };
        let rows = rows.iter().take(end).skip(start);
        rows.map(|(_, row)| row.clone()).collect()
    }

    pub(crate) fn any_spec(&mut self, at: usize) -> WindowSpec<I> {
        let rows = self.rows(at);
        let (before, after) = [(0, 0), (2, 7), (40, 40)][self.rng.index(3)];
        let row = self.rng.index(rows.len().max(1));
        match (self.rng.index(4), rows.get(row)) {
            (0 | 1, Some((RowKey::Member(id), _))) => {
                WindowSpec::anchored(id.clone(), before, after)
            }
            (2, Some((RowKey::Member(id), _))) => WindowSpec::following(id.clone(), before, after),
            (0..3, Some((RowKey::Header(name), _))) => WindowSpec::header(name, before, after),
            _ => WindowSpec::Chunk(self.rng.below(2) as u32),
        }
    }

    /// Checks a bundle of a list that was made just now: it is of the epoch of its spec, and says
    /// nothing of members that the spec does not admit.
    pub(crate) fn check_bundle(&mut self, at: usize, bundle: &Bundle<I>) {
        let groups = self.admitted(at);
        let names: BTreeSet<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
        let members: BTreeSet<&I> = groups.iter().flat_map(|(_, ids)| ids).copied().collect();
        let check = |row: &FrameRow<I>| match row {
            FrameRow::Header { group, .. } => assert!(names.contains(&**group), "{group}"),
            FrameRow::Member { id, .. } => assert!(members.contains(id), "{id:?} is not admitted"),
        };
        for frame in &bundle.frames {
            match &frame.change {
                FrameChange::Sync(rows) => rows.iter().for_each(check),
                FrameChange::Delta { inserts, .. } => {
                    for insert in inserts {
                        match &insert.source {
                            InsertSource::Row(row) => check(row),
                            InsertSource::Move { id, .. } => assert!(members.contains(id)),
                        }
                    }
                }
            }
        }
        let room = &mut self.rooms[at];
        assert_eq!(*bundle.list, *room.plan.name);
        let number = bundle.epoch.number;
        let era = *room.epochs.entry(number).or_insert(room.era);
        assert_eq!(era, room.era, "epoch {number} is of another spec");
        let newest = room.epochs.last_key_value();
        assert_eq!(newest, Some((&number, &era)), "epochs grow");
    }
}
