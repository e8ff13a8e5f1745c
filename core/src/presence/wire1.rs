//! `Wire1`: the present wire. Its control plane is a [`Replica`], each shard the tracker of a slot.
//!
//! Lock order: the control lock, then the lock of one slot. Local operations take only the lock of
//! their slot and leave a mark, so they never wait for a message being handled elsewhere.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;

use super::jobs::{Control, Wire1Plane, report};
use super::plane::{Plane, Shard};
use super::snapshot::{self, Layout, SavedOrigin, SnapshotReader};
use super::wire::{News, Wire};
use super::{Presence, PresenceConfig, RestoreError, Settings};
use crate::codec::DecodeError;
use crate::error::{ApplyError, TrackError};
use crate::id::{EntryRef, Origin, ReplicaId, SLOTS};
use crate::replica::{Action, Event, Replica, Signal, Transmit};
use crate::tracker::{Diff, Key, LeaveReason, NewEntry, SessionName, Since, StagedRepair, Tracker};

/// The present wire.
#[derive(Debug)]
pub struct Wire1;

impl Wire for Wire1 {
    type Shard = Tracker;
    type Plane = Wire1Plane;
    type Event = Event;

    fn presence(replica: ReplicaId, config: PresenceConfig) -> Presence {
        let settings = Settings::of(&config);
        let limits = config.limits;
        let plane = Replica::new(replica.clone(), config.replication, config.seed);
        let tracker = |slot| Tracker::with_slot(replica.clone(), slot, limits.clone());
        let shards = (0..SLOTS).map(tracker);
        Presence::assemble(replica.clone(), settings, Wire1Plane::new(plane), shards)
    }

    fn report(control: &mut Control, number: u8, shard: &RwLock<Tracker>) {
        report(control, number, &shard.read());
    }

    fn run(presence: &Presence, control: &mut Control) {
        presence.run_actions(control);
    }

    fn work(presence: &Presence, control: &mut Control) {
        presence.work_slice(control);
    }

    fn tend(presence: &Presence, control: &mut Control) {
        presence.end_graces(control);
    }

    fn finish_visibility(presence: &Presence, control: &mut Control, topic: &str) {
        let slot = presence.number_of(topic);
        presence.finish_jobs(control, |job| job.changes_visibility_in(slot));
    }

    fn news(event: &Event) -> News {
        match event {
            Event::ReplicaUp(_) => News::Up,
            Event::ReplicaDown(_) => News::Down,
            Event::Divergence { .. } => News::Divergence,
            Event::Refused { .. } => News::Refused,
            Event::DiffsDropped => News::DiffsDropped,
            _ => News::Other,
        }
    }

    #[cfg(feature = "testing")]
    fn fork(presence: &Presence, control: &mut Control) -> Wire1Plane {
        while !control.plane.jobs.is_empty() {
            presence.work_slice(control);
        }
        let plane = &control.plane;
        Wire1Plane {
            replica: plane.replica.clone(),
            hidden: plane.hidden.clone(),
            jobs: Default::default(),
            graces: plane.graces.clone(),
        }
    }
}

impl Plane for Wire1Plane {
    type Event = Event;

    fn handle_message(
        &mut self,
        now: Duration,
        from: &str,
        frame: &Bytes,
    ) -> Result<(), DecodeError> {
        self.replica.handle_message(now, from, frame)
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.replica.handle_timeout(now);
    }

    fn disconnected(&mut self, now: Duration, from: &str) {
        self.replica.disconnected(now, from);
    }

    fn leave(&mut self, now: Duration) {
        self.replica.leave(now);
    }

    fn poll_goodbye(&self) -> Option<Duration> {
        None
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let grace_end = self.graces.front().map(|(end, _)| *end);
        let deadlines = [self.replica.poll_timeout(), grace_end];
        deadlines.into_iter().flatten().min()
    }

    fn is_working(&self) -> bool {
        !self.jobs.is_empty()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.replica.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.replica.poll_event()
    }

    fn tell_diffs_dropped(&mut self) {
        self.replica.tell(Event::DiffsDropped);
    }

    fn is_synced(&self) -> bool {
        self.replica.is_synced()
    }

    fn replicas(&self) -> Vec<(ReplicaId, bool)> {
        let known = self.replica.replicas();
        known.map(|(id, up)| (id.clone(), up)).collect()
    }

    fn signal(&mut self, signal: Signal) -> Result<(), DecodeError> {
        self.replica.signal(signal)
    }

    fn report_written(&mut self, bytes: usize) {
        self.replica.wrote(bytes);
    }
}

impl Shard for Tracker {
    fn tracker(&self, _: &str) -> &Self {
        self
    }

    fn trackers(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self)
    }

    fn track(&mut self, entry: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.track(entry)
    }

    fn update(&mut self, entry: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.update(entry)
    }

    fn upsert(&mut self, entry: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.upsert(entry)
    }

    fn adopt(&mut self, owner: &[u8], entry: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.adopt(owner, entry)
    }

    fn untrack(&mut self, topic: &str, key: Key<'_>, owner: &[u8]) -> bool {
        self.untrack(topic, key, owner)
    }

    fn remove_owner(&mut self, owner: &[u8], reason: LeaveReason) -> usize {
        self.remove_owner(owner, reason)
    }

    fn leave(&mut self, session: &SessionName, since: Since, reason: LeaveReason) -> bool {
        self.leave(session, since, reason)
    }

    fn sessions_of(&self, owner: &[u8]) -> Vec<(SessionName, u64)> {
        self.sessions_of(owner)
    }

    fn take_diff(&mut self) -> Diff {
        self.take_diff()
    }

    fn leave_log_len(&self) -> usize {
        self.leave_log_len()
    }

    fn longest_leave_log(&self) -> usize {
        self.longest_leave_log().map_or(0, |(_, len)| len)
    }

    fn limit_longest_leave_log(&mut self, len_max: usize) {
        if let Some((id, _)) = self.longest_leave_log() {
            self.limit_leaves(&id, len_max);
        }
    }
}

/// Work that the control plane asks for.
impl Presence {
    /// Carries out what the control plane asks for.
    fn run_actions(&self, control: &mut Control) {
        while let Some(action) = control.plane.replica.poll_action() {
            match action {
                Action::Apply(apply) => self.apply_body(control, apply),
                Action::Serve(serve) => self.serve(control, serve),
                Action::Push { slot, since } => {
                    let tracker = self.shards[usize::from(slot)].read();
                    let clock = report(control, slot, &tracker);
                    let body = tracker.push_body(since);
                    drop(tracker);
                    control
                        .plane
                        .replica
                        .push(slot, clock, body.map(Bytes::from));
                }
                Action::Hide(id) => self.set_hidden(control, &id, true),
                Action::Show(id) => self.set_hidden(control, &id, false),
                Action::Forget(id) => self.forget(control, &id),
                Action::Replace(id) => self.replace(control, &id),
                Action::Reincarnate { new, .. } => {
                    self.id.write().clone_from(&new);
                    for tracker in &self.shards {
                        let diff = tracker.write().reincarnate(new.clone());
                        control.note(diff);
                    }
                }
                Action::Trim { origin, slot, upto } => {
                    self.shards[usize::from(slot)]
                        .write()
                        .trim_leaves(&origin, upto);
                }
            }
        }
    }
}

/// Frames of others by hand, and snapshots.
impl Presence {
    /// Returns the operations that a holder of `origin` at `clock` misses. See
    /// [`Tracker::delta_since`].
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let a = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// let b = Presence::new(ReplicaId::new("b", 1, 0)?, PresenceConfig::default());
    /// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// for (origin, _) in a.clocks() {
    ///     if let Some(frame) = a.delta_since(&origin, b.clock(&origin)) {
    ///         b.apply(&frame)?;
    ///     }
    /// }
    /// assert_eq!(b.count("room"), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn delta_since(&self, origin: &Origin, clock: u64) -> Option<Vec<u8>> {
        self.shards
            .get(usize::from(origin.slot))?
            .read()
            .delta_since(&origin.replica, clock)
    }

    /// Returns the clock of an origin here; 0 when it is unknown.
    #[must_use]
    pub fn clock(&self, origin: &Origin) -> u64 {
        let tracker = self.shards.get(usize::from(origin.slot));
        tracker.map_or(0, |tracker| tracker.read().clock(&origin.replica))
    }

    /// Applies a frame of another presence and returns what changed. See [`Tracker::apply`].
    ///
    /// # Errors
    /// As [`Tracker::apply`].
    pub fn apply(&self, frame: &[u8]) -> Result<Diff, ApplyError> {
        let slot = Tracker::frame_slot(frame)?;
        let Some(tracker) = self.shards.get(usize::from(slot)) else {
            return Err(ApplyError::WrongSlot {
                frame_slot: slot,
                tracker_slot: 0,
            });
        };
        tracker.write().apply(frame)
    }

    /// Returns the state of all origins as bytes, versioned and checksummed. It locks one slot at a
    /// time, so other threads may change the presence meanwhile. O(entries).
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::write(&self.id(), &self.shards)
    }

    /// Creates a presence that starts with the entries of the other replicas in a snapshot, so that
    /// only later changes have to travel. A replica stays hidden until its first frame arrives. The
    /// own entries of the snapshot are not restored, as their connections are closed. The
    /// incarnation of `id` is raised above that of the snapshot if necessary. O(entries).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let before = Presence::new(ReplicaId::new("a", 7, 0)?, PresenceConfig::default());
    /// before.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let bytes = before.snapshot();
    /// let id = ReplicaId::new("a", 7, 0)?;
    /// let after = Presence::restore(id, PresenceConfig::default(), Duration::ZERO, &bytes)?;
    /// assert!(after.id().supersedes(&before.id()));
    /// assert!(after.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the bytes are not a snapshot, or contradict themselves.
    pub fn restore(
        id: ReplicaId,
        config: PresenceConfig,
        now: Duration,
        snapshot: &[u8],
    ) -> Result<Self, RestoreError> {
        let mut reader = SnapshotReader::new(snapshot, Layout::All)?;
        let presence = Self::new(reader.later_life(id)?, config);
        while let Some(SavedOrigin { offset, body }) = reader.next()? {
            let restored = presence.restore_origin(now, body);
            restored.map_err(|error| match error {
                RestoreError::Decode(error) => error.shifted(offset).into(),
                other => other,
            })?;
        }
        Ok(presence)
    }

    fn restore_origin(&self, now: Duration, state: &[u8]) -> Result<(), RestoreError> {
        let limits = self.shards[0].read().limits().clone();
        let mut staged = StagedRepair::new(Bytes::copy_from_slice(state), &limits)?;
        let origin = staged.head().origin.clone();
        if origin.slot >= SLOTS {
            return Err(DecodeError::invalid(0, "not a slot of a presence").into());
        }
        if origin.replica.name() == self.id().name() {
            return Ok(());
        }
        let mut tracker = self.shards[usize::from(origin.slot)].write();
        let begun = staged
            .begin(&mut tracker, false)
            .map_err(RestoreError::Apply)?;
        tracker.set_hidden(&origin.replica, true);
        if begun {
            let restored = staged.step(&mut tracker, usize::MAX);
            drop(restored.map_err(RestoreError::Apply)?);
        }
        let info = tracker.origin_info(&origin.replica);
        drop(tracker);
        if let Some(info) = info {
            let control = &mut *self.control.lock();
            let view = (origin.slot, info.clock, info.fingerprint);
            control.plane.replica.remember(now, &origin.replica, view);
            self.run_actions(control);
        }
        Ok(())
    }
}
