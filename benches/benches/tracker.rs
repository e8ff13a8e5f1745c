//! The tracker beside `HashMap<String, Box<[u8]>>` and `crdts::Orswot`, in the same run.
//!
//! `cargo bench -p headcount-benches --bench tracker` runs 10k, 100k and 1M sessions; a filter such
//! as `-- 100000` picks some. A table with the ratios is printed at the end.
#![allow(missing_docs)]

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crdts::{CmRDT, CvRDT, Dot, Orswot, VClock, orswot::Op};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use headcount::StagedRepair;
use headcount_benches::crowd::{Crowd, Layout, empty};
use headcount_benches::memory::{Counting, in_use};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const US: &str = "headcount";
const US_ONE_TOPIC: &str = "headcount, one topic";
const MAP: &str = "HashMap";
const ORSWOT: &str = "Orswot";

/// Best time per element of each (operation, size, rival), and the figures that are not times.
static TIMES: Mutex<BTreeMap<(String, usize, &str), f64>> = Mutex::new(BTreeMap::new());

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for n in SIZES {
        local_operations(&mut criterion, n);
        exchange(&mut criterion, n);
    }
    criterion.final_summary();
    print_table();
}

/// Times `run`, which does `n` operations and says how long they took without set-up. Criterion
/// reports by the clock, the table at the end by the processor.
fn bench(
    criterion: &mut Criterion,
    operation: &str,
    rival: &'static str,
    (size, n): (usize, usize),
    mut run: impl FnMut() -> Took,
) {
    let mut group = criterion.benchmark_group(operation);
    group
        .sampling_mode(SamplingMode::Flat)
        .throughput(Throughput::Elements(n as u64));
    group.bench_function(BenchmarkId::new(rival, size), |b| {
        b.iter_custom(|iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                let (took, busy) = run();
                // On a busy machine the processor time says what the work costs; it is counted in
                // ticks, so short runs are taken by the clock.
                let each = busy.filter(|_| took.as_millis() > 50).unwrap_or(took);
                let each = each.as_nanos() as f64 / n as f64;
                let mut times = TIMES.lock().unwrap();
                let best = times
                    .entry((operation.to_owned(), size, rival))
                    .or_insert(each);
                *best = best.min(each);
                total += took;
            }
            total
        });
    });
    group.finish();
}

/// By the clock, and on the processor where the system tells.
type Took = (Duration, Option<Duration>);

fn timed<T>(work: impl FnOnce() -> T) -> Took {
    let (start, busy) = (Instant::now(), processor_time());
    black_box(work());
    let busy = processor_time()
        .zip(busy)
        .map(|(now, then)| now.saturating_sub(then));
    (start.elapsed(), busy)
}

/// Time this thread has been on a processor (Linux).
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ')
        .next()?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}

fn local_operations(criterion: &mut Criterion, n: usize) {
    let hundred = Crowd::new(n, Layout::HundredPerTopic);
    let one = Crowd::new(n, Layout::OneTopic);
    let each = (n, n);
    for (name, crowd) in [(US, &hundred), (US_ONE_TOPIC, &one)] {
        bench(criterion, "track", name, each, || {
            let mut tracker = empty("bench");
            let took = timed(|| {
                crowd
                    .puts()
                    .for_each(|put| drop(tracker.track(&put).unwrap()))
            });
            drop(tracker);
            took
        });
        bench(criterion, "get_by_key", name, each, {
            let tracker = crowd.tracked();
            move || {
                timed(|| {
                    for i in 0..n {
                        let (topic, key, _) = crowd.place(n - 1 - i);
                        black_box(tracker.get_by_key(topic, key).next().unwrap().meta());
                    }
                })
            }
        });
        bench(criterion, "untrack", name, each, || {
            let mut tracker = crowd.tracked();
            timed(|| {
                for i in 0..n {
                    let (topic, key, owner) = crowd.place(n - 1 - i);
                    assert!(tracker.untrack(topic, key, owner));
                }
            })
        });
    }
    hash_map(criterion, &hundred);
    orswot(criterion, n);
}

fn hash_map(criterion: &mut Criterion, crowd: &Crowd) {
    let n = crowd.len();
    let fill = |map: &mut HashMap<String, Box<[u8]>>| {
        for key in crowd.keys() {
            map.insert(key.clone(), crowd.meta().into());
        }
    };
    let filled = || {
        let mut map = HashMap::new();
        fill(&mut map);
        map
    };
    bench(criterion, "track", MAP, (n, n), || {
        let mut map = HashMap::new();
        timed(|| fill(&mut map))
    });
    bench(criterion, "get_by_key", MAP, (n, n), {
        let map = filled();
        move || {
            timed(|| {
                for key in crowd.keys().iter().rev() {
                    black_box(map.get(key.as_str()).unwrap());
                }
            })
        }
    });
    bench(criterion, "untrack", MAP, (n, n), || {
        let mut map = filled();
        timed(|| {
            for key in crowd.keys().iter().rev() {
                map.remove(key.as_str()).unwrap();
            }
        })
    });
}

fn orswot_of(n: usize) -> Orswot<u64, u64> {
    let mut set = Orswot::new();
    for i in 0..n as u64 {
        let member = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        set.apply(Op::Add {
            dot: Dot::new(1, i + 1),
            members: vec![member],
        });
    }
    set
}

fn orswot(criterion: &mut Criterion, n: usize) {
    bench(criterion, "track", ORSWOT, (n, n), || {
        timed(|| orswot_of(n))
    });
    bench(criterion, "untrack", ORSWOT, (n, n), || {
        let mut set = orswot_of(n);
        timed(|| {
            for i in 0..n as u64 {
                let member = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let clock = VClock::from(Dot::new(1, i + 1));
                set.apply(Op::Rm {
                    clock,
                    members: vec![member],
                });
            }
        })
    });
}

/// Whole states, small changes and hiding between two nodes.
fn exchange(criterion: &mut Criterion, n: usize) {
    let crowd = Crowd::new(n, Layout::HundredPerTopic);
    let mut local = crowd.tracked();
    let id = local.id().clone();
    let full = local.delta_since(&id, 0).unwrap();
    let body: bytes::Bytes = local.full_body(&id, 0).unwrap().into();
    bench(criterion, "full state applied", US, (n, n), || {
        let mut remote = empty("remote");
        timed(|| {
            let mut staged = StagedRepair::new(body.clone(), remote.limits()).unwrap();
            assert!(remote.begin_repair(&mut staged, false).unwrap());
            while !remote.apply_slice(&mut staged, 1_024).unwrap().done {}
            assert_eq!(remote.len(), n);
        })
    });
    bench(criterion, "full state with Diff", US, (n, n), || {
        let mut remote = empty("remote");
        timed(|| remote.apply(&full).unwrap())
    });
    bench(criterion, "full state encoded", US, (n, n), || {
        timed(|| local.delta_since(&id, 0))
    });
    let mut remote = empty("remote");
    remote.apply(&full).unwrap();
    let mut i = 0;
    bench(criterion, "1-entry delta applied", US, (n, 1), || {
        let clock = local.clock(&id);
        i += 1;
        local
            .track(&headcount::Put::new(
                "room:00000",
                &format!("late {i}"),
                "conn",
            ))
            .unwrap();
        let delta = local.delta_since(&id, clock).unwrap();
        timed(|| remote.apply(&delta).unwrap())
    });
    let mut hidden = false;
    bench(criterion, "hide or show", US, (n, 1), || {
        hidden = !hidden;
        timed(|| remote.set_hidden(&id, hidden))
    });
    bench(criterion, "full state applied", ORSWOT, (n, n), {
        let set = orswot_of(n);
        move || {
            let (mut target, source) = (Orswot::new(), set.clone());
            timed(|| target.merge(source))
        }
    });
    bench(criterion, "1-entry delta applied", ORSWOT, (n, 1), {
        let mut set = orswot_of(n);
        let mut i = 0;
        move || {
            let mut one = Orswot::new();
            i += 1;
            one.apply(Op::Add {
                dot: Dot::new(2, i),
                members: vec![i],
            });
            timed(|| set.merge(one))
        }
    });
}

fn print_table() {
    let times = TIMES.lock().unwrap();
    let goals = BTreeMap::from([("track", 1.6), ("untrack", 2.5), ("get_by_key", 2.0)]);
    println!(
        "\n{:<24}{:>9}  {:<22}{:>12}{:>12}",
        "operation", "size", "who", "ns each", "x HashMap"
    );
    for ((operation, size, rival), each) in times.iter() {
        let map = times.get(&(operation.clone(), *size, MAP));
        let ratio = map.map_or(String::new(), |map| format!("{:.2}", each / map));
        let goal = goals
            .get(operation.as_str())
            .filter(|_| rival.starts_with(US));
        let goal = goal.map_or(String::new(), |goal| format!("  goal {goal}"));
        println!("{operation:<24}{size:>9}  {rival:<22}{each:>12.0}{ratio:>12}{goal}");
    }
    if times.is_empty() {
        return;
    }
    println!("\nbytes per entry (20-byte keys, 8-byte owners, 32-byte metas)");
    for n in times
        .keys()
        .map(|(_, n, _)| *n)
        .collect::<std::collections::BTreeSet<_>>()
    {
        print_bytes(n);
    }
}

fn held<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = in_use();
    let made = make();
    (made, in_use() - before)
}

fn print_bytes(n: usize) {
    let per = |bytes: usize| bytes as f64 / n as f64;
    for (name, layout) in [
        (US, Layout::HundredPerTopic),
        (US_ONE_TOPIC, Layout::OneTopic),
    ] {
        let crowd = Crowd::new(n, layout);
        let (mut local, here) = held(|| crowd.tracked());
        let id = local.id().clone();
        let full = local.delta_since(&id, 0).unwrap();
        let mut remote = empty("remote");
        let (_, there) = held(|| drop(remote.apply(&full).unwrap()));
        let clock = local.clock(&id);
        let gone = (n / 10).min(50_000);
        for i in 0..gone {
            let (topic, key, owner) = crowd.place(i);
            assert!(local.untrack(topic, key, owner));
        }
        let leaves = local.delta_since(&id, clock).unwrap();
        println!(
            "{n:>9}  {name:<22} memory {:>6.1} at the origin, {:>6.1} elsewhere; wire {:>5.1}; leave {:.1}",
            per(here),
            per(there),
            per(full.len()),
            leaves.len() as f64 / gone as f64
        );
    }
    let crowd = Crowd::new(n, Layout::OneTopic);
    let map = || -> HashMap<String, Box<[u8]>> {
        crowd
            .keys()
            .iter()
            .map(|key| (key.clone(), crowd.meta().into()))
            .collect()
    };
    println!("{n:>9}  {MAP:<22} memory {:>6.1}", per(held(map).1));
    println!(
        "{n:>9}  {ORSWOT:<22} memory {:>6.1} (u64 members)",
        per(held(|| orswot_of(n)).1)
    );
}
