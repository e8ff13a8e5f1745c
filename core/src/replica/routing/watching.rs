//! Topics that are watched: what is held of others, and whether it is whole.

use std::time::Duration;

use super::Replica;
use crate::fault::{Fault, is_broken};
use crate::replica::handle::Handle;
use crate::replica::message::{Answer, Data, Message};
use crate::replica::output::{Access, Action, Destination, Event, GroupSubscription};
use crate::replica::pulls::Reason;
use crate::replica::watches::ReadyTopic;

impl Replica {
    /// Watches a topic: what others have in its partition is held from now on. Each call is undone
    /// by one of [`unwatch`](Self::unwatch). Does nothing in mode `all`. O(replicas) for the first
    /// topic of a partition, else O(log n).
    pub(crate) fn watch(&mut self, now: Duration, topic: &str) {
        self.watch_in(now, self.config.shape.partition_of(topic), topic);
    }

    /// Watches the counts of a topic; its entries in a cluster without counts.
    pub(crate) fn watch_counts(&mut self, now: Duration, topic: &str) {
        self.watch_in(now, self.count_partition_of(topic), topic);
    }

    fn count_partition_of(&self, topic: &str) -> u16 {
        let shape = self.config.shape;
        if shape.has_counts() {
            shape.count_partition_of(topic)
        } else {
            shape.partition_of(topic)
        }
    }

    fn watch_in(&mut self, now: Duration, partition: u16, topic: &str) {
        self.advance(now);
        if self.watches.is_all() {
            return;
        }
        let until = self.now + self.timing.ready;
        let begun = self.watches.begin(partition, topic, until);
        if begun.is_first {
            // As long as a marker guards against late frames.
            let young_until = self.now + 2 * self.timing.forget;
            self.watches.begin_young(partition, young_until);
            self.subscriptions
                .push_back(GroupSubscription::Subscribe(partition));
        }
        if begun.is_new {
            let known = self.peers.iter();
            let known: Vec<_> = known.map(|known| (known.handle(), known.is_up())).collect();
            for (handle, is_up) in known {
                // Those that are down are asked as soon as they are up, and not waited for.
                if begun.is_first || self.has_lost_beats(handle) {
                    self.ask_if_named(handle, partition);
                }
                if is_up {
                    let is_unchecked = !begun.is_first && is_broken(Fault::ReadyWhereHeld);
                    let is_here = is_unchecked || self.is_here(handle, partition);
                    self.watches.note(partition, handle, is_here);
                }
            }
            self.tell_access(partition, topic);
            self.schedule(until);
        }
        self.report_topics();
        self.send_pulls();
    }

    /// Returns whether Beats of a replica were lost, and with them maybe more.
    fn has_lost_beats(&self, handle: Handle) -> bool {
        let known = self.peers.get(handle);
        known.is_some_and(|known| known.gap.has_lost())
    }

    fn ask_if_named(&mut self, handle: Handle, partition: u16) {
        let known = self.peers.get(handle);
        if known.is_some_and(|known| known.index.names(partition) == Some(true)) {
            self.ask(handle, partition, Reason::Unknown);
        }
    }

    /// Ends a watch of a topic. After the last one it cannot be read; after the last one of its
    /// partition, what others have there is given up `unwatch_after` later. Does nothing if the
    /// topic is not watched.
    pub(crate) fn unwatch(&mut self, now: Duration, topic: &str) {
        self.unwatch_in(now, self.config.shape.partition_of(topic), topic);
    }

    /// Ends a watch of the counts of a topic.
    pub(crate) fn unwatch_counts(&mut self, now: Duration, topic: &str) {
        self.unwatch_in(now, self.count_partition_of(topic), topic);
    }

    fn unwatch_in(&mut self, now: Duration, partition: u16, topic: &str) {
        self.advance(now);
        let ends_at = self.now + self.timing.unwatch;
        if self.watches.end(partition, topic, ends_at) {
            self.tell_access(partition, topic);
            self.schedule(ends_at);
        }
    }

    /// Returns whether a topic may be read.
    pub(crate) fn access(&self, topic: &str) -> Access {
        if self.watches.is_all() {
            // Asked for each topic of each Diff: without a hash.
            return Access::Ready;
        }
        let partition = self.config.shape.partition_of(topic);
        self.watches.access(partition, topic)
    }

    /// Returns the next thing to subscribe to, or no longer.
    pub(crate) fn poll_subscription(&mut self) -> Option<GroupSubscription> {
        self.subscriptions.pop_front()
    }

    /// Returns whether every topic that is watched can be read, and nothing is missing.
    #[cfg(feature = "testing")]
    pub(crate) fn is_whole(&self) -> bool {
        !self.watches.is_waiting()
    }

    /// Returns whether a partition of others is held.
    pub(crate) fn wants(&self, partition: u16) -> bool {
        self.watches.wants(partition)
    }

    fn tell_access(&mut self, partition: u16, topic: &str) {
        let access = self.watches.access(partition, topic);
        self.actions.push_back(Action::Open {
            partition,
            topic: topic.into(),
            access,
        });
    }

    /// Gives up the partitions that have not been watched for long.
    pub(super) fn end_watches(&mut self) {
        for partition in self.watches.expire(self.now) {
            self.subscriptions
                .push_back(GroupSubscription::Unsubscribe(partition));
            if is_broken(Fault::UnwatchKeeps) {
                continue;
            }
            let handles: Vec<_> = self.peers.iter().map(|known| known.handle()).collect();
            for handle in handles {
                self.pulls.close(handle, partition);
                self.stagings.drop((handle, partition));
                if let Some(known) = self.peers.get_mut(handle) {
                    known.refused.remove(&partition);
                }
                if !is_broken(Fault::RewatchWithOldClock) {
                    self.set_held(handle, partition, None);
                }
            }
            self.actions.push_back(Action::DropOthers(partition));
        }
    }

    /// Notes for the partitions that wait for a replica whether all that it had is here.
    pub(super) fn close_whole(&mut self, handle: Handle) {
        for partition in self.watches.waiting_for(handle) {
            if self.is_here(handle, partition) {
                self.watches.close(partition, handle);
            }
        }
    }

    /// All is here of a replica's partition once its index is known, and no question is open.
    fn is_here(&self, handle: Handle, partition: u16) -> bool {
        let Some(known) = self.peers.get(handle) else {
            return false;
        };
        let is_current = known.index.is_current() || is_broken(Fault::ReadyWithOldIndex);
        known.gap.has_heard() && is_current && !self.pulls.is_open(handle, partition)
    }

    /// Tells users of the topics that can be read from now on.
    pub(super) fn report_topics(&mut self) {
        if self.watches.is_all() {
            return;
        }
        let peers = &self.peers;
        let ready = self.watches.report(self.now, |handle| peers.is_up(handle));
        for ready in ready {
            self.tell_access(ready.partition, &ready.topic);
            self.emit_ready(ready);
        }
    }

    fn emit_ready(&mut self, ready: ReadyTopic) {
        let known = |handle: &Handle| self.peers.get(*handle);
        let whole = ready.whole.iter().filter_map(known);
        let ages = whole.map(|known| self.now.saturating_sub(known.heard()));
        // Older news are of replicas that are down, or about to be.
        let age = ages.filter(|age| *age < self.timing.down).max();
        let age = Duration::from_micros(age.unwrap_or(0));
        let missing = ready.missing.iter().filter_map(known);
        let missing = missing.map(|known| known.id().clone()).collect();
        let topic = ready.topic;
        let event = if self.config.shape.is_of_counts(ready.partition) {
            Event::CountsReady {
                topic,
                age,
                missing,
            }
        } else {
            Event::TopicReady {
                topic,
                age,
                missing,
            }
        };
        self.emit(event);
    }

    /// Sends a message about a partition to those that watch it.
    pub(super) fn publish(&mut self, partition: u16, message: &Message) {
        let to = if self.watches.is_all() {
            Destination::All
        } else {
            Destination::Group(partition)
        };
        self.transmit(to, message);
    }

    /// Shows the rows of the partitions that have become quiet, and a few others in turn, to those
    /// that watch them: the last frame about a partition may have been lost.
    pub(super) fn show_rows(&mut self) {
        if self.watches.is_all() || is_broken(Fault::ShowNoRows) {
            return;
        }
        let sweep_beats = self.config.sweep_beats.max(1);
        for row in self.index.rows_due(self.own.seq(), sweep_beats) {
            let data = Data::Row(row.position);
            let partition = row.partition;
            self.publish(partition, &Message::Data(Answer { partition, data }));
        }
    }
}
