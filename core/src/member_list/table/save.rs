//! Saving a table, and loading it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Arc;

use crate::member_list::Id;
use crate::member_list::frames::model::Epoch;
use crate::member_list::limits::TABLE_EPOCH_MAX;
use crate::member_list::load_error::{LoadError, SaveError};
use crate::member_list::saves::blocks::BlockReader;
use crate::member_list::saves::head::{Head, Kind};
use crate::member_list::saves::job::{Parts, Savable, SaveJob, SavedParts, Section, write_all};
use crate::member_list::saves::members::{read_members, read_more, read_slots};
use crate::member_list::store::classes::Classes;
use crate::member_list::store::placed::PlacedOrder;
use crate::member_list::store::table::Table;
use crate::member_list::table::list::{List, Ruled};
use crate::member_list::table::saved_spec::{read_spec, reason, write_spec};
use crate::member_list::table::{MemberTable, TableOptions};

/// The list has an order that is read.
const CURRENT: u8 = 1;
/// That order has members; it has none after `revoke`.
const COMPLETE: u8 = 2;
/// Another order is being built.
const NEXT: u8 = 4;

const HIDDEN: u8 = 1;
const COLLAPSED: u8 = 2;

impl<I: Id> Parts<I> for MemberTable<I> {
    fn parts(&mut self) -> SavedParts<'_, I> {
        SavedParts {
            table: &mut self.table,
            classes: Some(&mut self.classes),
        }
    }
}

impl<I: Id> Savable<I> for MemberTable<I> {}

impl<I: Id> MemberTable<I> {
    /// Begins to save the table as it is now: members, lists and their orders. What changes between
    /// the steps of the job is not in the file. Viewers and their windows are not saved. O(lists).
    ///
    /// # Errors
    ///
    /// [`SaveError::Running`] while another save is neither over nor dropped.
    pub fn begin_save(&mut self) -> Result<SaveJob<I>, SaveError> {
        let signed = self.table.has_negative_ids() || self.lists.iter().any(names_negative);
        let head = Head {
            kind: Kind::Table,
            signed,
            columns: self.table.columns(),
            payloads: self.table.payloads.is_some(),
            headers: false,
            shown: self.options.shown,
            floor: self.floor,
            epoch: self.lists.next_epoch(),
            slots: self.table.slots() as u64,
            members: self.table.len() as u64,
        };
        let sections: VecDeque<Section> = self
            .lists
            .iter()
            .map(|list| section(list, signed))
            .collect();
        SaveJob::begin(self.parts(), &head, sections)
    }

    /// Saves the table at once; see [`begin_save`](Self::begin_save) for a save in steps. O(n).
    ///
    /// # Errors
    ///
    /// [`SaveError::Running`], [`SaveError::Io`].
    pub fn save(&mut self, writer: impl Write) -> Result<(), SaveError> {
        let job = self.begin_save()?;
        write_all(job, self, writer)
    }

    /// Makes a table of a file that was saved. Lists are there as they were, without a sort; those
    /// that were being built begin again, see [`build`](Self::build). The ids of lists and groups
    /// are new: [`list_named`](Self::list_named) and
    /// [`ListView::group`](crate::member_list::ListView::group) find them.
    ///
    /// Epochs begin at `first_epoch` or after those of the file, whichever is later; as the table
    /// may have gone on after it was saved, it should be a time in milliseconds, as for
    /// [`TableOptions::first_epoch`]. The file does not say what lists keep for clients that are
    /// away: [`set_resume`](Self::set_resume) does. The reader is read to its end, in pieces of
    /// 64 KiB. O(n).
    ///
    /// Checksums show accidents, not intent: a file that another program made is refused or
    /// makes a table whose content is what that program chose.
    ///
    /// # Errors
    ///
    /// A [`LoadError`]; the memory used is in proportion to what was read.
    pub fn load(reader: impl Read, first_epoch: impl Into<Epoch>) -> Result<Self, LoadError> {
        let mut epoch = first_epoch.into();
        epoch.check(TABLE_EPOCH_MAX).map_err(LoadError::Epoch)?;
        let mut reader = BlockReader::new(reader)?;
        let head = Head::load::<I>(Kind::Table, &mut reader)?;
        epoch.number = epoch.number.max(head.epoch);
        let options = TableOptions::default()
            .key_columns(head.columns)
            .payloads(head.payloads)
            .shown(head.shown)
            .first_epoch(epoch);
        let table = Self::new(options).map_err(|error| reader.invalid(reason(&error)));
        let mut table = table?;
        table.floor = head.floor;
        let classes = Some(&mut table.classes);
        read_members(&mut reader, &head, &mut table.table, classes)?;
        while read_more(&mut reader)? {
            table.load_list(&mut reader, head.signed)?;
        }
        reader.end()?;
        table.build_if_empty();
        table.check_when_due();
        Ok(table)
    }

    fn load_list(
        &mut self,
        reader: &mut BlockReader<impl Read>,
        signed: bool,
    ) -> Result<(), LoadError> {
        let owners = reader.u32()? as usize;
        let flags = reader.u8()?;
        let is_known = flags & !(CURRENT | COMPLETE | NEXT) == 0;
        if owners == 0 || flags & (CURRENT | NEXT) == 0 || !is_known {
            return Err(reader.invalid("a list has no order"));
        }
        let ids = (self.table.columns(), signed);
        let mut spec = |flag| match flags & flag {
            0 => Ok(None),
            _ => read_spec::<I>(reader, ids).map(Some),
        };
        let current = spec(CURRENT)?;
        let next = spec(NEXT)?;
        let newest = next.as_ref().or(current.as_ref());
        let name = newest.map(|spec| spec.shared_name().clone());
        let name = name.ok_or_else(|| reader.invalid("a list has no order"))?;
        let refused = |error| LoadError::Invalid {
            what: reason(&error),
            offset: reader.offset(),
        };
        let id = self.lists.add_saved(name).map_err(refused)?;
        let epoch = self.lists.epoch();
        let list = self.lists.get_mut(id).map_err(refused)?;
        list.owners = owners;
        if let Some(spec) = current {
            let started = list.start(Arc::new(spec), &mut self.classes);
            started.map_err(refused)?;
            if let Some(ruled) = &mut list.next {
                load_flags(reader, &mut ruled.order)?;
                if flags & COMPLETE != 0 {
                    load_order(reader, &mut ruled.order, &self.table, &self.classes)?;
                }
            }
            list.swap(epoch);
        }
        if let Some(spec) = next {
            let started = list.start(Arc::new(spec), &mut self.classes);
            started.map_err(|error| reader.invalid(reason(&error)))?;
        }
        Ok(())
    }
}

/// Returns whether a list names an id below 0: in the order of ids those come first.
fn names_negative<I: Id>(list: &List<I>) -> bool {
    let specs = list.current.iter().chain(&list.next);
    let mut first = specs.flat_map(|ruled| [ruled.spec.always.first(), ruled.spec.never.first()]);
    first.any(|id| id.is_some_and(I::is_negative))
}

/// Returns what a save writes of a list.
fn section<I: Id>(list: &List<I>, signed: bool) -> Section {
    let owners = list.owners as u32;
    let spec = |ruled: &Ruled<I>| Arc::clone(&ruled.spec);
    let current = list.current.as_ref();
    let groups = current.map(|ruled| ruled.order.shared_groups().clone());
    let is_complete = current.is_some_and(|ruled| ruled.order.is_complete());
    let current = current.map(spec);
    let next = list.next.as_ref().map(spec);
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags =
        flag(current.is_some(), CURRENT) | flag(is_complete, COMPLETE) | flag(next.is_some(), NEXT);
    let orders = groups.clone().filter(|_| is_complete);
    let head = move |out: &mut Vec<u8>| {
        out.extend_from_slice(&owners.to_le_bytes());
        out.push(flags);
        for spec in current.iter().chain(&next) {
            write_spec(spec, signed, out);
        }
        for group in groups.iter().flat_map(|groups| groups.infos()) {
            out.push(flag(group.hidden, HIDDEN) | flag(group.collapsed, COLLAPSED));
        }
    };
    Section {
        head: Box::new(head),
        groups: orders,
    }
}

/// Reads which groups are hidden and collapsed.
fn load_flags<I: Id>(
    reader: &mut BlockReader<impl Read>,
    order: &mut PlacedOrder<I>,
) -> Result<(), LoadError> {
    let mut all = Vec::new();
    for group in order.groups().order() {
        let flags = reader.u8()?;
        if flags & !(HIDDEN | COLLAPSED) != 0 {
            return Err(reader.invalid("there are flags that no version knows"));
        }
        all.push((*group, flags));
    }
    let set = order.regroup(|groups| {
        all.iter().try_for_each(|(group, flags)| {
            groups.set_hidden(*group, flags & HIDDEN != 0)?;
            groups.set_collapsed(*group, flags & COLLAPSED != 0)
        })
    });
    set.map_err(|_| reader.invalid("a list has no such group"))
}

/// Reads the members of each group.
fn load_order<I: Id>(
    reader: &mut BlockReader<impl Read>,
    order: &mut PlacedOrder<I>,
    table: &Table<I>,
    classes: &Classes,
) -> Result<(), LoadError> {
    for group in order.groups().order().to_vec() {
        let slots = read_slots(reader, table.slots())?;
        let restored = order.restore_group(table, classes, group, &slots);
        restored.map_err(|what| reader.invalid(what))?;
    }
    let whole = order.end_restore(table, classes);
    whole.map_err(|what| reader.invalid(what))
}
