//! A network within one process, for tests and examples: links can be cut and healed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Incoming, Transport};
use crate::replica::{Address, Destination, Transmit};

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
        let inboxes = &mut self.0.lock().inboxes;
        inboxes.retain(|_, inbox| !inbox.is_closed());
        inboxes.insert(address.clone(), sender);
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
            };
            let link = (self.address.clone(), address.clone());
            if is_meant && !links.cut.contains(&link) {
                // A full inbox loses the frame.
                let _ = inbox.try_send((self.address.clone(), transmit.frame.clone()));
            }
        }
    }

    async fn receive(&mut self) -> Option<Incoming> {
        let (from, frame) = self.inbox.recv().await?;
        Some(Incoming::Frame { from, frame })
    }
}
