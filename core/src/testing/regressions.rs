//! Faults that the first control plane had, on small clusters with a network without delay.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::process::{Process, Settings};
use crate::id::ReplicaId;
use crate::replica::{Address, Config, Destination, Event};
use crate::tracker::{Limits, NewEntry};

/// The time of one step.
const STEP: Duration = Duration::from_millis(100);
const ROOM: &str = "room";

/// Processes that hear each other at once, unless a link is cut.
struct Cluster {
    now: Duration,
    processes: Vec<Option<Process>>,
    cut: BTreeSet<(usize, usize)>,
    flights: VecDeque<(usize, usize, Bytes)>,
    events: Vec<Vec<Event>>,
}

impl Cluster {
    fn new() -> Self {
        Self {
            now: Duration::ZERO,
            processes: Vec::new(),
            cut: BTreeSet::new(),
            flights: VecDeque::new(),
            events: Vec::new(),
        }
    }

    /// Starts a process. Returns its place.
    fn start(&mut self, name: &str, incarnation: u64, config: Config, limits: Limits) -> usize {
        let id = ReplicaId::new(name, incarnation, 0).unwrap();
        let seed = incarnation + self.processes.len() as u64;
        let settings = Settings {
            wire: config,
            limits,
            seed,
            ..Settings::default()
        };
        self.processes.push(Some(Process::new(id, settings)));
        self.events.push(Vec::new());
        self.processes.len() - 1
    }

    fn start_default(&mut self, name: &str, incarnation: u64) -> usize {
        self.start(name, incarnation, Config::default(), Limits::default())
    }

    fn write(&mut self, place: usize, key: &str, meta: &[u8]) {
        let entry = NewEntry::new(ROOM, key, "conn").meta(meta);
        self.process(place).presence.upsert(&entry).unwrap();
    }

    fn process(&mut self, place: usize) -> &mut Process {
        self.processes[place].as_mut().unwrap()
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            for place in 0..self.processes.len() {
                if let Some(process) = &mut self.processes[place] {
                    process.presence.handle_timeout(self.now);
                    self.collect(place);
                }
            }
            while let Some((from, to, frame)) = self.flights.pop_front() {
                let address: Address = from.to_string().into();
                if let Some(process) = &mut self.processes[to] {
                    process.handle_message(self.now, &address, &frame).unwrap();
                    self.collect(to);
                }
            }
        }
    }

    fn collect(&mut self, from: usize) {
        let process = self.processes[from].as_mut().unwrap();
        while process.work() {}
        self.events[from].extend(std::iter::from_fn(|| process.presence.poll_event()));
        while let Some(transmit) = process.presence.poll_transmit() {
            let to = match transmit.to {
                Destination::All | Destination::Group(_) => (0..self.events.len()).collect(),
                Destination::Peer(address) => vec![address.parse::<usize>().unwrap()],
            };
            let to = to.into_iter();
            let reached = to.filter(|to| *to != from && !self.cut.contains(&(from, *to)));
            self.flights
                .extend(reached.map(|to| (from, to, transmit.frame.clone())));
        }
    }

    fn count(&mut self, place: usize) -> usize {
        self.process(place).presence.count(ROOM).unwrap()
    }

    fn take_events(&mut self, place: usize) -> Vec<Event> {
        std::mem::take(&mut self.events[place])
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Nobody repeats what others hold, so nothing but a replica itself keeps it up.
#[test]
fn one_broken_link_of_three_hides_two_replicas_from_each_other_once() {
    let mut cluster = Cluster::new();
    for name in ["a", "b", "c"] {
        let place = cluster.start_default(name, 1);
        cluster.write(place, name, b"");
    }
    cluster.run(seconds(3));
    (0..3).for_each(|place| assert_eq!(cluster.count(place), 3));
    cluster.take_events(0);
    cluster.cut.extend([(0, 1), (1, 0)]);
    cluster.run(seconds(120));
    assert_eq!([0, 1, 2].map(|place| cluster.count(place)), [2, 2, 3]);
    let b = ReplicaId::new("b", 1, 0).unwrap();
    assert_eq!(cluster.take_events(0), [Event::ReplicaDown(b.clone())]);
    cluster.cut.clear();
    cluster.run(seconds(3));
    assert_eq!([0, 1, 2].map(|place| cluster.count(place)), [3, 3, 3]);
    assert_eq!(cluster.take_events(0), [Event::ReplicaUp(b)]);
}

#[test]
fn the_users_of_a_node_are_back_soon_after_another_process_of_its_name_ended() {
    for says_goodbye in [false, true] {
        let mut cluster = Cluster::new();
        let a = cluster.start_default("a", 1);
        let b = cluster.start_default("b", 1);
        cluster.write(a, "ann", b"");
        cluster.run(seconds(3));
        assert_eq!(cluster.count(b), 1);
        let rival = cluster.start_default("a", 9);
        cluster.run(seconds(40));
        assert_eq!(cluster.count(b), 0, "the later process has the name");
        let is_told = |event: &Event| matches!(event, Event::DuplicateName { .. });
        assert!(cluster.take_events(a).iter().any(is_told));
        if says_goodbye {
            let now = cluster.now;
            cluster.process(rival).presence.leave_gracefully(now);
            cluster.run(seconds(1));
        }
        cluster.processes[rival] = None;
        cluster.run(seconds(if says_goodbye { 1 } else { 7 }));
        assert_eq!(cluster.count(b), 1);
    }
}

/// A state of many times the bytes that may wait reaches those that have nothing of it and those
/// that have a part.
#[test]
fn a_partition_of_any_size_reaches_others() {
    let config = || Config {
        frame_max: 4 << 10,
        reply_bytes_max: 16 << 10,
        staging_bytes_max: 16 << 10,
        ..Config::default()
    };
    let mut cluster = Cluster::new();
    let limits = Limits::default().leave_log_len_max(8);
    let a = cluster.start("a", 1, config(), limits);
    let b = cluster.start("b", 1, config(), Limits::default());
    let fill = |cluster: &mut Cluster, meta: u8| {
        for user in 0..2_000 {
            cluster.write(a, &format!("user {user}"), &[meta; 512]);
        }
    };
    cluster.write(a, "first", b"");
    cluster.run(seconds(3));
    assert_eq!(cluster.count(b), 1);
    fill(&mut cluster, 1);
    let c = cluster.start("c", 1, config(), Limits::default());
    cluster.run(seconds(60));
    assert_eq!([b, c].map(|place| cluster.count(place)), [2_001, 2_001]);
    cluster.cut.extend([(a, b), (b, a)]);
    fill(&mut cluster, 2);
    cluster.run(seconds(3));
    cluster.cut.clear();
    cluster.run(seconds(60));
    for place in [b, c] {
        let process = cluster.process(place);
        let entries = process.presence.list(ROOM).unwrap().into_iter();
        let is_new = entries.filter(|entry| entry.meta() == [2; 512]).count();
        assert_eq!(is_new, 2_000);
    }
}

#[test]
fn a_node_that_starts_again_and_again_takes_no_room_from_others() {
    let mut cluster = Cluster::new();
    let config = Config {
        peers_max: 3,
        ..Config::default()
    };
    let a = cluster.start("a", 1, config, Limits::default());
    for incarnation in 1..=200 {
        let place = cluster.start_default("b", incarnation);
        cluster.run(STEP);
        cluster.processes[place] = None;
    }
    cluster.start_default("c", 1);
    cluster.start_default("d", 1);
    cluster.run(seconds(3));
    let replicas = cluster.process(a).presence.replicas();
    let mut names: Vec<_> = replicas.iter().map(|(id, _)| id.name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["b", "c", "d"]);
}

#[test]
fn entries_beyond_a_limit_are_refused_with_few_events_and_questions() {
    let mut cluster = Cluster::new();
    let a = cluster.start_default("a", 1);
    let b = cluster.start("b", 1, Config::default(), Limits::default().entries_max(5));
    for user in 0..9 {
        cluster.write(a, &format!("user {user}"), b"");
    }
    cluster.run(seconds(600));
    assert_eq!(cluster.count(b), 0);
    let refusals = cluster.take_events(b);
    let is_refusal = |event: &&Event| matches!(event, Event::Refused { .. });
    let counts: Vec<_> = refusals
        .iter()
        .filter(is_refusal)
        .map(Event::count)
        .collect();
    assert!(
        counts.len() <= 10 && counts[0] == 1,
        "once a minute: {counts:?}"
    );
    assert!(
        counts.iter().sum::<u64>() <= 12,
        "few questions: {counts:?}"
    );
}
