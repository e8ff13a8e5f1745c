//! All origins of a tracker. Number 0 is the local one.

use hashbrown::HashMap;

use super::LOCAL;
use super::origin::OriginState;
use crate::id::ReplicaId;

#[derive(Debug, Clone)]
pub(super) struct Origins {
    list: Vec<Option<OriginState>>,
    by_name: HashMap<Box<str>, u16>,
    free: Vec<u16>,
    /// Whether the entries of an origin are to be seen, for quick checks while reading.
    visible: Vec<bool>,
}

impl Origins {
    pub(super) fn new(local: ReplicaId) -> Self {
        let mut origins = Self {
            list: Vec::new(),
            by_name: HashMap::new(),
            free: Vec::new(),
            visible: Vec::new(),
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

    pub(super) fn set_visible(&mut self, number: u16, visible: bool) {
        self.visible[usize::from(number)] = visible;
        self.get_mut(number).hidden = !visible;
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
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

    /// Removes an origin that has no entries left.
    pub(super) fn remove(&mut self, number: u16) {
        if let Some(origin) = self.list[usize::from(number)].take() {
            if self.by_name.get(origin.id.name()) == Some(&number) {
                self.by_name.remove(origin.id.name());
            }
            self.free.push(number);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OriginState> {
        self.list.iter().flatten()
    }
}
