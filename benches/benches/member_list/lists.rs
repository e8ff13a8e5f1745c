//! `MemberList<u64>` with names of 12 bytes beside what people write by hand.

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::ops::Bound;

use headcount::{GroupId, MemberList, NewMember, Options, Row, SortKey};
use headcount_benches::list::{Rng, members, name};

use crate::meter::{live_bytes, time_each};
use crate::table::Table;

type Name = [u8; 12];

trait Members {
    const NAME: &'static str;
    fn empty() -> Self;
    /// Inserts or moves; the index where there is one.
    fn upsert(&mut self, id: u64, name: Name) -> usize;
    fn remove(&mut self, id: u64) -> usize;
    fn index_of(&self, id: u64) -> usize;
    fn page(&self, from: usize, id: u64) -> u64;
    fn bulk(members: Vec<(u64, Name)>) -> Self;
}

/// The list, with its group.
struct Ours(MemberList<u64>, GroupId);

impl Members for Ours {
    const NAME: &'static str = "MemberList";

    fn empty() -> Self {
        let mut list = MemberList::new(Options::default());
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

    fn index_of(&self, id: u64) -> usize {
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

/// The pair of collections everybody writes: keys by id, and an ordered set. It knows no index.
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

    fn index_of(&self, id: u64) -> usize {
        // The nearest thing it has: the entry, without its index.
        let key = self.keys.get(&id).cloned();
        key.map_or(0, |key| usize::from(self.order.contains(&(key, id))))
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

/// Sorting the members and copying them: the floor for a bulk load.
fn sort_and_copy(members: &[(u64, Name)]) -> Vec<(Name, u64)> {
    let mut copy: Vec<(Name, u64)> = members.iter().map(|&(id, name)| (name, id)).collect();
    copy.sort_unstable();
    copy.clone()
}

pub(crate) fn run(n: usize) {
    let mut table = Table::new(format!(
        "member lists, u64 ids, names of 12 bytes, {n} members"
    ));
    let (mut ours, mut arrays, mut strings): (Ours, Pair<Name>, Pair<String>) = (
        grow(n, &mut table),
        grow(n, &mut table),
        grow(n, &mut table),
    );
    for round in 0..5 {
        measure(&mut ours, n, round, &mut table);
        measure(&mut arrays, n, round, &mut table);
        measure(&mut strings, n, round, &mut table);
        let all = members(n, 1);
        let each = time_each(n, || drop(black_box(sort_and_copy(&all))));
        table.time("bulk load, unsorted", "sort + copy", each);
    }
    crate::redis::run(n, &mut table);
    table.print();
}

fn grow<M: Members>(n: usize, table: &mut Table) -> M {
    let all = members(n, 1);
    let (bytes, mut list) = live_bytes(|| {
        let mut list = M::empty();
        all.iter()
            .for_each(|&(id, name)| _ = black_box(list.upsert(id, name)));
        list
    });
    table.note("memory a member", "B", M::NAME, bytes as f64 / n as f64);
    let mut rng = Rng::new(3);
    (0..n).for_each(|_| _ = black_box(list.upsert(all[rng.below(n)].0, name(&mut rng))));
    list
}

fn measure<M: Members>(list: &mut M, n: usize, round: u64, table: &mut Table) {
    let count = (n / 4).clamp(1_000, 100_000);
    let mut rng = Rng::new(round + 7);
    let known = members(n, 1);
    let moves: Vec<(u64, Name)> = (0..count)
        .map(|_| (known[rng.below(n)].0, name(&mut rng)))
        .collect();
    let fresh: Vec<(u64, Name)> = (0..count)
        .map(|_| (rng.next_u64(), name(&mut rng)))
        .collect();
    let asked: Vec<(usize, u64)> = (0..count)
        .map(|_| (rng.below(n - n.min(100) + 1), known[rng.below(n)].0))
        .collect();
    let mut sum = 0;
    let each = time_each(count, || {
        moves
            .iter()
            .for_each(|&(id, name)| sum += list.upsert(id, name))
    });
    table.time("upsert that moves", M::NAME, each);
    let each = time_each(count, || {
        fresh
            .iter()
            .for_each(|&(id, name)| sum += list.upsert(id, name))
    });
    table.time("upsert of a new member", M::NAME, each);
    let each = time_each(count, || {
        fresh.iter().for_each(|&(id, _)| sum += list.remove(id))
    });
    table.time("remove", M::NAME, each);
    let each = time_each(count, || {
        asked.iter().for_each(|&(_, id)| sum += list.index_of(id))
    });
    table.time("index_of (pair: get)", M::NAME, each);
    let pages = &asked[..count / 10];
    let page = || {
        pages
            .iter()
            .fold(0, |sum, &(from, id)| sum ^ list.page(from, id))
    };
    let each = time_each(pages.len(), || _ = black_box(page()));
    table.time("slice of 100", M::NAME, each);
    let hot = asked[0];
    let each = time_each(1000, || {
        (0..1000).for_each(|_| _ = black_box(list.page(hot.0, hot.1)))
    });
    table.time("slice of 100, warm", M::NAME, each);
    if round < 3 {
        let each = time_each(n, || drop(black_box(M::bulk(known))));
        table.time("bulk load, unsorted", M::NAME, each);
    }
    black_box(sum);
}
