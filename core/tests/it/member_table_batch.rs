//! Batches of a table against the same changes one by one, bulk loads against single members, and
//! their errors.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use headcount::member_list::{
    Attrs, Clause, Fields, ListId, ListMove, ListSpec, MemberTable, NewTableMember, PAYLOAD_MAX,
    TableChange, TableError, TableOptions, TextId,
};
use headcount::{Bodies, ListError, SortKey, Viewer, WindowSpec};

use crate::support::list_keys::{FromNumber, Keys};
use crate::support::rng::Rng;

const SHOWN: u32 = 0b011;

/// A table with a viewer of each of its lists.
struct Watched<I> {
    table: MemberTable<I>,
    lists: [ListId; 3],
    viewers: Vec<Viewer<I>>,
}

impl<I: FromNumber> Watched<I> {
    fn new() -> Self {
        let options = TableOptions::default().key_columns(2).payloads(true);
        let mut table = MemberTable::new(options.shown(SHOWN)).expect("good options");
        let online = Clause::new().all(Attrs::from_low(1));
        let staff = Clause::new().any(Attrs::of([2, 400]).expect("bits"));
        let specs = [
            ListSpec::new("all", "offline").group(online, "äöü"),
            ListSpec::new("newest", "all").sort_by(1).descending(true),
            ListSpec::new("staff", "all").admit([staff]).headers(false),
        ];
        let lists = specs.map(|spec| table.add_list(spec).expect("a good spec"));
        Self {
            table,
            lists,
            viewers: Vec::new(),
        }
    }

    fn watch(mut self) -> Self {
        for list in self.lists {
            let mut live = self.table.live(list).expect("built");
            for window in [WindowSpec::Chunk(0), WindowSpec::Chunk(1)] {
                let mut viewer = Viewer::new();
                let opened = viewer.open(&mut live, window, Bodies::None);
                assert!(opened.is_ok());
                self.viewers.push(viewer);
            }
        }
        self
    }

    /// Returns what each viewer is told, as text.
    fn tick(&mut self, second: u64) -> Vec<String> {
        let tick = self.table.tick(Duration::from_secs(second), Bodies::None);
        let viewers = self.viewers.iter_mut();
        let bundles = viewers.map(|viewer| format!("{:?}", tick.bundle(viewer)));
        bundles.collect()
    }

    /// Makes the change by the single call, and returns the rows that it reports and whether the
    /// member was known or is new.
    fn single(&mut self, change: TableChange<I>) -> (Vec<ListMove>, bool) {
        let mut rows = Vec::new();
        let table = &mut self.table;
        let is_done = match change {
            TableChange::Upsert { id, keys, attrs } => {
                table.upsert(id, &keys, attrs, Some(&mut rows)).is_ok()
            }
            TableChange::Remove(id) => table.remove(&id, Some(&mut rows)),
            TableChange::SetKey { id, column, key } => {
                table.set_key(&id, column, &key, Some(&mut rows)).is_ok()
            }
            TableChange::SetAttrs { id, clear, set } => {
                table.set_attrs(&id, &clear, &set, Some(&mut rows)).is_ok()
            }
            TableChange::SetPayload(id, payload) => table.set_payload(&id, payload).is_ok(),
            TableChange::TouchFields(id, fields) => table.touch_fields(&id, fields).is_ok(),
            other => panic!("a change that this test does not know: {other:?}"),
        };
        (rows, is_done)
    }

    fn assert_equals(&self, other: &Self, ids: u64) {
        assert_eq!(self.table.len(), other.table.len());
        for id in (0..ids).map(I::from_number) {
            assert_eq!(self.table.get(&id), other.table.get(&id));
        }
        for (list, twin) in self.lists.iter().zip(&other.lists) {
            let list = self.table.list(*list).expect("built");
            let twin = other.table.list(*twin).expect("built");
            assert!(list.iter().eq(twin.iter()));
        }
    }
}

fn any_change<I: FromNumber>(rng: &mut Rng, keys: Keys, ids: u64) -> TableChange<I> {
    let id = I::from_number(rng.below(ids));
    let attrs = |rng: &mut Rng| {
        let bits = [0, 1, 2, 5, 400, 511];
        let bits = bits.into_iter().filter(|_| rng.one_in(3));
        Attrs::of(bits).expect("known bits")
    };
    match rng.below(9) {
        0..3 => TableChange::Upsert {
            id,
            keys: (0..2).map(|_| keys.key(rng.below(200))).collect(),
            attrs: attrs(rng),
        },
        3 => TableChange::Remove(id),
        4 => TableChange::SetKey {
            id,
            column: rng.index(2),
            key: keys.key(rng.below(200)),
        },
        5..7 => TableChange::SetAttrs {
            id,
            clear: attrs(rng),
            set: attrs(rng),
        },
        7 => TableChange::SetPayload(id, Bytes::from(vec![b'x'; rng.index(3)])),
        _ => TableChange::TouchFields(id, Fields(1 << rng.index(3))),
    }
}

/// Applies batches to one table and their changes, one by one, to its twin.
fn batches_equal_single_calls<I: FromNumber>(
    mut batched: Watched<I>,
    mut plain: Watched<I>,
    seed: u64,
    ids: u64,
) {
    let mut rng = Rng(seed);
    let keys = Keys::ALL[rng.index(Keys::ALL.len())];
    for round in 0..10 {
        let changes: Vec<TableChange<I>> = (0..rng.index(120))
            .map(|_| any_change(&mut rng, keys, ids))
            .collect();
        let mut rows = Vec::new();
        let asked = if rng.one_in(4) { None } else { Some(&mut rows) };
        let is_asked = asked.is_some();
        let report = batched.table.apply_batch(&changes, asked);
        let report = report.expect("all can be applied");
        let before = plain.table.len();
        let mut told = Vec::new();
        let mut missing = 0;
        for (at, change) in changes.iter().enumerate() {
            let (moves, is_done) = plain.single(change.clone());
            told.extend(moves.into_iter().map(|moved| (at, moved)));
            missing += usize::from(!is_done);
        }
        assert_eq!(
            rows,
            if is_asked { told } else { Vec::new() },
            "seed {seed}"
        );
        let counted = report.inserted + report.updated + report.removed;
        assert_eq!(
            (report.missing, counted),
            (missing, changes.len() - missing)
        );
        assert_eq!(before + report.inserted, plain.table.len() + report.removed);
        batched.assert_equals(&plain, ids.min(300));
        assert_eq!(
            batched.tick(round + 1),
            plain.tick(round + 1),
            "seed {seed}"
        );
    }
}

#[test]
fn table_batches_do_and_report_what_single_calls_do() {
    for seed in 0..40 {
        let ids = [5, 60, 250][seed as usize % 3];
        let new = || Watched::<u64>::new().watch();
        batches_equal_single_calls(new(), new(), seed, ids);
        let new = || Watched::<u128>::new().watch();
        batches_equal_single_calls(new(), new(), seed, ids);
        let new = || Watched::<TextId>::new().watch();
        batches_equal_single_calls(new(), new(), seed, ids);
    }
}

/// Members whose keys all occur several times.
fn members(count: u64) -> impl Iterator<Item = NewTableMember<u64>> {
    (0..count).map(move |at| {
        let id = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        NewTableMember {
            id,
            keys: vec![
                SortKey::from_name(&format!("member {}", id % 299)),
                SortKey::from_u64(at / 2),
            ],
            attrs: Attrs::from_low(id as u32 % 8),
            payload: (at % 3 == 0).then(|| Bytes::copy_from_slice(&at.to_be_bytes())),
        }
    })
}

/// Batches of large tables read ahead.
#[test]
fn batches_of_a_large_table_do_what_single_calls_do() {
    let new = || {
        let mut world = Watched::<u64>::new();
        let report = world.table.bulk_load(members(1 << 18));
        assert_eq!(report.expect("good members").loaded, 1 << 18);
        world.watch()
    };
    let mut rng = Rng(1);
    let known: Vec<u64> = members(1 << 18).map(|member| member.id).collect();
    let mut batched = new();
    let mut plain = new();
    for round in 0..4 {
        let changes: Vec<TableChange<u64>> = (0..100)
            .map(|_| {
                let id = known[rng.index(known.len())];
                match any_change(&mut rng, Keys::Guild, 9) {
                    TableChange::Upsert { keys, attrs, .. } => {
                        TableChange::Upsert { id, keys, attrs }
                    }
                    TableChange::Remove(_) => TableChange::Remove(id),
                    TableChange::SetKey { column, key, .. } => {
                        TableChange::SetKey { id, column, key }
                    }
                    TableChange::SetAttrs { clear, set, .. } => {
                        TableChange::SetAttrs { id, clear, set }
                    }
                    other => other,
                }
            })
            .collect();
        let mut rows = Vec::new();
        let report = batched.table.apply_batch(&changes, Some(&mut rows));
        assert!(report.expect("all can be applied").updated > 50);
        let mut told = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            let (moves, _) = plain.single(change.clone());
            told.extend(moves.into_iter().map(|moved| (at, moved)));
        }
        assert_eq!(rows, told);
        assert_eq!(batched.tick(round + 1), plain.tick(round + 1));
    }
    for id in known.iter().step_by(97) {
        assert_eq!(batched.table.get(id), plain.table.get(id));
    }
}

/// A table that was loaded is the one that single members make, whatever it had before.
#[test]
fn a_bulk_load_makes_what_single_members_make() {
    for (before, load) in [(0, 900), (900, 1_000), (20, 1_500), (3_000, 3_010)] {
        let mut loaded = Watched::<u64>::new();
        let mut plain = Watched::<u64>::new();
        // A member that was put in singly has a payload, and one revision more, after that.
        let plain_members = |count| {
            members(count).map(|mut member| {
                member.payload = None;
                member
            })
        };
        let put = |world: &mut Watched<u64>, member: NewTableMember<u64>| {
            let NewTableMember {
                id, keys, attrs, ..
            } = member;
            assert_eq!(world.table.upsert(id, &keys, attrs, None), Ok(true));
        };
        plain_members(before).for_each(|member| put(&mut loaded, member));
        plain_members(load).for_each(|member| put(&mut plain, member));
        let report = loaded.table.bulk_load(plain_members(load));
        let report = report.expect("good members");
        assert_eq!(report.loaded as u64, load - before);
        assert_eq!(report.duplicates.len() as u64, before);
        for id in members(load).map(|member| member.id) {
            assert_eq!(loaded.table.get(&id), plain.table.get(&id));
        }
        loaded.assert_equals(&plain, 0);
        assert_eq!(loaded.table.attr_sets(), plain.table.attr_sets());
    }
}

#[test]
fn batches_and_loads_of_tables_are_all_or_nothing() {
    let options = TableOptions::default();
    let mut table = MemberTable::<u64>::new(options.clone()).expect("good options");
    let key = SortKey::from_name("Ada");
    let attrs = Attrs::EMPTY;
    let upsert = |id, keys: usize| TableChange::Upsert {
        id,
        keys: vec![key; keys],
        attrs,
    };
    table.apply_batch(&[upsert(1, 1)], None).expect("good");
    let column = usize::MAX;
    let payload = Bytes::from_static(b"p");
    let wrong = TableError::WrongKeys { got: 0, columns: 1 };
    let unknown = TableError::UnknownKeyColumn { column, columns: 1 };
    let none: TableError = ListError::NoPayloads.into();
    let bad = [
        (upsert(3, 0), wrong),
        (TableChange::SetKey { id: 9, column, key }, unknown),
        (TableChange::SetPayload(9, payload.clone()), none.clone()),
    ];
    for (change, error) in bad {
        let changes = [TableChange::Remove(1), upsert(2, 1), change];
        let refused = table.apply_batch(&changes, None).expect_err("a bad change");
        let text = format!("change 2 of the batch: {error}");
        assert_eq!(refused.to_string(), text);
        let source = refused.source().expect("the reason");
        assert_eq!(source.to_string(), error.to_string());
        let error = Box::new(error);
        assert_eq!(refused, TableError::InBatch { at: 2, error });
        assert!(table.contains(&1) && table.len() == 1);
    }
    let member = |id, payload| NewTableMember {
        id,
        keys: vec![key],
        attrs: Attrs::from_low(id as u32),
        payload,
    };
    let load = [member(2, None), member(3, Some(payload))];
    let error = Box::new(none);
    let refused = table.bulk_load(load.clone());
    assert_eq!(refused, Err(TableError::InBatch { at: 1, error }));
    let mut table = MemberTable::new(options.payloads(true)).expect("good options");
    assert_eq!(table.bulk_load(load).expect("good members").loaded, 2);
    let payloads = [2, 3].map(|id| table.get(&id).expect("known").payload);
    assert_eq!(payloads, [&b""[..], b"p"]);
    let longest = Bytes::from(vec![0; PAYLOAD_MAX]);
    let load = [member(4, Some(longest.clone())), member(4, None)];
    assert_eq!(table.bulk_load(load).expect("good members").loaded, 1);
    assert_eq!(table.get(&4).expect("known").payload, longest);
    assert_eq!(table.attr_sets(), 3);
}
