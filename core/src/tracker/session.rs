//! Sessions by name: what leases and grace need.

use super::entry::{Key, NewEntry};
use super::owners::Owners;
use super::slab::NIL;
use super::{LOCAL, LeaveReason, Tracker};
use crate::error::TrackError;
use crate::id::EntryRef;
use crate::tracker::Encoding;

/// Names a session: topic, key and owner, owned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    topic: Box<str>,
    encoding: Encoding,
    key: Box<[u8]>,
    owner: Box<[u8]>,
}

/// Which life of a session is meant: the same names may be tracked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// From this birth on, however often it was written.
    Birth(u64),
    /// As it was written last.
    Version(u64),
}

impl Session {
    pub(crate) fn new(topic: &str, key: Key<'_>, owner: &[u8]) -> Self {
        let topic = topic.into();
        let owner = owner.into();
        Self {
            topic,
            encoding: key.encoding,
            key: key.bytes.into(),
            owner,
        }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }
}

impl Tracker {
    /// The birth of an own session, if it is tracked. O(1).
    pub(crate) fn birth_of(&self, session: &Session) -> Option<u64> {
        let index = self.own_session(session);
        (index != NIL).then(|| self.store.slab[index].birth)
    }

    /// The own sessions of an owner with their versions. O(its entries).
    pub(crate) fn sessions_of(&self, owner: &[u8]) -> Vec<(Session, u64)> {
        let mut sessions = Vec::new();
        let mut at = self.owners.first(&self.store, owner);
        while at != NIL {
            let entry = self.entry(at);
            let session = Session::new(entry.topic(), entry.key(), entry.owner());
            sessions.push((session, entry.version()));
            at = self.store.slab[at].owner_next;
        }
        sessions
    }

    /// Removes an own session, if it is still the one meant. Says whether it did.
    pub(crate) fn leave(&mut self, session: &Session, since: Since, reason: LeaveReason) -> bool {
        let index = self.own_session(session);
        if index == NIL {
            return false;
        }
        let slot = &self.store.slab[index];
        let is_it = match since {
            Since::Birth(birth) => slot.birth == birth,
            Since::Version(version) => slot.version == version,
        };
        is_it && self.leave_local(index, reason)
    }

    /// Gives the entry of `owner` for the topic and key of `put` the content of `put`, its owner
    /// included. The entry stays the same, so others see an update.
    pub(crate) fn adopt(
        &mut self,
        owner: &[u8],
        put: &NewEntry<'_>,
    ) -> Result<EntryRef, TrackError> {
        self.check_put(put)?;
        let location = self.store.locate(put.topic, put.encoding, put.key);
        let owned = self.owners.locate(&self.store, owner);
        let index = self.find_session(location, owner, owned);
        if index == NIL {
            return Err(TrackError::NotTracked);
        }
        if owner == put.owner {
            return self.update_local(index, put);
        }
        let new = self.owners.locate(&self.store, put.owner);
        if self.find_session(location, put.owner, new) != NIL {
            return Err(TrackError::AlreadyTracked);
        }
        if Owners::count(&self.store, new.first) >= self.limits.owner_entries_max {
            return Err(TrackError::OwnerFull {
                max: self.limits.owner_entries_max,
            });
        }
        self.next_op()?;
        self.owners.unlink(&mut self.store, index);
        self.store.slab[index].owner_next = NIL;
        let updated = self.update_local(index, put);
        self.owners.link(&mut self.store, index, new);
        debug_assert_eq!(self.store.slab[index].origin, LOCAL);
        updated
    }

    fn own_session(&self, session: &Session) -> u32 {
        let location = self
            .store
            .locate(&session.topic, session.encoding, &session.key);
        let owned = self.owners.locate(&self.store, &session.owner);
        self.find_session(location, &session.owner, owned)
    }
}
