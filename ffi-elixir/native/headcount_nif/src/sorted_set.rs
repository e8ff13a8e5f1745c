//! `Headcount.SortedSet`.

use headcount::SortedSet;
use rustler::{Encoder, Env, Resource, ResourceArc, Term};

use crate::atoms;
use crate::shared::{Patience, Shared, answer, twins};
use crate::term::{self, ENCODED_MAX, ENCODED_NORMAL_MAX, Key, Unencodable, decode};

/// The longest slice that is copied under the lock.
const PAGE: usize = 1024;
/// The most bytes of long members in it.
const PAGE_BYTES: usize = 256 * 1024;

#[derive(Debug)]
struct Set(Shared<SortedSet<Key>>);

#[rustler::resource_impl]
impl Resource for Set {}

impl Encoder for Unencodable {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        match self {
            Self::Type => atoms::unsupported_type(),
            Self::Depth => atoms::too_deep(),
            Self::Size => atoms::too_large(),
        }
        .encode(env)
    }
}

/// Returns the term as a key. On a normal scheduler a long one is refused as `Size`, see [`unencodable`].
fn encode(term: Term<'_>, patience: Patience) -> Result<Key, Unencodable> {
    let max = match patience {
        Patience::Moment => ENCODED_NORMAL_MAX,
        Patience::Endless => ENCODED_MAX,
    };
    term::encode(term, max)
}

/// Returns the error; `:busy` where a dirty scheduler can encode the term.
fn unencodable<'a>(env: Env<'a>, error: Unencodable, patience: Patience) -> Term<'a> {
    match (error, patience) {
        (Unencodable::Size, Patience::Moment) => atoms::busy().encode(env),
        _ => error.encode(env),
    }
}

#[rustler::nif]
fn sorted_set_new() -> ResourceArc<Set> {
    ResourceArc::new(Set(Shared::new(SortedSet::new())))
}

/// Returns the set, an error such as `:unsupported_type`, `:improper`, or `{:unsorted, index}` for a list that was
/// declared sorted.
#[rustler::nif(schedule = "DirtyCpu")]
fn sorted_set_from_list<'a>(env: Env<'a>, terms: Term<'a>, proper: bool) -> Term<'a> {
    let keys = match keys(terms) {
        Ok(Some(keys)) => keys,
        Ok(None) => return atoms::improper().encode(env),
        Err(error) => return error.encode(env),
    };
    let unsorted = || keys.windows(2).position(|pair| pair[0] >= pair[1]);
    if let Some(before) = proper.then(unsorted).flatten() {
        return (atoms::unsorted(), before + 1).encode(env);
    }
    ResourceArc::new(Set(Shared::new(SortedSet::from_vec(keys)))).encode(env)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn sorted_set_to_list<'a>(env: Env<'a>, set: ResourceArc<Set>) -> Term<'a> {
    slice(env, &set, 0, usize::MAX)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn sorted_set_memory(set: ResourceArc<Set>) -> Option<usize> {
    let set = set.0.read(Patience::Endless, SortedSet::clone)?;
    Some(set.heap_bytes() + set.iter().map(Key::heap_bytes).sum::<usize>())
}

twins! {
    /// Returns the index of the new member, `nil` when it was a member already.
    fn sorted_set_add / "sorted_set_add_dirty" [env, patience] (
        set: ResourceArc<Set>, item: Term<'a>,
    ) {
        match encode(item, patience) {
            Ok(key) => answer(env, set.0.write(patience, |set| new_index(set.insert(key)))),
            Err(error) => unencodable(env, error, patience),
        }
    }
}

twins! {
    /// Returns the index that the member had, `nil` when it was none.
    fn sorted_set_remove / "sorted_set_remove_dirty" [env, patience] (
        set: ResourceArc<Set>, item: Term<'a>,
    ) {
        match encode(item, patience) {
            Ok(key) => answer(env, set.0.write(patience, |set| set.remove(&key))),
            Err(error) => unencodable(env, error, patience),
        }
    }
}

twins! {
    fn sorted_set_size / "sorted_set_size_dirty" [env, patience] (set: ResourceArc<Set>) {
        answer(env, set.0.read(patience, |set| set.len()))
    }
}

twins! {
    /// Returns `{:ok, term}`, or `:error` past the end.
    fn sorted_set_at / "sorted_set_at_dirty" [env, patience] (set: ResourceArc<Set>, index: usize) {
        match set.0.read(patience, |set| set.get(index).cloned()) {
            None => atoms::busy().encode(env),
            Some(None) => atoms::error().encode(env),
            Some(Some(key)) if is_long(&key, patience) => atoms::busy().encode(env),
            Some(Some(key)) => (atoms::ok(), decode(env, &key)).encode(env),
        }
    }
}

twins! {
    fn sorted_set_find_index / "sorted_set_find_index_dirty" [env, patience] (
        set: ResourceArc<Set>, item: Term<'a>,
    ) {
        match encode(item, patience) {
            Ok(key) => answer(env, set.0.read(patience, |set| set.index_of(&key))),
            Err(error) => unencodable(env, error, patience),
        }
    }
}

/// Returns at most `PAGE` members; more take the dirty twin.
#[rustler::nif]
fn sorted_set_slice<'a>(
    env: Env<'a>,
    set: ResourceArc<Set>,
    start: usize,
    amount: usize,
) -> Term<'a> {
    let end = start.saturating_add(amount.min(PAGE));
    let page = set.0.read(Patience::Moment, |set| {
        let bytes: usize = set.slice(start..end).map(Key::heap_bytes).sum();
        (bytes <= PAGE_BYTES).then(|| list(env, set.slice(start..end)))
    });
    answer(env, page.flatten())
}

#[rustler::nif(schedule = "DirtyCpu")]
fn sorted_set_slice_dirty<'a>(
    env: Env<'a>,
    set: ResourceArc<Set>,
    start: usize,
    amount: usize,
) -> Term<'a> {
    slice(env, &set, start, amount)
}

/// Reads an O(1) copy, so that no writer waits.
fn slice<'a>(env: Env<'a>, set: &Set, start: usize, amount: usize) -> Term<'a> {
    let copy = set
        .0
        .read(Patience::Endless, SortedSet::clone)
        .unwrap_or_default();
    list(env, copy.slice(start..start.saturating_add(amount)))
}

fn list<'a, 'k>(env: Env<'a>, keys: impl ExactSizeIterator<Item = &'k Key>) -> Term<'a> {
    let mut terms = Vec::with_capacity(keys.len() + 8);
    keys.for_each(|key| term::push(env, key, &mut terms));
    terms.encode(env)
}

fn new_index((index, is_new): (usize, bool)) -> Option<usize> {
    is_new.then_some(index)
}

/// Returns whether a dirty scheduler must make the term of a member.
fn is_long(key: &Key, patience: Patience) -> bool {
    matches!(patience, Patience::Moment) && key.heap_bytes() > ENCODED_NORMAL_MAX
}

/// Returns the members of a list, `None` for an improper one.
fn keys(terms: Term<'_>) -> Result<Option<Vec<Key>>, Unencodable> {
    let mut keys = Vec::new();
    let mut rest = terms;
    while let Ok((head, tail)) = rest.list_get_cell() {
        keys.push(encode(head, Patience::Endless)?);
        rest = tail;
    }
    Ok(rest.is_empty_list().then_some(keys))
}
