//! Bytes into a loaded table or list.

use headcount::member_list::{
    Attrs, Clause, Id, IntId, ListSpec, LoadError, MemberTable, SavedIds, TableOptions, TextId,
};
use headcount::{ListOptions, MemberList, SortKey};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::GROWTH;
use crate::meter::peak_of;

/// Bytes of an empty table, and of the blocks that a reader holds.
const EMPTY: usize = 512 * 1024;

/// The first byte says whether the rest is a file or the content of one. What is loaded saves
/// itself, and the file of that loads; it takes writes.
pub fn load(data: &[u8]) {
    let Some((&framed, bytes)) = data.split_first() else {
        return;
    };
    let file = match framed % 2 {
        0 => bytes.to_vec(),
        _ => file_of(bytes),
    };
    match SavedIds::of(&file) {
        Some(SavedIds::U128) => loads(&file, u128::from),
        Some(SavedIds::Text) => loads(&file, |number| {
            TextId::new(&number.to_string()).expect("digits are an id")
        }),
        Some(SavedIds::Int) => loads(&file, |number| IntId::from(number.cast_signed())),
        _ => loads(&file, |number| number),
    }
}

/// Makes a file of a content. Ids with a sign are of version 2.
pub(crate) fn file_of(content: &[u8]) -> Vec<u8> {
    let version = 1 + u8::from(content.get(1) == Some(&3));
    let mut file = b"HCmember".to_vec();
    file.extend([version, 0, 0, 0]);
    for (number, block) in (0..).zip(content.chunks(1 << 16).chain([&[][..]])) {
        let len = u32::try_from(block.len()).expect("a block is short");
        file.extend(len.to_le_bytes());
        file.extend(xxh3_64_with_seed(block, number).to_le_bytes());
        file.extend_from_slice(block);
    }
    file
}

fn loads<I: Id>(file: &[u8], id: impl Fn(u64) -> I) {
    let table = bounded(file, || MemberTable::<I>::load(file, 1));
    if let Some(mut table) = table {
        table.build(usize::MAX);
        let mut again = Vec::new();
        table.save(&mut again).expect("memory takes everything");
        let loaded = MemberTable::<I>::load(&again[..], 1).expect("it was just saved");
        assert_eq!(loaded.len(), table.len());
        let lists: Vec<_> = table.lists().collect();
        for list in lists {
            let shown = table.list(list).expect("all lists are built");
            assert_eq!(shown.iter().count(), shown.len());
        }
        for number in 0..16 {
            table.remove(&id(number), None);
        }
    }
    let list = bounded(file, || MemberList::<I>::load(file, 1));
    if let Some(mut list) = list {
        assert_eq!(list.iter().count(), list.len());
        let mut again = Vec::new();
        list.save(&mut again).expect("memory takes everything");
        let loaded = MemberList::<I>::load(&again[..], 1).expect("it was just saved");
        assert_eq!(loaded.member_count(), list.member_count());
        let group = list.groups().map(|group| group.id).next();
        for number in 0..16 {
            if let Some(group) = group {
                let put = list.upsert(id(number), group, &SortKey::from_u64(number), 1);
                put.expect("there is room");
            }
            list.remove(&id(number));
        }
    }
}

fn bounded<T>(file: &[u8], load: impl FnOnce() -> Result<T, LoadError>) -> Option<T> {
    let (loaded, peak) = peak_of(load);
    let bound = EMPTY + GROWTH * file.len();
    assert!(
        peak <= bound,
        "{} bytes cost {peak}, over {bound}",
        file.len()
    );
    match loaded {
        Ok(loaded) => Some(loaded),
        Err(error) => {
            assert!(error.offset() <= file.len() as u64, "{error}");
            None
        }
    }
}

/// Saves a table with lists, and a list with groups.
pub(crate) fn saved<I: Id>(id: impl Fn(u64) -> I) -> [Vec<u8>; 2] {
    let options = TableOptions::default().key_columns(2).payloads(true);
    let mut table = MemberTable::new(options.shown(1)).expect("good options");
    let mut list = MemberList::new(ListOptions::default().payloads(true));
    let groups = ["online", "offline"].map(|name| list.add_group(name).expect("a good name"));
    let bit = |bit| Attrs::of([bit]).expect("a bit");
    for number in 0..6 {
        let key = SortKey::from_name(["ann", "Ann", "zoë"][number as usize % 3]);
        let keys = [key, SortKey::from_u64(number)];
        let attrs = [bit(0), bit(300)][number as usize % 2];
        let put = table.upsert(id(number), &keys, attrs, None);
        put.expect("there is room");
        let group = groups[number as usize % 2];
        let put = list.upsert(id(number), group, &key, 7);
        put.expect("there is room");
    }
    table.remove(&id(2), None);
    let online = Clause::new().all(bit(0));
    for spec in [
        ListSpec::new("all", "offline").group(online, "online"),
        ListSpec::new("some", "some").admit([online]).never([id(0)]),
    ] {
        table.add_list(spec).expect("a good spec");
    }
    table.build(usize::MAX);
    table.add_list(ListSpec::new("new", "new")).expect("good");
    let mut files = [Vec::new(), Vec::new()];
    table.save(&mut files[0]).expect("memory takes everything");
    list.save(&mut files[1]).expect("memory takes everything");
    files
}
