//! Local operations.

use headcount::TrackError;
use headcount::id::EntryRef;
use rustler::{Encoder, Env, LocalPid, ResourceArc, Term};

use super::Cluster;
use super::watch::Watch;
use crate::atoms;
use crate::entries;
use crate::errors;
use crate::shared::{patiently, twins};

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

twins! {
    /// As [`written`], but `{:ok, ref, owner}` when a shard must watch the owner: it is no process of this node.
    fn presence_track / "presence_track_dirty" [env, patience] (
        cluster: ResourceArc<Cluster>, owner: Term<'a>, topic: &'a str, name: Term<'a>, meta: Term<'a>,
    ) {
        let (session, meta) = match cluster.codec.parts(name, owner, meta) {
            Ok(parts) => parts,
            Err(error) => return errors::json(env, &error),
        };
        let put = session.put(topic, &meta);
        let presence = &cluster.presence;
        match patiently(patience, || presence.try_track(&put), || presence.track(&put)) {
            Some(Ok(entry_ref)) => {
                let local = owner.decode::<LocalPid>().ok();
                if let Some(pid) = local {
                    Watch::add(&cluster.watch, env, pid);
                }
                if local.is_some() && !cluster.link {
                    return written(env, &cluster, Some(Ok(entry_ref)));
                }
                cluster.watch.wake(env);
                (atoms::ok(), entries::reference(env, &entry_ref), owner).encode(env)
            }
            result => written(env, &cluster, result),
        }
    }
}

twins! {
    /// As [`written`].
    fn presence_update / "presence_update_dirty" [env, patience] (
        cluster: ResourceArc<Cluster>, owner: Term<'a>, topic: &'a str, name: Term<'a>, meta: Term<'a>,
    ) {
        let (session, meta) = match cluster.codec.parts(name, owner, meta) {
            Ok(parts) => parts,
            Err(error) => return errors::json(env, &error),
        };
        let put = session.put(topic, &meta);
        let presence = &cluster.presence;
        let updated = patiently(patience, || presence.try_update(&put), || presence.update(&put));
        written(env, &cluster, updated)
    }
}

twins! {
    /// Returns `:ok` or `:busy`; `{:ok, owner}` when an entry is gone of an owner that a shard watches.
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
        match removed {
            None => return atoms::busy().encode(env),
            Some(true) => {
                cluster.watch.wake(env);
                if cluster.link || owner.decode::<LocalPid>().is_err() {
                    return (atoms::ok(), owner).encode(env);
                }
            }
            Some(false) => {}
        }
        atoms::ok().encode(env)
    }
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
        cluster.watch.wake(env);
    }
    removed
}
