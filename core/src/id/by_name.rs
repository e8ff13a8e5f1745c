//! `ByName`: values by the names of replicas.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::ReplicaId;

/// A map from the names of replicas to values: of each name at most one replica is in it.
///
/// It keeps no names of its own but those in the ids, which all maps of a process share: a look-up
/// compares with bytes that are in the cache already.
#[derive(Debug, Clone)]
pub(crate) struct ByName<T> {
    table: HashTable<(ReplicaId, T)>,
    hasher: DefaultHashBuilder,
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self {
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<T: Copy> ByName<T> {
    /// Returns the replica of a name, with its value. O(1).
    pub(crate) fn get(&self, name: &str) -> Option<&(ReplicaId, T)> {
        let hash = self.hasher.hash_one(name);
        self.table.find(hash, |(id, _)| id.name() == name)
    }

    /// Returns the value of exactly that replica. O(1).
    pub(crate) fn get_exact(&self, id: &ReplicaId) -> Option<T> {
        let hash = self.hasher.hash_one(id.name());
        let held = self.table.find(hash, |(held, _)| held == id);
        held.map(|(_, value)| *value)
    }

    /// Sets the value of a replica, in the place of one of its name. O(1) amortised.
    pub(crate) fn insert(&mut self, id: ReplicaId, value: T) {
        let hasher = &self.hasher;
        let entry = self.table.entry(
            hasher.hash_one(id.name()),
            |(held, _)| held.name() == id.name(),
            |(held, _)| hasher.hash_one(held.name()),
        );
        match entry {
            Entry::Occupied(mut held) => *held.get_mut() = (id, value),
            Entry::Vacant(place) => drop(place.insert((id, value))),
        }
    }

    /// Removes what has a name. O(1).
    pub(crate) fn remove(&mut self, name: &str) {
        let hash = self.hasher.hash_one(name);
        if let Ok(held) = self.table.find_entry(hash, |(id, _)| id.name() == name) {
            held.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, incarnation: u64) -> ReplicaId {
        ReplicaId::new(name, incarnation, 0).expect("a short name")
    }

    #[test]
    fn a_name_has_the_value_of_its_last_replica() {
        let mut map = ByName::default();
        map.insert(id("ä", 1), 1);
        map.insert(id("a", 1), 2);
        map.insert(id("ä", 2), 3);
        assert_eq!(map.get("ä"), Some(&(id("ä", 2), 3)));
        assert_eq!(map.get_exact(&id("ä", 2)), Some(3));
        assert_eq!(map.get_exact(&id("ä", 1)), None, "it was replaced");
        map.remove("ä");
        map.remove("never there");
        assert_eq!(map.get("ä"), None);
        assert_eq!(map.get_exact(&id("a", 1)), Some(2));
        map.remove("a");
        assert_eq!(map.get("a"), None);
    }
}
