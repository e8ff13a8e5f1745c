//! `Stagings`: answers in parts, of which not all have arrived or are loaded.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;

use super::handle::Handle;
use super::long_replies::CREDIT;
use super::message::Part;
use crate::fault::{Fault, is_broken};

/// The requests without an answer before a staged answer is given up.
const TRIES_MAX: u32 = 4;

/// An origin: a replica and a partition of it.
type Origin = (Handle, u16);

/// Answers under way, one for each question at most.
#[derive(Debug, Clone)]
pub(super) struct Stagings {
    open: BTreeMap<Origin, Staging>,
    /// Bytes that wait for the last part.
    bytes: usize,
    bytes_max: usize,
    /// The time after which missing parts are asked for again.
    patience: u64,
}

#[derive(Debug, Clone)]
struct Staging {
    /// The first part without its content: what all others repeat.
    head: Part,
    have: BTreeMap<u32, Bytes>,
    /// The parts that were handed on to be loaded, and those that are.
    taken: u32,
    loaded: u32,
    /// The parts that were asked for and are not here.
    asked: Vec<u32>,
    at: u64,
    tries: u32,
}

/// The use of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Staged {
    /// None now.
    Nothing,
    /// It begins another encoding of the answer: what was loaded of the one before must go.
    Restart,
    /// These parts of a whole state are next to be loaded, from that number on.
    Load(u32, Vec<Bytes>),
    /// The content of a change is complete.
    Complete(Bytes),
    /// More bytes would wait than may.
    TooMuch,
}

/// Missing parts to be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) reply: u32,
    pub(super) parts: Vec<u32>,
}

/// A staged answer whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Late {
    Ask(Origin, Missing),
    GiveUp(Origin),
}

impl Staging {
    /// Returns whether parts are loaded one by one, because nothing is held.
    fn is_load(&self) -> bool {
        self.head.base == 0
    }

    fn wanted(&self) -> Vec<u32> {
        let missing = (self.taken..self.head.count).filter(|index| !self.have.contains_key(index));
        missing.take(usize::from(CREDIT)).collect()
    }

    fn bytes(&self) -> usize {
        self.have.values().map(Bytes::len).sum()
    }
}

impl Stagings {
    pub(super) fn new(bytes_max: usize, patience: u64) -> Self {
        Self {
            open: BTreeMap::new(),
            bytes: 0,
            bytes_max,
            patience,
        }
    }

    /// Takes a part that answers an open question.
    pub(super) fn take(&mut self, origin: Origin, mut part: Part, now: u64) -> Staged {
        let index = part.index;
        let content = std::mem::take(&mut part.content);
        part.index = 0;
        if let Some(staging) = self.open.get(&origin)
            && staging.head != part
            && !is_broken(Fault::MixReplies)
        {
            // A question that arrives twice is answered twice. The later answer is taken only when
            // the first one falls silent: otherwise each would end the other one for ever.
            let is_other_question = staging.head.nonce != part.nonce;
            if staging.tries == 0 && !is_other_question {
                return Staged::Nothing;
            }
            return Staged::Restart;
        }
        let whole = content.len().saturating_mul(part.count as usize);
        let begins = !self.open.contains_key(&origin);
        let is_too_much = self.bytes.saturating_add(whole) > self.bytes_max;
        if begins && part.base > 0 && is_too_much && !is_broken(Fault::StageAnything) {
            return Staged::TooMuch;
        }
        let at = now + self.patience;
        let staging = self.open.entry(origin).or_insert_with(|| Staging {
            head: part,
            have: BTreeMap::new(),
            taken: 0,
            loaded: 0,
            asked: Vec::new(),
            at,
            tries: 0,
        });
        let window = if staging.is_load() {
            staging.taken..staging.taken + u32::from(CREDIT)
        } else {
            0..staging.head.count
        };
        if !window.contains(&index) {
            return Staged::Nothing;
        }
        staging.tries = 0;
        staging.at = at;
        staging.asked.retain(|asked| *asked != index);
        // Other parts may be longer than the first one was.
        let is_change = staging.head.base > 0;
        let is_too_much = self.bytes.saturating_add(content.len()) > self.bytes_max;
        if is_change && is_too_much && !is_broken(Fault::StageAnything) {
            self.drop(origin);
            return Staged::TooMuch;
        }
        // A part that comes again may have other bytes.
        if let Entry::Vacant(vacant) = staging.have.entry(index) {
            self.bytes += content.len();
            vacant.insert(content);
        }
        self.advance(origin)
    }

    fn advance(&mut self, origin: Origin) -> Staged {
        let Some(staging) = self.open.get_mut(&origin) else {
            return Staged::Nothing;
        };
        if !staging.is_load() {
            if staging.have.len() < staging.head.count as usize {
                return Staged::Nothing;
            }
            let content: Vec<u8> = staging.have.values().flatten().copied().collect();
            self.drop(origin);
            return Staged::Complete(content.into());
        }
        let first = staging.taken;
        let mut parts = Vec::new();
        while let Some(part) = staging.have.remove(&staging.taken) {
            self.bytes -= part.len();
            staging.taken += 1;
            parts.push(part);
        }
        if parts.is_empty() {
            Staged::Nothing
        } else {
            Staged::Load(first, parts)
        }
    }

    /// Notes that a part was loaded. Returns whether it was the last one.
    pub(super) fn note_loaded(&mut self, origin: Origin, nonce: u32, index: u32) -> bool {
        let Some(staging) = self.open.get_mut(&origin) else {
            return false;
        };
        if staging.head.nonce != nonce || !staging.is_load() {
            return false;
        }
        staging.loaded = staging.loaded.max(index + 1);
        staging.tries = 0;
        staging.loaded == staging.head.count
    }

    /// Returns the parts to be asked for next, once all that were asked for have arrived and are
    /// loaded.
    pub(super) fn next(&mut self, origin: Origin, now: u64) -> Option<Missing> {
        let staging = self.open.get_mut(&origin)?;
        let is_idle = staging.asked.is_empty() && staging.loaded == staging.taken;
        let parts = staging.wanted();
        if !is_idle || parts.is_empty() {
            return None;
        }
        staging.asked.clone_from(&parts);
        staging.at = now + self.patience;
        let reply = staging.head.reply;
        Some(Missing { reply, parts })
    }

    /// Returns the bytes of changes that wait for their last part.
    #[cfg(feature = "testing")]
    pub(super) fn change_bytes(&self) -> usize {
        let open = self.open.values();
        let changes = open.filter(|staging| !staging.is_load());
        changes.map(Staging::bytes).sum()
    }

    /// Returns whether an answer of a replica is under way.
    pub(super) fn is_busy(&self, handle: Handle) -> bool {
        let mut origins = self.open.range((handle, 0)..=(handle, u16::MAX));
        origins.next().is_some()
    }

    /// Gives an answer up. Returns whether parts of it were handed on to be loaded.
    pub(super) fn drop(&mut self, origin: Origin) -> bool {
        let Some(staging) = self.open.remove(&origin) else {
            return false;
        };
        self.bytes -= staging.bytes();
        staging.taken > 0
    }

    /// Gives up all answers of a replica.
    pub(super) fn drop_replica(&mut self, handle: Handle) {
        let origins = self.open.range((handle, 0)..=(handle, u16::MAX));
        let origins: Vec<_> = origins.map(|(origin, _)| *origin).collect();
        for origin in origins {
            self.drop(origin);
        }
    }

    /// Returns what is to be done about answers of which nothing was heard for long.
    pub(super) fn late(&mut self, now: u64) -> Vec<Late> {
        let mut late = Vec::new();
        for (origin, staging) in &mut self.open {
            if staging.at > now {
                continue;
            }
            staging.at = now + self.patience;
            let parts = staging.wanted();
            staging.tries += 1;
            if staging.tries > TRIES_MAX {
                late.push(Late::GiveUp(*origin));
            } else if staging.loaded == staging.taken && !parts.is_empty() {
                staging.asked.clone_from(&parts);
                let reply = staging.head.reply;
                late.push(Late::Ask(*origin, Missing { reply, parts }));
            }
        }
        late
    }

    /// Returns when [`late`](Self::late) has something to do next.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.open.values().map(|staging| staging.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = (Handle(7), 3);

    fn stagings() -> Stagings {
        Stagings::new(100, 50)
    }

    fn part(base: u64, reply: u32, index: u32, count: u32) -> Part {
        Part {
            life: 1,
            base,
            to: 9,
            nonce: 5,
            reply,
            index,
            count,
            content: vec![index as u8; 10].into(),
        }
    }

    fn bytes(index: u32) -> Bytes {
        vec![index as u8; 10].into()
    }

    #[test]
    fn a_part_that_comes_again_with_other_bytes_changes_nothing() {
        let mut stagings = stagings();
        let with = |index, len| Part {
            content: vec![7; len].into(),
            ..part(4, 1, index, 3)
        };
        for len in [10, 20, 0] {
            assert_eq!(stagings.take(ORIGIN, with(1, len), 0), Staged::Nothing);
            assert_eq!(stagings.bytes, 10);
        }
        stagings.drop(ORIGIN);
        assert_eq!(stagings.bytes, 0);
    }

    #[test]
    fn parts_of_a_whole_state_are_loaded_in_order_and_drawn_a_few_at_a_time() {
        let mut stagings = stagings();
        let first = stagings.take(ORIGIN, part(0, 1, 0, 7), 0);
        assert_eq!(first, Staged::Load(0, vec![bytes(0)]));
        assert_eq!(stagings.next(ORIGIN, 0), None, "it is being loaded");
        assert!(!stagings.note_loaded(ORIGIN, 5, 0));
        let missing = stagings.next(ORIGIN, 0).unwrap();
        assert_eq!((missing.reply, missing.parts), (1, vec![1, 2, 3, 4]));
        assert_eq!(stagings.take(ORIGIN, part(0, 1, 2, 7), 1), Staged::Nothing);
        assert_eq!(
            stagings.take(ORIGIN, part(0, 1, 6, 7), 1),
            Staged::Nothing,
            "too early"
        );
        let next = stagings.take(ORIGIN, part(0, 1, 1, 7), 1);
        assert_eq!(next, Staged::Load(1, vec![bytes(1), bytes(2)]));
        assert_eq!(
            stagings.take(ORIGIN, part(0, 1, 1, 7), 1),
            Staged::Nothing,
            "doubled"
        );
        for index in 3..7 {
            let load = stagings.take(ORIGIN, part(0, 1, index, 7), 2);
            assert_eq!(load, Staged::Load(index, vec![bytes(index)]));
        }
        assert!(!stagings.note_loaded(ORIGIN, 5, 5));
        assert!(!stagings.note_loaded(ORIGIN, 6, 6), "of another question");
        assert!(stagings.note_loaded(ORIGIN, 5, 6));
        assert!(stagings.drop(ORIGIN) && !stagings.is_busy(ORIGIN.0));
        assert_eq!(stagings.bytes, 0);
    }

    #[test]
    fn a_change_is_complete_with_its_last_part_and_bounded() {
        let mut stagings = stagings();
        assert_eq!(stagings.take(ORIGIN, part(4, 1, 1, 2), 0), Staged::Nothing);
        let content = [bytes(0), bytes(1)].concat();
        let complete = stagings.take(ORIGIN, part(4, 1, 0, 2), 0);
        assert_eq!(complete, Staged::Complete(content.into()));
        assert_eq!((stagings.bytes, stagings.is_busy(ORIGIN.0)), (0, false));
        assert_eq!(stagings.take(ORIGIN, part(4, 1, 0, 11), 0), Staged::TooMuch);
        assert!(!stagings.is_busy(ORIGIN.0));
    }

    #[cfg(feature = "testing")]
    #[test]
    fn the_bound_is_missed_where_it_is_broken() {
        let test = a_change_is_complete_with_its_last_part_and_bounded;
        let broken = || crate::fault::with(Some(Fault::StageAnything), test);
        assert!(std::panic::catch_unwind(broken).is_err());
    }

    #[test]
    fn another_encoding_is_taken_once_the_first_is_silent() {
        let mut stagings = stagings();
        stagings.take(ORIGIN, part(4, 1, 0, 3), 0);
        assert_eq!(stagings.take(ORIGIN, part(4, 2, 0, 3), 0), Staged::Nothing);
        assert_eq!(stagings.next_at(), Some(50));
        assert!(stagings.late(49).is_empty());
        let missing = Missing {
            reply: 1,
            parts: vec![1, 2],
        };
        assert_eq!(stagings.late(50), [Late::Ask(ORIGIN, missing)]);
        assert_eq!(stagings.take(ORIGIN, part(4, 2, 0, 3), 60), Staged::Restart);
        for try_ in 2..=TRIES_MAX {
            assert_eq!(stagings.late(u64::from(try_) * 50).len(), 1);
        }
        assert_eq!(stagings.late(1_000), [Late::GiveUp(ORIGIN)]);
        stagings.drop_replica(ORIGIN.0);
        assert_eq!((stagings.next_at(), stagings.bytes), (None, 0));
    }
}
