//! A network within one process, for tests and examples: links can be cut and healed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Incoming, Transport};
use crate::replica::{Address, Destination, GroupSubscription, Transmit};

/// The frames that may wait for a slow node; more are lost.
const QUEUE: usize = 4096;

/// A network that joins the nodes of one process, each with every other.
///
/// ```
/// use headcount::runtime::memory::Network;
/// let network = Network::new();
/// let (_a, _b) = (network.join("a"), network.join("b"));
/// network.cut("a", "b");
/// network.heal();
/// ```
#[derive(Debug, Clone, Default)]
pub struct Network(Arc<Mutex<Links>>);

#[derive(Debug, Default)]
struct Links {
    inboxes: BTreeMap<Address, mpsc::Sender<(Address, Bytes)>>,
    cut: BTreeSet<(Address, Address)>,
    /// The partitions to whose frames each node has subscribed.
    groups: BTreeSet<(u16, Address)>,
}

impl Network {
    /// Makes a network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node under an address; a node that had the address is cut off.
    #[must_use]
    pub fn join(&self, address: &str) -> MemoryTransport {
        let (sender, inbox) = mpsc::channel(QUEUE);
        let address: Address = address.into();
        let links = &mut *self.0.lock();
        let inboxes = &mut links.inboxes;
        inboxes.retain(|_, inbox| !inbox.is_closed());
        inboxes.insert(address.clone(), sender);
        links
            .groups
            .retain(|(_, subscriber)| *subscriber != address);
        let network = self.clone();
        MemoryTransport {
            network,
            address,
            inbox,
        }
    }

    /// Returns whether a node that has not stopped has the address.
    #[must_use]
    pub fn is_joined(&self, address: &str) -> bool {
        let inboxes = &self.0.lock().inboxes;
        inboxes.get(address).is_some_and(|inbox| !inbox.is_closed())
    }

    /// Cuts the link between two nodes, both ways.
    pub fn cut(&self, a: &str, b: &str) {
        let cut = &mut self.0.lock().cut;
        cut.insert((a.into(), b.into()));
        cut.insert((b.into(), a.into()));
    }

    /// Heals all links.
    pub fn heal(&self) {
        self.0.lock().cut.clear();
    }
}

/// The transport of one node in a [`Network`].
#[derive(Debug)]
pub struct MemoryTransport {
    network: Network,
    address: Address,
    inbox: mpsc::Receiver<(Address, Bytes)>,
}

impl Transport for MemoryTransport {
    fn frame_max(&self) -> usize {
        256 * 1024
    }

    async fn send(&mut self, transmit: Transmit) {
        let links = self.network.0.lock();
        for (address, inbox) in &links.inboxes {
            let is_meant = match &transmit.to {
                Destination::All => *address != self.address,
                Destination::Peer(peer) => peer == address,
                Destination::Group(partition) => {
                    let is_subscribed = links.groups.contains(&(*partition, address.clone()));
                    *address != self.address && is_subscribed
                }
            };
            let link = (self.address.clone(), address.clone());
            if is_meant && !links.cut.contains(&link) {
                // A full inbox loses the frame.
                let _ = inbox.try_send((self.address.clone(), transmit.frame.clone()));
            }
        }
    }

    async fn subscribe(&mut self, change: GroupSubscription) {
        let groups = &mut self.network.0.lock().groups;
        match change {
            GroupSubscription::Subscribe(partition) => {
                groups.insert((partition, self.address.clone()))
            }
            GroupSubscription::Unsubscribe(partition) => {
                groups.remove(&(partition, self.address.clone()))
            }
        };
    }

    async fn receive(&mut self) -> Option<Incoming> {
        let (from, frame) = self.inbox.recv().await?;
        Some(Incoming::Frame { from, frame })
    }
}
