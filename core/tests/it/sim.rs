//! Whole clusters, simulated: every schedule converges.

use std::sync::atomic::{AtomicU64, Ordering};

use headcount::testing::{self, Failure, Fault};

/// Runs the schedules of seeds `first..first + count` on two threads.
fn schedules(first: u64, count: u64) -> Result<(), Failure> {
    let next = AtomicU64::new(first);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return Ok(());
            }
            testing::simulate(seed, None)?;
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let here = work();
        other.join().expect("a schedule does not panic").and(here)
    })
}

#[test]
fn schedules_converge() {
    if let Err(failure) = schedules(1_000_000, 200_000) {
        panic!("{failure}");
    }
}

#[test]
fn a_seed_always_makes_the_same_schedule() {
    let account = |seed| {
        let mut lines = Vec::new();
        let stats = testing::replay(seed, None, &mut |line| lines.push(line.to_owned()));
        (stats, lines)
    };
    for seed in 0..50 {
        assert_eq!(account(seed), account(seed), "SEED={seed}");
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    // Rules whose breaking shows seldom start close to a seed that shows it.
    let first = |fault| match fault {
        Fault::IgnoreDivergence => 14_000,
        Fault::ServeInexact => 17_500,
        _ => 1,
    };
    let faults = Fault::ALL.iter().copied();
    let missed: Vec<Fault> = faults
        .filter(|&fault| {
            let mut seeds = first(fault)..first(fault) + 60_000;
            seeds.all(|seed| testing::simulate(seed, Some(fault)).is_ok())
        })
        .collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
