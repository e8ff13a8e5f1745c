//! Reads bytes as bundles, and hands the bundles to a client.

use std::sync::Arc;

use headcount::codec::{DecodeError, Envelope, Kind};
use headcount::member_list::client::Client;
use headcount::member_list::{Bundle, BundleFormat, Id};
use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};

use super::{GROWTH, steps, within};
use crate::meter::peak_of;

/// The most rows that a client's window may hold.
const ROWS_MAX: usize = 500;

/// Steps of a choice and bytes: a bundle, or the body of one in either format, for a client that holds
/// windows. The server sent it by itself, or it answers a request, or the first one of a connection.
/// Bytes that are no bundle are refused at an offset within the input; a bundle reads the same after
/// it was written, and leaves the client with usable windows.
pub fn list_frames(data: &[u8]) {
    let (mut client, _) = clients();
    let mut has_moved = false;
    for (choice, bytes) in steps(data) {
        let bytes = match choice % 3 {
            0 => bytes.to_vec(),
            1 => seal(Kind::LIST_BUNDLE, bytes),
            _ => seal(Kind::LIST_BUNDLE_2, bytes),
        };
        read::<u128>(&bytes);
        read::<headcount::member_list::TextId>(&bytes);
        let Some(bundle) = read::<u64>(&bytes) else {
            continue;
        };
        let request = match choice / 3 % 3 {
            0 => None,
            1 => Some(client.request()),
            _ => Some(client.reconnect().0),
        };
        // Another node may be reached by an answer.
        has_moved |= !bundle.epoch.node.is_empty();
        let before: Vec<_> = client
            .windows()
            .map(|(n, w)| (n.clone(), w.clone()))
            .collect();
        let applied = match request {
            Some(request) => client.answer(request, &bundle),
            None => client.apply(&bundle),
        };
        for (name, window) in client.windows() {
            assert!(window.rows().len() <= ROWS_MAX, "{name} has too many rows");
        }
        for (name, window) in &before {
            let now = client.window(name);
            if applied.resync.contains(name) {
                let now = now.expect("a resynced window is held");
                // A client that asks because of another node's bundle has taken nothing of it.
                assert!(
                    now.is_waiting() || has_moved,
                    "{name} does not wait for what it asked for"
                );
                let good = applied.changed.contains(name) && may_be_both(&bundle, name);
                assert!(
                    good || now.rows() == window.rows(),
                    "{name} changed by a frame it refused"
                );
            }
        }
    }
}

/// Returns whether a bundle may change a window and have it resynced: it has several frames for it,
/// or does not name it among its windows, or says another version of it.
fn may_be_both(bundle: &Bundle<u64>, name: &Arc<str>) -> bool {
    let frames = bundle.frames.iter();
    let of_it = frames.filter(|f| f.window == *name || f.renamed.as_ref() == Some(name));
    let said = bundle.windows.iter().find(|held| held.window == *name);
    said.is_none_or(|held| held.version.is_some()) || of_it.count() > 1
}

/// Decodes a bundle, checks the bounds, and writes it again.
fn read<I: Id>(bytes: &[u8]) -> Option<Bundle<I>> {
    let (bundle, peak) = peak_of(|| Bundle::<I>::from_binary(bytes));
    assert!(
        peak <= GROWTH * (bytes.len() + 8),
        "{} bytes cost {peak}",
        bytes.len()
    );
    match bundle {
        Ok(bundle) => {
            let written = bundle.to_binary();
            let again = Bundle::<I>::from_binary(&written).expect("what was written reads");
            assert_eq!(
                bundle.to_json(),
                again.to_json(),
                "it reads otherwise than it was"
            );
            let written = bundle.to_binary_in(BundleFormat::Two);
            let again = Bundle::<I>::from_binary(&written).expect("what was written reads");
            assert_eq!(
                bundle.to_json_in(BundleFormat::Two),
                again.to_json_in(BundleFormat::Two),
                "it reads otherwise in format 2"
            );
            Some(bundle)
        }
        Err(error) => {
            within(bytes, Err::<(), DecodeError>(error));
            None
        }
    }
}

/// Makes a client with two windows, and the bundles that a list sent it: the first are applied.
pub(crate) fn clients() -> (Client<u64>, Vec<Bundle<u64>>) {
    let mut list = MemberList::<u64>::new(ListOptions::default());
    let groups = list.set_groups(&["online", "offline"]).expect("good names");
    for id in 0..6 {
        let key = SortKey::from_u64(id * 7 % 5);
        list.upsert(id, groups[id as usize % 2], &key, id as u32)
            .expect("a known group");
    }
    let mut client = Client::new(|body, patch| [body, patch].concat());
    let mut viewer = Viewer::new();
    let mut sent = Vec::new();
    for name in ["c:0", "a:3:2:2"] {
        let request = client.open(name);
        let spec = WindowSpec::parse(name).expect("a good name");
        let bundle = viewer
            .open(&mut list, spec, Bodies::None)
            .expect("it can be opened");
        let _ = client.answer(request, &bundle);
        sent.push(bundle);
    }
    list.upsert(9, groups[0], &SortKey::from_u64(2), 1)
        .expect("a known group");
    list.set_group(&3, groups[0]).expect("a known member");
    list.remove(&4);
    let tick = list.tick(std::time::Duration::from_secs(2), Bodies::None);
    sent.extend(viewer.bundle(&tick));
    (client, sent)
}

/// Wraps a body in the envelope of a bundle, as `Bundle::to_binary_in` does.
fn seal(kind: Kind, body: &[u8]) -> Vec<u8> {
    Envelope::default().seal(kind, None, body)
}
