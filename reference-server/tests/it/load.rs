//! `headcount-server load`, and each value of `/metrics` before and after it.

use std::{fs, path::Path};

use clap::Parser as _;
use headcount_server::{Load, run_load};

use crate::support::{client::Server, metrics::Scrape};

const SECRET: &str = "a secret of thirty-two characters";
const CLIENTS: f64 = 20.0;
const MESSAGES: f64 = 20.0;

/// The change of a value over the run.
#[derive(Debug, Clone, Copy)]
enum Change {
    By(f64),
    AtLeast(f64),
    /// It may be anything that is not negative.
    Any,
    /// It stays: the tests in this file move it.
    MovedIn(&'static str),
    /// It stays, for the reason given, in all tests of the server.
    Never(&'static str),
}

use Change::{Any, AtLeast, By, MovedIn, Never};

const TROUBLES: Change = MovedIn("cluster/troubles.rs");
const MOVED: Change = MovedIn("it/metrics_moved.rs");
const MISSED: Change = MovedIn("cluster/missed_members.rs");
const METRICS: Change = MovedIn("it/metrics.rs");

/// The changes of all values, those with labels summed up.
const CHANGES: &[(&str, Change)] = &[
    ("headcount_beat_seconds", AtLeast(1.0)),
    (
        "headcount_cluster_divergences_total",
        Never("replicas diverge by a fault of the crate only; its own tests break it on purpose"),
    ),
    ("headcount_cluster_events_total", TROUBLES),
    ("headcount_cluster_frames_refused_total", TROUBLES),
    ("headcount_cluster_frames_unsent_total", TROUBLES),
    ("headcount_cluster_gaps_total", TROUBLES),
    ("headcount_cluster_nodes", TROUBLES),
    (
        "headcount_cluster_partitions_behind",
        Never("it is above 0 for the time of a pull; the tests of the crate hold one up"),
    ),
    ("headcount_cluster_received_bytes_total", TROUBLES),
    ("headcount_cluster_received_frames_total", TROUBLES),
    ("headcount_cluster_repair_rows_total", MISSED),
    ("headcount_cluster_repairs_total", TROUBLES),
    ("headcount_cluster_sent_bytes_total", TROUBLES),
    ("headcount_cluster_sent_frames_total", TROUBLES),
    ("headcount_cluster_silence_max_seconds", TROUBLES),
    ("headcount_congested_connections", MOVED),
    ("headcount_connections", METRICS),
    ("headcount_connections_closed_total", By(CLIENTS)),
    ("headcount_connections_opened_total", By(CLIENTS)),
    ("headcount_connects_refused_total", METRICS),
    ("headcount_database_wait_seconds", AtLeast(MESSAGES)),
    ("headcount_database_write_seconds", AtLeast(MESSAGES)),
    ("headcount_database_writes_failed_total", MOVED),
    ("headcount_frames_delivered_bytes_total", AtLeast(10_000.0)),
    // The reply, the history and the presence of each join; each message to ten clients, and its reply.
    (
        "headcount_frames_delivered_total",
        AtLeast(3.0 * CLIENTS + 11.0 * MESSAGES),
    ),
    ("headcount_frames_dropped_total", MOVED),
    // Sign in and register; create, delete and two rooms; the handshakes.
    ("headcount_http_request_seconds", By(6.0 + CLIENTS)),
    ("headcount_http_requests_total", By(6.0 + CLIENTS)),
    ("headcount_joins_refused_total", METRICS),
    ("headcount_joins_total", By(CLIENTS)),
    ("headcount_limited_total", METRICS),
    ("headcount_member_list_tick_seconds", AtLeast(1.0)),
    ("headcount_messages_total", By(MESSAGES)),
    ("headcount_oidc_sign_ins_failed_total", METRICS),
    ("headcount_presence_entries", METRICS),
    ("headcount_pushes_total", By(CLIENTS + MESSAGES)),
    ("headcount_queue_bytes", MOVED),
    ("headcount_queue_frames", MOVED),
    ("headcount_queue_frames_max", MOVED),
    ("headcount_ready", MovedIn("it/storage.rs")),
    ("headcount_rooms", METRICS),
    ("headcount_subscriptions", METRICS),
    ("headcount_uptime_seconds", AtLeast(0.001)),
    ("headcount_users", Any),
    ("headcount_webhook_call_seconds", MOVED),
    ("headcount_webhook_calls_total", MOVED),
    ("headcount_webhook_events_total", MOVED),
];

#[tokio::test]
async fn a_run_delivers_every_message_and_the_metrics_agree() {
    let server = Server::start_with(|config| config.jwt_secret = SECRET.parse().ok()).await;
    let url = format!("http://{}", server.address);
    let pid = std::process::id().to_string();
    let mut args = vec!["load", "--url", &url, "--jwt-secret", SECRET, "--quiet"];
    args.extend([
        "--connections",
        "20",
        "--rooms",
        "2",
        "--rate",
        "20",
        "--duration",
        "1",
    ]);
    if cfg!(target_os = "linux") {
        args.extend(["--pid", &pid]);
    }
    let load = Load::try_parse_from(args).unwrap();
    let before = Scrape::of(&server).await;
    let report = run_load(&load).await.unwrap();

    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!((report.joins.asked, report.joins.joined), (20, 20));
    let messages = &report.messages;
    assert_eq!((messages.asked, messages.sent), (20, 20));
    assert_eq!((messages.stored, messages.refused), (20, 0));
    let deliveries = &report.deliveries;
    assert_eq!((deliveries.expected, deliveries.received), (200, 200));
    for times in [&report.joins.times, &deliveries.times] {
        let steps = [times.p50_ms, times.p90_ms, times.p99_ms, times.p999_ms];
        assert!(times.p50_ms > 0.0 && steps.is_sorted(), "{times:?}");
    }
    let usage = report.server.as_ref();
    let is_measured = usage.is_some_and(|usage| usage.resident_bytes_joined > 0);
    assert_eq!(is_measured, cfg!(target_os = "linux"));
    assert!(report.to_string().contains("20 of 20"), "{report}");

    let after = settled(&server).await;
    let known: Vec<_> = CHANGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(after.families(), known);
    for (name, change) in CHANGES {
        let found = after.sum(name) - before.sum(name);
        let is_right = match change {
            By(wanted) => found == *wanted,
            AtLeast(least) => found >= *least,
            Any => found >= 0.0,
            MovedIn(file) => {
                assert!(is_named_in(file, name), "{name} is not in {file}");
                found == 0.0
            }
            Never(why) => found == 0.0 && !why.is_empty(),
        };
        assert!(is_right, "{name} changed by {found}, not {change:?}");
    }
}

/// Returns whether the text of a test names a value, be it without what many names begin with.
fn is_named_in(file: &str, name: &str) -> bool {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let text = fs::read_to_string(tests.join(file)).unwrap();
    let mut short = name.trim_start_matches("headcount_");
    for group in ["cluster_", "webhook_"] {
        short = short.trim_start_matches(group);
    }
    text.contains(name) || text.contains(&format!("\"{short}"))
}

/// Scrapes until the ends of the connections have been seen.
async fn settled(server: &Server) -> Scrape {
    for _ in 0..500 {
        let scrape = Scrape::of(server).await;
        let open = scrape.sum("headcount_connections") + scrape.sum("headcount_presence_entries");
        if open == 0.0 && scrape.sum("headcount_rooms") == 0.0 {
            return scrape;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the connections of the run did not end");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_refuses_is_named() {
    let server = Server::start_with(|config| config.auth_per_minute = 2).await;
    let here = format!("http://{}", server.address);
    for (url, reason) in [("http://127.0.0.1:9", "127.0.0.1:9"), (&here, "429")] {
        let args = ["load", "--quiet", "--connections", "9", "--url", url];
        let error = run_load(&Load::try_parse_from(args).unwrap()).await;
        let text = error.unwrap_err().to_string();
        assert!(text.contains(reason), "{text}");
    }
}

/// Each run left a user behind.
#[tokio::test]
async fn all_runs_have_one_owner() {
    let server = Server::start_with(|config| config.jwt_secret = SECRET.parse().ok()).await;
    let url = format!("http://{}", server.address);
    let run = async |more: &[&str]| {
        let args = ["load", "--quiet", "--connections", "2", "--duration", "1"];
        let at = ["--url", &url];
        let args = args.iter().chain(&at).chain(more);
        run_load(&Load::try_parse_from(args).unwrap()).await
    };
    let secret = ["--jwt-secret", SECRET];
    for _ in 0..2 {
        run(&secret).await.unwrap();
    }
    let ada = server.register("ada").await;
    let (_, stats) = server.get(&ada, "/stats").await;
    assert_eq!(stats["data"]["user_count"], 2, "{stats}");

    // Without the secret its password is another one.
    let refused = run(&[]).await.unwrap_err().to_string();
    assert!(
        refused.contains("load-runner") && refused.contains("--owner"),
        "{refused}"
    );
    run(&["--owner", "load-two"]).await.unwrap();
}
