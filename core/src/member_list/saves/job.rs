//! [`SaveJob`]: a save in steps, between which the table changes.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::sync::Arc;

use triomphe::Arc as Shared;

use crate::member_list::Id;
use crate::member_list::load_error::SaveError;
use crate::member_list::saves::blocks::{BLOCK, BlockWriter};
use crate::member_list::saves::head::Head;
use crate::member_list::saves::members::MemberWriter;
use crate::member_list::store::classes::Classes;
use crate::member_list::store::groups::Groups;
use crate::member_list::store::leaf::LeafSlots;
use crate::member_list::store::table::Table;

/// Something that can be saved: a [`MemberTable`](crate::member_list::MemberTable) or a
/// [`MemberList`](crate::member_list::MemberList).
pub trait Savable<I>: Parts<I> {}

#[expect(
    unnameable_types,
    reason = "the usual seal: what is saved are tables and lists"
)]
/// The seal of [`Savable`].
pub trait Parts<I> {
    /// Borrows what a save reads.
    fn parts(&mut self) -> SavedParts<'_, I>;
}

#[expect(unnameable_types, reason = "only the seal of `Savable` has it")]
/// The parts of a table or list that a save reads.
#[derive(Debug)]
pub struct SavedParts<'a, I> {
    pub(crate) table: &'a mut Table<I>,
    pub(crate) classes: Option<&'a mut Classes>,
}

/// Appends what is before the orders of a list.
pub(crate) type WriteHead = dyn FnOnce(&mut Vec<u8>) + Send + Sync;

/// One list of a save: what is before its orders, and the groups that have them.
pub(crate) struct Section {
    pub(crate) head: Box<WriteHead>,
    pub(crate) groups: Option<Shared<Groups>>,
}

/// An order that is being written.
struct Order {
    groups: Shared<Groups>,
    /// The group, by its place in the order of groups.
    group: usize,
    /// The next member of it.
    next: usize,
}

/// A save of a [`MemberTable`](crate::member_list::MemberTable) or a
/// [`MemberList`](crate::member_list::MemberList), which goes on changing between the steps: the
/// file has the state in which it was when the save began.
///
/// A save costs memory only for what changes meanwhile: pages of members and leaves of orders, as a
/// snapshot does, and up to 20 bytes a member and key column for keys, more for long ones. To give a
/// save up, drop it.
///
/// ```
/// use headcount::SortKey;
/// use headcount::member_list::{Attrs, MemberTable, TableOptions};
///
/// let mut table = MemberTable::<u64>::new(TableOptions::default())?;
/// table.upsert(1, &[SortKey::from_name("Ada")], Attrs::EMPTY, None)?;
///
/// let mut job = table.begin_save()?;
/// table.remove(&1, None); // the save does not see it
/// let mut file = Vec::new();
/// while !job.step(&mut table, 1 << 20, &mut file)? {
///     // Writes, ticks and reads of the table go here, and `file` to where it belongs.
/// }
/// let loaded = MemberTable::<u64>::load(&file[..], 2)?;
/// assert!(loaded.contains(&1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is written until it is stepped"]
pub struct SaveJob<I> {
    /// The table keeps what the save has not read as long as this lives.
    token: Arc<()>,
    blocks: BlockWriter,
    is_started: bool,
    /// Each id has its sign after it.
    signed: bool,
    members: Option<MemberWriter<I>>,
    sections: VecDeque<Section>,
    order: Option<Order>,
    is_over: bool,
    written: u64,
}

impl<I: Id> SaveJob<I> {
    /// Begins to save the table in the state in which it is. O(lists).
    pub(crate) fn begin(
        parts: SavedParts<'_, I>,
        head: &Head,
        sections: VecDeque<Section>,
    ) -> Result<Self, SaveError> {
        let SavedParts { table, classes } = parts;
        if table.is_saving() {
            return Err(SaveError::Running);
        }
        let token = Arc::new(());
        table.start_save(&token);
        if let Some(classes) = classes {
            classes.keep_for(&token);
        }
        let mut blocks = BlockWriter::default();
        head.save::<I>(&mut blocks.pending);
        Ok(Self {
            token,
            blocks,
            is_started: false,
            signed: head.signed,
            members: Some(MemberWriter::new(table, head.signed)),
            sections,
            order: None,
            is_over: false,
            written: 0,
        })
    }

    /// Goes on by about so many bytes of the file, at least one member, and appends the blocks of
    /// 64 KiB that are full; returns whether the file is whole. `of` is what the save was begun on.
    /// O(bytes); a step of 1 MiB takes less than 5 ms.
    ///
    /// # Errors
    ///
    /// [`SaveError::OtherTable`].
    pub fn step(
        &mut self,
        of: &mut impl Savable<I>,
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, SaveError> {
        if self.is_over {
            return Ok(true);
        }
        let parts = of.parts();
        if !parts.table.is_saved_by(&self.token) {
            return Err(SaveError::OtherTable);
        }
        let start = out.len();
        if !self.is_started {
            BlockWriter::start(self.signed, out);
            self.is_started = true;
        }
        let classes = parts.classes.as_deref();
        let mut left = bytes.max(1);
        while left > 0 && !self.is_over {
            let before = self.blocks.pending.len();
            if !self.advance(parts.table, classes, left) {
                self.blocks.end(out);
                parts.table.end_save();
                self.is_over = true;
                break;
            }
            left = left.saturating_sub(self.blocks.pending.len() - before);
            if self.blocks.pending.len() >= BLOCK {
                self.blocks.flush(out);
            }
        }
        self.written += (out.len() - start) as u64;
        Ok(self.is_over)
    }

    /// Returns the length of what was written until now.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Writes something more; returns false after the end.
    fn advance(&mut self, table: &mut Table<I>, classes: Option<&Classes>, bytes: usize) -> bool {
        let out = &mut self.blocks.pending;
        if let Some(members) = &mut self.members {
            let room = BLOCK.min(out.len().saturating_add(bytes));
            if !members.write_page(table, classes, room, out) {
                self.members = None;
            }
            return true;
        }
        if let Some(order) = &mut self.order {
            if !order.write_run(out) {
                self.order = None;
            }
            return true;
        }
        let section = self.sections.pop_front();
        out.push(section.is_some().into());
        let Some(section) = section else {
            return false;
        };
        (section.head)(out);
        self.order = section.groups.map(|groups| Order {
            groups,
            group: 0,
            next: 0,
        });
        true
    }
}

impl Order {
    /// Writes the next leaf, after the number of members of its group; returns false after the end.
    fn write_run(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(&group) = self.groups.order().get(self.group) else {
            return false;
        };
        let tree = &self.groups[group].tree;
        if self.next == 0 {
            out.extend_from_slice(&(tree.len() as u32).to_le_bytes());
        }
        let mut runs = tree.runs(self.next, tree.len());
        if let Some((run, range)) = runs.next_run(|run: &LeafSlots| run.slots().len()) {
            self.next += range.len();
            for slot in &run.slots()[range] {
                out.extend_from_slice(&slot.to_le_bytes());
            }
        }
        if self.next == tree.len() {
            self.group += 1;
            self.next = 0;
        }
        true
    }
}

/// Bytes that are written at once.
const WRITTEN_AT_ONCE: usize = 16 * BLOCK;

/// Does a save from beginning to end.
pub(crate) fn write_all<I: Id>(
    mut job: SaveJob<I>,
    of: &mut impl Savable<I>,
    mut writer: impl Write,
) -> Result<(), SaveError> {
    let mut bytes = Vec::new();
    loop {
        let is_over = job.step(of, WRITTEN_AT_ONCE, &mut bytes)?;
        writer.write_all(&bytes)?;
        bytes.clear();
        if is_over {
            return Ok(writer.flush()?);
        }
    }
}

impl<I> fmt::Debug for SaveJob<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<SaveJob {} bytes>", self.written)
    }
}
