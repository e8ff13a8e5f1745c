//! `Peers`: the other replicas: admission, hearing, hiding, forgetting.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gap_check::GapCheck;
use super::handle::Handle;
use super::held_index::HeldIndex;
use super::holdings::Holdings;
use super::message::PullItem;
use super::output::Address;
use super::pulls::Question;
use super::sum_check::SumCheck;
use super::throttle::{AnswerBudget, Throttle};
use crate::codec::Shape;
use crate::error::ApplyError;
use crate::fault::{Fault, is_broken};
use crate::id::{ByName, ReplicaId};

/// A replica that is known.
#[derive(Debug, Clone)]
pub(super) struct KnownReplica {
    id: ReplicaId,
    handle: Handle,
    address: Address,
    heartbeat: u64,
    /// When a higher heartbeat last arrived.
    heard: u64,
    is_up: bool,
    pub(super) index: HeldIndex,
    pub(super) holdings: Holdings,
    pub(super) check: SumCheck,
    /// Takes the place of `check` where not everything is held.
    pub(super) gap: GapCheck,
    pub(super) throttle: Throttle,
    pub(super) budget: AnswerBudget,
    /// The reason why the last frame of a partition was refused, if none was taken since.
    pub(super) refused: BTreeMap<u16, ApplyError>,
    /// The Drops of each partition that were asked for and are not reported.
    drops: BTreeMap<u16, u32>,
}

/// The trace of a replica that was dropped.
#[derive(Debug, Clone)]
struct Marker {
    id: ReplicaId,
    heartbeat: u64,
    /// The greatest version heard of its index.
    announced: u64,
    has_left: bool,
    heard: u64,
    until: u64,
}

/// The relation of an id to what is known of its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is known.
    Known,
    /// It may be admitted.
    New,
    /// A greater id is known, heard at that time.
    Fenced { greater: ReplicaId, heard: u64 },
    /// It said Goodbye.
    HasLeft,
    /// It was forgotten and has not beaten since.
    Marked,
    /// Another replica has its handle.
    Collision,
    /// As many replicas as possible are known.
    Full,
}

/// The relation of a heartbeat to those before.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Lower,
    Equal,
    Higher {
        /// True if the replica was down.
        is_back: bool,
    },
}

/// A replica whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Down(Handle),
    Forgotten(Handle),
}

/// The bounds of [`Peers`].
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) shape: Shape,
    pub(super) down: u64,
    pub(super) forget: u64,
    pub(super) peers_max: usize,
}

/// All other replicas, by name and by handle.
#[derive(Debug, Clone)]
pub(super) struct Peers {
    bounds: Bounds,
    known: BTreeMap<Handle, KnownReplica>,
    by_name: ByName<Handle>,
    markers: BTreeMap<Arc<str>, Marker>,
}

impl KnownReplica {
    pub(super) fn id(&self) -> &ReplicaId {
        &self.id
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn heartbeat(&self) -> u64 {
        self.heartbeat
    }

    /// Returns when a higher heartbeat last arrived.
    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// Returns a question for a partition, with what is held of it.
    pub(super) fn question(&self, partition: u16, question: &Question) -> PullItem {
        let held = self.holdings.get(partition);
        PullItem {
            partition,
            life: held.map_or(0, |held| held.life),
            clock: held.map_or(0, |held| held.clock),
            is_full: question.is_full,
            nonce: question.nonce,
        }
    }

    /// Notes that a partition is to be dropped.
    pub(super) fn begin_drop(&mut self, partition: u16) {
        *self.drops.entry(partition).or_default() += 1;
    }

    /// Notes that a partition was dropped.
    pub(super) fn end_drop(&mut self, partition: u16) {
        if let Some(drops) = self.drops.get_mut(&partition) {
            *drops -= 1;
            if *drops == 0 {
                self.drops.remove(&partition);
            }
        }
    }

    /// Returns whether a partition is to be dropped, which is not reported.
    pub(super) fn is_dropping(&self, partition: u16) -> bool {
        self.drops.contains_key(&partition)
    }

    /// Returns whether a life is news: it was not heard of before, not even before the replica was
    /// forgotten.
    pub(super) fn is_news(&self, life: u64) -> bool {
        life > self.index.announced()
    }
}

impl Peers {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            known: BTreeMap::new(),
            by_name: ByName::default(),
            markers: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, handle: Handle) -> Option<&KnownReplica> {
        self.known.get(&handle)
    }

    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<&mut KnownReplica> {
        self.known.get_mut(&handle)
    }

    /// Returns the handle of exactly this replica, if it is known.
    pub(super) fn find(&self, id: &ReplicaId) -> Option<Handle> {
        self.by_name.get_exact(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &KnownReplica> {
        self.known.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut KnownReplica> {
        self.known.values_mut()
    }

    pub(super) fn is_up(&self, handle: Handle) -> bool {
        self.get(handle).is_some_and(KnownReplica::is_up)
    }

    /// Returns the replica that has been down for longest. O(replicas).
    pub(super) fn longest_down(&self) -> Option<Handle> {
        let down = self.known.values().filter(|known| !known.is_up);
        down.min_by_key(|known| known.heard)
            .map(|known| known.handle)
    }

    /// Returns the number of markers.
    #[cfg(test)]
    pub(super) fn markers(&self) -> usize {
        self.markers.len()
    }

    /// Returns how a replica that is heard with a heartbeat stands to what is known.
    pub(super) fn admission(&self, id: &ReplicaId, handle: Handle, heartbeat: u64) -> Admission {
        if self.known.get(&handle).is_some_and(|known| known.id != *id) {
            return Admission::Collision;
        }
        if let Some((_, handle)) = self.by_name.get(id.name()) {
            let known = &self.known[handle];
            return match id.cmp(&known.id) {
                std::cmp::Ordering::Less => Admission::Fenced {
                    greater: known.id.clone(),
                    heard: known.heard,
                },
                std::cmp::Ordering::Equal => Admission::Known,
                std::cmp::Ordering::Greater => Admission::New,
            };
        }
        if let Some(marker) = self.markers.get(id.name()) {
            if *id < marker.id {
                return Admission::Fenced {
                    greater: marker.id.clone(),
                    heard: marker.heard,
                };
            }
            if *id == marker.id && marker.has_left {
                return Admission::HasLeft;
            }
            let is_later = heartbeat > marker.heartbeat
                || heartbeat == marker.heartbeat && is_broken(Fault::EqualHeartbeat);
            if *id == marker.id && !is_later {
                return Admission::Marked;
            }
        }
        if self.known.len() >= self.bounds.peers_max {
            return Admission::Full;
        }
        Admission::New
    }

    /// Admits a replica that is [`Admission::New`]. Returns the one of its name that it replaces.
    pub(super) fn admit(
        &mut self,
        id: &ReplicaId,
        handle: Handle,
        heartbeat: u64,
        address: &Address,
        now: u64,
    ) -> Option<KnownReplica> {
        let replaced = self.by_name.get(id.name()).map(|(_, handle)| *handle);
        let replaced = replaced.and_then(|handle| self.remove(handle));
        let marker = self.markers.remove(id.name());
        let marker = marker.filter(|marker| marker.id == *id);
        let announced = marker.map_or(0, |marker| marker.announced);
        let index = match &replaced {
            Some(replaced) if is_broken(Fault::IndexOverIncarnation) => replaced.index.clone(),
            _ => HeldIndex::new(self.bounds.shape, announced),
        };
        let known = KnownReplica {
            id: id.clone(),
            handle,
            address: address.clone(),
            heartbeat,
            heard: now,
            is_up: true,
            index,
            holdings: Holdings::default(),
            check: SumCheck::default(),
            gap: GapCheck::default(),
            throttle: Throttle::default(),
            budget: AnswerBudget::default(),
            refused: BTreeMap::new(),
            drops: BTreeMap::new(),
        };
        self.known.insert(handle, known);
        self.by_name.insert(id.clone(), handle);
        replaced
    }

    /// Takes a heartbeat of a known replica.
    pub(super) fn hear(
        &mut self,
        handle: Handle,
        heartbeat: u64,
        address: &Address,
        now: u64,
    ) -> Heard {
        let Some(known) = self.known.get_mut(&handle) else {
            return Heard::Equal;
        };
        if heartbeat <= known.heartbeat {
            return if heartbeat < known.heartbeat {
                Heard::Lower
            } else {
                Heard::Equal
            };
        }
        known.heartbeat = heartbeat;
        known.heard = now;
        known.address = address.clone();
        let is_back = !std::mem::replace(&mut known.is_up, true);
        Heard::Higher { is_back }
    }

    /// Marks a replica down. Returns whether it was up.
    pub(super) fn mark_down(&mut self, handle: Handle) -> bool {
        let known = self.known.get_mut(&handle);
        known.is_some_and(|known| std::mem::replace(&mut known.is_up, false))
    }

    /// Returns the replicas that have been silent for too long, and drops markers that no longer
    /// guard.
    pub(super) fn sweep(&mut self, now: u64) -> Vec<Verdict> {
        self.markers.retain(|_, marker| now < marker.until);
        let verdicts = self.known.values().filter_map(|known| {
            if now >= known.heard + self.bounds.forget {
                Some(Verdict::Forgotten(known.handle))
            } else if known.is_up
                && now >= known.heard + self.bounds.down
                && !is_broken(Fault::NeverDown)
            {
                Some(Verdict::Down(known.handle))
            } else {
                None
            }
        });
        verdicts.collect()
    }

    /// Returns when [`sweep`](Self::sweep) has something to do next. O(replicas).
    pub(super) fn sweep_at(&self) -> Option<u64> {
        let known = self.known.values().map(|known| {
            let silence = if known.is_up {
                self.bounds.down.min(self.bounds.forget)
            } else {
                self.bounds.forget
            };
            known.heard + silence
        });
        let markers = self.markers.values().map(|marker| marker.until);
        known.chain(markers).min()
    }

    /// Drops a replica for its silence; a marker stays.
    pub(super) fn forget(&mut self, handle: Handle, now: u64) -> Option<KnownReplica> {
        let known = self.remove(handle)?;
        self.mark(Marker {
            id: known.id.clone(),
            heartbeat: known.heartbeat,
            announced: if is_broken(Fault::MarkerWithoutVersion) {
                0
            } else {
                known.index.announced()
            },
            has_left: false,
            heard: known.heard,
            until: now + 2 * self.bounds.forget,
        });
        Some(known)
    }

    /// Takes the Goodbye of a replica, known or not. Returns the replica of its name that was
    /// known, if this ends it.
    pub(super) fn retire(
        &mut self,
        id: &ReplicaId,
        heartbeat: u64,
        now: u64,
    ) -> Option<KnownReplica> {
        let known = self.by_name.get(id.name()).cloned();
        if known.as_ref().is_some_and(|(known, _)| known > id) {
            return None;
        }
        if self
            .markers
            .get(id.name())
            .is_some_and(|marker| marker.id > *id)
        {
            return None;
        }
        self.mark(Marker {
            id: id.clone(),
            heartbeat,
            announced: 0,
            has_left: true,
            heard: now,
            until: now + 2 * self.bounds.forget,
        });
        known.and_then(|(_, handle)| self.remove(handle))
    }

    fn mark(&mut self, marker: Marker) {
        let markers_max = 4 * self.bounds.peers_max;
        if self.markers.len() >= markers_max {
            let soonest = self.markers.iter().min_by_key(|(_, marker)| marker.until);
            let name = soonest.map(|(name, _)| name.clone());
            name.and_then(|name| self.markers.remove(&name));
        }
        self.markers.insert(marker.id.name().into(), marker);
    }

    fn remove(&mut self, handle: Handle) -> Option<KnownReplica> {
        let known = self.known.remove(&handle)?;
        self.by_name.remove(known.id.name());
        Some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: u64 = 50;
    const FORGET: u64 = 200;

    fn peers() -> Peers {
        Peers::new(Bounds {
            shape: Shape::default(),
            down: DOWN,
            forget: FORGET,
            peers_max: 2,
        })
    }

    fn id(name: &str, incarnation: u64) -> ReplicaId {
        ReplicaId::new(name, incarnation, 0).unwrap()
    }

    /// Admits a replica that may be admitted.
    #[track_caller]
    fn admit(peers: &mut Peers, id: &ReplicaId, heartbeat: u64, now: u64) -> Option<ReplicaId> {
        let handle = Handle::of(id);
        assert_eq!(peers.admission(id, handle, heartbeat), Admission::New);
        let replaced = peers.admit(id, handle, heartbeat, &"x".into(), now);
        replaced.map(|known| known.id)
    }

    #[test]
    fn silence_hides_then_forgets_and_the_marker_guards() {
        let mut peers = peers();
        let a = id("a", 5);
        let handle = Handle::of(&a);
        assert_eq!(admit(&mut peers, &a, 7, 0), None);
        peers.get_mut(handle).unwrap().index.hear(9);
        assert!(peers.sweep(DOWN - 1).is_empty());
        assert_eq!(peers.sweep_at(), Some(DOWN));
        assert_eq!(peers.sweep(DOWN), [Verdict::Down(handle)]);
        assert!(peers.mark_down(handle) && !peers.mark_down(handle));
        assert!(peers.sweep(DOWN).is_empty());
        let address = "y".into();
        assert_eq!(peers.hear(handle, 6, &address, 60), Heard::Lower);
        assert_eq!(peers.hear(handle, 7, &address, 60), Heard::Equal);
        let back = Heard::Higher { is_back: true };
        assert_eq!(peers.hear(handle, 8, &address, 60), back);
        assert_eq!(&**peers.get(handle).unwrap().address(), "y");
        assert_eq!(peers.sweep(60 + FORGET), [Verdict::Forgotten(handle)]);
        assert!(peers.forget(handle, 60 + FORGET).is_some());
        assert_eq!(peers.admission(&a, handle, 8), Admission::Marked);
        admit(&mut peers, &a, 9, 300);
        let known = peers.get(handle).unwrap();
        assert_eq!((known.index.announced(), known.index.version()), (9, 0));
        assert!(!known.is_news(9) && known.is_news(10));
    }

    #[test]
    fn a_marker_without_the_version_takes_lives_from_before_for_news() {
        for (fault, is_news) in [(None, false), (Some(Fault::MarkerWithoutVersion), true)] {
            crate::fault::with(fault, || {
                let mut peers = peers();
                let a = id("a", 5);
                admit(&mut peers, &a, 7, 0);
                peers.get_mut(Handle::of(&a)).unwrap().index.hear(9);
                peers.forget(Handle::of(&a), FORGET);
                admit(&mut peers, &a, 8, FORGET + 1);
                let known = peers.get(Handle::of(&a)).unwrap();
                assert_eq!(known.is_news(9), is_news, "{fault:?}");
            });
        }
    }

    #[test]
    fn markers_end_after_twice_the_time() {
        let mut peers = peers();
        let a = id("a", 5);
        admit(&mut peers, &a, 7, 0);
        peers.forget(Handle::of(&a), 100);
        peers.sweep(100 + 2 * FORGET - 1);
        assert_eq!(peers.markers(), 1);
        peers.sweep(100 + 2 * FORGET);
        assert_eq!((peers.markers(), peers.sweep_at()), (0, None));
    }

    #[test]
    fn a_greater_id_replaces_and_fences() {
        let mut peers = peers();
        admit(&mut peers, &id("a", 5), 7, 0);
        assert_eq!(admit(&mut peers, &id("a", 6), 1, 3), Some(id("a", 5)));
        let old = id("a", 5);
        let fenced = Admission::Fenced {
            greater: id("a", 6),
            heard: 3,
        };
        assert_eq!(peers.admission(&old, Handle::of(&old), 99), fenced);
        assert!(peers.find(&old).is_none() && peers.find(&id("a", 6)).is_some());
    }

    #[test]
    fn a_goodbye_ends_its_identity_for_good_even_where_it_was_unknown() {
        let mut peers = peers();
        let a = id("a", 5);
        let handle = Handle::of(&a);
        assert!(peers.retire(&a, 70, 0).is_none());
        assert_eq!(peers.admission(&a, handle, 99), Admission::HasLeft);
        admit(&mut peers, &id("a", 6), 1, 1);
        assert!(peers.retire(&a, 70, 2).is_none(), "a later life is known");
        let left = peers.retire(&id("a", 7), 9, 3).unwrap();
        assert_eq!(left.id, id("a", 6), "a later life ends an earlier one");
        assert_eq!(peers.iter().count(), 0);
    }

    #[test]
    fn handles_of_two_replicas_that_collide_are_noticed_and_peers_are_bounded() {
        let mut peers = peers();
        admit(&mut peers, &id("a", 5), 7, 0);
        let handle = Handle::of(&id("a", 5));
        assert_eq!(
            peers.admission(&id("b", 1), handle, 1),
            Admission::Collision
        );
        admit(&mut peers, &id("b", 1), 7, 0);
        let c = id("c", 1);
        assert_eq!(peers.admission(&c, Handle::of(&c), 1), Admission::Full);
        assert_eq!(peers.longest_down(), None);
        peers.hear(handle, 8, &"x".into(), 3);
        let other = Handle::of(&id("b", 1));
        assert!(peers.mark_down(handle) && peers.mark_down(other));
        assert_eq!(peers.longest_down(), Some(other));
        // Another life of a known name needs no more room.
        admit(&mut peers, &id("b", 2), 7, 0);
    }
}
