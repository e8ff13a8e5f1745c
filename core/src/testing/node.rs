//! `Node`: a running process at a place, and beside it what the checks know of it.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;

use super::liveness::{self, Hearing, Known, beats_in};
use super::mirror::Readers;
use super::network::Flight;
use super::own_entries::OwnEntries;
use super::plan;
use super::run::Run;
use super::stats::Incident;
use super::truth::Truth;
use super::views::{self, Views};
use crate::id::ReplicaId;
use crate::presence::Presence;
use crate::replica::Event;

/// A running process.
pub(super) struct Node {
    pub(super) presence: Presence,
    /// The name that it bears: the number of the place where that name began.
    pub(super) name: usize,
    /// The time by which its clock is ahead of the world's.
    pub(super) ahead_ms: u64,
    /// The identity that it had at the last check.
    pub(super) id: ReplicaId,
    pub(super) own: OwnEntries,
    pub(super) views: Views,
    pub(super) readers: Readers,
    pub(super) hearing: Hearing,
    /// True if it alters entries that it passes on.
    pub(super) is_altering: bool,
    /// The frames that wait for a process that is frozen; `None` while it runs.
    pub(super) frozen: Option<Vec<Flight>>,
    /// The signals that it has heard.
    signals: HashSet<u64>,
}

impl Node {
    pub(super) fn new(presence: Presence, name: usize) -> Self {
        Self {
            id: presence.id(),
            presence,
            name,
            ahead_ms: 0,
            own: OwnEntries::new(plan::topic),
            views: Views::default(),
            readers: Readers::default(),
            hearing: Hearing::default(),
            is_altering: false,
            frozen: None,
            signals: HashSet::new(),
        }
    }

    /// Copies the process, memory and all.
    pub(super) fn fork(&self) -> Self {
        Self {
            presence: self.presence.fork(),
            name: self.name,
            ahead_ms: self.ahead_ms,
            id: self.id.clone(),
            own: self.own.clone(),
            views: self.views.clone(),
            readers: self.readers.clone(),
            hearing: self.hearing.clone(),
            is_altering: self.is_altering,
            frozen: self.frozen.clone(),
            signals: self.signals.clone(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.frozen.is_none()
    }

    /// Calls the process at `now`: what is due leaves.
    pub(super) fn timeout(&mut self, run: &mut Run<'_>, now: Duration) {
        self.hearing.advance(now);
        self.presence.handle_timeout(now);
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let ended = self.own.expire(now_ms);
        if ended.leases > 0 {
            run.count(Incident::LeaseEnded);
        }
        if ended.graces > 0 {
            run.count(Incident::GraceEnded);
        }
    }

    /// Notes what a frame reports that is about to be handled.
    ///
    /// # Errors
    /// It reports a heartbeat that was never made.
    pub(super) fn listen(
        &mut self,
        run: &Run<'_>,
        truth: &Truth,
        now: Duration,
        frame: &Bytes,
    ) -> Result<(), String> {
        self.hearing.advance(now);
        let Some((sender, beats)) = beats_in(&run.envelope(), frame) else {
            return Ok(());
        };
        for beat in beats {
            if beat.id.name() == self.id.name() {
                continue;
            }
            let Some(made_ms) = truth.beat_ms(&beat.id, beat.heartbeat) else {
                let id = &beat.id;
                let heartbeat = beat.heartbeat;
                return Err(format!(
                    "hears of heartbeat {heartbeat} of {id} from {sender}, never made"
                ));
            };
            let known = Known {
                is_sender_known: self.views.heartbeat(&sender).is_some(),
                heartbeat: self.views.heartbeat(&beat.id),
            };
            self.hearing.hear(beat, &known, run.plan.down_ms, made_ms);
        }
        Ok(())
    }

    /// Takes the events that wait. A divergence may be reported only where there can be one, a
    /// signal once.
    pub(super) fn take_events(&mut self, run: &mut Run<'_>, truth: &Truth) -> Result<(), String> {
        while let Some(event) = self.presence.poll_event() {
            let incident = match event {
                Event::ReplicaUp(_) => Incident::ReplicaUp,
                Event::ReplicaDown(_) => Incident::ReplicaDown,
                Event::ReplicaForgotten(_) => Incident::ReplicaForgotten,
                Event::ReplicaLeft(_) => Incident::ReplicaLeft,
                Event::DuplicateName { .. } => Incident::DuplicateName,
                Event::Divergence { origin, slot } => {
                    let origin = (origin, slot);
                    if !truth.is_forked(&origin.0) && !truth.is_tainted(&origin) {
                        return Err(format!("reports a divergence of {}/{slot}", origin.0));
                    }
                    self.views.diverge(origin);
                    Incident::Divergence
                }
                Event::Signal { signal, .. } => {
                    let number = signal.payload.try_into().map_or(0, u64::from_le_bytes);
                    if !self.signals.insert(number) {
                        return Err(format!("hears signal {number} again"));
                    }
                    continue;
                }
                _ => continue,
            };
            run.count(incident);
        }
        Ok(())
    }

    /// Checks what the node knows, after a call.
    pub(super) fn check(&mut self, run: &mut Run<'_>, truth: &Truth) -> Result<(), String> {
        let down_ms = run.plan.down_ms;
        let bounds = views::Bounds {
            now_ms: run.now_ms,
            // A marker guards for twice `forget_after`, by the clock of its node.
            guarded_ms: 2 * run.plan.forget_ms - self.ahead_ms - 1000,
            ghost_ms: run.ghost_ms,
        };
        let hearing = &self.hearing;
        let must_show = |id: &ReplicaId| hearing.must_show(id, down_ms);
        self.views
            .check_order(&self.presence, truth, &bounds, must_show)?;
        let content = self.views.check_states(truth)?;
        (0..content.wrong).for_each(|_| run.count(Incident::ContentWrong));
        (0..content.repaired).for_each(|_| run.count(Incident::ContentRepaired));
        Ok(())
    }

    /// Checks that a node that could look at its deadlines at `now` shows no replica that is
    /// silent.
    pub(super) fn check_silence(&self, run: &Run<'_>, now: Duration) -> Result<(), String> {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        // A call with an earlier time says nothing of the clock of the world.
        let is_earlier = now_ms < run.now_ms + self.ahead_ms;
        let bounds = liveness::Bounds {
            down_ms: run.plan.down_ms,
            beat_age_ms: run.ghost_ms + run.plan.down_ms,
            world_ms: (!is_earlier).then_some(run.now_ms),
        };
        self.hearing.check_silence(&self.presence, now, &bounds)
    }

    /// Checks that a node that asks for no call before later has nothing to do at `now`.
    pub(super) fn check_rest(&self, now: Duration) -> Result<(), String> {
        let Some(what) = self.presence.overdue(now) else {
            return Ok(());
        };
        let next = self.presence.poll_timeout();
        Err(format!(
            "asks for a call at {next:?}, yet at {now:?} {what}"
        ))
    }
}
