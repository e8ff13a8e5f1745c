//! The simulated room.

use serde_json::json;

use crate::support::client::Server;

#[tokio::test]
async fn the_city_changes_and_is_marked_as_simulated() {
    let server = Server::start_with(|config| config.demo = 5_000).await;
    let guest = server.guest().await;
    let city = server.room(&guest, "city").await;
    let mut socket = server.connect(&guest).await;
    let reply = socket.join(&format!("room:{city}"), "1").await;
    assert_eq!(
        (&reply["presence"], &reply["room"]["simulated"]),
        (&json!("counts"), &json!(true))
    );
    let mut counts = Vec::new();
    while counts.len() < 3 {
        counts.push(
            socket.expect("presence_count").await[4]["online"]
                .as_u64()
                .unwrap(),
        );
    }
    assert!(
        counts.iter().all(|n| (2_500..=5_001).contains(n)),
        "{counts:?}"
    );
    counts.dedup();
    assert!(counts.len() > 1, "the room moves");
}

#[tokio::test]
async fn without_demo_there_is_no_city() {
    let server = Server::start_with(|config| config.demo = 10).await;
    let guest = server.guest().await;
    let city = server.room(&guest, "city").await;
    let server = Server::start_in(server.stop().await, |_| {}).await;
    let (_, rooms) = server.get(&guest, "/rooms").await;
    assert!(!rooms.to_string().contains("city"));
    let mut socket = server.connect(&guest).await;
    socket
        .send(json!(["1", "1", format!("room:{city}"), "phx_join", {}]))
        .await;
    assert_eq!(socket.next().await[4]["response"]["reason"], "not found");
}

#[tokio::test]
async fn the_sidebar_of_the_city_changes_in_the_middle() {
    let server = Server::start_with(|config| config.demo = 5_000).await;
    let guest = server.guest().await;
    let topic = format!("room:{}", server.room(&guest, "city").await);
    let mut socket = server.connect(&guest).await;
    socket.join(&topic, "1").await;
    let reply = socket
        .push(&topic, "2", "member_list_open", json!({ "window": "c:20" }))
        .await;
    let bundle = &reply["response"];
    let counts = &bundle["counts"];
    // After the next beat the watching guest is online as well.
    assert!((5_000..=5_001).contains(&counts["members"].as_u64().unwrap()));
    for group in counts["groups"].as_array().unwrap() {
        assert!(group["count"].as_u64().unwrap() >= 20, "{group}");
    }
    let rows = bundle["frames"][0]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 100);
    assert_eq!(rows[0]["body"]["simulated"], true);
    let mut version = bundle["frames"][0]["new_version"].clone();
    for _ in 0..3 {
        let bundle = loop {
            let pushed = socket.expect("member_list").await;
            if pushed[4]["frames"] != json!([]) {
                break pushed[4].clone();
            }
        };
        let frame = &bundle["frames"][0];
        assert_eq!(
            (&frame["kind"], &frame["base_version"]),
            (&json!("delta"), &version)
        );
        version = frame["new_version"].clone();
    }
}
