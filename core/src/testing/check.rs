//! What must hold after every call.

use crate::id::ReplicaId;

use super::world::World;

/// What a node has known of one name.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    id: ReplicaId,
    heartbeat: u64,
    is_here: bool,
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
        let (presence, seen_all) = (&node.presence, &mut node.seen);
        let mut wrong = None;
        let mut here = 0;
        presence.standings(|id, heartbeat, _| {
            here += 1;
            let clocks = slots
                .iter()
                .map(|&slot| presence.origin_info(id, slot).map_or(0, |info| info.clock));
            let clocks: Vec<u64> = clocks.collect();
            if retired.contains(id) {
                wrong = Some(format!("{place} knows {id}, which said Goodbye to it"));
            }
            if let Some(seen) = seen_all.get_mut(id.name()) {
                let (now, before) = ((id, heartbeat), (&seen.id, seen.heartbeat));
                let same_life = seen.is_here && *id == seen.id;
                let back = clocks
                    .iter()
                    .zip(&seen.clocks)
                    .any(|(now, before)| now < before);
                if now < before || (!seen.is_here && now == before) {
                    wrong = Some(format!("{place} goes from {before:?} to {now:?}"));
                } else if same_life && back && !forked.contains(id) {
                    wrong = Some(format!("{place} goes back in the clock of {id}"));
                }
                *seen = Seen {
                    id: id.clone(),
                    heartbeat,
                    is_here: true,
                    clocks,
                };
            } else {
                let seen = Seen {
                    id: id.clone(),
                    heartbeat,
                    is_here: true,
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
}
