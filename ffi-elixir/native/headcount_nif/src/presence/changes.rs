//! Changes on their way to the callbacks.

use headcount::replica::{Mode, Shape};
use headcount::{Diff, TopicDiff};
use parking_lot::Mutex;
use rustler::{Encoder, Env, Resource, ResourceArc, Term};

use super::Cluster;
use crate::entries::Reader;

/// Most entries of the diff that one callback gets, unless one topic has more.
const DIFF_ENTRIES: usize = 10_000;

/// Changes that become terms in the process that uses them.
struct Changes {
    topics: Mutex<Vec<TopicDiff>>,
    cluster: ResourceArc<Cluster>,
}

impl std::panic::RefUnwindSafe for Changes {}

#[rustler::resource_impl]
impl Resource for Changes {}

/// Returns `[{shard, changes}]`: the changes since the last call, those of each shard in order.
pub(super) fn take<'a>(env: Env<'a>, cluster: &ResourceArc<Cluster>, shards: u32) -> Vec<Term<'a>> {
    let diffs = std::iter::from_fn(|| cluster.presence.poll_diff());
    part(env, cluster, shards, diffs)
}

/// As [`take`], with the newest changes of this node.
pub(super) fn flush<'a>(
    env: Env<'a>,
    cluster: &ResourceArc<Cluster>,
    shards: u32,
) -> Vec<Term<'a>> {
    let older = std::iter::from_fn(|| cluster.presence.poll_diff());
    // Taken after the older ones have ended.
    let newest = std::iter::once_with(|| cluster.presence.take_diff());
    part(env, cluster, shards, older.chain(newest))
}

fn part<'a>(
    env: Env<'a>,
    cluster: &ResourceArc<Cluster>,
    shards: u32,
    diffs: impl Iterator<Item = Diff>,
) -> Vec<Term<'a>> {
    let mut parts = Parts {
        env,
        shards,
        cluster,
        open: Vec::new(),
        done: Vec::new(),
    };
    for diff in diffs {
        diff.into_iter().for_each(|topic| parts.push(topic));
        // A topic may come again in the next diff, so this one ends here.
        parts.close_all();
    }
    parts.done
}

/// Returns `%{topic => {joins, leaves}}`
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_changes<'a>(env: Env<'a>, changes: ResourceArc<Changes>) -> Term<'a> {
    let topics = changes.topics.lock();
    let reader: Reader<'a> = changes.cluster.reader(env);
    reader.diff(&*topics)
}

/// Frees changes that were handled: here, as a garbage collection would hold its scheduler.
#[rustler::nif(schedule = "DirtyCpu")]
fn presence_drop_changes(changes: ResourceArc<Changes>) {
    *changes.topics.lock() = Vec::new();
}

/// Returns the shard of a topic: the same in each call with as many shards.
fn shard_of(topic: &str, shards: u32) -> u32 {
    let hash = Shape::new(1 << 16, Mode::All).unwrap_or_default();
    u32::from(hash.partition_of(topic)) % shards.max(1)
}

/// Collects topics of each shard until there are enough for one callback.
struct Parts<'a, 'c> {
    env: Env<'a>,
    shards: u32,
    cluster: &'c ResourceArc<Cluster>,
    open: Vec<(u32, usize, Vec<TopicDiff>)>,
    done: Vec<Term<'a>>,
}

impl Parts<'_, '_> {
    fn push(&mut self, topic: TopicDiff) {
        let shard = shard_of(&topic.topic, self.shards);
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
            self.close(at);
        }
    }

    fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.close(0);
        }
    }

    fn close(&mut self, at: usize) {
        let (shard, _, topics) = self.open.swap_remove(at);
        let changes = ResourceArc::new(Changes {
            topics: Mutex::new(topics),
            cluster: self.cluster.clone(),
        });
        self.done.push((shard, changes).encode(self.env));
    }
}
