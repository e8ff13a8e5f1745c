//! Replication, as the process that moves frames drives it. Times are microseconds since any start.

use headcount::ReplicaId;
use headcount::replica::{Destination, Event, Mode, Shape};
use rustler::{Binary, Encoder, Env, ResourceArc, Term};
use std::time::Duration;

use super::level::Level;
use super::{Cluster, changes, signal};
use crate::atoms;
use crate::entries;
use crate::errors;
use crate::shared::answer;

/// Most owners that died of which one call takes note.
const GONE_AT_ONCE: usize = 10_000;

/// Most changes that a normal scheduler takes at once: some tenths of a millisecond.
const FLUSHED_MAX: usize = 1_000;

/// Most slices of large work in one call, which takes a few milliseconds.
const SLICES_AT_ONCE: usize = 32;

/// Does one round: takes note of the owners that died, takes frames in, does what is due. Returns
/// `{[{from, error}], [{partition, wanted}], [{to, frame}], [event], [{shard, number, changes}], next_timeout | nil}`,
/// where `to` is an address, a partition or `nil` for all, and the next timeout is now when there is more work. Without
/// `due` it ignores deadlines, as more frames wait.
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
    let time = Duration::from_micros(now);
    cluster.clock.set(time);
    cluster.topics.forget_delivered(env);
    cluster.topics.end_dead(&cluster.presence, time);
    let more_gone = remove_gone(env, &cluster, time);
    let mut errors = Vec::new();
    for (from, frame) in frames {
        cluster.tally.lock().note_received(frame.as_slice());
        let frame = frame.as_slice().to_vec().into();
        if let Err(error) = cluster.presence.handle_message(time, from, &frame) {
            cluster.tally.lock().note_refused(&error);
            errors.push((from, errors::decode(env, &error)));
        }
    }
    if due {
        cluster.watch.taking();
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
    let groups = cluster.groups.take(&cluster.presence, env.pid());
    let (frames, mut events) = poll(env, &cluster);
    let changes = changes::take(env, &cluster, shards);
    cluster.topics.settle(&cluster.presence, time);
    let news = cluster.topics.take_news(env, shards).into_iter();
    events.extend(news.map(|event| (event, 1)));
    if !cluster.watch.is_attached(env.pid()) {
        // A process that was killed finishes its call after its successor has started.
        cluster.watch.wake(env);
    }
    let due = cluster.presence.poll_timeout();
    let next = if more_gone || cluster.presence.is_working() {
        Some(now)
    } else {
        // Only operations of this moment are due by now, and they send a message of their own.
        due.map(|due| (due.as_micros() as u64).max(now + 1))
    };
    (errors, groups, frames, events, changes, next).encode(env)
}

/// Returns `[{shard, number, changes}]`, the changes of this node, or `:busy` if there are many or they are in use: the
/// next step takes them then.
#[rustler::nif]
fn presence_flush<'a>(env: Env<'a>, cluster: ResourceArc<Cluster>, shards: u32) -> Term<'a> {
    if cluster.watch.untaken() > FLUSHED_MAX {
        return atoms::busy().encode(env);
    }
    cluster.watch.looked();
    cluster.watch.taking();
    answer(env, changes::flush(env, &cluster, shards))
}

/// Returns the number of changes of this node so far, to see whether there are more.
#[rustler::nif]
fn presence_change_count(cluster: ResourceArc<Cluster>) -> usize {
    cluster.watch.count()
}

/// Takes note of owners that died. Returns whether more of them are left.
fn remove_gone(env: Env<'_>, cluster: &Cluster, now: Duration) -> bool {
    let (gone, more) = cluster.watch.gone(GONE_AT_ONCE);
    cluster.owners_lost(now, gone.iter().map(|pid| pid.encode(env)));
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

/// Returns when [`presence_step`] has the next Goodbye to send, after [`presence_leave_gracefully`]; `nil` once all are
/// sent.
#[rustler::nif]
fn presence_poll_goodbye(cluster: ResourceArc<Cluster>) -> Option<u64> {
    let next = cluster.presence.poll_goodbye();
    next.map(|next| next.as_micros() as u64)
}

/// Returns `[{to, frame}]` and `[{event, count}]`.
fn poll<'a>(env: Env<'a>, cluster: &Cluster) -> (Vec<Term<'a>>, Vec<(Term<'a>, u64)>) {
    let frames = std::iter::from_fn(|| cluster.presence.poll_transmit()).map(|transmit| {
        let to = match &transmit.to {
            Destination::All => atoms::nil().encode(env),
            Destination::Group(partition) => partition.encode(env),
            Destination::Peer(address) => (**address).encode(env),
        };
        cluster.tally.lock().note_sent(&transmit.frame);
        (to, entries::binary(env, &transmit.frame)).encode(env)
    });
    let frames = frames.collect();
    let mut events = Vec::new();
    let note_ready = |level, topic: &_, age, missing: &[_]| {
        let presence = &cluster.presence;
        cluster
            .topics
            .note_ready(presence, level, topic, age, missing);
    };
    while let Some(event) = cluster.presence.poll_event() {
        cluster.tally.lock().note_event(&event);
        match event {
            Event::TopicReady {
                topic,
                age,
                missing,
            } => note_ready(Level::Entries, &topic, age, &missing),
            Event::CountsReady {
                topic,
                age,
                missing,
            } => note_ready(Level::Counts, &topic, age, &missing),
            event => events.push((event_term(env, cluster, &event), event.count())),
        }
    }
    (frames, events)
}

/// Returns `{:replica_up, name}` and the like; `{:other, text}` for an event that has no name in Elixir.
fn event_term<'a>(env: Env<'a>, cluster: &Cluster, event: &Event) -> Term<'a> {
    let named = |what: rustler::Atom, id: &ReplicaId| (what, id.name()).encode(env);
    match event {
        Event::ReplicaUp(id) => named(atoms::replica_up(), id),
        Event::ReplicaDown(id) => named(atoms::replica_down(), id),
        Event::ReplicaForgotten(id) | Event::ReplicaLeft(id) => {
            named(atoms::replica_permdown(), id)
        }
        Event::Divergence { origin, partition } => {
            (atoms::divergence(), origin.name(), partition).encode(env)
        }
        Event::Refused {
            origin,
            partition,
            error,
            ..
        } => {
            let message = error.to_string();
            (atoms::refused(), origin.name(), partition, message).encode(env)
        }
        Event::Ready { missing } => {
            let missing: Vec<_> = missing.iter().map(ReplicaId::name).collect();
            (atoms::ready(), missing).encode(env)
        }
        Event::Signal { from, signal } => signal::term(env, cluster, from.name(), signal),
        Event::DuplicateName { other } => named(atoms::duplicate_name(), other),
        Event::Reincarnated { id } => named(atoms::reincarnated(), id),
        Event::SecondSelf { from, .. } => {
            let from: &str = from;
            (atoms::second_self(), from).encode(env)
        }
        Event::HandleCollision { refused, .. } => named(atoms::handle_collision(), refused),
        Event::PeerLimit { refused, .. } => named(atoms::peer_limit(), refused),
        Event::ShapeMismatch {
            from, ours, theirs, ..
        } => {
            let from: &str = from;
            (atoms::shape_mismatch(), from, shape(*ours), shape(*theirs)).encode(env)
        }
        Event::AnswerTooLong {
            partition, bytes, ..
        } => (atoms::answer_too_long(), partition, bytes).encode(env),
        Event::Unreadable { from, what, .. } => {
            let from: &str = from;
            (atoms::unreadable(), from, what).encode(env)
        }
        Event::DiffsDropped => {
            cluster.topics.note_lost_leaves();
            named(atoms::diffs_dropped(), &cluster.presence.id())
        }
        Event::TooManyPulls { from, .. } => named(atoms::too_many_pulls(), from),
        Event::OthersRefused { count } => (atoms::others_refused(), count).encode(env),
        other => (atoms::other(), format!("{other:?}")).encode(env),
    }
}

/// Returns the number of partitions, the mode, whether nodes tell how many entries they have, and whether they pass
/// frames on.
fn shape(shape: Shape) -> (u32, rustler::Atom, bool, bool) {
    let mode = match shape.mode() {
        Mode::All => atoms::all(),
        Mode::Interest => atoms::interest(),
    };
    (
        shape.partitions(),
        mode,
        shape.has_counts(),
        shape.is_relayed(),
    )
}
