//! Reads. None of them sends a message to a process.

use headcount::tracker::Key;
use headcount::{Entry, Tracker};
use rustler::{Encoder, Env, ResourceArc, Term};

use super::Cluster;
use crate::atoms;
use crate::shared::{answer, patiently, twins};

/// Most keys of a long list that are read while the lock is held.
const PAGE_KEYS: usize = 256;

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
        let sessions =
            patiently(patience, || presence.try_read(topic, read), || presence.read(topic, read));
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
    let reader = cluster.reader(env);
    let read = |tracker: &Tracker| {
        if tracker.count(topic) > max {
            return atoms::many().encode(env);
        }
        let entries = tracker.list(topic).map(|entry| reader.by_key(&entry));
        entries.collect::<Vec<_>>().encode(env)
    };
    let presence = &cluster.presence;
    let list = patiently(
        crate::shared::Patience::Moment,
        || presence.try_read(topic, read),
        || presence.read(topic, read),
    );
    list.unwrap_or_else(|| atoms::many().encode(env))
}

/// Returns `[{key, meta}]`, read in pages so that writers wait for one page only.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_list<'a>(env: Env<'a>, cluster: ResourceArc<Cluster>, topic: &str) -> Term<'a> {
    let reader = cluster.reader(env);
    let mut terms = Vec::new();
    let mut pages = cluster.presence.begin_pages(topic);
    let mut add = |entry: Entry<'_>| terms.push(reader.by_key(&entry));
    while !cluster.presence.page(&mut pages, PAGE_KEYS, &mut add).done {}
    terms.encode(env)
}

twins! {
    fn presence_count / "presence_count_dirty" [env, patience] (
        cluster: ResourceArc<Cluster>, topic: &'a str,
    ) {
        let presence = &cluster.presence;
        let count = |tracker: &Tracker| tracker.count(topic);
        answer(env, patiently(
            patience,
            || presence.try_read(topic, count),
            || presence.read(topic, count),
        ))
    }
}

/// Returns the number of keys. Dirty: while a node is down the first call after a change reads the whole topic.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_count_keys(cluster: ResourceArc<Cluster>, topic: &str) -> usize {
    cluster.presence.count_keys(topic)
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
