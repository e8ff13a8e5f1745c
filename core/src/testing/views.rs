//! `Views`: a node's knowledge of the others, checked against the [`Truth`] after every call.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::model::{COUNT_VERSION, Content, Entries, count_of};
use super::own_entries::{OWNERS, Session};
use super::plan::{self, PARTITIONS, Plan};
use super::truth::{BeatName, Origin, Truth};
use crate::id::ReplicaId;
use crate::presence::{Held, Presence};
use crate::replica::Replica;
use crate::tracker::Entry;

/// A node's knowledge of the others, as the checks saw it.
#[derive(Clone, Default)]
pub(super) struct Views {
    names: BTreeMap<String, Name>,
    origins: HashMap<Origin, View>,
    /// Identities of which it received the Goodbye, and when.
    left: HashMap<ReplicaId, u64>,
    hearing: HashMap<ReplicaId, Heard>,
    /// The first Beat of each replica that reached it, and the last one.
    beats: HashMap<ReplicaId, (BeatName, BeatName)>,
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

/// A node's knowledge of one origin, as positions: (life, clock).
#[derive(Clone, Copy, Default)]
struct View {
    /// The furthest that was seen.
    furthest: (u64, u64),
    /// The one whose entries were checked.
    checked: Option<(u64, u64)>,
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
    pub(super) fn hear_beat(&mut self, id: &ReplicaId, beat: BeatName) {
        let (_, last) = self.beats.entry(id.clone()).or_insert((beat, beat));
        if beat.heartbeat > last.heartbeat {
            *last = beat;
        }
    }

    /// Returns the first Beat of a replica.
    pub(super) fn first_beat(&self, id: &ReplicaId) -> BeatName {
        self.beats.get(id).copied().unwrap_or_default().0
    }

    /// Returns the last Beat of a replica.
    pub(super) fn last_beat(&self, id: &ReplicaId) -> BeatName {
        self.beats.get(id).copied().unwrap_or_default().1
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

    /// Checks everything that the node knows: of the origins that it holds too.
    pub(super) fn check(
        &mut self,
        presence: &Presence,
        origins: &[Held],
        truth: &Truth,
        plan: &Plan,
        times: &Times,
    ) -> Result<(), String> {
        let replica = presence.replica();
        let known: Vec<_> = replica.replicas().collect();
        // A marker guards for twice `forget_after`, by the clock of its node.
        let guarded_ms = (2 * plan.forget_ms).saturating_sub(times.ahead_ms + 1_000);
        let is_guarded = |since_ms: u64| times.now_ms < since_ms + guarded_ms;
        for name in self.names.values_mut() {
            name.is_known = false;
        }
        let mut is_changed = false;
        for &(id, heartbeat, is_up) in &known {
            let left_ms = self.left.get(id);
            if left_ms.is_some_and(|&since_ms| is_guarded(since_ms)) {
                return Err(format!("knows {id}, which said Goodbye to it"));
            }
            let before = self.names.get_mut(id.name());
            let is_back = |before: &Name| (id, heartbeat) < (&before.id, before.heartbeat);
            if let Some(before) = &before
                && is_guarded(before.last_ms)
                && is_back(before)
            {
                return Err(format!("goes back to {id} at {heartbeat}"));
            }
            let same = before.as_ref().filter(|before| before.id == *id);
            let was_up = same.is_some_and(|before| before.is_up);
            is_changed |= same.is_none();
            let is_ghost = |end_ms: u64| end_ms + plan.ghost_ms() < times.now_ms;
            if is_up && !was_up && is_ghost(truth.end_ms(id)) {
                let end_ms = truth.end_ms(id);
                return Err(format!("shows {id}, which ended at {end_ms} ms"));
            }
            let heard = || self.hearing.get(id).copied().unwrap_or_default();
            let is_heard = |ms: u64| times.own_ms < ms + plan.down_ms;
            if !is_up && heard().sure_ms.is_some_and(is_heard) {
                return Err(format!("hides {id}, heard at {:?} ms", heard().sure_ms));
            }
            let name = Name {
                id: id.clone(),
                heartbeat,
                is_known: true,
                is_up,
                last_ms: times.now_ms,
            };
            match before {
                Some(before) => *before = name,
                None => drop(self.names.insert(id.name().to_owned(), name)),
            }
        }
        let names = &self.names;
        // Else each origin is of a replica that is known.
        if is_changed || names.values().any(|name| !name.is_known) {
            self.origins.retain(|(id, _), _| {
                let name = names.get(id.name());
                name.is_some_and(|name| name.id == *id && is_guarded(name.last_ms))
            });
        }
        self.check_states(presence, origins, &known, truth)
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
        origins: &[Held],
        known: &[(&ReplicaId, u64, bool)],
        truth: &Truth,
    ) -> Result<(), String> {
        let own = presence.id();
        for held in origins {
            let partition = held.partition;
            let info = &held.info;
            let id = &info.replica;
            if *id == own {
                continue;
            }
            let Some((_, _, is_up)) = known.iter().find(|(known, ..)| *known == id) else {
                return Err(format!("holds {partition} of {id}, which it does not know"));
            };
            if truth.is_forked(id) {
                continue;
            }
            if info.applying {
                // A first load is unseen; of a change some is seen and some is not.
                if held.life.is_none() && !entries_of(presence, id, partition).is_empty() {
                    return Err(format!("shows a part of {id}/{partition}"));
                }
                continue;
            }
            let Some(life) = held.life else {
                return Err(format!("holds {partition} of {id} without a life"));
            };
            let position = (life, info.clock);
            let view = self.origins.entry((id.clone(), partition)).or_default();
            if position < view.furthest {
                let furthest = view.furthest;
                return Err(format!(
                    "goes back from {furthest:?} to {position:?} of {id}/{partition}"
                ));
            }
            view.furthest = position;
            if view.checked != Some(position) && *is_up {
                let is_checked = check_state(presence, held, position, truth)?;
                view.checked = is_checked.then_some(position).or(view.checked);
            }
        }
        Ok(())
    }
}

/// Checks that what a node holds of an origin at a position is what that had. Returns whether that is
/// known.
fn check_state(
    presence: &Presence,
    held: &Held,
    position: (u64, u64),
    truth: &Truth,
) -> Result<bool, String> {
    let id = &held.info.replica;
    let partition = held.partition;
    let (life, clock) = position;
    let lived = truth.life_at(id, partition, clock);
    if lived != Some(life) {
        return Err(format!(
            "holds {position:?} of {id}/{partition}, whose life was {lived:?}"
        ));
    }
    if truth.may_differ(id, partition) {
        return Ok(false);
    }
    let expected = truth.entries(id, partition, clock);
    if expected.is_some_and(|expected| shows(presence, id, partition, expected)) {
        return Ok(true);
    }
    let entries = entries_of(presence, id, partition);
    Err(format!(
        "holds {entries:?} of {id}/{partition} at {position:?}, it had {expected:?}"
    ))
}

/// Returns whether a node shows exactly these entries, or counts, of a replica in one partition.
pub(super) fn shows(
    presence: &Presence,
    id: &ReplicaId,
    partition: u16,
    expected: &Entries,
) -> bool {
    let mut same = 0;
    let mut others = 0;
    for_each_of(presence, id, partition, |session, version, meta| {
        let known = expected.get(&session);
        if known.is_some_and(|known| known.version == version && *known.meta == *meta) {
            same += 1;
        } else {
            others += 1;
        }
    });
    others == 0 && same == expected.len()
}

/// Returns the entries, or counts, of a replica that a node shows in one partition.
pub(super) fn entries_of(presence: &Presence, id: &ReplicaId, partition: u16) -> Entries {
    let mut entries = Entries::new();
    for_each_of(presence, id, partition, |session, version, meta| {
        let meta = meta.into();
        entries.insert(session, Content { version, meta });
    });
    entries
}

/// Calls `each` for the entries, or counts, of a replica that a node shows in one partition, with their
/// versions and metas.
fn for_each_of(
    presence: &Presence,
    id: &ReplicaId,
    partition: u16,
    mut each: impl FnMut(Session, u64, &[u8]),
) {
    if let Some(counted) = partition.checked_sub(PARTITIONS as u16) {
        for (number, topic) in plan::topics_in(counted) {
            presence.for_each_count_held(topic, |entry| {
                if entry.replica() == id {
                    each(count_of(number), COUNT_VERSION, entry.meta());
                }
            });
        }
        return;
    }
    for (number, topic) in plan::topics_in(partition) {
        presence.for_each_held(topic, |entry| {
            if entry.replica() == id {
                each(session_of(number, &entry), entry.version(), entry.meta());
            }
        });
    }
}

/// Returns the session of an entry in a topic, with `u8::MAX` for what no program names.
pub(super) fn session_of(topic: u8, entry: &Entry<'_>) -> Session {
    let key = entry.key_str().and_then(|key| key.strip_prefix('k'));
    let key = key.filter(|key| key.len() == 1 || !key.starts_with(['0', '+']));
    let key = key.and_then(|key| key.parse().ok()).unwrap_or(u8::MAX);
    let owner = |owner: &&str| owner.as_bytes() == entry.owner();
    let owner = OWNERS.iter().position(owner);
    (topic, key, owner.map_or(u8::MAX, |owner| owner as u8))
}
