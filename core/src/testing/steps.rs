//! The steps of a schedule.

use std::time::Duration;

use super::incident::Incident;
use super::plan::{BEAT_MS, Step};
use super::world::{KEYS, PLACES, Session, TOPICS, World};
use crate::replica::Signal;

impl World<'_> {
    pub(super) fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Operate => self.operate_some(4),
            Step::Bulk => self.operate_some(120),
            Step::Tick => {
                let ms = 1 + self.rng.below(300);
                self.pass(ms)
            }
            Step::Beat => {
                let ms = BEAT_MS / 2 + self.rng.below(BEAT_MS);
                self.pass(ms)
            }
            Step::Deliver => {
                for _ in 0..1 + self.rng.below(8) {
                    self.deliver()?;
                    if self.rng.below(4) == 0 {
                        self.work()?;
                    }
                }
                Ok(())
            }
            Step::DeliverAll => self.deliver_all(),
            Step::Cut => self.cut_some(),
            Step::Heal => {
                self.count(Incident::Healed);
                self.heal();
                Ok(())
            }
            Step::Crash => self.crash(),
            Step::Restart => self.restart(),
            Step::Clone => {
                if let Some(place) = self.pick_alive()
                    && self.nodes.len() < PLACES
                {
                    self.clone_at(place);
                }
                Ok(())
            }
            Step::Goodbye => self.say_goodbye(),
            Step::Pause => self.pause(),
            Step::ForgetAll => self.forget_all(),
            Step::Hint => self.hint(),
            Step::Snapshot => {
                self.snapshot();
                Ok(())
            }
            Step::Spoil => {
                self.spoil();
                Ok(())
            }
            Step::Stranger => self.stranger(),
            Step::Lease => self.lease(),
            Step::LoseOwner => self.lose_owner(),
            Step::Signal => self.signal(),
            Step::Silence => self.silence(),
        }
    }

    /// Nothing happens for long enough that silence counts.
    fn pause(&mut self) -> Result<(), String> {
        let time = if self.rng.below(3) == 0 {
            self.plan.forget_ms
        } else {
            self.plan.down_ms
        };
        for _ in 0..time / BEAT_MS + 2 {
            self.pass(BEAT_MS)?;
            self.deliver_all()?;
        }
        Ok(())
    }

    fn signal(&mut self) -> Result<(), String> {
        let Some(place) = self.pick_alive() else {
            return Ok(());
        };
        self.signals += 1;
        let signal = Signal {
            topic: TOPICS[0].into(),
            key: b"k0".to_vec(),
            kind: 1,
            ttl_ms: 5_000,
            payload: self.signals.to_le_bytes().to_vec(),
        };
        if let Some(node) = &self.nodes[place]
            && let Err(error) = node.presence.signal(signal)
        {
            return Err(format!("{place} refused to send a signal: {error}"));
        }
        self.count(Incident::Signal);
        self.note(|| format!("signal of {place}"));
        self.collect(place);
        Ok(())
    }

    fn operate_some(&mut self, most: u64) -> Result<(), String> {
        let Some(place) = self.pick_alive() else {
            return Ok(());
        };
        let count = if most > 4 {
            most
        } else {
            1 + self.rng.below(most)
        };
        for _ in 0..count {
            let keys = if most > 4 { 60 } else { u64::from(KEYS) };
            let session: Session = (
                self.rng.below(TOPICS.len() as u64) as u8,
                self.rng.below(keys) as u8,
                self.rng.below(2) as u8,
            );
            self.operate(place, session)?;
        }
        Ok(())
    }

    /// Time passes for everybody.
    pub(super) fn pass(&mut self, ms: u64) -> Result<(), String> {
        self.now_ms += ms;
        self.note(|| "tick".into());
        self.wake()
    }

    fn cut_some(&mut self) -> Result<(), String> {
        let places = self.nodes.len() as u64;
        let a = self.rng.below(places) as usize;
        let b = self.rng.below(places) as usize;
        let incident = match self.rng.below(3) {
            0 => Incident::LinkCutOneWay,
            1 => Incident::LinkCut,
            _ => Incident::NodeCutOff,
        };
        match incident {
            Incident::LinkCutOneWay => self.cut[a][b] = true,
            Incident::LinkCut => (self.cut[a][b], self.cut[b][a]) = (true, true),
            _ => (0..PLACES).for_each(|c| (self.cut[a][c], self.cut[c][a]) = (true, true)),
        }
        if a != b || incident == Incident::NodeCutOff {
            self.count(incident);
        }
        self.note(|| format!("cut {a} {b}"));
        Ok(())
    }

    fn crash(&mut self) -> Result<(), String> {
        if let Some(place) = self.pick_alive() {
            self.nodes[place] = None;
            self.count(Incident::Crash);
            self.note(|| format!("crash {place}"));
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        let names = 0..self.plan.nodes;
        let dead: Vec<_> = names.filter(|&place| self.nodes[place].is_none()).collect();
        if dead.is_empty() {
            return Ok(());
        }
        let place = dead[self.rng.below(dead.len() as u64) as usize];
        self.restart_at(place)
    }

    fn say_goodbye(&mut self) -> Result<(), String> {
        let Some(place) = self.pick_alive() else {
            return Ok(());
        };
        let now = self.now(place);
        self.count(Incident::Goodbye);
        self.note(|| format!("goodbye of {place}"));
        if let Some(node) = &self.nodes[place] {
            node.presence.leave_gracefully(now);
        }
        self.collect(place);
        self.nodes[place] = None;
        Ok(())
    }

    /// A machine sleeps past `forget_after`: by its own clock everybody else is long gone. Once
    /// only, or markers would expire before what they guard against has aged.
    fn forget_all(&mut self) -> Result<(), String> {
        let Some(mut place) = self.pick_alive() else {
            return Ok(());
        };
        // Best while something is on its way that was asked for before.
        if let Some(busy) = self.awaits_repair() {
            place = busy;
        }
        let asleep = self.plan.forget_ms + 500;
        match &mut self.nodes[place] {
            Some(node) if node.ahead_ms == 0 => node.ahead_ms = asleep,
            _ => return Ok(()),
        }
        self.count(Incident::Sleep);
        self.note(|| format!("{place} sleeps and forgets"));
        self.wake()
    }

    fn hint(&mut self) -> Result<(), String> {
        let Some(place) = self.pick_alive() else {
            return Ok(());
        };
        let other = self.rng.below(self.nodes.len() as u64) as usize;
        let now: Duration = self.now(place);
        let address = self.addresses[other].clone();
        let name = format!("n{}", self.homes[other]);
        if let Some(node) = &mut self.nodes[place] {
            node.hearing.advance(now);
            node.hearing.hint(&name);
            node.presence.disconnected(now, &address);
        }
        self.count(Incident::Hint);
        self.note(|| format!("{place} is told that {other} is gone"));
        self.after(place)
    }
}
