//! A node of a cluster: a presence and the task that drives it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Transport;
use super::drive::{Running, drive};
use super::shared::{Level, Refusal, Shared};
use super::stats::NodeStats;
use super::stopped::Stopped;
use super::subscription::Subscription;
use super::watch::Watch;
use crate::error::{ReadError, TrackError};
use crate::id::{EntryRef, ReplicaId};
use crate::presence::{Keys, Presence, PresenceConfig, RestoreError};
use crate::replica::{Event, Signal, SignalError};
use crate::tracker::{Diff, EntryBuf, Key, NewEntry};

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
/// let mut room = b.subscribe("room")?;
/// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
/// let diff = room.next().await?.expect("the node runs");
/// assert_eq!(diff.joins[0].key_str(), Some("ann"));
/// assert_eq!(b.list("room")?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Node {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Node {
    /// Starts a node on the current tokio runtime. Frames are never larger than the transport
    /// carries. A seed of 0 in `config` is replaced by a random number of the operating system, or,
    /// where that fails, by a hash of `id`, which differs at every start.
    ///
    /// The node stops with its runtime, and if the transport panics: subscriptions end then as they do
    /// after [`leave`](Self::leave), and calls return [`Stopped`].
    ///
    /// # Panics
    /// Outside a tokio runtime, and in one without a clock
    /// ([`enable_time`](tokio::runtime::Builder::enable_time)).
    #[must_use]
    pub fn start(id: ReplicaId, config: PresenceConfig, transport: impl Transport) -> Self {
        let frame_max = config.replication.frame_max;
        let config = prepare(config, &id, &transport);
        Self::run(Presence::new(id, config), transport, frame_max)
    }

    /// Starts a node, and returns with it the entries that an earlier start of it had in a snapshot,
    /// as the joins of a Diff: for the program to track those again whose connections it finds, with
    /// a [`lease`](Self::lease). See [`Presence::restore`].
    ///
    /// # Errors
    /// If the bytes are not a snapshot, or contradict themselves.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn restore(
        id: ReplicaId,
        config: PresenceConfig,
        transport: impl Transport,
        snapshot: &[u8],
    ) -> Result<(Self, Diff), RestoreError> {
        let frame_max = config.replication.frame_max;
        let config = prepare(config, &id, &transport);
        let (presence, entries) = Presence::restore(id, config, snapshot)?;
        Ok((Self::run(presence, transport, frame_max), entries))
    }

    fn run(presence: Presence, transport: impl Transport, frame_max: usize) -> Self {
        // Panics here, not in the task, where there is no clock.
        drop(tokio::time::sleep(Duration::ZERO));
        let shared = Arc::new(Shared::new(presence));
        let (stop, stopped) = oneshot::channel();
        let running = Running(Arc::clone(&shared));
        let task = tokio::spawn(drive(running, transport, frame_max, stopped));
        Self {
            shared,
            stop: Some(stop),
            task,
        }
    }

    /// Returns this replica, which changes if the node takes a new incarnation.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.shared.presence.id()
    }

    /// Returns whether the node has stopped: its transport panicked, or its runtime ended. Its verbs
    /// return [`Stopped`] then.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shared.check().is_err()
    }

    /// Returns the presence itself, for calls that only read. It can be read after the node has
    /// stopped, too.
    #[must_use]
    pub fn presence(&self) -> &Presence {
        &self.shared.presence
    }

    /// Tracks an entry. See [`Tracker::track`](crate::Tracker::track).
    ///
    /// # Errors
    /// If it is tracked already or breaks a bound, or the node has stopped.
    pub fn track(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.write(|presence| presence.track(put))?
    }

    /// Gives a tracked entry a new meta and status.
    ///
    /// # Errors
    /// If it is not tracked or breaks a bound, or the node has stopped.
    pub fn update(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.write(|presence| presence.update(put))?
    }

    /// Tracks an entry, or updates it if it is tracked already.
    ///
    /// # Errors
    /// If it breaks a bound, or the node has stopped.
    pub fn upsert(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.write(|presence| presence.upsert(put))?
    }

    /// Removes one entry of this node. Returns whether there was one.
    ///
    /// # Errors
    /// If the node has stopped: its entries are gone, or about to go, at all others.
    pub fn untrack<'a>(
        &self,
        topic: &str,
        key: impl Into<Key<'a>>,
        owner: impl AsRef<[u8]>,
    ) -> Result<bool, Stopped> {
        self.write(|presence| presence.untrack(topic, key, owner))
    }

    /// Removes all entries of an owner. Returns how many.
    ///
    /// # Errors
    /// If the node has stopped, as [`untrack`](Self::untrack).
    pub fn untrack_owner(&self, owner: impl AsRef<[u8]>) -> Result<usize, Stopped> {
        self.write(|presence| presence.untrack_owner(owner))
    }

    /// Starts or renews the lease of one entry: unless it is renewed within `ttl`, the entry leaves.
    /// Returns whether it is tracked. O(log leases).
    ///
    /// # Errors
    /// If the node has stopped.
    pub fn lease<'a>(
        &self,
        topic: &str,
        key: impl Into<Key<'a>>,
        owner: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> Result<bool, Stopped> {
        let now = self.shared.now();
        self.write(|presence| presence.lease(now, topic, key, owner, ttl))
    }

    /// Starts or renews the lease of an owner: unless it is renewed within `ttl`, all its entries
    /// leave. O(log leases).
    ///
    /// # Errors
    /// If the node has stopped.
    pub fn lease_owner(&self, owner: impl AsRef<[u8]>, ttl: Duration) -> Result<(), Stopped> {
        let now = self.shared.now();
        self.write(|presence| presence.lease_owner(now, owner, ttl))
    }

    /// Reports that an owner was lost unexpectedly. See [`Presence::owner_lost`]. O(its entries).
    ///
    /// # Errors
    /// If the node has stopped.
    pub fn owner_lost(&self, owner: impl AsRef<[u8]>) -> Result<(), Stopped> {
        let now = self.shared.now();
        self.write(|presence| presence.owner_lost(now, owner))
    }

    /// Reports that a lost owner is back. Returns whether its grace was not over.
    ///
    /// # Errors
    /// If the node has stopped.
    pub fn owner_back(&self, owner: impl AsRef<[u8]>) -> Result<bool, Stopped> {
        self.write(|presence| presence.owner_back(owner))
    }

    /// Sends a short-lived sign, such as typing, to all peers, in mode `interest` to those that watch
    /// the topic; nothing is stored.
    ///
    /// # Errors
    /// [`SignalError`] if the topic, the key or the payload has more than 256 bytes, or the node has
    /// stopped.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        self.write(|presence| presence.signal(signal))?
    }

    /// Returns the visible entries of a topic, of all nodes. O(entries of the topic).
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not watched, or not ready, in mode
    /// [`Interest`](crate::replica::Mode::Interest), or the node has stopped.
    pub fn list(&self, topic: &str) -> Result<Vec<EntryBuf>, ReadError> {
        self.shared.check()?;
        self.shared.presence.list(topic)
    }

    /// Returns copies of the visible sessions of a key. O(sessions of the key).
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not watched, or not ready, in mode
    /// [`Interest`](crate::replica::Mode::Interest), or the node has stopped.
    pub fn get_by_key<'k>(
        &self,
        topic: &str,
        key: impl Into<Key<'k>>,
    ) -> Result<Vec<EntryBuf>, ReadError> {
        self.shared.check()?;
        self.shared.presence.get_by_key(topic, key)
    }

    /// Returns a copy of the entry that this node tracks for an owner. O(sessions of the key).
    #[must_use]
    pub fn get_own<'k>(
        &self,
        topic: &str,
        key: impl Into<Key<'k>>,
        owner: impl AsRef<[u8]>,
    ) -> Option<EntryBuf> {
        self.shared.presence.get_own(topic, key, owner)
    }

    /// Returns the number of visible entries in a topic: of what is held, or by the
    /// [counts](Self::watch_counts) of all nodes. O(nodes).
    ///
    /// # Errors
    /// [`ReadError`] if neither the topic nor its counts are watched, or none is ready, in mode
    /// [`Interest`](crate::replica::Mode::Interest), or the node has stopped.
    pub fn count(&self, topic: &str) -> Result<usize, ReadError> {
        self.shared.check()?;
        self.shared.presence.count(topic)
    }

    /// Returns the number of distinct visible keys in a topic: exact if its entries are held, else
    /// bounds. See [`Presence::count_keys`].
    ///
    /// # Errors
    /// [`ReadError`] if neither the topic nor its counts are watched, or none is ready, in mode
    /// [`Interest`](crate::replica::Mode::Interest), or the node has stopped.
    pub fn count_keys(&self, topic: &str) -> Result<Keys, ReadError> {
        self.shared.check()?;
        self.shared.presence.count_keys(topic)
    }

    /// Returns what the node holds now, and the counts of what happened since its start. O(topics).
    #[must_use]
    pub fn stats(&self) -> NodeStats {
        self.shared.stats()
    }

    /// Waits until this node has caught up, once, with everything its known peers advertised;
    /// returns at once if it has.
    ///
    /// # Errors
    /// If the node has stopped, or stops meanwhile.
    pub fn synced(&self) -> impl Future<Output = Result<(), Stopped>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            let mut news = shared.is_settled.subscribe();
            let is_over = |is_settled: &bool| *is_settled || shared.check().is_err();
            let _ = news.wait_for(is_over).await;
            shared.check()
        }
    }

    /// Watches a topic: in mode [`Interest`](crate::replica::Mode::Interest) it can be read from when
    /// the watch is [`ready`](Watch::ready) until it is dropped. O(nodes) for the first topic of a
    /// partition, else O(log topics).
    pub fn watch(&self, topic: &str) -> Watch {
        Watch::begin(Arc::clone(&self.shared), topic, Level::Entries)
    }

    /// Watches the counts of a topic: in a cluster with [`counts`](crate::replica::Config::counts) it
    /// can be counted from when the watch is [`ready`](Watch::ready) until it is dropped, and nothing
    /// else is held. Without, the entries are watched. O(nodes) for the first topic of a partition,
    /// else O(log topics).
    ///
    /// ```
    /// use headcount::replica::{Config, Mode};
    /// use headcount::runtime::{Node, memory::Network};
    /// use headcount::{NewEntry, PresenceConfig, ReplicaId};
    /// use std::time::SystemTime;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let network = Network::new();
    /// let start = |name| -> Result<Node, headcount::id::IdError> {
    ///     let replication = Config::default().mode(Mode::Interest).counts(true);
    ///     let config = PresenceConfig::default().replication(replication);
    ///     let id = ReplicaId::generate(name, SystemTime::now())?;
    ///     Ok(Node::start(id, config, network.join(name)))
    /// };
    /// let (a, b) = (start("a")?, start("b")?);
    /// a.track(&NewEntry::new("room", "ann", "phone"))?;
    /// a.track(&NewEntry::new("room", "ann", "laptop"))?;
    /// let watch = b.watch_counts("room");
    /// watch.ready().await?;
    /// assert_eq!(b.count("room")?, 2);
    /// assert_eq!(b.count_keys("room")?.exact(), Some(1));
    /// assert_eq!(b.stats().entries, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_counts(&self, topic: &str) -> Watch {
        Watch::begin(Arc::clone(&self.shared), topic, Level::Counts)
    }

    /// Subscribes to the changes of a topic from now on, of all nodes. In mode
    /// [`Interest`](crate::replica::Mode::Interest) the subscription ends with the last watch of the topic.
    ///
    /// # Errors
    /// [`ReadError::NotWatched`] in mode [`Interest`](crate::replica::Mode::Interest), and
    /// [`ReadError::Stopped`]. A topic that is watched need not be ready.
    pub fn subscribe(&self, topic: &str) -> Result<Subscription, ReadError> {
        self.shared.subscribe(topic)
    }

    /// Lists a topic and subscribes to its changes in one step: every change after the list comes,
    /// and none that the list has. It ends as that of [`subscribe`](Self::subscribe) does. O(entries of the
    /// topic); writers of its partition wait meanwhile.
    ///
    /// ```
    /// # use headcount::runtime::{Node, memory::Network};
    /// # use headcount::{NewEntry, PresenceConfig, ReplicaId};
    /// # use std::time::SystemTime;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let id = ReplicaId::generate("a", SystemTime::now())?;
    /// let node = Node::start(id, PresenceConfig::default(), Network::new().join("a"));
    /// node.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let (entries, mut changes) = node.list_and_subscribe("room")?;
    /// assert_eq!(entries.len(), 1);
    /// node.untrack("room", "ann", "conn-1")?;
    /// let change = changes.next().await?.expect("the node runs");
    /// assert_eq!((change.joins.len(), change.leaves.len()), (0, 1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not watched, or not ready, in mode
    /// [`Interest`](crate::replica::Mode::Interest), or the node has stopped.
    pub fn list_and_subscribe(
        &self,
        topic: &str,
    ) -> Result<(Vec<EntryBuf>, Subscription), ReadError> {
        self.shared.list_and_subscribe(topic)
    }

    /// Subscribes to the events of the cluster from now on. A slow reader loses the oldest of a kind of
    /// events, never those of another kind: see [`next`](Subscription::next).
    #[must_use]
    pub fn events(&self) -> Subscription<Event> {
        self.shared.events()
    }

    /// Subscribes to the frames that this node refuses from now on.
    #[must_use]
    pub fn refusals(&self) -> Subscription<Refusal> {
        self.shared.refusals()
    }

    /// Says Goodbye, so that the others drop this node's entries at once, and stops.
    pub async fn leave(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }

    /// Makes a write, and wakes the driver for it.
    fn write<R>(&self, write: impl FnOnce(&Presence) -> R) -> Result<R, Stopped> {
        self.shared.check()?;
        let written = write(&self.shared.presence);
        self.shared.wake.notify_one();
        Ok(written)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.close();
    }
}

/// Returns the settings of a node for a transport.
fn prepare(
    mut config: PresenceConfig,
    id: &ReplicaId,
    transport: &impl Transport,
) -> PresenceConfig {
    if config.seed == 0 {
        config.seed = getrandom::u64().unwrap_or_else(|_| seed_of(id));
    }
    let frame_max = &mut config.replication.frame_max;
    *frame_max = transport.frame_max().min(*frame_max);
    config
}

/// Returns a seed that differs between starts without asking the operating system.
fn seed_of(id: &ReplicaId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
