//! The feature `serde`: what goes into JSON, or a binary format, comes back the same; nonsense does
//! not.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use headcount::id::{Dot, EntryRef, Origin};
use headcount::member_list::{Bundle, Id, IntId, RowKey, TextId};
use headcount::roster::RosterChange;
use headcount::tracker::{Encoding, Key, VersionVector};
use headcount::{
    Bodies, Diff, EntryBuf, GroupId, ListOptions, MemberList, NewEntry, ReplicaId, SortKey,
    SortedSet, Status, Tracker, Viewer, WindowSpec,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A message that is read by its tag: serde holds its fields back until it knows the tag.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged<T> {
    Is { value: T },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<T> {
    Flag(bool),
    Is { value: T },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Inner<T> {
    value: T,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flattened<T> {
    note: u8,
    #[serde(flatten)]
    inner: Inner<T>,
}

fn through_json<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Value {
    let text = serde_json::to_string(value).expect("every value is JSON");
    let read: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(read, *value, "{text}");
    let tree = serde_json::to_value(value).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), tree);
    let read: T =
        serde_json::from_value(tree.clone()).unwrap_or_else(|error| panic!("{tree}: {error}"));
    assert_eq!(read, *value, "{text}");
    tree
}

/// Writes and reads a value in both kinds of formats, and inside of types for which serde holds it
/// back. Returns its JSON.
fn there_and_back<T>(value: &T) -> Value
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Clone,
{
    let json = through_json(value);
    let own = || value.clone();
    through_json(&Tagged::Is { value: own() });
    through_json(&Untagged::Is { value: own() });
    let inner = Inner { value: own() };
    through_json(&Flattened { note: 7, inner });
    let bytes = postcard::to_stdvec(value).expect("every value is bytes");
    let read: T = postcard::from_bytes(&bytes).expect("its own bytes");
    assert_eq!(read, *value);
    json
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
    let by_id = HashMap::from([(IntId::from(-7_i64), 1), (IntId::from(u64::MAX), 2)]);
    assert_eq!(there_and_back(&by_id)["-7"], 1);
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

/// Puts all that a list writes through the formats. `ids` are three ids, and the JSON of the second.
fn rows_and_frames<I>(ids: [I; 3], second_json: &Value)
where
    I: Id + Serialize + DeserializeOwned,
{
    let mut list = MemberList::<I>::new(ListOptions::default().payloads(true));
    let online = list.add_group("online").unwrap();
    let mut viewer = Viewer::new();
    let window = WindowSpec::Chunk(0);
    there_and_back::<Bundle<I>>(&viewer.open(&mut list, window, Bodies::None).unwrap());
    for (id, name) in ids.iter().zip(["ada", "bob", "cid"]) {
        list.upsert(id.clone(), online, &SortKey::from_name(name), 0)
            .unwrap();
    }
    let first = list.tick(Duration::from_secs(1), Bodies::None);
    there_and_back(&viewer.bundle(&first).expect("three rows have come"));
    list.set_key(&ids[0], &SortKey::from_name("zoe")).unwrap();
    list.set_attrs(&ids[1], 1).unwrap();
    list.remove(&ids[2]);
    let second = list.tick(Duration::from_secs(2), Bodies::None);
    let written = there_and_back(&viewer.bundle(&second).expect("rows have changed"));
    assert!(written["frames"][0]["change"]["delta"]["deletes"].is_array());
    let header = json!({"header": {"group": 0, "name": "online", "count": 2}});
    assert_eq!(serde_json::to_value(list.row_at(0)).unwrap(), header);
    let row = serde_json::to_value(list.row_at(1)).unwrap();
    assert_eq!(row["member"]["id"], *second_json);
    let member = serde_json::to_value(list.get(&ids[1])).unwrap();
    assert_eq!(member["id"], *second_json);
    for id in ids {
        let anchored = WindowSpec::anchored(id.clone(), 50, 49);
        assert_eq!(
            there_and_back(&anchored),
            format!("a:{}:50:49", id.to_text())
        );
        let change = RosterChange {
            id: id.clone(),
            old: Status::Offline,
            new: Status::Idle,
        };
        there_and_back(&change);
        there_and_back(&RowKey::Member(id));
    }
}

#[test]
fn rows_and_frames_come_back_as_they_were() {
    rows_and_frames([7_u64, 9, u64::MAX], &json!(9));
    let uuid = 0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8_u128;
    let text = json!("67e55044-10b1-426f-9247-bb680e5fe0c8");
    rows_and_frames([0, uuid, u128::MAX], &text);
    let integers = [i64::MIN, -9].map(IntId::from);
    rows_and_frames([integers[0], integers[1], u64::MAX.into()], &json!(-9));
    let texts = ["ada", "bob", "9"].map(|text| TextId::new(text).unwrap());
    rows_and_frames(texts, &json!("bob"));
}

#[test]
fn a_uuid_is_16_bytes_in_a_binary_format() {
    let key = RowKey::Member(0x0102_u128);
    let bytes = postcard::to_stdvec(&key).unwrap();
    let mut expected = [0; 18];
    // The variant, the length, the bytes from the highest on.
    (expected[0], expected[1], expected[16], expected[17]) = (1, 16, 1, 2);
    assert_eq!(bytes, expected);
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
    refused::<IntId>(&json!(1e30), "2^64");
    refused::<IntId>(&json!("07"), "2^64");
    refused::<RowKey<u128>>(&json!({"member": 7}), "UUID");
    refused::<RowKey<u128>>(&json!({"member": "7"}), "UUID");
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
