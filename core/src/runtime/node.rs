//! A node of a cluster: a presence and the task that drives it.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::task::{JoinHandle, unconstrained, yield_now};
use tokio::time::{Instant, sleep_until};

use super::{Incoming, Transport};
use crate::error::TrackError;
use crate::id::{EntryRef, ReplicaId};
use crate::presence::{Event, Presence, PresenceConfig};
use crate::tracker::{Diff, EntryBuf, Key, NewEntry, TopicDiff};

/// The Diffs and events kept for a slow subscriber.
const BACKLOG: usize = 1024;
/// The time for which a node sleeps if it has no deadline.
const IDLE: Duration = Duration::from_secs(3600);
/// The most frames taken in before deadlines are checked again: as many as the queue of a transport
/// holds.
const WAITING_MAX: usize = 65_536;
/// The frames taken in between two flushes of their effects.
const BATCH: usize = 64;
/// The lateness of a call from which on a node takes itself for paused.
const LATE: Duration = Duration::from_millis(100);
/// The turns without a frame that the tasks of a transport get after a pause.
const TURNS: usize = 3;

/// A running node, which replicates its entries to all other nodes and theirs to this one.
///
/// Dropping a node stops it like a crash; [`leave`](Self::leave) sends Goodbye.
///
/// ```
/// use headcount::runtime::{Node, memory::Network};
/// use headcount::{NewEntry, PresenceConfig, ReplicaId};
/// use std::time::SystemTime;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = Network::new();
/// let start = |name| -> Result<Node, headcount::id::IdError> {
///     let id = ReplicaId::generate(name, SystemTime::now())?;
///     Ok(Node::start(id, PresenceConfig::default(), network.join(name)))
/// };
/// let a = start("a")?;
/// let b = start("b")?;
/// let mut room = b.subscribe("room");
/// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
/// let diff = room.next().await?.expect("the node runs");
/// assert_eq!(diff.joins[0].key_str(), Some("ann"));
/// assert_eq!(b.list("room").len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Node {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    presence: Presence,
    /// Notified after a local operation.
    wake: Notify,
    topics: Mutex<HashMap<Arc<str>, broadcast::Sender<TopicDiff>>>,
    events: broadcast::Sender<Event>,
}

impl Node {
    /// Starts a node on the current tokio runtime. Frames are never larger than the transport
    /// carries. A seed of 0 in `config` is replaced by a random number of the operating system, or,
    /// where that fails, by a hash of `id`, which differs at every start.
    #[must_use]
    pub fn start(id: ReplicaId, mut config: PresenceConfig, transport: impl Transport) -> Self {
        if config.seed == 0 {
            config.seed = getrandom::u64().unwrap_or_else(|_| seed_of(&id));
        }
        let frame_max = &mut config.replication.frame_max;
        *frame_max = transport.frame_max().min(*frame_max);
        let shared = Arc::new(Shared {
            presence: Presence::new(id, config),
            wake: Notify::new(),
            topics: Mutex::new(HashMap::new()),
            events: broadcast::Sender::new(BACKLOG),
        });
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(drive(Arc::clone(&shared), transport, stopped));
        Self {
            shared,
            stop: Some(stop),
            task,
        }
    }

    /// Returns the presence itself, for calls that only read.
    #[must_use]
    pub fn presence(&self) -> &Presence {
        &self.shared.presence
    }

    /// Tracks an entry. See [`Tracker::track`](crate::Tracker::track).
    ///
    /// # Errors
    /// If it is tracked already or breaks a bound.
    pub fn track(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.woken(self.shared.presence.track(put))
    }

    /// Gives a tracked entry a new meta and status.
    ///
    /// # Errors
    /// If it is not tracked or breaks a bound.
    pub fn update(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.woken(self.shared.presence.update(put))
    }

    /// Tracks an entry, or updates it if it is tracked already.
    ///
    /// # Errors
    /// If it breaks a bound.
    pub fn upsert(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.woken(self.shared.presence.upsert(put))
    }

    /// Removes one entry of this node. Returns whether there was one.
    pub fn untrack<'a>(
        &self,
        topic: &str,
        key: impl Into<Key<'a>>,
        owner: impl AsRef<[u8]>,
    ) -> bool {
        self.woken(self.shared.presence.untrack(topic, key, owner))
    }

    /// Removes all entries of an owner. Returns how many.
    pub fn untrack_owner(&self, owner: impl AsRef<[u8]>) -> usize {
        self.woken(self.shared.presence.untrack_owner(owner))
    }

    /// Returns the visible entries of a topic, of all nodes. O(entries of the topic).
    #[must_use]
    pub fn list(&self, topic: &str) -> Vec<EntryBuf> {
        self.shared.presence.list(topic)
    }

    /// Subscribes to the changes of a topic from now on, of all nodes.
    #[must_use]
    pub fn subscribe(&self, topic: &str) -> Subscription {
        let mut topics = self.shared.topics.lock();
        topics.retain(|_, sender| sender.receiver_count() > 0);
        let sender = topics
            .entry(topic.into())
            .or_insert_with(|| broadcast::Sender::new(BACKLOG));
        Subscription(sender.subscribe())
    }

    /// Subscribes to the events of the cluster from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Says Goodbye, so that the others drop this node's entries at once, and stops.
    pub async fn leave(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }

    fn woken<R>(&self, result: R) -> R {
        self.shared.wake.notify_one();
        result
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A subscription to the changes of one topic.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<TopicDiff>);

/// The error of a subscriber that was too slow and lost this many Diffs. List the topic again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged(pub u64);

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} diffs were missed: list the topic again", self.0)
    }
}

impl std::error::Error for Lagged {}

impl Subscription {
    /// Waits for the next changes. Returns `None` after the node has stopped. Cancel safe.
    ///
    /// # Errors
    /// [`Lagged`] if more than 1,024 Diffs were waiting.
    pub async fn next(&mut self) -> Result<Option<TopicDiff>, Lagged> {
        match self.0.recv().await {
            Ok(diff) => Ok(Some(diff)),
            Err(broadcast::error::RecvError::Closed) => Ok(None),
            Err(broadcast::error::RecvError::Lagged(missed)) => Err(Lagged(missed)),
        }
    }
}

/// Returns a seed that differs between starts without asking the operating system.
fn seed_of(id: &ReplicaId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// Drives a node: the task that [`Node::start`] spawns.
async fn drive(shared: Arc<Shared>, transport: impl Transport, mut stopped: oneshot::Receiver<()>) {
    let presence = &shared.presence;
    let start = Instant::now();
    let mut link = Link {
        transport,
        is_open: true,
    };
    loop {
        link.take_waiting(&shared, start).await;
        presence.handle_timeout(start.elapsed());
        link.flush(&shared).await;
        let next = presence.poll_timeout();
        let next = next.unwrap_or_else(|| start.elapsed() + IDLE);
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            incoming = link.transport.receive(), if link.is_open => {
                link.take(presence, start, incoming);
            }
            () = shared.wake.notified() => {}
            () = sleep_until(start + next) => {}
        }
    }
    presence.leave_gracefully(start.elapsed());
    link.flush(&shared).await;
}

/// A transport, and whether it may still bring something.
struct Link<T> {
    transport: T,
    is_open: bool,
}

impl<T: Transport> Link<T> {
    fn take(&mut self, presence: &Presence, start: Instant, incoming: Option<Incoming>) {
        match incoming {
            Some(Incoming::Frame { from, frame }) => {
                // A bad frame changes nothing; its sender will notice by itself.
                let _ = presence.handle_message(start.elapsed(), &from, &frame);
            }
            Some(Incoming::Gone(from)) => presence.disconnected(start.elapsed(), &from),
            None => self.is_open = false,
        }
    }

    /// Takes in the frames that have arrived, before any deadline is checked: a process that was
    /// paused would otherwise hide every replica whose heartbeats wait here. After a pause the
    /// tasks of the transport get turns first, to read their sockets.
    async fn take_waiting(&mut self, shared: &Shared, start: Instant) {
        let presence = &shared.presence;
        let due = presence.poll_timeout().unwrap_or(Duration::MAX);
        let is_late = start.elapsed() >= due.saturating_add(LATE);
        let mut taken = 0;
        let mut turns = if is_late { TURNS } else { 0 };
        while self.is_open && taken < WAITING_MAX {
            if let Some(incoming) = self.waiting().await {
                self.take(presence, start, incoming);
                taken += 1;
                if taken.is_multiple_of(BATCH) {
                    presence.work_on(start.elapsed());
                    self.flush(shared).await;
                    yield_now().await;
                }
                turns = if is_late { TURNS } else { 0 };
            } else if turns > 0 {
                turns -= 1;
                yield_now().await;
            } else {
                return;
            }
        }
    }

    /// Returns a frame that the transport has received already. It ignores tokio's budget, which
    /// would hide that frame.
    async fn waiting(&mut self) -> Option<Option<Incoming>> {
        let mut receive = pin!(unconstrained(self.transport.receive()));
        let once = |context: &mut Context<'_>| match receive.as_mut().poll(context) {
            Poll::Ready(incoming) => Poll::Ready(Some(incoming)),
            Poll::Pending => Poll::Ready(None),
        };
        poll_fn(once).await
    }

    async fn flush(&mut self, shared: &Shared) {
        shared.publish();
        while let Some(transmit) = shared.presence.poll_transmit() {
            self.transport.send(transmit).await;
        }
    }
}

impl Shared {
    /// Hands Diffs and events to the subscribers.
    fn publish(&self) {
        while let Some(diff) = self.presence.poll_diff() {
            self.publish_diff(&diff);
        }
        while let Some(event) = self.presence.poll_event() {
            let _ = self.events.send(event);
        }
    }

    fn publish_diff(&self, diff: &Diff) {
        if diff.is_empty() {
            return;
        }
        let topics = self.topics.lock();
        for topic in diff.iter() {
            if let Some(sender) = topics.get(&topic.topic) {
                let _ = sender.send(topic.clone());
            }
        }
    }
}
