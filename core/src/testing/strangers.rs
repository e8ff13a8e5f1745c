//! The arrival of frames that must change nothing: of other versions, clusters and shapes, and
//! damaged ones.

use super::hostile::{Strange, strange};
use super::world::World;

/// Lets a foreign frame arrive at a node that a sound one is on its way to.
pub(super) fn arrive(world: &mut World<'_>) -> Result<(), String> {
    if world.network.flights().is_empty() {
        return Ok(());
    }
    let flight = world.run.rng.below(world.network.flights().len() as u64) as usize;
    let flight = world.network.flights()[flight].clone();
    let to = flight.to;
    let Strange {
        frame,
        refusal,
        incident,
    } = strange(&mut world.run, &flight.frame);
    world.end_late_at(to)?;
    let now = world.now(to);
    let address = world.network.address(flight.from);
    let Some(node) = &mut world.nodes[to] else {
        return Ok(());
    };
    let presence = &node.process.presence;
    let known = || {
        let mut origins = Vec::new();
        presence.origins(&mut origins);
        (presence.id(), origins, presence.replicas())
    };
    let before = known();
    let handled = presence.handle_message(now, &address, &frame);
    let is_right = match (&handled, refusal) {
        (Ok(()), None) => true,
        (Err(error), Some(words)) => error.to_string().contains(words),
        _ => false,
    };
    if !is_right {
        return Err(format!("{to} answers {incident:?} with {handled:?}"));
    }
    if known() != before {
        return Err(format!("{to} changed by {incident:?}"));
    }
    if refusal.is_some()
        && let Some(transmit) = presence.poll_transmit()
    {
        return Err(format!("{to} answers {incident:?} by {transmit:?}"));
    }
    if refusal.is_some() {
        node.refusals.note(&address);
    }
    world.run.count(incident);
    world
        .run
        .note(|| format!("{incident:?} {} -> {to}", flight.from));
    world.after(to)
}
