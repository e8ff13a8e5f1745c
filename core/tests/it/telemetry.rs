//! Lines and metrics of nodes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use headcount::replica::{Config, Transmit};
use headcount::runtime::{Incoming, Node, Transport, memory::Network};
use headcount::{NewEntry, PresenceConfig, ReplicaId};
use metrics_exporter_prometheus::PrometheusBuilder;
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::support::sources::{read, root};

/// Keeps the lines that are written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

fn start(network: &Network, name: &str, number: u64) -> Node {
    let id = ReplicaId::new(name, number, 0).unwrap();
    Node::start(id, PresenceConfig::default(), network.join(name))
}

/// Keeps the lines of this thread.
fn keep_lines() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .without_time()
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

/// A transport that has lost its connection.
#[derive(Default)]
struct Lost {
    unsent: u64,
}

impl Transport for Lost {
    fn frame_max(&self) -> usize {
        1 << 16
    }

    fn unsent(&self) -> u64 {
        self.unsent
    }

    async fn send(&mut self, _: Transmit) {
        self.unsent += 1;
    }

    async fn receive(&mut self) -> Option<Incoming> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_not_sent_are_told_once_a_minute() {
    let (lines, _guard) = keep_lines();
    let id = ReplicaId::new("a", 1, 0).unwrap();
    let node = Node::start(id, PresenceConfig::default(), Lost::default());
    sleep(Duration::from_secs(130)).await;
    let told = lines.text();
    assert_eq!(told.matches("frames were not sent").count(), 3, "{told}");
    assert!(node.stats().unsent > 100, "{}", node.stats().unsent);
}

#[tokio::test(start_paused = true)]
async fn nodes_write_lines_and_measure() {
    let (lines, _guard) = keep_lines();
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _metrics = metrics::set_default_local_recorder(&recorder);

    let network = Network::new();
    let a = start(&network, "a", 1);
    let b = start(&network, "b", 1);
    a.track(&NewEntry::new("room", "ann", "conn-1")).unwrap();
    a.track(&NewEntry::new("hall", "ann", "conn-1")).unwrap();
    sleep(Duration::from_secs(4)).await;
    let measured = metrics.render();
    for line in [
        "headcount_node_entries 2",
        "headcount_node_topics 2",
        "headcount_node_replicas_up 1",
        "headcount_node_partitions_behind 0",
        r#"headcount_node_events_total{event="replica_up"} 2"#,
    ] {
        assert!(measured.contains(line), "no {line} in {measured}");
    }
    let beats = r#"headcount_node_frames_total{direction="received",kind="beat"}"#;
    assert!(measured.contains(beats), "{measured}");

    let stats = b.stats();
    assert_eq!((stats.entries, stats.topics), (2, 2));
    let peer = &stats.peers[0];
    assert_eq!((peer.id.name(), peer.is_up), ("a", true));
    assert!(peer.silence <= Duration::from_millis(1_500), "{peer:?}");
    assert_eq!(peer.partitions_behind, 0);

    let other = PresenceConfig::default().replication(Config::default().partitions(64));
    let id = ReplicaId::new("c", 1, 0).unwrap();
    let stranger = Node::start(id, other, network.join("c"));
    let id = ReplicaId::new("b", 2, 0).unwrap();
    let namesake = Node::start(id, PresenceConfig::default(), network.join("another b"));
    sleep(Duration::from_secs(2)).await;
    drop(a);
    sleep(Duration::from_secs(8)).await;
    drop((stranger, namesake, b));
    let text = lines.text();
    for line in [
        "INFO headcount::runtime::telemetry: a replica is up replica=a@1.0",
        "WARN headcount::runtime::telemetry: a replica is down: its entries are hidden replica=a@1.0",
        "a node was given another shape from=c ours=32 partitions in mode all theirs=64 partitions in mode all count=1",
        "another live node has this node's name: this one is silent other=b@2.0",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    let measured = metrics.render();
    let refused = r#"headcount_node_frames_refused_total{reason="#;
    assert!(measured.contains(refused), "{measured}");
}

/// Lists the metrics in the table of the page, each with its kind and labels.
fn metrics_in_page() -> BTreeMap<String, (String, String)> {
    let page = read(&root().join("core/docs/metrics.md"));
    let rows = page.lines().filter(|line| line.starts_with("| `headcount"));
    let cells = rows.map(|row| row.split('|').map(|cell| cell.replace('`', "")));
    cells
        .map(|cells| {
            let cells: Vec<_> = cells.map(|cell| cell.trim().to_owned()).collect();
            assert!(
                cells.iter().skip(4).take(2).all(|cell| !cell.is_empty()),
                "{cells:?}"
            );
            (cells[1].clone(), (cells[2].clone(), cells[3].clone()))
        })
        .collect()
}

/// Lists the names in the calls of a macro of the code, each with the text of the call after it.
fn calls<'a>(code: &'a str, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let begin = format!("{kind}!(\"");
    let calls: Vec<_> = code.match_indices(&begin).map(|(at, _)| at).collect();
    calls.into_iter().filter_map(move |at| {
        let (name, rest) = code[at + kind.len() + 3..].split_once('"')?;
        Some((name, rest.split_once(')')?.0))
    })
}

#[test]
fn the_page_of_metrics_names_those_of_the_code() {
    let code = read(&root().join("core/src/runtime/telemetry.rs"));
    let mut metrics = BTreeMap::new();
    for kind in ["counter", "gauge", "histogram"] {
        for (name, labels) in calls(&code, kind) {
            let labels = match labels {
                "" => String::new(),
                ", &labels" => "direction, kind".to_owned(),
                one => one
                    .split('"')
                    .nth(1)
                    .expect("the name of a label")
                    .to_owned(),
            };
            metrics.insert(name.to_owned(), (kind.to_owned(), labels));
        }
    }
    assert_eq!(metrics.len(), 13);
    assert_eq!(metrics_in_page(), metrics);
}
