//! `Cluster`: the connection of this node to the others, and its queue of events. It locks itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_nats::{Client, ConnectOptions, Request, Subscriber};
use headcount::{
    ReplicaId,
    runtime::{
        Node,
        nats::{NatsError, NatsOptionsError, NatsTransport, with_user_of},
    },
};
use tokio::{
    sync::{Mutex, Notify, mpsc},
    time,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Event, NatsUrl,
    event::{EVENT_BYTES_MAX, Envelope, VERSION},
    news::ClosedRoomNews,
    seal::{EventSeal, presence_key},
};
use crate::{config::Config, metrics::ClusterMetrics, room::RoomPresence};

/// Events that may wait for NATS. Over it new ones are dropped, and the other nodes read the database instead.
const QUEUE_MAX: usize = 4_096;
/// The period at which a node says how many events it has sent.
const BEAT: Duration = Duration::from_secs(1);
/// The period at which the connection is tested: a cut one is noticed after two of them.
const PING: Duration = Duration::from_secs(5);

/// The membership of this node in a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    node: Uuid,
    subject: String,
    pub(super) seal: EventSeal,
    client: Client,
    queue: mpsc::Sender<Event>,
    /// Events that were dropped; each leaves a gap in the numbers.
    dropped: AtomicU64,
    /// The connections to NATS until this node had joined.
    connects: u64,
    pub(super) metrics: ClusterMetrics,
    /// Held by the task that serves them.
    pub(super) ends: Mutex<Ends>,
    /// Notified when events were missed.
    pub(super) missed: Arc<Notify>,
    pub(super) news: ClosedRoomNews,
}

/// The ends of the queue and of the subscription.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Subscriber,
}

/// The events that wait to be sent, and the number of the last one that was.
#[derive(Debug)]
pub(super) struct Outgoing {
    queue: mpsc::Receiver<Event>,
    number: u64,
}

/// The error of a node that could not join its cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Options(#[from] NatsOptionsError),
    #[error("{0}")]
    Connect(#[from] async_nats::ConnectError),
    #[error("{0}")]
    Subscribe(#[from] async_nats::SubscribeError),
    #[error("{0}")]
    Flush(#[from] async_nats::client::FlushError),
    #[error("{0}")]
    Transport(#[from] NatsError),
    #[error("the operating system has no random numbers")]
    Random,
}

impl Cluster {
    /// Joins the cluster that the settings name, by the NATS servers at `url`, to count in `metrics`. Also returns the
    /// node of its presence.
    pub(crate) async fn connect(
        url: &NatsUrl,
        config: &Config,
        metrics: ClusterMetrics,
    ) -> Result<(Self, Node), ConnectError> {
        let name = &config.cluster;
        let secret = config.cluster_key.as_ref();
        let missed = Arc::new(Notify::new());
        let options = config.nats_access.options().read().await?;
        let client = connect(url, options, name, Arc::clone(&missed)).await?;
        let subject = format!("headcount-server.{name}.events");
        let incoming = client.subscribe(subject.clone()).await?;
        let transport = NatsTransport::from_client(client.clone(), name).await?;
        client.flush().await?;
        // Of a name of its own at each start: an id takes the place of older ones of its name. Names
        // are in the order of the starts.
        let id = ReplicaId::generate(&Uuid::now_v7().to_string(), SystemTime::now())
            .map_err(|_| ConnectError::Random)?;
        let down_after = Duration::from_millis(config.down_after_ms);
        let presence = RoomPresence::config(down_after, secret.map(presence_key));
        let node = Node::start(id, presence, transport);
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let outgoing = Outgoing {
            queue: waiting,
            number: 0,
        };
        let cluster = Self {
            node: Uuid::new_v4(),
            seal: EventSeal::new(name, secret),
            subject,
            connects: connects(&client),
            client,
            queue,
            dropped: AtomicU64::new(0),
            metrics,
            ends: Mutex::new(Ends { outgoing, incoming }),
            missed,
            news: ClosedRoomNews::default(),
        };
        Ok((cluster, node))
    }

    /// Waits until this node, which has caught up with all nodes that it heard, has heard all. One that had no
    /// connection to NATS meanwhile heard none, and takes itself for the only one.
    pub(crate) async fn heard_all(&self, presence: &RoomPresence, down_after: Duration) {
        let mut connects_before = self.connects;
        let mut is_behind = false;
        while !self.is_answered().await || connects(&self.client) != connects_before || is_behind {
            tracing::warn!("NATS was lost before the other nodes were known: waiting for them");
            connects_before = connects(&self.client);
            // All that live speak within it.
            time::sleep(down_after).await;
            is_behind = presence.is_behind();
        }
    }

    /// Returns whether NATS answers. What was sent to this node before it asked has then arrived.
    async fn is_answered(&self) -> bool {
        let statistics = self.client.statistics();
        let before = statistics.in_bytes.load(Ordering::Relaxed);
        // Nobody listens there, which NATS says. Where it forbids to ask, it says that, or answers a ping.
        let nobody = format!("{}.nobody", self.subject);
        let inbox = format!("{nobody}.{}", self.node);
        let request = Request::new().inbox(inbox).timeout(Some(2 * PING));
        let _ = self.client.send_request(nobody, request).await;
        statistics.in_bytes.load(Ordering::Relaxed) > before
    }

    /// Queues an event for the other nodes.
    pub(crate) fn send(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.metrics.dropped.increment(1);
        }
    }

    /// Returns the id of this node.
    pub(super) fn node(&self) -> Uuid {
        self.node
    }

    /// Sends the queued events and the beats until `shutdown`, then the rest of the queue.
    pub(super) async fn publish(&self, outgoing: &mut Outgoing, shutdown: &CancellationToken) {
        let mut beat = time::interval(BEAT);
        beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                event = outgoing.queue.recv() => event,
                _ = beat.tick() => None,
                () = shutdown.cancelled() => break,
            };
            outgoing.number += self.dropped.swap(0, Ordering::Relaxed);
            outgoing.number += u64::from(event.is_some());
            self.publish_one(outgoing.number, event).await;
        }
        while let Ok(event) = outgoing.queue.try_recv() {
            outgoing.number += 1;
            self.publish_one(outgoing.number, Some(event)).await;
        }
        if time::timeout(BEAT, self.client.flush()).await.is_err() {
            tracing::warn!("NATS did not take the last events");
        }
    }

    async fn publish_one(&self, number: u64, event: Option<Event>) {
        let events = u64::from(event.is_some());
        let envelope = Envelope {
            version: VERSION,
            node: self.node,
            number,
            event,
        };
        let event = serde_json::to_vec(&envelope).expect("an event always serialises");
        let bytes = self.seal.close(event);
        // One that is not sent leaves a gap, for which the others read the database.
        if bytes.len() > EVENT_BYTES_MAX {
            tracing::error!(bytes = bytes.len(), "an event is too large for the cluster");
            self.metrics.dropped.increment(events);
            return;
        }
        let published = self
            .client
            .publish(self.subject.clone(), bytes.into())
            .await;
        match published {
            Ok(()) => self.metrics.sent.increment(events),
            Err(error) => {
                self.metrics.dropped.increment(events);
                tracing::warn!(%error, "an event did not reach NATS");
            }
        }
    }
}

/// Counts the connections of a client so far.
fn connects(client: &Client) -> u64 {
    client.statistics().connects.load(Ordering::Relaxed)
}

async fn connect(
    url: &NatsUrl,
    options: ConnectOptions,
    name: &str,
    missed: Arc<Notify>,
) -> Result<Client, async_nats::ConnectError> {
    let addresses = url.addresses().unwrap_or_default().to_vec();
    with_user_of(options, &addresses)
        .no_echo()
        .name(format!("headcount-server {name}"))
        .ping_interval(PING)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(100 * attempts.clamp(1, 20) as u64)
        })
        .event_callback(move |event| {
            if matches!(event, async_nats::Event::Connected) {
                tracing::info!(%event, "NATS");
                missed.notify_one();
            } else {
                tracing::warn!(%event, "NATS");
            }
            async {}
        })
        .connect(addresses)
        .await
}
