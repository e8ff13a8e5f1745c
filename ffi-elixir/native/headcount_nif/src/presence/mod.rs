//! `Headcount.Tracker` with processes: one `Presence` that all of them share.

mod changes;
mod cluster;
mod groups;
mod level;
mod lists;
mod read;
mod signal;
mod tally;
mod topics;
mod versions;
mod watch;
mod write;

use headcount::codec::SharedKey;
use headcount::replica::{Config, Mode, Tally};
use headcount::{Presence, PresenceConfig, ReplicaId};
use parking_lot::Mutex;
use rustler::{Binary, Encoder, Env, Error, NifResult, Resource, ResourceArc, Term};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use self::changes::Outbox;
use self::groups::Groups;
use self::lists::Lists;
use self::topics::Topics;
use self::versions::Versions;
use self::watch::Watch;
use crate::entries::{self, Codec, Reader};
use crate::errors;
use crate::owner;
use crate::shared::Discarded;

/// Entries that are handled while the lock of a part of the topics is held: about a tenth of a millisecond.
const SLICE_ENTRIES_MAX: usize = 128;

struct Cluster {
    presence: Discarded<Presence>,
    /// Its monitors end on the thread that drops it.
    watch: Discarded<ResourceArc<Watch>>,
    topics: Discarded<ResourceArc<Topics>>,
    groups: Groups,
    clock: Clock,
    versions: Versions,
    outbox: Outbox,
    codec: Codec,
    lists: Lists,
    /// What happened since the start.
    tally: Mutex<Tally>,
    /// True if the entries of lost owners stay for a while.
    has_grace: bool,
    /// True if the shards link all owners, and so must learn of each.
    link: bool,
    /// True if this node holds of others what it watches.
    is_interest: bool,
    /// True if it can hold the counts of a topic without its entries.
    has_counts: bool,
    /// True if it watches the topics with entries of its own.
    watches_tracked: bool,
    /// True if peers are not trusted: their terms create no atoms.
    safe: AtomicBool,
}

/// A panic leaves no lock of the presence locked, and each entry is changed under one lock.
impl UnwindSafe for Cluster {}
impl RefUnwindSafe for Cluster {}

#[rustler::resource_impl]
impl Resource for Cluster {}

impl Cluster {
    fn reader<'a>(&self, env: Env<'a>) -> Reader<'a> {
        Reader {
            env,
            safe: self.safe.load(Ordering::Acquire),
            existing_atoms: self.codec.existing_atoms,
        }
    }

    /// Starts the grace of owners that are lost, or removes their entries if there is none. Returns the number of
    /// those that it removed.
    fn owners_lost<'a>(&self, now: Duration, owners: impl IntoIterator<Item = Term<'a>>) -> usize {
        let owners = owners.into_iter().map(|owner| self.codec.owner(owner));
        let owners: Vec<_> = owners.collect();
        if self.has_grace {
            owners
                .iter()
                .for_each(|owner| self.presence.owner_lost(now, owner));
            0
        } else {
            self.presence.untrack_owners(&owners)
        }
    }
}

/// The time for calls that are not told it: a time that was told, and the moment at which it was.
struct Clock(Mutex<(Duration, Instant)>);

impl Clock {
    fn new(now: Duration) -> Self {
        Self(Mutex::new((now, Instant::now())))
    }

    fn set(&self, now: Duration) {
        *self.0.lock() = (now, Instant::now());
    }

    fn now(&self) -> Duration {
        let (told, at) = *self.0.lock();
        told + at.elapsed()
    }
}

/// What all nodes of a cluster have in common: its name, the number of partitions, whether the mode is `interest`,
/// whether nodes tell how many entries they have, and whether they pass frames on.
type Shared<'a> = (&'a str, u32, bool, bool, bool);

/// `(heartbeat, down_after, forget_after, vacate_after, ready_after, unwatch_after, grace)`, in milliseconds.
type Times = (u64, u64, u64, u64, u64, u64, u64);

/// True if owners are linked, true if topics with own entries are watched, the longest frame, the time in microseconds.
type Own = (bool, bool, usize, u64);

#[rustler::nif]
fn presence_new<'a>(
    env: Env<'a>,
    (name, seed): (&'a str, u64),
    (cluster, partitions, is_interest, counts, relay): Shared<'a>,
    key: Option<Binary<'a>>,
    times: Times,
    (link, watches_tracked, frame_max, now): Own,
    (json, existing_atoms): (bool, bool),
) -> NifResult<Term<'a>> {
    let (heartbeat, down, forget, vacate, ready, unwatch, grace) = times;
    let mode = if is_interest {
        Mode::Interest
    } else {
        Mode::All
    };
    let key = key.map(shared_key).transpose()?;
    let replication = Config::default()
        .cluster(cluster)
        .key(key)
        .partitions(partitions)
        .mode(mode)
        .counts(counts)
        .relay(relay)
        .heartbeat(Duration::from_millis(heartbeat))
        .down_after(Duration::from_millis(down))
        .forget_after(Duration::from_millis(forget))
        .vacate_after(Duration::from_millis(vacate))
        .ready_after(Duration::from_millis(ready))
        .unwatch_after(Duration::from_millis(unwatch))
        .push_after(Duration::ZERO)
        .frame_max(frame_max);
    // The calling process gathers changes by itself: a flush waits no longer.
    let config = PresenceConfig::default()
        .limits(entries::limits())
        .replication(replication)
        .seed(seed)
        .flush(Duration::ZERO)
        .grace(Duration::from_millis(grace))
        .slice_entries_max(SLICE_ENTRIES_MAX);
    let watch = ResourceArc::new(Watch::default());
    let topics = ResourceArc::new(Topics::new(watch.clone(), counts));
    Ok(match ReplicaId::generate(name, SystemTime::now()) {
        Err(error) => errors::described(env, &error),
        Ok(id) => ResourceArc::new(Cluster {
            presence: Discarded::new(Presence::new(id, config)),
            watch: Discarded::new(watch),
            topics: Discarded::new(topics),
            groups: Groups::default(),
            clock: Clock::new(Duration::from_micros(now)),
            versions: Versions::default(),
            outbox: Outbox::default(),
            codec: Codec {
                replica: name.into(),
                json,
                existing_atoms,
            },
            lists: Lists::default(),
            tally: Mutex::default(),
            has_grace: grace > 0,
            link,
            is_interest,
            has_counts: is_interest && counts,
            watches_tracked: is_interest && watches_tracked,
            safe: AtomicBool::new(true),
        })
        .encode(env),
    })
}

/// Reads the secret of a cluster, whose length the caller has checked.
fn shared_key(key: Binary<'_>) -> NifResult<SharedKey> {
    let key = key.as_slice().try_into();
    key.map(SharedKey::new).map_err(|_| Error::BadArg)
}

#[rustler::nif]
fn presence_set_safe(cluster: ResourceArc<Cluster>, safe: bool) {
    cluster.safe.store(safe, Ordering::Release);
    cluster.lists.clear();
}

/// Makes frames no longer than this from now on.
#[rustler::nif]
fn presence_set_frame_max(cluster: ResourceArc<Cluster>, frame_max: usize) {
    cluster.presence.set_frame_max(frame_max);
}

/// Returns the name of the replica of a node.
#[rustler::nif]
fn replica_name(node: &str) -> String {
    owner::replica_name(node).into_owned()
}

/// Remembers the names of nodes: an entry has only a part of a long one, see `owner`.
#[rustler::nif]
fn remember_nodes(names: Vec<String>) {
    names.iter().for_each(|name| owner::remember(name));
}

/// Makes the calling process the one that moves frames and diffs: it gets the message `:changed`.
#[rustler::nif]
fn presence_attach(env: Env<'_>, cluster: ResourceArc<Cluster>) {
    cluster.watch.attach(env.pid());
}
