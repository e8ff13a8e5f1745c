//! `OwnIdentity`: this node's id and heartbeat, and whether it may speak: second selves, rivals,
//! leaving.

use super::handle::Handle;
use crate::id::{OP_MAX, ReplicaId};
use crate::replica::rng::Rng;

/// The number of Goodbyes, and the time between two of them in microseconds.
const GOODBYES: u8 = 3;
const GOODBYE_PAUSE: u64 = 20_000;
/// The longest time between two identities that are taken for second selves, in microseconds.
const RENEWAL_PAUSE_MAX: u64 = 60_000_000;

/// This node's identity.
#[derive(Debug, Clone)]
pub(super) struct OwnIdentity {
    id: ReplicaId,
    handle: Handle,
    heartbeat: u64,
    /// The number of the last Beat; it never starts again while the process lives.
    seq: u64,
    /// The greatest incarnation ever heard under this name.
    highest: u64,
    state: SpeakingState,
    /// When another identity may be taken for a second self, and the pause before that.
    renewal_at: u64,
    renewal_pause: u64,
}

/// The right of this node to speak.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SpeakingState {
    Speaking,
    /// A greater id of the same name was heard.
    Listening(Rival),
    /// Says Goodbye that many times more, the next time at `at`.
    Leaving {
        left: u8,
        at: u64,
    },
    Left,
}

/// A greater id of the own name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rival {
    id: ReplicaId,
    heartbeat: Option<u64>,
    /// The times that its heartbeat rose while this node listened.
    rises: u32,
    heard: u64,
    /// True once users were told.
    is_told: bool,
}

impl OwnIdentity {
    pub(super) fn new(id: ReplicaId, heartbeat: u64) -> Self {
        Self {
            handle: Handle::of(&id),
            highest: id.incarnation(),
            id,
            heartbeat,
            seq: 0,
            state: SpeakingState::Speaking,
            renewal_at: 0,
            renewal_pause: 0,
        }
    }

    pub(super) fn id(&self) -> &ReplicaId {
        &self.id
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle
    }

    pub(super) fn heartbeat(&self) -> u64 {
        self.heartbeat
    }

    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    pub(super) fn is_speaking(&self) -> bool {
        self.state == SpeakingState::Speaking
    }

    pub(super) fn has_left(&self) -> bool {
        matches!(
            self.state,
            SpeakingState::Leaving { .. } | SpeakingState::Left
        )
    }

    /// Makes the next heartbeat, by a step that two clones do not share for long, and counts a
    /// Beat.
    pub(super) fn beat(&mut self, rng: &mut Rng) {
        self.heartbeat += 1 + rng.below(64);
        self.seq += 1;
    }

    /// Notes an incarnation that was heard under this name.
    pub(super) fn note_incarnation(&mut self, incarnation: u64) {
        self.highest = self.highest.max(incarnation);
    }

    /// Notes that a greater id of this name was heard of at `heard`, and with which heartbeat if
    /// itself was heard. This node falls silent. Returns whether users are to be told that the name
    /// is used twice.
    pub(super) fn hear_rival(
        &mut self,
        id: &ReplicaId,
        heartbeat: Option<u64>,
        heard: u64,
    ) -> bool {
        self.note_incarnation(id.incarnation());
        match &mut self.state {
            SpeakingState::Leaving { .. } | SpeakingState::Left => false,
            SpeakingState::Listening(rival) if rival.id == *id => {
                let has_risen = heartbeat.is_some() && heartbeat > rival.heartbeat;
                rival.rises += u32::from(has_risen && rival.heartbeat.is_some());
                if has_risen || heartbeat.is_none() {
                    rival.heard = rival.heard.max(heard);
                }
                rival.heartbeat = rival.heartbeat.max(heartbeat);
                rival.rises >= 2 && !std::mem::replace(&mut rival.is_told, true)
            }
            SpeakingState::Listening(rival) if *id < rival.id => false,
            SpeakingState::Speaking | SpeakingState::Listening(_) => {
                self.state = SpeakingState::Listening(Rival {
                    id: id.clone(),
                    heartbeat,
                    rises: 0,
                    heard,
                    is_told: false,
                });
                false
            }
        }
    }

    /// Returns until when this node is silent unless its rival is heard again; `None` if it has
    /// none.
    pub(super) fn silent_until(&self, down_after: u64) -> Option<u64> {
        match &self.state {
            SpeakingState::Listening(rival) => Some(rival.heard + down_after),
            _ => None,
        }
    }

    /// Returns whether another identity may be taken for a second self: at once, then not within a beat,
    /// and not within twice the pause each time that it happens again. Begins the next pause.
    pub(super) fn begin_renewal(&mut self, now: u64, beat: u64) -> bool {
        if now < self.renewal_at {
            return false;
        }
        let is_over = now >= self.renewal_at + self.renewal_pause;
        let pause = if is_over {
            beat
        } else {
            2 * self.renewal_pause
        };
        self.renewal_pause = pause.min(RENEWAL_PAUSE_MAX.max(beat));
        self.renewal_at = now + self.renewal_pause;
        true
    }

    /// Takes a new identity, above every one heard under this name, and speaks. Returns the old
    /// one; `None` if there is no number left to take, which silences this node.
    pub(super) fn reincarnate(&mut self, rng: &mut Rng) -> Option<ReplicaId> {
        let step = 1 + rng.below(1 << 16);
        let incarnation = self.highest.max(self.id.incarnation()) + step;
        let salt = rng.next_u64() as u32;
        let Ok(new) = ReplicaId::new(self.id.name(), incarnation.min(OP_MAX), salt) else {
            self.state = SpeakingState::Left;
            return None;
        };
        self.highest = incarnation;
        self.handle = Handle::of(&new);
        self.state = SpeakingState::Speaking;
        Some(std::mem::replace(&mut self.id, new))
    }

    /// Begins to leave, with a last heartbeat above any sent. A node that does not speak falls
    /// silent at once.
    pub(super) fn leave(&mut self, now: u64) {
        if self.is_speaking() {
            self.heartbeat += 64;
            self.state = SpeakingState::Leaving {
                left: GOODBYES,
                at: now,
            };
        } else if !self.has_left() {
            self.state = SpeakingState::Left;
        }
    }

    /// Returns whether a Goodbye is to be sent now.
    pub(super) fn take_goodbye(&mut self, now: u64) -> bool {
        let SpeakingState::Leaving { left, at } = &mut self.state else {
            return false;
        };
        if now < *at {
            return false;
        }
        *left -= 1;
        *at = now + GOODBYE_PAUSE;
        if *left == 0 {
            self.state = SpeakingState::Left;
        }
        true
    }

    /// Returns when the next Goodbye is to be sent.
    pub(super) fn goodbye_at(&self) -> Option<u64> {
        match self.state {
            SpeakingState::Leaving { at, .. } => Some(at),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(incarnation: u64) -> ReplicaId {
        ReplicaId::new("a", incarnation, 0).unwrap()
    }

    #[test]
    fn a_node_listens_until_its_rival_is_silent_and_then_takes_an_id_above_it() {
        let mut own = OwnIdentity::new(id(5), 1);
        assert!(!own.hear_rival(&id(9), Some(3), 100));
        assert!(!own.is_speaking());
        assert_eq!(own.silent_until(50), Some(150));
        assert!(!own.hear_rival(&id(9), Some(4), 120));
        assert!(!own.hear_rival(&id(9), Some(4), 125), "it did not rise");
        assert!(own.hear_rival(&id(9), Some(5), 130));
        assert!(!own.hear_rival(&id(9), Some(6), 140), "users are told once");
        assert_eq!(own.silent_until(50), Some(190));
        let old = own.reincarnate(&mut Rng::new(1));
        assert_eq!(old, Some(id(5)));
        assert!(own.is_speaking() && *own.id() > id(9));
        assert_eq!(own.handle(), Handle::of(own.id()));
    }

    #[test]
    fn identities_are_taken_for_second_selves_with_growing_pauses_until_there_is_none() {
        const BEAT: u64 = 1_000_000;
        let mut own = OwnIdentity::new(id(5), 1);
        let start = 1 << 50;
        let mut renewals = |seconds: std::ops::Range<u64>| {
            let beats = seconds.filter(|s| own.begin_renewal(start + s * BEAT, BEAT));
            beats.collect::<Vec<_>>()
        };
        assert_eq!(renewals(0..200), [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        assert_eq!(renewals(303..306), [303, 304], "it was quiet for long");
    }

    #[test]
    fn three_goodbyes_are_said_with_pauses() {
        let mut own = OwnIdentity::new(id(5), 1);
        own.leave(100);
        assert_eq!(own.heartbeat(), 65);
        let mut said = Vec::new();
        while let Some(at) = own.goodbye_at() {
            assert!(!own.take_goodbye(at - 1));
            assert!(own.take_goodbye(at));
            said.push(at);
        }
        assert_eq!(said, [100, 20_100, 40_100]);
        assert!(own.has_left() && !own.take_goodbye(1 << 40));
        own.leave(1 << 41);
        assert_eq!(own.goodbye_at(), None);
    }

    #[test]
    fn a_name_without_free_numbers_falls_silent() {
        let mut own = OwnIdentity::new(id(5), 1);
        own.note_incarnation(OP_MAX - 1);
        assert_eq!(own.reincarnate(&mut Rng::new(1)), None);
        assert!(own.has_left());
    }
}
