//! A list and a table below a roster, as one test uses both.

use std::collections::BTreeMap;

use bytes::Bytes;
use headcount::member_list::{Attrs, Clause, Fields, ListSpec, MemberTable, Row, TableOptions};
use headcount::roster::RosterTarget;
use headcount::{
    EntryBuf, GroupId, ListOptions, MemberList, Placement, Roster, RosterOptions, SortKey,
};

const GROUPS: [&str; 3] = ["here", "away", "gone"];
pub(crate) const GONE: GroupId = GroupId(2);
/// Bits 1 and 2 are the status in the test, 1 and 3 are shown.
const SHOWN: u32 = 0b1010;
const ONLINE: u32 = 0b0010;

/// A row as it is: that of a table has no group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowModel {
    pub(crate) group: Option<GroupId>,
    pub(crate) keys: Vec<u64>,
    pub(crate) attrs: Attrs,
    pub(crate) payload: Bytes,
    pub(crate) revision: u32,
}

type Rows = BTreeMap<u64, RowModel>;

fn number(key: &[u8]) -> u64 {
    u64::from_be_bytes(key.try_into().expect("keys are numbers"))
}

pub(crate) trait Target: RosterTarget<u64> + Sized {
    const IS_TABLE: bool;

    fn roster(
        options: RosterOptions,
        mapping: fn(&EntryBuf) -> Result<Option<Placement>, &'static str>,
    ) -> Roster<u64, Self>;

    fn of(roster: &Roster<u64, Self>) -> &Self;

    fn of_mut(roster: &mut Roster<u64, Self>) -> &mut Self;

    /// Returns the bits that raise the revision.
    fn shown(&self) -> u32;

    fn row(&self, user: u64) -> Option<RowModel>;

    /// Makes a write of an application.
    fn write(&mut self, user: u64, what: u8, meta: [u8; 4]);

    /// Checks that all lists have the members that they should have, in order.
    fn check_lists(&self, rows: &Rows);
}

impl Target for MemberList<u64> {
    const IS_TABLE: bool = false;

    fn roster(
        options: RosterOptions,
        mapping: fn(&EntryBuf) -> Result<Option<Placement>, &'static str>,
    ) -> Roster<u64> {
        let mut list = Self::new(ListOptions::default().payloads(true));
        list.set_groups(&GROUPS).expect("three groups");
        Roster::new(list, options, mapping)
    }

    fn of(roster: &Roster<u64>) -> &Self {
        roster.list()
    }

    fn of_mut(roster: &mut Roster<u64>) -> &mut Self {
        roster.list_mut()
    }

    fn shown(&self) -> u32 {
        u32::MAX
    }

    fn row(&self, user: u64) -> Option<RowModel> {
        let row = self.get(&user)?;
        Some(RowModel {
            group: Some(row.group),
            keys: vec![number(row.key)],
            attrs: Attrs::from_low(row.attrs),
            payload: Bytes::copy_from_slice(row.payload),
            revision: row.revision,
        })
    }

    fn write(&mut self, user: u64, what: u8, meta: [u8; 4]) {
        let group = GroupId(u32::from(meta[0]) % 3);
        let key = SortKey::from_u64(u64::from(meta[1]) % 8);
        let attrs = u32::from(meta[2]) % 16;
        let payload = Bytes::copy_from_slice(&meta[3..]);
        match what % 6 {
            0 => drop(self.set_group(&user, group)),
            1 => drop(self.set_key(&user, &key)),
            2 => drop(self.set_attrs(&user, attrs)),
            3 => drop(self.set_payload(&user, payload)),
            4 => drop(self.upsert(user, group, &key, attrs)),
            _ => drop(self.remove(&user)),
        }
    }

    fn check_lists(&self, rows: &Rows) {
        let mut sorted: Vec<_> = rows.iter().collect();
        sorted.sort_by_key(|(id, row)| (row.group, row.keys[0], **id));
        let sorted: Vec<u64> = sorted.into_iter().map(|(id, _)| *id).collect();
        assert_eq!(ids(self.iter()), sorted);
    }
}

fn ids<'a>(rows: impl Iterator<Item = Row<'a, u64>>) -> Vec<u64> {
    let id = |row: Row<'_, u64>| match row {
        Row::Member { id, .. } => Some(*id),
        Row::Header { .. } => None,
    };
    rows.filter_map(id).collect()
}

impl Target for MemberTable<u64> {
    const IS_TABLE: bool = true;

    fn roster(
        options: RosterOptions,
        mapping: fn(&EntryBuf) -> Result<Option<Placement>, &'static str>,
    ) -> Roster<u64, Self> {
        let table = TableOptions::default().key_columns(2).payloads(true);
        let mut table = Self::new(table.shown(SHOWN)).expect("good options");
        let online = Clause::new().all(Attrs::from_low(ONLINE));
        let all = ListSpec::new("all", "offline").group(online, "online");
        let newest = ListSpec::new("online", "online").admit([online]).sort_by(1);
        for spec in [all, newest.descending(true)] {
            table.add_list(spec).expect("a good spec");
        }
        Roster::over_table(table, options, mapping).expect("a policy without a group")
    }

    fn of(roster: &Roster<u64, Self>) -> &Self {
        roster.table()
    }

    fn of_mut(roster: &mut Roster<u64, Self>) -> &mut Self {
        roster.table_mut()
    }

    fn shown(&self) -> u32 {
        SHOWN
    }

    fn row(&self, user: u64) -> Option<RowModel> {
        let member = self.get(&user)?;
        Some(RowModel {
            group: None,
            keys: member.keys.into_iter().map(number).collect(),
            attrs: member.attrs,
            payload: Bytes::copy_from_slice(member.payload),
            revision: member.revision,
        })
    }

    fn write(&mut self, user: u64, what: u8, meta: [u8; 4]) {
        let key = SortKey::from_u64(u64::from(meta[1]) % 8);
        let column = usize::from(meta[0]) % 2;
        // The application has high bits of its own.
        let high = Attrs::of([400]).expect("a bit");
        let low = Attrs::from_low(u32::from(meta[2]) % 16);
        let all = Attrs::from_low(u32::MAX).with(&Attrs::EMPTY, &high);
        let attrs = if meta[2] > 99 {
            low.with(&low, &high)
        } else {
            low
        };
        let payload = Bytes::copy_from_slice(&meta[3..]);
        match what % 6 {
            0 => drop(self.touch_fields(&user, Fields(1))),
            1 => drop(self.set_key(&user, column, &key, None)),
            2 => drop(self.set_attrs(&user, &all, &attrs, None)),
            3 => drop(self.set_payload(&user, payload)),
            4 => drop(self.upsert(user, &[key, key], attrs, None)),
            _ => drop(self.remove(&user, None)),
        }
    }

    fn check_lists(&self, rows: &Rows) {
        let is_online = |row: &RowModel| row.attrs.low() & ONLINE != 0;
        let mut all: Vec<_> = rows.iter().collect();
        all.sort_by_key(|(id, row)| (!is_online(row), row.keys[0], **id));
        let mut newest: Vec<_> = rows.iter().filter(|(_, row)| is_online(row)).collect();
        newest.sort_by_key(|(id, row)| (row.keys[1], **id));
        newest.reverse();
        for (name, sorted) in [("all", all), ("online", newest)] {
            let list = self.list_named(name).expect("a list");
            let list = self.list(list).expect("built");
            let sorted: Vec<u64> = sorted.into_iter().map(|(id, _)| *id).collect();
            assert_eq!(ids(list.iter()), sorted, "{name}");
        }
    }
}
