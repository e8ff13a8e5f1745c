//! Entries as they go in (`NewEntry`, `Key`) and as they come out (`Entry`, `EntryBuf`).

use std::fmt;

use crate::id::{Dot, EntryRef, Origin};
use crate::tracker::Encoding;

/// A key as users name it: its bytes and their encoding. Keys are equal when both are.
///
/// `&str` converts to a text key, `&[u8]` to a bytes key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key<'a> {
    /// The encoding.
    pub encoding: Encoding,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> Key<'a> {
    /// Creates a key of any encoding.
    #[must_use]
    pub fn new(encoding: Encoding, bytes: &'a [u8]) -> Self {
        Self { encoding, bytes }
    }
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(Encoding::Text, text.as_bytes())
    }
}

impl<'a> From<&'a String> for Key<'a> {
    fn from(text: &'a String) -> Self {
        Self::from(text.as_str())
    }
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::new(Encoding::Bytes, bytes)
    }
}

/// The ops of an entry: its creation, its newest write and the write before that (0: none). Phoenix
/// calls the latter two `phx_ref` and `phx_ref_prev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryVersions {
    pub(super) birth: u64,
    pub(super) version: u64,
    pub(super) previous: u64,
}

impl EntryVersions {
    /// Returns the ops of an entry that is new at `op`.
    pub(super) fn new(op: u64) -> Self {
        Self {
            birth: op,
            version: op,
            previous: 0,
        }
    }

    /// Returns the ops after another write.
    pub(super) fn written(self, op: u64) -> Self {
        Self {
            version: op,
            previous: self.version,
            ..self
        }
    }

    /// Returns whether the entry was written once.
    pub(super) fn is_first(self) -> bool {
        self.version == self.birth
    }

    /// Returns whether the previous version does not follow from birth and version: there were two
    /// writes since the creation.
    pub(super) fn is_long(self) -> bool {
        self.previous > self.birth
    }
}

/// The content of an entry to be tracked or updated. Borrows everything.
///
/// ```
/// use headcount::NewEntry;
/// use headcount::tracker::Encoding;
/// let put = NewEntry::new("room:lobby", "user:7", "conn-1").meta(br#"{"device":"phone"}"#).status(2);
/// assert_eq!(put.key().bytes, b"user:7");
/// let put = NewEntry::bytes("room:lobby", &[131, 97, 7], &[1, 2], Encoding::Term);
/// assert_eq!(put.key().encoding, Encoding::Term);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewEntry<'a> {
    pub(crate) topic: &'a str,
    pub(crate) key: &'a [u8],
    pub(crate) owner: &'a [u8],
    pub(crate) meta: &'a [u8],
    pub(crate) encoding: Encoding,
    pub(crate) status: u8,
}

impl<'a> NewEntry<'a> {
    /// Creates an entry with a text key and a text owner, an empty meta and status 0.
    ///
    /// The key names the user that is present; the owner names the connection that holds the entry.
    #[must_use]
    pub fn new(topic: &'a str, key: &'a str, owner: &'a str) -> Self {
        Self::bytes(topic, key.as_bytes(), owner.as_bytes(), Encoding::Text)
    }

    /// Creates an entry whose key, owner and meta are of the given encoding.
    #[must_use]
    pub fn bytes(topic: &'a str, key: &'a [u8], owner: &'a [u8], encoding: Encoding) -> Self {
        Self {
            topic,
            key,
            owner,
            meta: &[],
            encoding,
            status: 0,
        }
    }

    /// Returns the entry with this meta: opaque bytes, 16 KiB at most by default.
    #[must_use]
    pub fn meta(mut self, meta: &'a [u8]) -> Self {
        self.meta = meta;
        self
    }

    /// Returns the entry with this status: a small number that a `Roster` can merge over sessions.
    #[must_use]
    pub fn status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// Returns the approximate number of bytes that it takes in a frame.
    pub(crate) fn wire_len(&self) -> usize {
        16 + self.topic.len() + self.key.len() + self.owner.len() + self.meta.len()
    }

    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// Returns the key.
    #[must_use]
    pub fn key(&self) -> Key<'a> {
        Key::new(self.encoding, self.key)
    }

    /// Returns the owner.
    #[must_use]
    pub fn owner(&self) -> &'a [u8] {
        self.owner
    }
}

/// A live entry, borrowed from the tracker. Nothing is copied.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub(super) topic: &'a str,
    pub(super) key: &'a [u8],
    pub(super) owner: &'a [u8],
    pub(super) meta: &'a [u8],
    pub(super) encoding: Encoding,
    pub(super) status: u8,
    pub(super) versions: EntryVersions,
    pub(super) replica: &'a crate::id::ReplicaId,
    pub(super) partition: u16,
}

impl<'a> Entry<'a> {
    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// Returns the key with its encoding.
    #[must_use]
    pub fn key(&self) -> Key<'a> {
        Key::new(self.encoding, self.key)
    }

    /// Returns the key as text, if it is text.
    #[must_use]
    pub fn key_str(&self) -> Option<&'a str> {
        text(self.encoding, self.key)
    }

    /// Returns the owner: a connection or a process.
    #[must_use]
    pub fn owner(&self) -> &'a [u8] {
        self.owner
    }

    /// Returns the meta.
    #[must_use]
    pub fn meta(&self) -> &'a [u8] {
        self.meta
    }

    /// Returns the encoding of key, owner and meta.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> u8 {
        self.status
    }

    /// Returns the replica that holds the connection.
    #[must_use]
    pub fn replica(&self) -> &'a crate::id::ReplicaId {
        self.replica
    }

    /// Returns the op of the newest write.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.versions.version
    }

    /// Returns the op of the write before the newest one; `None` for an entry that was never
    /// updated. It is the same at every holder.
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// let first = a.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// assert_eq!(a.list("room").next().unwrap().previous_version(), None);
    /// a.update(&NewEntry::new("room", "ann", "conn-1").meta(b"away"))?;
    /// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
    /// b.apply(&a.delta_since(a.id(), 0).unwrap())?;
    /// let entry = b.list("room").next().unwrap();
    /// assert_eq!(entry.previous_version(), Some(first.version));
    /// assert_eq!(entry.previous_ref(), Some(first));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn previous_version(&self) -> Option<u64> {
        (self.versions.previous > 0).then_some(self.versions.previous)
    }

    /// Returns the op of the creation.
    #[must_use]
    pub fn birth(&self) -> u64 {
        self.versions.birth
    }

    fn origin(&self) -> Origin {
        Origin {
            replica: self.replica.clone(),
            partition: self.partition,
        }
    }

    /// Returns the name of this entry, which no other entry ever has.
    #[must_use]
    pub fn dot(&self) -> Dot {
        Dot {
            origin: self.origin(),
            birth: self.versions.birth,
        }
    }

    /// Returns the name of this version of the entry (`phx_ref`).
    #[must_use]
    pub fn entry_ref(&self) -> EntryRef {
        EntryRef {
            origin: self.origin(),
            version: self.versions.version,
        }
    }

    /// Returns the name of the version before this one (`phx_ref_prev`), if the entry was updated.
    #[must_use]
    pub fn previous_ref(&self) -> Option<EntryRef> {
        self.previous_version().map(|version| EntryRef {
            origin: self.origin(),
            version,
        })
    }

    /// Returns an owned copy, without the topic.
    #[must_use]
    pub fn to_buf(&self) -> EntryBuf {
        EntryBuf {
            bytes: [self.key, self.owner, self.meta]
                .concat()
                .into_boxed_slice(),
            key_len: self.key.len() as u32,
            owner_len: self.owner.len() as u32,
            encoding: self.encoding,
            status: self.status,
            origin: self.origin(),
            versions: self.versions,
        }
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("topic", &self.topic)
            .field("key", &Printable(self.key))
            .field("owner", &Printable(self.owner))
            .field("status", &self.status)
            .field("meta", &Printable(self.meta))
            .field("origin", self.replica)
            .field("birth", &self.versions.birth)
            .field("version", &self.versions.version)
            .field("previous", &self.versions.previous)
            .finish()
    }
}

/// An owned copy of an entry, as a `Diff` holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryBuf {
    /// Key, owner and meta, one after the other.
    bytes: Box<[u8]>,
    key_len: u32,
    owner_len: u32,
    encoding: Encoding,
    status: u8,
    origin: Origin,
    versions: EntryVersions,
}

impl From<Entry<'_>> for EntryBuf {
    fn from(entry: Entry<'_>) -> Self {
        entry.to_buf()
    }
}

impl EntryBuf {
    /// Makes the copy of an entry from its parts: for a program that keeps Diffs in a form of its
    /// own, and hands them to a [`Roster`](crate::Roster). The version before is left out.
    ///
    /// ```
    /// use headcount::id::{Dot, Origin, ReplicaId};
    /// use headcount::{EntryBuf, NewEntry};
    ///
    /// let origin = Origin { replica: ReplicaId::new("a", 1, 0)?, partition: 0 };
    /// let entry = NewEntry::new("room", "ann", "phone").status(2);
    /// let entry = EntryBuf::new(&entry, Dot { origin, birth: 1 }, 5);
    /// assert_eq!((entry.key_str(), entry.status(), entry.version()), (Some("ann"), 2, 5));
    /// # Ok::<(), headcount::id::IdError>(())
    /// ```
    #[must_use]
    pub fn new(entry: &NewEntry<'_>, dot: Dot, version: u64) -> Self {
        Self {
            bytes: [entry.key, entry.owner, entry.meta]
                .concat()
                .into_boxed_slice(),
            key_len: entry.key.len() as u32,
            owner_len: entry.owner.len() as u32,
            encoding: entry.encoding,
            status: entry.status,
            origin: dot.origin,
            versions: EntryVersions {
                version,
                ..EntryVersions::new(dot.birth)
            },
        }
    }

    fn meta_start(&self) -> usize {
        (self.key_len + self.owner_len) as usize
    }

    /// Bytes of key, owner and meta.
    pub(super) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the key with its encoding.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        Key::new(self.encoding, &self.bytes[..self.key_len as usize])
    }

    /// Returns the key as text, if it is text.
    #[must_use]
    pub fn key_str(&self) -> Option<&str> {
        text(self.encoding, self.key().bytes)
    }

    /// Returns the owner.
    #[must_use]
    pub fn owner(&self) -> &[u8] {
        &self.bytes[self.key_len as usize..self.meta_start()]
    }

    /// Returns the meta.
    #[must_use]
    pub fn meta(&self) -> &[u8] {
        &self.bytes[self.meta_start()..]
    }

    /// Returns the encoding of key, owner and meta.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> u8 {
        self.status
    }

    /// Returns the origin that wrote the entry.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the op of the creation.
    #[must_use]
    pub fn birth(&self) -> u64 {
        self.versions.birth
    }

    /// Returns the op of the newest write.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.versions.version
    }

    /// Returns the op of the write before the newest one. See [`Entry::previous_version`].
    #[must_use]
    pub fn previous_version(&self) -> Option<u64> {
        (self.versions.previous > 0).then_some(self.versions.previous)
    }

    /// Returns the name of the entry, which no other entry ever has.
    #[must_use]
    pub fn dot(&self) -> Dot {
        Dot {
            origin: self.origin.clone(),
            birth: self.versions.birth,
        }
    }

    /// Returns the name of this version of the entry (`phx_ref`).
    #[must_use]
    pub fn entry_ref(&self) -> EntryRef {
        EntryRef {
            origin: self.origin.clone(),
            version: self.versions.version,
        }
    }

    /// Returns the name of the version before this one (`phx_ref_prev`), if the entry was updated.
    #[must_use]
    pub fn previous_ref(&self) -> Option<EntryRef> {
        self.previous_version().map(|version| EntryRef {
            origin: self.origin.clone(),
            version,
        })
    }
}

impl fmt::Debug for EntryBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryBuf")
            .field("key", &Printable(self.key().bytes))
            .field("owner", &Printable(self.owner()))
            .field("status", &self.status)
            .field("meta", &Printable(self.meta()))
            .field("origin", &self.origin)
            .field("birth", &self.versions.birth)
            .field("version", &self.versions.version)
            .field("previous", &self.versions.previous)
            .finish()
    }
}

fn text(encoding: Encoding, bytes: &[u8]) -> Option<&str> {
    (encoding == Encoding::Text)
        .then(|| std::str::from_utf8(bytes).ok())
        .flatten()
}

/// Bytes that print as text, with escapes for those that are none.
struct Printable<'a>(&'a [u8]);

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
