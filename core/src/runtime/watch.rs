//! Watches of topics, or of their counts, in mode `interest`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::shared::{Level, Shared};
use crate::error::ReadError;

/// A watch of a topic, or of its counts, by a [`Node`](super::Node). Dropping it ends it.
///
/// In mode [`Interest`](crate::replica::Mode::Interest) a node holds what others have in a topic
/// while it is watched; in mode [`All`](crate::replica::Mode::All) a watch is always ready. The last watch
/// of a topic ends its subscriptions too.
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
///     let replication = Config::default().mode(Mode::Interest).partitions(4_096);
///     let config = PresenceConfig::default().replication(replication);
///     let id = ReplicaId::generate(name, SystemTime::now())?;
///     Ok(Node::start(id, config, network.join(name)))
/// };
/// let (a, b) = (start("a")?, start("b")?);
/// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
/// assert!(b.list("room").is_err());
/// let watch = b.watch("room");
/// watch.ready().await?;
/// assert_eq!(b.list("room")?.len(), 1);
/// drop(watch);
/// assert!(b.list("room").is_err());
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it ends the watch"]
pub struct Watch {
    shared: Arc<Shared>,
    topic: Box<str>,
    level: Level,
    /// Closed when the watch ends.
    life: watch::Sender<()>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.topic).finish()
    }
}

impl Watch {
    pub(super) fn begin(shared: Arc<Shared>, topic: &str, level: Level) -> Self {
        shared.watch(topic, level);
        shared.watches.fetch_add(1, Ordering::Relaxed);
        shared.wake.notify_one();
        Self {
            shared,
            topic: topic.into(),
            level,
            life: watch::Sender::new(()),
        }
    }

    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Waits until the topic can be read, or counted: normally one round trip after the watch began,
    /// at most [`ready_after`](crate::replica::Config::ready_after) and two heartbeats. Returns at once
    /// if it can. The event [`TopicReady`](crate::replica::Event::TopicReady), or
    /// [`CountsReady`](crate::replica::Event::CountsReady), has the replicas that are missing then.
    ///
    /// # Errors
    /// [`ReadError::NotWatched`] when the watch ended before, [`ReadError::Stopped`] when the node
    /// stopped.
    pub fn ready(&self) -> impl Future<Output = Result<(), ReadError>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        let topic = self.topic.clone();
        let level = self.level;
        let mut life = self.life.subscribe();
        async move {
            let mut news = shared.topics_ready.subscribe();
            let is_over = |(): &()| shared.check().is_err() || level.is_ready(&shared, &topic);
            tokio::select! {
                biased;
                _ = news.wait_for(is_over) => Ok(shared.check()?),
                _ = life.changed() => Err(ReadError::NotWatched { topic }),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.unwatch(&self.topic, self.level);
        self.shared.watches.fetch_sub(1, Ordering::Relaxed);
        self.shared.wake.notify_one();
    }
}
