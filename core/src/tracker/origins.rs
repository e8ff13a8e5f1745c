//! All origins of a tracker. Number 0 is the local one.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::LOCAL;
use super::origin::OriginState;
use crate::id::ReplicaId;

#[derive(Debug, Clone)]
pub(super) struct Origins {
    list: Vec<Option<OriginState>>,
    by_name: HashMap<Box<str>, u16>,
    free: Vec<u16>,
    retired: Vec<u16>,
    /// Replaced lives whose entries are to be seen for a while; no part of the state any more.
    lingering: Vec<u16>,
    /// True if the entries of an origin are to be seen, for quick checks while reading.
    visible: Vec<bool>,
    /// Number of origins that are not to be seen.
    pub(super) invisible: u16,
    /// Rises whenever an origin appears or disappears.
    pub(super) epoch: u32,
}

impl Origins {
    pub(super) fn new(local: ReplicaId) -> Self {
        let mut origins = Self {
            list: Vec::new(),
            by_name: HashMap::new(),
            free: Vec::new(),
            retired: Vec::new(),
            lingering: Vec::new(),
            visible: Vec::new(),
            invisible: 0,
            epoch: 0,
        };
        origins.add(local);
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

    /// Hides an origin or ends that. Says whether that is new.
    pub(super) fn set_hidden(&mut self, number: u16, hidden: bool) -> bool {
        let changed = std::mem::replace(&mut self.get_mut(number).hidden, hidden) != hidden;
        self.refresh(number);
        changed
    }

    /// Keeps an origin unseen until its first load is complete.
    pub(super) fn set_loading(&mut self, number: u16, loading: bool) {
        self.get_mut(number).loading = loading;
        self.refresh(number);
    }

    fn refresh(&mut self, number: u16) {
        let origin = self.get(number);
        let visible = !origin.hidden && !origin.loading;
        if std::mem::replace(&mut self.visible[usize::from(number)], visible) != visible {
            self.epoch = self.epoch.wrapping_add(1);
            self.invisible = if visible {
                self.invisible - 1
            } else {
                self.invisible + 1
            };
        }
    }

    /// Number of origins that hold a place, retired ones too.
    pub(super) fn len(&self) -> usize {
        self.list.len() - self.free.len()
    }

    /// The origin of that name, whatever its incarnation.
    pub(super) fn by_name(&self, name: &str) -> Option<u16> {
        self.by_name.get(name).copied()
    }

    /// The origin of exactly that replica.
    pub(super) fn find(&self, id: &ReplicaId) -> Option<u16> {
        self.by_name(id.name())
            .filter(|&number| self.get(number).id == *id)
    }

    pub(super) fn add(&mut self, id: ReplicaId) -> u16 {
        let name = id.name().into();
        let number = self.free.pop().unwrap_or(self.list.len() as u16);
        if usize::from(number) == self.list.len() {
            self.list.push(None);
            self.visible.push(true);
        }
        self.list[usize::from(number)] = Some(OriginState::new(id));
        self.visible[usize::from(number)] = true;
        self.by_name.insert(name, number);
        number
    }

    /// Gives the local origin a new id.
    pub(super) fn rename_local(&mut self, id: ReplicaId) {
        let old = self.get(LOCAL).id.clone();
        self.by_name.remove(old.name());
        self.by_name.insert(id.name().into(), LOCAL);
        self.get_mut(LOCAL).id = id;
    }

    /// Takes an origin out: unseen, and its name is free. Its entries still hold its number.
    pub(super) fn retire(&mut self, number: u16) {
        let seen = self.is_visible(number);
        self.set_hidden(number, true);
        self.take_out(number, seen);
        self.retired.push(number);
    }

    /// Takes an origin out, but leaves its entries to be seen until [`end`](Self::end).
    pub(super) fn linger(&mut self, number: u16) {
        self.take_out(number, true);
        self.lingering.push(number);
    }

    /// Ends the lingering of an origin: it is retired.
    pub(super) fn end(&mut self, number: u16) {
        self.lingering.retain(|&lingering| lingering != number);
        self.set_hidden(number, true);
        self.retired.push(number);
    }

    pub(super) fn lingering(&self) -> &[u16] {
        &self.lingering
    }

    /// Returns whether an entry of this origin is seen although a later life has taken its name.
    pub(super) fn is_lingering(&self, number: u16) -> bool {
        self.is_visible(number) && self.get(number).retired.is_some()
    }

    fn take_out(&mut self, number: u16, seen: bool) {
        let origin = self.get_mut(number);
        origin.retired = Some(seen);
        origin.applying = None;
        origin.leaves = VecDeque::new();
        let name: Box<str> = origin.id.name().into();
        self.by_name.remove(&name);
    }

    /// The retired origin to clear next, and whether its entries were seen before.
    pub(super) fn next_retired(&self) -> Option<(u16, bool)> {
        let number = *self.retired.last()?;
        Some((number, self.get(number).retired == Some(true)))
    }

    /// Removes an origin that has no entries left.
    pub(super) fn remove(&mut self, number: u16) {
        if let Some(origin) = self.list[usize::from(number)].take() {
            if !std::mem::replace(&mut self.visible[usize::from(number)], true) {
                self.invisible -= 1;
            }
            if self.by_name.get(origin.id.name()) == Some(&number) {
                self.by_name.remove(origin.id.name());
            }
            self.retired.retain(|&retired| retired != number);
            self.lingering.retain(|&lingering| lingering != number);
            self.free.push(number);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OriginState> {
        self.list
            .iter()
            .flatten()
            .filter(|origin| origin.retired.is_none())
    }
}
