//! Changes on their way to the callbacks.

use headcount::replica::{Mode, Shape};
use headcount::{Diff, TopicDiff};
use parking_lot::Mutex;
use rustler::schedule::consume_timeslice;
use rustler::{Encoder, Env, LocalPid, Resource, ResourceArc, Term};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Cluster;
use super::watch::Watch;
use crate::shared::{Patience, answer, patiently, twins};

/// Most entries of the diff that one callback gets, unless one topic has more.
const DIFF_ENTRIES: usize = 10_000;

/// Most entries, and bytes of their metas, that become terms on a normal scheduler: about half a millisecond.
const SHORT_ENTRIES: usize = 500;
const SHORT_BYTES: usize = 256 * 1024;

/// Most bytes of changes that callbacks have not handled when more are taken out of the presence, which keeps the rest
/// and has a bound for it.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes that an entry takes beside its meta.
const ENTRY_BYTES: usize = 200;

/// Entries that take about a hundredth of the time after which a scheduler turns to another process.
const ENTRIES_A_PERCENT: usize = 20;

/// Changes that become terms in the process that uses them.
struct Changes {
    topics: Mutex<Vec<TopicDiff>>,
    /// The bytes that they take until they were handled.
    bytes: AtomicUsize,
    held: Arc<Held>,
    /// Wakes the process that takes changes.
    watch: ResourceArc<Watch>,
}

/// What was taken out of the presence and no callback has handled.
#[derive(Default)]
struct Held {
    bytes: AtomicUsize,
    /// True if changes stayed in the presence, as callbacks were behind.
    is_full: AtomicBool,
}

impl Held {
    /// Returns whether there is room for more; notes that changes stay in the presence if there is not.
    fn has_room(&self) -> bool {
        if self.is_below() {
            return true;
        }
        self.is_full.store(true, Ordering::SeqCst);
        // Some may have been handled before that was noted.
        self.is_below()
    }

    fn is_below(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) <= HELD_BYTES_MAX
    }
}

impl std::panic::RefUnwindSafe for Changes {}

#[rustler::resource_impl]
impl Resource for Changes {}

impl Drop for Changes {
    fn drop(&mut self) {
        self.release();
    }
}

/// Changes of a shard, under the number that they keep until the shard has handled them.
struct Part {
    shard: u32,
    number: u64,
    changes: ResourceArc<Changes>,
}

/// Keeps changes until the process that took them comes again, and so has delivered them: one that is killed while it
/// takes them hands them to its successor. A part may be handed out twice, under the same number.
#[derive(Default)]
pub(super) struct Outbox(Mutex<Parts>, Arc<Held>);

impl Outbox {
    /// Returns the bytes of the changes that were handed out and not handled.
    pub(super) fn held_bytes(&self) -> usize {
        self.1.bytes.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Parts {
    taker: Option<LocalPid>,
    /// The number of the next part.
    next: u64,
    /// Parts that are not known to be delivered.
    done: Vec<Part>,
    /// Parts that are being collected.
    open: Vec<(u32, usize, Vec<TopicDiff>)>,
}

/// Returns `[{shard, number, changes}]`: the changes since the last call, those of each shard in order, as far as
/// callbacks keep up.
pub(super) fn take<'a>(env: Env<'a>, cluster: &Cluster, shards: u32) -> Vec<Term<'a>> {
    let diffs = std::iter::from_fn(|| {
        let has_room = cluster.outbox.1.has_room();
        has_room.then(|| cluster.presence.poll_diff()).flatten()
    });
    hand_out(env, cluster, shards, diffs)
}

/// As [`take`], for the changes of this node; `None` if they cannot be taken in a moment, or older ones come first.
pub(super) fn flush<'a>(env: Env<'a>, cluster: &Cluster, shards: u32) -> Option<Vec<Term<'a>>> {
    let presence = &cluster.presence;
    if !cluster.outbox.1.has_room() {
        return None;
    }
    let attempt = || presence.try_take_diff();
    let diff = patiently(Patience::Moment, attempt, Diff::default)?;
    Some(hand_out(env, cluster, shards, std::iter::once(diff)))
}

fn hand_out<'a>(
    env: Env<'a>,
    cluster: &Cluster,
    shards: u32,
    diffs: impl Iterator<Item = Diff>,
) -> Vec<Term<'a>> {
    let taker = env.pid();
    let mut parts = cluster.outbox.0.lock();
    parts.forget_delivered(taker);
    for diff in diffs {
        if cluster.watches_tracked {
            let left = diff.iter().filter(|topic| !topic.leaves.is_empty());
            left.for_each(|topic| cluster.topics.note_leaves(&topic.topic));
        }
        let changes = |topics| Changes::new(topics, cluster);
        for topic in diff {
            parts.push(topic, shards, &changes);
        }
        // A topic may come again in the next diff, so this one ends here.
        parts.close_all(&changes);
    }
    if !parts.done.is_empty() && !cluster.watch.is_attached(taker) {
        // A process that was killed finishes its call after its successor has started.
        cluster.watch.wake(env);
    }
    let terms = parts
        .done
        .iter()
        .map(|part| (part.shard, part.number, part.changes.clone()).encode(env));
    terms.collect()
}

twins! {
    /// Returns `%{topic => {joins, leaves}}`, without topics for changes that were handled.
    fn presence_changes / "presence_changes_dirty" [env, patience] (
        cluster: ResourceArc<Cluster>, changes: ResourceArc<Changes>,
    ) {
        let diff = changes.with(env, patience, |topics| cluster.reader(env).diff(&*topics));
        answer(env, diff)
    }
}

twins! {
    /// Returns `%{topic => [reason]}`: why the leaves of these changes left, in their order.
    fn presence_leave_reasons / "presence_leave_reasons_dirty" [env, patience] (
        cluster: ResourceArc<Cluster>, changes: ResourceArc<Changes>,
    ) {
        let reasons = changes.with(env, patience, |topics| cluster.reader(env).reasons(&*topics));
        answer(env, reasons)
    }
}

twins! {
    /// Frees changes that were handled: here, as a garbage collection would hold its scheduler.
    fn presence_drop_changes / "presence_drop_changes_dirty" [env, patience] (
        changes: ResourceArc<Changes>,
    ) {
        let dropped = changes.with(env, patience, |topics| *topics = Vec::new());
        if dropped.is_some() {
            changes.release();
            let held = &changes.held;
            if held.is_below() && held.is_full.swap(false, Ordering::SeqCst) {
                changes.watch.wake(env);
            }
        }
        answer(env, dropped)
    }
}

impl Changes {
    fn new(topics: Vec<TopicDiff>, cluster: &Cluster) -> Self {
        let entries: usize = topics.iter().map(TopicDiff::len).sum();
        let bytes = bytes(&topics) + entries * ENTRY_BYTES;
        let held = cluster.outbox.1.clone();
        held.bytes.fetch_add(bytes, Ordering::SeqCst);
        Self {
            topics: Mutex::new(topics),
            bytes: AtomicUsize::new(bytes),
            held,
            watch: (*cluster.watch).clone(),
        }
    }

    /// Notes that the changes were handled.
    fn release(&self) {
        let bytes = self.bytes.swap(0, Ordering::SeqCst);
        self.held.bytes.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// Works on the changes. On a normal scheduler `None` for many of them, and while they are in use.
    fn with<R>(
        &self,
        env: Env<'_>,
        patience: Patience,
        work: impl FnOnce(&mut Vec<TopicDiff>) -> R,
    ) -> Option<R> {
        if let Patience::Endless = patience {
            return Some(work(&mut self.topics.lock()));
        }
        let mut topics = self.topics.try_lock()?;
        let entries: usize = topics.iter().map(TopicDiff::len).sum();
        if entries > SHORT_ENTRIES || bytes(&topics) > SHORT_BYTES {
            return None;
        }
        let percent = (entries / ENTRIES_A_PERCENT).clamp(1, 100);
        consume_timeslice(env, percent as i32);
        Some(work(&mut topics))
    }
}

/// Returns the bytes of all metas. O(entries).
fn bytes(topics: &[TopicDiff]) -> usize {
    let entries = topics.iter().flat_map(|topic| {
        let left = topic.leaves.iter().map(|leave| &leave.entry);
        let updates = topic.updates.iter();
        let updated = updates.flat_map(|update| [&update.old, &update.new]);
        topic.joins.iter().chain(left).chain(updated)
    });
    entries.map(|entry| entry.meta().len()).sum()
}

/// Returns the shard of a topic, whose process gets its changes and its signals.
#[rustler::nif(name = "shard_of")]
fn shard_of_topic(topic: &str, shards: u32) -> u32 {
    shard_of(topic, shards)
}

/// Returns the shard of a topic: the same in each call with as many shards.
pub(super) fn shard_of(topic: &str, shards: u32) -> u32 {
    let hash = Shape::new(1 << 16, Mode::All).unwrap_or_default();
    u32::from(hash.partition_of(topic)) % shards.max(1)
}

impl Parts {
    fn forget_delivered(&mut self, taker: LocalPid) {
        if self.taker == Some(taker) {
            self.done.clear();
        } else {
            self.taker = Some(taker);
            self.done
                .retain(|part| !part.changes.topics.lock().is_empty());
        }
    }

    /// Collects topics of each shard until there are enough for one callback.
    fn push(
        &mut self,
        topic: TopicDiff,
        shards: u32,
        changes: &impl Fn(Vec<TopicDiff>) -> Changes,
    ) {
        let shard = shard_of(&topic.topic, shards);
        let at = match self.open.iter().position(|(open, ..)| *open == shard) {
            Some(at) => at,
            None => {
                self.open.push((shard, 0, Vec::new()));
                self.open.len() - 1
            }
        };
        let (_, entries, topics) = &mut self.open[at];
        *entries += topic.len();
        topics.push(topic);
        if *entries >= DIFF_ENTRIES {
            self.close(at, changes);
        }
    }

    fn close_all(&mut self, changes: &impl Fn(Vec<TopicDiff>) -> Changes) {
        while !self.open.is_empty() {
            self.close(0, changes);
        }
    }

    fn close(&mut self, at: usize, changes: &impl Fn(Vec<TopicDiff>) -> Changes) {
        let (shard, _, topics) = self.open.swap_remove(at);
        let changes = ResourceArc::new(changes(topics));
        self.done.push(Part {
            shard,
            number: self.next,
            changes,
        });
        self.next += 1;
    }
}
