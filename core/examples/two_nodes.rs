//! Two nodes in one process share the users of a room; then one node leaves.
//!
//! ```text
//! cargo run --example two_nodes --features tokio
//! ```
//!
//! Over NATS only the transport differs: see `nats_node.rs`.

#![expect(clippy::disallowed_methods, reason = "a program has a clock")]

use std::error::Error;
use std::time::SystemTime;

use headcount::runtime::{Node, memory::Network};
use headcount::{NewEntry, PresenceConfig, ReplicaId};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let network = Network::new();
    let start = |name| {
        let id = ReplicaId::generate(name, SystemTime::now())?;
        let node = Node::start(id, PresenceConfig::default(), network.join(name));
        Ok::<_, Box<dyn Error>>(node)
    };
    let paris = start("paris")?;
    let tokyo = start("tokyo")?;
    let mut room = tokyo.subscribe("room")?;

    // A user with two devices has two entries: same key, different owners.
    let phone = NewEntry::new("room", "ann", "ann's phone");
    let laptop = NewEntry::new("room", "ann", "ann's laptop");
    paris.track(&phone.meta(br#"{"device":"phone"}"#))?;
    paris.track(&laptop.meta(br#"{"device":"laptop"}"#))?;
    let mut joins = 0;
    while joins < 2 {
        let diff = room.next().await?.ok_or("tokyo has stopped")?;
        for entry in &diff.joins {
            println!("tokyo sees {} join: {}", name_of(entry), meta_of(entry));
            joins += 1;
        }
    }
    assert_eq!(tokyo.list("room")?.len(), 2);

    // The connection of the phone breaks: everything that it owned goes at once.
    paris.untrack_owner("ann's phone")?;
    let diff = room.next().await?.ok_or("tokyo has stopped")?;
    println!(
        "tokyo sees {} leave: {}",
        name_of(&diff.leaves[0].entry),
        meta_of(&diff.leaves[0].entry)
    );
    assert_eq!(tokyo.list("room")?.len(), 1);

    // A node that leaves takes its entries along.
    paris.leave().await;
    let diff = room.next().await?.ok_or("tokyo has stopped")?;
    println!(
        "paris has left, and {} with it",
        name_of(&diff.leaves[0].entry)
    );
    assert!(tokyo.list("room")?.is_empty());
    Ok(())
}

fn name_of(entry: &headcount::EntryBuf) -> &str {
    entry.key_str().unwrap_or("a key that is not text")
}

fn meta_of(entry: &headcount::EntryBuf) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(entry.meta())
}
