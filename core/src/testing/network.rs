//! `Network`: the links between places, and the frames on them: lost, doubled, reordered, cut off.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::own_entries::PLACES;
use super::plan::Plan;
use super::run::Run;
use super::sight::Seen;
use super::stats::Incident;
use super::weather::Weather;
use crate::replica::GroupSubscription;

/// A frame between two places.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) frame: Bytes,
    pub(super) seen: Rc<Seen>,
    sent_ms: u64,
}

/// The outcome of taking a frame off the network.
pub(super) enum Arrival {
    /// No frame was under way.
    Nothing,
    /// The frame was cut off or came too late.
    Lost,
    Frame(Flight),
}

/// A frame of a place, to be sent.
pub(super) struct Sending {
    pub(super) from: usize,
    pub(super) to: Vec<usize>,
    pub(super) frame: Bytes,
    pub(super) seen: Rc<Seen>,
}

/// The links that are cut: `cut[from][to]`.
#[derive(Clone, Copy)]
struct Cuts([[bool; PLACES]; PLACES]);

/// The places, the links between them, and the frames under way.
pub(super) struct Network {
    /// The name that runs at each place: a clone has the links of its original.
    homes: Vec<usize>,
    addresses: Vec<Arc<str>>,
    flights: VecDeque<Flight>,
    cuts: Cuts,
    /// The partitions to which places have subscribed, and from when on.
    groups: BTreeMap<(usize, u16), u64>,
}

impl Network {
    pub(super) fn new() -> Self {
        Self {
            homes: Vec::new(),
            addresses: (0..PLACES).map(|place| place.to_string().into()).collect(),
            flights: VecDeque::new(),
            cuts: Cuts([[false; PLACES]; PLACES]),
            groups: BTreeMap::new(),
        }
    }

    /// Adds a place with the links of the name `home`.
    pub(super) fn add_place(&mut self, home: usize) {
        self.homes.push(home);
    }

    /// Returns the places that frames of a place to all reach.
    pub(super) fn neighbours(&self, plan: &impl Weather, place: usize) -> Vec<usize> {
        let others = 0..self.homes.len();
        others
            .filter(|&other| self.are_neighbours(plan, place, other))
            .collect()
    }

    /// Notes that a place subscribes to a partition, which takes effect late, or no longer.
    pub(super) fn subscribe(
        &mut self,
        run: &Run<'_, Plan>,
        place: usize,
        change: GroupSubscription,
    ) {
        match change {
            GroupSubscription::Subscribe(partition) => {
                let from_ms = run.now_ms + run.plan.subscribe_ms;
                self.groups.insert((place, partition), from_ms);
            }
            GroupSubscription::Unsubscribe(partition) => {
                self.groups.remove(&(place, partition));
            }
        }
    }

    /// Ends the subscriptions of a place, and has it subscribe to some partitions.
    pub(super) fn resubscribe(&mut self, place: usize, held: impl IntoIterator<Item = u16>) {
        self.groups
            .retain(|(subscriber, _), _| *subscriber != place);
        let held = held.into_iter().map(|partition| ((place, partition), 0));
        self.groups.extend(held);
    }

    /// Returns which of some places have subscribed to a partition.
    pub(super) fn subscribers(
        &self,
        run: &Run<'_, Plan>,
        mut places: Vec<usize>,
        partition: u16,
    ) -> Vec<usize> {
        let is_subscribed = |place: &usize| {
            let from_ms = self.groups.get(&(*place, partition));
            from_ms.is_some_and(|from_ms| *from_ms <= run.now_ms)
        };
        if run.plan.has_groups {
            places.retain(is_subscribed);
        }
        places
    }

    /// Returns the place with an address.
    pub(super) fn place_of(&self, address: &str) -> Option<usize> {
        let mut places = self.addresses[..self.homes.len()].iter();
        places.position(|known| **known == *address)
    }

    /// Sends a frame to the places that it is addressed to.
    pub(super) fn send<P: Weather>(&mut self, run: &mut Run<'_, P>, sending: &Sending) {
        for &to in &sending.to {
            let flight = Flight {
                from: sending.from,
                to,
                frame: sending.frame.clone(),
                seen: Rc::clone(&sending.seen),
                sent_ms: run.now_ms,
            };
            self.launch(run, flight);
        }
    }

    /// Puts one frame on its way once or twice, or loses it.
    fn launch<P: Weather>(&mut self, run: &mut Run<'_, P>, flight: Flight) {
        if self.is_cut(&flight) {
            run.count(Incident::FrameCutOff);
            return;
        }
        if run.rng.below(1000) < run.plan.loss() {
            run.count(Incident::FrameLost);
            return;
        }
        if run.rng.below(1000) < run.plan.doubled() {
            run.count(Incident::FrameDoubled);
            self.flights.push_back(flight.clone());
        }
        self.flights.push_back(flight);
    }

    /// Takes the next frame off the network.
    pub(super) fn take<P: Weather>(&mut self, run: &mut Run<'_, P>) -> Arrival {
        let len = self.flights.len() as u64;
        let flight = if len > 0 && run.plan.reorders() {
            let index = run.rng.below(len) as usize;
            if index > 0 {
                run.count(Incident::FrameReordered);
            }
            self.flights.swap_remove_back(index)
        } else {
            self.flights.pop_front()
        };
        let Some(flight) = flight else {
            return Arrival::Nothing;
        };
        let is_late = flight.sent_ms.saturating_add(run.plan.delay_ms()) < run.now_ms;
        if is_late {
            run.count(Incident::FrameLate);
            Arrival::Lost
        } else if self.is_cut(&flight) {
            run.count(Incident::FrameCutOff);
            Arrival::Lost
        } else {
            Arrival::Frame(flight)
        }
    }

    pub(super) fn cut_one_way(&mut self, from: usize, to: usize) {
        self.cuts.0[from][to] = true;
    }

    /// Cuts a place off from all others, in both directions.
    pub(super) fn isolate(&mut self, place: usize) {
        for other in 0..PLACES {
            self.cuts.0[place][other] = true;
            self.cuts.0[other][place] = true;
        }
    }

    pub(super) fn heal(&mut self) {
        self.cuts = Cuts([[false; PLACES]; PLACES]);
    }

    pub(super) fn home(&self, place: usize) -> usize {
        self.homes[place]
    }

    pub(super) fn address(&self, place: usize) -> Arc<str> {
        self.addresses[place].clone()
    }

    pub(super) fn flights(&self) -> &VecDeque<Flight> {
        &self.flights
    }

    /// Returns whether frames to all go from one of two places to the other.
    pub(super) fn are_neighbours(&self, plan: &impl Weather, a: usize, b: usize) -> bool {
        let home_a = self.homes[a];
        let home_b = self.homes[b];
        a != b && (home_a == home_b || plan.linked(home_a, home_b))
    }

    fn is_cut(&self, flight: &Flight) -> bool {
        self.cuts.0[flight.from][flight.to]
    }
}
