//! Presence entries from terms and to terms.
//!
//! An entry from Elixir has the encoding `Term`: owner and meta are in Erlang's external term format; so is the key, in
//! its portable form, except that a UTF-8 binary stands for itself (the format starts with 131, which starts no UTF-8
//! text). With the codec `:json` it has the encoding `Text`: the key is text, the meta JSON, and an owner that is no
//! text stands behind [`OWNER_PREFIX`]: a pid as its numbers, any other term as its external format in base 64. See
//! `owner` for pids.

use headcount::id::EntryRef;
use headcount::tracker::{Encoding, Key, LeaveReason, Limits, Update};
use headcount::{Entry, EntryBuf, NewEntry, Status, TopicDiff, TrackError};
use rustler::{Atom, Binary, Encoder, Env, NewBinary, OwnedBinary, Term};
use std::fmt::Write;
use std::ops::Deref;

use crate::atoms;
use crate::errors;
use crate::json;
use crate::owner;
use crate::portable;

/// The mark before an owner that is no text, where entries are text.
const OWNER_PREFIX: &str = "erlang:";

/// Returns the bounds of entries: those of all languages, so that no node refuses an entry of this one.
pub(crate) fn limits() -> Limits {
    Limits::default()
}

/// Bytes of a key, owner or meta.
pub(crate) enum Bytes<'a> {
    Borrowed(Binary<'a>),
    Owned(OwnedBinary),
    Written(Vec<u8>),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(binary) => binary,
            Self::Owned(binary) => binary,
            Self::Written(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Bytes<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The encoding of the entries of this node, and the way to read JSON.
#[derive(Debug)]
pub(crate) struct Codec {
    /// The name of this replica.
    pub(crate) replica: Box<str>,
    pub(crate) json: bool,
    /// True if keys of JSON objects become atoms where this VM has these.
    pub(crate) existing_atoms: bool,
}

/// A session of this node: its key and its owner, as every write needs them.
pub(crate) struct Session<'a> {
    encoding: Encoding,
    key: Bytes<'a>,
    pub(crate) owner: Bytes<'a>,
}

impl Session<'_> {
    pub(crate) fn key(&self) -> Key<'_> {
        Key::new(self.encoding, &self.key)
    }
}

/// The content of a write.
pub(crate) struct Content<'a> {
    session: Session<'a>,
    meta: Bytes<'a>,
    status: Status,
}

impl<'a> Content<'a> {
    pub(crate) fn put<'b>(&'b self, topic: &'b str) -> NewEntry<'b> {
        let Session {
            encoding,
            key,
            owner,
        } = &self.session;
        let put = NewEntry::bytes(topic, key, owner, *encoding);
        put.meta(&self.meta).status(self.status as u8)
    }

    pub(crate) fn session(&self) -> &Session<'a> {
        &self.session
    }
}

impl Codec {
    pub(crate) fn session<'a>(
        &self,
        key: Term<'a>,
        owner: Term<'a>,
    ) -> Result<Session<'a>, json::Error> {
        Ok(Session {
            encoding: self.encoding(),
            key: self.key(key)?,
            owner: self.owner(owner),
        })
    }

    fn encoding(&self) -> Encoding {
        if self.json {
            Encoding::Text
        } else {
            Encoding::Term
        }
    }

    fn key<'a>(&self, term: Term<'a>) -> Result<Bytes<'a>, json::Error> {
        match text(term) {
            Some(text) => Ok(Bytes::Borrowed(text)),
            None if self.json => Err(json::Error::KeyNotText),
            None => Ok(portable(external(term))),
        }
    }

    pub(crate) fn owner<'a>(&self, term: Term<'a>) -> Bytes<'a> {
        match text(term) {
            _ if !self.json => {
                let external = external(term);
                let packed = owner::pack(&external, &self.replica);
                packed.map_or(external, Bytes::Written)
            }
            Some(text) if !text.starts_with(OWNER_PREFIX.as_bytes()) => Bytes::Borrowed(text),
            _ => {
                let external = external(term);
                let packed = owner::pack_text(&external, &self.replica);
                let packed = packed.unwrap_or_else(|| owner::to_base64(&external));
                Bytes::Written(format!("{OWNER_PREFIX}{packed}").into_bytes())
            }
        }
    }

    /// Returns the content of a write: its meta says the status too.
    pub(crate) fn content<'a>(
        &self,
        name: Term<'a>,
        owner: Term<'a>,
        meta: Term<'a>,
    ) -> Result<Content<'a>, json::Error> {
        let status = meta.map_get(atoms::headcount_status()).ok();
        Ok(Content {
            session: self.session(name, owner)?,
            meta: self.meta(meta)?,
            status: status.and_then(status_of).unwrap_or_default(),
        })
    }

    /// Returns a meta as it is stored: without references and status, which the entry itself has.
    fn meta<'a>(&self, meta: Term<'a>) -> Result<Bytes<'a>, json::Error> {
        let own = [
            atoms::phx_ref(),
            atoms::phx_ref_prev(),
            atoms::headcount_status(),
        ];
        let bare = own
            .into_iter()
            .fold(meta, |meta, name| meta.map_remove(name).unwrap_or(meta));
        if self.json {
            json::encode(bare, limits().get_meta_len_max()).map(Bytes::Written)
        } else {
            Ok(external(bare))
        }
    }

    /// Returns the key of a signal, which has no encoding of its own.
    pub(crate) fn signal_key<'b>(&self, key: &'b [u8]) -> Key<'b> {
        Key::new(self.encoding(), key)
    }

    /// Returns the key to look for; `None` if no entry of this codec has such a key.
    pub(crate) fn look_up<'a>(&self, term: Term<'a>) -> Option<(Encoding, Bytes<'a>)> {
        Some((self.encoding(), self.key(term).ok()?))
    }
}

/// Returns the status that an atom names.
pub(crate) fn status_of(term: Term<'_>) -> Option<Status> {
    let name = term.decode::<Atom>().ok()?;
    Status::ALL
        .into_iter()
        .find(|&status| status_name(status) == name)
}

/// Returns `:online`, `:idle`, `:dnd`, `:invisible` or `:offline`.
pub(crate) fn status_name(status: Status) -> Atom {
    match status {
        Status::Online => atoms::online(),
        Status::Idle => atoms::idle(),
        Status::Dnd => atoms::dnd(),
        Status::Invisible => atoms::invisible(),
        Status::Offline => atoms::offline(),
    }
}

fn text(term: Term<'_>) -> Option<Binary<'_>> {
    let binary = term.decode::<Binary<'_>>().ok()?;
    std::str::from_utf8(&binary).is_ok().then_some(binary)
}

fn external(term: Term<'_>) -> Bytes<'_> {
    Bytes::Owned(term.to_binary())
}

/// Returns a key as every other node writes it.
fn portable(external: Bytes<'_>) -> Bytes<'_> {
    portable::portable(&external).map_or(external, Bytes::Written)
}

pub(crate) fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    NewBinary::from_slice(env, bytes).into()
}

/// Returns `{:ok, ref}`, `{:error, reason}` or `:busy` for an entry that was to be written.
pub(crate) fn written<'a>(env: Env<'a>, result: Option<Result<EntryRef, TrackError>>) -> Term<'a> {
    match result {
        None => atoms::busy().encode(env),
        Some(Ok(entry_ref)) => (atoms::ok(), reference(env, &entry_ref)).encode(env),
        Some(Err(error)) => errors::track(env, &error),
    }
}

/// Returns the text of a reference, without the detour over the heap of Rust.
pub(crate) fn reference<'a>(env: Env<'a>, entry_ref: &EntryRef) -> Term<'a> {
    struct Short {
        bytes: [u8; 64],
        len: usize,
    }
    impl Write for Short {
        fn write_str(&mut self, part: &str) -> std::fmt::Result {
            let end = self.len + part.len();
            let room = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
            room.copy_from_slice(part.as_bytes());
            self.len = end;
            Ok(())
        }
    }
    let mut short = Short {
        bytes: [0; 64],
        len: 0,
    };
    write!(short, "{entry_ref}").expect("a reference has at most 40 characters");
    binary(env, &short.bytes[..short.len])
}

/// Returns whether the old version has a leave. Content that was repaired keeps its reference: the join replaces it.
fn is_replaced(update: &Update) -> bool {
    update.old.entry_ref() != update.new.entry_ref()
}

/// Makes terms of entries.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) env: Env<'a>,
    /// True if atoms that this VM does not have yet are refused: the peers are not trusted.
    pub(crate) safe: bool,
    pub(crate) existing_atoms: bool,
}

impl<'a> Reader<'a> {
    /// Returns `{key, meta}`
    pub(crate) fn by_key(self, entry: &impl Fields) -> Term<'a> {
        self.key_and_meta(entry).encode(self.env)
    }

    pub(crate) fn key_and_meta(self, entry: &impl Fields) -> (Term<'a>, Term<'a>) {
        (self.key(entry.key()), self.meta(entry))
    }

    /// Returns whether a key or a meta stands for bytes that could not be read.
    pub(crate) fn is_undecodable(term: Term<'_>) -> bool {
        let parts = term.decode::<(Atom, Term<'_>)>();
        parts.is_ok_and(|(what, _)| what == atoms::undecodable())
    }

    /// Returns `{owner, meta}`
    pub(crate) fn by_owner(self, entry: &impl Fields) -> Term<'a> {
        (self.owner(entry), self.meta(entry)).encode(self.env)
    }

    /// Returns `%{topic => {joins, leaves}}`; an update is in both. A leave has the meta of its join with the
    /// references, so a reader that applies joins before leaves, by key and `phx_ref`, is right.
    pub(crate) fn diff<'d>(self, diff: impl IntoIterator<Item = &'d TopicDiff>) -> Term<'a> {
        let topics = diff
            .into_iter()
            .map(|topic| (&*topic.topic, self.topic(topic)));
        let pairs: Vec<_> = topics.collect();
        Term::map_from_pairs(self.env, &pairs).expect("each topic is in a Diff once")
    }

    fn topic(self, diff: &TopicDiff) -> (Vec<Term<'a>>, Vec<Term<'a>>) {
        let updates = diff.updates.iter();
        let new = updates.clone().map(|update| &update.new);
        let replaced = updates.filter(|update| is_replaced(update));
        let old = replaced.map(|update| &update.old);
        let joins = diff.joins.iter().chain(new);
        let left = diff.leaves.iter().map(|leave| &leave.entry);
        let leaves = left.chain(old);
        let joins = joins.map(|entry| self.by_key(entry)).collect();
        let leaves = leaves.map(|entry| self.by_key(entry)).collect();
        (joins, leaves)
    }

    /// Returns `%{topic => [reason]}`, the reasons of the leaves in the order in which [`diff`](Self::diff) has them.
    pub(crate) fn reasons<'d>(self, diff: impl IntoIterator<Item = &'d TopicDiff>) -> Term<'a> {
        let topics = diff.into_iter().map(|topic| {
            let updated = topic.updates.iter().filter(|update| is_replaced(update));
            let updated = updated.map(|_| LeaveReason::Updated);
            let reasons = topic.leaves.iter().map(|leave| leave.reason).chain(updated);
            (&*topic.topic, reasons.map(atoms::reason).collect())
        });
        let pairs: Vec<(_, Vec<Atom>)> = topics.collect();
        Term::map_from_pairs(self.env, &pairs).expect("each topic is in a Diff once")
    }

    pub(crate) fn key(self, key: Key<'_>) -> Term<'a> {
        if key.encoding == Encoding::Term && key.bytes.first() == Some(&owner::EXTERNAL) {
            return self.external(key.bytes);
        }
        binary(self.env, key.bytes)
    }

    fn owner(self, entry: &impl Fields) -> Term<'a> {
        let encoding = entry.key().encoding;
        let bytes = entry.owner();
        let replica = entry.replica();
        let prefixed = bytes.strip_prefix(OWNER_PREFIX.as_bytes());
        match (encoding, prefixed) {
            (Encoding::Term, _) => match owner::unpack(bytes, replica) {
                Some(pid) => binary_to_term(self.env, &pid, self.safe)
                    .unwrap_or_else(|| self.undecodable(bytes)),
                None => self.external(bytes),
            },
            (Encoding::Text, Some(packed)) => {
                let text = std::str::from_utf8(packed).ok();
                let pid = text.and_then(|text| owner::unpack_text(text, replica));
                pid.or_else(|| owner::from_base64(packed))
                    .and_then(|bytes| binary_to_term(self.env, &bytes, self.safe))
                    .unwrap_or_else(|| binary(self.env, bytes))
            }
            _ => binary(self.env, bytes),
        }
    }

    /// Returns the meta with its reference, the one before an update, and a status other than online.
    pub(crate) fn meta(self, entry: &impl Fields) -> Term<'a> {
        let encoding = entry.key().encoding;
        let bytes = entry.meta();
        let meta = match encoding {
            _ if bytes.is_empty() => Term::map_new(self.env),
            Encoding::Term => self.external(bytes),
            Encoding::Text => json::decode(self.env, bytes, self.existing_atoms)
                .unwrap_or_else(|| self.undecodable(bytes)),
            _ => self.undecodable(bytes),
        };
        let with = |meta: Term<'a>, name: rustler::Atom, entry_ref: &EntryRef| {
            let text = reference(self.env, entry_ref);
            meta.map_put(name, text).unwrap_or(meta)
        };
        let meta = with(meta, atoms::phx_ref(), &entry.entry_ref());
        let prev = entry.previous_ref();
        let meta = prev.map_or(meta, |prev| with(meta, atoms::phx_ref_prev(), &prev));
        match Status::of_session(entry.status()) {
            Status::Online => meta,
            status => {
                let named = meta.map_put(atoms::headcount_status(), status_name(status));
                named.unwrap_or(meta)
            }
        }
    }

    fn external(self, bytes: &[u8]) -> Term<'a> {
        binary_to_term(self.env, bytes, self.safe).unwrap_or_else(|| self.undecodable(bytes))
    }

    fn undecodable(self, bytes: &[u8]) -> Term<'a> {
        (atoms::undecodable(), binary(self.env, bytes)).encode(self.env)
    }
}

/// The fields that an entry and its copy have in common.
pub(crate) trait Fields {
    fn key(&self) -> Key<'_>;
    fn owner(&self) -> &[u8];
    /// Returns the name of its replica.
    fn replica(&self) -> &str;
    fn meta(&self) -> &[u8];
    fn status(&self) -> u8;
    fn entry_ref(&self) -> EntryRef;
    fn previous_ref(&self) -> Option<EntryRef>;
}

macro_rules! fields {
    ($($type:ty, $entry:ident => $replica:expr;)*) => {$(
        impl Fields for $type {
            fn key(&self) -> Key<'_> {
                <$type>::key(self)
            }
            fn owner(&self) -> &[u8] {
                <$type>::owner(self)
            }
            fn replica(&self) -> &str {
                let $entry = self;
                $replica.name()
            }
            fn meta(&self) -> &[u8] {
                <$type>::meta(self)
            }
            fn status(&self) -> u8 {
                <$type>::status(self)
            }
            fn entry_ref(&self) -> EntryRef {
                <$type>::entry_ref(self)
            }
            fn previous_ref(&self) -> Option<EntryRef> {
                <$type>::previous_ref(self)
            }
        }
    )*};
}
fields! {
    Entry<'_>, entry => entry.replica();
    EntryBuf, entry => entry.origin().replica;
}

#[expect(
    unsafe_code,
    reason = "the safe function refuses atoms that this VM does not know"
)]
fn binary_to_term<'a>(env: Env<'a>, bytes: &[u8], safe: bool) -> Option<Term<'a>> {
    let read = if safe {
        env.binary_to_term(bytes)
    } else {
        // SAFETY: the peers are trusted, as Erlang distribution trusts them; that is what `safe` says.
        unsafe { env.binary_to_term_trusted(bytes) }
    };
    read.map(|(term, _)| term)
}
