//! Decodes bundles from their JSON, as a client in another language does.

use std::sync::Arc;

use bytes::Bytes;
use headcount::member_list::{
    Base, Body, BodyChange, Bundle, Counts, CountsTable, Frame, FrameChange, FrameRow, GroupCount,
    Id, Insert, InsertSource, MemberChange, RowChange, RowUpdate, Shared, TextId,
};
use serde_json::{Map, Value};

/// Applies a patch to a body: top level only, `null` removes.
pub(crate) fn merge(body: &[u8], patch: &[u8]) -> Vec<u8> {
    let mut body: Map<String, Value> = serde_json::from_slice(body).expect("object");
    let patch: Map<String, Value> = serde_json::from_slice(patch).expect("object");
    for (field, value) in patch {
        if value.is_null() {
            body.remove(&field);
        } else {
            body.insert(field, value);
        }
    }
    serde_json::to_vec(&body).expect("an object is JSON")
}

pub(crate) fn bundle<I: Id>(json: &Value) -> Bundle<I> {
    let counts = json
        .get("counts")
        .map(|counts| Arc::new(Shared::new(self::counts(counts))));
    let bases = json.get("bases").map_or(Vec::new(), |bases| {
        items(bases)
            .map(|base| Base {
                window: text(&base["window"]),
                base_index: number(&base["base_index"]),
            })
            .collect()
    });
    let windows = json.get("windows").map(items).into_iter().flatten();
    Bundle {
        list: text(&json["list"]),
        epoch: number(&json["epoch"]),
        version: number(&json["version"]),
        frames: items(&json["frames"])
            .map(|json| Arc::new(Shared::new(frame(json))))
            .collect(),
        counts,
        bases,
        windows: windows.map(text).collect(),
    }
}

pub(crate) fn frame<I: Id>(json: &Value) -> Frame<I> {
    let change = match json["kind"].as_str() {
        Some("sync") => FrameChange::Sync(items(&json["rows"]).map(row).collect()),
        Some("delta") => FrameChange::Delta {
            deletes: items(&json["deletes"]).map(small).collect(),
            inserts: items(&json["inserts"]).map(insert).collect(),
            updates: items(&json["updates"]).map(update).collect(),
        },
        other => panic!("kind {other:?}"),
    };
    let mut frame = Frame::new(text(&json["window"]), change);
    frame.renamed = json.get("renamed").map(text);
    frame.base_version = number(&json["base_version"]);
    frame.new_version = number(&json["new_version"]);
    frame.base_index = number(&json["base_index"]);
    frame.checksum32 = small(&json["checksum32"]);
    frame
}

pub(crate) fn row<I: Id>(json: &Value) -> FrameRow<I> {
    match json.get("group") {
        Some(group) => FrameRow::Header {
            group: text(group),
            count: small(&json["count"]),
        },
        None => FrameRow::Member {
            id: id(&json["id"]),
            revision: small(&json["revision"]),
            attrs: json.get("attrs").map_or(0, small),
            body: json.get("body").map(body),
        },
    }
}

pub(crate) fn counts(json: &Value) -> Counts {
    let flag = |json: &Value, name: &str| json.get(name).is_some_and(|flag| flag == true);
    let table = match json.get("base_version") {
        None => CountsTable::Full(
            items(&json["groups"])
                .map(|group| GroupCount {
                    group: text(&group["group"]),
                    count: small(&group["count"]),
                    hidden: flag(group, "hidden"),
                    collapsed: flag(group, "collapsed"),
                })
                .collect(),
        ),
        Some(base_version) => CountsTable::Delta {
            base_version: number(base_version),
            changed: items(&json["changed"])
                .map(|group| (text(&group["group"]), small(&group["count"])))
                .collect(),
        },
    };
    Counts {
        version: number(&json["version"]),
        rows: number(&json["rows"]),
        members: number(&json["members"]),
        headers: json.get("headers").is_none_or(|headers| headers == true),
        table,
    }
}

fn insert<I: Id>(json: &Value) -> Insert<I> {
    let source = match json.get("row") {
        Some(row) => InsertSource::Row(self::row(row)),
        None => InsertSource::Move {
            id: id(&json["move"]),
            change: change(json),
        },
    };
    Insert {
        index: small(&json["index"]),
        source,
    }
}

fn update(json: &Value) -> RowUpdate {
    let change = match json.get("count") {
        Some(count) => RowChange::Count(small(count)),
        None => RowChange::Member(change(json).expect("a revision")),
    };
    RowUpdate {
        index: small(&json["index"]),
        change,
    }
}

fn change(json: &Value) -> Option<MemberChange> {
    let body = match (json.get("patch"), json.get("body")) {
        (Some(patch), _) => BodyChange::Patch(patch.to_string().into()),
        (_, Some(body)) => BodyChange::Whole(self::body(body)),
        _ => BodyChange::Same,
    };
    let revision = small(json.get("revision")?);
    Some(MemberChange {
        revision,
        attrs: json.get("attrs").map(small),
        body,
    })
}

fn body(json: &Value) -> Body {
    Body::Json(Bytes::from(json.to_string()))
}

fn id<I: Id>(json: &Value) -> I {
    I::parse_text(&text(json)).expect("an id in its text form")
}

fn items(json: &Value) -> std::slice::Iter<'_, Value> {
    json.as_array().expect("an array").iter()
}

fn number(json: &Value) -> u64 {
    json.as_u64().expect("a number")
}

fn small(json: &Value) -> u32 {
    number(json).try_into().expect("32 bits")
}

fn text(json: &Value) -> Arc<str> {
    json.as_str().expect("a string").into()
}

#[test]
fn text_ids_and_odd_names_survive_json() {
    let odd = "a\"b\\c:\u{1F600}é";
    let id = TextId::new(odd).expect("a good id");
    let row = FrameRow::Member {
        id,
        revision: 1,
        attrs: 2,
        body: None,
    };
    let frame = Frame::new(odd.into(), FrameChange::Sync(vec![row]));
    let json = Shared::new(frame.clone()).json();
    let back = self::frame::<TextId>(&serde_json::from_slice(&json).expect("valid JSON"));
    assert_eq!(back, frame);
}
