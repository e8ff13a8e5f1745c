//! Frames that must be refused, or change nothing: of other versions and clusters, and damaged
//! ones.

use super::hostile::{Strange, strange, version_range};
use super::network::kind;
use super::stats::Incident;
use super::world::World;
use crate::codec::{DecodeError, Kind, WIRE_MAJOR};
use crate::replica::Transmit;

/// Lets a foreign frame arrive at a node that a sound one is on its way to.
pub(super) fn arrive(world: &mut World<'_>) -> Result<(), String> {
    if world.network.flights().is_empty() {
        return Ok(());
    }
    let flight = world.run.rng.below(world.network.flights().len() as u64) as usize;
    let flight = world.network.flights()[flight].clone();
    let from = flight.from;
    let to = flight.to;
    let Some(node) = &world.nodes[to] else {
        return Ok(());
    };
    let before = (node.presence.clocks(), node.presence.replicas());
    let Strange {
        frame,
        is_refusal,
        incident,
    } = strange(&mut world.run, &flight.frame);
    world.run.note(|| format!("{incident:?} {from} -> {to}"));
    let now = world.now(to);
    let address = world.network.address(from);
    let Some(node) = &mut world.nodes[to] else {
        return Ok(());
    };
    node.hearing.advance(now);
    match node.presence.handle_message(now, &address, &frame) {
        Err(DecodeError { kind, .. }) if is_refusal(&kind) => {}
        other => return Err(format!("{to} answers {incident:?} with {other:?}")),
    }
    if (node.presence.clocks(), node.presence.replicas()) != before {
        return Err(format!("{to} changed by {incident:?}"));
    }
    let answers: Vec<_> = std::iter::from_fn(|| node.presence.poll_transmit()).collect();
    let is_answered = incident == Incident::OtherMajor && kind(&frame) != Kind::WIRE_REFUSED;
    if answers.len() > usize::from(is_answered) {
        let count = answers.len();
        return Err(format!("{to} answers {incident:?} with {count} frames"));
    }
    world.run.count(incident);
    for answer in answers {
        check_refusal(world, &answer)?;
        world.send(to, answer);
    }
    world.after(to)
}

/// Checks that the answer to another major version names the versions spoken.
fn check_refusal(world: &World<'_>, answer: &Transmit) -> Result<(), String> {
    let range = version_range(&world.run.envelope(), &answer.frame);
    if range == Some([WIRE_MAJOR, WIRE_MAJOR]) {
        return Ok(());
    }
    Err(format!("no refusal of another version: {answer:?}"))
}
