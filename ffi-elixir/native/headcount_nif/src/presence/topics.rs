//! The topics that this node watches, in mode `interest`: for processes, and because entries of this node are in them.

use headcount::{Presence, ReplicaId, TrackError};
use parking_lot::Mutex;
use rustler::{Encoder, Env, LocalPid, Monitor, Resource, ResourceArc, Term};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Cluster;
use super::changes::shard_of;
use super::level::{Level, PerLevel};
use super::watch::Watch;
use crate::atoms;
use crate::entries;
use crate::errors;

/// The watched topics of a tracker. The presence counts one watch for each process, topic and level, and one for each
/// topic with entries of this node; it is told under the lock of `watches`, which normal schedulers never take.
pub(super) struct Topics {
    /// Wakes the process that moves frames.
    watch: ResourceArc<Watch>,
    watches: Mutex<Watches>,
    /// The topics with entries of this node, or with such a moment ago.
    tracked: Mutex<HashSet<Arc<str>>>,
    /// Those of them whose entries may be gone.
    checks: Mutex<HashSet<Arc<str>>>,
    /// Watchers that died and whose watches have not ended yet.
    dead: Mutex<Vec<LocalPid>>,
}

#[derive(Default)]
struct Watches {
    /// True if counts can be watched by themselves. If not, the presence watches entries in their place.
    has_counts: bool,
    topics: PerLevel<HashMap<Arc<str>, Topic>>,
    watchers: HashMap<LocalPid, Watcher>,
    /// News to be told, the process that took them last, and the number that it took.
    news: Vec<News>,
    taker: Option<LocalPid>,
    taken: usize,
}

#[derive(Default)]
struct Topic {
    watchers: HashSet<LocalPid>,
    is_tracked: bool,
    /// What was told when the topic became ready.
    ready: Option<Ready>,
}

struct Watcher {
    monitor: Monitor,
    /// The number of watches of each topic.
    topics: PerLevel<HashMap<Arc<str>, usize>>,
}

/// The age in milliseconds of the oldest of the entries, and the names of the nodes that are missing.
#[derive(Clone)]
struct Ready {
    age: u64,
    missing: Vec<String>,
}

enum News {
    Ready {
        level: Level,
        topic: Arc<str>,
        ready: Ready,
        watchers: Vec<LocalPid>,
    },
    Unwatched(Arc<str>),
}

/// A panic leaves at worst a watch that ends with its process.
impl std::panic::RefUnwindSafe for Topics {}

#[rustler::resource_impl]
impl Resource for Topics {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        self.dead.lock().push(pid);
        self.watch.wake(env);
    }
}

impl Watches {
    /// Returns the levels at which the presence watches the same as at this one.
    fn alike(&self, level: Level) -> impl Iterator<Item = Level> + use<> {
        let has_counts = self.has_counts;
        let levels = Level::ALL.into_iter();
        levels.filter(move |other| *other == level || !has_counts)
    }

    /// Returns what was told when a topic became ready.
    fn ready(&self, level: Level, topic: &str) -> Option<Ready> {
        let topics = self.alike(level).map(|level| &self.topics[level]);
        topics
            .filter_map(|topics| topics.get(topic))
            .find_map(|known| known.ready.clone())
    }

    /// Removes a topic that is watched no longer.
    fn forget_unwatched(&mut self, level: Level, topic: &str) {
        let topics = &mut self.topics[level];
        let is_unwatched = |topic: &Topic| topic.watchers.is_empty() && !topic.is_tracked;
        if topics.get(topic).is_some_and(is_unwatched)
            && let Some((topic, _)) = topics.remove_entry(topic)
        {
            let mut holders = self.alike(Level::Entries);
            let is_watched = |level| self.topics[level].contains_key(&topic);
            if self.alike(Level::Entries).any(|held| held == level) && !holders.any(is_watched) {
                self.news.push(News::Unwatched(topic));
            }
        }
    }

    /// Ends all watches of a process for a topic.
    fn end(
        &mut self,
        presence: &Presence,
        now: Duration,
        pid: LocalPid,
        level: Level,
        topic: &str,
    ) {
        level.unwatch(presence, now, topic);
        if let Some(known) = self.topics[level].get_mut(topic) {
            known.watchers.remove(&pid);
        }
        self.forget_unwatched(level, topic);
    }
}

impl Topics {
    pub(super) fn new(watch: ResourceArc<Watch>, has_counts: bool) -> Self {
        Self {
            watch,
            watches: Mutex::new(Watches {
                has_counts,
                ..Watches::default()
            }),
            tracked: Mutex::default(),
            checks: Mutex::default(),
            dead: Mutex::default(),
        }
    }

    /// Returns the number of watches of processes: one for each process, topic and level. O(watched topics).
    pub(super) fn watch_count(&self) -> usize {
        let watches = self.watches.lock();
        let levels = Level::ALL.into_iter();
        let topics = levels.flat_map(|level| watches.topics[level].values());
        topics.map(|topic| topic.watchers.len()).sum()
    }

    /// Begins a watch of a process. Returns what it is to be told at once: the topic is ready.
    fn begin(
        topics: &ResourceArc<Self>,
        presence: &Presence,
        env: Env<'_>,
        now: Duration,
        level: Level,
        topic: &str,
    ) -> Option<Ready> {
        let pid = env.pid();
        let watches = &mut *topics.watches.lock();
        let watcher = match watches.watchers.entry(pid) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Watcher {
                // There is none for a process that has died: then nothing is watched.
                monitor: topics.monitor(Some(env), &pid)?,
                topics: PerLevel::default(),
            }),
        };
        if let Some(count) = watcher.topics[level].get_mut(topic) {
            *count += 1;
        } else {
            let name: Arc<str> = topic.into();
            watcher.topics[level].insert(Arc::clone(&name), 1);
            let known = watches.topics[level].entry(name).or_default();
            known.watchers.insert(pid);
            level.watch(presence, now, topic);
        }
        if level.is_ready(presence, topic) {
            watches.ready(level, topic)
        } else {
            None
        }
    }

    /// Ends a watch of a process.
    fn unwatch(
        topics: &ResourceArc<Self>,
        presence: &Presence,
        env: Env<'_>,
        now: Duration,
        level: Level,
        topic: &str,
    ) {
        let pid = env.pid();
        let watches = &mut *topics.watches.lock();
        let Some(watcher) = watches.watchers.get_mut(&pid) else {
            return;
        };
        let counts = &mut watcher.topics[level];
        match counts.get_mut(topic) {
            None => return,
            Some(count) if *count > 1 => return *count -= 1,
            Some(_) => counts.remove(topic),
        };
        if Level::ALL
            .iter()
            .all(|&level| watcher.topics[level].is_empty())
            && let Some(watcher) = watches.watchers.remove(&pid)
        {
            topics.demonitor(Some(env), &watcher.monitor);
        }
        watches.end(presence, now, pid, level, topic);
    }

    /// Ends the watches of the processes that died.
    pub(super) fn end_dead(&self, presence: &Presence, now: Duration) {
        let dead = std::mem::take(&mut *self.dead.lock());
        if dead.is_empty() {
            return;
        }
        let watches = &mut *self.watches.lock();
        for pid in dead {
            let Some(watcher) = watches.watchers.remove(&pid) else {
                continue;
            };
            for level in Level::ALL {
                for topic in watcher.topics[level].keys() {
                    watches.end(presence, now, pid, level, topic);
                }
            }
        }
    }

    /// Returns whether a write of an entry in a topic need not watch it.
    pub(super) fn is_tracked(&self, topic: &str) -> bool {
        self.tracked.lock().contains(topic)
    }

    /// Watches a topic in which an entry of this node was written, unless it is watched for others.
    pub(super) fn note_tracked(&self, presence: &Presence, now: Duration, topic: &str) {
        if let Some(topic) = self.add_tracked(topic) {
            self.settle_topic(presence, now, &mut self.watches.lock(), topic);
        }
    }

    /// Leaves what [`note_tracked`](Self::note_tracked) does to the process that moves frames.
    pub(super) fn note_tracked_later(&self, topic: &str) {
        let topic = self.add_tracked(topic);
        self.checks.lock().extend(topic);
    }

    /// Returns the topic if it was not tracked.
    fn add_tracked(&self, topic: &str) -> Option<Arc<str>> {
        let mut tracked = self.tracked.lock();
        if tracked.contains(topic) {
            return None;
        }
        let topic: Arc<str> = topic.into();
        tracked.insert(Arc::clone(&topic));
        Some(topic)
    }

    /// Notes a topic from which entries have left.
    pub(super) fn note_leaves(&self, topic: &str) {
        let topic = self.tracked.lock().get(topic).cloned();
        self.checks.lock().extend(topic);
    }

    /// Notes that leaves may have been missed.
    pub(super) fn note_lost_leaves(&self) {
        let topics: Vec<_> = self.tracked.lock().iter().cloned().collect();
        self.checks.lock().extend(topics);
    }

    /// Watches the topics with entries of this node, and no others for their sake.
    pub(super) fn settle(&self, presence: &Presence, now: Duration) {
        let topics = std::mem::take(&mut *self.checks.lock());
        if topics.is_empty() {
            return;
        }
        let watches = &mut *self.watches.lock();
        for topic in topics {
            self.settle_topic(presence, now, watches, topic);
        }
    }

    /// Removes the topic from `tracked` before it looks at the entries, so that a later write notes it again.
    fn settle_topic(
        &self,
        presence: &Presence,
        now: Duration,
        watches: &mut Watches,
        topic: Arc<str>,
    ) {
        self.tracked.lock().remove(&topic);
        let is_tracked = presence.count_own(&topic) > 0;
        if is_tracked {
            self.tracked.lock().insert(Arc::clone(&topic));
        }
        let topics = &mut watches.topics[Level::Entries];
        let known = topics.entry(Arc::clone(&topic)).or_default();
        let was_tracked = std::mem::replace(&mut known.is_tracked, is_tracked);
        if is_tracked && !was_tracked {
            presence.watch(now, &topic);
        } else if was_tracked && !is_tracked {
            presence.unwatch(now, &topic);
        }
        watches.forget_unwatched(Level::Entries, &topic);
    }

    /// Notes that a topic can be read, or counted.
    pub(super) fn note_ready(
        &self,
        presence: &Presence,
        level: Level,
        topic: &Arc<str>,
        age: Duration,
        missing: &[ReplicaId],
    ) {
        let watches = &mut *self.watches.lock();
        let age = age.as_millis() as u64;
        let missing: Vec<_> = missing.iter().map(|id| id.name().to_owned()).collect();
        let ready = Ready { age, missing };
        for level in watches.alike(level) {
            // The watch may have ended, and another one begun, since the presence said so.
            if let Some(known) = watches.topics[level].get_mut(topic)
                && level.is_ready(presence, topic)
            {
                known.ready = Some(ready.clone());
                watches.news.push(News::Ready {
                    level,
                    topic: Arc::clone(topic),
                    ready: ready.clone(),
                    watchers: known.watchers.iter().copied().collect(),
                });
            }
        }
    }

    /// Returns `{:topic_ready, topic, age, missing, pids}`, `{:counts_ready, topic, age, missing, pids}` and
    /// `{:unwatched, shard, topic}` for the process that takes them. It has delivered them when it comes again; else
    /// its successor gets them.
    pub(super) fn take_news<'a>(&self, env: Env<'a>, shards: u32) -> Vec<Term<'a>> {
        let taker = Some(env.pid());
        let watches = &mut *self.watches.lock();
        let news = watches.news.iter().map(|news| match news {
            News::Ready {
                level,
                topic,
                ready,
                watchers,
            } => {
                let Ready { age, missing } = ready;
                (level.ready(), &**topic, age, missing, watchers).encode(env)
            }
            News::Unwatched(topic) => {
                (atoms::unwatched(), shard_of(topic, shards), &**topic).encode(env)
            }
        });
        let news = news.collect();
        watches.taker = taker;
        watches.taken = watches.news.len();
        news
    }

    /// Forgets the news that the calling process has delivered.
    pub(super) fn forget_delivered(&self, env: Env<'_>) {
        let watches = &mut *self.watches.lock();
        let taken = std::mem::take(&mut watches.taken);
        if watches.taker == Some(env.pid()) {
            watches.news.drain(..taken);
        }
    }
}

/// Begins a watch of the calling process. Returns `:ok`, `{:ready, age, missing}` if the topic can be read already, or
/// counted, or `{:error, reason}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_watch<'a>(
    env: Env<'a>,
    cluster: ResourceArc<Cluster>,
    now: u64,
    level: Level,
    topic: &str,
) -> Term<'a> {
    let max = entries::limits().get_topic_len_max();
    let len = topic.len();
    if len > max {
        return errors::track(env, &TrackError::TopicTooLong { len, max });
    }
    if !cluster.is_interest {
        return (atoms::ready(), 0, Vec::<String>::new()).encode(env);
    }
    let now = Duration::from_micros(now);
    let ready = Topics::begin(&cluster.topics, &cluster.presence, env, now, level, topic);
    cluster.watch.wake(env);
    match ready {
        Some(Ready { age, missing }) => (atoms::ready(), age, missing).encode(env),
        None => atoms::ok().encode(env),
    }
}

/// Ends a watch of the calling process.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_unwatch(
    env: Env<'_>,
    cluster: ResourceArc<Cluster>,
    now: u64,
    level: Level,
    topic: &str,
) {
    let now = Duration::from_micros(now);
    Topics::unwatch(&cluster.topics, &cluster.presence, env, now, level, topic);
    cluster.watch.wake(env);
}
