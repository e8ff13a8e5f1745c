//! `LongReplies`: answers longer than a frame, kept while their askers draw them part by part.

use std::collections::BTreeMap;

use super::message::{Part, PullItem};
use super::output::{Address, Long};
use crate::replica::rng::Rng;

/// The time for which a reply is kept after the last request, in microseconds.
const KEEP: u64 = 10_000_000;
/// The most parts sent for one request.
pub(super) const CREDIT: u8 = 4;

/// Encoded answers, by their numbers.
#[derive(Debug, Clone)]
pub(super) struct LongReplies {
    kept: BTreeMap<u32, Kept>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug, Clone)]
struct Kept {
    to: Address,
    partition: u16,
    long: Long,
    bytes: usize,
    until: u64,
}

impl LongReplies {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            kept: BTreeMap::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Keeps an answer. Returns its number; `None` if it does not fit beside those that are kept:
    /// the asker asks again.
    pub(super) fn keep(
        &mut self,
        to: Address,
        partition: u16,
        long: Long,
        now: u64,
        rng: &mut Rng,
    ) -> Option<u32> {
        let bytes = long.parts.iter().map(|part| part.len()).sum();
        if self.bytes > 0 && self.bytes.saturating_add(bytes) > self.bytes_max {
            return None;
        }
        let number = rng.next_u64() as u32;
        if self.kept.contains_key(&number) {
            return None;
        }
        self.bytes += bytes;
        let kept = Kept {
            to,
            partition,
            long,
            bytes,
            until: now + KEEP,
        };
        self.kept.insert(number, kept);
        Some(number)
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
    pub(super) fn part(&mut self, number: u32, index: u32, now: u64) -> Option<(u16, Part)> {
        let kept = self.kept.get_mut(&number)?;
        let content = kept.long.parts.get(index as usize)?.clone();
        kept.until = now + KEEP;
        let part = Part {
            life: kept.long.life,
            base: kept.long.base,
            to: kept.long.to,
            nonce: kept.long.nonce,
            reply: number,
            index,
            count: kept.long.parts.len() as u32,
            content,
        };
        Some((kept.partition, part))
    }

    /// Drops the answers that were not asked for lately.
    pub(super) fn expire(&mut self, now: u64) {
        self.retain(|kept| now < kept.until);
    }

    /// Drops the answers about a partition.
    pub(super) fn drop_partition(&mut self, partition: u16) {
        self.retain(|kept| kept.partition != partition);
    }

    /// Drops all: they are of an identity that was given up.
    pub(super) fn clear(&mut self) {
        self.retain(|_| false);
    }

    fn retain(&mut self, stays: impl Fn(&Kept) -> bool) {
        self.kept.retain(|_, kept| stays(kept));
        self.bytes = self.kept.values().map(|kept| kept.bytes).sum();
    }

    /// Returns when [`expire`](Self::expire) has something to do next.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.kept.values().map(|kept| kept.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(nonce: u32, base: u64) -> Long {
        Long {
            life: 3,
            base,
            to: 9,
            nonce,
            parts: vec![vec![0; 40].into(), vec![1; 20].into()],
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
        let (partition, part) = replies.part(number, 1, 5).unwrap();
        assert_eq!(
            (partition, part.index, part.count, part.content.len()),
            (5, 1, 2, 20)
        );
        assert_eq!(replies.part(number, 2, 5), None);
        assert!(replies.is_kept(number, &asker, 5) && !replies.is_kept(number, &"c".into(), 5));
        assert_eq!(replies.next_at(), Some(5 + KEEP));
        replies.expire(4 + KEEP);
        assert!(replies.next_at().is_some());
        replies.expire(5 + KEEP);
        assert_eq!((replies.next_at(), replies.bytes), (None, 0));
        assert!(
            replies
                .keep("c".into(), 5, long(2, 0), 0, &mut rng)
                .is_some()
        );
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
