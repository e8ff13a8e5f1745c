//! Answers of many frames: encoded part by part, in memory that does not grow with them or with
//! those that ask.

use std::collections::VecDeque;

use allocation_counter::measure;
use bytes::Bytes;
use headcount::codec::Kind;
use headcount::replica::Destination;
use headcount::{NewEntry, Presence, PresenceConfig};

use crate::support::mesh::{presence, seconds};

const ENTRIES: usize = 6_000;
const META: usize = 1_500;
const ASKERS: usize = 3;
/// The frames that wait for three askers, and 4 bytes an entry: a quarter of the entries' bytes.
const BYTES_MAX: i64 = 2_300_000;

/// An origin whose allocations are counted.
struct Origin {
    node: Presence,
    /// The bytes that it has now beyond those at the start, and the most that it ever had.
    held: i64,
    held_max: i64,
    /// The bytes of its parts.
    sent: usize,
}

impl Origin {
    /// Calls the origin, and returns the frames that it sends.
    fn call(&mut self, act: impl FnOnce(&Presence)) -> Vec<(Destination, Bytes)> {
        let mut frames = Vec::new();
        let node = &self.node;
        let info = measure(|| {
            act(node);
            while node.is_working() {
                node.handle_timeout(seconds(0));
            }
        });
        self.held_max = self.held_max.max(self.held + info.bytes_max as i64);
        self.held += info.bytes_current;
        frames.reserve(1_024);
        let info = measure(|| {
            while node.poll_diff().is_some() {}
            while let Some(transmit) = node.poll_transmit() {
                // A copy has no room to spare, so that its bytes are known.
                let frame = Bytes::copy_from_slice(&transmit.frame);
                frames.push((transmit.to, frame));
            }
        });
        let lens = frames.iter().map(|(_, frame)| frame.len() as i64);
        self.held += info.bytes_current - lens.sum::<i64>();
        let is_part = |frame: &&(Destination, Bytes)| Kind::of(&frame.1) == Kind::PART;
        let parts = frames.iter().filter(is_part);
        self.sent += parts.map(|(_, frame)| frame.len()).sum::<usize>();
        frames
    }
}

fn write(node: &Presence, number: usize, fill: u8) {
    let key = format!("a long shared prefix of every key, \u{e9}t\u{e9} {number}");
    let entry = NewEntry::new("room", &key, "");
    node.upsert(&entry.meta(&[fill; META])).unwrap();
}

fn lines(node: &Presence) -> Vec<(Vec<u8>, Vec<u8>)> {
    let list = node.list("room").unwrap();
    assert_eq!(list.len(), ENTRIES);
    let lines = list
        .iter()
        .map(|e| (e.key().bytes.to_vec(), e.meta().to_vec()));
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

/// Three nodes ask for a partition of 9 MB at once, and one entry in a hundred changes while they draw
/// it.
#[test]
fn a_long_answer_takes_little_memory_however_many_ask() {
    let node = presence("origin", PresenceConfig::default().seed(1));
    node.handle_timeout(seconds(0));
    (0..ENTRIES).for_each(|number| write(&node, number, 1));
    // What was written is pushed first, which no frame takes.
    node.handle_timeout(seconds(1));
    node.handle_timeout(seconds(2));
    while node.poll_transmit().is_some() || node.poll_diff().is_some() {}
    let mut origin = Origin {
        node,
        held: 0,
        held_max: 0,
        sent: 0,
    };
    let names = ["b", "c", "d"];
    let asker = |name| presence(name, PresenceConfig::default().seed(2));
    let askers = names.map(asker);
    let mut changed = 0;
    for ms in (3_000..8_000).step_by(50) {
        let now = std::time::Duration::from_millis(ms);
        let mut flights: VecDeque<_> = origin.call(|node| node.handle_timeout(now)).into();
        for asker in &askers {
            asker.handle_timeout(now);
        }
        loop {
            for (name, asker) in names.iter().zip(&askers) {
                while let Some(transmit) = asker.poll_transmit() {
                    flights.extend(origin.call(|node| {
                        node.handle_message(now, name, &transmit.frame).unwrap();
                    }));
                }
            }
            for _ in 0..4 {
                if origin.sent > 1_000_000 && changed < ENTRIES / 100 {
                    write(&origin.node, 7 * changed, 2);
                    changed += 1;
                }
            }
            let Some((to, frame)) = flights.pop_front() else {
                break;
            };
            for (name, asker) in names.iter().zip(&askers) {
                if to == Destination::All || to == Destination::Peer((*name).into()) {
                    asker.handle_message(now, "origin", &frame).unwrap();
                }
                while asker.is_working() {
                    asker.handle_timeout(now);
                }
            }
        }
    }
    assert_eq!(changed, ENTRIES / 100);
    for asker in &askers {
        assert!(lines(asker) == lines(&origin.node), "an asker differs");
    }
    let drawn = ASKERS * ENTRIES * META;
    assert!(origin.sent >= drawn, "{} bytes of parts", origin.sent);
    let held = origin.held_max;
    assert!(held <= BYTES_MAX, "{held} bytes for answers of {drawn}");
}
