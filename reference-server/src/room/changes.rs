//! `TopicChanges`: what happens to presence in one topic on all nodes, without gaps.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use headcount::{
    EntryBuf, TopicDiff,
    id::Dot,
    runtime::{Node, Subscription},
    tracker::{Leave, LeaveReason},
};

use super::readable::readable;

/// The changes of a topic, and its entries as those taken have left them.
#[derive(Debug)]
pub(super) struct TopicChanges {
    topic: Arc<str>,
    subscription: Subscription,
    known: HashMap<Dot, EntryBuf>,
}

impl TopicChanges {
    /// Begins with the entries that are there. Returns them as the first change too.
    pub(super) fn begin(node: &Node, topic: &Arc<str>) -> (Self, TopicDiff) {
        let (entries, subscription) = readable(node.list_and_subscribe(topic));
        let mut changes = Self {
            topic: Arc::clone(topic),
            subscription,
            known: HashMap::new(),
        };
        let first = changes.replace(entries);
        (changes, first)
    }

    /// Takes what has changed since the last call, in order.
    pub(super) fn take(&mut self, node: &Node) -> Vec<Arc<TopicDiff>> {
        let mut taken = Vec::new();
        let context = Context::from_waker(Waker::noop());
        loop {
            match self.subscription.poll_next(&context) {
                Poll::Ready(Ok(Some(diff))) => {
                    self.note(&diff);
                    taken.push(diff);
                }
                Poll::Ready(Err(_)) => {
                    // Too much happened between two calls: the difference to what is there now says the same.
                    let (entries, subscription) = readable(node.list_and_subscribe(&self.topic));
                    self.subscription = subscription;
                    taken.push(Arc::new(self.replace(entries)));
                }
                Poll::Ready(Ok(None)) | Poll::Pending => return taken,
            }
        }
    }

    fn note(&mut self, diff: &TopicDiff) {
        for entry in &diff.joins {
            self.known.insert(entry.dot(), entry.clone());
        }
        for update in &diff.updates {
            self.known.remove(&update.old.dot());
            self.known.insert(update.new.dot(), update.new.clone());
        }
        for leave in &diff.leaves {
            self.known.remove(&leave.entry.dot());
        }
    }

    /// Takes `entries` for what is there. Returns the difference to what was known.
    fn replace(&mut self, entries: Vec<EntryBuf>) -> TopicDiff {
        let mut before = std::mem::take(&mut self.known);
        let mut joins = Vec::new();
        for entry in entries {
            if before.remove(&entry.dot()).is_none() {
                joins.push(entry.clone());
            }
            self.known.insert(entry.dot(), entry);
        }
        TopicDiff {
            topic: Arc::clone(&self.topic),
            joins,
            leaves: before.into_values().map(missed).collect(),
            updates: Vec::new(),
        }
    }
}

/// Returns the leave of an entry that went while Diffs were lost.
fn missed(entry: EntryBuf) -> Leave {
    let reason = LeaveReason::Unknown;
    Leave { entry, reason }
}
