//! Attribute sets, each once: a class for all members with equal attributes, and the place of the
//! class in each list.

use std::sync::{Arc, Weak};

use hashbrown::HashMap;

use crate::member_list::TableError;
use crate::member_list::attrs::{Attrs, Clause};
use crate::member_list::limits::ATTR_SETS_MAX;

/// The group of a class in a list, and whether the list admits the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict(u16);

const REFUSED: u16 = 1 << 15;

impl Verdict {
    /// The place of the group in the table of groups.
    pub(crate) const fn group(self) -> usize {
        (self.0 & !REFUSED) as usize
    }

    pub(crate) const fn is_admitted(self) -> bool {
        self.0 & REFUSED == 0
    }
}

/// The part of a list's spec that looks at attributes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Any of these admits; `None` admits everyone.
    pub(crate) admit: Option<Vec<Clause>>,
    /// The first that holds says the group.
    pub(crate) groups: Vec<(Clause, u16)>,
    pub(crate) default_group: u16,
}

impl Rules {
    /// O(clauses).
    fn verdict(&self, attrs: &Attrs) -> Verdict {
        let admitted = self.admit.as_ref();
        let admitted =
            admitted.is_none_or(|clauses| clauses.iter().any(|clause| clause.holds(attrs)));
        let group = self.groups.iter().find(|(clause, _)| clause.holds(attrs));
        let group = group.map_or(self.default_group, |(_, group)| *group);
        Verdict(if admitted { group } else { group | REFUSED })
    }
}

#[derive(Debug)]
struct Class {
    attrs: Attrs,
    members: usize,
    /// By column.
    verdicts: Vec<Verdict>,
}

/// The classes of a table. A list has a column of verdicts.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    classes: Vec<Class>,
    by_attrs: HashMap<Attrs, u32>,
    free: Vec<u32>,
    /// As long as the save it belongs to lives, no class gets the number of one that is gone.
    save: Weak<()>,
}

impl Classes {
    /// Keeps the attributes of all classes for a save, also of those that are gone.
    pub(crate) fn keep_for(&mut self, save: &Arc<()>) {
        self.save = Arc::downgrade(save);
    }

    /// Returns how many classes there are. O(1).
    pub(crate) fn len(&self) -> usize {
        self.by_attrs.len()
    }

    /// Returns the class of these attributes, if it has one. O(1).
    pub(crate) fn find(&self, attrs: &Attrs) -> Option<u32> {
        self.by_attrs.get(attrs).copied()
    }

    pub(crate) fn attrs(&self, class: u32) -> &Attrs {
        &self.classes[class as usize].attrs
    }

    /// Checks that there is room for `more` classes.
    pub(crate) fn check_room(&self, more: usize) -> Result<(), TableError> {
        if self.len() + more > ATTR_SETS_MAX {
            return Err(TableError::TooManyAttrSets { max: ATTR_SETS_MAX });
        }
        Ok(())
    }

    /// Returns the class of these attributes, made if it is missing: `rules` are those of the lists,
    /// by column. O(1), and O(lists x clauses) for a new class.
    pub(crate) fn intern<'r>(
        &mut self,
        attrs: &Attrs,
        rules: impl Iterator<Item = (usize, &'r Rules)>,
    ) -> Result<u32, TableError> {
        if let Some(class) = self.find(attrs) {
            return Ok(class);
        }
        self.check_room(1)?;
        let mut made = Class {
            attrs: *attrs,
            members: 0,
            verdicts: Vec::new(),
        };
        for (column, rules) in rules {
            made.judge(column, rules);
        }
        let is_saving = self.save.strong_count() > 0;
        let free = if is_saving { None } else { self.free.pop() };
        let class = match free {
            Some(class) => {
                self.classes[class as usize] = made;
                class
            }
            None => {
                self.classes.push(made);
                (self.classes.len() - 1) as u32
            }
        };
        self.by_attrs.insert(*attrs, class);
        Ok(class)
    }

    /// Evaluates the rules of a new list for all classes. O(classes x clauses).
    pub(crate) fn add_column(&mut self, column: usize, rules: &Rules) {
        for class in &mut self.classes {
            class.judge(column, rules);
        }
    }

    /// The verdict of a list on a class. O(1).
    #[inline]
    pub(crate) fn verdict(&self, class: u32, column: usize) -> Verdict {
        self.classes[class as usize].verdicts[column]
    }

    /// Returns how many members a list admits by their attributes. O(classes).
    pub(crate) fn admitted(&self, column: usize) -> usize {
        let classes = self.classes.iter().filter(|class| class.members > 0);
        let admitted = classes.filter(|class| class.verdicts[column].is_admitted());
        admitted.map(|class| class.members).sum()
    }

    /// Counts one member more.
    pub(crate) fn hold(&mut self, class: u32) {
        self.classes[class as usize].members += 1;
    }

    /// Counts one member less; a class without members is forgotten.
    pub(crate) fn release(&mut self, class: u32) {
        self.classes[class as usize].members -= 1;
        self.forget_unused(class);
    }

    /// Forgets a class that no member has.
    pub(crate) fn forget_unused(&mut self, class: u32) {
        let held = &mut self.classes[class as usize];
        if held.members == 0 && self.by_attrs.get(&held.attrs) == Some(&class) {
            held.verdicts = Vec::new();
            self.by_attrs.remove(&held.attrs);
            self.free.push(class);
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let verdicts = self.classes.iter().map(|class| class.verdicts.capacity());
        verdicts.sum::<usize>() * size_of::<Verdict>()
            + self.classes.capacity() * size_of::<Class>()
            + self.by_attrs.capacity() * size_of::<(Attrs, u32)>()
            + self.free.capacity() * 4
    }
}

impl Class {
    fn judge(&mut self, column: usize, rules: &Rules) {
        if self.verdicts.len() <= column {
            self.verdicts.resize(column + 1, Verdict(REFUSED));
        }
        self.verdicts[column] = rules.verdict(&self.attrs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_bounded_and_given_out_again() {
        let mut classes = Classes::default();
        let intern = |classes: &mut Classes, low| {
            let class = classes.intern(&Attrs::from_low(low), std::iter::empty())?;
            classes.hold(class);
            Ok(class)
        };
        for low in 0..ATTR_SETS_MAX as u32 {
            assert_eq!(intern(&mut classes, low), Ok(low));
        }
        let full = TableError::TooManyAttrSets { max: ATTR_SETS_MAX };
        assert_eq!(intern(&mut classes, u32::MAX), Err(full.clone()));
        assert_eq!(classes.check_room(1), Err(full));
        assert_eq!(intern(&mut classes, 7), Ok(7));
        classes.release(7);
        assert_eq!(classes.len(), ATTR_SETS_MAX);
        classes.release(7);
        assert_eq!(intern(&mut classes, u32::MAX), Ok(7));
    }
}
