//! Joins over NATS by each kind of credentials.
#![expect(
    clippy::disallowed_methods,
    reason = "core has no I/O, but these tests speak to a real server"
)]

use std::time::SystemTime;

use headcount::runtime::Node;
use headcount::runtime::nats::{NatsOptions, NatsOptionsError, NatsTransport};
use headcount::{NewEntry, PresenceConfig, ReplicaId};

use crate::support::nats::{free_port, nats_server_on};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nats");

/// The options that each mistake is made from.
fn none() -> NatsOptions {
    NatsOptions::default()
}

async fn join(port: u16, options: NatsOptions) -> Result<NatsTransport, String> {
    join_at(&format!("nats://127.0.0.1:{port}"), options).await
}

async fn join_at(servers: &str, options: NatsOptions) -> Result<NatsTransport, String> {
    let options = options.read().await.map_err(|error| error.to_string())?;
    let joined = NatsTransport::connect_with(options, servers, "guarded", |_| {}).await;
    joined.map_err(|error| error.to_string())
}

/// Two nodes that join with these options see each other.
async fn takes(port: u16, options: &[NatsOptions; 2]) {
    let [a, b] = ["a", "b"].map(|name| ReplicaId::generate(name, SystemTime::now()).unwrap());
    let start = async |id, options: &NatsOptions| {
        let transport = join(port, options.clone()).await.unwrap();
        Node::start(id, PresenceConfig::default(), transport)
    };
    let a = start(a, &options[0]).await;
    let b = start(b, &options[1]).await;
    let (_, mut changes) = b.list_and_subscribe("room").unwrap();
    a.track(&NewEntry::new("room", "ann", "conn")).unwrap();
    let diff = changes.next().await.unwrap().unwrap();
    assert_eq!(diff.joins[0].key_str(), Some("ann"));
    b.leave().await;
    a.leave().await;
}

async fn refuses(port: u16, options: NatsOptions) {
    let error = join(port, options.clone()).await.unwrap_err();
    assert!(
        error.contains("authorization violation"),
        "{options:?}: {error}"
    );
}

#[tokio::test]
async fn users_with_a_jwt_join_by_their_file() {
    let port = free_port();
    let _server = nats_server_on(port, &["-c", &format!("{DATA}/server.conf")]);
    let options = NatsOptions {
        credentials: Some(format!("{DATA}/user.creds").into()),
        ..none()
    };
    takes(port, &[options.clone(), options]).await;
    refuses(port, none()).await;
}

#[tokio::test]
async fn users_join_by_a_key_or_a_password() {
    let port = free_port();
    let _server = nats_server_on(port, &["-c", &format!("{DATA}/users.conf")]);
    let file = std::fs::read_to_string(format!("{DATA}/user.creds")).unwrap();
    let seed = file.lines().find(|line| line.starts_with("SU")).unwrap();
    let key = NatsOptions {
        nkey: Some(seed.to_owned()),
        ..none()
    };
    let user = |password: &str| NatsOptions {
        user: Some("ann".to_owned()),
        password: Some(password.to_owned()),
        ..none()
    };
    takes(port, &[key, user("secret")]).await;
    refuses(port, user("wrong")).await;
    refuses(port, none()).await;
}

#[tokio::test]
async fn a_token_joins() {
    let port = free_port();
    let _server = nats_server_on(port, &["--auth", "t0ken"]);
    let token = |token: &str| NatsOptions {
        token: Some(token.to_owned()),
        ..none()
    };
    takes(port, &[token("t0ken"), token("t0ken")]).await;
    refuses(port, token("other")).await;
}

/// Before, the client read none of them.
#[tokio::test]
async fn a_user_or_a_token_in_an_address_joins() {
    let config = std::env::temp_dir().join(format!("headcount-{}.conf", std::process::id()));
    let users = r#"authorization { users = [{ user: "zoë", password: "a@b:c/%" }] }"#;
    std::fs::write(&config, users).unwrap();
    let port = free_port();
    let _server = nats_server_on(port, &["-c", config.to_str().unwrap()]);
    let servers =
        format!("nats://127.0.0.1:{port},nats://zo%C3%AB:a%40b%3Ac%2F%25@127.0.0.1:{port}");
    join_at(&servers, none()).await.unwrap();
    let wrong = format!("nats://zo%C3%AB:a%2540b@127.0.0.1:{port}");
    let error = join_at(&wrong, none()).await.unwrap_err();
    assert!(error.contains("authorization violation"), "{error}");
    std::fs::remove_file(config).unwrap();

    let port = free_port();
    let _server = nats_server_on(port, &["--auth", "t0ken"]);
    let servers = |token: &str| format!("nats://{token}@127.0.0.1:{port}");
    join_at(&servers("t0ken"), none()).await.unwrap();
    let error = join_at(&servers("other"), none()).await.unwrap_err();
    assert!(error.contains("authorization violation"), "{error}");
}

/// A root, or a certificate, means TLS: the client does not speak to a server without it.
#[tokio::test]
async fn a_root_refuses_a_server_without_tls() {
    let port = free_port();
    let _server = nats_server_on(port, &[]);
    let options = NatsOptions {
        tls_ca: Some(format!("{DATA}/user.creds").into()),
        ..none()
    };
    join(port, options).await.unwrap_err();
}

#[tokio::test]
async fn options_that_are_of_no_use_are_named() {
    let cases = [
        (
            NatsOptions {
                user: Some("ann".to_owned()),
                ..none()
            },
            "user and password go together",
        ),
        (
            NatsOptions {
                tls_key: Some("key.pem".into()),
                ..none()
            },
            "tls_cert and tls_key go together",
        ),
        (
            NatsOptions {
                credentials: Some("none.creds".into()),
                ..none()
            },
            "credentials: cannot read none.creds: ",
        ),
        (
            NatsOptions {
                tls_ca: Some("none.pem".into()),
                ..none()
            },
            "tls_ca: cannot read none.pem: ",
        ),
        (
            NatsOptions {
                credentials: Some(format!("{DATA}/users.conf").into()),
                ..none()
            },
            "users.conf: ",
        ),
    ];
    for (options, expected) in cases {
        let error = options.read().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(matches!(
        NatsOptions {
            password: Some("secret".to_owned()),
            ..none()
        }
        .read()
        .await,
        Err(NatsOptionsError::Together("user", "password"))
    ));
}

#[test]
fn what_is_printed_has_no_secret_in_it() {
    let secret = Some("s3cret".to_owned());
    let options = NatsOptions {
        user: Some("ann".to_owned()),
        password: secret.clone(),
        token: secret.clone(),
        nkey: secret,
        ..none()
    };
    let printed = format!("{options:?}");
    assert!(
        printed.contains("ann") && !printed.contains("s3cret"),
        "{printed}"
    );
}
