//! A list of 4,096 groups, beside one `BTreeSet` a group.

use std::collections::BTreeSet;
use std::hint::black_box;

use headcount::member_list::NewMember;
use headcount::{ListOptions, MemberList, Row, SortKey};
use headcount_benches::list::{Rng, nicknames};
use headcount_benches::meter::time_each;
use headcount_benches::table::{Goal, Table};

use crate::rounds;

/// The most that a list may have.
const GROUPS: usize = 4_096;
const OURS: &str = "MemberList";
const SETS: &str = "BTreeSet a group";
const SLICE: &str = "slice of 100";
const WARM: &str = "slice of 100, warm";
const ALL: &str = "iterate over all groups";

fn sum(row: &Row<'_, u64>) -> u64 {
    match row {
        Row::Member { id, .. } => **id,
        Row::Header { count, .. } => *count as u64,
    }
}

/// Returns the sum of 100 rows of groups whose first rows are counted, headers included.
fn page(sets: &[BTreeSet<(String, u64)>], mut from: usize) -> u64 {
    let mut rows = 100;
    let mut sum = 0;
    for set in sets.iter().filter(|set| !set.is_empty()) {
        let size = set.len() + 1;
        if from < size {
            sum += if from == 0 { set.len() as u64 } else { 0 };
            let members = set.iter().skip(from.saturating_sub(1));
            let shown = members.take(rows - usize::from(from == 0));
            sum = shown.fold(sum, |sum, (_, id)| sum ^ id);
            rows = rows.saturating_sub(size - from);
            from = 0;
        } else {
            from -= size;
        }
        if rows < 2 {
            break;
        }
    }
    sum
}

pub(crate) fn run(n: usize) -> Table {
    let mut table = Table::new(format!("{GROUPS} groups, {n} members"));
    let mut list = MemberList::<u64>::new(ListOptions::default());
    let names: Vec<String> = (0..GROUPS).map(|at| format!("team {at}")).collect();
    let groups: Vec<_> = names
        .iter()
        .map(|name| list.add_group(name).expect("a good name"))
        .collect();
    let mut sets = vec![BTreeSet::new(); GROUPS];
    let mut rng = Rng::new(5);
    let members = nicknames(n, 1).into_iter().map(|(id, name)| {
        // Small groups and large ones.
        let at = rng.below(GROUPS).min(rng.below(GROUPS));
        let key = SortKey::from_name(&name);
        sets[at].insert((name, id));
        NewMember {
            id,
            group: groups[at],
            key,
            attrs: 0,
        }
    });
    let members: Vec<_> = members.collect();
    let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
    list.bulk_load(members).expect("the groups exist");
    let count = (n / 4).clamp(1_000, 20_000);
    for _ in 0..rounds(n).min(11) {
        let asked: Vec<_> = (0..count)
            .map(|_| (rng.below(list.len() - 100), ids[rng.below(n)]))
            .collect();
        let read = |from: usize| {
            let rows = list.slice(from..from + 100);
            black_box(rows.fold(0, |all, row| all ^ sum(&row)))
        };
        let each = time_each(count, || {
            asked.iter().for_each(|(from, _)| _ = read(*from));
        });
        table.time(SLICE, OURS, each);
        let some = &asked[..count / 20];
        let each = time_each(some.len(), || {
            some.iter()
                .for_each(|(from, _)| _ = black_box(page(&sets, *from)));
        });
        table.time(SLICE, SETS, each);
        let (hot, _) = asked[0];
        let each = time_each(count, || (0..count).for_each(|_| _ = read(hot)));
        table.time(WARM, OURS, each);
        let each = time_each(count, || {
            asked
                .iter()
                .for_each(|(_, id)| _ = black_box(list.index_of(id)));
        });
        table.time("index_of", OURS, each);
        let each = time_each(1, || {
            let found = list
                .groups()
                .map(|group| group.count + group.first_index.unwrap_or(0));
            black_box(found.sum::<usize>());
        });
        table.time(ALL, OURS, each);
        let each = time_each(n, || {
            black_box(list.iter().fold(0, |all, row| all ^ sum(&row)));
        });
        table.time("iterate over all rows, each", OURS, each);
        let each = time_each(n, || {
            black_box(sets.iter().flatten().fold(0, |all, (_, id)| all ^ id));
        });
        table.time("iterate over all rows, each", SETS, each);
    }
    table.goal(WARM, Goal::AtMost(1_000.0));
    table.goal(ALL, Goal::AtMost(1_000_000.0));
    table
}
