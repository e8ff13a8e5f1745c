//! `Replies`: answers to the questions of others, put together until their frames are full.

use std::collections::BTreeMap;

use super::message::Answer;
use super::output::Address;

/// Answers under way, by the number of the frame of questions.
#[derive(Debug, Clone, Default)]
pub(super) struct Replies {
    open: BTreeMap<u64, Reply>,
    numbers: u64,
}

#[derive(Debug, Clone)]
struct Reply {
    to: Address,
    /// Answers still to come.
    missing: usize,
    answers: Vec<Answer>,
}

/// Answers to one asker that are complete.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) to: Address,
    pub(super) answers: Vec<Answer>,
}

impl Replies {
    /// Begins to answer a frame with some of the answers, while `missing` others are made. Returns
    /// its number.
    pub(super) fn begin(&mut self, to: Address, missing: usize, answers: Vec<Answer>) -> u64 {
        self.numbers += 1;
        let reply = Reply {
            to,
            missing,
            answers,
        };
        self.open.insert(self.numbers, reply);
        self.numbers
    }

    /// Returns the asker of a reply that is not complete.
    pub(super) fn asker(&self, number: u64) -> Option<&Address> {
        self.open.get(&number).map(|reply| &reply.to)
    }

    /// Notes that an answer does not come, or comes by itself.
    pub(super) fn skip(&mut self, number: u64) {
        if let Some(reply) = self.open.get_mut(&number) {
            reply.missing = reply.missing.saturating_sub(1);
        }
    }

    /// Adds an answer.
    pub(super) fn add(&mut self, number: u64, answer: Answer) {
        self.skip(number);
        if let Some(reply) = self.open.get_mut(&number) {
            reply.answers.push(answer);
        }
    }

    /// Takes a reply out if no answer is missing.
    pub(super) fn take_complete(&mut self, number: u64) -> Option<Complete> {
        let reply = self.open.get(&number)?;
        if reply.missing > 0 {
            return None;
        }
        let Reply { to, answers, .. } = self.open.remove(&number)?;
        Some(Complete { to, answers })
    }

    /// Drops all: the questions were for an identity that was given up.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::message::{Data, Position};

    #[test]
    fn a_reply_is_complete_with_its_last_answer() {
        let answer = |partition| Answer {
            partition,
            data: Data::Row(Position {
                life: 1,
                clock: 1,
                fingerprint: 0,
            }),
        };
        let mut replies = Replies::default();
        let number = replies.begin("a".into(), 2, vec![answer(0)]);
        assert!(replies.take_complete(number).is_none());
        replies.add(number, answer(1));
        replies.add(number, answer(2));
        let complete = replies.take_complete(number).unwrap();
        assert_eq!((&*complete.to, complete.answers.len()), ("a", 3));
        assert!(replies.take_complete(number).is_none());
        let number = replies.begin("a".into(), 1, Vec::new());
        replies.clear();
        replies.add(number, answer(1));
        assert!(replies.take_complete(number).is_none());
    }
}
