//! Payloads that come, change and go: a client holds those of the list, whatever happened between two ticks.

use std::time::Duration;

use bytes::Bytes;
use headcount::member_list::client::{Client, merge_json};
use headcount::member_list::{Body, BodyFormat, FrameRow};
use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
use proptest::prelude::*;

const MEMBERS: u64 = 8;
const WINDOW: &str = "c:0";

#[derive(Debug, Clone)]
enum Step {
    /// Adds a member, with a payload or without, or changes its place.
    Upsert(u64, usize, u8),
    SetPayload(u64, &'static str),
    Remove(u64),
    /// Ends the turn; the viewer takes the bundle, or leaves it out.
    Tick(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let payload = prop_oneof![Just(""), Just("{}"), Just(r#"{"note":"Ünï"}"#), Just("[1]")];
    let step = prop_oneof![
        3 => (0..MEMBERS, 0..2usize, 0..4u8).prop_map(|(id, group, key)| Step::Upsert(id, group, key)),
        4 => (0..MEMBERS, payload).prop_map(|(id, payload)| Step::SetPayload(id, payload)),
        2 => (0..MEMBERS).prop_map(Step::Remove),
        2 => any::<bool>().prop_map(Step::Tick),
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
    let (mut viewer, mut client) = (Viewer::new(), Client::new(merge_json));
    client.open(WINDOW);
    let spec = WindowSpec::Chunk(0);
    let opened = viewer
        .open(&mut list, spec.clone(), bodies())
        .expect("open");
    client.apply(&opened);
    let mut now = Duration::ZERO;
    for step in steps.into_iter().chain([Step::Tick(true)]) {
        match step {
            Step::Upsert(id, group, key) => {
                let key = SortKey::from_u64(key.into());
                list.upsert(id, groups[group], &key, 0).expect("room");
            }
            Step::SetPayload(id, payload) => {
                // Nobody who is not there has one.
                let _ = list.set_payload(&id, Bytes::from_static(payload.as_bytes()));
            }
            Step::Remove(id) => {
                list.remove(&id);
            }
            Step::Tick(is_taken) => {
                now += Duration::from_millis(250);
                let tick = list.tick(now, bodies());
                if is_taken && let Some(bundle) = viewer.bundle(&tick) {
                    let report = client.apply(&bundle);
                    prop_assert!(report.resync.is_empty(), "a checksum differs");
                }
                if is_taken {
                    check(&client, &list)?;
                }
            }
        }
    }
    Ok(())
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
