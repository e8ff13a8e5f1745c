//! Clients that are away while their list gets another spec, or while a permission is taken away:
//! they come back to what they may see, and to nothing else. Members are of all kinds of ids, their
//! bodies of two fields.

use headcount::member_list::client::{BundleReport, Client, Request, merge_json};
use headcount::member_list::{
    Bundle, BundleFormat, FrameChange, HeldWindow, LiveList, TextId, WindowError,
};
use headcount::{Bodies, Viewer, WindowSpec};
use proptest::prelude::*;

use crate::support::list_keys::FromNumber;
use crate::support::naive_world::shown;
use crate::support::office::{Office, Row};
use crate::support::rng::Rng;

/// A bundle under way, and the request that it answers.
type Letter<I> = (u64, Bundle<I>, Option<Request>);

/// A client, and its viewer at one of the lists; none while it is away.
struct Visitor<I> {
    viewer: Option<Viewer<I>>,
    client: Client<I>,
    at: usize,
    line: Vec<Letter<I>>,
    faults: usize,
    clock: u64,
    /// Windows that came back as a DELTA, and those that came whole because of another epoch.
    resumed: usize,
    renewed: usize,
}

impl<I: FromNumber> Visitor<I> {
    fn new(faults: usize) -> Self {
        Self {
            viewer: Some(Viewer::resumable()),
            client: Client::new(merge_json),
            at: 0,
            line: Vec::new(),
            faults,
            clock: 0,
            resumed: 0,
            renewed: 0,
        }
    }

    fn send(&mut self, office: &mut Office<I>, bundle: &Bundle<I>, request: Option<Request>) {
        office.check_bundle(self.at, bundle);
        let bytes = bundle.to_binary_in(BundleFormat::Two);
        let read = Bundle::from_binary(&bytes).expect("what was written");
        let one_in = |rng: &mut Rng, faults: usize| faults > 0 && rng.one_in(faults);
        if one_in(&mut office.rng, self.faults) {
            return;
        }
        for _ in 0..=usize::from(one_in(&mut office.rng, self.faults)) {
            let late = match one_in(&mut office.rng, self.faults) {
                true => 1 + office.rng.below(4),
                false => 0,
            };
            self.line.push((self.clock + late, read.clone(), request));
        }
    }

    fn receive(&mut self, office: &mut Office<I>) {
        self.clock += 1;
        while let Some(at) = self.line.iter().position(|(due, ..)| *due < self.clock) {
            let (_, bundle, request) = self.line.remove(at);
            let report = match request {
                Some(request) => self.client.answer(request, &bundle),
                None => self.client.apply(&bundle),
            };
            self.ask(office, &report);
        }
    }

    fn ask(&mut self, office: &mut Office<I>, report: &BundleReport) {
        for name in &report.resync {
            let spec = [WindowSpec::parse(name).expect("a canonical name")];
            let request = self.client.request();
            if !self.request(office, request, |viewer, list, bodies| {
                viewer.resync(list, &spec, bodies)
            }) {
                self.client.close(name);
            }
        }
        if report.resync_counts {
            let request = self.client.request();
            self.request(office, request, |viewer, list, bodies| {
                viewer.resync(list, &[], bodies)
            });
        }
    }

    /// Returns whether the request was not refused; one is lost with the connection.
    fn request(
        &mut self,
        office: &mut Office<I>,
        request: Request,
        ask: impl FnOnce(
            &mut Viewer<I>,
            &mut LiveList<'_, I>,
            Bodies<'_, I>,
        ) -> Result<Bundle<I>, WindowError>,
    ) -> bool {
        let Some(viewer) = &mut self.viewer else {
            return true;
        };
        let mut live = office.table.live(office.rooms[self.at].id).expect("built");
        let Ok(bundle) = ask(viewer, &mut live, Bodies::from(&office.profiles)) else {
            return false;
        };
        self.send(office, &bundle, Some(request));
        true
    }

    fn act(&mut self, office: &mut Office<I>) {
        let what = office.rng.index(12);
        if self.viewer.is_none() {
            if what < 3 {
                self.come_back(office);
            }
            return;
        }
        match what {
            0..4 if self.client.windows().count() < 4 => self.open(office),
            4 | 5 => self.viewer = None,
            6 => self.switch(office),
            7 if self.client.is_entering() => self.repeat(office),
            _ => {}
        }
    }

    fn open(&mut self, office: &mut Office<I>) {
        let spec = office.any_spec(self.at);
        let name = spec.to_string();
        if self.client.window(&name).is_some() || self.client.is_entering() {
            return;
        }
        let request = self.client.open(&name);
        if !self.request(office, request, |viewer, list, bodies| {
            viewer.open(list, spec, bodies)
        }) {
            self.client.close(&name);
        }
    }

    fn switch(&mut self, office: &mut Office<I>) {
        self.at = 1 - self.at;
        let specs = [WindowSpec::Chunk(0), office.any_spec(self.at)];
        let names = specs.each_ref().map(ToString::to_string);
        let specs = &specs[..1 + usize::from(names[0] != names[1])];
        let request = self.client.switch(names.iter().map(String::as_str));
        let is_done = self.request(office, request, |viewer, list, bodies| {
            viewer.switch(list, specs, bodies)
        });
        assert!(is_done, "these are windows of this list");
    }

    /// Comes back to the list, whatever it is by now.
    fn come_back(&mut self, office: &mut Office<I>) {
        let (request, held) = self.client.reconnect();
        let mut viewer = Viewer::resumable();
        let mut live = office.table.live(office.rooms[self.at].id).expect("built");
        let bundle = viewer.resume(&mut live, &held, Bodies::from(&office.profiles));
        let bundle = bundle.expect("windows that were open");
        self.viewer = Some(viewer);
        for claim in &held {
            self.check_return(claim, &bundle);
        }
        let admitted = office.admitted(self.at);
        let members: usize = admitted.iter().map(|(_, ids)| ids.len()).sum();
        let counts = bundle.counts.as_ref().expect("an answer has them");
        assert_eq!(counts.members, members as u64);
        self.send(office, &bundle, Some(request));
    }

    /// Rows of another epoch are never where a DELTA starts from.
    fn check_return(&mut self, claim: &HeldWindow, bundle: &Bundle<I>) {
        let mut frames = bundle.frames.iter();
        let frame = frames.find(|frame| frame.window == claim.window);
        let frame = frame.expect("each window is answered");
        let is_delta = matches!(frame.change, FrameChange::Delta { .. });
        if claim.epoch != bundle.epoch {
            assert!(!is_delta, "{claim:?}");
            self.renewed += usize::from(claim.version > 0);
        } else if is_delta {
            assert_eq!(frame.base_version, claim.version);
            self.resumed += 1;
        }
    }

    /// Asks again for what did not come.
    fn repeat(&mut self, office: &mut Office<I>) {
        self.viewer = None;
        self.come_back(office);
    }

    fn check(&self, rooms: &[Vec<Row<I>>; 2]) {
        let Some(viewer) = &self.viewer else { return };
        let mut names: Vec<_> = viewer.windows().map(ToString::to_string).collect();
        names.sort();
        let held = self.client.windows().map(|(name, _)| name.to_string());
        assert_eq!(held.collect::<Vec<_>>(), names);
        for (name, window) in self.client.windows() {
            assert!(!window.is_waiting(), "{name}");
            let rows = Office::expected(&rooms[self.at], name);
            assert_eq!(shown(window.rows()), rows, "{name}");
        }
    }
}

/// Returns how many windows came back as a DELTA, and how many whole because of another epoch.
fn run<I: FromNumber>(seed: u64, faults: usize) -> [usize; 2] {
    let mut office = Office::<I>::new(seed);
    let mut visitors: Vec<Visitor<I>> = (0..4).map(|_| Visitor::new(faults)).collect();
    for _ in 0..60 {
        for visitor in &mut visitors {
            visitor.act(&mut office);
            visitor.receive(&mut office);
        }
        (0..office.rng.index(8)).for_each(|_| office.change());
        if office.rng.one_in(6) {
            let at = office.rng.index(2);
            let revokes = office.rng.one_in(2);
            office.respec(at, revokes);
        }
        let step = [0, 40, 500][office.rng.index(3)];
        office.build(step);
        let tick = office.tick();
        let rooms = (faults == 0).then(|| [0, 1].map(|at| office.rows(at)));
        for visitor in &mut visitors {
            if let Some(bundle) = visitor
                .viewer
                .as_mut()
                .and_then(|viewer| tick.bundle(viewer))
            {
                visitor.send(&mut office, &bundle, None);
            }
            // A list that got another name is entered by an answer. When names passed from window to window meanwhile,
            // the newest names tell which one is missing then: another answer.
            (0..3).for_each(|_| visitor.receive(&mut office));
            if let Some(rooms) = &rooms {
                visitor.check(rooms);
            }
        }
    }
    for visitor in &mut visitors {
        visitor.faults = 0;
        (0..6).for_each(|_| visitor.receive(&mut office));
        visitor.repeat(&mut office);
        (0..2).for_each(|_| visitor.receive(&mut office));
        visitor.check(&[0, 1].map(|at| office.rows(at)));
    }
    let sum = |count: fn(&Visitor<I>) -> usize| visitors.iter().map(count).sum();
    [
        sum(|visitor| visitor.resumed),
        sum(|visitor| visitor.renewed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn clients_come_back_to_other_specs_on_perfect_lines(seed: u64) {
        match seed % 2 {
            0 => run::<u64>(seed, 0),
            _ => run::<TextId>(seed, 0),
        };
    }

    #[test]
    fn clients_come_back_to_other_specs_on_bad_lines(seed: u64) {
        match seed % 2 {
            0 => run::<u128>(seed, 4),
            _ => run::<TextId>(seed, 3),
        };
    }
}

/// An anchor is replaced by that of another window, whose own is replaced, too.
#[test]
fn a_window_whose_name_another_one_took_is_found_again() {
    run::<TextId>(3_062_816_273_755_787_907, 0);
}

#[test]
fn clients_do_come_back_to_the_same_epoch_and_to_another() {
    let runs = (0..10).map(|seed| run::<u64>(seed, 4));
    let sums = runs.fold([0, 0], |sums, run| [sums[0] + run[0], sums[1] + run[1]]);
    assert!(sums.iter().all(|sum| *sum > 30), "{sums:?}");
}
