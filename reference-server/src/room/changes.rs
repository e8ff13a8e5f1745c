//! `TopicChanges`: what happens to presence in one topic on all nodes, without gaps.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use headcount::{
    EntryBuf, TopicDiff,
    id::Dot,
    runtime::{Node, Subscription, Watch},
    tracker::{Leave, LeaveReason},
};

use super::readable::readable;

/// The changes of a topic, and its entries as those taken have left them. The topic is watched as long as it lives.
#[derive(Debug)]
pub(super) struct TopicChanges {
    topic: Arc<str>,
    watch: Watch,
    /// `None` before the topic is ready, and after changes were lost.
    subscription: Option<Subscription>,
    known: HashMap<Dot, EntryBuf>,
}

impl TopicChanges {
    /// Begins to watch a topic. The first change that is taken has the entries that are there.
    pub(super) fn begin(node: &Node, topic: &str) -> Self {
        Self {
            topic: topic.into(),
            watch: node.watch(topic),
            subscription: None,
            known: HashMap::new(),
        }
    }

    /// Waits until the topic can be read, or the node stops.
    pub(super) fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let ready = self.watch.ready();
        async move { readable(ready.await) }
    }

    /// Returns whether the entries that were there have been taken.
    pub(super) fn has_begun(&self) -> bool {
        self.subscription.is_some()
    }

    /// Takes what has changed since the last call, in order. Nothing is taken before the topic is ready.
    pub(super) fn take(&mut self, node: &Node) -> Vec<Arc<TopicDiff>> {
        let mut taken = Vec::new();
        let context = Context::from_waker(Waker::noop());
        loop {
            let Some(subscription) = &mut self.subscription else {
                let Ok((entries, subscription)) = node.list_and_subscribe(&self.topic) else {
                    return taken;
                };
                self.subscription = Some(subscription);
                // After lost changes the difference to what is there now says the same.
                taken.push(Arc::new(self.replace(entries)));
                continue;
            };
            match subscription.poll_next(&context) {
                Poll::Ready(Ok(Some(diff))) => {
                    self.note(&diff);
                    taken.push(diff);
                }
                Poll::Ready(Err(_)) => self.subscription = None,
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
