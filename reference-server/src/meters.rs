//! `Meters`: token buckets per user for what clients push, and one for connections. They lock themselves.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _,
};
use parking_lot::RwLock;
use tokio::{
    sync::{Mutex, Semaphore},
    time::{sleep, timeout},
};
use uuid::Uuid;

/// The time that a connection waits to be admitted, and the number that may wait.
const ADMISSION_MAX: Duration = Duration::from_secs(5);
const WAITING_MAX: usize = 10_000;

/// A kind of push, or of request, with a rate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Typing,
    Status,
    Window,
    Find,
    /// A request of which other users are told.
    Change,
    Other,
}

impl Kind {
    /// Returns the name of the kind in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Typing => "typing",
            Self::Status => "status",
            Self::Window => "window",
            Self::Find => "find",
            Self::Change => "change",
            Self::Other => "other",
        }
    }

    /// Returns the kind of an event. To close a window costs nothing.
    pub(crate) fn of(event: &str) -> Self {
        match event {
            "typing" | "stop_typing" => Self::Typing,
            "set_status" => Self::Status,
            "member_list_open" | "member_list_move" | "member_list_resync"
            | "member_list_resume" => Self::Window,
            "member_list_find" | "member_list_search" => Self::Find,
            _ => Self::Other,
        }
    }
}

type Bucket = DefaultKeyedRateLimiter<Uuid>;

/// The rates of pushes and changes, by user: all connections of a user share them.
#[derive(Debug)]
pub(crate) struct PushMeters {
    typing: Bucket,
    status: Bucket,
    window: Bucket,
    find: Bucket,
    change: Bucket,
    other: Bucket,
}

impl PushMeters {
    pub(crate) fn new() -> Self {
        Self {
            typing: bucket(1, 5),
            status: bucket(1, 5),
            window: bucket(10, 40),
            find: bucket(5, 10),
            change: bucket(5, 150),
            other: bucket(50, 200),
        }
    }

    /// Charges a push. Returns the time to wait as an error.
    pub(crate) fn check(&self, kind: Kind, user: Uuid) -> Result<(), Duration> {
        let bucket = match kind {
            Kind::Typing => &self.typing,
            Kind::Status => &self.status,
            Kind::Window => &self.window,
            Kind::Find => &self.find,
            Kind::Change => &self.change,
            Kind::Other => &self.other,
        };
        let checked = bucket.check_key(&user);
        checked.map_err(|not_until| not_until.wait_time_from(bucket.clock().now()))
    }

    /// Forgets users whose buckets are full again.
    pub(crate) fn prune(&self) {
        for bucket in [
            &self.typing,
            &self.status,
            &self.window,
            &self.find,
            &self.change,
            &self.other,
        ] {
            bucket.retain_recent();
        }
    }
}

fn bucket(per_second: u32, burst: u32) -> Bucket {
    RateLimiter::keyed(quota(per_second, burst))
}

fn quota(per_second: u32, burst: u32) -> Quota {
    let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst))
}

/// The rate of connections and the delay of refusals, which may change while the server runs.
#[derive(Debug, Clone)]
struct Gate {
    per_second: u32,
    connects: Arc<DefaultDirectRateLimiter>,
    refusal_delay: Duration,
}

impl Gate {
    fn new(per_second: u32, refusal_delay: Duration) -> Self {
        Self {
            per_second,
            connects: Arc::new(RateLimiter::direct(quota(per_second, per_second))),
            refusal_delay,
        }
    }
}

/// The gate through which sockets and long-poll sessions come in.
#[derive(Debug)]
pub(crate) struct Admission {
    gate: RwLock<Gate>,
    waiting: Semaphore,
    /// Held by the one of those that wait who is admitted next. Of many that wait for the same moment, each would try
    /// again at each moment.
    turn: Mutex<()>,
    delayed: Semaphore,
}

impl Admission {
    pub(crate) fn new(connects_per_second: u32, refusal_delay: Duration) -> Self {
        Self {
            gate: RwLock::new(Gate::new(connects_per_second, refusal_delay)),
            waiting: Semaphore::new(WAITING_MAX),
            turn: Mutex::new(()),
            delayed: Semaphore::new(WAITING_MAX),
        }
    }

    /// Changes the rate and the delay. With another rate, its count begins at zero.
    pub(crate) fn set(&self, connects_per_second: u32, refusal_delay: Duration) {
        let mut gate = self.gate.write();
        if gate.per_second == connects_per_second {
            gate.refusal_delay = refusal_delay;
        } else {
            *gate = Gate::new(connects_per_second, refusal_delay);
        }
    }

    /// Waits for its turn, the first comer first. Returns false if there is none soon.
    pub(crate) async fn admit(&self) -> bool {
        let Ok(_place) = self.waiting.try_acquire() else {
            return false;
        };
        let admitted = async {
            let _turn = self.turn.lock().await;
            let connects = Arc::clone(&self.gate.read().connects);
            connects.until_ready().await;
        };
        timeout(ADMISSION_MAX, admitted).await.is_ok()
    }

    /// Waits before a refusal, so that a client that tries again at once does not do so often. With very many
    /// waiting it is refused at once.
    pub(crate) async fn delay_refusal(&self) {
        if let Ok(_place) = self.delayed.try_acquire() {
            let delay = self.gate.read().refusal_delay;
            sleep(delay).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::pin,
        sync::atomic::{AtomicU32, Ordering},
    };

    use parking_lot::Mutex;

    use super::*;

    /// It took a poll of every one that waits for each one that was admitted.
    #[tokio::test]
    async fn many_that_wait_are_admitted_in_turn_and_not_woken_for_each_other() {
        const RATE: u32 = 200;
        const COMERS: u32 = 3 * RATE;
        let admission = Arc::new(Admission::new(RATE, Duration::ZERO));
        let polls = Arc::new(AtomicU32::new(0));
        let order = Arc::new(Mutex::new(Vec::new()));
        let comers: Vec<_> = (0..COMERS)
            .map(|n| {
                let admission = Arc::clone(&admission);
                let polls = Arc::clone(&polls);
                let order = Arc::clone(&order);
                tokio::spawn(async move {
                    let mut admit = pin!(admission.admit());
                    let is_admitted = poll_fn(|cx| {
                        polls.fetch_add(1, Ordering::Relaxed);
                        admit.as_mut().poll(cx)
                    });
                    if is_admitted.await {
                        order.lock().push(n);
                    }
                })
            })
            .collect();
        for comer in comers {
            comer.await.unwrap();
        }
        let admitted: Vec<u32> = (0..COMERS).collect();
        assert_eq!(*order.lock(), admitted);
        let polls = polls.load(Ordering::Relaxed);
        assert!(polls <= 8 * COMERS, "{polls} polls");
    }
}
