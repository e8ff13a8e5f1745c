//! Reads. None of them sends a message to a process.

use headcount::tracker::{Key, ListRevision, Pages};
use headcount::{Entry, Presence, ReadError, Tracker};
use rustler::{Encoder, Env, ResourceArc, Term};

use super::Cluster;
use super::lists::Read;
use crate::atoms;
use crate::entries::Reader;
use crate::shared::{answer, patiently, twins};

/// Most keys of a long list that are read while the lock is held.
const PAGE_KEYS: usize = 256;

/// The longest kept list that a normal scheduler copies.
const COPIED_MAX: usize = 1_000;

/// Returns what was read: the trackers are in mode `all`, in which every topic can be read.
fn readable<T>(read: Result<T, ReadError>) -> T {
    read.expect("every topic can be read in mode `all`")
}

twins! {
    /// Returns `[{owner, meta}]`
    fn presence_get_by_key / "presence_get_by_key_dirty" [env, patience] (
        cluster: ResourceArc<Cluster>, topic: &'a str, name: Term<'a>,
    ) {
        let Some((encoding, key)) = cluster.codec.look_up(name) else {
            return Vec::<Term<'a>>::new().encode(env);
        };
        let reader = cluster.reader(env);
        let read = |tracker: &Tracker| {
            let sessions = tracker.get_by_key(topic, Key::new(encoding, &key));
            sessions.map(|entry| reader.by_owner(&entry)).collect::<Vec<_>>()
        };
        let presence = &cluster.presence;
        let sessions = patiently(
            patience,
            || presence.try_read(topic, read).map(readable),
            || readable(presence.read(topic, read)),
        );
        answer(env, sessions)
    }
}

/// Returns `[{key, meta}]` of a topic with up to `max` entries; `:many` if there are more, for [`presence_list`].
#[rustler::nif]
fn presence_list_short<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    topic: &str,
    max: usize,
) -> Term<'a> {
    let read = |tracker: &Tracker| {
        let revision = tracker.list_revision(topic);
        if let Some(list) = cluster.lists.copy(env, topic, revision, COPIED_MAX) {
            return list;
        }
        if tracker.count(topic) > max {
            return atoms::many().encode(env);
        }
        let mut making = Making::new(&cluster, env);
        tracker.list(topic).for_each(|entry| making.push(entry));
        making.finish(topic, revision)
    };
    let presence = &cluster.presence;
    let list = patiently(
        crate::shared::Patience::Moment,
        || presence.try_read(topic, read).map(readable),
        || readable(presence.read(topic, read)),
    );
    list.unwrap_or_else(|| atoms::many().encode(env))
}

/// Returns `[{key, meta}]`, read in pages so that writers wait for one page only.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_list<'a>(env: Env<'a>, cluster: ResourceArc<Cluster>, topic: &str) -> Term<'a> {
    let presence = &cluster.presence;
    let revision = || readable(presence.read(topic, |tracker| tracker.list_revision(topic)));
    let before = revision();
    if let Some(list) = cluster.lists.copy(env, topic, before, usize::MAX) {
        return list;
    }
    let mut making = Making::new(&cluster, env);
    let mut pages = readable(presence.begin_pages(topic));
    read_pages(presence, &mut pages, &mut making);
    if revision() == before {
        making.finish(topic, before)
    } else {
        making.terms.encode(env)
    }
}

/// As [`presence_list`], with the entries of nodes that are down.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_dirty_list<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    topic: &str,
) -> Vec<Term<'a>> {
    let presence = &cluster.presence;
    let mut making = Making::new(&cluster, env);
    let mut pages = readable(presence.begin_pages(topic)).down_too();
    read_pages(presence, &mut pages, &mut making);
    making.terms
}

fn read_pages(presence: &Presence, pages: &mut Pages, making: &mut Making<'_, '_>) {
    while !readable(presence.page(pages, PAGE_KEYS, |entry| making.push(entry))).done {}
}

/// A list that is being made.
struct Making<'a, 'c> {
    cluster: &'c Cluster,
    reader: Reader<'a>,
    terms: Vec<Term<'a>>,
    /// False if a term depends on more than the entries: on the atoms that this VM knows.
    is_lasting: bool,
}

impl<'a, 'c> Making<'a, 'c> {
    fn new(cluster: &'c Cluster, env: Env<'a>) -> Self {
        Self {
            cluster,
            reader: cluster.reader(env),
            terms: Vec::new(),
            is_lasting: !cluster.codec.existing_atoms,
        }
    }

    fn push(&mut self, entry: Entry<'_>) {
        let (key, meta) = self.reader.key_and_meta(&entry);
        self.is_lasting &= !Reader::is_undecodable(key) && !Reader::is_undecodable(meta);
        self.terms.push((key, meta).encode(self.reader.env));
    }

    /// Returns the list, which was read at this revision.
    fn finish(self, topic: &str, revision: ListRevision) -> Term<'a> {
        let len = self.terms.len();
        let list = self.terms.encode(self.reader.env);
        if self.is_lasting && len > 0 {
            self.cluster.lists.note(
                topic,
                &Read {
                    revision,
                    list,
                    len,
                },
            );
        }
        list
    }
}

twins! {
    fn presence_count / "presence_count_dirty" [env, patience] (
        cluster: ResourceArc<Cluster>, topic: &'a str,
    ) {
        let presence = &cluster.presence;
        let count = |tracker: &Tracker| tracker.count(topic);
        answer(env, patiently(
            patience,
            || presence.try_read(topic, count).map(readable),
            || readable(presence.read(topic, count)),
        ))
    }
}

/// Returns the number of keys. Dirty: while a node is down the first call after a change reads the whole topic.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_count_keys(cluster: ResourceArc<Cluster>, topic: &str) -> usize {
    readable(cluster.presence.count_keys(topic)).at_most
}

twins! {
    fn presence_size / "presence_size_dirty" [env, patience] (cluster: ResourceArc<Cluster>) {
        let presence = &cluster.presence;
        answer(env, patiently(patience, || presence.try_len(), || presence.len()))
    }
}

#[rustler::nif(schedule = "DirtyCpu")]
fn presence_is_synced(cluster: ResourceArc<Cluster>) -> bool {
    cluster.presence.is_synced()
}

/// Returns `[{name, incarnation, up}]` of the other replicas.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_replicas(cluster: ResourceArc<Cluster>) -> Vec<(String, u64, bool)> {
    let replicas = cluster.presence.replicas().into_iter();
    replicas
        .map(|(id, up)| (id.name().to_owned(), id.incarnation(), up))
        .collect()
}
