//! Writes of members.

use bytes::Bytes;
use hashbrown::HashSet;

use crate::member_list::attrs::Attrs;
use crate::member_list::changes::members::Fields;
use crate::member_list::limits::MEMBERS_MAX;
use crate::member_list::table::MemberTable;
use crate::member_list::table::list::ListMove;
use crate::member_list::table::lists::Move;
use crate::member_list::tree::is_due;
use crate::member_list::{Id, ListError, SortKey, TableError};

impl<I: Id> MemberTable<I> {
    /// Puts a member in, or changes its keys and attributes; returns whether it is new. `keys` has
    /// one key for each column. With `rows`, appends the rows of the member in all lists that show
    /// it elsewhere than before. O(lists), and O(log n) for each of those.
    ///
    /// # Errors
    ///
    /// [`TableError::WrongKeys`], [`TableError::TooManyAttrSets`], [`ListError::TooManyMembers`].
    pub fn upsert(
        &mut self,
        id: I,
        keys: &[SortKey],
        attrs: Attrs,
        rows: Option<&mut Vec<ListMove>>,
    ) -> Result<bool, TableError> {
        self.check_keys(keys)?;
        if let Some(slot) = self.table.slot(&id) {
            self.change(slot, keys.iter().enumerate(), &attrs, Fields::NONE, rows)?;
            return Ok(false);
        }
        if self.table.len() >= MEMBERS_MAX {
            return Err(ListError::TooManyMembers { max: MEMBERS_MAX }.into());
        }
        let class = self.classes.intern(&attrs, self.lists.rules())?;
        self.classes.hold(class);
        let shown = attrs.low() & self.options.shown;
        let slot = self.table.add(id, keys[0].as_bytes(), self.floor, shown);
        for (column, key) in keys.iter().enumerate().skip(1) {
            self.table.set_key_in(column, slot, key.as_bytes());
        }
        self.table.set_class(slot, class);
        self.lists.enter_new(&self.table, &self.classes, slot, rows);
        self.check_when_due();
        Ok(true)
    }

    /// Takes a member out; returns whether it was one. With `rows`, appends the rows that it had, in
    /// the lists that showed it.
    /// O(lists), and O(log n) for each list that admits it.
    pub fn remove(&mut self, id: &I, rows: Option<&mut Vec<ListMove>>) -> bool {
        let Some(slot) = self.table.slot(id) else {
            return false;
        };
        let class = self.table.class(slot);
        self.lists
            .leave_for_good(&self.table, &self.classes, slot, rows);
        let revision = self.table.cells[slot as usize].revision;
        // After the highest revision the numbers begin again, for members put in again as well.
        self.floor = revision
            .checked_add(1)
            .map_or(0, |next| self.floor.max(next));
        self.classes.release(class);
        self.table.drop_slot(slot);
        self.compact();
        self.check_when_due();
        true
    }

    /// Gives a member another key in one column. With `rows`, appends the rows of the member in all
    /// lists that show it elsewhere than before. O(lists), and O(log n) for each of those.
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`], [`TableError::UnknownKeyColumn`].
    pub fn set_key(
        &mut self,
        id: &I,
        column: usize,
        key: &SortKey,
        rows: Option<&mut Vec<ListMove>>,
    ) -> Result<(), TableError> {
        let slot = self.known(id)?;
        self.check_column(column)?;
        let attrs = *self.classes.attrs(self.table.class(slot));
        let keys = std::iter::once((column, key));
        self.change(slot, keys, &attrs, Fields::NONE, rows)
    }

    /// Takes attributes from a member and gives it others. With `rows`, appends the rows of the
    /// member in all lists that show it elsewhere than before. The revision grows if shown bits
    /// change. O(lists), and O(log n) for each of those.
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`], [`TableError::TooManyAttrSets`].
    pub fn set_attrs(
        &mut self,
        id: &I,
        clear: &Attrs,
        set: &Attrs,
        rows: Option<&mut Vec<ListMove>>,
    ) -> Result<(), TableError> {
        let slot = self.known(id)?;
        let attrs = self.classes.attrs(self.table.class(slot));
        let attrs = attrs.with(clear, set);
        self.change(slot, std::iter::empty(), &attrs, Fields::NONE, rows)
    }

    /// Takes attributes from many members and gives them others, all or none, as one change for
    /// viewers: their windows are sent whole. Unknown ids are passed over. Returns how many members
    /// were named. O(k log k), and for each list in which members move O(k log n) or O(n + k),
    /// whichever is less.
    ///
    /// # Errors
    ///
    /// [`TableError::TooManyAttrSets`] when there might be too many; nothing has changed.
    pub fn set_attrs_many<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a I>,
        clear: &Attrs,
        set: &Attrs,
    ) -> Result<usize, TableError> {
        let known = ids.into_iter().filter_map(|id| self.table.slot(id));
        let mut slots: Vec<u32> = known.collect();
        slots.sort_unstable();
        slots.dedup();
        let target = |slot: &u32| self.classes.attrs(self.table.class(*slot)).with(clear, set);
        let targets: HashSet<Attrs> = slots.iter().map(target).collect();
        let missing = |attrs: &&Attrs| self.classes.find(attrs).is_none();
        self.classes
            .check_room(targets.iter().filter(missing).count())?;
        let mut moves = Vec::with_capacity(slots.len());
        let mut revised = Vec::new();
        for &slot in &slots {
            let old = self.table.class(slot);
            let before = *self.classes.attrs(old);
            let attrs = before.with(clear, set);
            if attrs == before {
                continue;
            }
            let class = self.classes.intern(&attrs, self.lists.rules())?;
            self.classes.hold(class);
            moves.push((slot, class));
            let shown = |attrs: &Attrs| attrs.low() & self.options.shown;
            if shown(&before) != shown(&attrs) {
                revised.push((slot, shown(&attrs)));
            }
        }
        let old: Vec<u32> = moves
            .iter()
            .map(|(slot, _)| self.table.class(*slot))
            .collect();
        self.lists
            .reclass(&mut self.table, &self.classes, &moves, !revised.is_empty());
        old.into_iter()
            .for_each(|class| self.classes.release(class));
        for (slot, shown) in revised {
            self.table.revise(slot).attrs = shown;
        }
        self.check_when_due();
        Ok(slots.len())
    }

    /// Reports that these fields of a member's body have changed: its revision grows. O(lists), and
    /// O(log n) for each list that viewers watch.
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`].
    pub fn touch_fields(&mut self, id: &I, fields: Fields) -> Result<(), TableError> {
        let slot = self.known(id)?;
        self.table.revise(slot);
        self.lists.revised(&self.table, &self.classes, slot, fields);
        Ok(())
    }

    /// Sets the payload of a member; the revision grows if it differs. O(lists), and O(log n) for
    /// each list that viewers watch.
    ///
    /// # Errors
    ///
    /// [`ListError::NoPayloads`], [`ListError::UnknownMember`], [`ListError::PayloadTooLong`].
    pub fn set_payload(&mut self, id: &I, payload: Bytes) -> Result<(), TableError> {
        let slot = self.known(id)?;
        self.table.check_payload(&payload)?;
        if self.table.put_payload(slot, payload) {
            self.table.revise(slot);
            self.lists
                .revised(&self.table, &self.classes, slot, Fields::ALL);
        }
        Ok(())
    }

    fn known(&self, id: &I) -> Result<u32, TableError> {
        let unknown = || ListError::UnknownMember { id: id.to_text() }.into();
        self.table.slot(id).ok_or_else(unknown)
    }

    /// Checks that there is a key for each column.
    pub(super) const fn check_keys(&self, keys: &[SortKey]) -> Result<(), TableError> {
        let columns = self.table.columns();
        let got = keys.len();
        if got != columns {
            return Err(TableError::WrongKeys { got, columns });
        }
        Ok(())
    }

    /// Checks that there is such a column.
    pub(super) const fn check_column(&self, column: usize) -> Result<(), TableError> {
        let columns = self.table.columns();
        if column >= columns {
            return Err(TableError::UnknownKeyColumn { column, columns });
        }
        Ok(())
    }

    /// Returns the key columns in which a member has other keys than these, as bits.
    pub(super) fn columns_changed<'k>(
        &self,
        slot: u32,
        keys: impl Iterator<Item = (usize, &'k SortKey)>,
    ) -> u8 {
        let differs = |(column, key): &(usize, &SortKey)| {
            self.table.column(*column).key_of(slot) != key.as_bytes()
        };
        let changed = keys.filter(differs);
        changed.fold(0, |columns, (column, _)| columns | 1 << column)
    }

    /// Gives a member these keys and attributes. The revision grows if shown bits or fields of its
    /// body change.
    pub(super) fn change<'k>(
        &mut self,
        slot: u32,
        keys: impl Iterator<Item = (usize, &'k SortKey)> + Clone,
        attrs: &Attrs,
        body: Fields,
        rows: Option<&mut Vec<ListMove>>,
    ) -> Result<(), TableError> {
        let old_class = self.table.class(slot);
        let class = match self.classes.attrs(old_class) == attrs {
            true => old_class,
            false => self.classes.intern(attrs, self.lists.rules())?,
        };
        let columns = self.columns_changed(slot, keys.clone());
        if class != old_class || columns != 0 {
            let to = Move {
                slot,
                class,
                columns,
            };
            let leaving = self.lists.leave(&self.table, &self.classes, &to);
            for (column, key) in keys.filter(|(column, _)| columns >> column & 1 == 1) {
                self.table.set_key_in(column, slot, key.as_bytes());
            }
            self.classes.hold(class);
            self.table.set_class(slot, class);
            self.classes.release(old_class);
            self.lists.enter(&self.table, slot, &leaving, rows);
        }
        let shown = attrs.low() & self.options.shown;
        if self.table.cells[slot as usize].attrs != shown || body != Fields::NONE {
            self.table.revise(slot).attrs = shown;
            self.lists.revised(&self.table, &self.classes, slot, body);
        }
        self.check_when_due();
        Ok(())
    }

    /// Gives memory back: with many free slots, two members a removal move to lower ones.
    fn compact(&mut self) {
        for _ in 0..2 {
            let Some((from, to)) = self.table.next_compaction() else {
                return;
            };
            self.lists.lift(&self.table, &self.classes, from);
            self.table.compact();
            self.lists.lower(&self.table, &self.classes, to);
            self.table.pop_slot();
        }
    }

    /// Checks all lists, as often as a store would be.
    pub(super) fn check_when_due(&self) {
        if is_due(self.table.len()) {
            self.table.check(self.table.len(), 0);
            self.lists.iter().for_each(|list| list.check(&self.table));
        }
    }
}
