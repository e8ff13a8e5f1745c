//! Start, stop, and the data that outlives them.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::metrics::Scrape;
use crate::support::{client::Server, http};

#[tokio::test]
async fn a_stop_closes_sockets_with_1012_and_loses_nothing() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    let mut socket = server.connect(&ada).await;
    let topic = format!("room:{room}");
    socket.join(&topic, "1").await;
    let reply = socket
        .push(&topic, "2", "new_message", json!({ "content": "kept" }))
        .await;
    assert_eq!(reply["status"], "ok");
    server.begin_stop();
    assert_eq!(socket.closed().await, 1012);
    let dir = server.stop().await;

    // The secret is in the data directory, so the token is still good.
    let server = Server::start_in(dir, |_| {}).await;
    let (status, page) = server.get(&ada, &format!("/rooms/{room}/messages")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(page["data"][0]["content"], "kept");
    let mut socket = server.connect(&ada).await;
    socket.send(json!(["1", "1", topic, "phx_join", {}])).await;
    let history = socket.expect("message_history").await;
    assert_eq!(history[4]["messages"][0]["content"], "kept");
}

#[tokio::test]
async fn a_stop_drains_in_batches_and_takes_no_new_connections_meanwhile() {
    let server = Server::start_with(|config| config.drain_batch = 1).await;
    let guest = server.guest().await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(server.connect(&guest).await);
    }
    server.begin_stop();
    let state = loop {
        let (status, state) = server.readyz().await;
        if status != StatusCode::OK {
            break state;
        }
    };
    assert_eq!(state, "draining");
    let query = format!("vsn=2.0.0&token={}", guest.token);
    let late = server.connect_with(&query, &[]);
    assert_eq!(late.await.unwrap_err(), StatusCode::SERVICE_UNAVAILABLE);
    for mut socket in sockets {
        assert_eq!(socket.closed().await, 1012);
    }
    server.stop().await;
}

/// Some mobile clients take any close frame for the end, and return only after a lost connection.
#[tokio::test]
async fn an_abrupt_stop_sends_what_is_queued_and_no_close_frame() {
    let server = Server::start_with(|config| config.drain_abrupt = true).await;
    let guest = server.guest().await;
    let mut socket = server.connect(&guest).await;
    let heartbeat = json!([null, "1", "phoenix", "heartbeat", {}]);
    socket.send(heartbeat).await;
    socket.reply("1").await;
    server.begin_stop();
    assert!(socket.is_lost().await);
    server.stop().await;
}

#[tokio::test]
async fn the_page_and_its_files_are_served() {
    let server = Server::start().await;
    let url = format!("http://{}/", server.address);
    let response = http::get(&url).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    let file = format!("{url}vendor/phoenix.mjs");
    let module = http::get(&file).await.unwrap();
    let again = http::client()
        .get(&file)
        .header("if-none-match", module.headers()["etag"].clone())
        .send()
        .await;
    assert_eq!(again.unwrap().status(), StatusCode::NOT_MODIFIED);
    assert_eq!(
        module.headers()["content-type"],
        "text/javascript; charset=utf-8"
    );
    let health = http::get(format!("{url}healthz")).await.unwrap();
    assert_eq!(health.text().await.unwrap(), "ok");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_the_others_notice_nothing() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let room = server.room(&guest, "lobby").await;
    let topic = format!("room:{room}");
    let mut slow = server.connect_slow(&guest).await;
    slow.join(&topic, "1").await;
    let (_, mut quick) = server.enter(&room).await;
    // More than the queue and all buffers can hold, from writers within their limits.
    let content = json!({ "content": "\u{1f389}".repeat(4_000) });
    let path = format!("/rooms/{room}/messages");
    let dropped = r#"headcount_frames_dropped_total{kind="queue"}"#;
    let mut sent = 0;
    while Scrape::of(&server).await.get(dropped) == 0.0 {
        assert!(sent < 2_000, "the queue has no end");
        let writer = server.guest().await;
        // On a slow machine it is not idle either.
        quick
            .send(json!([null, "1", "phoenix", "heartbeat", {}]))
            .await;
        for _ in 0..10 {
            let (status, _) = server.post(&writer, &path, content.clone()).await;
            assert_eq!(status, StatusCode::CREATED);
            sent += 1;
            assert_eq!(quick.expect("new_message").await[4]["seq"], sent);
        }
    }
    assert_eq!(slow.closed().await, 1013);
}
