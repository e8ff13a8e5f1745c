//! Local operations, and what ends them by itself: leases and grace. A model beside each node says
//! what must be there.

use std::collections::BTreeMap;
use std::time::Duration;

use crdts::CmRDT;

use super::incident::Incident;
use super::world::{KEYS, Node, OWNERS, Session, TOPICS, World};
use crate::tracker::NewEntry;

/// When what is here leaves, in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    entries: BTreeMap<Session, u64>,
    owners: [Option<u64>; OWNERS.len()],
    /// The end of the grace of a lost owner, and its entries not written since.
    lost: [Option<(u64, Vec<Session>)>; OWNERS.len()],
}

impl Leases {
    /// Returns whether something is still to end.
    pub(super) fn any(&self) -> bool {
        let owners = self.owners.iter().any(Option::is_some);
        owners || !self.entries.is_empty() || self.lost.iter().any(Option::is_some)
    }

    /// An entry is gone or was written: it is not lost any more.
    fn touch(&mut self, session: Session) {
        if let Some((_, lost)) = &mut self.lost[usize::from(session.2)] {
            lost.retain(|lost| *lost != session);
        }
    }

    fn is_lost(&self, session: Session) -> bool {
        let lost = self.lost[usize::from(session.2)].as_ref();
        lost.is_some_and(|(_, lost)| lost.contains(&session))
    }
}

impl Node {
    /// The other owner's entry for the same topic and key, if it is lost.
    fn adoptable(&self, session: Session) -> Option<Session> {
        let other = (session.0, session.1, 1 - session.2);
        self.leases.is_lost(other).then_some(other)
    }

    fn join(&mut self, session: Session, actor: u64) {
        self.sessions.push(session);
        let add = self.oracle.read_ctx().derive_add_ctx(actor);
        let add = self.oracle.add(session, add);
        self.oracle.apply(add);
    }

    fn leave(&mut self, session: Session) {
        self.sessions.retain(|known| *known != session);
        self.leases.entries.remove(&session);
        self.leases.touch(session);
        let context = self.oracle.contains(&session).derive_rm_ctx();
        let remove = self.oracle.rm(session, context);
        self.oracle.apply(remove);
    }

    fn sessions_of(&self, owner: u8) -> Vec<Session> {
        let sessions = self.sessions.iter().copied();
        sessions.filter(|session| session.2 == owner).collect()
    }

    fn leave_owner(&mut self, owner: u8) -> usize {
        let gone = self.sessions_of(owner);
        gone.iter().for_each(|&session| self.leave(session));
        gone.len()
    }
}

impl World<'_> {
    /// One local operation at a place.
    pub(super) fn operate(&mut self, place: usize, session: Session) -> Result<(), String> {
        let choice = self.rng.below(16);
        let meta = [self.rng.next_u64().to_le_bytes(); 5].concat();
        let len_max = if session.1 < KEYS { 8 } else { 40 };
        let len = self.rng.below(len_max + 1) as usize;
        self.actors += 1;
        let actor = place as u64 + 100 * self.actors;
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        let topic = TOPICS[usize::from(session.0)];
        let key = format!("k{}", session.1);
        let owner = OWNERS[usize::from(session.2)];
        let put = NewEntry::new(topic, &key, owner).meta(&meta[..len]);
        let adopted = node.adoptable(session);
        let is_tracked = node.sessions.contains(&session);
        let (what, done) = if !is_tracked {
            if let Some(old) = adopted {
                node.leave(old);
            }
            node.join(session, actor);
            ("track", node.presence.track(&put).is_ok())
        } else if choice < 7 {
            node.leases.touch(session);
            ("update", node.presence.update(&put).is_ok())
        } else if choice < 15 {
            node.leave(session);
            ("untrack", node.presence.untrack(topic, key.as_str(), owner))
        } else {
            let gone = node.leave_owner(session.2);
            node.leases.owners[usize::from(session.2)] = None;
            node.leases.lost[usize::from(session.2)] = None;
            ("untrack_owner", node.presence.untrack_owner(owner) == gone)
        };
        if !is_tracked && adopted.is_some() {
            self.count(Incident::EntryAdopted);
        }
        self.stats.operations += 1;
        self.note(|| format!("{what} {topic} {key} {owner} at {place}"));
        if !done {
            return Err(format!(
                "{what} of {session:?} at {place} did not do its work"
            ));
        }
        self.begin_reader(place);
        self.record(place)
    }

    /// Begins or renews the lease of an entry or of an owner.
    pub(super) fn lease(&mut self) -> Result<(), String> {
        let Some(place) = self.pick_alive() else {
            return Ok(());
        };
        let ttl = [200, 900, 3000][self.rng.below(3) as usize];
        let pick = self.rng.next_u64() as usize;
        let is_owner = self.rng.below(4) == 0;
        let now_ms = self.now_ms;
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        let now_ms = now_ms + node.ahead_ms;
        let now = Duration::from_millis(now_ms);
        let span = Duration::from_millis(ttl);
        let until = now_ms + ttl;
        let what = if is_owner {
            let owner = pick % OWNERS.len();
            node.presence.lease_owner(now, OWNERS[owner], span);
            node.leases.owners[owner] = Some(until);
            OWNERS[owner].to_owned()
        } else {
            if node.sessions.is_empty() {
                return Ok(());
            }
            let session = node.sessions[pick % node.sessions.len()];
            let topic = TOPICS[usize::from(session.0)];
            let key = format!("k{}", session.1);
            let owner = OWNERS[usize::from(session.2)];
            let presence = &node.presence;
            if !presence.lease(now, topic, key.as_str(), owner, span) {
                return Err(format!("{place} has no {session:?} to lease"));
            }
            node.leases.entries.insert(session, until);
            format!("{topic} {key} {owner}")
        };
        self.count(Incident::Lease);
        self.note(|| format!("lease of {what} at {place} for {ttl} ms"));
        Ok(())
    }

    /// An owner is lost, or a lost one comes back.
    pub(super) fn lose_owner(&mut self) -> Result<(), String> {
        let Some(place) = self.pick_alive() else {
            return Ok(());
        };
        let owner = self.rng.below(OWNERS.len() as u64) as u8;
        let comes_back = self.rng.below(3) == 0;
        let now_ms = self.now_ms;
        let grace_ms = self.plan.grace_ms;
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        let at = usize::from(owner);
        let now_ms = now_ms + node.ahead_ms;
        let incident = if comes_back {
            let was_lost = node.leases.lost[at].take().is_some();
            if node.presence.owner_back(OWNERS[at]) != was_lost {
                return Err(format!("{place} forgot that {} was lost", OWNERS[at]));
            }
            was_lost.then_some(Incident::OwnerBack)
        } else {
            node.presence
                .owner_lost(Duration::from_millis(now_ms), OWNERS[at]);
            node.leases.owners[at] = None;
            if grace_ms == 0 {
                node.leave_owner(owner);
                node.leases.lost[at] = None;
            } else {
                let sessions = node.sessions_of(owner);
                let lost = (now_ms + grace_ms, sessions);
                node.leases.lost[at] = Some(lost).filter(|(_, sessions)| !sessions.is_empty());
            }
            Some(Incident::OwnerLost)
        };
        incident
            .into_iter()
            .for_each(|incident| self.count(incident));
        let what = if comes_back { "back" } else { "lost" };
        self.note(|| format!("{} is {what} at {place}", OWNERS[at]));
        self.record(place)
    }

    /// A node is called at its time: what is due leaves.
    pub(super) fn timeout(&mut self, place: usize, now: Duration) {
        let Some(node) = &mut self.nodes[place] else {
            return;
        };
        node.hearing.advance(now);
        node.presence.handle_timeout(now);
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let mut leases_ended = 0;
        let mut graces_ended = 0;
        for owner in 0..OWNERS.len() {
            if node.leases.owners[owner].is_some_and(|until| until <= now_ms) {
                node.leases.owners[owner] = None;
                leases_ended += node.leave_owner(owner as u8);
            }
            if let Some((_, lost)) = node.leases.lost[owner].take_if(|(until, _)| *until <= now_ms)
            {
                graces_ended += lost.len();
                lost.into_iter().for_each(|session| node.leave(session));
            }
        }
        let due = |(session, until): (&Session, &u64)| (*until <= now_ms).then_some(*session);
        let due: Vec<_> = node.leases.entries.iter().filter_map(due).collect();
        leases_ended += due.len();
        due.into_iter().for_each(|session| node.leave(session));
        if leases_ended > 0 {
            self.count(Incident::LeaseEnded);
        }
        if graces_ended > 0 {
            self.count(Incident::GraceEnded);
        }
    }
}
