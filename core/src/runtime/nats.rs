//! A transport over NATS core publish and subscribe (feature `nats`): one subject for all nodes of
//! a cluster, one for each node, in mode `interest` one for each partition. NATS does the
//! connections, the routes between servers and TLS.

mod options;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

pub use async_nats;
pub use options::{NatsOptions, NatsOptionsError, with_user_of};

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, ServerAddr, Subscriber};
use futures_util::StreamExt;
use futures_util::stream::{AbortHandle, Abortable, SelectAll, abortable, select_all};

use super::{Incoming, Transport};
use crate::replica::{Destination, Subscription, Transmit};

/// The bytes of a message that NATS needs beside the payload.
const RESERVE: usize = 1024;
/// The most partitions to which a node subscribes one by one: beyond it, to all, for as long as it
/// runs.
const GROUPS_MAX: usize = 4_096;
/// The longest time that a node waits for its last frames to be written.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// The reason why a node could not join a cluster.
#[derive(Debug)]
pub struct NatsError(Box<dyn std::error::Error + Send + Sync>);

impl fmt::Display for NatsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot join the cluster over NATS: {}", self.0)
    }
}

impl std::error::Error for NatsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// The transport of one node over NATS.
///
/// ```no_run
/// use headcount::runtime::{Node, nats::NatsTransport};
/// use headcount::{PresenceConfig, ReplicaId};
/// use std::time::SystemTime;
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = NatsTransport::connect("nats://127.0.0.1:4222", "chat").await?;
/// let id = ReplicaId::generate("chat-1", SystemTime::now())?;
/// let node = Node::start(id, PresenceConfig::default(), transport);
/// # Ok(())
/// # }
/// ```
pub struct NatsTransport {
    client: Client,
    all: String,
    own: String,
    /// The subject that those of all partitions begin with.
    groups: String,
    /// The partitions to which it has subscribed, and what ends that.
    subscribed: HashMap<u16, AbortHandle>,
    /// True if it has subscribed to all partitions.
    is_in_all: bool,
    incoming: SelectAll<Abortable<Subscriber>>,
    unsent: u64,
}

impl fmt::Debug for NatsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<NatsTransport {}>", self.own)
    }
}

impl NatsTransport {
    /// Connects to NATS servers (addresses separated by commas, as whom
    /// [the first one with a user](with_user_of) says) and joins the cluster of that name.
    /// The transport reconnects after a lost connection for as long as the node runs.
    ///
    /// # Errors
    /// [`NatsError`] if no server answers, a subscription is refused, or the operating system has
    /// no random number for the node's address.
    pub async fn connect(servers: &str, cluster: &str) -> Result<Self, NatsError> {
        Self::connect_with(ConnectOptions::new(), servers, cluster).await
    }

    /// Connects as [`connect`](Self::connect) does, with options of the NATS client: those that
    /// [`NatsOptions`] make, a callback for lost connections.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with(
        options: ConnectOptions,
        servers: &str,
        cluster: &str,
    ) -> Result<Self, NatsError> {
        let options = options
            .no_echo()
            .name(format!("headcount {cluster}"))
            .max_reconnects(None)
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis(100 * attempts.clamp(1, 20) as u64)
            });
        let servers: Result<Vec<ServerAddr>, _> = servers.split(',').map(str::parse).collect();
        let servers = servers.map_err(|e| NatsError(e.into()))?;
        let client = with_user_of(options, &servers).connect(servers).await;
        Self::from_client(client.map_err(|e| NatsError(e.into()))?, cluster).await
    }

    /// Joins over an open connection, which must have been made with `no_echo`.
    ///
    /// # Errors
    /// [`NatsError`] if a subscription is refused or the operating system has no random number
    /// for the node's address.
    pub async fn from_client(client: Client, cluster: &str) -> Result<Self, NatsError> {
        let prefix = format!("headcount.{}", token(cluster));
        let all = format!("{prefix}.all");
        let mut address = [0; 16];
        getrandom::fill(&mut address).map_err(|e| NatsError(e.into()))?;
        let own = format!("{prefix}.to.{:032x}", u128::from_le_bytes(address));
        let mut subscribers = Vec::new();
        for subject in [&all, &own] {
            let subscriber = client.subscribe(subject.clone()).await;
            let subscriber = subscriber.map_err(|e| NatsError(e.into()))?;
            subscribers.push(abortable(subscriber).0);
        }
        client.flush().await.map_err(|e| NatsError(e.into()))?;
        let incoming = select_all(subscribers);
        Ok(Self {
            client,
            all,
            own,
            groups: format!("{prefix}.p"),
            subscribed: HashMap::new(),
            is_in_all: false,
            incoming,
            unsent: 0,
        })
    }

    /// Subscribes to a subject. Returns what ends it; `None` if the client has closed.
    async fn add(&mut self, subject: String) -> Option<AbortHandle> {
        let subscriber = self.client.subscribe(subject).await.ok()?;
        let (subscriber, end) = abortable(subscriber);
        self.incoming.push(subscriber);
        Some(end)
    }
}

impl Transport for NatsTransport {
    fn frame_max(&self) -> usize {
        self.client.max_payload().saturating_sub(RESERVE)
    }

    fn unsent(&self) -> u64 {
        self.unsent
    }

    async fn send(&mut self, transmit: Transmit) {
        // Without a connection frames would only pile up; other nodes will ask for the changes they
        // miss.
        if self.client.connection_state() != State::Connected {
            self.unsent += 1;
            return;
        }
        let subject = match &transmit.to {
            Destination::All => self.all.clone(),
            Destination::Peer(address) => address.to_string(),
            Destination::Group(partition) => format!("{}.{partition}", self.groups),
        };
        let reply = self.own.clone();
        let published = self
            .client
            .publish_with_reply(subject, reply, transmit.frame);
        self.unsent += u64::from(published.await.is_err());
    }

    async fn subscribe(&mut self, change: Subscription) {
        match change {
            Subscription::Unsubscribe(partition) => {
                // Dropping a subscriber ends it.
                if let Some(end) = self.subscribed.remove(&partition) {
                    end.abort();
                }
            }
            Subscription::Subscribe(_) if self.is_in_all => {}
            Subscription::Subscribe(_) if self.subscribed.len() >= GROUPS_MAX => {
                let all = self.add(format!("{}.*", self.groups)).await;
                self.is_in_all = all.is_some();
                self.subscribed.drain().for_each(|(_, end)| end.abort());
            }
            Subscription::Subscribe(partition) => {
                let end = self.add(format!("{}.{partition}", self.groups)).await;
                self.subscribed.extend(end.map(|end| (partition, end)));
            }
        }
    }

    async fn close(&mut self) {
        // Without it a process that ends now loses the Goodbye, which costs its peers time.
        let _ = tokio::time::timeout(FLUSH_MAX, self.client.flush()).await;
    }

    async fn receive(&mut self) -> Option<Incoming> {
        loop {
            let message = self.incoming.next().await?;
            if let Some(from) = message.reply {
                let from = from.as_str().into();
                let frame = message.payload;
                return Some(Incoming::Frame { from, frame });
            }
        }
    }
}

/// Turns a name into one token of a subject: characters other than letters, digits and `-` become
/// `_` and their number.
fn token(name: &str) -> String {
    let mut token = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '-' {
            token.push(c);
        } else {
            token.push_str(&format!("_{:x}", u32::from(c)));
        }
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_clusters_have_different_subjects() {
        assert_eq!(token("chat-1"), "chat-1");
        assert_eq!(token("a.b"), "a_2eb");
        assert_ne!(token("a b"), token("a.b"));
        assert_eq!(token("*>"), "_2a_3e");
    }
}
