//! Replication: one `Replica` and the trackers of all slots, driven together.
//!
//! Lock order: the control lock, then the lock of one slot. Local operations take only the lock of
//! their slot and leave a mark, so they never wait for a message being handled elsewhere.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::Presence;
use super::budget::LeaveBudget;
use super::jobs::Job;
use crate::codec::DecodeError;
use crate::id::ReplicaId;
use crate::replica::{Action, Event, Replica, Signal, Transmit};
use crate::tracker::{Diff, Tracker};

/// Diffs waiting for the user; beyond it they are dropped, and the user is told.
const DIFFS_MAX: usize = 65_536;

/// What the control lock guards.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) replica: Replica,
    pub(super) diffs: VecDeque<Diff>,
    /// Replicas that are down: what arrives of them arrives hidden.
    pub(super) hidden: BTreeSet<ReplicaId>,
    /// Work that goes on with the next calls.
    pub(super) jobs: VecDeque<Job>,
    /// Replaced lives whose entries are seen until then.
    pub(super) graces: VecDeque<(Duration, ReplicaId)>,
    /// Topics whose Diffs after a hide or a show are wanted; `None`: all.
    pub(super) watched: Option<HashSet<String>>,
    pub(super) now: Duration,
    /// When the local changes seen so far become a Diff.
    pub(super) flush_at: Option<Duration>,
    pub(super) leave_budget: LeaveBudget,
}

impl Control {
    pub(super) fn new(replica: Replica, leave_budget: LeaveBudget) -> Self {
        Self {
            replica,
            diffs: VecDeque::new(),
            hidden: BTreeSet::new(),
            jobs: VecDeque::new(),
            graces: VecDeque::new(),
            watched: None,
            now: Duration::ZERO,
            flush_at: None,
            leave_budget,
        }
    }

    pub(super) fn is_watched(&self, topic: &str) -> bool {
        self.watched
            .as_ref()
            .is_none_or(|topics| topics.contains(topic))
    }

    pub(super) fn note(&mut self, diff: Diff) {
        if diff.is_lossy() {
            self.replica.tell(Event::DiffsDropped);
        }
        if diff.is_empty() {
            return;
        }
        if self.diffs.len() >= DIFFS_MAX {
            self.diffs.clear();
            self.replica.tell(Event::DiffsDropped);
            return;
        }
        self.diffs.push_back(diff);
    }
}

/// Replication, without I/O: the caller moves frames and tells the time. `now` is the time since
/// any start, the same for all calls; a smaller one than before is taken as the last one.
impl Presence {
    /// Takes one frame from a neighbour of the transport. O(changes).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let a = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// let b = Presence::new(ReplicaId::new("b", 1, 0)?, PresenceConfig::default());
    /// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// for ms in 0..3_000 {
    ///     let now = Duration::from_millis(ms);
    ///     for (from, to, name) in [(&a, &b, "a"), (&b, &a, "b")] {
    ///         from.handle_timeout(now);
    ///         while let Some(transmit) = from.poll_transmit() {
    ///             to.handle_message(now, name, &transmit.frame)?;
    ///         }
    ///     }
    /// }
    /// assert_eq!(b.count("room"), 1);
    /// assert!(a.is_synced() && b.is_synced());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DecodeError`] when the frame is malformed, not authentic, or of another cluster or
    /// version; nothing has changed then.
    pub fn handle_message(
        &self,
        now: Duration,
        from: &str,
        frame: &Bytes,
    ) -> Result<(), DecodeError> {
        let control = &mut *self.control.lock();
        control.now = control.now.max(now);
        self.observe(control);
        let handled = control.replica.handle_message(now, from, frame);
        self.run(control);
        handled
    }

    /// Does what is due: heartbeats, pushes, pulls, verdicts of down and forgotten, the flush of
    /// local changes. Hand over the frames that have arrived first: a process that was paused would
    /// otherwise hide every replica whose heartbeats wait.
    pub fn handle_timeout(&self, now: Duration) {
        self.expire(now);
        let control = &mut *self.control.lock();
        control.now = control.now.max(now);
        self.observe(control);
        control.replica.handle_timeout(now);
        self.run(control);
        self.end_graces(control);
        self.work(control);
        let now = control.now;
        control.leave_budget.enforce(now, &self.slots);
    }

    /// Does one slice of large work that waits, and looks at no deadline: for a caller that has
    /// frames left to take in first.
    /// O([`slice_entries_max`](super::PresenceConfig::slice_entries_max)).
    pub fn work_on(&self, now: Duration) {
        let control = &mut *self.control.lock();
        control.now = control.now.max(now);
        self.work(control);
        self.run(control);
    }

    /// Takes a hint of the transport that a neighbour is gone: its replica is hidden at once.
    pub fn disconnected(&self, now: Duration, from: &str) {
        let control = &mut *self.control.lock();
        control.now = control.now.max(now);
        control.replica.disconnected(now, from);
        self.run(control);
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called next. Local
    /// operations may bring that nearer.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let control = &mut *self.control.lock();
        self.observe(control);
        if !control.jobs.is_empty() {
            return Some(control.now);
        }
        let deadlines = [
            control.replica.poll_timeout(),
            self.timers.next_deadline(),
            control.flush_at,
            control.graces.front().map(|(at, _)| *at),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Returns whether [`handle_timeout`](Self::handle_timeout) has work in slices to go on with at
    /// once, as when a large frame came. Local operations alone are none.
    #[must_use]
    pub fn is_working(&self) -> bool {
        !self.control.lock().jobs.is_empty()
    }

    /// Returns the next frame to send.
    #[must_use = "it is handed out once"]
    pub fn poll_transmit(&self) -> Option<Transmit> {
        self.control.lock().replica.poll_transmit()
    }

    /// Returns the next thing that happened to the cluster.
    #[must_use = "it is handed out once"]
    pub fn poll_event(&self) -> Option<Event> {
        self.control.lock().replica.poll_event()
    }

    /// Returns the next changes, of other replicas and of this one, in the order in which the lists
    /// changed. Those of this replica are coalesced for [`flush`](super::PresenceConfig::flush)
    /// first. Beyond 65,536 Diffs not fetched all of them go, with the event
    /// [`DiffsDropped`](Event::DiffsDropped): read the lists again then.
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// presence.handle_timeout(Duration::ZERO);
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// presence.update(&NewEntry::new("room", "ann", "conn-1").meta(b"away"))?;
    /// assert_eq!(presence.poll_timeout(), Some(Duration::from_millis(5)));
    /// presence.handle_timeout(Duration::from_millis(5));
    /// let diff = presence.poll_diff().expect("5 ms have passed");
    /// assert_eq!(diff.topic("room").unwrap().joins[0].meta(), b"away");
    /// assert!(presence.poll_diff().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "it is handed out once"]
    pub fn poll_diff(&self) -> Option<Diff> {
        self.control.lock().diffs.pop_front()
    }

    /// Makes the Diffs that follow when a whole replica appears or disappears cover only topics
    /// named by [`watch`](Self::watch). Until then they cover all topics.
    pub fn watch_only(&self, topics: impl IntoIterator<Item = String>) {
        self.control.lock().watched = Some(topics.into_iter().collect());
    }

    /// Adds a topic to those watched. See [`watch_only`](Self::watch_only). O(1).
    pub fn watch(&self, topic: &str) {
        if let Some(topics) = &mut self.control.lock().watched {
            topics.insert(topic.to_owned());
        }
    }

    /// Takes a topic from those watched. O(1).
    pub fn unwatch(&self, topic: &str) {
        if let Some(topics) = &mut self.control.lock().watched {
            topics.remove(topic);
        }
    }

    /// Returns whether this node has caught up, at least once, with everything its known peers
    /// advertised.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.control.lock().replica.is_synced()
    }

    /// Returns the other replicas known, and whether each is up. O(replicas).
    #[must_use]
    pub fn replicas(&self) -> Vec<(ReplicaId, bool)> {
        let control = self.control.lock();
        control
            .replica
            .replicas()
            .map(|(id, up)| (id.clone(), up))
            .collect()
    }

    /// Sends a short-lived sign, such as typing, to all peers; nothing is stored.
    ///
    /// # Errors
    /// When the topic, the key or the payload exceeds 256 bytes.
    pub fn signal(&self, signal: Signal) -> Result<(), DecodeError> {
        self.control.lock().replica.signal(signal)
    }

    /// Leaves the cluster: peers drop this replica's entries at once and refuse its identity from
    /// then on. Send what [`poll_transmit`](Self::poll_transmit) still has, then stop.
    pub fn leave_gracefully(&self, now: Duration) {
        let control = &mut *self.control.lock();
        control.now = control.now.max(now);
        self.observe(control);
        self.flush(control);
        control.replica.leave(now);
        self.run(control);
    }

    /// Sees the local operations since it last looked: the control plane is told, and they are
    /// flushed if their time has come.
    fn observe(&self, control: &mut Control) {
        self.report_local(control);
        if control.flush_at.is_none() && self.changed.load(Ordering::Acquire) != 0 {
            control.flush_at = control.now.checked_add(self.flush);
        }
        if control.flush_at.is_some_and(|at| at <= control.now) {
            self.flush(control);
        }
    }

    /// Makes a Diff of the local changes.
    fn flush(&self, control: &mut Control) {
        control.flush_at = None;
        let diff = self.take_diff();
        control.note(diff);
    }

    /// Tells the control plane of local operations since it was last told.
    fn report_local(&self, control: &mut Control) {
        let mut marked = self.unreported.swap(0, Ordering::AcqRel);
        while marked != 0 {
            let slot = marked.trailing_zeros() as u8;
            marked &= marked - 1;
            let tracker = self.slots[usize::from(slot)].read();
            report(control, slot, &tracker);
        }
        let written = self.written.swap(0, Ordering::Relaxed);
        control.replica.wrote(written);
    }

    /// Carries out what the control plane asks for.
    pub(super) fn run(&self, control: &mut Control) {
        while let Some(action) = control.replica.poll_action() {
            match action {
                Action::Apply(apply) => self.apply_body(control, apply),
                Action::Serve(serve) => self.serve(control, serve),
                Action::Push { slot, since } => {
                    let tracker = self.slots[usize::from(slot)].read();
                    let clock = report(control, slot, &tracker);
                    let body = tracker.push_body(since);
                    drop(tracker);
                    control.replica.push(slot, clock, body.map(Bytes::from));
                }
                Action::Hide(id) => self.set_hidden(control, &id, true),
                Action::Show(id) => self.set_hidden(control, &id, false),
                Action::Forget(id) => self.forget(control, &id),
                Action::Replace(id) => self.replace(control, &id),
                Action::Reincarnate { new, .. } => {
                    self.id.write().clone_from(&new);
                    for tracker in &self.slots {
                        let diff = tracker.write().reincarnate(new.clone());
                        control.note(diff);
                    }
                }
                Action::Trim { origin, slot, upto } => {
                    self.slots[usize::from(slot)]
                        .write()
                        .trim_leaves(&origin, upto);
                }
            }
        }
    }
}

/// Tells the control plane where the local origin of a slot stands. Gives its clock.
pub(super) fn report(control: &mut Control, slot: u8, tracker: &Tracker) -> u64 {
    let info = tracker
        .origin_info(tracker.id())
        .expect("the local origin is always known");
    control
        .replica
        .local(control.now, slot, info.clock, info.fingerprint);
    info.clock
}
