//! `Talkers`: the messages of each user in the last one to two minutes. It locks itself.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use uuid::Uuid;

/// The length of a period. The present and the last one are counted.
const PERIOD: Duration = Duration::from_secs(60);
/// Users that are counted in a period; more are left out.
const USERS_MAX: usize = 10_000;

/// The counts of messages by user.
#[derive(Debug)]
pub(crate) struct Talkers(Mutex<Periods>);

#[derive(Debug)]
struct Periods {
    since: Instant,
    present: HashMap<Uuid, Talker>,
    last: HashMap<Uuid, Talker>,
}

/// A user, and the messages that it posted.
#[derive(Debug, Clone)]
pub(crate) struct Talker {
    pub(crate) name: Arc<str>,
    pub(crate) messages: u64,
}

impl Talkers {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Periods {
            since: now,
            present: HashMap::new(),
            last: HashMap::new(),
        }))
    }

    /// Counts a message.
    pub(crate) fn note(&self, user: Uuid, name: &Arc<str>, now: Instant) {
        let mut periods = self.0.lock();
        periods.turn(now);
        let is_full = periods.present.len() >= USERS_MAX;
        if is_full && !periods.present.contains_key(&user) {
            return;
        }
        let talker = periods.present.entry(user).or_insert_with(|| Talker {
            name: Arc::clone(name),
            messages: 0,
        });
        talker.messages += 1;
    }

    /// Returns the users with the most messages, at most `limit`. O(users counted).
    pub(crate) fn top(&self, limit: usize, now: Instant) -> Vec<(Uuid, Talker)> {
        let mut periods = self.0.lock();
        periods.turn(now);
        let mut all = periods.present.clone();
        for (user, talker) in &periods.last {
            all.entry(*user)
                .and_modify(|known| known.messages += talker.messages)
                .or_insert_with(|| talker.clone());
        }
        drop(periods);
        let mut top: Vec<_> = all.into_iter().collect();
        top.sort_unstable_by_key(|(user, talker)| (std::cmp::Reverse(talker.messages), *user));
        top.truncate(limit);
        top
    }
}

impl Periods {
    /// Begins a new period if the present one is over.
    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age < PERIOD {
            return;
        }
        self.last = std::mem::take(&mut self.present);
        if age >= 2 * PERIOD {
            self.last.clear();
        }
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_messages_of_two_periods_come_first_and_old_ones_are_forgotten() {
        let start = Instant::now();
        let talkers = Talkers::new(start);
        let names: Vec<Arc<str>> = ["ada", "bob", "cyd"].map(Into::into).to_vec();
        let note = |user: u128, times: usize, now: Instant| {
            let name = &names[usize::try_from(user).unwrap()];
            for _ in 0..times {
                talkers.note(Uuid::from_u128(user), name, now);
            }
        };
        let top = |now| -> Vec<(String, u64)> {
            let top = talkers.top(2, now).into_iter();
            top.map(|(_, talker)| (talker.name.to_string(), talker.messages))
                .collect()
        };
        let named = |name: &str, messages| (name.to_owned(), messages);
        note(0, 2, start);
        note(1, 3, start);
        note(2, 1, start);
        assert_eq!(top(start), [named("bob", 3), named("ada", 2)]);
        note(0, 2, start + PERIOD);
        assert_eq!(top(start + PERIOD), [named("ada", 4), named("bob", 3)]);
        assert_eq!(top(start + 2 * PERIOD), [named("ada", 2)]);
        assert_eq!(top(start + 9 * PERIOD), []);
    }
}
