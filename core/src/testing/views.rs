//! `Views`: a node's knowledge of the others, checked against the [`Truth`] after every call.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::model::{Content, Entries, count_of};
use super::own_entries::OWNERS;
use super::plan::{self, PARTITIONS, Plan};
use super::truth::{Origin, Truth};
use crate::id::ReplicaId;
use crate::presence::Presence;
use crate::replica::Replica;
use crate::tracker::Entry;

/// A node's knowledge of the others, as the checks saw it.
#[derive(Clone, Default)]
pub(super) struct Views {
    names: BTreeMap<String, Name>,
    /// The furthest (life, clock) seen of each origin.
    furthest: HashMap<Origin, (u64, u64)>,
    /// The positions whose entries were checked.
    checked: HashMap<Origin, (u64, u64)>,
    /// Identities of which it received the Goodbye, and when.
    left: HashMap<ReplicaId, u64>,
    hearing: HashMap<ReplicaId, Heard>,
    /// The first heartbeat of each replica that a Beat brought, and the last one.
    beats: HashMap<ReplicaId, (u64, u64)>,
    /// The last heartbeat of each later process of the own name, and when it came.
    rivals: HashMap<ReplicaId, (u64, u64)>,
}

/// A node's knowledge of one name.
#[derive(Clone)]
struct Name {
    id: ReplicaId,
    heartbeat: u64,
    is_known: bool,
    is_up: bool,
    last_ms: u64,
}

/// The heartbeats of one replica that reached a node.
#[derive(Clone, Copy, Default)]
struct Heard {
    /// When a heartbeat last reached it that it did not know, by its own clock.
    at_ms: u64,
    /// As `at_ms`, if the node knew the replica then and no hint has said since that it is gone.
    sure_ms: Option<u64>,
}

/// The times of a check.
pub(super) struct Times {
    /// The clock of the world.
    pub(super) now_ms: u64,
    /// The clock of the node.
    pub(super) own_ms: u64,
    pub(super) ahead_ms: u64,
}

impl Views {
    /// Notes that the Goodbye of a replica was received.
    pub(super) fn leave(&mut self, id: ReplicaId, now_ms: u64) {
        self.left.entry(id).or_insert(now_ms);
    }

    /// Notes a Beat that reaches the node.
    pub(super) fn hear_beat(&mut self, id: &ReplicaId, heartbeat: u64) {
        let beats = self.beats.entry(id.clone());
        let (_, last) = beats.or_insert((heartbeat, heartbeat));
        *last = heartbeat.max(*last);
    }

    /// Returns the first heartbeat of a replica that a Beat brought.
    pub(super) fn first_beat(&self, id: &ReplicaId) -> u64 {
        self.beats.get(id).map_or(0, |(first, _)| *first)
    }

    /// Returns the last heartbeat of a replica that a Beat brought.
    pub(super) fn last_beat(&self, id: &ReplicaId) -> u64 {
        self.beats.get(id).map_or(0, |(_, last)| *last)
    }

    /// Notes a heartbeat that is about to reach the node `own`, if it is of a later process of its
    /// name.
    pub(super) fn hear_rival(
        &mut self,
        own: &ReplicaId,
        id: &ReplicaId,
        heartbeat: u64,
        own_ms: u64,
    ) {
        let is_rival = id.name() == own.name() && id > own;
        let last = self.rivals.get(id).map(|(heartbeat, _)| *heartbeat);
        if is_rival && last.is_none_or(|last| heartbeat > last) {
            self.rivals.insert(id.clone(), (heartbeat, own_ms));
        }
    }

    /// Notes a heartbeat that is about to reach the node.
    pub(super) fn hear(&mut self, replica: &Replica, id: &ReplicaId, heartbeat: u64, own_ms: u64) {
        let known = replica.replicas().find(|(known, ..)| *known == id);
        let is_higher = known.is_none_or(|(_, known, _)| heartbeat > known);
        if is_higher {
            let heard = self.hearing.entry(id.clone()).or_default();
            // A node that does not know the replica may have reasons not to admit it.
            heard.at_ms = own_ms;
            if known.is_some() {
                heard.sure_ms = Some(own_ms);
            }
        }
    }

    /// Notes a hint of the transport that a name is gone.
    pub(super) fn hint(&mut self, name: &str) {
        for (id, heard) in &mut self.hearing {
            if id.name() == name {
                heard.sure_ms = None;
            }
        }
    }

    /// Checks everything that the node knows.
    pub(super) fn check(
        &mut self,
        presence: &Presence,
        truth: &Truth,
        plan: &Plan,
        times: &Times,
    ) -> Result<(), String> {
        let known: Vec<_> = presence
            .replica()
            .replicas()
            .map(|(id, heartbeat, is_up)| (id.clone(), heartbeat, is_up))
            .collect();
        // A marker guards for twice `forget_after`, by the clock of its node.
        let guarded_ms = (2 * plan.forget_ms).saturating_sub(times.ahead_ms + 1_000);
        let is_guarded = |since_ms: u64| times.now_ms < since_ms + guarded_ms;
        for name in self.names.values_mut() {
            name.is_known = false;
        }
        for (id, heartbeat, is_up) in &known {
            let heartbeat = *heartbeat;
            let is_up = *is_up;
            if self
                .left
                .get(id)
                .is_some_and(|&since_ms| is_guarded(since_ms))
            {
                return Err(format!("knows {id}, which said Goodbye to it"));
            }
            let before = self.names.get(id.name());
            let is_back = |before: &Name| (id, heartbeat) < (&before.id, before.heartbeat);
            if before.is_some_and(|before| is_guarded(before.last_ms) && is_back(before)) {
                return Err(format!("goes back to {id} at {heartbeat}"));
            }
            let was_up = before.is_some_and(|before| before.is_up && before.id == *id);
            let end_ms = truth.end_ms(id);
            if is_up && !was_up && end_ms + plan.ghost_ms() < times.now_ms {
                return Err(format!("shows {id}, which ended at {end_ms} ms"));
            }
            let heard = self.hearing.get(id).copied().unwrap_or_default();
            if !is_up
                && heard
                    .sure_ms
                    .is_some_and(|ms| times.own_ms < ms + plan.down_ms)
            {
                return Err(format!("hides {id}, heard at {:?} ms", heard.sure_ms));
            }
            let name = Name {
                id: id.clone(),
                heartbeat,
                is_known: true,
                is_up,
                last_ms: times.now_ms,
            };
            self.names.insert(id.name().to_owned(), name);
        }
        let names = &self.names;
        self.furthest.retain(|(id, _), _| {
            let name = names.get(id.name());
            name.is_some_and(|name| name.id == *id && is_guarded(name.last_ms))
        });
        self.check_states(presence, &known, truth)
    }

    /// Checks that a node whose deadlines were looked at at `own_ms` shows no replica that is
    /// silent, and does not speak beside a later process of its name.
    pub(super) fn check_silence(
        &self,
        replica: &Replica,
        own: &ReplicaId,
        plan: &Plan,
        own_ms: u64,
    ) -> Result<(), String> {
        for (id, (_, heard_ms)) in &self.rivals {
            let is_live = id > own && own_ms < heard_ms + plan.down_ms;
            if is_live && replica.is_speaking() {
                return Err(format!("speaks as {own}, and heard {id} at {heard_ms} ms"));
            }
        }
        for (id, _, is_up) in replica.replicas() {
            let heard_ms = self.hearing.get(id).map_or(0, |heard| heard.at_ms);
            if is_up && own_ms >= heard_ms + plan.down_ms {
                return Err(format!("shows {id} at {own_ms} ms, heard at {heard_ms} ms"));
            }
        }
        Ok(())
    }

    fn check_states(
        &mut self,
        presence: &Presence,
        known: &[(ReplicaId, u64, bool)],
        truth: &Truth,
    ) -> Result<(), String> {
        let own = presence.id();
        for (partition, info) in presence.origins() {
            let id = &info.replica;
            if *id == own {
                continue;
            }
            let Some((_, _, is_up)) = known.iter().find(|(known, ..)| known == id) else {
                return Err(format!("holds {partition} of {id}, which it does not know"));
            };
            if truth.is_forked(id) {
                continue;
            }
            let held = presence.position(id, partition);
            if info.applying {
                // A first load is unseen; of a change some is seen and some is not.
                let is_seen = !entries_of(presence, id, partition).is_empty();
                if held.is_none() && is_seen {
                    return Err(format!("shows a part of {id}/{partition}"));
                }
                continue;
            }
            let Some(held) = held else {
                return Err(format!("holds {partition} of {id} without a life"));
            };
            let origin = (id.clone(), partition);
            let position = (held.life, held.clock);
            let furthest = self.furthest.entry(origin.clone()).or_default();
            if position < *furthest {
                return Err(format!(
                    "goes back from {furthest:?} to {position:?} of {origin:?}"
                ));
            }
            *furthest = position;
            if self.checked.get(&origin) == Some(&position) || !is_up {
                continue;
            }
            let life = truth.life_at(id, partition, held.clock);
            if life != Some(held.life) {
                return Err(format!(
                    "holds {position:?} of {origin:?}, whose life was {life:?}"
                ));
            }
            if truth.may_differ(id, partition) {
                continue;
            }
            let entries = entries_of(presence, id, partition);
            let expected = truth.entries(id, partition, held.clock);
            if expected != Some(&entries) {
                return Err(format!(
                    "holds {entries:?} of {origin:?} at {position:?}, it had {expected:?}"
                ));
            }
            self.checked.insert(origin, position);
        }
        Ok(())
    }
}

/// Returns the entries, or counts, of a replica that a node shows in one partition.
pub(super) fn entries_of(presence: &Presence, id: &ReplicaId, partition: u16) -> Entries {
    let mut entries = Entries::new();
    if let Some(counted) = partition.checked_sub(PARTITIONS as u16) {
        for (number, topic) in (0..).zip(plan::topics()) {
            let mut add = |entry: Entry<'_>| {
                let content = Content::of_count(entry.meta().to_vec());
                entries.insert(count_of(number), content);
            };
            if Plan::partition_of((number, 0, 0)) == counted {
                presence.for_each_count_held(topic, |entry| {
                    if entry.replica() == id {
                        add(entry);
                    }
                });
            }
        }
        return entries;
    }
    for (number, topic) in (0..).zip(plan::topics()) {
        if Plan::partition_of((number, 0, 0)) != partition {
            continue;
        }
        presence.for_each_held(topic, |entry| {
            if entry.replica() == id {
                let key = entry.key_str().and_then(|key| key.strip_prefix('k'));
                let key = key.and_then(|key| key.parse().ok()).unwrap_or(u8::MAX);
                let owner = |owner: &&str| owner.as_bytes() == entry.owner();
                let owner = OWNERS.iter().position(owner);
                let content = Content {
                    version: entry.version(),
                    meta: entry.meta().to_vec(),
                };
                let owner = owner.map_or(u8::MAX, |owner| owner as u8);
                entries.insert((number, key, owner), content);
            }
        });
    }
    entries
}
