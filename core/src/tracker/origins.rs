//! All origins of a tracker, and which of them are visible. Number 0 is the local one.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::leave::LeaveReason;
use super::origin::{OriginState, Retired};
use super::slab::push_tight;
use crate::id::ReplicaId;

/// The number of the local origin.
pub(super) const LOCAL: u16 = 0;

#[derive(Debug, Clone)]
pub(super) struct Origins {
    list: Vec<Option<OriginState>>,
    /// The number of each name. The names are in the ids of the members only.
    by_name: HashTable<u16>,
    hasher: DefaultHashBuilder,
    /// `None` until an origin goes.
    gone: Option<Box<Gone>>,
    /// For each number, whether its entries are visible: a quick check while reading.
    visible: Vec<bool>,
    /// Number of origins that are not visible.
    invisible: u16,
    /// Rises whenever an origin appears or disappears.
    epoch: u32,
}

/// The numbers of origins that are gone, or about to go.
#[derive(Debug, Clone, Default)]
struct Gone {
    /// Numbers of no origin.
    free: Vec<u16>,
    retired: Vec<u16>,
    /// Replaced lives whose entries stay visible for a while; no part of the state any more.
    lingering: Vec<u16>,
}

impl Gone {
    const NONE: &Self = &Self {
        free: Vec::new(),
        retired: Vec::new(),
        lingering: Vec::new(),
    };
}

impl Origins {
    pub(super) fn new(local: ReplicaId) -> Self {
        let mut origins = Self {
            list: Vec::new(),
            by_name: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            gone: None,
            visible: Vec::new(),
            invisible: 0,
            epoch: 0,
        };
        origins.insert(OriginState::local(local));
        origins
    }

    #[inline]
    pub(super) fn get(&self, number: u16) -> &OriginState {
        self.list[usize::from(number)]
            .as_ref()
            .expect("entries name live origins only")
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u16) -> &mut OriginState {
        self.list[usize::from(number)]
            .as_mut()
            .expect("entries name live origins only")
    }

    #[inline]
    pub(super) fn is_visible(&self, number: u16) -> bool {
        self.visible[usize::from(number)]
    }

    #[inline]
    pub(super) fn are_all_visible(&self) -> bool {
        self.invisible == 0
    }

    /// Returns a number that changes whenever an origin appears, disappears or is renamed.
    #[inline]
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn is_hidden(&self, number: u16) -> bool {
        self.get(number).hidden
    }

    /// Returns whether an origin is hidden and not about to be removed.
    pub(super) fn is_down(&self, number: u16) -> bool {
        let origin = self.get(number);
        origin.hidden && origin.retired.is_none()
    }

    /// Hides an origin or ends that. Returns whether that changed anything.
    pub(super) fn set_hidden(&mut self, number: u16, hidden: bool) -> bool {
        let before = std::mem::replace(&mut self.get_mut(number).hidden, hidden);
        self.refresh(number);
        before != hidden
    }

    /// Keeps an origin invisible until its first load is complete.
    pub(super) fn set_loading(&mut self, number: u16, loading: bool) {
        self.get_mut(number).set_loading(loading);
        self.refresh(number);
    }

    fn refresh(&mut self, number: u16) {
        let origin = self.get(number);
        let visible = !origin.hidden && !origin.is_loading();
        if std::mem::replace(&mut self.visible[usize::from(number)], visible) != visible {
            self.epoch = self.epoch.wrapping_add(1);
            self.invisible = if visible {
                self.invisible - 1
            } else {
                self.invisible + 1
            };
        }
    }

    /// Returns the number of origins that hold a place, retired ones too.
    pub(super) fn len(&self) -> usize {
        self.list.len() - self.gone().free.len()
    }

    #[inline]
    fn gone(&self) -> &Gone {
        self.gone.as_deref().unwrap_or(Gone::NONE)
    }

    fn gone_mut(&mut self) -> &mut Gone {
        self.gone.get_or_insert_default()
    }

    /// Returns the origin of that name, whatever its incarnation.
    pub(super) fn by_name(&self, name: &str) -> Option<u16> {
        let hash = self.hasher.hash_one(name);
        let named = self.by_name.find(hash, |&number| self.name(number) == name);
        named.copied()
    }

    fn name(&self, number: u16) -> &str {
        self.get(number).id().name()
    }

    /// Returns the origin of exactly that replica.
    pub(super) fn find(&self, id: &ReplicaId) -> Option<u16> {
        let hash = self.hasher.hash_one(id.name());
        let held = self
            .by_name
            .find(hash, |&number| self.get(number).id() == id);
        held.copied()
    }

    /// Returns the origin of exactly that replica, unless it is the local one.
    pub(super) fn find_remote(&self, id: &ReplicaId) -> Option<u16> {
        self.find(id).filter(|&number| number != LOCAL)
    }

    /// Adds a remote origin.
    pub(super) fn add(&mut self, id: ReplicaId) -> u16 {
        self.insert(OriginState::remote(id))
    }

    fn insert(&mut self, state: OriginState) -> u16 {
        let free = self.gone.as_mut().and_then(|gone| gone.free.pop());
        let number = free.unwrap_or(self.list.len() as u16);
        if usize::from(number) == self.list.len() {
            push_tight(&mut self.list, None);
            push_tight(&mut self.visible, true);
        }
        self.list[usize::from(number)] = Some(state);
        self.visible[usize::from(number)] = true;
        self.take_name(number);
        number
    }

    /// Gives an origin its name, which no other one has.
    fn take_name(&mut self, number: u16) {
        let Self {
            list,
            by_name,
            hasher,
            ..
        } = self;
        let hash = |number: &u16| {
            let origin = list[usize::from(*number)].as_ref();
            hasher.hash_one(origin.map_or("", |origin| origin.id().name()))
        };
        by_name.insert_unique(hash(&number), number, hash);
    }

    /// Frees the name of an origin, unless another one has it.
    fn free_name(&mut self, number: u16) {
        let hash = self.hasher.hash_one(self.name(number));
        if let Ok(named) = self.by_name.find_entry(hash, |&named| named == number) {
            named.remove();
        }
    }

    /// Returns the life that is noted of an origin, if one is.
    pub(super) fn life(&self, number: u16) -> Option<u64> {
        Some(self.get(number).life).filter(|life| *life > 0)
    }

    /// Notes the life that is held of an origin.
    pub(super) fn set_life(&mut self, number: u16, life: u64) {
        self.get_mut(number).life = life;
    }

    /// Gives the local origin a new id, which is in the references of its entries.
    pub(super) fn rename_local(&mut self, id: ReplicaId) {
        self.epoch = self.epoch.wrapping_add(1);
        self.free_name(LOCAL);
        self.get_mut(LOCAL).set_id(id);
        self.take_name(LOCAL);
    }

    /// Takes an origin out: invisible, and its name is free. Its entries still hold its number.
    pub(super) fn retire(&mut self, number: u16, reason: LeaveReason) {
        let was_visible = self.is_visible(number);
        self.set_hidden(number, true);
        self.take_out(
            number,
            Retired {
                was_visible,
                reason,
            },
        );
        self.gone_mut().retired.push(number);
    }

    /// Takes an origin out, but leaves its entries visible until [`end_linger`](Self::end_linger).
    pub(super) fn linger(&mut self, number: u16) {
        let retired = Retired {
            was_visible: true,
            reason: LeaveReason::ReplicaReplaced,
        };
        self.take_out(number, retired);
        self.gone_mut().lingering.push(number);
    }

    /// Retires an origin that lingers.
    pub(super) fn end_linger(&mut self, number: u16) {
        let lingering = &mut self.gone_mut().lingering;
        lingering.retain(|&lingering| lingering != number);
        self.set_hidden(number, true);
        self.gone_mut().retired.push(number);
    }

    /// Returns the origins that linger, in the order in which they were replaced.
    #[inline]
    pub(super) fn lingering(&self) -> &[u16] {
        &self.gone().lingering
    }

    /// Returns whether the entries of this origin are visible although a later life has taken its
    /// name.
    #[inline]
    pub(super) fn is_lingering(&self, number: u16) -> bool {
        self.is_visible(number) && self.get(number).retired.is_some()
    }

    fn take_out(&mut self, number: u16, retired: Retired) {
        self.free_name(number);
        let origin = self.get_mut(number);
        origin.retired = Some(retired);
        origin.give_up();
    }

    /// Returns the retired origin to clear next.
    pub(super) fn next_retired(&self) -> Option<(u16, Retired)> {
        let number = *self.gone().retired.last()?;
        Some((number, self.get(number).retired?))
    }

    /// Returns the retired origins with the id of this one whose entries users still see.
    pub(super) fn retired_twins(&self, number: u16) -> impl Iterator<Item = u16> + '_ {
        let retired = self.gone().retired.iter().copied();
        retired.filter(move |&retired| {
            let origin = self.get(retired);
            let was_visible = origin.retired.is_some_and(|retired| retired.was_visible);
            was_visible && origin.id() == self.get(number).id()
        })
    }

    /// Removes an origin that has no entries left.
    pub(super) fn remove(&mut self, number: u16) {
        if self.list[usize::from(number)].is_some() {
            if !std::mem::replace(&mut self.visible[usize::from(number)], true) {
                self.invisible -= 1;
            }
            self.free_name(number);
            self.list[usize::from(number)] = None;
            let gone = self.gone_mut();
            gone.retired.retain(|&retired| retired != number);
            gone.lingering.retain(|&lingering| lingering != number);
            gone.free.push(number);
        }
    }

    /// Returns the numbers of all origins that hold a name, the local one first.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u16> {
        let origins = (0..).zip(&self.list);
        let named = origins.filter(|(_, origin)| {
            let origin = origin.as_ref();
            origin.is_some_and(|origin| origin.retired.is_none())
        });
        named.map(|(number, _)| number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OriginState> {
        self.numbers().map(|number| self.get(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, incarnation: u64) -> ReplicaId {
        ReplicaId::new(name, incarnation, 0).unwrap()
    }

    fn names(origins: &Origins) -> Vec<String> {
        origins.iter().map(|o| o.id().name().to_owned()).collect()
    }

    #[test]
    fn an_origin_is_visible_unless_it_is_hidden_or_loads() {
        let mut origins = Origins::new(id("me", 1));
        let number = origins.add(id("a", 1));
        let epoch = origins.epoch();
        origins.set_loading(number, true);
        assert!(origins.set_hidden(number, true) && !origins.set_hidden(number, true));
        origins.set_loading(number, false);
        assert!(!origins.is_visible(number) && !origins.are_all_visible());
        assert_eq!(origins.epoch(), epoch + 1, "it disappeared once");
        assert!(origins.set_hidden(number, false));
        assert!(origins.is_visible(number) && origins.are_all_visible());
        assert_eq!(origins.epoch(), epoch + 2);
    }

    #[test]
    fn a_retired_origin_frees_its_name_at_once_and_its_number_at_the_end() {
        let mut origins = Origins::new(id("me", 1));
        let old = origins.add(id("a", 1));
        origins.retire(old, LeaveReason::ReplicaLeft);
        let new = origins.add(id("a", 2));
        assert_ne!(old, new);
        assert_eq!(origins.by_name("a"), Some(new));
        assert_eq!(
            (names(&origins), origins.len()),
            (vec!["me".into(), "a".into()], 3)
        );
        let retired = Retired {
            was_visible: true,
            reason: LeaveReason::ReplicaLeft,
        };
        assert_eq!(origins.next_retired(), Some((old, retired)));
        origins.remove(old);
        assert_eq!((origins.by_name("a"), origins.len()), (Some(new), 2));
        assert_eq!(origins.add(id("b", 1)), old);
    }

    #[test]
    fn a_lingering_origin_is_visible_until_its_end() {
        let mut origins = Origins::new(id("me", 1));
        let number = origins.add(id("a", 1));
        origins.linger(number);
        assert!(origins.is_lingering(number) && origins.find(&id("a", 1)).is_none());
        assert_eq!(origins.lingering(), [number]);
        origins.end_linger(number);
        assert!(!origins.is_lingering(number) && !origins.is_visible(number));
        let retired = Retired {
            was_visible: true,
            reason: LeaveReason::ReplicaReplaced,
        };
        assert_eq!(origins.next_retired(), Some((number, retired)));
        assert_eq!(names(&origins), ["me"]);
    }
}
