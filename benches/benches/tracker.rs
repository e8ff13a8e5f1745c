//! The tracker beside `HashMap<String, Box<[u8]>>` and `crdts::Orswot`, in the same run.
//!
//! `cargo bench -p headcount-benches --bench tracker` runs 10k, 100k and 1M sessions
//! (`HEADCOUNT_BENCH_SIZES`); a filter such as `-- track` picks some operations. Criterion repeats
//! and reports; tables with medians, ratios and the goals are printed at the end.
#![allow(missing_docs)]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use crdts::{CmRDT, CvRDT, Dot, Orswot, VClock, orswot::Op};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use headcount::tracker::StagedRepair;
use headcount::{NewEntry, Tracker};
use headcount_benches::crowd::{Crowd, Layout, empty};
use headcount_benches::memory::Counting;
use headcount_benches::meter::{Took, live_bytes, timed};
use headcount_benches::partitioned;
use headcount_benches::table::{Goal, Table, save, sizes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const US: &str = "headcount";
const MAP: &str = "HashMap";
const ORSWOT: &str = "Orswot";

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut tables = Vec::new();
    for n in sizes() {
        let mut run = Run {
            criterion: &mut criterion,
            table: Table::new(format!(
                "{n} sessions: 20-byte keys, 8-byte owners (one owner each), 32-byte metas"
            )),
            n,
        };
        run.local_operations();
        run.hash_map();
        run.orswot();
        run.exchange();
        run.small_changes();
        run.reads();
        run.bytes();
        run.goals();
        tables.push(run.table);
    }
    tables.push(partitioned::table());
    criterion.final_summary();
    tables.iter().for_each(Table::print);
    save(&tables);
}

/// All operations at one number of sessions.
struct Run<'a> {
    criterion: &'a mut Criterion,
    table: Table,
    n: usize,
}

impl Run<'_> {
    /// Times `run`, which does `count` operations and returns their time without set-up.
    fn bench(
        &mut self,
        operation: &str,
        who: &'static str,
        count: usize,
        mut run: impl FnMut() -> Took,
    ) {
        let Self {
            criterion,
            table,
            n,
        } = self;
        let mut group = criterion.benchmark_group(operation);
        group
            .sampling_mode(SamplingMode::Flat)
            .throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new(who, *n), |b| {
            b.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let took = run();
                    let each = took.cost().as_nanos() as f64 / count as f64;
                    table.note(operation, "ns", who, each);
                    total += took.clock;
                }
                total
            });
        });
        group.finish();
    }
}

const LAYOUTS: [(Layout, &str); 2] = [
    (Layout::HundredPerTopic, ""),
    (Layout::OneTopic, ", one topic"),
];

impl Run<'_> {
    fn local_operations(&mut self) {
        let n = self.n;
        for (layout, suffix) in LAYOUTS {
            let crowd = Crowd::new(n, layout);
            self.bench(&format!("track{suffix}"), US, n, || {
                let mut tracker = empty("bench");
                let track = |entry| drop(tracker.track(&entry).unwrap());
                timed(|| crowd.entries().for_each(track))
            });
            let tracker = crowd.tracked();
            self.bench(&format!("get_by_key{suffix}"), US, n, || {
                timed(|| {
                    for i in (0..n).rev() {
                        let (topic, key, _) = crowd.place(i);
                        black_box(tracker.get_by_key(topic, key).next().unwrap().meta());
                    }
                })
            });
            drop(tracker);
            self.bench(&format!("untrack{suffix}"), US, n, || {
                let mut tracker = crowd.tracked();
                timed(|| {
                    for i in (0..n).rev() {
                        let (topic, key, owner) = crowd.place(i);
                        assert!(tracker.untrack(topic, key, owner));
                    }
                })
            });
        }
    }

    fn hash_map(&mut self) {
        let n = self.n;
        let crowd = Crowd::new(n, Layout::OneTopic);
        let filled = || -> HashMap<String, Box<[u8]>> {
            let mut map = HashMap::new();
            for key in crowd.keys() {
                map.insert(key.clone(), crowd.meta().into());
            }
            map
        };
        for (_, suffix) in LAYOUTS {
            self.bench(&format!("track{suffix}"), MAP, n, || timed(filled));
            let map = filled();
            self.bench(&format!("get_by_key{suffix}"), MAP, n, || {
                timed(|| {
                    for key in crowd.keys().iter().rev() {
                        black_box(map.get(key.as_str()).unwrap());
                    }
                })
            });
            drop(map);
            self.bench(&format!("untrack{suffix}"), MAP, n, || {
                let mut map = filled();
                timed(|| {
                    for key in crowd.keys().iter().rev() {
                        map.remove(key.as_str()).unwrap();
                    }
                })
            });
        }
    }

    fn orswot(&mut self) {
        let n = self.n;
        self.bench("track", ORSWOT, n, || timed(|| orswot_of(n)));
        self.bench("untrack", ORSWOT, n, || {
            let mut set = orswot_of(n);
            timed(|| {
                for i in 0..n as u64 {
                    let clock = VClock::from(Dot::new(1, i + 1));
                    let members = vec![member(i)];
                    set.apply(Op::Rm { clock, members });
                }
            })
        });
    }

    /// Whole states between two nodes.
    fn exchange(&mut self) {
        let n = self.n;
        let local = Crowd::new(n, Layout::HundredPerTopic).tracked();
        let id = local.id().clone();
        let full = local.delta_since(&id, 0).unwrap();
        let body: bytes::Bytes = local.full_body(&id).unwrap().into();
        self.bench("full state applied", US, n, || {
            let mut remote = empty("remote");
            timed(|| {
                let mut staged = StagedRepair::new(body.clone(), remote.limits()).unwrap();
                assert!(staged.begin(&mut remote, false).unwrap());
                while !staged.step(&mut remote, 1_024).unwrap().done {}
                assert_eq!(remote.len(), n);
            })
        });
        self.bench("full state applied", ORSWOT, n, {
            let set = orswot_of(n);
            move || {
                let mut target = Orswot::new();
                let source = set.clone();
                timed(|| target.merge(source))
            }
        });
        self.bench("full state with Diff", US, n, || {
            let mut remote = empty("remote");
            timed(|| remote.apply(&full).unwrap())
        });
        self.bench("full state encoded", US, n, || {
            timed(|| local.delta_since(&id, 0))
        });
    }

    /// Small changes between two nodes, many in a batch: one is shorter than a read of the clock.
    fn small_changes(&mut self) {
        let mut local = Crowd::new(self.n, Layout::HundredPerTopic).tracked();
        let id = local.id().clone();
        let mut remote = empty("remote");
        remote.apply(&local.delta_since(&id, 0).unwrap()).unwrap();
        let mut late = 0;
        self.bench("1-entry delta applied", US, BATCH, || {
            let mut deltas = Vec::with_capacity(BATCH);
            for _ in 0..BATCH {
                let clock = local.clock(&id);
                late += 1;
                let key = format!("late {late}");
                let entry = NewEntry::new("room:00000", &key, "conn");
                drop(local.track(&entry).unwrap());
                deltas.push(local.delta_since(&id, clock).unwrap());
            }
            let took = timed(|| {
                for delta in &deltas {
                    drop(black_box(remote.apply(delta).unwrap()));
                }
            });
            for at in 0..BATCH {
                local.untrack("room:00000", &format!("late {}", late - at), "conn");
            }
            let clock = remote.clock(&id);
            remote
                .apply(&local.delta_since(&id, clock).unwrap())
                .unwrap();
            took
        });
        self.bench("hide or show", US, BATCH, || {
            timed(|| {
                for at in 0..BATCH {
                    assert!(remote.set_hidden(&id, at % 2 == 0));
                }
            })
        });
        let mut set = orswot_of(self.n);
        let mut counter = 0;
        // It walks through the whole set for it.
        self.bench("1-entry delta applied", ORSWOT, 1, || {
            let mut one = Orswot::new();
            counter += 1;
            one.apply(Op::Add {
                dot: Dot::new(2, counter),
                members: vec![counter],
            });
            timed(|| set.merge(one))
        });
    }

    /// State that reads must not depend on.
    fn reads(&mut self) {
        let crowd = Crowd::new(self.n, Layout::HundredPerTopic);
        let local = crowd.tracked();
        let full = local.delta_since(local.id(), 0).unwrap();
        for (who, dead) in [("1,000 dead replicas", 1_000), (NONE_DEAD, 0)] {
            let mut remote = empty("remote");
            remote.apply(&full).unwrap();
            for at in 0..dead {
                bury(
                    &mut remote,
                    &format!("dead-{at}"),
                    crowd.place(at % self.n).0,
                );
            }
            let count = self.n.min(100_000);
            self.bench(DEAD, who, count, || {
                timed(|| {
                    for i in 0..count {
                        let (topic, key, _) = crowd.place(i);
                        black_box(remote.get_by_key(topic, key).next().unwrap().meta());
                    }
                })
            });
        }
        let mut tracker = Crowd::new(self.n, Layout::OneTopic).tracked();
        drop(
            tracker
                .track(&NewEntry::new("room:one", "key", "conn"))
                .unwrap(),
        );
        for (who, topic) in [("all in it", "room:city"), (ALONE, "room:one")] {
            self.bench(COUNT, who, BATCH, || {
                timed(|| {
                    for _ in 0..BATCH {
                        black_box(tracker.count(black_box(topic)));
                    }
                })
            });
        }
    }

    /// Memory, and bytes on the wire.
    fn bytes(&mut self) {
        let n = self.n;
        for (layout, suffix) in LAYOUTS {
            let crowd = Crowd::new(n, layout);
            let (here, mut local) = live_bytes(|| crowd.tracked());
            let id = local.id().clone();
            let full = local.delta_since(&id, 0).unwrap();
            let (there, _remote) = live_bytes(|| {
                let mut remote = empty("remote");
                drop(remote.apply(&full).unwrap());
                remote
            });
            let clock = local.clock(&id);
            let gone = (n / 10).min(50_000);
            for i in 0..gone {
                let (topic, key, owner) = crowd.place(i);
                assert!(local.untrack(topic, key, owner));
            }
            let leaves = local.delta_since(&id, clock).unwrap();
            for (metric, bytes, of) in [
                ("memory, origin", here, n),
                ("memory, elsewhere", there, n),
                ("wire", full.len(), n),
                ("a leave on the wire", leaves.len(), gone),
            ] {
                let each = bytes as f64 / of as f64;
                self.table.note(&format!("{metric}{suffix}"), "B", US, each);
            }
            let map = || -> HashMap<String, Box<[u8]>> {
                let entry = |key: &String| (key.clone(), crowd.meta().into());
                crowd.keys().iter().map(entry).collect()
            };
            let each = live_bytes(map).0 as f64 / n as f64;
            self.table
                .note(&format!("memory, origin{suffix}"), "B", MAP, each);
            let each = live_bytes(|| orswot_of(n)).0 as f64 / n as f64;
            self.table
                .note(&format!("memory, origin{suffix}"), "B", ORSWOT, each);
        }
    }

    fn goals(&mut self) {
        for (_, suffix) in LAYOUTS {
            for (metric, goal) in [
                ("track", Goal::Times(1.6, MAP)),
                ("get_by_key", Goal::Times(2.0, MAP)),
                ("untrack", Goal::Times(2.5, MAP)),
                ("memory, origin", Goal::AtMost(160.0)),
                ("memory, elsewhere", Goal::AtMost(160.0)),
                ("wire", Goal::AtMost(70.0)),
                ("a leave on the wire", Goal::AtMost(8.0)),
            ] {
                self.table.goal(&format!("{metric}{suffix}"), goal);
            }
        }
        for (metric, goal) in [
            ("full state applied", Goal::AtMost(800.0)),
            ("1-entry delta applied", Goal::AtMost(5_000.0)),
            ("hide or show", Goal::AtMost(10_000.0)),
            (DEAD, Goal::Times(1.1, NONE_DEAD)),
            (COUNT, Goal::Times(1.5, ALONE)),
        ] {
            self.table.goal(metric, goal);
        }
    }
}

/// Operations in a batch of short ones.
const BATCH: usize = 1_000;
const DEAD: &str = "get_by_key beside the dead";
const NONE_DEAD: &str = "none";
const COUNT: &str = "count of a topic";
const ALONE: &str = "one in it";

/// A replica that had an entry in a topic and has left.
fn bury(tracker: &mut Tracker, name: &str, topic: &str) {
    let mut dead = empty(name);
    drop(dead.track(&NewEntry::new(topic, name, "conn")).unwrap());
    let frame = dead.delta_since(dead.id(), 0).unwrap();
    drop(tracker.apply(&frame).unwrap());
    assert!(tracker.set_hidden(dead.id(), true));
}

const fn member(i: u64) -> u64 {
    i.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn orswot_of(n: usize) -> Orswot<u64, u64> {
    let mut set = Orswot::new();
    for i in 0..n as u64 {
        set.apply(Op::Add {
            dot: Dot::new(1, i + 1),
            members: vec![member(i)],
        });
    }
    set
}
