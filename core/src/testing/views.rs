//! `Views`: a node's knowledge of each name, checked against the [`Truth`] after every call.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::plan::TOPICS;
use super::truth::{Slot, State, Truth};
use crate::id::ReplicaId;
use crate::presence::Presence;

/// A node's knowledge of all names, and its reports of them.
#[derive(Clone, Default)]
pub(super) struct Views {
    by_name: BTreeMap<String, View>,
    /// Identities of which it received the Goodbye, and when.
    retired: HashMap<ReplicaId, u64>,
    /// Origins on which it reported that holders disagree.
    diverged: HashSet<Slot>,
}

/// A node's knowledge of one name.
#[derive(Clone, Debug)]
struct View {
    id: ReplicaId,
    heartbeat: u64,
    /// False once the node forgot the name.
    is_known: bool,
    is_up: bool,
    /// When it was last known.
    last_ms: u64,
    states: States,
    /// Slots, one bit each, whose state is new since it was last compared with the history.
    fresh: u32,
    /// Clocks at which the content was not the origin's.
    wrong: [Option<u64>; TOPICS.len()],
}

/// The state of each slot in use, and whether it is being applied.
type States = [(State, bool); TOPICS.len()];

/// The time, and the bounds of a check.
pub(super) struct Bounds {
    /// The clock of the world.
    pub(super) now_ms: u64,
    /// The time for which a forgotten replica is guarded against, by the clock of the world.
    pub(super) guarded_ms: u64,
    /// The time after its end for which a replica may still come to be shown.
    pub(super) ghost_ms: u64,
}

/// Origins of altered entries that a check found to differ, and those that had become right again.
#[derive(Default)]
pub(super) struct Content {
    pub(super) wrong: u32,
    pub(super) repaired: u32,
}

impl View {
    /// Takes over what remains of the view before. A guarded one only grows.
    fn follow(&mut self, before: &Self, is_guarded: bool, is_forked: bool) -> Result<(), String> {
        let is_same_life = before.is_known && self.id == before.id;
        let pairs = || self.states.iter().zip(&before.states).enumerate();
        let is_back = pairs().any(|(_, (now, before))| now.0.clock < before.0.clock);
        if is_same_life {
            let changed = pairs().filter(|(_, (now, before))| now != before);
            self.fresh = changed.fold(before.fresh, |mask, (index, _)| mask | 1 << index);
            self.wrong = before.wrong;
        }
        let order = (&self.id, self.heartbeat).cmp(&(&before.id, before.heartbeat));
        if is_guarded && (order.is_lt() || (!before.is_known && order.is_eq())) {
            return Err(format!(
                "goes from {} at {} to {} at {}",
                before.id, before.heartbeat, self.id, self.heartbeat
            ));
        }
        if is_same_life && is_back && !is_forked {
            return Err(format!("goes back in the clock of {}", self.id));
        }
        Ok(())
    }
}

impl Views {
    /// Notes that the Goodbye of a replica was received.
    pub(super) fn retire(&mut self, id: ReplicaId, now_ms: u64) {
        self.retired.insert(id, now_ms);
    }

    /// Notes that the node reported a divergence.
    pub(super) fn diverge(&mut self, origin: Slot) {
        self.diverged.insert(origin);
    }

    /// Returns the last heartbeat that the node knew of a replica at the last check; `None` if it
    /// did not know it.
    pub(super) fn heartbeat(&self, id: &ReplicaId) -> Option<u64> {
        let view = self.by_name.get(id.name());
        let view = view.filter(|view| view.is_known && view.id == *id);
        view.map(|view| view.heartbeat)
    }

    /// Checks that what the node knows of a name only grows, and comes back only when it has grown;
    /// that it shows no replica long dead, and hides none that it `must_show`.
    pub(super) fn check_order(
        &mut self,
        presence: &Presence,
        truth: &Truth,
        bounds: &Bounds,
        must_show: impl Fn(&ReplicaId) -> bool,
    ) -> Result<(), String> {
        let is_guarded = |since_ms: u64| bounds.now_ms < since_ms + bounds.guarded_ms;
        let mut wrong = None;
        let mut known = 0;
        presence.standings(|id, heartbeat, is_up| {
            known += 1;
            let retired_ms = self.retired.get(id);
            if retired_ms.is_some_and(|&since_ms| is_guarded(since_ms)) {
                wrong = Some(format!("knows {id}, which said Goodbye to it"));
            }
            let mut now = View {
                id: id.clone(),
                heartbeat,
                is_known: true,
                is_up,
                last_ms: bounds.now_ms,
                states: states_of(presence, id, truth.slots()),
                fresh: u32::MAX,
                wrong: Default::default(),
            };
            let before = self.by_name.get_mut(id.name());
            let is_same = |view: &&mut View| view.is_up && view.id == *id;
            let was_up = before.as_ref().is_some_and(is_same);
            if is_up && !was_up {
                let end_ms = truth.end_ms(id);
                if end_ms + bounds.ghost_ms < bounds.now_ms {
                    wrong = Some(format!("shows {id}, which ended at {end_ms} ms"));
                }
            }
            if !is_up && must_show(id) {
                wrong = Some(format!("hides {id}, which it hears"));
            }
            if let Some(view) = before {
                let is_guarded = view.is_known || is_guarded(view.last_ms);
                if let Err(what) = now.follow(view, is_guarded, truth.is_forked(id)) {
                    wrong = Some(what);
                }
                *view = now;
            } else {
                self.by_name.insert(id.name().to_owned(), now);
            }
        });
        self.forget(presence, known);
        wrong.map_or(Ok(()), Err)
    }

    /// Notes which names the node forgot, if it knows fewer than it has views.
    fn forget(&mut self, presence: &Presence, known: usize) {
        if known >= self.by_name.values().filter(|view| view.is_known).count() {
            return;
        }
        let mut ids = Vec::new();
        presence.standings(|id, _, _| ids.push(id.clone()));
        for view in self.by_name.values_mut() {
            view.is_known = ids.contains(&view.id);
        }
    }

    /// Checks that each view of an origin is the origin's own state at that clock. Of an origin
    /// with altered entries the content may differ, and at a clock that does not move only a
    /// reported divergence makes it right.
    pub(super) fn check_states(&mut self, truth: &Truth) -> Result<Content, String> {
        let mut content = Content::default();
        let is_fresh = |view: &&mut View| view.is_known && view.fresh != 0;
        for view in self.by_name.values_mut().filter(is_fresh) {
            let fresh = std::mem::take(&mut view.fresh);
            if truth.is_forked(&view.id) {
                continue;
            }
            for (index, &slot) in truth.slots().iter().enumerate() {
                let (held, is_applying) = view.states[index];
                if fresh & (1 << index) == 0 || held.clock == 0 || is_applying {
                    continue;
                }
                let origin = (view.id.clone(), slot);
                let expected = truth.state(&origin, held.clock);
                let is_right = expected == Some(held);
                if expected.is_some() && truth.is_tainted(&origin) {
                    let before = view.wrong[index];
                    view.wrong[index] = (!is_right).then_some(held.clock);
                    content.wrong += u32::from(!is_right && before.is_none());
                    if is_right && before == Some(held.clock) {
                        content.repaired += 1;
                        if !self.diverged.remove(&origin) {
                            let id = &view.id;
                            return Err(format!("repairs {id}/{slot} and reports no divergence"));
                        }
                    }
                } else if !is_right {
                    return Err(format!(
                        "holds {held:?} of {}/{slot}, the origin had {expected:?}",
                        view.id
                    ));
                }
            }
        }
        Ok(content)
    }
}

fn states_of(presence: &Presence, id: &ReplicaId, slots: &[u8]) -> States {
    let mut states = States::default();
    for (state, &slot) in states.iter_mut().zip(slots) {
        if let Some(info) = presence.origin_info(id, slot) {
            *state = (State::of(&info), info.applying);
        }
    }
    states
}
