//! Frames that several threads hand over at once: nothing is lost, and Diffs follow the lists.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use headcount::id::EntryRef;
use headcount::{Diff, EntryBuf, NewEntry, Presence};

use crate::support::mesh::{Mesh, seconds};
use crate::support::rng::Rng;

const TOPICS: [&str; 4] = ["room", "hall", "", "größer"];
const SENDERS: usize = 4;
const OPERATIONS: usize = 1_500;

/// Writes and ends entries, now and then all of them, and returns the frames about it.
fn churn(node: &Presence, seed: u64, mut now: Duration) -> Vec<Bytes> {
    let mut rng = Rng(seed);
    let mut frames = Vec::new();
    for _ in 0..OPERATIONS {
        let topic = TOPICS[rng.index(TOPICS.len())];
        let key = format!("user {}", rng.below(8));
        if rng.one_in(100) {
            node.untrack_owner("c");
        } else if rng.one_in(3) {
            node.untrack(topic, &key, "c");
        } else {
            let meta = rng.below(1_000).to_string();
            let put = NewEntry::new(topic, &key, "c").meta(meta.as_bytes());
            node.upsert(&put).unwrap();
        }
        now += Duration::from_millis(10);
        node.handle_timeout(now);
        frames.extend(std::iter::from_fn(|| node.poll_transmit()).map(|transmit| transmit.frame));
    }
    frames
}

/// A topic by its list at one moment and the Diffs after it: each change comes once.
struct Reader {
    topic: &'static str,
    entries: BTreeMap<EntryRef, EntryBuf>,
}

impl Reader {
    fn begin(node: &Presence, topic: &'static str) -> Self {
        let (list, _) = node.list_with_diffs(topic).unwrap();
        let entries = list.into_iter().map(|entry| (entry.entry_ref(), entry));
        let entries = entries.collect();
        Self { topic, entries }
    }

    fn take(&mut self, diff: &Diff) {
        let Some(changes) = diff.topic(self.topic) else {
            return;
        };
        for join in &changes.joins {
            let known = self.entries.insert(join.entry_ref(), join.clone());
            assert!(known.is_none(), "{join:?} joins twice");
        }
        for update in &changes.updates {
            let old = self.entries.remove(&update.old.entry_ref());
            assert_eq!(old.as_ref(), Some(&update.old), "an update of nothing");
            let new = update.new.clone();
            self.entries.insert(new.entry_ref(), new);
        }
        for leave in &changes.leaves {
            let known = self.entries.remove(&leave.entry.entry_ref());
            assert_eq!(known.as_ref(), Some(&leave.entry), "a leave of nothing");
        }
    }

    fn take_all(&mut self, node: &Presence) {
        while let Some(diff) = node.poll_diff() {
            self.take(&diff);
        }
    }
}

fn listed(node: &Presence, topic: &str) -> BTreeMap<EntryRef, EntryBuf> {
    let list = node.list(topic).unwrap().into_iter();
    list.map(|entry| (entry.entry_ref(), entry)).collect()
}

/// Hands the frames of all senders over, from two threads. Readers begin meanwhile, again and
/// again; returns the last of them.
fn hand_over(taker: &Presence, frames: &[Vec<Bytes>], now: Duration) -> Reader {
    let running = AtomicUsize::new(2);
    let hand = |first: usize| {
        for at in 0..frames.iter().map(Vec::len).max().unwrap_or(0) {
            for (sender, frames) in frames.iter().enumerate().skip(first).step_by(2) {
                if let Some(frame) = frames.get(at) {
                    let from = (sender + 1).to_string();
                    taker.handle_message(now, &from, frame).unwrap();
                }
            }
        }
        running.fetch_sub(1, Ordering::Release);
    };
    thread::scope(|scope| {
        scope.spawn(|| hand(0));
        scope.spawn(|| hand(1));
        let mut reader = Reader::begin(taker, TOPICS[0]);
        for turn in 0.. {
            reader.take_all(taker);
            if turn % 50 == 49 {
                reader = Reader::begin(taker, TOPICS[turn / 50 % TOPICS.len()]);
            }
            if running.load(Ordering::Acquire) == 0 {
                break;
            }
        }
        reader
    })
}

#[test]
fn frames_of_several_threads_are_all_applied_and_a_reader_can_begin_between_them() {
    for seed in 0..4 {
        let names = [("taker", 1), ("a", 1), ("b", 1), ("c", 1), ("d", 1)];
        let mut mesh = Mesh::new(&names);
        mesh.run(seconds(3));
        let senders = (0..SENDERS).map(|sender| {
            let seed = seed * 100 + sender as u64;
            churn(&mesh.nodes[sender + 1], seed, mesh.now)
        });
        let frames: Vec<_> = senders.collect();
        mesh.now += OPERATIONS as u32 * Duration::from_millis(10);
        let mut reader = hand_over(&mesh.nodes[0], &frames, mesh.now);
        reader.take_all(&mesh.nodes[0]);
        assert_eq!(
            reader.entries,
            listed(&mesh.nodes[0], reader.topic),
            "the Diffs after a list"
        );
        for node in &mesh.nodes {
            while node.poll_transmit().is_some() {}
        }
        mesh.run(seconds(20));
        reader.take_all(&mesh.nodes[0]);
        for topic in TOPICS {
            let own = mesh.nodes[1..].iter().flat_map(|node| {
                let own = listed(node, topic).into_iter();
                own.filter(|(_, entry)| entry.origin().replica == node.id())
            });
            let own: BTreeMap<_, _> = own.collect();
            assert_eq!(listed(&mesh.nodes[0], topic), own, "seed {seed}, {topic:?}");
        }
        assert_eq!(reader.entries, listed(&mesh.nodes[0], reader.topic));
    }
}
