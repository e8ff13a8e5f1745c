//! Subscriptions: bounded queues that a node fills and their readers empty.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};

use super::backlog::Backlog;
use crate::tracker::TopicDiff;

/// A reader's end of the news of a node: the changes of one topic, or the events of the cluster.
/// Dropping it ends it.
#[derive(Debug)]
pub struct Subscription<T = Arc<TopicDiff>> {
    hub: Arc<Hub<T>>,
    name: Arc<str>,
    number: u64,
    queue: Arc<Queue<T>>,
}

/// The error of a reader that was too slow: this many items are lost. Read the present state again.
///
/// * Of a topic: subscribe again, with [`list_and_subscribe`](super::Node::list_and_subscribe).
/// * Of [`events`](super::Node::events): compare the nodes that are up with
///   [`peers`](super::NodeStats::peers), and ask [`ready`](super::Watch::ready) of the watches that
///   have not begun. Lost signals are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged(pub u64);

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} items were missed: read the present state again",
            self.0
        )
    }
}

impl std::error::Error for Lagged {}

impl<T> Subscription<T> {
    /// Waits for the next item. Returns `None` after the node has stopped. Cancel safe.
    ///
    /// # Errors
    /// [`Lagged`] if more than 1,024 items were waiting or more than 64 MiB of them, or the node
    /// itself lost changes. All that waited is lost then; later items follow. Of events the bounds
    /// hold by kind, so that a flood of signals costs signals only: 4,096 of each kind wait,
    /// 65,536 of [`TopicReady`](crate::replica::Event::TopicReady) and
    /// [`CountsReady`](crate::replica::Event::CountsReady). The oldest of the kind are lost; all
    /// others follow.
    pub async fn next(&mut self) -> Result<Option<T>, Lagged> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Takes the next item, or has the waker of `context` woken when there is one: what
    /// [`next`](Self::next) waits for, for callers with an event loop of their own.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, context: &Context<'_>) -> Poll<Result<Option<T>, Lagged>> {
        // Wakers are made and dropped without the lock: they may run any code.
        let waker = context.waker().clone();
        let mut waiting = self.queue.0.lock();
        if waiting.missed > 0 {
            return Poll::Ready(Err(Lagged(std::mem::take(&mut waiting.missed))));
        }
        if let Some(item) = waiting.items.pop() {
            return Poll::Ready(Ok(Some(item)));
        }
        if waiting.is_closed {
            return Poll::Ready(Ok(None));
        }
        let older = waiting.waker.replace(waker);
        drop(waiting);
        drop(older);
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
    items: Box<dyn Backlog<T>>,
    missed: u64,
    is_closed: bool,
    waker: Option<Waker>,
}

impl<T> Queue<T> {
    fn new(items: Box<dyn Backlog<T>>) -> Self {
        Self(Mutex::new(Waiting {
            items,
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
    /// Notes that items are lost. Returns whether the reader has yet to be told of it: whether it
    /// was not behind already.
    fn miss(&mut self, items: usize) -> bool {
        let is_new = self.missed == 0 && items > 0;
        self.missed += items as u64;
        is_new
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
pub(super) struct Hub<T> {
    readers: Mutex<Readers<T>>,
    /// Makes what waits for a reader.
    backlog: fn() -> Box<dyn Backlog<T>>,
}

impl<T> Hub<T> {
    /// Makes a hub whose readers have backlogs of that kind.
    pub(super) fn new<B: Backlog<T> + Default + 'static>() -> Self {
        let readers = Readers {
            by_name: HashMap::new(),
            made: 0,
            lagged: 0,
            is_closed: false,
        };
        Self {
            readers: Mutex::new(readers),
            backlog: || Box::new(B::default()),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Readers<T>> {
        self.readers.lock()
    }

    /// Adds a reader of what is sent from now on; `readers` are those of this hub, locked.
    pub(super) fn add(self: &Arc<Self>, readers: &mut Readers<T>, name: &str) -> Subscription<T> {
        let name: Arc<str> = name.into();
        let queue = Arc::new(Queue::new((self.backlog)()));
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
                |waiting| {
                    let lost = waiting.items.push(item.clone(), bytes);
                    self.lagged += u64::from(waiting.miss(lost));
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
                    let lost = waiting.items.clear() + 1;
                    self.lagged += u64::from(waiting.miss(lost));
                },
                wakers,
            );
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
    use std::task::Wake;

    use super::super::backlog::{BYTES_MAX, Changes, ITEMS_MAX};
    use super::*;
    use crate::id::ReplicaId;
    use crate::replica::{Event, Events, Signal};

    fn numbers() -> Arc<Hub<u32>> {
        Arc::new(Hub::new::<Changes<u32>>())
    }

    /// Sends an item of that many bytes.
    fn send<T: Clone>(hub: &Hub<T>, item: T, bytes: usize) {
        hub.lock()
            .send("room", || (item, bytes), &mut Wakers::default());
    }

    fn take<T>(reader: &mut Subscription<T>) -> Poll<Result<Option<T>, Lagged>> {
        reader.poll_next(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn items_that_wait_are_bounded_by_their_number_and_their_bytes_and_lost_as_one() {
        for (bytes, fits) in [(0, ITEMS_MAX as u32), (BYTES_MAX / 100, 100)] {
            let hub = numbers();
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
        let hub = numbers();
        let mut reader = hub.add(&mut hub.lock(), "room");
        send(&hub, 1, 2 * BYTES_MAX);
        assert_eq!(take(&mut reader), Poll::Ready(Ok(Some(1))));
        send(&hub, 2, BYTES_MAX);
        assert_eq!(take(&mut reader), Poll::Ready(Ok(Some(2))));
    }

    #[test]
    fn a_flood_of_signals_costs_a_reader_of_events_signals_only() {
        let from = ReplicaId::new("a", 1, 0).unwrap();
        let signal = |number: usize| Event::Signal {
            from: from.clone(),
            signal: Signal {
                topic: "room".into(),
                key: number.to_le_bytes().into(),
                kind: 1,
                ttl_ms: 1,
                payload: Vec::new(),
            },
        };
        let hub = Arc::new(Hub::new::<Events>());
        let mut reader = hub.add(&mut hub.lock(), "room");
        send(&hub, Event::ReplicaLeft(from.clone()), 0);
        for number in 0..5_000 {
            send(&hub, signal(number), 0);
        }
        assert_eq!(hub.lock().lagged(), 1);
        assert_eq!(take(&mut reader), Poll::Ready(Err(Lagged(5_000 - 4_096))));
        let left = Event::ReplicaLeft(from.clone());
        assert_eq!(take(&mut reader), Poll::Ready(Ok(Some(left))));
        for number in 5_000 - 4_096..5_000 {
            let expected = Poll::Ready(Ok(Some(signal(number))));
            assert_eq!(take(&mut reader), expected);
        }
        assert_eq!(take(&mut reader), Poll::Pending);
    }

    /// A waker that looks at its hub when it is dropped.
    struct Curious(Arc<Hub<u32>>);

    impl Wake for Curious {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Curious {
        fn drop(&mut self) {
            let _load = self.0.lock().load();
        }
    }

    #[test]
    fn a_waker_is_dropped_without_a_lock() {
        let hub = numbers();
        let mut reader = hub.add(&mut hub.lock(), "room");
        let curious = Waker::from(Arc::new(Curious(Arc::clone(&hub))));
        let polled = reader.poll_next(&Context::from_waker(&curious));
        assert_eq!(polled, Poll::Pending);
        drop(curious);
        assert_eq!(take(&mut reader), Poll::Pending);
        assert_eq!(hub.lock().load(), (1, 0));
    }
}
