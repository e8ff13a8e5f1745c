//! The steps of a schedule: what happens to a [`World`].

use super::network::kind;
use super::plan;
use super::plan::{BEAT_MS, KEYS, OWNERS, Session, Step, TOPICS};
use super::stats::Incident;
use super::world::World;
use super::{silence, strangers};
use crate::codec::Kind;
use crate::replica::Signal;

/// Operations of a bulk load, and its keys.
const BULK: u64 = 120;
const BULK_KEYS: u64 = 60;

/// Takes one step of a kind.
pub(super) fn take(world: &mut World<'_>, step: Step) -> Result<(), String> {
    match step {
        Step::Operate => {
            let Some(place) = world.pick_alive() else {
                return Ok(());
            };
            let count = 1 + world.run.rng.below(4);
            operate(world, place, count, u64::from(KEYS))
        }
        Step::Bulk => match world.pick_alive() {
            Some(place) => operate(world, place, BULK, BULK_KEYS),
            None => Ok(()),
        },
        Step::Tick => {
            let ms = 1 + world.run.rng.below(300);
            world.pass(ms)
        }
        Step::Beat => {
            let ms = BEAT_MS / 2 + world.run.rng.below(BEAT_MS);
            world.pass(ms)
        }
        Step::Deliver => deliver_some(world),
        Step::DeliverAll => world.deliver_all(),
        Step::Cut => {
            cut(world);
            Ok(())
        }
        Step::Heal => {
            world.run.count(Incident::Healed);
            heal(world);
            Ok(())
        }
        Step::Crash => {
            crash(world);
            Ok(())
        }
        Step::Restart => restart(world),
        Step::Clone => {
            if let Some(place) = world.pick_alive()
                && world.has_room()
            {
                world.clone_at(place);
            }
            Ok(())
        }
        Step::Goodbye => {
            say_goodbye(world);
            Ok(())
        }
        Step::Pause => pause(world),
        Step::ForgetAll => sleep(world),
        Step::Hint => hint(world),
        Step::Snapshot => {
            snapshot(world);
            Ok(())
        }
        Step::Alter => {
            alter(world);
            Ok(())
        }
        Step::Stranger => strangers::arrive(world),
        Step::Lease => lease(world),
        Step::LoseOwner => lose_owner(world),
        Step::Signal => signal(world),
        Step::Silence => silence::fall_silent(world),
    }
}

/// Heals all links.
pub(super) fn heal(world: &mut World<'_>) {
    world.network.heal();
    world.run.note(|| "heal all links".into());
}

fn operate(world: &mut World<'_>, place: usize, count: u64, keys: u64) -> Result<(), String> {
    for _ in 0..count {
        let topic = world.run.rng.below(TOPICS.len() as u64) as u8;
        let key = world.run.rng.below(keys) as u8;
        let owner = world.run.rng.below(OWNERS.len() as u64) as u8;
        let session: Session = (topic, key, owner);
        world.operate(place, session)?;
    }
    Ok(())
}

fn deliver_some(world: &mut World<'_>) -> Result<(), String> {
    for _ in 0..1 + world.run.rng.below(8) {
        world.deliver()?;
        if world.run.rng.below(4) == 0 {
            world.work()?;
        }
    }
    Ok(())
}

fn cut(world: &mut World<'_>) {
    let places = world.nodes.len() as u64;
    let a = world.run.rng.below(places) as usize;
    let b = world.run.rng.below(places) as usize;
    let incident = world.run.pick(&[
        Incident::LinkCutOneWay,
        Incident::LinkCut,
        Incident::NodeCutOff,
    ]);
    match incident {
        Incident::LinkCutOneWay => world.network.cut_one_way(a, b),
        Incident::LinkCut => {
            world.network.cut_one_way(a, b);
            world.network.cut_one_way(b, a);
        }
        _ => world.network.isolate(a),
    }
    if a != b || incident == Incident::NodeCutOff {
        world.run.count(incident);
    }
    world.run.note(|| format!("cut {a} {b}"));
}

fn crash(world: &mut World<'_>) {
    if let Some(place) = world.pick_alive() {
        world.stop(place);
        world.run.count(Incident::Crash);
        world.run.note(|| format!("crash {place}"));
    }
}

/// Starts what had ended at a place, from a snapshot of its name if there is one.
fn restart(world: &mut World<'_>) -> Result<(), String> {
    let names = 0..world.run.plan.nodes;
    let dead: Vec<_> = names.filter(|&name| world.nodes[name].is_none()).collect();
    if dead.is_empty() {
        return Ok(());
    }
    let place = world.run.pick(&dead);
    world.run.count(Incident::Restart);
    let snapshots = world.snapshots.of(world.network.home(place));
    if snapshots.is_empty() || world.run.rng.below(4) == 0 {
        world.start(place);
        return Ok(());
    }
    let snapshot = world.run.pick(&snapshots);
    world.restore(place, snapshot)
}

fn say_goodbye(world: &mut World<'_>) {
    let Some(place) = world.pick_alive() else {
        return;
    };
    let now = world.now(place);
    world.run.count(Incident::Goodbye);
    world.run.note(|| format!("goodbye of {place}"));
    if let Some(node) = &world.nodes[place] {
        node.presence.leave_gracefully(now);
    }
    world.collect(place);
    world.stop(place);
}

/// Lets nothing happen for long enough that silence counts.
fn pause(world: &mut World<'_>) -> Result<(), String> {
    let ms = if world.run.rng.below(3) == 0 {
        world.run.plan.forget_ms
    } else {
        world.run.plan.down_ms
    };
    silence::beats(world, ms / BEAT_MS + 2)
}

/// Lets a machine sleep past `forget_after`: by its own clock all others are long gone. Once
/// only, or markers would expire before what they guard against has aged.
fn sleep(world: &mut World<'_>) -> Result<(), String> {
    let Some(mut place) = world.pick_alive() else {
        return Ok(());
    };
    // Best while something is on its way that was asked for before.
    let mut flights = world.network.flights().iter();
    if let Some(repair) = flights.find(|flight| kind(&flight.frame) == Kind::REPAIR) {
        place = repair.to;
    }
    let asleep_ms = world.run.plan.forget_ms + 500;
    match &mut world.nodes[place] {
        Some(node) if node.ahead_ms == 0 => node.ahead_ms = asleep_ms,
        _ => return Ok(()),
    }
    world.run.count(Incident::Sleep);
    world.run.note(|| format!("{place} sleeps and forgets"));
    world.wake()
}

/// Lets the transport tell a node that another one is gone.
fn hint(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    let other = world.run.rng.below(world.nodes.len() as u64) as usize;
    let now = world.now(place);
    let address = world.network.address(other);
    let name = format!("n{}", world.network.home(other));
    if let Some(node) = &mut world.nodes[place] {
        node.hearing.advance(now);
        node.hearing.hint(&name);
        node.presence.disconnected(now, &address);
    }
    world.run.count(Incident::Hint);
    world
        .run
        .note(|| format!("a hint to {place} that {other} is gone"));
    world.after(place)
}

fn snapshot(world: &mut World<'_>) {
    let Some(place) = world.pick_alive() else {
        return;
    };
    let Some(node) = &world.nodes[place] else {
        return;
    };
    let bytes = node.presence.snapshot();
    world.snapshots.push(node.name, node.id.clone(), bytes);
    world.run.count(Incident::Snapshot);
    world.run.note(|| format!("snapshot of {place}"));
}

/// Lets a node begin to alter what it passes on, or stop.
fn alter(world: &mut World<'_>) {
    let Some(place) = world.pick_alive() else {
        return;
    };
    if let Some(node) = &mut world.nodes[place] {
        node.is_altering = !node.is_altering;
    }
    world
        .run
        .note(|| format!("{place} begins or stops to alter what it passes on"));
}

/// Begins or renews the lease of an entry or of an owner.
fn lease(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    let ttl_ms = world.run.pick(&[200, 900, 3000]);
    let pick = world.run.rng.next_u64() as usize;
    let is_owner = world.run.rng.below(4) == 0;
    let Some(node) = &mut world.nodes[place] else {
        return Ok(());
    };
    let now_ms = world.run.now_ms + node.ahead_ms;
    let what = if is_owner {
        let owner = pick % OWNERS.len();
        node.own.lease_owner(&node.presence, now_ms, owner, ttl_ms);
        OWNERS[owner].to_owned()
    } else {
        let leased = node.own.lease(&node.presence, now_ms, pick, ttl_ms);
        let Some(session) = leased.map_err(|what| format!("{place} {what}"))? else {
            return Ok(());
        };
        let (topic, key, owner) = plan::names(session);
        format!("{topic} {key} {owner}")
    };
    world.run.count(Incident::Lease);
    world
        .run
        .note(|| format!("lease of {what} at {place} for {ttl_ms} ms"));
    Ok(())
}

/// Loses an owner, or brings a lost one back.
fn lose_owner(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    let owner = world.run.rng.below(OWNERS.len() as u64) as u8;
    let comes_back = world.run.rng.below(3) == 0;
    let Some(node) = &mut world.nodes[place] else {
        return Ok(());
    };
    if comes_back {
        let back = node.own.owner_back(&node.presence, owner);
        if back.map_err(|what| format!("{place} {what}"))? {
            world.run.count(Incident::OwnerBack);
        }
    } else {
        let now_ms = world.run.now_ms + node.ahead_ms;
        let grace_ms = world.run.plan.grace_ms;
        node.own.lose_owner(&node.presence, now_ms, owner, grace_ms);
        world.run.count(Incident::OwnerLost);
    }
    let state = if comes_back { "back" } else { "lost" };
    let name = OWNERS[usize::from(owner)];
    world.run.note(|| format!("{name} is {state} at {place}"));
    world.record(place)
}

fn signal(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    let number = world.run.stats.incidents.count(Incident::Signal) + 1;
    let signal = Signal {
        topic: TOPICS[0].into(),
        key: b"k0".to_vec(),
        kind: 1,
        ttl_ms: 5_000,
        payload: number.to_le_bytes().to_vec(),
    };
    if let Some(node) = &world.nodes[place]
        && let Err(error) = node.presence.signal(signal)
    {
        return Err(format!("{place} refused to send a signal: {error}"));
    }
    world.run.count(Incident::Signal);
    world.run.note(|| format!("signal of {place}"));
    world.collect(place);
    Ok(())
}
