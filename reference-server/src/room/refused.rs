//! `RefusedJoins`: the joins that were refused lately, so that the same again costs no query, and the delay of the
//! refusals: clients join again at once. It locks itself.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::sleep};
use tungstenite::Utf8Bytes;
use uuid::Uuid;

use crate::{auth::Identity, socket::Outbox};

/// The time for which a refusal is known.
const KNOWN: Duration = Duration::from_secs(5);
/// Refusals that are known, and those that may wait; more are answered at once.
const KNOWN_MAX: usize = 10_000;
const WAITING_MAX: usize = 10_000;

/// The reason for which a join is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinRefusal {
    NotFound,
    NotAMember,
    TooManyChannels,
    UnmatchedTopic,
    Crashed,
    /// The storage is in trouble, which has a reason of its own.
    Storage(&'static str),
}

impl JoinRefusal {
    /// Returns the reason as the client is told it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::NotAMember => "not a member",
            Self::TooManyChannels => "too many channels joined",
            Self::UnmatchedTopic => "unmatched topic",
            Self::Crashed => "join crashed",
            Self::Storage(reason) => reason,
        }
    }

    /// Returns the name of the reason in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::NotAMember => "not_a_member",
            Self::TooManyChannels => "too_many_channels",
            Self::UnmatchedTopic => "unmatched_topic",
            Self::Crashed => "crashed",
            Self::Storage(_) => "storage",
        }
    }
}

/// The refusals of the last seconds.
#[derive(Debug)]
pub(crate) struct RefusedJoins {
    known: Mutex<HashMap<(Uuid, Box<str>), Known>>,
    /// Grows when users become members and rooms change whom they admit: what was looked up before may be wrong.
    generation: AtomicU64,
    delay_ms: AtomicU64,
    waiting: Arc<Semaphore>,
}

/// The refusal of a user's join of a topic.
#[derive(Debug)]
struct Known {
    tenant: Arc<str>,
    refusal: JoinRefusal,
    until: Instant,
}

impl RefusedJoins {
    pub(crate) fn new(delay_ms: u64) -> Self {
        Self {
            known: Mutex::default(),
            generation: AtomicU64::default(),
            delay_ms: AtomicU64::new(delay_ms),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }

    /// Changes the delay of refusals.
    pub(crate) fn set_delay(&self, delay_ms: u64) {
        self.delay_ms.store(delay_ms, Ordering::Relaxed);
    }

    /// Returns the number with which a refusal that is looked up from now on can be noted.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the refusal of the same join a short while ago.
    pub(crate) fn find(&self, user: &Identity, topic: &str, now: Instant) -> Option<JoinRefusal> {
        let known = self.known.lock();
        let known = known.get(&(user.id, topic.into()))?;
        (now < known.until && known.tenant == user.tenant).then_some(known.refusal)
    }

    /// Notes a refusal that lasts, unless what it rests on has changed since `generation`. One that is known does not
    /// last longer for that.
    pub(crate) fn note(
        &self,
        user: &Identity,
        topic: &str,
        refusal: JoinRefusal,
        generation: u64,
        now: Instant,
    ) {
        if !matches!(refusal, JoinRefusal::NotFound | JoinRefusal::NotAMember) {
            return;
        }
        let mut known = self.known.lock();
        let key = (user.id, topic.into());
        let is_known = known.get(&key).is_some_and(|known| now < known.until);
        if is_known || generation != self.generation() {
            return;
        }
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| now < known.until);
        }
        if known.len() < KNOWN_MAX {
            let refused = Known {
                tenant: Arc::clone(&user.tenant),
                refusal,
                until: now + KNOWN,
            };
            known.insert(key, refused);
        }
    }

    /// Forgets the refusals of a user who became a member of a room.
    pub(crate) fn forget(&self, user: Uuid, room: Uuid) {
        let mut known = self.known.lock();
        self.generation.fetch_add(1, Ordering::AcqRel);
        for kind in ["room", "dm"] {
            known.remove(&(user, format!("{kind}:{room}").into()));
        }
    }

    /// Forgets all refusals: rooms may admit others now.
    pub(crate) fn forget_all(&self) {
        let mut known = self.known.lock();
        self.generation.fetch_add(1, Ordering::AcqRel);
        known.clear();
    }

    /// Sends the answer to a refused join after the delay; at once if very many wait.
    pub(crate) fn answer(&self, outbox: &Arc<Outbox>, frame: Utf8Bytes) {
        let delay = Duration::from_millis(self.delay_ms.load(Ordering::Relaxed));
        let place = Arc::clone(&self.waiting).try_acquire_owned();
        let Some(place) = place.ok().filter(|_| !delay.is_zero()) else {
            return outbox.push(frame);
        };
        let outbox = Arc::clone(outbox);
        tokio::spawn(async move {
            sleep(delay).await;
            drop(place);
            outbox.push(frame);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> Identity {
        Identity::new(Uuid::from_u128(1), "ada".into(), true, "default".into())
    }

    #[test]
    fn a_refusal_is_known_for_a_while_unless_the_user_became_a_member() {
        let refused = RefusedJoins::new(0);
        let room = Uuid::from_u128(7);
        let topic = format!("room:{room}");
        let start = Instant::now();
        let note = |refusal, generation| {
            refused.note(&user(), &topic, refusal, generation, start);
        };
        note(JoinRefusal::NotAMember, 0);
        let find = |topic: &str, now| refused.find(&user(), topic, now);
        assert_eq!(find(&topic, start), Some(JoinRefusal::NotAMember));
        assert_eq!(find("dm:1", start), None);
        assert_eq!(find(&topic, start + KNOWN), None);
        // The same join again prolonged it.
        let later = start + KNOWN / 2;
        refused.note(&user(), &topic, JoinRefusal::NotAMember, 0, later);
        assert_eq!(find(&topic, start + KNOWN), None);
        refused.forget(user().id, room);
        assert_eq!(find(&topic, start), None);
        // It was looked up before the user became a member.
        note(JoinRefusal::NotAMember, 0);
        assert_eq!(find(&topic, start), None);
        // A storage that is busy now may not be so later.
        note(JoinRefusal::Storage("storage busy"), refused.generation());
        assert_eq!(find(&topic, start), None);
    }

    #[test]
    fn the_refusals_that_are_known_are_bounded() {
        let refused = RefusedJoins::new(0);
        let start = Instant::now();
        let note = |n: usize, now| {
            let topic = format!("room:{n}");
            refused.note(&user(), &topic, JoinRefusal::NotFound, 0, now);
        };
        (0..=KNOWN_MAX).for_each(|n| note(n, start));
        assert_eq!(refused.known.lock().len(), KNOWN_MAX);
        note(0, start + KNOWN);
        assert_eq!(refused.known.lock().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_wait_for_the_delay() {
        let refused = RefusedJoins::new(5_000);
        let outbox = Arc::new(Outbox::default());
        let begun = tokio::time::Instant::now();
        refused.answer(&outbox, "no".into());
        assert_eq!(outbox.pop(), None);
        outbox.ready().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        refused.set_delay(0);
        assert!(outbox.pop().is_some());
        refused.answer(&outbox, "no".into());
        assert!(outbox.pop().is_some());
    }
}
