//! Leases and grace: entries that leave by themselves. Timers run at the origin only.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::{LEAVE_WIRE_LEN, Presence};
use crate::error::TrackError;
use crate::id::{EntryRef, slot_of};
use crate::tracker::{Entry, Key, LeaveReason, NewEntry, Session, Since, Tracker};

/// When something is due, and a number that makes it unique.
type At = (Duration, u64);

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Due {
    /// The lease of an owner.
    Owner(Box<[u8]>),
    /// The lease of an entry.
    Entry(Session),
    /// The end of the grace of a lost owner.
    Grace(Box<[u8]>),
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    /// True if there is anything: checked without a lock by operations that end leases.
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone)]
struct State {
    next: u64,
    /// What is due, and for an entry its birth: one that was tracked since has no lease.
    queue: BTreeMap<At, (Due, u64)>,
    running: HashMap<Due, At>,
    /// Entries of lost owners with their versions: one that was written since is not lost.
    lost: HashMap<Box<[u8]>, HashMap<Session, u64>>,
}

impl Clone for Timers {
    fn clone(&self) -> Self {
        let any = AtomicBool::new(self.any.load(Ordering::Acquire));
        Self {
            any,
            state: Mutex::new(self.state.lock().clone()),
        }
    }
}

impl State {
    /// Starts a timer, or starts it again.
    fn set(&mut self, due: Due, birth: u64, at: Duration) {
        self.end(&due);
        self.next += 1;
        self.queue.insert((at, self.next), (due.clone(), birth));
        self.running.insert(due, (at, self.next));
    }

    /// Returns whether an own entry is one of a lost owner, not written since.
    fn is_lost(&self, entry: &Entry<'_>) -> bool {
        self.lost.get(entry.owner()).is_some_and(|sessions| {
            let session = Session::new(entry.topic(), entry.key(), entry.owner());
            sessions.get(&session) == Some(&entry.version())
        })
    }

    fn end(&mut self, due: &Due) -> bool {
        let at = self.running.remove(due);
        at.is_some_and(|at| self.queue.remove(&at).is_some())
    }

    fn next_due(&mut self, now: Duration) -> Option<(Due, u64)> {
        let first = self
            .queue
            .first_entry()
            .filter(|first| first.key().0 <= now)?;
        let due = first.remove();
        self.running.remove(&due.0);
        Some(due)
    }
}

impl Timers {
    fn is_running(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    fn set(&self, due: Due, birth: u64, at: Duration) {
        self.state.lock().set(due, birth, at);
        self.any.store(true, Ordering::Release);
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        if !self.is_running() {
            return None;
        }
        self.state
            .lock()
            .queue
            .first_key_value()
            .map(|((at, _), _)| *at)
    }
}

/// Leases and grace. `now` is the time since any start, the same for all calls.
impl Presence {
    /// Starts or renews the lease of an owner: unless it is renewed within `ttl`, all its entries
    /// leave, with the reason [`LeaveReason::Expired`]. O(log leases).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// presence.lease_owner(Duration::from_secs(0), "conn-1", Duration::from_secs(30));
    /// presence.lease_owner(Duration::from_secs(20), "conn-1", Duration::from_secs(30));
    /// presence.handle_timeout(Duration::from_secs(40));
    /// assert_eq!(presence.count("room"), 1);
    /// presence.handle_timeout(Duration::from_secs(50));
    /// assert_eq!(presence.count("room"), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_owner(&self, now: Duration, owner: impl AsRef<[u8]>, ttl: Duration) {
        self.timers.set(
            Due::Owner(owner.as_ref().into()),
            0,
            now.saturating_add(ttl),
        );
    }

    /// Starts or renews the lease of one entry. Says whether there is such an entry.
    /// O(log leases).
    pub fn lease<'a>(
        &self,
        now: Duration,
        topic: &str,
        key: impl Into<Key<'a>>,
        owner: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> bool {
        let session = Session::new(topic, key.into(), owner.as_ref());
        let birth = self.slot(topic).read().birth_of(&session);
        if let Some(birth) = birth {
            self.timers
                .set(Due::Entry(session), birth, now.saturating_add(ttl));
        }
        birth.is_some()
    }

    /// Tells that an owner was lost without a word: a connection broke, a process died. Its entries
    /// stay, listed and counted, for the [`grace`](super::PresenceConfig::grace), then they leave.
    /// Until then an entry comes back, as an update, when its (topic, key) is tracked by another
    /// owner, or when it is written by the same one. Without grace this is
    /// [`untrack_owner`](Self::untrack_owner). O(its entries).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let config = PresenceConfig::default().grace(Duration::from_secs(10));
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, config);
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// presence.track(&NewEntry::new("room", "bob", "conn-1"))?;
    /// presence.take_diff();
    /// presence.owner_lost(Duration::from_secs(0), "conn-1");
    /// assert_eq!(presence.count("room"), 2);
    /// presence.track(&NewEntry::new("room", "ann", "conn-2"))?;
    /// presence.handle_timeout(Duration::from_secs(10));
    /// let diff = presence.take_diff();
    /// let room = diff.topic("room").unwrap();
    /// assert_eq!((room.joins.len(), room.updates.len(), room.leaves.len()), (0, 1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn owner_lost(&self, now: Duration, owner: impl AsRef<[u8]>) {
        let owner = owner.as_ref();
        if self.grace.is_zero() {
            self.untrack_owner(owner);
            return;
        }
        let mut entries = HashMap::new();
        for tracker in &self.slots {
            entries.extend(tracker.read().sessions_of(owner));
        }
        let mut state = self.timers.state.lock();
        state.end(&Due::Owner(owner.into()));
        if entries.is_empty() {
            state.lost.remove(owner);
            state.end(&Due::Grace(owner.into()));
            return;
        }
        state.lost.insert(owner.into(), entries);
        let until = now.saturating_add(self.grace);
        state.set(Due::Grace(owner.into()), 0, until);
        self.timers.any.store(true, Ordering::Release);
    }

    /// Tells that a lost owner is back: its entries stay. Says whether it had any when it was lost,
    /// and is in time.
    pub fn owner_back(&self, owner: impl AsRef<[u8]>) -> bool {
        let owner = owner.as_ref();
        let mut state = self.timers.state.lock();
        state.lost.remove(owner);
        state.end(&Due::Grace(owner.into()))
    }

    /// Ends the leases and the grace of an owner that is untracked.
    pub(super) fn end_owner_timers(&self, owner: &[u8]) {
        if self.timers.is_running() {
            let mut state = self.timers.state.lock();
            state.lost.remove(owner);
            state.end(&Due::Owner(owner.into()));
            state.end(&Due::Grace(owner.into()));
        }
    }

    /// Ends the lease of an entry that is untracked.
    pub(super) fn end_entry_timer(&self, topic: &str, key: Key<'_>, owner: &[u8]) {
        if self.timers.is_running() {
            self.timers
                .state
                .lock()
                .end(&Due::Entry(Session::new(topic, key, owner)));
        }
    }

    /// Takes over the entry of a lost owner for the same topic and key, if there is one.
    pub(super) fn adopt(
        &self,
        tracker: &mut Tracker,
        put: &NewEntry<'_>,
    ) -> Option<Result<EntryRef, TrackError>> {
        if !self.timers.is_running() {
            return None;
        }
        let state = self.timers.state.lock();
        if state.lost.is_empty() {
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
        let lost = lost?.to_vec();
        drop(state);
        Some(tracker.adopt(&lost, put))
    }

    /// Removes what is due.
    pub(super) fn expire(&self, now: Duration) {
        while self.timers.is_running() {
            let mut state = self.timers.state.lock();
            let Some((due, birth)) = state.next_due(now) else {
                self.timers
                    .any
                    .store(!state.queue.is_empty(), Ordering::Release);
                return;
            };
            let lost = match &due {
                Due::Grace(owner) => state.lost.remove(owner).unwrap_or_default(),
                _ => HashMap::new(),
            };
            drop(state);
            match due {
                Due::Owner(owner) => {
                    self.remove_owners(&[owner], LeaveReason::Expired);
                }
                Due::Entry(session) => {
                    self.leave(&session, Since::Birth(birth), LeaveReason::Expired);
                }
                Due::Grace(_) => {
                    for (session, version) in lost {
                        let since = Since::Version(version);
                        self.leave(&session, since, LeaveReason::OwnerGone);
                    }
                }
            }
        }
    }

    /// Removes one own entry, if it is still the one meant.
    fn leave(&self, session: &Session, since: Since, reason: LeaveReason) {
        let mut tracker = self.slot(session.topic()).write();
        if tracker.leave(session, since, reason) {
            self.mark_changed(slot_of(session.topic()), LEAVE_WIRE_LEN);
        }
    }
}
