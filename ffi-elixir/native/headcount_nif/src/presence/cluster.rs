//! Replication, as the process that moves frames drives it. Times are microseconds since any start.

use headcount::ReplicaId;
use headcount::replica::{Destination, Event};
use rustler::{Binary, Encoder, Env, ResourceArc, Term};
use std::time::Duration;

use super::{Cluster, changes};
use crate::atoms;
use crate::entries;
use crate::errors;

/// Most owners that died whose entries one call removes.
const GONE_AT_ONCE: usize = 10_000;

/// Most slices of large work in one call, which takes a few milliseconds.
const SLICES_AT_ONCE: usize = 32;

/// Does one round: removes the entries of owners that died, takes frames in, does what is due. Returns
/// `{[{from, error}], [{to | nil, frame}], [event], [{shard, changes}], next_timeout | nil}`, where the next timeout
/// is now when there is more work. Without `due` it ignores deadlines, as more frames wait.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_step<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    now: u64,
    frames: Vec<(&'a str, Binary<'a>)>,
    shards: u32,
    due: bool,
) -> Term<'a> {
    cluster.watch.looked();
    let more_gone = remove_gone(env, &cluster);
    let time = Duration::from_micros(now);
    let mut errors = Vec::new();
    for (from, frame) in frames {
        let frame = frame.as_slice().to_vec().into();
        if let Err(error) = cluster.presence.handle_message(time, from, &frame) {
            errors.push((from, errors::decode(env, &error)));
        }
    }
    for _ in 0..SLICES_AT_ONCE {
        if due {
            cluster.presence.handle_timeout(time);
        } else {
            cluster.presence.work_on(time);
        }
        if !cluster.presence.is_working() {
            break;
        }
    }
    let (frames, events) = poll(env, &cluster);
    let changes = changes::take(env, &cluster, shards);
    let due = cluster.presence.poll_timeout();
    let next = if more_gone || cluster.presence.is_working() {
        Some(now)
    } else {
        // Only operations of this moment are due by now, and they send a message of their own.
        due.map(|due| (due.as_micros() as u64).max(now + 1))
    };
    (errors, frames, events, changes, next).encode(env)
}

/// Returns whether more such owners are left.
fn remove_gone(env: Env<'_>, cluster: &Cluster) -> bool {
    let (gone, more) = cluster.watch.gone(GONE_AT_ONCE);
    let owners = gone.iter().map(|pid| cluster.codec.owner(pid.encode(env)));
    let owners: Vec<_> = owners.collect();
    cluster.presence.untrack_owners(&owners);
    more
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

/// Returns `[{to | nil, frame}]` and `[event]`.
fn poll<'a>(env: Env<'a>, cluster: &Cluster) -> (Vec<Term<'a>>, Vec<Term<'a>>) {
    let frames = std::iter::from_fn(|| cluster.presence.poll_transmit()).map(|transmit| {
        let to = match &transmit.to {
            Destination::All => None,
            Destination::Peer(address) => Some(address.to_string()),
        };
        (to, entries::binary(env, &transmit.frame)).encode(env)
    });
    let frames = frames.collect();
    let events = std::iter::from_fn(|| cluster.presence.poll_event());
    (
        frames,
        events.map(|event| event_term(env, &event)).collect(),
    )
}

/// Returns `{:replica_up, name}` and the like; `nil` for an event that has no name in Elixir.
fn event_term<'a>(env: Env<'a>, event: &Event) -> Term<'a> {
    let named = |what: rustler::Atom, id: &ReplicaId| (what, id.name()).encode(env);
    match event {
        Event::ReplicaUp(id) => named(atoms::replica_up(), id),
        Event::ReplicaDown(id) => named(atoms::replica_down(), id),
        Event::ReplicaForgotten(id) | Event::ReplicaLeft(id) => {
            named(atoms::replica_permdown(), id)
        }
        Event::Divergence { origin, .. } => named(atoms::divergence(), origin),
        Event::Refused {
            origin,
            from,
            error,
            ..
        } => (atoms::refused(), origin.name(), &**from, error.to_string()).encode(env),
        Event::DuplicateName { other } => named(atoms::duplicate_name(), other),
        Event::Reincarnated { id } => named(atoms::reincarnated(), id),
        other => (atoms::other(), format!("{other:?}")).encode(env),
    }
}
