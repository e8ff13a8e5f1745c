//! `Headcount.Tracker` with processes: one `Presence` that all of them share.

use headcount::replica::{Config, Destination, Event};
use headcount::{Encoding, Key, Presence, PresenceConfig, Put, ReplicaId, TopicDiff, slot_of};
use rustler::{Binary, Encoder, Env, Resource, ResourceArc, Term};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::atoms;
use crate::entries::{self, Reader, external, key};
use crate::errors;
use crate::shared::Discarded;

/// Entries of the diff that one callback gets, unless one topic has more.
const DIFF_ENTRIES: usize = 10_000;

struct Cluster {
    presence: Discarded<Presence>,
    /// Whether the process that moves frames and diffs was told that there is something to do.
    awake: AtomicBool,
    /// Peers are not trusted: their terms create no atoms.
    safe: AtomicBool,
}

/// A panic leaves no lock of the presence locked, and each entry is changed under one lock.
impl UnwindSafe for Cluster {}
impl RefUnwindSafe for Cluster {}

#[rustler::resource_impl]
impl Resource for Cluster {}

/// Changes on their way to a callback. They become terms where they are used.
struct Changes(Vec<TopicDiff>, bool);

#[rustler::resource_impl]
impl Resource for Changes {}

impl Cluster {
    fn reader<'a>(&self, env: Env<'a>) -> Reader<'a> {
        Reader {
            env,
            safe: self.safe(),
        }
    }

    fn safe(&self) -> bool {
        self.safe.load(Ordering::Acquire)
    }

    /// Whether the caller must wake the process.
    fn wake(&self) -> bool {
        !self.awake.swap(true, Ordering::AcqRel)
    }

    fn sessions(&self, topic: &str, key: &[u8]) -> Vec<headcount::EntryBuf> {
        self.presence
            .get_by_key(topic, Key::new(Encoding::Term, key))
    }
}

/// `(name, incarnation, salt, seed)`
type Identity<'a> = (&'a str, u64, u32, u64);
/// `(cluster, heartbeat, down_after, forget_after, push_after, max_frame)`, times in milliseconds.
type Times<'a> = (&'a str, u64, u64, u64, u64, usize);

#[rustler::nif]
fn presence_new<'a>(env: Env<'a>, id: Identity<'a>, times: Times<'a>) -> Term<'a> {
    let (name, incarnation, salt, seed) = id;
    let (cluster, heartbeat, down, forget, push, max_frame) = times;
    let mut config = PresenceConfig::default();
    config.limits = entries::limits();
    config.seed = seed;
    // The process that calls waits for changes to gather by itself.
    config.flush = Duration::ZERO;
    config.cluster = Config {
        cluster: cluster.to_owned(),
        heartbeat: Duration::from_millis(heartbeat),
        down_after: Duration::from_millis(down),
        forget_after: Duration::from_millis(forget),
        push_after: Duration::from_millis(push),
        max_frame,
        ..Config::default()
    };
    match ReplicaId::new(name, incarnation, salt) {
        Err(error) => errors::described(env, &error),
        Ok(id) => ResourceArc::new(Cluster {
            presence: Discarded::new(Presence::new(id, config)),
            awake: AtomicBool::new(false),
            safe: AtomicBool::new(true),
        })
        .encode(env),
    }
}

#[rustler::nif]
fn presence_set_safe(cluster: ResourceArc<Cluster>, safe: bool) {
    cluster.safe.store(safe, Ordering::Release);
}

/// `{:ok, ref, wake}` or `{:error, reason}`.
#[rustler::nif]
fn presence_track<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    owner: Term<'a>,
    topic: &str,
    name: Term<'a>,
    meta: Term<'a>,
) -> Term<'a> {
    let (key, owner, meta) = (key(name), external(owner), entries::meta(meta, None));
    let put = Put::bytes(topic, &key, &owner, Encoding::Term).meta(&meta);
    match cluster.presence.track(&put) {
        Ok(entry_ref) => (atoms::ok(), entry_ref.to_string(), cluster.wake()).encode(env),
        Err(error) => errors::track(env, &error),
    }
}

/// `{:ok, ref, wake}` or `{:error, reason}`. The meta gets the reference that it replaces.
#[rustler::nif]
fn presence_update<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    owner: Term<'a>,
    topic: &str,
    name: Term<'a>,
    meta: Term<'a>,
) -> Term<'a> {
    let (key, owner) = (key(name), external(owner));
    let sessions = cluster.sessions(topic, &key);
    let old = sessions.iter().find(|entry| entry.owner() == &*owner);
    let meta = entries::meta(meta, old.map(headcount::EntryBuf::entry_ref));
    let put = Put::bytes(topic, &key, &owner, Encoding::Term).meta(&meta);
    match cluster.presence.update(&put) {
        Ok(entry_ref) => (atoms::ok(), entry_ref.to_string(), cluster.wake()).encode(env),
        Err(error) => errors::track(env, &error),
    }
}

/// Whether to wake.
#[rustler::nif]
fn presence_untrack(
    cluster: ResourceArc<Cluster>,
    owner: Term<'_>,
    topic: &str,
    name: Term<'_>,
) -> bool {
    let (key, owner) = (key(name), external(owner));
    let key = Key::new(Encoding::Term, &key);
    cluster.presence.untrack(topic, key, &*owner) && cluster.wake()
}

/// Removes all entries of these owners. Whether to wake.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_untrack_owners(cluster: ResourceArc<Cluster>, owners: Vec<Term<'_>>) -> bool {
    let removed = owners
        .into_iter()
        .map(|owner| cluster.presence.untrack_owner(&*external(owner)));
    removed.sum::<usize>() > 0 && cluster.wake()
}

/// `[{owner, meta}]`
#[rustler::nif]
fn presence_get_by_key<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    topic: &str,
    name: Term<'a>,
) -> Term<'a> {
    let reader = cluster.reader(env);
    let sessions = cluster.sessions(topic, &key(name));
    sessions
        .iter()
        .map(|entry| reader.by_owner(entry))
        .collect::<Vec<_>>()
        .encode(env)
}

/// `[{key, meta}]` of a topic with up to `max` entries; more are `:many`.
#[rustler::nif]
fn presence_list_short<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    topic: &str,
    max: usize,
) -> Term<'a> {
    if cluster.presence.count(topic) > max {
        return atoms::many().encode(env);
    }
    list(env, &cluster, topic)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn presence_list<'a>(env: Env<'a>, cluster: ResourceArc<Cluster>, topic: &str) -> Term<'a> {
    list(env, &cluster, topic)
}

#[rustler::nif]
fn presence_count(cluster: ResourceArc<Cluster>, topic: &str) -> usize {
    cluster.presence.count(topic)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn presence_count_keys(cluster: ResourceArc<Cluster>, topic: &str) -> usize {
    cluster.presence.count_keys(topic)
}

#[rustler::nif]
fn presence_size(cluster: ResourceArc<Cluster>) -> usize {
    cluster.presence.len()
}

/// Takes a frame in: `:ok` or `{:error, {:decode, offset, kind}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_handle_message<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    now: u64,
    from: &str,
    frame: Binary<'a>,
) -> Term<'a> {
    let frame = frame.as_slice().to_vec().into();
    match cluster
        .presence
        .handle_message(Duration::from_micros(now), from, &frame)
    {
        Ok(()) => atoms::ok().encode(env),
        Err(error) => errors::decode(env, &error),
    }
}

#[rustler::nif(schedule = "DirtyCpu")]
fn presence_handle_timeout(cluster: ResourceArc<Cluster>, now: u64) {
    cluster.awake.store(false, Ordering::Release);
    cluster.presence.handle_timeout(Duration::from_micros(now));
}

#[rustler::nif(schedule = "DirtyCpu")]
fn presence_disconnected(cluster: ResourceArc<Cluster>, now: u64, from: &str) {
    cluster
        .presence
        .disconnected(Duration::from_micros(now), from);
}

#[rustler::nif(schedule = "DirtyCpu")]
fn presence_leave_gracefully(cluster: ResourceArc<Cluster>, now: u64) {
    cluster
        .presence
        .leave_gracefully(Duration::from_micros(now));
}

/// `{[{to | nil, frame}], [event], next_timeout | nil}`, times in microseconds as everywhere.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_poll<'a>(env: Env<'a>, cluster: ResourceArc<Cluster>) -> Term<'a> {
    let frames = std::iter::from_fn(|| cluster.presence.poll_transmit()).map(|transmit| {
        let to = match &transmit.to {
            Destination::All => None,
            Destination::Peer(address) => Some(address.to_string()),
        };
        (to, entries::binary(env, &transmit.frame)).encode(env)
    });
    let frames: Vec<_> = frames.collect();
    let events = std::iter::from_fn(|| cluster.presence.poll_event());
    let events: Vec<_> = events.map(|event| event_term(env, &event)).collect();
    let next = cluster
        .presence
        .poll_timeout()
        .map(|at| at.as_micros() as u64);
    (frames, events, next).encode(env)
}

/// `[{shard, changes}]`: the changes since the last call, those of each shard in order.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_take_diffs<'a>(env: Env<'a>, cluster: ResourceArc<Cluster>, shards: u32) -> Term<'a> {
    let mut parts = Parts {
        env,
        shards,
        safe: cluster.safe(),
        open: Vec::new(),
        done: Vec::new(),
    };
    for diff in std::iter::from_fn(|| cluster.presence.poll_diff()) {
        diff.into_iter().for_each(|topic| parts.push(topic));
        // A topic may come again in the next diff, so this one ends here.
        parts.close_all();
    }
    parts.done.encode(env)
}

/// `%{topic => {joins, leaves}}`
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_changes<'a>(env: Env<'a>, changes: ResourceArc<Changes>) -> Term<'a> {
    Reader {
        env,
        safe: changes.1,
    }
    .diff(&changes.0)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn presence_is_synced(cluster: ResourceArc<Cluster>) -> bool {
    cluster.presence.is_synced()
}

/// `[{name, incarnation, up}]` of the other replicas.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_replicas(cluster: ResourceArc<Cluster>) -> Vec<(String, u64, bool)> {
    let replicas = cluster.presence.replicas().into_iter();
    replicas
        .map(|(id, up)| (id.name().to_owned(), id.incarnation(), up))
        .collect()
}

fn list<'a>(env: Env<'a>, cluster: &Cluster, topic: &str) -> Term<'a> {
    let reader = cluster.reader(env);
    let entries = cluster.presence.list(topic);
    entries
        .iter()
        .map(|entry| reader.by_key(entry))
        .collect::<Vec<_>>()
        .encode(env)
}

/// Collects topics of each shard until there are enough for one callback.
struct Parts<'a> {
    env: Env<'a>,
    shards: u32,
    safe: bool,
    open: Vec<(u32, usize, Vec<TopicDiff>)>,
    done: Vec<Term<'a>>,
}

impl Parts<'_> {
    fn push(&mut self, topic: TopicDiff) {
        let shard = u32::from(slot_of(&topic.topic)) % self.shards.max(1);
        let at = match self.open.iter().position(|(open, ..)| *open == shard) {
            Some(at) => at,
            None => {
                self.open.push((shard, 0, Vec::new()));
                self.open.len() - 1
            }
        };
        let (_, entries, topics) = &mut self.open[at];
        *entries += topic.len();
        topics.push(topic);
        if *entries >= DIFF_ENTRIES {
            self.close(at);
        }
    }

    fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.close(0);
        }
    }

    fn close(&mut self, at: usize) {
        let (shard, _, topics) = self.open.swap_remove(at);
        let changes = ResourceArc::new(Changes(topics, self.safe));
        self.done.push((shard, changes).encode(self.env));
    }
}

/// `{:replica_up, name}` and the like; `nil` for what has no name in Elixir.
fn event_term<'a>(env: Env<'a>, event: &Event) -> Term<'a> {
    let named = |what: rustler::Atom, id: &ReplicaId| (what, id.name()).encode(env);
    match event {
        Event::ReplicaUp(id) => named(atoms::replica_up(), id),
        Event::ReplicaDown(id) => named(atoms::replica_down(), id),
        Event::ReplicaForgotten(id) | Event::ReplicaLeft(id) => {
            named(atoms::replica_permdown(), id)
        }
        Event::Divergence { origin, .. } => named(atoms::divergence(), origin),
        Event::DuplicateName { other } => named(atoms::duplicate_name(), other),
        Event::Reincarnated { id } => named(atoms::reincarnated(), id),
        other => (atoms::other(), format!("{other:?}")).encode(env),
    }
}
