//! What must hold after every call.

use crate::id::{Origin, ReplicaId};
use crate::tracker::{EntryBuf, OriginInfo};

use super::world::{TOPICS, World};

/// What a node has known of one name.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    id: ReplicaId,
    heartbeat: u64,
    is_here: bool,
    /// When it was last here.
    last_ms: u64,
    states: States,
    /// Slots whose state is new since it was last compared with the history.
    fresh: u32,
}

/// Clock, digest, entries of each slot in use, and whether it is being applied.
type States = [(u64, u64, u32, bool); TOPICS.len()];

impl World<'_> {
    pub(super) fn check(&mut self, place: usize) -> Result<(), String> {
        self.record(place);
        self.check_order(place)?;
        self.check_states(place)
    }

    /// Each view of an origin is the origin's own state at that clock.
    fn check_states(&mut self, place: usize) -> Result<(), String> {
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
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
                if known != Some((clock, digest, entries)) {
                    return Err(format!(
                        "{place} holds {entries} of {}/{slot} at clock {clock}, the origin had {known:?}",
                        seen.id
                    ));
                }
            }
        }
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
        let (presence, seen_all) = (&node.presence, &mut node.seen);
        let mut wrong = None;
        let mut here = 0;
        presence.standings(|id, heartbeat, _| {
            here += 1;
            let mut states = States::default();
            for (state, &slot) in states.iter_mut().zip(slots) {
                let info = presence.origin_info(id, slot);
                let state_of = |i: OriginInfo| (i.clock, i.digest, i.entries, i.applying);
                *state = info.map(state_of).unwrap_or_default();
            }
            let mut fresh = u32::MAX;
            if retired.get(id).is_some_and(|&since| is_guarded(since)) {
                wrong = Some(format!("{place} knows {id}, which said Goodbye to it"));
            }
            if let Some(seen) = seen_all.get_mut(id.name()) {
                let (now, before) = ((id, heartbeat), (&seen.id, seen.heartbeat));
                let same_life = seen.is_here && *id == seen.id;
                let mut pairs = states.iter().zip(&seen.states);
                let back = pairs.any(|(now, before)| now.0 < before.0);
                if same_life {
                    let pairs = states.iter().zip(&seen.states).enumerate();
                    let changed = pairs.filter(|(_, (now, before))| now != before);
                    fresh = changed.fold(seen.fresh, |mask, (at, _)| mask | 1 << at);
                }
                let is_bound = seen.is_here || is_guarded(seen.last_ms);
                if is_bound && (now < before || (!seen.is_here && now == before)) {
                    wrong = Some(format!("{place} goes from {before:?} to {now:?}"));
                } else if same_life && back && !forked.contains(id) {
                    wrong = Some(format!("{place} goes back in the clock of {id}"));
                }
                if !same_life {
                    seen.id = id.clone();
                }
                (seen.heartbeat, seen.is_here, seen.last_ms) = (heartbeat, true, last_ms);
                (seen.states, seen.fresh) = (states, fresh);
            } else {
                let seen = Seen {
                    id: id.clone(),
                    heartbeat,
                    is_here: true,
                    last_ms,
                    states,
                    fresh,
                };
                seen_all.insert(id.name().to_owned(), seen);
            }
        });
        if here < seen_all.values().filter(|seen| seen.is_here).count() {
            let mut still = Vec::new();
            presence.standings(|id, _, _| still.push(id.clone()));
            for seen in seen_all.values_mut() {
                seen.is_here = still.contains(&seen.id);
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Applies the Diffs of a node to its mirror: joins must be new, leaves and updates known.
    pub(super) fn mirror(&mut self, place: usize) -> Result<(), String> {
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        while let Some(diff) = node.presence.poll_diff() {
            for topic in diff.iter() {
                let olds = topic.updates.iter().map(|update| &update.old);
                for gone in topic.leaves.iter().chain(olds) {
                    let version = node.mirror.remove(&place_of(&topic.topic, gone));
                    if version != Some(gone.version()) {
                        return Err(format!("{place} tells of the end of nothing: {gone:?}"));
                    }
                }
                let news = topic.updates.iter().map(|update| &update.new);
                for new in topic.joins.iter().chain(news) {
                    let key = place_of(&topic.topic, new);
                    if node.mirror.insert(key, new.version()).is_some() {
                        return Err(format!("{place} tells of a join twice: {new:?}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether what a node lists, its own entries included, is what its Diffs said.
    pub(super) fn equal_mirror(&self, place: usize) -> Result<(), String> {
        let Some(node) = &self.nodes[place] else {
            return Ok(());
        };
        let (mut listed, mut same) = (0, true);
        for topic in TOPICS {
            node.presence.for_each(topic, |entry| {
                listed += 1;
                let entry = entry.to_buf();
                same &= node.mirror.get(&place_of(topic, &entry)) == Some(&entry.version());
            });
        }
        if same && listed == node.mirror.len() {
            return Ok(());
        }
        let told = node.mirror.len();
        Err(format!(
            "{place} lists {listed} entries, its Diffs tell of {told}"
        ))
    }
}

/// A birth that twins gave to entries of two topics is two entries.
fn place_of(topic: &str, entry: &EntryBuf) -> (Origin, u64, String) {
    (entry.origin().clone(), entry.birth(), topic.to_owned())
}
