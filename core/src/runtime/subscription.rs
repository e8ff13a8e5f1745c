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
/// The bytes kept for a slow reader, unless a single item has more.
const BACKLOG_BYTES: usize = 64 << 20;

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
    /// [`Lagged`] if more than 1,024 items were waiting or more than 64 MiB of them, or the node
    /// itself lost changes. Items after those follow.
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
        if let Some((item, bytes)) = waiting.items.pop_front() {
            waiting.bytes -= bytes;
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
    /// Items with the bytes that each takes.
    items: VecDeque<(T, usize)>,
    bytes: usize,
    missed: u64,
    is_closed: bool,
    waker: Option<Waker>,
}

impl<T> Queue<T> {
    fn new() -> Self {
        Self(Mutex::new(Waiting {
            items: VecDeque::new(),
            bytes: 0,
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
    /// Adds an item; if that is too much, it is lost with all that wait. Returns whether it was
    /// added.
    fn push(&mut self, item: T, bytes: usize) -> bool {
        let is_kept = self.items.is_empty()
            || self.items.len() < BACKLOG && self.bytes.saturating_add(bytes) <= BACKLOG_BYTES;
        if is_kept {
            self.bytes += bytes;
            self.items.push_back((item, bytes));
        } else {
            self.lose();
            self.missed += 1;
        }
        is_kept
    }

    fn lose(&mut self) {
        self.missed += self.items.len() as u64;
        self.items = VecDeque::new();
        self.bytes = 0;
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
    /// Queues an item for the readers of a name; makes it, and says how many bytes it takes, only if
    /// there are any.
    pub(super) fn send(
        &mut self,
        name: &str,
        item: impl FnOnce() -> (T, usize),
        wakers: &mut Wakers,
    ) where
        T: Clone,
    {
        let Some(named) = self.by_name.get(name) else {
            return;
        };
        let (item, bytes) = item();
        for queue in named.values() {
            queue.change(
                |waiting| self.lagged += u64::from(!waiting.push(item.clone(), bytes)),
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

    /// Ends the subscriptions of a name; what waits can still be read.
    pub(super) fn close_name(&mut self, name: &str, wakers: &mut Wakers) {
        let named = self.by_name.remove(name).unwrap_or_default();
        for queue in named.values() {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends an item of that many bytes.
    fn send(hub: &Hub<u32>, item: u32, bytes: usize) {
        hub.lock()
            .send("room", || (item, bytes), &mut Wakers::default());
    }

    fn take(reader: &mut Subscription<u32>) -> Poll<Result<Option<u32>, Lagged>> {
        reader.poll_next(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn items_that_wait_are_bounded_by_their_number_and_their_bytes_and_lost_as_one() {
        for (bytes, fits) in [(0, 1_024), (BACKLOG_BYTES / 100, 100)] {
            let hub = Arc::new(Hub::default());
            let mut reader = hub.add(&mut hub.lock(), "room");
            for item in 0..fits {
                send(&hub, item, bytes);
            }
            assert_eq!(hub.lock().load(), (1, fits as usize));
            send(&hub, fits, bytes);
            send(&hub, 7, bytes);
            assert_eq!(hub.lock().lagged(), 1);
            let lost = Lagged(u64::from(fits) + 1);
            assert_eq!(take(&mut reader), Poll::Ready(Err(lost)));
            assert_eq!(take(&mut reader), Poll::Ready(Ok(Some(7))));
            assert_eq!(take(&mut reader), Poll::Pending);
        }
    }

    #[test]
    fn an_item_that_is_longer_than_the_bound_is_kept_if_it_is_alone() {
        let hub = Arc::new(Hub::default());
        let mut reader = hub.add(&mut hub.lock(), "room");
        send(&hub, 1, 2 * BACKLOG_BYTES);
        assert_eq!(take(&mut reader), Poll::Ready(Ok(Some(1))));
        send(&hub, 2, BACKLOG_BYTES);
        assert_eq!(take(&mut reader), Poll::Ready(Ok(Some(2))));
    }
}
