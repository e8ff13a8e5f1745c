//! The steps of a schedule: what happens to a [`World`].

use super::own_entries::Session;
use super::plan::{BEAT_MS, Step, TOPICS};
use super::stats::Incident;
use super::world::World;
use super::{interest, programs, strangers};

/// The choices of an operation on an entry that is tracked.
const UPDATE: u64 = 0;
const UNTRACK: u64 = 7;
const UNTRACK_OWNER: u64 = 15;

/// Takes one step of a kind.
pub(super) fn take(world: &mut World<'_>, step: Step) -> Result<(), String> {
    match step {
        Step::Operate => operate(world),
        Step::LeaveAll => leave_all(world),
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
        Step::Save => {
            if let Some(place) = world.pick_alive() {
                world.saved[place] = world.nodes[place].clone();
                world.run.note(|| format!("save {place}"));
            }
            Ok(())
        }
        Step::RollBack => roll_back(world),
        Step::Goodbye => say_goodbye(world),
        Step::Pause => pause(world),
        Step::Sleep => sleep(world),
        Step::Hint => hint(world),
        Step::Lease => programs::lease(world),
        Step::LoseOwner => programs::lose_owner(world),
        Step::Snapshot => {
            programs::snapshot(world);
            Ok(())
        }
        Step::Signal => programs::signal(world),
        Step::Stranger => strangers::arrive(world),
        Step::Alter => {
            alter(world);
            Ok(())
        }
        Step::Watch => interest::change(world, true),
        Step::Unwatch => interest::change(world, false),
    }
}

/// Heals all links.
pub(super) fn heal(world: &mut World<'_>) {
    world.network.heal();
    world.run.note(|| "heal all links".into());
}

/// Lets the program at a place track, update or untrack some entries.
fn operate(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    for _ in 0..1 + world.run.rng.below(world.run.plan.burst()) {
        let topic = world.run.rng.below(TOPICS as u64) as u8;
        let key = world.run.rng.below(world.run.plan.keys) as u8;
        let meta = world.run.rng.next_u64().to_le_bytes();
        let session = (topic, key, world.run.plan.owner(meta[0]));
        let choice = if world.run.rng.below(2) == 0 {
            UNTRACK
        } else {
            UPDATE
        };
        let meta = meta.repeat(world.run.plan.meta_len() / 8);
        world.operate(place, session, choice, meta.into())?;
    }
    world.after(place)
}

/// Lets all entries of a place in one partition leave: it will be vacated.
fn leave_all(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    let choice = world.run.rng.next_u64() as usize;
    let Some(node) = &mut world.nodes[place] else {
        return Ok(());
    };
    let occupied = node.model.occupied();
    let Some(&partition) = occupied.get(choice % occupied.len().max(1)) else {
        return Ok(());
    };
    if choice % 8 == 7 {
        while let Some(session) = first_session(world, place) {
            world.operate(place, session, UNTRACK_OWNER, [].into())?;
        }
        world.run.note(|| format!("all leave {place}"));
        return world.after(place);
    }
    for session in node.model.sessions(partition) {
        world.operate(place, session, UNTRACK, [].into())?;
    }
    world
        .run
        .note(|| format!("all leave {partition} at {place}"));
    world.after(place)
}

/// Lets every program update an entry in each partition.
pub(super) fn update_all(world: &mut World<'_>) -> Result<(), String> {
    for place in world.alive() {
        let occupied = world.nodes[place].as_ref();
        let occupied = occupied.map_or_else(Vec::new, |node| node.model.occupied());
        for partition in occupied {
            let node = world.nodes[place].as_ref();
            let sessions = node.map(|node| node.model.sessions(partition));
            if let Some(&session) = sessions.unwrap_or_default().first() {
                world.operate(place, session, UPDATE, (*b"the end").into())?;
            }
        }
        world.after(place)?;
    }
    Ok(())
}

fn first_session(world: &World<'_>, place: usize) -> Option<Session> {
    let node = world.nodes[place].as_ref()?;
    node.own.sessions().first().copied()
}

fn deliver_some(world: &mut World<'_>) -> Result<(), String> {
    for _ in 0..1 + world.run.rng.below(8) {
        world.deliver()?;
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
    world.run.note(|| format!("{incident:?} {a} {b}"));
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
    } else {
        let snapshot = world.run.pick(&snapshots);
        world.restore(place, snapshot)?;
    }
    interest::begin(world, place)
}

/// Lets a node begin to alter the entries that it sends, or stop.
fn alter(world: &mut World<'_>) {
    let Some(place) = world.pick_alive() else {
        return;
    };
    if let Some(node) = &mut world.nodes[place] {
        node.is_altering = !node.is_altering;
    }
    world
        .run
        .note(|| format!("{place} begins or stops to alter what it sends"));
}

fn roll_back(world: &mut World<'_>) -> Result<(), String> {
    let saved = 0..world.saved.len();
    let saved: Vec<_> = saved
        .filter(|&place| world.saved[place].is_some())
        .collect();
    if saved.is_empty() {
        return Ok(());
    }
    let place = world.run.pick(&saved);
    world.roll_back(place);
    world.after(place)
}

/// Lets a place leave with all its Goodbyes.
fn say_goodbye(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
    world.run.count(Incident::Goodbye);
    world.run.note(|| format!("goodbye of {place}"));
    let now = world.now(place);
    if let Some(node) = &mut world.nodes[place] {
        node.process.presence.leave_gracefully(now);
        while let Some(at) = node.process.presence.poll_timeout() {
            node.process.presence.handle_timeout(at);
        }
    }
    world.collect(place);
    world.stop(place);
    Ok(())
}

/// Lets nothing arrive for long enough that silence counts.
fn pause(world: &mut World<'_>) -> Result<(), String> {
    let ms = if world.run.rng.below(3) == 0 {
        world.run.plan.forget_ms
    } else {
        world.run.plan.down_ms
    };
    for _ in 0..ms / BEAT_MS + 2 {
        world.pass(BEAT_MS)?;
    }
    Ok(())
}

/// Lets a machine sleep past `forget_after`: by its own clock all others are long gone. Once only,
/// or markers would expire before what they guard against has aged.
fn sleep(world: &mut World<'_>) -> Result<(), String> {
    let Some(place) = world.pick_alive() else {
        return Ok(());
    };
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
        node.views.hint(&name);
        node.process.presence.disconnected(now, &address);
    }
    world.run.count(Incident::Hint);
    world
        .run
        .note(|| format!("a hint to {place} that {other} is gone"));
    world.after(place)
}
