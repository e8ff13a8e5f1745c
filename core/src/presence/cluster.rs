//! Replication: the control plane and the entries, driven together.
//!
//! Lock order: the control lock, then the lock of one shard, then that of what shards have done.
//! Local operations take only the lock of their shard and leave a mark, so they never wait for a
//! message being handled elsewhere. While a frame is applied to a shard the control lock is free:
//! other threads decide on their frames meanwhile, by what the control plane was told last.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::Presence;
use super::control::{Control, WatchedTopics};
use crate::codec::DecodeError;
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;
use crate::replica::{Address, Event, Signal, SignalError, Transmit};
use crate::tracker::Diff;

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
    /// assert_eq!(b.count("room")?, 1);
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
        // Other threads have their frames handled meanwhile.
        let received = self.frame_reader.open(frame);
        let from = Address::from(from);
        let mut control = self.control.lock();
        control.advance(now);
        self.observe(&mut control);
        let handled = control.replica.handle_message(now, &from, frame, received);
        self.run_sharing(&mut control);
        Ok(handled?)
    }

    /// Does what is due: heartbeats, pushes, pulls, verdicts of down and forgotten, the flush of
    /// local changes. Hand over the frames that have arrived first: a process that was paused would
    /// otherwise hide every replica whose heartbeats wait.
    pub fn handle_timeout(&self, now: Duration) {
        self.expire(now);
        let control = &mut *self.control.lock();
        control.advance(now);
        self.observe(control);
        self.refresh_counts(control);
        control.replica.handle_timeout(now);
        self.run(control);
        self.trim_leaves(control);
        self.work(control);
    }

    /// Does one slice of large work that waits, and looks at no deadline: for a caller that has
    /// frames left to take in first.
    /// O([`slice_entries_max`](super::PresenceConfig::slice_entries_max)).
    pub fn work_on(&self, now: Duration) {
        let control = &mut *self.control.lock();
        control.advance(now);
        self.work(control);
        self.run(control);
    }

    /// Makes frames no longer than this from now on: what carries them has changed. Bounded as
    /// [`frame_max`](crate::replica::Config::frame_max) is.
    pub fn set_frame_max(&self, frame_max: usize) {
        self.control.lock().replica.set_frame_max(frame_max);
    }

    /// Takes a hint of the transport that a neighbour is gone: its replica is hidden at once.
    pub fn disconnected(&self, now: Duration, from: &str) {
        let control = &mut *self.control.lock();
        control.advance(now);
        control.replica.disconnected(now, &Address::from(from));
        self.run(control);
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called next. Local
    /// operations may bring that nearer.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let control = &mut *self.control.lock();
        self.observe(control);
        if !control.working.is_empty() {
            return Some(control.now);
        }
        let timers = self.timers.next_deadline();
        let deadlines = [
            control.replica.poll_timeout(),
            timers.filter(|_| !is_broken(Fault::ForgetTimers)),
            control.flush_at,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Returns whether [`handle_timeout`](Self::handle_timeout) has work in slices to go on with at
    /// once, as when a large frame came. Local operations alone are none.
    #[must_use]
    pub fn is_working(&self) -> bool {
        !self.control.lock().working.is_empty()
    }

    /// Returns the next frame to send.
    #[must_use = "it is handed out once"]
    pub fn poll_transmit(&self) -> Option<Transmit> {
        self.control.lock().replica.poll_transmit()
    }

    /// Returns the number of frames dropped since the start, because too many waited. O(1).
    #[cfg(feature = "tokio")]
    pub(crate) fn frames_dropped(&self) -> u64 {
        self.control.lock().replica.frames_dropped()
    }

    /// Returns the next thing that happened to the cluster. Of each kind of event the newest 4,096
    /// wait, so many signals push out no other events; of
    /// [`TopicReady`](crate::replica::Event::TopicReady) and
    /// [`CountsReady`](crate::replica::Event::CountsReady) 65,536, and of
    /// [`DiffsDropped`](crate::replica::Event::DiffsDropped) one.
    #[must_use = "it is handed out once"]
    pub fn poll_event(&self) -> Option<Event> {
        self.control.lock().replica.poll_event()
    }

    /// Returns the next changes, of other replicas and of this one, in the order in which the lists
    /// changed. Those of this replica are coalesced for [`flush`](super::PresenceConfig::flush)
    /// first. When Diffs that were not fetched take more than
    /// [`diffs_bytes_max`](super::PresenceConfig::diffs_bytes_max), all of them go, with the event
    /// [`DiffsDropped`](crate::replica::Event::DiffsDropped). The lists are right: read those that
    /// you follow with [`list_with_diffs`](Self::list_with_diffs) and go on with the Diffs after it.
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
        self.control.lock().diffs.pop()
    }

    /// Makes the Diffs that follow when a whole replica appears or disappears cover these topics
    /// only. Until then they cover all topics.
    pub fn diff_topics(&self, topics: impl IntoIterator<Item = String>) {
        let topics = topics.into_iter().collect();
        self.control.lock().watched = WatchedTopics(Some(Arc::new(topics)));
    }

    /// Returns whether this node has caught up, at least once, with everything its known peers
    /// advertised; in mode [`Interest`](crate::replica::Mode::Interest), whether it has once known of
    /// each of them where it has entries.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.control.lock().replica.is_synced()
    }

    /// Returns the other replicas known, and whether each is up. O(replicas).
    #[must_use]
    pub fn replicas(&self) -> Vec<(ReplicaId, bool)> {
        let control = self.control.lock();
        let known = control.replica.replicas();
        known.map(|(id, _, is_up)| (id.clone(), is_up)).collect()
    }

    /// Sends a short-lived sign, such as typing, to all peers, in mode `interest` to those that watch
    /// the topic; nothing is stored.
    ///
    /// # Errors
    /// [`SignalError`] when the topic, the key or the payload has more than 256 bytes.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        self.control.lock().replica.signal(signal)
    }

    /// Leaves the cluster: peers drop this replica's entries at once and refuse its identity from
    /// then on. Goodbye is said three times, 20 ms apart, because frames may be lost: send what
    /// [`poll_transmit`](Self::poll_transmit) has, and call [`handle_timeout`](Self::handle_timeout)
    /// when [`poll_goodbye`](Self::poll_goodbye) says so, until it says `None`; then stop.
    pub fn leave_gracefully(&self, now: Duration) {
        let control = &mut *self.control.lock();
        control.advance(now);
        self.observe(control);
        self.flush(control);
        control.replica.leave(now);
        control.replica.handle_timeout(now);
        self.run(control);
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has another Goodbye to send, after
    /// [`leave_gracefully`](Self::leave_gracefully); `None` once all are sent.
    #[must_use]
    pub fn poll_goodbye(&self) -> Option<Duration> {
        let control = self.control.lock();
        let has_left = control.replica.has_left();
        has_left.then(|| control.replica.poll_timeout()).flatten()
    }

    /// Sees the local operations since it last looked: the control plane is told, and they are
    /// flushed if their time has come.
    fn observe(&self, control: &mut Control) {
        self.settle_in_time(control);
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
        // What others changed before it comes before it.
        self.settle(control);
        control.note(diff);
    }

    /// Tells the control plane of local operations since it was last told.
    fn report_local(&self, control: &mut Control) {
        let mut marked = self.unreported.swap(0, Ordering::AcqRel);
        while marked != 0 {
            let number = marked.trailing_zeros() as u8;
            marked &= marked - 1;
            self.report(control, number);
        }
        let written = self.written.swap(0, Ordering::Relaxed);
        control.replica.report_written(written);
    }
}
