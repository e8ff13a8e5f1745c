//! A whole city: 11,000,000 members, 1,000,000 of them online on one node, replicated to another
//! node that keeps the member list and serves 1,000 viewers. Time by stage, memory by part, beside
//! a Redis that does the same.
//!
//!     cargo bench -p headcount-benches --bench city                        # 100,000 and 10,000 online
//!     cargo bench -p headcount-benches --bench city -- 11000000 1000000
//!
//! Times are those of this thread on the processor (Redis: by the clock, another process works).

mod nodes;
mod rival;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headcount::member_list::{Fields, NewMember, RowSource};
use headcount::roster::OfflinePolicy;
use headcount::{
    Bodies, EntryBuf, GroupId, ListOptions, MemberList, Placement, Roster, RosterOptions, SortKey,
    Status, Viewer, WindowSpec,
};
use headcount_benches::list::Rng;
use headcount_benches::memory::{Counting, in_use};
use headcount_benches::meter::{processor_time, timed};
use headcount_benches::people::Nicknames;
use headcount_benches::table::{Goal, Table, save};

use nodes::{Nodes, Session, TOPIC};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub(crate) const VIEWERS: usize = 1_000;
pub(crate) const WINDOW_ROWS: usize = 100;
/// Changes between two ticks.
pub(crate) const TICK_CHANGES: [usize; 2] = [1_000, 100];
pub(crate) const ONLINE_STATUSES: [Status; 3] = [Status::Online, Status::Idle, Status::Dnd];
const TICK: Duration = Duration::from_millis(250);
/// Changes of which the figures are a mean.
const CHANGES: usize = 100_000;
const US: &str = "headcount";
const EACH: &str = "us a change";
const WALL_S: u64 = 1_700_000_000;

/// The rows' bodies: a name and a status.
struct People {
    names: Arc<Nicknames>,
    statuses: Vec<Status>,
}

impl RowSource<u64> for People {
    fn write_body(&self, id: &u64, fields: Fields, out: &mut Vec<u8>) {
        use std::io::Write as _;
        let status = self.statuses.get(*id as usize).copied();
        let status = status.unwrap_or(Status::Offline).as_str();
        let written = if fields == Fields::ALL {
            let name = self.names.of(*id);
            write!(out, r#"{{"name":"{name}","status":"{status}"}}"#)
        } else {
            write!(out, r#"{{"status":"{status}"}}"#)
        };
        written.expect("memory takes everything");
    }
}

/// Returns where a session puts its user.
fn place(entry: &EntryBuf, names: &Nicknames, groups: &[GroupId]) -> Placement {
    let id = entry.key_str().and_then(|key| key.parse().ok());
    let status = Status::of_session(entry.status());
    Placement::new(status)
        .group(groups[status as usize])
        .key(SortKey::from_name(names.of(id.unwrap_or_default())))
}

/// The processor time of each stage of the changes.
#[derive(Default)]
struct Stages {
    write: Duration,
    replicate: Duration,
    diff: Duration,
    roster: Duration,
    tick: Duration,
    bundles: Duration,
    bytes: usize,
}

/// Measures the time between its calls.
struct Lap {
    start: Instant,
    last: Duration,
}

impl Lap {
    fn start() -> Self {
        let start = Instant::now();
        let last = processor_time().unwrap_or_default();
        Self { start, last }
    }

    fn end(&mut self, stage: &mut Duration) {
        let now = processor_time().unwrap_or_else(|| self.start.elapsed());
        *stage += now.saturating_sub(self.last);
        self.last = now;
    }
}

struct City {
    nodes: Nodes,
    roster: Roster<u64>,
    people: People,
    viewers: Vec<Viewer<u64>>,
    online: usize,
    rng: Rng,
    now: Duration,
}

/// Returns what each of `count` took.
fn share(of: usize, count: usize) -> f64 {
    of as f64 / count as f64
}

/// Loads all members, offline.
fn load(names: &Arc<Nicknames>, table: &mut Table) -> Roster<u64> {
    let members = names.len();
    let mut list = MemberList::<u64>::new(ListOptions::default());
    let words = Status::ALL.map(Status::as_str);
    let groups = list.set_groups(&words).expect("good names");
    let offline = groups[Status::Offline as usize];
    let options = RosterOptions::default().offline(OfflinePolicy::Keep(offline));
    let held = Arc::clone(names);
    let mapping = move |entry: &EntryBuf| place(entry, &held, &groups);
    let mut roster = Roster::new(list, options, mapping);

    let memory = in_use();
    let load = (0..members as u64).map(|id| NewMember {
        id,
        group: offline,
        key: SortKey::from_name(names.of(id)),
        attrs: 0,
    });
    let took = timed(|| roster.load_offline(load).expect("room"));
    table.note("load", "us a member", US, each(took.cost(), members));
    let memory = share(in_use() - memory, members);
    table.note("list", "B a member", US, memory);
    roster
}

/// Joins the users at home, replicates them and hands them to the roster.
fn join(online: usize, roster: &mut Roster<u64>, table: &mut Table) -> Nodes {
    let mut note = |metric: &str, took: Duration| {
        table.note(metric, "us a user", US, each(took, online));
    };
    let mut nodes = Nodes::new();
    let memory = in_use();
    let took = timed(|| (0..online as u64).for_each(|user| nodes.join(user)));
    note("join, at home", took.cost());
    drop(nodes.home.take_diff());
    let home = in_use() - memory;

    let memory = in_use();
    let took = timed(|| nodes.replicate(online));
    note("replicate", took.cost());
    let diffs = std::mem::take(&mut nodes.diffs);
    let with_diffs = in_use();
    let changes = diffs.iter().filter_map(|diff| diff.topic(TOPIC));
    let took = timed(|| changes.for_each(|diff| drop(roster.apply(diff, WALL_S))));
    note("roster and list", took.cost());
    let rosters = in_use() - with_diffs;
    drop(diffs);
    assert_eq!(roster.online_count(), online);
    let elsewhere = in_use() - memory - rosters;
    for (metric, bytes) in [
        ("replicate, sent", nodes.sent),
        ("presence at home", home),
        ("presence elsewhere", elsewhere),
        ("roster", rosters),
    ] {
        table.note(metric, "B a user", US, share(bytes, online));
    }
    nodes
}

impl City {
    /// Builds the city stage by stage, with the time and memory of each.
    fn build(names: &Arc<Nicknames>, online: usize, table: &mut Table) -> Self {
        let mut roster = load(names, table);
        let nodes = join(online, &mut roster, table);
        let people = People {
            names: Arc::clone(names),
            statuses: vec![Status::Online; online],
        };
        let mut city = Self {
            nodes,
            roster,
            people,
            viewers: Vec::new(),
            online,
            rng: Rng::new(5),
            now: Duration::ZERO,
        };
        let memory = in_use();
        city.open_viewers();
        let windows = (in_use() - memory) as f64 / VIEWERS as f64;
        table.note("windows", "B a viewer", US, windows);
        city
    }

    /// Opens the viewers: half at the top, where most people are, half anchored somewhere online.
    fn open_viewers(&mut self) {
        for at in 0..VIEWERS {
            let spec = if at % 2 == 0 {
                WindowSpec::Chunk(0)
            } else {
                let id = self.rng.below(self.online) as u64;
                WindowSpec::anchored(id, 50, 49)
            };
            let mut viewer = Viewer::new();
            let list = self.roster.list_mut();
            let opened = viewer.open(list, spec, Bodies::from(&self.people));
            opened.expect("within the limits");
            self.viewers.push(viewer);
        }
        self.tick(&mut Stages::default());
    }

    /// Publishes what changed, and encodes it for all viewers.
    fn tick(&mut self, stages: &mut Stages) {
        let mut lap = Lap::start();
        self.now += TICK;
        let bodies = Bodies::from(&self.people);
        let tick = self.roster.list_mut().tick(self.now, bodies);
        for frame in tick.frames() {
            black_box(frame.json());
        }
        lap.end(&mut stages.tick);
        for viewer in &mut self.viewers {
            if let Some(bundle) = viewer.bundle(&tick) {
                stages.bytes += black_box(bundle.to_json()).len();
            }
        }
        lap.end(&mut stages.bundles);
    }

    /// Runs ticks with so many changes between them.
    fn live(&mut self, changes: usize) -> Stages {
        let mut stages = Stages::default();
        for _ in 0..CHANGES / changes {
            let drawn: Vec<(Session, Status)> = (0..changes)
                .map(|_| {
                    let user = self.rng.below(self.online);
                    let status = ONLINE_STATUSES[self.rng.below(3)];
                    self.people.statuses[user] = status;
                    (Session::of(user as u64), status)
                })
                .collect();
            let mut lap = Lap::start();
            for (session, status) in &drawn {
                self.nodes.set_status(session, *status);
            }
            lap.end(&mut stages.write);
            drop(self.nodes.home.take_diff());
            lap.end(&mut stages.diff);
            self.nodes.pass(TICK);
            lap.end(&mut stages.replicate);
            for diff in self.nodes.diffs.drain(..) {
                if let Some(diff) = diff.topic(TOPIC) {
                    let _ = self.roster.apply(diff, WALL_S);
                }
            }
            lap.end(&mut stages.roster);
            self.tick(&mut stages);
        }
        stages
    }
}

fn each(took: Duration, count: usize) -> f64 {
    took.as_secs_f64() * 1e6 / count as f64
}

fn note_stages(table: &mut Table, changes: usize, stages: &Stages) {
    let what = format!("ticks of {changes}");
    let mut note = |name: &str, took: Duration| {
        table.note(&format!("{what}: {name}"), EACH, US, each(took, CHANGES));
    };
    note("write", stages.write);
    note("replicate, both nodes", stages.replicate);
    note("diff", stages.diff);
    note("roster and list", stages.roster);
    note("tick and frames", stages.tick);
    let viewers = format!("{VIEWERS} viewers");
    note(&viewers, stages.bundles);
    let all = stages.write + stages.diff + stages.roster + stages.tick + stages.bundles;
    note("all but replicate", all);
    let bytes = stages.bytes as f64 / (CHANGES / changes) as f64 / 1e3;
    table.note(&format!("{what}: sent a tick"), "KB", US, bytes);
    let goal = if changes == TICK_CHANGES[0] { 2.5 } else { 3.5 };
    table.goal(&format!("{what}: all but replicate"), Goal::AtMost(goal));
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let members: usize = numbers.next().unwrap_or(100_000);
    let online: usize = numbers
        .next()
        .unwrap_or(members / 10)
        .min(members)
        .max(VIEWERS);
    let title = format!("{members} members, {online} online, {VIEWERS} viewers");
    let mut table = Table::new(title);
    let names = Arc::new(Nicknames::new(members, 1));
    let memory = in_use();
    let mut city = City::build(&names, online, &mut table);
    let total = (in_use() - memory) as f64 / 1e6;
    table.note("memory of both nodes", "MB", US, total);
    for changes in TICK_CHANGES {
        let stages = city.live(changes);
        note_stages(&mut table, changes, &stages);
    }
    drop(city);
    rival::run(&names, online, &mut table);
    table.print();
    save(&[table]);
}
