//! The feature `serde`: what goes into JSON, or a binary format, comes back the same; nonsense does
//! not.

use std::fmt::Debug;
use std::time::Duration;

use headcount::id::{Dot, EntryRef, Origin};
use headcount::member_list::{Bundle, IntId, RowKey, TextId};
use headcount::tracker::{Encoding, Key, VersionVector};
use headcount::{
    Bodies, Diff, EntryBuf, GroupId, ListOptions, MemberList, NewEntry, ReplicaId, SortKey,
    SortedSet, Status, Tracker, Viewer, WindowSpec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Writes and reads a value in both kinds of formats. Returns its JSON.
fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Value {
    let text = serde_json::to_string(value).expect("every value is JSON");
    let read: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(read, *value, "{text}");
    let bytes = postcard::to_stdvec(value).expect("every value is bytes");
    let read: T = postcard::from_bytes(&bytes).expect("its own bytes");
    assert_eq!(read, *value);
    serde_json::from_str(&text).expect("JSON")
}

fn refused<T: DeserializeOwned + Debug>(value: &Value, what: &str) {
    let error = serde_json::from_value::<T>(value.clone()).expect_err("it breaks a rule");
    assert!(error.to_string().contains(what), "{value}: {error}");
}

/// A diff with joins, updates and leaves, of texts, bytes and terms.
fn diff() -> Diff {
    let mut tracker = Tracker::new(ReplicaId::new("a", 7, 9).unwrap());
    let text = NewEntry::new("room", "ann", "conn-1").meta(br#"{"on":"phone"}"#);
    let bytes = NewEntry::bytes("room", &[0, 255], &[254], Encoding::Bytes).meta(&[200]);
    let term = NewEntry::bytes("hall", &[131, 97, 7], b"pid", Encoding::Term).status(3);
    for put in [&text, &bytes, &term] {
        tracker.track(put).unwrap();
    }
    let first = tracker.take_diff();
    assert_eq!(there_and_back(&first)["topics"][0]["topic"], "hall");
    tracker.update(&text.meta(b"away")).unwrap();
    assert!(tracker.untrack("hall", Key::new(Encoding::Term, &[131, 97, 7]), b"pid"));
    tracker.take_diff()
}

#[test]
fn ids_come_back_as_they_were() {
    let replica = ReplicaId::new("chat-1", 1_700_000_000_000_000, u32::MAX).unwrap();
    let written = there_and_back(&replica);
    let expected =
        json!({"name": "chat-1", "incarnation": 1_700_000_000_000_000_u64, "salt": u32::MAX});
    assert_eq!(written, expected);
    let origin = Origin {
        replica,
        partition: 0,
    };
    there_and_back(&origin);
    let entry_ref = EntryRef {
        origin: origin.clone(),
        version: 3,
    };
    there_and_back(&entry_ref);
    there_and_back(&VersionVector::from_iter([(origin.clone(), 5)]));
    there_and_back(&Dot { origin, birth: 1 });
    assert_eq!(there_and_back(&GroupId(4)), 4);
    assert_eq!(there_and_back(&SortKey::from_name("Zoë")), "zoë");
    assert_eq!(
        there_and_back(&SortKey::raw(&[255, 0]).unwrap()),
        json!([255, 0])
    );
    assert_eq!(there_and_back(&TextId::new("ann").unwrap()), "ann");
    assert_eq!(there_and_back(&IntId::from(i64::MIN)), i64::MIN);
    assert_eq!(there_and_back(&IntId::from(u64::MAX)), u64::MAX);
    assert_eq!(
        there_and_back(&WindowSpec::anchored(77_u64, 50, 49)),
        "a:77:50:49"
    );
    assert_eq!(there_and_back(&SortedSet::from([2, 1])), json!([1, 2]));
    assert_eq!(there_and_back(&Status::Dnd), "dnd");
    there_and_back(&RowKey::Member(u128::MAX));
}

#[test]
fn entries_and_diffs_come_back_as_they_were() {
    let diff = diff();
    let written = there_and_back(&diff);
    let update = &written["topics"][1]["updates"][0];
    assert_eq!(update["old"]["meta"], r#"{"on":"phone"}"#);
    assert_eq!(update["new"]["previous"], update["old"]["version"]);
    let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0).unwrap());
    tracker.track(&NewEntry::new("room", "ann", "c")).unwrap();
    let entry = tracker.list("room").next().unwrap();
    let mut borrowed = serde_json::to_value(entry).unwrap();
    let owned = there_and_back(&entry.to_buf());
    let topic = borrowed.as_object_mut().unwrap().remove("topic");
    assert_eq!((topic, borrowed), (Some(json!("room")), owned));
}

#[test]
fn rows_and_frames_come_back_as_they_were() {
    let mut list = MemberList::<u64>::new(ListOptions::default().payloads(true));
    let online = list.add_group("online").unwrap();
    let mut viewer = Viewer::new();
    let window = WindowSpec::Chunk(0);
    there_and_back::<Bundle<u64>>(&viewer.open(&mut list, window, Bodies::None).unwrap());
    for (id, name) in [(7, "ada"), (9, "bob"), (11, "cid")] {
        list.upsert(id, online, &SortKey::from_name(name), 0)
            .unwrap();
    }
    let first = list.tick(Duration::from_secs(1), Bodies::None);
    there_and_back(&viewer.bundle(&first).expect("three rows have come"));
    list.set_key(&7, &SortKey::from_name("zoe")).unwrap();
    list.set_attrs(&9, 1).unwrap();
    list.remove(&11);
    let second = list.tick(Duration::from_secs(2), Bodies::None);
    let written = there_and_back(&viewer.bundle(&second).expect("rows have changed"));
    assert!(written["frames"][0]["change"]["delta"]["deletes"].is_array());
    let rows = serde_json::to_value(list.slice(..2).collect::<Vec<_>>()).unwrap();
    let header = json!({"header": {"group": 0, "name": "online", "count": 2}});
    assert_eq!((&rows[0], &rows[1]["member"]["id"]), (&header, &json!(9)));
}

#[test]
fn what_the_constructors_refuse_is_refused() {
    let replica = json!({"name": "a", "incarnation": 1, "salt": 0});
    refused::<ReplicaId>(&json!({"name": "", "incarnation": 1, "salt": 0}), "empty");
    refused::<ReplicaId>(
        &json!({"name": "x".repeat(65), "incarnation": 1, "salt": 0}),
        "65 bytes",
    );
    refused::<ReplicaId>(
        &json!({"name": "a", "incarnation": 1_u64 << 62, "salt": 0}),
        "2^62",
    );
    refused::<Origin>(&json!({"replica": replica, "partition": 65_536}), "65536");
    let origin = json!({"replica": replica, "partition": 1});
    refused::<Dot>(&json!({"origin": origin, "birth": 1_u64 << 62}), "2^62");
    refused::<SortKey>(&json!("x".repeat(65)), "65");
    refused::<TextId>(&json!("a\nb"), "control");
    refused::<IntId>(&json!(1e30), "i128");
    refused::<WindowSpec<u64>>(&json!("a:77:50:4900"), "rows");
    refused::<Status>(&json!("gone"), "gone");
}

#[test]
fn entries_and_diffs_that_no_tracker_writes_are_refused() {
    let good = serde_json::to_value(diff()).unwrap();
    let entry = good["topics"][1]["updates"][0]["new"].clone();
    serde_json::from_value::<EntryBuf>(entry.clone()).unwrap();
    let with = |field: &str, value: Value| {
        let mut entry = entry.clone();
        entry[field] = value;
        entry
    };
    refused::<EntryBuf>(&with("key", json!([255])), "UTF-8");
    refused::<EntryBuf>(&with("key", json!("x".repeat(65_536))), "key");
    refused::<EntryBuf>(&with("owner", json!("x".repeat(256))), "owner");
    refused::<EntryBuf>(&with("birth", json!(0)), "birth");
    refused::<EntryBuf>(&with("version", json!(1_u64 << 62)), "2^62");
    refused::<EntryBuf>(&with("previous", entry["version"].clone()), "previous");
    let mut unsorted = good;
    unsorted["topics"].as_array_mut().unwrap().reverse();
    refused::<Diff>(&unsorted, "sorted");
    let empty = json!({"topic": "x", "joins": [], "leaves": [], "updates": []});
    refused::<Diff>(
        &json!({"topics": [empty], "is_lossy": false}),
        "without changes",
    );
}
