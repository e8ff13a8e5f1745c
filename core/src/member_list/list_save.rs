//! Saving a list with groups of its own, and loading it.

use std::collections::VecDeque;
use std::io::{Read, Write};

use crate::member_list::changes::Changes;
use crate::member_list::frames::model::Epoch;
use crate::member_list::limits::EPOCH_MAX;
use crate::member_list::load_error::{LoadError, SaveError};
use crate::member_list::saves::blocks::{BlockReader, put_text};
use crate::member_list::saves::head::{Head, Kind};
use crate::member_list::saves::job::{Parts, Savable, SaveJob, SavedParts, Section, write_all};
use crate::member_list::saves::members::{read_members, read_more, read_slots};
use crate::member_list::store::Store;
use crate::member_list::store::groups::Groups;
use crate::member_list::store::table::Table;
use crate::member_list::windows::registry::Windows;
use crate::member_list::{Id, ListOptions, MemberList};

const HIDDEN: u8 = 1;
const COLLAPSED: u8 = 2;

impl<I: Id> Parts<I> for MemberList<I> {
    fn parts(&mut self) -> SavedParts<'_, I> {
        SavedParts {
            table: self.store.table_mut(),
            classes: None,
        }
    }
}

impl<I: Id> Savable<I> for MemberList<I> {}

impl<I: Id> MemberList<I> {
    /// Begins to save the list as it is now: name, groups, members and their order. What changes
    /// between the steps of the job is not in the file. Viewers and their windows are not saved.
    /// O(groups).
    ///
    /// # Errors
    ///
    /// [`SaveError::Running`] while another save is neither over nor dropped.
    pub fn begin_save(&mut self) -> Result<SaveJob<I>, SaveError> {
        let options = self.options();
        let head = Head {
            kind: Kind::List,
            signed: self.store.table().has_negative_ids(),
            columns: 1,
            payloads: options.has_payloads(),
            headers: options.has_headers(),
            shown: 0,
            floor: self.store.floor(),
            epoch: self.windows.epoch().number,
            slots: self.store.table().slots() as u64,
            members: self.member_count() as u64,
        };
        let name = self.windows.name().clone();
        let groups = self.store.shared_groups().clone();
        let orders = groups.clone();
        let head_of_list = move |out: &mut Vec<u8>| {
            out.extend_from_slice(&(name.len() as u32).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&(groups.order().len() as u32).to_le_bytes());
            for group in groups.infos() {
                let hidden = if group.hidden { HIDDEN } else { 0 };
                let collapsed = if group.collapsed { COLLAPSED } else { 0 };
                put_text(group.name, out);
                out.push(hidden | collapsed);
            }
        };
        let section = Section {
            head: Box::new(head_of_list),
            groups: Some(orders),
        };
        SaveJob::begin(self.parts(), &head, VecDeque::from([section]))
    }

    /// Saves the list at once; see [`begin_save`](Self::begin_save) for a save in steps. O(n).
    ///
    /// # Errors
    ///
    /// [`SaveError::Running`], [`SaveError::Io`].
    pub fn save(&mut self, writer: impl Write) -> Result<(), SaveError> {
        let job = self.begin_save()?;
        write_all(job, self, writer)
    }

    /// Makes a list of a file that was saved, without a sort. Groups have new ids, in the order in
    /// which [`groups`](Self::groups) returns them.
    ///
    /// The list keeps its name and begins an epoch: `epoch`, or the one after that of the file,
    /// whichever is later. As the list may have gone on after it was saved, it should be a time in
    /// milliseconds. The file does not say what the list keeps for clients that are away:
    /// [`set_resume`](Self::set_resume) does. The reader is read to its end, in pieces of 64 KiB. O(n).
    ///
    /// # Errors
    ///
    /// A [`LoadError`]; the memory used is in proportion to what was read.
    ///
    /// ```
    /// use headcount::{ListOptions, MemberList, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let online = list.add_group("online")?;
    /// list.upsert(7, online, &SortKey::from_name("Ada"), 0)?;
    /// let mut file = Vec::new();
    /// list.save(&mut file)?;
    ///
    /// let loaded = MemberList::<u64>::load(&file[..], 1_790_000_000_000)?;
    /// assert_eq!(loaded.index_of(&7), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load(reader: impl Read, epoch: impl Into<Epoch>) -> Result<Self, LoadError> {
        let mut epoch = epoch.into();
        epoch.check(EPOCH_MAX).map_err(LoadError::Epoch)?;
        let mut reader = BlockReader::new(reader)?;
        let head = Head::load::<I>(Kind::List, &mut reader)?;
        let mut table = Table::new(head.payloads);
        read_members(&mut reader, &head, &mut table, None)?;
        if !read_more(&mut reader)? {
            return Err(reader.invalid("there is no list"));
        }
        let name = read_name(&mut reader)?;
        let groups = read_groups(&mut reader, head.headers)?;
        let mut store = Store::of_saved(table, groups, head.floor, head.payloads);
        for group in store.groups().order().to_vec() {
            let slots = read_slots(&mut reader, store.table().slots())?;
            let restored = store.restore_group(group, &slots);
            restored.map_err(|what| reader.invalid(what))?;
        }
        let whole = store.end_restore();
        whole.map_err(|what| reader.invalid(what))?;
        if read_more(&mut reader)? {
            return Err(reader.invalid("there is more than one list"));
        }
        let mut list = Self {
            store,
            changes: Changes::default(),
            windows: Windows::new(ListOptions::default().resume),
        };
        epoch.number = epoch.number.max(head.epoch.saturating_add(1));
        let begun = list.begin_epoch(&name, epoch);
        begun.map_err(|_| reader.invalid("its name or its epoch is more than clients take"))?;
        reader.end()?;
        Ok(list)
    }
}

fn read_name(reader: &mut BlockReader<impl Read>) -> Result<String, LoadError> {
    let len = reader.u32()? as usize;
    let mut name = Vec::new();
    while name.len() < len {
        let some = (len - name.len()).min(1 << 12);
        name.extend_from_slice(reader.take(some)?);
    }
    String::from_utf8(name).map_err(|_| reader.invalid("a name is not UTF-8"))
}

fn read_groups(reader: &mut BlockReader<impl Read>, headers: bool) -> Result<Groups, LoadError> {
    let mut groups = Groups::new(headers);
    for _ in 0..reader.u32()? {
        let name = reader.text()?;
        let flags = reader.u8()?;
        if flags & !(HIDDEN | COLLAPSED) != 0 {
            return Err(reader.invalid("there are flags that no version knows"));
        }
        let added = groups.add(&name).and_then(|group| {
            groups.set_hidden(group, flags & HIDDEN != 0)?;
            groups.set_collapsed(group, flags & COLLAPSED != 0)
        });
        added.map_err(|_| reader.invalid("a group has a wrong name, or there are too many"))?;
    }
    Ok(groups)
}
