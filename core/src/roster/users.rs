//! The users that have sessions: a hash table in parts, so that none takes long to grow.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::sessions::Sessions;
use crate::member_list::Id;

/// From this many users on the table has several parts.
const LARGE: usize = 1 << 14;
const PARTS: usize = 16;
/// Tables of fewer users are not made smaller.
const SMALL: usize = 64;

/// The sessions of each user that has any.
#[derive(Debug)]
pub(super) struct Users<I> {
    /// One part, or [`PARTS`] of them.
    parts: Vec<HashTable<(I, Sessions)>>,
    hasher: DefaultHashBuilder,
    len: usize,
}

impl<I> Default for Users<I> {
    fn default() -> Self {
        Self {
            parts: vec![HashTable::new()],
            hasher: DefaultHashBuilder::default(),
            len: 0,
        }
    }
}

impl<I: Id> Users<I> {
    /// Returns the sessions of a user. O(1).
    pub(super) fn get(&self, id: &I) -> Option<&Sessions> {
        let hash = self.hasher.hash_one(id);
        let part = &self.parts[self.part(hash)];
        part.find(hash, |(known, _)| known == id)
            .map(|(_, sessions)| sessions)
    }

    /// Returns the sessions of a user, none for one that is new. Amortised O(1).
    pub(super) fn get_or_add(&mut self, id: &I) -> &mut Sessions {
        if self.len == LARGE && self.parts.len() == 1 {
            self.split();
        }
        let hash = self.hasher.hash_one(id);
        let part = self.part(hash);
        let hasher = &self.hasher;
        let rehash = |(id, _): &(I, Sessions)| hasher.hash_one(id);
        let entry = self.parts[part].entry(hash, |(known, _)| known == id, rehash);
        let len = &mut self.len;
        let user = entry.or_insert_with(|| {
            *len += 1;
            (id.clone(), Sessions::default())
        });
        &mut user.into_mut().1
    }

    /// Takes a user out. Amortised O(1).
    pub(super) fn remove(&mut self, id: &I) {
        let hash = self.hasher.hash_one(id);
        let at = self.part(hash);
        let part = &mut self.parts[at];
        if let Ok(user) = part.find_entry(hash, |(known, _)| known == id) {
            user.remove();
            self.len -= 1;
        }
        if part.capacity() > SMALL && part.len() * 8 < part.capacity() {
            let hasher = &self.hasher;
            part.shrink_to(part.len() * 2, |(id, _)| hasher.hash_one(id));
        }
    }

    /// Returns all users. O(n).
    pub(super) fn iter(&self) -> impl Iterator<Item = (&I, &Sessions)> {
        let users = self.parts.iter().flatten();
        users.map(|(id, sessions)| (id, sessions))
    }

    fn part(&self, hash: u64) -> usize {
        // The tables use the lowest and the highest bits themselves.
        (hash >> 32) as usize % self.parts.len()
    }

    fn split(&mut self) {
        let parts = (0..PARTS).map(|_| HashTable::new()).collect();
        let whole = std::mem::replace(&mut self.parts, parts);
        for user in whole.into_iter().flatten() {
            let hash = self.hasher.hash_one(&user.0);
            let part = self.part(hash);
            let hasher = &self.hasher;
            self.parts[part].insert_unique(hash, user, |(id, _)| hasher.hash_one(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_in_one_part_and_in_many_and_memory_goes_back() {
        let mut users = Users::<u64>::default();
        let n = LARGE as u64 * 3;
        for id in 0..n {
            users.get_or_add(&id);
            users.get_or_add(&(id / 2));
            assert!(users.get(&(id + 1)).is_none());
        }
        assert_eq!((users.len, users.parts.len()), (LARGE * 3, PARTS));
        assert!((0..n).all(|id| users.get(&id).is_some()));
        assert_eq!(users.iter().count(), LARGE * 3);
        for id in 10..n {
            users.remove(&id);
            users.remove(&id);
        }
        assert_eq!((users.len, users.iter().count()), (10, 10));
        let kept: usize = users.parts.iter().map(HashTable::capacity).sum();
        assert!(kept <= 2 * SMALL * PARTS, "{kept}");
    }
}
