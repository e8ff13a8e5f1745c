//! Measures what nodes receive from each other in clusters of several sizes: real frames through
//! `Presence`, on a simulated network and in simulated time. `--help` has examples.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use headcount::codec::Kind;
use headcount::testing::{self, Load, Traffic, Volume};
use headcount_benches::ingest;
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  scale --nodes 25,100,200,1000               the sizes of products, and a large one
  scale --nodes 200,1000 --interest           each node holds what it watches
  scale --nodes 200 --operations 0 --json     a calm cluster, the result as JSON
  scale --nodes 25 --neighbours 4 --kinds     a ring in which frames are passed on, frames by kind
  scale ingest                                frames a second that one process takes
  scale watch --writers 1,3,284               time until a room that is watched is ready

All nodes run in this process. Bytes are exact and the same at each run; only `took` is of this machine.";

/// The copies of entries that all nodes together hold at most by default: about 2 GB.
const COPIES_MAX: usize = 10_000_000;

/// Prints the bytes that a node receives in a second, by their kind, and what one that joins receives.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    measure: Option<Measure>,
    /// Sizes of the clusters, each measured by itself.
    #[arg(long, value_delimiter = ',', default_values_t = [25, 100, 200])]
    nodes: Vec<usize>,
    /// Entries of each node; by default 100, or as many as make 10 million copies in all nodes.
    #[arg(long)]
    entries: Option<usize>,
    /// Operations of each node in a second.
    #[arg(long, default_value_t = 5)]
    operations: u64,
    /// Simulated seconds in which it is measured.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Each node holds the rooms of its own users only, and these have users on three nodes.
    #[arg(long)]
    interest: bool,
    /// Each node also counts 20 rooms in which it has no users. Its operations then include counts.
    #[arg(long, requires = "interest")]
    counts: bool,
    /// The neighbours that each node reaches along a ring, in which frames are passed on; 0: all nodes.
    #[arg(long, default_value_t = 0, conflicts_with = "interest")]
    neighbours: usize,
    /// Prints the frames and bytes of each kind too.
    #[arg(long)]
    kinds: bool,
    /// Prints one JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Measure {
    /// Prints the frames a second that one process takes, from one thread and from several: Deltas of one entry each.
    Ingest {
        /// Origins that send.
        #[arg(long, default_value_t = 200)]
        origins: usize,
        /// Frames of each origin.
        #[arg(long, default_value_t = 2_000)]
        frames: usize,
        /// Numbers of threads, each measured by itself, five times, of which the median is printed.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
        threads: Vec<usize>,
    },
    /// Prints the simulated time until a room that a node watches is ready, and the frames for it.
    Watch {
        /// Numbers of nodes that have a user in the room, each measured by itself.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 3, 30, 284])]
        writers: Vec<usize>,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.measure {
        Some(Measure::Ingest {
            origins,
            frames,
            threads,
        }) => {
            ingest::print(origins, frames, &threads);
            ExitCode::SUCCESS
        }
        Some(Measure::Watch { writers }) => print_watches(&writers),
        None => print_traffic(&args),
    }
}

fn print_watches(writers: &[usize]) -> ExitCode {
    println!("on a network that takes 1 ms in each direction");
    println!("| writers | ms to ready | frames sent | received | bytes received |");
    println!("|---|---|---|---|---|");
    for &writers in writers {
        match testing::measure_watch(writers) {
            Ok(ready) => println!(
                "| {writers} | {} | {} | {} | {} |",
                ready.ms, ready.sent, ready.received, ready.bytes
            ),
            Err(what) => {
                eprintln!("error: {writers} writers: {what}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn print_traffic(args: &Args) -> ExitCode {
    if !args.json {
        println!(
            "bytes a node and second; newcomer: bytes received, or these / bytes of its state"
        );
        println!(
            "| nodes | entries | held | operations | control | beats | rows | newcomer | after | took |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
    }
    let mut results = Vec::new();
    for &nodes in &args.nodes {
        let load = Load {
            nodes,
            entries: args
                .entries
                .unwrap_or(100.min(COPIES_MAX / nodes.max(1).pow(2)).max(1)),
            operations: args.operations,
            seconds: args.seconds,
            is_interest: args.interest,
            has_counts: args.counts,
            neighbours: args.neighbours,
        };
        let start = Instant::now();
        match testing::measure(&load) {
            Ok(traffic) => {
                if !args.json {
                    println!("{}", row(&load, &traffic, start));
                }
                if args.kinds && !args.json {
                    print_kinds(&traffic);
                }
                results.push(to_json(&load, &traffic));
            }
            Err(what) => {
                eprintln!("error: {nodes} nodes: {what}");
                return ExitCode::FAILURE;
            }
        }
    }
    if args.json {
        println!("{}", Value::Array(results));
    }
    ExitCode::SUCCESS
}

fn bytes_of(traffic: &Traffic, kind: Kind) -> u64 {
    traffic
        .by_kind
        .get(&kind.0)
        .map_or(0, |volume| volume.bytes)
}

fn print_kinds(traffic: &Traffic) {
    println!("\n| kind | frames a node and second | bytes | newcomer: frames | bytes |");
    println!("|---|---|---|---|---|");
    let kinds: BTreeSet<_> = [&traffic.by_kind, &traffic.newcomer_by_kind]
        .into_iter()
        .flat_map(BTreeMap::keys)
        .collect();
    for kind in kinds {
        let volume = |of: &BTreeMap<u8, Volume>| of.get(kind).copied().unwrap_or_default();
        let all = volume(&traffic.by_kind);
        let newcomer = volume(&traffic.newcomer_by_kind);
        println!(
            "| {} | {} | {} | {} | {} |",
            Kind(*kind).name(),
            all.frames,
            all.bytes,
            newcomer.frames,
            newcomer.bytes
        );
    }
    println!();
}

fn kinds_to_json(kinds: &BTreeMap<u8, Volume>) -> Value {
    let kinds = kinds.iter().map(|(kind, volume)| {
        let volume = json!({ "frames": volume.frames, "bytes": volume.bytes });
        (Kind(*kind).name().to_owned(), volume)
    });
    Value::Object(kinds.collect())
}

fn row(load: &Load, traffic: &Traffic, start: Instant) -> String {
    // Of a part the state is not known apart.
    let newcomer = match traffic.state {
        0 => format!("{} B", traffic.newcomer),
        state => format!("{:.2}", traffic.newcomer as f64 / state as f64),
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {newcomer} | {} ms | {:.1} s |",
        load.nodes,
        load.entries,
        traffic.held,
        traffic.deltas,
        traffic.control,
        bytes_of(traffic, Kind::BEAT),
        bytes_of(traffic, Kind::ROW),
        traffic.newcomer_ms,
        start.elapsed().as_secs_f64()
    )
}

fn to_json(load: &Load, traffic: &Traffic) -> Value {
    json!({
        "nodes": load.nodes,
        "entries": load.entries,
        "operations_a_second": load.operations,
        "neighbours": load.neighbours,
        "a_second": kinds_to_json(&traffic.by_kind),
        "newcomer": kinds_to_json(&traffic.newcomer_by_kind),
        "newcomer_bytes": traffic.newcomer,
        "state_bytes": traffic.state,
        "newcomer_ms": traffic.newcomer_ms,
        "entries_held": traffic.held,
    })
}
