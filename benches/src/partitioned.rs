//! The memory of a node that holds all entries of a cluster, spread over few partitions and over many.

use std::time::Duration;

use headcount::replica::Config;
use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};

use crate::meter::live_bytes;
use crate::table::{Goal, Table};

/// Nodes of the cluster, and entries of each.
const NODES: usize = 20;
const ENTRIES: usize = 10_000;
/// Topics, as many as the most partitions here.
const TOPICS: usize = 4_096;
/// Numbers of partitions; with the most there is a goal for the bytes that an entry takes.
const PARTITIONS: [u32; 2] = [32, 4_096];
const GOAL: f64 = 180.0;
/// The simulated time between two looks at the frames.
const STEP: Duration = Duration::from_millis(10);

/// Measures the bytes of an entry. Needs [`Counting`](crate::memory::Counting).
///
/// # Panics
/// Never: the entries are valid, and all frames arrive.
#[must_use]
pub fn table() -> Table {
    let mut table = Table::new(format!(
        "a node in mode all: {NODES} nodes, {ENTRIES} entries of each in {TOPICS} topics; 20-byte keys, \
         8-byte owners (one owner each), 32-byte metas"
    ));
    for partitions in PARTITIONS {
        let (bytes, holder) = live_bytes(|| holder(partitions));
        let each = bytes as f64 / holder.len() as f64;
        table.note(&metric(partitions), "B", "headcount", each);
    }
    table.goal(&metric(PARTITIONS[1]), Goal::AtMost(GOAL));
    table
}

fn metric(partitions: u32) -> String {
    format!("memory, {partitions} partitions")
}

/// Makes a node that holds the entries of all others too.
fn holder(partitions: u32) -> Presence {
    let holder = presence(0, partitions);
    let mut now = Duration::ZERO;
    for node in 1..NODES {
        let other = presence(node, partitions);
        while holder.len() < (node + 1) * ENTRIES {
            now += STEP;
            let name = format!("node-{node}");
            for (from, name, to) in [(&holder, "node-0", &other), (&other, &*name, &holder)] {
                from.handle_timeout(now);
                while let Some(transmit) = from.poll_transmit() {
                    let taken = to.handle_message(now, name, &transmit.frame);
                    taken.expect("a good frame");
                }
                while from.poll_diff().is_some() {}
            }
        }
    }
    while holder.poll_diff().is_some() {}
    holder
}

fn presence(node: usize, partitions: u32) -> Presence {
    let id = ReplicaId::new(&format!("node-{node}"), 1, 0).expect("a short name");
    // The others stay up while one is handed over.
    let replication = Config::default().partitions(partitions);
    let replication = replication.down_after(Duration::from_secs(3_600));
    let config = PresenceConfig::default().replication(replication);
    let presence = Presence::new(id, config.seed(node as u64));
    for entry in 0..ENTRIES {
        let topic = format!("room:{:05}", entry % TOPICS);
        let key = format!("user:{:015}", node * ENTRIES + entry);
        let owner = format!("c{:07}", node * ENTRIES + entry);
        let new = NewEntry::new(&topic, &key, &owner).meta(&[0x2E; 32]);
        presence.track(&new).expect("a good entry");
    }
    presence
}
