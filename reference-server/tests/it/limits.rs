//! Limits that keep one client from taking what all others need.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, pause, resume, sleep, timeout};

use crate::support::{client::Server, raw::Raw};

/// Long enough for the server to read what was sent, before the time of the test jumps.
const SETTLE: Duration = Duration::from_millis(100);

/// Connections that send nothing, or half a request, lived for ever.
#[tokio::test]
async fn connections_that_do_not_finish_a_request_are_closed() {
    let server = Server::start().await;
    let half_body = "POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\n\
                     content-type: application/json\r\ncontent-length: 500\r\n\r\n{";
    for (sent, seconds, last) in [
        ("", 10, ""),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: ", 10, ""),
        (half_body, 30, "HTTP/1.1 408"),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", 75, ""),
    ] {
        let mut raw = Raw::connect(server.address, sent.as_bytes()).await;
        if seconds == 75 {
            assert!(raw.head().await.starts_with("HTTP/1.1 200"));
        }
        sleep(SETTLE).await;
        pause();
        let start = Instant::now();
        let rest = timeout(Duration::from_secs(200), raw.rest()).await;
        let waited = start.elapsed().as_secs();
        resume();
        let rest = String::from_utf8(rest.expect("it is closed")).unwrap();
        assert!(rest.contains(last), "{sent:?}: {rest:?}");
        assert!(
            (seconds - 1..=seconds + 1).contains(&waited),
            "{sent:?}: {waited} s"
        );
    }
}

/// A header that arrives byte by byte is as late as one that stops.
#[tokio::test]
async fn a_header_may_not_drip() {
    let server = Server::start().await;
    let mut raw = Raw::connect(server.address, b"GET /healthz HTTP/1.1\r\nx-a: ").await;
    pause();
    let dripping = async {
        for _ in 0..30 {
            sleep(Duration::from_secs(1)).await;
            if raw.try_send(b"a").await.is_err() {
                return true;
            }
        }
        false
    };
    assert!(dripping.await, "the connection is still open after 30 s");
}

/// The head of a request is read into memory, of which it takes half a megabyte at the most.
#[tokio::test]
async fn a_giant_head_is_refused_and_not_read_to_its_end() {
    let server = Server::start().await;
    let many: String = (0..200).map(|i| format!("x-{i}: a\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\n{many}\r\n");
    let long = format!("GET /healthz HTTP/1.1\r\nx-a: {}", "é".repeat(250_000));
    let path = |length| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(length));
    for (sent, status) in [
        (many, 431),
        (long, 431),
        (path(100_000), 414),
        (path(500_000), 431),
    ] {
        let mut raw = Raw::connect(server.address, b"").await;
        // The server may have closed before it has read all.
        let _ = raw.try_send(sent.as_bytes()).await;
        let answer = String::from_utf8(raw.rest().await).unwrap();
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{answer:?}");
    }
    // However much a client has to say, it is not taken.
    let mut raw = Raw::connect(server.address, b"GET /healthz HTTP/1.1\r\nx-a: ").await;
    let mut taken = 0;
    while taken < 64 << 20 && raw.try_send(&[b'a'; 1 << 16]).await.is_ok() {
        taken += 1 << 16;
    }
    assert!(taken < 64 << 20, "all was taken");
    assert_eq!(server.readyz().await.0, StatusCode::OK);
}

/// A frame that arrives byte by byte is no sign of life.
#[tokio::test]
async fn half_a_frame_may_not_drip() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let mut raw = Raw::websocket(server.address, &guest).await;
    // A text of 1,000 bytes, masked with zeros.
    raw.send(&[0x81, 0xfe, 0x03, 0xe8, 0, 0, 0, 0]).await;
    sleep(SETTLE).await;
    pause();
    let start = Instant::now();
    let dripping = async {
        for _ in 0..900 {
            sleep(Duration::from_secs(1)).await;
            if raw.try_send(b"[").await.is_err() {
                return true;
            }
        }
        false
    };
    assert!(dripping.await, "the frame still drips");
    let waited = start.elapsed();
    assert!(waited <= Duration::from_secs(70), "{waited:?}");
}

/// A client whose system takes no more bytes stayed online for minutes: nothing looked at the time while a
/// send was blocked.
#[tokio::test]
async fn a_client_that_takes_nothing_is_gone_after_half_a_minute() {
    let server = Server::start().await;
    let stuck = server.guest().await;
    let room = server.room(&stuck, "lobby").await;
    let topic = format!("room:{room}");
    let mut slow = server.connect_slow(&stuck).await;
    slow.join(&topic, "1").await;
    let content = json!({ "content": "\u{1f389}".repeat(4_000) });
    let path = format!("/rooms/{room}/messages");
    for _ in 0..30 {
        let writer = server.guest().await;
        for _ in 0..10 {
            let (status, _) = server.post(&writer, &path, content.clone()).await;
            assert_eq!(status, StatusCode::CREATED);
        }
    }
    let (_, mut watcher) = server.enter(&room).await;
    let state = watcher.expect("presence_state").await;
    assert!(state[4].get(&stuck.id).is_some());
    sleep(SETTLE).await;
    pause();
    let start = Instant::now();
    loop {
        let frame = watcher.next_at_last().await;
        if frame[3] == "presence_diff" && frame[4]["leaves"].get(&stuck.id).is_some() {
            break;
        }
    }
    assert!(
        start.elapsed() <= Duration::from_secs(35),
        "{:?}",
        start.elapsed()
    );
}

/// Pushes that cost work or reach others have a rate of their own; after too many refusals the socket is closed.
#[tokio::test]
async fn pushes_are_metered_by_kind() {
    let server = Server::start().await;
    let guest = server.guest().await;
    let room = server.room(&guest, "lobby").await;
    let topic = format!("room:{room}");
    for (event, payload, burst) in [
        ("typing", json!({}), 5),
        ("stop_typing", json!({}), 5),
        ("set_status", json!({ "status": "idle" }), 5),
        ("member_list_open", json!({ "window": "c:0" }), 40),
        (
            "member_list_move",
            json!({ "from": "c:0", "window": "c:1" }),
            40,
        ),
        ("member_list_close", json!({ "window": "c:7" }), 200),
        ("member_list_resync", json!({ "windows": ["c:0"] }), 40),
        ("member_list_resume", json!({ "held": [] }), 40),
        ("member_list_find", json!({ "prefix": "a" }), 10),
        ("member_list_search", json!({ "search": "a" }), 10),
        ("no_such_event", json!({}), 200),
    ] {
        let (_, mut socket) = server.enter(&room).await;
        let refused = |frame: &Value| frame[4]["response"]["reason"] == "rate_limited";
        let pushes = (3 * burst).min(burst + 90);
        for n in 0..pushes {
            socket
                .send(json!(["1", format!("p{n}"), topic, event, payload]))
                .await;
        }
        let frames = socket.drain().await;
        let refusals: Vec<_> = frames.iter().filter(|frame| refused(frame)).collect();
        // With the join.
        let most = pushes - burst + 1;
        assert!(
            (1..=most).contains(&refusals.len()),
            "{event}: {}",
            refusals.len()
        );
        let wait = refusals[0][4]["response"]["retry_after_ms"]
            .as_u64()
            .unwrap();
        assert!((1..=1_000).contains(&wait), "{event}: {wait} ms");
    }
    let (_, mut flood) = server.enter(&room).await;
    for n in 0..300 {
        let frame = json!(["1", format!("p{n}"), topic, "typing", {}]);
        if flood.try_send(frame).await.is_err() {
            break;
        }
    }
    assert_eq!(flood.closed().await, 1008);
    // Another user is not affected.
    let (_, mut other) = server.enter(&room).await;
    let reply = other.push(&topic, "2", "set_status", json!({ "status": "dnd" }));
    assert_eq!(reply.await["status"], "ok");
}

#[tokio::test]
async fn a_user_owns_a_hundred_rooms_at_most() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let mut rooms = Vec::new();
    for n in 0..100 {
        rooms.push(server.create_room(&ada, &format!("r{n}")).await);
    }
    let (status, answer) = server.post(&ada, "/rooms", json!({ "name": "more" })).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(
        answer["error"].as_str().unwrap().contains("100"),
        "{answer}"
    );
    server.delete(&ada, &format!("/rooms/{}", rooms[0])).await;
    server.create_room(&ada, "more").await;
}

/// Refusals were immediate, so that a client that tries again at once did so without end.
#[tokio::test]
async fn refusals_are_held_back() {
    let server = Server::start_with(|config| config.refusal_delay_ms = 2_000).await;
    let guest = server.guest().await;
    let raw = async |path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
                               connection: upgrade\r\nsec-websocket-version: 13\r\n\
                               sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let mut raw = Raw::connect(server.address, request.as_bytes()).await;
        sleep(SETTLE).await;
        pause();
        let start = Instant::now();
        let head = raw.head().await;
        let waited = start.elapsed();
        resume();
        (head, waited)
    };
    for path in [
        "/chat/socket/websocket?vsn=2.0.0&token=bad".to_owned(),
        format!("/chat/socket/websocket?vsn=9.0.0&token={}", guest.token),
        "/chat/socket/longpoll?vsn=2.0.0&token=bad".to_owned(),
    ] {
        let (_, waited) = raw(&path).await;
        assert!(waited >= Duration::from_millis(1_500), "{path}: {waited:?}");
    }
}

#[tokio::test]
async fn connections_are_admitted_at_a_rate() {
    let server = Server::start_with(|config| config.connects_per_second = 2).await;
    let guest = server.guest().await;
    let query = format!("vsn=2.0.0&token={}", guest.token);
    let all = (0..20).map(|_| server.connect_with(&query, &[]));
    let all = futures_util::future::join_all(all).await;
    let refused: Vec<_> = all.iter().filter_map(|one| one.as_ref().err()).collect();
    assert!(
        refused
            .iter()
            .all(|status| **status == StatusCode::SERVICE_UNAVAILABLE)
    );
    // Two at once, then two a second for the five seconds that one waits.
    assert!(
        (6..=16).contains(&refused.len()),
        "{} refused",
        refused.len()
    );
}

#[tokio::test]
async fn a_refused_join_waits_while_other_pushes_are_answered() {
    let server = Server::start_with(|config| config.join_refusal_delay_ms = 1_500).await;
    let ada = server.register("ada").await;
    let bob = server.register("bob").await;
    let topic = format!("room:{}", server.create_room(&ada, "Engines").await);
    let mut socket = server.connect(&bob).await;
    socket.send(json!(["1", "1", topic, "phx_join", {}])).await;
    socket
        .send(json!([null, "2", "phoenix", "heartbeat", {}]))
        .await;
    for reference in ["2", "1"] {
        assert_eq!(socket.expect("phx_reply").await[1], reference);
    }
}
