//! Local operations.

use headcount::TrackError;
use headcount::id::EntryRef;
use rustler::{Atom, Encoder, Env, LocalPid, ResourceArc, Term};
use std::time::Duration;

use super::Cluster;
use super::watch::Watch;
use crate::atoms;
use crate::entries::{self, Content, Session};
use crate::errors;
use crate::shared::{Patience, patiently, twins};

/// Returns `{:ok, ref}`, `{:error, reason}` or `:busy`; wakes the process that moves frames.
fn written<'a>(
    env: Env<'a>,
    cluster: &Cluster,
    result: Option<Result<EntryRef, TrackError>>,
) -> Term<'a> {
    if let Some(Ok(_)) = result {
        cluster.watch.wake(env);
    }
    entries::written(env, result)
}

/// As [`written`], but `{:ok, ref, owner}` when a shard must watch the owner: it is no process of this node.
fn tracked<'a>(
    env: Env<'a>,
    cluster: &Cluster,
    owner: Term<'a>,
    result: Option<Result<EntryRef, TrackError>>,
) -> Term<'a> {
    let Some(Ok(entry_ref)) = result else {
        return written(env, cluster, result);
    };
    let local = owner.decode::<LocalPid>().ok();
    if let Some(pid) = local {
        Watch::add(&cluster.watch, env, pid);
    }
    if local.is_some() && !cluster.link {
        return written(env, cluster, Some(Ok(entry_ref)));
    }
    cluster.watch.wake(env);
    (atoms::ok(), entries::reference(env, &entry_ref), owner).encode(env)
}

/// Returns `:ok` or `:busy`; `{:ok, owner}` when an entry is gone of an owner that a shard watches.
fn untracked<'a>(
    env: Env<'a>,
    cluster: &Cluster,
    owner: Term<'a>,
    removed: Option<bool>,
) -> Term<'a> {
    match removed {
        None => atoms::busy().encode(env),
        Some(false) => atoms::ok().encode(env),
        Some(true) => {
            cluster.watch.wake(env);
            if cluster.link || owner.decode::<LocalPid>().is_err() {
                (atoms::ok(), owner).encode(env)
            } else {
                atoms::ok().encode(env)
            }
        }
    }
}

twins! {
    /// As [`tracked`].
    fn presence_track / "presence_track_dirty" [env, patience] (
        cluster: ResourceArc<Cluster>, owner: Term<'a>, topic: &'a str, name: Term<'a>, meta: Term<'a>,
    ) {
        let content = match cluster.codec.content(name, owner, meta) {
            Ok(content) => content,
            Err(error) => return errors::json(env, &error),
        };
        let put = content.put(topic);
        let presence = &cluster.presence;
        let is_patient = matches!(patience, Patience::Endless);
        if cluster.watches_tracked && !is_patient && !cluster.topics.is_tracked(topic) {
            // To watch a topic takes a lock that a normal scheduler does not wait for.
            return atoms::busy().encode(env);
        }
        let result = patiently(
            patience,
            || {
                let _lock = cluster.versions.try_lock(topic, content.session())?;
                presence.try_track(&put)
            },
            || {
                let _lock = cluster.versions.lock(topic, content.session());
                presence.track(&put)
            },
        );
        if cluster.watches_tracked && matches!(result, Some(Ok(_))) {
            if is_patient {
                cluster.topics.note_tracked(presence, cluster.clock.now(), topic);
            } else {
                cluster.topics.note_tracked_later(topic);
            }
        }
        tracked(env, &cluster, owner, result)
    }
}

twins! {
    /// As [`written`].
    fn presence_update / "presence_update_dirty" [env, patience] (
        cluster: ResourceArc<Cluster>, owner: Term<'a>, topic: &'a str, name: Term<'a>, meta: Term<'a>,
    ) {
        let content = match cluster.codec.content(name, owner, meta) {
            Ok(content) => content,
            Err(error) => return errors::json(env, &error),
        };
        let put = content.put(topic);
        let presence = &cluster.presence;
        let updated = patiently(
            patience,
            || {
                let _lock = cluster.versions.try_lock(topic, content.session())?;
                presence.try_update(&put)
            },
            || {
                let _lock = cluster.versions.lock(topic, content.session());
                presence.update(&put)
            },
        );
        written(env, &cluster, updated)
    }
}

/// Returns the reference and the meta of an entry of this node, `nil` if there is none.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_own_meta<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    (owner, topic, name): (Term<'a>, &'a str, Term<'a>),
) -> Option<(Term<'a>, Term<'a>)> {
    let session = cluster.codec.session(name, owner).ok()?;
    let own = cluster
        .presence
        .get_own(topic, session.key(), &session.owner)?;
    let reference = entries::reference(env, &own.entry_ref());
    Some((reference, cluster.reader(env).meta(&own)))
}

/// Updates an entry if it has this reference still; returns what an update returns, or `:changed`.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_update_if<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    now: u64,
    (owner, topic, name): (Term<'a>, &'a str, Term<'a>),
    reference: &str,
    (meta, ttl): (Term<'a>, Option<u64>),
) -> Term<'a> {
    let content = match cluster.codec.content(name, owner, meta) {
        Ok(content) => content,
        Err(error) => return errors::json(env, &error),
    };
    let session = content.session();
    let lock = cluster.versions.lock(topic, session);
    let presence = &cluster.presence;
    let own = presence.get_own(topic, session.key(), &session.owner);
    if own.is_some_and(|own| own.entry_ref().to_string() != reference) {
        return atoms::changed().encode(env);
    }
    let updated = presence.update(&content.put(topic));
    drop(lock);
    let lease = lease(now, ttl);
    let updated = updated.inspect(|_| begin_lease(&cluster, session, topic, lease));
    written(env, &cluster, Some(updated))
}

twins! {
    /// As [`untracked`].
    fn presence_untrack / "presence_untrack_dirty" [env, patience] (
        cluster: ResourceArc<Cluster>, owner: Term<'a>, topic: &'a str, name: Term<'a>,
    ) {
        let Ok(session) = cluster.codec.session(name, owner) else {
            return atoms::ok().encode(env);
        };
        let key = session.key();
        let presence = &cluster.presence;
        let removed = patiently(
            patience,
            || presence.try_untrack(topic, key, &session.owner),
            || presence.untrack(topic, key, &session.owner),
        );
        untracked(env, &cluster, owner, removed)
    }
}

/// `{:track | :update | :untrack, owner, topic, key, meta, ttl_ms | nil}`
type Write<'a> = (Atom, Term<'a>, &'a str, Term<'a>, Term<'a>, Option<u64>);

/// Returns for each write what the function for one of its kind returns. A write with a `ttl` gives its entry a lease.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_write<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    now: u64,
    writes: Vec<Write<'a>>,
) -> Vec<Term<'a>> {
    let write = |(verb, owner, topic, name, meta, ttl): Write<'a>| {
        if verb == atoms::untrack() {
            let removed = cluster.codec.session(name, owner).is_ok_and(|session| {
                cluster
                    .presence
                    .untrack(topic, session.key(), &session.owner)
            });
            return untracked(env, &cluster, owner, Some(removed));
        }
        let content = match cluster.codec.content(name, owner, meta) {
            Ok(content) => content,
            Err(error) => return errors::json(env, &error),
        };
        let ttl = lease(now, ttl);
        if verb == atoms::track() {
            let result = put(&cluster, &content, topic, ttl, |put| {
                cluster.presence.track(put)
            });
            if cluster.watches_tracked && result.is_ok() {
                let now = Duration::from_micros(now);
                cluster.topics.note_tracked(&cluster.presence, now, topic);
            }
            tracked(env, &cluster, owner, Some(result))
        } else {
            let result = put(&cluster, &content, topic, ttl, |put| {
                cluster.presence.update(put)
            });
            written(env, &cluster, Some(result))
        }
    };
    writes.into_iter().map(write).collect()
}

/// The time from which a lease runs, and how long.
type Lease = Option<(Duration, Duration)>;

fn lease(now: u64, ttl_ms: Option<u64>) -> Lease {
    ttl_ms.map(|ttl| (Duration::from_micros(now), Duration::from_millis(ttl)))
}

fn begin_lease(cluster: &Cluster, session: &Session<'_>, topic: &str, lease: Lease) {
    if let Some((now, ttl)) = lease {
        let presence = &cluster.presence;
        presence.lease(now, topic, session.key(), &session.owner, ttl);
    }
}

/// Writes an entry, and gives it a lease.
fn put(
    cluster: &Cluster,
    content: &Content<'_>,
    topic: &str,
    lease: Lease,
    write: impl FnOnce(&headcount::NewEntry<'_>) -> Result<EntryRef, TrackError>,
) -> Result<EntryRef, TrackError> {
    let session = content.session();
    let lock = cluster.versions.lock(topic, session);
    let written = write(&content.put(topic))?;
    drop(lock);
    begin_lease(cluster, session, topic, lease);
    Ok(written)
}

/// Gives an entry a lease, or renews it; returns whether it is tracked.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_lease<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    now: u64,
    (owner, topic, name): (Term<'a>, &'a str, Term<'a>),
    ttl_ms: u64,
) -> bool {
    let times = (Duration::from_micros(now), Duration::from_millis(ttl_ms));
    let tracked = cluster.codec.session(name, owner).is_ok_and(|session| {
        let key = session.key();
        cluster
            .presence
            .lease(times.0, topic, key, &session.owner, times.1)
    });
    cluster.watch.wake(env);
    tracked
}

/// Gives the entries of an owner a lease, or renews it.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_lease_owner<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    now: u64,
    owner: Term<'a>,
    ttl_ms: u64,
) {
    let owner = cluster.codec.owner(owner);
    let ttl = Duration::from_millis(ttl_ms);
    cluster
        .presence
        .lease_owner(Duration::from_micros(now), owner, ttl);
    cluster.watch.wake(env);
}

/// Reports owners that are lost: their entries leave when the grace is over.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_owners_lost<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    now: u64,
    owners: Vec<Term<'a>>,
) {
    let removed = cluster.owners_lost(Duration::from_micros(now), owners);
    cluster.watch.wake_for(env, removed);
}

/// Reports that a lost owner is back; returns whether its grace was not over.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_owner_back(cluster: ResourceArc<Cluster>, owner: Term<'_>) -> bool {
    cluster.presence.owner_back(cluster.codec.owner(owner))
}

/// Returns those of these owners that have no entries.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_idle_owners<'a>(cluster: ResourceArc<Cluster>, owners: Vec<Term<'a>>) -> Vec<Term<'a>> {
    let is_idle = |owner: &Term<'a>| !cluster.presence.has_owner(cluster.codec.owner(*owner));
    owners.into_iter().filter(is_idle).collect()
}

/// Removes all entries of these owners and returns their number.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_untrack_owners(
    env: Env<'_>,
    cluster: ResourceArc<Cluster>,
    owners: Vec<Term<'_>>,
) -> usize {
    let owners = owners.into_iter().map(|owner| cluster.codec.owner(owner));
    let owners: Vec<_> = owners.collect();
    let removed = cluster.presence.untrack_owners(&owners);
    if removed > 0 {
        cluster.watch.wake_for(env, removed);
    }
    removed
}
