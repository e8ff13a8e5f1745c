//! `Headcount.Tracker.State`: one `Tracker` of all topics, without a process.

use std::time::SystemTime;

use headcount::tracker::Key;
use headcount::{Diff, ReplicaId, Tracker};
use rustler::{Binary, Encoder, Env, Resource, ResourceArc, Term};

use crate::atoms;
use crate::entries::{Codec, Reader, binary, limits, written};
use crate::errors;
use crate::keys::Keys;
use crate::shared::{Patience, Shared, answer, twins};

struct State {
    tracker: Shared<Tracker>,
    codec: Codec,
}

#[rustler::resource_impl]
impl Resource for State {}

impl State {
    fn reader<'a>(&self, env: Env<'a>) -> Reader<'a> {
        Reader {
            env,
            safe: true,
            existing_atoms: self.codec.existing_atoms,
        }
    }
}

twins! {
    fn tracker_track / "tracker_track_dirty" [env, patience] (
        state: ResourceArc<State>, owner: Term<'a>, topic: &'a str, name: Term<'a>, meta: Term<'a>,
    ) {
        match state.codec.content(name, owner, meta) {
            Err(error) => errors::json(env, &error),
            Ok(content) => {
                let put = content.put(topic);
                written(env, state.tracker.write(patience, |tracker| tracker.track(&put)))
            }
        }
    }
}

twins! {
    fn tracker_update / "tracker_update_dirty" [env, patience] (
        state: ResourceArc<State>, owner: Term<'a>, topic: &'a str, name: Term<'a>, meta: Term<'a>,
    ) {
        match state.codec.content(name, owner, meta) {
            Err(error) => errors::json(env, &error),
            Ok(content) => {
                let put = content.put(topic);
                written(env, state.tracker.write(patience, |tracker| tracker.update(&put)))
            }
        }
    }
}

/// Returns the state of a replica, or `{:error, reason}`. `life` is its incarnation and salt; with `nil` it is a new
/// life that starts now.
#[rustler::nif]
fn tracker_new<'a>(
    env: Env<'a>,
    name: &str,
    life: Option<(u64, u32)>,
    (json, existing_atoms): (bool, bool),
) -> Term<'a> {
    let codec = Codec {
        replica: name.into(),
        json,
        existing_atoms,
    };
    let id = match life {
        Some((incarnation, salt)) => ReplicaId::new(name, incarnation, salt),
        None => ReplicaId::generate(name, SystemTime::now()),
    };
    match id {
        Ok(id) => {
            let tracker = Shared::new(Tracker::with_limits(id, limits()));
            ResourceArc::new(State { tracker, codec }).encode(env)
        }
        Err(error) => errors::described(env, &error),
    }
}

twins! {
    fn tracker_untrack / "tracker_untrack_dirty" [env, patience] (
        state: ResourceArc<State>, owner: Term<'a>, topic: &'a str, name: Term<'a>,
    ) {
        let Ok(session) = state.codec.session(name, owner) else {
            return false.encode(env);
        };
        answer(env, state.tracker.write(patience, |tracker| {
            tracker.untrack(topic, session.key(), &session.owner)
        }))
    }
}

#[rustler::nif(schedule = "DirtyCpu")]
fn tracker_untrack_owner(state: ResourceArc<State>, owner: Term<'_>) -> Option<usize> {
    let owner = state.codec.owner(owner);
    state
        .tracker
        .write(Patience::Endless, |tracker| tracker.untrack_owner(&owner))
}

twins! {
    fn tracker_get_by_key / "tracker_get_by_key_dirty" [env, patience] (
        state: ResourceArc<State>, topic: &'a str, name: Term<'a>,
    ) {
        let Some((encoding, key)) = state.codec.look_up(name) else {
            return Vec::<Term<'a>>::new().encode(env);
        };
        let key = Key::new(encoding, &key);
        let reader = state.reader(env);
        answer(env, state.tracker.read(patience, |tracker| {
            tracker.get_by_key(topic, key).map(|entry| reader.by_owner(&entry)).collect::<Vec<_>>()
        }))
    }
}

#[rustler::nif(schedule = "DirtyCpu")]
fn tracker_list<'a>(env: Env<'a>, state: ResourceArc<State>, topic: &str) -> Term<'a> {
    let reader = state.reader(env);
    answer(
        env,
        state.tracker.read(Patience::Endless, |tracker| {
            tracker
                .list(topic)
                .map(|entry| reader.by_key(&entry))
                .collect::<Vec<_>>()
        }),
    )
}

twins! {
    fn tracker_count / "tracker_count_dirty" [env, patience] (
        state: ResourceArc<State>, topic: &'a str,
    ) {
        answer(env, state.tracker.read(patience, |tracker| tracker.count(topic)))
    }
}

twins! {
    fn tracker_count_keys / "tracker_count_keys_dirty" [env, patience] (
        state: ResourceArc<State>, topic: &'a str,
    ) {
        answer(env, state.tracker.read(patience, |tracker| Keys::from(tracker.count_keys(topic))))
    }
}

twins! {
    fn tracker_size / "tracker_size_dirty" [env, patience] (state: ResourceArc<State>) {
        answer(env, state.tracker.read(patience, |tracker| tracker.len()))
    }
}

/// Returns `{diff, reasons}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn tracker_take_diff<'a>(env: Env<'a>, state: ResourceArc<State>) -> Term<'a> {
    let diff = state
        .tracker
        .write(Patience::Endless, Tracker::take_diff)
        .unwrap_or_default();
    with_reasons(state.reader(env), &diff)
}

/// Returns `[{{name, incarnation, salt}, clock}]` of all replicas known here.
#[rustler::nif(schedule = "DirtyCpu")]
fn tracker_clock(state: ResourceArc<State>) -> Option<Vec<(Replica, u64)>> {
    state.tracker.read(Patience::Endless, |tracker| {
        tracker
            .origins()
            .map(|origin| (replica(&origin.replica), origin.clock))
            .collect()
    })
}

/// Returns the frames that a holder of these clocks misses.
#[rustler::nif(schedule = "DirtyCpu")]
fn tracker_delta_since<'a>(
    env: Env<'a>,
    state: ResourceArc<State>,
    clocks: Vec<(Replica, u64)>,
) -> Term<'a> {
    let held = |id: &ReplicaId| {
        let same = clocks.iter().find(|(held, _)| *held == replica(id));
        same.map_or(0, |(_, clock)| *clock)
    };
    let frames = state.tracker.read(Patience::Endless, |tracker| {
        let origins = tracker.origins().map(|origin| origin.replica);
        let missing = origins.filter_map(|id| tracker.delta_since(&id, held(&id)));
        missing.collect::<Vec<_>>()
    });
    let binaries = frames.unwrap_or_default();
    binaries
        .iter()
        .map(|frame| binary(env, frame))
        .collect::<Vec<_>>()
        .encode(env)
}

/// Returns `{:ok, {diff, reasons}}` or `{:error, reason}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn tracker_apply<'a>(env: Env<'a>, state: ResourceArc<State>, frame: Binary<'a>) -> Term<'a> {
    match state
        .tracker
        .write(Patience::Endless, |tracker| tracker.apply(&frame))
    {
        None => atoms::busy().encode(env),
        Some(Ok(diff)) => (atoms::ok(), with_reasons(state.reader(env), &diff)).encode(env),
        Some(Err(error)) => errors::apply(env, &error),
    }
}

fn with_reasons<'a>(reader: Reader<'a>, diff: &Diff) -> Term<'a> {
    (reader.diff(diff), reader.reasons(diff)).encode(reader.env)
}

/// `{name, incarnation, salt}`
type Replica = (String, u64, u32);

fn replica(id: &ReplicaId) -> Replica {
    (id.name().to_owned(), id.incarnation(), id.salt())
}
