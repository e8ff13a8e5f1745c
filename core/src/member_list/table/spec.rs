//! [`ListSpec`]: which members a list has, in which groups and in which order.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::member_list::attrs::{Clause, check_clauses};
use crate::member_list::limits::{GROUPS_MAX, LIST_NAME_MAX, PERSONAL_MAX};
use crate::member_list::store::classes::Rules;
use crate::member_list::store::groups::Groups;
use crate::member_list::store::placed::PlacedOrder;
use crate::member_list::{Id, ListError, TableError};

/// The definition of a list of a [`MemberTable`](crate::member_list::MemberTable).
///
/// Members are admitted by their attributes, sorted by one of their keys and put into the group of
/// the first clause that holds for them. Members that no clause puts anywhere are in the default
/// group, which comes last unless a clause names it, too.
///
/// ```
/// use headcount::member_list::{Attrs, Clause, ListSpec};
///
/// const MODERATOR: u16 = 3;
/// const ONLINE: u16 = 4;
/// const MUTED: u16 = 5;
/// let online = Clause::new().all(Attrs::of([ONLINE])?);
/// let spec = ListSpec::<u64>::new("staff room", "offline")
///     .admit([Clause::new().any(Attrs::of([MODERATOR])?).none(Attrs::of([MUTED])?)])
///     .always([7])
///     .group(online, "online");
/// assert_eq!(spec.name(), "staff room");
/// # Ok::<(), headcount::member_list::TableError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSpec<I> {
    pub(super) name: Arc<str>,
    pub(super) column: usize,
    pub(super) descending: bool,
    pub(super) headers: bool,
    pub(super) admit: Option<Vec<Clause>>,
    pub(super) always: BTreeSet<I>,
    pub(super) never: BTreeSet<I>,
    pub(super) groups: Vec<(Clause, Arc<str>)>,
    pub(super) default_group: Arc<str>,
}

impl<I: Id> ListSpec<I> {
    /// Makes the spec of a list of all members in one group, sorted by their first key.
    ///
    /// Viewers see the name in every bundle: a list that not everyone may know of has an opaque
    /// one, a hash of its rules for example.
    #[must_use]
    pub fn new(name: &str, default_group: &str) -> Self {
        Self {
            name: name.into(),
            column: 0,
            descending: false,
            headers: true,
            admit: None,
            always: BTreeSet::new(),
            never: BTreeSet::new(),
            groups: Vec::new(),
            default_group: default_group.into(),
        }
    }

    /// Sets the key column that sorts the members of each group, from 0. Equal keys are sorted by
    /// id.
    #[must_use]
    pub const fn sort_by(mut self, column: usize) -> Self {
        self.column = column;
        self
    }

    /// Sets whether members are shown from the last to the first, equal keys included. Default
    /// `false`.
    #[must_use]
    pub const fn descending(mut self, descending: bool) -> Self {
        self.descending = descending;
        self
    }

    /// Sets whether each group with members has a header row. Default `true`.
    #[must_use]
    pub const fn headers(mut self, headers: bool) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the clauses of which one must hold for a member of the list, at most 16. Without this
    /// call all members are in the list; without clauses only those of [`always`](Self::always).
    #[must_use]
    pub fn admit(mut self, clauses: impl IntoIterator<Item = Clause>) -> Self {
        self.admit = Some(clauses.into_iter().collect());
        self
    }

    /// Sets the members that are in the list whatever their attributes. Together with
    /// [`never`](Self::never) at most 4,096.
    #[must_use]
    pub fn always(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.always = ids.into_iter().collect();
        self
    }

    /// Sets the members that are not in the list whatever their attributes.
    #[must_use]
    pub fn never(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.never = ids.into_iter().collect();
        self
    }

    /// Adds a clause that puts members for which none before it holds into a group. Several clauses
    /// may name one group; groups are in the order in which they are named first.
    #[must_use]
    pub fn group(mut self, clause: Clause, group: &str) -> Self {
        self.groups.push((clause, group.into()));
        self
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the key column that sorts the members.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.column
    }

    pub(super) const fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Checks the spec for a table with this many key columns.
    pub(super) fn check(&self, columns: usize) -> Result<(), TableError> {
        let len = self.name.len();
        let fits = (1..=LIST_NAME_MAX).contains(&len);
        if !fits || self.name.chars().any(char::is_control) {
            let max = LIST_NAME_MAX;
            return Err(TableError::BadListName { len, max });
        }
        if self.column >= columns {
            let column = self.column;
            return Err(TableError::UnknownKeyColumn { column, columns });
        }
        check_clauses(self.admit.as_ref().map_or(0, Vec::len))?;
        if self.groups.len() > GROUPS_MAX {
            return Err(ListError::TooManyGroups { max: GROUPS_MAX }.into());
        }
        let ids = self.always.len() + self.never.len();
        if ids > PERSONAL_MAX {
            let max = PERSONAL_MAX;
            return Err(TableError::TooManyIds { got: ids, max });
        }
        match self.always.intersection(&self.never).next() {
            Some(id) => Err(TableError::AlwaysAndNever { id: id.to_text() }),
            None => Ok(()),
        }
    }

    /// Makes the order of a list without members, and the rules by which it gets them; the spec was
    /// checked. `generation` is that of the ids of its groups.
    pub(super) fn compile(
        &self,
        verdicts: usize,
        generation: u32,
    ) -> Result<(Rules, PlacedOrder<I>), TableError> {
        let mut groups = Groups::of_generation(self.headers, self.descending, generation);
        let mut place = |name: &str| {
            let known = groups.by_name(name);
            let id = known.map_or_else(|| groups.add(name), Ok)?;
            Ok::<_, ListError>(id.place() as u16)
        };
        let named = self.groups.iter();
        let named = named.map(|(clause, name)| Ok((*clause, place(name)?)));
        let named = named.collect::<Result<_, ListError>>()?;
        let rules = Rules {
            admit: self.admit.clone(),
            groups: named,
            default_group: place(&self.default_group)?,
        };
        let always = self.always.iter().map(|id| (id.clone(), true));
        let never = self.never.iter().map(|id| (id.clone(), false));
        let personal: HashMap<I, bool> = always.chain(never).collect();
        let order = PlacedOrder::new(self.column, verdicts, personal, groups);
        Ok((rules, order))
    }
}
