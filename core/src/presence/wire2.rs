//! `Wire2`: the next edition of the wire. Each shard has the trackers of a part of all partitions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;

use super::control;
use super::plane::{Plane, Shard};
use super::wire::{News, Wire};
use super::{Presence, PresenceConfig, Settings};
use crate::codec::DecodeError;
use crate::error::TrackError;
use crate::fault::{Fault, is_broken};
use crate::id::{EntryRef, ReplicaId};
use crate::replica::{Signal, Transmit};
use crate::tracker::{Diff, Key, LeaveReason, NewEntry, SessionName, Since, Tracker};
use crate::wire2::{Action, Answered, Config, Event, OpenError, Partitions, Replica};

/// The most locks of a presence.
const SHARDS_MAX: u32 = 32;
/// The number of looks at the age of leaves in the time for which they are remembered.
const LOOKS: u32 = 16;
/// The offset of the shape in a frame.
const SHAPE_AT: usize = 5;

/// The next edition of the wire.
#[derive(Debug)]
pub struct Wire2;

/// The control plane of wire 2, and the shards in which work waits.
#[derive(Debug, Clone)]
pub struct Wire2Plane {
    pub(super) replica: Replica,
    /// Shards with work in slices, each once.
    working: VecDeque<u8>,
    /// The time between two looks at the age of leaves, and when the next one is due.
    look_every: Duration,
    look_at: Duration,
}

type Control = control::Control<Wire2Plane>;

impl Wire2 {
    /// Makes an empty presence with settings of the wire of its own, behind as many locks as there
    /// may be, or fewer.
    pub(crate) fn configured(
        replica: ReplicaId,
        config: PresenceConfig,
        wire: Config,
        shards_max: u32,
    ) -> Presence<Self> {
        let settings = Settings::of(&config);
        let partitions = wire.shape.partitions();
        let shards = partitions.min(shards_max).min(SHARDS_MAX);
        let shard = Partitions::new(replica.clone(), wire.shape, config.limits)
            .slice_max(settings.slice_entries_max)
            .leaves_kept(wire.leaves_kept);
        let shard = if partitions == shards {
            shard.with_one_partition()
        } else {
            shard
        };
        let plane = Wire2Plane {
            working: VecDeque::new(),
            look_every: wire.leaves_kept / LOOKS,
            look_at: Duration::ZERO,
            replica: Replica::new(replica.clone(), wire, config.seed),
        };
        let shards = (0..shards).map(|_| shard.clone());
        Presence::assemble(replica, settings, plane, shards)
    }
}

/// Returns the settings of the wire that a presence was given.
fn wire_config(config: &PresenceConfig) -> Config {
    let replication = config.replication.clone();
    Config {
        cluster: replication.cluster,
        key: replication.key,
        heartbeat: replication.heartbeat,
        down_after: replication.down_after,
        forget_after: replication.forget_after,
        push_after: replication.push_after,
        push_bytes_max: replication.push_bytes_max,
        pull_timeout: replication.pull_timeout,
        peers_max: replication.peers_max,
        staging_bytes_max: replication.staging_bytes_max,
        reply_bytes_max: replication.reply_bytes_max,
        frame_max: replication.frame_max,
        grace: config.grace,
        ..Config::default()
    }
}

impl Wire for Wire2 {
    type Shard = Partitions;
    type Plane = Wire2Plane;
    type Event = Event;

    fn presence(replica: ReplicaId, config: PresenceConfig) -> Presence<Self> {
        let wire = wire_config(&config);
        Self::configured(replica, config, wire, SHARDS_MAX)
    }

    fn report(control: &mut Control, _: u8, shard: &RwLock<Partitions>) {
        for state in shard.write().take_unreported() {
            let replica = &mut control.plane.replica;
            replica.report_clock(control.now, state.partition, state.clock, state.entries);
        }
    }

    fn run(presence: &Presence<Self>, control: &mut Control) {
        while let Some(action) = control.plane.replica.poll_action() {
            if let Action::Reincarnate(id) = &action {
                presence.id.write().clone_from(id);
            }
            if let Some(partition) = action.partition() {
                let number = (usize::from(partition) % presence.shards.len()) as u8;
                presence.execute(control, number, action);
                continue;
            }
            for number in 0..presence.shards.len() as u8 {
                let was_working = control.plane.working.contains(&number);
                presence.execute(control, number, action.clone());
                // The first slice is done at once.
                if !was_working {
                    presence.work_in(control, number);
                }
                if matches!(action, Action::Hide(_)) && is_broken(Fault::HideOneShard) {
                    break;
                }
            }
        }
    }

    fn work(presence: &Presence<Self>, control: &mut Control) {
        if let Some(number) = control.plane.working.pop_front() {
            presence.work_in(control, number);
            Self::run(presence, control);
        }
    }

    fn tend(presence: &Presence<Self>, control: &mut Control) {
        let plane = &mut control.plane;
        if control.now >= plane.look_at {
            plane.look_at = control.now + plane.look_every;
            for shard in &presence.shards {
                shard.write().trim_leaves(control.now);
            }
        }
    }

    fn finish_visibility(presence: &Presence<Self>, control: &mut Control, topic: &str) {
        let number = presence.number_of(topic);
        let mut shard = presence.shard(topic).write();
        let watched = |topic: &str| control.watched.contains(topic);
        let answers = shard.finish_visibility(topic, &watched);
        let is_working = shard.has_work();
        drop(shard);
        control.plane.set_working(number, is_working);
        for answered in answers {
            settle(control, answered);
        }
        Self::run(presence, control);
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
    fn fork(_: &Presence<Self>, control: &mut Control) -> Wire2Plane {
        control.plane.clone()
    }
}

impl Presence<Wire2> {
    /// Has a shard do what the control plane asks for.
    fn execute(&self, control: &mut Control, number: u8, action: Action) {
        let watched = |topic: &str| control.watched.contains(topic);
        let mut shard = self.shards[usize::from(number)].write();
        let answered = shard.execute(action, &watched);
        let is_working = shard.has_work();
        drop(shard);
        control.plane.set_working(number, is_working);
        settle(control, answered);
    }

    /// Does one slice of the work in a shard.
    fn work_in(&self, control: &mut Control, number: u8) {
        let watched = |topic: &str| control.watched.contains(topic);
        let mut shard = self.shards[usize::from(number)].write();
        let answered = shard.work(&watched);
        let is_working = shard.has_work();
        drop(shard);
        control.plane.set_working(number, is_working);
        if let Some(answered) = answered {
            settle(control, answered);
        }
    }
}

/// Hands the answer to an action to the control plane, and its Diffs to the user.
fn settle(control: &mut Control, answered: Answered) {
    match answered {
        Answered::Push(pushed) => control.plane.replica.answer_push(pushed),
        Answered::Pull(served) => control.plane.replica.answer_pull(served),
        Answered::Applied(report, diffs) => {
            diffs.into_iter().for_each(|diff| control.note(diff));
            control.plane.replica.report_applied(&report);
        }
        Answered::Changed(diffs) => diffs.into_iter().for_each(|diff| control.note(diff)),
        Answered::Nothing => {}
    }
}

impl Wire2Plane {
    /// Notes whether work waits in a shard. A shard that has work keeps its turn.
    fn set_working(&mut self, number: u8, is_working: bool) {
        let place = self.working.iter().position(|other| *other == number);
        match place {
            None if is_working && is_broken(Fault::ForgetWork) => {}
            None if is_working => self.working.push_back(number),
            Some(place) if !is_working => drop(self.working.remove(place)),
            _ => {}
        }
    }
}

impl Plane for Wire2Plane {
    type Event = Event;

    fn handle_message(
        &mut self,
        now: Duration,
        from: &str,
        frame: &Bytes,
    ) -> Result<(), DecodeError> {
        let handled = self.replica.handle_message(now, &Arc::from(from), frame);
        handled.map_err(|error| match error {
            OpenError::Unsealed(error) | OpenError::Malformed(error) => error,
            OpenError::OtherShape(_) => {
                DecodeError::invalid(SHAPE_AT, "another number of partitions, or another mode")
            }
        })
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.replica.handle_timeout(now);
    }

    fn disconnected(&mut self, now: Duration, from: &str) {
        self.replica.disconnected(now, &Arc::from(from));
    }

    fn leave(&mut self, now: Duration) {
        self.replica.leave(now);
        self.replica.handle_timeout(now);
    }

    fn poll_goodbye(&self) -> Option<Duration> {
        let has_left = self.replica.has_left();
        has_left.then(|| self.replica.poll_timeout()).flatten()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.replica.poll_timeout()
    }

    fn is_working(&self) -> bool {
        !self.working.is_empty()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.replica.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.replica.poll_event()
    }

    fn tell_diffs_dropped(&mut self) {
        self.replica.tell_diffs_dropped();
    }

    fn is_synced(&self) -> bool {
        self.replica.is_synced()
    }

    fn replicas(&self) -> Vec<(ReplicaId, bool)> {
        let known = self.replica.replicas();
        known.map(|(id, _, is_up)| (id.clone(), is_up)).collect()
    }

    fn signal(&mut self, signal: Signal) -> Result<(), DecodeError> {
        self.replica.signal(signal)
    }

    fn report_written(&mut self, bytes: usize) {
        self.replica.report_written(bytes);
    }
}

impl Shard for Partitions {
    fn tracker(&self, topic: &str) -> &Tracker {
        self.tracker(topic)
    }

    fn trackers(&self) -> impl Iterator<Item = &Tracker> {
        self.trackers().map(|(_, tracker)| tracker)
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
        self.longest_leave_log()
    }

    fn limit_longest_leave_log(&mut self, len_max: usize) {
        self.limit_longest_leave_log(len_max);
    }
}

#[cfg(test)]
mod tests;
