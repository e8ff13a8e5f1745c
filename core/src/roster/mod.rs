//! Presence of one topic as a member list: many sessions of one user become one row.
//!
//! A [`Roster`] takes the Diffs of one topic and keeps a [`MemberList`], or a [`MemberTable`] with
//! all its lists ([`Roster::over_table`]). A mapping, a closure of the application, returns the
//! place of a session's user in the list ([`Placement`]). Of several sessions one decides, by the
//! priority of their [`Status`]. An invisible user is offline to everyone else. A user without
//! sessions leaves the list, goes to a group of its own, or stays without the bits of its status
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
//! let mut roster = Roster::new(list, options, move |entry| {
//!     Placement::new(Status::of_session(entry.status()))
//!         .group(groups[0])
//!         .key(SortKey::from_name(entry.key_str().unwrap_or_default()))
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
mod listing;
mod options;
mod origins;
mod placement;
mod report;
mod round;
mod sessions;
mod status;
mod target;
mod users;

use std::fmt;

use hashbrown::HashSet;

pub use options::{OfflinePolicy, RosterOptions};
pub use placement::{IntoPlacement, Placement, RosterError};
pub use report::{RosterChange, RosterReport};
pub use status::{Status, UnknownStatus};
pub use target::RosterTarget;

use last_seen::LastSeen;
use listing::Listing;
use origins::Origins;
use round::{Round, Step};
use sessions::{Deciding, Name, Sessions, Turn};
use users::Users;

use crate::member_list::{
    BulkReport, Id, ListError, MemberList, MemberTable, NewMember, NewTableMember, TableError,
};
use crate::tracker::{EntryBuf, TopicDiff};

/// Presence of one topic as a member list, or as a [`MemberTable`] with all its lists: many sessions
/// of one user, one row.
///
/// A user with one session takes less than 100 bytes beside the list (with `u64` ids), and a change
/// of a user with many O(log sessions).
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
///     let key = SortKey::from_name(entry.key_str().unwrap_or_default());
///     Placement::new(status).group(group).key(key)
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
pub struct Roster<I, L = MemberList<I>> {
    listing: Listing<L>,
    users: Users<I>,
    origins: Origins,
    mapping: Mapping,
    /// The rank of each status; the smallest decides.
    rank: [u8; Status::ALL.len()],
    online: usize,
    last_seen: LastSeen<I>,
}

type Mapping = Box<dyn Fn(&EntryBuf) -> Result<Option<Placement>, RosterError> + Send + Sync>;

/// The look of a user to others before and after a Diff.
struct Look {
    before: Option<Deciding>,
    now: Option<Deciding>,
    /// True if others saw a session that the Diff ends.
    was_visible: bool,
}

impl Look {
    fn outward(deciding: Option<Deciding>) -> Status {
        deciding.map_or(Status::Offline, |deciding| deciding.status.outward())
    }

    /// Returns whether another version of a session decides, or another session.
    fn is_other_content(&self) -> bool {
        self.before.map(|before| before.name) != self.now.map(|now| now.name)
    }
}

impl<I: Id> Roster<I> {
    /// Makes a roster over a list that has its groups already, and may have members. The key of an
    /// entry, as text, is the id of the row; `mapping` returns the [`Placement`] of a session, or
    /// that it has none ([`IntoPlacement`]).
    #[must_use]
    pub fn new<P: IntoPlacement>(
        list: MemberList<I>,
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> P + Send + Sync + 'static,
    ) -> Self {
        Self::over(list, options, mapping)
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
        self.listing.target.bulk_load(members)
    }

    /// Returns the list.
    #[must_use]
    pub fn list(&self) -> &MemberList<I> {
        &self.listing.target
    }

    /// Returns the list, to tick it, to open windows, and to change groups and rows. What is
    /// written to a row stays there; see [`Placement`] for how long.
    pub fn list_mut(&mut self) -> &mut MemberList<I> {
        &mut self.listing.target
    }

    /// Returns the list, without the roster.
    #[must_use]
    pub fn into_list(self) -> MemberList<I> {
        self.listing.target
    }
}

impl<I: Id> Roster<I, MemberTable<I>> {
    /// Makes a roster over a table, which may have lists and members. The roster writes members and
    /// the lists take them where they belong: by status bits, for example, each has those online
    /// in another group than the others, or does not have the others at all.
    ///
    /// The key of an entry, as text, is the id of the member; `mapping` returns the [`Placement`] of
    /// a session, without a group, or that it has none ([`IntoPlacement`]).
    ///
    /// ```
    /// use headcount::member_list::{Attrs, Clause, ListSpec, MemberTable, TableOptions, TextId};
    /// use headcount::roster::OfflinePolicy;
    /// use headcount::{NewEntry, Placement, ReplicaId, Roster, RosterOptions};
    /// use headcount::{SortKey, Status, Tracker};
    ///
    /// const ONLINE: u32 = 1;
    /// let online = Clause::new().all(Attrs::from_low(ONLINE));
    /// let mut table = MemberTable::<TextId>::new(TableOptions::default().shown(ONLINE))?;
    /// let everyone = table.add_list(ListSpec::new("everyone", "offline").group(online, "online"))?;
    /// let here = table.add_list(ListSpec::new("here", "online").admit([online]))?;
    ///
    /// let options = RosterOptions::default().status_bits(ONLINE).offline(OfflinePolicy::Stay);
    /// let mut roster = Roster::over_table(table, options, |entry| {
    ///     Placement::new(Status::of_session(entry.status()))
    ///         .key(SortKey::from_name(entry.key_str().unwrap_or_default()))
    ///         .bits(ONLINE)
    /// })?;
    ///
    /// let mut tracker = Tracker::new(ReplicaId::new("node-1", 1, 0)?);
    /// tracker.track(&NewEntry::new("room", "ann", "phone"))?;
    /// roster.apply(tracker.take_diff().topic("room").expect("ann joins"), 1_700_000_000);
    /// assert_eq!(roster.table().list(here)?.member_count(), 1);
    /// tracker.untrack_owner("phone");
    /// roster.apply(tracker.take_diff().topic("room").expect("ann leaves"), 1_700_000_060);
    /// assert_eq!(roster.table().list(here)?.member_count(), 0);
    /// let everyone = roster.table().list(everyone)?;
    /// assert_eq!(everyone.group_of(&"ann".parse()?), everyone.group("offline"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RosterError::NoGroups`] for [`OfflinePolicy::Keep`].
    pub fn over_table<P: IntoPlacement>(
        table: MemberTable<I>,
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> P + Send + Sync + 'static,
    ) -> Result<Self, RosterError> {
        match options.offline {
            OfflinePolicy::Keep(group) => Err(RosterError::NoGroups { group }),
            OfflinePolicy::Remove | OfflinePolicy::Stay => Ok(Self::over(table, options, mapping)),
        }
    }

    /// Loads members who are offline, all at once. The report names those that the table has
    /// already; they stay as they are. The cost is that of [`MemberTable::bulk_load`].
    ///
    /// # Errors
    ///
    /// Those of [`MemberTable::bulk_load`]; nothing is loaded then.
    pub fn load_offline(
        &mut self,
        members: impl IntoIterator<Item = NewTableMember<I>>,
    ) -> Result<BulkReport<I>, TableError> {
        self.listing.target.bulk_load(members)
    }

    /// Returns the table.
    #[must_use]
    pub fn table(&self) -> &MemberTable<I> {
        &self.listing.target
    }

    /// Returns the table, to tick it, to open windows, and to change lists and members. What is
    /// written to a member stays there; see [`Placement`] for how long.
    pub fn table_mut(&mut self) -> &mut MemberTable<I> {
        &mut self.listing.target
    }

    /// Returns the table, without the roster.
    #[must_use]
    pub fn into_table(self) -> MemberTable<I> {
        self.listing.target
    }
}

impl<I: Id, L: RosterTarget<I>> Roster<I, L> {
    fn over<P: IntoPlacement>(
        target: L,
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> P + Send + Sync + 'static,
    ) -> Self {
        let listing = Listing::new(target, &options);
        let mut rank = [u8::MAX; Status::ALL.len()];
        for (place, status) in (0..u8::MAX).zip(options.priority).rev() {
            rank[status as usize] = place;
        }
        Self {
            listing,
            users: Users::default(),
            origins: Origins::default(),
            mapping: Box::new(move |entry| mapping(entry).into_placement()),
            rank,
            online: 0,
            last_seen: LastSeen::new(options.last_seen_max),
        }
    }

    /// Applies the changes of the topic in the order that [`Diff`](crate::Diff) describes. A roster
    /// may begin at any moment with the entries of `list` as joins. `wall_s` is the wall clock in
    /// seconds since 1970, for last-seen only. O(changes x log members).
    ///
    /// A session that the mapping refuses does not count, and is in the report. If the mapping
    /// panics, nothing has changed.
    pub fn apply(&mut self, diff: &TopicDiff, wall_s: u64) -> RosterReport<I> {
        let mut round = Round::with_capacity(diff.len());
        for join in &diff.joins {
            round.add(join, |report, id| {
                let placement = self.placement(join, id, report);
                Step::Begin(join, placement)
            });
        }
        for update in &diff.updates {
            round.add(&update.new, |report, id| {
                let placement = self.placement(&update.new, id, report);
                Step::Update(update, placement)
            });
        }
        for leave in &diff.leaves {
            round.add(&leave.entry, |_, _| Step::End(&leave.entry));
        }
        self.play(round, wall_s)
    }

    /// Puts the entries of `list` in the place of all sessions, as after Diffs that were missed, or
    /// when the mapping answers in another way than it did. O(sessions + entries, and changes x log
    /// members).
    ///
    /// A session that the mapping refuses does not count, and is in the report. If the mapping
    /// panics, nothing has changed.
    pub fn reset(&mut self, entries: &[EntryBuf], wall_s: u64) -> RosterReport<I> {
        let mut round = Round::with_capacity(entries.len());
        let name = |entry: &EntryBuf| {
            let origin = self.origins.find(entry.origin())?;
            let version = entry.version();
            Some(Name { origin, version })
        };
        let current: HashSet<Name> = entries.iter().filter_map(name).collect();
        for (id, sessions) in self.users.iter() {
            let names = sessions.names().filter(|name| !current.contains(name));
            names.for_each(|name| round.push(id.clone(), Step::Drop(name)));
        }
        for entry in entries {
            round.add(entry, |report, id| {
                let placement = self.placement(entry, id, report);
                Step::Begin(entry, placement)
            });
        }
        self.play(round, wall_s)
    }

    /// Asks the mapping about an entry; the report gets its error.
    fn placement(
        &self,
        entry: &EntryBuf,
        id: &I,
        report: &mut RosterReport<I>,
    ) -> Option<Placement> {
        let checked = |placement: Option<Placement>| {
            placement
                .as_ref()
                .map_or(Ok(()), |placement| self.listing.check(placement))?;
            Ok(placement)
        };
        match (self.mapping)(entry).and_then(checked) {
            Ok(placement) => placement,
            Err(error) => {
                report.refused.push((id.clone(), error));
                None
            }
        }
    }

    /// Changes one user after the other, and each row once, after all sessions of its user: in
    /// between they may seem offline.
    fn play(&mut self, round: Round<'_, I>, wall_s: u64) -> RosterReport<I> {
        round.for_each_user(
            self,
            |roster, ids| roster.listing.target.fetch_if_large(ids.iter().copied()),
            |roster, id, steps, report| roster.turn(id, steps, wall_s, report),
        )
    }

    /// Changes the sessions of one user, and then brings row, counts and last-seen in line.
    fn turn<'a>(
        &mut self,
        id: &I,
        steps: impl Iterator<Item = Step<'a>>,
        wall_s: u64,
        report: &mut RosterReport<I>,
    ) {
        let sessions = self.users.get_or_add(id);
        let before = sessions.deciding();
        let mut turn = Turn::new(sessions, &mut self.origins, &self.rank);
        let was_visible = take_steps(&mut turn, steps);
        let now = turn.sessions().deciding();
        let look = Look {
            before,
            now,
            was_visible,
        };
        if Look::outward(before) != Status::Offline
            && let Some(before) = before
            && let Some(parts) = turn.displaced(before.name)
        {
            turn.keep(before.name, self.listing.spot(id, parts));
        }
        let row = Self::write(&mut self.listing, id, &look, &mut turn);
        if turn.sessions().is_empty() {
            self.users.remove(id);
        }
        if let Err(error) = row {
            report.refused.push((id.clone(), error));
        }
        self.note(id, &look, wall_s, report);
    }

    /// Brings the row of a user in line with the session that decides.
    fn write(
        listing: &mut Listing<L>,
        id: &I,
        look: &Look,
        turn: &mut Turn<'_>,
    ) -> Result<(), RosterError> {
        let old = Look::outward(look.before);
        let new = Look::outward(look.now);
        if new == Status::Offline {
            // A user that others did not see before is not seen leaving.
            return match old {
                Status::Offline => Ok(()),
                _ => listing.take_offline(id),
            };
        }
        let touch = old != new || look.is_other_content();
        match turn.take_spot() {
            Some(spot) => listing.place(id, &spot, touch),
            None if touch => listing.touch(id),
            None => Ok(()),
        }
    }

    /// Counts a user, notes when they were last seen, and reports the change.
    fn note(&mut self, id: &I, look: &Look, wall_s: u64, report: &mut RosterReport<I>) {
        let old = Look::outward(look.before);
        let new = Look::outward(look.now);
        match (old == Status::Offline, new == Status::Offline) {
            (true, false) => {
                self.online += 1;
                self.last_seen.forget(id);
            }
            (false, true) => {
                self.online -= 1;
                self.last_seen.note(id.clone(), wall_s);
            }
            (true, true) if look.was_visible => self.last_seen.note(id.clone(), wall_s),
            _ => {}
        }
        if old != new || (new != Status::Offline && look.is_other_content()) {
            let id = id.clone();
            report.changes.push(RosterChange { id, old, new });
        }
    }

    /// Returns the status that others see: offline if the user has no session or is invisible.
    /// O(log sessions).
    #[must_use]
    pub fn status(&self, id: &I) -> Status {
        self.own_status(id).outward()
    }

    /// Returns the status that the user's own sessions see: `Invisible` is not hidden.
    /// O(log sessions).
    #[must_use]
    pub fn own_status(&self, id: &I) -> Status {
        let sessions = self.users.get(id);
        sessions.map_or(Status::Offline, Sessions::status)
    }

    /// Returns whether others may see that the user is here: ask it before you pass on that they
    /// type. O(log sessions).
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
        self.last_seen.of(id)
    }

    /// Notes a last-seen time from a database or another node; the newest wins. That of a user who
    /// is visible is of no use, and not kept. O(log times).
    pub fn note_last_seen(&mut self, id: I, wall_s: u64) {
        if !self.is_visible(&id) {
            self.last_seen.note(id, wall_s);
        }
    }
}

/// Takes the steps of one user. Returns whether others saw the user after the joins and updates:
/// before the leaves, so that a visit within one Diff counts, and the end of a session that was
/// hidden until then does not.
fn take_steps<'a>(turn: &mut Turn<'_>, steps: impl Iterator<Item = Step<'a>>) -> bool {
    let mut was_visible = None;
    for step in steps {
        match step {
            Step::Begin(entry, Some(placement)) => turn.begin(entry, placement),
            Step::Begin(entry, None) => turn.end(entry),
            Step::Update(update, Some(placement)) => {
                turn.update(&update.old, &update.new, placement);
            }
            Step::Update(update, None) => {
                turn.end(&update.new);
                turn.end(&update.old);
            }
            Step::End(entry) => {
                let sessions = turn.sessions();
                let is_visible = || sessions.status().outward() != Status::Offline;
                was_visible.get_or_insert_with(is_visible);
                turn.end(entry);
            }
            Step::Drop(name) => turn.end_named(name),
        }
    }
    was_visible.unwrap_or(false)
}

impl<I: Id, L: RosterTarget<I>> fmt::Debug for Roster<I, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.listing.target.member_count();
        write!(f, "<Roster {members} online={}>", self.online)
    }
}
