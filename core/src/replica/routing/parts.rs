//! Answers in parts from others: what was loaded, what is missing.

use bytes::Bytes;

use super::Replica;
use super::holding::Life;
use crate::fault::{Fault, is_broken};
use crate::replica::handle::Handle;
use crate::replica::long_replies::CREDIT;
use crate::replica::message::{Delta, Message, Part, Repair};
use crate::replica::output::{Action, Apply, Report};
use crate::replica::stagings::{Late, Missing, Staged};

/// Questions, and the answers in parts to them.
impl Replica {
    /// Makes a question another one, if it is open. What was loaded for the one before goes.
    pub(super) fn redraw(&mut self, handle: Handle, partition: u16) {
        self.pulls
            .redraw(handle, partition, self.now, &mut self.rng);
        self.end_staging(handle, partition);
    }

    pub(super) fn close(&mut self, handle: Handle, partition: u16) {
        self.pulls.close(handle, partition);
        self.end_staging(handle, partition);
    }

    fn end_staging(&mut self, handle: Handle, partition: u16) {
        let was_loading = self.stagings.drop((handle, partition));
        // What is held by now came in another way.
        let is_cold = self.position(handle, partition).is_none();
        if was_loading && is_cold && !is_broken(Fault::KeepLoad) {
            self.drop_entries(handle, partition);
        }
    }

    /// Takes a part of an answer that is longer than a frame.
    pub(super) fn take_part(&mut self, handle: Handle, partition: u16, part: Part) {
        self.hear_life(handle, part.life);
        let question = self.pulls.answered_by(handle, partition, part.nonce);
        let Some(question) = question else {
            return;
        };
        let origin = (handle, partition);
        let is_useful = match self.life(handle, partition, part.life) {
            Life::Earlier | Life::Over => false,
            Life::Cold | Life::Later => part.base == 0,
            Life::Same(held) => {
                // A whole state would hide what is held until it is loaded.
                let is_change = part.base > 0 && part.base <= held.clock && part.to > held.clock;
                is_change || question.is_full && part.to >= held.clock
            }
        };
        if !is_useful {
            return;
        }
        self.pulls
            .rest(handle, partition, self.now + 2 * self.timing.pull);
        let head = Part {
            content: Bytes::new(),
            ..part
        };
        let mut staged = self.stagings.take(origin, part.clone(), self.now);
        if staged == Staged::Restart {
            self.end_staging(handle, partition);
            staged = self.stagings.take(origin, part, self.now);
        }
        match staged {
            Staged::Nothing | Staged::Restart => {}
            Staged::Load(first, parts) => self.load(handle, partition, &head, first, parts),
            Staged::Complete(content) => self.apply_change(handle, partition, &head, content),
            // Without what is held the parts need not wait for each other.
            Staged::TooMuch => {
                self.lose_held(handle, partition);
                self.redraw(handle, partition);
            }
        }
        self.ask_for_parts(handle, partition);
        if let Some(at) = self.stagings.next_at() {
            self.schedule(at);
        }
    }

    /// Has parts of a whole state loaded.
    fn load(&mut self, handle: Handle, partition: u16, head: &Part, first: u32, parts: Vec<Bytes>) {
        if first == 0 && self.position(handle, partition).is_some() {
            self.drop_entries(handle, partition);
            self.note_lost(handle, partition);
        }
        let Some(known) = self.peers.get(handle) else {
            return;
        };
        let id = known.id();
        let loads = (first..).zip(parts).map(|(part, content)| {
            Action::Apply(Apply {
                id: id.clone(),
                partition,
                life: head.life,
                from: 0,
                to: head.to,
                content,
                is_repair: true,
                answers: Some(head.nonce),
                is_full: true,
                part,
                parts: head.count,
            })
        });
        self.actions.extend(loads);
    }

    /// Applies a change that came in parts.
    fn apply_change(&mut self, handle: Handle, partition: u16, head: &Part, mut content: Bytes) {
        if content.is_empty() {
            return;
        }
        let kind = content.split_to(1)[0];
        if kind == 0 {
            let delta = Delta {
                life: head.life,
                from: head.base,
                to: head.to,
                records: content,
            };
            self.apply_delta(handle, partition, delta, Some(head.nonce));
        } else {
            let repair = Repair {
                life: head.life,
                base: head.base,
                to: head.to,
                nonce: head.nonce,
                content,
            };
            self.take_repair(handle, partition, repair);
        }
    }

    pub(super) fn note_loaded(&mut self, handle: Handle, report: &Report) {
        let origin = (handle, report.partition);
        if let Some(nonce) = report.answers {
            self.stagings.note_loaded(origin, nonce, report.part);
            if is_broken(Fault::CloseAtFirstPart) {
                self.pulls.close(handle, report.partition);
            }
            self.ask_for_parts(handle, report.partition);
        }
    }

    fn ask_for_parts(&mut self, handle: Handle, partition: u16) {
        if let Some(missing) = self.stagings.next((handle, partition), self.now) {
            self.send_pull_parts(handle, partition, missing);
        }
    }

    fn send_pull_parts(&mut self, handle: Handle, partition: u16, missing: Missing) {
        let question = self.pulls.question(handle, partition).copied();
        if let Some(known) = self.peers.get(handle)
            && let Some(question) = question
            && self.own.is_speaking()
        {
            let item = known.question(partition, &question);
            let to = known.address().clone();
            let pull = Message::PullParts {
                origin: handle,
                item,
                reply: missing.reply,
                credit: CREDIT,
                missing: missing.parts,
            };
            self.send(&to, &pull);
        }
    }

    /// Returns the bytes of changes that wait for their last part, and the most that may.
    #[cfg(feature = "testing")]
    pub(crate) fn staged_bytes(&self) -> (usize, usize) {
        (self.stagings.change_bytes(), self.config.staging_bytes_max)
    }

    /// Asks again for parts that do not come, and drops kept answers that nobody asks for.
    pub(super) fn tend_parts(&mut self) {
        self.long_replies.expire(self.now);
        self.end_captures();
        for late in self.stagings.late(self.now) {
            match late {
                Late::Ask((handle, partition), missing) => {
                    self.send_pull_parts(handle, partition, missing);
                }
                Late::GiveUp((handle, partition)) => self.redraw(handle, partition),
            }
        }
    }
}
