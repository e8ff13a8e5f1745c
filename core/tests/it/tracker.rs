//! The tracker through its public API: semantics, exchange, hiding, bounds.

use headcount::tracker::{ApplyError, Encoding, Extract, Limits};
use headcount::{
    Diff, EntryBuf, NewEntry, Presence, PresenceConfig, ReplicaId, TrackError, Tracker,
};

use crate::support::rng::Rng;
use crate::support::trackers::{listed, sync, tracker};

/// Returns the metas of a topic's joins, updates (old and new) and leaves.
fn metas(diff: &Diff, topic: &str) -> [Vec<String>; 3] {
    let text = |entry: &EntryBuf| String::from_utf8(entry.meta().to_vec()).unwrap();
    let Some(diff) = diff.topic(topic) else {
        return Default::default();
    };
    let updates = diff.updates.iter();
    [
        diff.joins.iter().map(text).collect(),
        updates
            .map(|update| format!("{}>{}", text(&update.old), text(&update.new)))
            .collect(),
        diff.leaves.iter().map(text).collect(),
    ]
}

#[test]
fn diffs_merge_changes_of_one_entry_and_drop_nothing_that_a_read_could_show() {
    #[derive(Clone, Copy)]
    enum Op {
        NewEntry(&'static str),
        Leave,
    }
    use Op::{Leave, NewEntry as P};
    // Reported before, what happens, and the Diff: joins, updates, leaves.
    type Case<'a> = (bool, &'a [Op], [&'a [&'a str]; 3]);
    let cases: &[Case<'_>] = &[
        (false, &[P("1"), Leave], [&["1"], &[], &["1"]]),
        (false, &[P("1"), P("2")], [&["2"], &[], &["1"]]),
        (false, &[P("1"), P("2"), Leave], [&["2"], &[], &["1", "2"]]),
        (false, &[P("1"), Leave, P("2")], [&["2"], &[], &["1"]]),
        (
            false,
            &[P("1"), Leave, P("2"), Leave],
            [&["2"], &[], &["1", "2"]],
        ),
        (true, &[P("1"), P("2")], [&[], &["0>2"], &["1"]]),
        (
            true,
            &[P("1"), P("2"), P("3")],
            [&[], &["0>3"], &["1", "2"]],
        ),
        (true, &[P("1"), Leave], [&[], &[], &["0", "1"]]),
        (true, &[P("1"), P("2"), Leave], [&[], &[], &["0", "1", "2"]]),
        (true, &[Leave, P("1")], [&[], &["0>1"], &[]]),
        (true, &[Leave, P("1"), P("2")], [&[], &["0>2"], &["1"]]),
        (true, &[P("1"), Leave, P("2")], [&[], &["0>2"], &["1"]]),
        (true, &[Leave, P("1"), Leave], [&[], &[], &["0", "1"]]),
        (true, &[P("1")], [&[], &["0>1"], &[]]),
        (true, &[Leave], [&[], &[], &["0"]]),
    ];
    for (number, (is_reported, ops, expected)) in cases.iter().enumerate() {
        let mut t = tracker("a");
        let entry = NewEntry::new("room", "ann", "c1");
        let mut read = Vec::new();
        if *is_reported {
            t.track(&entry.meta(b"0")).unwrap();
            let _ = t.take_diff();
        }
        for op in *ops {
            match op {
                P(meta) => drop(t.upsert(&entry.meta(meta.as_bytes())).unwrap()),
                Leave => assert!(t.untrack("room", "ann", "c1")),
            }
            read.extend(t.list("room").map(|entry| entry.to_buf()));
        }
        let diff = t.take_diff();
        assert_eq!(metas(&diff, "room"), *expected, "case {number}");
        let reported = &diff.topic("room").unwrap();
        let news = reported.updates.iter().map(|update| &update.new);
        let joined: Vec<_> = reported.joins.iter().chain(news).collect();
        for leave in &reported.leaves {
            let is_known = read.contains(leave) || leave.meta() == b"0";
            assert!(is_known, "case {number}: it leaves as it was shown");
        }
        for entry in &read {
            assert!(joined.contains(&entry) || reported.leaves.contains(entry));
        }
        assert!(t.take_diff().is_empty());
    }
}

#[test]
fn a_tracker_whose_diffs_are_not_taken_stays_small_and_reports_its_losses() {
    let mut t = tracker("a");
    let meta = vec![b'm'; 16 << 10];
    let entry = NewEntry::new("room", "ann", "c1").meta(&meta);
    for _ in 0..200 {
        t.upsert(&entry).unwrap();
    }
    let diff = t.take_diff();
    let room = diff.topic("room").unwrap();
    assert!(!diff.is_lossy());
    assert_eq!((room.joins.len(), room.leaves.len()), (1, 199));
    for _ in 0..1_000 {
        t.upsert(&entry).unwrap();
        t.untrack("room", "ann", "c1");
    }
    let diff = t.take_diff();
    assert!(diff.is_lossy(), "1,000 versions of 16 KiB are not kept");
    let room = diff.topic("room").unwrap();
    assert_eq!((room.joins.len(), room.leaves.len()), (0, 1));
    t.upsert(&entry).unwrap();
    assert!(!t.take_diff().is_lossy());
}

#[test]
fn every_holder_knows_the_version_before() {
    let mut a = tracker("a");
    let entry = NewEntry::new("room", "ann", "c1");
    let previous = |t: &Tracker| {
        let entry = t.get_by_key("room", "ann").next().expect("ann is here");
        let buf = entry.to_buf();
        assert_eq!(buf.previous_ref(), entry.previous_ref());
        assert_eq!(buf.previous_version(), entry.previous_version());
        let previous = entry.previous_ref().map(|previous| previous.version);
        assert_eq!(previous, entry.previous_version());
        previous
    };
    let mut step_by_step = tracker("b");
    let mut versions = vec![None];
    for i in 0..5u8 {
        a.track(&NewEntry::new("room", "bob", "c1")).unwrap();
        // Metas of other lengths and of the same.
        let meta = vec![i; usize::from(i / 2) * 9];
        let version = a.upsert(&entry.meta(&meta)).unwrap().version;
        a.untrack("room", "bob", "c1");
        assert_eq!(previous(&a), *versions.last().unwrap());
        versions.push(Some(version));
        sync(&a, &mut step_by_step);
        assert_eq!(previous(&step_by_step), previous(&a));
        assert_eq!(step_by_step.list("room").next().unwrap().meta(), meta);
    }
    let id = a.id().clone();
    let mut by_delta = tracker("c");
    by_delta.apply_delta(&a.push_body(0).unwrap()).unwrap();
    let mut by_repair = tracker("d");
    by_repair
        .apply_repair(&a.full_body(&id).unwrap(), false)
        .unwrap();
    let mut by_slices = tracker("e");
    let mut extract = Extract::begin(&mut a, &id, 0, false).unwrap();
    while !extract.step(&mut a, 1).done {}
    let (_, body) = extract.finish(&mut a).unwrap().encode();
    by_slices.apply_repair(&body, false).unwrap();
    let mut by_relay = tracker("f");
    let frame = step_by_step.delta_since(&id, 0).unwrap();
    by_relay.apply(&frame).unwrap();
    let fingerprint = |t: &Tracker| t.origin_info(&id).unwrap().fingerprint;
    for holder in [&by_delta, &by_repair, &by_slices, &by_relay] {
        assert_eq!(previous(holder), previous(&a));
        assert_eq!(fingerprint(holder), fingerprint(&a));
        assert_eq!(listed(holder, "room"), listed(&a, "room"));
    }
}

#[test]
fn a_previous_version_lies_between_birth_and_version() {
    let mut a = tracker("a");
    let entry = NewEntry::new("room", "ann", "c1");
    a.track(&entry).unwrap();
    for _ in 0..5 {
        a.update(&entry).unwrap();
    }
    let body = a.push_body(0).unwrap();
    // Flags of the entry, gap 6, age 5, back 1.
    let at = body
        .windows(3)
        .position(|bytes| bytes == [6, 5, 1])
        .unwrap();
    let with = |offset: usize, byte: u8| {
        let mut bent = body.clone();
        bent[offset] = byte;
        tracker("b").apply_delta(&bent)
    };
    assert!(with(at + 2, 1).is_ok() && with(at + 2, 4).is_ok());
    for (offset, byte) in [
        (at + 2, 0),
        (at + 2, 5),
        (at + 2, 6),
        (at - 1, body[at - 1] & !32),
    ] {
        assert!(matches!(with(offset, byte), Err(ApplyError::Decode(_))));
    }
}

#[test]
fn sessions_of_one_key_by_many_owners_stay_distinct() {
    let mut t = tracker("a");
    for i in 0..100 {
        t.track(&NewEntry::new("room", "guest", &format!("c{i}")))
            .unwrap();
        t.track(&NewEntry::new(&format!("other {i}"), "guest", "c7"))
            .unwrap();
    }
    for i in 0..100 {
        let entry_owner = format!("c{i}");
        let entry = NewEntry::new("room", "guest", &entry_owner);
        assert_eq!(t.track(&entry), Err(TrackError::AlreadyTracked));
    }
    assert_eq!((t.count("room"), t.count_keys("room")), (100, 1));
    assert!(!t.untrack("room", "guest", "nobody"));
    assert_eq!(t.untrack_owner("c7"), 101);
    assert_eq!((t.count("room"), t.len()), (99, 99));
    assert_eq!(
        t.update(&NewEntry::new("room", "guest", "c7")),
        Err(TrackError::NotTracked)
    );
    t.upsert(&NewEntry::new("room", "guest", "c7")).unwrap();
    assert_eq!(t.get_by_key("room", "guest").count(), 100);
}

#[test]
fn bounds_have_typed_errors_and_change_nothing() {
    let limits = Limits::default().owner_entries_max(2).entries_max(3);
    let mut t = Tracker::with_limits(ReplicaId::new("a", 1, 0).unwrap(), limits);
    let long = "x".repeat(300);
    let meta = vec![0; 17 * 1024];
    let check = |t: &mut Tracker, entry: NewEntry<'_>, error| {
        assert_eq!(t.track(&entry), Err(error));
    };
    check(
        &mut t,
        NewEntry::new(&long, "k", "o"),
        TrackError::TopicTooLong { len: 300, max: 256 },
    );
    check(
        &mut t,
        NewEntry::new("t", &long, "o"),
        TrackError::KeyTooLong { len: 300, max: 256 },
    );
    check(
        &mut t,
        NewEntry::new("t", "k", &long),
        TrackError::OwnerTooLong { len: 300, max: 64 },
    );
    let too_large = TrackError::MetaTooLarge {
        len: meta.len(),
        max: 16 * 1024,
    };
    check(&mut t, NewEntry::new("t", "k", "o").meta(&meta), too_large);
    let not_text = NewEntry::bytes("t", &[0xFF], b"o", Encoding::Text);
    check(&mut t, not_text, TrackError::NotUtf8);
    assert!(t.is_empty());
    t.track(&NewEntry::new("t", "1", "o")).unwrap();
    t.track(&NewEntry::new("t", "2", "o")).unwrap();
    check(
        &mut t,
        NewEntry::new("t", "3", "o"),
        TrackError::OwnerFull { max: 2 },
    );
    t.track(&NewEntry::new("t", "3", "p")).unwrap();
    check(
        &mut t,
        NewEntry::new("t", "4", "q"),
        TrackError::TooManyEntries { max: 3 },
    );
    assert_eq!(t.clock(&t.id().clone()), 3);
}

#[test]
fn frames_of_a_wrong_partition_are_refused() {
    let id = |n| ReplicaId::new(n, 1, 0).unwrap();
    let a = Presence::new(id("a"), PresenceConfig::default());
    a.track(&NewEntry::new("room", "ann", "c")).unwrap();
    let (frame, partition) = a
        .read("room", |tracker| {
            let frame = tracker.delta_since(tracker.id(), 0).unwrap();
            (frame, tracker.partition())
        })
        .unwrap();
    let refused = tracker("b").apply(&frame).unwrap_err();
    let expected = ApplyError::WrongPartition {
        frame: (partition, 32),
        tracker: (0, 1),
    };
    assert_eq!(refused, expected);
    assert!(
        refused
            .to_string()
            .ends_with("of 32, the tracker for 0 of 1")
    );
}

#[test]
fn a_gap_is_refused_and_a_repair_closes_it() {
    let mut a = tracker("a");
    let mut b = tracker("b");
    for i in 0..10 {
        a.track(&NewEntry::new("room", &format!("k{i}"), "c"))
            .unwrap();
    }
    sync(&a, &mut b);
    let clock = a.clock(a.id());
    a.untrack("room", "k3", "c");
    let skipped = a.clock(a.id());
    a.track(&NewEntry::new("room", "late", "c")).unwrap();
    let late = a.delta_since(a.id(), skipped).unwrap();
    assert_eq!(
        b.apply(&late),
        Err(ApplyError::Gap {
            clock,
            from: skipped
        })
    );
    let id = a.id().clone();
    a.trim_leaves(&id, skipped);
    sync(&a, &mut b);
    assert_eq!(listed(&a, "room"), listed(&b, "room"));
    assert_eq!(
        a.origin_info(a.id()).unwrap().fingerprint,
        b.origin_info(a.id()).unwrap().fingerprint
    );
}

#[test]
fn a_relay_serves_what_it_knows_of_others() {
    let mut a = tracker("a");
    let mut b = tracker("b");
    let mut c = tracker("c");
    a.track(&NewEntry::new("room", "ann", "c")).unwrap();
    sync(&a, &mut b);
    sync(&b, &mut c);
    assert_eq!(c.count("room"), 1);
    a.update(&NewEntry::new("room", "ann", "c").status(3))
        .unwrap();
    a.track(&NewEntry::new("room", "bob", "c")).unwrap();
    a.untrack("room", "bob", "c");
    sync(&a, &mut b);
    sync(&b, &mut c);
    assert_eq!(listed(&c, "room"), listed(&a, "room"));
}

#[test]
fn hiding_is_seen_by_every_read_and_forgetting_removes() {
    let mut a = tracker("a");
    let mut b = tracker("b");
    a.track(&NewEntry::new("room", "ann", "c")).unwrap();
    a.track(&NewEntry::new("room", "bob", "c")).unwrap();
    b.track(&NewEntry::new("room", "ann", "d")).unwrap();
    sync(&a, &mut b);
    let id = a.id().clone();
    let counts = |t: &Tracker| {
        (
            t.count("room"),
            t.count_keys("room"),
            t.list("room").count(),
        )
    };
    assert_eq!(counts(&b), (3, 2, 3));
    assert!(b.set_hidden(&id, true));
    assert!(!b.set_hidden(&id, true));
    assert_eq!(counts(&b), (1, 1, 1));
    assert_eq!(b.get_by_key("room", "bob").count(), 0);
    a.untrack("room", "bob", "c");
    let frame = a.delta_since(&id, b.clock(&id)).unwrap();
    assert!(b.apply(&frame).unwrap().is_empty(), "no Diff while hidden");
    assert!(b.set_hidden(&id, false));
    assert_eq!(counts(&b), (2, 1, 2));
    b.set_hidden(&id, true);
    assert!(b.forget(&id).is_empty());
    assert_eq!((counts(&b), b.len()), ((1, 1, 1), 1));
    sync(&a, &mut b);
    assert_eq!(counts(&b), (2, 1, 2));
    assert_eq!(b.forget(&id).topic("room").unwrap().leaves.len(), 1);
}

#[test]
fn a_greater_incarnation_replaces_the_lower_one() {
    let mut old = tracker("a");
    let mut b = tracker("b");
    old.track(&NewEntry::new("room", "ann", "c").meta(b"old"))
        .unwrap();
    old.track(&NewEntry::new("room", "gone", "c")).unwrap();
    sync(&old, &mut b);
    let mut new = Tracker::new(ReplicaId::new("a", 2, 0).unwrap());
    new.track(&NewEntry::new("room", "ann", "c").meta(b"new"))
        .unwrap();
    let frame = new.delta_since(new.id(), 0).unwrap();
    let diff = b.apply(&frame).unwrap();
    let room = diff.topic("room").unwrap();
    assert_eq!(
        (room.joins.len(), room.leaves.len(), room.updates.len()),
        (0, 1, 1)
    );
    assert_eq!(b.count("room"), 1);
    let stale = old.delta_since(old.id(), 0).unwrap();
    assert_eq!(b.apply(&stale), Err(ApplyError::Superseded));
}

#[test]
fn an_extraction_contains_changes_between_its_slices() {
    for seed in 0..300u64 {
        let mut a = tracker("a");
        let mut b = tracker("b");
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut change = |a: &mut Tracker| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let key = format!("k{}", (state >> 33) % 12);
            let meta = (state >> 50) as u8;
            if (state >> 60) % 3 == 0 {
                a.untrack("room", &key, "c");
            } else {
                a.upsert(&NewEntry::new("room", &key, "c").meta(&[meta]))
                    .unwrap();
            }
        };
        (0..20).for_each(|_| change(&mut a));
        if seed % 2 == 0 {
            sync(&a, &mut b);
        }
        (0..10).for_each(|_| change(&mut a));
        let id = a.id().clone();
        if seed % 3 == 0 {
            a.trim_leaves(&id, a.clock(&id));
        }
        let Some(mut extract) = Extract::begin(&mut a, &id, b.clock(&id), false) else {
            continue;
        };
        while !extract.step(&mut a, 2).done {
            (0..seed % 4).for_each(|_| change(&mut a));
        }
        let (kind, body) = extract
            .finish(&mut a)
            .expect("nothing was trimmed")
            .encode();
        if kind == headcount::codec::Kind::STATE_REPAIR {
            b.apply_repair(&body, false).unwrap();
        } else {
            b.apply_delta(&body).unwrap();
        }
        assert_eq!(listed(&a, "room"), listed(&b, "room"), "seed {seed}");
        let fingerprint = |t: &Tracker| {
            t.origin_info(&id)
                .map(|info| (info.clock, info.fingerprint))
        };
        assert_eq!(fingerprint(&a), fingerprint(&b), "seed {seed}");
    }
}

#[test]
fn the_revision_of_a_list_changes_whenever_the_list_does() {
    let mut rng = Rng(7);
    let mut a = tracker("a");
    let mut b = tracker("b");
    let b_id = b.id().clone();
    let mut known = [("hall", None), ("room", None)];
    let mut kept = 0;
    for step in 1..5_000 {
        let topic = ["hall", "room"][rng.index(2)];
        let owner = ["x", "y"][rng.index(2)];
        let put = NewEntry::new(topic, ["ann", "bob"][rng.index(2)], owner);
        let side = if rng.one_in(2) { &mut a } else { &mut b };
        match rng.index(6) {
            0 | 1 => drop(side.upsert(&put).unwrap()),
            2 => drop(side.untrack(topic, put.key(), owner)),
            3 => sync(&b, &mut a),
            4 => drop(a.set_hidden(&b_id, rng.one_in(2))),
            _ if rng.one_in(20) => drop(a.reincarnate(ReplicaId::new("a", 1 + step, 0).unwrap())),
            _ => {}
        }
        for (topic, known) in &mut known {
            let revision = a.list_revision(topic);
            let list: Vec<EntryBuf> = a.list(topic).map(|entry| entry.to_buf()).collect();
            if let Some((before, listed)) = known
                && *before == revision
            {
                assert_eq!(*listed, list);
                kept += 1;
            }
            *known = Some((revision, list));
        }
    }
    assert!(kept > 3_000, "{kept}");
}
