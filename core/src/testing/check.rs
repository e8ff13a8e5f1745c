//! What must hold after every call.

use crate::id::ReplicaId;
use crate::tracker::OriginInfo;

use super::incident::Incident;
use super::world::{TOPICS, World};
use crate::replica::Event;

/// What a node has known of one name.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) id: ReplicaId,
    pub(super) heartbeat: u64,
    pub(super) is_here: bool,
    /// When it was last here.
    last_ms: u64,
    states: States,
    /// Slots whose state is new since it was last compared with the history.
    fresh: u32,
    /// Clocks at which the content was not the origin's.
    wrong: [Option<u64>; TOPICS.len()],
    is_up: bool,
}

/// Clock, digest, entries of each slot in use, and whether it is being applied.
type States = [(u64, u64, u32, bool); TOPICS.len()];

impl Seen {
    /// Takes over what stays from the view before. A guarded one only grows.
    fn follow(&mut self, before: &Self, is_guarded: bool, is_forked: bool) -> Result<(), String> {
        let same_life = before.is_here && self.id == before.id;
        let pairs = || self.states.iter().zip(&before.states).enumerate();
        let back = pairs().any(|(_, (now, before))| now.0 < before.0);
        if same_life {
            let changed = pairs().filter(|(_, (now, before))| now != before);
            self.fresh = changed.fold(before.fresh, |mask, (at, _)| mask | 1 << at);
            self.wrong = before.wrong;
        }
        let known = (&self.id, self.heartbeat).cmp(&(&before.id, before.heartbeat));
        if is_guarded && (known.is_lt() || (!before.is_here && known.is_eq())) {
            let (id, heartbeat) = (&before.id, before.heartbeat);
            return Err(format!(
                "goes from {id} at {heartbeat} to {} at {}",
                self.id, self.heartbeat
            ));
        }
        if same_life && back && !is_forked {
            return Err(format!("goes back in the clock of {}", self.id));
        }
        Ok(())
    }
}

impl World<'_> {
    pub(super) fn check(&mut self, place: usize) -> Result<(), String> {
        self.check_order(place)?;
        self.check_states(place)
    }

    /// What a node tells: a divergence only where there can be one, a signal once.
    pub(super) fn events(&mut self, place: usize) -> Result<(), String> {
        while let Some(node) = &mut self.nodes[place]
            && let Some(event) = node.presence.poll_event()
        {
            let incident = match event {
                Event::ReplicaUp(_) => Incident::ReplicaUp,
                Event::ReplicaDown(_) => Incident::ReplicaDown,
                Event::ReplicaForgotten(_) => Incident::ReplicaForgotten,
                Event::ReplicaLeft(_) => Incident::ReplicaLeft,
                Event::DuplicateName { .. } => Incident::DuplicateName,
                Event::Divergence { origin, slot } => {
                    let key = (origin, slot);
                    if !self.forked.contains(&key.0) && !self.tainted.contains(&key) {
                        return Err(format!("{place} tells of a divergence of {}/{slot}", key.0));
                    }
                    node.diverged.insert(key);
                    Incident::Divergence
                }
                Event::Signal { signal, .. } => {
                    let number = signal.payload.try_into().map_or(0, u64::from_le_bytes);
                    if !node.signals.insert(number) {
                        return Err(format!("{place} hears signal {number} again"));
                    }
                    continue;
                }
                _ => continue,
            };
            self.count(incident);
        }
        Ok(())
    }

    /// Each view of an origin is the origin's own state at that clock. Of an origin with altered
    /// entries the content may differ, and at a clock that stands still only a divergence that was
    /// told makes it right.
    fn check_states(&mut self, place: usize) -> Result<(), String> {
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        let (mut wrong, mut mended) = (0, 0);
        let fresh = |seen: &&mut Seen| seen.is_here && seen.fresh != 0;
        for seen in node.seen.values_mut().filter(fresh) {
            let fresh = std::mem::take(&mut seen.fresh);
            if self.forked.contains(&seen.id) {
                continue;
            }
            for (at, &slot) in self.slots.iter().enumerate() {
                let (clock, digest, entries, is_applying) = seen.states[at];
                if fresh & (1 << at) == 0 || clock == 0 || is_applying {
                    continue;
                }
                let history = self.histories.get(&(seen.id.clone(), slot));
                let known = history.and_then(|history| {
                    let at = history.binary_search_by_key(&clock, |state| state.0);
                    Some(history[at.ok()?])
                });
                let is_right = known == Some((clock, digest, entries));
                let key = (seen.id.clone(), slot);
                if known.is_some() && self.tainted.contains(&key) {
                    let before = seen.wrong[at];
                    seen.wrong[at] = (!is_right).then_some(clock);
                    wrong += u32::from(!is_right && before.is_none());
                    if is_right && before == Some(clock) {
                        mended += 1;
                        if !node.diverged.remove(&key) {
                            return Err(format!("{place} mends {}/{slot} in silence", key.0));
                        }
                    }
                } else if !is_right {
                    return Err(format!(
                        "{place} holds {entries} of {}/{slot} at clock {clock}, the origin had {known:?}",
                        seen.id
                    ));
                }
            }
        }
        (0..wrong).for_each(|_| self.count(Incident::ContentWrong));
        (0..mended).for_each(|_| self.count(Incident::ContentMended));
        Ok(())
    }

    /// What a node knows of a name only grows, and comes back only when it has grown.
    fn check_order(&mut self, place: usize) -> Result<(), String> {
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        let (slots, forked, retired) = (&self.slots, &self.forked, &node.retired);
        let last_ms = self.now_ms;
        // A marker guards for twice `forget_after`, by the clock of its node.
        let guarded_ms = 2 * self.plan.forget_ms - node.ahead_ms - 1000;
        let is_guarded = |since: u64| last_ms < since + guarded_ms;
        let (presence, seen_all, hearing) = (&node.presence, &mut node.seen, &node.hearing);
        let down_ms = self.plan.down_ms;
        let mut wrong = None;
        let mut here = 0;
        presence.standings(|id, heartbeat, is_up| {
            here += 1;
            let mut states = States::default();
            for (state, &slot) in states.iter_mut().zip(slots) {
                let info = presence.origin_info(id, slot);
                let state_of = |i: OriginInfo| (i.clock, i.fingerprint, i.entries, i.applying);
                *state = info.map(state_of).unwrap_or_default();
            }
            if retired.get(id).is_some_and(|&since| is_guarded(since)) {
                wrong = Some(format!("knows {id}, which said Goodbye to it"));
            }
            let mut now = Seen {
                id: id.clone(),
                heartbeat,
                is_here: true,
                last_ms,
                states,
                fresh: u32::MAX,
                wrong: Default::default(),
                is_up,
            };
            let before = seen_all.get_mut(id.name());
            let was_up = before
                .as_ref()
                .is_some_and(|seen| seen.is_up && seen.id == *id);
            if is_up && !was_up {
                let mut lives = self.lives.iter().flatten();
                let last = lives.find(|life| life.0 == *id).map_or(0, |life| life.1);
                if last + self.ghost_ms < last_ms {
                    wrong = Some(format!("shows {id}, which ended at {last} ms"));
                }
            }
            if !is_up && hearing.must_show(id, down_ms) {
                wrong = Some(format!("hides {id}, which it hears"));
            }
            if let Some(seen) = before {
                let guarded = seen.is_here || is_guarded(seen.last_ms);
                if let Err(what) = now.follow(seen, guarded, forked.contains(id)) {
                    wrong = Some(what);
                }
                *seen = now;
            } else {
                seen_all.insert(id.name().to_owned(), now);
            }
        });
        if here < seen_all.values().filter(|seen| seen.is_here).count() {
            let mut still = Vec::new();
            presence.standings(|id, _, _| still.push(id.clone()));
            for seen in seen_all.values_mut() {
                seen.is_here = still.contains(&seen.id);
            }
        }
        wrong.map_or(Ok(()), |what| Err(format!("{place} {what}")))
    }
}
