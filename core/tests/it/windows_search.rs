//! Windows of searches: pages of the members whose keys begin with a text.

use std::sync::Arc;
use std::time::Duration;

use headcount::member_list::client::{Client, merge_json};
use headcount::member_list::{Bundle, BundleFormat, CountsTable, WindowError};
use headcount::{Bodies, GroupId, ListOptions, MemberList, Row, SortKey, Viewer, WindowSpec};
use proptest::prelude::*;

use crate::support::rng::Rng;

/// The time after which a viewer is told again which windows it has.
const REMINDER: Duration = Duration::from_secs(30);

type Plain = (Option<u64>, String, u32);

/// A list under random changes, viewers of searches of it, and their clients.
struct World {
    list: MemberList<u64>,
    names: std::collections::BTreeMap<u64, String>,
    rng: Rng,
    now: Duration,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let options = ListOptions::default().headers(!rng.one_in(4));
        let mut list = MemberList::new(options);
        list.set_groups(&["mods", "online", "away"])
            .expect("good names");
        let mut world = Self {
            list,
            names: std::collections::BTreeMap::new(),
            rng,
            now: Duration::ZERO,
        };
        (0..150).for_each(|_| world.upsert());
        world
    }

    fn group(&mut self) -> GroupId {
        let groups: Vec<_> = self.list.groups().map(|group| group.id).collect();
        groups[self.rng.index(groups.len())]
    }

    fn upsert(&mut self) {
        let id = self.rng.below(300);
        let first = ["m", "mo", "Mö", "n", "", "moritz "][self.rng.index(6)];
        let name = format!("{first}{}", self.rng.index(40));
        let group = self.group();
        let key = SortKey::from_name(&name);
        self.list.upsert(id, group, &key, 0).expect("room");
        self.names.insert(id, name);
    }

    fn change(&mut self) {
        let id = self.rng.below(300);
        let group = self.group();
        let on = self.rng.one_in(3);
        match self.rng.index(16) {
            0..7 => self.upsert(),
            7..9 => {
                self.list.remove(&id);
                self.names.remove(&id);
            }
            9 | 10 => drop(self.list.touch(&id)),
            11 => drop(self.list.set_group(&id, group)),
            12 => self.list.set_group_hidden(group, on).expect("known"),
            13 => self.list.set_group_collapsed(group, on).expect("known"),
            14 => {
                let name = format!("group {}", self.rng.index(1_000_000));
                self.list.rename_group(group, &name).expect("a new name");
            }
            _ => self
                .list
                .move_group(group, self.rng.index(3))
                .expect("known"),
        }
    }

    /// Returns all rows of a search, and its matches, by looking at every member.
    fn expected(&self, prefix: &str, group: Option<&str>) -> (Vec<Plain>, u64) {
        let prefix = SortKey::from_name(prefix);
        let mut rows = Vec::new();
        let mut matches = 0;
        for info in self.list.groups().filter(|info| !info.hidden) {
            if group.is_some_and(|group| group != info.name) {
                continue;
            }
            let members = self.names.iter().filter_map(|(id, name)| {
                let member = self.list.get(id).expect("known");
                let key = SortKey::from_name(name);
                let is_found = key.as_bytes().starts_with(prefix.as_bytes());
                (is_found && member.group == info.id).then_some((key, *id, member.revision))
            });
            let mut members: Vec<_> = members.collect();
            members.sort();
            matches += members.len() as u64;
            if !members.is_empty() && group.is_none() && self.list.options().has_headers() {
                rows.push((None, info.name.to_owned(), members.len() as u32));
            }
            let members = members.into_iter();
            rows.extend(members.map(|(_, id, revision)| (Some(id), String::new(), revision)));
        }
        (rows, matches)
    }

    fn check(&self, client: &Client<u64>, prefix: &str) {
        for (name, window) in client.windows() {
            let WindowSpec::<u64>::Search(search) = WindowSpec::parse(name).expect("canonical")
            else {
                continue;
            };
            let (rows, matches) = self.expected(prefix, search.group.as_deref());
            let from = search.page as usize * 50;
            let page = &rows[from.min(rows.len())..(from + 50).min(rows.len())];
            assert_eq!(shown(window.rows()), page, "{name}");
            assert_eq!(window.base_index(), from as u64);
            assert_eq!(window.matches(), Some(matches), "{name}");
        }
    }

    /// Compares the search of the list itself.
    fn check_matches(&self, prefix: &str) {
        let matches = self.list.search_prefix(&SortKey::from_name(prefix));
        let (_, count) = self.expected(prefix, None);
        assert_eq!(matches.count() as u64, count);
        let is_match = |(_, row): &(usize, Row<'_, u64>)| match row {
            Row::Member { id, .. } => {
                let key = SortKey::from_name(&self.names[id]);
                key.as_bytes()
                    .starts_with(SortKey::from_name(prefix).as_bytes())
            }
            Row::Header { .. } => false,
        };
        let rows = self.list.iter().enumerate().filter(is_match);
        let rows: Vec<usize> = rows.map(|(at, _)| at).collect();
        for n in 0..=rows.len() {
            assert_eq!(matches.nth(n), rows.get(n).copied());
        }
        for row in 0..self.list.len() {
            let next = rows.iter().find(|found| **found > row);
            assert_eq!(matches.next(row), next.copied());
            let previous = rows.iter().rfind(|found| **found < row);
            assert_eq!(matches.previous(row), previous.copied());
        }
    }
}

fn shown(rows: &[headcount::member_list::FrameRow<u64>]) -> Vec<Plain> {
    use headcount::member_list::FrameRow;
    let plain = |row: &FrameRow<u64>| match row {
        FrameRow::Header { group, count } => (None, group.to_string(), *count),
        FrameRow::Member { id, revision, .. } => (Some(*id), String::new(), *revision),
    };
    rows.iter().map(plain).collect()
}

/// Sends a bundle through bytes or JSON.
fn sent(bundle: &Bundle<u64>, rng: &mut Rng) -> Bundle<u64> {
    let read = match rng.one_in(2) {
        true => {
            Bundle::from_binary(&bundle.to_binary_in(BundleFormat::Two)).expect("what was written")
        }
        false => {
            Bundle::from_json(&bundle.to_json_in(BundleFormat::Two)).expect("what was written")
        }
    };
    assert_eq!(read, *bundle);
    read
}

/// A viewer of two searches, and its client behind a line.
struct Line {
    viewer: Viewer<u64>,
    client: Client<u64>,
    /// True if bundles get lost, come twice, and late.
    is_bad: bool,
    late: Vec<Bundle<u64>>,
}

impl Line {
    fn open(world: &mut World, key: &SortKey, is_bad: bool) -> Self {
        let mut viewer = Viewer::new();
        let mut client = Client::new(merge_json);
        let page = world.rng.index(2) as u32;
        let group = ["mods", "online", "away"][world.rng.index(3)];
        for spec in [
            WindowSpec::search(key, page),
            WindowSpec::search_in(group, key, 0),
        ] {
            let _ = client.open(&spec.to_string());
            let opened = viewer.open(&mut world.list, spec, Bodies::None);
            let _ = client.apply(&sent(&opened.expect("room"), &mut world.rng));
        }
        Self {
            viewer,
            client,
            is_bad,
            late: Vec::new(),
        }
    }

    /// Lets time pass, and the client have what was published. A client that has all of it asks for
    /// nothing.
    fn tick(&mut self, world: &mut World, time: Duration) {
        world.now += time;
        let tick = world.list.tick(world.now, Bodies::None);
        let Some(bundle) = self.viewer.bundle(&tick) else {
            return;
        };
        let report = self.client.apply(&sent(&bundle, &mut world.rng));
        if !self.is_bad {
            assert!(report.resync.is_empty(), "{:?}", report.resync);
        }
        self.ask(world, &report.resync);
    }

    /// As [`tick`](Self::tick), over a bad line.
    fn tick_badly(&mut self, world: &mut World, time: Duration) {
        world.now += time;
        let tick = world.list.tick(world.now, Bodies::None);
        self.late.extend(self.viewer.bundle(&tick));
        while !self.late.is_empty() && !world.rng.one_in(4) {
            let at = world.rng.index(self.late.len());
            let bundle = match world.rng.index(8) {
                0 => self.late[at].clone(),
                _ => self.late.swap_remove(at),
            };
            if world.rng.one_in(8) {
                continue;
            }
            let report = self.client.apply(&sent(&bundle, &mut world.rng));
            self.ask(world, &report.resync);
        }
    }

    fn ask(&mut self, world: &mut World, names: &[Arc<str>]) {
        if names.is_empty() || self.resync(world, names) {
            return;
        }
        for name in names {
            if !self.resync(world, std::slice::from_ref(name)) {
                self.client.close(name);
            }
        }
    }

    fn resync(&mut self, world: &mut World, names: &[Arc<str>]) -> bool {
        let specs = names.iter().map(|name| WindowSpec::parse(name));
        let specs: Vec<_> = specs.map(|spec| spec.expect("canonical")).collect();
        let answer = self.viewer.resync(&mut world.list, &specs, Bodies::None);
        let Ok(answer) = answer else {
            return false;
        };
        let report = self.client.apply(&sent(&answer, &mut world.rng));
        self.ask(world, &report.resync);
        true
    }

    /// Brings the client up to date: a second after the last change all is published. What was lost is
    /// noticed at the latest by the reminders.
    fn settle(&mut self, world: &mut World) {
        if self.is_bad {
            self.late.clear();
            (0..3).for_each(|_| self.tick(world, 2 * REMINDER));
        } else {
            self.tick(world, Duration::from_secs(1));
        }
    }
}

pub(crate) fn clients_hold_what_is_found(seed: u64) {
    let mut world = World::new(seed);
    let prefix = ["m", "mo", "MOR", "", "mö1", "zz"][world.rng.index(6)];
    let is_bad = world.rng.one_in(2);
    let mut line = Line::open(&mut world, &SortKey::from_name(prefix), is_bad);
    world.check(&line.client, prefix);
    for step in 0..60 {
        (0..world.rng.index(6)).for_each(|_| world.change());
        world.check_matches(prefix);
        let time = Duration::from_millis([250, 1_000][world.rng.index(2)]);
        if is_bad {
            line.tick_badly(&mut world, time);
        } else {
            line.tick(&mut world, time);
        }
        if step % 7 == 6 {
            line.settle(&mut world);
            assert_eq!(line.client.windows().count(), 2);
            world.check(&line.client, prefix);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn clients_of_searches_hold_what_is_found(seed: u64) {
        clients_hold_what_is_found(seed);
    }
}

/// Members "name 0" to "name 99" in one group.
fn hundred() -> (MemberList<u64>, GroupId) {
    let mut list = MemberList::new(ListOptions::default());
    let group = list.add_group("online").expect("a good name");
    for id in 0..100 {
        let key = SortKey::from_name(&format!("name {id}"));
        list.upsert(id, group, &key, 0).expect("room");
    }
    (list, group)
}

#[test]
pub(crate) fn a_search_is_published_at_most_once_a_second() {
    let (mut list, group) = hundred();
    let mut viewer = Viewer::new();
    let spec = WindowSpec::search(&SortKey::from_name("name 1"), 0);
    viewer.open(&mut list, spec, Bodies::None).expect("room");
    let mut published = Vec::new();
    for step in 0..16 {
        let key = SortKey::from_name(&format!("name 1 {step}"));
        list.upsert(1_000 + step, group, &key, 0).expect("room");
        let tick = list.tick(Duration::from_millis(250 * step), Bodies::None);
        published.extend((tick.frames().count() > 0).then_some(step));
    }
    assert_eq!(published, [0, 4, 8, 12]);
    // What came too early is published later, without another change.
    let tick = list.tick(Duration::from_millis(250 * 16), Bodies::None);
    assert_eq!(tick.frames().count(), 1);
    let tick = list.tick(Duration::from_millis(250 * 24), Bodies::None);
    assert_eq!(tick.frames().count(), 0);
}

#[test]
fn a_match_beyond_the_page_is_counted() {
    let (mut list, group) = hundred();
    let mut viewer = Viewer::new();
    let spec = WindowSpec::search_in("online", &SortKey::from_name("name"), 0);
    viewer.open(&mut list, spec, Bodies::None).expect("room");
    list.upsert(1_000, group, &SortKey::from_name("name z"), 0)
        .expect("room");
    let tick = list.tick(Duration::from_secs(1), Bodies::None);
    let bundle = viewer.bundle(&tick).expect("another number");
    assert_eq!(bundle.frames[0].matches, Some(101));
}

/// An open notes the newest version that the client has seen: the SYNC of an earlier search is not above it.
#[test]
fn the_answer_to_a_search_is_taken_that_another_bundle_has_overtaken() {
    let (mut list, group) = hundred();
    let mut viewer = Viewer::new();
    let mut client = Client::new(merge_json);
    let first = client.open("c:0");
    let _ = client.answer(
        first,
        &viewer
            .open(&mut list, WindowSpec::Chunk(0), Bodies::None)
            .expect("room"),
    );
    let spec = WindowSpec::search(&SortKey::from_name("name 7"), 0);
    let name = spec.to_string();
    let request = client.request();
    let answer = viewer.open(&mut list, spec, Bodies::None).expect("room");
    let key = SortKey::from_name("name 70 and more");
    list.upsert(500, group, &key, 0).expect("room");
    // Until its answer comes the client holds the chunk alone, and asks for no other.
    let _ = client.open("c:1");
    let tick = list.tick(Duration::from_secs(1), Bodies::None);
    let _ = client.apply(&viewer.bundle(&tick).expect("one member more"));
    client.open_found(request, &name);
    let _ = client.answer(request, &answer);
    let window = client.window(&name).expect("found");
    assert_eq!((window.matches(), window.is_waiting()), (Some(11), false));

    client.close(&name);
    let _ = client.switch(["c:0"]);
    client.open_found(request, &name);
    assert!(client.window(&name).is_none(), "of another list");
}

#[test]
fn a_group_that_gets_another_name_keeps_its_search() {
    let (mut list, group) = hundred();
    let mut viewer = Viewer::new();
    let mut client = Client::new(merge_json);
    let key = SortKey::from_name("name 7");
    let spec = WindowSpec::search_in("online", &key, 0);
    let _ = client.open(&spec.to_string());
    let _ = client.apply(&viewer.open(&mut list, spec, Bodies::None).expect("room"));
    list.rename_group(group, "here").expect("a new name");
    let tick = list.tick(Duration::from_secs(1), Bodies::None);
    let report = client.apply(&viewer.bundle(&tick).expect("renamed"));
    let new = WindowSpec::<u64>::search_in("here", &key, 0).to_string();
    assert_eq!(report.renamed.len(), 1);
    assert_eq!(client.window(&new).expect("renamed").rows().len(), 11);
    list.set_group_hidden(group, true).expect("known");
    let tick = list.tick(Duration::from_secs(2), Bodies::None);
    let _ = client.apply(&viewer.bundle(&tick).expect("hidden"));
    let window = client.window(&new).expect("still open");
    assert_eq!((window.rows().len(), window.matches()), (0, Some(0)));
}

#[test]
fn matches_of_collapsed_groups_are_found_and_followed() {
    let (mut list, group) = hundred();
    list.set_group_collapsed(group, true).expect("known");
    let mut viewer = Viewer::new();
    let mut client = Client::new(merge_json);
    let spec = WindowSpec::search(&SortKey::from_name("name 7"), 0);
    let _ = client.open(&spec.to_string());
    let _ = client.apply(
        &viewer
            .open(&mut list, spec.clone(), Bodies::None)
            .expect("room"),
    );
    let matches = |client: &Client<u64>| client.window(&spec.to_string()).expect("open").matches();
    assert_eq!(matches(&client), Some(11));
    // A member without a row gets another key within its group.
    let key = SortKey::from_name("name 70 and more");
    list.set_key(&5, &key).expect("known");
    let tick = list.tick(Duration::from_secs(1), Bodies::None);
    let _ = client.apply(&viewer.bundle(&tick).expect("one match more"));
    assert_eq!(matches(&client), Some(12));
    let counts = client.counts().expect("an answer has them");
    assert!(matches!(&counts.table, CountsTable::Full(groups) if groups[0].collapsed));
}

#[test]
fn searches_over_the_bounds_are_refused() {
    let (mut list, _) = hundred();
    let mut viewer = Viewer::new();
    let search = |page| WindowSpec::search(&SortKey::from_name("name"), page);
    for page in [0, 1_000] {
        viewer
            .open(&mut list, search(page), Bodies::None)
            .expect("room");
    }
    let third = viewer.open(&mut list, search(2), Bodies::None);
    assert_eq!(third, Err(WindowError::TooManySearches { max: 2 }));
    viewer
        .open(&mut list, WindowSpec::Chunk(0), Bodies::None)
        .expect("no search");
    let beyond = viewer.retarget(&mut list, &search(0), search(2), Bodies::None);
    assert_eq!(
        beyond.expect("instead of another").frames[0].matches,
        Some(100)
    );
    let high = viewer.retarget(&mut list, &search(2), search(u32::MAX), Bodies::None);
    assert!(matches!(high, Err(WindowError::PageTooHigh { .. })));
    for group in 0..64 {
        list.add_group(&format!("group {group}")).expect("room");
    }
    let mut other = Viewer::new();
    let many = other.open(&mut list, search(0), Bodies::None);
    assert_eq!(
        many,
        Err(WindowError::TooManyGroups {
            groups: 65,
            max: 64
        })
    );
    let one = WindowSpec::search_in("online", &SortKey::from_name("name"), 1);
    let one = other.open(&mut list, one, Bodies::None).expect("one group");
    assert_eq!(
        (one.frames[0].base_index, one.frames[0].matches),
        (50, Some(100))
    );
}
