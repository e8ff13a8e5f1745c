//! Replication, as the process that moves frames drives it. Times are microseconds since any start.

use headcount::ReplicaId;
use headcount::replica::{Destination, Event};
use rustler::{Binary, Encoder, Env, ResourceArc, Term};
use std::time::Duration;

use super::Cluster;
use crate::atoms;
use crate::entries;
use crate::errors;

/// Owners that died whose entries are removed at once; the rest with the next call.
const GONE_AT_ONCE: usize = 10_000;

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

/// Does what is due; first, removes the entries of owners that died. Whether there are more of those.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_handle_timeout(env: Env<'_>, cluster: ResourceArc<Cluster>, now: u64) -> bool {
    cluster.watch.looked();
    let (gone, more) = cluster.watch.gone(GONE_AT_ONCE);
    let owners = gone.iter().map(|pid| cluster.codec.owner(pid.encode(env)));
    let owners: Vec<_> = owners.collect();
    cluster.presence.untrack_owners(&owners);
    cluster.presence.handle_timeout(Duration::from_micros(now));
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

/// `{[{to | nil, frame}], [event], next_timeout | nil}`
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
