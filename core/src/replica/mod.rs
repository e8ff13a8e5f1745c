//! The control plane of presence: which replicas are up, which operations each of them knows, and
//! which to ask for. One per process, without entries, without a clock, without I/O.
//!
//! Most programs use [`Presence`](crate::Presence), which holds a [`Replica`] and its trackers;
//! they need [`Config`], [`Event`], [`Signal`] and [`Transmit`] from here.
//!
//! Calls carry `now`, a monotonic time since any start; a replica takes a smaller one than before
//! as the last one. Inputs are [`handle_message`](Replica::handle_message),
//! [`handle_timeout`](Replica::handle_timeout) and the reports of the data plane
//! ([`local`](Replica::local), [`applied`](Replica::applied), ...). Outputs are polled:
//!
//! | call | for |
//! |---|---|
//! | [`poll_transmit`](Replica::poll_transmit) | the transport |
//! | [`poll_action`](Replica::poll_action) | the owner of the trackers |
//! | [`poll_event`](Replica::poll_event) | the user |
//! | [`poll_timeout`](Replica::poll_timeout) | the time of the next call |
//!
//! ```
//! use headcount::ReplicaId;
//! use headcount::replica::{Config, Event, Replica};
//! use std::time::Duration;
//!
//! let config = Config::default().down_after(Duration::from_secs(2));
//! let mut a = Replica::new(ReplicaId::new("a", 1, 1)?, config.clone(), 1);
//! let mut b = Replica::new(ReplicaId::new("b", 1, 2)?, config, 2);
//! a.handle_timeout(Duration::from_millis(1));
//! while let Some(transmit) = a.poll_transmit() {
//!     b.handle_message(Duration::from_millis(2), "a", &transmit.frame)?;
//! }
//! b.handle_timeout(Duration::from_secs(3)); // a is silent
//! let events = std::iter::from_fn(|| b.poll_event());
//! assert!(events.into_iter().any(|event| matches!(event, Event::ReplicaDown(id) if id.name() == "a")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod digest;
mod forget;
mod members;
pub(crate) mod message;
mod output;
mod own;
mod parts;
mod pull;
mod refusals;
mod restore;
pub(crate) mod rng;
pub(crate) mod row;
mod signals;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use config::Config;
pub use message::Signal;
pub use output::{Action, Address, Apply, Destination, Event, Outcome, Report, Serve, Transmit};

use crate::codec::{DecodeError, DecodeErrorKind, Envelope};
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;
use members::{Known, Marker, Peer};
use message::{Message, SLOTS};
use own::{Own, Voice};
use parts::{Reply, Staging};
use pull::Want;
use refusals::Refusals;
use rng::Rng;
use signals::Signals;

/// Internal times start here, so that subtracting an age never meets zero.
const EPOCH: u64 = 1 << 50;
/// Frames waiting for the transport; beyond it new ones are dropped, which the protocol mends.
const OUT_MAX: usize = 8192;
/// Events waiting for the user; beyond it the oldest go.
const EVENTS_MAX: usize = 8192;

/// One node's control plane. See the [module](self).
///
/// ```
/// use headcount::ReplicaId;
/// use headcount::replica::{Config, Replica};
/// use std::time::Duration;
///
/// let config = || Config::default();
/// let mut a = Replica::new(ReplicaId::new("a", 1, 1)?, config(), 1);
/// let mut b = Replica::new(ReplicaId::new("b", 1, 2)?, config(), 2);
/// a.handle_timeout(Duration::from_millis(1));
/// while let Some(transmit) = a.poll_transmit() {
///     b.handle_message(Duration::from_millis(2), "a", &transmit.frame)?;
/// }
/// assert!(b.replicas().any(|(id, up)| id.name() == "a" && up));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Replica {
    config: Config,
    timing: Timing,
    envelope: Envelope,
    rng: Rng,
    now: u64,
    own: Own,
    voice: Voice,
    known: BTreeMap<Arc<str>, Known>,
    markers: BTreeMap<Arc<str>, Marker>,
    peers: BTreeMap<Address, Peer>,
    wants: BTreeMap<(Arc<str>, u8), Want>,
    refusals: Refusals,
    staging: BTreeMap<(Arc<str>, u8), Staging>,
    staged_bytes: u64,
    replies: BTreeMap<u64, Reply>,
    reply_bytes: u64,
    signals: Signals,
    synced: bool,
    /// A lower bound of the next deadline that [`Replica::sweep`] looks after.
    sweep_at: u64,
    out: VecDeque<Transmit>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

/// The durations of [`Config`] in microseconds.
#[derive(Clone, Debug)]
struct Timing {
    beat: u64,
    down: u64,
    forget: u64,
    push: u64,
    jitter: u64,
    pull: u64,
}

impl Replica {
    /// Makes a replica that has heard of no other. `seed` feeds jitter and nonces and should be random.
    /// Its first Hello and Digest leave with the first [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn new(id: ReplicaId, mut config: Config, seed: u64) -> Self {
        config.frame_max = config.frame_max.clamp(1 << 10, 16 << 20);
        let us = |d: Duration| {
            u64::try_from(d.as_micros())
                .unwrap_or(EPOCH)
                .clamp(1, EPOCH / 8)
        };
        let timing = Timing {
            beat: us(config.heartbeat).max(1000),
            down: us(config.down_after),
            forget: us(config.forget_after),
            push: us(config.push_after),
            jitter: us(config.pull_jitter_max),
            pull: us(config.pull_timeout),
        };
        let mut rng = Rng::new(seed);
        let own = Own::new(id, 1 + rng.below(64));
        Self {
            envelope: Envelope::new(&config.cluster, config.key.clone()),
            config,
            timing,
            rng,
            now: EPOCH,
            own,
            voice: Voice::Speaking,
            known: BTreeMap::new(),
            markers: BTreeMap::new(),
            peers: BTreeMap::new(),
            wants: BTreeMap::new(),
            refusals: Refusals::default(),
            staging: BTreeMap::new(),
            staged_bytes: 0,
            replies: BTreeMap::new(),
            reply_bytes: 0,
            signals: Signals::default(),
            synced: false,
            sweep_at: u64::MAX,
            out: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes one frame from a neighbour.
    ///
    /// # Errors
    /// [`DecodeError`] when the frame is malformed, of another cluster or version, or not
    /// authentic; nothing has changed then.
    pub fn handle_message(
        &mut self,
        now: Duration,
        from: &str,
        frame: &Bytes,
    ) -> Result<(), DecodeError> {
        self.advance(now);
        let decoded = message::decode(&self.envelope, self.config.frame_max, frame);
        if let Err(DecodeError {
            kind: DecodeErrorKind::UnsupportedVersion { .. },
            ..
        }) = &decoded
            && (!message::is_refusal(frame) || is_broken(Fault::AnswerRefusal))
        {
            self.send(&Address::from(from), &message::REFUSAL);
        }
        let (sender, message) = decoded?;
        if self.voice == Voice::Left {
            return Ok(());
        }
        let from = self.address(from);
        self.rng
            .stir(self.now ^ xxhash_rust::xxh3::xxh3_64(from.as_bytes()));
        if let Message::Superseded { id, ago_ms } = message {
            self.superseded(&id, ago_ms);
        } else if self.admits_sender(&from, &sender, &message) {
            self.dispatch(&from, &sender, message);
        }
        Ok(())
    }

    /// Does what is due: beats, pushes, pulls, verdicts of down and forgotten.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
        if self.voice == Voice::Left {
            return;
        }
        if self.now >= self.sweep_at {
            self.sweep();
        }
        self.listen();
        if self.voice != Voice::Speaking {
            return;
        }
        if self.now >= self.own.beat_at {
            self.beat();
        }
        if self.own.push_at.is_some_and(|at| self.now >= at) {
            self.own.push_at = None;
            self.own.unpushed_bytes = 0;
            let due = std::mem::take(&mut self.own.unpushed);
            for slot in row::bits(due) {
                let since = self.own.pushed[slot];
                self.actions.push_back(Action::Push {
                    slot: slot as u8,
                    since,
                });
            }
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called next, on the scale
    /// of `now`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let mut at = self.sweep_at;
        match &self.voice {
            Voice::Left => return None,
            Voice::Speaking => {
                at = at
                    .min(self.own.beat_at)
                    .min(self.own.push_at.unwrap_or(u64::MAX));
            }
            Voice::Listening(rival) => at = at.min(self.quiet_until(rival)),
        }
        (at != u64::MAX).then(|| Duration::from_micros(at.saturating_sub(EPOCH)))
    }

    /// Returns the next frame to send.
    #[must_use = "it is handed out once"]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    /// Returns the next thing to do with the trackers.
    #[must_use = "it is handed out once"]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns the next event for the user.
    #[must_use = "it is handed out once"]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Reports the state of a local slot after operations on it; they are pushed to the peers after
    /// `push_after`. Nothing of a local origin may be sent before it was reported.
    pub fn local(&mut self, now: Duration, slot: u8, clock: u64, hash: u64) {
        self.advance(now);
        let Some(view) = self.own.slots.get_mut(usize::from(slot)) else {
            return;
        };
        if view.clock == clock && view.hash == hash {
            return;
        }
        (view.clock, view.hash) = (clock, hash);
        self.own.dirty |= 1 << slot;
        self.own.unpushed |= 1 << slot;
        let at = self.now + self.timing.push;
        self.own.push_at.get_or_insert(at);
    }

    /// Reports about how many bytes the operations of the last [`local`](Self::local) reports
    /// take. Once `push_bytes_max` wait, their push is due at once.
    pub fn wrote(&mut self, bytes: usize) {
        self.own.unpushed_bytes = self.own.unpushed_bytes.saturating_add(bytes);
        if self.own.unpushed_bytes >= self.config.push_bytes_max
            && let Some(at) = &mut self.own.push_at
        {
            *at = self.now.min(*at);
        }
    }

    /// Takes the answer to an [`Action::Push`]: the body of a Delta up to `to`, after the slot was
    /// reported at that op. With `None` the leave log no longer reaches back, and the next Digest
    /// shows the clock instead.
    pub fn push(&mut self, slot: u8, to: u64, frame: Option<Bytes>) {
        let index = usize::from(slot) % SLOTS;
        if std::mem::replace(&mut self.own.pushed[index], to) == to {
            return;
        }
        if to == self.own.slots[index].clock {
            self.own.unpushed &= !(1 << index);
        }
        let room = self.config.frame_max - message::OVERHEAD;
        match frame {
            Some(frame) if frame.len() <= room => self.broadcast(&Message::Delta { frame }),
            // Too large or not reachable: let peers pull what they lack, without waiting a beat.
            _ => {
                let soon = (self.own.beaten + self.timing.beat / 10).max(self.now);
                self.own.beat_at = self.own.beat_at.min(soon);
            }
        }
    }

    /// This node's identity, which changes when it finds a second self.
    #[must_use]
    pub fn id(&self) -> &ReplicaId {
        &self.own.id
    }

    /// Returns the other replicas known, and whether each is up. O(replicas).
    pub fn replicas(&self) -> impl Iterator<Item = (&ReplicaId, bool)> {
        self.known.values().map(|known| (&known.id, known.up))
    }

    /// Returns whether this node has caught up, at least once, with everything its known peers
    /// advertised.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Who is known, with the highest heartbeat heard and whether it is up.
    #[cfg(feature = "testing")]
    pub(crate) fn standings(&self) -> impl Iterator<Item = (&ReplicaId, u64, bool)> {
        self.known
            .values()
            .map(|known| (&known.id, known.heartbeat, known.up))
    }

    /// Whether it publishes: not after a Goodbye, nor while it listens to a rival of its name.
    #[cfg(feature = "testing")]
    pub(crate) fn is_speaking(&self) -> bool {
        self.voice == Voice::Speaking
    }

    /// Has the next call look after every deadline, whatever it takes for the next one. Gives what
    /// is held until its deadline.
    #[cfg(feature = "testing")]
    pub(crate) fn forget_deadline(&mut self) -> [usize; 6] {
        self.sweep_at = 0;
        self.holdings()
    }

    /// How much is held of what goes with time.
    #[cfg(feature = "testing")]
    pub(crate) fn holdings(&self) -> [usize; 6] {
        let known = self.known.len();
        let markers = self.markers.len();
        let peers = self.peers.len();
        let wants = self.wants.len();
        [
            known,
            markers,
            peers,
            wants,
            self.staging.len(),
            self.replies.len(),
        ]
    }

    fn dispatch(&mut self, from: &Address, sender: &ReplicaId, message: Message) {
        match message {
            Message::Hello { heartbeat, .. } => self.hello(from, sender, heartbeat),
            Message::Digest {
                seq,
                full,
                part,
                parts,
                rows,
            } => {
                self.digest(
                    from,
                    sender,
                    &digest::Heading {
                        seq,
                        full,
                        part,
                        parts,
                    },
                    &rows,
                );
            }
            Message::Delta { frame } => self.slot_frame(from, false, frame),
            Message::Repair { frame } => self.slot_frame(from, true, frame),
            Message::Pull(pull) => self.asked(from, pull),
            Message::Part(part) => self.part(from, part),
            Message::PullParts {
                reply,
                missing,
                credit,
                pull,
            } => {
                self.asked_parts(from, reply, &missing, credit, pull);
            }
            Message::Goodbye { heartbeat, .. } => self.goodbye(sender, heartbeat, 0),
            Message::Signal { seq, signal } => self.signalled(from, sender, seq, signal),
            Message::Unsupported { min, max } => {
                self.tell(Event::Unsupported {
                    from: from.clone(),
                    min,
                    max,
                });
            }
            Message::Superseded { .. } | Message::Unknown => {}
        }
    }

    fn advance(&mut self, now: Duration) {
        self.now = self.now.max(clock_us(now));
    }

    /// The stored form of an address, so that equal addresses share memory.
    fn address(&self, from: &str) -> Address {
        self.peers
            .get_key_value(from)
            .map_or_else(|| Address::from(from), |(a, _)| a.clone())
    }

    fn send(&mut self, to: &Address, message: &Message) {
        self.transmit(Destination::Peer(to.clone()), message);
    }

    fn broadcast(&mut self, message: &Message) {
        self.transmit(Destination::All, message);
    }

    fn transmit(&mut self, to: Destination, message: &Message) {
        if self.out.len() < OUT_MAX && self.voice == Voice::Speaking {
            let frame = message::encode(&self.envelope, &self.own.id, message);
            self.out.push_back(Transmit { to, frame });
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn due(&mut self, at: u64) {
        self.sweep_at = self.sweep_at.min(at);
    }
}

fn clock_us(now: Duration) -> u64 {
    u64::try_from(now.as_micros()).unwrap_or(EPOCH).min(EPOCH) + EPOCH
}
