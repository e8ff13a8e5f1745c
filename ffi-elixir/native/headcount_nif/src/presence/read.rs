//! Reads. None of them sends a message to a process.

use headcount::tracker::{Key, ListRevision, Pages};
use headcount::{Entry, Presence, ReadError, Tracker};
use rustler::{Encoder, Env, ResourceArc, Term};

use super::Cluster;
use super::lists::Read;
use super::tally::{Counted, counted};
use crate::atoms;
use crate::entries::Reader;
use crate::errors;
use crate::keys::Keys;
use crate::shared::{answer, patiently, twins};

/// Most keys of a long list that are read while the lock is held.
const PAGE_KEYS: usize = 256;

/// The longest kept list that a normal scheduler copies.
const COPIED_MAX: usize = 1_000;

/// Returns what was read, `{:error, :not_watched}` or `{:error, :not_ready}`.
fn readable<'a>(env: Env<'a>, read: Result<impl Encoder, ReadError>) -> Term<'a> {
    match read {
        Ok(read) => read.encode(env),
        Err(ReadError::NotWatched { .. }) => (atoms::error(), atoms::not_watched()).encode(env),
        Err(ReadError::NotReady { .. }) => (atoms::error(), atoms::not_ready()).encode(env),
        Err(other) => errors::described(env, &other),
    }
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
            || presence.try_read(topic, read),
            || presence.read(topic, read),
        );
        answer(env, sessions.map(|sessions| readable(env, sessions)))
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
        || presence.try_read(topic, read),
        || presence.read(topic, read),
    );
    list.map_or_else(|| atoms::many().encode(env), |list| readable(env, list))
}

/// Returns `[{key, meta}]`, read in pages so that writers wait for one page only.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_list<'a>(env: Env<'a>, cluster: ResourceArc<Cluster>, topic: &str) -> Term<'a> {
    readable(env, list(env, &cluster, topic))
}

fn list<'a>(env: Env<'a>, cluster: &Cluster, topic: &str) -> Result<Term<'a>, ReadError> {
    let presence = &cluster.presence;
    let revision = || presence.read(topic, |tracker| tracker.list_revision(topic));
    let before = revision()?;
    if let Some(list) = cluster.lists.copy(env, topic, before, usize::MAX) {
        return Ok(list);
    }
    let mut making = Making::new(cluster, env);
    let mut pages = presence.begin_pages(topic)?;
    read_pages(presence, &mut pages, &mut making)?;
    Ok(if revision()? == before {
        making.finish(topic, before)
    } else {
        making.terms.encode(env)
    })
}

/// As [`presence_list`], with the entries of nodes that are down.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_dirty_list<'a>(env: Env<'a>, cluster: ResourceArc<Cluster>, topic: &str) -> Term<'a> {
    readable(env, dirty_list(env, &cluster, topic))
}

fn dirty_list<'a>(
    env: Env<'a>,
    cluster: &Cluster,
    topic: &str,
) -> Result<Vec<Term<'a>>, ReadError> {
    let presence = &cluster.presence;
    let mut making = Making::new(cluster, env);
    let mut pages = presence.begin_pages(topic)?.down_too();
    read_pages(presence, &mut pages, &mut making)?;
    Ok(making.terms)
}

fn read_pages(
    presence: &Presence,
    pages: &mut Pages,
    making: &mut Making<'_, '_>,
) -> Result<(), ReadError> {
    while !presence
        .page(pages, PAGE_KEYS, |entry| making.push(entry))?
        .done
    {}
    Ok(())
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
        let counted = patiently(
            patience,
            || {
                let held = presence.try_read(topic, count)?;
                // To add the counts of all nodes up takes locks that a normal scheduler does not wait for.
                Some((held.is_ok() || !cluster.has_counts).then_some(held))
            },
            || Some(presence.count(topic)),
        );
        answer(env, counted.flatten().map(|counted| readable(env, counted)))
    }
}

/// Returns `%Headcount.Keys{}`. Dirty: while a node is down the first call after a change reads the whole topic.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_count_keys<'a>(env: Env<'a>, cluster: ResourceArc<Cluster>, topic: &str) -> Term<'a> {
    let keys = cluster.presence.count_keys(topic);
    readable(env, keys.map(Keys::from))
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

/// The entries, the topics, the bytes of remembered leaves and of waiting Diffs, and the watches of topics.
type Amounts = (usize, usize, usize, usize, usize);

/// The name of a node, whether it is up, for how many milliseconds it is silent, the partitions this one is behind in.
type Peer = (String, bool, u64, usize);

#[rustler::nif(schedule = "DirtyCpu")]
fn presence_stats(cluster: ResourceArc<Cluster>) -> (Amounts, Vec<Peer>, Counted) {
    let stats = cluster.presence.stats();
    let peers = stats.peers.into_iter().map(|peer| {
        let silence = peer.silence.as_millis() as u64;
        let name = peer.id.name().to_owned();
        (name, peer.is_up, silence, peer.partitions_behind)
    });
    let amounts = (
        stats.entries,
        stats.topics,
        stats.leave_log_bytes,
        stats.diffs_bytes + cluster.outbox.held_bytes(),
        cluster.topics.watch_count(),
    );
    (amounts, peers.collect(), counted(&cluster.tally.lock()))
}

/// Returns `[{name, incarnation, up}]` of the other replicas.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_replicas(cluster: ResourceArc<Cluster>) -> Vec<(String, u64, bool)> {
    let replicas = cluster.presence.replicas().into_iter();
    replicas
        .map(|(id, up)| (id.name().to_owned(), id.incarnation(), up))
        .collect()
}
