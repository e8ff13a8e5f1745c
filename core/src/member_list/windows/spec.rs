//! Which rows a viewer looks at: [`WindowSpec`] and its canonical names.
//!
//! The grammar and the limits are those of `core/docs/list-frames.md`, section 1.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use crate::member_list::frames::model::RowKey;
use crate::member_list::limits::{
    CHUNK_MAX, CHUNK_ROWS, GROUP_NAME_MAX, KEY_MAX, SEARCH_PAGE_MAX, WINDOW_ROWS_MAX,
};
use crate::member_list::windows::search::Search;
use crate::member_list::{Id, SortKey};

/// A window of a list: the name of a range of rows, which all viewers share.
///
/// Its [`Display`](fmt::Display) form is the canonical name; [`parse`](Self::parse) is the inverse.
///
/// ```
/// use headcount::member_list::WindowSpec;
///
/// let w: WindowSpec<u64> = WindowSpec::parse("a:77:50:49").unwrap();
/// assert_eq!(w, WindowSpec::anchored(77, 50, 49));
/// assert_eq!(w.to_string(), "a:77:50:49");
/// assert!(WindowSpec::<u64>::parse("a:77:50:4900").is_err()); // more than 500 rows
/// ```
/// Two specs are equal if their names are: `follow` has no meaning for a window around a header.
#[derive(Clone, Debug)]
pub enum WindowSpec<I> {
    /// Rows `[100k, 100k + 100)`.
    Chunk(u32),
    /// The rows around an anchor: up to `before` above it, itself, up to `after` below it.
    Anchored {
        /// The row in the middle.
        anchor: RowKey<I>,
        /// Rows above the anchor.
        before: u16,
        /// Rows below the anchor.
        after: u16,
        /// True if the window goes along when the anchor moves. A header is always followed.
        follow: bool,
    },
    /// A page of the members whose keys begin with a text.
    Search(Search),
}

/// Why a window was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowError {
    /// The text is no canonical window name.
    BadName,
    /// The window would span more rows than the limit.
    TooManyRows {
        /// Rows asked for.
        rows: usize,
        /// The limit, [`WINDOW_ROWS_MAX`].
        max: usize,
    },
    /// No list is long enough to have this chunk.
    ChunkTooHigh {
        /// Chunk asked for.
        chunk: u32,
        /// The limit, [`CHUNK_MAX`].
        max: u32,
    },
    /// No list is long enough to have this page of a search.
    PageTooHigh {
        /// Page asked for.
        page: u32,
        /// The limit, [`SEARCH_PAGE_MAX`].
        max: u32,
    },
    /// The viewer holds as many windows of searches as it may.
    TooManySearches {
        /// The limit, [`VIEWER_SEARCHES_MAX`](crate::member_list::VIEWER_SEARCHES_MAX).
        max: usize,
    },
    /// The list has too many groups to show the matches of all of them in one window.
    TooManyGroups {
        /// Groups of the list.
        groups: usize,
        /// The limit, [`SEARCH_GROUPS_MAX`](crate::member_list::SEARCH_GROUPS_MAX).
        max: usize,
    },
    /// The viewer holds as many windows as it may.
    TooManyWindows {
        /// The limit, [`VIEWER_WINDOWS_MAX`](crate::member_list::VIEWER_WINDOWS_MAX).
        max: usize,
    },
    /// The anchor is not in the list, or in a hidden group.
    UnknownAnchor,
    /// The viewer does not hold this window.
    NotOpen,
    /// A request names a window twice.
    NamedTwice,
    /// The viewer's protocol has no windows of this kind (anchors in Discord's).
    Unsupported,
    /// The viewer is not a [resumable](crate::member_list::Viewer::resumable) one.
    NotResumable,
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName => f.write_str("not a canonical window name"),
            Self::TooManyRows { rows, max } => write!(f, "window of {rows} rows, at most {max}"),
            Self::ChunkTooHigh { chunk, max } => write!(f, "chunk {chunk}, at most {max}"),
            Self::PageTooHigh { page, max } => write!(f, "page {page}, at most {max}"),
            Self::TooManySearches { max } => write!(f, "viewer already holds {max} searches"),
            Self::TooManyGroups { groups, max } => {
                write!(f, "search over {groups} groups, at most {max}")
            }
            Self::TooManyWindows { max } => write!(f, "viewer already holds {max} windows"),
            Self::UnknownAnchor => f.write_str("anchor is not a row of the list"),
            Self::NamedTwice => f.write_str("a window is named twice"),
            Self::NotOpen => f.write_str("viewer does not hold this window"),
            Self::Unsupported => f.write_str("this viewer's protocol has no such windows"),
            Self::NotResumable => {
                f.write_str("this viewer cannot resume, because its client reads no frame format 2")
            }
        }
    }
}

impl std::error::Error for WindowError {}

/// The parts of a spec that its name tells.
#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Identity<'a, I> {
    Chunk(u32),
    Anchored(&'a RowKey<I>, u16, u16, bool),
    Search(&'a Search),
}

impl<I: PartialEq> PartialEq for WindowSpec<I> {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl<I: Eq> Eq for WindowSpec<I> {}

impl<I: Ord> PartialOrd for WindowSpec<I> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<I: Ord> Ord for WindowSpec<I> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl<I: Hash> Hash for WindowSpec<I> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl<I> WindowSpec<I> {
    fn identity(&self) -> Identity<'_, I> {
        match self {
            Self::Chunk(chunk) => Identity::Chunk(*chunk),
            Self::Search(search) => Identity::Search(search),
            Self::Anchored {
                anchor,
                before,
                after,
                follow,
            } => {
                let follow = *follow || matches!(anchor, RowKey::Header(_));
                Identity::Anchored(anchor, *before, *after, follow)
            }
        }
    }

    /// Makes a window around the member `id` that stays where it is when the member moves.
    pub const fn anchored(id: I, before: u16, after: u16) -> Self {
        Self::Anchored {
            anchor: RowKey::Member(id),
            before,
            after,
            follow: false,
        }
    }

    /// Makes a window around the member `id` that goes where the member goes.
    pub const fn following(id: I, before: u16, after: u16) -> Self {
        Self::Anchored {
            anchor: RowKey::Member(id),
            before,
            after,
            follow: true,
        }
    }

    /// Makes a window around the header of the group of this name.
    #[must_use]
    pub fn header(group: &str, before: u16, after: u16) -> Self {
        Self::Anchored {
            anchor: RowKey::Header(group.into()),
            before,
            after,
            follow: true,
        }
    }

    /// Makes a window of a page of the members of all groups whose keys begin with `prefix`, each
    /// group below its header. The prefix is made as for
    /// [`find_prefix`](crate::member_list::MemberList::find_prefix).
    #[must_use]
    pub const fn search(prefix: &SortKey, page: u32) -> Self {
        Self::Search(Search {
            prefix: *prefix,
            page,
            group: None,
        })
    }

    /// Makes a window of a page of the members of one group whose keys begin with `prefix`.
    #[must_use]
    pub fn search_in(group: &str, prefix: &SortKey, page: u32) -> Self {
        Self::Search(Search {
            prefix: *prefix,
            page,
            group: Some(group.into()),
        })
    }

    /// Checks the limits of `core/docs/list-frames.md`. O(1).
    ///
    /// # Errors
    /// [`WindowError::TooManyRows`], [`WindowError::ChunkTooHigh`] or
    /// [`WindowError::PageTooHigh`].
    pub const fn check(&self) -> Result<(), WindowError> {
        match *self {
            Self::Search(Search { page, .. }) if page > SEARCH_PAGE_MAX => {
                Err(WindowError::PageTooHigh {
                    page,
                    max: SEARCH_PAGE_MAX,
                })
            }
            Self::Chunk(chunk) if chunk > CHUNK_MAX => Err(WindowError::ChunkTooHigh {
                chunk,
                max: CHUNK_MAX,
            }),
            Self::Chunk(_) | Self::Search(_) => Ok(()),
            Self::Anchored { before, after, .. } => {
                let rows = before as usize + after as usize + 1;
                if rows > WINDOW_ROWS_MAX {
                    return Err(WindowError::TooManyRows {
                        rows,
                        max: WINDOW_ROWS_MAX,
                    });
                }
                Ok(())
            }
        }
    }

    /// Returns whether the window is one of a search.
    pub(crate) const fn is_search(&self) -> bool {
        matches!(self, Self::Search(_))
    }

    /// The rows of the window in a list of `total` rows whose row `anchor_index` is the anchor
    /// (ignored for chunks). A search reads its rows itself. O(1).
    pub(crate) fn range(&self, anchor_index: usize, total: usize) -> Range<usize> {
        let (start, end) = match *self {
            Self::Search(_) => (0, 0),
            Self::Chunk(k) => (k as usize * CHUNK_ROWS, (k as usize + 1) * CHUNK_ROWS),
            Self::Anchored { before, after, .. } => (
                anchor_index.saturating_sub(before as usize),
                anchor_index.saturating_add(after as usize + 1),
            ),
        };
        start..end.min(total).max(start)
    }

    /// The same window around another row.
    pub(crate) fn reanchored(&self, anchor: RowKey<I>) -> Self
    where
        I: Clone,
    {
        match *self {
            Self::Search(_) => self.clone(),
            Self::Chunk(k) => Self::Chunk(k),
            Self::Anchored {
                anchor: ref old,
                before,
                after,
                follow,
            } => {
                let follow = match (&anchor, old) {
                    (RowKey::Header(_), _) => true,
                    (RowKey::Member(_), RowKey::Header(_)) => false,
                    (RowKey::Member(_), RowKey::Member(_)) => follow,
                };
                Self::Anchored {
                    anchor,
                    before,
                    after,
                    follow,
                }
            }
        }
    }
}

impl<I: Id> WindowSpec<I> {
    /// Reads a canonical name. O(length).
    ///
    /// # Errors
    /// [`WindowError::BadName`] when the text is no canonical name of a window over ids of type
    /// `I`, else as [`check`](Self::check).
    pub fn parse(name: &str) -> Result<Self, WindowError> {
        let (kind, rest) = name.split_once(':').ok_or(WindowError::BadName)?;
        let spec = match kind {
            "c" => Self::Chunk(number(rest)?),
            "q" | "r" => Self::Search(parse_search(kind == "r", rest)?),
            "a" | "f" | "g" => {
                let (rest, after) = rest.rsplit_once(':').ok_or(WindowError::BadName)?;
                let (key, before) = rest.rsplit_once(':').ok_or(WindowError::BadName)?;
                let anchor = match kind {
                    "g" if key.is_empty() || key.len() > GROUP_NAME_MAX => None,
                    "g" => Some(RowKey::Header(key.into())),
                    _ => I::parse_text(key).map(RowKey::Member),
                };
                Self::Anchored {
                    anchor: anchor.ok_or(WindowError::BadName)?,
                    before: small_number(before)?,
                    after: small_number(after)?,
                    follow: kind != "a",
                }
            }
            _ => return Err(WindowError::BadName),
        };
        spec.check()?;
        Ok(spec)
    }
}

impl<I: Id> fmt::Display for WindowSpec<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunk(k) => write!(f, "c:{k}"),
            Self::Search(search) => {
                f.write_str(if search.group.is_some() { "r:" } else { "q:" })?;
                for byte in search.prefix.as_bytes() {
                    write!(f, "{byte:02x}")?;
                }
                write!(f, ":{}", search.page)?;
                let group = search.group.as_ref();
                group.map_or(Ok(()), |group| write!(f, ":{group}"))
            }
            Self::Anchored {
                anchor: RowKey::Header(group),
                before,
                after,
                ..
            } => {
                write!(f, "g:{group}:{before}:{after}")
            }
            Self::Anchored {
                anchor: RowKey::Member(id),
                before,
                after,
                follow,
            } => {
                f.write_str(if *follow { "f:" } else { "a:" })?;
                id.write_text(f)?;
                write!(f, ":{before}:{after}")
            }
        }
    }
}

/// Reads `<hex>:<page>`, and `:<group>` behind it if there is one.
fn parse_search(has_group: bool, text: &str) -> Result<Search, WindowError> {
    let bad = WindowError::BadName;
    let (hex, rest) = text.split_once(':').ok_or(bad.clone())?;
    let (page, group) = match has_group {
        true => rest.split_once(':').ok_or(bad.clone())?,
        false => (rest, ""),
    };
    let fits = (1..=GROUP_NAME_MAX).contains(&group.len());
    if has_group && !fits || hex.len() > 2 * KEY_MAX || hex.len() % 2 != 0 {
        return Err(bad);
    }
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(WindowError::BadName),
    };
    let bytes = hex.as_bytes().chunks(2);
    let bytes = bytes.map(|pair| Ok(digit(pair[0])? << 4 | digit(pair[1])?));
    let bytes = bytes.collect::<Result<Vec<u8>, WindowError>>()?;
    Ok(Search {
        prefix: SortKey::cut(&bytes),
        page: number(page)?,
        group: has_group.then(|| group.into()),
    })
}

/// A decimal number in its one form: `+7` and `07` would be second names of a window.
fn number(text: &str) -> Result<u32, WindowError> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse()
        .ok()
        .filter(|_| canonical)
        .ok_or(WindowError::BadName)
}

/// A row count of a window; what does not fit 16 bits is over the limit anyway.
fn small_number(text: &str) -> Result<u16, WindowError> {
    let rows = number(text)?;
    u16::try_from(rows).map_err(|_| WindowError::TooManyRows {
        rows: rows as usize,
        max: WINDOW_ROWS_MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spec = WindowSpec<u64>;

    #[test]
    fn names_round_trip() {
        for name in [
            "c:0",
            "c:42949671",
            "a:7:50:49",
            "f:7:0:0",
            "g:on:line:0:499",
            "f:0:1:1",
            "q::0",
            "q:6d6f:85899344",
            "r:ff00:1:on:line",
        ] {
            assert_eq!(Spec::parse(name).expect(name).to_string(), name);
        }
    }

    #[test]
    fn a_window_around_a_header_is_one_window_whether_it_says_follow_or_not() {
        let [said, unsaid] = [true, false].map(|follow| Spec::Anchored {
            anchor: RowKey::Header("online".into()),
            before: 1,
            after: 2,
            follow,
        });
        assert_eq!(said, unsaid);
        assert_eq!(std::collections::HashSet::from([said, unsaid]).len(), 1);
        assert_ne!(Spec::anchored(7, 1, 1), Spec::following(7, 1, 1));
    }

    #[test]
    fn second_names_and_nonsense_are_refused() {
        for name in [
            "",
            "c",
            "c:",
            "c:-1",
            "c:+1",
            "c:01",
            "c:1 ",
            "a:7:50",
            "a:x:1:1",
            "a:07:1:1",
            "b:7:1:1",
            "a:7:1:01",
            "C:0",
            "a:::",
            "g::1:1",
            "f:+7:1:1",
            "q:",
            "q:6",
            "q:6D:0",
            "q:6d",
            "q:6d:01",
            "q:xx:0",
            "r:6d:0",
            "r:6d:0:",
            "q:6d:0:online",
            "q:é:0",
        ] {
            assert_eq!(Spec::parse(name), Err(WindowError::BadName), "{name}");
        }
    }

    #[test]
    fn limits_are_named() {
        let over = WindowError::TooManyRows {
            rows: 501,
            max: 500,
        };
        assert_eq!(Spec::parse("a:7:250:250"), Err(over));
        assert!(matches!(
            Spec::parse("a:7:70000:0"),
            Err(WindowError::TooManyRows { .. })
        ));
        let high = WindowError::ChunkTooHigh {
            chunk: CHUNK_MAX + 1,
            max: CHUNK_MAX,
        };
        assert_eq!(Spec::parse("c:42949672"), Err(high));
        let page = SEARCH_PAGE_MAX + 1;
        let max = SEARCH_PAGE_MAX;
        let high = WindowError::PageTooHigh { page, max };
        assert_eq!(Spec::parse("q:6d:85899345"), Err(high));
        let long = "ff".repeat(65);
        assert_eq!(
            Spec::parse(&format!("q:{long}:0")),
            Err(WindowError::BadName)
        );
    }

    #[test]
    fn ranges_are_cut_at_the_edges_without_compensation() {
        assert_eq!(Spec::Chunk(1).range(0, 150), 100..150);
        assert_eq!(Spec::Chunk(2).range(0, 150), 200..200);
        assert_eq!(Spec::anchored(7, 10, 5).range(3, 6), 0..6);
        assert_eq!(Spec::anchored(7, 2, 2).range(10, 100), 8..13);
    }
}
