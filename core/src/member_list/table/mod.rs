//! [`MemberTable`]: the members of many lists, each once.

pub(crate) mod batch;
pub(crate) mod bulk;
pub(crate) mod list;
mod lists;
mod row_write;
mod save;
mod saved_spec;
pub(crate) mod spec;
pub(crate) mod tick;
pub(crate) mod view;
mod write;

use std::fmt;
use std::time::Duration;

use crate::member_list::frames::model::Epoch;
use crate::member_list::limits::KEY_COLUMNS_MAX;
use crate::member_list::options::ResumeLimits;
use crate::member_list::store::classes::Classes;
use crate::member_list::store::groups::{GroupId, Groups};
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::store::rows::payload;
use crate::member_list::store::table::Table;
use crate::member_list::windows::bodies::{Bodies, SharedBodies};
use crate::member_list::windows::live::LiveList;
use crate::member_list::{Id, ListError, Snapshot, TableError};
use list::ListId;
use lists::Lists;
use spec::ListSpec;
use tick::{BodyCache, TableTick, TableTickWork, TableWork};
use view::{ListView, TableMember, TableSnapshot};

/// The settings of a [`MemberTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOptions {
    key_columns: usize,
    payloads: bool,
    shown: u32,
    first_epoch: Epoch,
    resume: ResumeLimits,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            key_columns: 1,
            payloads: false,
            shown: 0,
            first_epoch: Epoch::from(1),
            resume: ResumeLimits::default(),
        }
    }
}

impl TableOptions {
    /// Sets how many sort keys a member has, 1 to 4: its nickname and the time at which it joined,
    /// for example. Default 1. Each further one costs 16 bytes a member.
    #[must_use]
    pub const fn key_columns(mut self, columns: usize) -> Self {
        self.key_columns = columns;
        self
    }

    /// Sets whether the table keeps one byte string for each member. Default `false`.
    #[must_use]
    pub const fn payloads(mut self, payloads: bool) -> Self {
        self.payloads = payloads;
        self
    }

    /// Sets which of the attribute bits 0 to 31 viewers see in rows. Default none. The others leave
    /// no trace at viewers, not even a higher revision.
    #[must_use]
    pub const fn shown(mut self, shown: u32) -> Self {
        self.shown = shown;
        self
    }

    /// Sets the epoch of the first list. Each list, and each spec of a list, has a higher one. A
    /// table that replaces another one, after a restart, must begin above its epochs; milliseconds
    /// of a clock do. A number alone is an epoch of the node without a name. Default 1, at most
    /// 2^53 - 1,025.
    #[must_use]
    pub fn first_epoch(mut self, epoch: impl Into<Epoch>) -> Self {
        self.first_epoch = epoch.into();
        self
    }

    /// Sets how long lists keep the windows of clients that went away, and the last steps of their
    /// windows; see [`ListOptions::resume_for`](crate::member_list::ListOptions::resume_for).
    /// Default 60 s; zero keeps nothing. Saved tables have no such setting: see
    /// [`MemberTable::set_resume`].
    #[must_use]
    pub const fn resume_for(mut self, keep: Duration) -> Self {
        self.resume.keep = keep;
        self
    }

    /// Sets the most bytes that all lists together keep for such clients; the oldest go first.
    /// Default 32 MiB; 0 keeps nothing.
    #[must_use]
    pub const fn resume_bytes_max(mut self, bytes: usize) -> Self {
        self.resume.bytes_max = bytes;
        self
    }
}

/// The members of up to 512 lists, each once, for one writer.
///
/// A member has an id, one to four sort keys, a set of [`Attrs`](crate::member_list::Attrs) and, if
/// asked for, a payload. A [`ListSpec`] says which members a list admits, how it groups them and by
/// which key it sorts them; a write puts the member where it belongs in every list. A write costs a list O(log n) if
/// it changes the place of the member there or viewers watch the list, else one comparison. A
/// further list costs about 8 bytes for each member that it admits, and nothing for others.
///
/// ```
/// use headcount::member_list::{Attrs, Clause, ListSpec, MemberTable, TableOptions};
/// use headcount::SortKey;
///
/// const ONLINE: u16 = 0;
/// const STAFF: u16 = 40;
/// let online = Attrs::of([ONLINE])?;
/// let staff = Attrs::of([STAFF])?;
///
/// let mut table = MemberTable::<u64>::new(TableOptions::default())?;
/// for (id, name, attrs) in [(1, "Ada", online), (2, "Bob", staff), (3, "Cy", staff)] {
///     table.upsert(id, &[SortKey::from_name(name)], attrs, None)?;
/// }
/// let everyone = ListSpec::new("everyone", "offline").group(Clause::new().all(online), "online");
/// let everyone = table.add_list(everyone)?;
/// let office = ListSpec::new("office", "staff").admit([Clause::new().all(staff)]);
/// let office = table.add_list(office)?;
/// table.build(usize::MAX); // or in small steps, between writes
///
/// let mut moves = Vec::new();
/// table.set_attrs(&2, &Attrs::EMPTY, &online, Some(&mut moves))?;
/// assert_eq!(moves.len(), 1); // in the office nothing has moved
/// assert_eq!((moves[0].old_index, moves[0].index), (Some(3), Some(2)));
/// assert_eq!(table.list(everyone)?.index_of(&2), Some(2)); // below "online" and Ada
/// assert_eq!(table.list(office)?.index_of(&2), Some(1));
/// assert_eq!(table.list(office)?.index_of(&1), None);
/// # Ok::<(), headcount::member_list::TableError>(())
/// ```
pub struct MemberTable<I> {
    table: Table<I>,
    classes: Classes,
    lists: Lists<I>,
    options: TableOptions,
    /// The revision of members that are new: above that of any member that left.
    floor: u32,
}

impl<I: Id> MemberTable<I> {
    /// Makes a table without members and lists. O(1).
    ///
    /// # Errors
    ///
    /// [`TableError::BadKeyColumns`]; [`ListError::EpochTooHigh`] and [`ListError::NodeNameTooLong`]
    /// for [`TableOptions::first_epoch`].
    pub fn new(options: TableOptions) -> Result<Self, TableError> {
        let columns = options.key_columns;
        if !(1..=KEY_COLUMNS_MAX).contains(&columns) {
            let max = KEY_COLUMNS_MAX;
            return Err(TableError::BadKeyColumns { columns, max });
        }
        let lists = Lists::new(options.first_epoch.clone(), options.resume);
        lists.check_epochs()?;
        Ok(Self {
            table: Table::with_columns(options.payloads, columns),
            classes: Classes::default(),
            lists,
            options,
            floor: 0,
        })
    }

    /// Returns how many sort keys a member has.
    #[must_use]
    pub const fn key_columns(&self) -> usize {
        self.options.key_columns
    }

    /// Returns whether members have payloads.
    #[must_use]
    pub const fn has_payloads(&self) -> bool {
        self.options.payloads
    }

    /// Returns the number of members. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns whether there are no members. O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the id is a member's. O(1).
    pub fn contains(&self, id: &I) -> bool {
        self.table.slot(id).is_some()
    }

    /// Returns a member. O(1).
    pub fn get(&self, id: &I) -> Option<TableMember<'_, I>> {
        let slot = self.table.slot(id)?;
        let cell = &self.table.cells[slot as usize];
        let columns = 0..self.table.columns();
        Some(TableMember {
            id: &cell.id,
            keys: columns
                .map(|column| self.table.column(column).key_of(slot))
                .collect(),
            attrs: *self.classes.attrs(self.table.class(slot)),
            revision: cell.revision,
            payload: payload(self.table.payloads.as_ref(), slot),
        })
    }

    /// Returns how many different sets of attributes members have. O(1).
    #[must_use]
    pub fn attr_sets(&self) -> usize {
        self.classes.len()
    }

    /// Adds a list, or one more owner to the list of an equal spec, name included; it stays until
    /// [`remove_list`](Self::remove_list) was called as often. O(sets of attributes x clauses).
    ///
    /// The list of a table with members cannot be read until [`build`](Self::build) has gone over
    /// all of them.
    ///
    /// # Errors
    ///
    /// [`TableError::ListExists`] for another spec of a list of this name,
    /// [`TableError::TooManyLists`], [`ListError::EpochTooHigh`], those of a bad spec ([`TableError::BadListName`],
    /// [`TableError::UnknownKeyColumn`], [`TableError::TooManyClauses`],
    /// [`TableError::TooManyIds`], [`TableError::AlwaysAndNever`]), and of a bad group
    /// ([`ListError::BadGroupName`], [`ListError::TooManyGroups`]).
    pub fn add_list(&mut self, spec: ListSpec<I>) -> Result<ListId, TableError> {
        let columns = self.table.columns();
        let id = self.lists.add(spec, columns, &mut self.classes)?;
        self.build_if_empty();
        Ok(id)
    }

    /// Gives a list another spec, which may have another name. The list stays as it is until
    /// [`build`](Self::build) has gone over all members; then the new one takes its place, in a new
    /// epoch: viewers are sent their windows whole. Groups that keep their name stay hidden and
    /// collapsed; all group ids are new.
    ///
    /// When members must not be seen from now on, use [`revoke`](Self::revoke).
    ///
    /// # Errors
    ///
    /// [`TableError::UnknownList`]; [`TableError::ListBuilding`] while the list is being built;
    /// [`TableError::ListShared`] when the list has several owners; those of
    /// [`add_list`](Self::add_list).
    pub fn set_spec(&mut self, list: ListId, spec: ListSpec<I>) -> Result<(), TableError> {
        let columns = self.table.columns();
        self.lists
            .set_spec(list, spec, columns, &mut self.classes)?;
        self.build_if_empty();
        Ok(())
    }

    /// Gives a list another spec and empties it at once, for a permission that was taken away: the
    /// next tick shows viewers an empty list, and they see the new one once it is built. A spec
    /// that is being built is given up.
    ///
    /// # Errors
    ///
    /// Those of [`set_spec`](Self::set_spec), but for [`TableError::ListBuilding`].
    pub fn revoke(&mut self, list: ListId, spec: ListSpec<I>) -> Result<(), TableError> {
        let columns = self.table.columns();
        self.lists.revoke(list, spec, columns, &mut self.classes)?;
        self.build_if_empty();
        Ok(())
    }

    /// Takes one owner from a list and returns whether it was the last one: then the list is gone.
    /// Its viewers hear no more of it; [`Viewer::switch`](crate::member_list::Viewer::switch) them
    /// to another list. O(members of the list / 128).
    ///
    /// # Errors
    ///
    /// [`TableError::UnknownList`].
    pub fn remove_list(&mut self, list: ListId) -> Result<bool, TableError> {
        self.lists.remove(list)
    }

    /// Goes on building lists that were added or given another spec, over at most `members` members,
    /// and returns how many are left. With 0 left all lists can be read. O(members x log n); steps
    /// of 4,000 take less than 5 ms.
    pub fn build(&mut self, members: usize) -> usize {
        self.lists.build(&self.table, &self.classes, members)
    }

    /// Returns whether no order of a list is being built, neither its first one nor that of another
    /// spec. O(1).
    ///
    /// # Errors
    ///
    /// [`TableError::UnknownList`].
    pub fn is_built(&self, list: ListId) -> Result<bool, TableError> {
        Ok(!self.lists.get(list)?.is_building())
    }

    fn build_if_empty(&mut self) {
        if self.table.slots() == 0 {
            self.build(0);
        }
    }

    /// Returns a list by its id, to be read. O(1).
    ///
    /// # Errors
    ///
    /// [`TableError::UnknownList`]; [`TableError::ListBuilding`] for a list that was not yet built.
    pub fn list(&self, list: ListId) -> Result<ListView<'_, I>, TableError> {
        let list = self.lists.get(list)?;
        let order = list.current()?;
        let spec = list.spec();
        Ok(ListView::new(
            spec,
            ListRef::placed(&self.table, order, &self.classes),
        ))
    }

    /// Returns the spec of a list: that by which it was built, or else that by which it is being
    /// built. O(1).
    ///
    /// # Errors
    ///
    /// [`TableError::UnknownList`].
    pub fn spec(&self, list: ListId) -> Result<&ListSpec<I>, TableError> {
        Ok(self.lists.get(list)?.spec())
    }

    /// Returns the list of a name. O(1).
    #[must_use]
    pub fn list_named(&self, name: &str) -> Option<ListId> {
        self.lists.by_name(name)
    }

    /// Returns the ids of all lists, also of those that are being built.
    pub fn lists(&self) -> impl Iterator<Item = ListId> {
        self.lists.iter().map(|list| list.id())
    }

    /// Returns a list for its viewers: what [`Viewer::open`](crate::member_list::Viewer::open) and
    /// its other calls take.
    ///
    /// # Errors
    ///
    /// [`TableError::UnknownList`]; [`TableError::ListBuilding`] for a list that was not yet built.
    pub fn live(&mut self, list: ListId) -> Result<LiveList<'_, I>, TableError> {
        let list = self.lists.get_mut(list)?;
        list.live(&self.table, &self.classes)
    }

    /// Takes a group of a list out of its index space, header included, or puts it back.
    /// O(groups).
    ///
    /// # Errors
    ///
    /// As [`live`](Self::live), and [`ListError::UnknownGroup`].
    pub fn set_group_hidden(
        &mut self,
        list: ListId,
        group: GroupId,
        hidden: bool,
    ) -> Result<(), TableError> {
        self.regroup(list, |groups| groups.set_hidden(group, hidden))
    }

    /// Leaves only the header of a group of a list in its index space, or puts its members back.
    /// O(groups).
    ///
    /// # Errors
    ///
    /// As [`live`](Self::live), and [`ListError::UnknownGroup`].
    pub fn set_group_collapsed(
        &mut self,
        list: ListId,
        group: GroupId,
        collapsed: bool,
    ) -> Result<(), TableError> {
        self.regroup(list, |groups| groups.set_collapsed(group, collapsed))
    }

    fn regroup(
        &mut self,
        list: ListId,
        work: impl FnOnce(&mut Groups) -> Result<(), ListError>,
    ) -> Result<(), TableError> {
        let list = self.lists.get_mut(list)?;
        list.current_mut()?.regroup(work)?;
        list.note_everything();
        Ok(())
    }

    /// Publishes what changed since the last tick in all lists that viewers watch, as they are at
    /// this moment; see [`MemberList::tick`](crate::member_list::MemberList::tick). A body that
    /// several lists or windows show is written once, as long as all of them fit 64 MiB.
    pub fn tick(&mut self, now: Duration, bodies: Bodies<'_, I>) -> TableTick<I> {
        let cache = match bodies {
            Bodies::Source(source) => Some(BodyCache::new(source)),
            Bodies::None | Bodies::Payloads(_) => None,
        };
        let bodies = cache.as_ref().map_or(bodies, |cache| Bodies::Source(cache));
        self.begin(now).finish(bodies)
    }

    /// Begins a tick of all lists that several threads make together; see
    /// [`MemberList::begin_tick`](crate::member_list::MemberList::begin_tick).
    ///
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    /// use headcount::member_list::{Attrs, ListSpec, MemberTable, SharedBodies, TableOptions};
    /// use headcount::{Bodies, SortKey, Viewer, WindowSpec};
    ///
    /// let mut table = MemberTable::<u64>::new(TableOptions::default())?;
    /// let all = table.add_list(ListSpec::new("all", "online"))?;
    /// table.build(usize::MAX);
    /// let mut viewer = Viewer::new();
    /// viewer.open(&mut table.live(all)?, WindowSpec::Chunk(0), Bodies::None)?;
    /// table.upsert(7, &[SortKey::from_name("Ada")], Attrs::EMPTY, None)?;
    ///
    /// let work = table.begin_tick(Duration::from_millis(250), SharedBodies::None);
    /// thread::scope(|scope| {
    ///     for _ in 0..2 {
    ///         scope.spawn(|| while work.step(64) {});
    ///     }
    /// });
    /// assert!(work.finish().bundle(&mut viewer).is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn begin_tick<'a>(
        &'a mut self,
        now: Duration,
        bodies: SharedBodies<'a, I>,
    ) -> TableTickWork<'a, I> {
        TableTickWork::new(self.begin(now), bodies)
    }

    fn begin(&mut self, now: Duration) -> TableWork<'_, I> {
        let mut work = TableWork::new(self.options.resume.bytes_max);
        for list in self.lists.iter_mut() {
            work.begin(list, &self.table, &self.classes, now);
        }
        work
    }

    /// Sets what the lists keep for clients that are away, as [`TableOptions::resume_for`] and
    /// [`TableOptions::resume_bytes_max`] do: for a table that was [loaded](Self::load), which has
    /// their defaults. Counts from the next tick on; windows that viewers hold are kept, too.
    /// O(lists).
    pub fn set_resume(&mut self, keep: Duration, bytes_max: usize) {
        let limits = ResumeLimits { keep, bytes_max };
        self.options.resume = limits;
        self.lists.set_resume(limits);
    }

    /// Returns the memory in bytes of what the lists keep for clients that are away; see
    /// [`TableOptions::resume_bytes_max`]. O(windows).
    #[must_use]
    pub fn resume_bytes(&self) -> usize {
        let lists = self.lists.iter();
        lists.map(|list| list.windows.resume_bytes()).sum()
    }

    /// Returns all lists that can be read as they are now, for readers in any thread. O(lists).
    #[must_use]
    pub fn snapshot(&self) -> TableSnapshot<I> {
        let lists = self.lists.iter().filter_map(|list| {
            let order = list.current().ok()?;
            let list_ref = ListRef::placed(&self.table, order, &self.classes);
            Some((list.id(), Snapshot::new(list_ref)))
        });
        TableSnapshot::new(lists.collect())
    }

    /// Returns the heap memory of the table and its lists in bytes, without what text ids, keys over
    /// 15 bytes and payloads own. O(n / 128 x lists).
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let lists: usize = self.lists.iter().map(|list| list.heap_bytes()).sum();
        self.table.heap_bytes() + self.classes.heap_bytes() + lists
    }
}

impl<I: Id> fmt::Debug for MemberTable<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<MemberTable {}", self.len())?;
        for list in self.lists.iter() {
            write!(f, " {:?}", list.spec().name())?;
        }
        f.write_str(">")
    }
}
