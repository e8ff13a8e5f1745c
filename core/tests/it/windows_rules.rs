//! Single rules of windows: limits, replaced anchors, counts, sharing, slow and hidden viewers.

use std::sync::Arc;

use headcount::member_list::{
    Bundle, BundleFormat, CountsTable, EPOCH_MAX, Epoch, FrameChange, LoadError, Tick, WindowError,
};
use headcount::{Bodies, GroupId, ListError, ListOptions, SortKey, Viewer, WindowSpec};

use crate::support::windows::{List, list, open, tick};

/// Returns the name that `window` has after `change`.
fn renamed(window: &str, change: impl FnOnce(&mut List, [GroupId; 3])) -> Option<String> {
    let (mut list, groups) = list(9);
    let mut viewer = Viewer::new();
    open(&mut list, &mut viewer, window);
    change(&mut list, groups);
    let published = tick(&mut list, 0);
    let bundle = viewer.bundle(&published)?;
    let renamed = bundle.frames.first()?.renamed.as_ref()?.to_string();
    let windows: Vec<_> = viewer.windows().map(ToString::to_string).collect();
    assert_eq!(windows, [renamed.as_str()]);
    Some(renamed)
}

#[test]
fn list_anchor_that_moves_is_replaced_by_the_next_row_that_stayed() {
    let moved = |list: &mut List, [mods, ..]: [GroupId; 3], ids: &[u64]| {
        for id in ids {
            list.set_group(id, mods).expect("known");
        }
    };
    let after =
        |ids: &'static [u64]| renamed("a:5:2:2", move |list, groups| moved(list, groups, ids));
    assert_eq!(after(&[5]).as_deref(), Some("a:6:2:2"));
    assert_eq!(after(&[5, 6]).as_deref(), Some("a:7:2:2"));
    // All rows below it in the window moved as well: the nearest above.
    assert_eq!(after(&[5, 6, 7]).as_deref(), Some("a:4:2:2"));
    assert_eq!(after(&[5, 6, 7, 4]).as_deref(), Some("a:3:2:2"));
    // None of the window stayed: the row where it began, after the header of mods, 2 and 3.
    assert_eq!(after(&[2, 3, 4, 5, 6, 7]).as_deref(), Some("a:4:2:2"));
    // Other rows may change freely.
    assert_eq!(after(&[4, 6]), None);
}

#[test]
fn list_anchor_that_moves_is_followed_on_request() {
    let to_mods = |list: &mut List, [mods, ..]: [GroupId; 3]| {
        list.set_group(&5, mods).expect("known");
    };
    assert_eq!(renamed("f:5:2:2", to_mods), None);
    let gone = |list: &mut List, _| {
        list.remove(&5).expect("a row");
    };
    assert_eq!(renamed("f:5:2:2", gone).as_deref(), Some("f:6:2:2"));
    assert_eq!(renamed("a:5:2:2", gone).as_deref(), Some("a:6:2:2"));
}

#[test]
fn list_anchor_that_only_gets_another_key_stays() {
    let same_place = |list: &mut List, _| {
        let key = SortKey::raw(&[&5u64.to_be_bytes()[..], b"!"].concat()).expect("short");
        list.set_key(&5, &key).expect("known");
        list.touch(&6).expect("known");
    };
    assert_eq!(renamed("a:5:2:2", same_place), None);
    let there_and_back = |list: &mut List, [mods, online, _]: [GroupId; 3]| {
        list.set_group(&5, mods).expect("known");
        list.set_group(&5, online).expect("known");
    };
    assert_eq!(renamed("a:5:2:2", there_and_back), None);
}

#[test]
fn list_header_can_be_an_anchor_and_can_vanish() {
    let emptied = |list: &mut List, [mods, ..]: [GroupId; 3]| {
        for id in 1..=8 {
            list.set_group(&id, mods).expect("known");
        }
    };
    assert_eq!(renamed("g:online:0:3", emptied), None);
    let gone = |list: &mut List, [mods, ..]: [GroupId; 3]| {
        for id in 1..=9 {
            list.set_group(&id, mods).expect("known");
        }
    };
    // The row at its index is the header of mods.
    assert_eq!(renamed("g:online:0:3", gone).as_deref(), Some("g:mods:0:3"));
    let hidden = |list: &mut List, [_, online, offline]: [GroupId; 3]| {
        list.set_group(&9, offline).expect("known");
        list.set_group_hidden(online, true).expect("known");
    };
    assert_eq!(renamed("a:5:2:2", hidden).as_deref(), Some("a:9:2:2"));
}

#[test]
fn list_windows_have_limits() {
    let (mut list, _) = list(9);
    let mut viewer = Viewer::new();
    for chunk in 0..8 {
        viewer
            .open(&mut list, WindowSpec::Chunk(chunk), Bodies::None)
            .expect("eight");
    }
    let refused = viewer.open(&mut list, WindowSpec::Chunk(8), Bodies::None);
    assert_eq!(refused, Err(WindowError::TooManyWindows { max: 8 }));
    assert!(
        viewer
            .open(&mut list, WindowSpec::Chunk(7), Bodies::None)
            .is_ok(),
        "held already"
    );
    let refused = viewer.retarget(
        &mut list,
        &WindowSpec::Chunk(0),
        WindowSpec::anchored(404, 1, 1),
        Bodies::None,
    );
    assert_eq!(refused, Err(WindowError::UnknownAnchor));
    let wide = WindowSpec::anchored(1, 300, 200);
    let refused = viewer.retarget(&mut list, &WindowSpec::Chunk(0), wide, Bodies::None);
    assert_eq!(
        refused,
        Err(WindowError::TooManyRows {
            rows: 501,
            max: 500
        })
    );
    let none = WindowSpec::Chunk(99);
    let refused = viewer.retarget(&mut list, &none, WindowSpec::Chunk(1), Bodies::None);
    assert_eq!(refused, Err(WindowError::NotOpen));
    assert_eq!(
        viewer.resync(&mut list, std::slice::from_ref(&none), Bodies::None),
        Err(WindowError::NotOpen)
    );
    assert_eq!(viewer.close(&none), Err(WindowError::NotOpen));
    assert_eq!(viewer.windows().len(), 8);
}

#[test]
fn list_counts_are_sent_once_a_second_and_apart() {
    let (mut list, [mods, online, _]) = list(300);
    let mut viewer = Viewer::new();
    open(&mut list, &mut viewer, "c:2");
    open(&mut list, &mut viewer, "a:250:5:5");
    let mut bundles = Vec::new();
    for step in 1..=12 {
        // Far above both windows, so that neither shows another row.
        list.upsert(1_000 + step, online, &SortKey::from_u64(0), 0)
            .expect("room");
        list.remove(&step);
        list.upsert(2_000 + step, mods, &SortKey::from_u64(step), 0)
            .expect("room");
        list.remove(&(1_000 + step));
        let published = tick(&mut list, step * 250);
        if let Some(bundle) = viewer.bundle(&published) {
            let anchored = |base: &headcount::member_list::Base| &*base.window == "a:250:5:5";
            bundles.push((
                step,
                bundle.counts.is_some(),
                bundle.bases.iter().any(anchored),
            ));
        }
    }
    assert_eq!(
        bundles,
        [(1, true, true), (5, true, false), (9, true, false)]
    );
}

#[test]
fn list_windows_slide_with_the_counts() {
    let (mut list, [mods, ..]) = list(300);
    let mut viewer = Viewer::new();
    open(&mut list, &mut viewer, "a:250:5:5");
    tick(&mut list, 0);
    for step in 1..=5 {
        list.upsert(1_000 + step, mods, &SortKey::from_u64(step), 0)
            .expect("room");
        let published = tick(&mut list, 100 * step);
        let bundle = viewer.bundle(&published);
        // A viewer that missed the first tick gets counts at once, then at most once a second.
        if step > 1 {
            assert_eq!(bundle, None, "step {step}");
        }
    }
    let published = tick(&mut list, 1_200);
    let bundle = viewer.bundle(&published).expect("a second has passed");
    assert!(bundle.frames.is_empty());
    // Header of mods, five of them, header of online, 244 members before the window.
    assert_eq!(bundle.bases[0].base_index, 1 + 5 + 1 + 244);
}

#[test]
fn list_frames_are_shared_by_all_viewers() {
    let (mut list, _) = list(50);
    let mut viewers: Vec<Viewer<u64>> = (0..100).map(|_| Viewer::new()).collect();
    let syncs: Vec<_> = viewers
        .iter_mut()
        .map(|viewer| open(&mut list, viewer, "c:0").frames.remove(0))
        .collect();
    assert!(syncs.iter().all(|sync| Arc::ptr_eq(sync, &syncs[0])));
    list.touch(&7).expect("known");
    let published = tick(&mut list, 250);
    assert_eq!(published.frames().count(), 1);
    let frames = viewers
        .iter_mut()
        .map(|viewer| viewer.bundle(&published).expect("changed"));
    let frames: Vec<_> = frames.map(|mut bundle| bundle.frames.remove(0)).collect();
    assert!(frames.iter().all(|frame| Arc::ptr_eq(frame, &frames[0])));
    assert_eq!(frames[3].json().as_ptr(), frames[71].json().as_ptr());
}

#[test]
fn list_newcomers_between_ticks_cost_the_others_nothing() {
    let (mut list, _) = list(50);
    let mut old = Viewer::new();
    open(&mut list, &mut old, "c:0");
    let mut newcomers = Vec::new();
    for id in 1..=20 {
        list.touch(&id).expect("known");
        let mut viewer = Viewer::new();
        open(&mut list, &mut viewer, "c:0");
        newcomers.push(viewer);
    }
    list.touch(&21).expect("known");
    let published = tick(&mut list, 250);
    let bundle = old.bundle(&published).expect("changed");
    let FrameChange::Delta { updates, .. } = &bundle.frames[0].change else {
        panic!("no DELTA")
    };
    assert_eq!(updates.len(), 21);
    for mut viewer in newcomers {
        // The last windows get a delta, the first ones a sync; none is left behind.
        match viewer
            .bundle(&published)
            .filter(|bundle| !bundle.frames.is_empty())
        {
            Some(bundle) => assert_eq!(bundle.frames[0].new_version, published.version()),
            None => {
                assert!(viewer.is_stale());
                let bundle = viewer.catch_up(&mut list, Bodies::None);
                assert_eq!(bundle.frames[0].new_version, published.version());
            }
        }
    }
}

#[test]
fn list_bulk_work_is_one_sync() {
    let (mut list, [mods, online, _]) = list(50);
    let mut viewer = Viewer::new();
    open(&mut list, &mut viewer, "c:0");
    list.merge_group(online, mods).expect("known");
    let published = tick(&mut list, 250);
    let bundle = viewer.bundle(&published).expect("changed");
    assert!(matches!(&bundle.frames[..], [frame] if matches!(frame.change, FrameChange::Sync(_))));

    assert_eq!(list.set_group_many(&[1, 2, 3], online), Ok(3));
    let published = tick(&mut list, 500);
    let bundle = viewer.bundle(&published).expect("changed");
    assert!(matches!(&bundle.frames[..], [frame] if matches!(frame.change, FrameChange::Sync(_))));

    // Known members and unknown ids are no change.
    assert_eq!(list.set_group_many(&[1, 2, 1, 1_000_000, 1], online), Ok(2));
    let published = tick(&mut list, 750);
    let frames = viewer.bundle(&published).map(|bundle| bundle.frames);
    assert!(frames.is_none_or(|frames| frames.is_empty()));
}

/// Returns whether the viewer gets counts, and nothing else, for a new member.
fn gets_counts(list: &mut List, group: GroupId, viewer: &mut Viewer<u64>, second: u64) -> bool {
    let id = 1_000 + second;
    let key = SortKey::from_u64(second);
    list.upsert(id, group, &key, 0).expect("room");
    let Some(bundle) = viewer.bundle(&tick(list, 1_000 * second)) else {
        return false;
    };
    assert!(bundle.frames.is_empty() && bundle.windows.is_empty());
    let counts = bundle.counts.expect("there is nothing else to say");
    counts.members == list.member_count() as u64
}

#[test]
fn list_viewers_without_windows_get_counts_beside_others_and_alone() {
    for is_alone in [true, false] {
        let (mut list, groups) = list(9);
        let mut other = Viewer::new();
        if !is_alone {
            open(&mut list, &mut other, "c:0");
        }
        // It was never answered: it is no viewer of this list.
        let mut viewer = Viewer::new();
        assert!(!gets_counts(&mut list, groups[0], &mut viewer, 0));
        open(&mut list, &mut viewer, "c:0");
        viewer.close(&WindowSpec::Chunk(0)).expect("open");
        for second in 1..5 {
            assert!(
                gets_counts(&mut list, groups[0], &mut viewer, second),
                "{is_alone}"
            );
        }
        // It leaves ticks out, and counts that are due come once.
        list.remove(&1_001).expect("a row");
        let _ = tick(&mut list, 5_000);
        let late = tick(&mut list, 6_000);
        let bundle = viewer.bundle(&late).expect("it lacks counts");
        let counts = bundle.counts.expect("they changed");
        assert_eq!(counts.members, list.member_count() as u64);
        let quiet = tick(&mut list, 40_000);
        assert!(viewer.bundle(&quiet).is_none());
        // The epoch ends: counts of another one are nothing to a client without windows.
        list.begin_epoch("room", 77).expect("a higher epoch");
        assert!(!gets_counts(&mut list, groups[0], &mut viewer, 41));
        viewer
            .resync(&mut list, &[], Bodies::None)
            .expect("the counts");
        assert!(gets_counts(&mut list, groups[0], &mut viewer, 42));
        let mut visitor = Viewer::new();
        visitor
            .switch(&mut list, &[], Bodies::None)
            .expect("the counts");
        drop(viewer);
        assert!(gets_counts(&mut list, groups[0], &mut visitor, 43));
    }
}

#[test]
fn list_slow_viewers_get_one_sync_and_hidden_ones_counts_only() {
    let (mut list, [mods, ..]) = list(50);
    let mut slow = Viewer::new();
    let mut hidden = Viewer::new();
    open(&mut list, &mut slow, "c:0");
    open(&mut list, &mut hidden, "c:0");
    hidden.set_hidden(true);
    for step in 1..=20u64 {
        list.upsert(1_000 + step, mods, &SortKey::from_u64(step), 0)
            .expect("room");
        let published = tick(&mut list, step * 500);
        if let Some(bundle) = hidden.bundle(&published) {
            assert!(bundle.frames.is_empty() && bundle.bases.is_empty());
            let counts = bundle.counts.expect("only counts changed");
            assert!(matches!(counts.table, CountsTable::Full(_)));
        }
    }
    let published = tick(&mut list, 20_000);
    assert!(
        slow.bundle(&published)
            .is_none_or(|bundle| bundle.frames.is_empty())
    );
    assert!(slow.is_stale());
    hidden.set_hidden(false);
    for viewer in [&mut slow, &mut hidden] {
        let bundle = viewer.catch_up(&mut list, Bodies::None);
        assert_eq!(bundle.frames.len(), 1);
        let FrameChange::Sync(rows) = &bundle.frames[0].change else {
            panic!("no SYNC")
        };
        assert_eq!(rows.len(), list.len());
        assert!(!viewer.is_stale());
    }
}

#[test]
fn list_windows_can_be_used_from_any_thread() {
    fn check<T: Send + Sync>() {}
    check::<List>();
    check::<Viewer<u64>>();
    check::<Tick<u64>>();
    check::<Bundle<u64>>();
}

#[test]
fn list_window_names_are_read_from_the_right() {
    type Spec = WindowSpec<headcount::member_list::TextId>;
    for name in ["a:user:7:1:2", "f:a:0:0", "a:::1:2", "g:on:line:3:4"] {
        assert_eq!(Spec::parse(name).expect(name).to_string(), name);
    }
    for name in ["a::1:2", "a:user:1", "g:x\u{7}y:1:02", "a:u\u{7}:1:2"] {
        assert_eq!(Spec::parse(name), Err(WindowError::BadName), "{name:?}");
    }
}

#[test]
fn epochs_that_clients_would_not_take_are_refused() {
    let mut list = List::new(ListOptions::default());
    let not_higher = |epoch, last| ListError::EpochNotHigher { epoch, last };
    assert_eq!(list.begin_epoch("room", 0), Err(not_higher(0, 1)));
    assert_eq!(list.begin_epoch("room", 1), Ok(())); // the first one gets a name
    assert_eq!(list.begin_epoch("room", 1), Err(not_higher(1, 1)));
    assert_eq!(list.begin_epoch("room", Epoch::new("a", 0)), Ok(()));
    assert_eq!(list.begin_epoch("room", Epoch::new("a", 7)), Ok(()));

    let len = 1026;
    let max = 1024;
    let long = "ß".repeat(len / 2);
    let high = |epoch| ListError::EpochTooHigh {
        epoch,
        max: EPOCH_MAX,
    };
    let bad: [(&str, Epoch, ListError); 6] = [
        (&long, 8.into(), ListError::ListNameTooLong { len, max }),
        (
            "room",
            Epoch::new(&long, 8),
            ListError::NodeNameTooLong { len, max },
        ),
        ("room", (1 << 53).into(), high(1 << 53)),
        ("room", Epoch::new("a", u64::MAX), high(u64::MAX)),
        ("other", Epoch::new("a", 7), not_higher(7, 7)),
        ("other", Epoch::new("a", 6), not_higher(6, 7)),
    ];
    for (name, epoch, error) in bad {
        assert_eq!(list.begin_epoch(name, epoch), Err(error));
    }
    let open = |list: &mut List| {
        let opened = Viewer::new().open(list, WindowSpec::Chunk(0), Bodies::None);
        opened.expect("a chunk")
    };
    let bundle = open(&mut list);
    assert_eq!((&*bundle.list, bundle.epoch), ("room", Epoch::new("a", 7)));

    // What is just within the limits arrives.
    let name = &long[..1024];
    assert_eq!(list.begin_epoch(name, Epoch::new(name, EPOCH_MAX)), Ok(()));
    let bundle = open(&mut list);
    let bytes = bundle.to_binary_in(BundleFormat::Two);
    assert_eq!(Bundle::from_binary(&bytes), Ok(bundle));

    // There is no epoch after the highest one.
    let mut file = Vec::new();
    list.save(&mut file).expect("memory takes everything");
    let loaded = List::load(&file[..], 8).expect_err("no epoch is left");
    assert!(matches!(loaded, LoadError::Invalid { .. }), "{loaded}");
    let loaded = List::load(&file[..], EPOCH_MAX + 1).expect_err("too high");
    assert!(matches!(&loaded, LoadError::Epoch(error) if *error == high(EPOCH_MAX + 1)));
}
