//! The end of a client's token, and the pushes that were refused it.

use std::time::Duration;

use tokio::time::Instant;

use crate::{auth::TOKEN_LEEWAY_SECONDS, db};

/// A client is told of the end of its token this long before.
const WARNING: Duration = Duration::from_secs(60);
/// The longest time until the end of a token that is waited for.
const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// The refusals of a connection in a period after which it is closed.
const REFUSALS_MAX: u32 = 100;
const REFUSAL_PERIOD: Duration = Duration::from_secs(60);

/// The end of a token, by the clock of timers.
#[derive(Debug)]
pub(super) struct Expiry {
    end: Instant,
    is_announced: bool,
}

/// The work that is due at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// To tell the client that its token ends after this time.
    Warning(Duration),
    End,
}

impl Expiry {
    /// Returns the end of a token that expires at `expires_at`, in seconds since 1970.
    pub(super) fn new(expires_at: u64) -> Self {
        let now = u64::try_from(db::now_micros() / 1_000_000).unwrap_or_default();
        let end = expires_at.saturating_add(TOKEN_LEEWAY_SECONDS);
        let left = Duration::from_secs(end.saturating_sub(now));
        Self {
            end: Instant::now() + left.min(WAIT_MAX),
            is_announced: false,
        }
    }

    /// Returns the time at which something is due.
    pub(super) fn next(&self) -> Instant {
        if self.is_announced {
            self.end
        } else {
            self.end.checked_sub(WARNING).unwrap_or(self.end)
        }
    }

    /// Returns what is due at `now`; a warning once.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let left = self.end.saturating_duration_since(now);
        if left.is_zero() {
            Due::End
        } else if left <= WARNING && !self.is_announced {
            self.is_announced = true;
            Due::Warning(left)
        } else {
            Due::Nothing
        }
    }
}

/// The pushes of a connection that were over their rates in the present period.
#[derive(Debug)]
pub(super) struct Refusals {
    since: Instant,
    count: u32,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            count: 0,
        }
    }

    /// Counts one. Returns whether they are too many.
    pub(super) fn add(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= REFUSAL_PERIOD {
            self.since = now;
            self.count = 0;
        }
        self.count += 1;
        self.count >= REFUSALS_MAX
    }
}
