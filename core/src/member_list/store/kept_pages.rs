//! Pages of keys and classes that a save has still to read, kept while the table changes.
//!
//! Members, payloads and orders are shared page by page with a save, as with a snapshot. Keys and
//! classes are not: the first change of one encodes its page, and the save reads that.

use std::sync::{Arc, Weak};

use hashbrown::HashMap;

/// Slots of a page.
pub(crate) const KEPT_PAGE: u32 = 128;

/// The length of a key that says that its slot is free.
pub(crate) const FREE_SLOT: u8 = u8::MAX;

/// The pages that changed since a save began, as they were then.
#[derive(Debug)]
pub(crate) struct KeptPages {
    /// Lives as long as the save does.
    save: Weak<()>,
    /// The slots at the beginning of the save.
    slots: u32,
    /// The first page that the save has not read yet.
    next: u32,
    pages: HashMap<u32, Box<[u8]>>,
}

impl KeptPages {
    pub(super) fn new(save: &Arc<()>, slots: usize) -> Self {
        Self {
            save: Arc::downgrade(save),
            slots: slots as u32,
            next: 0,
            pages: HashMap::new(),
        }
    }

    /// Returns whether the save goes on.
    pub(super) fn is_wanted(&self) -> bool {
        self.save.strong_count() > 0
    }

    /// Returns whether these pages are kept for this save.
    pub(super) fn is_of(&self, save: &Arc<()>) -> bool {
        std::ptr::eq(self.save.as_ptr(), Arc::as_ptr(save))
    }

    /// Returns the page of a slot that is about to change, if the save has still to read it.
    #[inline]
    pub(super) fn missing(&self, slot: u32) -> Option<u32> {
        let page = slot / KEPT_PAGE;
        let is_missing = slot < self.slots && page >= self.next && !self.pages.contains_key(&page);
        is_missing.then_some(page)
    }

    pub(super) fn keep(&mut self, page: u32, bytes: Vec<u8>) {
        self.pages.insert(page, bytes.into_boxed_slice());
    }

    /// Returns the next page, if it changed, and that the save has read it.
    pub(super) fn take_next(&mut self) -> Option<Box<[u8]>> {
        let page = self.next;
        self.next += 1;
        self.pages.remove(&page)
    }

    pub(super) const fn next(&self) -> u32 {
        self.next
    }

    pub(super) const fn slots(&self) -> u32 {
        self.slots
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let pages: usize = self.pages.values().map(|page| page.len()).sum();
        pages + self.pages.capacity() * size_of::<(u32, Box<[u8]>)>()
    }
}
