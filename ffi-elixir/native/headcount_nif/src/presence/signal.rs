//! Short-lived signs such as typing.

use headcount::replica::{self, SignalError};
use rustler::{Binary, Encoder, Env, ResourceArc, Term};

use super::Cluster;
use crate::atoms;
use crate::entries::binary;
use crate::errors;

/// Sends a sign to all peers. Returns `:ok` or `{:error, reason}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_signal<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    (topic, name): (&'a str, Term<'a>),
    (kind, ttl_ms): (u8, u32),
    payload: Binary<'a>,
) -> Term<'a> {
    let key = match cluster.codec.session(name, atoms::nil().encode(env)) {
        Ok(session) => session.key().bytes.to_vec(),
        Err(error) => return errors::json(env, &error),
    };
    let signal = replica::Signal {
        topic: topic.to_owned(),
        key,
        kind,
        ttl_ms,
        payload: payload.as_slice().to_vec(),
    };
    match cluster.presence.signal(signal) {
        Ok(()) => {
            cluster.watch.wake(env);
            atoms::ok().encode(env)
        }
        Err(
            SignalError::TopicTooLong { len, max }
            | SignalError::KeyTooLong { len, max }
            | SignalError::PayloadTooLong { len, max },
        ) => (atoms::error(), (atoms::signal_too_long(), len, max)).encode(env),
        Err(error) => errors::described(env, &error),
    }
}

/// Returns `{:signal, from, topic, {key, kind, payload, ttl_ms}}`.
pub(super) fn term<'a>(
    env: Env<'a>,
    cluster: &Cluster,
    from: &str,
    signal: &replica::Signal,
) -> Term<'a> {
    let key = cluster
        .reader(env)
        .key(cluster.codec.signal_key(&signal.key));
    let payload = binary(env, &signal.payload);
    let content = (key, signal.kind, payload, signal.ttl_ms);
    (atoms::signal(), from, &*signal.topic, content).encode(env)
}
