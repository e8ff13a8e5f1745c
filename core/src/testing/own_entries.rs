//! `OwnEntries`: a model of what the program on a node tracks, and of what ends it by itself:
//! leases and grace. A [`crdts::Orswot`] beside it has the entries that all nodes together must
//! list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crdts::{CmRDT, Orswot};

use crate::presence::Presence;
use crate::tracker::NewEntry;

/// Places for processes: the first nodes, and their clones.
pub(super) const PLACES: usize = 16;
/// The owners of entries.
pub(super) const OWNERS: [&str; 2] = ["o1", "o2"];

/// The topic, the key and the owner of an entry, as small numbers.
pub(super) type Session = (u8, u8, u8);

/// The entries that one node tracks itself.
#[derive(Clone)]
pub(super) struct OwnEntries {
    /// Returns the name of a topic by its number.
    topic: fn(u8) -> &'static str,
    sessions: Vec<Session>,
    oracle: Orswot<Session, u64>,
    /// The actor of the oracle: no other process has the same one.
    actor: u64,
    /// The ends of the leases of entries, in milliseconds of the node's clock.
    leases: BTreeMap<Session, u64>,
    owners: [Owner; OWNERS.len()],
}

/// The ends that an owner's entries have in common.
#[derive(Clone, Default)]
struct Owner {
    lease_until_ms: Option<u64>,
    lost: Option<Lost>,
}

/// The grace of a lost owner.
#[derive(Clone)]
struct Lost {
    until_ms: u64,
    /// The entries not written since.
    sessions: Vec<Session>,
    /// The end of the lease that the owner had.
    lease_until_ms: Option<u64>,
}

/// The random part of one operation.
pub(super) struct Operation {
    pub(super) session: Session,
    pub(super) choice: u64,
    pub(super) meta: Arc<[u8]>,
}

/// The outcome of an operation.
pub(super) struct Outcome {
    pub(super) verb: &'static str,
    /// True if an entry of a lost owner was taken over.
    pub(super) is_adoption: bool,
    /// True if the node did what the model did.
    pub(super) is_done: bool,
}

/// Counts of entries that ended by themselves.
pub(super) struct Ended {
    pub(super) leases: usize,
    pub(super) graces: usize,
}

impl OwnEntries {
    /// Makes the entries of a node that tracks none yet.
    pub(super) fn new(topic: fn(u8) -> &'static str) -> Self {
        Self {
            topic,
            sessions: Vec::new(),
            oracle: Orswot::default(),
            actor: 0,
            leases: BTreeMap::new(),
            owners: Default::default(),
        }
    }

    /// Gives the process an actor of its own. One that goes on from a copy needs another.
    pub(super) fn act_as(&mut self, actor: u64) {
        self.actor = actor;
    }

    /// Returns the topic, the key and the owner of a session by name.
    pub(super) fn names(&self, session: Session) -> (&'static str, String, &'static str) {
        let (topic, key, owner) = session;
        let topic = (self.topic)(topic);
        (topic, format!("k{key}"), OWNERS[usize::from(owner)])
    }

    /// Returns the sessions that are tracked.
    pub(super) fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// Tracks, updates or untracks an entry, or untracks its owner.
    pub(super) fn operate(&mut self, presence: &Presence, operation: &Operation) -> Outcome {
        let session = operation.session;
        let (topic, key, owner) = self.names(session);
        let entry = NewEntry::new(topic, &key, owner).meta(&operation.meta);
        let adopted = self.adoptable(session);
        let is_tracked = self.sessions.contains(&session);
        let (verb, is_done) = if !is_tracked {
            if let Some(old) = adopted {
                self.leave(old);
            }
            self.join(session);
            ("track", presence.track(&entry).is_ok())
        } else if operation.choice < 7 {
            self.touch(session);
            ("update", presence.update(&entry).is_ok())
        } else if operation.choice < 15 {
            self.leave(session);
            ("untrack", presence.untrack(topic, key.as_str(), owner))
        } else {
            let gone = self.leave_owner(session.2);
            self.owners[usize::from(session.2)] = Owner::default();
            ("untrack_owner", presence.untrack_owner(owner) == gone)
        };
        Outcome {
            verb,
            is_adoption: !is_tracked && adopted.is_some(),
            is_done,
        }
    }

    /// Begins or renews the lease of an owner.
    pub(super) fn lease_owner(
        &mut self,
        presence: &Presence,
        now_ms: u64,
        owner: usize,
        ttl_ms: u64,
    ) {
        let ttl = Duration::from_millis(ttl_ms);
        presence.lease_owner(Duration::from_millis(now_ms), OWNERS[owner], ttl);
        self.owners[owner].lease_until_ms = Some(now_ms + ttl_ms);
    }

    /// Begins or renews the lease of the entry that `pick` selects. Returns it; `None` if there is
    /// no entry.
    ///
    /// # Errors
    /// The node does not have the entry.
    pub(super) fn lease(
        &mut self,
        presence: &Presence,
        now_ms: u64,
        pick: usize,
        ttl_ms: u64,
    ) -> Result<Option<Session>, String> {
        if self.sessions.is_empty() {
            return Ok(None);
        }
        let session = self.sessions[pick % self.sessions.len()];
        let (topic, key, owner) = self.names(session);
        let now = Duration::from_millis(now_ms);
        let ttl = Duration::from_millis(ttl_ms);
        if !presence.lease(now, topic, key.as_str(), owner, ttl) {
            return Err(format!("has no {session:?} to lease"));
        }
        self.leases.insert(session, now_ms + ttl_ms);
        Ok(Some(session))
    }

    /// Loses an owner: its entries stay for the grace.
    pub(super) fn lose_owner(
        &mut self,
        presence: &Presence,
        now_ms: u64,
        owner: u8,
        grace_ms: u64,
    ) {
        let index = usize::from(owner);
        presence.owner_lost(Duration::from_millis(now_ms), OWNERS[index]);
        let before = &mut self.owners[index];
        let lease = before.lease_until_ms.take();
        let lease = lease.or_else(|| before.lost.as_ref()?.lease_until_ms);
        if grace_ms == 0 {
            self.leave_owner(owner);
            self.owners[index].lost = None;
        } else {
            let sessions = self.sessions_of(owner);
            let until_ms = now_ms + grace_ms;
            let lost = Lost {
                until_ms,
                sessions,
                lease_until_ms: lease.map(|lease| lease.max(until_ms)),
            };
            self.owners[index].lost = Some(lost).filter(|lost| !lost.sessions.is_empty());
        }
    }

    /// Brings a lost owner back. Returns whether it was lost.
    ///
    /// # Errors
    /// The node does not agree that it was lost, or that it was not.
    pub(super) fn owner_back(&mut self, presence: &Presence, owner: u8) -> Result<bool, String> {
        let index = usize::from(owner);
        let lost = self.owners[index].lost.take();
        let was_lost = lost.is_some();
        let lease = lost.and_then(|lost| lost.lease_until_ms);
        let owner = &mut self.owners[index];
        owner.lease_until_ms = owner.lease_until_ms.or(lease);
        if presence.owner_back(OWNERS[index]) != was_lost {
            return Err(format!("forgot that {} was lost", OWNERS[index]));
        }
        Ok(was_lost)
    }

    /// Ends what is due, by the node's clock.
    pub(super) fn expire(&mut self, now_ms: u64) -> Ended {
        let mut ended = Ended {
            leases: 0,
            graces: 0,
        };
        for owner in 0..OWNERS.len() {
            let lease = &mut self.owners[owner].lease_until_ms;
            if lease.take_if(|until_ms| *until_ms <= now_ms).is_some() {
                ended.leases += self.leave_owner(owner as u8);
            }
            let lost = &mut self.owners[owner].lost;
            if let Some(lost) = lost.take_if(|lost| lost.until_ms <= now_ms) {
                self.end_grace(owner, lost, now_ms, &mut ended);
            }
        }
        let is_due = |until_ms: &u64| *until_ms <= now_ms;
        let due = self.leases.iter().filter(|(_, until_ms)| is_due(until_ms));
        let due: Vec<_> = due.map(|(session, _)| *session).collect();
        ended.leases += due.len();
        due.into_iter().for_each(|session| self.leave(session));
        ended
    }

    /// Ends the grace of an owner. A lease that it had goes on if it has entries left.
    fn end_grace(&mut self, owner: usize, lost: Lost, now_ms: u64, ended: &mut Ended) {
        ended.graces += lost.sessions.len();
        for session in lost.sessions {
            self.leave(session);
        }
        let has_entries = !self.sessions_of(owner as u8).is_empty();
        let resumed = lost.lease_until_ms.filter(|_| has_entries);
        let lease = &mut self.owners[owner].lease_until_ms;
        *lease = lease.or(resumed);
        if lease.take_if(|until_ms| *until_ms <= now_ms).is_some() {
            ended.leases += self.leave_owner(owner as u8);
        }
    }

    /// Returns whether a lease or a grace is to end by now.
    pub(super) fn has_ended(&self, now_ms: u64) -> bool {
        let owners = self.owners.iter();
        let owners = owners.flat_map(|owner| {
            let lost = owner.lost.as_ref().map(|lost| lost.until_ms);
            [owner.lease_until_ms, lost]
        });
        let mut all = owners.flatten().chain(self.leases.values().copied());
        all.any(|until_ms| until_ms <= now_ms)
    }

    /// Returns whether a lease or a grace is still to end.
    pub(super) fn is_ending(&self) -> bool {
        let is_ending = |owner: &Owner| owner.lease_until_ms.is_some() || owner.lost.is_some();
        !self.leases.is_empty() || self.owners.iter().any(is_ending)
    }

    /// Returns what this node added and removed, to be merged with that of the others.
    pub(super) fn oracle(&self) -> &Orswot<Session, u64> {
        &self.oracle
    }

    fn join(&mut self, session: Session) {
        self.sessions.push(session);
        let add = self.oracle.read_ctx().derive_add_ctx(self.actor);
        let add = self.oracle.add(session, add);
        self.oracle.apply(add);
    }

    fn leave(&mut self, session: Session) {
        self.sessions.retain(|known| *known != session);
        self.leases.remove(&session);
        self.touch(session);
        let context = self.oracle.contains(&session).derive_rm_ctx();
        let remove = self.oracle.rm(session, context);
        self.oracle.apply(remove);
    }

    fn leave_owner(&mut self, owner: u8) -> usize {
        let gone = self.sessions_of(owner);
        gone.iter().for_each(|&session| self.leave(session));
        gone.len()
    }

    /// Takes an entry that was written or left out of the grace of its owner.
    fn touch(&mut self, session: Session) {
        if let Some(lost) = &mut self.owners[usize::from(session.2)].lost {
            lost.sessions.retain(|lost| *lost != session);
        }
    }

    fn sessions_of(&self, owner: u8) -> Vec<Session> {
        let sessions = self.sessions.iter().copied();
        sessions.filter(|session| session.2 == owner).collect()
    }

    /// Returns the other owner's entry for the same topic and key, if it is lost.
    fn adoptable(&self, session: Session) -> Option<Session> {
        let other = (session.0, session.1, 1 - session.2);
        let lost = self.owners[usize::from(other.2)].lost.as_ref();
        lost.is_some_and(|lost| lost.sessions.contains(&other))
            .then_some(other)
    }
}
