//! The reference client: applies bundles, holds windows, notices gaps.
//!
//! It follows `core/docs/list-frames.md`, section 7, and does nothing else: no I/O, no timers. A
//! [`BundleReport`] names what to ask the server for.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::member_list::frames::checksum::Checksum;
use crate::member_list::frames::model::RowKey;
use crate::member_list::frames::model::{
    Body, BodyChange, Bundle, Counts, CountsTable, Frame, FrameChange, FrameRow, InsertSource,
    MemberChange, RowChange, RowUpdate,
};
use crate::member_list::limits::WINDOW_ROWS_MAX;
use crate::member_list::{Id, Shared};

#[cfg(feature = "json")]
pub use crate::member_list::frames::json::read::merge_json;

/// Lays a patch over a body: the fields of `patch` replace those of `body`, `null` removes.
pub type Merge = fn(body: &[u8], patch: &[u8]) -> Vec<u8>;

/// Holds the windows of one list, in step with its server.
///
/// ```
/// use std::time::Duration;
/// use headcount::member_list::client::Client;
/// use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
///
/// let mut list = MemberList::<u64>::new(ListOptions::default());
/// let online = list.add_group("online")?;
/// list.upsert(7, online, &SortKey::from_name("Ada"), 0)?;
///
/// let mut client = Client::new(|_, patch| patch.to_vec());
/// client.open("c:0");
/// let mut viewer = Viewer::new();
/// client.apply(&viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None)?);
///
/// list.upsert(9, online, &SortKey::from_name("Bob"), 0)?;
/// let tick = list.tick(Duration::ZERO, Bodies::None);
/// let report = client.apply(&viewer.bundle(&tick).expect("the chunk has changed"));
/// assert!(report.resync.is_empty());
/// assert_eq!(client.window("c:0").expect("open").rows().len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client<I> {
    /// The list that the last bundle was of.
    list: Option<Arc<str>>,
    /// True from the first switch on: bundles of other lists are dropped.
    switched: bool,
    /// True while the first bundle after a switch is awaited.
    switching: bool,
    /// True if the server was asked for all windows because of a bundle of another list.
    asked: bool,
    epoch: u64,
    /// Highest version of a bundle of this epoch.
    version: u64,
    windows: BTreeMap<Arc<str>, ClientWindow<I>>,
    /// Names closed here that the newest names from the server still contained.
    closing: BTreeSet<Arc<str>>,
    counts: Option<Counts>,
    counts_wait: bool,
    merge: Merge,
}

/// One window of a [`Client`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClientWindow<I> {
    rows: Vec<FrameRow<I>>,
    version: u64,
    base_index: u64,
    matches: Option<u64>,
    /// Version of the bundle of the last frame; while waiting, of the last one before the wait.
    /// Answers to later requests have a higher one.
    since: u64,
    waiting: bool,
}

/// The outcome of a bundle, and the requests to send to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleReport {
    /// Windows whose rows or place changed, by their present names.
    pub changed: Vec<Arc<str>>,
    /// Old and new names of windows whose anchor was replaced.
    pub renamed: Vec<(Arc<str>, Arc<str>)>,
    /// True if the counts changed.
    pub counts: bool,
    /// Windows to ask `resync` for.
    pub resync: Vec<Arc<str>>,
    /// True if the client should ask for counts: by `resync`, without windows if it needs nothing
    /// else.
    pub resync_counts: bool,
}

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

impl<I> ClientWindow<I> {
    /// Returns the rows, in order.
    #[must_use]
    pub fn rows(&self) -> &[FrameRow<I>] {
        &self.rows
    }

    /// Returns the absolute index of the first row.
    #[must_use]
    pub const fn base_index(&self) -> u64 {
        self.base_index
    }

    /// Returns how many members match on all pages, in the window of a search.
    #[must_use]
    pub const fn matches(&self) -> Option<u64> {
        self.matches
    }

    /// Returns the version of the rows.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Returns whether the window waits for a SYNC; until then it has its old rows.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Waits for a SYNC made after the bundle of version `newest`.
    const fn wait(&mut self, newest: u64) {
        self.waiting = true;
        self.since = newest;
    }
}

impl<I: Id> Client<I> {
    /// Makes a client without windows. `merge` lays a patch over a body.
    pub const fn new(merge: Merge) -> Self {
        Self {
            list: None,
            switched: false,
            switching: false,
            asked: false,
            epoch: 0,
            version: 0,
            windows: BTreeMap::new(),
            closing: BTreeSet::new(),
            counts: None,
            counts_wait: false,
            merge,
        }
    }

    /// Notes that `open` is asked of the server for this window. O(log windows).
    pub fn open(&mut self, window: &str) {
        self.closing.remove(window);
        self.expect(window.into());
    }

    /// Notes that the caller sends `close` of a window to the server. The client ignores frames
    /// that are still on their way.
    pub fn close(&mut self, window: &str) {
        if let Some((name, _)) = self.windows.remove_entry(window) {
            self.closing.insert(name);
        }
    }

    /// Notes that the server is asked to switch to another list, with these windows there. The
    /// windows of the old list are gone; the client ignores its bundles that are still on their way.
    pub fn switch<'a>(&mut self, windows: impl IntoIterator<Item = &'a str>) {
        self.windows.clear();
        self.closing.clear();
        (self.switched, self.switching, self.asked) = (true, true, false);
        for window in windows {
            self.expect(window.into());
        }
    }

    /// An empty window that waits for its SYNC, unless there is one of that name.
    fn expect(&mut self, name: Arc<str>) {
        let since = self.version;
        self.windows.entry(name).or_insert_with(|| ClientWindow {
            rows: Vec::new(),
            version: 0,
            base_index: 0,
            matches: None,
            since,
            waiting: true,
        });
    }

    /// Returns a window by name.
    #[must_use]
    pub fn window(&self, name: &str) -> Option<&ClientWindow<I>> {
        self.windows.get(name)
    }

    /// Returns all windows by name.
    pub fn windows(&self) -> impl Iterator<Item = (&Arc<str>, &ClientWindow<I>)> {
        self.windows.iter()
    }

    /// Returns the counts, as a full table.
    #[must_use]
    pub const fn counts(&self) -> Option<&Counts> {
        self.counts.as_ref()
    }

    /// Takes a bundle. O(rows of its windows).
    pub fn apply(&mut self, bundle: &Bundle<I>) -> BundleReport {
        let mut report = BundleReport::default();
        let is_elsewhere = self.switched && self.list.as_ref() != Some(&bundle.list);
        let is_taken = match is_elsewhere || self.switching {
            true => self.enter_list(bundle, is_elsewhere, &mut report),
            false => bundle.epoch >= self.epoch && self.enter_epoch(bundle, &mut report),
        };
        if !is_taken {
            return report;
        }
        self.list = Some(bundle.list.clone());
        self.asked = false;
        let newest = bundle.version > self.version;
        self.version = self.version.max(bundle.version);
        for frame in &bundle.frames {
            self.apply_frame(frame, bundle.version, &mut report);
        }
        for base in &bundle.bases {
            if let Some(window) = self.windows.get_mut(&base.window)
                && !window.waiting
                && bundle.version > window.since
            {
                (window.base_index, window.since) = (base.base_index, bundle.version);
                report.changed.push(base.window.clone());
            }
        }
        if let Some(counts) = &bundle.counts {
            self.apply_counts(counts, &mut report);
        }
        if newest {
            self.check_names(&bundle.windows, &mut report);
        }
        report
    }

    /// Returns whether the bundle is of the list that this client has switched to: such an answer
    /// brings a SYNC. A bundle of another list without one shows that the answer was lost: the
    /// client asks for its windows.
    fn enter_list(
        &mut self,
        bundle: &Bundle<I>,
        is_elsewhere: bool,
        report: &mut BundleReport,
    ) -> bool {
        let mut names = self.windows.keys();
        let enters = self.windows.is_empty() || names.any(|name| has_sync(bundle, name));
        if enters {
            self.switching = false;
            self.enter(bundle);
            let windows = self.windows.values_mut();
            windows.for_each(|window| window.wait(0));
        }
        if enters || is_elsewhere && !self.asked {
            self.asked = true;
            let missing = self.windows.keys().filter(|name| !has_sync(bundle, name));
            report.resync.extend(missing.cloned());
        }
        enters
    }

    /// Begins an epoch, in which nothing is known yet.
    fn enter(&mut self, bundle: &Bundle<I>) {
        (self.epoch, self.version) = (bundle.epoch, 0);
        (self.counts, self.counts_wait) = (None, false);
    }

    /// Returns whether the bundle is of this client's epoch, now or from now on.
    fn enter_epoch(&mut self, bundle: &Bundle<I>, report: &mut BundleReport) -> bool {
        if bundle.epoch == self.epoch {
            return true;
        }
        let synced = |name: &Arc<str>| has_sync(bundle, name);
        let enters = self.windows.keys().any(synced);
        for (name, window) in &mut self.windows {
            let answered = enters && synced(name);
            if !window.waiting && !answered {
                report.resync.push(name.clone());
            }
            (window.waiting, window.since) = (true, 0);
        }
        if enters {
            self.enter(bundle);
        }
        enters
    }

    fn apply_frame(&mut self, frame: &Frame<I>, version: u64, report: &mut BundleReport) {
        let Some(window) = self.windows.get_mut(&frame.window) else {
            return;
        };
        let held = window.version;
        let newest = self.version;
        let rows = match &frame.change {
            FrameChange::Sync(_) if version <= window.since => return,
            FrameChange::Sync(rows) => checked(rows.clone(), frame.checksum32),
            FrameChange::Delta { .. } if window.waiting || frame.base_version < held => return,
            FrameChange::Delta { .. } if frame.base_version > held => {
                window.wait(newest);
                report.resync.push(frame.window.clone());
                return;
            }
            FrameChange::Delta { .. } => apply_delta(&window.rows, frame, self.merge),
        };
        match rows {
            Ok(rows) => {
                *window = ClientWindow {
                    rows,
                    version: frame.new_version,
                    base_index: frame.base_index,
                    matches: frame.matches,
                    since: version,
                    waiting: false,
                };
                let name = frame.renamed.as_ref().unwrap_or(&frame.window);
                report.changed.push(name.clone());
                if let Some(name) = &frame.renamed {
                    self.rename(&frame.window, name, report);
                }
            }
            Err(_) => {
                window.wait(newest);
                report.resync.push(frame.window.clone());
            }
        }
    }

    /// `known` are the names the server knows: a window of another one missed its rename. When
    /// all have their right names and the server knows one more, two became one here alone,
    /// because the rename of one of them was lost.
    fn check_names(&mut self, known: &[Arc<str>], report: &mut BundleReport) {
        self.closing.retain(|name| known.contains(name));
        let mut all_known = true;
        for (name, window) in &mut self.windows {
            if !window.waiting && !known.contains(name) {
                window.wait(self.version);
                report.resync.push(name.clone());
            }
            all_known &= !window.waiting;
        }
        for name in known.iter().filter(|_| all_known) {
            if !self.windows.contains_key(name) && !self.closing.contains(name) {
                self.expect(name.clone());
                report.resync.push(name.clone());
            }
        }
    }

    fn rename(&mut self, old: &Arc<str>, new: &Arc<str>, report: &mut BundleReport) {
        let Some(window) = self.windows.remove(old) else {
            return;
        };
        report.renamed.push((old.clone(), new.clone()));
        let held = self.windows.get(new);
        if held.is_none_or(|held| held.since < window.since) {
            self.windows.insert(new.clone(), window);
        }
    }

    fn apply_counts(&mut self, counts: &Shared<Counts>, report: &mut BundleReport) {
        let held = self.counts.as_ref().map_or(0, |held| held.version);
        if counts.version <= held {
            return;
        }
        let next = match (&counts.table, &mut self.counts) {
            (CountsTable::Full(_), _) => {
                self.counts_wait = false;
                Some(Counts::clone(counts))
            }
            (CountsTable::Delta { .. }, _) if self.counts_wait => return,
            (
                CountsTable::Delta {
                    base_version,
                    changed,
                },
                Some(held),
            ) if *base_version == held.version => changed_counts(held, counts, changed),
            (CountsTable::Delta { .. }, _) => None,
        };
        report.counts = next.is_some();
        if next.is_some() {
            self.counts = next;
        } else {
            self.counts_wait = true;
            report.resync_counts = true;
        }
    }
}

fn has_sync<I>(bundle: &Bundle<I>, window: &Arc<str>) -> bool {
    let is_sync = |frame: &Frame<I>| matches!(frame.change, FrameChange::Sync(_));
    let mut frames = bundle.frames.iter();
    frames.any(|frame| frame.window == *window && is_sync(frame))
}

/// The table after a counts delta; `None` if it names a group the table lacks.
fn changed_counts(held: &Counts, to: &Counts, changed: &[(Arc<str>, u32)]) -> Option<Counts> {
    let CountsTable::Full(mut groups) = held.table.clone() else {
        return None;
    };
    for (name, count) in changed {
        groups.iter_mut().find(|group| group.group == *name)?.count = *count;
    }
    Some(Counts {
        table: CountsTable::Full(groups),
        ..*to
    })
}

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
fn checked<I: Id>(rows: Vec<FrameRow<I>>, expected: u32) -> Result<Vec<FrameRow<I>>, FrameError> {
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
