//! What must hold after every call.

use crate::id::{Origin, ReplicaId};
use crate::tracker::EntryBuf;

use super::world::{TOPICS, World};

/// What a node has known of one name.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    id: ReplicaId,
    heartbeat: u64,
    is_here: bool,
    /// When it was last here.
    last_ms: u64,
    clocks: Vec<u64>,
}

impl World<'_> {
    pub(super) fn check(&mut self, place: usize) -> Result<(), String> {
        self.record(place);
        self.check_order(place)?;
        self.check_states(place)
    }

    /// Each view of an origin is the origin's own state at that clock.
    fn check_states(&self, place: usize) -> Result<(), String> {
        let Some(node) = &self.nodes[place] else {
            return Ok(());
        };
        for seen in node.seen.values().filter(|seen| seen.is_here) {
            if self.forked.contains(&seen.id) {
                continue;
            }
            for &slot in &self.slots {
                let Some(info) = node.presence.origin_info(&seen.id, slot) else {
                    continue;
                };
                if info.clock == 0 || info.applying {
                    continue;
                }
                let history = self.histories.get(&(seen.id.clone(), slot));
                let at = history.and_then(|history| {
                    let at = history
                        .binary_search_by_key(&info.clock, |state| state.0)
                        .ok()?;
                    Some(history[at])
                });
                if at != Some((info.clock, info.digest, info.entries)) {
                    return Err(format!(
                        "{place} holds {} of {}/{slot} at clock {}, the origin had {at:?}",
                        info.entries, seen.id, info.clock
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
            let clocks = slots
                .iter()
                .map(|&slot| presence.origin_info(id, slot).map_or(0, |info| info.clock));
            let clocks: Vec<u64> = clocks.collect();
            if retired.get(id).is_some_and(|&since| is_guarded(since)) {
                wrong = Some(format!("{place} knows {id}, which said Goodbye to it"));
            }
            if let Some(seen) = seen_all.get_mut(id.name()) {
                let (now, before) = ((id, heartbeat), (&seen.id, seen.heartbeat));
                let same_life = seen.is_here && *id == seen.id;
                let back = clocks
                    .iter()
                    .zip(&seen.clocks)
                    .any(|(now, before)| now < before);
                let is_bound = seen.is_here || is_guarded(seen.last_ms);
                if is_bound && (now < before || (!seen.is_here && now == before)) {
                    wrong = Some(format!("{place} goes from {before:?} to {now:?}"));
                } else if same_life && back && !forked.contains(id) {
                    wrong = Some(format!("{place} goes back in the clock of {id}"));
                }
                *seen = Seen {
                    id: id.clone(),
                    heartbeat,
                    is_here: true,
                    last_ms,
                    clocks,
                };
            } else {
                let seen = Seen {
                    id: id.clone(),
                    heartbeat,
                    is_here: true,
                    last_ms,
                    clocks,
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
                for leave in &topic.leaves {
                    if node.mirror.remove(&place_of(&topic.topic, leave)).is_none() {
                        return Err(format!("{place} tells of an unknown leave: {leave:?}"));
                    }
                }
                for join in &topic.joins {
                    if node
                        .mirror
                        .insert(place_of(&topic.topic, join), join.version())
                        .is_some()
                    {
                        return Err(format!("{place} tells of a join twice: {join:?}"));
                    }
                }
                for update in &topic.updates {
                    let (old, new) = (
                        place_of(&topic.topic, &update.old),
                        place_of(&topic.topic, &update.new),
                    );
                    let known = node.mirror.remove(&old) == Some(update.old.version());
                    if !known || node.mirror.insert(new, update.new.version()).is_some() {
                        return Err(format!("{place} tells of an update of nothing: {update:?}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether what a node lists of others is what its Diffs said.
    pub(super) fn equal_mirror(&self, place: usize) -> Result<(), String> {
        let Some(node) = &self.nodes[place] else {
            return Ok(());
        };
        let own = node.presence.id();
        let (mut listed, mut same) = (0, true);
        for topic in TOPICS {
            node.presence.for_each(topic, |entry| {
                if *entry.replica() != own {
                    listed += 1;
                    let entry = entry.to_buf();
                    same &= node.mirror.get(&place_of(topic, &entry)) == Some(&entry.version());
                }
            });
        }
        if same && listed == node.mirror.len() {
            return Ok(());
        }
        let told = node.mirror.len();
        Err(format!(
            "{place} lists {listed} entries of others, its Diffs tell of {told}"
        ))
    }
}

/// A birth that twins gave to entries of two topics is two entries.
fn place_of(topic: &str, entry: &EntryBuf) -> (Origin, u64, String) {
    (entry.origin().clone(), entry.birth(), topic.to_owned())
}
