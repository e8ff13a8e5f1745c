//! Presence of one topic as a member list: many sessions of one user become one row.
//!
//! A [`Roster`] takes the Diffs of one topic and keeps a [`MemberList`]. A mapping, a closure of
//! the application, returns the place of a session's user in the list ([`Placement`]). Of several
//! sessions one decides, by the priority of their [`Status`]. An invisible user is offline to
//! everyone else. A user without sessions leaves the list or goes to a group of its own
//! ([`OfflinePolicy`]).
//!
//! ```
//! use headcount::member_list::TextId;
//! use headcount::roster::OfflinePolicy;
//! use headcount::{ListOptions, MemberList, NewEntry, Placement, ReplicaId};
//! use headcount::{Roster, RosterOptions, SortKey, Status, Tracker};
//!
//! let mut list = MemberList::<TextId>::new(ListOptions::default());
//! let groups = list.set_groups(&["online", "offline"])?;
//! let options = RosterOptions::default().offline(OfflinePolicy::Keep(groups[1]));
//! let mut roster = Roster::new(list, options, move |entry| Placement {
//!     group: groups[0],
//!     sort_key: SortKey::from_name(entry.key_str().unwrap_or_default()),
//!     attrs: 0,
//!     status: Status::of_session(entry.status()),
//! });
//!
//! let mut tracker = Tracker::new(ReplicaId::new("node-1", 1, 0)?);
//! tracker.track(&NewEntry::new("room", "ann", "phone"))?;
//! roster.apply(tracker.take_diff().topic("room").expect("ann joins"), 1_700_000_000);
//! tracker.untrack_owner("phone");
//! roster.apply(tracker.take_diff().topic("room").expect("ann leaves"), 1_700_000_060);
//!
//! let ann: TextId = "ann".parse()?;
//! assert_eq!(roster.status(&ann), Status::Offline);
//! assert_eq!(roster.last_seen(&ann), Some(1_700_000_060));
//! assert_eq!(roster.list().member_count(), 1); // her row is in the group "offline"
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every outward path of an application (state, Diffs, counts, list, last-seen, typing) should read
//! the roster, never the tracker: that keeps an invisible user invisible.

mod last_seen;
mod options;
mod status;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fmt;

pub use options::{OfflinePolicy, RosterOptions};
pub use status::{Status, UnknownStatus};

use last_seen::LastSeen;

use crate::id::{Dot, Origin};
use crate::member_list::{BulkReport, GroupId, Id, ListError, MemberList, NewMember, SortKey};
use crate::tracker::{EntryBuf, TopicDiff};

/// The place that a session gives its user in the list while that session decides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Placement {
    /// The group of the row.
    pub group: GroupId,
    /// The place within the group.
    pub sort_key: SortKey,
    /// The attribute bits of the row.
    pub attrs: u32,
    /// The status of the session.
    pub status: Status,
}

/// A change of a user as others see it: one for each user that a Diff changed outwardly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RosterChange<I> {
    /// The user.
    pub id: I,
    /// The outward status before.
    pub old: Status,
    /// The outward status now. Equal to `old` when only the row's content changed.
    pub new: Status,
}

/// The result of [`Roster::apply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterReport<I> {
    /// The users that look different to others now.
    pub changes: Vec<RosterChange<I>>,
    /// The users whose row the list refused, for example because the mapping named an unknown
    /// group. Their sessions count; their row stays as it was.
    pub refused: Vec<(I, ListError)>,
    /// The number of keys that are no id of this list. The roster passes over them.
    pub foreign: usize,
}

impl<I> Default for RosterReport<I> {
    fn default() -> Self {
        Self {
            changes: Vec::new(),
            refused: Vec::new(),
            foreign: 0,
        }
    }
}

/// Presence of one topic as a member list: many sessions of one user, one row.
///
/// ```
/// use headcount::member_list::TextId;
/// use headcount::{ListOptions, MemberList, NewEntry, Placement, ReplicaId};
/// use headcount::{Roster, RosterOptions, SortKey, Status, Tracker};
///
/// let mut list = MemberList::<TextId>::new(ListOptions::default());
/// let groups = list.set_groups(&["online", "idle"])?;
/// let mut roster = Roster::new(list, RosterOptions::default(), move |entry| {
///     let status = Status::of_session(entry.status());
///     let group = if status == Status::Idle { groups[1] } else { groups[0] };
///     let sort_key = SortKey::from_name(entry.key_str().unwrap_or_default());
///     Placement { group, sort_key, attrs: 0, status }
/// });
///
/// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// tracker.track(&NewEntry::new("room", "ann", "phone").status(Status::Idle as u8))?;
/// tracker.track(&NewEntry::new("room", "ann", "laptop"))?;
/// let diff = tracker.take_diff();
/// roster.apply(diff.topic("room").unwrap(), 1_700_000_000);
///
/// let ann: TextId = "ann".parse()?;
/// assert_eq!(roster.status(&ann), Status::Online); // the laptop decides
/// assert_eq!(roster.list().len(), 2); // one header, one row
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Roster<I> {
    list: MemberList<I>,
    users: HashMap<I, User>,
    mapping: Mapping,
    /// The rank of each status; the smallest decides.
    rank: [u8; Status::ALL.len()],
    offline: OfflinePolicy,
    online: usize,
    last_seen: LastSeen<I>,
}

type Mapping = Box<dyn Fn(&EntryBuf) -> Option<Placement> + Send + Sync>;

/// A user with at least one session.
#[derive(Debug, Default)]
struct User {
    sessions: Vec<Session>,
}

#[derive(Debug)]
struct Session {
    dot: Dot,
    version: u64,
    placement: Placement,
}

impl Session {
    /// Returns whether the entry is this version of this session, of the same life of a replica.
    fn is(&self, entry: &EntryBuf) -> bool {
        self.version == entry.version() && self.dot.origin == *entry.origin()
    }
}

/// The users that one Diff changes.
#[derive(Debug)]
struct Round<I> {
    before: HashMap<I, Before>,
    /// In the order of their first change.
    touched: Vec<I>,
    foreign: usize,
}

impl<I> Default for Round<I> {
    fn default() -> Self {
        Self {
            before: HashMap::new(),
            touched: Vec::new(),
            foreign: 0,
        }
    }
}

/// A user before a Diff.
#[derive(Debug)]
struct Before {
    outward: Outward,
    /// True if others saw a session that the Diff ends.
    was_visible: bool,
}

/// Returns the id that the key of an entry is, as text.
fn id_of<I: Id>(entry: &EntryBuf) -> Option<I> {
    entry.key_str().and_then(I::parse_text)
}

impl<I: Id> Roster<I> {
    /// Makes a roster over a list that has its groups already. `mapping` returns the [`Placement`]
    /// of a session, or `None` for a session that does not count; the key of an entry, as text, is
    /// the id of the row.
    #[must_use]
    pub fn new<P: Into<Option<Placement>>>(
        list: MemberList<I>,
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> P + Send + Sync + 'static,
    ) -> Self {
        let mut rank = [u8::MAX; Status::ALL.len()];
        for (place, status) in (0..u8::MAX).zip(options.priority).rev() {
            rank[status as usize] = place;
        }
        Self {
            list,
            users: HashMap::new(),
            mapping: Box::new(move |entry| mapping(entry).into()),
            rank,
            offline: options.offline,
            online: 0,
            last_seen: LastSeen::new(options.last_seen_max),
        }
    }

    /// Applies the changes of the topic in the order that [`Diff`](crate::Diff) describes. A roster
    /// may begin at any moment with the entries of `list` as joins. `wall_s` is the wall clock in
    /// seconds since 1970, for last-seen only. O(changes x log members).
    pub fn apply(&mut self, diff: &TopicDiff, wall_s: u64) -> RosterReport<I> {
        // The mapping is the application's: if it panics, nothing has changed yet.
        let joined: Vec<_> = diff.joins.iter().map(|join| self.placement(join)).collect();
        let updated: Vec<_> = diff
            .updates
            .iter()
            .map(|update| self.placement(&update.new))
            .collect();
        let mut round = Round::default();
        for (join, placement) in diff.joins.iter().zip(joined) {
            self.begin(join, placement, &mut round);
        }
        for (update, placement) in diff.updates.iter().zip(updated) {
            self.end(&update.old, &mut round);
            self.begin(&update.new, placement, &mut round);
        }
        for leave in &diff.leaves {
            self.end(leave, &mut round);
        }
        self.settle_all(round, wall_s)
    }

    /// Puts the entries of `list` in the place of all sessions, as after Diffs that were missed.
    /// O(sessions + entries, and changes x log members).
    pub fn reset(&mut self, entries: &[EntryBuf], wall_s: u64) -> RosterReport<I> {
        let placements: Vec<_> = entries.iter().map(|entry| self.placement(entry)).collect();
        let versions = entries
            .iter()
            .map(|entry| (entry.origin(), entry.version()));
        let current: HashSet<(&Origin, u64)> = versions.collect();
        let is_current =
            |session: &Session| current.contains(&(&session.dot.origin, session.version));
        let users = self.users.iter();
        let outdated: Vec<I> = users
            .filter(|(_, user)| !user.sessions.iter().all(is_current))
            .map(|(id, _)| id.clone())
            .collect();
        let mut round = Round::default();
        for id in outdated {
            self.note(&id, &mut round);
            let is_visible = self.is_visible(&id);
            if let Some(before) = round.before.get_mut(&id) {
                before.was_visible = is_visible;
            }
            if let Some(user) = self.users.get_mut(&id) {
                user.sessions.retain(is_current);
            }
        }
        for (entry, placement) in entries.iter().zip(placements) {
            self.begin(entry, placement, &mut round);
        }
        self.settle_all(round, wall_s)
    }

    /// Asks the mapping about an entry, if its key is an id.
    fn placement(&self, entry: &EntryBuf) -> Option<Placement> {
        id_of::<I>(entry).and_then(|_| (self.mapping)(entry))
    }

    /// Settles each user once, after all of their sessions: in between they may seem offline.
    fn settle_all(&mut self, mut round: Round<I>, wall_s: u64) -> RosterReport<I> {
        let mut applied = RosterReport {
            foreign: round.foreign,
            ..RosterReport::default()
        };
        for id in round.touched {
            let before = round.before.remove(&id);
            let before = before.expect("every touched user was noted");
            self.settle(id, &before, wall_s, &mut applied);
        }
        applied
    }

    /// Adds a session, or its new version.
    fn begin(&mut self, entry: &EntryBuf, placement: Option<Placement>, round: &mut Round<I>) {
        if let Some(id) = self.touch(entry, round)
            && let Some(placement) = placement
        {
            let session = Session {
                dot: entry.dot(),
                version: entry.version(),
                placement,
            };
            let user = self.users.entry(id).or_default();
            user.sessions.retain(|known| !known.is(entry));
            user.sessions.push(session);
        }
    }

    /// Removes a version of a session; an unknown version changes nothing.
    fn end(&mut self, entry: &EntryBuf, round: &mut Round<I>) {
        if let Some(id) = self.touch(entry, round) {
            if self.is_visible(&id)
                && let Some(before) = round.before.get_mut(&id)
            {
                before.was_visible = true;
            }
            let user = self.users.entry(id).or_default();
            user.sessions.retain(|known| !known.is(entry));
        }
    }

    /// Notes how a user looks before the first of their changes. Returns `None` if the key is no
    /// id.
    fn touch(&self, entry: &EntryBuf, round: &mut Round<I>) -> Option<I> {
        let Some(id) = id_of(entry) else {
            round.foreign += 1;
            return None;
        };
        self.note(&id, round);
        Some(id)
    }

    /// Notes how a user looks, unless a change of theirs came before.
    fn note(&self, id: &I, round: &mut Round<I>) {
        if !round.before.contains_key(id) {
            let before = Before {
                outward: self.outward(id),
                was_visible: false,
            };
            round.before.insert(id.clone(), before);
            round.touched.push(id.clone());
        }
    }

    /// Loads members who are offline, all at once. The report names those that the list has
    /// already; they stay as they are. O(n log n), or O(n) if they come sorted.
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`] and the others of [`MemberList::bulk_load`]; nothing is loaded
    /// then.
    pub fn load_offline(
        &mut self,
        members: impl IntoIterator<Item = NewMember<I>>,
    ) -> Result<BulkReport<I>, ListError> {
        self.list.bulk_load(members)
    }

    /// Returns the status that others see: offline if the user has no session or is invisible.
    /// O(1).
    #[must_use]
    pub fn status(&self, id: &I) -> Status {
        self.own_status(id).outward()
    }

    /// Returns the status that the user's own sessions see: `Invisible` is not hidden. O(sessions).
    #[must_use]
    pub fn own_status(&self, id: &I) -> Status {
        self.deciding(id)
            .map_or(Status::Offline, |session| session.placement.status)
    }

    /// Returns whether others may see that the user is here: ask it before you pass on that they
    /// type. O(1).
    #[must_use]
    pub fn is_visible(&self, id: &I) -> bool {
        self.status(id) != Status::Offline
    }

    /// Returns the number of users that others see as present. O(1).
    #[must_use]
    pub fn online_count(&self) -> usize {
        self.online
    }

    /// Returns when the user was last seen, in seconds since 1970: the time at which their last
    /// session left or they went invisible. Returns `None` while they are visible, and if the
    /// roster does not know it (any more). O(1).
    #[must_use]
    pub fn last_seen(&self, id: &I) -> Option<u64> {
        if self.is_visible(id) {
            None
        } else {
            self.last_seen.of(id)
        }
    }

    /// Notes a last-seen time from a database or another node; the newest wins. O(log times).
    pub fn note_last_seen(&mut self, id: I, wall_s: u64) {
        self.last_seen.note(id, wall_s);
    }

    /// Returns the list.
    #[must_use]
    pub fn list(&self) -> &MemberList<I> {
        &self.list
    }

    /// Returns the list, to tick it, to open windows, and to change groups or rows of offline
    /// members.
    pub fn list_mut(&mut self) -> &mut MemberList<I> {
        &mut self.list
    }

    fn deciding(&self, id: &I) -> Option<&Session> {
        let user = self.users.get(id)?;
        let rank = |session: &&Session| {
            (
                self.rank[session.placement.status as usize],
                Reverse(session.dot.clone()),
            )
        };
        match user.sessions.as_slice() {
            [only] => Some(only),
            sessions => sessions.iter().min_by_key(rank),
        }
    }

    fn outward(&self, id: &I) -> Outward {
        self.deciding(id)
            .map_or_else(Outward::default, |session| Outward {
                status: session.placement.status.outward(),
                content: Some((session.dot.clone(), session.version)),
            })
    }

    /// Brings row, counts and last-seen of one user in line with the sessions.
    fn settle(&mut self, id: I, before: &Before, wall_s: u64, applied: &mut RosterReport<I>) {
        let was = &before.outward;
        let now = self.outward(&id);
        if self
            .users
            .get(&id)
            .is_some_and(|user| user.sessions.is_empty())
        {
            self.users.remove(&id);
        }
        let old = was.status;
        let new = now.status;
        if new == Status::Offline && (old != Status::Offline || before.was_visible) {
            self.last_seen.note(id.clone(), wall_s);
        }
        if old != Status::Offline && new == Status::Offline {
            self.online -= 1;
        } else if old == Status::Offline && new != Status::Offline {
            self.online += 1;
        }
        let content_changed = was.content != now.content;
        let row = if new == Status::Offline {
            // A user that others did not see before is not seen leaving.
            if old == Status::Offline {
                Ok(())
            } else {
                self.take_offline(&id)
            }
        } else {
            self.place(&id, content_changed)
        };
        if let Err(error) = row {
            applied.refused.push((id.clone(), error));
        }
        if old != new || (new != Status::Offline && content_changed) {
            applied.changes.push(RosterChange { id, old, new });
        }
    }

    fn place(&mut self, id: &I, content_changed: bool) -> Result<(), ListError> {
        let Some(session) = self.deciding(id) else {
            return Ok(());
        };
        let Placement {
            group,
            sort_key,
            attrs,
            ..
        } = session.placement.clone();
        let revision = self.list.get(id).map(|member| member.revision);
        self.list.upsert(id.clone(), group, &sort_key, attrs)?;
        let same =
            revision.is_some() && self.list.get(id).map(|member| member.revision) == revision;
        if same && content_changed {
            self.list.touch(id)?;
        }
        Ok(())
    }

    fn take_offline(&mut self, id: &I) -> Result<(), ListError> {
        match self.offline {
            OfflinePolicy::Remove => {
                self.list.remove(id);
            }
            OfflinePolicy::Keep(group) if self.list.contains(id) => {
                self.list.set_group(id, group)?;
                self.list.touch(id)?;
            }
            OfflinePolicy::Keep(_) => {}
        }
        Ok(())
    }
}

impl<I: Id> fmt::Debug for Roster<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<Roster {} online={}>",
            self.list.member_count(),
            self.online
        )
    }
}

/// The status that others see, and the version of the session that decides it.
#[derive(Debug, PartialEq, Eq)]
struct Outward {
    status: Status,
    content: Option<(Dot, u64)>,
}

impl Default for Outward {
    fn default() -> Self {
        Self {
            status: Status::Offline,
            content: None,
        }
    }
}
