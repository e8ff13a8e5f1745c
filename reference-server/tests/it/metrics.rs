//! `/metrics`: each value is compared before and after what it counts.

use std::time::{Duration, Instant};

use openidconnect::{ClientId, IssuerUrl};
use reqwest::{Method, StatusCode, redirect::Policy};
use serde_json::json;
use tokio::time::sleep;

use crate::support::{
    client::{Server, Socket},
    http,
    metrics::Scrape,
};

/// Replies and the history that the test reads.
const READ: u32 = 15;
/// The time in which a busy machine gets to what takes a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// Three messages, and the time at which the stranger was last seen.
const WRITES: u32 = 4;

#[tokio::test]
async fn every_value_follows_what_it_counts() {
    let server = Server::start_with(|config| {
        // Nobody answers there.
        config.oidc_issuer = Some(IssuerUrl::new("http://127.0.0.1:9".into()).unwrap());
        config.oidc_client_id = Some(ClientId::new("headcount".into()));
        config.public_url = Some("http://127.0.0.1/".parse().unwrap());
    })
    .await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let topic = format!("room:{}", server.create_room(&ada, "Engines").await);
    let before = Scrape::of(&server).await;
    assert_eq!(before.get("headcount_ready"), 1.0);

    let mut socket = server.connect(&ada).await;
    let limited = talk(&mut socket, &topic).await;
    let mut stranger = server.connect(&bob).await;
    be_refused(&server, &mut stranger, &topic).await;
    stranger.close(Some(1000)).await;
    fail_to_sign_in(&server).await;
    socket.drain().await;

    let after = scrape_once_forgotten(&server, &before).await;
    let changes = after.since(&before);
    for (name, change) in [
        (r#"connections{transport="websocket"}"#, 1),
        (r#"connections_opened_total{transport="websocket"}"#, 2),
        (r#"connections_closed_total{reason="client"}"#, 1),
        (r#"connects_refused_total{reason="origin"}"#, 1),
        (r#"connects_refused_total{reason="token"}"#, 1),
        (r#"connects_refused_total{reason="parameters"}"#, 1),
        (r#"joins_refused_total{reason="not_a_member"}"#, 1),
        (r#"joins_refused_total{reason="unmatched_topic"}"#, 1),
        (r#"oidc_sign_ins_failed_total{reason="expired"}"#, 1),
        (r#"oidc_sign_ins_failed_total{reason="failed"}"#, 1),
        (r#"limited_total{limit="status"}"#, limited),
        (
            r#"http_requests_total{route="other",method="GET",status="404"}"#,
            1,
        ),
        ("joins_total", 1),
        ("messages_total", 3),
        // Two joins refused, one done, three messages, eight statuses.
        ("pushes_total", 14),
        ("rooms", 1),
        ("subscriptions", 1),
        ("presence_entries", 1),
        ("users", 1),
        ("database_wait_seconds_count", WRITES),
        ("database_write_seconds_count", WRITES),
    ] {
        let found = changes.get(&*format!("headcount_{name}"));
        assert_eq!(found, Some(&f64::from(change)), "{name} in {changes:#?}");
    }
    let delivered = changes["headcount_frames_delivered_total"];
    assert!(delivered >= f64::from(READ), "{delivered}");
    assert!(changes["headcount_frames_delivered_bytes_total"] > delivered);
    assert!(changes["headcount_beat_seconds_count"] > 0.0);
}

/// Reads the metrics once the server has forgotten the stranger, as it does within a second, and has stored that.
async fn scrape_once_forgotten(server: &Server, before: &Scrape) -> Scrape {
    let writes = "headcount_database_write_seconds_count";
    let end = Instant::now() + PATIENCE;
    loop {
        let scrape = Scrape::of(server).await;
        if scrape.get(writes) - before.get(writes) >= f64::from(WRITES) || Instant::now() >= end {
            return scrape;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Joins, posts three messages, and changes the status more often than the rate allows. Returns how often that was
/// refused.
async fn talk(socket: &mut Socket, topic: &str) -> u32 {
    socket.join(topic, "1").await;
    for n in 0..3 {
        let message = json!({ "content": "on the difference engine" });
        let reference = n.to_string();
        socket.push(topic, &reference, "new_message", message).await;
    }
    let mut refused = 0;
    for n in 0..8 {
        let status = json!({ "status": "idle" });
        let reference = format!("s{n}");
        let reply = socket.push(topic, &reference, "set_status", status).await;
        refused += u32::from(reply["status"] == "error");
    }
    refused
}

/// Tries two joins, three connections and a path, all in vain.
async fn be_refused(server: &Server, stranger: &mut Socket, topic: &str) {
    for topic in [topic, "room:none"] {
        let join = json!(["1", "1", topic, "phx_join", {}]);
        stranger.send(join).await;
        let reply = stranger.expect("phx_reply").await;
        assert_eq!(reply[4]["status"], "error", "{reply}");
    }
    for (query, origin) in [
        ("vsn=2.0.0&token=x", "http://evil.example"),
        ("vsn=2.0.0&token=x", ""),
        ("vsn=9.0.0&token=x", ""),
    ] {
        let headers = [("origin", origin)];
        let headers = &headers[usize::from(origin.is_empty())..];
        let refused = server.connect_with(query, headers).await;
        assert_eq!(refused.unwrap_err(), StatusCode::FORBIDDEN);
    }
    let (status, _) = server.call(Method::GET, "/nothing", None, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

/// Begins to sign in at the other site, and comes back without having been there.
async fn fail_to_sign_in(server: &Server) {
    let client = http::builder().redirect(Policy::none());
    let client = client.build().unwrap();
    for (path, reason) in [("login", "failed"), ("callback?state=x", "expired")] {
        let url = format!("http://{}/auth/oidc/{path}", server.address);
        let answer = client.get(url).send().await.unwrap();
        let page = answer.headers()["location"].to_str().unwrap();
        assert!(page.ends_with(&format!("sign_in_error={reason}")), "{page}");
    }
}

/// A name that is not described is found by no operator.
#[tokio::test]
async fn the_readme_names_every_value() {
    let server = Server::start().await;
    let scrape = Scrape::of(&server).await;
    let readme = include_str!("../../README.md");
    let missing: Vec<_> = scrape
        .families()
        .into_iter()
        .filter(|family| {
            !readme.contains(&format!("`{}`", family.trim_start_matches("headcount_")))
        })
        .collect();
    assert!(missing.is_empty(), "not in the README: {missing:?}");
}
