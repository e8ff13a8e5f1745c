//! Runs schedules of the deterministic simulator, or replays one. `--help` has examples.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use headcount::testing::{self, Failure, Fault, Stats};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  simulate --schedules 200000 --seed 1     a run as in the tests, on all cores
  simulate --replay 4711                   every step of one schedule
  simulate --fault apply-over-gap          a broken rule: ends with the first seed that shows it
  simulate --fault list                    the rules that can be broken
  simulate --schedules 1000 --json         the result as JSON, for scripts

Exit code: 0 when every schedule converged, 1 when one did not, 2 for wrong arguments.";

/// Failing seeds that a run with --keep-going collects.
const FAILURES_MAX: usize = 100;

/// Simulates clusters: loss, reordering, cuts, crashes, clones, snapshots, altered entries, other
/// wire versions; every schedule must converge.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
struct Args {
    /// Number of schedules to run.
    #[arg(long, default_value_t = 200_000)]
    schedules: u64,
    /// The first seed; schedule n has seed + n.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of schedules run at once; default is one for each core.
    #[arg(long, short, visible_alias = "threads")]
    jobs: Option<usize>,
    /// Runs the schedule of one seed and prints every step.
    #[arg(long, value_name = "SEED")]
    replay: Option<u64>,
    /// Breaks a rule of the protocol on purpose; `list` names them.
    #[arg(long, value_name = "RULE")]
    fault: Option<String>,
    /// Continues after a failure, and prints up to 100 of them.
    #[arg(long)]
    keep_going: bool,
    /// Prints the result as one JSON object.
    #[arg(long)]
    json: bool,
    /// Prints nothing but failures.
    #[arg(long)]
    quiet: bool,
}

/// The outcome of a run.
#[derive(Default)]
struct Outcome {
    schedules: u64,
    stats: Stats,
    failures: Vec<Failure>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let fault = match args.fault.as_deref() {
        None => None,
        Some("list") => {
            Fault::ALL
                .iter()
                .for_each(|&fault| println!("{}", name(fault)));
            return ExitCode::SUCCESS;
        }
        Some(given) => {
            let same = |fault: &Fault| {
                name(*fault).replace('-', "") == given.replace('-', "").to_lowercase()
            };
            let Some(fault) = Fault::ALL.iter().copied().find(same) else {
                eprintln!("error: there is no rule `{given}`; `--fault list` names them");
                return ExitCode::from(2);
            };
            Some(fault)
        }
    };
    let start = Instant::now();
    let outcome = match args.replay {
        Some(seed) => replay(&args, seed, fault),
        None => run(&args, fault),
    };
    report(&args, fault, &outcome, start.elapsed());
    if outcome.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Returns the name of a rule as the command line takes it.
fn name(fault: Fault) -> String {
    kebab(&format!("{fault:?}"))
}

fn kebab(camel: &str) -> String {
    let mut name = String::new();
    for letter in camel.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

fn replay(args: &Args, seed: u64, fault: Option<Fault>) -> Outcome {
    let is_shown = !args.quiet && !args.json;
    let mut line = |line: &str| {
        if is_shown {
            println!("{line}");
        }
    };
    let mut outcome = Outcome {
        schedules: 1,
        ..Outcome::default()
    };
    let replayed = testing::replay(seed, fault, &mut line);
    match replayed {
        Ok(stats) => outcome.stats = stats,
        Err(failure) => outcome.failures.push(failure),
    }
    outcome
}

fn run(args: &Args, fault: Option<Fault>) -> Outcome {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let total = Mutex::new(Outcome::default());
    let progress = Progress::new(args);
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.unwrap_or(cores).max(1) {
            scope.spawn(|| {
                let mut sum = Stats::default();
                let mut done = 0;
                while !over.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= args.schedules {
                        break;
                    }
                    done += 1;
                    match testing::simulate(args.seed.wrapping_add(n), fault) {
                        Ok(stats) => sum += stats,
                        Err(failure) => {
                            let failures =
                                &mut total.lock().expect("no thread panics here").failures;
                            failures.push(failure);
                            if !args.keep_going || failures.len() >= FAILURES_MAX {
                                over.store(true, Ordering::Relaxed);
                            }
                        }
                    }
                    progress.done(n + 1);
                }
                let total = &mut *total.lock().expect("no thread panics here");
                total.stats += sum;
                total.schedules += done;
            });
        }
    });
    progress.finish();
    let mut outcome = total.into_inner().expect("no thread panics here");
    outcome.failures.sort_by_key(|failure| failure.seed);
    outcome
}

fn report(args: &Args, fault: Option<Fault>, outcome: &Outcome, took: Duration) {
    let stats = &outcome.stats;
    if args.json {
        println!("{:#}", to_json(args, fault, outcome, took));
    } else if !args.quiet && outcome.failures.is_empty() {
        let rate = outcome.schedules as f64 / took.as_secs_f64().max(1e-9);
        println!(
            "{} schedules converged in {:.1} s ({rate:.0}/s): {} steps, {} frames, {} operations",
            outcome.schedules,
            took.as_secs_f64(),
            stats.steps,
            stats.frames,
            stats.operations
        );
        let happened = stats.incidents.iter().filter(|(_, count)| *count > 0);
        for (incident, count) in happened {
            println!("{:>22} {count}", kebab(&format!("{incident:?}")));
        }
    }
    for failure in &outcome.failures {
        let rule = fault.map_or(String::new(), |fault| format!(" --fault {}", name(fault)));
        eprintln!("{failure}");
        eprintln!("  replay it with: simulate --replay {}{rule}", failure.seed);
    }
}

fn to_json(args: &Args, fault: Option<Fault>, outcome: &Outcome, took: Duration) -> Value {
    let failures = outcome.failures.iter();
    let failures = failures.map(|f| json!({ "seed": f.seed, "step": f.step, "what": f.what }));
    let incidents = outcome.stats.incidents.iter();
    let incidents = incidents.map(|(i, count)| (kebab(&format!("{i:?}")), Value::from(count)));
    json!({
        "seed": args.replay.unwrap_or(args.seed),
        "schedules": outcome.schedules,
        "fault": fault.map(name),
        "seconds": took.as_secs_f64(),
        "steps": outcome.stats.steps,
        "frames": outcome.stats.frames,
        "operations": outcome.stats.operations,
        "incidents": incidents.collect::<serde_json::Map<_, _>>(),
        "failures": failures.collect::<Vec<_>>(),
    })
}

/// Progress: a bar on a terminal, a line now and then in a pipe, nothing with `--quiet`.
struct Progress {
    bar: ProgressBar,
    total: u64,
    start: Instant,
    has_lines: bool,
    /// The time at which the next line is due, in seconds.
    due: AtomicU64,
}

impl Progress {
    const LINE_SECS: u64 = 10;

    fn new(args: &Args) -> Self {
        let template = "{bar:40} {pos}/{len} schedules  {per_sec}  {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        let is_wanted = !args.quiet && !args.json;
        let is_terminal = std::io::stderr().is_terminal();
        let bar = if is_wanted && is_terminal {
            ProgressBar::new(args.schedules).with_style(style)
        } else {
            ProgressBar::hidden()
        };
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            total: args.schedules,
            start: Instant::now(),
            has_lines: is_wanted && !is_terminal,
            due: AtomicU64::new(Self::LINE_SECS),
        }
    }

    fn done(&self, count: u64) {
        if count.is_multiple_of(256) {
            self.bar.inc(256);
            let secs = self.start.elapsed().as_secs();
            let due = self.due.load(Ordering::Relaxed);
            let next = secs + Self::LINE_SECS;
            let is_due = self.has_lines && secs >= due;
            let claim = |due| {
                self.due
                    .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
            };
            if is_due && claim(due).is_ok() {
                eprintln!("{count}/{} schedules, {secs} s", self.total);
            }
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
