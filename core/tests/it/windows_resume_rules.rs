//! The rules of a return after an absence, one by one.

use std::sync::Arc;
use std::time::Duration;

use headcount::member_list::{
    Bundle, Epoch, Fields, FrameChange, HeldWindow, ListSpec, MemberTable, RowSource, TableOptions,
    TextId, WindowError,
};
use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};

use crate::support::windows::{List, list, open, tick};

fn held_window(window: &str, version: u64) -> HeldWindow {
    HeldWindow {
        window: window.into(),
        epoch: Epoch::from(1),
        version,
    }
}

fn resume(list: &mut List, held: &[HeldWindow]) -> Result<Bundle<u64>, WindowError> {
    Viewer::resumable().resume(list, held, Bodies::None)
}

fn is_delta(bundle: &Bundle<u64>) -> bool {
    matches!(bundle.frames[0].change, FrameChange::Delta { .. })
}

/// Opens a window, goes away, and returns the version that the client holds.
fn leave(list: &mut List, name: &str) -> u64 {
    let mut viewer = Viewer::resumable();
    open(list, &mut viewer, name).frames[0].new_version
}

#[test]
fn a_client_that_was_away_gets_a_delta() {
    let (mut list, groups) = list(150);
    let version = leave(&mut list, "c:0");
    for (ms, id) in [(0, 20), (20_000, 30), (40_000, 40)] {
        list.touch(&id).expect("known");
        list.set_group(&(id + 1), groups[2]).expect("known");
        let _ = tick(&mut list, ms);
    }
    let bundle = resume(&mut list, &[held_window("c:0", version)]).expect("open");
    let frame = &bundle.frames[0];
    assert!(is_delta(&bundle) && frame.base_version == version);
    let FrameChange::Delta { updates, .. } = &frame.change else {
        panic!("a DELTA")
    };
    // Three members and the header, whatever came between.
    assert_eq!(updates.len(), 4);
}

#[test]
fn clients_that_hold_the_same_share_one_frame() {
    let (mut list, _) = list(150);
    let version = leave(&mut list, "c:0");
    let _ = tick(&mut list, 0);
    list.touch(&7).expect("known");
    let bundles =
        [(); 2].map(|()| resume(&mut list, &[held_window("c:0", version)]).expect("open"));
    assert!(is_delta(&bundles[0]));
    assert!(Arc::ptr_eq(&bundles[0].frames[0], &bundles[1].frames[0]));
    list.touch(&8).expect("known");
    let later = resume(&mut list, &[held_window("c:0", version)]).expect("open");
    assert_ne!(later.frames[0].checksum32, bundles[0].frames[0].checksum32);
}

#[test]
fn versions_that_are_unknown_get_a_sync() {
    let (mut list, groups) = list(150);
    let version = leave(&mut list, "c:0");
    let _ = tick(&mut list, 0);
    list.touch(&7).expect("known");
    let _ = tick(&mut list, 250);
    for strange in [0, version + 1_000, u64::MAX] {
        let bundle = resume(&mut list, &[held_window("c:0", strange)]).expect("open");
        assert!(!is_delta(&bundle), "{strange}");
    }
    for epoch in [Epoch::from(2), Epoch::new("node-2", 1)] {
        let mut other = held_window("c:0", version);
        other.epoch = epoch;
        assert!(!is_delta(&resume(&mut list, &[other]).expect("open")));
    }
    // Another window never had this version.
    let bundle = resume(&mut list, &[held_window("c:1", version)]).expect("open");
    assert!(!is_delta(&bundle));
    assert!(is_delta(
        &resume(&mut list, &[held_window("c:0", version)]).expect("open")
    ));

    // Bulk work lies between.
    list.merge_group(groups[1], groups[2]).expect("known");
    let _ = tick(&mut list, 500);
    assert!(!is_delta(
        &resume(&mut list, &[held_window("c:0", version)]).expect("open")
    ));
    // The epoch is another one.
    let version = leave(&mut list, "c:0");
    assert!(is_delta(
        &resume(&mut list, &[held_window("c:0", version)]).expect("open")
    ));
    list.begin_epoch("", 2).expect("a higher epoch");
    assert!(!is_delta(
        &resume(&mut list, &[held_window("c:0", version)]).expect("open")
    ));
}

#[test]
fn a_sync_that_is_smaller_is_sent() {
    let (mut list, _) = list(99);
    let version = leave(&mut list, "c:0");
    let _ = tick(&mut list, 0);
    for id in 1..99 {
        list.remove(&id);
    }
    let bundle = resume(&mut list, &[held_window("c:0", version)]).expect("open");
    assert!(!is_delta(&bundle), "98 deletes are longer than one row");
    let version = bundle.frames[0].new_version;
    let _ = tick(&mut list, 250);
    list.touch(&99).expect("known");
    let mut viewer = Viewer::resumable();
    let bundle = viewer
        .resume(&mut list, &[held_window("c:0", version)], Bodies::None)
        .expect("open");
    let sync = open(&mut list, &mut Viewer::resumable(), "c:0");
    assert!(bundle.frames[0].binary().len() <= sync.frames[0].binary().len());
}

#[test]
fn malformed_requests_are_refused() {
    let (mut list, _) = list(10);
    let many: Vec<_> = (0..9)
        .map(|at| held_window(&format!("c:{at}"), 0))
        .collect();
    let searches: Vec<_> = (0..3)
        .map(|at| held_window(&format!("q:61:{at}"), 0))
        .collect();
    let cases = [
        (vec![held_window("c:x", 1)], WindowError::BadName),
        (
            vec![held_window("c:0", 1), held_window("c:0", 2)],
            WindowError::NamedTwice,
        ),
        (many, WindowError::TooManyWindows { max: 8 }),
        (searches, WindowError::TooManySearches { max: 2 }),
        (
            vec![held_window("a:1:400:400", 1)],
            WindowError::TooManyRows {
                rows: 801,
                max: 500,
            },
        ),
    ];
    for (held, error) in cases {
        let mut viewer = Viewer::resumable();
        assert_eq!(viewer.resume(&mut list, &held, Bodies::None), Err(error));
        assert_eq!(viewer.windows().len(), 0);
    }
    for mut viewer in [Viewer::new(), Viewer::discord()] {
        let refused = viewer.resume(&mut list, &[held_window("c:0", 1)], Bodies::None);
        assert_eq!(refused, Err(WindowError::NotResumable));
    }
}

#[test]
fn a_name_that_ended_leads_to_the_window_of_now() {
    let (mut list, groups) = list(150);
    let version = leave(&mut list, "a:50:10:10");
    for (at, id) in [50, 51, 52].into_iter().enumerate() {
        list.set_group(&id, groups[2]).expect("known");
        let _ = tick(&mut list, 250 * at as u64);
    }
    let mut viewer = Viewer::resumable();
    let bundle = viewer
        .resume(
            &mut list,
            &[held_window("a:50:10:10", version)],
            Bodies::None,
        )
        .expect("open");
    assert!(is_delta(&bundle));
    assert_eq!(&*bundle.frames[0].window, "a:50:10:10");
    assert_eq!(bundle.frames[0].renamed.as_deref(), Some("a:53:10:10"));
    assert_eq!(
        viewer.windows().next(),
        Some(&WindowSpec::anchored(53, 10, 10))
    );
    // The viewer takes the next tick like any other one.
    list.touch(&53).expect("known");
    let bundle = viewer
        .bundle(&tick(&mut list, 750))
        .expect("it has changed");
    assert!(is_delta(&bundle));

    // Between two ticks the anchor has moved, and no tick has said so yet.
    let version = leave(&mut list, "a:70:10:10");
    list.remove(&70);
    let bundle = resume(&mut list, &[held_window("a:70:10:10", version)]).expect("open");
    assert!(is_delta(&bundle));
    assert_eq!(bundle.frames[0].renamed.as_deref(), Some("a:71:10:10"));
    // Of an anchor that nobody knows any more, the first row is the successor.
    let bundle = resume(&mut list, &[held_window("a:70:10:10", 0)]).expect("open");
    assert_eq!(bundle.frames[0].renamed.as_deref(), Some("g:online:10:10"));
}

#[test]
fn two_windows_that_became_one_are_one() {
    let (mut list, _) = list(150);
    let mut viewer = Viewer::resumable();
    let first = open(&mut list, &mut viewer, "a:50:9:9").frames[0].new_version;
    let second = open(&mut list, &mut viewer, "a:51:9:9").frames[0].new_version;
    drop(viewer);
    list.remove(&50);
    list.remove(&51);
    let _ = tick(&mut list, 0);
    let mut viewer = Viewer::resumable();
    let both = [
        held_window("a:50:9:9", first),
        held_window("a:51:9:9", second),
    ];
    let bundle = viewer.resume(&mut list, &both, Bodies::None).expect("open");
    assert_eq!(bundle.frames.len(), 2);
    assert!(
        bundle
            .frames
            .iter()
            .all(|frame| frame.renamed.as_deref() == Some("a:52:9:9"))
    );
    assert_eq!(viewer.windows().len(), 1);
}

#[test]
fn windows_are_kept_for_a_minute() {
    for (seconds, kept) in [(59, true), (61, false)] {
        let (mut list, _) = list(150);
        let _ = tick(&mut list, 0);
        let version = leave(&mut list, "c:0");
        list.touch(&7).expect("known");
        let _ = tick(&mut list, 250);
        let _ = tick(&mut list, 250 + 1_000 * seconds);
        let bundle = resume(&mut list, &[held_window("c:0", version)]).expect("open");
        assert_eq!(is_delta(&bundle), kept, "after {seconds} s");
    }
    let mut list = List::new(ListOptions::default().resume_for(Duration::ZERO));
    let group = list.add_group("online").expect("a good name");
    list.upsert(7, group, &SortKey::from_u64(7), 0)
        .expect("room");
    let version = leave(&mut list, "c:0");
    assert!(!is_delta(
        &resume(&mut list, &[held_window("c:0", version)]).expect("open")
    ));
    assert_eq!(list.resume_bytes(), 0);
}

#[test]
fn closed_windows_are_not_kept() {
    let (mut list, _) = list(150);
    let mut viewer = Viewer::resumable();
    open(&mut list, &mut viewer, "c:0");
    viewer.close(&WindowSpec::Chunk(0)).expect("open");
    drop(viewer);
    let _ = tick(&mut list, 0);
    assert_eq!(list.resume_bytes(), 0);
}

#[test]
fn windows_are_kept_only_for_clients_that_can_resume() {
    let (mut list, groups) = list(150);
    let mut viewer = Viewer::new();
    let version = open(&mut list, &mut viewer, "c:0").frames[0].new_version;
    list.touch(&7).expect("known");
    let _ = tick(&mut list, 0);
    assert_eq!(list.resume_bytes(), 0, "a viewer that cannot resume");

    // A client that can resume joins it at the version of now: from there on there is a log.
    let mut second = Viewer::resumable();
    let held = open(&mut list, &mut second, "c:0").frames[0].new_version;
    list.touch(&8).expect("known");
    let _ = tick(&mut list, 250);
    assert!(list.resume_bytes() > 0);
    drop((viewer, second));
    list.set_group(&9, groups[2]).expect("known");
    let _ = tick(&mut list, 500);
    let of_second = resume(&mut list, &[held_window("c:0", held)]).expect("open");
    assert!(is_delta(&of_second));
    let of_first = resume(&mut list, &[held_window("c:0", version)]).expect("open");
    assert!(!is_delta(&of_first), "no step leads from its version");

    // The windows that become others keep their logs, and so do those of another list.
    let (mut list, groups) = self::list(150);
    let mut viewer = Viewer::resumable();
    open(&mut list, &mut viewer, "a:50:10:10");
    list.set_group(&50, groups[2]).expect("known");
    let renamed = viewer.bundle(&tick(&mut list, 0)).expect("renamed");
    let version = renamed.frames[0].new_version;
    drop(viewer);
    list.touch(&52).expect("known");
    let _ = tick(&mut list, 250);
    let bundle = resume(&mut list, &[held_window("a:51:10:10", version)]).expect("open");
    assert!(is_delta(&bundle));
}

#[test]
fn a_list_that_was_loaded_lets_clients_resume() {
    let (mut saved, _) = list(150);
    let mut file = Vec::new();
    saved.save(&mut file).expect("room");
    let mut list = List::load(&file[..], 1).expect("just saved");
    let opened = open(&mut list, &mut Viewer::resumable(), "c:0");
    let mut held = held_window("c:0", opened.frames[0].new_version);
    held.epoch = opened.epoch;
    list.touch(&7).expect("known");
    let _ = tick(&mut list, 0);
    assert!(is_delta(&resume(&mut list, &[held]).expect("open")));
}

#[test]
fn a_list_or_table_that_was_loaded_keeps_what_it_is_told() {
    let (mut saved, _) = list(150);
    let mut file = Vec::new();
    saved.save(&mut file).expect("room");
    let mut list = List::load(&file[..], 1).expect("just saved");
    let mut viewer = Viewer::resumable();
    open(&mut list, &mut viewer, "c:0");
    list.touch(&7).expect("known");
    let _ = tick(&mut list, 0);
    assert!(list.resume_bytes() > 0);
    list.set_resume(Duration::ZERO, 32 << 20);
    list.touch(&8).expect("known");
    let _ = tick(&mut list, 250);
    assert_eq!(list.resume_bytes(), 0);
    // A window that was opened meanwhile is kept from then on.
    list.set_resume(Duration::from_secs(5), 1 << 20);
    assert_eq!(
        list.options(),
        ListOptions::default()
            .resume_for(Duration::from_secs(5))
            .resume_bytes_max(1 << 20)
    );
    drop(viewer);
    for (millis, is_kept) in [(500, true), (5_250, true), (5_500, false)] {
        let _ = tick(&mut list, millis);
        assert_eq!(list.resume_bytes() > 0, is_kept, "{millis} ms");
    }

    let mut saved = MemberTable::<u64>::new(TableOptions::default()).expect("one column");
    saved
        .add_list(ListSpec::new("first", "all"))
        .expect("a good spec");
    let mut file = Vec::new();
    saved.save(&mut file).expect("room");
    for (keep, bytes_max) in [(Duration::ZERO, 1 << 20), (Duration::from_secs(5), 0)] {
        let mut table = MemberTable::<u64>::load(&file[..], 1).expect("just saved");
        table.set_resume(keep, bytes_max);
        let second = table
            .add_list(ListSpec::new("second", "all"))
            .expect("a good spec");
        for list in [table.list_named("first").expect("saved"), second] {
            let mut live = table.live(list).expect("built");
            let spec = WindowSpec::Chunk(0);
            let opened = Viewer::resumable().open(&mut live, spec, Bodies::None);
            opened.expect("a chunk");
        }
        let _ = table.tick(Duration::from_secs(1), Bodies::None);
        assert_eq!(table.resume_bytes(), 0);
    }
}

/// A source of bodies with two fields, which notes what it is asked for.
struct Asked(parking_lot::Mutex<Vec<Fields>>);

impl RowSource<u64> for Asked {
    fn write_body(&self, _: &u64, fields: Fields, out: &mut Vec<u8>) {
        self.0.lock().push(fields);
        out.extend_from_slice(b"{}");
    }
}

#[test]
fn fields_that_changed_are_united() {
    let (mut list, _) = list(150);
    let version = leave(&mut list, "c:0");
    list.touch_fields(&7, Fields(1)).expect("known");
    let _ = tick(&mut list, 0);
    list.touch_fields(&7, Fields(4)).expect("known");
    list.set_attrs(&8, 3).expect("known");
    let _ = tick(&mut list, 250);
    list.touch_fields(&9, Fields(2)).expect("known");
    let source = Asked(parking_lot::Mutex::default());
    let mut viewer = Viewer::resumable();
    let bodies = Bodies::Source(&source);
    let bundle = viewer.resume(&mut list, &[held_window("c:0", version)], bodies);
    assert!(is_delta(&bundle.expect("open")));
    assert_eq!(*source.0.lock(), [Fields(5), Fields(2)]);
}

/// Returns a list whose chunks change at every tick.
fn busy_list(bytes_max: usize, ticks: u64) -> MemberList<TextId> {
    let mut list = MemberList::new(ListOptions::default().resume_bytes_max(bytes_max));
    let group = list.add_group("online").expect("a good name");
    let id = |at: u64| TextId::new(&format!("a rather long id of a member {at}")).expect("an id");
    for at in 0..2_000 {
        list.upsert(id(at), group, &SortKey::from_u64(at), 0)
            .expect("room");
    }
    for at in 0..ticks {
        let mut viewer = Viewer::resumable();
        for window in 0..8 {
            let anchor = id((at * 8 + window) % 1_900);
            let spec = WindowSpec::anchored(anchor, 60, 60);
            viewer.open(&mut list, spec, Bodies::None).expect("known");
        }
        for member in 0..40 {
            let key = SortKey::from_u64(at * 7_919 % 2_000);
            list.set_key(&id((at * 40 + member) % 2_000), &key)
                .expect("known");
        }
        drop(viewer);
        let _ = list.tick(Duration::from_millis(250 * at), Bodies::None);
        assert!(
            list.resume_bytes() <= bytes_max,
            "{} bytes",
            list.resume_bytes()
        );
    }
    list
}

#[test]
fn what_is_kept_has_a_bound_in_bytes() {
    let free = busy_list(32 << 20, 60).resume_bytes();
    assert!(free > 2 << 20, "{free} bytes without a bound");
    let bound = busy_list(1 << 20, 60).resume_bytes();
    assert!(bound > 256 << 10, "{bound} bytes");
}

#[test]
fn the_bound_is_one_for_all_lists_of_a_table() {
    let max = 256 << 10;
    let options = TableOptions::default().resume_bytes_max(max).first_epoch(1);
    let mut table = MemberTable::<u64>::new(options).expect("one key column");
    let lists = ["first", "second", "third"].map(|name| {
        table
            .add_list(ListSpec::new(name, "all"))
            .expect("a good spec")
    });
    for id in 0..400 {
        table
            .upsert(id, &[SortKey::from_u64(id)], Default::default(), None)
            .expect("room");
    }
    let mut peak = 0;
    for at in 0..120 {
        for list in lists {
            let mut viewer = Viewer::resumable();
            for chunk in 0..4 {
                let mut live = table.live(list).expect("built");
                let spec = WindowSpec::Chunk(chunk);
                viewer.open(&mut live, spec, Bodies::None).expect("a chunk");
            }
        }
        for id in 0..40 {
            let key = SortKey::from_u64((id * 31 + at * 17) % 400);
            table
                .upsert(id * 10, &[key], Default::default(), None)
                .expect("known");
        }
        let _ = table.tick(Duration::from_millis(250 * at), Bodies::None);
        assert!(
            table.resume_bytes() <= max,
            "{} bytes",
            table.resume_bytes()
        );
        peak = peak.max(table.resume_bytes());
    }
    assert!(peak > max / 2, "{peak} bytes at most");
}
