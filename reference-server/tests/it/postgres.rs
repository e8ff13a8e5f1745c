//! PostgreSQL: numbers and limits over several nodes, faults, and what must never be printed.

use std::time::Duration;

use headcount_server::{Config, Server as Program};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::{net::TcpListener, time::sleep};

use crate::{
    support::{
        client::{Server, User},
        postgres::{Postgres, SECRET},
    },
    webhooks,
};

/// Posts of each user in the race, as many as the limit allows.
const POSTS: usize = 10;

async fn node(url: &str) -> Server {
    Server::start_with(|config| share(config, url)).await
}

fn share(config: &mut Config, url: &str) {
    config.database = Some(url.parse().unwrap());
    config.jwt_secret = Some(SECRET.parse().unwrap());
}

async fn post(server: &Server, user: &User, room: &str, body: Value) -> (StatusCode, Value) {
    let path = format!("/rooms/{room}/messages");
    server.post(user, &path, body).await
}

/// Reads all messages of a room.
async fn messages(server: &Server, user: &User, room: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = all.last().map_or(0, |m| m["seq"].as_i64().unwrap());
        let path = format!("/rooms/{room}/messages?limit=100&after_seq={after}");
        let (_, page) = server.get(user, &path).await;
        let page = page["data"].as_array().unwrap().clone();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_on_two_nodes_number_a_room_without_gaps() {
    let postgres = Postgres::start().await;
    let url = postgres.create().await;
    // Both bring the tables up to date at once.
    let nodes = tokio::join!(node(&url), node(&url));
    let owner = nodes.0.register("owner").await;
    let room = nodes.0.room(&owner, "lobby").await;
    let mut posted = Vec::new();
    for i in 0..8 {
        let server = if i % 2 == 0 { &nodes.0 } else { &nodes.1 };
        let user = nodes.0.register(&format!("user{i}")).await;
        server
            .post(&user, &format!("/rooms/{room}/join"), json!({}))
            .await;
        posted.push(async {
            let user = user;
            let mut stored = Vec::new();
            for n in 0..POSTS {
                let body = json!({ "content": format!("{n}"), "client_id": format!("{n}") });
                // Each post comes to both nodes at once, as that of a client that lost the first answer.
                let answers = tokio::join!(
                    post(&nodes.0, &user, &room, body.clone()),
                    post(&nodes.1, &user, &room, body)
                );
                let statuses = [answers.0.0, answers.1.0];
                if statuses.contains(&StatusCode::TOO_MANY_REQUESTS) {
                    continue;
                }
                assert_eq!(answers.0.1["data"]["id"], answers.1.1["data"]["id"]);
                stored.push(answers.0.1["data"]["seq"].as_i64().unwrap());
            }
            stored
        });
    }
    let posted = futures_util::future::join_all(posted).await;
    nodes
        .0
        .post(&owner, &format!("/rooms/{room}/join"), json!({}))
        .await;
    let all = messages(&nodes.1, &owner, &room).await;
    let numbers: Vec<i64> = all.iter().map(|m| m["seq"].as_i64().unwrap()).collect();
    let expected: Vec<i64> = (1..=i64::try_from(all.len()).unwrap()).collect();
    assert_eq!(numbers, expected);
    let acknowledged: Vec<i64> = posted.into_iter().flatten().collect();
    assert!(
        acknowledged.len() >= 8 * POSTS / 2,
        "the limit let these pass"
    );
    assert!(acknowledged.iter().all(|seq| numbers.contains(seq)));
    let (_, stats) = nodes.1.get(&owner, "/stats").await;
    assert_eq!(stats["data"]["message_count"], all.len(), "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_one_message_limit_on_all_nodes() {
    let postgres = Postgres::start().await;
    let url = postgres.create().await;
    let nodes = [node(&url).await, node(&url).await];
    let ada = nodes[0].register("ada").await;
    let room = nodes[0].room(&ada, "lobby").await;
    nodes[0]
        .post(&ada, &format!("/rooms/{room}/join"), json!({}))
        .await;
    // The window may end in between, but not three times in a row.
    for _ in 0..3 {
        let mut accepted = 0;
        for server in nodes.iter().chain(&nodes).chain(&nodes) {
            for _ in 0..4 {
                let (status, answer) = post(server, &ada, &room, json!({ "content": "x" })).await;
                if status == StatusCode::TOO_MANY_REQUESTS {
                    let wait = answer["retry_after_ms"].as_u64().unwrap();
                    assert!((1..=5_000).contains(&wait), "{answer}");
                } else {
                    accepted += 1;
                }
            }
        }
        if accepted == 10 {
            return;
        }
        sleep(Duration::from_secs(5)).await;
    }
    panic!("the nodes did not share the limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_refuses_writes_and_serves_again_when_it_is_back() {
    let mut postgres = Postgres::start().await;
    let url = postgres.create().await;
    let server = node(&url).await;
    let ada = server.register("ada").await;
    let room = server.room(&ada, "lobby").await;
    server
        .post(&ada, &format!("/rooms/{room}/join"), json!({}))
        .await;
    let (status, first) = post(&server, &ada, &room, json!({ "content": "before" })).await;
    assert_eq!(status, StatusCode::CREATED);
    postgres.kill();
    let (status, answer) = post(&server, &ada, &room, json!({ "content": "lost" })).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    let said = loop {
        let (status, said) = server.readyz().await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            break said;
        }
    };
    assert!(said.contains("storage unreachable"), "{said}");
    assert!(
        said.contains("(PostgreSQL)") && !said.contains("hunter2"),
        "{said}"
    );
    postgres.resume().await;
    let after = loop {
        let (status, answer) = post(&server, &ada, &room, json!({ "content": "after" })).await;
        if status == StatusCode::CREATED {
            break answer;
        }
        sleep(Duration::from_millis(100)).await;
    };
    let all = messages(&server, &ada, &room).await;
    assert_eq!(all.first().unwrap()["id"], first["data"]["id"]);
    assert_eq!(all.last().unwrap()["id"], after["data"]["id"]);
    server.wait_until_ready().await;
}

/// Returns the error of a server that does not start.
async fn refusal(url: &str) -> String {
    let mut config = Config::default();
    share(&mut config, url);
    assert!(!format!("{config:?}").contains("hunter2"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = Program::open(listener, config).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(!text.contains("hunter2"), "{text}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_database_and_what_to_do_and_no_password() {
    let mut postgres = Postgres::start().await;
    let text = refusal(&postgres.url("absent")).await;
    assert!(text.contains("/absent: storage refused"), "{text}");
    assert!(text.contains("check the user"), "{text}");

    let url = postgres.create().await;
    node(&url).await.stop().await;
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let newer = "UPDATE _sqlx_migrations SET version = 9999
         WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    sqlx::query(newer).execute(&mut admin).await.unwrap();
    let text = refusal(&url).await;
    assert!(text.contains("storage of a newer version"), "{text}");
    assert!(text.contains("run that one"), "{text}");

    postgres.kill();
    let text = refusal(&url).await;
    assert!(text.contains("storage unreachable"), "{text}");
    let text = refusal("mysql://ada:hunter2@host/chat").await;
    assert!(text.contains("postgres://user@host/database"), "{text}");
}

#[test]
fn nodes_that_share_a_database_need_a_common_secret() {
    let program = "headcount-server";
    let url = "postgres://ada:hunter2@host/chat";
    for args in [
        &[program, "--database", url][..],
        &[program, "--nats", "nats://bus", "--jwt-secret", SECRET],
        &[
            program,
            "--database",
            url,
            "--jwt-secret",
            SECRET,
            "--nats",
            "bus",
            "--demo",
            "9",
        ],
        &[
            program,
            "--database",
            url,
            "--jwt-secret",
            SECRET,
            "--cluster",
            "a b",
        ],
    ] {
        let error = Config::load(args).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let whole = [
        program,
        "--database",
        url,
        "--jwt-secret",
        SECRET,
        "--nats",
        "bus",
    ];
    assert!(Config::load(whole).is_ok());
}

/// Events are taken for 30 s; a node that was killed meanwhile sends them no more.
#[tokio::test]
async fn events_that_a_node_took_and_did_not_send_are_sent_by_another_one() {
    let postgres = Postgres::start().await;
    let url = postgres.create().await;
    let node_of = async |site: String| {
        Server::start_with(|config| {
            share(config, &url);
            config.webhook = Some(site);
            config.webhook_secret = Some(webhooks::SECRET.parse().unwrap());
        })
        .await
    };
    // It is called, and does not answer: to the others its node is as one that was killed.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = node_of(format!("http://{}/hook", silent.local_addr().unwrap())).await;
    let ada = first.register("ada").await;
    let room = first.create_room(&ada, "Engines").await;
    post(&first, &ada, &room, json!({ "content": "kept" })).await;
    let _call = silent.accept().await.unwrap();

    let mut connection = PgConnection::connect(&url).await.unwrap();
    let left = "SELECT due_at - (extract(epoch FROM now()) * 1000000)::BIGINT FROM webhook_events";
    let left: (i64,) = sqlx::query_as(left)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!((20_000_000..=30_000_000).contains(&left.0), "{left:?}");
    let pass = "UPDATE webhook_events SET due_at = due_at - 30000000";
    let passed = sqlx::query(pass).execute(&mut connection).await;
    assert_eq!(passed.unwrap().rows_affected(), 1);
    let mut site = webhooks::Site::start(0).await;
    let _second = node_of(site.url.clone()).await;
    let events = site.events_until("message_created").await;
    assert_eq!(events[0]["data"]["content"], "kept");
}
