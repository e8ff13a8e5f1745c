//! Presence entries: terms in, terms out.
//!
//! An entry from Elixir has the encoding `Term`: owner and meta are in Erlang's external term format; so is the key,
//! except that a UTF-8 binary stands for itself (the format starts with 131, which starts no UTF-8 text).

use headcount::{Encoding, Entry, EntryBuf, EntryRef, Key, Limits, TopicDiff};
use rustler::{Binary, Encoder, Env, NewBinary, OwnedBinary, Term};
use std::ops::Deref;

use crate::atoms;

/// The version byte of the external term format.
const EXTERNAL: u8 = 131;

/// The bounds of entries. An owner is usually a pid, whose external format holds the name of its node.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.owner_len_max = 255;
    limits
}

/// Bytes of a key, owner or meta.
pub(crate) enum Bytes<'a> {
    Borrowed(Binary<'a>),
    Owned(OwnedBinary),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(binary) => binary,
            Self::Owned(binary) => binary,
        }
    }
}

/// The key of a term.
pub(crate) fn key(term: Term<'_>) -> Bytes<'_> {
    match term.decode::<Binary<'_>>() {
        Ok(binary) if std::str::from_utf8(&binary).is_ok() => Bytes::Borrowed(binary),
        _ => external(term),
    }
}

/// The external term format of an owner or a meta.
pub(crate) fn external(term: Term<'_>) -> Bytes<'_> {
    Bytes::Owned(term.to_binary())
}

/// A meta as it is stored: without the reference it had, with the one that it replaces.
pub(crate) fn meta<'a>(meta: Term<'a>, replaced: Option<EntryRef>) -> Bytes<'a> {
    let bare = meta.map_remove(atoms::phx_ref()).unwrap_or(meta);
    external(match replaced {
        Some(old) => bare
            .map_put(atoms::phx_ref_prev(), old.to_string())
            .unwrap_or(bare),
        None => bare,
    })
}

pub(crate) fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    NewBinary::from_slice(env, bytes).into()
}

/// Makes terms of entries.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) env: Env<'a>,
    /// Refuse atoms that this VM does not know yet: the peers are not trusted.
    pub(crate) safe: bool,
}

impl<'a> Reader<'a> {
    /// `{key, meta}`
    pub(crate) fn by_key(self, entry: &impl Fields) -> Term<'a> {
        (self.key(entry.key()), self.meta(entry, None)).encode(self.env)
    }

    /// `{owner, meta}`
    pub(crate) fn by_owner(self, entry: &impl Fields) -> Term<'a> {
        let owner = self.bytes(entry.key().encoding, entry.owner());
        (owner, self.meta(entry, None)).encode(self.env)
    }

    /// `%{topic => {joins, leaves}}`; an update is in both.
    pub(crate) fn diff<'d>(self, diff: impl IntoIterator<Item = &'d TopicDiff>) -> Term<'a> {
        let topics = diff
            .into_iter()
            .map(|topic| (&*topic.topic, self.topic(topic)));
        let pairs: Vec<_> = topics.collect();
        Term::map_from_pairs(self.env, &pairs).expect("each topic is in a Diff once")
    }

    fn topic(self, diff: &TopicDiff) -> (Vec<Term<'a>>, Vec<Term<'a>>) {
        let updated = diff.updates.iter().map(|update| {
            let key = self.key(update.new.key());
            (key, self.meta(&update.new, Some(update.old.entry_ref()))).encode(self.env)
        });
        let joins = diff
            .joins
            .iter()
            .map(|entry| self.by_key(entry))
            .chain(updated)
            .collect();
        let old = diff.updates.iter().map(|update| &update.old);
        let leaves = diff
            .leaves
            .iter()
            .chain(old)
            .map(|entry| self.by_key(entry))
            .collect();
        (joins, leaves)
    }

    fn key(self, key: Key<'_>) -> Term<'a> {
        self.bytes(key.encoding, key.bytes)
    }

    /// The meta with its reference, and the one before an update.
    fn meta(self, entry: &impl Fields, prev: Option<EntryRef>) -> Term<'a> {
        let meta = self.bytes(entry.key().encoding, entry.meta());
        let with = |meta: Term<'a>, name: rustler::Atom, entry_ref: EntryRef| {
            meta.map_put(name, entry_ref.to_string()).unwrap_or(meta)
        };
        let meta = with(meta, atoms::phx_ref(), entry.entry_ref());
        prev.map_or(meta, |prev| with(meta, atoms::phx_ref_prev(), prev))
    }

    fn bytes(self, encoding: Encoding, bytes: &[u8]) -> Term<'a> {
        if encoding != Encoding::Term || bytes.first() != Some(&EXTERNAL) {
            return binary(self.env, bytes);
        }
        match binary_to_term(self.env, bytes, self.safe) {
            Some(term) => term,
            None => (atoms::undecodable(), binary(self.env, bytes)).encode(self.env),
        }
    }
}

/// What an entry and its copy have in common.
pub(crate) trait Fields {
    fn key(&self) -> Key<'_>;
    fn owner(&self) -> &[u8];
    fn meta(&self) -> &[u8];
    fn entry_ref(&self) -> EntryRef;
}

macro_rules! fields {
    ($($type:ty),*) => {$(
        impl Fields for $type {
            fn key(&self) -> Key<'_> {
                <$type>::key(self)
            }
            fn owner(&self) -> &[u8] {
                <$type>::owner(self)
            }
            fn meta(&self) -> &[u8] {
                <$type>::meta(self)
            }
            fn entry_ref(&self) -> EntryRef {
                <$type>::entry_ref(self)
            }
        }
    )*};
}
fields!(Entry<'_>, EntryBuf);

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
