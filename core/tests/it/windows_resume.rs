//! Clients that were away: what they get when they come back, against plain vectors.

use std::collections::BTreeMap;
use std::sync::Arc;

use headcount::member_list::client::{apply_delta, merge_json};
use headcount::member_list::{Bundle, Epoch, Frame, FrameChange, FrameRow, HeldWindow, Id, TextId};
use headcount::{Bodies, Viewer};
use proptest::prelude::*;

use crate::support::list_keys::Keys;
use crate::support::naive_world::{NaiveWorld, shown};

/// A client that does nothing but apply frames, and its viewer.
struct Visitor<I> {
    viewer: Option<Viewer<I>>,
    windows: BTreeMap<Arc<str>, (u64, Vec<FrameRow<I>>)>,
    /// True while bundles are lost, before the connection ends.
    is_deaf: bool,
    deltas: usize,
    syncs: usize,
}

impl<I: Id> Visitor<I> {
    fn new() -> Self {
        Self {
            viewer: Some(Viewer::resumable()),
            windows: BTreeMap::new(),
            is_deaf: false,
            deltas: 0,
            syncs: 0,
        }
    }

    fn take(&mut self, bundle: &Bundle<I>) {
        let bundle = Bundle::from_binary(&bundle.to_binary()).expect("what was written");
        if !self.is_deaf {
            bundle.frames.iter().for_each(|frame| self.apply(frame));
        }
    }

    fn apply(&mut self, frame: &Frame<I>) {
        let held = self.windows.remove(&frame.window);
        let rows = match &frame.change {
            FrameChange::Sync(rows) => rows.clone(),
            FrameChange::Delta { .. } => {
                let (version, rows) = held.expect("a DELTA of a held window");
                if version == frame.new_version {
                    // Another window has become this one in the same bundle.
                    let rows = (version, rows);
                    return drop(self.windows.insert(frame.window.clone(), rows));
                }
                assert_eq!(version, frame.base_version, "{}", frame.window);
                apply_delta(&rows, frame, merge_json).expect("the checksum holds")
            }
        };
        let name = frame.renamed.as_ref().unwrap_or(&frame.window).clone();
        self.windows.insert(name, (frame.new_version, rows));
    }

    fn held_windows(&self, epoch: &Epoch) -> Vec<HeldWindow> {
        let held = self
            .windows
            .iter()
            .map(|(window, (version, _))| HeldWindow {
                window: window.clone(),
                epoch: epoch.clone(),
                version: *version,
            });
        held.collect()
    }

    fn come_back(&mut self, world: &mut NaiveWorld<I>) {
        self.is_deaf = false;
        let held = self.held_windows(&Epoch::from(1));
        let mut viewer = Viewer::resumable();
        let bundle = viewer
            .resume(&mut world.list, &held, Bodies::from(&world.profiles))
            .expect("windows that were open");
        for frame in &bundle.frames {
            match frame.change {
                FrameChange::Delta { .. } => self.deltas += 1,
                FrameChange::Sync(_) => self.syncs += 1,
            }
        }
        self.take(&bundle);
        self.viewer = Some(viewer);
        self.check(world);
    }

    fn check(&self, world: &NaiveWorld<I>) {
        let viewer = self.viewer.as_ref().expect("present");
        let mut names: Vec<_> = viewer.windows().map(ToString::to_string).collect();
        names.sort();
        assert!(self.windows.keys().map(|name| &**name).eq(&names));
        for (name, (_, rows)) in &self.windows {
            assert_eq!(shown(rows), world.expected(name), "{name}");
        }
    }
}

/// Runs visitors that come and go; `groups` also rearranges groups, which is bulk work.
fn run<I: Id>(mut world: NaiveWorld<I>, groups: bool) -> (usize, usize) {
    for _ in 0..world.rng.index(300) {
        world.join();
    }
    let mut visitors: Vec<Visitor<I>> = (0..3).map(|_| Visitor::new()).collect();
    for _ in 0..70 {
        for _ in 0..world.rng.index(7) {
            world.change(groups);
        }
        for visitor in &mut visitors {
            let Some(viewer) = &mut visitor.viewer else {
                if world.rng.one_in(6) {
                    visitor.come_back(&mut world);
                }
                continue;
            };
            if visitor.windows.len() < 3 && !visitor.is_deaf && world.rng.one_in(3) {
                let spec = world.any_spec();
                let bodies = Bodies::from(&world.profiles);
                let bundle = viewer.open(&mut world.list, spec, bodies).expect("a row");
                visitor.take(&bundle);
            } else if world.rng.one_in(8) {
                visitor.is_deaf = true;
            } else if world.rng.one_in(if visitor.is_deaf { 2 } else { 9 }) {
                visitor.viewer = None;
            }
        }
        let tick = world.tick();
        for visitor in &mut visitors {
            let Some(viewer) = &mut visitor.viewer else {
                continue;
            };
            if let Some(bundle) = viewer.bundle(&tick) {
                visitor.take(&bundle);
            }
            if !visitor.is_deaf {
                visitor.check(&world);
            }
        }
    }
    let deltas = visitors.iter().map(|visitor| visitor.deltas).sum();
    (deltas, visitors.iter().map(|visitor| visitor.syncs).sum())
}

fn text(number: u64) -> TextId {
    TextId::new(&format!("gemeinsamer:anfang:ß{number}")).expect("a good id")
}

fn uuid(number: u64) -> u128 {
    u128::from(number) << 64 | 0xffff_0000_1234
}

proptest! {
    // A case has three lists of up to 500 members.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn who_comes_back_shows_the_list(
        seed: u64,
        keys in Keys::any(),
        groups in 1usize..90,
        rearranges: bool,
    ) {
        run(NaiveWorld::<u64>::new(seed, groups, keys, |id| id), rearranges);
        run(NaiveWorld::new(seed, groups, keys, text), rearranges);
        run(NaiveWorld::new(seed, groups, keys, uuid), rearranges);
    }
}

#[test]
fn who_comes_back_gets_deltas() {
    let mut deltas = 0;
    let mut syncs = 0;
    for seed in 0..20 {
        let world = NaiveWorld::<u64>::new(seed, 4, Keys::Company, |id| id);
        let (more_deltas, more_syncs) = run(world, false);
        deltas += more_deltas;
        syncs += more_syncs;
    }
    assert!(
        deltas > 200 && deltas > 4 * syncs,
        "{deltas} deltas, {syncs} syncs"
    );
}
