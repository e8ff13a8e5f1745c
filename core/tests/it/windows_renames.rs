//! Windows whose names go from one to another: each stays a window of its own, and no client has to
//! ask.

use headcount::member_list::client::{BundleReport, Client, merge_json};
use headcount::{Bodies, SortKey, Viewer, WindowSpec};

use crate::support::windows::{List, list, open, tick};

const FIRST: &str = "a:50:9:9";
const SECOND: &str = "a:51:9:9";

/// A client of two windows, which misses some ticks.
struct Absent {
    list: List,
    viewer: Viewer<u64>,
    client: Client<u64>,
    ms: u64,
}

/// A way in which a client gets what it has missed.
type Way = fn(&mut Absent) -> BundleReport;

const WAYS: [(&str, Way); 6] = [
    ("tick", Absent::tick),
    ("catch up", Absent::catch_up),
    ("resync of both", |absent| absent.resync(&[FIRST, SECOND])),
    ("resync of one", |absent| absent.resync(&[FIRST])),
    ("resync after a loss", |absent| {
        absent.lose_ticks();
        absent.resync(&[FIRST, SECOND])
    }),
    ("resume", Absent::resume),
];

impl Absent {
    fn new() -> Self {
        let (mut list, _) = list(150);
        let mut viewer = Viewer::resumable();
        let mut client = Client::new(merge_json);
        for name in [FIRST, SECOND] {
            let request = client.open(name);
            let _ = client.answer(request, &open(&mut list, &mut viewer, name));
        }
        Self {
            list,
            viewer,
            client,
            ms: 0,
        }
    }

    /// Moves a member behind another one, in a tick of which the client hears nothing.
    fn put_behind(&mut self, id: u64, other: u64) {
        // Of equal keys the lower id is first.
        let key = if id < other { other + 1 } else { other };
        let key = SortKey::from_u64(key);
        self.list.set_key(&id, &key).expect("known");
        self.ms += 250;
        let _ = tick(&mut self.list, self.ms);
    }

    fn tick(&mut self) -> BundleReport {
        let mut whole = BundleReport::default();
        // The first tick after those that were missed asks for what the second one brings.
        for _ in 0..2 {
            self.list.touch(&60).expect("known");
            self.ms += 250;
            if let Some(bundle) = self.viewer.bundle(&tick(&mut self.list, self.ms)) {
                let report = self.client.apply(&bundle);
                whole.resync.extend(report.resync);
            }
        }
        whole
    }

    /// Loses the bundles that tell the client what it has missed.
    fn lose_ticks(&mut self) {
        for _ in 0..2 {
            self.list.touch(&60).expect("known");
            self.ms += 250;
            let _ = self.viewer.bundle(&tick(&mut self.list, self.ms));
        }
    }

    fn catch_up(&mut self) -> BundleReport {
        let bundle = self.viewer.catch_up(&mut self.list, Bodies::None);
        self.client.apply(&bundle)
    }

    fn resync(&mut self, names: &[&str]) -> BundleReport {
        let request = self.client.request();
        let specs = names.iter().map(|name| WindowSpec::parse(name));
        let specs: Vec<_> = specs.collect::<Result<_, _>>().expect("canonical names");
        let bundle = self.viewer.resync(&mut self.list, &specs, Bodies::None);
        self.client.answer(request, &bundle.expect("open"))
    }

    fn resume(&mut self) -> BundleReport {
        self.viewer = Viewer::resumable();
        let (request, held) = self.client.reconnect();
        let bundle = self.viewer.resume(&mut self.list, &held, Bodies::None);
        self.client.answer(request, &bundle.expect("open"))
    }

    /// Checks that the client shows these windows, with the rows of one that opens them now.
    fn check(mut self, names: [&str; 2], way: &str, report: &BundleReport) {
        assert_eq!(report.resync, [], "{way}");
        let held: Vec<_> = self.client.windows().map(|(name, _)| &**name).collect();
        assert_eq!(held, names, "{way}");
        let known = self.viewer.windows().map(ToString::to_string);
        let mut known: Vec<_> = known.collect();
        known.sort();
        assert_eq!(known, names, "{way}");
        for name in names {
            let mut other = Client::new(merge_json);
            let request = other.open(name);
            let _ = other.answer(request, &open(&mut self.list, &mut Viewer::new(), name));
            let rows = |client: &Client<u64>| client.window(name).map(|it| it.rows().to_vec());
            assert_eq!(rows(&self.client), rows(&other), "{way}: {name}");
        }
    }
}

#[test]
fn a_window_gets_the_name_that_another_one_leaves() {
    for (way, hear) in WAYS {
        let mut absent = Absent::new();
        absent.put_behind(51, 70);
        absent.put_behind(51, 50);
        absent.put_behind(50, 90);
        let report = hear(&mut absent);
        absent.check(["a:51:9:9", "a:52:9:9"], way, &report);
    }
}

#[test]
fn windows_whose_names_go_in_a_ring_keep_them() {
    for (way, hear) in WAYS {
        let mut absent = Absent::new();
        absent.put_behind(51, 70);
        absent.put_behind(51, 50);
        absent.put_behind(50, 52);
        absent.put_behind(52, 90);
        let report = hear(&mut absent);
        absent.check([FIRST, SECOND], way, &report);
    }
}
