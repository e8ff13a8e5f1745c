//! `Revocations`: the tokens that were logged out before their end. It locks itself.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use uuid::Uuid;

use super::TOKEN_LEEWAY_SECONDS;

/// The revoked tokens that would still be valid, as they are stored.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    /// The ends of the tokens, in seconds since 1970.
    tokens: Mutex<HashMap<Uuid, u64>>,
    generation: AtomicU64,
}

impl Revocations {
    pub(crate) fn new(tokens: Vec<(Uuid, u64)>) -> Self {
        Self {
            tokens: Mutex::new(tokens.into_iter().collect()),
            generation: AtomicU64::default(),
        }
    }

    /// Adds a token.
    pub(crate) fn add(&self, token: Uuid, expires_at: u64) {
        self.tokens.lock().insert(token, expires_at);
        self.renew_generation();
    }

    /// Returns whether a token was revoked.
    pub(crate) fn contains(&self, token: Uuid) -> bool {
        self.tokens.lock().contains_key(&token)
    }

    /// Returns a number that grows with every revocation. What was checked at a lower one must be checked again.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Begins a new generation: tokens were revoked.
    pub(crate) fn renew_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets tokens that have expired by `now`, in seconds since 1970.
    pub(crate) fn prune(&self, now: u64) {
        let mut tokens = self.tokens.lock();
        tokens.retain(|_, expires_at| expires_at.saturating_add(TOKEN_LEEWAY_SECONDS) >= now);
    }
}
