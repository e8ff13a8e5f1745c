//! Windows: what a client holds is what the list shows, through joins, moves, hidden groups,
//! lost, doubled and overtaken bundles, slow and hidden viewers.

use std::sync::Arc;

use headcount::member_list::client::{Applied, Client};
use headcount::member_list::{Bundle, FrameChange, Tick, WindowError};
use headcount::{Bodies, MemberList, Viewer, WindowSpec};
use proptest::prelude::*;

use crate::windows_json;
use crate::windows_world::{Dice, Spec, World};

/// A viewer, its client, and the line between them.
struct Seat {
    viewer: Viewer<u64>,
    client: Client<u64>,
    /// Bundles on their way: when they arrive, and what.
    line: Vec<(u64, Bundle<u64>)>,
    /// One in so many bundles is lost, doubled or late; 0 is never.
    faults: usize,
    clock: u64,
    hidden: bool,
    slow: bool,
    applied: u64,
}

impl Seat {
    fn new(faults: usize) -> Self {
        Self {
            viewer: Viewer::new(),
            client: Client::new(windows_json::merge),
            line: Vec::new(),
            faults,
            clock: 0,
            hidden: false,
            slow: false,
            applied: 0,
        }
    }

    fn send(&mut self, world: &mut World, bundle: &Bundle<u64>) {
        for frame in &bundle.frames {
            if matches!(frame.change, FrameChange::Sync(_)) {
                let name = frame.renamed.as_ref().unwrap_or(&frame.window);
                world.note(name, frame.new_version, frame.checksum32);
            }
        }
        // Through bytes, or through JSON as a browser gets it.
        let bundle = if world.dice.one_in(2) {
            let read = Bundle::from_binary(&bundle.to_binary()).expect("what was written");
            assert_eq!(read, *bundle);
            read
        } else {
            let json = serde_json::from_slice(&bundle.to_json()).expect("valid JSON");
            windows_json::bundle(&json)
        };
        if self.faults == 0 {
            return self.line.push((self.clock, bundle));
        }
        let late = |dice: &mut Dice| {
            if dice.one_in(3) {
                1 + dice.roll(4) as u64
            } else {
                0
            }
        };
        if world.dice.one_in(self.faults) {
            return;
        }
        if world.dice.one_in(self.faults) {
            self.line
                .push((self.clock + late(&mut world.dice), bundle.clone()));
        }
        self.line.push((self.clock + late(&mut world.dice), bundle));
    }

    /// Delivers what is due, in order of arrival, and asks for what the client misses.
    fn receive(&mut self, world: &mut World) {
        self.clock += 1;
        loop {
            let due = self.line.iter().position(|(at, _)| *at < self.clock);
            let Some(at) = due else { break };
            let (_, bundle) = self.line.remove(at);
            let applied = self.client.apply(&bundle);
            self.applied += applied.changed.len() as u64;
            self.ask(world, &applied);
        }
    }

    fn ask(&mut self, world: &mut World, applied: &Applied) {
        if self.faults == 0 && !self.slow {
            let epoch_is_new = applied.resync.len() > 1;
            assert!(
                applied.resync.is_empty() || epoch_is_new,
                "a perfect line needs no resync"
            );
        }
        for name in &applied.resync {
            self.resync(world, name);
        }
        if applied.resync_counts {
            self.answer(world, |viewer, list, bodies| {
                viewer.resync(list, &[], bodies)
            });
        }
    }

    fn resync(&mut self, world: &mut World, name: &str) {
        let spec = Spec::parse(name).expect("a canonical name");
        let known = self.answer(world, |viewer, list, bodies| {
            viewer.resync(list, std::slice::from_ref(&spec), bodies)
        });
        if !known {
            self.client.close(name);
        }
    }

    fn answer(
        &mut self,
        world: &mut World,
        ask: impl FnOnce(
            &mut Viewer<u64>,
            &mut MemberList<u64>,
            Bodies<'_, u64>,
        ) -> Result<Bundle<u64>, WindowError>,
    ) -> bool {
        let answer = ask(
            &mut self.viewer,
            &mut world.list,
            Bodies::from(&world.people),
        );
        match answer {
            Ok(bundle) => {
                self.send(world, &bundle);
                true
            }
            Err(_) => false,
        }
    }

    fn act(&mut self, world: &mut World, anchored_max: usize) {
        let spec = world.random_spec();
        let held: Vec<Arc<str>> = self
            .client
            .windows()
            .map(|(name, _)| name.clone())
            .collect();
        let anchored = held.iter().filter(|name| !name.starts_with("c:")).count();
        let chunk = matches!(spec, WindowSpec::Chunk(_));
        if self.client.window(&spec.to_string()).is_some() {
            return;
        }
        let mine = if held.is_empty() {
            None
        } else {
            Some(&held[world.dice.roll(held.len())])
        };
        match (world.dice.roll(14), mine) {
            (0..5, _) if chunk || anchored < anchored_max => {
                self.client.open(&spec.to_string());
                let name = spec.to_string();
                if !self.answer(world, |viewer, list, bodies| {
                    viewer.open(list, spec, bodies)
                }) {
                    self.client.close(&name);
                }
            }
            (5 | 6, Some(mine)) if chunk || !mine.starts_with("c:") => {
                let from = Spec::parse(mine).expect("a canonical name");
                let name = spec.to_string();
                if self.answer(world, |viewer, list, bodies| {
                    viewer.retarget(list, &from, spec, bodies)
                }) {
                    self.client.close(mine);
                    self.client.open(&name);
                }
            }
            (7, Some(mine)) => {
                self.client.close(mine);
                let _ = self
                    .viewer
                    .close(&Spec::parse(mine).expect("a canonical name"));
            }
            (8 | 9, Some(mine)) => self.resync(world, mine),
            (10 | 11, _) if self.hidden || world.dice.one_in(4) => {
                self.hidden = !self.hidden;
                self.viewer.set_hidden(self.hidden);
                self.catch_up(world);
            }
            (12 | 13, _) if self.slow || world.dice.one_in(4) => {
                self.slow = !self.slow;
                self.catch_up(world);
            }
            _ => {}
        }
    }

    fn catch_up(&mut self, world: &mut World) {
        if !self.hidden && !self.slow {
            let bundle = self
                .viewer
                .catch_up(&mut world.list, Bodies::from(&world.people));
            self.send(world, &bundle);
        }
    }

    fn take(&mut self, world: &mut World, tick: &Tick<u64>) {
        if self.slow {
            return;
        }
        if let Some(bundle) = self.viewer.bundle(tick) {
            assert!(
                !self.hidden || bundle.frames.is_empty(),
                "a hidden viewer gets counts only"
            );
            self.send(world, &bundle);
        }
        if self.viewer.is_stale() {
            self.catch_up(world);
        }
    }

    /// The line is good from now on: what is on it arrives, what was missed is asked for.
    fn settle(&mut self, world: &mut World) {
        (self.faults, self.hidden, self.slow) = (0, false, true);
        self.viewer.set_hidden(false);
        while !self.line.is_empty() {
            self.receive(world);
        }
        self.slow = false;
        self.catch_up(world);
        self.slow = true;
        self.receive(world);
        // What a client asks again that waited too long.
        let waiting = self
            .client
            .windows()
            .filter(|(_, window)| window.is_waiting());
        let waiting: Vec<_> = waiting.map(|(name, _)| name.clone()).collect();
        waiting.iter().for_each(|name| self.resync(world, name));
        self.receive(world);
    }

    /// After one more tick over a good line, all is as it should be.
    fn finish(&mut self, world: &mut World, tick: &Tick<u64>) {
        if let Some(bundle) = self.viewer.bundle(tick) {
            self.send(world, &bundle);
        }
        (0..4).for_each(|_| self.receive(world));
        world.check(&self.viewer, &self.client, false);
    }
}

/// A perfect line: at every tick every client shows what the list shows.
fn run_exact(seed: u64, members: usize) -> u64 {
    let mut world = World::new(seed, members);
    let mut seats: Vec<Seat> = (0..3).map(|_| Seat::new(0)).collect();
    for _ in 0..60 {
        for _ in 0..world.dice.roll(12) {
            world.change();
            if world.dice.one_in(8) {
                let seat = world.dice.roll(3);
                seats[seat].act(&mut world, 8);
                seats[seat].receive(&mut world);
            }
        }
        let tick = world.tick();
        for seat in &mut seats {
            seat.take(&mut world, &tick);
            seat.receive(&mut world);
            if !seat.hidden && !seat.slow {
                world.check(&seat.viewer, &seat.client, tick.counts().is_some());
            }
        }
    }
    seats.iter().map(|seat| seat.applied).sum()
}

/// A bad line: whatever was lost, doubled or late, all ends in what the list shows.
fn run_faulty(seed: u64, members: usize) {
    let mut world = World::new(seed, members);
    let mut seats: Vec<Seat> = (0..3).map(|at| Seat::new(2 + at)).collect();
    for _ in 0..80 {
        for _ in 0..world.dice.roll(8) {
            world.change();
        }
        let tick = world.tick();
        for seat in &mut seats {
            if world.dice.one_in(5) {
                seat.act(&mut world, 8);
            }
            seat.take(&mut world, &tick);
            seat.receive(&mut world);
        }
    }
    for seat in &mut seats {
        seat.settle(&mut world);
    }
    // Every row changes and no window is empty, so every gap shows.
    for group in world.groups.clone() {
        world.list.set_group_hidden(group, false).expect("known");
        world.list.set_group_collapsed(group, false).expect("known");
    }
    (0..450).for_each(|_| world.join());
    let ids: Vec<u64> = world.people.0.keys().copied().collect();
    for id in ids {
        drop(world.list.touch(&id));
    }
    let tick = world.tick();
    for seat in &mut seats {
        seat.finish(&mut world, &tick);
    }
}

proptest! {
    #[test]
    fn list_windows_equal_the_list(seed: u64, members in 0usize..260) {
        run_exact(seed, members);
    }

    #[test]
    fn list_windows_recover_from_a_bad_line(seed: u64, members in 0usize..260) {
        run_faulty(seed, members);
    }
}

#[test]
fn list_windows_do_change_in_the_model() {
    let applied: u64 = (0..20).map(|seed| run_exact(seed, 150)).sum();
    assert!(applied > 2_000, "{applied} frames applied");
}

/// A list that shrinks moves members to other slots behind its rows; slots that are free again go
/// to newcomers. Neither may show in a window that is read anew only in part.
#[test]
fn list_windows_survive_members_that_change_their_slots() {
    for seed in 0..4 {
        let mut world = World::new(seed, 600);
        let mut seat = Seat::new(0);
        for spec in [0, 1, 2].map(WindowSpec::Chunk) {
            seat.client.open(&spec.to_string());
            seat.answer(&mut world, |viewer, list, bodies| {
                viewer.open(list, spec, bodies)
            });
        }
        for step in 0..260 {
            for _ in 0..4 {
                let shrinks = step < 120 || world.dice.one_in(2);
                match world.someone().filter(|_| shrinks) {
                    Some(id) => drop((world.list.remove(&id), world.people.0.remove(&id))),
                    None => world.join(),
                }
                if let Some(id) = world.someone() {
                    let group = world.group();
                    drop(world.list.set_group(&id, group));
                }
            }
            let tick = world.tick();
            seat.take(&mut world, &tick);
            seat.receive(&mut world);
            world.check(&seat.viewer, &seat.client, tick.counts().is_some());
        }
        assert!(seat.applied > 500, "{} frames applied", seat.applied);
    }
}
