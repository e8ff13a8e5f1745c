//! `LongReplies`: answers longer than a frame, kept while their askers draw them part by part.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::message::{Part, PullItem};
use super::output::{Address, Long, Parts, ServePart, ServedPart};
use crate::replica::rng::Rng;

/// The time for which a reply is kept after the last request, in microseconds.
const KEEP: u64 = 10_000_000;
/// The time after the last request from which on a reply makes room for others, in microseconds.
const IDLE: u64 = 1_000_000;
/// The most parts sent for one request.
pub(super) const CREDIT: u8 = 4;

/// Answers under way, by their numbers.
#[derive(Debug, Clone)]
pub(super) struct LongReplies {
    kept: BTreeMap<u32, Kept>,
    /// The bytes of the states that are captured, by partition and number: askers share them.
    captured: BTreeMap<Capture, usize>,
    /// The captures that nobody draws any more.
    ended: Vec<Capture>,
    bytes_max: usize,
}

/// A partition, and the number of a capture of its entries.
pub(super) type Capture = (u16, u64);

#[derive(Debug, Clone)]
struct Kept {
    to: Address,
    partition: u16,
    long: Long,
    until: u64,
}

/// A part of an answer.
#[derive(Debug)]
pub(super) enum PartOf {
    /// It is here.
    Encoded(u16, Part),
    /// It is to be encoded.
    Captured(ServePart),
}

impl Kept {
    fn capture(&self) -> Option<Capture> {
        let capture = self.long.parts.capture()?;
        Some((self.partition, capture))
    }

    /// The bytes that it has for itself.
    fn bytes(&self) -> usize {
        match &self.long.parts {
            Parts::Encoded(parts) => parts.iter().map(Bytes::len).sum(),
            Parts::Captured(_) => 0,
        }
    }

    fn part(&self, number: u32, index: u32, content: Bytes) -> Part {
        Part {
            life: self.long.life,
            base: self.long.base,
            to: self.long.to,
            nonce: self.long.nonce,
            reply: number,
            index,
            count: self.long.parts.count(),
            content,
        }
    }
}

impl LongReplies {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            kept: BTreeMap::new(),
            captured: BTreeMap::new(),
            ended: Vec::new(),
            bytes_max,
        }
    }

    /// Returns the bytes of all. O(answers).
    pub(super) fn bytes(&self) -> usize {
        let encoded = self.kept.values().map(Kept::bytes);
        encoded.chain(self.captured.values().copied()).sum()
    }

    /// Keeps an answer. Those that were not asked for lately make room for it. Returns its number;
    /// `None` if it does not fit: the asker asks again. O(answers).
    pub(super) fn keep(
        &mut self,
        to: Address,
        partition: u16,
        long: Long,
        now: u64,
        rng: &mut Rng,
    ) -> Option<u32> {
        let kept = Kept {
            to,
            partition,
            until: now + KEEP,
            long,
        };
        let bytes = match (&kept.long.parts, kept.capture()) {
            (Parts::Captured(_), Some(capture)) if self.captured.contains_key(&capture) => 0,
            (Parts::Captured(captured), _) => captured.bytes,
            (Parts::Encoded(_), _) => kept.bytes(),
        };
        let number = rng.next_u64() as u32;
        if !self.make_room(bytes, now) || self.kept.contains_key(&number) {
            return None;
        }
        if let Some(capture) = kept.capture() {
            self.captured.entry(capture).or_insert(bytes);
        }
        self.kept.insert(number, kept);
        Some(number)
    }

    /// Returns whether so many bytes more may be kept, after the idle answers that it takes are gone.
    fn make_room(&mut self, bytes: usize, now: u64) -> bool {
        loop {
            let others = self.bytes();
            if others == 0 || others.saturating_add(bytes) <= self.bytes_max {
                return true;
            }
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.until);
            let oldest = oldest.filter(|(_, kept)| now + KEEP >= kept.until + IDLE);
            let Some(number) = oldest.map(|(number, _)| *number) else {
                return false;
            };
            self.kept.remove(&number);
            self.note_ended();
        }
    }

    /// Returns whether an asker draws a capture.
    pub(super) fn is_drawn(&self, capture: Capture) -> bool {
        self.captured.contains_key(&capture)
    }

    /// Finds the answer that is kept for a question, if it still is one: of the current life.
    pub(super) fn find(&mut self, to: &Address, item: &PullItem, life: u64) -> Option<u32> {
        let is_answer = |kept: &Kept| {
            let long = &kept.long;
            let fits = match long.base {
                // The asker may have come further meanwhile, and still want all.
                0 => item.life != life || item.is_full && item.clock <= long.to,
                base => !item.is_full && item.life == life && (base..long.to).contains(&item.clock),
            };
            kept.to == *to
                && kept.partition == item.partition
                && long.nonce == item.nonce
                && long.life == life
                && fits
        };
        let mut kept = self.kept.iter();
        kept.find(|(_, kept)| is_answer(kept)).map(|(n, _)| *n)
    }

    /// Returns whether an answer is kept for an asker.
    pub(super) fn is_kept(&self, number: u32, to: &Address, partition: u16) -> bool {
        let kept = self.kept.get(&number);
        kept.is_some_and(|kept| kept.to == *to && kept.partition == partition)
    }

    /// Returns a part of an answer, which is kept on.
    pub(super) fn part(&mut self, number: u32, index: u32, now: u64) -> Option<PartOf> {
        let kept = self.kept.get_mut(&number)?;
        if index >= kept.long.parts.count() {
            return None;
        }
        kept.until = now + KEEP;
        let partition = kept.partition;
        Some(match &kept.long.parts {
            Parts::Encoded(parts) => {
                let content = parts[index as usize].clone();
                PartOf::Encoded(partition, kept.part(number, index, content))
            }
            Parts::Captured(captured) => PartOf::Captured(ServePart {
                partition,
                capture: captured.capture,
                reply: number,
                part: index,
            }),
        })
    }

    /// Returns a part that was encoded, with its asker; `None` if the answer is given up.
    pub(super) fn encoded(&mut self, served: ServedPart) -> Option<(Address, Part)> {
        let ServePart {
            partition,
            capture,
            reply,
            part,
        } = served.request;
        let capture = (partition, capture);
        let kept = self.kept.get(&reply);
        let kept = kept.filter(|kept| kept.capture() == Some(capture))?;
        let encoded = served.content.map(|content| {
            let part = kept.part(reply, part, content);
            (kept.to.clone(), part)
        });
        self.captured.insert(capture, served.bytes);
        // A single one may have more.
        let is_too_much = self.captured.len() > 1 && self.bytes() > self.bytes_max;
        if encoded.is_none() || is_too_much {
            self.kept.retain(|_, kept| kept.capture() != Some(capture));
        }
        encoded
    }

    /// Drops the answers that were not asked for lately.
    pub(super) fn expire(&mut self, now: u64) {
        self.kept.retain(|_, kept| now < kept.until);
    }

    /// Drops the answers about a partition.
    pub(super) fn drop_partition(&mut self, partition: u16) {
        self.kept.retain(|_, kept| kept.partition != partition);
    }

    /// Drops all: they are of an identity that was given up.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }

    /// Takes the captures that nobody draws any more. O(answers), or O(1) if there is no capture.
    pub(super) fn take_ended(&mut self) -> Vec<Capture> {
        self.note_ended();
        std::mem::take(&mut self.ended)
    }

    fn note_ended(&mut self) {
        if !self.captured.is_empty() {
            let drawn: BTreeSet<_> = self.kept.values().filter_map(Kept::capture).collect();
            let is_ended = |capture: &Capture, _: &mut usize| !drawn.contains(capture);
            let ended = self.captured.extract_if(.., is_ended);
            self.ended.extend(ended.map(|(capture, _)| capture));
        }
    }

    /// Returns when [`expire`](Self::expire) has something to do next.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.kept.values().map(|kept| kept.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::CapturedParts;
    use super::*;

    fn long(nonce: u32, base: u64) -> Long {
        Long {
            life: 3,
            base,
            to: 9,
            nonce,
            parts: Parts::Encoded(vec![vec![0; 40].into(), vec![1; 20].into()]),
        }
    }

    fn item(nonce: u32, clock: u64) -> PullItem {
        PullItem {
            partition: 5,
            life: 3,
            clock,
            is_full: false,
            nonce,
        }
    }

    #[test]
    fn an_answer_is_kept_until_it_is_no_longer_asked_for() {
        let mut replies = LongReplies::new(100);
        let mut rng = Rng::new(7);
        let asker: Address = "b".into();
        let number = replies.keep(asker.clone(), 5, long(1, 0), 0, &mut rng);
        let number = number.unwrap();
        let other = replies.keep("c".into(), 5, long(2, 0), 0, &mut rng);
        assert_eq!(other, None, "both take more than is kept");
        let Some(PartOf::Encoded(partition, part)) = replies.part(number, 1, 5) else {
            panic!("it is kept");
        };
        assert_eq!(
            (partition, part.index, part.count, part.content.len()),
            (5, 1, 2, 20)
        );
        assert!(replies.part(number, 2, 5).is_none());
        assert!(replies.is_kept(number, &asker, 5) && !replies.is_kept(number, &"c".into(), 5));
        assert_eq!(replies.next_at(), Some(5 + KEEP));
        replies.expire(4 + KEEP);
        assert!(replies.next_at().is_some());
        replies.expire(5 + KEEP);
        assert_eq!((replies.next_at(), replies.bytes()), (None, 0));
        assert!(
            replies
                .keep("c".into(), 5, long(2, 0), 0, &mut rng)
                .is_some()
        );
    }

    fn captured(nonce: u32, capture: u64, bytes: usize) -> Long {
        let parts = CapturedParts {
            capture,
            count: 3,
            longest: 40,
            bytes,
        };
        Long {
            parts: Parts::Captured(parts),
            ..long(nonce, 0)
        }
    }

    #[test]
    fn a_capture_is_counted_once_and_ends_with_its_last_asker() {
        let mut replies = LongReplies::new(100);
        let mut rng = Rng::new(7);
        let mut keep = |replies: &mut LongReplies, to: &str, long, now| {
            replies.keep(to.into(), 5, long, now, &mut rng)
        };
        let first = keep(&mut replies, "b", captured(1, 8, 60), 0).unwrap();
        let second = keep(&mut replies, "c", captured(2, 8, 60), 9).unwrap();
        assert_eq!(replies.bytes(), 60);
        assert_eq!(keep(&mut replies, "d", captured(3, 9, 60), IDLE + 8), None);
        assert!(replies.is_drawn((5, 8)) && !replies.is_drawn((5, 9)));
        let Some(PartOf::Captured(request)) = replies.part(second, 2, 10) else {
            panic!("it is captured");
        };
        assert!(replies.part(second, 3, 10).is_none());
        let serve = |request: &ServePart, content: Option<Bytes>, bytes| ServedPart {
            request: request.clone(),
            content,
            bytes,
        };
        let content = Bytes::from_static(b"part");
        let (to, part) = replies
            .encoded(serve(&request, Some(content), 900))
            .unwrap();
        assert_eq!((&*to, part.nonce, part.index, part.count), ("c", 2, 2, 3));
        assert_eq!(replies.bytes(), 900, "a single one may have more");
        replies.expire(KEEP);
        assert!(!replies.is_kept(first, &"b".into(), 5));
        assert_eq!(replies.take_ended(), [], "the other asker draws it");
        assert!(replies.encoded(serve(&request, None, 0)).is_none());
        assert_eq!(replies.take_ended(), [(5, 8)], "it was given up");
        assert_eq!((replies.bytes(), replies.take_ended()), (0, Vec::new()));
    }

    #[test]
    fn answers_that_nobody_draws_now_make_room_for_others() {
        let mut replies = LongReplies::new(100);
        let mut rng = Rng::new(7);
        let mut keep = |replies: &mut LongReplies, to: &str, long, now| {
            replies.keep(to.into(), 5, long, now, &mut rng)
        };
        let first = keep(&mut replies, "b", captured(1, 8, 60), 0).unwrap();
        let second = keep(&mut replies, "c", long(2, 4), 5);
        assert_eq!(second, None, "the first one is drawn");
        assert!(replies.part(first, 0, 10).is_some());
        assert_eq!(keep(&mut replies, "c", long(2, 4), IDLE + 9), None);
        assert!(keep(&mut replies, "c", long(2, 4), IDLE + 10).is_some());
        assert!(replies.part(first, 1, IDLE + 10).is_none());
        assert_eq!(replies.take_ended(), [(5, 8)]);
        assert_eq!(replies.bytes(), 60);
    }

    #[test]
    fn of_two_captures_the_one_that_grows_too_much_ends() {
        let mut replies = LongReplies::new(100);
        let mut rng = Rng::new(7);
        for (capture, to) in [(8, "b"), (9, "c")] {
            let kept = replies.keep(to.into(), 5, captured(1, capture, 40), 0, &mut rng);
            let Some(PartOf::Captured(request)) = replies.part(kept.unwrap(), 0, 0) else {
                panic!("it is captured");
            };
            let bytes = 10 + 30 * (capture as usize - 7);
            let content = Some(Bytes::from_static(b"part"));
            let served = ServedPart {
                request,
                content,
                bytes,
            };
            assert!(replies.encoded(served).is_some());
        }
        assert_eq!(replies.take_ended(), [(5, 9)]);
        assert_eq!(replies.bytes(), 40);
    }

    #[test]
    fn a_kept_answer_answers_the_question_again_only_while_it_fits() {
        let mut replies = LongReplies::new(1_000);
        let mut rng = Rng::new(7);
        let asker: Address = "b".into();
        let whole = replies.keep(asker.clone(), 5, long(1, 0), 0, &mut rng);
        let change = replies.keep(asker.clone(), 5, long(2, 4), 0, &mut rng);
        let cold = PullItem {
            life: 0,
            ..item(1, 0)
        };
        assert_eq!(replies.find(&asker, &cold, 3), whole);
        assert_eq!(replies.find(&asker, &cold, 4), None, "of another life");
        assert_eq!(replies.find(&"c".into(), &cold, 3), None);
        assert_eq!(
            replies.find(&asker, &item(1, 2), 3),
            None,
            "less is missing"
        );
        assert_eq!(replies.find(&asker, &item(2, 4), 3), change);
        assert_eq!(
            replies.find(&asker, &item(2, 3), 3),
            None,
            "it is before the base"
        );
        assert_eq!(
            replies.find(&asker, &item(2, 9), 3),
            None,
            "nothing is missing"
        );
        let full = PullItem {
            is_full: true,
            ..item(2, 4)
        };
        assert_eq!(replies.find(&asker, &full, 3), None);
        let all = |clock| PullItem {
            is_full: true,
            ..item(1, clock)
        };
        assert_eq!(replies.find(&asker, &all(9), 3), whole);
        assert_eq!(
            replies.find(&asker, &all(10), 3),
            None,
            "the asker is beyond it"
        );
        replies.drop_partition(5);
        assert_eq!(replies.find(&asker, &cold, 3), None);
    }
}
