//! Password hashing, off the async threads and few at a time.

use std::sync::Arc;

use tokio::sync::{Semaphore, TryAcquireError};

use crate::error::ApiError;

/// Hashes computed at once: each takes about 20 MiB and a core.
const AT_ONCE: usize = 2;
/// Requests that may wait for their turn; more are refused with a 503.
const WAITING_MAX: usize = 64;

/// Argon2 behind a bounded queue.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    queue: Arc<Semaphore>,
    workers: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            queue: Arc::new(Semaphore::new(WAITING_MAX)),
            workers: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    pub(crate) async fn hash(&self, password: String) -> Result<String, ApiError> {
        self.run(move || password_auth::generate_hash(password))
            .await
    }

    /// Returns whether `password` matches `hash`. Without a hash (no such user) the same work is done, so
    /// that its duration reveals nothing.
    pub(crate) async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        self.run(move || match hash {
            Some(hash) => password_auth::verify_password(password, &hash).is_ok(),
            None => {
                password_auth::generate_hash(password);
                false
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let _place = self.queue.try_acquire().map_err(|e| match e {
            TryAcquireError::NoPermits => ApiError::Unavailable("too many sign-ins at once"),
            TryAcquireError::Closed => ApiError::Unavailable("shutting down"),
        })?;
        let worker = Arc::clone(&self.workers)
            .acquire_owned()
            .await
            .map_err(|_| ApiError::Unavailable("shutting down"))?;
        tokio::task::spawn_blocking(move || {
            let _worker = worker;
            work()
        })
        .await
        .map_err(|e| ApiError::Internal(Box::new(e)))
    }
}
