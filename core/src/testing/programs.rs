//! The steps of programs beside writing: leases, lost owners, snapshots, signals.

use super::own_entries::OWNERS;
use super::plan;
use super::stats::Incident;
use super::world::World;
use crate::replica::Signal;

/// Begins or renews the lease of an entry or of an owner.
pub(super) fn lease(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    let ttl_ms = world.run.pick(&[200, 900, 3_000]);
    let pick = world.run.rng.next_u64() as usize;
    if world.run.rng.below(4) == 0 {
        let owner = pick % OWNERS.len();
        world.lease_owner(place, owner as u8, ttl_ms);
        world
            .run
            .note(|| format!("lease of owner {owner} at {place} for {ttl_ms} ms"));
        return Ok(());
    }
    let Some(node) = &mut world.nodes[place] else {
        return Ok(());
    };
    let now_ms = world.run.now_ms + node.ahead_ms;
    let presence = &node.process.presence;
    let leased = node.own.lease(presence, now_ms, pick, ttl_ms);
    if let Some(session) = leased.map_err(|what| format!("{place} {what}"))? {
        world.run.count(Incident::Lease);
        world
            .run
            .note(|| format!("lease of {session:?} at {place} for {ttl_ms} ms"));
    }
    Ok(())
}

/// Loses an owner, or brings a lost one back.
pub(super) fn lose_owner(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    let owner = world.run.rng.below(OWNERS.len() as u64) as u8;
    let comes_back = world.run.rng.below(3) == 0;
    let Some(node) = &mut world.nodes[place] else {
        return Ok(());
    };
    let presence = &node.process.presence;
    if comes_back {
        let back = node.own.owner_back(presence, owner);
        if back.map_err(|what| format!("{place} {what}"))? {
            world.run.count(Incident::OwnerBack);
        }
    } else {
        let now_ms = world.run.now_ms + node.ahead_ms;
        let grace_ms = world.run.plan.grace_ms;
        node.own.lose_owner(presence, now_ms, owner, grace_ms);
        world.run.count(Incident::OwnerLost);
    }
    let state = if comes_back { "back" } else { "lost" };
    world
        .run
        .note(|| format!("owner {owner} is {state} at {place}"));
    world.after(place)
}

pub(super) fn snapshot(world: &mut World<'_>) {
    let Some(place) = world.pick_alive() else {
        return;
    };
    if let Some(node) = &world.nodes[place] {
        world.snapshots.take(node);
        world.run.count(Incident::Snapshot);
        world.run.note(|| format!("snapshot of {place}"));
    }
}

pub(super) fn signal(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    let number = world.run.stats.incidents.count(Incident::Signal) + 1;
    let signal = Signal {
        topic: plan::topic(0).into(),
        key: b"k0".to_vec(),
        kind: 1,
        // It is remembered for longer than a frame may be under way.
        ttl_ms: 60_000,
        payload: number.to_le_bytes().to_vec(),
    };
    if let Some(node) = &world.nodes[place]
        && let Err(error) = node.process.presence.signal(signal)
    {
        return Err(format!("{place} refused to send a signal: {error}"));
    }
    world.run.count(Incident::Signal);
    world.run.note(|| format!("signal of {place}"));
    world.collect(place);
    Ok(())
}
