//! Eight processes over a real `nats-server`, killed, stopped and cut off again and again while they
//! write. What each one acknowledged is what all must show; time is counted in beats of the one that
//! looks.
#![expect(
    clippy::disallowed_methods,
    reason = "core has no I/O, but this test runs real processes over a real network"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use super::support::member::{Content, Entry, Member, Name, Settings, State};
use super::support::nats::{Server, example, nats_server};
use super::support::rng::Rng;

/// Names that look alike, that are long, empty, of other scripts or of control characters.
const TOPICS: [&str; 4] = ["room", "Zoë 部屋", "Zoe\u{308} 部屋", " \u{200f}غرفة\n"];
const KEYS: [&str; 9] = [
    "ann",
    "Ann",
    "",
    "王小明",
    "Zoë",
    "Zoe\u{308}",
    "👩‍👩‍👧 \"quoted\\",
    "a\u{0}b",
    "ﷺ\r\n\t",
];
const OWNERS: [&str; 4] = ["phone", "", "☎", "phone\u{0}"];
const METAS: [&str; 4] = ["", "{}", "\u{0}", "{\"気分\":\"良い\"}"];

/// The beats of an observer within which all must be well after all is mended: a node that was cut
/// off connects again within 20, and loads may be slow on a busy machine.
const REST_BEATS: u64 = 400;
const HEARTBEAT_MS: u64 = 100;
const DOWN_BEATS: u64 = 15;

#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Killed, and started again when nobody shows it any more.
    Kill,
    /// Killed, and started again at once.
    Restart,
    /// Stopped until nobody shows it any more.
    Stop,
    /// Cut off from the server until each side shows the other no more.
    Cut,
    /// Cut off for a moment.
    Blink,
}

/// What was seen since all was well.
#[derive(Default)]
struct Seen {
    /// Observer and replica, for each that fell silent at an observer.
    downs: BTreeSet<(String, String)>,
    /// The members that did not run for a while, because the machine is busy.
    paused: BTreeSet<String>,
}

struct Cluster {
    members: Vec<Member>,
    rng: Rng,
    /// Every entry that was ever acknowledged.
    history: BTreeSet<Entry>,
    seen: Seen,
    rest_beats: u64,
    writes: usize,
    _server: Server,
}

impl Cluster {
    fn start(count: usize, settings: &Settings, seed: u64) -> Self {
        let (server, port) = nats_server();
        let member = |number: usize| {
            let left_out = settings.is_interest.then_some(number % TOPICS.len());
            let topics = (0..TOPICS.len()).filter(|topic| Some(*topic) != left_out);
            let topics: Vec<_> = topics.map(|topic| TOPICS[topic]).collect();
            Member::start(settings, port, &"node ".repeat(number + 1), &topics)
        };
        let mut cluster = Self {
            members: (0..count).map(member).collect(),
            rng: Rng(seed),
            history: BTreeSet::new(),
            seen: Seen::default(),
            rest_beats: REST_BEATS,
            writes: 0,
            _server: server,
        };
        cluster.write(count * 15);
        cluster
    }

    fn all(&self) -> Vec<usize> {
        (0..self.members.len()).collect()
    }

    fn others(&self, place: usize) -> Vec<usize> {
        (0..self.members.len())
            .filter(|other| *other != place)
            .collect()
    }

    /// Writes something on one node after the other, on those that are alive but for one.
    fn write_without(&mut self, left_out: Option<usize>, times: usize) {
        for _ in 0..times {
            let place = self.rng.index(self.members.len());
            if Some(place) != left_out && self.members[place].is_alive() {
                self.write_on(place);
            }
        }
    }

    fn write(&mut self, times: usize) {
        self.write_without(None, times);
    }

    fn write_on(&mut self, place: usize) {
        let rng = &mut self.rng;
        let mut pick = |from: &[&str]| from[rng.index(from.len())].to_owned();
        let name: Name = (pick(&TOPICS), pick(&KEYS), pick(&OWNERS));
        let meta = pick(&METAS);
        let content: Content = (meta, rng.below(4) as u8);
        let verb = ["track", "track", "update", "untrack"][rng.index(4)];
        let member = &mut self.members[place];
        member.write(verb, &name, &content);
        let entry = (member.id.clone(), name);
        if member.own.contains_key(&entry.1) {
            self.history.insert(entry.clone());
            for member in &mut self.members {
                member.gone.remove(&entry);
            }
        }
        self.writes += 1;
    }

    /// Asks some members for their state, and checks what must hold at any time.
    fn look(&mut self, places: &[usize]) -> Result<BTreeMap<usize, State>, String> {
        let mut states = BTreeMap::new();
        for &place in places {
            let member = &mut self.members[place];
            let state = member.state();
            member.id.clone_from(&state.id);
            let name = &member.name;
            if !state.late.is_empty() {
                return Err(format!("silent and shown by {name}: {:?}", state.late));
            }
            let again = state
                .shown()
                .into_keys()
                .find(|entry| member.gone.contains(entry));
            if let Some(entry) = again {
                return Err(format!("resurrected at {name}: {entry:?}"));
            }
            let downs = state.downs.iter();
            self.seen
                .downs
                .extend(downs.map(|down| (state.id.clone(), down.clone())));
            if state.pauses > 0 {
                self.seen.paused.insert(state.id.clone());
            }
            states.insert(place, state);
        }
        Ok(states)
    }

    /// Waits until the members of a group show exactly what these have acknowledged.
    fn rest(&mut self, group: &[usize]) -> Result<(), String> {
        let mut first = None;
        loop {
            let before = Instant::now();
            let states = self.look(group)?;
            let beats = |place: &usize| states[place].beats;
            let first = first.get_or_insert_with(|| group.iter().map(beats).collect::<Vec<_>>());
            let wrong = group
                .iter()
                .find_map(|place| self.difference(group, *place, &states[place]));
            let Some(wrong) = wrong else {
                self.note_gone(group);
                return Ok(());
            };
            let passed = group
                .iter()
                .zip(first)
                .map(|(place, first)| beats(place) - *first);
            if passed.min() > Some(self.rest_beats) {
                return Err(wrong);
            }
            thread::sleep(Duration::from_millis(50));
            // The proxies are threads of this process.
            if before.elapsed() > Duration::from_millis(HEARTBEAT_MS * DOWN_BEATS / 2) {
                let ids = self.members.iter().map(|member| member.id.clone());
                self.seen.paused.extend(ids);
            }
        }
    }

    /// Returns the acknowledged entries of a group.
    fn entries(&self, group: &[usize]) -> BTreeMap<Entry, Content> {
        let members = group.iter().map(|place| &self.members[*place]);
        let of = |member: &Member| {
            let entry = |(name, content): (&Name, &Content)| {
                ((member.id.clone(), name.clone()), content.clone())
            };
            member.own.iter().map(entry).collect::<Vec<_>>()
        };
        members.flat_map(of).collect()
    }

    /// Returns how a member of a group shows something else than it should.
    fn difference(&self, group: &[usize], place: usize, state: &State) -> Option<String> {
        let Member { name, topics, .. } = &self.members[place];
        if !state.topics().eq(topics.iter().collect::<BTreeSet<_>>()) {
            return Some(format!("not ready at {name}"));
        }
        let mut expected = self.entries(group);
        expected.retain(|entry, _| topics.contains(&entry.1.0));
        let shown = state.shown();
        let of = |entry: &Entry| format!("{name}: {entry:?}");
        let lost = expected.keys().find(|entry| !shown.contains_key(*entry));
        let more = shown.keys().find(|entry| !expected.contains_key(*entry));
        let other = expected
            .iter()
            .find(|(entry, content)| shown.get(entry) != Some(content));
        lost.map(|entry| format!("lost at {}", of(entry)))
            .or_else(|| more.map(|entry| format!("resurrected at {}", of(entry))))
            .or_else(|| other.map(|(entry, _)| format!("an update is lost at {}", of(entry))))
    }

    /// Notes, for each member of a group that is at rest, the entries that are over: those of the
    /// group and of the dead that were acknowledged and are no more.
    fn note_gone(&mut self, group: &[usize]) {
        let entries = self.entries(group);
        let outside = self
            .members
            .iter()
            .enumerate()
            .filter(|(place, _)| !group.contains(place));
        let outside: BTreeSet<_> = outside
            .filter(|(_, member)| member.is_alive())
            .map(|(_, member)| member.id.clone())
            .collect();
        let is_over = |entry: &&Entry| !entries.contains_key(*entry) && !outside.contains(&entry.0);
        let gone: BTreeSet<_> = self.history.iter().filter(is_over).cloned().collect();
        for place in group {
            self.members[*place].gone.extend(gone.iter().cloned());
        }
    }

    /// Makes one trouble for a member, and waits until all is well again.
    fn trouble(&mut self, trouble: Trouble) -> Result<(), String> {
        let place = self.rng.index(self.members.len());
        let others = self.others(place);
        let before = self.members[place].id.clone();
        match trouble {
            Trouble::Kill | Trouble::Restart => {
                self.members[place].kill();
                self.write(20);
                if matches!(trouble, Trouble::Kill) {
                    self.rest(&others)?;
                }
                self.members[place].start_process();
            }
            Trouble::Stop => {
                self.members[place].signal("STOP");
                self.write_without(Some(place), 20);
                self.rest(&others)?;
                self.members[place].signal("CONT");
            }
            Trouble::Cut => {
                self.members[place].gate.set_open(false);
                self.write(30);
                self.rest(&others)?;
                self.rest(&[place])?;
                self.members[place].gate.set_open(true);
            }
            Trouble::Blink => {
                self.members[place].gate.set_open(false);
                self.write(30);
                self.members[place].gate.set_open(true);
            }
        }
        self.write(30);
        self.rest(&self.all())?;
        self.check_downs(trouble, &before)
    }

    /// Checks that only the member in trouble fell silent, and that nobody did for one that was
    /// stopped: the beats of the others waited for it.
    fn check_downs(&mut self, trouble: Trouble, troubled: &str) -> Result<(), String> {
        let seen = std::mem::take(&mut self.seen);
        let is_cut = matches!(trouble, Trouble::Cut | Trouble::Blink);
        let is_stopped = matches!(trouble, Trouble::Stop);
        let is_paused = |id: &String| {
            let is_meant = is_stopped && id == troubled;
            seen.paused.contains(id) && !is_meant
        };
        for (observer, silent) in &seen.downs {
            let is_just = silent == troubled || is_cut && observer == troubled;
            if !is_just && !is_paused(observer) && !is_paused(silent) {
                return Err(format!(
                    "{trouble:?} of {troubled}: {observer} hid {silent}"
                ));
            }
        }
        Ok(())
    }
}

fn settings(is_interest: bool) -> Settings {
    Settings {
        program: example("checked_node"),
        heartbeat_ms: HEARTBEAT_MS,
        down_beats: DOWN_BEATS,
        is_interest,
        fault: None,
    }
}

/// Returns how often all troubles are made: once, or as often as a soak wants it.
fn rounds() -> usize {
    let rounds = std::env::var("HEADCOUNT_NATS_ROUNDS").ok();
    rounds.map_or(1, |rounds| rounds.parse().expect("a number of rounds"))
}

fn run(cluster: &mut Cluster, troubles: &[Trouble]) {
    let start = Instant::now();
    for round in 0..rounds() {
        for trouble in troubles {
            let done = cluster.trouble(*trouble);
            done.unwrap_or_else(|wrong| panic!("round {round}, {trouble:?}: {wrong}"));
        }
    }
    let writes = cluster.writes;
    println!(
        "{} rounds, {writes} writes, {:?}",
        rounds(),
        start.elapsed()
    );
}

#[test]
fn eight_processes_lose_nothing_and_show_no_dead() {
    use Trouble::{Blink, Cut, Kill, Restart, Stop};
    let mut cluster = Cluster::start(8, &settings(false), 1);
    cluster.rest(&cluster.all()).unwrap();
    run(
        &mut cluster,
        &[
            Kill, Kill, Restart, Restart, Stop, Stop, Cut, Cut, Blink, Blink,
        ],
    );
}

#[test]
fn eight_processes_that_watch_some_topics_lose_nothing() {
    use Trouble::{Cut, Kill, Stop};
    let mut cluster = Cluster::start(8, &settings(true), 2);
    cluster.rest(&cluster.all()).unwrap();
    run(&mut cluster, &[Kill, Stop, Cut]);
}

/// Starts three nodes that break a rule.
fn broken(fault: &str) -> Cluster {
    let mut settings = settings(false);
    settings.fault = Some(fault.to_owned());
    let mut cluster = Cluster::start(3, &settings, 3);
    cluster.rest_beats = 50;
    cluster.rest(&cluster.all()).unwrap();
    cluster
}

/// Lets one node write while another one is cut off for a moment.
fn miss(cluster: &mut Cluster, verb: &str, name: &Name) -> Result<(), String> {
    let moment = Duration::from_millis(4 * HEARTBEAT_MS);
    cluster.members[0].gate.set_open(false);
    thread::sleep(moment);
    cluster.members[1].write(verb, name, &Content::default());
    thread::sleep(moment);
    cluster.members[0].gate.set_open(true);
    cluster.rest(&cluster.all())
}

/// Each check notices nodes that break a rule.
#[test]
fn broken_rules_are_noticed() {
    let done = broken("NeverDown").trouble(Trouble::Kill);
    let wrong = done.unwrap_err();
    assert!(wrong.contains("silent and shown"), "{wrong}");

    let mut cluster = broken("IgnoreSum");
    let new: Name = (TOPICS[0].into(), "new".into(), "new".into());
    let wrong = miss(&mut cluster, "track", &new).unwrap_err();
    assert!(wrong.contains("lost at"), "{wrong}");

    let mut cluster = broken("IgnoreSum");
    let old = cluster.members[1].own.keys().next().unwrap().clone();
    let wrong = miss(&mut cluster, "untrack", &old).unwrap_err();
    assert!(wrong.contains("resurrected at"), "{wrong}");
}
