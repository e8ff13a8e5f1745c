//! `Pulls`: the questions to other replicas that are not answered yet.

use std::collections::{BTreeMap, BTreeSet};

use super::handle::Handle;
use super::message::Position;
use crate::fault::{Fault, is_broken};
use crate::replica::rng::Rng;

/// The most questions of one frame.
pub(super) const ITEMS_MAX: usize = 4_096;
/// The most replicas that are asked at a time.
const ASKED_MAX: usize = 256;
/// The longest pause after refused answers, in multiples of the longest usual one: while the origin
/// stands still, and when it has moved on.
const POSTPONE_MAX: u64 = 256;
const MOVING_POSTPONE_MAX: u64 = 16;

/// A question for one partition of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    /// Names the question in its answers; all tries have the same.
    pub(super) nonce: u32,
    /// True if the whole state is wanted.
    pub(super) is_full: bool,
    /// The position that is known to exist, beyond what is held.
    target: Option<(u64, u64)>,
    /// When to ask, again or for the first time.
    at: u64,
    /// The pause before the next try.
    pause: u64,
    /// When an answer was refused.
    refused: Option<u64>,
}

/// The reason for a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A position is known to exist: (life, clock).
    Behind(u64, u64),
    /// The content here is wrong.
    Diverged,
    /// Nothing is known, or the position held must be compared with the origin's.
    Unknown,
}

/// The relation of the reason of a refusal to that of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeated {
    /// It is the same: the content is refused, not what befell a frame.
    Equal,
    /// It breaks the same rule.
    Alike,
}

/// All open questions, by replica and partition.
#[derive(Debug, Clone)]
pub(super) struct Pulls {
    replicas: BTreeMap<Handle, Asked>,
    /// The replicas by the time of their next question, but for those that wait.
    queue: BTreeSet<(u64, Handle)>,
    /// Replicas that are down, or beyond the bound on those asked.
    waiting: BTreeSet<Handle>,
    /// The number of replicas that have been asked.
    active: usize,
    retry: u64,
    pause_max: u64,
}

#[derive(Debug, Clone)]
struct Asked {
    questions: BTreeMap<u16, Question>,
    /// When the first of them is due.
    next_at: u64,
    /// True once a frame was sent; it counts against the bound until nothing is open.
    is_active: bool,
}

impl Pulls {
    /// `retry` is the first pause between tries, `pause_max` the longest, in microseconds.
    pub(super) fn new(retry: u64, pause_max: u64) -> Self {
        Self {
            replicas: BTreeMap::new(),
            queue: BTreeSet::new(),
            waiting: BTreeSet::new(),
            active: 0,
            retry,
            pause_max: pause_max.max(retry),
        }
    }

    /// Opens a question, to be asked now, or adds a reason to the one that is open. O(log n).
    pub(super) fn open(
        &mut self,
        handle: Handle,
        partition: u16,
        reason: Reason,
        now: u64,
        rng: &mut Rng,
    ) {
        let asked = self.replicas.entry(handle).or_insert_with(|| Asked {
            questions: BTreeMap::new(),
            next_at: u64::MAX,
            is_active: false,
        });
        let mut is_new = false;
        let question = asked.questions.entry(partition).or_insert_with(|| {
            is_new = true;
            Question {
                nonce: draw(handle, partition, rng),
                is_full: false,
                target: None,
                at: now,
                pause: self.retry,
                refused: None,
            }
        });
        let mut at = is_new.then_some(now);
        match reason {
            Reason::Behind(life, clock) => {
                let target = Some((life, clock));
                if target > question.target
                    && let Some(refused) = question.refused
                {
                    // Other content may be taken.
                    let moved = refused + MOVING_POSTPONE_MAX * self.pause_max;
                    question.at = question.at.min(moved.max(now));
                    at = Some(question.at);
                }
                question.target = question.target.max(target);
            }
            Reason::Diverged => question.is_full = true,
            Reason::Unknown => {}
        }
        if let Some(at) = at {
            self.ask_at(handle, at);
        }
    }

    /// Has a replica asked at `at`, if it is not asked sooner.
    fn ask_at(&mut self, handle: Handle, at: u64) {
        let Some(asked) = self.replicas.get_mut(&handle) else {
            return;
        };
        if at < asked.next_at {
            self.queue.remove(&(asked.next_at, handle));
            asked.next_at = at;
            if !self.waiting.contains(&handle) {
                self.queue.insert((at, handle));
            }
        }
    }

    /// Returns the open question for a partition.
    pub(super) fn question(&self, handle: Handle, partition: u16) -> Option<&Question> {
        self.replicas.get(&handle)?.questions.get(&partition)
    }

    fn question_mut(&mut self, handle: Handle, partition: u16) -> Option<&mut Question> {
        let asked = self.replicas.get_mut(&handle)?;
        asked.questions.get_mut(&partition)
    }

    /// Returns the open question for a partition, if an answer has its nonce.
    pub(super) fn answered_by(
        &self,
        handle: Handle,
        partition: u16,
        nonce: u32,
    ) -> Option<Question> {
        let question = self.question(handle, partition)?;
        (question.nonce == nonce).then_some(*question)
    }

    pub(super) fn is_open(&self, handle: Handle, partition: u16) -> bool {
        self.question(handle, partition).is_some()
    }

    /// Returns whether a replica has any question to answer.
    pub(super) fn is_asked(&self, handle: Handle) -> bool {
        self.replicas.contains_key(&handle)
    }

    /// Returns the number of partitions for which a replica is asked.
    pub(super) fn open_len(&self, handle: Handle) -> usize {
        let asked = self.replicas.get(&handle);
        asked.map_or(0, |asked| asked.questions.len())
    }

    /// Returns the partitions for which a replica is asked.
    pub(super) fn partitions(&self, handle: Handle) -> Vec<u16> {
        let asked = self.replicas.get(&handle);
        asked.map_or_else(Vec::new, |asked| asked.questions.keys().copied().collect())
    }

    /// Makes a question another one, if it is open: answers to the one before no longer count.
    pub(super) fn redraw(&mut self, handle: Handle, partition: u16, now: u64, rng: &mut Rng) {
        let retry = self.retry;
        if let Some(question) = self.question_mut(handle, partition) {
            question.nonce = draw(handle, partition, rng);
            question.at = now;
            question.pause = retry;
            self.ask_at(handle, now);
        }
    }

    pub(super) fn close(&mut self, handle: Handle, partition: u16) {
        if let Some(asked) = self.replicas.get_mut(&handle) {
            asked.questions.remove(&partition);
            if asked.questions.is_empty() {
                self.drop_replica(handle);
            }
        }
    }

    /// Closes a question that was answered. If more is known to exist than the answer had, another
    /// one is asked, once.
    pub(super) fn answer(
        &mut self,
        handle: Handle,
        partition: u16,
        held: Option<Position>,
        now: u64,
        rng: &mut Rng,
    ) {
        let question = self.question(handle, partition);
        let target = question.and_then(|question| question.target);
        self.close(handle, partition);
        if target > held.map(|held| (held.life, held.clock)) {
            self.open(handle, partition, Reason::Unknown, now, rng);
        }
    }

    /// Lets a question rest whose answer is coming.
    pub(super) fn rest(&mut self, handle: Handle, partition: u16, until: u64) {
        if let Some(question) = self.question_mut(handle, partition) {
            question.at = question.at.max(until);
        }
    }

    /// Closes a question whose target is reached by what is held now. If answers to it were refused
    /// before, it no longer waits for long.
    pub(super) fn settle(&mut self, handle: Handle, partition: u16, held: Position, now: u64) {
        let is_reached = self.question(handle, partition).is_some_and(|question| {
            let target = question.target;
            !question.is_full && target.is_some_and(|target| target <= (held.life, held.clock))
        });
        if is_reached {
            self.close(handle, partition);
            return;
        }
        let retry = self.retry;
        let pause_max = self.pause_max;
        if let Some(question) = self.question_mut(handle, partition)
            && question.pause > pause_max
        {
            question.pause = retry;
            question.at = question.at.min(now + retry);
            self.ask_at(handle, now + retry);
        }
    }

    /// Lets a question wait whose answer was refused: for a moment if it is the first one, else
    /// longer with each try. Late copies of refused answers do not count.
    pub(super) fn postpone(
        &mut self,
        handle: Handle,
        partition: u16,
        now: u64,
        repeated: Option<Repeated>,
    ) {
        let (factor, pause_max) = match repeated {
            Some(Repeated::Equal) => (8, POSTPONE_MAX),
            Some(Repeated::Alike) => (2, MOVING_POSTPONE_MAX),
            None => (0, 1),
        };
        let pause_min = self.retry * 4;
        let pause_max = (self.pause_max * pause_max).max(pause_min);
        if let Some(question) = self.question_mut(handle, partition)
            && question.refused.is_none()
        {
            question.pause = (question.pause * factor).clamp(pause_min, pause_max);
            question.at = now + question.pause;
            question.refused = Some(now);
        }
    }

    /// Closes all questions to a replica.
    pub(super) fn drop_replica(&mut self, handle: Handle) {
        let Some(asked) = self.replicas.remove(&handle) else {
            return;
        };
        self.queue.remove(&(asked.next_at, handle));
        self.waiting.remove(&handle);
        if asked.is_active {
            self.active -= 1;
            // Others may be asked in its place.
            for handle in std::mem::take(&mut self.waiting) {
                self.resume(handle);
            }
        }
    }

    /// Notes that a replica is up again, so that it can be asked.
    pub(super) fn note_up(&mut self, handle: Handle) {
        if self.waiting.remove(&handle) {
            self.resume(handle);
        }
    }

    fn resume(&mut self, handle: Handle) {
        if let Some(asked) = self.replicas.get(&handle) {
            self.queue.insert((asked.next_at, handle));
        }
    }

    /// Returns the questions that are due, frame by frame: a replica and up to `items_max` of its
    /// partitions, at most [`ITEMS_MAX`]. Only replicas that are up are asked. O(questions of the replicas that are
    /// asked).
    pub(super) fn due(
        &mut self,
        now: u64,
        items_max: usize,
        is_up: impl Fn(Handle) -> bool,
    ) -> Vec<(Handle, Vec<(u16, Question)>)> {
        let mut frames = Vec::new();
        while let Some((at, handle)) = self.queue.first().copied().filter(|(at, _)| *at <= now) {
            self.queue.remove(&(at, handle));
            let Some(asked) = self.replicas.get_mut(&handle) else {
                continue;
            };
            if !is_up(handle) || !asked.is_active && self.active >= ASKED_MAX {
                self.waiting.insert(handle);
                continue;
            }
            let items = asked.take_due(now, items_max.min(ITEMS_MAX), self.pause_max);
            if !items.is_empty() {
                self.active += usize::from(!std::mem::replace(&mut asked.is_active, true));
                frames.push((handle, items));
            }
            self.queue.insert((asked.next_at, handle));
        }
        frames
    }

    /// Returns when a question is due next.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.queue.first().map(|(at, _)| *at)
    }
}

/// Draws the nonce of a new question.
fn draw(handle: Handle, partition: u16, rng: &mut Rng) -> u32 {
    let drawn = rng.next_u64() as u32;
    if is_broken(Fault::KeepNonce) {
        return handle.0 as u32 ^ u32::from(partition);
    }
    drawn
}

impl Asked {
    /// Takes the questions of one frame that are due, and sets their next tries.
    fn take_due(&mut self, now: u64, items_max: usize, pause_max: u64) -> Vec<(u16, Question)> {
        let mut items = Vec::new();
        self.next_at = u64::MAX;
        for (partition, question) in &mut self.questions {
            if question.at <= now && items.len() < items_max {
                items.push((*partition, *question));
                question.refused = None;
                question.at = if is_broken(Fault::PullOnce) {
                    u64::MAX
                } else {
                    now + question.pause
                };
                question.pause = (question.pause * 2).min(pause_max.max(question.pause));
            }
            self.next_at = self.next_at.min(question.at);
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Handle = Handle(1);

    fn pulls() -> (Pulls, Rng) {
        (Pulls::new(250, 1_000), Rng::new(7))
    }

    fn all_up(_: Handle) -> bool {
        true
    }

    fn nonces(frames: &[(Handle, Vec<(u16, Question)>)]) -> Vec<(u16, u32)> {
        let items = frames.iter().flat_map(|(_, items)| items);
        items
            .map(|(partition, question)| (*partition, question.nonce))
            .collect()
    }

    #[test]
    fn all_tries_of_a_question_have_one_nonce_and_growing_pauses() {
        let (mut pulls, mut rng) = pulls();
        pulls.open(A, 3, Reason::Unknown, 10, &mut rng);
        pulls.open(A, 5, Reason::Unknown, 10, &mut rng);
        let first = nonces(&pulls.due(10, ITEMS_MAX, all_up));
        assert_eq!(first.len(), 2);
        let mut now = 10;
        for pause in [250, 500, 1_000, 1_000] {
            assert!(pulls.due(now + pause - 1, ITEMS_MAX, all_up).is_empty());
            now += pause;
            assert_eq!(pulls.next_at(), Some(now));
            assert_eq!(nonces(&pulls.due(now, ITEMS_MAX, all_up)), first);
        }
        pulls.redraw(A, 3, now, &mut rng);
        let redrawn = nonces(&pulls.due(now, ITEMS_MAX, all_up));
        assert_eq!(redrawn.len(), 1);
        assert_ne!(redrawn[0].1, first[0].1);
        assert_eq!(pulls.answered_by(A, 3, first[0].1), None);
        assert!(pulls.answered_by(A, 3, redrawn[0].1).is_some());
    }

    #[test]
    fn a_question_closes_when_its_target_is_reached() {
        let (mut pulls, mut rng) = pulls();
        let held = |life, clock| Position {
            life,
            clock,
            fingerprint: 0,
        };
        pulls.open(A, 3, Reason::Behind(2, 7), 0, &mut rng);
        pulls.open(A, 3, Reason::Behind(2, 5), 0, &mut rng);
        pulls.settle(A, 3, held(2, 6), 0);
        pulls.settle(A, 3, held(1, 9), 0);
        assert!(pulls.is_open(A, 3));
        pulls.settle(A, 3, held(2, 7), 0);
        assert!(!pulls.is_asked(A));
        pulls.open(A, 3, Reason::Diverged, 0, &mut rng);
        pulls.open(A, 3, Reason::Behind(2, 5), 0, &mut rng);
        pulls.settle(A, 3, held(3, 9), 0);
        assert!(pulls.is_open(A, 3), "the whole state was asked for");
    }

    #[test]
    fn refused_answers_wait_longer_each_time_unless_the_origin_moves_on() {
        let (mut pulls, mut rng) = pulls();
        let mut now = 0;
        pulls.open(A, 3, Reason::Behind(1, 5), now, &mut rng);
        let equal = Some(Repeated::Equal);
        for (repeated, pause) in [(None, 1_000), (equal, 8_000), (equal, 64_000)] {
            assert_eq!(pulls.due(now, ITEMS_MAX, all_up).len(), 1);
            pulls.postpone(A, 3, now, repeated);
            assert!(pulls.due(now + pause - 1, ITEMS_MAX, all_up).is_empty());
            now += pause;
        }
        pulls.due(now, ITEMS_MAX, all_up);
        pulls.postpone(A, 3, now, equal);
        let next_at = pulls.next_at();
        pulls.postpone(A, 3, now + 1, equal);
        assert_eq!(pulls.next_at(), next_at, "a late copy changes nothing");
        pulls.open(A, 3, Reason::Behind(1, 5), now, &mut rng);
        assert!(
            pulls.due(now + 200_000, ITEMS_MAX, all_up).is_empty(),
            "it is known"
        );
        pulls.open(A, 3, Reason::Behind(1, 6), now + 200_000, &mut rng);
        assert_eq!(pulls.due(now + 200_000, ITEMS_MAX, all_up).len(), 1);
        pulls.open(A, 3, Reason::Behind(1, 7), now + 200_000, &mut rng);
        assert!(
            pulls.due(now + 200_001, ITEMS_MAX, all_up).is_empty(),
            "its answer is under way"
        );
    }

    #[test]
    fn replicas_that_are_down_and_those_beyond_the_bound_wait() {
        let (mut pulls, mut rng) = pulls();
        for handle in 0..300 {
            pulls.open(Handle(handle), 3, Reason::Unknown, 0, &mut rng);
        }
        let is_up = |handle: Handle| handle.0 > 0;
        let asked = pulls.due(0, ITEMS_MAX, is_up);
        assert_eq!((asked.len(), asked[0].0), (ASKED_MAX, Handle(1)));
        assert!(pulls.due(1, ITEMS_MAX, is_up).is_empty());
        pulls.close(Handle(1), 3);
        assert_eq!(pulls.next_at(), Some(0));
        assert_eq!(pulls.due(1, ITEMS_MAX, is_up)[0].0, Handle(257));
    }
}
