//! Bulk rows before they are members.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::member_list::Id;
use crate::member_list::store::groups::GroupId;
use crate::member_list::store::key_bytes::{rest, shared};
use crate::member_list::store::key_table::{KeyCell, LongKeys};

/// A member of a bulk load, read and not yet in the list.
#[derive(Clone)]
pub(crate) struct StagedMember<I> {
    pub(crate) id: I,
    pub(crate) attrs: u32,
    pub(crate) group: GroupId,
    pub(crate) key: KeyCell,
}

/// The outcome of a bulk load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkReport<I> {
    /// Members that are new.
    pub loaded: usize,
    /// Ids that were in the list or table already or came before in the same load, with their positions
    /// in the input. They were left as they were.
    pub duplicates: Vec<(usize, I)>,
}

/// Members for which room is made before they are seen.
const RESERVED_MAX: usize = 1 << 24;

/// The members of a bulk load, in the order of the input.
pub(crate) struct Staged<I> {
    pub(crate) rows: Vec<StagedMember<I>>,
    pub(crate) long: LongKeys,
    /// The keys of further columns.
    pub(crate) more_keys: Vec<StagedKeys>,
    /// The classes of the members of a table.
    pub(crate) classes: Vec<u32>,
    /// The payloads, if the members bring any.
    pub(crate) payloads: Vec<Bytes>,
}

/// The keys of one further column.
#[derive(Default)]
pub(crate) struct StagedKeys {
    pub(crate) cells: Vec<KeyCell>,
    pub(crate) long: LongKeys,
}

impl StagedKeys {
    /// Adds the key of the next member.
    pub(crate) fn push(&mut self, key: &[u8]) {
        self.cells.push(self.long.cell(key));
    }
}

impl<I: Id> Staged<I> {
    /// Makes room for members with this many keys.
    pub(crate) fn for_members(expected: usize, columns: usize) -> Self {
        Self {
            rows: Vec::with_capacity(expected.min(RESERVED_MAX)),
            long: LongKeys::default(),
            more_keys: (1..columns).map(|_| StagedKeys::default()).collect(),
            classes: Vec::new(),
            payloads: Vec::new(),
        }
    }

    /// Adds a member with the key of the first column.
    pub(crate) fn push(&mut self, id: I, group: GroupId, key: &[u8], attrs: u32) {
        self.rows.push(StagedMember {
            id,
            attrs,
            group,
            key: self.long.cell(key),
        });
    }

    /// Returns what became of the members, the positions of the duplicates given.
    pub(crate) fn report(&self, duplicates: &[u32]) -> BulkReport<I> {
        let named = |&at: &u32| (at as usize, self.rows[at as usize].id.clone());
        BulkReport {
            loaded: self.rows.len() - duplicates.len(),
            duplicates: duplicates.iter().map(named).collect(),
        }
    }

    /// Returns the positions of all members but the duplicates, sorted by group, key and id.
    pub(crate) fn sorted(&self, duplicates: &[u32]) -> Vec<u32> {
        let mut duplicates = duplicates.iter().copied().peekable();
        let row = |at: u32| &self.rows[at as usize];
        let fresh = (0..self.rows.len() as u32)
            .filter(move |at| duplicates.next_if_eq(at).is_none())
            .map(|at| (row(at).group, at));
        let key = |at| self.long.key(&row(at).key);
        sort(fresh, key, |a, b| row(a).id.cmp(&row(b).id))
    }
}

/// Sorts members by group, key and, where keys are equal, by `tie`. Most places are decided by
/// comparing one number: the group, the eight bytes that follow what all keys have in common, and
/// the member. O(k log k).
pub(crate) fn sort<'k>(
    members: impl Iterator<Item = (GroupId, u32)> + Clone,
    key: impl Fn(u32) -> &'k [u8],
    tie: impl Fn(u32, u32) -> Ordering,
) -> Vec<u32> {
    let mut keys = members.clone().map(|(_, member)| key(member));
    let first = keys.next().unwrap_or(&[]);
    let common = keys.fold(first.len(), |common, key| shared(&first[..common], key));
    let mut numbers: Vec<u128> = members
        .map(|(group, member)| {
            let head = rest(key(member), common) >> 64;
            u128::from(group.0) << 96 | head << 32 | u128::from(member)
        })
        .collect();
    numbers.sort_unstable();
    let mut sorted: Vec<u32> = numbers.iter().map(|&number| number as u32).collect();
    let mut start = 0;
    for equal in numbers.chunk_by(|a, b| a >> 32 == b >> 32) {
        let end = start + equal.len();
        if equal.len() > 1 {
            sorted[start..end]
                .sort_unstable_by(|&a, &b| key(a).cmp(key(b)).then_with(|| tie(a, b)));
        }
        start = end;
    }
    sorted
}
