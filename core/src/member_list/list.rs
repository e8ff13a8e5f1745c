//! [`MemberList`]: the store, what its writes note, and the windows its viewers hold, put together.

use std::fmt;
use std::ops::RangeBounds;
use std::time::Duration;

use bytes::Bytes;

use crate::member_list::changes::Changes;
use crate::member_list::changes::members::Fields;
use crate::member_list::frames::model::Epoch;
use crate::member_list::limits::{BUNDLE_NAME_MAX, EPOCH_MAX};
use crate::member_list::options::{ListOptions, ResumeLimits};
use crate::member_list::snapshot::Snapshot;
use crate::member_list::store::groups::{GroupId, GroupInfo};
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::store::matches::Matches;
use crate::member_list::store::row_write::RowWrite;
use crate::member_list::store::rows::{Member, Row, Rows};
use crate::member_list::store::{Entry, Store, Upsert};
use crate::member_list::windows::bodies::{Bodies, SharedBodies};
use crate::member_list::windows::live::{Live, LiveList, Watchable};
use crate::member_list::windows::registry::Windows;
use crate::member_list::windows::resume::bound;
use crate::member_list::windows::tick::Tick;
use crate::member_list::windows::work::{ListWork, TickWork};
use crate::member_list::{Id, ListError, SortKey};

/// A sorted, grouped, sliced list of members, for one writer.
///
/// A row of the list is a member or the header of a group with members. Rows are numbered from 0;
/// every write returns the row at which it happened, and [`slice`](Self::slice) reads any range of
/// rows. All of it costs O(log n), whatever the row. [`snapshot`](Self::snapshot) is O(1) and gives
/// readers the list as it is now; writes do not wait for them.
///
/// Ids are `u64`, [`IntId`](crate::member_list::IntId), `u128` (UUIDs) or
/// [`TextId`](crate::member_list::TextId). A member has an id, a group, a [`SortKey`], attribute
/// bits of the user's choice and a revision, which grows by one with every change of attributes or
/// payload; after 2^32 - 1 comes 0, so it does not repeat for an id within 2^32 changes, also when
/// the id is removed and put in again.
///
/// # Example
///
/// ```
/// use headcount::{ListOptions, MemberList, Row, SortKey};
///
/// let mut list = MemberList::<u64>::new(ListOptions::default());
/// let online = list.add_group("online")?;
/// let offline = list.add_group("offline")?;
///
/// let bob = list.upsert(7, online, &SortKey::from_name("Bob"), 0)?;
/// let alice = list.upsert(9, online, &SortKey::from_name("alice"), 0)?;
/// assert_eq!((bob.index, alice.index), (Some(1), Some(1))); // row 0 is the header
///
/// let moved = list.set_group(&9, offline)?;
/// assert_eq!((moved.old_index, moved.index), (Some(1), Some(3)));
///
/// let rows: Vec<String> = list
///     .slice(..)
///     .map(|row| match row {
///         Row::Header { name, count, .. } => format!("{name} ({count})"),
///         Row::Member { id, .. } => format!("  {id}"),
///     })
///     .collect();
/// assert_eq!(rows, ["online (1)", "  7", "offline (1)", "  9"]);
/// assert_eq!(list.remove(&9), Some(3));
/// # Ok::<(), headcount::ListError>(())
/// ```
pub struct MemberList<I> {
    pub(super) store: Store<I>,
    pub(super) changes: Changes<I>,
    pub(super) windows: Windows<I>,
}

impl<I: Id> MemberList<I> {
    /// Makes an empty list without groups. O(1).
    #[must_use]
    pub fn new(options: ListOptions) -> Self {
        Self {
            store: Store::new(options),
            changes: Changes::default(),
            windows: Windows::new(options.resume),
        }
    }

    /// Returns the options of the list.
    #[must_use]
    pub fn options(&self) -> ListOptions {
        self.store.options()
    }

    /// Puts a member in, or moves it and sets its attributes. O(log n).
    ///
    /// The revision grows when the attributes of a known member change. Its payload stays.
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`], [`ListError::TooManyMembers`].
    pub fn upsert(
        &mut self,
        id: I,
        group: GroupId,
        key: &SortKey,
        attrs: u32,
    ) -> Result<Upsert, ListError> {
        let entry = Entry {
            id,
            group,
            key,
            attrs,
        };
        self.store.upsert(entry, &mut self.changes)
    }

    /// Takes a member out: the row it had. O(log n).
    ///
    /// `None` when there is no such member, and also when it had no row because its group is
    /// hidden or collapsed; [`contains`](Self::contains) tells which.
    pub fn remove(&mut self, id: &I) -> Option<usize> {
        self.store.remove(id, &mut self.changes)
    }

    /// Moves a member to another group. Its revision stays. O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`], [`ListError::UnknownGroup`].
    pub fn set_group(&mut self, id: &I, group: GroupId) -> Result<Upsert, ListError> {
        self.store.set_group(id, group, &mut self.changes)
    }

    /// Gives a member another sort key. Its revision stays. O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`].
    pub fn set_key(&mut self, id: &I, key: &SortKey) -> Result<Upsert, ListError> {
        self.store.set_key(id, key, &mut self.changes)
    }

    /// Reports that the body of a member has changed: its revision grows. Returns its row.
    /// O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`].
    pub fn touch(&mut self, id: &I) -> Result<Option<usize>, ListError> {
        self.touch_fields(id, Fields::ALL)
    }

    /// Notes that only these fields of the member's body have changed; otherwise as
    /// [`touch`](Self::touch): viewers are sent a patch instead of the body. O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`].
    pub fn touch_fields(&mut self, id: &I, fields: Fields) -> Result<Option<usize>, ListError> {
        self.store.touch_fields(id, fields, &mut self.changes)
    }

    /// Sets the attribute bits of a member; the revision grows if they differ. Returns its row.
    /// O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`].
    pub fn set_attrs(&mut self, id: &I, attrs: u32) -> Result<Option<usize>, ListError> {
        self.store.set_attrs(id, attrs, &mut self.changes)
    }

    /// Sets the payload of a member; the revision grows if it differs. Returns its row. O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::NoPayloads`], [`ListError::UnknownMember`], [`ListError::PayloadTooLong`].
    pub fn set_payload(&mut self, id: &I, payload: Bytes) -> Result<Option<usize>, ListError> {
        self.store.set_payload(id, payload, &mut self.changes)
    }

    /// Writes the row of a member as a roster wants it; see [`Store::write_row`]. O(log n).
    pub(crate) fn write_row(&mut self, id: &I, write: &RowWrite<'_>) -> Result<bool, ListError> {
        self.store.write_row(id, write, &mut self.changes)
    }

    /// Reads what writes of the rows of up to 48 members need, if the list is large. O(ids log n).
    pub(crate) fn fetch_if_large<'a>(&self, ids: impl Iterator<Item = &'a I> + Clone)
    where
        I: 'a,
    {
        self.store.fetch_if_large(ids);
    }

    /// Returns the payload of a member, without a copy; `None` in a list without payloads.
    pub(crate) fn payload_of(&self, id: &I) -> Option<Bytes> {
        self.store.payload_of(id)
    }

    /// Returns the number of rows: members and headers that are shown. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Returns whether there are no rows. O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of members, shown or not. O(1).
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.store.member_count()
    }

    /// Returns whether the id is a member's. O(1).
    pub fn contains(&self, id: &I) -> bool {
        self.store.contains(id)
    }

    /// Returns a member by id. O(log n).
    pub fn get(&self, id: &I) -> Option<Member<'_, I>> {
        self.store.get(id)
    }

    /// Returns the row of a member; `None` when it is unknown or its group is hidden or collapsed.
    /// O(log n), no comparison of keys.
    pub fn index_of(&self, id: &I) -> Option<usize> {
        self.store.index_of(id)
    }

    /// Returns the row of a group's header. O(log groups).
    #[must_use]
    pub fn header_index(&self, group: GroupId) -> Option<usize> {
        self.store.groups().find(group)?;
        self.store.groups().header_row(group)
    }

    /// Returns the row at an index. O(log n).
    #[must_use]
    pub fn row_at(&self, index: usize) -> Option<Row<'_, I>> {
        self.store.row_at(index)
    }

    /// Returns the rows of a range, in order; rows past the end are left out. O(log n) to begin
    /// with and once per 128 rows, O(1) otherwise.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Rows<'_, I> {
        self.store.slice(range)
    }

    /// Returns all rows in order.
    pub fn iter(&self) -> Rows<'_, I> {
        self.slice(..)
    }

    /// Returns all groups in order, also hidden and empty ones. O(groups).
    pub fn groups(&self) -> impl Iterator<Item = GroupInfo<'_>> {
        self.store.groups().infos()
    }

    /// Returns for each group the row of the first member whose key begins with these bytes;
    /// groups without one, or not shown, are left out. O(groups x log n).
    ///
    /// The prefix is made as the keys are: by [`SortKey::from_name`] of the first letters if they
    /// are of names, by `Collation::prefix` (not `key`) if they are of a collation. Keys end after
    /// 64 bytes: a longer text finds the first member whose name agrees with it so far.
    ///
    /// ```
    /// use headcount::{ListOptions, MemberList, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let online = list.add_group("online")?;
    /// for (id, name) in [(1, "Anna"), (2, "Moritz"), (3, "Max")] {
    ///     list.upsert(id, online, &SortKey::from_name(name), 0)?;
    /// }
    /// assert_eq!(list.find_prefix(&SortKey::from_name("m")), [(online, 2)]);
    /// # Ok::<(), headcount::ListError>(())
    /// ```
    #[must_use]
    pub fn find_prefix(&self, prefix: &SortKey) -> Vec<(GroupId, usize)> {
        ListRef::explicit(&self.store).find_prefix(prefix)
    }

    /// Returns all members whose keys begin with these bytes: how many there are, and their rows.
    /// The prefix is made as that of [`find_prefix`](Self::find_prefix). O(groups x log n).
    #[must_use]
    pub fn search_prefix(&self, prefix: &SortKey) -> Matches {
        Matches::find(ListRef::explicit(&self.store), prefix)
    }

    /// Returns the list as it is now, for readers in any thread. O(1).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<I> {
        Snapshot::new(ListRef::explicit(&self.store))
    }

    /// Returns the heap memory of the list in bytes, without what text ids, keys over 15 bytes and
    /// payloads own. O(n / 128).
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.store.heap_bytes()
    }

    /// Returns the part of [`heap_bytes`](Self::heap_bytes) that is the order: the trees.
    /// O(n / 128).
    #[must_use]
    pub fn order_bytes(&self) -> usize {
        self.store.order_bytes()
    }

    /// Sets what the list keeps for clients that are away, as [`ListOptions::resume_for`] and
    /// [`ListOptions::resume_bytes_max`] do: for a list that was [loaded](Self::load), which has
    /// their defaults. Counts from the next tick on; windows that viewers hold are kept, too. O(1).
    ///
    /// ```
    /// use std::time::Duration;
    /// use headcount::{ListOptions, MemberList};
    ///
    /// let mut file = Vec::new();
    /// MemberList::<u64>::new(ListOptions::default()).save(&mut file)?;
    /// let mut list = MemberList::<u64>::load(&file[..], 1_790_000_000_000)?;
    /// list.set_resume(Duration::from_secs(20), 4 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_resume(&mut self, keep: Duration, bytes_max: usize) {
        let limits = ResumeLimits { keep, bytes_max };
        self.store.set_resume(limits);
        self.windows.set_resume(limits);
    }

    /// Returns the memory in bytes of what the list keeps for clients that are away; see
    /// [`ListOptions::resume_bytes_max`]. O(windows).
    #[must_use]
    pub fn resume_bytes(&self) -> usize {
        self.windows.resume_bytes()
    }

    /// Publishes what changed since the last tick: the frames of all watched windows, and, at most
    /// once a second of `now`, totals and groups. `now` is any clock that does not run backwards.
    ///
    /// O(U log U) for U changes since the last tick, plus O(rows) for each window that is watched
    /// and in reach of a change. `bodies` is asked once for each row that is sent; if it panics,
    /// nothing is published, and the next tick publishes the same changes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let online = list.add_group("online")?;
    /// let mut viewers = [Viewer::new(), Viewer::new()];
    /// for viewer in &mut viewers {
    ///     viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None)?;
    /// }
    /// list.upsert(7, online, &SortKey::from_name("Ada"), 0)?;
    /// let tick = list.tick(Duration::from_millis(250), Bodies::None);
    /// assert_eq!(tick.frames().count(), 1); // one for both
    /// assert!(viewers.iter_mut().all(|viewer| viewer.bundle(&tick).is_some()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "it is handed out once"]
    pub fn tick(&mut self, now: Duration, bodies: Bodies<'_, I>) -> Tick<I> {
        let max = self.options().resume.bytes_max;
        let (tick, windows) = ListWork::begin(self.live(), now).finish(bodies);
        bound(&mut [windows], max);
        tick
    }

    /// Begins a tick that several threads make together: each brings windows to what the list shows,
    /// until none is left; then one publishes them. For lists with thousands of different windows;
    /// [`tick`](Self::tick) does the same in one thread. O(U log U + windows) for U changes since
    /// the last tick.
    ///
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    /// use headcount::member_list::SharedBodies;
    /// use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let online = list.add_group("online")?;
    /// let mut viewer = Viewer::new();
    /// viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None)?;
    /// list.upsert(7, online, &SortKey::from_name("Ada"), 0)?;
    ///
    /// let work = list.begin_tick(Duration::from_millis(250), SharedBodies::None);
    /// thread::scope(|scope| {
    ///     for _ in 0..2 {
    ///         scope.spawn(|| while work.step(64) {});
    ///     }
    /// });
    /// let tick = work.finish();
    /// assert!(viewer.bundle(&tick).is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn begin_tick<'a>(
        &'a mut self,
        now: Duration,
        bodies: SharedBodies<'a, I>,
    ) -> TickWork<'a, I> {
        let max = self.options().resume.bytes_max;
        TickWork::begin(self.live(), now, bodies, max)
    }

    /// Names the list for its viewers and begins an epoch: the next tick sends every viewer its
    /// windows and the counts whole. Epochs of a node must grow; a list handed over from elsewhere
    /// continues with a higher one. O(watched windows).
    ///
    /// Before the first call the names of list and node are empty and the epoch is 1; that call may
    /// keep the number.
    ///
    /// # Errors
    ///
    /// [`ListError::EpochNotHigher`] if the list is in an epoch of this node that is as high: its
    /// clients would drop the bundles. [`ListError::EpochTooHigh`] over 2^53 - 1, which is
    /// [`EPOCH_MAX`](crate::member_list::EPOCH_MAX). [`ListError::ListNameTooLong`] and
    /// [`ListError::NodeNameTooLong`] over 1,024 bytes, which is
    /// [`BUNDLE_NAME_MAX`](crate::member_list::BUNDLE_NAME_MAX).
    ///
    /// ```
    /// use headcount::member_list::Epoch;
    /// use headcount::{ListError, ListOptions, MemberList};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// list.begin_epoch("room:7", Epoch::new("node-1", 1_790_000_000_000))?;
    /// let earlier = list.begin_epoch("room:7", Epoch::new("node-1", 1_780_000_000_000));
    /// assert!(matches!(earlier, Err(ListError::EpochNotHigher { .. })));
    /// # Ok::<(), ListError>(())
    /// ```
    pub fn begin_epoch(&mut self, name: &str, epoch: impl Into<Epoch>) -> Result<(), ListError> {
        let epoch = epoch.into();
        epoch.check(EPOCH_MAX)?;
        let len = name.len();
        if len > BUNDLE_NAME_MAX {
            let max = BUNDLE_NAME_MAX;
            return Err(ListError::ListNameTooLong { len, max });
        }
        self.windows.check_next(&epoch)?;
        self.windows.new_epoch(name.into(), epoch);
        Ok(())
    }
}

impl<I: Id> Live<I> for MemberList<I> {
    fn live(&mut self) -> LiveList<'_, I> {
        LiveList {
            list: ListRef::explicit(&self.store),
            changes: &mut self.changes,
            windows: &mut self.windows,
        }
    }
}

impl<I: Id> Watchable<I> for MemberList<I> {}

impl<I: Id> fmt::Debug for MemberList<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<MemberList {}", self.member_count())?;
        for group in self.groups() {
            write!(f, " {}={}", group.name, group.count)?;
        }
        f.write_str(">")
    }
}
