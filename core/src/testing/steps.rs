//! The steps of a schedule.

use std::time::Duration;

use super::plan::{BEAT_MS, Step};
use super::world::{PLACES, Session, TOPICS, World};

impl World<'_> {
    pub(super) fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Operate => self.operate_some(4),
            Step::Bulk => self.operate_some(60),
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
            Step::Pause => {
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
            Step::ForgetAll => self.forget_all(),
            Step::Hint => self.hint(),
        }
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
            let keys = if most > 4 { 60 } else { 4 };
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
        let (a, b) = (
            self.rng.below(places) as usize,
            self.rng.below(places) as usize,
        );
        match self.rng.below(3) {
            0 => self.cut[a][b] = true,
            1 => (self.cut[a][b], self.cut[b][a]) = (true, true),
            _ => (0..PLACES).for_each(|c| (self.cut[a][c], self.cut[c][a]) = (true, true)),
        }
        self.note(|| format!("cut {a} {b}"));
        Ok(())
    }

    fn crash(&mut self) -> Result<(), String> {
        if let Some(place) = self.pick_alive() {
            self.nodes[place] = None;
            self.note(|| format!("crash {place}"));
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        let names = self.plan.nodes as u64;
        let place = self.rng.below(names) as usize;
        if self.nodes[place].is_none() {
            self.start(place);
        }
        Ok(())
    }

    fn say_goodbye(&mut self) -> Result<(), String> {
        let Some(place) = self.pick_alive() else {
            return Ok(());
        };
        let now = self.now(place);
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
        if let Some(node) = &self.nodes[place] {
            node.presence.disconnected(now, &address);
        }
        self.note(|| format!("{place} is told that {other} is gone"));
        self.after(place)
    }
}
