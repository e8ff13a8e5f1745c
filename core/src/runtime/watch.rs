//! Watches of topics, or of their counts, in mode `interest`.

use std::fmt;
use std::sync::Arc;

use super::shared::Shared;

/// A watch of a topic, or of its counts, by a [`Node`](super::Node). Dropping it ends it.
///
/// In mode [`Interest`](crate::replica::Mode::Interest) a node holds what others have in a topic
/// while it is watched; in mode [`All`](crate::replica::Mode::All) a watch is always ready.
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
/// watch.ready().await;
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
}

/// What a watch holds of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Entries,
    Counts,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.topic).finish()
    }
}

impl Watch {
    pub(super) fn begin(shared: Arc<Shared>, topic: &str, level: Level) -> Self {
        match level {
            Level::Entries => shared.presence.watch(shared.now(), topic),
            Level::Counts => shared.presence.watch_counts(shared.now(), topic),
        }
        shared.wake.notify_one();
        let topic = topic.into();
        Self {
            shared,
            topic,
            level,
        }
    }

    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Waits until the topic can be read, or counted: normally one round trip after the watch began, at most
    /// [`ready_after`](crate::replica::Config::ready_after) and two heartbeats. Returns at once if it
    /// can, and when the node stops. The event
    /// [`TopicReady`](crate::replica::Event::TopicReady), or
    /// [`CountsReady`](crate::replica::Event::CountsReady), has the replicas that are missing then.
    pub async fn ready(&self) {
        let mut news = self.shared.topics_ready.subscribe();
        let presence = &self.shared.presence;
        let is_ready = || match self.level {
            Level::Entries => presence.check_readable(&self.topic).is_ok(),
            Level::Counts => presence.check_countable(&self.topic).is_ok(),
        };
        let is_over = |is_closed: &bool| *is_closed || is_ready();
        let _ = news.wait_for(is_over).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let presence = &self.shared.presence;
        match self.level {
            Level::Entries => presence.unwatch(self.shared.now(), &self.topic),
            Level::Counts => presence.unwatch_counts(self.shared.now(), &self.topic),
        }
        self.shared.wake.notify_one();
    }
}
