//! The reference client: applies bundles, holds windows, notices gaps.
//!
//! It follows `core/docs/list-frames.md`, section 7, and does nothing else: no I/O, no timers. A
//! [`BundleReport`] names what to ask the server for.

mod delta;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fault::{Fault, is_broken};
use crate::member_list::frames::model::{
    Bundle, Counts, CountsTable, Epoch, Frame, FrameChange, FrameRow, HeldWindow, WindowVersion,
};
use crate::member_list::{Id, Shared};
use delta::checked;

#[cfg(feature = "json")]
pub use crate::member_list::frames::json::read::merge_json;
pub use delta::{FrameError, Merge, apply_delta};

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
/// let request = client.open("c:0");
/// let mut viewer = Viewer::resumable();
/// let first = viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None)?;
/// assert!(client.answer(request, &first).resync.is_empty());
///
/// list.upsert(9, online, &SortKey::from_name("Bob"), 0)?;
/// let tick = list.tick(Duration::ZERO, Bodies::None);
/// let report = client.apply(&viewer.bundle(&tick).expect("the chunk has changed"));
/// assert!(report.resync.is_empty());
/// assert_eq!(client.window("c:0").expect("open").rows().len(), 3);
///
/// drop(viewer); // the connection is cut
/// list.remove(&7);
/// let (request, held) = client.reconnect();
/// let bundle = Viewer::resumable().resume(&mut list, &held, Bodies::None)?;
/// assert!(client.answer(request, &bundle).resync.is_empty());
/// assert_eq!(client.window("c:0").expect("open").rows().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client<I> {
    /// The list that the last bundle was of.
    list: Option<Arc<str>>,
    /// True from the first switch on: another list is entered by an answer only.
    switched: bool,
    /// The number of the last request.
    requests: u64,
    /// The answer by which the client goes to a list.
    entrance: Entrance,
    /// The first request of this connection and list: answers to earlier ones are dropped.
    first: u64,
    /// True if the server was asked for all windows because of a bundle of another node or list. A
    /// window that is opened clears it.
    asked: bool,
    epoch: Epoch,
    /// Highest version of a bundle of this epoch.
    version: u64,
    windows: BTreeMap<Arc<str>, ClientWindow<I>>,
    /// Names closed here that the newest names from the server still contained.
    closing: BTreeSet<Arc<str>>,
    counts: Option<Counts>,
    counts_wait: bool,
    merge: Merge,
}

/// A request to the server, of which the answer is handed to [`Client::answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "`Client::answer` takes it with the answer"]
pub struct Request(u64);

/// The bundles that may take a client to another node or list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entrance {
    /// The client is at a list.
    Passed,
    /// Any bundle with a SYNC of a window: the client is new.
    First,
    /// Any answer.
    Any,
    /// The answer to the request of this number.
    Only(u64),
}

/// One window of a [`Client`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClientWindow<I> {
    rows: Vec<FrameRow<I>>,
    /// The epoch of the rows.
    epoch: Epoch,
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
#[must_use = "it says what to ask the server for"]
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

    /// Returns whether the rule is broken that no SYNC is taken which is not later than `since`.
    fn takes_late(&self) -> bool {
        is_broken(match self.waiting {
            true => Fault::TakeEarlySync,
            false => Fault::TakeLateSync,
        })
    }

    /// Waits for a SYNC made after the bundle of version `newest`.
    const fn wait(&mut self, newest: u64) {
        self.waiting = true;
        self.since = newest;
    }
}

impl<I: Id> Client<I> {
    /// Makes a client without windows. `merge` lays a patch over a body.
    pub fn new(merge: Merge) -> Self {
        Self {
            list: None,
            switched: false,
            requests: 0,
            entrance: Entrance::First,
            first: 0,
            asked: false,
            epoch: Epoch::default(),
            version: 0,
            windows: BTreeMap::new(),
            closing: BTreeSet::new(),
            counts: None,
            counts_wait: false,
            merge,
        }
    }

    /// Notes that `open` is asked of the server for this window. O(log windows).
    pub fn open(&mut self, window: &str) -> Request {
        self.closing.remove(window);
        self.expect(window.into(), self.version);
        self.request()
    }

    /// Notes the window of a search by its name, which the answer to `request` told; then comes the
    /// [`answer`](Self::answer) itself. Bundles that overtook it had no frame for this window. Has no
    /// effect on a window that is held, or if a switch or another connection came after the request.
    /// O(log windows).
    pub fn open_found(&mut self, request: Request, window: &str) {
        if request.0 >= self.first {
            self.closing.remove(window);
            self.expect(window.into(), 0);
        }
    }

    /// Notes any other request to the server, such as `resync`. O(1).
    pub const fn request(&mut self) -> Request {
        self.requests += 1;
        Request(self.requests)
    }

    /// Notes that the caller sends `close` of a window to the server. The client ignores frames
    /// that are still on their way.
    pub fn close(&mut self, window: &str) {
        if let Some((name, _)) = self.windows.remove_entry(window) {
            self.closing.insert(name);
        }
    }

    /// Notes that the server is asked to switch to another list, with these windows there. The
    /// windows of the old list are gone; the client ignores its bundles that are still on their way,
    /// answers too. Only the answer to this request takes it to the other list: if that does not
    /// come in time, switch again. O(windows).
    pub fn switch<'a>(&mut self, windows: impl IntoIterator<Item = &'a str>) -> Request {
        self.windows.clear();
        self.closing.clear();
        for window in windows {
            self.expect(window.into(), self.version);
        }
        let request = self.enter_by(Entrance::Only);
        self.switched = true;
        request
    }

    /// Notes that a connection begins, whose first request is to `resume` the windows that are
    /// returned. The rows stay; bundles of the former connection, answers too, are not taken any
    /// more. O(windows).
    pub fn reconnect(&mut self) -> (Request, Vec<HeldWindow>) {
        let entrance = self.entrance;
        let request = self.enter_by(|_| Entrance::Any);
        if let (Entrance::Only(_), number) = (entrance, request.0) {
            // The other list is not reached yet.
            self.entrance = Entrance::Only(number);
        }
        self.closing.clear();
        (self.counts, self.counts_wait) = (None, false);
        let newest = self.version;
        let held = self.windows.iter_mut().map(|(name, window)| {
            window.wait(newest);
            HeldWindow {
                window: name.clone(),
                epoch: window.epoch.clone(),
                version: window.version,
            }
        });
        (request, held.collect())
    }

    /// Makes a request, and drops the answers to all that came before.
    fn enter_by(&mut self, entrance: impl FnOnce(u64) -> Entrance) -> Request {
        let request = self.request();
        self.first = request.0;
        self.entrance = entrance(request.0);
        self.asked = false;
        request
    }

    /// Returns whether the answer that takes the client to its list has not come yet. Until then it
    /// takes nothing else.
    #[must_use]
    pub fn is_entering(&self) -> bool {
        matches!(self.entrance, Entrance::Any | Entrance::Only(_))
    }

    /// Adds an empty window that waits for a SYNC later than `since`, unless there is one of that name.
    fn expect(&mut self, name: Arc<str>, since: u64) {
        if self.windows.contains_key(&name) {
            return;
        }
        // It was not among those that were asked for.
        self.asked = false;
        let window = ClientWindow {
            rows: Vec::new(),
            epoch: Epoch::default(),
            version: 0,
            base_index: 0,
            matches: None,
            since,
            waiting: true,
        };
        self.windows.insert(name, window);
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

    /// Takes a bundle that the server sent over the present connection. Between a switch or the
    /// begin of a connection and its answer the client drops it. It also drops bundles of another
    /// node or list: then it asks for its windows, once until it opens another, and goes there by the
    /// [`answer`](Self::answer). O(rows of its windows).
    pub fn apply(&mut self, bundle: &Bundle<I>) -> BundleReport {
        let mut report = BundleReport::default();
        if self.is_entering() {
            return report;
        }
        if self.entrance == Entrance::First {
            self.epoch.node = bundle.epoch.node.clone();
        } else if self.is_elsewhere(bundle) {
            if !self.asked {
                self.asked = true;
                report.resync.extend(self.windows.keys().cloned());
            }
            return report;
        }
        self.take(bundle, false, &mut report);
        report
    }

    /// Takes the answer to a request. The client drops it if a switch or another connection came
    /// after the request. O(rows of its windows).
    pub fn answer(&mut self, request: Request, bundle: &Bundle<I>) -> BundleReport {
        let mut report = BundleReport::default();
        let enters = match self.entrance {
            Entrance::Passed => self.is_elsewhere(bundle),
            Entrance::First | Entrance::Any => true,
            Entrance::Only(number) if number == request.0 => true,
            Entrance::Only(_) => return report,
        };
        if request.0 < self.first && !is_broken(Fault::TakeOldAnswer) {
            return report;
        }
        if enters {
            self.enter_list(bundle, &mut report);
        }
        self.take(bundle, true, &mut report);
        report
    }

    /// Returns whether a bundle is of another node, or of a list that the client is not at. Before
    /// its first switch the client is at any list of its node: lists may get another name.
    fn is_elsewhere(&self, bundle: &Bundle<I>) -> bool {
        bundle.epoch.node != self.epoch.node
            || self.switched && self.list.as_ref() != Some(&bundle.list)
    }

    fn take(&mut self, bundle: &Bundle<I>, is_answer: bool, report: &mut BundleReport) {
        let is_late = bundle.epoch.number < self.epoch.number;
        if is_late && !is_broken(Fault::TakeOldEpoch) || !self.enter_epoch(bundle, report) {
            return;
        }
        self.list = Some(bundle.list.clone());
        (self.entrance, self.asked) = (Entrance::Passed, false);
        let newest = bundle.version > self.version;
        self.version = self.version.max(bundle.version);
        for frame in &bundle.frames {
            self.apply_frame(frame, bundle.version, is_answer, report);
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
            self.apply_counts(counts, report);
        }
        if newest {
            self.check_windows(&bundle.windows, report);
        }
    }

    /// Goes to the node and the list of an answer. Windows that showed rows of another node and are
    /// not in the answer are asked for.
    fn enter_list(&mut self, bundle: &Bundle<I>, report: &mut BundleReport) {
        let is_switch = matches!(self.entrance, Entrance::Only(_));
        self.entrance = Entrance::Passed;
        let is_same = bundle.epoch == self.epoch && self.list.as_ref() == Some(&bundle.list);
        if is_same && !is_switch {
            return;
        }
        self.enter(bundle);
        for (name, window) in &mut self.windows {
            if (is_switch || !window.waiting) && !has_sync(bundle, name) {
                report.resync.push(name.clone());
            }
            window.wait(0);
        }
    }

    /// Begins an epoch, in which nothing is known yet.
    fn enter(&mut self, bundle: &Bundle<I>) {
        (self.epoch, self.version) = (bundle.epoch.clone(), 0);
        (self.counts, self.counts_wait) = (None, false);
    }

    /// Returns whether the bundle is of this client's epoch, now or from now on.
    fn enter_epoch(&mut self, bundle: &Bundle<I>, report: &mut BundleReport) -> bool {
        if bundle.epoch == self.epoch {
            return true;
        }
        let synced = |name: &Arc<str>| has_sync(bundle, name);
        let enters = self.windows.keys().any(synced);
        // Until then a SYNC of the old epoch may be late.
        let since = if enters { 0 } else { self.version };
        for (name, window) in &mut self.windows {
            let answered = enters && synced(name);
            if !window.waiting && !answered {
                report.resync.push(name.clone());
            }
            window.wait(since);
        }
        if enters {
            self.enter(bundle);
        }
        enters
    }

    fn apply_frame(
        &mut self,
        frame: &Frame<I>,
        version: u64,
        is_answer: bool,
        report: &mut BundleReport,
    ) {
        let Some(window) = self.windows.get_mut(&frame.window) else {
            return;
        };
        let held = window.version;
        let newest = self.version;
        let is_resumed = is_answer && version > window.since && window.epoch == self.epoch;
        let rows = match &frame.change {
            FrameChange::Sync(_) if version <= window.since && !window.takes_late() => return,
            FrameChange::Sync(rows) => checked(rows.clone(), frame.checksum32),
            FrameChange::Delta { .. } if window.waiting && !is_resumed => return,
            FrameChange::Delta { .. } if frame.base_version < held => return,
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
                    epoch: self.epoch.clone(),
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

    /// `known` are the windows the server knows: a window of another name missed its rename, one of
    /// another version missed a frame. When all are right and the server knows one more, two became
    /// one here alone, because the rename of one of them was lost.
    fn check_windows(&mut self, known: &[WindowVersion], report: &mut BundleReport) {
        let said = |name: &Arc<str>| known.iter().find(|known| known.window == *name);
        self.closing.retain(|name| said(name).is_some());
        let mut all_known = true;
        for (name, window) in &mut self.windows {
            let is_right = said(name)
                .is_some_and(|said| said.version.is_none_or(|version| version == window.version));
            if !window.waiting && !is_right {
                window.wait(self.version);
                report.resync.push(name.clone());
            }
            all_known &= !window.waiting;
        }
        for WindowVersion { window, .. } in known.iter().filter(|_| all_known) {
            if !self.windows.contains_key(window) && !self.closing.contains(window) {
                self.expect(window.clone(), self.version);
                report.resync.push(window.clone());
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
