//! Payloads that come, change and go: a client holds those of the list, whatever happened between two ticks.

use std::time::Duration;

use bytes::Bytes;
use headcount::member_list::client::{Client, merge_json};
use headcount::member_list::{Body, BodyFormat, FrameRow, NewMember};
use headcount::{Bodies, GroupId, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
use proptest::prelude::*;

const MEMBERS: u64 = 8;
const WINDOW: &str = "c:0";
const RAW: Bodies<'_, u64> = Bodies::Payloads(BodyFormat::Raw);

#[derive(Debug, Clone)]
enum Step {
    /// Adds a member, with a payload or without, or changes its place.
    Upsert(u64, usize, u8),
    SetPayload(u64, &'static str),
    Remove(u64),
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let payload = prop_oneof![Just(""), Just("{}"), Just(r#"{"note":"Ünï"}"#), Just("[1]")];
    let step = prop_oneof![
        3 => (0..MEMBERS, 0..2usize, 0..4u8).prop_map(|(id, group, key)| Step::Upsert(id, group, key)),
        4 => (0..MEMBERS, payload).prop_map(|(id, payload)| Step::SetPayload(id, payload)),
        2 => (0..MEMBERS).prop_map(Step::Remove),
        2 => Just(Step::Tick),
    ];
    prop::collection::vec(step, 1..80)
}

/// Compares the rows of the client with the list.
fn check(client: &Client<u64>, list: &MemberList<u64>) -> Result<(), TestCaseError> {
    let window = client.window(WINDOW).expect("it is open");
    for row in window.rows() {
        if let FrameRow::Member { id, body, .. } = row {
            let held = body.as_ref();
            let held = held.map(|(Body::Json(bytes) | Body::Raw(bytes))| &bytes[..]);
            let payload = list.get(id).expect("it is there").payload;
            prop_assert_eq!(held.unwrap_or_default(), payload, "of member {}", id);
        }
    }
    prop_assert_eq!(window.rows().len(), list.len());
    Ok(())
}

fn run(format: BodyFormat, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let bodies = || Bodies::Payloads(format);
    let mut list = MemberList::new(ListOptions::default().payloads(true));
    let groups = list.set_groups(&["online", "offline"]).expect("good names");
    let mut viewer = Viewer::new();
    let mut client = Client::new(merge_json);
    let _ = client.open(WINDOW);
    let spec = WindowSpec::Chunk(0);
    let opened = viewer.open(&mut list, spec, bodies()).expect("open");
    let _ = client.apply(&opened);
    let mut now = Duration::ZERO;
    for step in steps.into_iter().chain([Step::Tick]) {
        match step {
            Step::Upsert(id, group, key) => {
                let key = SortKey::from_u64(key.into());
                list.upsert(id, groups[group], &key, 0).expect("room");
            }
            Step::SetPayload(id, payload) => {
                // Refused for one that is not there.
                let _ = list.set_payload(&id, Bytes::from_static(payload.as_bytes()));
            }
            Step::Remove(id) => {
                list.remove(&id);
            }
            Step::Tick => {
                now += Duration::from_millis(250);
                let tick = list.tick(now, bodies());
                if let Some(bundle) = viewer.bundle(&tick) {
                    let report = client.apply(&bundle);
                    prop_assert!(report.resync.is_empty(), "a checksum differs");
                }
                check(&client, &list)?;
            }
        }
    }
    Ok(())
}

/// A list of the members 10 to 39 in one group, with a viewer of one window and its client.
fn watched(window: &str) -> (MemberList<u64>, GroupId, Viewer<u64>, Client<u64>) {
    let mut list = MemberList::new(ListOptions::default().payloads(true));
    let group = list.add_group("online").expect("a good name");
    for id in 10..40 {
        list.upsert(id, group, &SortKey::from_u64(id), 0)
            .expect("room");
    }
    let mut viewer = Viewer::resumable();
    let mut client = Client::new(merge_json);
    let request = client.open(window);
    let spec = WindowSpec::parse(window).expect("a canonical name");
    let opened = viewer.open(&mut list, spec, RAW).expect("open");
    let _ = client.answer(request, &opened);
    let _ = list.tick(Duration::from_secs(1), RAW);
    (list, group, viewer, client)
}

#[test]
fn a_member_that_is_loaded_again_has_its_new_body_where_an_anchor_moves() {
    let (mut list, group, mut viewer, mut client) = watched("a:12:2:2");
    list.remove(&13);
    let member = NewMember {
        id: 13,
        group,
        key: SortKey::from_u64(13),
        attrs: 0,
    };
    list.bulk_load([member]).expect("room");
    list.set_payload(&13, Bytes::from_static(b"new"))
        .expect("payloads");
    list.set_key(&12, &SortKey::from_u64(99)).expect("known");
    let tick = list.tick(Duration::from_secs(2), RAW);
    let _ = client.apply(&viewer.bundle(&tick).expect("a change"));
    let window = client
        .window("a:13:2:2")
        .expect("the next one is the anchor");
    let row = window.rows().iter().find_map(|row| match row {
        FrameRow::Member { id: 13, body, .. } => Some(body.clone()),
        _ => None,
    });
    assert_eq!(row, Some(Some(Body::Raw(Bytes::from_static(b"new")))));
}

#[test]
fn a_client_that_lost_the_last_place_and_counts_hears_of_them() {
    let (mut list, group, mut viewer, mut client) = watched("f:30:2:2");
    for id in 0..5 {
        list.upsert(id, group, &SortKey::from_u64(id), 0)
            .expect("room");
    }
    let lost = list.tick(Duration::from_secs(3), RAW);
    assert!(
        viewer
            .bundle(&lost)
            .is_some_and(|lost| lost.frames.is_empty())
    );
    for second in 4..40 {
        let tick = list.tick(Duration::from_secs(second), RAW);
        if let Some(bundle) = viewer.bundle(&tick) {
            let _ = client.apply(&bundle);
        }
    }
    let window = client.window("f:30:2:2").expect("it is open");
    let rows = client.counts().expect("they were sent").rows;
    let expected = (
        list.index_of(&30).expect("it is there") as u64 - 2,
        list.len() as u64,
    );
    assert_eq!((window.base_index(), rows), expected);
}

proptest! {
    #[test]
    fn a_client_holds_the_payloads_of_the_list(steps in steps()) {
        run(BodyFormat::Json, steps)?;
    }

    #[test]
    fn a_client_holds_payloads_of_plain_bytes(steps in steps()) {
        run(BodyFormat::Raw, steps)?;
    }
}
