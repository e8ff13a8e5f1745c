//! Clients on bad lines that lose their connections, go to other nodes and switch lists: in the end
//! each shows the rows of plain vectors.

use headcount::member_list::client::{BundleReport, Client, Request, merge_json};
use headcount::member_list::{Bundle, BundleFormat, Epoch, FrameChange, Id, TextId, WindowError};
use headcount::{Bodies, MemberList, Viewer, WindowSpec};
use proptest::prelude::*;

use crate::support::list_keys::Keys;
use crate::support::naive_world::{NaiveWorld, Profiles, shown};
use crate::support::rng::Rng;

/// A bundle under way.
struct Letter<I> {
    due: u64,
    bundle: Bundle<I>,
    /// The request that it answers.
    request: Option<Request>,
    /// The connection over which the server sent it, if it did so on its own.
    connection: u64,
}

/// A client, and its viewer at one of the lists.
struct Visitor<I> {
    viewer: Option<Viewer<I>>,
    client: Client<I>,
    /// The list that the client is at.
    at: usize,
    line: Vec<Letter<I>>,
    faults: usize,
    clock: u64,
    connection: u64,
    resumed: usize,
}

type Worlds<I> = [NaiveWorld<I>];

impl<I: Id> Visitor<I> {
    fn new(faults: usize) -> Self {
        Self {
            viewer: Some(Viewer::resumable()),
            client: Client::new(merge_json),
            at: 0,
            line: Vec::new(),
            faults,
            clock: 0,
            connection: 0,
            resumed: 0,
        }
    }

    fn send(&mut self, rng: &mut Rng, bundle: &Bundle<I>, request: Option<Request>) {
        let bundle = match rng.one_in(2) {
            true => Bundle::from_binary(&bundle.to_binary_in(BundleFormat::Two)),
            false => Bundle::from_json(&bundle.to_json_in(BundleFormat::Two)),
        };
        let bundle = bundle.expect("what was written");
        if self.faults > 0 && rng.one_in(self.faults) {
            return;
        }
        for _ in 0..=usize::from(self.faults > 0 && rng.one_in(self.faults)) {
            let is_late = self.faults > 0 && rng.one_in(3);
            self.line.push(Letter {
                due: self.clock + if is_late { 1 + rng.below(4) } else { 0 },
                bundle: bundle.clone(),
                request,
                connection: self.connection,
            });
        }
    }

    fn receive(&mut self, worlds: &mut Worlds<I>) {
        self.clock += 1;
        while let Some(at) = self.line.iter().position(|letter| letter.due < self.clock) {
            let letter = self.line.remove(at);
            let report = match letter.request {
                // Late answers of former connections are the client's to refuse.
                Some(request) => {
                    let is_delta = |frame: &FrameChange<I>| !matches!(frame, FrameChange::Sync(_));
                    let mut frames = letter.bundle.frames.iter();
                    self.resumed += usize::from(frames.any(|frame| is_delta(&frame.change)));
                    self.client.answer(request, &letter.bundle)
                }
                None if letter.connection == self.connection => self.client.apply(&letter.bundle),
                None => continue,
            };
            self.ask(worlds, &report);
        }
    }

    fn ask(&mut self, worlds: &mut Worlds<I>, report: &BundleReport) {
        assert!(
            self.faults > 0 || report.resync.is_empty(),
            "a perfect line"
        );
        for name in &report.resync {
            self.resync(worlds, name);
        }
        if report.resync_counts {
            self.request(worlds, |viewer, list, bodies| {
                viewer.resync(list, &[], bodies)
            });
        }
    }

    fn resync(&mut self, worlds: &mut Worlds<I>, name: &str) {
        let spec = WindowSpec::parse(name).expect("a canonical name");
        let specs = std::slice::from_ref(&spec);
        if !self.request(worlds, |viewer, list, bodies| {
            viewer.resync(list, specs, bodies)
        }) {
            self.client.close(name);
        }
    }

    fn request(
        &mut self,
        worlds: &mut Worlds<I>,
        ask: impl FnOnce(
            &mut Viewer<I>,
            &mut MemberList<I>,
            Bodies<'_, I>,
        ) -> Result<Bundle<I>, WindowError>,
    ) -> bool {
        let request = self.client.request();
        let world = &mut worlds[self.at];
        let Some(viewer) = &mut self.viewer else {
            return true; // The request is lost with the connection.
        };
        match ask(viewer, &mut world.list, Bodies::from(&world.profiles)) {
            Ok(bundle) => {
                self.send(&mut world.rng, &bundle, Some(request));
                true
            }
            Err(_) => false,
        }
    }

    fn act(&mut self, worlds: &mut Worlds<I>) {
        let lists = 2;
        let rng = &mut worlds[0].rng;
        let what = rng.index(12);
        let other = rng.index(lists);
        if self.viewer.is_none() {
            if what < 4 {
                // The other node has a copy of the list, with an epoch of its own.
                let is_elsewhere = worlds[0].rng.one_in(4);
                self.come_back(worlds, if is_elsewhere { self.at ^ 2 } else { self.at });
            }
            return;
        }
        match what {
            0..4 if self.client.windows().count() < 4 => self.open(worlds),
            4 => self.viewer = None,
            5 => self.switch(worlds, self.at & 2 | other),
            6 if self.client.is_entering() => self.repeat(worlds),
            _ => {}
        }
    }

    fn open(&mut self, worlds: &mut Worlds<I>) {
        let spec = worlds[self.at].any_spec();
        let name = spec.to_string();
        if self.client.window(&name).is_none() && !self.client.is_entering() {
            let _ = self.client.open(&name);
            if !self.request(worlds, |viewer, list, bodies| {
                viewer.open(list, spec, bodies)
            }) {
                self.client.close(&name);
            }
        }
    }

    /// Goes to another list of the same node.
    fn switch(&mut self, worlds: &mut Worlds<I>, to: usize) {
        self.at = to;
        let world = &mut worlds[to];
        let specs = [WindowSpec::Chunk(0), world.any_spec()];
        let names = specs.each_ref().map(ToString::to_string);
        let specs = &specs[..1 + usize::from(names[0] != names[1])];
        let request = self.client.switch(names.iter().map(String::as_str));
        let viewer = self.viewer.as_mut().expect("connected");
        let bodies = Bodies::from(&world.profiles);
        let bundle = viewer.switch(&mut world.list, specs, bodies);
        let bundle = bundle.expect("windows of this list");
        self.send(&mut world.rng, &bundle, Some(request));
    }

    fn come_back(&mut self, worlds: &mut Worlds<I>, at: usize) {
        self.at = at;
        self.connection += 1;
        let (request, held) = self.client.reconnect();
        let mut viewer = Viewer::resumable();
        let world = &mut worlds[at];
        let bodies = Bodies::from(&world.profiles);
        let bundle = viewer.resume(&mut world.list, &held, bodies);
        let bundle = bundle.expect("windows that were open");
        self.viewer = Some(viewer);
        self.send(&mut world.rng, &bundle, Some(request));
    }

    /// Asks again for what did not come.
    fn repeat(&mut self, worlds: &mut Worlds<I>) {
        self.viewer = None;
        self.come_back(worlds, self.at);
    }

    fn settle(&mut self, worlds: &mut Worlds<I>) {
        while !self.line.is_empty() {
            self.receive(worlds);
        }
        self.faults = 0;
        self.repeat(worlds);
        self.receive(worlds);
        self.check(&worlds[self.at]);
    }

    fn check(&self, world: &NaiveWorld<I>) {
        let Some(viewer) = &self.viewer else { return };
        let mut names: Vec<_> = viewer.windows().map(ToString::to_string).collect();
        names.sort();
        let held: Vec<_> = self
            .client
            .windows()
            .map(|(name, _)| name.to_string())
            .collect();
        assert_eq!(held, names);
        for (name, window) in self.client.windows() {
            assert!(!window.is_waiting(), "{name}");
            assert_eq!(shown(window.rows()), world.expected(name), "{name}");
        }
    }
}

/// Makes two lists on each of two nodes.
pub(crate) fn worlds<I: Id>(seed: u64, keys: Keys, id_of: fn(u64) -> I) -> Vec<NaiveWorld<I>> {
    let worlds = [
        ("first", "a"),
        ("second", "a"),
        ("first", "b"),
        ("second", "b"),
    ];
    let worlds = worlds.into_iter().enumerate().map(|(at, (list, node))| {
        let groups = 1 + (seed % 80) as usize;
        let mut world = NaiveWorld::new(seed + at as u64, groups, keys, id_of);
        // Numbers of other nodes mean nothing: those of "b" are lower.
        let number = if node == "a" { 9_000 } else { 5 } + at as u64;
        world
            .list
            .begin_epoch(list, Epoch::new(node, number))
            .expect("a higher epoch");
        (0..world.rng.index(250)).for_each(|_| world.join());
        world
    });
    worlds.collect()
}

pub(crate) fn run<I: Id>(mut worlds: Vec<NaiveWorld<I>>, faults: usize) -> usize {
    let mut visitors: Vec<Visitor<I>> = (0..3).map(|_| Visitor::new(faults)).collect();
    for _ in 0..70 {
        for visitor in &mut visitors {
            visitor.act(&mut worlds);
            visitor.receive(&mut worlds);
        }
        for at in 0..worlds.len() {
            for _ in 0..worlds[at].rng.index(5) {
                worlds[at].change(true);
            }
            let tick = worlds[at].tick();
            for visitor in visitors.iter_mut().filter(|visitor| visitor.at == at) {
                let bundle = visitor
                    .viewer
                    .as_mut()
                    .and_then(|viewer| viewer.bundle(&tick));
                if let Some(bundle) = bundle {
                    visitor.send(&mut worlds[at].rng, &bundle, None);
                }
                visitor.receive(&mut worlds);
                if faults == 0 {
                    visitor.check(&worlds[at]);
                }
            }
        }
    }
    for visitor in &mut visitors {
        visitor.settle(&mut worlds);
    }
    visitors.iter().map(|visitor| visitor.resumed).sum()
}

fn text(number: u64) -> TextId {
    TextId::new(&format!("ein gemeinsamer Anfang: ß{number}")).expect("a good id")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn clients_go_anywhere_on_perfect_lines(seed in 0u64..1 << 40, keys in Keys::any()) {
        run(worlds::<u64>(seed, keys, |id| id), 0);
        run(worlds(seed, keys, text), 0);
    }

    #[test]
    fn clients_go_anywhere_on_bad_lines(seed in 0u64..1 << 40, keys in Keys::any()) {
        run(worlds::<u64>(seed, keys, |id| id), 4);
        run(worlds(seed, keys, |id| u128::from(id) << 65 | 7), 3);
    }
}

#[test]
fn clients_do_resume_in_the_model() {
    let resumed: usize = (0..12)
        .map(|seed| run(worlds::<u64>(seed, Keys::Few, |id| id), 4))
        .sum();
    assert!(resumed > 40, "{resumed} answers with a DELTA");
}

/// Returns the rows of a client's first chunk.
fn ids(client: &Client<u64>) -> usize {
    client.window("c:0").map_or(0, |window| window.rows().len())
}

#[test]
fn a_late_answer_of_the_old_list_does_not_take_a_client_back() {
    let mut worlds = worlds::<u64>(7, Keys::Guild, |id| id);
    for (world, members) in worlds.iter_mut().zip([10, 20]) {
        (0..members).for_each(|_| world.join());
    }
    let [old, new, ..] = &mut worlds[..] else {
        panic!("four worlds")
    };
    let mut client = Client::new(merge_json);
    let mut viewer = Viewer::resumable();
    let chunk = [WindowSpec::Chunk(0)];
    let show = |world: &mut NaiveWorld<u64>, viewer: &mut Viewer<u64>| {
        let bodies = Bodies::from(&world.profiles);
        viewer
            .switch(&mut world.list, &chunk, bodies)
            .expect("a chunk")
    };
    let request = client.open("c:0");
    let _ = client.answer(request, &show(old, &mut viewer));
    let late_request = client.request();
    let late_answer = show(old, &mut viewer);
    let late_push = late_answer.clone();

    let request = client.switch(["c:0"]);
    let _ = client.answer(late_request, &late_answer);
    let _ = client.apply(&late_push);
    assert_eq!(ids(&client), 0, "rows of the old list");
    assert!(client.is_entering());
    let _ = client.answer(request, &show(new, &mut viewer));
    let rows = ids(&client);
    assert!(rows > 0 && !client.is_entering());
    let _ = client.answer(late_request, &late_answer);
    let _ = client.apply(&late_push);
    assert_eq!(ids(&client), rows);
    assert_eq!(client.apply(&late_push), BundleReport::default());
}

#[test]
fn another_node_is_entered_by_an_answer_only() {
    let mut worlds = worlds::<u64>(3, Keys::Guild, |id| id);
    (0..9).for_each(|_| worlds[2].join());
    let mut client = Client::new(merge_json);
    let mut open = |at: usize| {
        let world: &mut NaiveWorld<u64> = &mut worlds[at];
        let bodies: Bodies<'_, u64> = Bodies::from(&world.profiles as &Profiles<u64>);
        let opened = Viewer::resumable().open(&mut world.list, WindowSpec::Chunk(0), bodies);
        opened.expect("a chunk")
    };
    let request = client.open("c:0");
    let _ = client.answer(request, &open(0));
    let other = open(2);
    let report = client.apply(&other);
    assert_eq!(report.resync, ["c:0".into()], "it asks, and takes nothing");
    assert_eq!(
        client.apply(&other),
        BundleReport::default(),
        "it asks once"
    );
    let request = client.request();
    assert!(client.answer(request, &other).changed.len() == 1);
    // The node it came from is another one now, whatever its number.
    assert!(client.apply(&open(0)).changed.is_empty());
}

#[test]
pub(crate) fn a_lost_last_frame_is_noticed_within_30_s() {
    let mut worlds = worlds::<u64>(3, Keys::Guild, |id| id);
    let world = &mut worlds[0];
    (0..9).for_each(|_| world.join());
    let mut client = Client::new(merge_json);
    let mut viewer = Viewer::resumable();
    let bodies = Bodies::from(&world.profiles);
    let request = client.open("c:0");
    let opened = viewer.open(&mut world.list, WindowSpec::Chunk(0), bodies);
    let _ = client.answer(request, &opened.expect("a chunk"));
    world.join();
    let tick = world.tick();
    assert!(viewer.bundle(&tick).is_some(), "this bundle is lost");
    let sent = world.now;
    loop {
        world.now += std::time::Duration::from_millis(250);
        let tick = world.list.tick(world.now, Bodies::from(&world.profiles));
        if !tick.is_empty()
            && let Some(bundle) = viewer.bundle(&tick)
        {
            let json = bundle.to_json_in(BundleFormat::Two);
            let report = client.apply(&Bundle::from_json(&json).expect("what was written"));
            if report.resync == ["c:0".into()] {
                break;
            }
        }
        assert!(world.now - sent < std::time::Duration::from_secs(30));
    }
}
