//! Runs schedules of the deterministic simulator, or replays one.
//!
//! ```text
//! cargo run --release -p headcount-benches --bin simulate -- --schedules 200000 --seed 1
//! cargo run --release -p headcount-benches --bin simulate -- --replay 4711
//! ```

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use headcount::testing::{self, Failure, Fault, Stats};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Simulates clusters: loss, reordering, cuts, crashes, clones; every schedule must converge.
#[derive(Debug, Parser)]
struct Args {
    /// How many schedules to run.
    #[arg(long, default_value_t = 200_000)]
    schedules: u64,
    /// The first seed; schedule n has seed + n.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; default is one for each core.
    #[arg(long)]
    threads: Option<usize>,
    /// Runs the schedule of one seed and prints every step.
    #[arg(long, value_name = "SEED")]
    replay: Option<u64>,
    /// Breaks a rule of the protocol on purpose: see `--fault list`.
    #[arg(long, value_name = "RULE")]
    fault: Option<String>,
    /// Prints nothing but failures.
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let fault = match args.fault.as_deref().map(fault_named) {
        None => None,
        Some(Some(fault)) => Some(fault),
        Some(None) => {
            let names: Vec<_> = Fault::ALL
                .iter()
                .map(|fault| format!("{fault:?}"))
                .collect();
            eprintln!("rules that can be broken: {}", names.join(" "));
            return ExitCode::from(2);
        }
    };
    let outcome = match args.replay {
        Some(seed) => testing::replay(seed, fault, &mut |line| println!("{line}")),
        None => run(&args, fault),
    };
    match outcome {
        Ok(stats) => {
            if !args.quiet {
                println!("{stats:?}");
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            eprintln!("replay it with: simulate --replay {}", failure.seed);
            ExitCode::FAILURE
        }
    }
}

fn fault_named(name: &str) -> Option<Fault> {
    Fault::ALL
        .iter()
        .copied()
        .find(|fault| format!("{fault:?}").eq_ignore_ascii_case(name))
}

fn run(args: &Args, fault: Option<Fault>) -> Result<Stats, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new((Stats::default(), None::<Failure>));
    let progress = progress_bar(args);
    std::thread::scope(|scope| {
        for _ in 0..args.threads.unwrap_or(cores).max(1) {
            scope.spawn(|| {
                let mut sum = Stats::default();
                while !failed.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= args.schedules {
                        break;
                    }
                    match testing::simulate(args.seed.wrapping_add(n), fault) {
                        Ok(stats) => sum += stats,
                        Err(failure) => {
                            failed.store(true, Ordering::Relaxed);
                            total.lock().expect("no thread panics here").1 = Some(failure);
                        }
                    }
                    if n % 256 == 255 {
                        progress.inc(256);
                    }
                }
                total.lock().expect("no thread panics here").0 += sum;
            });
        }
    });
    progress.finish_and_clear();
    let (stats, failure) = total.into_inner().expect("no thread panics here");
    failure.map_or(Ok(stats), Err)
}

fn progress_bar(args: &Args) -> ProgressBar {
    let template = "{bar:40} {pos}/{len} schedules  {per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    let bar = ProgressBar::new(args.schedules).with_style(style);
    if args.quiet {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
