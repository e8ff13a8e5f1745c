//! The frames that one process takes: Deltas of one entry each from many origins, sealed before the clock runs.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};

/// Runs of each measurement.
const RUNS: usize = 5;
/// The simulated time between two operations of an origin, above that for which operations wait to travel together.
const PAUSE: Duration = Duration::from_millis(10);
/// The simulated time in which all nodes come to know each other.
const MEETING: Duration = Duration::from_secs(3);
/// Rooms that the entries of an origin are spread over.
const ROOMS: usize = 20;

/// An origin, and the frames that it has sealed.
struct Sender {
    name: String,
    presence: Presence,
    frames: Vec<Bytes>,
}

/// Prints a table: a row for each number of threads.
pub fn print(origins: usize, frames: usize, threads: &[usize]) {
    println!("{origins} origins, {frames} operations each; median of {RUNS}");
    println!("| threads | frames | frames a second | ns a frame |");
    println!("|---|---|---|---|");
    for &threads in threads {
        let mut runs: Vec<_> = (0..RUNS).map(|_| run(origins, frames, threads)).collect();
        runs.sort_by_key(|(_, took)| *took);
        let (count, took) = runs[RUNS / 2];
        println!(
            "| {threads} | {count} | {:.0} | {:.0} |",
            count as f64 / took.as_secs_f64(),
            took.as_nanos() as f64 / count as f64
        );
    }
}

/// Returns the frames that were taken, and in which time.
fn run(origins: usize, frames: usize, threads: usize) -> (usize, Duration) {
    let taker = Presence::new(id("taker"), PresenceConfig::default());
    let mut senders: Vec<_> = (0..origins).map(sender).collect();
    let now = meet(&taker, &mut senders);
    for sender in &mut senders {
        seal(sender, frames, now);
    }
    let count = senders.iter().map(|sender| sender.frames.len()).sum();
    let now = now + PAUSE * u32::try_from(frames).unwrap_or(u32::MAX);
    let shares = senders.chunks(origins.div_ceil(threads));
    let start = Instant::now();
    thread::scope(|scope| {
        for share in shares {
            scope.spawn(|| take(&taker, share, now));
        }
    });
    let took = start.elapsed();
    assert_eq!(taker.len(), origins * frames, "every frame was applied");
    (count, took)
}

fn id(name: &str) -> ReplicaId {
    ReplicaId::new(name, 1, 0).expect("a short name")
}

fn sender(n: usize) -> Sender {
    let name = format!("node-{n}");
    let config = PresenceConfig::default().seed(n as u64);
    Sender {
        presence: Presence::new(id(&name), config),
        frames: Vec::new(),
        name,
    }
}

/// Lets the taker and each sender come to know each other. Returns the time then.
fn meet(taker: &Presence, senders: &mut [Sender]) -> Duration {
    let mut now = Duration::ZERO;
    while now < MEETING {
        now += PAUSE;
        taker.handle_timeout(now);
        while let Some(transmit) = taker.poll_transmit() {
            for sender in senders.iter() {
                let taken = sender
                    .presence
                    .handle_message(now, "taker", &transmit.frame);
                taken.expect("a good frame");
            }
        }
        for sender in senders.iter() {
            sender.presence.handle_timeout(now);
            while let Some(transmit) = sender.presence.poll_transmit() {
                let taken = taker.handle_message(now, &sender.name, &transmit.frame);
                taken.expect("a good frame");
            }
        }
    }
    now
}

/// Seals one Delta for each entry, and the Beats between them.
fn seal(sender: &mut Sender, frames: usize, mut now: Duration) {
    for n in 0..frames {
        now += PAUSE;
        let room = format!("room-{}", n % ROOMS);
        let key = format!("user-{n}");
        let owner = format!("{}-{n}", sender.name);
        let entry = NewEntry::new(&room, &key, &owner);
        sender.presence.track(&entry).expect("a good entry");
        sender.presence.handle_timeout(now);
        while let Some(transmit) = sender.presence.poll_transmit() {
            sender.frames.push(transmit.frame);
        }
    }
    sender.presence.handle_timeout(now + PAUSE);
    while let Some(transmit) = sender.presence.poll_transmit() {
        sender.frames.push(transmit.frame);
    }
}

/// Hands over the frames of some senders, one of each in turn.
fn take(taker: &Presence, senders: &[Sender], now: Duration) {
    let longest = senders.iter().map(|sender| sender.frames.len()).max();
    for n in 0..longest.unwrap_or(0) {
        for sender in senders {
            if let Some(frame) = sender.frames.get(n) {
                let taken = taker.handle_message(now, &sender.name, frame);
                taken.expect("a good frame");
            }
        }
    }
}
