//! Writes and reads singly and in batches beside hand-written collections, with ids of all kinds.

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;

use headcount::member_list::{Change, Id, NewMember, TextId};
use headcount::{GroupId, ListOptions, MemberList, SortKey};
use headcount_benches::list::{Rng, nicknames};
use headcount_benches::meter::time_each;
use headcount_benches::table::{Goal, Table};

const BATCHES: &str = "in batches";
const SINGLY: &str = "singly";
const PAIR: &str = "HashMap+BTreeSet";
const MOVE: &str = "upsert that moves";
const NEW: &str = "upsert of a new member";
const FIND: &str = "index_of (pair: get by key)";

/// Changes of a batch, and ids that are asked for at once.
const BATCH: usize = 1_000;
/// Rounds in which the structures take turns.
const ROUNDS: usize = 3;

type Name = [u8; 12];

/// A kind of id. Members join in the order of the numbers.
trait Kind {
    const NAME: &'static str;
    type Id: Id;
    fn id(number: u64, rng: &mut Rng) -> Self::Id;
}

/// Milliseconds of the moment at which a member joined: about ten a second.
const fn joined_at(number: u64) -> u64 {
    1_600_000_000_000 + number * 97
}

/// Numbers of a database.
struct Sequential;

impl Kind for Sequential {
    const NAME: &'static str = "sequential u64";
    type Id = u64;

    fn id(number: u64, _rng: &mut Rng) -> u64 {
        number
    }
}

/// Milliseconds since 2015, a worker and a counter.
struct Snowflake;

impl Kind for Snowflake {
    const NAME: &'static str = "snowflake u64";
    type Id = u64;

    fn id(number: u64, rng: &mut Rng) -> u64 {
        let worker = rng.below(32) as u64;
        (joined_at(number) - 1_420_070_400_000) << 22 | worker << 12 | number & 7
    }
}

/// Random bits.
struct UuidV4;

impl Kind for UuidV4 {
    const NAME: &'static str = "UUID v4";
    type Id = u128;

    fn id(_number: u64, rng: &mut Rng) -> u128 {
        let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62
    }
}

/// Milliseconds, then random bits.
struct UuidV7;

impl Kind for UuidV7 {
    const NAME: &'static str = "UUID v7";
    type Id = u128;

    fn id(number: u64, rng: &mut Rng) -> u128 {
        let random = UuidV4::id(number, rng) & ((1 << 76) - 1);
        u128::from(joined_at(number)) << 80 | 0x7 << 76 | random
    }
}

/// The name of an account, which begins as many do.
struct Text;

impl Kind for Text {
    const NAME: &'static str = "text";
    type Id = TextId;

    fn id(number: u64, rng: &mut Rng) -> TextId {
        let id = format!("auth0|user-{:08x}-{number}", rng.next_u64() as u32);
        TextId::new(&id).expect("short")
    }
}

/// Returns a name in the form that a hand-written set would keep.
fn array(name: &str) -> Name {
    let mut array = [0; 12];
    array[..name.len()].copy_from_slice(name.as_bytes());
    array
}

/// The list with its group, and the pair of collections without indexes.
struct Both<I> {
    list: MemberList<I>,
    group: GroupId,
    names: HashMap<I, Name>,
    order: BTreeSet<(Name, I)>,
}

impl<I: Id> Both<I> {
    /// The first half is loaded, the others join, and some move: the leaves are those of a list in use.
    fn grow(members: &[(I, String)], rng: &mut Rng) -> Self {
        let mut list = MemberList::new(ListOptions::default());
        let group = list.add_group("online").expect("a good name");
        let (loaded, joining) = members.split_at(members.len() / 2);
        let new = |(id, name): &(I, String)| NewMember {
            id: id.clone(),
            group,
            key: SortKey::from_name(name),
            attrs: 0,
        };
        list.bulk_load(loaded.iter().map(new))
            .expect("the group exists");
        let mut both = Self {
            list,
            group,
            names: HashMap::new(),
            order: BTreeSet::new(),
        };
        for (id, name) in loaded {
            both.upsert_pair(id, array(name));
        }
        let moves = (0..members.len() / 4).map(|_| &members[rng.below(members.len())]);
        for (id, name) in joining.iter().chain(moves) {
            both.upsert(id, &SortKey::from_name(name));
            both.upsert_pair(id, array(name));
        }
        both
    }

    fn upsert(&mut self, id: &I, key: &SortKey) {
        let done = self.list.upsert(id.clone(), self.group, key, 0);
        black_box(done.expect("the group exists"));
    }

    fn upsert_pair(&mut self, id: &I, name: Name) {
        if let Some(old) = self.names.insert(id.clone(), name) {
            self.order.remove(&(old, id.clone()));
        }
        self.order.insert((name, id.clone()));
    }

    fn remove(&mut self, id: &I) {
        self.list.remove(id);
        if let Some(old) = self.names.remove(id) {
            self.order.remove(&(old, id.clone()));
        }
    }

    /// Times the same upserts one by one and in batches, and those of the pair. `turns` are three
    /// parts of them, so that none finds the work done.
    fn write(&mut self, metric: &str, turns: [&[(I, String)]; 3], table: &mut Table) {
        let [batched, single, paired] = turns;
        let group = self.group;
        let change = |(id, name): &(I, String)| Change::Upsert {
            id: id.clone(),
            group,
            key: SortKey::from_name(name),
            attrs: 0,
        };
        let changes: Vec<_> = batched.iter().map(change).collect();
        let each = time_each(changes.len(), || {
            for batch in changes.chunks(BATCH) {
                black_box(self.list.apply_batch(batch).expect("the group exists"));
            }
        });
        table.time(metric, BATCHES, each);
        let keyed: Vec<_> = single
            .iter()
            .map(|(id, name)| (id, SortKey::from_name(name)))
            .collect();
        let each = time_each(keyed.len(), || {
            keyed.iter().for_each(|(id, key)| self.upsert(id, key));
        });
        table.time(metric, SINGLY, each);
        let named: Vec<_> = paired.iter().map(|(id, name)| (id, array(name))).collect();
        let each = time_each(named.len(), || {
            named
                .iter()
                .for_each(|(id, name)| self.upsert_pair(id, *name));
        });
        table.time(metric, PAIR, each);
    }

    fn find(&self, ids: &[I], table: &mut Table) {
        let entries = ids.iter().map(|id| (self.names[id], id.clone()));
        let entries: Vec<(Name, I)> = entries.collect();
        let each = time_each(ids.len(), || {
            ids.chunks(BATCH)
                .for_each(|ids| _ = black_box(self.list.index_of_many(ids)));
        });
        table.time(FIND, BATCHES, each);
        let each = time_each(ids.len(), || {
            ids.iter()
                .for_each(|id| _ = black_box(self.list.index_of(id)));
        });
        table.time(FIND, SINGLY, each);
        let each = time_each(ids.len(), || {
            entries
                .iter()
                .for_each(|entry| _ = black_box(self.order.get(entry)));
        });
        table.time(FIND, PAIR, each);
    }
}

fn of<K: Kind>(n: usize) -> Table {
    let mut table = Table::new(format!(
        "{} ids, names of which 32 % are not unique, batches of {BATCH}, {n} members",
        K::NAME
    ));
    let mut rng = Rng::new(9);
    let count = (n / 4).clamp(1_000, 50_000);
    let mut id = {
        let mut rng = Rng::new(11);
        move |number: usize| K::id(number as u64, &mut rng)
    };
    let names = nicknames(n, 1);
    let members: Vec<_> = names
        .into_iter()
        .enumerate()
        .map(|(at, (_, name))| (id(at), name))
        .collect();
    let mut both = Both::grow(&members, &mut rng);
    for round in 0..ROUNDS {
        let mut some = |which: u64| -> Vec<(K::Id, String)> {
            let names = nicknames(count, 100 + 3 * round as u64 + which);
            let moved = names.into_iter().map(|(_, name)| {
                let (id, _) = &members[rng.below(n)];
                (id.clone(), name)
            });
            moved.collect()
        };
        let moves = [0, 1, 2].map(&mut some);
        let turns = [&moves[0][..], &moves[1][..], &moves[2][..]];
        both.write(MOVE, turns, &mut table);
        // All are where both know them, for the next turns.
        for (id, name) in &moves[2] {
            both.upsert(id, &SortKey::from_name(name));
        }
        for (id, name) in moves[0].iter().chain(&moves[1]) {
            both.upsert(id, &SortKey::from_name(name));
            both.upsert_pair(id, array(name));
        }
        let fresh = [0, 1, 2].map(|which| {
            let names = nicknames(count, 200 + which).into_iter();
            let joins = names.map(|(_, name)| name).enumerate();
            let start = n + (3 * round + which as usize) * count;
            joins
                .map(|(at, name)| (id(start + at), name))
                .collect::<Vec<_>>()
        });
        let turns = [&fresh[0][..], &fresh[1][..], &fresh[2][..]];
        both.write(NEW, turns, &mut table);
        for (id, _) in fresh.iter().flatten() {
            both.remove(id);
        }
        let asked: Vec<_> = (0..count)
            .map(|_| members[rng.below(n)].0.clone())
            .collect();
        both.find(&asked, &mut table);
    }
    if n >= 1_000_000 {
        for metric in [MOVE, NEW] {
            table.goal(metric, Goal::Times(0.6, PAIR));
        }
        table.goal(FIND, Goal::Times(0.4, PAIR));
    }
    table
}

pub(crate) fn run(n: usize) -> Vec<Table> {
    vec![
        of::<Sequential>(n),
        of::<Snowflake>(n),
        of::<UuidV4>(n),
        of::<UuidV7>(n),
        of::<Text>(n),
    ]
}
