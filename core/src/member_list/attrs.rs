//! Sets of attribute bits, and conditions on them.

use std::fmt;

use crate::member_list::TableError;
use crate::member_list::limits::{ATTRS_MAX, CLAUSES_MAX};

/// Words of a set.
pub(crate) const WORDS: usize = ATTRS_MAX / 64;

/// A set of up to 512 attributes of a member: roles, status, bot, ... What a bit means is up to the
/// application.
///
/// ```
/// use headcount::member_list::Attrs;
///
/// let roles = Attrs::of([3, 400])?;
/// assert!(roles.contains(400) && !roles.contains(4));
/// assert!(Attrs::of([512]).is_err());
/// # Ok::<(), headcount::member_list::TableError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attrs([u64; WORDS]);

impl Attrs {
    /// The empty set.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// Makes a set of these bits.
    ///
    /// # Errors
    ///
    /// [`TableError::AttrTooHigh`] for a bit over 511.
    pub fn of(bits: impl IntoIterator<Item = u16>) -> Result<Self, TableError> {
        let mut attrs = Self::EMPTY;
        for bit in bits {
            let word = attrs.0.get_mut(usize::from(bit) / 64);
            let max = ATTRS_MAX - 1;
            *word.ok_or(TableError::AttrTooHigh { bit, max })? |= 1 << (bit % 64);
        }
        Ok(attrs)
    }

    /// Makes a set of the bits 0 to 31.
    #[must_use]
    pub const fn from_low(bits: u32) -> Self {
        let mut words = [0; WORDS];
        words[0] = bits as u64;
        Self(words)
    }

    /// Returns the bits 0 to 31.
    #[must_use]
    pub const fn low(&self) -> u32 {
        self.0[0] as u32
    }

    /// Returns whether a bit is in the set. O(1).
    #[must_use]
    pub fn contains(&self, bit: u16) -> bool {
        let word = self.0.get(usize::from(bit) / 64);
        word.is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Returns whether the set is empty. O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// Returns the bits of the set, ascending.
    pub fn bits(&self) -> impl Iterator<Item = u16> {
        (0..ATTRS_MAX as u16).filter(|&bit| self.contains(bit))
    }

    /// Returns the set without the bits of `clear`, with those of `set`. O(1).
    #[must_use]
    pub fn with(&self, clear: &Self, set: &Self) -> Self {
        Self(std::array::from_fn(|at| {
            self.0[at] & !clear.0[at] | set.0[at]
        }))
    }

    /// Appends the set: which words have bits, and those words.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        let used = |at: &usize| self.0[*at] != 0;
        let mask = (0..WORDS)
            .filter(used)
            .fold(0_u8, |mask, at| mask | 1 << at);
        out.push(mask);
        for word in self.0.iter().filter(|word| **word != 0) {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Makes a set of its words.
    pub(crate) const fn from_words(words: [u64; WORDS]) -> Self {
        Self(words)
    }

    fn intersects(&self, other: &Self) -> bool {
        let mut words = self.0.iter().zip(&other.0);
        words.any(|(word, other)| word & other != 0)
    }

    fn contains_all(&self, other: &Self) -> bool {
        let mut words = self.0.iter().zip(&other.0);
        words.all(|(word, other)| word & other == *other)
    }
}

impl fmt::Debug for Attrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.bits()).finish()
    }
}

/// A condition on attributes: it holds for members with all bits of one set, any bit of another and
/// none of a third. An empty set asks for nothing.
///
/// ```
/// use headcount::member_list::{Attrs, Clause};
///
/// let staff = Clause::new().any(Attrs::of([1, 2])?).none(Attrs::of([9])?);
/// assert!(staff.holds(&Attrs::of([2])?));
/// assert!(!staff.holds(&Attrs::of([2, 9])?) && !staff.holds(&Attrs::of([3])?));
/// # Ok::<(), headcount::member_list::TableError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clause {
    pub(crate) all: Attrs,
    pub(crate) any: Attrs,
    pub(crate) none: Attrs,
}

impl Clause {
    /// Makes a condition that always holds.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            all: Attrs::EMPTY,
            any: Attrs::EMPTY,
            none: Attrs::EMPTY,
        }
    }

    /// Sets the bits that a member needs all of.
    #[must_use]
    pub const fn all(mut self, bits: Attrs) -> Self {
        self.all = bits;
        self
    }

    /// Sets the bits of which a member needs one.
    #[must_use]
    pub const fn any(mut self, bits: Attrs) -> Self {
        self.any = bits;
        self
    }

    /// Sets the bits of which a member may have none.
    #[must_use]
    pub const fn none(mut self, bits: Attrs) -> Self {
        self.none = bits;
        self
    }

    /// Returns whether the condition holds for these attributes. O(1).
    #[must_use]
    pub fn holds(&self, attrs: &Attrs) -> bool {
        attrs.contains_all(&self.all)
            && (self.any.is_empty() || attrs.intersects(&self.any))
            && !attrs.intersects(&self.none)
    }
}

/// Checks that clauses are no more than a list may have.
pub(crate) const fn check_clauses(got: usize) -> Result<(), TableError> {
    if got > CLAUSES_MAX {
        return Err(TableError::TooManyClauses {
            got,
            max: CLAUSES_MAX,
        });
    }
    Ok(())
}
