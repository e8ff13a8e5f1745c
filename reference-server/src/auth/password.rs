//! Password hashing, off the async threads and few at a time.

use std::sync::Arc;

use argon2::{
    Argon2, Block, Params, PasswordHash,
    password_hash::{Output, ParamsString, Salt, SaltString},
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, TryAcquireError};

use crate::error::ApiError;

/// Hashes computed at once: each takes 19 MiB, which are kept for the next ones, and a core.
const AT_ONCE: usize = 2;
/// Requests that may wait for their turn; more are refused with a 503.
const WAITING_MAX: usize = 64;
/// The random bytes of a salt.
const SALT_BYTES: usize = 16;

type HashError = argon2::password_hash::Error;

/// Argon2 behind a bounded queue.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    queue: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    memory: Arc<Memory>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            queue: Arc::new(Semaphore::new(WAITING_MAX)),
            workers: Arc::new(Semaphore::new(AT_ONCE)),
            memory: Arc::default(),
        }
    }

    pub(crate) async fn hash(&self, password: String) -> Result<String, ApiError> {
        let hashed = self.run(move |memory| memory.hash(&password)).await?;
        hashed.map_err(|error| ApiError::Internal(error.to_string().into()))
    }

    /// Returns whether `password` matches `hash`. Without a hash (no such user) the same work is done, so
    /// that its duration reveals nothing.
    pub(crate) async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        self.run(move |memory| match hash {
            Some(hash) => memory.verify(&password, &hash).unwrap_or(false),
            None => {
                let _ = memory.hash(&password);
                false
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Memory) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let _place = self.queue.try_acquire().map_err(|e| match e {
            TryAcquireError::NoPermits => ApiError::Unavailable("too many sign-ins at once"),
            TryAcquireError::Closed => ApiError::Unavailable("shutting down"),
        })?;
        let worker = Arc::clone(&self.workers)
            .acquire_owned()
            .await
            .map_err(|_| ApiError::Unavailable("shutting down"))?;
        let memory = Arc::clone(&self.memory);
        tokio::task::spawn_blocking(move || {
            let _worker = worker;
            work(&memory)
        })
        .await
        .map_err(|e| ApiError::Internal(Box::new(e)))
    }
}

/// The memory of the hashes that were computed, for the next ones. What a thread frees, the allocator would keep for
/// that thread alone.
#[derive(Debug, Default)]
struct Memory {
    /// As many as were ever needed at once, all zero.
    spare: Mutex<Vec<Vec<Block>>>,
}

impl Memory {
    fn hash(&self, password: &str) -> Result<String, HashError> {
        let mut bytes = [0_u8; SALT_BYTES];
        getrandom::fill(&mut bytes).map_err(|_| HashError::Crypto)?;
        let salt = SaltString::encode_b64(&bytes)?;
        let argon2 = Argon2::default();
        let output = self.compute(&argon2, password, salt.as_salt())?;
        let hash = PasswordHash {
            algorithm: argon2::ARGON2ID_IDENT,
            version: Some(argon2::Version::default().into()),
            params: ParamsString::try_from(argon2.params())?,
            salt: Some(salt.as_salt()),
            hash: Some(output),
        };
        Ok(hash.to_string())
    }

    /// Computes what `hash` has with its own parameters, and compares it in constant time.
    fn verify(&self, password: &str, hash: &str) -> Result<bool, HashError> {
        let hash = PasswordHash::new(hash)?;
        let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else {
            return Ok(false);
        };
        let version = hash.version.map(argon2::Version::try_from).transpose()?;
        let argon2 = Argon2::new(
            hash.algorithm.try_into()?,
            version.unwrap_or_default(),
            Params::try_from(&hash)?,
        );
        Ok(self.compute(&argon2, password, salt)? == expected)
    }

    fn compute(
        &self,
        argon2: &Argon2<'_>,
        password: &str,
        salt: Salt<'_>,
    ) -> Result<Output, HashError> {
        let mut salt_bytes = [0_u8; Salt::MAX_LENGTH];
        let salt = salt.decode_b64(&mut salt_bytes)?;
        let params = argon2.params();
        let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let mut blocks = self.spare.lock().pop().unwrap_or_default();
        blocks.resize(params.block_count(), Block::new());
        let output = Output::init_with(length, |out| {
            let password = password.as_bytes();
            Ok(argon2.hash_password_into_with_memory(password, salt, out, &mut blocks)?)
        });
        // Nothing of the password stays.
        blocks.fill(Block::new());
        self.spare.lock().push(blocks);
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the version before stored it, with its parameters.
    #[test]
    fn stored_hashes_hold() {
        let memory = Memory::default();
        for (hash, is_right) in [
            (
                "$argon2i$v=19$m=65536,t=1,p=1$c29tZXNhbHQAAAAAAAAAAA\
                $+r0d29hqEB0yasKr55ZgICsQGSkl0v0kgwhd+U3wyRo",
                true,
            ),
            (
                "$argon2id$v=19$m=19456,t=2,p=1$r+06xoF6n/iNCoosFviTnA\
                $MrWaMrP2hBQn8N8xTG4kb08rGmLXUDbC/LG1IXjwAF0",
                true,
            ),
            (
                "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQAAAAAAAAAAA",
                false,
            ),
        ] {
            assert_eq!(memory.verify("password", hash), Ok(is_right), "{hash}");
            assert_ne!(memory.verify("Password", hash), Ok(true), "{hash}");
        }
        for bad in ["", "plain", "$scrypt$ln=1$c29tZXNhbHQ$aGFzaA"] {
            assert!(memory.verify("password", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_memory_is_used_again_and_keeps_nothing() {
        let memory = Memory::default();
        let first = memory.hash("correct horse").unwrap();
        let second = memory.hash("correct horse").unwrap();
        assert_ne!(first, second);
        assert_eq!(memory.verify("correct horse", &first), Ok(true));
        assert_eq!(memory.verify("battery staple", &first), Ok(false));
        let spare = memory.spare.lock();
        assert_eq!(spare.len(), 1);
        let words = spare[0].iter().flat_map(AsRef::<[u64]>::as_ref);
        assert!(words.into_iter().all(|word| *word == 0));
    }
}
