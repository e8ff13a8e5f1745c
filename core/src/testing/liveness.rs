//! Who must be shown, and who must not: judged by the frames that reached a node and by the beats
//! that were really made, never by what the node thinks of either.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use super::check::Seen;
use super::incident::Incident;
use super::network::{Flight, kind};
use super::plan::BEAT_MS;
use super::world::{Node, PLACES, World};
use crate::codec::{Envelope, Kind};
use crate::id::ReplicaId;
use crate::replica::message::{self, Message};
use crate::replica::row::Rows;

/// What the frames that reached a node say of the liveness of others.
#[derive(Clone, Default)]
pub(super) struct Hearing {
    /// The latest time that a call told the node, by its own clock.
    told_ms: u64,
    lives: HashMap<ReplicaId, Life>,
    /// True if its process stands still.
    pub(super) is_frozen: bool,
    /// Frames that wait for a process that stands still.
    pub(super) inbox: Vec<Flight>,
}

/// What reached a node of one replica. The first two are times of the node's own clock.
#[derive(Clone, Copy, Default)]
struct Life {
    /// When a row last arrived that may count as hearing it.
    maybe_ms: Option<u64>,
    /// When a row last arrived that must count as hearing it; none after a hint that it is gone.
    sure_ms: Option<u64>,
    /// When its latest beat that reached the node was made, by the clock of the world.
    made_ms: Option<u64>,
}

/// One row of a Digest, or a Hello as a row.
struct Beat {
    id: ReplicaId,
    heartbeat: u64,
    age_ms: u64,
}

impl Hearing {
    /// A call tells the node the time.
    pub(super) fn advance(&mut self, now: Duration) {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.told_ms = self.told_ms.max(now_ms);
    }

    /// The transport said that a name is gone.
    pub(super) fn hint(&mut self, name: &str) {
        let lives = self.lives.iter_mut();
        let gone = lives.filter(|(id, _)| id.name() == name);
        gone.for_each(|(_, life)| life.sure_ms = None);
    }

    /// Returns whether a hidden replica should be shown: it was heard within `down_ms`.
    pub(super) fn must_show(&self, id: &ReplicaId, down_ms: u64) -> bool {
        let sure_ms = self.lives.get(id).and_then(|life| life.sure_ms);
        sure_ms.is_some_and(|sure_ms| self.told_ms < sure_ms + down_ms)
    }
}

impl Node {
    /// Takes note of what a frame says that is about to be handled.
    fn listen(&mut self, sender: &ReplicaId, beat: &Beat, down_ms: u64, made_ms: Option<u64>) {
        let is_current = |seen: &&Seen, id: &ReplicaId| seen.is_here && seen.id == *id;
        let sender = self
            .seen
            .get(sender.name())
            .filter(|s| is_current(s, sender));
        let known = self
            .seen
            .get(beat.id.name())
            .filter(|s| is_current(s, &beat.id));
        let is_higher = known.is_none_or(|seen| beat.heartbeat > seen.heartbeat);
        let told_ms = self.hearing.told_ms;
        let life = self.hearing.lives.entry(beat.id.clone()).or_default();
        life.made_ms = life.made_ms.max(made_ms);
        if is_higher && beat.age_ms < down_ms {
            life.maybe_ms = Some(told_ms);
            if sender.is_some() && known.is_some() {
                life.sure_ms = Some(told_ms);
            }
        }
    }
}

impl World<'_> {
    /// The rows of a frame that tell of beats, with its sender.
    fn beats_in(&self, frame: &Bytes) -> Option<(ReplicaId, Vec<Beat>)> {
        if ![Kind::HELLO, Kind::DIGEST].contains(&kind(frame)) {
            return None;
        }
        let envelope = Envelope::new(&self.plan.config().cluster, None);
        let (sender, message) = message::decode(&envelope, frame.len(), frame).ok()?;
        let beats = match message {
            Message::Hello { heartbeat, .. } => vec![Beat {
                id: sender.clone(),
                heartbeat,
                age_ms: 0,
            }],
            Message::Digest { rows, .. } => {
                let rows = Rows::new(&rows).flatten().filter(|row| !row.retired);
                let beat = |row: crate::replica::row::Row| Beat {
                    id: row.id,
                    heartbeat: row.heartbeat,
                    age_ms: u64::from(row.age_ms),
                };
                rows.map(beat).collect()
            }
            _ => return None,
        };
        Some((sender, beats))
    }

    /// A frame leaves its sender: the beats that it tells of the sender itself are made now.
    pub(super) fn made(&mut self, id: &ReplicaId, frame: &Bytes) {
        let Some((_, beats)) = self.beats_in(frame) else {
            return;
        };
        for beat in beats.into_iter().filter(|beat| beat.id == *id) {
            let made = self.beats.entry((beat.id, beat.heartbeat));
            made.or_insert(self.now_ms);
        }
    }

    /// A frame is about to be handled by a place.
    pub(super) fn listen(
        &mut self,
        place: usize,
        now: Duration,
        frame: &Bytes,
    ) -> Result<(), String> {
        let heard = self.beats_in(frame);
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        node.hearing.advance(now);
        let Some((sender, beats)) = heard else {
            return Ok(());
        };
        for beat in beats {
            if beat.id.name() == node.id.name() {
                continue;
            }
            let made_ms = self.beats.get(&(beat.id.clone(), beat.heartbeat)).copied();
            if made_ms.is_none() {
                let id = &beat.id;
                let heartbeat = beat.heartbeat;
                return Err(format!(
                    "{sender} tells of heartbeat {heartbeat} of {id}, never made"
                ));
            }
            node.listen(&sender, &beat, self.plan.down_ms, made_ms);
        }
        Ok(())
    }

    /// Checks a place that had its chance to look at its deadlines at `now`: it shows nobody whom
    /// it has not heard for `down_after`, nor anybody of whom nothing can have reached it for long.
    pub(super) fn check_silence(&self, place: usize, now: Duration) -> Result<(), String> {
        let Some(node) = &self.nodes[place] else {
            return Ok(());
        };
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let lives = &node.hearing.lives;
        // A call with an earlier time says nothing of the clock of the world.
        let is_back = now_ms < self.now_ms + node.ahead_ms;
        let truth_ms = self.ghost_ms + self.plan.down_ms;
        let mut wrong = None;
        node.presence.standings(|id, _, is_up| {
            let life = lives.get(id).copied().unwrap_or_default();
            let heard_ms = life.maybe_ms.unwrap_or(0);
            let made_ms = life.made_ms.unwrap_or(0);
            if is_up && now_ms >= heard_ms + self.plan.down_ms {
                wrong = Some(format!(
                    "shows {id} at {now_ms} ms, last heard at {heard_ms} ms"
                ));
            } else if is_up && !is_back && self.now_ms > made_ms + truth_ms {
                wrong = Some(format!(
                    "shows {id}, whose last beat to reach it is of {made_ms} ms"
                ));
            }
        });
        wrong.map_or(Ok(()), |what| Err(format!("{place} {what}")))
    }

    /// Checks that a place that asks for no call before later has nothing to do at `now`.
    pub(super) fn check_rest(&mut self, place: usize, now: Duration) -> Result<(), String> {
        let Some(node) = &self.nodes[place] else {
            return Ok(());
        };
        let overdue = node.presence.overdue(now);
        overdue.map_or(Ok(()), |what| {
            let next = node.presence.poll_timeout();
            Err(format!(
                "{place} asks for a call at {next:?}, yet at {now:?} {what}"
            ))
        })
    }

    /// A node is silent for longer than `down_after`, up to three times in a row, in one way or
    /// another; it may end with it.
    pub(super) fn silence(&mut self) -> Result<(), String> {
        let Some(place) = self.pick_alive() else {
            return Ok(());
        };
        let times = 1 + self.rng.below(3);
        for time in 1..=times {
            self.count(Incident::Silence);
            if time > 1 {
                self.count(Incident::SilentAgain);
            }
            match self.rng.below(5) {
                0 | 1 => self.freeze(place)?,
                2 => self.mute(place, true)?,
                3 => self.mute(place, false)?,
                _ if time < times => self.mute(place, true)?,
                _ => {
                    self.nodes[place] = None;
                    self.count(Incident::Crash);
                    self.note(|| format!("crash {place}"));
                    return self.beats(self.plan.down_ms / BEAT_MS + 2);
                }
            }
            let beats = 1 + self.rng.below(3);
            self.beats(beats)?;
        }
        Ok(())
    }

    /// Beats that all hear.
    fn beats(&mut self, count: u64) -> Result<(), String> {
        for _ in 0..count {
            self.pass(BEAT_MS)?;
            self.deliver_all()?;
        }
        Ok(())
    }

    /// A node is not heard, and perhaps does not hear either.
    fn mute(&mut self, place: usize, is_deaf: bool) -> Result<(), String> {
        let before = self.cut;
        for other in 0..PLACES {
            self.cut[place][other] = true;
            self.cut[other][place] |= is_deaf;
        }
        self.note(|| format!("{place} is not heard, deaf: {is_deaf}"));
        self.beats(self.plan.down_ms / BEAT_MS + 2)?;
        self.cut = before;
        self.note(|| format!("{place} is heard again"));
        Ok(())
    }

    /// A process stands still. When it goes on, it takes in first what has arrived meanwhile, and
    /// looks at its deadlines then, as every driver must.
    fn freeze(&mut self, place: usize) -> Result<(), String> {
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        node.hearing.is_frozen = true;
        self.count(Incident::Frozen);
        self.note(|| format!("{place} stands still"));
        let beats = self.plan.down_ms / BEAT_MS + 2;
        // What waits for it is older than it looks.
        self.ghost_ms += beats * BEAT_MS;
        self.beats(beats)?;
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        node.hearing.is_frozen = false;
        let inbox = std::mem::take(&mut node.hearing.inbox);
        self.note(|| format!("{place} goes on, {} frames wait", inbox.len()));
        for flight in inbox {
            self.hand_over(flight)?;
        }
        self.wake()
    }
}
