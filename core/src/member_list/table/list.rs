//! One list of a table: the order that is read, the one that is being built, and its viewers.

use std::fmt;
use std::sync::Arc;

use crate::member_list::changes::Changes;
use crate::member_list::frames::model::Epoch;
use crate::member_list::options::ResumeLimits;
use crate::member_list::store::classes::{Classes, Rules};
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::store::placed::PlacedOrder;
use crate::member_list::store::table::Table;
use crate::member_list::table::spec::ListSpec;
use crate::member_list::windows::live::LiveList;
use crate::member_list::windows::registry::Windows;
use crate::member_list::{Id, TableError};

/// Names a list of a table. The id of a removed list is an error for ever: no later list has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListId(u64);

impl ListId {
    const PLACE_BITS: u32 = 16;

    pub(super) const fn new(place: usize, generation: u64) -> Self {
        Self(generation << Self::PLACE_BITS | place as u64)
    }

    pub(super) const fn place(self) -> usize {
        (self.0 & ((1 << Self::PLACE_BITS) - 1)) as usize
    }

    /// Returns the id of the next list at the same place.
    pub(super) const fn next(self) -> Self {
        Self::new(self.place(), (self.0 >> Self::PLACE_BITS) + 1)
    }

    /// Makes an id of a number that [`to_u64`](Self::to_u64) returned. Any other number is an
    /// unknown list to the table.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number of the id.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ListId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The rows of a member in one list before and after a write that moved it there. A member that came
/// into the list has no old row, one that left it no new row, and one whose group is hidden or
/// collapsed has none. At least one of the two is there. They are equal when the member went to
/// another group and its index stayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListMove {
    /// The list.
    pub list: ListId,
    /// The row before the write.
    pub old_index: Option<usize>,
    /// The row after it.
    pub index: Option<usize>,
}

/// An order of members and the rules by which it gets them.
#[derive(Debug)]
pub(super) struct Ruled<I> {
    pub(super) spec: Arc<ListSpec<I>>,
    rules: Rules,
    pub(super) order: PlacedOrder<I>,
}

/// A list of a table.
#[derive(Debug)]
pub(super) struct List<I> {
    id: ListId,
    pub(super) owners: usize,
    /// Specs that the list has had.
    specs: u32,
    /// The order that is read; `None` until it is built.
    pub(super) current: Option<Ruled<I>>,
    /// The order that is being built.
    pub(super) next: Option<Ruled<I>>,
    pub(super) changes: Changes<I>,
    pub(super) windows: Windows<I>,
}

impl<I: Id> List<I> {
    pub(super) fn spec(&self) -> &ListSpec<I> {
        let ruled = self.current.as_ref().or(self.next.as_ref());
        &ruled
            .expect("a list has an order, or one that is being built")
            .spec
    }

    /// Makes a list without orders.
    pub(super) fn new(id: ListId, resume: ResumeLimits) -> Self {
        Self {
            id,
            owners: 1,
            specs: 0,
            current: None,
            next: None,
            changes: Changes::default(),
            windows: Windows::new(resume),
        }
    }

    pub(super) const fn id(&self) -> ListId {
        self.id
    }

    pub(super) const fn is_building(&self) -> bool {
        self.next.is_some()
    }

    pub(super) fn building(&self) -> TableError {
        let name = self.spec().name().to_owned();
        TableError::ListBuilding { name }
    }

    pub(super) fn orders(&mut self) -> impl Iterator<Item = (bool, &mut PlacedOrder<I>)> {
        let current = self
            .current
            .iter_mut()
            .map(|ruled| (false, &mut ruled.order));
        let next = self.next.iter_mut().map(|ruled| (true, &mut ruled.order));
        current.chain(next)
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = (usize, &Rules)> {
        let ruled = self.current.iter().chain(&self.next);
        ruled.map(|ruled| (ruled.order.verdicts(), &ruled.rules))
    }

    pub(super) fn current(&self) -> Result<&PlacedOrder<I>, TableError> {
        let current = self.current.as_ref().map(|ruled| &ruled.order);
        current.ok_or_else(|| self.building())
    }

    pub(super) fn current_mut(&mut self) -> Result<&mut PlacedOrder<I>, TableError> {
        let building = self.current.is_none().then(|| self.building());
        let current = self.current.as_mut().map(|ruled| &mut ruled.order);
        current.ok_or_else(|| building.expect("there is no order"))
    }

    /// Returns the heap memory of the orders in bytes. O(n / 128).
    pub(super) fn heap_bytes(&self) -> usize {
        let ruled = self.current.iter().chain(&self.next);
        ruled.map(|ruled| ruled.order.heap_bytes()).sum()
    }

    /// Checks the orders. O(n).
    ///
    /// # Panics
    ///
    /// Panics if one is wrong.
    pub(super) fn check(&self, table: &Table<I>) {
        let ruled = self.current.iter().chain(&self.next);
        ruled.for_each(|ruled| ruled.order.check(table));
    }

    /// Notes that any row may be another one.
    pub(super) fn note_everything(&mut self) {
        self.changes.everything();
    }

    /// Returns the parts of the list that its viewers need.
    pub(super) fn live<'a>(
        &'a mut self,
        table: &'a Table<I>,
        classes: &'a Classes,
    ) -> Result<LiveList<'a, I>, TableError> {
        let building = self.current.is_none().then(|| self.building());
        let current = self.current.as_ref().map(|ruled| &ruled.order);
        let order = current.ok_or_else(|| building.expect("there is no order"))?;
        Ok(LiveList {
            list: ListRef::placed(table, order, classes),
            changes: &mut self.changes,
            windows: &mut self.windows,
        })
    }

    /// Returns whether a tick may have something to say, or something to forget.
    pub(super) fn is_ticking(&self) -> bool {
        self.current.is_some() && (self.windows.has_viewers() || self.changes.is_watched())
    }

    /// Starts to build an order by a spec that was checked.
    pub(super) fn start(
        &mut self,
        spec: Arc<ListSpec<I>>,
        classes: &mut Classes,
    ) -> Result<(), TableError> {
        // Two columns a list: one of the order that is read, one of the order that is built.
        let column = 2 * self.id.place() + self.specs as usize % 2;
        let (rules, order) = spec.compile(column, self.specs)?;
        classes.add_column(column, &rules);
        self.specs += 1;
        self.next = Some(Ruled { spec, rules, order });
        Ok(())
    }

    /// Shows the order that was built. Groups of the same name stay hidden and collapsed.
    pub(super) fn swap(&mut self, epoch: Epoch) {
        let Some(mut next) = self.next.take() else {
            return;
        };
        if let Some(current) = &self.current {
            next.order.take_flags_of(current.order.groups());
        }
        self.windows
            .new_epoch(next.spec.shared_name().clone(), epoch);
        self.changes.moved_many();
        self.current = Some(next);
    }
}
