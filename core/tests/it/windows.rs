//! Windows: a client holds the rows of the list, through joins, moves, hidden groups, lost, doubled
//! and overtaken bundles, slow and hidden viewers.

use std::sync::Arc;

use headcount::member_list::client::{BundleReport, Client, merge_json};
use headcount::member_list::{Bundle, BundleFormat, FrameChange, Tick, WindowError};
use headcount::{Bodies, MemberList, Viewer, WindowSpec};
use proptest::prelude::*;

use crate::support::rng::Rng;
use crate::support::windows_world::{Spec, World};

/// A viewer, its client, and the line between them.
struct Connection {
    viewer: Viewer<u64>,
    client: Client<u64>,
    /// Bundles under way, with the times of their arrival.
    line: Vec<(u64, Bundle<u64>)>,
    /// One in this many bundles is lost, doubled or late; 0 is never.
    faults: usize,
    clock: u64,
    hidden: bool,
    slow: bool,
    applied: u64,
}

impl Connection {
    fn new(faults: usize) -> Self {
        Self {
            viewer: Viewer::new(),
            client: Client::new(merge_json),
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
        // Through bytes, or through JSON as in a browser.
        let bundle = if world.rng.one_in(2) {
            let read = Bundle::from_binary(&bundle.to_binary_in(BundleFormat::Two))
                .expect("what was written");
            assert_eq!(read, *bundle);
            read
        } else {
            Bundle::from_json(&bundle.to_json_in(BundleFormat::Two)).expect("what was written")
        };
        if self.faults == 0 {
            return self.line.push((self.clock, bundle));
        }
        let late = |rng: &mut Rng| {
            if rng.one_in(3) {
                1 + rng.index(4) as u64
            } else {
                0
            }
        };
        if world.rng.one_in(self.faults) {
            return;
        }
        if world.rng.one_in(self.faults) {
            self.line
                .push((self.clock + late(&mut world.rng), bundle.clone()));
        }
        self.line.push((self.clock + late(&mut world.rng), bundle));
    }

    /// Delivers the bundles that are due, in order of arrival, and asks for those that the client
    /// misses.
    fn receive(&mut self, world: &mut World) {
        self.clock += 1;
        loop {
            let due = self.line.iter().position(|(at, _)| *at < self.clock);
            let Some(at) = due else { break };
            let (_, bundle) = self.line.remove(at);
            let report = self.client.apply(&bundle);
            self.applied += report.changed.len() as u64;
            self.ask(world, &report);
        }
    }

    fn ask(&mut self, world: &mut World, report: &BundleReport) {
        if self.faults == 0 && !self.slow {
            let epoch_is_new = report.resync.len() > 1;
            assert!(
                report.resync.is_empty() || epoch_is_new,
                "a perfect line needs no resync"
            );
        }
        for name in &report.resync {
            self.resync(world, name);
        }
        if report.resync_counts {
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
        let open: Vec<Arc<str>> = self
            .client
            .windows()
            .map(|(name, _)| name.clone())
            .collect();
        let anchored = open.iter().filter(|name| !name.starts_with("c:")).count();
        let chunk = matches!(spec, WindowSpec::Chunk(_));
        if self.client.window(&spec.to_string()).is_some() {
            return;
        }
        let own = if open.is_empty() {
            None
        } else {
            Some(&open[world.rng.index(open.len())])
        };
        match (world.rng.index(14), own) {
            (0..5, _) if chunk || anchored < anchored_max => {
                let _ = self.client.open(&spec.to_string());
                let name = spec.to_string();
                if !self.answer(world, |viewer, list, bodies| {
                    viewer.open(list, spec, bodies)
                }) {
                    self.client.close(&name);
                }
            }
            (5 | 6, Some(own)) if chunk || !own.starts_with("c:") => {
                let from = Spec::parse(own).expect("a canonical name");
                let name = spec.to_string();
                if self.answer(world, |viewer, list, bodies| {
                    viewer.retarget(list, &from, spec, bodies)
                }) {
                    self.client.close(own);
                    let _ = self.client.open(&name);
                }
            }
            (7, Some(own)) => {
                self.client.close(own);
                let _ = self
                    .viewer
                    .close(&Spec::parse(own).expect("a canonical name"));
            }
            (8 | 9, Some(own)) => self.resync(world, own),
            (10 | 11, _) if self.hidden || world.rng.one_in(4) => {
                self.hidden = !self.hidden;
                self.viewer.set_hidden(self.hidden);
                self.catch_up(world);
            }
            (12 | 13, _) if self.slow || world.rng.one_in(4) => {
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

    /// Ends all faults: bundles under way arrive, and the client asks for those that it missed.
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
        // A client that waited too long asks again.
        let waiting = self
            .client
            .windows()
            .filter(|(_, window)| window.is_waiting());
        let waiting: Vec<_> = waiting.map(|(name, _)| name.clone()).collect();
        waiting.iter().for_each(|name| self.resync(world, name));
        self.receive(world);
    }

    /// Publishes one more tick without faults, and checks all clients.
    fn finish(&mut self, world: &mut World, tick: &Tick<u64>) {
        if let Some(bundle) = self.viewer.bundle(tick) {
            self.send(world, &bundle);
        }
        (0..4).for_each(|_| self.receive(world));
        world.check(&self.viewer, &self.client, false);
    }
}

/// Runs without faults: at every tick every client shows the rows of the list.
pub(crate) fn run_exact(seed: u64, members: usize) -> u64 {
    let mut world = World::new(seed, members);
    let mut connections: Vec<Connection> = (0..3).map(|_| Connection::new(0)).collect();
    for _ in 0..60 {
        for _ in 0..world.rng.index(12) {
            world.change();
            if world.rng.one_in(8) {
                let connection = world.rng.index(3);
                connections[connection].act(&mut world, 8);
                connections[connection].receive(&mut world);
            }
        }
        let tick = world.tick();
        for connection in &mut connections {
            connection.take(&mut world, &tick);
            connection.receive(&mut world);
            if !connection.hidden && !connection.slow {
                world.check(
                    &connection.viewer,
                    &connection.client,
                    tick.counts().is_some(),
                );
            }
        }
    }
    connections
        .iter()
        .map(|connection| connection.applied)
        .sum()
}

/// Runs with lost, doubled and late bundles: in the end every client shows the rows of the list.
pub(crate) fn run_faulty(seed: u64, members: usize) {
    let mut world = World::new(seed, members);
    let mut connections: Vec<Connection> = (0..3).map(|at| Connection::new(2 + at)).collect();
    for _ in 0..80 {
        for _ in 0..world.rng.index(8) {
            world.change();
        }
        let tick = world.tick();
        for connection in &mut connections {
            if world.rng.one_in(5) {
                connection.act(&mut world, 8);
            }
            connection.take(&mut world, &tick);
            connection.receive(&mut world);
        }
    }
    for connection in &mut connections {
        connection.settle(&mut world);
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
    for connection in &mut connections {
        connection.finish(&mut world, &tick);
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

/// A list that shrinks moves members to other slots; new members take freed slots. Neither may be
/// visible in a window that is reread only in part.
#[test]
fn list_windows_survive_members_that_change_their_slots() {
    for seed in 0..4 {
        let mut world = World::new(seed, 600);
        let mut connection = Connection::new(0);
        for spec in [0, 1, 2].map(WindowSpec::Chunk) {
            let _ = connection.client.open(&spec.to_string());
            connection.answer(&mut world, |viewer, list, bodies| {
                viewer.open(list, spec, bodies)
            });
        }
        for step in 0..260 {
            for _ in 0..4 {
                let shrinks = step < 120 || world.rng.one_in(2);
                match world.random_member().filter(|_| shrinks) {
                    Some(id) => drop((world.list.remove(&id), world.people.0.remove(&id))),
                    None => world.join(),
                }
                if let Some(id) = world.random_member() {
                    let group = world.group();
                    drop(world.list.set_group(&id, group));
                }
            }
            let tick = world.tick();
            connection.take(&mut world, &tick);
            connection.receive(&mut world);
            world.check(
                &connection.viewer,
                &connection.client,
                tick.counts().is_some(),
            );
        }
        assert!(
            connection.applied > 500,
            "{} frames applied",
            connection.applied
        );
    }
}
