//! Ten failures that users of other trackers report: each is shown to be impossible here.

use std::collections::BTreeSet;
use std::time::Duration;

use headcount::{Presence, PresenceConfig, Put, ReplicaId};

fn presence(name: &str, incarnation: u64) -> Presence {
    configured(name, incarnation, |_| {})
}

fn configured(name: &str, at: u64, set: impl FnOnce(&mut PresenceConfig)) -> Presence {
    let mut config = PresenceConfig::default();
    config.seed = at ^ name.len() as u64;
    set(&mut config);
    Presence::new(ReplicaId::new(name, at, 0).unwrap(), config)
}

/// Nodes and the links between them; a step is 20 ms.
struct Net {
    nodes: Vec<(&'static str, Presence)>,
    cut: BTreeSet<(&'static str, &'static str)>,
    ms: u64,
    /// Bytes that arrived, per sender.
    sent: usize,
}

impl Net {
    fn new(nodes: impl IntoIterator<Item = (&'static str, Presence)>) -> Self {
        Self {
            nodes: nodes.into_iter().collect(),
            cut: BTreeSet::new(),
            ms: 0,
            sent: 0,
        }
    }

    fn node(&self, name: &str) -> &Presence {
        &self.nodes.iter().find(|(n, _)| *n == name).unwrap().1
    }

    fn replace(&mut self, name: &'static str, presence: Presence) {
        let at = self.nodes.iter().position(|(n, _)| *n == name).unwrap();
        self.nodes[at].1 = presence;
    }

    fn cut(&mut self, a: &'static str, b: &'static str) {
        self.cut.extend([(a, b), (b, a)]);
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 50 {
            self.ms += 20;
            let now = Duration::from_millis(self.ms);
            for (name, node) in &self.nodes {
                node.handle_timeout(now);
                while let Some(transmit) = node.poll_transmit() {
                    for (other, to) in &self.nodes {
                        let addressed = match &transmit.to {
                            headcount::replica::Destination::All => other != name,
                            headcount::replica::Destination::Peer(peer) => **peer == **other,
                        };
                        if addressed && !self.cut.contains(&(*name, *other)) {
                            self.sent += transmit.frame.len();
                            to.handle_message(now, name, &transmit.frame).unwrap();
                        }
                    }
                }
            }
        }
    }

    /// All nodes show the same.
    fn assert_equal(&self, topics: &[&str]) {
        for topic in topics {
            let rows = |p: &Presence| {
                let row = |e: &headcount::EntryBuf| format!("{e:?}");
                p.list(topic).iter().map(row).collect::<BTreeSet<_>>()
            };
            let first = rows(&self.nodes[0].1);
            for (name, node) in &self.nodes {
                assert_eq!(rows(node), first, "{name} differs in {topic}");
            }
        }
    }
}

#[test]
fn nr_1_a_live_user_survives_a_link_loss_with_updates_in_flight() {
    for seed in 0..20u64 {
        let names = ["a", "b", "c", "d", "e"];
        let mut net = Net::new(names.map(|name| (name, presence(name, 1 + seed))));
        for name in names {
            net.node(name)
                .track(&Put::new("room", name, "c").meta(&[0]))
                .unwrap();
        }
        net.run(3);
        for round in 0..4u8 {
            let (x, y) = (
                (seed + u64::from(round)) as usize % 5,
                (seed as usize / 5 + 1) % 5,
            );
            net.cut(names[x], names[(x + y + 1) % 5]);
            for name in names {
                net.node(name)
                    .update(&Put::new("room", name, "c").meta(&[round + 1]))
                    .unwrap();
            }
            net.run(seed % 3);
            net.cut.clear();
        }
        net.run(8);
        net.assert_equal(&["room"]);
        assert_eq!(net.node("a").count("room"), 5, "seed {seed}");
    }
}

#[test]
fn nr_2_one_session_known_to_two_replicas_is_two_entries() {
    let mut net = Net::new([
        ("a", presence("a", 1)),
        ("b", presence("b", 1)),
        ("c", presence("c", 1)),
    ]);
    let put = Put::new("room", "ann", "same owner");
    net.node("a").track(&put.meta(b"at a")).unwrap();
    net.node("b").track(&put.meta(b"at b")).unwrap();
    net.run(4);
    net.assert_equal(&["room"]);
    assert_eq!(
        (
            net.node("c").count("room"),
            net.node("c").count_keys("room")
        ),
        (2, 1)
    );
    net.node("a").update(&put.meta(b"new")).unwrap();
    net.node("b").untrack("room", "ann", "same owner");
    net.run(2);
    net.assert_equal(&["room"]);
    assert_eq!(net.node("c").get_by_key("room", "ann")[0].meta(), b"new");
}

#[test]
fn nr_3_dead_incarnations_leave_nothing_behind() {
    let mut net = Net::new([("a", presence("a", 1)), ("b", presence("b", 1))]);
    net.run(2);
    for life in 2..300 {
        let b = presence("b", life);
        b.track(&Put::new("room", &format!("user {life}"), "c"))
            .unwrap();
        net.replace("b", b);
        net.run(1);
    }
    net.run(3);
    let a = net.node("a");
    assert_eq!(a.replicas().len(), 1);
    assert_eq!((a.count("room"), a.len(), a.clocks().len()), (1, 1, 1));
}

#[test]
fn nr_4_nobody_is_sent_its_own_entries() {
    let mut net = Net::new([("a", presence("a", 1)), ("b", presence("b", 1))]);
    for i in 0..2_000 {
        net.node("b")
            .track(&Put::new("room", &i.to_string(), "c").meta(&[0; 100]))
            .unwrap();
    }
    net.run(4);
    net.cut("a", "b");
    net.run(8);
    net.node("b").track(&Put::new("room", "late", "c")).unwrap();
    net.cut.clear();
    net.sent = 0;
    net.run(4);
    net.assert_equal(&["room"]);
    assert!(net.sent < 20_000, "{} bytes", net.sent);
}

#[test]
fn nr_5_a_clock_that_steps_back_hides_nobody() {
    let mut net = Net::new([("a", presence("a", 100)), ("b", presence("b", 100))]);
    net.node("a").track(&Put::new("room", "ann", "c")).unwrap();
    net.run(4);
    net.ms -= 3_000;
    net.run(4);
    assert_eq!(net.node("b").count("room"), 1);
    let b = presence("b", 7);
    b.track(&Put::new("room", "bob", "c")).unwrap();
    net.replace("b", b);
    net.run(15);
    net.assert_equal(&["room"]);
    assert_eq!(
        net.node("a").count("room"),
        2,
        "a start with an older wall clock is admitted"
    );
}

#[test]
fn nr_6_a_large_transfer_goes_in_slices() {
    let small = |config: &mut PresenceConfig| config.slice_records = 64;
    let mut net = Net::new([
        ("a", configured("a", 1, small)),
        ("b", configured("b", 1, small)),
    ]);
    for i in 0..5_000 {
        net.node("a")
            .track(&Put::new("room", &i.to_string(), "c"))
            .unwrap();
    }
    let mut before = 0;
    let mut steps = 0;
    while net.node("b").count("room") < 5_000 {
        net.ms += 1;
        let now = Duration::from_millis(net.ms);
        for (name, from, to) in [("a", "a", "b"), ("b", "b", "a")] {
            net.node(from).handle_timeout(now);
            while let Some(transmit) = net.node(from).poll_transmit() {
                net.node(to)
                    .handle_message(now, name, &transmit.frame)
                    .unwrap();
            }
        }
        let loaded = net.node("b").len();
        assert!(
            loaded - before <= 4 * 64,
            "{} entries in one step",
            loaded - before
        );
        assert!(
            net.node("b").count("room") == 0 || loaded == 5_000,
            "shown by one flag"
        );
        steps += usize::from(loaded > before);
        before = loaded;
        assert!(net.ms < 60_000, "it arrives");
    }
    assert!(steps >= 5_000 / 256);
}

#[test]
fn nr_7_a_partial_change_deletes_nothing_else() {
    let mut net = Net::new([("a", presence("a", 1)), ("b", presence("b", 1))]);
    for i in 0..500 {
        net.node("a")
            .track(&Put::new("room", &i.to_string(), "c"))
            .unwrap();
    }
    net.run(3);
    for i in 0..100 {
        net.node("a").untrack("room", &i.to_string(), "c");
        net.run(0);
    }
    net.node("a")
        .update(&Put::new("room", "400", "c").meta(b"new"))
        .unwrap();
    net.run(1);
    net.assert_equal(&["room"]);
    assert_eq!(net.node("b").count("room"), 400);
}

#[test]
fn nr_8_a_cut_log_costs_a_byte_an_entry_not_the_whole_state() {
    let short = |config: &mut PresenceConfig| config.limits.kill_log_len_max = 1;
    let mut net = Net::new([
        ("a", configured("a", 1, short)),
        ("b", configured("b", 1, short)),
    ]);
    for i in 0..5_000 {
        net.node("a")
            .track(&Put::new("room", &i.to_string(), "c").meta(&[0; 100]))
            .unwrap();
    }
    net.run(4);
    net.cut("a", "b");
    net.run(8);
    for i in 0..50 {
        net.node("a").untrack("room", &i.to_string(), "c");
        net.node("a")
            .track(&Put::new("room", &format!("new {i}"), "c").meta(&[0; 100]))
            .unwrap();
    }
    net.cut.clear();
    net.sent = 0;
    net.run(4);
    net.assert_equal(&["room"]);
    assert!(
        net.sent < 50 * 150 + 5_000 + 20_000,
        "{} bytes, the state has 550,000",
        net.sent
    );
}

#[test]
fn nr_9_no_ghosts_after_a_crash_and_restart() {
    let names = ["a", "b", "c"];
    let mut net = Net::new(names.map(|name| (name, presence(name, 1))));
    net.node("b")
        .track(&Put::new("room", "ghost", "c"))
        .unwrap();
    net.run(4);
    net.cut("b", "c");
    net.replace("b", presence("b", 2));
    net.run(6);
    assert_eq!(
        (net.node("a").count("room"), net.node("c").count("room")),
        (0, 0)
    );
    net.cut.clear();
    net.run(6);
    net.assert_equal(&["room"]);
    assert_eq!(
        net.node("a").len() + net.node("b").len() + net.node("c").len(),
        0
    );
}

#[test]
fn nr_10_an_owner_leaves_10_000_topics_at_once() {
    let mut net = Net::new([("a", presence("a", 1)), ("b", presence("b", 1))]);
    for i in 0..10_000 {
        net.node("a")
            .track(&Put::new(&format!("room {i}"), "ann", "conn"))
            .unwrap();
    }
    net.run(5);
    assert_eq!(net.node("b").len(), 10_000);
    net.node("a").take_diff();
    while net.node("b").poll_diff().is_some() {}
    assert_eq!(net.node("a").untrack_owner("conn"), 10_000);
    assert_eq!(
        net.node("a").take_diff().len(),
        10_000,
        "one Diff for all topics"
    );
    net.sent = 0;
    net.run(3);
    assert_eq!(net.node("b").len(), 0);
    let diffs: Vec<_> = std::iter::from_fn(|| net.node("b").poll_diff()).collect();
    assert!(diffs.len() <= 32 * 2, "{} Diffs for 32 slots", diffs.len());
    assert!(net.sent < 10_000 * 8 + 20_000, "{} bytes", net.sent);
}

#[test]
fn kill_logs_share_one_budget() {
    let a = configured("a", 1, |config| config.kill_log_budget = 24 * 1_000);
    for i in 0..5_000 {
        let topic = format!("room {}", i % 100);
        a.track(&Put::new(&topic, &i.to_string(), "c")).unwrap();
    }
    let mut net = Net::new([("a", a), ("b", presence("b", 1))]);
    net.run(3);
    net.cut("a", "b");
    net.run(7);
    net.node("a").untrack_owner("c");
    net.run(2);
    net.cut.clear();
    net.run(5);
    assert_eq!(net.node("b").len(), 0, "what left the logs is repaired");
}
