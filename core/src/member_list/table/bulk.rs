//! Many new members at once.

use bytes::Bytes;
use hashbrown::HashMap;

use crate::member_list::attrs::Attrs;
use crate::member_list::limits::MEMBERS_MAX;
use crate::member_list::store::groups::GroupId;
use crate::member_list::store::staging::{BulkReport, Staged};
use crate::member_list::table::MemberTable;
use crate::member_list::{Id, ListError, SortKey, TableError};

/// A member for [`bulk_load`](MemberTable::bulk_load).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTableMember<I> {
    /// The id of the member.
    pub id: I,
    /// A key for each column.
    pub keys: Vec<SortKey>,
    /// All of its attributes.
    pub attrs: Attrs,
    /// The payload; `None` is an empty one, or none in a table without payloads.
    pub payload: Option<Bytes>,
}

/// The different sets of attributes of a load, in the order in which they come first.
#[derive(Default)]
struct NewSets {
    sets: Vec<Attrs>,
    places: HashMap<Attrs, u32>,
    /// Those that no member of the table has.
    unknown: usize,
}

impl<I: Id> MemberTable<I> {
    /// Puts many new members in, sorted or not, all or none, as one change for viewers: their
    /// windows are sent whole. Every list is sorted once: O(k log k) for each key column by which
    /// lists are sorted, and for each list O(k log n) or O(n + k), whichever is less. Lists that are
    /// being built go over the members when they come to them.
    ///
    /// Ids that are in the table already, and all but the first of equal ids in the input, are
    /// left out and reported.
    ///
    /// ```
    /// use headcount::SortKey;
    /// use headcount::member_list::{Attrs, ListSpec, MemberTable, NewTableMember, TableOptions};
    ///
    /// let mut table = MemberTable::<u64>::new(TableOptions::default().key_columns(2))?;
    /// let by_name = table.add_list(ListSpec::new("by name", "members"))?;
    /// let newest = table.add_list(ListSpec::new("newest", "members").sort_by(1).descending(true))?;
    /// let members = [(3, "cy", 10), (1, "ada", 20), (3, "eve", 30)];
    /// let members = members.map(|(id, name, joined)| NewTableMember {
    ///     id,
    ///     keys: vec![SortKey::from_name(name), SortKey::from_u64(joined)],
    ///     attrs: Attrs::EMPTY,
    ///     payload: None,
    /// });
    /// let report = table.bulk_load(members)?;
    /// assert_eq!((report.loaded, report.duplicates), (2, vec![(2, 3)]));
    /// assert_eq!(table.list(by_name)?.index_of(&1), Some(1)); // below the header
    /// assert_eq!(table.list(newest)?.index_of(&1), Some(1));
    /// # Ok::<(), headcount::member_list::TableError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TableError::InBatch`] with the first member that has the wrong number of keys or a payload
    /// that the table cannot take, or with which the table might get too many members or sets of
    /// attributes, were no id a duplicate. Nothing was loaded.
    pub fn bulk_load(
        &mut self,
        members: impl IntoIterator<Item = NewTableMember<I>>,
    ) -> Result<BulkReport<I>, TableError> {
        let mut sets = NewSets::default();
        let mut staged = self.stage(members, &mut sets)?;
        let made = sets.sets.iter();
        let made = made.map(|attrs| self.classes.intern(attrs, self.lists.rules()));
        let classes = made.collect::<Result<Vec<u32>, TableError>>()?;
        (staged.classes.iter_mut()).for_each(|set| *set = classes[*set as usize]);
        let (hashes, duplicates) = self.table.claim(&staged.rows);
        let fresh = staged.sorted(&duplicates);
        let start = self.table.fill(&staged, &hashes, &fresh, self.floor);
        for &at in &fresh {
            self.classes.hold(staged.classes[at as usize]);
        }
        // Of duplicates alone there may be no member.
        (classes.into_iter()).for_each(|class| self.classes.forget_unused(class));
        if !fresh.is_empty() {
            let slots = start..start + fresh.len() as u32;
            self.lists.enter_many(&self.table, &self.classes, slots);
        }
        self.check_when_due();
        Ok(staged.report(&duplicates))
    }

    /// Reads and checks all members.
    fn stage(
        &self,
        members: impl IntoIterator<Item = NewTableMember<I>>,
        sets: &mut NewSets,
    ) -> Result<Staged<I>, TableError> {
        let members = members.into_iter();
        let mut staged = Staged::for_members(members.size_hint().0, self.table.columns());
        for (at, member) in members.enumerate() {
            let set = self.check_new(at, &member, sets);
            let set = set.map_err(|error| error.in_batch(at))?;
            staged.classes.push(set);
            let shown = member.attrs.low() & self.options.shown;
            staged.push(member.id, GroupId(0), member.keys[0].as_bytes(), shown);
            for (column, key) in staged.more_keys.iter_mut().zip(&member.keys[1..]) {
                column.push(key.as_bytes());
            }
            if self.has_payloads() {
                staged.payloads.push(member.payload.unwrap_or_default());
            }
        }
        Ok(staged)
    }

    /// Checks a member that comes after `before` others, and returns the place of its attributes
    /// among the sets.
    fn check_new(
        &self,
        before: usize,
        member: &NewTableMember<I>,
        sets: &mut NewSets,
    ) -> Result<u32, TableError> {
        self.check_keys(&member.keys)?;
        if let Some(payload) = &member.payload {
            self.table.check_payload(payload)?;
        }
        if self.len() + before >= MEMBERS_MAX {
            return Err(ListError::TooManyMembers { max: MEMBERS_MAX }.into());
        }
        if let Some(&place) = sets.places.get(&member.attrs) {
            return Ok(place);
        }
        sets.unknown += usize::from(self.classes.find(&member.attrs).is_none());
        self.classes.check_room(sets.unknown)?;
        let place = sets.sets.len() as u32;
        sets.sets.push(member.attrs);
        sets.places.insert(member.attrs, place);
        Ok(place)
    }
}
