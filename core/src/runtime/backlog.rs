//! The backlogs of readers: items that wait for one, within bounds.

use std::collections::VecDeque;
use std::fmt;

use crate::replica::{Event, Events};

/// The items kept for a slow reader.
pub(super) const ITEMS_MAX: usize = 1024;
/// The bytes kept for a slow reader, unless a single item has more.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// The items that wait for a reader.
pub(super) trait Backlog<T>: fmt::Debug + Send {
    /// Adds an item of that many bytes. Returns the number of items that are lost for want of room.
    fn push(&mut self, item: T, bytes: usize) -> usize;

    /// Takes the oldest item.
    fn pop(&mut self) -> Option<T>;

    /// Drops all items. Returns how many.
    fn clear(&mut self) -> usize;

    /// Returns the number of items.
    fn len(&self) -> usize;
}

/// Items of which each builds on those before: if one is too much, it is lost with all that wait.
#[derive(Debug)]
pub(super) struct Changes<T> {
    /// Items with the bytes that each takes.
    items: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T: fmt::Debug + Send> Backlog<T> for Changes<T> {
    fn push(&mut self, item: T, bytes: usize) -> usize {
        let has_room =
            self.items.len() < ITEMS_MAX && self.bytes.saturating_add(bytes) <= BYTES_MAX;
        if !has_room && !self.items.is_empty() {
            return self.clear() + 1;
        }
        self.bytes += bytes;
        self.items.push_back((item, bytes));
        0
    }

    fn pop(&mut self) -> Option<T> {
        let (item, bytes) = self.items.pop_front()?;
        self.bytes -= bytes;
        Some(item)
    }

    fn clear(&mut self) -> usize {
        std::mem::take(self).items.len()
    }

    fn len(&self) -> usize {
        self.items.len()
    }
}

/// Events have bounds by kind: one that is too much costs the oldest of its kind.
impl Backlog<Event> for Events {
    fn push(&mut self, event: Event, _bytes: usize) -> usize {
        usize::from(Self::push(self, event))
    }

    fn pop(&mut self) -> Option<Event> {
        Self::pop(self)
    }

    fn clear(&mut self) -> usize {
        std::mem::take(self).len()
    }

    fn len(&self) -> usize {
        Self::len(self)
    }
}
