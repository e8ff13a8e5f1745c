//! `Replica`: one node's control plane. It routes what is heard to its parts, and holds no entries,
//! no clock, no I/O.

mod hearing;
mod holding;
mod parts;
mod passing;
mod serving;
mod watching;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::catch_up::CatchUp;
use super::config::{Config, EPOCH, Timing};
use super::events::Events;
use super::graces::Graces;
use super::handle::Handle;
use super::identity::OwnIdentity;
use super::long_replies::LongReplies;
use super::message::{self, List, Message, Sender};
use super::outbox::Outbox;
use super::output::{Action, Address, Destination, Event, GroupSubscription, PeerStats, Transmit};
use super::own_index::OwnIndex;
use super::own_partitions::OwnPartitions;
use super::peers::{Bounds, KnownReplica, Peers, Verdict};
use super::pulls::Pulls;
use super::refusals::{Cause, Peer, Refusals};
use super::relay::{self, Relay};
use super::replies::Replies;
use super::seen_frames::SeenFrames;
use super::signs::Signs;
use super::stagings::Stagings;
use super::throttle::Limited;
use super::watches::Watches;
use crate::codec::{Envelope, Mode, OpenError, WIRE_MAJOR};
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;
use crate::replica::rng::Rng;

pub(crate) use self::passing::{FrameReader, Received};

/// The most own frames remembered in one turn.
const OWN_FRAMES_MAX: usize = 8_192;

/// One node's control plane.
///
/// Calls carry `now`, a monotonic time since any start. Inputs are
/// [`handle_message`](Self::handle_message), [`handle_timeout`](Self::handle_timeout) and what the
/// entries report; outputs are polled.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    config: Config,
    timing: Timing,
    seal: Envelope,
    rng: Rng,
    now: u64,
    own: OwnIdentity,
    index: OwnIndex,
    /// The version of the index that others were told of, and the one that the last Beat told.
    told_version: u64,
    beat_version: u64,
    partitions: OwnPartitions,
    /// When the next Beat is due.
    beat_at: u64,
    /// True while a Beat waits for the pushes before it.
    beat_waits: bool,
    has_started: bool,
    peers: Peers,
    catch_up: CatchUp,
    watches: Watches,
    graces: Graces,
    signs: Signs,
    /// The number of the last own sign.
    sign_seq: u64,
    pulls: Pulls,
    /// Answers in parts from others.
    stagings: Stagings,
    replies: Replies,
    long_replies: LongReplies,
    /// A lower bound of the next deadline that [`sweep`](Self::sweep) looks after.
    sweep_at: u64,
    /// `None` if all nodes reach each other.
    relay: Option<Relay>,
    refusals: Refusals,
    out: Outbox,
    /// The frames sent lately, unless all come back in a partial mesh.
    own_frames: SeenFrames,
    subscriptions: VecDeque<GroupSubscription>,
    actions: VecDeque<Action>,
    events: Events,
}

impl Replica {
    /// Makes a replica that has heard of nobody. `seed` feeds nonces and heartbeats and should be
    /// random. It speaks first in [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn new(id: ReplicaId, mut config: Config, seed: u64) -> Self {
        config.frame_max = relay::room(config.frame_max, config.shape, config.relay);
        let timing = Timing::new(&config);
        let relay = config
            .relay
            .then(|| Relay::new(config.peers_max, timing.down));
        let mut rng = Rng::new(seed);
        let bounds = Bounds {
            shape: config.shape,
            down: timing.down,
            forget: timing.forget,
            peers_max: config.peers_max,
        };
        Self {
            seal: Envelope::new(&config.cluster, config.key.clone(), config.shape),
            own: OwnIdentity::new(id, 1 + rng.below(64)),
            index: OwnIndex::new(config.shape),
            told_version: 0,
            beat_version: 0,
            partitions: OwnPartitions::default(),
            beat_at: EPOCH,
            beat_waits: false,
            has_started: false,
            peers: Peers::new(bounds),
            catch_up: CatchUp::default(),
            watches: Watches::new(config.shape.mode() == Mode::All),
            graces: Graces::default(),
            signs: Signs::default(),
            sign_seq: 0,
            pulls: Pulls::new(timing.retry, timing.pull),
            stagings: Stagings::new(config.staging_bytes_max, timing.pull),
            replies: Replies::default(),
            long_replies: LongReplies::new(config.reply_bytes_max),
            sweep_at: u64::MAX,
            relay,
            refusals: Refusals::default(),
            out: Outbox::default(),
            own_frames: SeenFrames::new(OWN_FRAMES_MAX, timing.down),
            subscriptions: VecDeque::new(),
            actions: VecDeque::new(),
            events: Events::default(),
            now: EPOCH,
            config,
            timing,
            rng,
        }
    }

    /// Takes one frame from a neighbour, and what its [`FrameReader`] made of it.
    ///
    /// # Errors
    /// When the frame is not of this cluster, or malformed; nothing has changed then, but for an
    /// event about the address, at most once a minute.
    pub(crate) fn handle_message(
        &mut self,
        now: Duration,
        from: &Address,
        frame: &Bytes,
        received: Result<Received, OpenError>,
    ) -> Result<(), OpenError> {
        self.advance(now);
        if self.own.has_left() {
            return Ok(());
        }
        let heard = received.and_then(|received| self.receive(from, frame, received));
        let heard = heard.inspect_err(|error| self.report_unreadable(from, error))?;
        let Some((from, opened)) = heard else {
            return Ok(());
        };
        let from = &from;
        // Two clones of one process drift apart with what they hear.
        self.rng.stir(self.now ^ xxh3_64(from.as_bytes()));
        let handle = opened.sender.handle();
        let is_own = handle == self.own.handle();
        if is_own && self.own_frames.contains(frame) {
            // It was sent back: a second process would have others.
            self.report_second_self(from);
            return Ok(());
        }
        match opened.sender {
            Sender::Id(id) => self.hear_replica(from, &id, opened.message),
            Sender::Handle(_) if is_own => self.find_second_self(from),
            Sender::Handle(handle) => self.dispatch(from, handle, opened.message),
        }
        self.close_whole(handle);
        self.report_ready_after(handle);
        self.send_pulls();
        Ok(())
    }

    /// Does what is due: Beats, pushes, questions, verdicts of down and forgotten.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
        while self.own.take_goodbye(self.now) {
            let heartbeat = self.own.heartbeat();
            self.broadcast(&Message::Goodbye { heartbeat });
        }
        if self.own.has_left() {
            return;
        }
        let silent_until = self.own.silent_until(self.timing.down);
        if silent_until.is_some_and(|until| self.now >= until) {
            self.reincarnate();
        }
        if self.now >= self.sweep_at {
            self.sweep();
        }
        if self.own.is_speaking() {
            self.speak();
        }
        self.report_ready();
        self.send_pulls();
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let at = if self.own.has_left() {
            self.own.goodbye_at()
        } else {
            let is_speaking = self.own.is_speaking();
            let beat_at = (is_speaking && !self.beat_waits).then_some(self.beat_at);
            let push_at = self.partitions.push_at().filter(|_| is_speaking);
            let pull_at = self.pulls.next_at();
            let pull_at = pull_at.filter(|_| is_speaking && self.has_started);
            let silent_until = self.own.silent_until(self.timing.down);
            let sweep_at = (self.sweep_at < u64::MAX).then_some(self.sweep_at);
            let all = [beat_at, push_at, pull_at, silent_until, sweep_at];
            all.into_iter().flatten().min()
        };
        at.map(|at| Duration::from_micros(at.saturating_sub(EPOCH)))
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop()
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Tells users that Diffs were dropped.
    pub(crate) fn tell_diffs_dropped(&mut self) {
        self.emit(Event::DiffsDropped);
    }

    /// Returns whether it speaks: not after a Goodbye, nor while a rival of its name does.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn is_speaking(&self) -> bool {
        self.own.is_speaking()
    }

    /// Returns whether it has begun to leave.
    pub(crate) fn has_left(&self) -> bool {
        self.own.has_left()
    }

    /// Returns the index that others are told of.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn index(&self) -> &OwnIndex {
        &self.index
    }

    /// Returns whether this node has once caught up with all that it knew and that were up.
    pub(crate) fn is_synced(&self) -> bool {
        self.catch_up.is_over()
    }

    /// Returns the other replicas that are known, with their heartbeats, and whether they are up.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = (&ReplicaId, u64, bool)> {
        let known = self.peers.iter();
        known.map(|known| (known.id(), known.heartbeat(), known.is_up()))
    }

    /// Returns how far this node is behind each replica that it knows. O(replicas).
    pub(crate) fn peer_stats(&self) -> Vec<PeerStats> {
        let known = self.peers.iter();
        let stats = known.map(|known| PeerStats {
            id: known.id().clone(),
            is_up: known.is_up(),
            silence: Duration::from_micros(self.now.saturating_sub(known.heard())),
            partitions_behind: self.pulls.open_len(known.handle()),
        });
        stats.collect()
    }

    /// Returns the number of frames that were not polled.
    pub(crate) fn frames_waiting(&self) -> usize {
        self.out.len()
    }

    /// Returns the number of frames that were dropped because too many waited.
    pub(crate) fn frames_dropped(&self) -> u64 {
        self.out.dropped()
    }

    /// Returns the partitions that the index of a replica names; `None` while that is not current.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn index_of(&self, id: &ReplicaId) -> Option<Vec<u16>> {
        let known = self.peers.get(self.peers.find(id)?)?;
        known
            .index
            .is_current()
            .then(|| known.index.iter().collect())
    }

    /// Leaves the cluster for good: three Goodbyes, then silence.
    pub(crate) fn leave(&mut self, now: Duration) {
        self.advance(now);
        self.own.leave(self.now);
    }

    /// Takes the hint of the transport that a neighbour is gone: its replica counts as down until
    /// it is heard.
    pub(crate) fn disconnected(&mut self, now: Duration, from: &Address) {
        self.advance(now);
        let gone = self.peers.iter().filter(|known| known.address() == from);
        let gone: Vec<_> = gone.map(|known| known.handle()).collect();
        gone.into_iter().for_each(|handle| self.mark_down(handle));
    }

    fn dispatch(&mut self, from: &Address, handle: Handle, message: Message) {
        if self.peers.get(handle).is_none() {
            return;
        }
        match message {
            Message::Index { from, toggles } => self.take_toggles(handle, from, &toggles),
            Message::IndexFull { version, set } => self.take_index(handle, version, set),
            Message::Data(answer) => self.take_data(handle, answer),
            Message::Sign { partition, sign } if self.wants(partition) => {
                self.take_sign(handle, sign);
            }
            Message::Bundle(answers) => {
                for answer in answers.iter() {
                    self.take_data(handle, answer);
                }
            }
            Message::Rows { from, to, rows } => {
                if let Some(known) = self.peers.get_mut(handle) {
                    known.gap.rows(from, to);
                }
                for row in rows.iter() {
                    self.take_row(handle, row.partition, row.position);
                }
            }
            Message::Pull { origin, items } if origin == self.own.handle() => {
                self.answer_questions(from, handle, &items);
            }
            Message::PullParts {
                origin,
                item,
                reply,
                credit,
                missing,
            } if origin == self.own.handle() => {
                let wanted = missing.into_iter().take(usize::from(credit));
                self.answer_parts(from, handle, item, reply, wanted);
            }
            Message::IndexPull { origin, version } if origin == self.own.handle() => {
                self.answer_index_pull(from, handle, version);
            }
            Message::Ask { origin, since } if origin == self.own.handle() => {
                self.answer_ask(from, handle, since);
            }
            Message::Heard {
                origin,
                heartbeat,
                version,
            } if origin == self.own.handle() => self.take_warning(from, heartbeat, version),
            _ => {}
        }
    }

    fn advance(&mut self, now: Duration) {
        let micros = u64::try_from(now.as_micros()).unwrap_or(EPOCH);
        self.now = self.now.max(EPOCH + micros.min(EPOCH));
    }

    /// Has [`sweep`](Self::sweep) called at `at` at the latest.
    fn schedule(&mut self, at: u64) {
        self.sweep_at = self.sweep_at.min(at);
    }

    /// Looks after every deadline, and finds the next.
    fn sweep(&mut self) {
        for verdict in self.peers.sweep(self.now) {
            match verdict {
                Verdict::Down(handle) => self.mark_down(handle),
                Verdict::Forgotten(handle) => self.forget(handle),
            }
        }
        self.ask_for_rows();
        self.tend_parts();
        while let Some(id) = self.graces.take_over(self.now) {
            self.actions.push_back(Action::EndGrace(id));
        }
        self.vacate_empty();
        self.end_watches();
        self.tell_refusals();
        self.sweep_at = u64::MAX;
        let asks = self.peers.iter();
        let asks =
            asks.flat_map(|known| known.check.ask_at().into_iter().chain(known.gap.ask_at()));
        let vacate = self
            .partitions
            .empty_since()
            .map(|since| since + self.timing.vacate);
        // What waits for something else is looked after again a beat later.
        let again = self.now + self.timing.beat;
        let deadlines = asks.chain(self.peers.sweep_at()).chain(vacate);
        let parts = [self.long_replies.next_at(), self.stagings.next_at()];
        let parts = parts
            .into_iter()
            .chain([self.catch_up.next_at(self.now), self.graces.next_at()])
            .chain([self.watches.next_at(self.now), self.refusals.next_at()]);
        let deadlines = deadlines.chain(parts.flatten());
        let deadlines = deadlines.map(|at| if at <= self.now { again } else { at });
        if let Some(at) = deadlines.min() {
            self.schedule(at);
        }
    }

    /// Tells users once this node has caught up with the others. O(replicas), until it has.
    fn report_ready(&mut self) {
        self.report_topics();
        if self.catch_up.is_over() {
            return;
        }
        let handles: Vec<_> = self.peers.iter().map(KnownReplica::handle).collect();
        for handle in handles {
            self.check_caught_up(handle);
        }
        if let Some(missing) = self.catch_up.report(self.now) {
            let known = missing
                .into_iter()
                .filter_map(|handle| self.peers.get(handle));
            let missing = known.map(|known| known.id().clone()).collect();
            self.emit(Event::Ready { missing });
        }
    }

    /// Does so after news of one replica. Looks at the others only when something is to be told.
    fn report_ready_after(&mut self, handle: Handle) {
        self.check_caught_up(handle);
        if self.catch_up.is_due(self.now) {
            self.report_ready();
        } else {
            self.report_topics();
        }
    }

    /// Notes whether this node waits for a replica before it has caught up.
    fn check_caught_up(&mut self, handle: Handle) {
        let Some(known) = self.peers.get(handle) else {
            return;
        };
        let is_waited_for = known.is_up() || is_broken(Fault::ReadyWaitsForDead);
        let is_whole = if self.watches.is_all() {
            known.check.was_met() && !self.stagings.is_busy(handle)
        } else {
            known.gap.has_heard() && known.index.is_current()
        };
        if is_whole || !is_waited_for {
            self.catch_up.close(handle);
        } else if known.is_up() {
            self.catch_up.note(handle);
        }
    }

    /// Sends the questions that are due.
    fn send_pulls(&mut self) {
        // Before its Hello others do not know this node, and drop what it asks.
        if !self.own.is_speaking() || !self.has_started {
            return;
        }
        let peers = &self.peers;
        let items_max = self.per_frame();
        let due = self
            .pulls
            .due(self.now, items_max, |handle| peers.is_up(handle));
        for (handle, questions) in due {
            let Some(known) = self.peers.get(handle) else {
                continue;
            };
            let items = questions.into_iter();
            let items = items.map(|(partition, question)| known.question(partition, &question));
            let items = List::new(self.config.shape, items);
            let to = known.address().clone();
            let origin = handle;
            self.send(&to, &Message::Pull { origin, items });
        }
    }

    fn send(&mut self, to: &Address, message: &Message) {
        self.transmit(Destination::Peer(to.clone()), message);
    }

    /// Sends a message to a known replica, unless one of its kind was sent within the last beat, or this
    /// node has not said Hello.
    fn send_limited(&mut self, handle: Handle, limited: Limited, message: &Message) {
        let pause = self.timing.beat / 2;
        let now = self.now;
        if self.has_started
            && let Some(known) = self.peers.get_mut(handle)
            && known.throttle.allows(limited, now, pause)
        {
            let to = known.address().clone();
            self.send(&to, message);
        }
    }

    fn broadcast(&mut self, message: &Message) {
        self.transmit(Destination::All, message);
    }

    fn transmit(&mut self, to: Destination, message: &Message) {
        let frame = message::encode(&self.seal, self.own.id(), self.own.handle(), message);
        if let (Some(relay), Destination::Peer(name)) = (&self.relay, &to) {
            let wrapped = relay.wrap(&self.seal, name, frame);
            self.out_to(wrapped);
            return;
        }
        if self.relay.is_none() {
            self.own_frames.note(&frame, self.now);
        }
        self.out.push(Transmit { to, frame });
    }

    fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Notes that something was refused. Users are told at once of what is new, of the rest with a
    /// count once a minute.
    fn note_refusal(&mut self, cause: Cause, event: impl FnOnce() -> Event) {
        self.refusals.note(cause, self.now, event);
        self.tell_refusals();
        if let Some(at) = self.refusals.next_at() {
            self.schedule(at);
        }
    }

    fn tell_refusals(&mut self) {
        for event in self.refusals.take_due(self.now) {
            self.emit(event);
        }
    }

    fn report_unreadable(&mut self, from: &Address, error: &OpenError) {
        let ours = self.config.shape;
        let peer = Peer::Address(from.clone());
        let from = from.clone();
        match error {
            OpenError::OtherShape(theirs) => {
                self.note_refusal((peer, "shape"), || Event::ShapeMismatch {
                    from,
                    ours,
                    theirs: *theirs,
                    count: 0,
                });
            }
            OpenError::Unsealed(error) | OpenError::Malformed(error) => {
                self.note_refusal((peer, error.kind.rule()), || Event::Unreadable {
                    from,
                    what: error.to_string(),
                    count: 0,
                });
            }
        }
    }

    fn hello(&self) -> Message {
        Message::Hello {
            heartbeat: self.own.heartbeat(),
            wire_min: WIRE_MAJOR,
            wire_max: WIRE_MAJOR,
            options: 0,
        }
    }
}

#[cfg(test)]
mod tests;
