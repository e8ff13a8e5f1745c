//! Rate limits: messages per user, sign-ins per address.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use crate::error::ApiError;

/// Messages that a user may send per window, over REST and socket together.
pub(crate) const MESSAGES_MAX: u32 = 10;
/// The length of the window.
pub(crate) const MESSAGE_WINDOW: Duration = Duration::from_secs(5);

/// A fixed window per user: `MESSAGES_MAX` messages, then none until the window ends.
#[derive(Debug, Default)]
pub(crate) struct MessageLimit {
    windows: Mutex<HashMap<Uuid, (Instant, u32)>>,
}

impl MessageLimit {
    /// Counts one message at `now`. Returns the number still allowed, or the time to wait as an error.
    pub(crate) fn check(&self, user: Uuid, now: Instant) -> Result<u32, Duration> {
        let mut windows = self.windows.lock();
        let (start, count) = windows.entry(user).or_insert((now, 0));
        if now.duration_since(*start) >= MESSAGE_WINDOW {
            (*start, *count) = (now, 0);
        }
        if *count == MESSAGES_MAX {
            return Err(MESSAGE_WINDOW - now.duration_since(*start));
        }
        *count += 1;
        Ok(MESSAGES_MAX - *count)
    }

    /// Forgets windows that have ended. O(users seen in the last window).
    pub(crate) fn prune(&self, now: Instant) {
        self.windows
            .lock()
            .retain(|_, (start, _)| now.duration_since(*start) < MESSAGE_WINDOW);
    }
}

/// Registrations, logins and guests per address, smoothed over a minute.
#[derive(Debug)]
pub(crate) struct AuthLimit(RwLock<Addresses>);

#[derive(Debug)]
struct Addresses {
    per_minute: u32,
    buckets: DefaultKeyedRateLimiter<IpAddr>,
}

impl Addresses {
    fn new(per_minute: u32) -> Self {
        let n = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        Self {
            per_minute,
            buckets: RateLimiter::keyed(Quota::per_minute(n)),
        }
    }
}

impl AuthLimit {
    pub(crate) fn per_minute(n: u32) -> Self {
        Self(RwLock::new(Addresses::new(n)))
    }

    /// Changes the rate. With another one, the counts of all addresses begin at zero.
    pub(crate) fn set_per_minute(&self, n: u32) {
        let mut addresses = self.0.write();
        if addresses.per_minute != n {
            *addresses = Addresses::new(n);
        }
    }

    pub(crate) fn check(&self, address: IpAddr) -> Result<(), ApiError> {
        let buckets = &self.0.read().buckets;
        buckets.check_key(&address).map_err(|not_until| {
            ApiError::rate_limited(not_until.wait_time_from(buckets.clock().now()))
        })
    }

    pub(crate) fn prune(&self) {
        self.0.read().buckets.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_fixed_and_per_user() {
        let limit = MessageLimit::default();
        let start = Instant::now();
        let ada = Uuid::from_u128(1);
        let bob = Uuid::from_u128(2);
        for left in (0..MESSAGES_MAX).rev() {
            assert_eq!(limit.check(ada, start), Ok(left));
        }
        let later = start + Duration::from_secs(2);
        assert_eq!(limit.check(ada, later), Err(Duration::from_secs(3)));
        assert_eq!(limit.check(bob, later), Ok(MESSAGES_MAX - 1));
        assert_eq!(
            limit.check(ada, start + MESSAGE_WINDOW),
            Ok(MESSAGES_MAX - 1)
        );
        limit.prune(start + 3 * MESSAGE_WINDOW);
        assert!(limit.windows.lock().is_empty());
    }
}
