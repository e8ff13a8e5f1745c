//! Trackers against a naive model: every holder of an origin at a clock must show exactly the state
//! that the origin had at that clock, by whatever path it got there; and the Diffs must add up to
//! the lists, for every reader, at whatever time it began.

use std::collections::{BTreeMap, VecDeque};

use headcount::tracker::{
    ApplyError, Encoding, Extract, Key, Limits, StagedDelta, StagedRepair, VisibilityChange,
};
use headcount::{Diff, NewEntry, ReplicaId, TrackError, Tracker};
use proptest::prelude::*;

use crate::support::mirror::Mirror;

/// Readers of a node that begin with a list.
const LATE_MAX: usize = 8;
const NODES: usize = 3;
const TOPICS: [&str; 3] = ["t0", "t1", "t2"];
const KEYS: [&str; 4] = ["k0", "k1", "k2", "k3"];
const OWNERS: [&str; 3] = ["o0", "o1", "o2"];

type Session = (usize, usize, usize);
type Content = (u8, u8);
type State = BTreeMap<Session, Content>;

#[derive(Debug, Clone, Copy)]
enum Verb {
    Track,
    Update,
    Upsert,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Whole,
    Sliced,
    Extracted,
    Full,
}

#[derive(Debug, Clone)]
enum Op {
    Write(usize, Verb, Session, Content),
    Untrack(usize, Session),
    UntrackOwner(usize, usize),
    Flush(usize),
    /// From, to, whose origin, how.
    Sync(usize, usize, usize, How),
    /// An old frame arrives again, or late.
    Replay(usize, usize),
    Hide(usize, usize, bool),
    Forget(usize, usize),
    Retire(usize, usize),
    Trim(usize, usize),
    Restart(usize),
    Reincarnate(usize),
}

struct Node {
    tracker: Tracker,
    /// The sum of all Diffs.
    mirror: Mirror,
    /// The lists of readers that began between any two operations, with the Diffs since.
    late: VecDeque<Mirror>,
    /// The expected own entries.
    own: State,
}

struct World {
    nodes: Vec<Node>,
    /// State and fingerprint of every replica at every clock.
    history: BTreeMap<(ReplicaId, u64), (State, u64)>,
    frames: Vec<Vec<u8>>,
    limits: Limits,
    incarnation: u64,
}

fn id(node: usize, incarnation: u64) -> ReplicaId {
    ReplicaId::new(&format!("n{node}"), incarnation, 0).unwrap()
}

fn new_entry((topic, key, owner): Session, content: &Content) -> NewEntry<'_> {
    let meta = std::slice::from_ref(&content.0);
    NewEntry::new(TOPICS[topic], KEYS[key], OWNERS[owner])
        .meta(meta)
        .status(content.1)
}

impl Node {
    fn new(id: ReplicaId, limits: &Limits) -> Self {
        let tracker = Tracker::with_limits(id, limits.clone());
        Self {
            tracker,
            mirror: Mirror::default(),
            late: VecDeque::new(),
            own: State::new(),
        }
    }

    fn fold(&mut self, diff: &Diff) {
        self.mirrors().for_each(|mirror| mirror.take(diff));
    }

    /// Lets another reader begin.
    fn read(&mut self) {
        self.late
            .push_back(Mirror::of_tracker(&self.tracker, &TOPICS));
        if self.late.len() > LATE_MAX {
            // Some stay to the end.
            self.late.remove(LATE_MAX / 2);
        }
    }

    fn mirrors(&mut self) -> impl Iterator<Item = &mut Mirror> {
        std::iter::once(&mut self.mirror).chain(&mut self.late)
    }

    fn check(&self, own: bool) {
        for mirror in std::iter::once(&self.mirror).chain(&self.late) {
            mirror.check_tracker(&self.tracker, &TOPICS, own);
        }
    }
}

impl World {
    fn new(leave_log: usize) -> Self {
        let limits = Limits::default().leave_log_len_max(leave_log);
        let nodes = (0..NODES).map(|n| Node::new(id(n, 1), &limits)).collect();
        let mut world = Self {
            nodes,
            history: BTreeMap::new(),
            frames: Vec::new(),
            limits,
            incarnation: 1,
        };
        (0..NODES).for_each(|n| world.record(n));
        world
    }

    fn record(&mut self, n: usize) {
        let node = &self.nodes[n];
        let id = node.tracker.id().clone();
        let info = node.tracker.origin_info(&id).unwrap();
        self.history
            .insert((id, info.clock), (node.own.clone(), info.fingerprint));
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Write(n, verb, session, content) => self.write(n, verb, session, content),
            Op::Untrack(n, session) => {
                let (topic, key, owner) = session;
                let node = &mut self.nodes[n];
                let was = node.own.remove(&session).is_some();
                let tracker = &mut node.tracker;
                assert_eq!(
                    tracker.untrack(TOPICS[topic], KEYS[key], OWNERS[owner]),
                    was
                );
                self.record(n);
            }
            Op::UntrackOwner(n, owner) => {
                let node = &mut self.nodes[n];
                let before = node.own.len();
                node.own.retain(|(_, _, o), _| *o != owner);
                let gone = before - node.own.len();
                assert_eq!(node.tracker.untrack_owner(OWNERS[owner]), gone);
                self.record(n);
            }
            Op::Flush(n) => self.flush(n),
            Op::Sync(from, to, of, how) => self.sync((from, to, of), how),
            Op::Replay(to, frame) => {
                if let Some(frame) = self.frames.get(frame % self.frames.len().max(1)).cloned() {
                    self.receive(to, &frame);
                }
            }
            Op::Hide(n, of, hidden) => self.hide(n, of, hidden),
            Op::Forget(n, of) => {
                for replica in self.known(n, of) {
                    let diff = self.nodes[n].tracker.forget(&replica);
                    self.nodes[n].fold(&diff);
                }
            }
            Op::Retire(n, of) => self.retire(n, of),
            Op::Trim(n, of) => {
                for info in self.nodes[n].tracker.origins().collect::<Vec<_>>() {
                    if info.replica.name() == format!("n{of}") {
                        self.nodes[n].tracker.trim_leaves(&info.replica, info.clock);
                    }
                }
            }
            Op::Restart(n) => {
                self.incarnation += 1;
                self.nodes[n] = Node::new(id(n, self.incarnation), &self.limits);
                self.record(n);
            }
            Op::Reincarnate(n) => {
                self.incarnation += 1;
                let node = &mut self.nodes[n];
                let diff = node.tracker.reincarnate(id(n, self.incarnation));
                node.fold(&diff);
                self.flush(n);
                self.record(n);
            }
        }
    }

    fn hide(&mut self, n: usize, of: usize, hidden: bool) {
        for replica in self.known(n, of) {
            let node = &mut self.nodes[n];
            if node.tracker.set_hidden(&replica, hidden) {
                change_visibility(node, &replica);
            }
        }
    }

    fn retire(&mut self, n: usize, of: usize) {
        for replica in self.known(n, of) {
            let node = &mut self.nodes[n];
            assert!(node.tracker.retire(&replica));
            loop {
                let slice = node.tracker.reap(2, &|_| true);
                node.fold(&slice.diff);
                if slice.done {
                    break;
                }
            }
        }
    }

    fn write(&mut self, n: usize, verb: Verb, session: Session, content: Content) {
        let node = &mut self.nodes[n];
        let known = node.own.contains_key(&session);
        let entry = new_entry(session, &content);
        let (result, refused) = match verb {
            Verb::Track => (
                node.tracker.track(&entry),
                known.then_some(TrackError::AlreadyTracked),
            ),
            Verb::Update => (
                node.tracker.update(&entry),
                (!known).then_some(TrackError::NotTracked),
            ),
            Verb::Upsert => (node.tracker.upsert(&entry), None),
        };
        assert_eq!(result.as_ref().err(), refused.as_ref());
        if let Ok(entry_ref) = result {
            assert_eq!(
                entry_ref.version,
                node.tracker.clock(&entry_ref.origin.replica)
            );
            node.own.insert(session, content);
            self.record(n);
        }
    }

    fn flush(&mut self, n: usize) {
        let diff = self.nodes[n].tracker.take_diff();
        self.nodes[n].fold(&diff);
        self.nodes[n].check(true);
    }

    /// Returns the replicas of node `of` known to node `n`, other than itself.
    fn known(&self, n: usize, of: usize) -> Vec<ReplicaId> {
        let known = self.nodes[n]
            .tracker
            .origins()
            .skip(1)
            .map(|info| info.replica);
        known
            .filter(|replica| replica.name() == format!("n{of}"))
            .collect()
    }

    fn sync(&mut self, (from, to, of): (usize, usize, usize), how: How) {
        if of == to || from == to {
            return;
        }
        let name = format!("n{of}");
        let infos: Vec<_> = self.nodes[from].tracker.origins().collect();
        let Some(info) = infos.into_iter().find(|info| info.replica.name() == name) else {
            return;
        };
        let clock = self.nodes[to].tracker.clock(&info.replica);
        let (source, target) = self.pair(from, to);
        match how {
            How::Whole => {
                if let Some(frame) = source.tracker.delta_since(&info.replica, clock) {
                    self.frames.push(frame.clone());
                    self.receive(to, &frame);
                }
            }
            How::Sliced | How::Full => {
                load(source, target, &info.replica, matches!(how, How::Full));
            }
            How::Extracted => {
                let tracker = &mut source.tracker;
                let Some(mut extract) = Extract::begin(tracker, &info.replica, clock, false) else {
                    return;
                };
                while !extract.step(tracker, 1).done {}
                let Some(extracted) = extract.finish(tracker) else {
                    return;
                };
                let (kind, body) = extracted.encode();
                let whole = source.tracker.body_since(&info.replica, clock).unwrap();
                assert_eq!(
                    (kind, &body),
                    (whole.0, &whole.1),
                    "the same bytes either way"
                );
                if kind == headcount::codec::Kind::STATE_REPAIR {
                    let diff = target.tracker.apply_repair(&body, false);
                    target.fold(&diff.unwrap_or_default());
                } else {
                    step_by_step(target, body);
                }
            }
        }
    }

    fn pair(&mut self, from: usize, to: usize) -> (&mut Node, &mut Node) {
        let [source, target] = self.nodes.get_disjoint_mut([from, to]).unwrap();
        (source, target)
    }

    fn receive(&mut self, to: usize, frame: &[u8]) {
        let node = &mut self.nodes[to];
        let before = node.tracker.version_vector();
        let checked = node.tracker.check_frame(frame);
        match node.tracker.apply(frame) {
            Ok(diff) => {
                assert_eq!(checked, Ok(()));
                node.fold(&diff);
            }
            Err(error) => {
                assert_eq!(checked, Err(error.clone()));
                assert_eq!(
                    node.tracker.version_vector(),
                    before,
                    "an error changes nothing"
                );
                let expected = matches!(
                    error,
                    ApplyError::Gap { .. } | ApplyError::Superseded | ApplyError::OwnOrigin
                );
                assert!(expected, "{error}");
            }
        }
    }

    /// Checks that every node shows, of every replica, its state at the clock that the node claims.
    fn check(&self) {
        for node in &self.nodes {
            let mut expected = BTreeMap::new();
            for info in node.tracker.origins() {
                let (state, fingerprint) = if info.clock == 0 {
                    &(State::new(), 0)
                } else {
                    &self.history[&(info.replica.clone(), info.clock)]
                };
                assert_eq!(
                    info.fingerprint, *fingerprint,
                    "fingerprint of {}",
                    info.replica
                );
                assert_eq!(info.entries as usize, state.len());
                if !info.hidden {
                    expected.insert(info.replica.clone(), state.clone());
                }
            }
            self.check_lists(&node.tracker, &expected);
            node.check(false);
        }
    }

    fn check_lists(&self, tracker: &Tracker, expected: &BTreeMap<ReplicaId, State>) {
        for (t, topic) in TOPICS.into_iter().enumerate() {
            let mut rows = Vec::new();
            for (replica, state) in expected {
                for ((_, k, o), content) in state.iter().filter(|((topic, ..), _)| *topic == t) {
                    rows.push((replica.clone(), *k, *o, *content));
                }
            }
            let keys: std::collections::BTreeSet<_> = rows.iter().map(|row| row.1).collect();
            assert_eq!(tracker.count(topic), rows.len());
            assert_eq!(tracker.count_keys(topic), keys.len());
            assert_eq!(tracker.list(topic).count(), rows.len());
            for (k, key) in KEYS.into_iter().enumerate() {
                let mut found: Vec<_> = tracker
                    .get_by_key(topic, key)
                    .map(|e| {
                        (
                            e.replica().clone(),
                            e.owner().to_vec(),
                            e.meta()[0],
                            e.status(),
                        )
                    })
                    .collect();
                let mut here: Vec<_> = rows
                    .iter()
                    .filter(|row| row.1 == k)
                    .map(|(r, _, o, c)| (r.clone(), OWNERS[*o].as_bytes().to_vec(), c.0, c.1))
                    .collect();
                found.sort();
                here.sort();
                assert_eq!(found, here);
                let other = Key::new(Encoding::Bytes, key.as_bytes());
                assert_eq!(tracker.get_by_key(topic, other).count(), 0);
            }
        }
    }
}

/// Moves the whole state of a replica from one node to another, in slices.
fn load(source: &Node, target: &mut Node, replica: &ReplicaId, full: bool) {
    let cold = target.tracker.clock(replica) == 0;
    let Some(body) = source.tracker.full_body(replica) else {
        return;
    };
    let mut staged = StagedRepair::new(body.into(), target.tracker.limits()).unwrap();
    if staged.begin(&mut target.tracker, full) != Ok(true) {
        return;
    }
    loop {
        let slice = staged.step(&mut target.tracker, 2).unwrap();
        target.fold(&slice.diff);
        if slice.done {
            break;
        }
        let update = source.tracker.delta_since(replica, 0).unwrap();
        assert_eq!(target.tracker.apply(&update), Err(ApplyError::Applying));
        assert!(target.tracker.full_body(replica).is_none(), "not served");
    }
    if cold && !target.tracker.origin_info(replica).unwrap().hidden {
        change_visibility(target, replica);
    }
}

/// Applies a delta in slices.
fn step_by_step(target: &mut Node, body: Vec<u8>) {
    let mut staged = StagedDelta::new(body.into(), target.tracker.limits()).unwrap();
    if staged.begin(&mut target.tracker) == Ok(true) {
        loop {
            let slice = staged.step(&mut target.tracker, 1).unwrap();
            target.fold(&slice.diff);
            if slice.done {
                break;
            }
        }
    }
}

/// Lets a node report, in slices, the changes of a hide, a show or a first load.
fn change_visibility(node: &mut Node, replica: &ReplicaId) {
    let Some(mut change) = VisibilityChange::begin(&mut node.tracker, replica) else {
        return;
    };
    loop {
        let slice = change.step(&mut node.tracker, 2, &|_| true);
        node.fold(&slice.diff);
        if slice.done {
            break;
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let node = 0..NODES;
    let session = (0..TOPICS.len(), 0..KEYS.len(), 0..OWNERS.len());
    let content = (0..4u8, 0..3u8);
    let verb = prop_oneof![Just(Verb::Track), Just(Verb::Update), Just(Verb::Upsert)];
    let how = prop_oneof![
        4 => Just(How::Whole),
        1 => Just(How::Sliced),
        2 => Just(How::Extracted),
        1 => Just(How::Full)
    ];
    prop_oneof![
        12 => (node.clone(), verb, session.clone(), content)
            .prop_map(|(n, v, s, c)| Op::Write(n, v, s, c)),
        6 => (node.clone(), session).prop_map(|(n, s)| Op::Untrack(n, s)),
        2 => (node.clone(), 0..OWNERS.len()).prop_map(|(n, o)| Op::UntrackOwner(n, o)),
        4 => node.clone().prop_map(Op::Flush),
        12 => (node.clone(), node.clone(), node.clone(), how)
            .prop_map(|(from, to, of, how)| Op::Sync(from, to, of, how)),
        4 => (node.clone(), any::<usize>()).prop_map(|(to, frame)| Op::Replay(to, frame)),
        3 => (node.clone(), node.clone(), any::<bool>()).prop_map(|(n, of, h)| Op::Hide(n, of, h)),
        1 => (node.clone(), node.clone()).prop_map(|(n, of)| Op::Forget(n, of)),
        1 => (node.clone(), node.clone()).prop_map(|(n, of)| Op::Retire(n, of)),
        2 => (node.clone(), node.clone()).prop_map(|(n, of)| Op::Trim(n, of)),
        1 => node.clone().prop_map(Op::Restart),
        1 => node.prop_map(Op::Reincarnate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// 1,000 runs of up to 200 operations: 100,000 and more.
    #[test]
    fn trackers_agree_with_the_model(
        leave_log in prop_oneof![Just(0usize), Just(1), Just(8), Just(64)],
        ops in prop::collection::vec(op(), 20..200),
    ) {
        let mut world = World::new(leave_log);
        for op in &ops {
            world.run(op);
            world.check();
            world.nodes.iter_mut().for_each(Node::read);
        }
        for n in 0..NODES {
            world.flush(n);
        }
    }
}
