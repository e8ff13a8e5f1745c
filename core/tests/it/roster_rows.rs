//! The parts of rows that a roster writes, the sessions that it refuses, and its memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use allocation_counter::measure;
use headcount::roster::{OfflinePolicy, RosterError, RosterReport};
use headcount::{
    EntryBuf, GroupId, ListOptions, MemberList, NewEntry, Placement, ReplicaId, Roster,
    RosterOptions, SortKey, Status, Tracker,
};

const ROOM: &str = "room";

/// A list with one group, and a roster that puts each session there, as `place` says.
fn roster_of(
    options: RosterOptions,
    place: impl Fn(&EntryBuf, Placement) -> Result<Placement, String> + Send + Sync + 'static,
) -> (Roster<u64>, GroupId) {
    let mut list = MemberList::<u64>::new(ListOptions::default().payloads(true));
    let group = list.add_group("online").expect("a good name");
    let mapping = move |entry: &EntryBuf| {
        let placement = Placement::new(Status::of_session(entry.status()));
        place(entry, placement.group(group).key(SortKey::from_u64(1)))
    };
    (Roster::new(list, options, mapping), group)
}

fn tracker() -> Tracker {
    Tracker::new(ReplicaId::new("a", 1, 0).expect("a good name"))
}

fn apply(roster: &mut Roster<u64>, tracker: &mut Tracker, now: u64) -> RosterReport<u64> {
    let diff = tracker.take_diff();
    roster.apply(diff.topic(ROOM).expect("changes"), now)
}

fn put(tracker: &mut Tracker, user: &str, session: &str, status: Status, meta: &[u8]) {
    let entry = NewEntry::new(ROOM, user, session).meta(meta);
    let entry = entry.status(status as u8);
    tracker.upsert(&entry).expect("tracked");
}

#[test]
fn the_roster_writes_its_own_bits_and_no_others() {
    let options = RosterOptions::default().status_bits(0b11);
    let (mut roster, group) = roster_of(options, |entry, placement| {
        Ok(placement.bits(u32::from(entry.status())))
    });
    let mut tracker = tracker();
    put(&mut tracker, "7", "s", Status::Idle, b"");
    let _ = apply(&mut roster, &mut tracker, 1);
    roster.list_mut().set_attrs(&7, 0b101).expect("a row");
    put(&mut tracker, "7", "s", Status::Dnd, b"");
    let _ = apply(&mut roster, &mut tracker, 2);
    assert_eq!(roster.list().get(&7).map(|row| row.attrs), Some(0b110));
    // A bit outside of the mask refuses its session, and no other.
    put(&mut tracker, "7", "t", Status::Online, b"");
    let list = roster.into_list();
    let key = SortKey::from_u64(2);
    let mut roster = Roster::new(list, RosterOptions::default(), move |entry| {
        let placement = Placement::new(Status::Online).group(group).key(key);
        placement.bits(u32::from(entry.owner() == b"t"))
    });
    let entries: Vec<_> = tracker.list(ROOM).map(|entry| entry.to_buf()).collect();
    let report = roster.reset(&entries, 3);
    let reason = RosterError::BitsNotOwned {
        bits: 1,
        status_bits: 0,
    };
    assert_eq!(report.refused, [(7, reason)]);
    assert_eq!(report.changes.len(), 1);
    assert_eq!(roster.list().get(&7).map(|row| row.attrs), Some(0b110));
}

#[test]
fn going_offline_clears_the_bits_of_the_roster_and_keeps_the_others() {
    let mut list = MemberList::<u64>::new(ListOptions::default());
    let groups = list.set_groups(&["on", "off"]).expect("two groups");
    let options = RosterOptions::default().status_bits(1);
    let options = options.offline(OfflinePolicy::Keep(groups[1]));
    let mut roster = Roster::new(list, options, move |_| {
        let placement = Placement::new(Status::Online).group(groups[0]).bits(1);
        placement.key(SortKey::from_u64(1))
    });
    let mut tracker = tracker();
    put(&mut tracker, "7", "s", Status::Online, b"");
    let _ = apply(&mut roster, &mut tracker, 1);
    roster.list_mut().set_attrs(&7, 0b1001).expect("a row");
    let revision = roster.list().get(&7).expect("a row").revision;
    tracker.untrack(ROOM, "7", "s");
    let _ = apply(&mut roster, &mut tracker, 2);
    let row = roster.list().get(&7).expect("a row");
    assert_eq!((row.attrs, row.revision), (0b1000, revision + 1));
}

#[test]
fn a_mapping_that_fails_refuses_its_session_and_no_other() {
    let (mut roster, _) = roster_of(RosterOptions::default(), |entry, placement| {
        match entry.meta() {
            b"" => Ok(placement),
            meta => Err(format!("bad meta {:?}", meta.escape_ascii().to_string())),
        }
    });
    let mut tracker = tracker();
    for (user, meta) in [("5", ""), ("6", "x"), ("7", "")] {
        put(&mut tracker, user, "s", Status::Online, meta.as_bytes());
    }
    put(&mut tracker, "6", "t", Status::Idle, b"");
    let report = apply(&mut roster, &mut tracker, 1);
    let reason = "bad meta \"x\"".to_owned();
    assert_eq!(report.refused, [(6, RosterError::Mapping { reason })]);
    let changed: Vec<_> = report.changes.iter().map(|c| (c.id, c.new)).collect();
    let expected = [(5, Status::Online), (6, Status::Idle), (7, Status::Online)];
    assert_eq!(changed, expected);
    // A version that is refused ends the one before.
    put(&mut tracker, "5", "s", Status::Online, b"y");
    let report = apply(&mut roster, &mut tracker, 2);
    assert_eq!((report.refused.len(), report.changes.len()), (1, 1));
    assert_eq!(roster.status(&5), Status::Offline);
}

#[test]
fn parts_that_a_placement_leaves_out_are_those_of_the_application() {
    let mut list = MemberList::<u64>::new(ListOptions::default().payloads(true));
    let on = list.add_group("on").expect("a good name");
    let idle = list.add_group("idle").expect("a good name");
    let mut roster = Roster::new(list, RosterOptions::default(), move |entry| {
        let status = Status::of_session(entry.status());
        let placement = Placement::new(status);
        if status == Status::Idle {
            placement.group(idle)
        } else {
            placement.group(on)
        }
    });
    let mut tracker = tracker();
    put(&mut tracker, "7", "s", Status::Online, b"");
    let report = apply(&mut roster, &mut tracker, 1);
    assert_eq!(report.refused, [(7, RosterError::NoPlace)]);
    assert_eq!(roster.status(&7), Status::Online);
    let key = SortKey::from_name("ann");
    let list = roster.list_mut();
    list.upsert(7, on, &key, 4).expect("a member");
    list.set_payload(&7, "a".into()).expect("a payload");
    put(&mut tracker, "7", "t", Status::Dnd, b"");
    let _ = apply(&mut roster, &mut tracker, 2);
    let key = SortKey::from_name("anna");
    let list = roster.list_mut();
    list.set_key(&7, &key).expect("a member");
    list.set_payload(&7, "b".into()).expect("a payload");
    put(&mut tracker, "7", "s", Status::Idle, b"");
    tracker.untrack(ROOM, "7", "t");
    let _ = apply(&mut roster, &mut tracker, 3);
    let row = roster.list().get(&7).expect("a row");
    assert_eq!(
        (row.key, row.payload, row.attrs),
        (key.as_bytes(), &b"b"[..], 4)
    );
    assert_eq!(row.group, idle);
}

/// A mapping may ask about more than the entry: a reset asks it again about all sessions.
#[test]
fn a_reset_puts_what_the_mapping_says_now_in_the_rows() {
    let is_staff = Arc::new(AtomicBool::new(false));
    let asked = is_staff.clone();
    let options = RosterOptions::default().status_bits(1);
    let (mut roster, _) = roster_of(options, move |_, placement| {
        Ok(placement.bits(u32::from(asked.load(Ordering::Relaxed))))
    });
    let mut tracker = tracker();
    put(&mut tracker, "7", "s", Status::Online, b"");
    let _ = apply(&mut roster, &mut tracker, 1);
    let entries: Vec<_> = tracker.list(ROOM).map(|entry| entry.to_buf()).collect();
    let revision = |roster: &Roster<u64>| roster.list().get(&7).expect("a row").revision;
    let first = revision(&roster);
    assert_eq!(roster.reset(&entries, 2), RosterReport::default());
    assert_eq!(revision(&roster), first);
    is_staff.store(true, Ordering::Relaxed);
    assert_eq!(roster.reset(&entries, 3), RosterReport::default());
    let row = roster.list().get(&7).expect("a row");
    assert_eq!((row.attrs, row.revision), (1, first + 1));
}

/// As many users as just made each part of the hash table grow, and last-seen times of a tenth.
#[test]
fn a_user_with_one_session_takes_less_than_100_bytes() {
    const USERS: u64 = 118_000;
    let (mut roster, _) = roster_of(RosterOptions::default(), |_, placement| Ok(placement));
    let mut tracker = tracker();
    let users = 0..USERS + USERS / 10;
    users.for_each(|user| put(&mut tracker, &user.to_string(), "s", Status::Online, b""));
    let joins = tracker.take_diff();
    for user in USERS..USERS + USERS / 10 {
        tracker.untrack(ROOM, &user.to_string(), "s");
    }
    let leaves = tracker.take_diff();
    let list_bytes = roster.list().heap_bytes();
    let grown = measure(|| {
        for diff in [&joins, &leaves] {
            let _ = roster.apply(diff.topic(ROOM).expect("changes"), 1);
        }
    });
    let list_bytes = roster.list().heap_bytes() - list_bytes;
    let bytes = usize::try_from(grown.bytes_current).expect("it grows") - list_bytes;
    assert_eq!(roster.online_count() as u64, USERS);
    assert!(
        bytes <= 100 * USERS as usize,
        "{} each",
        bytes / USERS as usize
    );
    assert_eq!(roster.last_seen(&USERS), Some(1));
}

#[test]
fn a_reset_ends_sessions_that_the_mapping_refuses_now() {
    let refuses = Arc::new(AtomicBool::new(false));
    let asked = refuses.clone();
    let (mut roster, _) = roster_of(RosterOptions::default(), move |entry, placement| {
        match asked.load(Ordering::Relaxed) && entry.key_str() == Some("7") {
            true => Err("banned".to_owned()),
            false => Ok(placement),
        }
    });
    let mut tracker = tracker();
    put(&mut tracker, "7", "s", Status::Online, b"");
    put(&mut tracker, "8", "s", Status::Online, b"");
    let _ = apply(&mut roster, &mut tracker, 1);
    refuses.store(true, Ordering::Relaxed);
    let entries: Vec<_> = tracker.list(ROOM).map(|entry| entry.to_buf()).collect();
    let report = roster.reset(&entries, 2);
    let reason = "banned".to_owned();
    assert_eq!(report.refused, [(7, RosterError::Mapping { reason })]);
    assert_eq!(
        (report.changes.len(), roster.status(&7)),
        (1, Status::Offline)
    );
    assert_eq!((roster.online_count(), roster.last_seen(&7)), (1, Some(2)));
    assert!(!roster.list().contains(&7));
}
