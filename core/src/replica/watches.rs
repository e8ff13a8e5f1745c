//! `Watches`: the topics that this node watches, and the replicas whose answers they wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::handle::Handle;
use super::output::Access;
use crate::fault::{Fault, is_broken};

/// The topics that are watched, by partition; or everything.
#[derive(Debug, Clone)]
pub(super) struct Watches {
    /// True if every node holds everything.
    is_all: bool,
    watched: BTreeMap<u16, Watched>,
    /// Those of them with a topic that may not be wholly ready: looked at with every frame.
    waiting: BTreeSet<u16>,
    /// No topic is ready before.
    ready_from: u64,
}

/// A partition that is held: one with watched topics, or with such a moment ago.
#[derive(Debug, Clone)]
struct Watched {
    topics: BTreeMap<Arc<str>, Topic>,
    /// When it is given up, if no topic is watched.
    ends_at: Option<u64>,
    /// Replicas that were up when the last watch of a topic began, or before, and of which not all is
    /// here that they had.
    open: BTreeSet<Handle>,
    /// Those of them of which all is here.
    closed: BTreeSet<Handle>,
    /// Until when a frame may arrive from before the partition was subscribed to.
    young_until: u64,
}

#[derive(Debug, Clone)]
struct Topic {
    /// The watches that have not ended.
    watches: u32,
    /// When it is ready in any case.
    until: u64,
    told: Told,
}

/// What users were told of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    /// It is ready, but replicas are missing.
    Partly,
    Wholly,
}

/// A topic that users are to be told of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReadyTopic {
    pub(super) partition: u16,
    pub(super) topic: Arc<str>,
    pub(super) missing: Vec<Handle>,
    /// The replicas whose entries it has.
    pub(super) whole: Vec<Handle>,
}

/// The outcome of [`Watches::begin`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begun {
    /// True if nothing of the partition was held.
    pub(super) is_first: bool,
    /// True if the topic was not watched.
    pub(super) is_new: bool,
}

impl Watched {
    /// Notes a replica, and whether all that it has is here.
    fn note(&mut self, handle: Handle, is_here: bool) {
        if is_here {
            self.open.remove(&handle);
            self.closed.insert(handle);
        } else {
            self.closed.remove(&handle);
            self.open.insert(handle);
        }
    }

    /// Notes that what was here of a replica is to come again.
    fn reopen(&mut self, handle: Handle) {
        if self.closed.remove(&handle) {
            self.open.insert(handle);
        }
    }

    fn is_waiting(&self) -> bool {
        let mut topics = self.topics.values();
        topics.any(|topic| topic.told != Told::Wholly)
    }

    /// Adds the topics that are ready now, and of which users were not told, to `ready`.
    fn report(
        &mut self,
        partition: u16,
        now: u64,
        is_up: &impl Fn(Handle) -> bool,
        ready: &mut Vec<ReadyTopic>,
    ) {
        let is_waited_for = |handle: &Handle| is_up(*handle) || is_broken(Fault::WatchWaitsForDead);
        let is_whole = !self.open.iter().any(is_waited_for);
        for (name, topic) in &mut self.topics {
            let is_news = if is_whole {
                topic.told != Told::Wholly
            } else {
                topic.told == Told::Nothing && now >= topic.until
            };
            if is_news {
                topic.told = if is_whole { Told::Wholly } else { Told::Partly };
                let missing = self.open.iter().copied().filter(is_waited_for);
                ready.push(ReadyTopic {
                    partition,
                    topic: name.clone(),
                    missing: missing.collect(),
                    whole: self.closed.iter().copied().collect(),
                });
            }
        }
    }
}

impl Watches {
    pub(super) fn new(is_all: bool) -> Self {
        Self {
            is_all,
            watched: BTreeMap::new(),
            waiting: BTreeSet::new(),
            ready_from: u64::MAX,
        }
    }

    /// Notes the start of the node: no topic is ready before `ready_from`.
    pub(super) fn start(&mut self, ready_from: u64) {
        self.ready_from = ready_from;
    }

    /// Returns whether everything is watched, whatever topics are.
    pub(super) fn is_all(&self) -> bool {
        self.is_all
    }

    /// Returns whether nothing is watched.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_all && self.watched.is_empty()
    }

    /// Returns whether a partition of others is held.
    pub(super) fn wants(&self, partition: u16) -> bool {
        self.is_all || self.watched.contains_key(&partition)
    }

    /// Returns whether a topic may be read.
    pub(super) fn access(&self, partition: u16, topic: &str) -> Access {
        let watched = self.watched.get(&partition);
        match watched.and_then(|watched| watched.topics.get(topic)) {
            _ if self.is_all => Access::Ready,
            None => Access::NotWatched,
            Some(topic) if topic.told == Told::Nothing => Access::NotReady,
            Some(_) => Access::Ready,
        }
    }

    /// Begins a watch of a topic, which is ready at `until` in any case. O(log n).
    pub(super) fn begin(&mut self, partition: u16, topic: &str, until: u64) -> Begun {
        let is_first = !self.watched.contains_key(&partition);
        let watched = self.watched.entry(partition).or_insert_with(|| Watched {
            topics: BTreeMap::new(),
            ends_at: None,
            open: BTreeSet::new(),
            closed: BTreeSet::new(),
            young_until: 0,
        });
        watched.ends_at = None;
        if let Some(topic) = watched.topics.get_mut(topic) {
            topic.watches = topic.watches.saturating_add(1);
            let is_new = false;
            return Begun { is_first, is_new };
        }
        let new = Topic {
            watches: 1,
            until,
            told: Told::Nothing,
        };
        watched.topics.insert(topic.into(), new);
        self.waiting.insert(partition);
        let is_new = true;
        Begun { is_first, is_new }
    }

    /// Notes that until `until` frames of a partition may arrive from before it was subscribed to.
    pub(super) fn begin_young(&mut self, partition: u16, until: u64) {
        if let Some(watched) = self.watched.get_mut(&partition) {
            watched.young_until = until;
        }
    }

    /// Returns whether a frame of a partition may be from before it was subscribed to: what was sent
    /// between the two did not arrive.
    pub(super) fn is_young(&self, partition: u16, now: u64) -> bool {
        let watched = self.watched.get(&partition);
        watched.is_some_and(|watched| now < watched.young_until)
            && !is_broken(Fault::NewsBeforeWatch)
    }

    /// Notes a replica that is up when a watch of a topic begins, and whether all that it had is here:
    /// what was here for an earlier watch may be behind by now.
    pub(super) fn note(&mut self, partition: u16, handle: Handle, is_here: bool) {
        if let Some(watched) = self.watched.get_mut(&partition) {
            watched.note(handle, is_here);
        }
    }

    /// Notes a replica that comes up. While this node starts, what is watched waits for it as if the
    /// watches began now: before, this node can have heard of nobody.
    pub(super) fn note_up(&mut self, handle: Handle, now: u64) {
        if now >= self.ready_from || is_broken(Fault::ReadyWithoutLate) {
            return;
        }
        for watched in self.watched.values_mut() {
            watched.note(handle, false);
        }
    }

    /// Ends a watch of a topic; after the last one of its partition, that is given up at `ends_at`.
    /// Returns whether the topic is no longer watched. O(log n).
    pub(super) fn end(&mut self, partition: u16, topic: &str, ends_at: u64) -> bool {
        let Some(watched) = self.watched.get_mut(&partition) else {
            return false;
        };
        let Some(known) = watched.topics.get_mut(topic) else {
            return false;
        };
        known.watches -= 1;
        if known.watches > 0 {
            return false;
        }
        watched.topics.remove(topic);
        if watched.topics.is_empty() {
            watched.ends_at = Some(ends_at);
        }
        true
    }

    /// Gives up the partitions whose time has come. Returns them.
    pub(super) fn expire(&mut self, now: u64) -> Vec<u16> {
        let over = self.watched.iter().filter(|(_, watched)| {
            let ends_at = watched.ends_at;
            ends_at.is_some_and(|at| at <= now)
        });
        let over: Vec<_> = over.map(|(partition, _)| *partition).collect();
        for partition in &over {
            self.watched.remove(partition);
        }
        over
    }

    /// Returns the partitions that wait for a replica. O(partitions that are not ready).
    pub(super) fn waiting_for(&self, handle: Handle) -> Vec<u16> {
        let waiting = self.waiting.iter().copied();
        let open = waiting.filter(|partition| {
            let watched = self.watched.get(partition);
            watched.is_some_and(|watched| watched.open.contains(&handle))
        });
        open.collect()
    }

    /// Notes that all is here that a replica had when the watch began.
    pub(super) fn close(&mut self, partition: u16, handle: Handle) {
        if let Some(watched) = self.watched.get_mut(&partition)
            && watched.open.remove(&handle)
        {
            watched.closed.insert(handle);
            if is_broken(Fault::ReadyAtFirstAnswer) {
                watched.open.clear();
            }
        }
    }

    /// Notes that a replica was forgotten: what it had is to come again if it comes back.
    pub(super) fn reopen(&mut self, handle: Handle) {
        for watched in self.watched.values_mut() {
            watched.reopen(handle);
        }
    }

    /// Notes that this node dropped what a replica has in a partition: it is to come again.
    pub(super) fn reopen_partition(&mut self, partition: u16, handle: Handle) {
        if let Some(watched) = self.watched.get_mut(&partition) {
            watched.reopen(handle);
        }
    }

    /// Notes that a replica is gone for good.
    pub(super) fn drop_replica(&mut self, handle: Handle) {
        for watched in self.watched.values_mut() {
            watched.open.remove(&handle);
            watched.closed.remove(&handle);
        }
    }

    /// Takes the topics that are ready now, of which users were not told. Replicas that are down
    /// are not waited for. O(topics that are not ready x their replicas).
    pub(super) fn report(&mut self, now: u64, is_up: impl Fn(Handle) -> bool) -> Vec<ReadyTopic> {
        let mut ready = Vec::new();
        if now < self.ready_from {
            return ready;
        }
        self.waiting.retain(|partition| {
            let watched = self.watched.get_mut(partition);
            watched.is_some_and(|watched| {
                watched.report(*partition, now, &is_up, &mut ready);
                watched.is_waiting()
            })
        });
        ready
    }

    /// Returns whether a watched topic is not wholly ready.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns when [`report`](Self::report) or [`expire`](Self::expire) has something to do next.
    pub(super) fn next_at(&self, now: u64) -> Option<u64> {
        let times = self.watched.values().flat_map(|watched| {
            let topics = watched.topics.values();
            let untold = topics.filter(|topic| topic.told == Told::Nothing);
            untold.map(|topic| topic.until).chain(watched.ends_at)
        });
        let is_waiting = self.ready_from != u64::MAX && self.is_waiting();
        let start = is_waiting.then_some(self.ready_from);
        times.chain(start).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Handle = Handle(1);
    const B: Handle = Handle(2);

    fn watches() -> Watches {
        let mut watches = Watches::new(false);
        watches.start(20);
        watches
    }

    /// Returns the topics that are ready and the replicas missing, where replica B is up or down.
    fn report(watches: &mut Watches, now: u64, is_b_up: bool) -> Vec<(String, Vec<Handle>)> {
        let ready = watches.report(now, |handle| handle == A || is_b_up);
        let ready = ready.into_iter();
        ready
            .map(|ready| (ready.topic.to_string(), ready.missing))
            .collect()
    }

    #[test]
    fn a_topic_is_ready_when_all_that_were_up_have_answered() {
        let mut watches = watches();
        let begun = watches.begin(3, "room", 50);
        assert_eq!((begun.is_first, begun.is_new), (true, true));
        watches.note(3, A, false);
        watches.note(3, B, false);
        assert_eq!(watches.waiting_for(A), [3]);
        watches.close(3, A);
        assert_eq!(report(&mut watches, 30, true), []);
        assert_eq!(watches.access(3, "room"), Access::NotReady);
        assert_eq!(watches.next_at(30), Some(50));
        watches.close(3, B);
        assert_eq!(
            report(&mut watches, 19, true),
            [],
            "the node has just started"
        );
        assert_eq!(report(&mut watches, 20, true), [("room".into(), vec![])]);
        assert_eq!(watches.access(3, "room"), Access::Ready);
        assert_eq!(report(&mut watches, 90, true), []);
        // Another topic of the partition is ready at once, if all is here.
        let begun = watches.begin(3, "hall", 200);
        assert_eq!((begun.is_first, begun.is_new), (false, true));
        watches.note(3, A, true);
        watches.note(3, B, true);
        assert_eq!(report(&mut watches, 150, true), [("hall".into(), vec![])]);
        watches.begin(3, "attic", 300);
        watches.note(3, A, true);
        watches.note(3, B, false);
        assert_eq!(report(&mut watches, 250, true), []);
        assert_eq!(report(&mut watches, 300, true), [("attic".into(), vec![B])]);
        watches.close(3, B);
        assert_eq!(report(&mut watches, 310, true), [("attic".into(), vec![])]);
        assert!(!watches.is_waiting());
    }

    #[test]
    fn a_topic_waits_for_those_heard_first_while_the_node_starts() {
        let mut watches = watches();
        watches.begin(3, "room", 50);
        watches.note_up(A, 19);
        watches.note_up(B, 20);
        assert_eq!(watches.waiting_for(A), [3]);
        assert_eq!(report(&mut watches, 30, true), []);
        watches.close(3, A);
        assert_eq!(report(&mut watches, 40, true), [("room".into(), vec![])]);
    }

    #[test]
    fn replicas_that_do_not_answer_are_named_once_and_those_down_not_waited_for() {
        let mut watches = watches();
        watches.begin(3, "room", 50);
        watches.note(3, A, false);
        watches.note(3, B, false);
        watches.close(3, A);
        assert_eq!(report(&mut watches, 50, true), [("room".into(), vec![B])]);
        assert_eq!(report(&mut watches, 60, true), []);
        assert!(watches.is_waiting());
        assert_eq!(report(&mut watches, 70, false), [("room".into(), vec![])]);
        assert!(!watches.is_waiting());
    }

    #[test]
    fn a_replica_that_is_forgotten_is_to_answer_again_if_it_comes_back() {
        let mut watches = watches();
        watches.begin(3, "room", 50);
        watches.note(3, A, false);
        watches.note(3, B, false);
        watches.close(3, A);
        watches.reopen(A);
        watches.close(3, B);
        assert_eq!(report(&mut watches, 30, true), []);
        watches.drop_replica(A);
        assert_eq!(report(&mut watches, 30, true), [("room".into(), vec![])]);
    }

    #[test]
    fn a_partition_is_given_up_some_time_after_the_last_of_its_watches() {
        let mut watches = watches();
        watches.begin(3, "room", 50);
        watches.begin(3, "room", 50);
        watches.begin(3, "hall", 50);
        report(&mut watches, 30, true);
        assert!(!watches.end(3, "room", 100), "watched twice");
        assert!(watches.end(3, "room", 100) && watches.end(3, "hall", 110));
        assert!(!watches.end(3, "hall", 999) && !watches.end(4, "room", 999));
        assert_eq!(watches.access(3, "room"), Access::NotWatched);
        assert_eq!((watches.wants(3), watches.next_at(100)), (true, Some(110)));
        assert!(watches.expire(109).is_empty());
        watches.begin(3, "hall", 500);
        assert!(watches.expire(110).is_empty(), "it is watched again");
        assert_eq!(report(&mut watches, 111, true), [("hall".into(), vec![])]);
        watches.end(3, "hall", 200);
        assert_eq!(watches.expire(200), [3]);
        assert!(watches.is_empty() && !watches.wants(3));
    }

    #[test]
    fn a_partition_is_young_from_its_first_watch_on_for_some_time() {
        let mut watches = watches();
        assert!(!watches.is_young(3, 10), "it is not held");
        watches.begin(3, "room", 50);
        watches.begin_young(3, 100);
        assert!(watches.is_young(3, 99) && !watches.is_young(3, 100));
        assert!(!Watches::new(true).is_young(3, 10));
    }

    #[test]
    fn in_mode_all_everything_is_wanted_and_readable() {
        let watches = Watches::new(true);
        assert!(watches.wants(7) && !watches.is_empty());
        assert_eq!(watches.access(7, "room"), Access::Ready);
    }
}
