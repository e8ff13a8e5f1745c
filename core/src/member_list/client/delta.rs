//! The steps of a DELTA, applied to the rows of a window.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::member_list::Id;
use crate::member_list::frames::checksum::Checksum;
use crate::member_list::frames::model::RowKey;
use crate::member_list::frames::model::{
    Body, BodyChange, Frame, FrameChange, FrameRow, InsertSource, MemberChange, RowChange,
    RowUpdate,
};
use crate::member_list::limits::WINDOW_ROWS_MAX;

/// Lays a patch over a body: the fields of `patch` replace those of `body`, `null` removes.
pub type Merge = fn(body: &[u8], patch: &[u8]) -> Vec<u8>;

/// The reason why a client refused a frame. The window is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The phase `what` names an index out of range or out of order.
    BadIndex {
        /// `"deletes"`, `"inserts"` or `"updates"`.
        what: &'static str,
        /// The index.
        index: u32,
    },
    /// A moved row was not deleted in the same frame.
    MoveOfNothing,
    /// A change does not fit its row.
    WrongKind {
        /// Index of the row.
        index: u32,
    },
    /// A row occurs twice.
    Double,
    /// The window would be longer than any may be.
    TooManyRows {
        /// Rows there would be.
        rows: usize,
    },
    /// The rows are not those the server has.
    Checksum {
        /// The checksum in the frame.
        expected: u32,
        /// The checksum of the rows.
        found: u32,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadIndex { what, index } => write!(f, "bad index {index} in {what}"),
            Self::MoveOfNothing => f.write_str("moved row was not deleted in this frame"),
            Self::WrongKind { index } => write!(f, "change does not fit the row at {index}"),
            Self::Double => f.write_str("row occurs twice"),
            Self::TooManyRows { rows } => {
                write!(f, "window of {rows} rows, at most {WINDOW_ROWS_MAX}")
            }
            Self::Checksum { expected, found } => {
                write!(f, "checksum {found}, frame says {expected}")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Returns the rows a DELTA makes of `rows`. O(rows).
///
/// # Errors
/// [`FrameError`]; a frame that is no DELTA is one with no steps.
pub fn apply_delta<I: Id>(
    rows: &[FrameRow<I>],
    frame: &Frame<I>,
    merge: Merge,
) -> Result<Vec<FrameRow<I>>, FrameError> {
    let FrameChange::Delta {
        deletes,
        inserts,
        updates,
    } = &frame.change
    else {
        return checked(rows.to_vec(), frame.checksum32);
    };
    let mut kept: Vec<Option<&FrameRow<I>>> = rows.iter().map(Some).collect();
    let mut scratch: BTreeMap<&I, &FrameRow<I>> = BTreeMap::new();
    let mut limit = rows.len();
    for &index in deletes {
        let bad = FrameError::BadIndex {
            what: "deletes",
            index,
        };
        if index as usize >= limit {
            return Err(bad);
        }
        limit = index as usize;
        if let Some(row @ FrameRow::Member { id, .. }) = kept[limit].take() {
            scratch.insert(id, row);
        }
    }
    let total = rows.len() - deletes.len() + inserts.len();
    if total > WINDOW_ROWS_MAX {
        return Err(FrameError::TooManyRows { rows: total });
    }
    let mut kept = kept.into_iter().flatten();
    let mut next = Vec::with_capacity(total);
    let mut fixed = Vec::with_capacity(total);
    for insert in inserts {
        let bad = FrameError::BadIndex {
            what: "inserts",
            index: insert.index,
        };
        if (insert.index as usize) < next.len() || insert.index as usize >= total {
            return Err(bad);
        }
        next.extend(
            kept.by_ref()
                .take(insert.index as usize - next.len())
                .cloned(),
        );
        if next.len() != insert.index as usize {
            return Err(bad);
        }
        fixed.resize(next.len(), false);
        fixed.push(true);
        next.push(match &insert.source {
            InsertSource::Row(row) => row.clone(),
            InsertSource::Move { id, change } => {
                let mut row = (*scratch.get(id).ok_or(FrameError::MoveOfNothing)?).clone();
                if let Some(change) = change {
                    change_member(&mut row, change, insert.index, merge)?;
                }
                row
            }
        });
    }
    next.extend(kept.cloned());
    fixed.resize(next.len(), false);
    update_rows(&mut next, &mut fixed, updates, merge)?;
    checked(next, frame.checksum32)
}

fn update_rows<I: Id>(
    rows: &mut [FrameRow<I>],
    fixed: &mut [bool],
    updates: &[RowUpdate],
    merge: Merge,
) -> Result<(), FrameError> {
    let mut from = 0;
    for update in updates {
        let index = update.index;
        let at = update.index as usize;
        if at < from || at >= rows.len() || fixed[at] {
            return Err(FrameError::BadIndex {
                what: "updates",
                index,
            });
        }
        from = at + 1;
        match (&mut rows[at], &update.change) {
            (FrameRow::Header { count, .. }, RowChange::Count(new)) => *count = *new,
            (row, RowChange::Member(change)) => change_member(row, change, index, merge)?,
            _ => return Err(FrameError::WrongKind { index }),
        }
    }
    Ok(())
}

fn change_member<I>(
    row: &mut FrameRow<I>,
    change: &MemberChange,
    index: u32,
    merge: Merge,
) -> Result<(), FrameError> {
    let FrameRow::Member {
        revision,
        attrs,
        body,
        ..
    } = row
    else {
        return Err(FrameError::WrongKind { index });
    };
    *revision = change.revision;
    *attrs = change.attrs.unwrap_or(*attrs);
    match (&change.body, &*body) {
        (BodyChange::Same, _) => {}
        (BodyChange::Whole(new), _) => *body = Some(new.clone()),
        (BodyChange::Patch(patch), Some(Body::Json(old))) => {
            *body = Some(Body::Json(merge(old, patch).into()));
        }
        (BodyChange::Patch(patch), None) => {
            *body = Some(Body::Json(merge(b"{}", patch).into()));
        }
        (BodyChange::Patch(_), Some(Body::Raw(_))) => return Err(FrameError::WrongKind { index }),
    }
    Ok(())
}

/// Returns the rows if their checksum is the server's.
pub(super) fn checked<I: Id>(
    rows: Vec<FrameRow<I>>,
    expected: u32,
) -> Result<Vec<FrameRow<I>>, FrameError> {
    if rows.len() > WINDOW_ROWS_MAX {
        return Err(FrameError::TooManyRows { rows: rows.len() });
    }
    let mut keys: HashSet<RowKey<I>> = HashSet::with_capacity(rows.len());
    let mut sum = Checksum::default();
    for row in &rows {
        if !keys.insert(row.key()) {
            return Err(FrameError::Double);
        }
        sum.row(row);
    }
    match sum.finish() {
        found if found == expected => Ok(rows),
        found => Err(FrameError::Checksum { expected, found }),
    }
}
