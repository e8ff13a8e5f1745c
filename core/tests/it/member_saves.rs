//! Saved files that were cut, altered or made up, and saves that are given up or refused.

use std::io::{self, Read};
use std::time::Duration;

use allocation_counter::measure;
use headcount::member_list::{
    Attrs, Clause, IntId, ListSpec, LoadError, MemberTable, Savable, SaveError, SavedIds,
    TableOptions, TextId,
};
use headcount::{Bodies, ListOptions, MemberList, Row, SortKey, Viewer, WindowSpec};

use crate::support::list_keys::{FromNumber, Keys};
use crate::support::saved::{content_of, file_of};

/// A small table with everything that a table can have.
fn table<I: FromNumber>() -> MemberTable<I> {
    let options = TableOptions::default()
        .key_columns(2)
        .payloads(true)
        .shown(1)
        .first_epoch(70);
    let mut table = MemberTable::new(options).expect("good options");
    let online = Attrs::of([0]).expect("a bit");
    let staff = Attrs::of([300]).expect("a bit");
    for number in 0..9 {
        let keys = [Keys::Mixed.key(number), SortKey::from_u64(9 - number)];
        let attrs = [online, staff, Attrs::EMPTY][number as usize % 3];
        let id = I::from_number(number);
        table.upsert(id.clone(), &keys, attrs, None).expect("room");
        let payload = vec![number as u8; number as usize];
        table.set_payload(&id, payload.into()).expect("known");
    }
    table.remove(&I::from_number(4), None);
    let all = ListSpec::new("all", "offline").group(Clause::new().all(online), "online");
    let all = table.add_list(all).expect("a good spec");
    let other = ListSpec::new("staff", "staff")
        .admit([Clause::new().any(staff)])
        .always([I::from_number(0)])
        .never([I::from_number(1)])
        .sort_by(1)
        .descending(true);
    table.add_list(other).expect("a good spec");
    table.build(usize::MAX);
    let group = table.list(all).expect("built").group("offline");
    let group = group.expect("a group of the spec");
    table.set_group_collapsed(all, group, true).expect("built");
    let next = ListSpec::new("everyone", "members");
    table.set_spec(all, next).expect("a good spec");
    table
}

fn list<I: FromNumber>() -> MemberList<I> {
    let mut list = MemberList::new(ListOptions::default().payloads(true));
    let groups = ["online", "オフライン"].map(|name| list.add_group(name).expect("a good name"));
    for number in 0..7 {
        let group = groups[number as usize % 2];
        let id = I::from_number(number);
        let key = Keys::Mixed.key(number);
        list.upsert(id, group, &key, number as u32).expect("room");
    }
    list.set_group_hidden(groups[1], true).expect("known");
    list
}

fn saved<I: FromNumber>() -> [Vec<u8>; 2] {
    let mut files = [Vec::new(), Vec::new()];
    table::<I>().save(&mut files[0]).expect("memory takes all");
    list::<I>().save(&mut files[1]).expect("memory takes all");
    files
}

/// Loads a file as either; a table or list that comes of it must take changes.
fn load<I: FromNumber>(file: &[u8], at: usize) -> Result<(), LoadError> {
    if at == 0 {
        let mut table = MemberTable::<I>::load(file, 0)?;
        table.build(usize::MAX);
        for number in 0..9 {
            let id = I::from_number(number);
            let keys: Vec<SortKey> = match table.get(&id) {
                Some(member) => (member.keys.iter().map(|_| Keys::Few.key(number))).collect(),
                None => continue,
            };
            let attrs = Attrs::of([0, 300]).expect("bits");
            table.upsert(id.clone(), &keys, attrs, None).expect("room");
            table.remove(&id, None);
        }
        let lists: Vec<_> = table.lists().collect();
        for id in lists {
            let list = table.list(id).expect("built");
            assert_eq!(list.iter().count(), list.len());
        }
    } else {
        let mut list = MemberList::<I>::load(file, 0)?;
        assert_eq!(list.iter().count(), list.len());
        let ids: Vec<I> = (0..9).map(I::from_number).collect();
        for id in &ids {
            list.set_key(id, &SortKey::from_u64(1)).ok();
            list.remove(id);
        }
    }
    Ok(())
}

fn every_damage_is_noticed<I: FromNumber>() {
    for (at, file) in saved::<I>().iter().enumerate() {
        load::<I>(file, at).expect("the file is whole");
        for cut in 0..file.len() {
            let error = load::<I>(&file[..cut], at).expect_err("it was cut");
            assert!(matches!(error, LoadError::Cut { .. } | LoadError::NotASave));
            assert!(error.offset() <= cut as u64, "{error}");
        }
        for place in 0..file.len() {
            for bit in [1, 0x80, 0xff] {
                let mut file = file.clone();
                file[place] ^= bit;
                let error = load::<I>(&file, at).expect_err("it was altered");
                let is_typed = match place {
                    0..8 => matches!(error, LoadError::NotASave),
                    8..12 => matches!(
                        error,
                        LoadError::NewerVersion { max: 2, .. } | LoadError::NotASave
                    ),
                    _ => matches!(error, LoadError::Damaged { .. } | LoadError::Cut { .. }),
                };
                assert!(is_typed, "byte {place}: {error}");
            }
        }
        let longer = [&file[..], b"x"].concat();
        let error = load::<I>(&longer, at).expect_err("there is more");
        assert!(matches!(error, LoadError::Damaged { .. }));
        assert_eq!(error.offset(), file.len() as u64);
    }
}

#[test]
fn every_cut_and_every_altered_byte_is_an_error() {
    every_damage_is_noticed::<u64>();
    every_damage_is_noticed::<IntId>();
    every_damage_is_noticed::<u128>();
    every_damage_is_noticed::<TextId>();
}

/// Alters every byte of a content and gives it right checksums.
fn every_content_is_refused_or_sound<I: FromNumber>() {
    for (at, file) in saved::<I>().iter().enumerate() {
        let content = content_of(file);
        assert_eq!(file_of(&content), *file, "the test knows the blocks");
        let mut refused = 0;
        for place in 0..content.len() {
            for byte in [0, 1, 2, 0x7f, 0xff, content[place] ^ 1, content[place] ^ 4] {
                let mut content = content.clone();
                content[place] = byte;
                refused += usize::from(load::<I>(&file_of(&content), at).is_err());
            }
            let error = load::<I>(&file_of(&content[..place]), at).expect_err("it was cut");
            assert!(matches!(error, LoadError::Invalid { .. }), "{error}");
        }
        assert!(refused > content.len(), "{refused} files refused");
        let more = [&content[..], &[0]].concat();
        let error = load::<I>(&file_of(&more), at).expect_err("there is more");
        assert!(matches!(error, LoadError::Invalid { .. }), "{error}");
    }
}

#[test]
fn a_content_that_others_made_up_is_refused_or_makes_a_sound_table() {
    every_content_is_refused_or_sound::<u64>();
    every_content_is_refused_or_sound::<IntId>();
    every_content_is_refused_or_sound::<TextId>();
}

#[test]
fn a_file_of_something_else_says_so() {
    let [table, list] = saved::<u64>();
    let error = MemberTable::<u128>::load(&table[..], 0).expect_err("other ids");
    let LoadError::OtherKind { expected, found } = error else {
        panic!("{error}");
    };
    assert_eq!((expected, found), ("table of UUIDs", "table of integers"));
    let error = MemberTable::<u64>::load(&list[..], 0).expect_err("a list");
    assert!(matches!(error, LoadError::OtherKind { .. }), "{error}");
    for other in [
        &b""[..],
        b"{}",
        b"HCmembez\x01\0\0\0",
        b"\x89PNG\r\n\x1a\n0123",
    ] {
        let error = MemberTable::<u64>::load(other, 0).expect_err("no save");
        assert!(matches!(error, LoadError::NotASave), "{error}");
    }
    let mut newer = table;
    newer[8] = 3;
    let error = MemberTable::<u64>::load(&newer[..], 0).expect_err("too new");
    assert_eq!(
        error.to_string(),
        "the file has version 3, known are up to 2"
    );
}

/// Files have signs only where an id needs one; those without are files of `u64` and of every version before.
#[test]
fn only_files_with_ids_below_zero_have_signs() {
    let mut list = MemberList::<IntId>::new(ListOptions::default());
    let group = list.add_group("ü").expect("a good name");
    let saved = |list: &mut MemberList<IntId>| {
        let mut file = Vec::new();
        list.save(&mut file).expect("memory takes all");
        file
    };
    let key = SortKey::from_name("the same");
    for id in [0, u64::MAX, 1 << 63] {
        list.upsert(id.into(), group, &key, 0).expect("room");
    }
    let natural = saved(&mut list);
    assert_eq!(
        (natural[8], SavedIds::of(&natural)),
        (1, Some(SavedIds::U64))
    );
    let read = MemberList::<u64>::load(&natural[..], 0).expect("files of before");
    assert_eq!(read.index_of(&u64::MAX), Some(3));
    let mut list = MemberList::<IntId>::load(&natural[..], 0).expect("files of before");

    for id in [-1, i64::MIN] {
        list.upsert(id.into(), group, &key, 0).expect("room");
    }
    let signed = saved(&mut list);
    assert_eq!((signed[8], SavedIds::of(&signed)), (2, Some(SavedIds::Int)));
    let error = MemberList::<u64>::load(&signed[..], 0).expect_err("a sign");
    let LoadError::OtherKind { expected, found } = error else {
        panic!("{error}");
    };
    let names = ("list of integers", "list of integers with a sign");
    assert_eq!((expected, found), names);
    let read = MemberList::<IntId>::load(&signed[..], 0).expect("it was just saved");
    let ids = read.iter().filter_map(|row| match row {
        Row::Member { id, .. } => Some(i128::from(*id)),
        Row::Header { .. } => None,
    });
    let expected = [i64::MIN.into(), -1, 0, 1 << 63, u64::MAX.into()];
    assert_eq!(ids.collect::<Vec<i128>>(), expected);

    let mut table = MemberTable::<IntId>::new(TableOptions::default()).expect("good options");
    let spec = ListSpec::new("a", "b").never([IntId::from(-7i64), IntId::from(7u64)]);
    let list = table.add_list(spec).expect("a good spec");
    let mut file = Vec::new();
    table.save(&mut file).expect("memory takes all");
    assert_eq!(SavedIds::of(&file), Some(SavedIds::Int), "a list names one");
    let read = MemberTable::<IntId>::load(&file[..], 0).expect("it was just saved");
    let found = read.list_named("a").and_then(|list| read.spec(list).ok());
    assert_eq!(found, table.spec(list).ok());

    for (file, version) in [(natural, 2), (signed, 1)] {
        let mut other = file;
        other[8] = version;
        let error = MemberList::<IntId>::load(&other[..], 0).expect_err("another version");
        assert!(matches!(error, LoadError::Invalid { .. }), "{error}");
    }
}

#[test]
fn claims_cost_no_memory() {
    const SLOTS: usize = 20;
    const MEMBERS: usize = 28;
    let content = content_of(&saved::<u64>()[0]);
    for (place, claim) in [
        (SLOTS, 1_u64 << 40),
        (MEMBERS, 1 << 40),
        (SLOTS, u64::MAX),
        (SLOTS, 1 << 31),
        (MEMBERS, 1 << 30),
    ] {
        let mut content = content.clone();
        content[place..place + 8].copy_from_slice(&claim.to_le_bytes());
        let file = file_of(&content);
        let mut error = None;
        let memory = measure(|| error = MemberTable::<u64>::load(&file[..], 0).err());
        let error = error.expect("so many do not follow");
        match claim {
            0..=0x8000_0000 => assert!(matches!(error, LoadError::Invalid { .. }), "{error}"),
            _ => assert!(matches!(error, LoadError::OverLimit { got, .. } if got == claim)),
        }
        assert!(memory.bytes_max < 1 << 18, "{} bytes", memory.bytes_max);
    }
    // A block that says that it is longer than any, and one that is longer than the file.
    for (len, is_cut) in [(u32::MAX, false), (1 << 16, true)] {
        let mut file = b"HCmember\x01\0\0\0".to_vec();
        file.extend(len.to_le_bytes());
        file.extend([0; 8]);
        let mut error = None;
        let memory = measure(|| error = MemberTable::<u64>::load(&file[..], 0).err());
        let error = error.expect("there is no block");
        assert_eq!(matches!(error, LoadError::Cut { .. }), is_cut, "{error}");
        assert!(memory.bytes_max < 1 << 18, "{} bytes", memory.bytes_max);
    }
}

#[test]
fn steps_are_bounded_and_changed_keys_cost_little() {
    const MEMBERS: u64 = 20_000;
    const STEP: usize = 1 << 14;
    let mut table = MemberTable::<u64>::new(TableOptions::default()).expect("good options");
    let key = |number: u64| SortKey::from_name(&format!("member {number:08}"));
    for id in 0..MEMBERS {
        let put = table.upsert(id, &[key(id)], Attrs::EMPTY, None);
        put.expect("room");
    }
    table.add_list(ListSpec::new("all", "all")).expect("good");
    table.build(usize::MAX);
    let before = table.heap_bytes();
    let mut job = table.begin_save().expect("no other save");
    for id in 0..MEMBERS {
        // As long as the old ones, so that only what is kept costs memory.
        let set = table.set_key(&id, 0, &key(MEMBERS - id), None);
        set.expect("known");
    }
    let kept = table.heap_bytes() - before;
    assert!(kept <= 21 * MEMBERS as usize, "{kept} bytes");
    let mut file = Vec::new();
    let mut steps = 0;
    loop {
        let written = file.len();
        let is_over = job.step(&mut table, STEP, &mut file).expect("the same");
        // What did not fill a block before, and a member more than was asked for.
        assert!(file.len() - written < STEP + (1 << 16) + 1_000);
        steps += 1;
        if is_over {
            break;
        }
    }
    assert!(steps >= file.len() / STEP, "{steps} steps");
    assert!(job.step(&mut table, STEP, &mut file).expect("over"));
    assert!(table.heap_bytes() <= before + before / 10);
    let loaded = MemberTable::<u64>::load(&file[..], 0).expect("just saved");
    let list = loaded.list_named("all").expect("it was saved");
    let list = loaded.list(list).expect("built");
    assert_eq!(list.index_of(&17), Some(18), "as at the beginning");
}

#[test]
fn one_save_at_a_time_of_the_table_it_was_begun_on() {
    fn refuses<I: FromNumber, T: Savable<I>>(
        mut one: T,
        mut other: T,
        begin: impl Fn(&mut T) -> Result<headcount::member_list::SaveJob<I>, SaveError>,
    ) {
        let mut job = begin(&mut one).expect("no other save");
        assert!(matches!(begin(&mut one), Err(SaveError::Running)));
        let mut out = Vec::new();
        let refused = job.step(&mut other, 1, &mut out);
        assert!(matches!(refused, Err(SaveError::OtherTable)));
        let mut of_other = begin(&mut other).expect("no other save");
        let refused = job.step(&mut other, 1, &mut out);
        assert!(matches!(refused, Err(SaveError::OtherTable)));
        assert!(out.is_empty());
        // A save that is given up makes room for the next one.
        drop(job);
        let mut next = begin(&mut one).expect("the other one was dropped");
        assert!(next.step(&mut one, usize::MAX, &mut out).expect("same"));
        let over = of_other.step(&mut other, usize::MAX, &mut out);
        assert!(over.expect("same"));
        let _ = begin(&mut one).expect("the other one is over");
    }
    refuses(table::<u64>(), table::<u64>(), MemberTable::begin_save);
    refuses(list::<TextId>(), list(), MemberList::begin_save);
}

#[test]
fn classes_that_go_during_a_save_are_in_the_file() {
    let mut table = MemberTable::<u64>::new(TableOptions::default()).expect("good options");
    let attrs = |bit: u16| Attrs::of([bit]).expect("a bit");
    for id in 0..400 {
        let put = table.upsert(id, &[SortKey::from_u64(id)], attrs(id as u16), None);
        put.expect("room");
    }
    let mut job = table.begin_save().expect("no other save");
    let mut file = Vec::new();
    let mut round = 0;
    while !job.step(&mut table, 100, &mut file).expect("the same") {
        // Every class is given up, and so is its successor.
        for id in 0..400 {
            let to = attrs((id as u16 + 1 + round) % 512);
            let had = table.get(&id).expect("known").attrs;
            table.set_attrs(&id, &had, &to, None).expect("room");
        }
        round += 1;
        if round > 20 {
            assert!(job.step(&mut table, usize::MAX, &mut file).expect("same"));
        }
    }
    let loaded = MemberTable::<u64>::load(&file[..], 0).expect("just saved");
    for id in 0..400 {
        assert_eq!(loaded.get(&id).expect("known").attrs, attrs(id as u16));
    }
}

#[test]
fn epochs_go_on_after_a_load() {
    let epochs = |table: &mut MemberTable<u64>| {
        let names = ["all", "staff", "everyone"];
        let ids = names.iter().filter_map(|name| table.list_named(name));
        let ids: Vec<_> = ids.collect();
        let epoch = |id| {
            let mut live = table.live(id).expect("built");
            let bundle = Viewer::new().open(&mut live, WindowSpec::Chunk(0), Bodies::None);
            bundle.expect("a good window").epoch.number
        };
        ids.into_iter().map(epoch).collect::<Vec<u64>>()
    };
    let mut saved = table::<u64>();
    let mut file = Vec::new();
    saved.save(&mut file).expect("memory takes everything");
    let before = epochs(&mut saved);
    assert_eq!(before, [71, 70]);
    let load = |first| MemberTable::<u64>::load(&file[..], first).expect("just saved");
    let after = epochs(&mut load(0));
    assert!(after.iter().all(|epoch| *epoch >= 72), "{after:?}");
    let later = epochs(&mut load(5_000));
    assert!(later.iter().all(|epoch| *epoch >= 5_000), "{later:?}");

    let mut list = list::<u64>();
    list.begin_epoch("room 7", 40).expect("a higher epoch");
    let mut file = Vec::new();
    list.save(&mut file).expect("memory takes everything");
    for (first, epoch) in [(0, 41), (40, 41), (90, 90)] {
        let mut list = MemberList::<u64>::load(&file[..], first).expect("just saved");
        let mut viewer = Viewer::new();
        let bundle = viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None);
        let bundle = bundle.expect("a good window");
        assert_eq!((&*bundle.list, bundle.epoch.number), ("room 7", epoch));
        assert!(list.tick(Duration::ZERO, Bodies::None).version() > 0);
    }
}

/// Gives its bytes one by one, interrupted, and then an error if it has one.
struct Slow<'a>(&'a [u8], bool, Option<io::ErrorKind>);

impl Read for Slow<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match (self.0.split_first(), self.2) {
            (Some((first, rest)), _) => {
                to[0] = *first;
                self.0 = rest;
                Ok(1)
            }
            (None, Some(kind)) => Err(kind.into()),
            (None, None) => Ok(0),
        }
    }
}

#[test]
fn readers_and_writers_that_fail_are_reported() {
    let [file, _] = saved::<u64>();
    let slow = MemberTable::<u64>::load(Slow(&file, false, None), 0);
    assert_eq!(slow.expect("it is whole").len(), 8);
    let half = &file[..file.len() / 2];
    let failing = Slow(half, false, Some(io::ErrorKind::TimedOut));
    let error = MemberTable::<u64>::load(failing, 0).expect_err("the reader fails");
    assert_eq!(error.offset(), half.len() as u64);
    let LoadError::Io { error, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);

    let mut table = table::<u64>();
    let full = &mut [0_u8; 40][..];
    let error = table.save(full).expect_err("40 bytes are too few");
    assert!(matches!(error, SaveError::Io(_)), "{error}");
    table.save(io::sink()).expect("the failed save is over");
}
