//! `MemberList<u64>` with names of 12 bytes beside hand-written collections.

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::ops::Bound;

use headcount::member_list::NewMember;
use headcount::{GroupId, ListOptions, MemberList, Row, SortKey};
use headcount_benches::list::{Rng, members, name};
use headcount_benches::memory::in_use;
use headcount_benches::meter::time_each;
use headcount_benches::table::{Goal, Table};

use crate::buckets::Buckets;
use crate::rounds;

type Name = [u8; 12];

trait Members {
    const NAME: &'static str;
    fn empty() -> Self;
    /// Inserts or moves. Returns the index, if the collection has one.
    fn upsert(&mut self, id: u64, name: Name) -> usize;
    fn remove(&mut self, id: u64) -> usize;
    /// Returns the index, or only the presence in collections without one. Rivals get the name as well.
    fn index_of(&self, id: u64, name: Name) -> usize;
    fn page(&self, from: usize, id: u64) -> u64;
    fn bulk(members: Vec<(u64, Name)>) -> Self;
}

/// The list, with its group.
struct Ours(MemberList<u64>, GroupId);

impl Members for Ours {
    const NAME: &'static str = "MemberList";

    fn empty() -> Self {
        let mut list = MemberList::new(ListOptions::default());
        let group = list.add_group("online").expect("a good name");
        Self(list, group)
    }

    fn upsert(&mut self, id: u64, name: Name) -> usize {
        let key = SortKey::raw(&name).expect("short");
        let done = self
            .0
            .upsert(id, self.1, &key, 0)
            .expect("the group exists");
        done.index.unwrap_or(0)
    }

    fn remove(&mut self, id: u64) -> usize {
        self.0.remove(&id).unwrap_or(0)
    }

    fn index_of(&self, id: u64, _name: Name) -> usize {
        self.0.index_of(&id).unwrap_or(0)
    }

    fn page(&self, from: usize, _id: u64) -> u64 {
        self.0
            .slice(from..from + 100)
            .fold(0, |sum, row| match row {
                Row::Member { id, revision, .. } => sum ^ id ^ u64::from(revision),
                Row::Header { count, .. } => sum ^ count as u64,
            })
    }

    fn bulk(members: Vec<(u64, Name)>) -> Self {
        let mut ours = Self::empty();
        let group = ours.1;
        let all = members.into_iter().map(|(id, name)| NewMember {
            id,
            group,
            key: SortKey::raw(&name).expect("short"),
            attrs: 0,
        });
        ours.0.bulk_load(all).expect("the group exists");
        ours
    }
}

/// The common pair of collections: keys by id, and an ordered set. It has no indexes.
#[derive(Default)]
struct Pair<K> {
    keys: HashMap<u64, K>,
    order: BTreeSet<(K, u64)>,
}

trait Key: Ord + Clone {
    const PAIR: &'static str;
    fn of(name: Name) -> Self;
}

impl Key for Name {
    const PAIR: &'static str = "HashMap+BTreeSet";

    fn of(name: Name) -> Self {
        name
    }
}

impl Key for String {
    const PAIR: &'static str = "the same, String";

    fn of(name: Name) -> Self {
        String::from_utf8_lossy(&name).into_owned()
    }
}

impl<K: Key> Members for Pair<K> {
    const NAME: &'static str = K::PAIR;

    fn empty() -> Self {
        Self {
            keys: HashMap::new(),
            order: BTreeSet::new(),
        }
    }

    fn upsert(&mut self, id: u64, name: Name) -> usize {
        let key = K::of(name);
        if let Some(old) = self.keys.insert(id, key.clone()) {
            self.order.remove(&(old, id));
        }
        usize::from(self.order.insert((key, id)))
    }

    fn remove(&mut self, id: u64) -> usize {
        let old = self.keys.remove(&id);
        old.map_or(0, |old| usize::from(self.order.remove(&(old, id))))
    }

    fn index_of(&self, id: u64, name: Name) -> usize {
        // The nearest operation: the entry, without its index.
        let entry = self.order.get(&(K::of(name), id));
        entry.map_or(0, |entry| entry.1 as usize)
    }

    fn page(&self, _from: usize, id: u64) -> u64 {
        let Some(key) = self.keys.get(&id).cloned() else {
            return 0;
        };
        let from = (Bound::Included((key, id)), Bound::Unbounded);
        self.order
            .range(from)
            .take(100)
            .fold(0, |sum, entry| sum ^ entry.1)
    }

    fn bulk(members: Vec<(u64, Name)>) -> Self {
        let members: Vec<(K, u64)> = members
            .into_iter()
            .map(|(id, name)| (K::of(name), id))
            .collect();
        Self {
            keys: members.iter().map(|(key, id)| (*id, key.clone())).collect(),
            order: members.into_iter().collect(),
        }
    }
}

/// The same pair with an order that knows positions.
trait Positions: Default {
    const PAIR: &'static str;
    fn insert(&mut self, entry: (Name, u64)) -> usize;
    fn remove(&mut self, entry: &(Name, u64)) -> usize;
    fn index_of(&self, entry: &(Name, u64)) -> usize;
    fn page(&self, from: usize) -> u64;
    fn bulk(entries: Vec<(Name, u64)>) -> Self;
}

impl Positions for indexset::BTreeSet<(Name, u64)> {
    const PAIR: &'static str = "HashMap+indexset";

    fn insert(&mut self, entry: (Name, u64)) -> usize {
        Self::insert(self, entry);
        self.rank(&entry)
    }

    fn remove(&mut self, entry: &(Name, u64)) -> usize {
        let at = self.rank(entry);
        Self::remove(self, entry);
        at
    }

    fn index_of(&self, entry: &(Name, u64)) -> usize {
        self.rank(entry)
    }

    fn page(&self, from: usize) -> u64 {
        let to = self.len().min(from + 100);
        self.range_idx(from..to).fold(0, |sum, entry| sum ^ entry.1)
    }

    fn bulk(entries: Vec<(Name, u64)>) -> Self {
        entries.into_iter().collect()
    }
}

impl Positions for Buckets<(Name, u64)> {
    const PAIR: &'static str = "HashMap+Discord's";

    fn insert(&mut self, entry: (Name, u64)) -> usize {
        Buckets::insert(self, entry)
    }

    fn remove(&mut self, entry: &(Name, u64)) -> usize {
        Buckets::remove(self, entry).unwrap_or(0)
    }

    fn index_of(&self, entry: &(Name, u64)) -> usize {
        Buckets::index_of(self, entry).unwrap_or(0)
    }

    fn page(&self, from: usize) -> u64 {
        self.from(from)
            .take(100)
            .fold(0, |sum, entry| sum ^ entry.1)
    }

    fn bulk(mut entries: Vec<(Name, u64)>) -> Self {
        entries.sort_unstable();
        Self::from_sorted(&entries)
    }
}

/// Keys by id, and an order that knows positions.
struct Indexed<P> {
    keys: HashMap<u64, Name>,
    order: P,
}

impl<P: Positions> Members for Indexed<P> {
    const NAME: &'static str = P::PAIR;

    fn empty() -> Self {
        Self {
            keys: HashMap::new(),
            order: P::default(),
        }
    }

    fn upsert(&mut self, id: u64, name: Name) -> usize {
        if let Some(old) = self.keys.insert(id, name) {
            self.order.remove(&(old, id));
        }
        self.order.insert((name, id))
    }

    fn remove(&mut self, id: u64) -> usize {
        let old = self.keys.remove(&id);
        old.map_or(0, |old| self.order.remove(&(old, id)))
    }

    fn index_of(&self, id: u64, name: Name) -> usize {
        self.order.index_of(&(name, id))
    }

    fn page(&self, from: usize, _id: u64) -> u64 {
        self.order.page(from)
    }

    fn bulk(members: Vec<(u64, Name)>) -> Self {
        Self {
            keys: members.iter().copied().collect(),
            order: P::bulk(members.into_iter().map(|(id, name)| (name, id)).collect()),
        }
    }
}

/// Sorting the members and copying them: the floor for a bulk load.
fn sort_and_copy(members: &[(u64, Name)]) -> Vec<(Name, u64)> {
    let mut copy: Vec<(Name, u64)> = members.iter().map(|&(id, name)| (name, id)).collect();
    copy.sort_unstable();
    copy.clone()
}

const FIND: &str = "index_of (pair: get by key)";
const BULK: &str = "bulk load, unsorted";
const SORT: &str = "sort + copy";
const CHURNED: &str = "memory a member, after churn";

pub(crate) fn run(n: usize) -> Table {
    let mut table = Table::new(format!(
        "member lists, u64 ids, names of 12 bytes, {n} members"
    ));
    let (mut ours, mut names) = grow::<Ours>(n, &mut table);
    let order = ours.0.order_bytes() as f64 / n as f64;
    table.note("of it the order, after churn", "B", Ours::NAME, order);
    table.goal("of it the order, after churn", Goal::AtMost(8.0));
    let (mut arrays, _) = grow::<Pair<Name>>(n, &mut table);
    let (mut strings, _) = grow::<Pair<String>>(n, &mut table);
    let (mut indexed, _) = grow::<Indexed<indexset::BTreeSet<_>>>(n, &mut table);
    let (mut buckets, _) = grow::<Indexed<Buckets<_>>>(n, &mut table);
    let mut rng = Rng::new(5);
    for round in 0..rounds(n) {
        let work = Work::new(n, &mut names, &mut rng);
        measure(&mut ours, &work, round, &mut table);
        let each = time_each(100, || {
            (0..100).for_each(|_| drop(black_box(ours.0.snapshot())))
        });
        table.time("snapshot", Ours::NAME, each);
        measure(&mut arrays, &work, round, &mut table);
        measure(&mut strings, &work, round, &mut table);
        measure(&mut indexed, &work, round, &mut table);
        measure(&mut buckets, &work, round, &mut table);
        let all = members(n, 1);
        let each = time_each(n, || drop(black_box(sort_and_copy(&all))));
        table.time(BULK, SORT, each);
    }
    crate::redis::run(n, &mut table);
    if n < 1_000_000 {
        return table;
    }
    for metric in ["upsert that moves", "upsert of a new member"] {
        table.goal(metric, Goal::Times(1.0, <Pair<Name> as Members>::NAME));
    }
    table.goal(FIND, Goal::Times(1.0, <Pair<Name> as Members>::NAME));
    table.goal(FIND, Goal::Times(0.5, "HashMap+indexset"));
    table.goal("slice of 100, warm", Goal::AtMost(1_000.0));
    table.goal("snapshot", Goal::AtMost(1_000.0));
    table.goal(BULK, Goal::Times(1.5, SORT));
    // 40 bytes and the name.
    table.goal("memory a member", Goal::AtMost(52.0));
    table.goal(CHURNED, Goal::AtMost(52.0));
    table
}

/// Makes a list of `n` members that joined one by one and then moved as often; and their names now.
fn grow<M: Members>(n: usize, table: &mut Table) -> (M, Vec<(u64, Name)>) {
    let mut all = members(n, 1);
    let before = in_use();
    let mut bytes = |metric: &str| {
        let bytes = in_use().saturating_sub(before);
        table.note(metric, "B", M::NAME, bytes as f64 / n as f64);
    };
    let mut list = M::empty();
    all.iter()
        .for_each(|&(id, name)| _ = black_box(list.upsert(id, name)));
    bytes("memory a member");
    let mut rng = Rng::new(3);
    for _ in 0..n {
        let member = &mut all[rng.below(n)];
        member.1 = name(&mut rng);
        black_box(list.upsert(member.0, member.1));
    }
    bytes(CHURNED);
    (list, all)
}

/// The operations of a round, the same for all.
struct Work {
    moves: Vec<(u64, Name)>,
    fresh: Vec<(u64, Name)>,
    /// The first rows of slices, and members.
    asked: Vec<(usize, u64, Name)>,
    n: usize,
}

impl Work {
    /// `names` are those of the members, before and after.
    fn new(n: usize, names: &mut [(u64, Name)], rng: &mut Rng) -> Self {
        let count = (n / 4).clamp(1_000, 100_000);
        let mut moved = || {
            let member = &mut names[rng.below(n)];
            member.1 = name(rng);
            *member
        };
        let moves = (0..count).map(|_| moved()).collect();
        let fresh = (0..count).map(|_| (rng.next_u64(), name(rng))).collect();
        let asked = (0..count).map(|_| {
            let (id, name) = names[rng.below(n)];
            (rng.below(n - n.min(100) + 1), id, name)
        });
        Self {
            moves,
            fresh,
            asked: asked.collect(),
            n,
        }
    }
}

fn measure<M: Members>(list: &mut M, work: &Work, round: u64, table: &mut Table) {
    let count = work.moves.len();
    let n = work.n;
    let mut sum = 0;
    for (metric, entries) in [
        ("upsert that moves", &work.moves),
        ("upsert of a new member", &work.fresh),
    ] {
        let each = time_each(count, || {
            entries
                .iter()
                .for_each(|&(id, name)| sum += list.upsert(id, name))
        });
        table.time(metric, M::NAME, each);
    }
    let each = time_each(count, || {
        work.fresh
            .iter()
            .for_each(|&(id, _)| sum += list.remove(id))
    });
    table.time("remove", M::NAME, each);
    let each = time_each(count, || {
        work.asked
            .iter()
            .for_each(|&(_, id, name)| sum = sum.wrapping_add(list.index_of(id, name)))
    });
    table.time(FIND, M::NAME, each);
    let pages = &work.asked[..count / 10];
    let page = || {
        pages
            .iter()
            .fold(0, |sum, &(from, id, _)| sum ^ list.page(from, id))
    };
    let each = time_each(pages.len(), || _ = black_box(page()));
    table.time("slice of 100", M::NAME, each);
    let (from, id, _) = work.asked[0];
    let each = time_each(1_000, || {
        (0..1_000).for_each(|_| _ = black_box(list.page(from, id)))
    });
    table.time("slice of 100, warm", M::NAME, each);
    if round < 3 || n < 1_000_000 {
        let all = members(n, 1);
        let each = time_each(n, || drop(black_box(M::bulk(all))));
        table.time(BULK, M::NAME, each);
    }
    black_box(sum);
}
