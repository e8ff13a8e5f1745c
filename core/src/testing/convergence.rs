//! The end of a schedule: the network heals, and everything must come to rest, equal.

use std::collections::BTreeSet;

use crdts::{CvRDT, Orswot};

use super::network::kind;
use super::plan::BEAT_MS;
use super::world::{Session, TOPICS, World};
use crate::codec::Kind;
use crate::id::ReplicaId;

/// Beats within which all must be equal: a replica gone is forgotten after 9 to 12, and a silenced
/// double needs as long to be sure.
const BEATS_MAX: u64 = 40;
/// Beats within which nodes that are equal fall silent.
const QUIET_BEATS_MAX: u64 = 6;

impl World<'_> {
    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.note(|| "the end: heal, deliver, wait".into());
        self.heal();
        (self.plan.loss, self.plan.doubled, self.plan.reorders) = (0, 0, false);
        self.plan.other_minor = 0;
        for node in self.nodes.iter_mut().flatten() {
            node.spoils = false;
        }
        self.one_of_each_name();
        self.deliver_all()?;
        self.plan.delay_ms = u64::MAX / 2;
        while self.nodes.iter().flatten().any(|node| node.leases.any()) {
            self.half_beats(2, &mut BTreeSet::new())?;
        }
        // Beats lost before the links were healed may hide a replica until `down_after` from then on.
        let settled_ms = self.now_ms + self.plan.down_ms + BEAT_MS;
        let mut last = Ok(());
        for _ in 0..BEATS_MAX {
            self.half_beats(2, &mut BTreeSet::new())?;
            last = self.equal();
            if last.is_ok() && self.now_ms >= settled_ms {
                break;
            }
        }
        last?;
        self.quiet()?;
        // What a replaced life showed is seen until its grace ends.
        let beats = self.plan.grace_ms.div_ceil(BEAT_MS);
        self.equal_beats(beats)?;
        self.equal_entries()
    }

    /// Beats at each of which all are equal: what is equal stays so.
    fn equal_beats(&mut self, count: u64) -> Result<(), String> {
        for _ in 0..count {
            self.half_beats(2, &mut BTreeSet::new())?;
            self.equal()?;
        }
        Ok(())
    }

    /// Of several processes with one name all but one are stopped.
    fn one_of_each_name(&mut self) {
        let mut names = BTreeSet::new();
        for place in self.alive() {
            let name = self.nodes[place].as_ref().map(|node| node.name);
            if !names.insert(name) {
                self.nodes[place] = None;
                self.note(|| format!("stop {place}, a double"));
            }
        }
        if names.is_empty() {
            self.start(0);
        }
    }

    fn half_beats(&mut self, count: u64, kinds: &mut BTreeSet<Kind>) -> Result<(), String> {
        for _ in 0..count {
            self.pass(BEAT_MS / 2)?;
            loop {
                kinds.extend(self.flights.iter().map(|flight| kind(&flight.frame)));
                if !self.deliver()? && !self.work()? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Nodes that are equal soon send nothing but heartbeats.
    fn quiet(&mut self) -> Result<(), String> {
        let mut kinds = BTreeSet::new();
        for _ in 0..QUIET_BEATS_MAX {
            kinds.clear();
            self.half_beats(2, &mut kinds)?;
            self.equal()?;
            kinds.remove(&Kind::DIGEST);
            if kinds.is_empty() {
                return Ok(());
            }
        }
        Err(format!("equal, yet they still send {kinds:?}"))
    }

    /// Returns whether every node knows every other one, exactly, and nobody else.
    fn equal(&self) -> Result<(), String> {
        let alive = self.alive();
        let group = |from| self.reachable(from);
        for &a in &alive {
            let Some(node) = &self.nodes[a] else { continue };
            let others: Vec<usize> = group(a).into_iter().filter(|&b| b != a).collect();
            let known = node.presence.replicas();
            let ids = others.iter().filter_map(|&b| self.nodes[b].as_ref());
            let ids: BTreeSet<_> = ids.map(|other| (other.presence.id(), true)).collect();
            if known.iter().cloned().collect::<BTreeSet<_>>() != ids {
                return Err(format!("{a} knows {known:?}, alive are {others:?}"));
            }
            // Others believe in a silent one for a while; then it goes, or comes back as another.
            if !node.presence.is_speaking() {
                return Err(format!("{a} is silent"));
            }
            if !node.presence.is_synced() {
                return Err(format!("{a} is not synced"));
            }
            let mut oracle = node.oracle.clone();
            for &b in &others {
                let Some(other) = &self.nodes[b] else {
                    continue;
                };
                self.equal_origin(a, b, &other.presence.id())?;
                oracle.merge(other.oracle.clone());
            }
            self.equal_members(a, &oracle)?;
            self.equal_mirror(a)?;
        }
        Ok(())
    }

    /// Returns whether nodes that hear each other list the same entries, content and all: the digests are
    /// not taken at their word.
    fn equal_entries(&self) -> Result<(), String> {
        let entries = |place: usize| {
            let mut entries = Vec::new();
            for (topic, node) in TOPICS.iter().zip(self.nodes[place].iter().cycle()) {
                entries.extend(node.presence.list(topic));
            }
            entries.sort_by_cached_key(|entry| (entry.dot(), entry.version()));
            entries
        };
        let mut seen = BTreeSet::new();
        for a in self.alive() {
            if !seen.insert(a) {
                continue;
            }
            let expected = entries(a);
            for b in self.reachable(a) {
                seen.insert(b);
                if entries(b) != expected {
                    return Err(format!("{a} and {b} list different entries"));
                }
            }
        }
        Ok(())
    }

    /// The places that frames from a place can reach over live ones, all links whole.
    fn reachable(&self, from: usize) -> Vec<usize> {
        if self.is_mesh() {
            return self.alive();
        }
        let mut found = vec![from];
        let mut at = 0;
        while at < found.len() {
            let next: Vec<usize> = self
                .alive()
                .into_iter()
                .filter(|&b| self.neighbours(found[at], b) && !found.contains(&b))
                .collect();
            found.extend(next);
            at += 1;
        }
        found
    }

    fn equal_origin(&self, a: usize, b: usize, id: &ReplicaId) -> Result<(), String> {
        let (Some(here), Some(there)) = (&self.nodes[a], &self.nodes[b]) else {
            return Ok(());
        };
        for &slot in &self.slots {
            let state = |node: &super::world::Node| {
                let info = node.presence.origin_info(id, slot);
                info.map_or((0, 0, 0), |info| {
                    (info.clock, info.fingerprint, info.entries)
                })
            };
            if state(here) != state(there) {
                let here = state(here);
                let there = state(there);
                return Err(format!(
                    "{a} holds {here:?} of {b}'s {id}/{slot}, which is {there:?}"
                ));
            }
        }
        Ok(())
    }

    fn equal_members(&self, a: usize, oracle: &Orswot<Session, u64>) -> Result<(), String> {
        let Some(node) = &self.nodes[a] else {
            return Ok(());
        };
        let text = |(topic, key, owner): Session| {
            (
                TOPICS[usize::from(topic)].to_owned(),
                format!("k{key}"),
                format!("o{}", owner + 1),
            )
        };
        let expected: BTreeSet<_> = oracle.read().val.into_iter().map(text).collect();
        let mut listed = BTreeSet::new();
        for topic in TOPICS {
            node.presence.for_each(topic, |entry| {
                let key = entry.key_str().unwrap_or_default().to_owned();
                let owner = String::from_utf8_lossy(entry.owner()).into_owned();
                listed.insert((topic.to_owned(), key, owner));
            });
        }
        if listed == expected {
            return Ok(());
        }
        Err(format!("{a} lists {listed:?}, the sets say {expected:?}"))
    }
}
