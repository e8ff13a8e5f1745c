//! Tests of the settings.

use std::fs;

use super::*;

#[test]
fn a_short_secret_is_refused_and_none_is_printed() {
    let parse = |secret: &str| Config::load(["headcount-server", "--jwt-secret", secret]);
    let message = parse(&"x".repeat(31)).unwrap_err().to_string();
    assert!(message.contains("31 characters, at least 32"), "{message}");
    let config = parse(&"x".repeat(32)).unwrap();
    assert!(!format!("{config:?}").contains("xxx"));
}

#[test]
fn the_generated_secret_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        data_dir: dir.path().into(),
        jwt_secret: None,
        ..Config::default()
    };
    let first = resolve_secret(&config).unwrap();
    let second = resolve_secret(&config).unwrap();
    assert_eq!(first.as_bytes(), second.as_bytes());
    assert_eq!(first.as_bytes().len(), 64);
}

#[test]
fn a_provider_needs_its_settings_and_https() {
    let parse = |flags: &[&str]| {
        let flags = ["headcount-server"].iter().chain(flags);
        Config::load(flags).map_err(|error| error.to_string())
    };
    let page = ["--public-url", "https://chat.example/app"];
    let client = ["--oidc-client-id", "headcount"];
    let issuer = ["--oidc-issuer", "https://login.example/realm"];
    let config = parse(&[page, client, issuer].concat()).unwrap();
    assert_eq!(
        config.public_url.unwrap().as_str(),
        "https://chat.example/app/"
    );
    assert!(
        parse(&[page, issuer].concat())
            .unwrap_err()
            .contains("--oidc-client-id")
    );
    assert!(
        parse(&[client, issuer].concat())
            .unwrap_err()
            .contains("--public-url")
    );
    let here = ["--oidc-issuer", "http://127.0.0.1:8080"];
    assert!(parse(&[page, client, here].concat()).is_ok());
    for bad in [
        "http://login.example",
        "login.example",
        "ftp://login.example",
        "",
    ] {
        assert!(
            parse(&[page, client, ["--oidc-issuer", bad]].concat()).is_err(),
            "{bad}"
        );
    }
    for bad in [
        "https://chat.example/?a=1",
        "https://chat.example/#a",
        "/app",
    ] {
        assert!(parse(&["--public-url", bad]).is_err(), "{bad}");
    }
    let secret = parse(&["--oidc-client-secret", "hush"]).unwrap();
    assert!(!format!("{secret:?}").contains("hush"));
}

#[test]
fn the_access_to_nats_is_whole() {
    let secret = format!("--jwt-secret={}", "x".repeat(32));
    let base = [
        "headcount-server",
        "--nats=tls://bus",
        "--database=postgres://db/chat",
        &secret,
    ];
    let parse = |flags: &[&str]| {
        let given = base.iter().chain(flags);
        Config::load(given).map_err(|error| error.to_string())
    };
    let config = parse(&[
        "--nats-tls-cert=a.pem",
        "--nats-tls-key=b.pem",
        "--nats-tls-first",
    ]);
    let options = config.unwrap().nats_access.options();
    assert_eq!(options.tls_key, Some("b.pem".into()));
    assert!(options.tls_first && options.tls_ca.is_none());
    let message = parse(&["--nats-tls-cert=a.pem"]).unwrap_err();
    assert!(message.contains("--nats-tls-key"), "{message}");
    let alone = Config::load(["headcount-server", "--nats-credentials=a.creds"]);
    let message = alone.unwrap_err().to_string();
    assert!(
        message.contains("--nats-credentials needs --nats"),
        "{message}"
    );
    let about = Config::command().get_about().unwrap().to_string();
    assert!(about.contains("chat server"), "{about}");
}

#[test]
fn the_key_of_a_cluster_is_long_goes_with_nats_and_is_not_printed() {
    let long = "k".repeat(32);
    let secret = format!("--jwt-secret={}", "x".repeat(32));
    let nats = ["--nats=bus", "--database=postgres://db/chat", &secret];
    let parse = |key: &str, more: &[&str]| {
        let key = ["headcount-server", "--cluster-key", key];
        Config::load(key.iter().chain(more)).map_err(|error| error.to_string())
    };
    let config = parse(&long, &nats).unwrap();
    assert!(!format!("{config:?}").contains("kkk"));
    let short = parse(&"k".repeat(31), &nats).unwrap_err();
    assert!(short.contains("--cluster-key") && short.contains("31 characters, at least 32"));
    assert!(!short.contains("kkk"), "{short}");
    let alone = parse(&long, &[]).unwrap_err();
    assert!(alone.contains("--cluster-key needs --nats"), "{alone}");
}

#[test]
fn a_locale_is_one() {
    let parse = |locale: &str| Config::try_parse_from(["headcount-server", "--locale", locale]);
    assert!(parse("de-u-co-phonebk").is_ok());
    let message = parse("not a locale").unwrap_err().to_string();
    assert!(
        message.contains("--locale") && message.contains("not a locale"),
        "{message}"
    );
}

#[test]
fn demo_has_a_limit() {
    assert!(Config::try_parse_from(["headcount-server", "--demo", "1000001"]).is_err());
}

/// What only looked for the file already asked for all that a flag needs.
#[test]
fn a_setting_and_what_it_needs_may_come_from_different_places() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.toml");
    let secret = "x".repeat(32);
    let load = |settings: &str, flags: &[&str]| {
        fs::write(&file, settings).unwrap();
        let start = ["headcount-server", "--config", file.to_str().unwrap()];
        let config = Config::load(start.iter().chain(flags));
        config.map_err(|error| error.to_string())
    };
    let database = "--database=postgres://db/chat";
    let jwt = format!("jwt-secret = '{secret}'\n");
    let webhook = format!("webhook-secret = '{secret}'\n");
    let client = "public-url = 'https://chat.example'\noidc-client-id = 'headcount'\n";
    for (settings, flags) in [
        (&*webhook, &["--webhook=https://site.example/"][..]),
        (&jwt, &[database]),
        (&jwt, &[database, "--nats=bus", "--demo=0"]),
        (client, &["--oidc-issuer=https://login.example"]),
        (
            "nats-tls-cert = 'a.pem'\nnats-tls-key = 'b.pem'\n",
            &[database, "--nats=bus", &format!("--jwt-secret={secret}")],
        ),
    ] {
        load(settings, flags).unwrap();
    }
    for (settings, flags, reason) in [
        (
            "",
            &["--webhook=https://site.example/"][..],
            "--webhook needs --webhook-secret",
        ),
        ("", &[database], "--database needs --jwt-secret"),
        (&jwt, &["--nats=bus"], "--nats needs --database"),
        (&jwt, &[database, "--nats=bus", "--demo=1"], "--demo"),
        (
            &jwt,
            &[database, "--database-max-mib=9"],
            "--database-max-mib",
        ),
    ] {
        let message = load(settings, flags).unwrap_err();
        assert!(message.contains(reason), "{message}");
    }
}
