//! Windows of several lists of one table: clients hold the rows of their list through writes, specs
//! that change, switches, and lost, doubled and late bundles.

use std::sync::Arc;
use std::time::Duration;

use headcount::member_list::client::{BundleReport, Client, Request};
use headcount::member_list::{
    Attrs, Bundle, BundleFormat, Clause, FrameChange, FrameRow, ListId, ListSpec, ListView,
    MemberTable, Row, RowKey, TableOptions, TableTick, WindowError,
};
use headcount::{Bodies, SortKey, Viewer, WindowSpec};
use proptest::prelude::*;

use crate::support::list_keys::Keys;
use crate::support::table_plan::Plain;
use crate::support::table_world::TableWorld;

type World = TableWorld<u64>;

/// A viewer of one list, its client, and the line between them.
struct Connection {
    viewer: Viewer<u64>,
    client: Client<u64>,
    list: Option<ListId>,
    /// Bundles under way, with the times of their arrival and the requests that they answer.
    line: Vec<(u64, Bundle<u64>, Option<Request>)>,
    /// One in this many bundles is lost, doubled or late; 0 is never.
    faults: usize,
    clock: u64,
}

impl Connection {
    fn new(faults: usize) -> Self {
        Self {
            viewer: Viewer::new(),
            client: Client::new(|_, patch| patch.to_vec()),
            list: None,
            line: Vec::new(),
            faults,
            clock: 0,
        }
    }

    fn send(&mut self, world: &mut World, bundle: &Bundle<u64>, request: Option<Request>) {
        let bytes = bundle.to_binary_in(BundleFormat::Two);
        let read = Bundle::from_binary(&bytes).expect("what was written");
        assert_eq!(read, *bundle);
        if self.faults > 0 && world.rng.one_in(self.faults) {
            return;
        }
        for _ in 0..=usize::from(self.faults > 0 && world.rng.one_in(self.faults)) {
            let late = match self.faults > 0 && world.rng.one_in(3) {
                true => 1 + world.rng.below(4),
                false => 0,
            };
            self.line.push((self.clock + late, read.clone(), request));
        }
    }

    fn receive(&mut self, world: &mut World) {
        self.clock += 1;
        while let Some(at) = self.line.iter().position(|(due, ..)| *due < self.clock) {
            let (_, bundle, request) = self.line.remove(at);
            let report = match request {
                Some(request) => self.client.answer(request, &bundle),
                None => self.client.apply(&bundle),
            };
            self.ask(world, &report);
        }
    }

    fn ask(&mut self, world: &mut World, report: &BundleReport) {
        if !report.resync.is_empty() && !self.resync(world, &report.resync) {
            // One of them is not open.
            for name in &report.resync {
                if !self.resync(world, std::slice::from_ref(name)) {
                    self.client.close(name);
                }
            }
        }
        if report.resync_counts {
            self.answer(world, |viewer, table, list| {
                viewer.resync(&mut table.live(list).expect("built"), &[], Bodies::None)
            });
        }
    }

    /// Asks for windows by one request. Returns whether all of them are open.
    fn resync(&mut self, world: &mut World, names: &[Arc<str>]) -> bool {
        let specs: Vec<_> = names
            .iter()
            .map(|name| WindowSpec::parse(name).expect("a canonical name"))
            .collect();
        self.answer(world, |viewer, table, list| {
            let live = &mut table.live(list).expect("built");
            viewer.resync(live, &specs, Bodies::None)
        })
    }

    fn answer(
        &mut self,
        world: &mut World,
        ask: impl FnOnce(
            &mut Viewer<u64>,
            &mut MemberTable<u64>,
            ListId,
        ) -> Result<Bundle<u64>, WindowError>,
    ) -> bool {
        let Some(list) = self.list else { return false };
        let request = self.client.request();
        match ask(&mut self.viewer, &mut world.table, list) {
            Ok(bundle) => {
                self.send(world, &bundle, Some(request));
                true
            }
            Err(_) => false,
        }
    }

    /// Opens, closes or retargets a window, or switches to another list.
    fn act(&mut self, world: &mut World) {
        let readable = world.readable();
        if self.list.is_none_or(|list| !readable.contains(&list)) || world.rng.one_in(8) {
            return self.switch(world, &readable);
        }
        let Some(list) = self.list else { return };
        let spec = random_spec(world, list);
        let name = spec.to_string();
        let open: Vec<WindowSpec<u64>> = self.viewer.windows().cloned().collect();
        let own = (!open.is_empty()).then(|| open[world.rng.index(open.len())].clone());
        match own {
            Some(own) if world.rng.one_in(3) && self.client.window(&own.to_string()).is_some() => {
                self.client.close(&own.to_string());
                self.viewer.close(&own).expect("open");
            }
            _ if open.len() < 4 && self.client.window(&name).is_none() && !open.contains(&spec) => {
                let opened = self.answer(world, |viewer, table, list| {
                    let live = &mut table.live(list).expect("built");
                    viewer.open(live, spec, Bodies::None)
                });
                if opened {
                    let _ = self.client.open(&name);
                }
            }
            _ => {}
        }
    }

    fn switch(&mut self, world: &mut World, readable: &[ListId]) {
        if readable.is_empty() {
            self.list = None;
            self.viewer = Viewer::new();
            let _ = self.client.switch([]);
            return;
        }
        let list = readable[world.rng.index(readable.len())];
        let specs = [random_spec(world, list), WindowSpec::Chunk(0)];
        self.switch_to(world, list, &specs);
    }

    fn switch_to(&mut self, world: &mut World, list: ListId, specs: &[WindowSpec<u64>]) {
        let mut live = world.table.live(list).expect("built");
        let answer = self.viewer.switch(&mut live, specs, Bodies::None);
        let bundle = answer.expect("windows of this list");
        self.list = Some(list);
        let names: Vec<_> = specs.iter().map(ToString::to_string).collect();
        let request = self.client.switch(names.iter().map(String::as_str));
        self.send(world, &bundle, Some(request));
    }

    /// Repeats a switch whose answer was lost.
    fn repeat_switch(&mut self, world: &mut World) {
        if let Some(list) = self.list.filter(|_| self.client.is_entering()) {
            self.switch_to(world, list, &[WindowSpec::Chunk(0)]);
        }
    }

    /// Checks that the client shows exactly what the list shows.
    fn check(&self, world: &World) {
        let Some(list) = self.list else { return };
        let Ok(list) = world.table.list(list) else {
            return;
        };
        let mut names: Vec<_> = self.viewer.windows().map(ToString::to_string).collect();
        names.sort();
        let windows: Vec<_> = self
            .client
            .windows()
            .map(|(name, _)| name.to_string())
            .collect();
        assert_eq!(windows, names);
        for (name, window) in self.client.windows() {
            assert!(!window.is_waiting(), "{name}");
            assert_eq!(shown(window.rows()), expected(list, name), "{name}");
        }
    }
}

fn shown(rows: &[FrameRow<u64>]) -> Vec<Plain<u64>> {
    let plain = |row: &FrameRow<u64>| match row {
        FrameRow::Header { group, count } => Plain::Header(group.to_string(), *count as usize),
        FrameRow::Member {
            id,
            revision,
            attrs,
            ..
        } => Plain::Member(*id, *revision, *attrs),
    };
    rows.iter().map(plain).collect()
}

/// Returns the rows that a window of this name shows now, read from the list.
fn expected(list: ListView<'_, u64>, name: &str) -> Vec<Plain<u64>> {
    let range = match WindowSpec::<u64>::parse(name).expect("a canonical name") {
        WindowSpec::Search(_) => panic!("no search in this test"),
        WindowSpec::Chunk(k) => k as usize * 100..k as usize * 100 + 100,
        WindowSpec::Anchored {
            anchor: RowKey::Member(id),
            before,
            after,
            ..
        } => match list.index_of(&id) {
            Some(at) => at.saturating_sub(before.into())..at + usize::from(after) + 1,
            None => {
                assert!(list.is_empty(), "{name}: an anchor that is no row");
                0..0
            }
        },
        WindowSpec::Anchored {
            anchor: RowKey::Header(group),
            before,
            after,
            ..
        } => {
            let is_anchor = |row: Row<'_, u64>| match row {
                Row::Header { name, .. } => *name == *group,
                Row::Member { .. } => false,
            };
            match list.iter().position(is_anchor) {
                Some(at) => at.saturating_sub(before.into())..at + usize::from(after) + 1,
                None => {
                    assert!(list.is_empty(), "{name}: an anchor that is no row");
                    0..0
                }
            }
        }
    };
    list.slice(range).map(|row| Plain::of(&row)).collect()
}

fn random_spec(world: &mut World, list: ListId) -> WindowSpec<u64> {
    let id = world.id();
    let shown = world
        .table
        .list(list)
        .expect("built")
        .index_of(&id)
        .is_some();
    match world.rng.index(3) {
        0 if shown => WindowSpec::anchored(id, 4, 9),
        1 if shown => WindowSpec::following(id, 5, 5),
        _ => WindowSpec::Chunk(world.rng.index(3) as u32),
    }
}

fn tick(world: &mut World, now: &mut Duration) -> TableTick<u64> {
    *now += Duration::from_millis([250, 1_000][world.rng.index(2)]);
    world.table.tick(*now, Bodies::None)
}

fn keys_of(seed: u64) -> Keys {
    Keys::ALL[seed as usize % Keys::ALL.len()]
}

pub(crate) fn clients_hold_their_list(seed: u64, faults: usize) {
    clients_hold_a_list_of(World::new(seed, keys_of(seed), 400), faults);
}

fn clients_hold_a_list_of(mut world: World, faults: usize) {
    (0..4).for_each(|_| world.add_list());
    (0..300).for_each(|_| world.upsert());
    world.build_all();
    let mut connections: Vec<_> = (0..5).map(|_| Connection::new(faults)).collect();
    let mut now = Duration::ZERO;
    for _ in 0..60 {
        for connection in &mut connections {
            connection.act(&mut world);
            connection.receive(&mut world);
        }
        (0..world.rng.index(12)).for_each(|_| world.change());
        for connection in &mut connections {
            // The list may have gone.
            let readable = world.readable();
            if connection
                .list
                .is_some_and(|list| !readable.contains(&list))
            {
                connection.switch(&mut world, &readable);
            }
        }
        let tick = tick(&mut world, &mut now);
        for connection in &mut connections {
            if let Some(bundle) = tick.bundle(&mut connection.viewer) {
                connection.send(&mut world, &bundle, None);
            }
            connection.receive(&mut world);
            if faults == 0 {
                // A list that got another name is entered by an answer.
                connection.receive(&mut world);
                connection.check(&world);
            }
        }
    }
    for connection in &mut connections {
        connection.faults = 0;
        (0..6).for_each(|_| connection.receive(&mut world));
        connection.repeat_switch(&mut world);
        connection.receive(&mut world);
        let names: Vec<_> = connection
            .client
            .windows()
            .map(|(name, _)| name.clone())
            .collect();
        for name in &names {
            if !connection.resync(&mut world, std::slice::from_ref(name)) {
                connection.client.close(name);
            }
        }
        (0..3).for_each(|_| connection.receive(&mut world));
        connection.check(&world);
    }
    let tick = world.table.tick(now + Duration::from_secs(2), Bodies::None);
    // Viewers without windows get no counts.
    let watches = |connection: &&mut Connection| connection.viewer.windows().len() > 0;
    for connection in connections.iter_mut().filter(watches) {
        let Some(list) = connection.list.filter(|_| faults == 0) else {
            continue;
        };
        if let Some(bundle) = tick.bundle(&mut connection.viewer) {
            let _ = connection.client.apply(&bundle);
        }
        let members = world.table.list(list).expect("built").member_count();
        let counts = connection.client.counts().expect("an answer has them");
        assert_eq!(counts.members, members as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn clients_hold_their_list_on_perfect_lines(seed: u64) {
        clients_hold_their_list(seed, 0);
    }

    #[test]
    fn clients_hold_their_list_through_loss(seed: u64) {
        clients_hold_their_list(seed, 4);
    }

    #[test]
    fn clients_hold_their_list_through_batches_and_bulk_loads(seed: u64) {
        clients_hold_a_list_of(World::whole(seed, keys_of(seed), 400), 0);
    }
}

/// Two lists: everyone, and the staff alone.
fn staff() -> (MemberTable<u64>, [ListId; 2]) {
    let mut table = MemberTable::new(TableOptions::default()).expect("good options");
    let staff = Attrs::of([40]).expect("a bit");
    for id in 0..20 {
        let attrs = if id % 2 == 0 { staff } else { Attrs::EMPTY };
        let key = [SortKey::from_u64(id)];
        table.upsert(id, &key, attrs, None).expect("room");
    }
    let everyone = ListSpec::new("everyone", "all");
    let office = ListSpec::new("office", "all").admit([Clause::new().all(staff)]);
    let lists = [everyone, office].map(|spec| table.add_list(spec).expect("a good spec"));
    table.build(usize::MAX);
    (table, lists)
}

#[test]
fn viewers_cannot_tell_members_of_other_lists_from_none() {
    let (mut table, [_, office]) = staff();
    let group = table
        .list(office)
        .expect("built")
        .group("all")
        .expect("its only group");
    for hidden in [false, true] {
        let mut viewer = Viewer::new();
        table
            .set_group_hidden(office, group, hidden)
            .expect("known");
        let ask = |viewer: &mut Viewer<u64>, table: &mut MemberTable<u64>, id| {
            let spec = WindowSpec::anchored(id, 2, 2);
            viewer.open(&mut table.live(office).expect("built"), spec, Bodies::None)
        };
        let unknown = ask(&mut viewer, &mut table, 999).expect_err("no such member");
        assert_eq!(ask(&mut viewer, &mut table, 1), Err(unknown.clone()));
        assert_eq!(
            ask(&mut viewer, &mut table, 2).err(),
            hidden.then_some(unknown)
        );
    }
}

#[test]
fn ticks_of_the_old_list_bring_nothing_after_a_switch() {
    let (mut table, [everyone, office]) = staff();
    let mut viewers = [Viewer::new(), Viewer::new()];
    for viewer in &mut viewers {
        let mut live = table.live(office).expect("built");
        viewer
            .open(&mut live, WindowSpec::Chunk(0), Bodies::None)
            .expect("a chunk");
    }
    let [stays, goes] = &mut viewers;
    let mut live = table.live(everyone).expect("built");
    let chunk = [WindowSpec::Chunk(0)];
    let answer = goes
        .switch(&mut live, &chunk, Bodies::None)
        .expect("a chunk");
    assert_eq!((&*answer.list, answer.frames.len()), ("everyone", 1));
    let staff = Attrs::of([40]).expect("a bit");
    table
        .upsert(99, &[SortKey::from_u64(99)], staff, None)
        .expect("room");
    let tick = table.tick(Duration::from_secs(1), Bodies::None);
    // The old list is of a later epoch.
    let old = tick.list(office).expect("watched");
    assert!(stays.bundle(old).is_some() && goes.bundle(old).is_none());
    let bundle = tick.bundle(goes).expect("a member more");
    assert_eq!((&*bundle.list, bundle.frames.len()), ("everyone", 1));
}

#[test]
fn a_search_of_a_list_that_is_shown_from_the_end_is_so_too() {
    let mut table = MemberTable::new(TableOptions::default()).expect("good options");
    for id in 0..120 {
        let key = [SortKey::from_name(&format!("name {id:03}"))];
        table.upsert(id, &key, Attrs::EMPTY, None).expect("room");
    }
    let list = ListSpec::new("list", "all").descending(true);
    let list = table.add_list(list).expect("a good spec");
    table.build(usize::MAX);
    let prefix = SortKey::from_name("name 0");
    let matches = table.list(list).expect("built").search_prefix(&prefix);
    assert_eq!(
        (matches.count(), matches.nth(0), matches.nth(99)),
        (100, Some(21), Some(120))
    );
    let mut viewer = Viewer::new();
    let mut live = table.live(list).expect("built");
    let pages = [0, 1].map(|page| {
        let spec = WindowSpec::search_in("all", &prefix, page);
        let opened = viewer.open(&mut live, spec, Bodies::None).expect("a page");
        let FrameChange::Sync(rows) = &opened.frames[0].change else {
            panic!("an answer is a SYNC")
        };
        let ids = shown(rows).into_iter().map(|row| match row {
            Plain::Member(id, ..) => id,
            Plain::Header(..) => panic!("one group, no header"),
        });
        let ids: Vec<u64> = ids.collect();
        assert_eq!(ids.len(), 50);
        ids
    });
    let all: Vec<u64> = (0..100).rev().collect();
    assert_eq!(pages.concat(), all);
}

#[test]
fn hidden_roles_cause_no_frames() {
    let (mut table, [everyone, office]) = staff();
    let mut viewer = Viewer::new();
    let mut live = table.live(everyone).expect("built");
    viewer
        .open(&mut live, WindowSpec::Chunk(0), Bodies::None)
        .expect("a chunk");
    let _ = table.tick(Duration::from_secs(1), Bodies::None);
    let staff = Attrs::of([40]).expect("a bit");
    table
        .set_attrs(&1, &Attrs::EMPTY, &staff, None)
        .expect("known");
    table
        .set_attrs_many(&[3, 5], &Attrs::EMPTY, &staff)
        .expect("known");
    assert_eq!(table.get(&1).expect("known").revision, 0);
    assert_eq!(table.list(office).expect("built").member_count(), 13);
    let tick = table.tick(Duration::from_secs(2), Bodies::None);
    assert!(tick.is_empty() && tick.list(office).is_none());
}

#[test]
fn a_revoked_list_shows_nothing_until_it_is_built() {
    let (mut table, [everyone, _]) = staff();
    let mut viewer = Viewer::new();
    let mut client = Client::new(|_, patch| patch.to_vec());
    let _ = client.open("c:0");
    let mut live = table.live(everyone).expect("built");
    let _ = client.apply(
        &viewer
            .open(&mut live, WindowSpec::Chunk(0), Bodies::None)
            .expect("a chunk"),
    );
    assert_eq!(client.window("c:0").expect("open").rows().len(), 21);
    let spec = ListSpec::new("everyone", "all").never([4]);
    table.revoke(everyone, spec).expect("a good spec");
    let show = |client: &mut Client<u64>, viewer: &mut Viewer<u64>, tick: &TableTick<u64>| {
        if let Some(bundle) = tick.bundle(viewer) {
            let _ = client.apply(&bundle);
        }
        client.window("c:0").expect("open").rows().len()
    };
    for (second, left) in [15, 10, 5, 0].into_iter().enumerate() {
        let tick = table.tick(Duration::from_secs(second as u64), Bodies::None);
        assert_eq!(show(&mut client, &mut viewer, &tick), 0);
        assert_eq!(table.build(5), left);
    }
    let tick = table.tick(Duration::from_secs(9), Bodies::None);
    assert_eq!(show(&mut client, &mut viewer, &tick), 20);
}

/// In one tick a list got another name, and a window of a client the name of another one.
#[test]
fn clients_enter_a_list_whose_windows_were_renamed() {
    clients_hold_their_list(7_769_083_938_909_446_198, 0);
}
