//! The Discord-compatible encoder against an emulation of the published rules of that client's
//! member list store: one array of rows with holes, operations by absolute index, groups last.

use std::collections::BTreeSet;
use std::time::Duration;

use headcount::member_list::{Bundle, Discord, RowSource, Tick, WindowError};
use headcount::{Bodies, GroupId, ListOptions, MemberList, Row, SortKey, Viewer, WindowSpec};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::rng::Rng;
use crate::support::windows_world::{People, Person, STATUS};

/// The store of the client. Comments give the rule each line follows.
#[derive(Default)]
struct Store {
    rows: Vec<Option<Value>>,
}

impl Store {
    fn apply(&mut self, event: &[u8]) {
        let event: Value = serde_json::from_slice(event).expect("valid JSON");
        // Operations run in order, then groups are set.
        for op in event["ops"].as_array().expect("ops") {
            let index = op["index"].as_u64().unwrap_or(0) as usize;
            let first = at(&op["range"][0]);
            let last = at(&op["range"][1]);
            match op["op"].as_str().expect("op") {
                // SYNC sets rows; a tail beyond short items is not cleared.
                "SYNC" => {
                    for (i, item) in op["items"].as_array().expect("items").iter().enumerate() {
                        self.reach(first + i + 1);
                        self.rows[first + i] = Some(item.clone());
                    }
                }
                // INSERT is a splice: later rows move up by one.
                "INSERT" => {
                    self.reach(index);
                    self.rows.insert(index, Some(op["item"].clone()));
                }
                "UPDATE" => {
                    self.reach(index + 1);
                    self.rows[index] = Some(op["item"].clone());
                }
                // DELETE of a hole deletes nothing and shifts nothing.
                "DELETE" => {
                    if self.rows.get(index).is_some_and(Option::is_some) {
                        self.rows.remove(index);
                    }
                }
                // INVALIDATE clears an inclusive range up to the first hole.
                "INVALIDATE" => {
                    for row in first..=last {
                        match self.rows.get_mut(row) {
                            Some(row @ Some(_)) => *row = None,
                            _ => break,
                        }
                    }
                }
                other => panic!("op {other}"),
            }
        }
        self.set_groups(&event["groups"]);
    }

    /// Header rows get their counts; rows are cut or extended to the sum of (count + 1).
    fn set_groups(&mut self, groups: &Value) {
        let mut first = 0;
        for group in groups.as_array().expect("groups") {
            if let Some(Some(row)) = self.rows.get_mut(first)
                && row.get("group").is_some()
            {
                *row = json!({ "group": group });
            }
            first += at(&group["count"]) + 1;
        }
        self.rows.resize(first, None);
    }

    fn reach(&mut self, len: usize) {
        if self.rows.len() < len {
            self.rows.resize(len, None);
        }
    }
}

fn at(json: &Value) -> usize {
    json.as_u64().unwrap_or(0) as usize
}

struct World {
    list: MemberList<u64>,
    people: People,
    groups: Vec<GroupId>,
    rng: Rng,
    next_id: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut list = MemberList::new(ListOptions::default());
        let groups = list
            .set_groups(&["mods", "online", "offline"])
            .expect("good names");
        let people = People::default();
        let rng = Rng(seed);
        let mut world = Self {
            list,
            people,
            groups,
            rng,
            next_id: 1,
        };
        (0..world.rng.index(320)).for_each(|_| world.join());
        world
    }

    fn tick(&mut self, step: u64) -> Tick<u64> {
        let now = Duration::from_secs(step);
        self.list.tick(now, Bodies::from(&self.people))
    }

    fn join(&mut self) {
        let id = self.next_id;
        let name = format!("n{}", self.rng.index(400));
        self.next_id += 1;
        let group = self.groups[self.rng.index(self.groups.len())];
        self.list
            .upsert(id, group, &SortKey::from_name(&name), 0)
            .expect("known group");
        self.people.0.insert(id, Person { name, status: None });
    }

    fn random_member(&mut self) -> Option<u64> {
        let total = self.list.len();
        match self.list.row_at(self.rng.index(total.max(1)))? {
            Row::Member { id, .. } => Some(*id),
            Row::Header { .. } => None,
        }
    }

    fn change(&mut self) {
        let what = self.rng.index(30);
        let group = self.groups[self.rng.index(self.groups.len())];
        match (what, self.random_member()) {
            (0..8, _) | (_, None) => self.join(),
            (8..15, Some(id)) => drop(self.list.remove(&id)),
            (15..22, Some(id)) => drop(self.list.set_group(&id, group)),
            (22..27, Some(id)) => {
                let status = [None, Some("idle"), Some("dnd")][self.rng.index(3)];
                self.people.0.get_mut(&id).expect("known").status = status;
                self.list.touch_fields(&id, STATUS).expect("known");
            }
            (27, _) => (0..self.rng.index(250)).for_each(|_| self.join()),
            (28, _) => {
                let mass = self.rng.index(250);
                for _ in 0..mass {
                    if let Some(id) = self.random_member() {
                        self.list.remove(&id);
                    }
                }
            }
            _ => {
                let hidden = self.rng.one_in(2);
                self.list.set_group_hidden(group, hidden).expect("known");
            }
        }
    }

    fn item(&self, row: &Row<'_, u64>) -> Value {
        match row {
            Row::Header { name, count, .. } => json!({"group": {"id": name, "count": count}}),
            Row::Member { id, .. } => {
                let mut body = Vec::new();
                self.people
                    .write_body(id, headcount::member_list::Fields::ALL, &mut body);
                json!({"member": serde_json::from_slice::<Value>(&body).expect("JSON")})
            }
        }
    }
}

fn run(seed: u64) -> usize {
    let mut world = World::new(seed);
    let discord = Discord::new("41771983423143937", "everyone");
    let mut viewer = Viewer::discord();
    let mut store = Store::default();
    let mut chunks: BTreeSet<u32> = BTreeSet::new();
    let mut ops = 0;
    let mut show = |store: &mut Store, bundle: Option<Bundle<u64>>| {
        if let Some(bundle) = bundle {
            ops += bundle.frames.len();
            store.apply(&discord.event(&bundle));
        }
    };
    for step in 0..60 {
        (0..world.rng.index(10)).for_each(|_| world.change());
        let chunk = world.rng.index(4) as u32;
        match world.rng.index(8) {
            0 | 1 => {
                let spec = WindowSpec::Chunk(chunk);
                let bundle = viewer
                    .open(&mut world.list, spec, Bodies::from(&world.people))
                    .expect("open");
                show(&mut store, Some(bundle));
                chunks.insert(chunk);
            }
            2 if viewer.close(&WindowSpec::Chunk(chunk)).is_ok() => {
                store.apply(&discord.invalidate(&viewer, chunk));
                chunks.remove(&chunk);
            }
            3 => {
                viewer.set_hidden(true);
                let tick = world.tick(step);
                show(&mut store, viewer.bundle(&tick));
                viewer.set_hidden(false);
                let caught = viewer.catch_up(&mut world.list, Bodies::from(&world.people));
                show(&mut store, Some(caught));
            }
            _ => {}
        }
        (0..world.rng.index(4)).for_each(|_| world.change());
        let tick = world.tick(step);
        // Some ticks are left out: their changes come later, all chunks at once.
        if world.rng.one_in(4) {
            continue;
        }
        show(&mut store, viewer.bundle(&tick));
        if viewer.is_stale() {
            continue;
        }
        check(&world, &store, &chunks, step);
        if !chunks.is_empty() && tick.counts().is_some() {
            assert_eq!(store.rows.len(), world.list.len());
        }
    }
    for step in 60..62 {
        let tick = world.tick(step);
        show(&mut store, viewer.bundle(&tick));
    }
    assert!(!viewer.is_stale());
    check(&world, &store, &chunks, 62);
    ops
}

/// Checks that every row of every open chunk is the list's.
fn check(world: &World, store: &Store, chunks: &BTreeSet<u32>, step: u64) {
    for &chunk in chunks {
        let range = chunk as usize * 100..(chunk as usize * 100 + 100).min(world.list.len());
        for (row, index) in world.list.slice(range.clone()).zip(range) {
            let shown = store.rows.get(index).cloned().flatten();
            assert_eq!(shown, Some(world.item(&row)), "row {index} at step {step}");
        }
    }
}

proptest! {
    #[test]
    fn list_events_satisfy_the_rules_of_the_discord_client(seed: u64) {
        run(seed);
    }
}

#[test]
fn list_events_do_carry_changes() {
    let ops: usize = (0..10).map(run).sum();
    assert!(ops > 300, "{ops} frames");
}

#[test]
fn list_events_are_for_chunks_of_lists_with_headers() {
    let mut list = MemberList::<u64>::new(ListOptions::default());
    let mut viewer = Viewer::discord();
    let anchored = viewer.open(&mut list, WindowSpec::header("online", 5, 5), Bodies::None);
    assert_eq!(anchored.expect_err("no anchors"), WindowError::Unsupported);
    let mut list = MemberList::<u64>::new(ListOptions::default().headers(false));
    let chunk = viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None);
    assert_eq!(chunk.expect_err("no headers"), WindowError::Unsupported);
}
