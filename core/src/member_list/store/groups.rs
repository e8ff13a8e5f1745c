//! Groups: an ordered table of counted subtrees, and the index space they span.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::member_list::ListError;
use crate::member_list::limits::{GROUP_NAME_MAX, GROUPS_MAX};
use crate::member_list::store::leaf::LeafSlots;
use crate::member_list::store::row_counts::RowCounts;
use crate::member_list::tree::Tree;

/// Names a group within its list. The id of a removed group is an error for ever: no later group
/// has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupId(pub u32);

/// The low bits of an id are the place of the group in the table, those above its generation.
const PLACE_BITS: u32 = GROUPS_MAX.ilog2();
/// Generations of one place. After the last one the place stays empty. Together with the place they
/// stay below [`ROOT_BIT`](crate::member_list::tree::ROOT_BIT).
const GENERATIONS: u32 = 1 << 18;

impl GroupId {
    const fn new(place: usize, generation: u32) -> Self {
        Self((generation % GENERATIONS) << PLACE_BITS | place as u32)
    }

    pub(crate) const fn place(self) -> usize {
        self.0 as usize % GROUPS_MAX
    }

    /// Returns the id of the next group at the same place.
    fn next(self) -> Option<Self> {
        let generation = (self.0 >> PLACE_BITS) + 1;
        (generation < GENERATIONS).then(|| Self::new(self.place(), generation))
    }
}

/// A group as [`groups`](crate::member_list::MemberList::groups) describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct GroupInfo<'a> {
    /// The group.
    pub id: GroupId,
    /// Its name: what frames, checksums and clients call it.
    pub name: &'a str,
    /// Its members, shown or not.
    pub count: usize,
    /// The index of its first row (the header, where there are headers); `None` when it has no
    /// rows.
    pub first_index: Option<usize>,
    /// True if the group is out of the index space.
    pub hidden: bool,
    /// True if only the header is in the index space.
    pub collapsed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    id: GroupId,
    pub(crate) name: Arc<str>,
    pub(crate) tree: Tree<LeafSlots>,
    pub(crate) hidden: bool,
    pub(crate) collapsed: bool,
    /// The group's place in the order.
    pos: usize,
}

/// All groups, in order.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    headers: bool,
    /// True if the members of each group are shown from the last to the first.
    descending: bool,
    /// The generation of ids of places that had no group yet.
    generation: u32,
    slots: Vec<Option<Group>>,
    /// The ids that groups get next at the places of those that were removed.
    free: Vec<GroupId>,
    names: HashMap<Arc<str>, GroupId>,
    order: Vec<GroupId>,
    /// Rows of each group, in order.
    rows: RowCounts,
    len: usize,
}

/// A place in the index space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The header of a group.
    Header(GroupId),
    /// The member at this position of a group.
    Member(GroupId, usize),
}

impl Groups {
    pub(crate) fn new(headers: bool) -> Self {
        Self {
            headers,
            descending: false,
            generation: 0,
            slots: Vec::new(),
            free: Vec::new(),
            names: HashMap::default(),
            order: Vec::new(),
            rows: RowCounts::default(),
            len: 0,
        }
    }

    /// Makes the table of a list that was defined again, or is shown from its end: ids of other
    /// generations are unknown to it.
    pub(crate) fn of_generation(headers: bool, descending: bool, generation: u32) -> Self {
        Self {
            descending,
            generation,
            ..Self::new(headers)
        }
    }

    /// Rows in the index space. O(1).
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The id of the group that was made first at a place.
    pub(crate) const fn id_at(&self, place: usize) -> GroupId {
        GroupId::new(place, self.generation)
    }

    /// Takes all members out of all groups. O(groups).
    pub(crate) fn clear(&mut self) {
        for group in self.slots.iter_mut().flatten() {
            group.tree = Tree::default();
        }
        self.reposition();
    }

    pub(crate) fn order(&self) -> &[GroupId] {
        &self.order
    }

    pub(crate) fn find(&self, id: GroupId) -> Option<&Group> {
        let found = self.slots.get(id.place())?.as_ref();
        found.filter(|group| group.id == id)
    }

    /// Returns the name of a group. O(1).
    pub(crate) fn name(&self, id: GroupId) -> Option<&str> {
        self.find(id).map(|group| &*group.name)
    }

    /// Returns the group of a name. O(1).
    pub(crate) fn by_name(&self, name: &str) -> Option<GroupId> {
        self.names.get(name).copied()
    }

    /// Returns whether members are shown from the last to the first.
    pub(crate) const fn descending(&self) -> bool {
        self.descending
    }

    /// Returns whether headers are rows.
    pub(crate) fn headers(&self) -> bool {
        self.headers
    }

    pub(crate) fn check(&self, id: GroupId) -> Result<(), ListError> {
        match self.find(id) {
            Some(_) => Ok(()),
            None => Err(ListError::UnknownGroup {
                group: id.0.to_string(),
            }),
        }
    }

    /// Returns the index of a group's first row, whether it has rows or not. O(log groups).
    pub(crate) fn first_row(&self, id: GroupId) -> usize {
        self.rows.before(self[id].pos)
    }

    /// The index of the header row, if it has one.
    pub(crate) fn header_row(&self, id: GroupId) -> Option<usize> {
        let shown = self.headers && self.rows.get(self[id].pos) > 0;
        shown.then(|| self.first_row(id))
    }

    /// The index of the member at a position of its group, unless it is not shown.
    pub(crate) fn member_row(&self, id: GroupId, at: usize) -> Option<usize> {
        let at = if self.descending {
            self[id].tree.len() - 1 - at
        } else {
            at
        };
        self.shown_row(id, at)
    }

    /// The index of the member that is shown as the one at a position of its group, unless it is
    /// not shown.
    pub(crate) fn shown_row(&self, id: GroupId, at: usize) -> Option<usize> {
        let group = &self[id];
        let shown = !group.hidden && !group.collapsed;
        shown.then(|| self.first_row(id) + usize::from(self.headers) + at)
    }

    /// Returns the header or member at a row. O(log groups).
    pub(crate) fn place(&self, index: usize) -> Option<Place> {
        let (pos, rest) = self.rows.locate(index)?;
        let id = self.order[pos];
        Some(match (self.headers, rest) {
            (true, 0) => Place::Header(id),
            (headers, _) if self.descending => {
                let from_end = rest - usize::from(headers);
                Place::Member(id, self[id].tree.len() - 1 - from_end)
            }
            (headers, _) => Place::Member(id, rest - usize::from(headers)),
        })
    }

    pub(crate) fn infos(&self) -> impl Iterator<Item = GroupInfo<'_>> {
        let mut next = 0;
        let rows = self.rows.as_slice();
        self.order.iter().zip(rows).map(move |(&id, &rows)| {
            let group = &self[id];
            let first = next;
            next += rows as usize;
            GroupInfo {
                id,
                name: &group.name,
                count: group.tree.len(),
                first_index: (rows > 0).then_some(first),
                hidden: group.hidden,
                collapsed: group.collapsed,
            }
        })
    }

    pub(crate) fn at_mut(&mut self, id: GroupId) -> &mut Group {
        self.slots[id.place()]
            .as_mut()
            .filter(|group| group.id == id)
            .expect("the caller checked that the group exists")
    }

    /// Brings the index space in line with the members and the state of a group. O(log groups).
    pub(crate) fn recount(&mut self, id: GroupId) {
        let group = &self[id];
        let pos = group.pos;
        let rows = self.rows_of(group);
        self.len = self.len + rows as usize - self.rows.get(pos) as usize;
        self.rows.set(pos, rows);
    }

    /// Returns how many rows a group has.
    fn rows_of(&self, group: &Group) -> u32 {
        let members = group.tree.len() as u32;
        match (members, group.hidden, group.collapsed) {
            (0, ..) | (_, true, _) => 0,
            (_, _, true) => u32::from(self.headers),
            _ => members + u32::from(self.headers),
        }
    }

    pub(crate) fn add(&mut self, name: &str) -> Result<GroupId, ListError> {
        self.check_name(name)?;
        // A place whose generations are used up stays empty.
        if self.free.is_empty() && self.slots.len() == GROUPS_MAX {
            return Err(ListError::TooManyGroups { max: GROUPS_MAX });
        }
        let pos = self.order.len();
        let name: Arc<str> = name.into();
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            GroupId::new(self.slots.len() - 1, self.generation)
        });
        let group = Group {
            id,
            name: Arc::clone(&name),
            tree: Tree::default(),
            hidden: false,
            collapsed: false,
            pos,
        };
        self.slots[id.place()] = Some(group);
        self.names.insert(name, id);
        self.order.push(id);
        self.rows.push_empty();
        Ok(id)
    }

    pub(crate) fn rename(&mut self, id: GroupId, name: &str) -> Result<(), ListError> {
        self.check(id)?;
        if &*self[id].name != name {
            self.check_name(name)?;
            let name: Arc<str> = name.into();
            self.names.insert(Arc::clone(&name), id);
            let old = std::mem::replace(&mut self.at_mut(id).name, name);
            self.names.remove(&old);
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: GroupId) -> Result<(), ListError> {
        self.check(id)?;
        let group = &self[id];
        if group.tree.len() > 0 {
            let name = group.name.to_string();
            let members = group.tree.len();
            return Err(ListError::GroupNotEmpty { name, members });
        }
        let name = Arc::clone(&self[id].name);
        self.names.remove(&name);
        self.order.retain(|&other| other != id);
        self.slots[id.place()] = None;
        self.free.extend(id.next());
        self.reposition();
        Ok(())
    }

    /// Sets the order of all groups.
    pub(crate) fn reorder(&mut self, order: &[GroupId]) -> Result<(), ListError> {
        let mut seen = vec![false; self.slots.len()];
        for &id in order {
            self.check(id)?;
            seen[id.place()] = true;
        }
        let distinct = seen.iter().filter(|&&seen| seen).count();
        if distinct != self.order.len() || order.len() != distinct {
            return Err(ListError::BadGroupOrder {
                expected: self.order.len(),
                got: distinct,
            });
        }
        self.order = order.to_vec();
        self.reposition();
        Ok(())
    }

    /// Creates these groups where they are missing, and moves them before all others in this order.
    pub(crate) fn place_first(&mut self, names: &[&str]) -> Result<Vec<GroupId>, ListError> {
        let mut order = Vec::with_capacity(names.len());
        let mut given = HashSet::new();
        for name in names {
            let id = match self.by_name(name) {
                Some(id) if given.contains(&id) => {
                    return Err(ListError::GroupExists {
                        name: (*name).to_string(),
                    });
                }
                Some(id) => id,
                None => self.add(name)?,
            };
            given.insert(id);
            order.push(id);
        }
        let others = self.order.iter().filter(|&id| !given.contains(id));
        let all: Vec<_> = order.iter().chain(others).copied().collect();
        self.reorder(&all)?;
        Ok(order)
    }

    /// Moves one group to a place in the order; places past the end mean the end.
    pub(crate) fn move_to(&mut self, id: GroupId, to: usize) -> Result<(), ListError> {
        self.check(id)?;
        let others = self.order.iter().copied().filter(|&other| other != id);
        let mut order: Vec<_> = others.collect();
        order.insert(to.min(order.len()), id);
        self.reorder(&order)
    }

    /// Takes a group out of the index space, or puts it back.
    pub(crate) fn set_hidden(&mut self, id: GroupId, hidden: bool) -> Result<(), ListError> {
        self.check(id)?;
        self.at_mut(id).hidden = hidden;
        self.recount(id);
        Ok(())
    }

    /// Takes the members of a group out of the index space, or puts them back.
    pub(crate) fn set_collapsed(&mut self, id: GroupId, collapsed: bool) -> Result<(), ListError> {
        self.check(id)?;
        self.at_mut(id).collapsed = collapsed;
        self.recount(id);
        Ok(())
    }

    fn reposition(&mut self) {
        for pos in 0..self.order.len() {
            let id = self.order[pos];
            self.at_mut(id).pos = pos;
        }
        let rows: Vec<u32> = self
            .order
            .iter()
            .map(|&id| self.rows_of(&self[id]))
            .collect();
        self.len = rows.iter().sum::<u32>() as usize;
        self.rows = RowCounts::new(rows);
    }

    /// Checks that the order, the places and the rows of all groups fit each other. O(groups).
    ///
    /// # Panics
    ///
    /// Panics if they do not.
    pub(crate) fn check_rows(&self) {
        let counts = self.rows.as_slice();
        assert_eq!(counts.len(), self.order.len(), "groups in order");
        assert_eq!(self.names.len(), self.order.len(), "names of groups");
        let mut first = 0;
        for (pos, (&id, &rows)) in self.order.iter().zip(counts).enumerate() {
            let group = &self[id];
            assert_eq!(group.pos, pos, "place of a group");
            assert_eq!(rows, self.rows_of(group), "rows of a group");
            assert_eq!(self.rows.before(pos), first, "rows before a group");
            assert_eq!(self.by_name(&group.name), Some(id), "name of a group");
            first += rows as usize;
        }
        assert_eq!(self.len, first, "rows");
    }

    fn check_name(&self, name: &str) -> Result<(), ListError> {
        let fits = (1..=GROUP_NAME_MAX).contains(&name.len());
        if !fits || name.chars().any(char::is_control) {
            return Err(ListError::BadGroupName {
                len: name.len(),
                max: GROUP_NAME_MAX,
            });
        }
        match self.by_name(name) {
            Some(_) => Err(ListError::GroupExists {
                name: name.to_string(),
            }),
            None => Ok(()),
        }
    }
}

impl std::ops::Index<GroupId> for Groups {
    type Output = Group;

    fn index(&self, id: GroupId) -> &Group {
        self.find(id)
            .expect("the caller checked that the group exists")
    }
}
