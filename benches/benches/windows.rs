//! The cost of watching a list: changes, ticks and bundles of a list of 1,000,000 members with
//! 10,000 changes a second, 4 ticks a second and 200 watched windows, in shares of the CPU time of
//! one core.
//!
//! Then 20,000 viewers who scrolled to places of their own, in a list in which 2,500 members move
//! between two ticks, each tick made by one thread and by two.
//!
//! `cargo bench -p headcount-benches --bench windows [-- MEMBERS [SECONDS a round]]`. CPU time is read from
//! `/proc/thread-self/schedstat`, so a busy machine changes little; elsewhere wall time is taken.
//! Ticks of two threads are measured by the clock on the wall.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use headcount::member_list::{Fields, FrameChange, NewMember, RowSource, SharedBodies, Tick};
use headcount::{Bodies, GroupId, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
use headcount_benches::list::Rng;
use headcount_benches::meter::processor_time;
use headcount_benches::table::{Goal, Table, save};

const CHANGES_PER_SECOND: usize = 10_000;
const TICKS_PER_SECOND: usize = 4;
const WINDOWS: usize = 200;
const WINDOWS_PER_VIEWER: usize = 8;
/// Viewers with a window of 241 rows each, at places of their own.
const SCROLLED: usize = 20_000;
/// Windows that a thread takes at once.
const STEP: usize = 64;
/// The median of the rounds counts.
const ROUNDS: usize = 5;
const US: &str = "headcount";
const WATCHING: &str = "tick + encode + bundles";

/// Bodies as a chat server has them: a name and a status.
struct People(Vec<u8>);

impl RowSource<u64> for People {
    fn write_body(&self, id: &u64, fields: Fields, out: &mut Vec<u8>) {
        use std::io::Write as _;
        let status = self.0[*id as usize];
        let written = if fields == Fields::ALL {
            write!(out, r#"{{"name":"member {id:07}","status":{status}}}"#)
        } else {
            write!(out, r#"{{"status":{status}}}"#)
        };
        written.expect("memory takes everything");
    }
}

/// Returns the CPU time of this thread so far.
fn cpu_time(start: Instant) -> Duration {
    processor_time().unwrap_or_else(|| start.elapsed())
}

struct City {
    list: MemberList<u64>,
    people: People,
    groups: Vec<GroupId>,
    rng: Rng,
    seconds: usize,
}

impl City {
    fn new(members: usize, seconds: usize) -> Self {
        let mut rng = Rng::new(7);
        let mut list = MemberList::new(ListOptions::default());
        let groups = list
            .set_groups(&["mods", "online", "idle", "offline"])
            .expect("good names");
        let load = (0..members as u64).map(|id| NewMember {
            id,
            group: groups[[1, 1, 2, 3, 3, 3][rng.below(6)]],
            key: SortKey::from_name(&format!("{:07} member", rng.below(10_000_000))),
            attrs: 0,
        });
        let load: Vec<_> = load.collect();
        list.bulk_load(load).expect("room");
        Self {
            list,
            people: People(vec![0; members]),
            groups,
            rng,
            seconds,
        }
    }

    /// Half of the changes move a member to another group, half change a status in place.
    fn change(&mut self) {
        let id = self.rng.below(self.people.0.len()) as u64;
        self.people.0[id as usize] = self.rng.below(4) as u8;
        if self.rng.below(2) == 0 {
            self.move_to_another_group(id);
        }
        self.list.touch_fields(&id, Fields(2)).expect("known");
    }

    fn move_to_another_group(&mut self, id: u64) {
        let group = self.groups[1 + self.rng.below(3)];
        self.list.set_group(&id, group).expect("known");
    }

    /// Makes a tick by so many threads.
    fn tick_by(&mut self, threads: usize, now: Duration) -> Tick<u64> {
        let work = self.list.begin_tick(now, SharedBodies::from(&self.people));
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| while work.step(STEP) {});
            }
            while work.step(STEP) {}
        });
        work.finish()
    }
}

/// Draws the positions of the windows.
fn specs(city: &mut City, anchored: bool) -> Vec<WindowSpec<u64>> {
    let chunks = city.list.len() / 100;
    (0..WINDOWS)
        .map(|_| match anchored {
            true => {
                let id = city.rng.below(city.people.0.len()) as u64;
                WindowSpec::anchored(id, 50, 49)
            }
            false => WindowSpec::Chunk(city.rng.below(chunks) as u32),
        })
        .collect()
}

fn watch(city: &mut City, anchored: bool) -> Vec<Viewer<u64>> {
    let specs = specs(city, anchored);
    let open = |specs: &[WindowSpec<u64>]| {
        let mut viewer = Viewer::new();
        for spec in specs {
            let bodies = Bodies::from(&city.people);
            viewer
                .open(&mut city.list, spec.clone(), bodies)
                .expect("within the limits");
        }
        viewer
    };
    specs.chunks(WINDOWS_PER_VIEWER).map(open).collect()
}

/// The cost of a round in CPU time, and the frames and bytes sent.
#[derive(Default)]
struct Spent {
    changes: Duration,
    tick: Duration,
    bundles: Duration,
    frames: usize,
    steps: usize,
    bytes: usize,
}

/// Runs some seconds of a city with viewers.
fn round(city: &mut City, viewers: &mut [Viewer<u64>], now: &mut Duration) -> Spent {
    let mut spent = Spent::default();
    let start = Instant::now();
    for _ in 0..city.seconds * TICKS_PER_SECOND {
        let t0 = cpu_time(start);
        for _ in 0..CHANGES_PER_SECOND / TICKS_PER_SECOND {
            city.change();
        }
        let t1 = cpu_time(start);
        *now += Duration::from_secs(1) / TICKS_PER_SECOND as u32;
        let published = city.list.tick(*now, Bodies::from(&city.people));
        published
            .frames()
            .for_each(|frame| drop(black_box(frame.json())));
        let t2 = cpu_time(start);
        for viewer in &mut *viewers {
            if let Some(bundle) = viewer.bundle(&published) {
                spent.bytes += black_box(bundle.to_json()).len();
            }
        }
        spent.bundles += cpu_time(start).saturating_sub(t2);
        spent.tick += t2.saturating_sub(t1);
        spent.changes += t1.saturating_sub(t0);
        for frame in published.frames() {
            spent.frames += 1;
            spent.steps += match &frame.change {
                FrameChange::Sync(rows) => rows.len(),
                FrameChange::Delta {
                    deletes,
                    inserts,
                    updates,
                } => deletes.len() + inserts.len() + updates.len(),
            };
        }
    }
    spent
}

fn run(what: &str, city: &mut City, viewers: &mut [Viewer<u64>]) -> Table {
    let mut table = Table::new(what.to_owned());
    let mut now = Duration::ZERO;
    let seconds = city.seconds as f64;
    // One tick before the clock starts publishes what opening the windows left.
    let published = city.list.tick(now, Bodies::from(&city.people));
    viewers
        .iter_mut()
        .for_each(|viewer| drop(viewer.bundle(&published)));
    for _ in 0..ROUNDS {
        let spent = round(city, viewers, &mut now);
        let watching = spent.tick + spent.bundles;
        for (metric, time) in [
            ("changes", spent.changes),
            ("tick + encode", spent.tick),
            ("bundles", spent.bundles),
            (WATCHING, watching),
        ] {
            table.note(metric, "%", US, time.as_secs_f64() / seconds * 100.0);
        }
        table.note("frames a second", "", US, spent.frames as f64 / seconds);
        let steps = spent.steps as f64 / spent.frames.max(1) as f64;
        table.note("steps a frame", "", US, steps);
        table.note(
            "sent a second",
            "KB",
            US,
            spent.bytes as f64 / seconds / 1e3,
        );
    }
    table.goal(WATCHING, Goal::AtMost(2.0));
    table
}

/// Many viewers of one chunk: the frame is encoded once, and every bundle holds the same bytes.
fn fan_out(city: &mut City, count: usize) {
    let mut viewers: Vec<Viewer<u64>> = (0..count).map(|_| Viewer::new()).collect();
    for viewer in &mut viewers {
        let bodies = Bodies::from(&city.people);
        viewer
            .open(&mut city.list, WindowSpec::Chunk(0), bodies)
            .expect("within the limits");
    }
    (0..2_500).for_each(|_| city.change());
    let first = city.list.row_at(1);
    let Some(headcount::Row::Member { id, .. }) = first else {
        return;
    };
    let id = *id;
    city.list.touch(&id).expect("known");
    let tick = city
        .list
        .tick(Duration::from_secs(1_000), Bodies::from(&city.people));
    let mut encodings = std::collections::HashSet::new();
    let start = Instant::now();
    for viewer in &mut viewers {
        let bundle = viewer.bundle(&tick).expect("the chunk has changed");
        encodings.insert(bundle.frames[0].json().as_ptr());
        black_box(bundle.to_json());
    }
    let each = start.elapsed() / count as u32;
    println!(
        "{count} viewers of one chunk: {} encoding, {each:?} a bundle",
        encodings.len()
    );
}

/// Viewers all over the list, of whom each sees another window.
fn scrolled(city: &mut City) -> Table {
    let mut table = Table::new(format!(
        "{SCROLLED} viewers who scrolled, 2,500 moves a tick"
    ));
    let members = city.people.0.len();
    let open = |_| {
        let spec = WindowSpec::anchored(city.rng.below(members) as u64, 120, 120);
        let mut viewer = Viewer::new();
        let bodies = Bodies::from(&city.people);
        let opened = viewer.open(&mut city.list, spec, bodies);
        opened.expect("within the limits");
        viewer
    };
    let mut viewers: Vec<Viewer<u64>> = (0..SCROLLED).map(open).collect();
    let mut now = Duration::from_secs(2_000);
    for round in 0..=ROUNDS {
        for (threads, metric) in [(1, "tick, one thread"), (2, "tick, each of two threads")] {
            let mut spent = Duration::ZERO;
            for _ in 0..TICKS_PER_SECOND {
                for _ in 0..CHANGES_PER_SECOND / TICKS_PER_SECOND {
                    let id = city.rng.below(members) as u64;
                    city.move_to_another_group(id);
                }
                now += Duration::from_secs(1) / TICKS_PER_SECOND as u32;
                let start = Instant::now();
                let tick = city.tick_by(threads, now);
                spent += start.elapsed();
                for viewer in &mut viewers {
                    drop(black_box(viewer.bundle(&tick)));
                }
            }
            // The first round publishes what opening the windows left.
            if round > 0 {
                table.note(metric, "%", US, spent.as_secs_f64() * 100.0);
            }
        }
    }
    table.goal("tick, each of two threads", Goal::AtMost(50.0));
    table
}

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse().ok());
    let members = numbers.next().unwrap_or(1_000_000);
    let seconds = numbers.next().unwrap_or(2);
    println!(
        "{members} members, {CHANGES_PER_SECOND} changes/s, {TICKS_PER_SECOND} ticks/s, \
         {WINDOWS} windows of 100 rows; shares of one core"
    );
    let mut city = City::new(members, seconds);
    let mut tables = vec![run("nobody watches", &mut city, &mut [])];
    for (what, anchored) in [
        ("chunks all over the list", false),
        ("anchored all over", true),
    ] {
        let mut viewers = watch(&mut city, anchored);
        tables.push(run(what, &mut city, &mut viewers));
    }
    tables.push(scrolled(&mut city));
    tables.iter().for_each(Table::print);
    save(&tables);
    fan_out(&mut city, 10_000);
}
