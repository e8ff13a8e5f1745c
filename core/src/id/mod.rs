//! Ids of nodes, of writers and of entries.
//!
//! A [`ReplicaId`] is one life of one node. An [`Origin`] is one partition of a replica: a writer
//! with an op sequence of its own. A [`Dot`] names an entry for ever, an [`EntryRef`] one version of it.
//!
//! ```
//! use headcount::id::{Dot, EntryRef, Origin, ReplicaId};
//! use headcount::replica::Shape;
//!
//! let replica = ReplicaId::new("chat-1", 1_700_000_000_000_000, 7)?;
//! let origin = Origin { replica, partition: Shape::default().partition_of("room:lobby") };
//! let entry = Dot { origin: origin.clone(), birth: 1 };
//! let newest = EntryRef { origin, version: 5 };
//! assert_eq!(entry.origin, newest.origin);
//! # Ok::<(), headcount::id::IdError>(())
//! ```

mod by_name;
#[cfg(feature = "serde")]
mod serde_impls;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

pub(crate) use self::by_name::ByName;

/// The longest name of a replica, in bytes.
pub const NAME_LEN_MAX: usize = 64;

/// The bound that ops and incarnations stay below.
pub const OP_MAX: u64 = 1 << 62;

/// Returns the hash whose low bits are the partition of a topic: the 64-bit XXH3 of its bytes,
/// seed 0. O(length).
pub(crate) fn topic_hash(topic: &str) -> u64 {
    xxh3_64(topic.as_bytes())
}

/// The reason why a [`ReplicaId`] was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdError {
    /// The name is empty.
    EmptyName,
    /// The name is longer than [`NAME_LEN_MAX`] bytes.
    NameTooLong {
        /// Length of the given name in bytes.
        len: usize,
    },
    /// The incarnation is not below 2^62.
    IncarnationTooLarge {
        /// The given incarnation.
        incarnation: u64,
    },
    /// The operating system gave no random number for the salt. Only `ReplicaId::generate` returns
    /// it; [`ReplicaId::new`] takes the salt of the caller.
    NoRandomness,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyName => write!(f, "replica name is empty"),
            Self::NameTooLong { len } => {
                write!(
                    f,
                    "replica name has {len} bytes, at most {NAME_LEN_MAX} are allowed"
                )
            }
            Self::IncarnationTooLarge { incarnation } => {
                write!(f, "incarnation {incarnation} is not below 2^62")
            }
            Self::NoRandomness => f.write_str(
                "the operating system gave no random number for the salt of the replica",
            ),
        }
    }
}

impl std::error::Error for IdError {}

/// One life of one node: its name, the incarnation of this life and a random salt.
///
/// Ids of one name are ordered by (incarnation, salt): the greater one replaces the lower one
/// everywhere. Cloning is cheap, the content is shared.
///
/// ```
/// use headcount::ReplicaId;
/// let first = ReplicaId::new("chat-1", 1_700_000_000_000_000, 7)?;
/// let restarted = ReplicaId::new("chat-1", 1_700_000_360_000_000, 9)?;
/// assert!(restarted.supersedes(&first));
/// # Ok::<(), headcount::id::IdError>(())
/// ```
#[derive(Clone)]
pub struct ReplicaId(Arc<Replica>);

struct Replica {
    name: Box<str>,
    incarnation: u64,
    salt: u32,
    /// The hash of the three, for the short text form of references.
    hash: u64,
}

impl ReplicaId {
    /// Returns a new id for a node that starts at `now`: its incarnation is the wall clock in
    /// microseconds, and its salt a random number of the operating system (feature `random`).
    ///
    /// ```
    /// use headcount::ReplicaId;
    /// use std::time::SystemTime;
    /// let id = ReplicaId::generate("chat-1", SystemTime::now())?;
    /// assert_eq!(id.name(), "chat-1");
    /// # Ok::<(), headcount::id::IdError>(())
    /// ```
    ///
    /// # Errors
    /// An empty name, a name above [`NAME_LEN_MAX`] bytes, or no random number.
    #[cfg(feature = "random")]
    pub fn generate(name: &str, now: std::time::SystemTime) -> Result<Self, IdError> {
        let since = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let salt = getrandom::u32().map_err(|_| IdError::NoRandomness)?;
        Self::new(name, micros.min(OP_MAX - 1), salt)
    }

    /// Makes an id from its parts. `generate` chooses them for a node that starts.
    ///
    /// # Errors
    /// If the name is empty or longer than [`NAME_LEN_MAX`] bytes, or the incarnation is 2^62 or
    /// more.
    pub fn new(name: &str, incarnation: u64, salt: u32) -> Result<Self, IdError> {
        if name.is_empty() {
            return Err(IdError::EmptyName);
        }
        if name.len() > NAME_LEN_MAX {
            return Err(IdError::NameTooLong { len: name.len() });
        }
        if incarnation >= OP_MAX {
            return Err(IdError::IncarnationTooLarge { incarnation });
        }
        let mut bytes = Vec::with_capacity(name.len() + 12);
        bytes.extend_from_slice(&incarnation.to_le_bytes());
        bytes.extend_from_slice(&salt.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        let hash = xxh3_64(&bytes);
        Ok(Self(Arc::new(Replica {
            name: name.into(),
            incarnation,
            salt,
            hash,
        })))
    }

    /// Returns the name of the node, which stays the same over restarts.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the incarnation: a number that is larger after each restart.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.0.incarnation
    }

    /// Returns the salt: a random number that tells two nodes apart that started in the same
    /// microsecond.
    #[must_use]
    pub fn salt(&self) -> u32 {
        self.0.salt
    }

    /// Returns whether this is a later life of the same name.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        self.name() == other.name() && self > other
    }
}

impl PartialEq for ReplicaId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.cmp(other) == Ordering::Equal)
    }
}

impl Eq for ReplicaId {}

impl Hash for ReplicaId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl PartialOrd for ReplicaId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ReplicaId {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        (self.name(), self.incarnation(), self.salt()).cmp(&(
            other.name(),
            other.incarnation(),
            other.salt(),
        ))
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}@{}.{:x}",
            self.name(),
            self.incarnation(),
            self.salt()
        )
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A writer of operations: one partition of one replica. Each origin numbers its operations (its ops)
/// from 1.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Origin {
    /// The replica.
    pub replica: ReplicaId,
    /// The partition of the topics; 0 for a tracker that holds all topics.
    pub partition: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.replica, self.partition)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The permanent name of an entry: the origin that created it and the op of its creation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Dot {
    /// The origin that created the entry.
    pub origin: Origin,
    /// The op at which it was created.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "serde_impls::op"))]
    pub birth: u64,
}

/// The name of one version of an entry, which Phoenix calls `phx_ref`.
///
/// The text form ([`Display`](fmt::Display)) is stable, URL-safe and at most 40 characters long:
/// 11 characters of a hash of the origin, `.`, then the version.
///
/// ```
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// let entry_ref = tracker.track(&NewEntry::new("room", "ann", "conn-1"))?;
/// assert_eq!(entry_ref.version, 1);
/// assert!(entry_ref.to_string().len() <= 40);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EntryRef {
    /// The origin that wrote the entry.
    pub origin: Origin,
    /// The op of its newest write.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "serde_impls::op"))]
    pub version: u64,
}

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for EntryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self
            .origin
            .replica
            .0
            .hash
            .wrapping_add(u64::from(self.origin.partition));
        let mut text = [0u8; 23];
        for (i, digit) in text[..11].iter_mut().enumerate() {
            *digit = BASE64_URL[(origin >> (6 * i)) as usize & 63];
        }
        text[11] = b'.';
        let mut len = 12;
        let mut rest = self.version;
        loop {
            text[len] = BASE64_URL[rest as usize & 63];
            len += 1;
            rest >>= 6;
            if rest == 0 {
                break;
            }
        }
        f.write_str(std::str::from_utf8(&text[..len]).expect("the alphabet is ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_order_by_incarnation_then_salt() {
        let id = |i, s| ReplicaId::new("a", i, s).unwrap();
        assert!(id(1, 9) < id(2, 0) && id(2, 0) < id(2, 1));
        assert!(id(2, 1).supersedes(&id(2, 0)));
        assert!(!ReplicaId::new("b", 9, 9).unwrap().supersedes(&id(1, 1)));
    }

    #[test]
    fn bad_ids_are_refused() {
        assert_eq!(ReplicaId::new("", 1, 1), Err(IdError::EmptyName));
        assert_eq!(
            ReplicaId::new(&"x".repeat(65), 1, 1),
            Err(IdError::NameTooLong { len: 65 })
        );
        let incarnation = 1 << 62;
        assert_eq!(
            ReplicaId::new("a", incarnation, 1),
            Err(IdError::IncarnationTooLarge { incarnation })
        );
    }

    #[cfg(feature = "random")]
    #[test]
    fn a_generated_id_has_the_clock_in_microseconds_and_a_salt_of_its_own() {
        use std::time::{Duration, UNIX_EPOCH};
        let start = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_007);
        let ids = std::array::from_fn::<_, 8, _>(|_| ReplicaId::generate("a", start).unwrap());
        assert!(
            ids.iter()
                .all(|id| id.incarnation() == 1_700_000_000_000_007)
        );
        let salts: std::collections::HashSet<_> = ids.iter().map(ReplicaId::salt).collect();
        assert!(salts.len() > 1, "{salts:?}");
        let before_1970 = UNIX_EPOCH - Duration::from_secs(1);
        let id = ReplicaId::generate("a", before_1970).unwrap();
        assert_eq!(id.incarnation(), 0);
        assert_eq!(ReplicaId::generate("", start), Err(IdError::EmptyName));
        let long = "x".repeat(NAME_LEN_MAX + 1);
        let error = ReplicaId::generate(&long, start).unwrap_err();
        assert_eq!(error, IdError::NameTooLong { len: 65 });
    }

    #[test]
    fn references_have_a_short_url_safe_text() {
        let origin = Origin {
            replica: ReplicaId::new("a", 5, 6).unwrap(),
            partition: 0,
        };
        let text = |version| {
            EntryRef {
                origin: origin.clone(),
                version,
            }
            .to_string()
        };
        assert_ne!(text(1), text(2));
        let longest = text(OP_MAX);
        assert!(longest.len() <= 40, "{longest}");
        assert!(
            longest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        );
    }
}
