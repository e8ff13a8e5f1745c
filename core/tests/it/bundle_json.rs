//! Bundles read from JSON: what was written is read, and a bundle with any fault is refused whole.

use headcount::codec::DecodeErrorKind;
use headcount::member_list::client::{Client, merge_json};
use headcount::member_list::{Bundle, Frame, FrameChange, FrameRow, Shared, TextId};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::sources;

fn read(json: &Value) -> Result<Bundle<TextId>, headcount::codec::DecodeError> {
    Bundle::from_json(json.to_string().as_bytes())
}

/// Returns a bundle with everything that a page may have.
fn rich() -> Value {
    json!({
        "list": "room:7", "epoch": 1, "version": 9,
        "frames": [
            {"window": "c:0", "base_version": 0, "new_version": 9, "base_index": 0, "checksum32": 7, "kind": "sync",
             "rows": [{"group": "on\"line", "count": 1},
                      {"id": "7", "revision": 1, "attrs": 2, "body": {"a": [null]}}]},
            {"window": "c:1", "renamed": "a:7:1:1", "base_version": 4, "new_version": 9, "base_index": 100,
             "checksum32": 8, "kind": "delta", "deletes": [3, 1],
             "inserts": [{"index": 1, "move": "9"}, {"index": 2, "move": "8", "revision": 3, "patch": {"a": null}},
                         {"index": 3, "row": {"group": "off", "count": 0}}],
             "updates": [{"index": 0, "count": 4}, {"index": 4, "revision": 2, "attrs": 0, "body": null}]},
        ],
        "counts": {"version": 9, "rows": 2, "members": 1, "headers": false,
                   "groups": [{"group": "on\"line", "count": 1, "hidden": true, "collapsed": true}]},
        "bases": [{"window": "c:2", "base_index": 200}],
        "windows": ["c:0", "a:7:1:1", "c:2"],
    })
}

#[test]
fn what_was_written_is_read() {
    let bundle = read(&rich()).expect("a bundle");
    let written: Value = serde_json::from_slice(&bundle.to_json()).expect("valid JSON");
    assert_eq!(written, rich());
    assert_eq!(Bundle::from_binary(&bundle.to_binary()), Ok(bundle));
}

#[test]
fn text_ids_and_odd_names_survive_json() {
    let odd = "a\"b\\c:\u{1F600}é";
    let row = FrameRow::Member {
        id: TextId::new(odd).expect("a good id"),
        revision: 1,
        attrs: 2,
        body: None,
    };
    let frame = Frame::new(odd.into(), FrameChange::Sync(vec![row]));
    let mut bundle = read(&rich()).expect("a bundle");
    bundle.frames = vec![Shared::new(frame).into()];
    assert_eq!(Bundle::from_json(&bundle.to_json()), Ok(bundle));
}

#[test]
fn any_missing_or_mistyped_field_refuses_the_whole_bundle() {
    let optional = [
        "renamed",
        "attrs",
        "body",
        "patch",
        "counts",
        "headers",
        "hidden",
        "collapsed",
        "bases",
        "windows",
    ];
    let mut refused = 0;
    for path in paths(&rich(), "") {
        let (parent, name) = path.rsplit_once('/').expect("a path begins with a slash");
        let mut without = rich();
        if let Some(Value::Object(fields)) = without.pointer_mut(parent) {
            fields.remove(name);
            let may_lack = optional.contains(&name) || is_in_body(&path);
            assert_eq!(read(&without).is_ok(), may_lack, "without {path}");
        }
        for wrong in [
            json!(-1),
            json!(1.5),
            json!(true),
            json!("\u{1}"),
            json!([[1]]),
        ] {
            let mut bundle = rich();
            let value = bundle
                .pointer_mut(&path)
                .expect("the path is of this bundle");
            let same_kind = matches!((&*value, &wrong), (Value::String(_), Value::String(_)))
                && !matches!(name, "id" | "move" | "kind");
            let same_kind = same_kind || (value.is_boolean() && wrong.is_boolean());
            *value = wrong;
            if !is_in_body(&path) && !same_kind && !matches!(parent, "/windows") {
                assert!(read(&bundle).is_err(), "{path}: {bundle}");
                refused += 1;
            }
        }
    }
    assert!(refused > 150, "{refused}");
}

/// Returns the text of the good bundle of the vectors with one of their faults.
fn faulty(good: &Value, fault: &Value) -> String {
    let mut bundle = good.clone();
    let at = fault["at"].as_str().expect("a path");
    let (holder, field) = at.rsplit_once('/').expect("a path begins with a slash");
    let holder = bundle.pointer_mut(holder).expect("a part of the bundle");
    let value = match fault["nested"] {
        Value::Null => fault["value"].clone(),
        _ => json!("NESTED"),
    };
    match holder {
        Value::Object(fields) if fault["is"] == "missing" => drop(fields.remove(field)),
        Value::Object(fields) => drop(fields.insert(field.into(), value)),
        items => items[field.parse::<usize>().expect("a position")] = value,
    }
    let depth = fault["nested"].as_u64().unwrap_or_default() as usize;
    let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    bundle.to_string().replacen("\"NESTED\"", &nested, 1)
}

#[test]
fn the_malformed_bundles_of_all_clients_are_refused_whole() {
    let file = sources::root().join("core/tests/golden/malformed-bundles/refused.json");
    let vectors: Value = serde_json::from_str(&sources::read(&file)).expect("JSON");
    let good = &vectors["good"];
    assert!(read(good).is_ok());
    let refused = vectors["refused"].as_array().expect("the faults");
    assert!(refused.len() >= 88);
    let is_taken = |fault: &&Value| {
        let text = faulty(good, fault);
        Bundle::<TextId>::from_json(text.as_bytes()).is_ok()
    };
    let taken: Vec<_> = refused.iter().filter(is_taken).collect();
    assert!(taken.is_empty(), "{taken:#?}");
}

/// Returns whether a path leads to a body or into a patch, where any value may be.
fn is_in_body(path: &str) -> bool {
    path.contains("/body") || path.contains("/patch/")
}

fn paths(value: &Value, prefix: &str) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(n, v)| (n.clone(), v)).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(n, v)| (n.to_string(), v))
            .collect(),
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for (name, child) in children {
        let path = format!("{prefix}/{name}");
        found.extend(paths(child, &path));
        found.push(path);
    }
    found
}

#[test]
fn more_than_the_limits_allow_is_refused() {
    let over = |path: &str, item: Value, allowed: usize| {
        let mut bundle = rich();
        for (count, fits) in [
            (allowed, true),
            (allowed + 1, false),
            (100 * allowed, false),
        ] {
            *bundle.pointer_mut(path).expect("a field of the bundle") =
                vec![item.clone(); count].into();
            let outcome = read(&bundle);
            assert_eq!(outcome.is_ok(), fits, "{count} of {path}");
            if let Err(error) = outcome {
                assert!(error.to_string().contains(&allowed.to_string()), "{error}");
            }
        }
    };
    over("/windows", json!("c:0"), 8);
    over("/bases", json!({"window": "c:2", "base_index": 200}), 64);
    over("/frames", rich()["frames"][1].clone(), 64);
    over("/frames/0/rows", json!({"group": "g", "count": 1}), 500);
    over("/frames/1/deletes", json!(1), 500);
    over("/counts/groups", json!({"group": "g", "count": 1}), 4096);
}

#[test]
fn deep_values_are_refused_and_end_no_stack() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let within = |field: &str, depth: usize| {
        let marker = json!("HERE");
        let mut bundle = rich();
        *bundle.pointer_mut(field).expect("a field of the bundle") = marker;
        let text = bundle.to_string().replacen("\"HERE\"", &deep(depth), 1);
        Bundle::<TextId>::from_json(text.as_bytes())
    };
    let body = "/frames/0/rows/1/body";
    assert!(within(body, 128).is_ok());
    assert!(within(body, 129).is_err());
    for field in [
        body,
        "/frames/0/rows/1/id",
        "/frames",
        "/windows/0",
        "/counts",
    ] {
        assert!(within(field, 200_000).is_err(), "{field}");
    }
    let text = rich()
        .to_string()
        .replacen('{', &format!("{{\"new\":{},", deep(200_000)), 1);
    assert!(
        Bundle::<TextId>::from_json(text.as_bytes()).is_ok(),
        "a field of a newer server"
    );
}

#[test]
fn an_error_says_what_and_where() {
    let fault = |text: &str| Bundle::<u64>::from_json(text.as_bytes()).expect_err(text);
    let error = fault("{\n \"list\": \"\", \"epoch\": -1}");
    assert_eq!(error.offset, 25);
    assert!(matches!(error.kind, DecodeErrorKind::Json { .. }));
    assert!(error.to_string().contains("-1"), "{error}");
    assert_eq!(fault("{\"list\":").kind, DecodeErrorKind::Truncated);
    assert!(fault("{}").to_string().contains("`list`"));
    assert!(fault("{} {}").offset <= 5);
    assert!(Bundle::<u64>::from_json(b"\xff").is_err());
}

#[test]
fn a_patch_is_laid_over_a_body() {
    let merged = |body: &str, patch: &str| {
        String::from_utf8(merge_json(body.as_bytes(), patch.as_bytes())).expect("UTF-8")
    };
    assert_eq!(
        merged(r#"{"a":1,"b":[2]}"#, r#"{"b":{"x":null},"c":"é\n"}"#),
        r#"{"a":1,"b":{"x":null},"c":"é\n"}"#
    );
    assert_eq!(
        merged(r#"{"a":1, "b":2}"#, r#"{"a":null,"z":null}"#),
        r#"{"b":2}"#
    );
    assert_eq!(merged(r#"{"\u0061":1}"#, r#"{"a":2}"#), r#"{"a":2}"#);
    assert_eq!(merged("[1]", r#"{"a":1}"#), r#"{"a":1}"#);
}

proptest! {
    #[test]
    fn damage_is_an_error_or_another_bundle(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        spare in any::<bool>(),
    ) {
        let mut json = rich().to_string().into_bytes();
        for (at, byte) in damage {
            let at = at.index(json.len());
            json[at] = if spare { b"0129{}[]\","[byte as usize % 10] } else { byte };
        }
        match Bundle::<TextId>::from_json(&json) {
            Err(error) => prop_assert!(error.offset <= json.len()),
            Ok(bundle) => {
                let mut client = Client::new(merge_json);
                for frame in &bundle.frames {
                    let _ = client.open(&frame.window);
                }
                let _ = client.apply(&bundle);
                let again = Bundle::<TextId>::from_json(&bundle.to_json());
                prop_assert_eq!(again.as_ref(), Ok(&bundle));
                // Positions out of order are no reason to panic.
                let _ = Bundle::<TextId>::from_binary(&bundle.to_binary());
            }
        }
    }
}
