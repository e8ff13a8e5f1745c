//! `Throttle` and `AnswerBudget`: how often one replica is sent the same, and answered.

/// Things that are sent to one replica once a beat at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limited {
    Welcome,
    Heard,
    IndexPull,
    IndexAnswer,
    AskAnswer,
    BelowRow,
}

/// When each of the [`Limited`] was last sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Throttle([Option<u64>; 6]);

impl Throttle {
    /// Returns whether something may be sent now, and notes it.
    pub(super) fn allows(&mut self, what: Limited, now: u64, pause: u64) -> bool {
        let last = &mut self.0[what as usize];
        let is_due = last.is_none_or(|last| now >= last + pause);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// The questions of a replica that are answered within a beat, for each partition that this node
/// occupies: it asks once, and again when an answer is late or was overtaken.
const ANSWERS_MAX: u64 = 8;
/// The fewest partitions that count: a question may be about one that was vacated.
const PARTITIONS_MIN: u64 = 64;

/// The questions that one replica was answered since a beat began. A replica that asks without end
/// costs this node no more than its budget.
#[derive(Debug, Clone, Default)]
pub(super) struct AnswerBudget {
    since: u64,
    spent: u64,
}

impl AnswerBudget {
    /// Returns whether so many questions may be answered now, and notes them.
    pub(super) fn allows(&mut self, questions: u64, occupied: usize, now: u64, beat: u64) -> bool {
        if now >= self.since + beat {
            *self = Self {
                since: now,
                spent: 0,
            };
        }
        let spent = self.spent.saturating_add(questions);
        let max = ANSWERS_MAX * PARTITIONS_MIN.max(occupied as u64);
        let is_allowed = spent <= max;
        if is_allowed {
            self.spent = spent;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limited_messages_have_pauses_of_their_own() {
        let mut throttle = Throttle::default();
        assert!(throttle.allows(Limited::Heard, 0, 10));
        assert!(!throttle.allows(Limited::Heard, 9, 10));
        assert!(throttle.allows(Limited::IndexPull, 9, 10));
        assert!(throttle.allows(Limited::Heard, 10, 10));
    }

    #[test]
    fn each_occupied_partition_is_answered_a_few_times_a_beat() {
        let mut budget = AnswerBudget::default();
        for asked in 0..ANSWERS_MAX {
            assert!(budget.allows(4_096, 4_096, 105, 10), "{asked}");
        }
        assert!(!budget.allows(1, 4_096, 114, 10));
        assert!(budget.allows(512, 0, 115, 10), "a beat later");
        assert!(!budget.allows(1, 64, 124, 10));
        assert!(budget.allows(1, 65, 124, 10));
        assert!(!budget.allows(u64::MAX, 65_536, 125, 10));
        assert!(
            budget.allows(1, 0, 125, 10),
            "what is refused costs nothing"
        );
    }
}
