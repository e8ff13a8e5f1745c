//! Entries of a replaced life that stay visible until the grace ends: a view, no part of the state.
//!
//! Their origin has given up its name, so nothing of them is advertised, served or saved, and no
//! frame reaches them. They end in one of two ways: the later life puts an entry of the same topic
//! and key, which is an update, or the grace ends, which is a leave.

use std::iter::successors;

use super::origins::Origins;
use super::slab::NIL;
use super::store::Store;
use crate::fault::{Fault, is_broken};

/// Most replaced lives that linger at a time; those beyond it are retired without grace.
pub(super) const ORIGINS_MAX: usize = 64;

/// Most sessions of a key that are looked at on either side of a new one for a former one.
const LOOKED_AT_MAX: usize = 256;

/// Finds the lingering entry that this one replaces: of an earlier life of the same name, with the
/// same topic and key, and the same owner if there is one. O(1) while none lingers.
#[inline]
pub(super) fn find_former(store: &Store, origins: &Origins, index: u32) -> Option<u32> {
    if origins.lingering().is_empty() {
        return None;
    }
    let row = store.row(index);
    let name = origins.get(row.origin).id().name();
    let session = |index: u32| (index != NIL).then_some(index);
    let after = successors(session(row.key_next), |&i| session(store.row(i).key_next));
    let before = successors(session(row.key_prev), |&i| session(store.row(i).key_prev));
    let looked_at = before.take(LOOKED_AT_MAX).chain(after.take(LOOKED_AT_MAX));
    let owner = store.parts(index).owner;
    let mut former = None;
    for other in looked_at {
        let origin = store.row(other).origin;
        let is_namesake = origins.get(origin).id().name() == name;
        if origins.is_lingering(origin) && (is_namesake || is_broken(Fault::LingerAnyName)) {
            former = Some(other);
            if store.parts(other).owner == owner {
                break;
            }
        }
    }
    former
}
