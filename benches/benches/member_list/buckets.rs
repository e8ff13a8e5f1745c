//! A small model of the structure in Discord's SortedSet, in our own words: a vector of sorted
//! buckets of up to 500 elements. The bucket of an element is found by its bounds; an index is the
//! sum of the lengths of all buckets before, one by one. A full bucket splits in two that both keep
//! room for 500; an emptied one is dropped, no other gives memory back.
//!
//! It is kinder than the original, whose elements are Erlang terms behind a NIF.

use std::cmp::Ordering;

/// Elements at which a bucket splits.
const FULL: usize = 500;

/// Sorted buckets; there is always one.
#[derive(Debug)]
pub(crate) struct Buckets<T>(Vec<Vec<T>>);

impl<T> Default for Buckets<T> {
    fn default() -> Self {
        Self(vec![Vec::new()])
    }
}

impl<T: Ord + Copy> Buckets<T> {
    /// Makes buckets of half the size, as splits leave them.
    pub(crate) fn from_sorted(values: &[T]) -> Self {
        let bucket = |values: &[T]| {
            let mut bucket = Vec::with_capacity(FULL);
            bucket.extend_from_slice(values);
            bucket
        };
        if values.is_empty() {
            return Self::default();
        }
        Self(values.chunks(FULL / 2).map(bucket).collect())
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        let at = self.bucket(&value);
        let Err(place) = self.0[at].binary_search(&value) else {
            return self.before(at);
        };
        self.0[at].insert(place, value);
        let index = self.before(at) + place;
        if self.0[at].len() >= FULL {
            let mut upper = Vec::with_capacity(FULL);
            upper.extend(self.0[at].drain(FULL / 2..));
            self.0.insert(at + 1, upper);
        }
        index
    }

    pub(crate) fn remove(&mut self, value: &T) -> Option<usize> {
        let at = self.bucket(value);
        let place = self.0[at].binary_search(value).ok()?;
        let index = self.before(at) + place;
        self.0[at].remove(place);
        if self.0.len() > 1 && self.0[at].is_empty() {
            self.0.remove(at);
        }
        Some(index)
    }

    pub(crate) fn index_of(&self, value: &T) -> Option<usize> {
        let at = self.bucket(value);
        let place = self.0[at].binary_search(value).ok()?;
        Some(self.before(at) + place)
    }

    /// Iterates over the elements from an index.
    pub(crate) fn from(&self, mut index: usize) -> impl Iterator<Item = &T> {
        let mut at = 0;
        while at < self.0.len() && index >= self.0[at].len() {
            index -= self.0[at].len();
            at += 1;
        }
        self.0[at..].iter().flatten().skip(index)
    }

    fn bucket(&self, value: &T) -> usize {
        let stands = |bucket: &Vec<T>| match (bucket.first(), bucket.last()) {
            (Some(first), _) if value < first => Ordering::Greater,
            (_, Some(last)) if last < value => Ordering::Less,
            _ => Ordering::Equal,
        };
        match self.0.binary_search_by(stands) {
            Ok(at) => at,
            Err(at) => at.min(self.0.len() - 1),
        }
    }

    fn before(&self, bucket: usize) -> usize {
        self.0[..bucket].iter().map(Vec::len).sum()
    }
}
