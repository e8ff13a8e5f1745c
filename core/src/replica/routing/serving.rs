//! The words of this node about itself: pushes, its index, Beats, and answers to questions.

use std::time::Duration;

use super::Replica;
use crate::codec::FRAME_OVERHEAD_MAX;
use crate::error::SignalError;
use crate::replica::Signal;
use crate::replica::handle::Handle;
use crate::replica::long_replies::{CREDIT, PartOf};
use crate::replica::message::{
    Answer, BEAT_TOGGLES_MAX, Beat, Data, Delta, INDEX_TOGGLES_MAX, List, Mark, Message, PullItem,
    Same, Sign, TooLong,
};
use crate::replica::output::{
    Action, Address, Event, Found, Long, Pushed, Serve, Served, ServedPart,
};
use crate::replica::refusals::Peer;
use crate::replica::relay;
use crate::replica::signs::check_signal;
use crate::replica::throttle::Limited;

/// The most bytes that a frame has beside the records, rows or answers in it.
const HEAD_MAX: usize = FRAME_OVERHEAD_MAX + 64;
/// The most bytes of a row or a question in a list.
pub(super) const ITEM_MAX: usize = 32;
/// The most bytes of a partition in a list.
const TOGGLE_MAX: usize = 3;
/// The most bytes of an answer beside its content.
const ANSWER_HEAD_MAX: usize = 80;

/// Own operations.
impl Replica {
    /// Takes the own state of a partition after operations; they are pushed after `push_after`.
    pub(crate) fn report_clock(&mut self, now: Duration, partition: u16, clock: u64, entries: u32) {
        self.advance(now);
        let push_at = self.now + self.timing.push;
        self.partitions
            .report(partition, clock, entries, self.now, push_at);
        if entries == 0 {
            self.schedule(self.now + self.timing.vacate);
        }
    }

    /// Takes the number of bytes that the operations of the last reports have.
    pub(crate) fn report_written(&mut self, bytes: usize) {
        let bytes_max = self.config.push_bytes_max;
        self.partitions.report_written(bytes, bytes_max, self.now);
    }

    /// Returns whether [`handle_timeout`](Self::handle_timeout) is about to beat.
    pub(crate) fn is_beat_due(&mut self, now: Duration) -> bool {
        self.advance(now);
        self.own.is_speaking() && self.beats_now()
    }

    fn beats_now(&self) -> bool {
        self.now >= self.beat_at && !self.beat_waits
    }

    /// Says what is due: Hello, pushes, a Beat.
    pub(super) fn speak(&mut self) {
        if !std::mem::replace(&mut self.has_started, true) {
            let hello = self.hello();
            self.broadcast(&hello);
            let from = self.now + 2 * self.timing.beat;
            self.catch_up.begin(from, from + self.timing.ready);
            self.watches.start(from);
            self.schedule(from);
        }
        let is_beat_due = self.beats_now();
        let push_at = self.partitions.push_at();
        if is_beat_due || push_at.is_some_and(|at| self.now >= at) {
            self.beat_waits |= is_beat_due;
            self.begin_push();
            self.end_push();
        }
    }

    fn begin_push(&mut self) {
        for partition in self.partitions.begin_push() {
            let shown = self.index.position(partition);
            let since = shown.map_or(0, |shown| shown.clock);
            self.actions.push_back(Action::Push { partition, since });
        }
    }

    /// Takes the answer to an [`Action::Push`]. A partition that is not occupied begins a life with
    /// it.
    pub(crate) fn answer_push(&mut self, pushed: Pushed) {
        let partition = pushed.partition;
        if !self.partitions.end_push(partition) {
            return;
        }
        let shown = self.index.position(partition);
        if shown.map_or(0, |shown| shown.clock) != pushed.since {
            // It was begun under the identity before.
            self.partitions.push_again(partition, self.now);
            return;
        }
        let is_worth_it = shown.is_some() || self.partitions.has_entries(partition);
        if is_worth_it && pushed.clock > pushed.since {
            let seq = self.own.seq();
            let position = self
                .index
                .show(partition, pushed.clock, pushed.fingerprint, seq);
            let room = self.config.frame_max - HEAD_MAX;
            // Without a frame others find the new position in the index, the sum or a row, and ask.
            if let Some(records) = pushed.records.filter(|records| records.len() <= room) {
                let data = Data::Delta(Delta {
                    life: position.life,
                    from: pushed.since,
                    to: pushed.clock,
                    records,
                });
                self.publish(partition, &Message::Data(Answer { partition, data }));
            }
        }
        self.end_push();
    }

    /// Once all pushes are made: tells of the lives that they began, and beats if that is due.
    fn end_push(&mut self) {
        if !self.partitions.is_idle() {
            return;
        }
        self.tell_index();
        if std::mem::take(&mut self.beat_waits) {
            self.send_beat();
        }
    }

    fn tell_index(&mut self) {
        if self.told_version == self.index.version() {
            return;
        }
        let told = std::mem::replace(&mut self.told_version, self.index.version());
        let index = self.index_since(told);
        self.broadcast(&index);
    }

    fn index_since(&self, version: u64) -> Message {
        let toggles = self.index.toggles_since(version).filter(|_| version > 0);
        let room = (self.config.frame_max - HEAD_MAX) / TOGGLE_MAX;
        match toggles {
            Some(toggles) if toggles.len() <= room.min(INDEX_TOGGLES_MAX) => Message::Index {
                from: version,
                toggles,
            },
            _ => Message::IndexFull {
                version: self.index.version(),
                set: self.index.set().clone(),
            },
        }
    }

    /// Broadcasts the next Beat.
    pub(super) fn send_beat(&mut self) {
        self.own.beat(&mut self.rng);
        self.beat_at = self.now + self.timing.beat;
        let toggles = self.index.toggles_since(self.beat_version);
        let toggles = toggles.filter(|toggles| toggles.len() <= BEAT_TOGGLES_MAX);
        self.beat_version = self.index.version();
        let beat = self.beat(toggles.unwrap_or_default());
        self.broadcast(&beat);
        self.show_rows();
    }

    fn beat(&self, toggles: Vec<u16>) -> Message {
        Message::Beat(Beat {
            heartbeat: self.own.heartbeat(),
            seq: self.own.seq().max(1),
            version: self.index.version(),
            set_hash: self.index.set_hash(),
            sum: self.index.sum(),
            toggles,
        })
    }

    /// Vacates the partitions that have been empty for long.
    pub(super) fn vacate_empty(&mut self) {
        let Some(since) = self.now.checked_sub(self.timing.vacate) else {
            return;
        };
        for (partition, clock) in self.partitions.take_empty(since) {
            self.index.vacate(partition);
            self.long_replies.drop_partition(partition);
            self.end_captures();
            self.actions.push_back(Action::Vacate { partition, clock });
        }
        if self.own.is_speaking() && self.partitions.is_idle() {
            self.tell_index();
        }
    }
}

/// Signs.
impl Replica {
    /// Sends a short-lived sign to all. Of the signs about one topic, key and kind the last one
    /// sent wins. Nothing is kept of it, and it is the first to be dropped when frames wait.
    /// O(length).
    ///
    /// # Errors
    /// [`SignalError`] when the topic, key or payload has more than 256 bytes.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), SignalError> {
        check_signal(&signal)?;
        self.sign_seq += 1;
        if self.own.is_speaking() && !self.out.is_busy() {
            let partition = self.config.shape.partition_of(&signal.topic);
            let sign = Sign {
                seq: self.sign_seq,
                topic: signal.topic.into_bytes().into(),
                key: signal.key.into(),
                kind: signal.kind,
                ttl_ms: signal.ttl_ms,
                payload: signal.payload.into(),
            };
            self.publish(partition, &Message::Sign { partition, sign });
        }
        Ok(())
    }

    pub(super) fn take_sign(&mut self, handle: Handle, sign: Sign) {
        if self.signs.admits(handle, &sign, self.now)
            && let Some(known) = self.peers.get(handle)
            && let Ok(topic) = String::from_utf8(sign.topic.into())
        {
            let from = known.id().clone();
            let signal = Signal {
                topic,
                key: sign.key.into(),
                kind: sign.kind,
                ttl_ms: sign.ttl_ms,
                payload: sign.payload.into(),
            };
            self.emit(Event::Signal { from, signal });
        }
    }
}

/// Answers.
impl Replica {
    /// Answers the Hello of a replica: it learns of this one and of its index.
    pub(super) fn welcome(&mut self, handle: Handle) {
        if !self.own.is_speaking() || !self.has_started {
            return;
        }
        let now = self.now;
        let pause = self.timing.beat / 2;
        if let Some(known) = self.peers.get_mut(handle)
            && known.throttle.allows(Limited::Welcome, now, pause)
        {
            let to = known.address().clone();
            let beat = self.beat(Vec::new());
            self.send(&to, &beat);
            // The replica asks for the index when it hears the Beat, though it is on its way.
            if self.may_answer(handle, Limited::IndexAnswer) {
                let index = self.index_since(0);
                self.send(&to, &index);
            }
        }
    }

    pub(super) fn answer_index_pull(&mut self, from: &Address, handle: Handle, version: u64) {
        if version > self.index.version() {
            self.find_second_self(from);
            return;
        }
        if self.may_answer(handle, Limited::IndexAnswer) {
            let index = self.index_since(version);
            self.send(from, &index);
        }
    }

    pub(super) fn answer_ask(&mut self, from: &Address, handle: Handle, since: u64) {
        if !self.may_answer(handle, Limited::AskAnswer) {
            return;
        }
        let history = self.index.history_since(since);
        let mut chunks = history.chunks(self.per_frame()).peekable();
        // What has changed since the last Beat may do so again.
        let end = Mark::of_beat(self.own.seq());
        let mut since = Mark::of_beat(since);
        loop {
            let rows = chunks.next().unwrap_or_default();
            // Each frame says from where to where it has all rows: one of them may be lost.
            let next = chunks.peek().and_then(|next| next.first());
            let next = next.map(|(seq, row)| Mark {
                seq: *seq,
                partition: row.partition,
            });
            let to = next.map_or(end, |next| next.min(end));
            let rows = Message::Rows {
                from: since,
                to,
                rows: List::new(self.config.shape, rows.iter().map(|(_, row)| *row)),
            };
            self.send(from, &rows);
            since = to;
            if chunks.peek().is_none() {
                return;
            }
        }
    }

    /// Returns how many rows or questions a frame takes.
    pub(super) fn per_frame(&self) -> usize {
        (self.config.frame_max - HEAD_MAX) / ITEM_MAX
    }

    /// Returns whether questions are answered now: not while many frames wait, so that what this node has
    /// to say itself finds room.
    fn has_time(&self) -> bool {
        self.own.is_speaking() && !self.out.is_busy()
    }

    /// Returns whether so many questions of a replica are answered now. Beyond that they are dropped:
    /// it asks again.
    fn can_answer(&mut self, handle: Handle, questions: u64) -> bool {
        let occupied = self.index.set().len();
        let Some(known) = self.peers.get_mut(handle) else {
            return false;
        };
        if known
            .budget
            .allows(questions, occupied, self.now, self.timing.beat)
        {
            return true;
        }
        let from = known.id().clone();
        let cause = (Peer::Replica(from.clone()), "pulls");
        self.note_refusal(cause, || Event::TooManyPulls { from, count: 0 });
        false
    }

    fn may_answer(&mut self, handle: Handle, limited: Limited) -> bool {
        let now = self.now;
        let pause = self.timing.beat / 4;
        let is_speaking = self.own.is_speaking();
        let known = self.peers.get_mut(handle).filter(|_| is_speaking);
        known.is_some_and(|known| known.throttle.allows(limited, now, pause))
    }

    /// Answers every question of a frame, unless the asker has had its share of answers. One that
    /// knows more of this node than it does itself has heard a second self.
    pub(super) fn answer_questions(
        &mut self,
        from: &Address,
        handle: Handle,
        items: &List<PullItem>,
    ) {
        if !self.has_time() || !self.can_answer(handle, items.len()) {
            return;
        }
        let version = self.index.version();
        let mut answers = Vec::new();
        let mut serves = Vec::new();
        for item in items.iter() {
            let shown = self.index.position(item.partition);
            let is_beyond = shown.is_some_and(|shown| item.life > shown.life);
            if item.life > version || is_beyond {
                self.find_second_self(from);
                return;
            }
            let Some(shown) = shown else {
                let data = Data::Same(Same {
                    life: 0,
                    clock: 0,
                    fingerprint: 0,
                    version,
                    nonce: item.nonce,
                });
                let partition = item.partition;
                answers.push(Answer { partition, data });
                continue;
            };
            if let Some(reply) = self.long_replies.find(from, &item, shown.life) {
                self.send_part(from, reply, 0);
                continue;
            }
            if !self.watches.is_all() {
                self.index.touch(item.partition, self.own.seq());
            }
            serves.push(Serve {
                reply: 0,
                partition: item.partition,
                life: shown.life,
                clock: if item.life == shown.life {
                    item.clock
                } else {
                    0
                },
                shown: shown.clock,
                is_full: item.is_full,
                nonce: item.nonce,
                version,
                bytes_max: self.config.frame_max - HEAD_MAX - ANSWER_HEAD_MAX,
                saved_max: self.config.reply_bytes_max,
            });
        }
        let reply = self.replies.begin(from.clone(), serves.len(), answers);
        for serve in serves {
            self.actions
                .push_back(Action::Serve(Serve { reply, ..serve }));
        }
        self.send_reply(reply);
    }

    /// Takes the answer to an [`Action::Serve`].
    pub(crate) fn answer_pull(&mut self, served: Served) {
        let partition = served.partition;
        let Some(asker) = self.replies.asker(served.reply).cloned() else {
            // The question was for the identity before.
            return;
        };
        match served.found {
            Found::Data(data) => self.replies.add(served.reply, Answer { partition, data }),
            Found::Long(long) => {
                self.replies.skip(served.reply);
                self.begin_parts(&asker, partition, long);
            }
            Found::Nothing => self.replies.skip(served.reply),
            Found::Beyond => {
                self.replies.skip(served.reply);
                self.find_second_self(&asker);
            }
        }
        self.send_reply(served.reply);
    }

    /// Keeps an answer in parts, if it is still one, and sends its first part.
    fn begin_parts(&mut self, to: &Address, partition: u16, long: Long) {
        let shown = self.index.position(partition);
        let is_current = shown.is_some_and(|shown| shown.life == long.life);
        let longest = long.parts.longest();
        let capture = long.parts.capture();
        if longest + ANSWER_HEAD_MAX > self.config.frame_max - HEAD_MAX {
            let answer = self.answer_too_long(to, partition, longest, long.nonce);
            self.send(to, &Message::Data(answer));
        } else if is_current {
            let replies = &mut self.long_replies;
            let kept = replies.keep(to.clone(), partition, long, self.now, &mut self.rng);
            if let Some(reply) = kept {
                self.send_part(to, reply, 0);
            }
        }
        if let Some(capture) = capture
            && !self.long_replies.is_drawn((partition, capture))
        {
            self.actions
                .push_back(Action::EndCapture { partition, capture });
        }
        self.end_captures();
    }

    fn send_part(&mut self, to: &Address, reply: u32, index: u32) {
        match self.long_replies.part(reply, index, self.now) {
            Some(PartOf::Encoded(partition, part)) => {
                let data = Data::Part(part);
                self.send(to, &Message::Data(Answer { partition, data }));
            }
            Some(PartOf::Captured(request)) => self.actions.push_back(Action::ServePart(request)),
            None => return,
        }
        if let Some(at) = self.long_replies.next_at() {
            self.schedule(at);
        }
    }

    /// Takes the answer to an [`Action::ServePart`].
    pub(crate) fn answer_part(&mut self, served: ServedPart) {
        let partition = served.request.partition;
        if let Some((to, part)) = self.long_replies.encoded(served) {
            let data = Data::Part(part);
            self.send(&to, &Message::Data(Answer { partition, data }));
        }
        self.end_captures();
    }

    /// Gives up the captures that nobody draws any more.
    pub(super) fn end_captures(&mut self) {
        let ended = self.long_replies.take_ended().into_iter();
        let ended = ended.map(|(partition, capture)| Action::EndCapture { partition, capture });
        self.actions.extend(ended);
    }

    /// Sends some parts of an answer; if it is no longer kept, it is made again.
    pub(super) fn answer_parts(
        &mut self,
        from: &Address,
        handle: Handle,
        item: PullItem,
        reply: u32,
        wanted: impl Iterator<Item = u32>,
    ) {
        if !self.has_time() {
            return;
        }
        if self.long_replies.is_kept(reply, from, item.partition) {
            for index in wanted.take(usize::from(CREDIT)) {
                self.send_part(from, reply, index);
            }
        } else {
            let items = List::new(self.config.shape, [item]);
            self.answer_questions(from, handle, &items);
        }
    }

    /// Makes frames no longer than this from now on. Long answers in longer parts are made again.
    pub(crate) fn set_frame_max(&mut self, frame_max: usize) {
        let frame_max = relay::room(frame_max, self.config.shape, self.config.relay);
        if frame_max < self.config.frame_max {
            self.long_replies.clear();
            self.end_captures();
        }
        self.config.frame_max = frame_max;
    }

    fn send_reply(&mut self, number: u64) {
        let Some(complete) = self.replies.take_complete(number) else {
            return;
        };
        let room = self.config.frame_max - HEAD_MAX;
        let mut bundle: Vec<Answer> = Vec::new();
        let mut bytes = 0;
        for mut answer in complete.answers {
            let mut len = answer.data.len_max() + 16;
            if len > room {
                // Other answers were made for longer frames: they are asked for again.
                let Data::Repair(repair) = &answer.data else {
                    continue;
                };
                let bytes = repair.content.len();
                let nonce = repair.nonce;
                answer = self.answer_too_long(&complete.to, answer.partition, bytes, nonce);
                len = answer.data.len_max() + 16;
            }
            if bytes + len > room && !bundle.is_empty() {
                self.send_bundle(&complete.to, std::mem::take(&mut bundle));
                bytes = 0;
            }
            bytes += len;
            bundle.push(answer);
        }
        self.send_bundle(&complete.to, bundle);
    }

    /// Makes the answer that says that no frame takes the one asked for, which has so many bytes.
    /// Users are told.
    fn answer_too_long(
        &mut self,
        to: &Address,
        partition: u16,
        bytes: usize,
        nonce: u32,
    ) -> Answer {
        let to = to.clone();
        let cause = (Peer::Asker(partition), "frame_max");
        self.note_refusal(cause, || Event::AnswerTooLong {
            partition,
            bytes,
            to,
            count: 0,
        });
        let len = bytes as u64;
        let data = Data::TooLong(TooLong { len, nonce });
        Answer { partition, data }
    }

    fn send_bundle(&mut self, to: &Address, mut answers: Vec<Answer>) {
        let message = match answers.len() {
            0 => return,
            1 => Message::Data(answers.remove(0)),
            _ => Message::Bundle(List::new(self.config.shape, answers)),
        };
        self.send(to, &message);
    }
}
