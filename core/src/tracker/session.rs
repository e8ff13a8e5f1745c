//! Names of sessions, for leases and grace.

use super::entry::Key;
use crate::tracker::Encoding;

/// Names a session: topic, key and owner, owned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SessionName {
    topic: Box<str>,
    encoding: Encoding,
    key: Box<[u8]>,
    owner: Box<[u8]>,
}

/// The life of a session that is meant: the same names may be tracked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// The entry of this birth, however often it was written.
    Birth(u64),
    /// The entry as long as this is its last version.
    Version(u64),
}

impl SessionName {
    pub(crate) fn new(topic: &str, key: Key<'_>, owner: &[u8]) -> Self {
        Self {
            topic: topic.into(),
            encoding: key.encoding,
            key: key.bytes.into(),
            owner: owner.into(),
        }
    }

    /// Names the topic and the key alone.
    pub(crate) fn key_name(&self) -> Self {
        Self::new(&self.topic, self.key(), &[])
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn key(&self) -> Key<'_> {
        Key::new(self.encoding, &self.key)
    }

    pub(crate) fn owner(&self) -> &[u8] {
        &self.owner
    }
}
