//! `Hearing`: which replicas a node must show, and which it must not. It is judged by the frames
//! that reached the node and by the beats that were really made, never by what the node believes of
//! either.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use super::network::kind;
use crate::codec::{Envelope, Kind};
use crate::id::ReplicaId;
use crate::presence::Presence;
use crate::replica::message::{self, Message};
use crate::replica::row::{Row, Rows};

/// The liveness of others by the frames that reached a node.
#[derive(Clone, Default)]
pub(super) struct Hearing {
    /// The latest time that a call gave the node, by its own clock.
    now_ms: u64,
    lives: HashMap<ReplicaId, Life>,
}

/// The beats of one replica that reached a node. The first two are times of the node's own clock.
#[derive(Clone, Copy, Default)]
struct Life {
    /// When a row last arrived that may count as hearing it.
    maybe_ms: Option<u64>,
    /// When a row last arrived that must count as hearing it; none after a hint that it is gone.
    sure_ms: Option<u64>,
    /// When its latest beat that reached the node was made, by the clock of the world.
    made_ms: Option<u64>,
}

/// A heartbeat of a replica, as a frame reports it: a row of a Digest, or a Hello.
pub(super) struct Beat {
    pub(super) id: ReplicaId,
    pub(super) heartbeat: u64,
    age_ms: u64,
}

/// The knowledge that the receiver of a [`Beat`] had before.
pub(super) struct Known {
    /// True if it knew the replica that sent the frame.
    pub(super) is_sender_known: bool,
    /// The last heartbeat that it knew of the replica.
    pub(super) heartbeat: Option<u64>,
}

/// The bounds of [`Hearing::check_silence`].
pub(super) struct Bounds {
    pub(super) down_ms: u64,
    /// The age, by the clock of the world, above which a beat keeps no replica shown.
    pub(super) beat_age_ms: u64,
    /// The clock of the world; `None` if the node was given an earlier time.
    pub(super) world_ms: Option<u64>,
}

impl Hearing {
    /// Notes that a call gives the node the time.
    pub(super) fn advance(&mut self, now: Duration) {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Notes that the transport reported that a name is gone.
    pub(super) fn hint(&mut self, name: &str) {
        let lives = self.lives.iter_mut();
        let gone = lives.filter(|(id, _)| id.name() == name);
        gone.for_each(|(_, life)| life.sure_ms = None);
    }

    /// Notes a beat that is about to reach the node. It was made at `made_ms`, by the clock of the
    /// world.
    pub(super) fn hear(&mut self, beat: Beat, known: &Known, down_ms: u64, made_ms: u64) {
        let is_higher = known.heartbeat.is_none_or(|known| beat.heartbeat > known);
        let life = self.lives.entry(beat.id).or_default();
        life.made_ms = life.made_ms.max(Some(made_ms));
        if is_higher && beat.age_ms < down_ms {
            life.maybe_ms = Some(self.now_ms);
            if known.is_sender_known && known.heartbeat.is_some() {
                life.sure_ms = Some(self.now_ms);
            }
        }
    }

    /// Returns whether a hidden replica should be shown: it was heard within `down_ms`.
    pub(super) fn must_show(&self, id: &ReplicaId, down_ms: u64) -> bool {
        let sure_ms = self.lives.get(id).and_then(|life| life.sure_ms);
        sure_ms.is_some_and(|sure_ms| self.now_ms < sure_ms + down_ms)
    }

    /// Checks a node that could look at its deadlines at `now`: it shows no replica that it has not
    /// heard for `down_after`, nor one of which nothing can have reached it for long.
    pub(super) fn check_silence(
        &self,
        presence: &Presence,
        now: Duration,
        bounds: &Bounds,
    ) -> Result<(), String> {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let mut wrong = None;
        presence.standings(|id, _, is_up| {
            let life = self.lives.get(id).copied().unwrap_or_default();
            let heard_ms = life.maybe_ms.unwrap_or(0);
            let made_ms = life.made_ms.unwrap_or(0);
            let is_too_old = |world_ms: u64| world_ms > made_ms + bounds.beat_age_ms;
            if is_up && now_ms >= heard_ms + bounds.down_ms {
                wrong = Some(format!(
                    "shows {id} at {now_ms} ms, last heard at {heard_ms} ms"
                ));
            } else if is_up && bounds.world_ms.is_some_and(is_too_old) {
                wrong = Some(format!(
                    "shows {id}, of which the last beat to arrive was made at {made_ms} ms"
                ));
            }
        });
        wrong.map_or(Ok(()), Err)
    }
}

/// Returns the sender of a frame and the beats that it reports, or `None` if it is of a kind that
/// reports none.
pub(super) fn beats_in(envelope: &Envelope, frame: &Bytes) -> Option<(ReplicaId, Vec<Beat>)> {
    if ![Kind::HELLO, Kind::DIGEST].contains(&kind(frame)) {
        return None;
    }
    let (sender, message) = message::decode(envelope, frame.len(), frame).ok()?;
    let beats = match message {
        Message::Hello { heartbeat, .. } => vec![Beat {
            id: sender.clone(),
            heartbeat,
            age_ms: 0,
        }],
        Message::Digest { rows, .. } => {
            let rows = Rows::new(&rows).flatten().filter(|row| !row.retired);
            let beat = |row: Row| Beat {
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
