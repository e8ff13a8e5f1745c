//! Frames into a tracker that has a history.

use headcount::codec::{Envelope, Kind};
use headcount::tracker::{ApplyError, OriginInfo};
use headcount::{Diff, NewEntry, ReplicaId, Tracker};

use super::{GROWTH, SLACK, steps};
use crate::meter::peak_of;

/// Steps of a choice and bytes: a whole frame, or the body of a Delta, of a Repair, or of a Repair
/// that was asked for. A refused step changes nothing and allocates at most twice its bytes; an
/// accepted one leaves a state that another tracker can be brought to.
pub fn apply(data: &[u8]) {
    let mut tracker = seasoned();
    for (choice, bytes) in steps(data) {
        let before = state(&tracker);
        let (result, peak) = peak_of(|| step(&mut tracker, choice, bytes));
        match result {
            Ok(_) => {
                assert!(
                    peak <= GROWTH * (bytes.len() + 64),
                    "{} bytes cost {peak}",
                    bytes.len()
                );
                check(&tracker);
            }
            Err(error) => {
                assert!(
                    peak <= 2 * bytes.len() + SLACK,
                    "{} bytes cost {peak}",
                    bytes.len()
                );
                assert_eq!(
                    before,
                    state(&tracker),
                    "changed by a step refused with {error}"
                );
            }
        }
    }
}

fn step(tracker: &mut Tracker, choice: u8, bytes: &[u8]) -> Result<Diff, ApplyError> {
    match choice % 4 {
        0 => tracker.apply(bytes),
        1 => tracker.apply_delta(bytes),
        2 => tracker.apply_repair(bytes, false),
        _ => tracker.apply_repair(bytes, true),
    }
}

/// Makes a tracker with entries of its own and of another replica, some of them left.
pub(crate) fn seasoned() -> Tracker {
    let mut other = tracker("b");
    let mut here = tracker("a");
    for (at, tracker) in [&mut here, &mut other].into_iter().enumerate() {
        for n in 0..4 {
            let key = format!("user-{n}");
            let owner = format!("conn-{at}");
            tracker
                .track(&NewEntry::new("room", &key, &owner).meta(b"{}"))
                .expect("within limits");
        }
        tracker.untrack("room", "user-2", "conn-0");
        tracker.untrack("room", "user-2", "conn-1");
    }
    let frame = other.delta_since(other.id(), 0).expect("it has entries");
    here.apply(&frame).expect("the frame is sound");
    here
}

/// Makes an empty tracker.
pub(crate) fn tracker(name: &str) -> Tracker {
    Tracker::new(ReplicaId::new(name, 1, 0).expect("a valid id"))
}

/// Checks that the fingerprints cover all content.
fn state(tracker: &Tracker) -> (Vec<OriginInfo>, usize) {
    (tracker.origins().collect(), tracker.len())
}

fn check(tracker: &Tracker) {
    let entries: u32 = tracker.origins().map(|origin| origin.entries).sum();
    assert_eq!(
        entries as usize,
        tracker.len(),
        "the origins have other entries than the table"
    );
    let listed: usize = tracker
        .topics()
        .map(|topic| tracker.list(topic).count())
        .sum();
    assert_eq!(
        listed,
        tracker.len(),
        "the topics list other entries than the table"
    );
    let counted: usize = tracker.topics().map(|topic| tracker.count(topic)).sum();
    assert_eq!(counted, listed, "the counts disagree with the lists");
    for origin in tracker.origins().filter(|origin| origin.clock > 0) {
        let mut mirror = self::tracker("mirror of everything");
        if origin.replica.name() == mirror.id().name() {
            continue;
        }
        let body = tracker
            .full_body(&origin.replica)
            .expect("the origin is known");
        let frame = Envelope::default().seal(Kind::STATE_REPAIR, None, &body);
        mirror
            .apply(&frame)
            .expect("what a tracker serves, another takes");
        let info = mirror
            .origin_info(&origin.replica)
            .expect("it was just applied");
        let ours = (origin.clock, origin.fingerprint);
        let theirs = (info.clock, info.fingerprint);
        assert_eq!(ours, theirs, "a copy of {} differs", origin.replica);
    }
}
