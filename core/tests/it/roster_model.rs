//! A roster beside a naive one, which keeps every session with what it says of the row, on sessions
//! of all statuses, refused and hidden ones, missed Diffs, resets, and writes of the application.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use headcount::id::{Dot, Origin, ReplicaId};
use headcount::member_list::{Attrs, MemberTable};
use headcount::roster::{OfflinePolicy, RosterReport};
use headcount::tracker::{Leave, LeaveReason, Update};
use headcount::{
    EntryBuf, GroupId, MemberList, NewEntry, Placement, Roster, RosterOptions, SortKey, Status,
    TopicDiff,
};
use proptest::prelude::*;

use crate::support::roster_targets::{GONE, RowModel, Target};

const USERS: u64 = 5;
const STATUS_BITS: u32 = 0b0110;

/// The row that a session wants for its user; the parts that it leaves out are `None`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wish {
    group: Option<GroupId>,
    keys: Option<Vec<u64>>,
    bits: u32,
    payload: Option<Bytes>,
}

/// Reads the meta of a session: `None` if it does not count, `Err` if the mapping fails.
fn wish_of(entry: &EntryBuf, is_table: bool) -> Result<Option<Wish>, &'static str> {
    let &[group, key, bits, payload] = entry.meta() else {
        unreachable!("metas have four bytes");
    };
    match bits % 16 {
        0 => return Ok(None),
        1 => return Err("no placement"),
        _ => {}
    }
    // A table has no groups, which few sessions do not know.
    let named = if is_table { group == 7 } else { group % 8 > 0 };
    let mut keys = vec![u64::from(key % 8)];
    keys.extend(is_table.then_some(u64::from(key / 8 % 4)));
    match key {
        100 => keys.push(0),
        200 => drop(keys.pop()),
        _ => {}
    }
    Ok(Some(Wish {
        // The last one is no group of the list.
        group: named.then(|| GroupId(u32::from(group % 8 / 2))),
        keys: (key % 8 > 0 || key == 200).then_some(keys),
        bits: u32::from(bits) >> 4 & (STATUS_BITS | u32::from(bits % 16 == 2)),
        payload: (payload % 3 > 0).then(|| Bytes::copy_from_slice(&[payload])),
    }))
}

fn mapping(entry: &EntryBuf, is_table: bool) -> Result<Option<Placement>, &'static str> {
    let Some(wish) = wish_of(entry, is_table)? else {
        return Ok(None);
    };
    let mut placement = Placement::new(Status::of_session(entry.status())).bits(wish.bits);
    if let Some(group) = wish.group {
        placement = placement.group(group);
    }
    match wish.keys.as_deref() {
        Some(&[key]) => placement = placement.key(SortKey::from_u64(key)),
        Some(keys) => placement = placement.keys(keys.iter().copied().map(SortKey::from_u64)),
        None => {}
    }
    if let Some(payload) = wish.payload {
        placement = placement.payload(payload);
    }
    Ok(Some(placement))
}

#[derive(Clone, Debug)]
struct Session {
    entry: EntryBuf,
    /// The parts that the session names.
    said: Wish,
    /// The row while the session decides, and as it was then; `None` if there was no row.
    wish: Option<Wish>,
}

impl Session {
    fn status(&self) -> Status {
        Status::of_session(self.entry.status())
    }

    fn is(&self, entry: &EntryBuf) -> bool {
        self.entry.entry_ref() == entry.entry_ref()
    }
}

/// The naive roster.
struct Model {
    is_table: bool,
    priority: Vec<Status>,
    offline: OfflinePolicy,
    sessions: Vec<Session>,
    rows: BTreeMap<u64, RowModel>,
    last_seen: BTreeMap<u64, u64>,
    changes: Vec<(u64, Status, Status)>,
    refused: Vec<u64>,
}

fn user_of(entry: &EntryBuf) -> u64 {
    entry
        .key_str()
        .and_then(|key| key.parse().ok())
        .expect("an id")
}

impl Model {
    fn deciding(&self, user: u64) -> Option<&Session> {
        let rank = |status| {
            let place = self.priority.iter().position(|known| *known == status);
            place.unwrap_or(usize::MAX)
        };
        let mine = self
            .sessions
            .iter()
            .filter(|session| user_of(&session.entry) == user);
        mine.min_by_key(|session| {
            let version = session.entry.version();
            (
                rank(session.status()),
                Reverse((session.entry.dot(), version)),
            )
        })
    }

    fn status(&self, user: u64) -> Status {
        self.deciding(user).map_or(Status::Offline, Session::status)
    }

    fn begin(&mut self, entry: &EntryBuf) {
        self.end(entry);
        let fits = |wish: &Wish| {
            let columns = if self.is_table { 2 } else { 1 };
            wish.bits & !STATUS_BITS == 0
                && (wish.group.is_none() || !self.is_table)
                && wish.keys.as_ref().is_none_or(|keys| keys.len() == columns)
        };
        match wish_of(entry, self.is_table) {
            Ok(Some(said)) if fits(&said) => self.sessions.push(Session {
                entry: entry.clone(),
                wish: Some(said.clone()),
                said,
            }),
            Ok(None) => {}
            _ => self.refused.push(user_of(entry)),
        }
    }

    fn end(&mut self, entry: &EntryBuf) {
        self.sessions.retain(|session| !session.is(entry));
    }

    /// The row of a user is what the deciding session says from now on.
    fn adopt_row(&mut self, user: u64) {
        let row = self.rows.get(&user).cloned();
        if self.status(user).outward() == Status::Offline {
            return;
        }
        let Some(entry) = self.deciding(user).map(|session| session.entry.clone()) else {
            return;
        };
        let mut sessions = self.sessions.iter_mut();
        let session = sessions
            .find(|session| session.is(&entry))
            .expect("it decides");
        session.wish = row.map(|row| Wish {
            group: session.said.group.and(row.group),
            keys: session.said.keys.as_ref().map(|_| row.keys),
            bits: row.attrs.low() & STATUS_BITS,
            payload: session.said.payload.as_ref().map(|_| row.payload),
        });
    }

    /// Changes all sessions by `work`, and then the rows of users who look different. `begun` are
    /// the entries that say their wish again. `visits` are users whom others saw in between.
    fn change(
        &mut self,
        begun: &[&EntryBuf],
        work: impl FnOnce(&mut Self) -> BTreeSet<u64>,
        target: &impl Target,
        now: u64,
    ) {
        let looks = |model: &Self, user| {
            let content = model
                .deciding(user)
                .map(|session| session.entry.entry_ref());
            (model.status(user).outward(), content)
        };
        let before: Vec<_> = (0..USERS).map(|user| looks(self, user)).collect();
        let visits = work(self);
        for (user, (old, old_content)) in (0..USERS).zip(before) {
            let (new, content) = looks(self, user);
            let other = old_content != content;
            if new == Status::Offline && (old != Status::Offline || visits.contains(&user)) {
                self.last_seen.insert(user, now);
            }
            if new != Status::Offline {
                self.last_seen.remove(&user);
            }
            if old != new || (new != Status::Offline && other) {
                self.changes.push((user, old, new));
            }
            if new != Status::Offline {
                let again = begun.iter().any(|entry| Some(entry.entry_ref()) == content);
                if other || old != new || again {
                    self.place(user, other || old != new, target);
                }
            } else if old != Status::Offline {
                self.take_offline(user);
            }
        }
    }

    fn place(&mut self, user: u64, touch: bool, target: &impl Target) {
        let wish = self.deciding(user).and_then(|session| session.wish.clone());
        let Some(wish) = wish else {
            if let Some(row) = self.rows.get_mut(&user) {
                row.revision += u32::from(touch);
            }
            self.adopt_row(user);
            return;
        };
        let row = self.rows.get(&user).cloned();
        let is_known = wish.group.is_none_or(|group| group.0 < 3);
        let has_place = wish.keys.is_some() && (wish.group.is_some() || self.is_table);
        if !is_known || row.is_none() && !has_place {
            self.refused.push(user);
        } else {
            let is_new = row.is_none();
            let old = row.unwrap_or_else(|| RowModel {
                attrs: Attrs::EMPTY,
                payload: Bytes::new(),
                ..target.row(user).expect("a new row")
            });
            let status_bits = Attrs::from_low(STATUS_BITS);
            let mut new = RowModel {
                group: wish.group.or(old.group),
                keys: wish.keys.unwrap_or(old.keys),
                attrs: old.attrs.with(&status_bits, &Attrs::from_low(wish.bits)),
                payload: wish.payload.unwrap_or_else(|| old.payload.clone()),
                revision: old.revision,
            };
            let shown = (new.attrs.low() ^ old.attrs.low()) & target.shown();
            let revised = touch || shown != 0 || new.payload != old.payload;
            new.revision += u32::from(revised && !is_new);
            self.rows.insert(user, new);
        }
        self.adopt_row(user);
    }

    fn take_offline(&mut self, user: u64) {
        if self.offline == OfflinePolicy::Remove {
            self.rows.remove(&user);
        } else if let Some(row) = self.rows.get_mut(&user) {
            if let OfflinePolicy::Keep(group) = self.offline {
                row.group = Some(group);
            }
            row.attrs = row.attrs.with(&Attrs::from_low(STATUS_BITS), &Attrs::EMPTY);
            row.revision += 1;
        }
    }

    fn apply(&mut self, diff: &TopicDiff, target: &impl Target, now: u64) {
        let updated = diff.updates.iter().map(|update| &update.new);
        let begun: Vec<_> = diff.joins.iter().chain(updated).collect();
        let work = |model: &mut Self| {
            diff.joins.iter().for_each(|join| model.begin(join));
            for update in &diff.updates {
                model.end(&update.old);
                model.begin(&update.new);
            }
            let leaving = diff.leaves.iter().map(|leave| user_of(&leave.entry));
            let seen = leaving.filter(|user| model.status(*user).outward() != Status::Offline);
            let seen = seen.collect();
            diff.leaves.iter().for_each(|leave| model.end(&leave.entry));
            seen
        };
        self.change(&begun, work, target, now);
    }

    fn reset(&mut self, entries: &[EntryBuf], target: &impl Target, now: u64) {
        let begun: Vec<_> = entries.iter().collect();
        let work = |model: &mut Self| {
            let is_current = |session: &Session| entries.iter().any(|entry| session.is(entry));
            model.sessions.retain(is_current);
            entries.iter().for_each(|entry| model.begin(entry));
            BTreeSet::new()
        };
        self.change(&begun, work, target, now);
    }
}

/// The sessions as they are, and what the next Diff has to report of them.
#[derive(Default)]
struct Truth {
    live: BTreeMap<(u64, u8), EntryBuf>,
    reported: BTreeMap<(u64, u8), EntryBuf>,
    /// Versions since the last Diff.
    made: BTreeMap<(u64, u8), Vec<EntryBuf>>,
    op: u64,
}

impl Truth {
    fn write(&mut self, user: u64, session: u8, status: u8, meta: [u8; 4]) {
        self.op += 1;
        let key = user.to_string();
        let origin = Origin {
            replica: ReplicaId::new(["b", "a", "c"][usize::from(session) % 3], 1, 0)
                .expect("a good name"),
            partition: 0,
        };
        let birth = self
            .live
            .get(&(user, session))
            .map_or(self.op, EntryBuf::birth);
        let entry = NewEntry::new("room", &key, "").status(status).meta(&meta);
        let entry = EntryBuf::new(&entry, Dot { origin, birth }, self.op);
        self.live.insert((user, session), entry.clone());
        self.made.entry((user, session)).or_default().push(entry);
    }

    /// Returns the changes since the last Diff, as `Diff` describes them.
    fn diff(&mut self) -> TopicDiff {
        let mut diff = TopicDiff {
            topic: "room".into(),
            joins: Vec::new(),
            leaves: Vec::new(),
            updates: Vec::new(),
        };
        let mut sessions: BTreeSet<_> = self.reported.keys().copied().collect();
        sessions.extend(self.made.keys());
        for session in sessions {
            let mut made = self.made.remove(&session).unwrap_or_default();
            let old = self.reported.get(&session).cloned();
            let new = self.live.get(&session).cloned();
            match (old, new) {
                (Some(old), Some(new)) if old != new => diff.updates.push(Update { old, new }),
                (None, Some(new)) => diff.joins.push(new),
                (Some(old), None) => diff.leaves.push(left(old)),
                (None, None) => diff.joins.extend(made.last().cloned()),
                _ => {}
            }
            if self.live.contains_key(&session) {
                made.pop();
            }
            diff.leaves.extend(made.into_iter().map(left));
        }
        self.reported = self.live.clone();
        diff
    }
}

fn left(entry: EntryBuf) -> Leave {
    let reason = LeaveReason::Unknown;
    Leave { entry, reason }
}

struct World<L> {
    truth: Truth,
    roster: Roster<u64, L>,
    model: Model,
    now: u64,
}

impl<L: Target> World<L> {
    fn new(offline: OfflinePolicy, priority: Option<Vec<Status>>) -> Self {
        let mut options = RosterOptions::default().status_bits(STATUS_BITS);
        options = options.offline(offline);
        if let Some(priority) = priority.clone() {
            options = options.priority(priority);
        }
        let usual = [Status::Invisible, Status::Dnd, Status::Online, Status::Idle];
        Self {
            truth: Truth::default(),
            roster: L::roster(options, |entry| mapping(entry, L::IS_TABLE)),
            model: Model {
                is_table: L::IS_TABLE,
                priority: priority.unwrap_or(usual.to_vec()),
                offline,
                sessions: Vec::new(),
                rows: BTreeMap::new(),
                last_seen: BTreeMap::new(),
                changes: Vec::new(),
                refused: Vec::new(),
            },
            now: 0,
        }
    }

    fn step(&mut self, op: [u8; 8]) -> Result<(), TestCaseError> {
        let [kind, user, session, status, meta @ ..] = op;
        let user = u64::from(user) % USERS;
        let session = session % 6;
        self.now += 1;
        match kind % 16 {
            0..8 => {
                self.truth.write(user, session, status % 4, meta);
                return Ok(());
            }
            8..10 => {
                self.truth.live.remove(&(user, session));
                return Ok(());
            }
            10 => drop(self.truth.diff()),
            11 => {
                let entries: Vec<_> = self.truth.live.values().cloned().collect();
                self.truth.diff();
                let report = self.roster.reset(&entries, self.now);
                self.model.reset(&entries, L::of(&self.roster), self.now);
                self.check_report(&report)?;
            }
            12 => self.application_writes(user, status, meta),
            _ => {
                let diff = self.truth.diff();
                let report = self.roster.apply(&diff, self.now);
                self.model.apply(&diff, L::of(&self.roster), self.now);
                self.check_report(&report)?;
            }
        }
        self.check()
    }

    /// Does as an application does that has rows of its own, and plans with those of others.
    fn application_writes(&mut self, user: u64, what: u8, meta: [u8; 4]) {
        L::of_mut(&mut self.roster).write(user, what, meta);
        match L::of(&self.roster).row(user) {
            Some(row) => self.model.rows.insert(user, row),
            None => self.model.rows.remove(&user),
        };
        self.model.adopt_row(user);
    }

    fn check_report(&mut self, report: &RosterReport<u64>) -> Result<(), TestCaseError> {
        let changes = report.changes.iter();
        let changes: Vec<_> = changes.map(|c| (c.id, c.old, c.new)).collect();
        prop_assert_eq!(changes, std::mem::take(&mut self.model.changes));
        let mut refused: Vec<u64> = report.refused.iter().map(|(id, _)| *id).collect();
        refused.sort_unstable();
        self.model.refused.sort_unstable();
        prop_assert_eq!(refused, std::mem::take(&mut self.model.refused));
        prop_assert_eq!(report.foreign, 0);
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let target = L::of(&self.roster);
        target.check_lists(&self.model.rows);
        let mut online = 0;
        for user in 0..USERS {
            let row = target.row(user);
            prop_assert_eq!(
                row.as_ref(),
                self.model.rows.get(&user),
                "the row of {}",
                user
            );
            prop_assert_eq!(self.roster.own_status(&user), self.model.status(user));
            let last_seen = self.model.last_seen.get(&user).copied();
            prop_assert_eq!(self.roster.last_seen(&user), last_seen);
            online += usize::from(self.roster.is_visible(&user));
        }
        prop_assert_eq!(self.roster.online_count(), online);
        Ok(())
    }
}

fn play<L: Target>(
    ops: Vec<[u8; 8]>,
    offline: OfflinePolicy,
    priority: Option<Vec<Status>>,
) -> Result<(), TestCaseError> {
    let mut world = World::<L>::new(offline, priority);
    ops.into_iter().try_for_each(|op| world.step(op))
}

fn any_ops() -> impl Strategy<Value = Vec<[u8; 8]>> {
    prop::collection::vec(any::<[u8; 8]>(), 1..150)
}

fn any_priority() -> impl Strategy<Value = Option<Vec<Status>>> {
    prop::option::of(Just(vec![Status::Idle, Status::Invisible]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_roster_is_as_a_naive_one(
        ops in any_ops(),
        policy in 0..3_usize,
        priority in any_priority(),
    ) {
        let offline = [OfflinePolicy::Remove, OfflinePolicy::Keep(GONE), OfflinePolicy::Stay];
        play::<MemberList<u64>>(ops, offline[policy], priority)?;
    }

    #[test]
    fn a_roster_over_a_table_is_as_a_naive_one(
        ops in any_ops(),
        stays: bool,
        priority in any_priority(),
    ) {
        let offline = if stays { OfflinePolicy::Stay } else { OfflinePolicy::Remove };
        play::<MemberTable<u64>>(ops, offline, priority)?;
    }
}
