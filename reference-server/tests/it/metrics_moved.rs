//! `/metrics` where something goes wrong or another site is called: each value is scraped, moved, and scraped again.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    storage::run,
    support::{
        client::{Server, User},
        metrics::Scrape,
    },
    webhooks::{SECRET, Site},
};

/// Scrapes until a value fits.
async fn scrape_until(server: &Server, what: &str, fits: impl Fn(&Scrape) -> bool) -> Scrape {
    for _ in 0..1_500 {
        let scrape = Scrape::of(server).await;
        if fits(&scrape) {
            return scrape;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came: {what}");
}

#[tokio::test]
async fn calls_of_the_webhook_are_counted_by_outcome() {
    let mut site = Site::start(1).await;
    let url = site.url.clone();
    let server = Server::start_with(|config| {
        config.webhook = Some(url);
        config.webhook_secret = Some(SECRET.parse().unwrap());
    })
    .await;
    let before = Scrape::of(&server).await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    post_one(&server, &ada, &room, "hello").await;
    // The first call is refused, and repeated.
    for _ in 0..2 {
        site.events_until("message_created").await;
    }
    let sent = r#"headcount_webhook_events_total{outcome="sent"}"#;
    let after = scrape_until(&server, "an event is sent", |scrape| scrape.get(sent) > 0.0).await;
    let changes = after.since(&before);
    for (name, change) in [
        (r#"calls_total{outcome="ok"}"#, 1.0),
        (r#"calls_total{outcome="failed"}"#, 1.0),
        (r#"events_total{outcome="sent"}"#, 1.0),
        ("call_seconds_count", 2.0),
    ] {
        let found = changes.get(&*format!("headcount_webhook_{name}"));
        assert_eq!(found, Some(&change), "{name} in {changes:#?}");
    }
}

async fn post_one(server: &Server, author: &User, room: &str, content: &str) {
    let path = format!("/rooms/{room}/messages");
    let (status, answer) = server
        .post(author, &path, json!({ "content": content }))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

/// Posts ten long messages.
async fn post_much(server: &Server, room: &str) {
    let author = server.guest().await;
    for _ in 0..10 {
        post_one(server, &author, room, &"\u{1f389}".repeat(4_000)).await;
    }
}

#[tokio::test]
async fn queues_of_a_slow_client_are_measured_and_what_it_misses_is_counted() {
    let server = Server::start().await;
    let slow = server.guest().await;
    let room = server.room(&slow, "lobby").await;
    let topic = format!("room:{room}");
    for _ in 0..5 {
        post_much(&server, &room).await;
    }
    let mut socket = server.connect_slow(&slow).await;
    let (_, mut typist) = server.enter(&room).await;
    let before = Scrape::of(&server).await;
    let queue = [
        "headcount_queue_bytes",
        "headcount_queue_frames",
        "headcount_queue_frames_max",
        "headcount_congested_connections",
    ];
    assert_eq!(queue.map(|name| before.get(name)), [0.0; 4]);
    let missed = r#"headcount_frames_dropped_total{kind="typing"}"#;
    assert_eq!(before.get(missed), 0.0);

    // Each join is answered with the last messages. What the system holds of them is no queue of the server.
    let joins = "headcount_joins_total";
    let mut crowded = before.clone();
    for n in 1..100 {
        let reference = n.to_string();
        let join = json!([reference, reference, topic, "phx_join", {}]);
        socket.send(join).await;
        crowded = scrape_until(&server, "the join", |scrape| {
            scrape.get(joins) - before.get(joins) >= f64::from(n)
        })
        .await;
        if crowded.get("headcount_congested_connections") > 0.0 {
            break;
        }
    }
    let [bytes, frames, frames_max, congested] = queue.map(|name| crowded.get(name));
    assert!(bytes > f64::from(1 << 20) && frames > 0.0, "{crowded:?}");
    assert_eq!((frames_max, congested), (frames, 1.0), "{crowded:?}");
    typist.send(json!(["1", "t", topic, "typing", {}])).await;
    scrape_until(&server, "a slow client misses who types", |scrape| {
        scrape.get(missed) == 1.0
    })
    .await;
}

#[tokio::test]
async fn writes_that_fail_are_counted() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    let name = "headcount_database_writes_failed_total";
    assert_eq!(Scrape::of(&server).await.get(name), 0.0);
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON messages
                  BEGIN SELECT RAISE(ABORT, 'refused'); END";
    run(server.dir(), refuse).await;
    let path = format!("/rooms/{room}/messages");
    for _ in 0..3 {
        let (status, _) = server.post(&ada, &path, json!({ "content": "lost" })).await;
        assert!(status.is_server_error(), "{status}");
    }
    assert_eq!(Scrape::of(&server).await.get(name), 3.0);
}
