//! The timers of leases and grace. They run at the origin of the entries only.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry as EntryOf;
use parking_lot::Mutex;

use crate::fault::{Fault, is_broken};
use crate::tracker::{Entry, Key, NewEntry, SessionName, Tracker};

/// The time of a timer, and a number that makes it unique.
type Place = (Duration, u64);

/// The subject of a timer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    /// The lease of an owner.
    Owner(Box<[u8]>),
    /// The lease of an entry.
    Entry(SessionName),
    /// The end of the grace of a lost owner.
    Grace(Box<[u8]>),
}

/// Entries whose lease or grace has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// All of an owner.
    Owner(Box<[u8]>),
    /// One, if it still has this birth.
    Entry(SessionName, u64),
    Lost(Lost),
}

/// A lost owner whose grace has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) owner: Box<[u8]>,
    /// The entries that leave, if they still have these versions.
    pub(super) entries: HashMap<SessionName, u64>,
    /// The end of the lease that the owner had when it was lost.
    pub(super) lease_until: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Timers {
    /// No entry has a longer owner: nothing is kept, nor copied, for one.
    owner_len_max: usize,
    /// True if a timer runs: checked without a lock by operations that end leases.
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone)]
struct State {
    /// The latest time that was told.
    now: Duration,
    next: u64,
    /// Timers in the order of their times, and for an entry its birth: one that was tracked since
    /// has no lease.
    queue: BTreeMap<Place, (Subject, u64)>,
    running: HashMap<Subject, Place>,
    /// Entries of lost owners with their versions: one that was written since is not lost.
    lost: HashMap<Box<[u8]>, HashMap<SessionName, u64>>,
    /// The topics and keys of these entries, and the number of them: most keys have none.
    lost_keys: HashMap<SessionName, u32>,
    /// The ends of the leases of lost owners, which go on if they come back or have entries left.
    leases: HashMap<Box<[u8]>, Duration>,
}

impl Clone for Timers {
    fn clone(&self) -> Self {
        let any = AtomicBool::new(self.any.load(Ordering::Acquire));
        Self {
            owner_len_max: self.owner_len_max,
            any,
            state: Mutex::new(self.state.lock().clone()),
        }
    }
}

impl Timers {
    pub(super) fn new(owner_len_max: usize) -> Self {
        Self {
            owner_len_max,
            any: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Takes the time in. Returns the latest one that was told: a clock may be set back.
    pub(super) fn advance(&self, now: Duration) -> Duration {
        let mut state = self.state.lock();
        state.now = state.now.max(now);
        state.now
    }

    fn is_running(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Returns whether an owner may have a timer: one runs, and the name is not too long for it.
    fn may_have(&self, owner: &[u8]) -> bool {
        self.is_running() && owner.len() <= self.owner_len_max
    }

    /// Starts or renews the lease of an owner. Does nothing for one that can have no entries.
    pub(super) fn lease_owner(&self, owner: &[u8], until: Duration) {
        if owner.len() <= self.owner_len_max {
            self.set(Subject::Owner(owner.into()), 0, until);
        }
    }

    /// Starts or renews the lease of the entry with this birth.
    pub(super) fn lease_entry(&self, session: SessionName, birth: u64, until: Duration) {
        self.set(Subject::Entry(session), birth, until);
    }

    fn set(&self, subject: Subject, birth: u64, until: Duration) {
        self.state.lock().set(subject, birth, until);
        self.any.store(true, Ordering::Release);
    }

    /// Starts the grace of a lost owner with these entries and versions, in the place of its lease.
    pub(super) fn lose_owner(
        &self,
        owner: &[u8],
        entries: HashMap<SessionName, u64>,
        until: Duration,
    ) {
        if entries.is_empty() {
            self.end_owner(owner);
            return;
        }
        let mut state = self.state.lock();
        let lease = Subject::Owner(owner.into());
        let lease_until = state.running.get(&lease).map(|(until, _)| *until);
        if let Some(lease_until) = lease_until.or_else(|| state.leases.get(owner).copied()) {
            state.leases.insert(owner.into(), lease_until.max(until));
        }
        state.end(&lease);
        state.lose(owner, entries);
        state.set(Subject::Grace(owner.into()), 0, until);
        self.any.store(true, Ordering::Release);
    }

    /// Ends the grace of an owner, whose lease goes on. Returns whether it had one.
    pub(super) fn owner_back(&self, owner: &[u8]) -> bool {
        if !self.may_have(owner) {
            return false;
        }
        let mut state = self.state.lock();
        let lease_until = state.leases.remove(owner);
        let was_lost = state.end_grace(owner);
        if let Some(until) = lease_until {
            state.resume_lease(owner, until);
        }
        was_lost
    }

    /// Lets the lease of a lost owner go on that has entries after its grace, unless it has another.
    pub(super) fn resume_lease(&self, owner: &[u8], until: Duration) {
        self.state.lock().resume_lease(owner, until);
        self.any.store(true, Ordering::Release);
    }

    /// Ends the lease and the grace of an owner that is untracked.
    pub(super) fn end_owner(&self, owner: &[u8]) {
        if self.may_have(owner) {
            let mut state = self.state.lock();
            state.end(&Subject::Owner(owner.into()));
            state.end_grace(owner);
        }
    }

    /// Ends the lease of an entry that is untracked.
    pub(super) fn end_entry(&self, topic: &str, key: Key<'_>, owner: &[u8]) {
        if self.is_running() {
            let session = SessionName::new(topic, key, owner);
            self.state.lock().end(&Subject::Entry(session));
        }
    }

    /// Returns the lost owner whose entry of the same topic and key `put` takes over, if there is
    /// one. O(1), and O(sessions of the key) where the key has a lost one.
    pub(super) fn lost_owner_of(&self, tracker: &Tracker, put: &NewEntry<'_>) -> Option<Vec<u8>> {
        if !self.is_running() {
            return None;
        }
        let state = self.state.lock();
        if !state.has_lost(put) {
            return None;
        }
        let mut lost = None;
        let sessions = tracker.get_by_key(put.topic, put.key());
        for entry in sessions.filter(|entry| entry.replica() == tracker.id()) {
            let is_same = entry.owner() == put.owner;
            if state.is_lost(&entry) {
                lost = Some(entry.owner());
            } else if is_same {
                return None;
            }
            if is_same {
                break;
            }
        }
        lost.map(<[u8]>::to_vec)
    }

    /// Returns the time of the first timer.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        if !self.is_running() {
            return None;
        }
        let state = self.state.lock();
        state.queue.first_key_value().map(|((time, _), _)| *time)
    }

    /// Takes the entries of the first timer out, if its time has come.
    pub(super) fn next_expired(&self, now: Duration) -> Option<Expired> {
        if !self.is_running() {
            return None;
        }
        let mut state = self.state.lock();
        let expired = state.next_expired(now);
        if expired.is_none() {
            self.any.store(!state.queue.is_empty(), Ordering::Release);
        }
        expired
    }
}

impl State {
    /// Starts a timer, or starts it again.
    fn set(&mut self, subject: Subject, birth: u64, until: Duration) {
        self.end(&subject);
        self.next += 1;
        let place = (until, self.next);
        self.queue.insert(place, (subject.clone(), birth));
        self.running.insert(subject, place);
    }

    fn resume_lease(&mut self, owner: &[u8], until: Duration) {
        let lease = Subject::Owner(owner.into());
        if !self.running.contains_key(&lease) {
            self.set(lease, 0, until);
        }
    }

    fn end(&mut self, subject: &Subject) -> bool {
        let place = self.running.remove(subject);
        place.is_some_and(|place| self.queue.remove(&place).is_some())
    }

    fn end_grace(&mut self, owner: &[u8]) -> bool {
        self.take_lost(owner);
        self.leases.remove(owner);
        self.end(&Subject::Grace(owner.into()))
    }

    fn lose(&mut self, owner: &[u8], entries: HashMap<SessionName, u64>) {
        self.take_lost(owner);
        for session in entries.keys() {
            *self.lost_keys.entry(session.key_name()).or_default() += 1;
        }
        self.lost.insert(owner.into(), entries);
    }

    fn take_lost(&mut self, owner: &[u8]) -> HashMap<SessionName, u64> {
        let entries = self.lost.remove(owner).unwrap_or_default();
        for session in entries.keys() {
            if let EntryOf::Occupied(mut count) = self.lost_keys.entry(session.key_name()) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        entries
    }

    /// Returns whether a lost owner has an entry of this topic and key, or had one.
    fn has_lost(&self, put: &NewEntry<'_>) -> bool {
        let name = || SessionName::new(put.topic, put.key(), &[]);
        !self.lost_keys.is_empty() && self.lost_keys.contains_key(&name())
    }

    /// Returns whether an own entry is one of a lost owner, not written since.
    fn is_lost(&self, entry: &Entry<'_>) -> bool {
        self.lost.get(entry.owner()).is_some_and(|sessions| {
            let session = SessionName::new(entry.topic(), entry.key(), entry.owner());
            let version = sessions.get(&session);
            version == Some(&entry.version()) || version.is_some() && is_broken(Fault::AdoptWritten)
        })
    }

    fn next_expired(&mut self, now: Duration) -> Option<Expired> {
        let first = self.queue.first_entry();
        let first = first.filter(|first| first.key().0 <= now)?;
        let (subject, birth) = first.remove();
        self.running.remove(&subject);
        Some(match subject {
            Subject::Owner(owner) => Expired::Owner(owner),
            Subject::Entry(session) => Expired::Entry(session, birth),
            Subject::Grace(owner) => Expired::Lost(Lost {
                lease_until: self.leases.remove(&owner),
                entries: self.take_lost(&owner),
                owner,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReplicaId;

    const SECOND: Duration = Duration::from_secs(1);

    fn session(owner: &[u8]) -> SessionName {
        SessionName::new("room", Key::from("ann"), owner)
    }

    #[test]
    fn a_renewed_lease_expires_once_at_its_new_time() {
        let timers = Timers::new(64);
        assert_eq!(timers.next_deadline(), None);
        timers.lease_owner(b"phone", SECOND);
        timers.lease_owner(b"phone", 3 * SECOND);
        timers.lease_entry(session(b"laptop"), 7, 2 * SECOND);
        assert_eq!(timers.next_deadline(), Some(2 * SECOND));
        assert_eq!(timers.next_expired(SECOND), None);
        let entry = Expired::Entry(session(b"laptop"), 7);
        assert_eq!(timers.next_expired(3 * SECOND), Some(entry));
        let owner = Expired::Owner(b"phone".as_slice().into());
        assert_eq!(timers.next_expired(3 * SECOND), Some(owner));
        assert_eq!(timers.next_expired(3 * SECOND), None);
        assert!(!timers.is_running());
    }

    #[test]
    fn what_is_untracked_has_no_timer() {
        let timers = Timers::new(64);
        timers.lease_owner(b"phone", SECOND);
        timers.lease_entry(session(b"phone"), 7, SECOND);
        timers.end_entry("room", Key::from("ann"), b"phone");
        timers.end_owner(b"phone");
        assert_eq!(timers.next_deadline(), None);
        assert_eq!(timers.next_expired(SECOND), None);
    }

    #[test]
    fn a_lost_owner_has_a_grace_instead_of_its_lease() {
        let timers = Timers::new(64);
        let entries = HashMap::from([(session(b"phone"), 7)]);
        timers.lease_owner(b"phone", SECOND);
        timers.lose_owner(b"phone", entries.clone(), 2 * SECOND);
        assert_eq!(timers.next_deadline(), Some(2 * SECOND));
        assert!(timers.owner_back(b"phone") && !timers.owner_back(b"phone"));
        // The lease goes on, for at least as long as the grace would have lasted.
        assert_eq!(timers.next_deadline(), Some(2 * SECOND));
        timers.lease_owner(b"phone", 5 * SECOND);
        timers.lose_owner(b"phone", entries.clone(), 2 * SECOND);
        timers.lose_owner(b"phone", entries.clone(), 3 * SECOND);
        assert!(timers.owner_back(b"phone"));
        assert_eq!(timers.next_deadline(), Some(5 * SECOND));
        timers.end_owner(b"phone");
        assert_eq!(timers.next_deadline(), None);
        timers.lose_owner(b"phone", entries.clone(), 2 * SECOND);
        assert_eq!(
            timers.next_expired(2 * SECOND),
            Some(Expired::Lost(Lost {
                owner: b"phone".as_slice().into(),
                entries,
                lease_until: None,
            }))
        );
        timers.lose_owner(b"phone", HashMap::new(), 3 * SECOND);
        assert_eq!(timers.next_deadline(), None, "there is nothing to wait for");
    }

    #[test]
    fn an_entry_of_a_lost_owner_is_taken_over_unless_it_was_written_since() {
        let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0).unwrap());
        let phone = NewEntry::new("room", "ann", "phone");
        let laptop = NewEntry::new("room", "ann", "laptop");
        let version = tracker.track(&phone).unwrap().version;
        let timers = Timers::new(64);
        assert_eq!(timers.lost_owner_of(&tracker, &laptop), None);
        let entries = HashMap::from([(session(b"phone"), version)]);
        timers.lose_owner(b"phone", entries, SECOND);
        let lost = Some(b"phone".to_vec());
        assert_eq!(timers.lost_owner_of(&tracker, &laptop), lost);
        assert_eq!(timers.lost_owner_of(&tracker, &phone), lost);
        tracker.update(&phone).unwrap();
        assert_eq!(timers.lost_owner_of(&tracker, &laptop), None);
        timers.lose_owner(b"tablet", HashMap::from([(session(b"tablet"), 9)]), SECOND);
        timers.lose_owner(b"phone", HashMap::from([(session(b"phone"), 7)]), SECOND);
        let keys = |timers: &Timers| timers.state.lock().lost_keys.values().sum::<u32>();
        assert_eq!(
            keys(&timers),
            2,
            "of those that were lost twice the last ones"
        );
        assert!(timers.owner_back(b"phone"));
        assert_eq!(keys(&timers), 1);
        assert!(timers.next_expired(SECOND).is_some());
        assert_eq!(keys(&timers), 0);
    }
}
