//! Subscriptions: bounded queues that a node fills and their readers empty.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};

use crate::tracker::TopicDiff;

/// The items kept for a slow reader.
const BACKLOG: usize = 1024;

/// A reader's end of the news of a node: the changes of one topic, or the events of the cluster.
/// Dropping it ends it.
#[derive(Debug)]
pub struct Subscription<T = Arc<TopicDiff>> {
    hub: Arc<Hub<T>>,
    name: Arc<str>,
    number: u64,
    queue: Arc<Queue<T>>,
}

/// The error of a reader that was too slow: this many items are lost. Subscribe again, with
/// [`list_and_subscribe`](super::Node::list_and_subscribe).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged(pub u64);

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} items were missed: list the topic again", self.0)
    }
}

impl std::error::Error for Lagged {}

impl<T> Subscription<T> {
    /// Waits for the next item. Returns `None` after the node has stopped. Cancel safe.
    ///
    /// # Errors
    /// [`Lagged`] if more than 1,024 items were waiting, or the node itself lost changes. Items
    /// after those follow.
    pub async fn next(&mut self) -> Result<Option<T>, Lagged> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Takes the next item, or has the waker of `context` woken when there is one: what
    /// [`next`](Self::next) waits for, for callers with an event loop of their own.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, context: &Context<'_>) -> Poll<Result<Option<T>, Lagged>> {
        let mut waiting = self.queue.0.lock();
        if waiting.missed > 0 {
            return Poll::Ready(Err(Lagged(std::mem::take(&mut waiting.missed))));
        }
        if let Some(item) = waiting.items.pop_front() {
            return Poll::Ready(Ok(Some(item)));
        }
        if waiting.is_closed {
            return Poll::Ready(Ok(None));
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.hub.lock().remove(&self.name, self.number);
    }
}

#[derive(Debug)]
struct Queue<T>(Mutex<Waiting<T>>);

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<T>,
    missed: u64,
    is_closed: bool,
    waker: Option<Waker>,
}

impl<T> Queue<T> {
    fn new() -> Self {
        Self(Mutex::new(Waiting {
            items: VecDeque::new(),
            missed: 0,
            is_closed: false,
            waker: None,
        }))
    }

    fn change(&self, change: impl FnOnce(&mut Waiting<T>), wakers: &mut Wakers) {
        let mut waiting = self.0.lock();
        change(&mut waiting);
        wakers.0.extend(waiting.waker.take());
    }
}

impl<T> Waiting<T> {
    fn push(&mut self, item: T) {
        if self.items.len() == BACKLOG {
            self.lose();
            self.missed += 1;
        } else {
            self.items.push_back(item);
        }
    }

    fn lose(&mut self) {
        self.missed += self.items.len() as u64;
        self.items = VecDeque::new();
    }
}

/// The readers to wake once no lock is held: a waker may run any code.
#[derive(Debug, Default)]
pub(super) struct Wakers(Vec<Waker>);

impl Wakers {
    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

/// The readers of one kind of news, by what they read about.
#[derive(Debug)]
pub(super) struct Hub<T>(Mutex<Readers<T>>);

impl<T> Default for Hub<T> {
    fn default() -> Self {
        Self(Mutex::new(Readers {
            by_name: HashMap::new(),
            made: 0,
            lagged: 0,
            is_closed: false,
        }))
    }
}

impl<T> Hub<T> {
    pub(super) fn lock(&self) -> MutexGuard<'_, Readers<T>> {
        self.0.lock()
    }

    /// Adds a reader of what is sent from now on; `readers` are those of this hub, locked.
    pub(super) fn add(self: &Arc<Self>, readers: &mut Readers<T>, name: &str) -> Subscription<T> {
        let name: Arc<str> = name.into();
        let queue = Arc::new(Queue::new());
        queue.0.lock().is_closed = readers.is_closed;
        readers.made += 1;
        let number = readers.made;
        let named = readers.by_name.entry(Arc::clone(&name)).or_default();
        named.insert(number, Arc::clone(&queue));
        Subscription {
            hub: Arc::clone(self),
            name,
            number,
            queue,
        }
    }
}

#[derive(Debug)]
pub(super) struct Readers<T> {
    by_name: HashMap<Arc<str>, HashMap<u64, Arc<Queue<T>>>>,
    /// The number of readers there ever were.
    made: u64,
    lagged: u64,
    is_closed: bool,
}

impl<T> Readers<T> {
    /// Queues an item for the readers of a name; makes it only if there are any.
    pub(super) fn send(&mut self, name: &str, item: impl FnOnce() -> T, wakers: &mut Wakers)
    where
        T: Clone,
    {
        let Some(named) = self.by_name.get(name) else {
            return;
        };
        let item = item();
        for queue in named.values() {
            queue.change(
                |waiting| {
                    self.lagged += u64::from(waiting.items.len() == BACKLOG);
                    waiting.push(item.clone());
                },
                wakers,
            );
        }
    }

    /// Tells every reader that items are lost.
    pub(super) fn lose(&mut self, wakers: &mut Wakers) {
        for queue in self.by_name.values().flat_map(HashMap::values) {
            queue.change(
                |waiting| {
                    waiting.lose();
                    waiting.missed += 1;
                },
                wakers,
            );
            self.lagged += 1;
        }
    }

    /// Ends all subscriptions, those made later too; what waits can still be read.
    pub(super) fn close(&mut self, wakers: &mut Wakers) {
        self.is_closed = true;
        for queue in self.by_name.values().flat_map(HashMap::values) {
            queue.change(|waiting| waiting.is_closed = true, wakers);
        }
    }

    /// Returns the number of readers, and the length of their longest queue. O(readers).
    pub(super) fn load(&self) -> (usize, usize) {
        let queues = self.by_name.values().flat_map(HashMap::values);
        let lengths = queues.map(|queue| queue.0.lock().items.len());
        lengths.fold((0, 0), |(count, longest), length| {
            (count + 1, longest.max(length))
        })
    }

    /// Returns how often a reader was too slow.
    pub(super) fn lagged(&self) -> u64 {
        self.lagged
    }

    fn remove(&mut self, name: &str, number: u64) {
        if let Some(named) = self.by_name.get_mut(name) {
            named.remove(&number);
            if named.is_empty() {
                self.by_name.remove(name);
            }
        }
    }
}
