//! The cost of saving a `MemberTable` and of loading it: with one list, with further ones, and while
//! members change. Times are those on the CPU, where the system tells them.
//!
//! `cargo bench -p headcount-benches --bench saves [-- MEMBERS]`, 1,000,000 by default.

use std::fs;
use std::time::{Duration, Instant};

use headcount::SortKey;
use headcount::member_list::{Attrs, Clause, ListSpec, MemberTable, TableOptions};
use headcount_benches::list::{Rng, nicknames};
use headcount_benches::memory::{Counting, in_use};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const STEP: usize = 1 << 20;
const LISTS: usize = 4;
/// Members that change between two steps.
const CHANGES: usize = 200;

/// A list of all members, in two groups.
fn spec(at: usize) -> ListSpec<u64> {
    let online = Attrs::of([at as u16]).expect("a bit");
    ListSpec::new(&format!("list {at}"), "offline").group(Clause::new().all(online), "online")
}

/// A moment on the clock of this thread: the time for which it ran, where the system tells, so that
/// other programs do not count; else the time of day.
struct Moment {
    ran: Option<u64>,
    at: Instant,
}

impl Moment {
    fn now() -> Self {
        let ran = fs::read_to_string("/proc/thread-self/schedstat").ok();
        let ran = ran.and_then(|text| text.split(' ').next()?.parse().ok());
        let at = Instant::now();
        Self { ran, at }
    }

    fn elapsed(&self) -> Duration {
        let ran = self.ran.zip(Self::now().ran);
        ran.map_or_else(
            || self.at.elapsed(),
            |(before, now)| Duration::from_nanos(now - before),
        )
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Saves the table to `file`, calling `between` between steps; returns the time in steps and the
/// longest step.
fn save(
    table: &mut MemberTable<u64>,
    mut file: impl FnMut(&[u8]),
    mut between: impl FnMut(&mut MemberTable<u64>),
) -> (Duration, Duration) {
    let mut sum = Duration::ZERO;
    let mut longest = Duration::ZERO;
    let mut job = table.begin_save().expect("no other save");
    loop {
        let mut part = Vec::new();
        let start = Moment::now();
        let is_over = job.step(table, STEP, &mut part).expect("the same table");
        let took = start.elapsed();
        sum += took;
        longest = longest.max(took);
        file(&part);
        if is_over {
            return (sum, longest);
        }
        between(table);
    }
}

/// Gives some members another key and another status.
fn change(table: &mut MemberTable<u64>, ids: &[u64], rng: &mut Rng) {
    let online = Attrs::of([0]).expect("a bit");
    for _ in 0..CHANGES {
        let id = ids[rng.below(ids.len())];
        let key = SortKey::from_u64(rng.next_u64());
        table.set_key(&id, 0, &key, None).expect("known");
        table
            .set_attrs(&id, &Attrs::EMPTY, &online, None)
            .expect("room");
    }
}

fn main() {
    let number = std::env::args().find_map(|argument| argument.parse().ok());
    let number: usize = number.unwrap_or(1_000_000);
    let mut rng = Rng::new(7);
    let mut table = MemberTable::<u64>::new(TableOptions::default()).expect("good options");
    let mut ids = Vec::with_capacity(number);
    for (id, name) in nicknames(number, 7) {
        let bits = (0..LISTS as u16).filter(|_| rng.below(10) == 0);
        let attrs = Attrs::of(bits.collect::<Vec<u16>>()).expect("known bits");
        let key = SortKey::from_name(&name);
        table.upsert(id, &[key], attrs, None).expect("room");
        ids.push(id);
    }
    println!("{number} members");
    for at in 0..LISTS {
        table.add_list(spec(at)).expect("a good spec");
        table.build(usize::MAX);
        let mut file = Vec::new();
        let (time, longest) = save(&mut table, |part| file.extend_from_slice(part), |_| {});
        let before = in_use();
        let start = Moment::now();
        let loaded = MemberTable::<u64>::load(&file[..], 1).expect("it was just saved");
        let load = start.elapsed();
        let bytes = (in_use() - before) as f64 / number as f64;
        println!(
            "{} lists: saved in {:.0} ms, longest step {:.2} ms, {:.1} bytes a member; loaded in {:.0} \
             ms, {bytes:.1} bytes a member",
            at + 1,
            ms(time),
            ms(longest),
            file.len() as f64 / number as f64,
            ms(load)
        );
        drop(loaded);
    }
    let before = in_use();
    let mut most = 0;
    let mut steps = 0;
    let changes = |table: &mut MemberTable<u64>| {
        change(table, &ids, &mut rng);
        steps += 1;
        most = most.max(in_use().saturating_sub(before));
    };
    let (time, longest) = save(&mut table, |_| {}, changes);
    println!(
        "while {} members change, {CHANGES} between two steps: saved in {:.0} ms, longest step {:.2} ms, at \
         most {:.1} bytes a member more",
        steps * CHANGES,
        ms(time),
        ms(longest),
        most as f64 / number as f64
    );
}
