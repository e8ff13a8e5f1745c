//! One node of a cluster over NATS, commanded by lines on its standard input.
//!
//! ```text
//! nats-server &
//! cargo run --example nats_node --features nats -- nats://127.0.0.1:4222 demo node-1
//! track room ann
//! list room
//! ```
//!
//! Commands: `track TOPIC KEY`, `untrack TOPIC KEY`, `list TOPIC`, `replicas`, `synced`, `leave`.
//! Every command is answered by one line.

#![expect(clippy::disallowed_methods, reason = "a program has a clock")]

use std::time::{Duration, SystemTime};

use headcount::replica::Config;
use headcount::runtime::{Node, nats::NatsTransport};
use headcount::{NewEntry, PresenceConfig, ReplicaId};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [servers, cluster, name] = &args[..] else {
        return Err("usage: nats_node SERVERS CLUSTER NAME".into());
    };
    let replication = Config::default()
        .heartbeat(Duration::from_millis(200))
        .down_after(Duration::from_secs(2));
    let config = PresenceConfig::default().replication(replication);
    let transport = NatsTransport::connect(servers, cluster).await?;
    let id = ReplicaId::generate(name, SystemTime::now())?;
    let node = Node::start(id, config, transport);
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["track", topic, key] => match node.track(&NewEntry::new(topic, key, name)) {
                Ok(entry) => println!("tracked {entry}"),
                Err(error) => println!("refused: {error}"),
            },
            ["untrack", topic, key] => println!("untracked {}", node.untrack(topic, key, name)?),
            ["list", topic] => {
                let entries = node.list(topic)?;
                let mut keys: Vec<&str> = entries.iter().filter_map(|e| e.key_str()).collect();
                keys.sort_unstable();
                println!("listed {}", keys.join(" "));
            }
            ["replicas"] => println!("replicas {:?}", node.presence().replicas()),
            ["synced"] => println!("synced {}", node.presence().is_synced()),
            ["leave"] => break,
            _ => println!("unknown command"),
        }
    }
    node.leave().await;
    Ok(())
}
