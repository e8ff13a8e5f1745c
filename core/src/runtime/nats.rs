//! A transport over NATS core publish and subscribe (feature `nats`): one subject for all nodes of
//! a cluster, one for each node, in mode `interest` one for each partition. NATS does the
//! connections, the routes between servers and TLS.

mod options;
mod refusals;
mod room;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::future::ready;
use std::time::Duration;

pub use async_nats;
pub use options::{NatsOptions, NatsOptionsError, with_user_of};

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, Message, ServerAddr, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{AbortHandle, Abortable, SelectAll, abortable, select_all};

use self::refusals::Refusals;
use self::room::Room;
use super::{Incoming, Transport};
use crate::replica::{Destination, GroupSubscription, Transmit};

/// The bytes of a message that NATS needs beside the payload.
const RESERVE: usize = 1024;
/// The most partitions to which a node subscribes one by one: beyond it, to all, for as long as it
/// runs.
const GROUPS_MAX: usize = 4_096;
/// The longest time that a node waits for its last frames to be written.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// The longest time that a node waits to hear of its subscriptions. A server says nothing if it is older
/// than 2.2 or others read all subjects.
const CHECK_MAX: Duration = Duration::from_secs(1);

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
/// A node does not wait for a server that stalls: frames over 2,048 or 64 MiB that the server has not
/// taken are dropped and counted in [`unsent`](Transport::unsent), as are those that the server refuses
/// and the subscriptions that it refuses later.
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
    /// The partitions to which it has yet to subscribe: the queue of the client was full.
    pending: BTreeSet<u16>,
    incoming: SelectAll<Abortable<Subscriber>>,
    /// The frames that came while the subscriptions were checked.
    early: VecDeque<Incoming>,
    room: Room,
    refusals: Refusals,
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
    /// [`NatsError`] if no server answers, the server does not let its user subscribe or publish (the
    /// source is an [`async_nats::ServerError`] then), or the operating system has no random number for
    /// the node's address.
    pub async fn connect(servers: &str, cluster: &str) -> Result<Self, NatsError> {
        Self::connect_with(ConnectOptions::new(), servers, cluster, |_| {}).await
    }

    /// Connects as [`connect`](Self::connect) does, with options of the NATS client: those that
    /// [`NatsOptions`] make. `on_event` is called with each event of the client, such as a lost
    /// connection; it takes the place of an event callback of the options.
    ///
    /// ```no_run
    /// use headcount::runtime::nats::{NatsOptions, NatsTransport};
    ///
    /// # async fn connect() -> Result<NatsTransport, Box<dyn std::error::Error>> {
    /// let options = NatsOptions::default().read().await?;
    /// let log = |event: &_| eprintln!("NATS: {event}");
    /// let transport = NatsTransport::connect_with(options, "nats://host", "chat", log).await?;
    /// # Ok(transport)
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with(
        options: ConnectOptions,
        servers: &str,
        cluster: &str,
        on_event: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<Self, NatsError> {
        let refusals = Refusals::default();
        let noted = refusals.clone();
        let options = options
            .no_echo()
            .name(format!("headcount {cluster}"))
            .max_reconnects(None)
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis(100 * attempts.clamp(1, 20) as u64)
            })
            .event_callback(move |event| {
                noted.note(&event);
                on_event(&event);
                ready(())
            });
        let servers: Result<Vec<ServerAddr>, _> = servers.split(',').map(str::parse).collect();
        let servers = servers.map_err(|e| NatsError(e.into()))?;
        let client = with_user_of(options, &servers).connect(servers).await;
        let client = client.map_err(|e| NatsError(e.into()))?;
        let mut joined = Self::from_client(client, cluster).await?;
        joined.refusals = refusals;
        joined.check().await?;
        Ok(joined)
    }

    /// Joins over an open connection, which must have been made with `no_echo`. What the server refuses
    /// comes to the event callback of the client only: a node whose subscriptions are refused hears
    /// nobody. [`connect_with`](Self::connect_with) looks for it.
    ///
    /// # Errors
    /// [`NatsError`] if the client has closed, or the operating system has no random number for the
    /// node's address.
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
            pending: BTreeSet::new(),
            incoming,
            early: VecDeque::new(),
            room: Room::new(),
            refusals: Refusals::default(),
            unsent: 0,
        })
    }

    /// Waits until the server has said of both subscriptions that they are, or has refused something.
    async fn check(&mut self) -> Result<(), NatsError> {
        // Nobody else listens to the own address. The server says so to each subscription that is
        // named as the place for answers, if there is one.
        let mut unheard = vec![self.all.clone(), self.own.clone()];
        for reply in &unheard {
            let probe =
                self.client
                    .publish_with_reply(self.own.clone(), reply.clone(), Bytes::new());
            probe.await.map_err(|e| NatsError(e.into()))?;
        }
        let refusals = self.refusals.clone();
        let heard = async {
            while !unheard.is_empty() {
                let Some(message) = self.incoming.next().await else {
                    return;
                };
                if message.status == Some(StatusCode::NO_RESPONDERS) {
                    unheard.retain(|subject| *subject != message.subject.as_str());
                }
                self.early.extend(frame_of(message));
            }
        };
        tokio::select! {
            biased;
            Some(refusal) = refusals.any() => Err(NatsError(refusal.into())),
            () = heard => Ok(()),
            () = tokio::time::sleep(CHECK_MAX) => Ok(()),
        }
    }

    /// Subscribes to the partitions to which it has yet to, for as long as the client has room.
    async fn subscribe_pending(&mut self) {
        while let Some(&partition) = self.pending.first() {
            let is_for_all = self.subscribed.len() >= GROUPS_MAX;
            let subject = if is_for_all {
                format!("{}.*", self.groups)
            } else {
                format!("{}.{partition}", self.groups)
            };
            let subscribing = self.client.subscribe(subject);
            let Some(Ok(subscriber)) = self.room.wait(subscribing).await else {
                return;
            };
            let (subscriber, end) = abortable(subscriber);
            self.incoming.push(subscriber);
            if is_for_all {
                self.is_in_all = true;
                self.pending.clear();
                self.subscribed.drain().for_each(|(_, end)| end.abort());
            } else {
                self.pending.remove(&partition);
                self.subscribed.insert(partition, end);
            }
        }
    }
}

/// Returns what a message brings: only frames have a place for answers.
fn frame_of(message: Message) -> Option<Incoming> {
    let from = message.reply?.as_str().into();
    let frame = message.payload;
    Some(Incoming::Frame { from, frame })
}

impl Transport for NatsTransport {
    fn frame_max(&self) -> usize {
        self.client.max_payload().saturating_sub(RESERVE)
    }

    fn unsent(&self) -> u64 {
        self.unsent + self.refusals.count()
    }

    async fn send(&mut self, transmit: Transmit) {
        // Without a connection frames would only pile up; other nodes will ask for the changes they
        // miss.
        if self.client.connection_state() != State::Connected {
            self.unsent += 1;
            return;
        }
        self.subscribe_pending().await;
        let subject = match &transmit.to {
            Destination::All => self.all.clone(),
            Destination::Peer(address) => address.to_string(),
            Destination::Group(partition) => format!("{}.{partition}", self.groups),
        };
        let Some(frame) = self.room.take(transmit.frame) else {
            self.unsent += 1;
            return;
        };
        let own = self.own.clone();
        let publishing = self.client.publish_with_reply(subject, own, frame);
        let published = self.room.wait(publishing).await;
        self.unsent += u64::from(!matches!(published, Some(Ok(()))));
    }

    async fn subscribe(&mut self, change: GroupSubscription) {
        match change {
            GroupSubscription::Unsubscribe(partition) => {
                self.pending.remove(&partition);
                // Dropping a subscriber ends it.
                if let Some(end) = self.subscribed.remove(&partition) {
                    end.abort();
                }
            }
            GroupSubscription::Subscribe(_) if self.is_in_all => {}
            GroupSubscription::Subscribe(partition) => {
                self.pending.insert(partition);
                self.subscribe_pending().await;
            }
        }
    }

    async fn close(&mut self) {
        // Without it a process that ends now loses the Goodbye, which costs its peers time.
        let _ = tokio::time::timeout(FLUSH_MAX, self.client.flush()).await;
    }

    async fn receive(&mut self) -> Option<Incoming> {
        if let Some(early) = self.early.pop_front() {
            return Some(early);
        }
        loop {
            let message = self.incoming.next().await?;
            if let Some(incoming) = frame_of(message) {
                return Some(incoming);
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
