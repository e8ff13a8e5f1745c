//! Terms of lists that are made once: the second read of a list that has not changed keeps them, and later reads copy
//! them. A list that changes between two reads costs no more than before.

use std::collections::HashMap;
use std::sync::Arc;

use headcount::tracker::ListRevision;
use parking_lot::Mutex;
use rustler::env::SavedTerm;
use rustler::{Env, OwnedEnv, Term};

use crate::shared::discard;

/// Most topics, and entries of all their lists, that are kept; beyond it all are dropped.
const TOPICS_MAX: usize = 16_384;
const ENTRIES_MAX: usize = 65_536;

/// Most entries of one list that is kept.
const LIST_MAX: usize = 16_384;

/// The lists of a tracker.
#[derive(Default)]
pub(super) struct Lists(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    topics: HashMap<Box<str>, List>,
    entries: usize,
}

/// The newest revision of a list that was read, and its terms if it was read twice.
struct List {
    revision: ListRevision,
    terms: Option<Terms>,
    len: usize,
}

type Terms = Arc<Mutex<(OwnedEnv, SavedTerm)>>;

/// A list as it was read.
pub(super) struct Read<'a> {
    pub(super) revision: ListRevision,
    pub(super) list: Term<'a>,
    pub(super) len: usize,
}

impl Lists {
    /// Returns a copy of the list of this revision, if there are terms of at most `len_max` entries.
    pub(super) fn copy<'a>(
        &self,
        env: Env<'a>,
        topic: &str,
        revision: ListRevision,
        len_max: usize,
    ) -> Option<Term<'a>> {
        let terms = {
            let kept = self.0.lock();
            let list = kept.topics.get(topic)?;
            let is_it = list.revision == revision && list.len <= len_max;
            is_it.then(|| list.terms.clone()).flatten()?
        };
        // Another reader copies it: to make a second one takes no longer than to wait.
        let terms = terms.try_lock()?;
        Some(terms.0.run(|owned| terms.1.load(owned).in_env(env)))
    }

    /// Keeps a list that was read before at this revision; else notes the revision.
    pub(super) fn note(&self, topic: &str, read: &Read<'_>) {
        if read.len > LIST_MAX {
            return;
        }
        let mut kept = self.0.lock();
        let old = match kept.topics.get_mut(topic) {
            Some(list) if list.revision == read.revision => {
                if list.terms.is_some() {
                    return;
                }
                let owned = OwnedEnv::new();
                let saved = owned.save(read.list);
                list.terms = Some(Arc::new(Mutex::new((owned, saved))));
                list.len = read.len;
                kept.entries += read.len;
                None
            }
            Some(list) => {
                list.revision = read.revision;
                let len = std::mem::take(&mut list.len);
                let terms = list.terms.take();
                kept.entries -= len;
                terms
            }
            None => {
                let list = List {
                    revision: read.revision,
                    terms: None,
                    len: 0,
                };
                kept.topics.insert(topic.into(), list);
                None
            }
        };
        let is_full = kept.topics.len() > TOPICS_MAX || kept.entries > ENTRIES_MAX;
        let all = is_full.then(|| std::mem::take(&mut *kept));
        drop(kept);
        if old.is_some() || all.is_some() {
            discard(Box::new((old, all)));
        }
    }

    /// Drops all lists.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        discard(Box::new(all));
    }
}
